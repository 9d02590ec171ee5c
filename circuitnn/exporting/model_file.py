"""--to json: the model file, which holds a circuit as a netlist and as the numbers that run it (docs/model-file.md)."""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import sympy
import torch
from sympy.printing.str import StrPrinter

from circuitnn.devices import Law
from circuitnn.discretise import DiscreteCircuit
from circuitnn.documents import Document, read_document
from circuitnn.errors import CircuitnnError
from circuitnn.exporting.equations import dense_rows, formulas, positions, stamp_rows
from circuitnn.exporting.subject import Subject
from circuitnn.exporting.tracing import text_of
from circuitnn.formats import network_at
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.network import Network
from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.oversampling import FACTORS, coefficients
from circuitnn.placing import place_file
from circuitnn.schemes import SCHEMES

FORMAT, VERSION = "circuitnn-model", 1
# The largest circuit that can run takes 20 MB.
MAX_BYTES = 50_000_000
# How far the numbers of a file may be from those that its netlist gives here, relative to the largest of their kind:
# elimination in another order rounds otherwise.
ROUNDING = 1e-9

_HINT = "export it again; the file is damaged"


class _Printer(StrPrinter):  # type: ignore[misc]
    """Formulas with every number to its last bit."""

    def _print_Float(self, number: sympy.Float) -> str:  # noqa: N802 - sympy's name
        return repr(float(number))


def write_model_file(subject: Subject, path: Path) -> None:
    """Write a model file. Raises CircuitnnError, and OutputError if it cannot be written."""
    text = json.dumps(document(subject), indent=1, ensure_ascii=False, allow_nan=False)
    place_file(path, _with_rows_in_lines(text) + "\n")


def _with_rows_in_lines(text: str) -> str:
    """Lists of plain items on one line each, where json.dumps gives every item its own."""
    return re.sub(
        r"\[\s+((?:[^\[\]{}\"]|\"(?:[^\"\\]|\\.)*\")*?)\s+\]",
        lambda found: f"[{' '.join(found[1].split())}]" if '"' not in found[1] else found[0],
        text,
    )


def document(subject: Subject) -> dict[str, Any]:
    """The model file as plain data."""
    model = subject.model()
    discrete = model.discrete
    structure = discrete.structure
    with torch.no_grad():
        numbers = _numbers(discrete)
    return {
        "format": FORMAT,
        "version": VERSION,
        "circuitnn": version("circuitnn"),
        "name": subject.name,
        "title": subject.circuit.title,
        "netlist": format_netlist(subject.circuit).splitlines(),
        "sample_rate": subject.sample_rate,
        "oversample": subject.oversample,
        "scheme": subject.scheme.name,
        "latency": model.latency,
        "calibration": {"input_level": subject.input_level, "output_gain": subject.output_gain},
        "knobs": [
            {
                "name": knob.name, "position": positions(subject.circuit)[knob.name], "range": [0.0, 1.0],
                "taper": knob.taper,
            }
            for knob in subject.circuit.knobs
        ],
        "structure": {
            "states": structure.n_x, "inputs": structure.n_u, "outputs": structure.n_y, "ports": structure.n_n,
            "names": {"states": list(discrete.equations.states), "ports": list(discrete.equations.ports)},
            "devices": [
                {"name": device.name, "law": device.law.name, "ports": device.law.ports}
                for device in discrete.equations.devices
            ],
            "stages": list(structure.stages),
        },
        "laws": [_law(law) for law in dict.fromkeys(structure.laws)],
        "numbers": numbers,
        "equations": _equations(discrete),
        "filter": coefficients(subject.oversample).tolist() if subject.oversample > 1 else [1.0],
    }  # fmt: skip


def _law(law: Law) -> dict[str, Any]:
    text = _Printer().doprint
    return {
        "name": law.name,
        "variables": [symbol.name for symbol in law.variables],
        "coefficients": [symbol.name for symbol in law.coefficients],
        "voltages": [text(voltage) for voltage in law.voltages],
        "currents": [text(current) for current in law.currents],
    }


def _numbers(discrete: DiscreteCircuit) -> dict[str, Any]:
    """The reduced model at the netlist's values, and the state at rest."""
    numbers = discrete.numbers({})
    matrices, own = discrete.structure.unpack(discrete.theta_of(numbers))
    x, w, y = discrete.rest_of(numbers, discrete.operating_point({}))
    found = {name: matrix.tolist() for name, matrix in matrices._asdict().items()}
    return found | {"coefficients": own.tolist(), "x": x.tolist(), "w": w.tolist(), "y": y.tolist()}


def _equations(discrete: DiscreteCircuit) -> dict[str, Any]:
    """The equations behind the numbers, for any step rate and any position of the knobs: see runtime/equations.hpp."""
    equations, scheme, numbers = discrete.equations, discrete.scheme, formulas(discrete)
    return {
        "unknowns": list(equations.unknowns),
        "sources": list(equations.sources),
        "factor": scheme.factor, "carry": scheme.carry, "gain": scheme.gain,
        "free": list(discrete.selection.free), "dependent": list(discrete.selection.dependent),
        **{name: stamp_rows(getattr(equations, name)) for name in ("M", "N_x", "G_q")},
        **{name: dense_rows(getattr(equations, name)) for name in ("N_u", "N_s", "N_n", "N_y")},
        "leak": dense_rows(np.diag(equations.leak)),
        "formulas": {
            "statements": list(numbers.statements),
            "c": list(map(text_of, numbers.c)),
            "s": list(map(text_of, numbers.sources)),
            "coefficients": list(map(text_of, numbers.coefficients)),
        },
    }  # fmt: skip


def read_model(path: str | os.PathLike[str]) -> CircuitModel | Network:
    """The model of a run, of a model file, or of another engine's file of a network (.nam, .aidax, and JSON of RTNeural
    and SimpleRNN). A circuit runs at its file's sample rate, oversampling and scheme; what a file says of a network
    beside, `formats.read_network` tells. Nothing in a file is executed. Raises CircuitnnError for a file that is
    damaged, does not agree with itself, or is none of these."""
    from circuitnn.exporting.sources import subject_of

    saved = network_at(path)
    if saved is not None:
        return saved.network
    subject = subject_of(path)
    assert isinstance(subject, Subject)
    return CircuitModel(subject.circuit, subject.sample_rate, subject.oversample, scheme=subject.scheme)


def read_model_file(path: Path) -> Subject:
    """The circuit in a model file, with its settings. Nothing in the file is executed, and its numbers are compared
    with those that its netlist gives. Raises CircuitnnError."""
    data = read_document(path, FORMAT, VERSION, MAX_BYTES, _HINT)
    lines = data.texts("netlist")
    schemes = {scheme.name: scheme for scheme in SCHEMES.values()}
    if data.text("scheme") not in schemes:
        raise data.wrong("scheme", f"one of {', '.join(schemes)}")
    if data.integer("oversample") not in FACTORS:
        raise data.wrong("oversample", f"one of {', '.join(map(str, FACTORS))}")
    calibration = data.inner("calibration")
    subject = Subject(
        name=data.text("name"),
        circuit=parse_netlist("\n".join(lines) + "\n", str(path)),
        sample_rate=data.number("sample_rate"),
        oversample=data.integer("oversample"),
        scheme=schemes[data.text("scheme")],
        input_level=calibration.number("input_level"),
        output_gain=calibration.number("output_gain"),
    )
    _compare(path, data.inner("numbers"), subject.model())
    return subject


def _compare(path: Path, stored: Document, model: CircuitModel) -> None:
    """Raise CircuitnnError if the numbers of a file are not those of its netlist."""
    with torch.no_grad():
        own = _numbers(model.discrete)
    for name, expected in own.items():
        here = np.array(expected, dtype=float)
        rows = stored.rows(name) if here.ndim > 1 else [stored.row(name)]
        there = np.array([number for row in rows for number in row])
        scale = np.abs(here).max(initial=1e-30)
        if there.size != here.size or np.abs(there.ravel() - here.ravel()).max(initial=0.0) > ROUNDING * scale:
            raise CircuitnnError(
                f"{path}: numbers.{name} are not those that the netlist in the file gives",
                "the file was changed by hand, or comes from another version: export the netlist again",
            )
