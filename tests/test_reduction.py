"""Normal equations in the shared unknowns against the whole linear least-squares problem, solved at once by numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from circuitnn.fitting.reduction import Reduced, Reduction, reduce_gains

Signals = NDArray[np.float64]
TIME = 240


@dataclass(frozen=True)
class Columns:
    """One recording's signals [TIME, .]: derivatives, output, target, the target's derivative by delay, nuisances."""

    derivatives: Signals
    output: Signals
    target: Signals
    slope: Signals
    nuisances: Signals

    @property
    def scale(self) -> float:
        return float(np.linalg.norm(self.target))

    def reduction(self) -> Reduction:
        parts = (self.derivatives, self.output, self.target, self.slope, self.nuisances)
        block = np.concatenate([part.reshape(TIME, -1) for part in parts], 1)
        return Reduction(np.stack([rows.T @ rows for rows in np.split(block, 6)]), self.derivatives.shape[1])


def columns(rng: np.random.Generator, p: int, n: int) -> Columns:
    """A target that is much like the output, with a constant and hum, at another scale for every recording."""
    time = np.arange(TIME)
    waves = [np.ones(TIME), *(np.cos(0.05 * k * time + k) for k in range(1, n))]
    nuisances = np.stack(waves, 1)
    output = rng.standard_normal(TIME)
    scale = 10.0 ** rng.uniform(-2.0, 2.0)
    target = scale * (output + 0.3 * rng.standard_normal(TIME) + nuisances @ rng.standard_normal(n))
    return Columns(rng.standard_normal((TIME, p)), output, target, rng.standard_normal(TIME), nuisances)


def whole(recordings: list[Columns], gains: list[float], free: list[int]) -> tuple[Signals, float]:
    """Solution of the whole problem, and its sum of squares: a step [p], moves of the gains (`free`: which one belongs
    to each recording, none if they are given), then for each recording its delay and amplitudes. gains: now."""
    p = recordings[0].derivatives.shape[1]
    own = [1 + r.nuisances.shape[1] for r in recordings]
    width = p + len(set(free)) + sum(own)
    rows, right = [], []
    at = p + len(set(free))
    for k, r in enumerate(recordings):
        row = np.zeros((TIME, width))
        row[:, :p] = gains[k] * r.derivatives
        if free:
            row[:, p + free[k]] = r.output
        row[:, at] = -gains[k] * r.slope
        row[:, at + 1 : at + own[k]] = r.nuisances
        at += own[k]
        rows.append(row / r.scale)
        right.append((r.target - gains[k] * r.output) / r.scale)
    matrix, vector = np.concatenate(rows), np.concatenate(right)
    found = np.linalg.lstsq(matrix, vector, rcond=None)[0]
    return found, float(np.sum((matrix @ found - vector) ** 2))


def without_step(recordings: list[Columns], given_gain: float | None) -> tuple[float, list[Signals]]:
    """The gain in common and the amplitudes of each recording that fit best as things are."""
    width = 1 + sum(r.nuisances.shape[1] for r in recordings)
    rows, right, places, at = [], [], [], 1
    for r in recordings:
        row = np.zeros((TIME, width))
        places.append(slice(at, at := at + r.nuisances.shape[1]))
        row[:, 0], row[:, places[-1]] = r.output, r.nuisances
        rows.append(row / r.scale)
        right.append(r.target / r.scale)
    matrix, vector = np.concatenate(rows), np.concatenate(right)
    if given_gain is not None:
        found = np.linalg.lstsq(matrix[:, 1:], vector - given_gain * matrix[:, 0], rcond=None)[0]
        found = np.concatenate([[given_gain], found])
    else:
        found = np.linalg.lstsq(matrix, vector, rcond=None)[0]
    return float(found[0]), [found[place] for place in places]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), p=st.integers(1, 4), n=st.integers(1, 4), count=st.integers(1, 3),
    gain=st.none() | st.sampled_from([0.5, -2.0]), shared=st.booleans(),
)  # fmt: skip
def test_the_step_is_that_of_the_whole_problem(
    seed: int, p: int, n: int, count: int, gain: float | None, shared: bool
) -> None:
    rng = np.random.default_rng(seed)
    recordings = [columns(rng, p, n) for _ in range(count)]
    groups = [list(range(count))] if shared else [[k] for k in range(count)]
    reduced: list[Reduced] = []
    for group in groups:
        reduced += reduce_gains([recordings[k].reduction() for k in group], gain)
        best, amplitudes = without_step([recordings[k] for k in group], gain)
        for k, own in zip(group, amplitudes, strict=True):
            assert np.isclose(reduced[k].gain, best, rtol=1e-8)
            assert np.allclose(reduced[k].amplitudes, own, rtol=1e-7, atol=1e-8 * recordings[k].scale)
            left = reduced[k].gain * recordings[k].output + recordings[k].nuisances @ own - recordings[k].target
            assert np.isclose(reduced[k].error, np.sum(left**2) / recordings[k].scale ** 2, rtol=1e-7)
            assert np.isclose(reduced[k].errors.sum(), reduced[k].error, rtol=1e-8)

    free = [] if gain is not None else [0] * count if shared else list(range(count))
    gains = [part.gain for part in reduced]
    found, least = whole(recordings, gains, free)
    H, b = (np.sum([getattr(part, name) for part in reduced], 0) for name in ("H", "b"))
    step = -np.linalg.solve(H, b)
    assert np.allclose(step, found[:p], rtol=1e-6, atol=1e-8)
    at = p + len(set(free))
    for part in reduced:
        assert np.isclose(part.delay_offset + part.delay_slope @ step, found[at], rtol=1e-5, atol=1e-8)
        at += 1 + n
    # Along any other step, everything else following: the quadratic form is exactly what is lost.
    other = step + 0.1 * rng.standard_normal(p)
    held = [
        Columns(r.derivatives[:, :0], r.output, r.target - g * r.derivatives @ other, r.slope, r.nuisances)
        for r, g in zip(recordings, gains, strict=True)
    ]
    scaled = sum_of_squares(held, recordings, gains, free)
    assert np.isclose(scaled - least, (other - step) @ H @ (other - step), rtol=1e-5, atol=1e-9)


def sum_of_squares(held: list[Columns], scales: list[Columns], gains: list[float], free: list[int]) -> float:
    """What the whole problem leaves over when its step is held, the targets being what the step leaves of them."""
    rows, right, at = [], [], len(set(free))
    width = at + sum(1 + r.nuisances.shape[1] for r in held)
    for k, (r, original) in enumerate(zip(held, scales, strict=True)):
        row = np.zeros((TIME, width))
        if free:
            row[:, free[k]] = r.output
        row[:, at] = -gains[k] * r.slope
        row[:, at + 1 : at + 1 + r.nuisances.shape[1]] = r.nuisances
        at += 1 + r.nuisances.shape[1]
        rows.append(row / original.scale)
        right.append((r.target - gains[k] * r.output) / original.scale)
    matrix, vector = np.concatenate(rows), np.concatenate(right)
    return float(np.sum((matrix @ np.linalg.lstsq(matrix, vector, rcond=None)[0] - vector) ** 2))
