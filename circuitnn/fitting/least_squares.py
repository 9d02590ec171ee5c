"""Levenberg-Marquardt on the pre-emphasised error with Gaussian priors, the noise level being estimated along.

A descent proposes a point, is told what was found there, and proposes the next: several can be driven side by side, and
one can be written down between two steps and taken up again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import CircuitnnError
from circuitnn.fitting.problem import Evaluation, Point, Problem

Vector = NDArray[np.float64]

# No coordinate moves further than this in one step: a factor of e for a positive value.
LARGEST_STEP = 1.0
# The fit ends when a step promises to improve the objective (log posterior, natural units) by less than the first for
# each unknown, or did by less than the second. Half a unit for each is how far from the optimum the posterior reaches.
SMALLEST_PROMISE, SMALLEST_GAIN = 0.1, 0.25
# A last undamped step is tried if it promises more than this for each unknown, and damping has been more than a trace.
LAST_PROMISE, TRACE = 0.02, 1e-4
DAMPING, SMALLEST_DAMPING, LARGEST_DAMPING = 1e-2, 1e-12, 1e5
# What damping is multiplied by, at least and at most, after a step that was taken, and after one that was not.
DAMPING_DOWN, DAMPING_UP, DAMPING_BACK = 1.0 / 3.0, 3.0, 5.0
# Below this relative error (-140 dB) the arithmetic, not the model, decides.
ERROR_FLOOR = 1e-14
# Why a descent ended.
CONVERGED, STUCK = "converged", "no step improves the fit"


@dataclass(frozen=True)
class Descent:
    """A minimisation between two evaluations. proposal: the point to evaluate next; best: the best evaluation so far,
    None before the first; promised: what the proposal should gain by the quadratic model; errors: relative squared
    error after each accepted step; reason: why it ended, None while it goes on."""

    proposal: Point
    best: Evaluation | None = None
    promised: float = math.inf
    damping: float = DAMPING
    errors: tuple[float, ...] = ()
    reason: str | None = None

    @property
    def found(self) -> Evaluation:
        """The best evaluation. Raises CircuitnnError if there is none."""
        if self.best is None:
            raise CircuitnnError(
                "the circuit has no operating point, or no finite output, with the values of the netlist",
                "check it by `circuitnn inspect`",
            )
        return self.best


class LeastSquares:
    """The rule by which a descent goes on; samples: how many independent samples the recordings count as; iterations:
    accepted steps after which it ends in any case; smallest_gain: of the objective for each unknown, below which a step
    was the last one.

    Levenberg 1944, Marquardt 1963; damping scales the diagonal, and follows how well the quadratic model predicts
    (Nielsen 1999).
    """

    def __init__(self, problem: Problem, samples: float, iterations: int, smallest_gain: float = SMALLEST_GAIN) -> None:
        self.problem = problem
        self.samples = samples
        self.iterations = iterations
        self.unknowns = len(problem.widths)
        self.smallest_gain = smallest_gain * self.unknowns

    def objective(self, evaluation: Evaluation) -> float:
        """Negative log posterior with the noise level maximised out: N/2 ln(error) + sum (q / width)^2 / 2."""
        misfit = 0.5 * self.samples * math.log(max(evaluation.error, ERROR_FLOOR))
        return misfit + 0.5 * float(np.sum((evaluation.point.shared / self.problem.widths) ** 2))

    def advance(self, descent: Descent, there: Evaluation | None) -> Descent:
        """The descent after its proposal was evaluated (None: nothing is there, as bad as a step can be)."""
        here = descent.best
        if here is None:
            if there is None:
                return replace(descent, reason=STUCK)
            # One that is taken up again has its errors already.
            return self._propose(replace(descent, best=there, errors=descent.errors or (there.error,)))
        gain = self.objective(here) - self.objective(there) if there is not None else -math.inf
        if there is None or not gain > 0.0:
            damping = descent.damping * DAMPING_BACK
            if damping > LARGEST_DAMPING:
                return replace(descent, reason=STUCK)
            return self._propose(replace(descent, damping=damping))
        factor = min(max(1.0 - (2.0 * gain / descent.promised - 1.0) ** 3, DAMPING_DOWN), DAMPING_UP)
        damping = max(descent.damping * factor, SMALLEST_DAMPING)
        moved = replace(descent, best=there, errors=(*descent.errors, there.error), damping=damping)
        return replace(moved, reason=CONVERGED) if gain < self.smallest_gain else self._propose(moved)

    def polished(self, descent: Descent) -> Descent:
        """A descent that has ended, after one undamped step if that gains: damping holds back what hardly matters to
        the error, such as a value that only its prior tells, until long after the error has settled."""
        here = descent.found
        if descent.reason not in (CONVERGED, STUCK) or descent.damping < TRACE:
            return descent
        if self.decrement(here) < LAST_PROMISE * self.unknowns:
            return descent
        (there,) = self.problem.evaluate([self.problem.moved(here, self._whole(here))])
        if there is None or not self.objective(there) < self.objective(here):
            return descent
        return replace(descent, best=there, errors=(*descent.errors, there.error))

    def decrement(self, here: Evaluation) -> float:
        """The Newton decrement: what the whole undamped step would gain."""
        return -0.5 * float(self.system(here)[1] @ self._whole(here))

    def _whole(self, here: Evaluation) -> Vector:
        """The undamped step."""
        H, b = self.system(here)
        # Where the recording outweighs the priors by 16 digits, directions that it cannot tell make H singular; they
        # gain nothing.
        step: Vector = np.array(np.linalg.lstsq(H, -b, rcond=None)[0], dtype=np.float64)
        return step

    def system(self, here: Evaluation) -> tuple[NDArray[np.float64], Vector]:
        """Hessian and gradient of the objective."""
        widths, weight = self.problem.widths, self.samples / max(here.error, ERROR_FLOOR)
        return weight * here.H + np.diag(widths**-2.0), weight * here.b + here.point.shared / widths**2

    def _propose(self, descent: Descent) -> Descent:
        if len(descent.errors) > self.iterations:
            return replace(descent, reason=f"{self.iterations} iterations")
        here = descent.found
        H, b = self.system(here)
        if self.decrement(here) < SMALLEST_PROMISE * self.unknowns:
            return replace(descent, reason=CONVERGED)
        step: Vector = np.array(np.linalg.solve(H + descent.damping * np.diag(np.diag(H)), -b), dtype=np.float64)
        step *= min(1.0, LARGEST_STEP / float(np.abs(step).max(initial=1e-300)))
        promised = -float(b @ step + 0.5 * step @ H @ step)
        return replace(descent, proposal=self.problem.moved(here, step), promised=promised)


def descend(
    rule: LeastSquares,
    descents: Sequence[Descent],
    evaluations: int | None = None,
    watch: Callable[[Sequence[Descent]], None] | None = None,
) -> list[Descent]:
    """Drive descents side by side until all have ended, or for so many evaluations of each. watch: is called with all
    of them after each round."""
    descents, rounds = list(descents), 0
    while evaluations is None or rounds < evaluations:
        active = [k for k, descent in enumerate(descents) if descent.reason is None]
        if not active:
            break
        found = rule.problem.evaluate([descents[k].proposal for k in active])
        for k, evaluation in zip(active, found, strict=True):
            descents[k] = rule.advance(descents[k], evaluation)
        rounds += 1
        if watch:
            watch(descents)
    return descents
