"""Clicks and dropouts in a recording: with the robust loss the values stay, and it is said what did not count."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference.load import recovery_case
from reference.signals import EXAMPLE, guitar, times

from circuitnn import CircuitModel, FitResult, Recording, fit, parse_netlist, read_netlist
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.fitting.problem import Evaluation, Point, Problem, observe
from circuitnn.fitting.robust import block_weights, counting_little
from circuitnn.fitting.unknowns import Unknowns
from circuitnn.netlist import format_netlist
from circuitnn.rendering import render

RATE, LEVEL = 44100, 1.0
CASE = recovery_case("ts808_clipper")
NAMES = ["C2", "R4", "C3", "C4", "DCLIP.is", "DCLIP.n"]
Signal = NDArray[np.float64]


def grams(errors: Signal, levels: Signal) -> Signal:
    """Inner products of (output, target, slope, constant) whose gain is 1, with these errors and levels by block: what
    is left over has nothing to do with the output."""
    found = np.zeros((len(errors), 4, 4))
    found[:, 0, 0] = found[:, 0, 1] = found[:, 1, 0] = levels
    found[:, 1, 1] = levels + errors
    found[:, 2, 2] = found[:, 3, 3] = 1.0
    return found


def weights(errors: Signal, levels: Signal) -> Signal:
    (found,) = block_weights([grams(errors, levels)], [0], 1.0)
    return found


positive = st.floats(0.05, 20.0)
blocks = st.lists(st.tuples(positive, positive), min_size=4, max_size=20).map(lambda rows: np.array(rows).T)


@given(rows=blocks)
def test_the_weighted_errors_are_a_scale_that_moves_as_the_weights_say(rows: Signal) -> None:
    errors, levels = rows

    def scale(errors: Signal) -> float:
        return float(weights(errors, levels) @ errors)

    here = weights(errors, levels)
    # Of the errors and nothing else: twice the errors are twice the scale, with the same weights.
    assert scale(2.0 * errors) == pytest.approx(2.0 * scale(errors), rel=1e-9)
    for k in range(len(errors)):
        step = 1e-5 * errors[k] * np.eye(len(errors))[k]
        slope = (scale(errors + step) - scale(errors - step)) / (2.0 * step[k])
        assert slope == pytest.approx(here[k], rel=1e-4, abs=1e-9 * here.max())


def test_errors_that_are_alike_count_alike() -> None:
    generator = np.random.default_rng(0)
    levels = 10.0 ** generator.uniform(-4.0, 0.0, 200)
    even = weights(np.full(200, 1e-4), np.ones(200))
    assert even == pytest.approx(np.ones(200), rel=1e-9)
    # Errors that grow with the sound, and noise that does not.
    for errors in (1e-3 * levels, np.full(200, 1e-5)):
        found = weights(errors, levels)
        assert found.min() > 0.15 * np.median(found)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e9])
def test_a_fifth_of_the_blocks_cannot_spoil_the_scale(size: float) -> None:
    levels, errors = np.ones(100), np.full(100, 1e-4)
    spoiled = errors.copy()
    spoiled[::5] = size
    found = weights(spoiled, levels)
    assert found @ spoiled < 20.0 * errors.sum()
    assert found[::5].max() < 1e-3 * found[1]
    assert counting_little(found, np.arange(100, 10100, 100)) == [(500 * k, 500 * k + 100) for k in range(20)]


def recorded() -> Recording:
    """The Tube Screamer's clipper with drifted values and a little noise."""
    device = CircuitModel(
        parse_netlist(format_netlist(read_netlist(CASE.netlist), CASE.truth)), RATE, oversample=4, learn=[]
    )
    dry = 0.9 * guitar(EXAMPLE, times(EXAMPLE, RATE))
    wet = 0.6 * render(device, dry, LEVEL).output
    wet += 1e-3 * wet.std() * np.random.default_rng(1).standard_normal(len(wet))
    return Recording(dry, wet, RATE, {"drive": CASE.truth["drive"]})


def spoiled(clean: Recording) -> Recording:
    """Four bursts of 10 ms as loud as the loudest note, and three dropouts of 20 ms: 5 % of the time."""
    generator, wet = np.random.default_rng(0), clean.wet.copy()
    for at in (0.31, 0.62, 1.07, 1.71):
        burst = slice(round(at * RATE), round((at + 0.01) * RATE))
        wet[burst] += 0.5 * np.abs(clean.wet).max() * generator.standard_normal(burst.stop - burst.start)
    for at in (0.45, 1.31, 1.55):
        wet[round(at * RATE) : round((at + 0.02) * RATE)] = 0.0
    return replace(clean, wet=wet)


def fitted(recording: Recording, robust: bool) -> FitResult:
    model = CircuitModel(read_netlist(CASE.netlist), RATE, learn=NAMES)
    return fit(model, [recording], input_level=LEVEL, robust=robust)


@pytest.fixture(scope="module")
def clean() -> Recording:
    return recorded()


def test_the_values_are_those_of_a_clean_recording(clean: Recording) -> None:
    reference, plain, robust = fitted(clean, False), fitted(spoiled(clean), False), fitted(spoiled(clean), True)
    far = 0
    for name in NAMES:
        interval = 1.96 * math.hypot(robust.stderr[name], reference.stderr[name])
        assert abs(robust.values[name] - reference.values[name]) < interval, name
        # What is left of the recording tells nearly as much as all of it.
        assert robust.stderr[name] < 1.5 * reference.stderr[name]
        moved = abs(plain.values[name] - reference.values[name]) / interval
        assert moved > 2.0, name
        far += moved > 10.0
    assert far >= 4
    assert robust.esr < 1.5 * reference.esr
    (one,) = robust.recordings
    assert 0.1 < sum(end - begin for begin, end in one.doubted) < 0.6
    for at in (0.31, 0.45, 0.62, 1.07, 1.31, 1.55, 1.71):
        assert any(begin <= at + 0.005 <= end for begin, end in one.doubted), at
    assert plain.recordings[0].doubted == ()


def test_a_clean_recording_loses_nothing(clean: Recording) -> None:
    reference, robust = fitted(clean, False), fitted(clean, True)
    for name in NAMES:
        assert abs(robust.values[name] - reference.values[name]) < robust.stderr[name], name
        assert robust.stderr[name] < 1.3 * reference.stderr[name]
    assert robust.recordings[0].doubted == ()


def test_the_gradient_is_that_of_the_error(clean: Recording) -> None:
    """Also for recordings that share a gain: what weights and gain do to each other is settled at every point."""
    model = CircuitModel(read_netlist(CASE.netlist), RATE, oversample=2, learn=NAMES)
    recordings = [replace(r, gain_group="both") for r in (clean, spoiled(clean))]
    unknowns = Unknowns(model, recordings, LEVEL)
    problem = Problem(unknowns, model, observe(model, recordings, [0.0, 0.0]), robust=True)

    def there(shared: Signal, delays: Signal) -> Evaluation:
        (found,) = problem.evaluate([Point(shared, delays)])
        assert found is not None
        return found

    here = there(np.full(len(NAMES), 0.02), np.zeros(2))
    for _ in range(4):
        here = there(here.point.shared, problem.moved(here, np.zeros(len(NAMES))).delays)
    for k in range(len(NAMES)):
        step = 1e-4 * np.eye(len(NAMES))[k]
        errors = [there(here.point.shared + side * step, here.point.delays).error for side in (-1.0, 1.0)]
        # The levels that blocks are measured by move a little, too.
        assert (errors[1] - errors[0]) / 2e-4 == pytest.approx(
            2.0 * here.b[k], rel=0.03, abs=0.01 * np.abs(here.b).max()
        )


def test_the_command(clean: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dirty = spoiled(clean)
    write_wav(Path("dry.wav"), dirty.dry, RATE)
    write_wav(Path("wet.wav"), dirty.wet, RATE)
    arguments = ["fit", str(CASE.netlist), "dry.wav", "wet.wav", "--learn", "C4,DCLIP.n", "--out", "run", "--robust"]
    arguments += ["--input-level", "1", "--oversample", "1", "--set", f"drive={CASE.truth['drive']}"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "s counted little" in done.stdout.replace("\n", " ")
    run = json.loads(Path("run/run.json").read_text())
    assert run["settings"]["robust"] is True
    assert len(run["recordings"][0]["doubted"]) >= 4
    assert "counted little" in Path("run/report.html").read_text()
