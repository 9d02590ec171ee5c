"""Where a subject comes from: a run directory, a netlist, a model file, a model, a fit or a network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from circuitnn.circuit import Circuit
from circuitnn.exporting.model_file import read_model_file
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.learnables import coordinates
from circuitnn.netlist import format_netlist, parse_netlist, read_netlist

if TYPE_CHECKING:
    from circuitnn.fitting.result import FitResult
    from circuitnn.formats import SavedNetwork
    from circuitnn.models.circuit_model import CircuitModel
    from circuitnn.models.network import Network

    Source = str | os.PathLike[str] | CircuitModel | FitResult | Network | SavedNetwork

MODEL_SUFFIX = ".json"


def network_of(source: Source) -> SavedNetwork | None:
    """The network that a run, a file, or an object in Python is, or None. Raises CircuitnnError."""
    from circuitnn.formats import SavedNetwork, network_at
    from circuitnn.models.network import Network

    if isinstance(source, SavedNetwork):
        return source
    if isinstance(source, Network):
        return SavedNetwork(source, "network")
    return network_at(source) if isinstance(source, str | os.PathLike) else None


def subject_of(source: Source) -> Subject | NetworkSubject:
    """A run directory, a netlist, a model file, a model, a fit or a network as a subject. Raises CircuitnnError."""
    saved = network_of(source)
    if saved is not None:
        return _of_network(saved, Path(source) if isinstance(source, str | os.PathLike) else None)
    if not isinstance(source, str | os.PathLike):
        return _of_object(source)
    path = Path(source)
    if path.is_dir():
        return _of_run(path)
    if path.suffix.lower() == MODEL_SUFFIX:
        return read_model_file(path)
    return Subject(path.stem, read_netlist(path))


def _of_network(saved: SavedNetwork, path: Path | None) -> NetworkSubject:
    """path: where it was read; its name is the network's."""
    name = saved.name if path is None else path.absolute().name if path.is_dir() else path.stem
    title = saved.name if path is None else f"{name}: {saved.name}"
    subject = NetworkSubject(name, saved.network, title=title)
    rate = saved.sample_rate or saved.network.sample_rate
    return subject if rate is None else replace(subject, sample_rate=rate)


def _of_object(source: object) -> Subject:
    from circuitnn.fitting.result import FitResult
    from circuitnn.models.circuit_model import CircuitModel

    if isinstance(source, FitResult):
        gains = [recording.gain for recording in source.recordings]
        start = Subject(_name(source.circuit), source.fitted_circuit, source.sample_rate, source.oversample)
        start = replace(start, input_level=source.input_level, output_gain=sum(gains) / len(gains))
        return _of_fit(start, source.values, source.stderr)
    assert isinstance(source, CircuitModel)
    learned = {name: float(value) for name, value in source.learned(source.free.detach()).items()}
    knobs = tuple(replace(knob, taper=source.tapers[knob.name]) for knob in source.circuit.knobs)
    circuit = with_values(replace(source.circuit, knobs=knobs), learned)
    return Subject(_name(circuit), circuit, source.sample_rate, source.oversample, source.discrete.scheme)


def _of_run(folder: Path) -> Subject:
    from circuitnn.runs import load_run

    run = load_run(folder)
    name = folder.absolute().name
    # What a fit learned of the knobs' tapers is in the fitted netlist only.
    circuit = replace(run.nominal, knobs=run.circuit.knobs)
    start = Subject(name, circuit, run.sample_rate, run.oversample)
    start = replace(start, input_level=run.input_level, output_gain=run.gain)
    return _of_fit(start, run.values, run.stderr)


def _of_fit(start: Subject, values: Mapping[str, float], stderr: Mapping[str, float | None]) -> Subject:
    """start: with the circuit before the fit."""
    nominal = start.circuit
    intervals = {
        coordinate.name: coordinate.interval(values[coordinate.name], error)
        for coordinate in coordinates(nominal, list(values))
        if (error := stderr.get(coordinate.name)) is not None
    }
    return replace(
        start, circuit=with_values(nominal, values), nominal=nominal, values=dict(values), intervals=intervals
    )


def with_values(circuit: Circuit, values: Mapping[str, float]) -> Circuit:
    """The circuit with numbers in place of its own, as by format_netlist."""
    changed = parse_netlist(format_netlist(circuit, values), str(circuit.path or "netlist"))
    return replace(changed, path=circuit.path, notes=circuit.notes)


def _name(circuit: Circuit) -> str:
    """A name for files: that of the netlist's file, else of its title."""
    if circuit.path is not None:
        return circuit.path.stem
    letters = "".join(c.lower() if c.isascii() and c.isalnum() else " " for c in circuit.title)
    return "_".join(letters.split()[:4]) or "circuit"
