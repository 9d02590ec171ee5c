"""From inner products of columns to normal equations in the shared unknowns alone.

The columns of a recording are the derivatives of the output by the shared unknowns [p], the output, the target, the
output's derivative by time, those by the initial state [s] where that is unknown, and linear nuisances [n]. The error
is gain * output + nuisances @ amplitudes - target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# A linear circuit at rest has no slope to tell delay by, and hum may be silent; the ridge keeps elimination defined.
_RIDGE = 1e-14
# As how many samples the recording counts against the prior of its initial state, which only bounds how far one step
# goes: a state that the recording does not tell stays near where it is.
_STATE_WEIGHT = 1000.0


@dataclass(frozen=True)
class Reduced:
    """One recording's part of the normal equations, relative to its target's energy. error: squared; H [p, p], b [p]:
    half Hessian and half gradient; scores [blocks, p]: b by blocks of time, and errors [blocks]: error by them;
    amplitudes [n]: of the linear nuisances; offsets [1 + s], slopes [1 + s, p]: how its delay and its initial state
    follow a step; weights [blocks]: how much each block counts, None: all alike."""

    error: float
    gain: float
    amplitudes: Vector
    H: Matrix
    b: Vector
    scores: Matrix
    errors: Vector
    offsets: Vector
    slopes: Matrix
    weights: Vector | None = None


class Reduction:
    """One recording's inner products grams [blocks, q, q] and what follows from them before its gain is known. p, s:
    how many columns are derivatives by the shared unknowns and by the initial state. weights [blocks]: how much each
    block of time counts; None: all alike."""

    def __init__(self, grams: Matrix, p: int, s: int = 0, weights: Vector | None = None) -> None:
        energy = max(float(grams[:, p + 1, p + 1].sum()), 1e-300)
        self.weights = weights
        self.p = p
        # A long recording's blocks are many: they are not copied.
        self.blocks = grams
        self.scales = (np.ones(len(grams)) if weights is None else weights) / energy
        self.gram = np.tensordot(self.scales, grams, 1)
        self.states = s
        self.linear = list(range(p + 3 + s, grams.shape[1]))
        self.amplitudes = -_solve(self.gram[np.ix_(self.linear, self.linear)], self.gram[self.linear])

    def by_block(self, column: Vector) -> Matrix:
        """Inner products [blocks, q] of all columns with a combination [q] of them."""
        return np.asarray(self.scales[:, None] * (self.blocks @ column))

    def without_nuisances(self, columns: Matrix) -> Matrix:
        """Combinations of columns [q, .], with the linear nuisances projected out of them."""
        projected = columns.copy()
        projected[self.linear] += self.amplitudes @ columns
        return projected


def reduce_gains(parts: Sequence[Reduction], given: float | None = None) -> list[Reduced]:
    """Eliminate the gain that some recordings have in common, and what each has of its own."""
    p = parts[0].p
    output, target, slope = p, p + 1, p + 2
    one = [part.without_nuisances(np.eye(len(part.gram))) for part in parts]
    products = [basis.T @ part.gram @ basis for basis, part in zip(one, parts, strict=True)]
    if given is None:
        gain = sum(m[output, target] for m in products) / max(sum(m[output, output] for m in products), 1e-300)
    else:
        gain = given

    # Level 1: the delay, initial state and nuisances of each recording follow the shared unknowns and the gain (Schur
    # complement).
    eliminated = []
    for part, basis in zip(parts, one, strict=True):
        q = len(part.gram)
        error = basis @ (gain * np.eye(q)[:, output] - np.eye(q)[:, target])
        shared = basis[:, : p + 1].copy()
        shared[:, :p] *= gain
        # The target is the output of a later time. Its own derivative would be that of its noise, too, and make the
        # delay look better known than it is.
        own = gain * basis[:, slope : slope + 1 + part.states]
        own[:, 0] *= -1.0
        stiffness = part.gram @ own
        within = own.T @ stiffness
        within[1:, 1:] += float(error @ part.gram @ error) / _STATE_WEIGHT * np.eye(part.states)
        slopes = -_solve(within, stiffness.T @ shared)
        offsets = -_solve(within, stiffness.T @ error[:, None])[:, 0]
        followed = shared + own @ slopes
        eliminated.append(
            (error, followed, followed.T @ part.gram @ shared, followed.T @ part.gram @ error, offsets, slopes)
        )

    # Level 2: the gain follows the shared unknowns.
    curvature = sum((a for _, _, a, _, _, _ in eliminated), np.zeros((p + 1, p + 1)))
    gradient = sum((h for _, _, _, h, _, _ in eliminated), np.zeros(p + 1))
    gain_slope, gain_offset = np.zeros(p), 0.0
    if given is None and curvature[output, output] > 0.0:
        gain_slope = -curvature[output, :p] / curvature[output, output]
        gain_offset = -gradient[output] / curvature[output, output]
    follow = np.vstack([np.eye(p), gain_slope])
    by_block = [part.by_block(error) for part, (error, *_) in zip(parts, eliminated, strict=True)]
    return [
        Reduced(
            error=float(error @ part.gram @ error),
            gain=float(gain),
            amplitudes=error[part.linear],
            H=follow.T @ a @ follow,
            b=follow.T @ (h + gain_offset * a[:, output]),
            scores=products @ (followed @ follow),
            errors=products @ error,
            offsets=offsets + slopes[:, output] * gain_offset,
            slopes=slopes @ follow,
            weights=part.weights,
        )
        for part, products, (error, followed, a, h, offsets, slopes) in zip(parts, by_block, eliminated, strict=True)
    ]


def _solve(matrix: Matrix, right: Matrix) -> Matrix:
    ridge = _RIDGE * np.trace(matrix) + 1e-300
    return np.asarray(np.linalg.solve(matrix + ridge * np.eye(len(matrix)), right), dtype=float)
