"""Levenberg-Marquardt on the pre-emphasised error with Gaussian priors, the noise level being estimated along."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import ConvergenceError
from circuitnn.fitting.problem import Evaluation, Point, Problem
from circuitnn.fitting.result import INTERRUPTED

Vector = NDArray[np.float64]

# No coordinate moves further than this in one step: a factor of e for a positive value.
LARGEST_STEP = 1.0
# The fit ends when a step promises to improve the objective (log posterior, natural units) by less than this, or does:
# half a unit is one standard deviation along one direction.
SMALLEST_GAIN = 0.5
DAMPING, DAMPING_UP, DAMPING_DOWN, LARGEST_DAMPING = 1e-2, 5.0, 0.35, 1e5
# Below this relative error (-140 dB) the arithmetic, not the model, decides.
ERROR_FLOOR = 1e-14

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Descent:
    """How a minimisation went. errors: relative squared error after each accepted step; reason: why it ended."""

    evaluation: Evaluation
    errors: tuple[float, ...]
    reason: str


def objective(error: float, shared: Vector, widths: Vector, samples: float) -> float:
    """Negative log posterior with the noise level maximised out: N/2 ln(error) + sum (q / width)^2 / 2."""
    return 0.5 * samples * math.log(max(error, ERROR_FLOOR)) + 0.5 * float(np.sum((shared / widths) ** 2))


def minimise(
    problem: Problem, start: Point, samples: float, iterations: int, progress: Progress | None = None
) -> Descent:
    """Minimise `objective` from `start`; samples: how many independent samples the recordings count as.

    Levenberg 1944, Marquardt 1963; damping scales the diagonal. Ctrl-C ends it with the best point so far.
    """
    widths, origin = problem.widths, problem.origin
    here = problem.evaluate(start)
    errors, damping, reason = [here.error], DAMPING, f"{iterations} iterations"
    try:
        for iteration in range(iterations):
            if progress:
                progress(iteration, here.error)
            offset = here.point.shared - origin
            weight = samples / max(here.error, ERROR_FLOOR)
            H = weight * here.H + np.diag(widths**-2.0)
            b = weight * here.b + offset / widths**2
            # The Newton decrement: what the whole undamped step would gain. Where the recording outweighs the priors by
            # 16 digits, directions that it cannot tell make H singular; they gain nothing.
            if 0.5 * float(b @ np.linalg.lstsq(H, b, rcond=None)[0]) < SMALLEST_GAIN:
                reason = "converged"
                break
            before = objective(here.error, offset, widths, samples)
            while True:
                step = -np.linalg.solve(H + damping * np.diag(np.diag(H)), b)
                step *= min(1.0, LARGEST_STEP / float(np.abs(step).max(initial=1e-300)))
                after = math.inf
                try:
                    there = problem.evaluate(problem.moved(here, step))
                    after = objective(there.error, there.point.shared - origin, widths, samples)
                except ConvergenceError:
                    pass  # no operating point there: as bad as a step can be
                if math.isfinite(after) and after < before:
                    break
                damping *= DAMPING_UP
                if damping > LARGEST_DAMPING:
                    return Descent(here, tuple(errors), "no step improves the fit")
            here = there
            errors.append(here.error)
            damping = max(damping * DAMPING_DOWN, 1e-12)
            if before - after < SMALLEST_GAIN:
                reason = "converged"
                break
    except KeyboardInterrupt:
        reason = INTERRUPTED
    return Descent(here, tuple(errors), reason)
