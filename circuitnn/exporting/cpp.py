"""--to cpp: the run-time headers as they are, one generated header with the subject, and a program that plays it."""

from __future__ import annotations

from pathlib import Path

from circuitnn.exporting.folders import check_export_folder, place_export_folder
from circuitnn.exporting.program import Program, program_of
from circuitnn.exporting.subject import NetworkSubject, Subject


def write_cpp(subject: Subject | NetworkSubject, folder: Path) -> None:
    """Write the folder. Raises CircuitnnError, and OutputError if it cannot be written."""
    check_export_folder(folder)
    program = program_of(subject)

    def fill(built: Path) -> None:
        write_headers(program, built)
        for template in ("main.cpp", "README.md"):
            options = " ".join(f"--{knob} 0.5" for knob in program.knobs)
            (built / template).write_text(program.text(template, knobs=options), encoding="utf-8")

    place_export_folder(folder, fill)


def write_headers(program: Program, folder: Path) -> None:
    """The generated header, and those that it includes."""
    for header in program.runtime():
        (folder / header.name).write_text(header.read_text())
    (folder / f"{program.name}.hpp").write_text(program.header, encoding="utf-8")
