"""Text <-> Circuit: SPICE netlists as ngspice reads them, with *@ cards for what SPICE cannot say."""

from circuitnn.netlist.reader import parse_netlist, read_netlist
from circuitnn.netlist.writer import format_netlist, write_netlist

__all__ = ["format_netlist", "parse_netlist", "read_netlist", "write_netlist"]
