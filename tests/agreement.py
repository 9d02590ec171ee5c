"""Compares a netlist with ngspice: operating points, and transients that both programs have converged on."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ngspice
import numpy as np
import torch
from law_sources import with_law_sources
from numpy.typing import NDArray
from reference.signals import SAMPLE_RATE, Performance, Pluck, guitar, times

from circuitnn.circuit import GROUND, Circuit
from circuitnn.errors import ConvergenceWarning
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.tapers import value_at

PROMISED_DB = -80.0
# A node agrees within one of the two.
VOLT, RELATIVE = 1e-4, 1e-4
POSITIONS = (0.1, 0.5, 0.9)
# Peaks of the input in volt, by kind of circuit: quiet, hot and clipping.
PEDAL = (0.01, 0.3, 2.0)
PEAKS: Mapping[str, tuple[float, float, float]] = {
    "tone stack": (0.01, 1.0, 10.0),
    "overdrive": PEDAL,
    "distortion": PEDAL,
    "fuzz": PEDAL,
    "boost": PEDAL,
    "filter": PEDAL,
    "preamp": (0.01, 0.3, 3.0),
    "power amplifier": (0.1, 3.0, 30.0),
    "building block": PEDAL,
}
OTHER = "building block"
# Netlists with a device whose law is another one in ngspice, which also gets them with this program's: law_sources.py.
OTHER_LAWS = frozenset({"fuzz_face_germanium"})
# An attack, then five partly damped strings: 30 ms, nothing above 7.5 kHz.
CHORD = Performance(0.03, (Pluck(0.001, 0.02, (40, 52), 1.0), Pluck(0.012, 0.2, (45, 57, 64), 0.8)), seed=4)
NOTE = Performance(0.01, (Pluck(0.0005, 0.2, (52, 64), 1.0),), seed=5)
# Steps per sample at 44.1 kHz. The step is halved until both programs' own errors are CONVERGED_DB or less.
FACTORS = (16, 32, 64, 128, 256, 512, 1024)
CONVERGED_DB = -90.0
# Outputs are compared at this multiple of 44.1 kHz.
COMPARED = 4
# To how many volts ngspice solves each step: the first with which it reaches the end.
VOLTAGE_TOLERANCES = (1e-10, 1e-8, 1e-6)


@dataclass(frozen=True)
class Comparison:
    """One transient. position: of all knobs; peak: of the input, in volt; factor: steps per sample at 44.1 kHz;
    vntol: volts to which ngspice solved each step.

    difference_db: rms of the difference over rms of ngspice's output, both without DC. own_db, ngspice_db: what each
    program's error still is, which for a method of second order is a third of what the last halving of the step
    changed. failures: whether steps of ours did not converge. reason: why ngspice has no result, "" if it has.
    """

    position: float
    peak: float
    factor: int
    vntol: float
    difference_db: float
    own_db: float
    ngspice_db: float
    failures: bool = False
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the promise is kept, by outputs that are converged."""
        worst = max(self.difference_db, self.own_db, self.ngspice_db)
        return worst < PROMISED_DB and not self.failures and not self.reason


@dataclass(frozen=True)
class Rest:
    """Operating points of all nodes, at several positions of the knobs. volt: largest difference; node: where;
    agrees: whether every node is within VOLT or RELATIVE."""

    volt: float
    node: str
    agrees: bool


def kind_of(path: Path) -> str:
    """What the netlist's line `* Kind: ...` says; a building block if it has none."""
    found = re.search(r"^\*\s*Kind:\s*(.+?)\s*$", path.read_text(), flags=re.MULTILINE | re.IGNORECASE)
    kind = found[1].lower() if found else OTHER
    assert kind in PEAKS, f"{path}: unknown kind {kind!r}; known: {', '.join(PEAKS)}"
    return kind


def chord(rate: float, performance: Performance = CHORD) -> NDArray[np.float64]:
    """The test signal on a grid of that rate [Hz], with a peak of 1."""
    return guitar(performance, times(performance, rate))


def settings(circuit: Circuit, position: float) -> dict[str, float]:
    """The values of the knobs' .params at a position of all knobs."""
    return {knob.name: float(value_at(knob.taper, position)) for knob in circuit.knobs}


def compare_rest(path: Path, positions: Sequence[float] = POSITIONS) -> Rest:
    """The operating points of a netlist against ngspice's."""
    circuit = read_netlist(path)
    model = CircuitModel(circuit, SAMPLE_RATE, oversample=1)
    names = [name for name in model.discrete.equations.unknowns if name.startswith("v(") and "#" not in name]
    # Any tighter, and rounding errors make ngspice stop its gmin stepping half way, up to 1 mV from the solution.
    tight = "\n.options reltol=1e-6 abstol=1e-13 vntol=1e-8\n"
    found = Rest(0.0, names[0], True)
    for position in positions:
        values = settings(circuit, position)
        z = model.operating_point({name: torch.tensor(value) for name, value in values.items()}).z
        commands = f"{ngspice.settings(values)}\nop" if values else "op"
        expected = ngspice.vectors(ngspice.cards(path.read_text()) + tight, commands, names, path.parent)
        for name, voltage in zip(names, z[: len(names)], strict=True):
            difference = abs(voltage - expected[name][0])
            agrees = difference < max(VOLT, RELATIVE * abs(expected[name][0]))
            worst = (float(difference), name) if difference > found.volt else (found.volt, found.node)
            found = Rest(*worst, found.agrees and bool(agrees))
    return found


def compare(
    path: Path,
    peaks: Sequence[float],
    positions: Sequence[float] = POSITIONS,
    performance: Performance = CHORD,
    factors: Sequence[int] = FACTORS,
    own_laws: bool = False,
) -> Iterator[Comparison]:
    """The transients of a netlist with one input against ngspice's, at every peak and position of all knobs.

    own_laws: whether ngspice gets semiconductors as B sources with this program's laws, instead of the file's cards.
    """
    ours = _Ours(path, performance)
    deck = with_law_sources(ours.circuit) if own_laws else path.read_text()
    for position in positions if ours.circuit.knobs else positions[:1]:
        for peak in peaks:
            yield _converged(ours, deck, position, peak, factors)


def _converged(ours: _Ours, deck: str, position: float, peak: float, factors: Sequence[int]) -> Comparison:
    """Halves the step until both programs have converged, or to the last of the factors. A step at which ngspice does
    not reach the end is passed over."""
    found, coarse, tolerances = None, None, VOLTAGE_TOLERANCES
    reason = ""
    for factor in factors:
        source = peak * chord(SAMPLE_RATE * factor, ours.performance)
        try:
            theirs, tolerances = _ngspice_at(ours.circuit, deck, position, source, SAMPLE_RATE * factor, tolerances)
        except AssertionError as error:
            coarse, reason = None, _reason(error)
            continue
        own, failed = ours.run(factor, position, peak)
        if coarse is not None:
            third = 20.0 * math.log10(3.0)
            found = Comparison(
                position, peak, factor, tolerances[0], _level(own - theirs, theirs),
                _level(own - coarse[0], theirs) - third, _level(theirs - coarse[1], theirs) - third, failed,
            )  # fmt: skip
            if max(found.own_db, found.ngspice_db) < CONVERGED_DB:
                break
        coarse = own, theirs
    infinite = (math.inf,) * 3
    return found or Comparison(position, peak, factors[0], tolerances[0], *infinite, reason=reason)


def _ngspice_at(
    circuit: Circuit, deck: str, position: float, source: NDArray[np.float64], rate: float, tolerances: Sequence[float]
) -> tuple[NDArray[np.float64], Sequence[float]]:
    """ngspice's output with the first tolerance with which it reaches the end, and the tolerances from that one on."""
    for k, vntol in enumerate(tolerances):
        try:
            return _ngspice(circuit, deck, position, source, rate, vntol), tolerances[k:]
        except AssertionError as error:
            last = error
    raise last


class _Ours:
    """This program's outputs; a model is made once for each step."""

    def __init__(self, path: Path, performance: Performance) -> None:
        self.circuit = read_netlist(path)
        self.performance = performance
        self.models: dict[int, CircuitModel] = {}

    def run(self, factor: int, position: float, peak: float) -> tuple[NDArray[np.float64], bool]:
        rate = SAMPLE_RATE * factor
        model = self.models.setdefault(factor, CircuitModel(self.circuit, rate, oversample=1))
        u = torch.as_tensor(peak * chord(rate, self.performance))[None, :, None]
        with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            y, _ = model(u, knobs={knob.name: position for knob in self.circuit.knobs})
        return y[0, :: factor // COMPARED].numpy(), bool(caught)


def _ngspice(
    circuit: Circuit, deck: str, position: float, source: NDArray[np.float64], rate: float, vntol: float
) -> NDArray[np.float64]:
    nodes = sorted({node for pair in circuit.outputs for node in pair} - {GROUND})
    result = ngspice.transient(
        deck, source, rate, input_name=circuit.inputs[0], names=[f"v({node})" for node in nodes],
        parameters=settings(circuit, position), vntol=vntol, folder=circuit.path and circuit.path.parent,
    )  # fmt: skip
    voltages: Mapping[str, NDArray[np.float64]] = {GROUND: np.zeros(source.size)} | {
        node: result.outputs[f"v({node})"] for node in nodes
    }
    outputs = [voltages[plus] - voltages[minus] for plus, minus in circuit.outputs]
    return np.stack(outputs, -1)[:: round(rate / SAMPLE_RATE) // COMPARED]


def _level(difference: NDArray[np.float64], signal: NDArray[np.float64]) -> float:
    """rms over rms in dB, each [time, outputs] without its mean over time; of the worst output."""
    rms = [np.std(part, axis=0) for part in (difference, signal)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(20.0 * np.log10(np.max(rms[0] / rms[1])))


def _reason(error: AssertionError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "too small" in line or "rror" in line), lines[0])
