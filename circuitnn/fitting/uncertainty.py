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
# Lags in blocks over which a gradient's correlation is followed, for 100 blocks (Newey and West 1994).
LAGS = 4.0
# A value is told by the recordings if its standard error is below this part of its prior width.
TOLD = 0.5
# Combinations listed each way, and the part of the largest exponent below which a name is left out.
LISTED, NEGLIGIBLE = 3, 0.15


def covariance(evaluation: Evaluation, widths: NDArray[np.float64], samples: int, weight: float) -> Matrix:
    """Covariance [p, p] of the shared unknowns around the truth, if that is one draw of the prior (standard deviations
    `widths`). samples: how many there are in all recordings; weight: as how many independent ones they counted in the
    fit.

    Near its optimum the fit is off by A^-1 (g + q / widths^2), with g the gradient of the data's term at the truth q and
    A the curvature of both terms. The variance of g is what blocks of time show (sandwich: Huber 1967, White 1982), not
    what white errors would make, and that of the prior's part is the prior's information.
    """
    curvature = weight / max(evaluation.error, 1e-300)
    prior = np.diag(widths**-2.0)
    A = curvature * evaluation.H + prior
    spread = np.linalg.solve(A, curvature**2 * score_covariance(evaluation, samples) + prior)
    spread = np.linalg.solve(A, spread.T)
    return np.asarray(0.5 * (spread + spread.T), dtype=float)


def score_covariance(evaluation: Evaluation, samples: int) -> Matrix:
    """Covariance [p, p] of the gradient of the error, from blocks of time and their neighbours (Bartlett's kernel:
    Newey and West 1987)."""
    scores = [part.scores / len(evaluation.own) for part in evaluation.own]
    found = np.zeros_like(evaluation.H)
    for own in scores:
        lags = int(LAGS * (len(own) / 100.0) ** (2.0 / 9.0))
        for lag in range(lags + 1):
            products = own[lag:].T @ own[: len(own) - lag]
            found += (1.0 - lag / (lags + 1.0)) * (products + products.T) * (0.5 if lag == 0 else 1.0)
    # A few blocks cannot span all directions; there the textbook variance stands in. What discretisation gets wrong
    # hides from the residual, because the values absorb it: it counts as an error that is correlated over a block.
    blocks = sum(map(len, scores))
    hidden = DISCRETISATION_ERROR / blocks
    textbook = evaluation.error / samples
    return np.asarray(found + (len(found) / blocks * textbook + hidden) * evaluation.H, dtype=float)


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
