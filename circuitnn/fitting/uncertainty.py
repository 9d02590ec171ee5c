"""Error bars that allow for errors that are correlated in time, and for what the model gets wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuitnn.fitting.least_squares import ERROR_FLOOR
from circuitnn.fitting.problem import Evaluation

Matrix = NDArray[np.float64]

# Squared error of a simulation at four times audio rate or more, relative to the signal (-90 dB).
DISCRETISATION_ERROR = 1e-9
# Lags in blocks over which a gradient's correlation is followed, for 100 blocks (Newey and West 1994).
LAGS = 4.0


def covariance(evaluation: Evaluation, widths: NDArray[np.float64], samples: int, weight: float) -> Matrix:
    """Covariance [p, p] of the shared unknowns around the truth, if that is one draw of the prior (standard deviations
    `widths`). samples: how many there are in all recordings; weight: as how many independent ones they counted in the
    fit.

    Its optimum is off by A^-1 (g + q / widths^2), with g the gradient of the data's term at the truth q and A the
    curvature of both terms. The variance of g is what blocks of time show (sandwich: Huber 1967, White 1982), not what
    white errors would make; that of the prior's part is the prior's information. The fit ends before the optimum where
    little is to be gained: the step that it did not take counts as an error, too.
    """
    curvature = weight / max(evaluation.error, ERROR_FLOOR)
    prior = np.diag(widths**-2.0)
    A = curvature * evaluation.H + prior
    spread = np.linalg.solve(A, curvature**2 * score_covariance(evaluation, samples) + prior)
    spread = np.linalg.solve(A, spread.T)
    left = np.linalg.solve(A, curvature * evaluation.b + evaluation.point.shared / widths**2)
    return np.asarray(0.5 * (spread + spread.T) + np.outer(left, left), dtype=float)


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
    weight = float(samples) / max(evaluation.error, ERROR_FLOOR)
    expected = weight * float(np.sum(np.diag(evaluation.H) * widths**2))
    shown = float(np.sum((weight * evaluation.scores * widths) ** 2))
    return samples / max(1.0, shown / max(expected, 1e-300))


def information(evaluation: Evaluation, samples: int) -> Matrix:
    """What the recordings alone tell about the shared unknowns [p, p]: H S^-1 H, with H the curvature of the error and
    S the covariance of its gradient (Godambe 1960)."""
    S = score_covariance(evaluation, samples)
    # Directions that the recordings cannot tell have neither curvature nor variance; the ridge keeps S regular there.
    S += 1e-12 * np.trace(S) * np.eye(len(S))
    found = evaluation.H @ np.linalg.solve(S, evaluation.H)
    return np.asarray(0.5 * (found + found.T), dtype=float)
