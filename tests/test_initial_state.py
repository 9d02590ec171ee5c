"""Recordings that begin in mid-sound: the circuit's state there is estimated, and does no harm to the values."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from circuitnn import CircuitModel, FitResult, Recording, fit, parse_netlist
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.excitation import plucked_string
from circuitnn.fitting import observation as module
from circuitnn.fitting import procedure
from circuitnn.fitting.initial_state import begins_in_sound, usual_state
from circuitnn.fitting.problem import Point, Problem, observe
from circuitnn.fitting.unknowns import Unknowns
from circuitnn.netlist import format_netlist
from circuitnn.rendering import render

RATE, LEVEL = 22050, 2.0
# A coupling capacitor that is charged by one-sided clipping, and takes 50 ms to forget it.
NETLIST = """biased clipper
*@ input Vin
*@ output out
*@ learn C1 C2 R2 D.n
Vin in 0 0
R1 in a 1k
C1 a b 1u
R2 b 0 47k
D1 b 0 D
R3 b out 4.7k
C2 out 0 4.7n
.model D D(is=2n n=1.8)
"""
TRUTH = {"C1": 1.1e-6, "C2": 5.2e-9, "R2": 44e3, "D.n": 1.75}
CUT = 2000


@cache
def whole() -> Recording:
    device = CircuitModel(parse_netlist(format_netlist(parse_netlist(NETLIST), TRUTH)), RATE, 1, learn=[])
    dry = np.concatenate([np.zeros(RATE // 10), 0.7 * plucked_string(147.0, 0.7, RATE)])
    wet = 0.5 * render(device, dry, LEVEL).output
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(wet))
    return Recording(dry, wet + noise, RATE, name="whole")


@cache
def cut() -> Recording:
    """From the middle of the note on, with a delay of 7 samples that is known: a decay alone tells little of it."""
    begin = RATE // 10 + CUT
    recording = whole()
    return replace(recording, dry=recording.dry[begin:], wet=recording.wet[begin - 7 :], name="cut", delay=7.0)


def fitted(recording: Recording) -> FitResult:
    return fit(CircuitModel(parse_netlist(NETLIST), RATE, 1), [recording], input_level=LEVEL)


def off(result: FitResult) -> dict[str, float]:
    """Errors in units of the stated standard errors."""
    return {name: (result.values[name] - value) / result.stderr[name] for name, value in TRUTH.items()}


def test_a_recording_that_is_cut_fits_as_well_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, result = fitted(whole()), fitted(cut())
    assert not reference.recordings[0].cut
    assert result.recordings[0].cut
    assert result.esr < 1.5 * reference.esr
    assert result.recordings[0].delay == pytest.approx(7.0, abs=0.01)
    assert max(map(abs, off(result).values())) < 3.0, off(result)
    assert result.stderr["C1"] < 0.05 * TRUTH["C1"]
    # Taken to begin at rest, the same recording is off: in its error, and in what it says of the capacitor.
    monkeypatch.setattr(procedure, "begins_in_sound", lambda recording, delay: False)
    at_rest = fitted(cut())
    assert not at_rest.recordings[0].cut
    assert at_rest.esr > 20.0 * result.esr
    assert abs(at_rest.values["C1"] - TRUTH["C1"]) > 5.0 * abs(result.values["C1"] - TRUTH["C1"])


def test_where_the_sound_begins_decides() -> None:
    assert not begins_in_sound(whole(), 0.0)
    assert begins_in_sound(cut(), 7.0)
    # Noise in the pause is no sound.
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(len(whole().dry))
    assert not begins_in_sound(replace(whole(), dry=whole().dry + hiss), 0.0)
    # What the wet does not have yet need not be known.
    late = round(0.06 * RATE)
    assert not begins_in_sound(replace(cut(), wet=cut().wet[late:]), 7.0 - late)


def test_the_derivatives_by_the_state_are_those_of_the_output() -> None:
    """The columns' inner products with the output, against differences of simulations that begin elsewhere."""
    model = CircuitModel(parse_netlist(NETLIST), RATE, oversample=2)
    recording = cut()
    unknowns = Unknowns(model, [recording], LEVEL)
    unit = usual_state(model, recording.dry, {}, LEVEL)
    assert len(unit) == 2
    (observation,) = observe(model, [recording], [7.0], (), [unit])
    point = np.zeros(len(unknowns))
    linear = Problem(unknowns, model, [observation]).linearise(point, ())
    p = len(point)
    state = np.array([0.3, -0.2])

    def gram(state: np.ndarray) -> np.ndarray:
        windows = observation.windows(7.0)
        (snapshot,) = observation.snapshots(linear, windows, state)
        return observation.normal(linear, snapshot, windows[0], 7.0).grams.sum(0)

    here = gram(state)
    for k in range(2):
        step = 1e-5 * np.eye(2)[k]
        # The output's products with itself and with the target.
        for column, expected in ((p, 2.0 * here[p, p + 3 + k]), (p + 1, here[p + 1, p + 3 + k])):
            slope = (gram(state + step)[p, column] - gram(state - step)[p, column]) / 2e-5
            assert slope == pytest.approx(expected, rel=1e-5)


def test_the_state_is_forgotten_after_the_first_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the directions of the state cost does not grow with the recording: they end with the first chunk."""
    monkeypatch.setattr(module, "CHUNK_SECONDS", 0.2)
    widths = []
    tangent = module.tangent

    def spied(*arguments: object) -> object:
        widths.append(arguments[4].shape[-1])  # type: ignore[attr-defined]
        return tangent(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "tangent", spied)
    model = CircuitModel(parse_netlist(NETLIST), RATE, 1)
    unknowns = Unknowns(model, [cut()], LEVEL)
    unit = usual_state(model, cut().dry, {}, LEVEL)
    problem = Problem(unknowns, model, observe(model, [cut()], [7.0], (), [unit]))
    problem.evaluate([Point(np.zeros(4), np.array([7.0]), (np.zeros(2),))])
    assert widths == [6, 4, 4, 4]


def test_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clipper.cir").write_text(NETLIST)
    write_wav(Path("dry.wav"), cut().dry, RATE)
    write_wav(Path("wet.wav"), cut().wet, RATE)
    arguments = ["fit", "clipper.cir", "dry.wav", "wet.wav", "--oversample", "1", "--input-level", "2", "--out", "run"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "wet.wav begins in mid-sound" in done.stdout.replace("\n", " ")
    assert json.loads(Path("run/run.json").read_text())["recordings"][0]["cut"] is True
    assert "wet.wav begins in mid-sound" in Path("run/report.html").read_text()
