"""A model and its recordings as one nonlinear least-squares problem in unbounded coordinates.

Shared unknowns: see unknowns.py. Own to each recording: its output gain (or one for all), a constant and mains hum,
solved for exactly at every point (variable projection, Golub and Pereyra 1973), its delay, and the state of the circuit
where it begins in mid-sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from circuitnn.audio import Recording
from circuitnn.discretise import Numbers
from circuitnn.errors import ConvergenceError
from circuitnn.fitting.observation import AT_REST, Linearisation, Matrix, Normal, Observation, Window
from circuitnn.fitting.parallel import cascade
from circuitnn.fitting.reduction import Reduced, Reduction, reduce_gains
from circuitnn.fitting.robust import block_weights
from circuitnn.fitting.unknowns import Setting, Unknowns, setting
from circuitnn.models.circuit_model import CircuitModel

Vector = NDArray[np.float64]
Windows = Callable[[Observation, float], Sequence[Window]]


@dataclass(frozen=True)
class Point:
    """Where the fit stands. shared [p]: the shared unknowns; delays [recordings], samples; states: the initial state of
    each recording, in the units of its observation, [0] where it is known; () if all are."""

    shared: Vector
    delays: Vector
    states: tuple[Vector, ...] = ()

    def state(self, position: int) -> Vector:
        """The initial state of a recording."""
        return self.states[position] if self.states else AT_REST


@dataclass(frozen=True)
class Evaluation:
    """The problem at a point. error: mean over the recordings of squared error over squared target (weighted, best
    gain); gains: volt -> full scale; H, b: half Hessian and half gradient of the error in `shared`, the
    recordings' own unknowns eliminated; scores [blocks, p]: b by blocks of time; own: how the delays follow a step;
    ends: for each recording, the samples where its blocks end; failures: steps not converged."""

    point: Point
    error: float
    gains: Vector
    H: Matrix
    b: Vector
    scores: Matrix
    own: tuple[Reduced, ...]
    failures: int
    ends: tuple[NDArray[np.int64], ...] = ()


class Problem:
    """output_gain: full scale per volt; None: unknown, one per recording or gain group. windows: which parts of a
    recording count (all of it). robust: whether what is no sound of the device counts less (robust.py)."""

    def __init__(
        self,
        unknowns: Unknowns,
        model: CircuitModel,
        observations: Sequence[Observation],
        output_gain: float | None = None,
        windows: Windows = Observation.windows,
        robust: bool = False,
    ) -> None:
        self.unknowns = unknowns
        self.model = model
        self.observations = tuple(observations)
        self.output_gain = output_gain
        self.windows = windows
        self.robust = robust
        self.widths = unknowns.widths

    @property
    def gain_groups(self) -> list[list[int]]:
        """The recordings that have one output gain."""
        groups: dict[str | int, list[int]] = {}
        for k, observation in enumerate(self.observations):
            name = observation.recording.gain_group
            groups.setdefault(k if name is None else name, []).append(k)
        return list(groups.values())

    def samples(self, delays: Vector) -> int:
        """How many samples count."""
        return sum(
            window.end - window.begin
            for observation, delay in zip(self.observations, delays, strict=True)
            for window in self.windows(observation, float(delay))
        )

    def evaluate(self, points: Sequence[Point]) -> list[Evaluation | None]:
        """Simulate all recordings at all points with derivatives (in parallel) and reduce to the shared unknowns. None
        where there is no operating point, or the output is not finite."""
        linearised = [self._linearise_all(point) for point in points]
        alive = [k for k, models in enumerate(linearised) if models is not None]
        jobs = [(k, position) for k in alive for position in range(len(self.observations))]

        def begin(job: tuple[int, int]) -> Iterator[Callable[[], Normal]]:
            k, position = job
            observation, delay = self.observations[position], float(points[k].delays[position])
            models = linearised[k]
            assert models is not None
            model, windows = models[setting(observation.recording)], self.windows(observation, delay)
            snapshots = observation.snapshots(model, windows, points[k].state(position))
            for snapshot, window in zip(snapshots, windows, strict=True):
                yield partial(observation.normal, model, snapshot, window, delay)

        gathered: list[list[list[Normal]]] = [[] for _ in points]
        for (k, _), normals in zip(jobs, cascade(begin, lambda part: part(), jobs), strict=True):
            gathered[k].append(normals)
        return [self._reduce(point, parts) if parts else None for point, parts in zip(points, gathered, strict=True)]

    def moved(self, evaluation: Evaluation, step: Vector) -> Point:
        """The point after a step of the shared unknowns, delays and initial states following by their linear
        dependence."""
        here = evaluation.point
        moves = [own.offsets + own.slopes @ step for own in evaluation.own]
        return Point(
            shared=here.shared + step,
            delays=here.delays + np.clip([move[0] for move in moves], -0.5, 0.5),
            states=tuple(state + np.clip(move[1:], -1.0, 1.0) for state, move in zip(here.states, moves, strict=False)),
        )

    def _linearise_all(self, point: Point) -> dict[Setting, Linearisation] | None:
        try:
            return {key: self.linearise(point.shared, key) for key in {setting(o.recording) for o in self.observations}}
        except ConvergenceError:
            return None

    def linearise(self, shared: Vector, key: Setting) -> Linearisation:
        """The model and its derivatives in the shared unknowns. Raises ConvergenceError without operating point."""
        model, unknowns, start = self.model, self.unknowns, torch.as_tensor(shared)
        rest = model.operating_point(unknowns.overrides(start, key))

        # Two steps, each in the mode that suits it: scalars of a formula in reverse mode, the rest forwards.
        q = start.clone().requires_grad_()
        scalars = model.discrete.scalars(unknowns.overrides(q, key))
        sizes = [len(part) for part in scalars]
        entries = [torch.as_tensor(x, dtype=torch.float64) for part in scalars for x in part]
        entries.append(unknowns.log_level(q)[0])
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

        x, w, y = model.discrete.rest_of(numbers, rest)
        dx, dy = model.discrete.rest_tangent(numbers, Numbers(*moves), rest)
        return Linearisation(theta, x, w, y, dtheta, dx, dy)

    def _reduce(self, point: Point, parts: Sequence[Sequence[Normal]]) -> Evaluation | None:
        grams = [np.concatenate([normal.grams for normal in normals]) for normals in parts]
        if not all(np.isfinite(gram).all() for gram in grams):
            return None
        p = len(self.unknowns)
        reduced: dict[int, Reduced] = {}
        for group in self.gain_groups:
            states = [len(self.observations[k].usual_state) for k in group]
            weights: Sequence[Vector | None] = [None] * len(group)
            if self.robust:
                weights = block_weights([grams[k][:, p:, p:] for k in group], states, self.output_gain)
            reductions = [Reduction(grams[k], p, s, w) for k, s, w in zip(group, states, weights, strict=True)]
            reduced |= dict(zip(group, reduce_gains(reductions, self.output_gain), strict=True))
        own = tuple(reduced[k] for k in range(len(grams)))
        count = len(own)
        return Evaluation(
            point=point,
            error=sum(part.error for part in own) / count,
            gains=np.array([part.gain for part in own]),
            H=np.sum([part.H for part in own], 0) / count,
            b=np.sum([part.b for part in own], 0) / count,
            scores=np.concatenate([part.scores for part in own]) / count,
            own=own,
            failures=sum(normal.failures for normals in parts for normal in normals),
            ends=tuple(np.concatenate([normal.ends for normal in normals]) for normals in parts),
        )


def observe(
    model: CircuitModel,
    recordings: Sequence[Recording],
    delays: Sequence[float],
    hum: Sequence[Sequence[float]] = (),
    usual_states: Sequence[Vector] = (),
) -> list[Observation]:
    """Recordings prepared for a model. hum: frequencies for each of them; usual_states: see Observation. Raises
    RecordingError."""
    return [
        Observation(model, recording, delay, hum[k] if hum else (), usual_states[k] if usual_states else AT_REST)
        for k, (recording, delay) in enumerate(zip(recordings, delays, strict=True))
    ]
