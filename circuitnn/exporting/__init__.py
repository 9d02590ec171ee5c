"""A circuit, as it was drawn or fitted, or a network, in forms that other programs take: one target a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from circuitnn.errors import CircuitnnError

if TYPE_CHECKING:
    from circuitnn.exporting.sources import Source
    from circuitnn.exporting.subject import NetworkSubject, Subject
    from circuitnn.formats import SavedNetwork

__all__ = ["NETWORK_FILES", "TARGETS", "export", "export_subject", "write_network"]

# What each target makes.
TARGETS = {
    "json": "a model file, for any language",
    "spice": "the netlist with the fitted values, and what they were",
    "cpp": "a folder of C++17 without dependencies, with a program that plays WAV files",
    "lv2": "a plugin bundle for LV2 hosts",
    "web": "a page that plays in a browser",
    "nam": "a model for Neural Amp Modeler",
    "aidax": "a model for AIDA-X",
    "rtneural": "a model for RTNeural, in JSON",
    "simplernn": "a SimpleRNN model for Proteus, NeuralPi and others, in JSON",
}
# Of these, what formats of networks there are.
NETWORK_FILES = ("json", "nam", "aidax", "rtneural", "simplernn")


def export(source: Source, to: str, path: str | os.PathLike[str], against: Source | None = None) -> None:
    """Write a circuit to `path` as "json", "spice", "cpp", "lv2" or "web", or a network as "json", "cpp", "lv2", "web",
    "nam", "aidax", "rtneural" or "simplernn".

    source: a run directory, a netlist, a model file or another engine's file of a network; a CircuitModel at its
    present values; what `fit` returned; a network, or what `formats.read_network` returned. against: likewise, what a
    page lets one compare it with. A file is replaced, and so is a folder that an export made; others are not touched.
    Raises CircuitnnError, and OutputError if `path` cannot be written.
    """
    from circuitnn.exporting.sources import network_of, subject_of

    if to in NETWORK_FILES and (saved := network_of(source)) is not None:
        write_network(saved, to, path, against)
        return
    export_subject(subject_of(source), to, path, None if against is None else subject_of(against))


def write_network(saved: SavedNetwork, to: str, path: str | os.PathLike[str], against: object = None) -> None:
    """Write a network to a file, `to` one of NETWORK_FILES. against: for a page only. Raises CircuitnnError, and
    OutputError."""
    from circuitnn.formats import WRITERS

    _require_page(to, against)
    WRITERS[to](saved, Path(path))


def export_subject(
    subject: Subject | NetworkSubject,
    to: str,
    path: str | os.PathLike[str],
    against: Subject | NetworkSubject | None = None,
) -> None:
    """As `export`, of a subject whose settings were changed."""
    path = Path(path)
    _require_page(to, against)
    match to:
        case "json":
            from circuitnn.exporting.model_file import write_model_file

            write_model_file(_circuit(subject, to), path)
        case "spice":
            from circuitnn.exporting.spice import write_spice

            write_spice(_circuit(subject, to), path)
        case "cpp":
            from circuitnn.exporting.cpp import write_cpp

            write_cpp(subject, path)
        case "lv2":
            from circuitnn.exporting.lv2 import write_lv2

            write_lv2(subject, path)
        case "web":
            from circuitnn.exporting.web import write_web

            write_web(subject, path, against)
        case _ if to in NETWORK_FILES:
            raise CircuitnnError(
                f"a circuit cannot be written as {to}, which holds networks",
                "train a network on what the circuit makes of a recording, or write it as cpp, lv2 or web",
            )
        case _:
            raise CircuitnnError(f"there is no export to {to!r}", f"targets: {', '.join(TARGETS)}")


def _require_page(to: str, against: object) -> None:
    if against is not None and to != "web":
        raise CircuitnnError(f"{to} holds one model; only a page compares two", "leave the other out, or write web")


def _circuit(subject: Subject | NetworkSubject, to: str) -> Subject:
    from circuitnn.exporting.subject import NetworkSubject

    if isinstance(subject, NetworkSubject):
        raise CircuitnnError(
            f"a network has no netlist, which {to} is made of", "it has targets of its own, such as json"
        )
    return subject
