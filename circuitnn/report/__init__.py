"""The report of a fit: what happened in words and rows, and one HTML file that needs nothing else."""
