"""A device that sings on its own, the phase of which adds up whatever its frequency is off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from circuitnn import CircuitModel, FitResult, Recording, fit, parse_netlist
from circuitnn.excitation import plucked_string
from circuitnn.fitting import procedure
from circuitnn.rendering import render

RATE = 44100
SECONDS = 1.5
# The tank's frequency is 1 / (2 pi sqrt(L1 C1)) = 734 Hz, but for what the conductances do to it.
TRUE = {"C1": 470e-9, "R1": 4700.0}
OSCILLATOR = """A tank that a negative conductance keeps going
*@ input VIN
*@ output a
*@ learn C1 R1 tol=10%
VIN in 0 0
R1 in a {R1}
L1 a 0 100m
C1 a 0 {C1}
R2 a 0 10k
B1 a 0 I={{-1.6m*tanh(V(a)/4)}}
.end
"""


def oscillator(oversample: int, **values: float) -> CircuitModel:
    return CircuitModel(parse_netlist(OSCILLATOR.format(**(TRUE | values))), RATE, oversample=oversample)


@pytest.fixture(scope="module")
def recording() -> Recording:
    """A note that sets it off, with noise at -60 dB. It is played by finer steps than those of the fit."""
    dry = np.append(np.zeros(RATE // 50), 3.0 * plucked_string(110.0, SECONDS, RATE))
    wet = render(oscillator(16), dry, 1.0).output
    # It sings on.
    assert np.std(wet[-RATE // 10 :]) > 0.5 * np.std(wet)
    noise = 1e-3 * np.std(wet) * np.random.default_rng(0).standard_normal(len(wet))
    return Recording(dry, wet + noise, RATE, delay=0.0)


def fitted(
    recording: Recording, far: float, progress: Callable[[str, int, float], None] | None = None,
    checkpoint: Path | None = None,
) -> tuple[FitResult, list[str]]:  # fmt: skip
    """The fit from values that are wrong by a factor, and the stages that it went through."""
    stages: list[str] = []

    def watch(stage: str, iteration: int, error: float) -> None:
        stages.append(stage)
        if progress:
            progress(stage, iteration, error)

    model = oscillator(4, **{name: far * value for name, value in TRUE.items()})
    result = fit(
        model, [recording], input_level=1.0, output_gain=1.0, progress=watch, checkpoint=checkpoint, resume=True
    )
    return result, list(dict.fromkeys(stages))


@pytest.mark.parametrize(("far", "noise"), [(0.8, 1e-3), (1.3, 1e-3), (0.8, 1e-2)])
def test_a_frequency_that_is_a_hundred_periods_off_is_found(recording: Recording, far: float, noise: float) -> None:
    hiss = noise * np.std(recording.wet) * np.random.default_rng(2).standard_normal(len(recording.wet))
    result, stages = fitted(replace(recording, wet=recording.wet + hiss), far)
    assert stages == ["search", "approach", "growing", "grown", "fit"]
    assert result.esr < 1.1 * (noise**2 + 1e-6)
    for name, value in TRUE.items():
        assert result.values[name] == pytest.approx(value, rel=2e-3)


def test_what_is_not_lost_does_not_grow(recording: Recording) -> None:
    short = replace(recording, dry=recording.dry[: RATE // 10], wet=recording.wet[: RATE // 10])
    result, stages = fitted(short, 1.0)
    assert stages == ["search", "approach", "fit"]
    assert result.values["C1"] == pytest.approx(TRUE["C1"], rel=2e-3)


def test_what_no_values_explain_is_approached_as_ever(recording: Recording) -> None:
    """Nothing but noise: the first fit to the begin loses it already."""
    noise = np.random.default_rng(1).standard_normal(len(recording.wet))
    _, stages = fitted(replace(recording, wet=noise), 1.0)
    assert stages == ["search", "approach", "fit"]


def test_without_any_noise_there_is_a_result(recording: Recording) -> None:
    """Steps and values are those of the truth: the error is rounding, and may be zero."""
    exact = replace(recording, wet=render(oscillator(4), recording.dry, 1.0).output)
    result, _ = fitted(exact, 1.0)
    assert result.esr < 1e-20
    assert np.isfinite(list(result.stderr.values())).all()


def test_a_fit_that_is_killed_while_it_looks_at_the_begin_ends_with_the_same_values(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last step of a stage is not written, so this one has to have more than one.
    monkeypatch.setattr(procedure, "furthest", lambda _: 0.25)
    undisturbed, _ = fitted(recording, 1.3)
    state = tmp_path / "state.json"
    for stage in ("growing", "grown", "fit"):
        with pytest.raises(_Killed):
            fitted(recording, 1.3, progress=_killing(stage), checkpoint=state)
    resumed, stages = fitted(recording, 1.3, checkpoint=state)
    assert stages[0] != "search"
    assert resumed.values == undisturbed.values
    assert resumed.errors == undisturbed.errors


class _Killed(BaseException):
    """Not to be caught by anything on the way."""


def _killing(stage: str) -> Callable[[str, int, float], None]:
    def progress(now: str, *_: object) -> None:
        if now == stage:
            raise _Killed

    return progress
