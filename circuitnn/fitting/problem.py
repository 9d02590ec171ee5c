"""A model and its recordings as one nonlinear least-squares problem in unbounded coordinates.

Shared unknowns: the learnables' coordinates and, unless it is known, the logarithm of the input level (volt at digital
full scale). Own to each recording: its output gain, solved for exactly at every point (variable projection, Golub and
Pereyra 1973), and its delay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.discretise import Numbers
from circuitnn.fitting.observation import Linearisation, Matrix, Normal, Observation
from circuitnn.models.circuit_model import CircuitModel

Vector = NDArray[np.float64]

LEVEL_NAME = "input level"
# Prior on an unknown input level: a factor of e^1.5 = 4.5 either way of where it starts.
LEVEL_WIDTH = 1.5


@dataclass(frozen=True)
class Point:
    """Where the fit stands. shared [p]: coordinates, then log input level if unknown; delays [recordings], samples."""

    shared: Vector
    delays: Vector


@dataclass(frozen=True)
class Evaluation:
    """The problem at a point. error: mean over the recordings of squared error over squared target (weighted, best
    gain); gains: volt -> full scale; H, b: half Hessian and half gradient of the error in `shared`, the
    recordings' own unknowns eliminated; scores [blocks, p]: b by blocks of time; own: how the recordings' own unknowns
    follow a step; failures: steps not converged."""

    point: Point
    error: float
    gains: Vector
    H: Matrix
    b: Vector
    scores: Matrix
    own: tuple[tuple[Vector, Matrix], ...]
    outputs: tuple[Vector, ...]
    failures: int


class Problem:
    """input_level: volt at digital full scale, None if unknown. output_gain: full scale per volt, None if unknown (then
    one per recording)."""

    def __init__(
        self,
        model: CircuitModel,
        recordings: Sequence[Recording],
        delays: Sequence[float],
        input_level: float | None = None,
        output_gain: float | None = None,
    ) -> None:
        self.model = model
        self.input_level = input_level
        self.output_gain = output_gain
        self.observations = [Observation(model, r, d) for r, d in zip(recordings, delays, strict=True)]
        self.samples = sum(end - begin for begin, end in (o.span(o.delay) for o in self.observations))
        widths = [coordinate.width for coordinate in model.coordinates]
        unknown_level = [LEVEL_WIDTH] if input_level is None else []
        self.widths = np.array(widths + unknown_level)
        # Where the priors are centred: the netlist's values, and 1 V at full scale.
        self.origin = np.zeros(len(self.widths))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shared unknowns."""
        names = tuple(coordinate.name for coordinate in self.model.coordinates)
        return names if self.input_level is not None else (*names, LEVEL_NAME)

    def level(self, shared: Vector) -> float:
        """Volt at digital full scale."""
        return math.exp(float(self._log_level(torch.as_tensor(shared))))

    def _log_level(self, shared: Tensor) -> Tensor:
        if self.input_level is None:
            return shared[-1:]
        return torch.tensor([math.log(self.input_level)], dtype=torch.float64)

    def evaluate(self, point: Point) -> Evaluation:
        """Simulate all recordings with derivatives (in parallel) and reduce to the shared unknowns."""
        linearisations = {
            key: self._linearise(point.shared, dict(key)) for key in {setting(o.recording) for o in self.observations}
        }

        def run(position: int) -> Normal:
            observation = self.observations[position]
            observation.delay = float(point.delays[position])
            return observation.normal(linearisations[setting(observation.recording)])

        count = len(self.observations)
        with ThreadPoolExecutor(min(count, torch.get_num_threads())) as pool:
            normals = list(pool.map(run, range(count)))
        parts = [self._reduce(normal) for normal in normals]
        return Evaluation(
            point=point,
            error=sum(part.error for part in parts) / count,
            gains=np.array([part.gain for part in parts]),
            H=np.sum([part.H for part in parts], 0) / count,
            b=np.sum([part.b for part in parts], 0) / count,
            scores=np.concatenate([part.scores for part in parts]) / count,
            own=tuple((part.own_offset, part.own_slope) for part in parts),
            outputs=tuple(normal.output for normal in normals),
            failures=sum(normal.failures for normal in normals),
        )

    def moved(self, evaluation: Evaluation, step: Vector) -> Point:
        """The point after a step of the shared unknowns, the delays following by their linear dependence."""
        moves = [offset + slope @ step for offset, slope in evaluation.own]
        limited = np.clip([move[-1] for move in moves], -0.5, 0.5)
        return replace(
            evaluation.point, shared=evaluation.point.shared + step, delays=evaluation.point.delays + limited
        )

    def _linearise(self, shared: Vector, knobs: dict[str, float]) -> Linearisation:
        model, start = self.model, torch.as_tensor(shared)
        count = len(model.coordinates)
        rest = model.operating_point(model.overrides(knobs, start[:count]))

        # Two steps, each in the mode that suits it: scalars of a formula in reverse mode, the rest forwards.
        q = start.clone().requires_grad_()
        scalars = model.discrete.scalars(model.overrides(knobs, q[:count]))
        sizes = [len(part) for part in scalars]
        entries = [torch.as_tensor(x, dtype=torch.float64) for part in scalars for x in part] + [self._log_level(q)[0]]
        point = torch.stack(entries).detach()
        directions = torch.zeros(len(entries), len(start), dtype=torch.float64)
        for row, entry in zip(directions, entries, strict=True):
            if entry.requires_grad:
                row.copy_(torch.autograd.grad(entry, q, retain_graph=True)[0])

        *parts, log_level = point.split([*sizes, 1])
        *moves, log_level_moves = directions.split([*sizes, 1])
        numbers, level = Numbers(*parts), torch.exp(log_level)
        theta = model.discrete.theta_of(numbers, level)
        dtheta = model.discrete.theta_tangent(numbers, Numbers(*moves), level, level * log_level_moves[0])

        def rest_of(*parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return model.discrete.rest_of(Numbers(*parts), rest)

        x, w, y = rest_of(*parts)
        dx, _, dy = torch.func.vmap(
            lambda *direction: torch.func.jvp(rest_of, tuple(parts), direction)[1], in_dims=1, out_dims=-1
        )(*moves)
        return Linearisation(theta, x, w, y, dtheta, dx, dy)

    def _reduce(self, normal: Normal) -> _Reduced:
        """Solve for the gain, then eliminate gain and delay from the normal equations (Schur complement)."""
        gram = normal.grams.sum(0)
        p = len(gram) - 3
        output, target, slope = p, p + 1, p + 2
        energy = gram[target, target]
        free_gain = self.output_gain is None
        gain = gram[output, target] / gram[output, output] if self.output_gain is None else self.output_gain
        # error e = gain * y - t; its derivatives as combinations of the columns of the gram matrix.
        combine = np.zeros((p + 3, p + 3))
        combine[np.arange(p), np.arange(p)] = gain
        combine[output, p] = 1.0 if free_gain else 0.0
        combine[slope, p + 1] = -1.0
        combine[output, p + 2], combine[target, p + 2] = gain, -1.0
        products = combine.T @ gram @ combine / energy
        own = [p, p + 1] if free_gain else [p + 1]
        within, across = products[np.ix_(own, own)], products[np.ix_(own, range(p))]
        # A linear circuit at rest has no slope to tell delay by; the ridge keeps the elimination defined.
        inverse = np.linalg.inv(within + 1e-14 * np.trace(within) * np.eye(len(own)))
        own_offset = -inverse @ products[own, p + 2]
        own_slope = -inverse @ across
        H = products[:p, :p] + across.T @ own_slope
        b = products[:p, p + 2] + across.T @ own_offset
        # The same for each block, at the same gain: d e / d shared with the own unknowns following.
        follow = np.zeros((p + 3, p))
        follow[:p] = np.eye(p)
        follow[own] = own_slope
        scores = (normal.grams @ (combine[:, p + 2] / energy)) @ (combine @ follow)
        return _Reduced(float(products[p + 2, p + 2]), float(gain), H, b, scores, own_offset, own_slope)


@dataclass(frozen=True)
class _Reduced:
    error: float
    gain: float
    H: Matrix
    b: Vector
    scores: Matrix
    own_offset: Vector
    own_slope: Matrix


def setting(recording: Recording) -> tuple[tuple[str, float], ...]:
    """The knob positions of a recording, to tell which recordings share a model."""
    return tuple(sorted(recording.knobs.items()))
