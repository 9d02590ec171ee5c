"""A circuit, as it was drawn or fitted, or a network, in forms that other programs take: one target a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from circuitnn.errors import CircuitnnError

if TYPE_CHECKING:
    from circuitnn.export.sources import Source
    from circuitnn.export.subject import NetworkSubject, Subject

__all__ = ["TARGETS", "export", "export_subject"]

# What each target makes.
TARGETS = {
    "json": "a model file: netlist and numbers, for any language",
    "spice": "the netlist with the fitted values, and what they were",
    "cpp": "a folder of C++17 without dependencies, with a program that plays WAV files",
    "lv2": "a plugin bundle for LV2 hosts",
    "web": "a page that plays in a browser",
}


def export(source: Source, to: str, path: str | os.PathLike[str]) -> None:
    """Write a circuit to `path` as "json", "spice", "cpp", "lv2" or "web", or a network as "cpp", "lv2" or "web".

    source: a run directory, a netlist or a model file; a CircuitModel at its present values or a network; or what `fit`
    returned. A file or folder that an export made is replaced, anything else is not touched. Raises CircuitnnError, and
    OutputError if `path` cannot be written.
    """
    from circuitnn.export.sources import subject_of

    export_subject(subject_of(source), to, path)


def export_subject(subject: Subject | NetworkSubject, to: str, path: str | os.PathLike[str]) -> None:
    """As `export`, of a subject whose settings were changed."""
    path = Path(path)
    match to:
        case "json":
            from circuitnn.export.model_file import write_model_file

            write_model_file(_circuit(subject, to), path)
        case "spice":
            from circuitnn.export.spice import write_spice

            write_spice(_circuit(subject, to), path)
        case "cpp":
            from circuitnn.export.cpp import write_cpp

            write_cpp(subject, path)
        case "lv2":
            from circuitnn.export.lv2 import write_lv2

            write_lv2(subject, path)
        case "web":
            from circuitnn.export.web import write_web

            write_web(subject, path)
        case _:
            raise CircuitnnError(f"there is no export to {to!r}", f"targets: {', '.join(TARGETS)}")


def _circuit(subject: Subject | NetworkSubject, to: str) -> Subject:
    from circuitnn.export.subject import NetworkSubject

    if isinstance(subject, NetworkSubject):
        raise CircuitnnError(f"a network has no netlist, which {to} is made of", "targets of networks: cpp, lv2, web")
    return subject
