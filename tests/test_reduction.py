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
    """One recording's signals [TIME, .]: derivatives, output, target, the target's derivative by delay, nuisances, and
    derivatives by the initial state."""

    derivatives: Signals
    output: Signals
    target: Signals
    slope: Signals
    nuisances: Signals
    states: Signals

    @property
    def scale(self) -> float:
        return float(np.linalg.norm(self.target))

    def reduction(self) -> Reduction:
        parts = (self.derivatives, self.output, self.target, self.slope, self.states, self.nuisances)
        block = np.concatenate([part.reshape(TIME, -1) for part in parts], 1)
        grams = np.stack([rows.T @ rows for rows in np.split(block, 6)])
        return Reduction(grams, self.derivatives.shape[1], self.states.shape[1])

    def own(self, gain: float) -> Signals:
        """What belongs to this recording alone: delay, state, nuisances."""
        return np.concatenate([-gain * self.slope[:, None], gain * self.states, self.nuisances], 1) / self.scale

    def prior(self, error: float) -> Signals:
        """Rows that hold the state where it is, as strongly as a thousand samples of this error would."""
        own = 1 + self.states.shape[1] + self.nuisances.shape[1]
        return np.sqrt(error / 1000.0) * np.eye(own)[1 : 1 + self.states.shape[1]]


def columns(rng: np.random.Generator, p: int, n: int, s: int) -> Columns:
    """A target that is much like the output, with a constant and hum, at another scale for every recording."""
    time = np.arange(TIME)
    waves = [np.ones(TIME), *(np.cos(0.05 * k * time + k) for k in range(1, n))]
    nuisances = np.stack(waves, 1)
    output = rng.standard_normal(TIME)
    scale = 10.0 ** rng.uniform(-2.0, 2.0)
    target = scale * (output + 0.3 * rng.standard_normal(TIME) + nuisances @ rng.standard_normal(n))
    # A state is forgotten; the second one is heard like the first, so that the prior must tell them apart.
    states = np.exp(-time / 20.0)[:, None] * rng.standard_normal((TIME, 1)) * np.ones(s)
    return Columns(rng.standard_normal((TIME, p)), output, target, rng.standard_normal(TIME), nuisances, states)


def whole(
    recordings: list[Columns], gains: list[float], errors: list[float], free: list[int], held: Signals | None = None
) -> tuple[Signals, float]:
    """Solution of the whole problem, and its sum of squares: a step [p] (not if it is `held`), moves of the gains
    (`free`: which one belongs to each recording, none if they are given), then for each recording its delay, state and
    amplitudes. gains, errors: now."""
    p = recordings[0].derivatives.shape[1] if held is None else 0
    own = [r.own(1.0).shape[1] for r in recordings]
    width = p + len(set(free)) + sum(own)
    rows, right = [], []
    at = p + len(set(free))
    for k, r in enumerate(recordings):
        row, prior = np.zeros((TIME, width)), r.prior(errors[k])
        row[:, :p] = gains[k] * r.derivatives[:, :p] / r.scale
        if free:
            row[:, p + free[k]] = r.output / r.scale
        row[:, at : at + own[k]] = r.own(gains[k])
        rows += [row, np.pad(prior, ((0, 0), (at, width - at - own[k])))]
        moved = r.output if held is None else r.output + r.derivatives @ held
        right += [(r.target - gains[k] * moved) / r.scale, np.zeros(len(prior))]
        at += own[k]
    matrix, vector = np.concatenate(rows), np.concatenate(right)
    found = np.linalg.lstsq(matrix, vector, rcond=1e-14)[0]
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
    seed=st.integers(0, 2**32 - 1), p=st.integers(1, 4), n=st.integers(1, 4), s=st.integers(0, 2),
    count=st.integers(1, 3), gain=st.none() | st.sampled_from([0.5, -2.0]), shared=st.booleans(),
)  # fmt: skip
def test_the_step_is_that_of_the_whole_problem(
    seed: int, p: int, n: int, s: int, count: int, gain: float | None, shared: bool
) -> None:
    rng = np.random.default_rng(seed)
    recordings = [columns(rng, p, n, s) for _ in range(count)]
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
    gains, errors = [part.gain for part in reduced], [part.error for part in reduced]
    found, least = whole(recordings, gains, errors, free)
    H, b = (np.sum([getattr(part, name) for part in reduced], 0) for name in ("H", "b"))
    step = -np.linalg.solve(H, b)
    assert np.allclose(step, found[:p], rtol=1e-6, atol=1e-8)
    at = p + len(set(free))
    for part in reduced:
        assert np.allclose(part.offsets + part.slopes @ step, found[at : at + 1 + s], rtol=1e-5, atol=1e-8)
        at += 1 + s + n
    # Along any other step, everything else following: the quadratic form is exactly what is lost.
    other = step + 0.1 * rng.standard_normal(p)
    _, lost = whole(recordings, gains, errors, free, other)
    assert np.isclose(lost - least, (other - step) @ H @ (other - step), rtol=1e-5, atol=1e-9)
