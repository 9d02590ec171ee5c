"""Error bars that allow for what the model gets wrong, and what the recordings cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuitnn.fitting.problem import Evaluation
from circuitnn.fitting.result import Combination, Identifiability

Matrix = NDArray[np.float64]

# Squared error of a simulation at four times audio rate or more, relative to the signal (-90 dB).
DISCRETISATION_ERROR = 1e-9
# A value is told by the recordings if its standard error is below this part of its prior width.
TOLD = 0.5
# Combinations listed each way, and the part of the largest exponent below which a name is left out.
LISTED, NEGLIGIBLE = 3, 0.15


def covariance(evaluation: Evaluation, widths: NDArray[np.float64], samples: int) -> Matrix:
    """Covariance [p, p] of the shared unknowns: prior (standard deviations `widths`) and Godambe information together.
    samples: how many there are in all recordings.

    With H the curvature of the data's term and S the covariance of its gradient, summed over blocks of time, the data
    inform by H S^-1 H (Godambe 1960): the textbook H where the model is true and errors are white, far less where
    errors are correlated or the model is not exactly true. The prior's information adds to it.
    """
    # Residuals are measured in units of their own mean square, as in the objective.
    weight = float(samples) / max(evaluation.error, 1e-300)
    H, scores = weight * evaluation.H, weight * evaluation.scores
    # A few blocks cannot span all directions; there the textbook information stands in. What discretisation gets wrong
    # hides from the residual, because the values absorb it: it counts as an error that is correlated over a block.
    hidden = DISCRETISATION_ERROR / max(evaluation.error, 1e-300) * samples / len(scores)
    S = scores.T @ scores + (len(H) / len(scores) + hidden) * H
    # Directions that the recordings cannot tell have neither curvature nor variance; the ridge keeps S regular there.
    S += 1e-12 * np.trace(S) * np.eye(len(S))
    information = H @ np.linalg.solve(S, H)
    return np.asarray(np.linalg.inv(0.5 * (information + information.T) + np.diag(widths**-2.0)), dtype=float)


def independent_samples(evaluation: Evaluation, widths: NDArray[np.float64], samples: int) -> float:
    """As how many independent samples the recordings count, out of `samples`: the textbook variance of the error's
    gradient over the one that blocks of time show (the dispersion of quasi-likelihood, Wedderburn 1974)."""
    weight = float(samples) / max(evaluation.error, 1e-300)
    expected = weight * float(np.sum(np.diag(evaluation.H) * widths**2))
    shown = float(np.sum((weight * evaluation.scores * widths) ** 2))
    return samples / max(1.0, shown / max(expected, 1e-300))


def identifiability(names: Sequence[str], spread: Matrix, widths: NDArray[np.float64]) -> Identifiability:
    """From the covariance in log coordinates: single values first, then the principal combinations."""
    deviations = np.sqrt(np.diag(spread))
    eigenvalues, vectors = np.linalg.eigh(spread)
    combinations = []
    for value, vector in zip(eigenvalues, vectors.T, strict=True):
        largest = np.abs(vector).max()
        kept = {
            name: float(e)
            for name, e in sorted(zip(names, vector, strict=True), key=lambda pair: -abs(pair[1]))
            if abs(e) > NEGLIGIBLE * largest
        }
        sign = 1.0 if next(iter(kept.values())) > 0 else -1.0
        combinations.append(Combination({name: sign * e for name, e in kept.items()}, float(np.sqrt(max(value, 0.0)))))
    return Identifiability(
        undetermined=tuple(name for name, d, width in zip(names, deviations, widths, strict=True) if d > TOLD * width),
        determined=tuple(combinations[:LISTED]),
        worst=tuple(reversed(combinations[-LISTED:])),
    )
