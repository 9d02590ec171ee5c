"""Blocks of time that are no sound of the device count less: clicks, coughs, dropouts, a phone in the background.

What is minimised is a scale of the error that a quarter of the blocks cannot spoil (an S-estimator: Rousseeuw and Yohai
1984), with the bounded loss of Geman and McClure (1985). With e_b a block's squared error and h_b what it is measured
by, the scale E solves

    sum_b h_b rho(e_b / (h_b E)) = rho(1) sum_b h_b,   rho(u) = u / (1 + u / SOFT)

and its gradient is that of a weighted sum of the e_b. So the weights follow from the errors at a point alone: nothing
is to be tuned, kept or resumed, and a step is judged by the same measure that it was made for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuitnn.fitting.reduction import Reduction, reduce_gains

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# Relative squared error of a block, in units of the scale, from which on it counts less and less.
SOFT = 3.0
# Rounds in which weights and gains settle, at most, and the relative change of the error at which they have.
ROUNDS, SETTLED = 100, 1e-11
# A block counts little if its weight is below this part of the usual one.
LITTLE = 0.1


def block_weights(grams: Sequence[Matrix], states: Sequence[int], given: float | None) -> list[Vector]:
    """Weights [blocks] of the recordings of one gain group, from their inner products without derivatives (p = 0, see
    reduction.py). The gain and the linear nuisances are those that the weighted blocks ask for. given: the gain, if it
    is known."""
    weights = [np.ones(len(own)) for own in grams]
    before = np.inf
    for _ in range(ROUNDS):
        parts = [Reduction(own, 0, count, w) for own, count, w in zip(grams, states, weights, strict=True)]
        reduced = reduce_gains(parts, given)
        error = sum(one.error for one in reduced)
        if abs(error - before) <= SETTLED * error:
            break
        before = error
        weights = [
            _weights(one.errors / w, _levels(own, part))
            for one, w, own, part in zip(reduced, weights, grams, parts, strict=True)
        ]
    return weights


def _levels(grams: Matrix, part: Reduction) -> Vector:
    """Energy of the model's output in each block: the recording's own is that of its clicks, too."""
    output = part.without_nuisances(np.eye(grams.shape[1]))[:, 0]
    return np.asarray(np.einsum("i,bij,j->b", output, grams, output), dtype=float)


def _weights(errors: Vector, levels: Vector) -> Vector:
    """Weights [blocks] from squared errors and the sound's energies: the weighted errors add up to the scale.

    A model's own error grows with the sound, noise does not: each block is measured by the mean of its own level and
    that of all, so that neither loud nor quiet ones are punished for being so.
    """
    h = 0.5 * (levels / max(float(levels.sum()), 1e-300) + 1.0 / len(levels))
    scale = _scale(errors, h)
    if scale == 0.0:
        return np.ones(len(errors))
    raw = (1.0 + errors / (h * scale * SOFT)) ** -2.0
    return np.asarray(raw * scale * h.sum() / (raw @ errors), dtype=float)


def _scale(errors: Vector, h: Vector) -> float:
    """E as above, by Newton's method in 1 / E, where the left side is rising and concave: from below, no step is too
    far. 0 for errors of 0."""
    total = float(errors.sum())
    if total <= 0.0:
        return 0.0
    wanted = float(h.sum()) / (1.0 + 1.0 / SOFT)
    x = wanted / total
    for _ in range(ROUNDS):
        u = errors * x / h
        missing = wanted - float(np.sum(h * u / (1.0 + u / SOFT)))
        step = missing / float(np.sum(errors / (1.0 + u / SOFT) ** 2))
        x += step
        if step <= 1e-15 * x:
            break
    return 1.0 / x


def counting_little(weights: Vector, ends: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches of samples [begin, end) whose blocks count little. ends [blocks]: where the blocks end, in order."""
    found: list[tuple[int, int]] = []
    begins = [2 * ends[0] - ends[1] if len(ends) > 1 else 0, *ends[:-1]]
    for begin, end, little in zip(begins, ends, weights < LITTLE * np.median(weights), strict=True):
        if little and found and begin == found[-1][1]:
            found[-1] = (found[-1][0], int(end))
        elif little:
            found.append((int(begin), int(end)))
    return found
