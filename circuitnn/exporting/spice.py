"""--to spice: the fitted netlist, with what each value was and how well it is known in a comment."""

from __future__ import annotations

from pathlib import Path

from circuitnn.exporting.subject import Subject
from circuitnn.netlist import format_netlist
from circuitnn.placing import place_file


def write_spice(subject: Subject, path: Path) -> None:
    """Write a flat netlist that ngspice runs as it is. Raises OutputError."""
    circuit = subject.circuit if subject.nominal is None else subject.nominal
    place_file(path, format_netlist(circuit, subject.values, subject.intervals))
