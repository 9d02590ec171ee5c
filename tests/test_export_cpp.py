"""The exported C++ against the model that it was made of."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from circuits import parse
from exported import WARNINGS, Exported, compiler

from circuitnn.circuit import Circuit
from circuitnn.export import export
from circuitnn.export.equations import formulas, positions
from circuitnn.export.subject import Subject
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.rendering import render
from circuitnn.schemes import BDF2
from circuitnn.simulate import CONTROL_PERIOD

NETLISTS = Path(__file__).parents[1] / "netlists"
RATE = 48000.0
LENGTHS = [1, 7, 64, 1000]

# Knobs of every kind: `bend` moves a resistor, a gain, a source and a diode at once, `size` a capacitor, which waits
# for a reset; and two inputs, two outputs.
EVERYTHING = """.param bend=0.3 size=0.6
Vin in 0 0
Vside side 0 0
Vcc vcc 0 {1 + bend}
R1 in a 1k
R2 side a {500 + 2k*bend**2}
R3 vcc a 10k
C1 a 0 {1n + 20n*size}
E1 amp 0 a 0 {2 + 3*bend}
R4 amp out 1k
L1 out far 10m
R5 far 0 2.2k
D1 out 0 DK
.model DK D(IS={1n*(1 + 5*bend)} N=1.5)
*@ input Vin Vside
*@ output out
*@ output far
*@ knob bend 0.3 taper=log
*@ knob size 0.6"""


@cache
def circuit_of(name: str) -> Circuit:
    return parse(EVERYTHING.replace("bend=0.3", "bend=0.05")) if name == "everything" else read_netlist(
        NETLISTS / f"{name}.cir"
    )


CASES = ["fmv_tone_stack", "series_diode_clipper", "ts808", "moog_ladder", "tube_preamp", "everything"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@cache
def exported(name: str, folder: Path) -> Exported:
    scheme = {"scheme": BDF2} if name == "everything" else {}
    subject = Subject(name, circuit_of(name), RATE, 2, **scheme)
    return Exported(subject, folder / name, 2, ("-O1", *WARNINGS), single=name in ("ts808", "everything"))


def model_of(name: str, oversample: int = 2) -> CircuitModel:
    scheme = {"scheme": BDF2} if name == "everything" else {}
    return CircuitModel(circuit_of(name), RATE, oversample, [], **scheme)


def signal(time: int, channels: int, amplitude: float = 0.3) -> np.ndarray:
    """A chord that grows, and some noise; other channels a little later."""
    n = np.arange(time)[:, None] - 5.0 * np.arange(channels)
    chord = np.sin(0.031 * n) + 0.6 * np.sin(0.083 * n + 1.0)
    noise = np.random.default_rng(3).standard_normal((time, channels))
    return amplitude * (chord * n / time + 0.01 * noise)


def setting(circuit: Circuit, seed: int) -> dict[str, float]:
    random = np.random.default_rng(seed)
    return {knob.name: float(random.uniform()) for knob in circuit.knobs}


@pytest.mark.parametrize("name", CASES)
def test_it_plays_what_python_plays(name: str, folder: Path) -> None:
    """At rest first, at positions other than those exported, in blocks of any length."""
    program, circuit, model = exported(name, folder), circuit_of(name), model_of(name)
    knobs = setting(circuit, 1)
    u = signal(sum(LENGTHS), len(circuit.inputs))
    with torch.no_grad():
        expected = model(torch.as_tensor(u)[None], knobs=knobs)[0][0].numpy()
        other = model(torch.as_tensor(u)[None], knobs=positions(circuit))[0][0].numpy()
    found, failures = program.run(u, knobs, RATE, LENGTHS)
    assert failures == 0
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-9 * scale
    assert not circuit.knobs or np.abs(other - expected).max() > 1e-3 * scale
    # From the first sample on, also where the output has an offset.
    reversed_, _ = program.run(u, knobs, RATE, LENGTHS[::-1])
    assert np.abs(reversed_ - expected).max() < 1e-9 * scale


@pytest.mark.parametrize("name", ["ts808", "moog_ladder", "everything"])
def test_knobs_move_as_in_python(name: str, folder: Path) -> None:
    program, circuit, model = exported(name, folder), circuit_of(name), model_of(name)
    free = {knob.name for knob in formulas(model.discrete).knobs if knob.held is None}
    blocks = 20
    turns = np.random.default_rng(4).uniform(0.0, 1.0, (blocks, len(circuit.knobs)))
    for k, knob in enumerate(circuit.knobs):
        if knob.name not in free:
            turns[:, k] = 0.4
    turns[7:11] = turns[7]
    start = {knob.name: float(turns[0, k]) for k, knob in enumerate(circuit.knobs)}
    u = signal(blocks * CONTROL_PERIOD, len(circuit.inputs))
    lengths = [CONTROL_PERIOD] * blocks
    found, failures = program.run(u, start, RATE, lengths, turns)
    pieces, _ = program.run(u, start, RATE, [5, 27] * blocks, np.repeat(turns, 2, 0))
    assert failures == 0
    if name == "everything":
        # Python cannot move a source. It can stand still: the end must be that of a circuit that never moved.
        turns[1:] = turns[-1]
        long = signal(200 * CONTROL_PERIOD, len(circuit.inputs))
        along, _ = program.run(long, start, RATE, [CONTROL_PERIOD] * 200, np.repeat(turns[1:2], 200, 0))
        final = dict(zip(start, turns[-1], strict=True))
        with torch.no_grad():
            expected = model(torch.as_tensor(long)[None], knobs=final)[0][0].numpy()
        assert np.abs(along - expected)[:100].max() > 1e-3
        assert np.abs(along - expected)[-1000:].max() < 1e-9 * np.abs(expected).max()
        return
    tensors = {
        knob.name: torch.as_tensor(np.repeat(turns[:, k], CONTROL_PERIOD))[None] for k, knob in enumerate(circuit.knobs)
    }
    with torch.no_grad():
        expected = model(torch.as_tensor(u)[None], knobs=tensors)[0][0].numpy()
        still = model(torch.as_tensor(u)[None], knobs=start)[0][0].numpy()
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-9 * scale
    assert np.abs(pieces - found).max() < 1e-9 * scale
    assert np.abs(still - expected).max() > 1e-2 * scale
