"""Minimisation by gradients alone, for what is not a sum of squares."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.errors import ConvergenceError

Vector = NDArray[np.float64]

OPTIMIZERS = ("lbfgs", "adam")
# Adam's step, in units of the coordinates; it falls to nothing as a cosine.
ADAM_STEP = 0.3
# L-BFGS ends when an iteration gains less than this part of the value.
SMALLEST_GAIN = 1e-10
# What a point without a value counts as above the lowest one: a number, so that a line search turns back.
WALL = 1e6


def minimise(
    objective: Callable[[Tensor], Tensor],
    start: Vector,
    optimizer: str,
    iterations: int,
    watch: Callable[[int, Vector, float], None],
) -> None:
    """Lower objective(x [p]) from `start`, by L-BFGS (Liu and Nocedal 1989) or Adam (Kingma and Ba 2015). The
    coordinates should be scaled so that 1 is a step worth making.

    watch: called after each iteration with its number, and the best point and value so far; first with `start`.
    """
    best, lowest, done = start, math.inf, 0

    def evaluate(at: Vector) -> tuple[float, Vector]:
        nonlocal best, lowest
        x = torch.tensor(at, requires_grad=True)
        try:
            value = objective(x)
            (gradient,) = torch.autograd.grad(value, x)
        except ConvergenceError:
            return lowest + WALL, np.zeros_like(at)
        found, slope = float(value.detach()), gradient.numpy()
        if not (math.isfinite(found) and np.isfinite(slope).all()):
            return lowest + WALL, np.zeros_like(at)
        if found < lowest:
            best, lowest = at.copy(), found
        return found, slope

    def after(_: object) -> None:
        nonlocal done
        done += 1
        watch(done, best, lowest)

    first = evaluate(start)
    watch(0, best, lowest)
    if optimizer == "adam":
        _adam(evaluate, start, first[1], iterations, after)
        return
    scipy.optimize.minimize(
        evaluate, start, jac=True, method="L-BFGS-B", callback=after,
        options={"maxiter": iterations, "ftol": SMALLEST_GAIN, "gtol": 0.0},
    )  # fmt: skip


def _adam(
    evaluate: Callable[[Vector], tuple[float, Vector]],
    start: Vector,
    slope: Vector,
    iterations: int,
    after: Callable[[Vector], None],
) -> None:
    x = torch.tensor(start)
    stepper = torch.optim.Adam([x], ADAM_STEP)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(stepper, iterations)
    for _ in range(iterations):
        x.grad = torch.as_tensor(slope)
        stepper.step()
        schedule.step()
        _, slope = evaluate(x.numpy())
        after(x.numpy())
