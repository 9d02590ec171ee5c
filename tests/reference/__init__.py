"""Reference data made with ngspice, an independent simulator; see README.md."""
