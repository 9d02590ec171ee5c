"""A fit taken further by a loss that is not a sum of squares, such as a distance of spectra."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.fitting.gradient_descent import minimise
from circuitnn.fitting.observation import Observation
from circuitnn.fitting.problem import Evaluation, Problem
from circuitnn.fitting.unknowns import setting
from circuitnn.simulate import history_at_rest, simulate

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor], Tensor]

# What a gain's logarithm moves by in a step worth making.
GAIN_SCALE = 0.01


@dataclass(frozen=True)
class Refined:
    """shared [p]: the shared unknowns; before, after: mean loss of the recordings; iterations: what it took."""

    shared: Vector
    before: float
    after: float
    iterations: int


def refine(
    problem: Problem,
    found: Evaluation,
    curvature: Matrix,
    samples: float,
    loss: Loss,
    optimizer: str,
    iterations: int,
    watch: Callable[[Refined], None],
) -> None:
    """From the least-squares solution `found`, lower N/2 ln(mean loss of the recordings) plus the priors: the posterior
    of the fit with the loss in place of the relative squared error. N: samples, the independent ones that the
    recordings count as.

    Output gains are further unknowns unless the problem has one; delays, initial states, constants and hum stay as they
    were found.
    curvature [p, p]: of the least-squares posterior at `found`, which scales the steps. watch: is called with the best
    point so far, after each iteration.
    """
    scaling = torch.as_tensor(np.array(np.linalg.inv(np.linalg.cholesky(curvature)).T))
    widths, begun = torch.as_tensor(problem.widths), torch.as_tensor(found.point.shared)
    groups = problem.gain_groups if problem.output_gain is None else []
    targets = [_target(o, found, k) for k, o in enumerate(problem.observations)]

    def shared_at(x: Tensor) -> Tensor:
        return begun + scaling @ x[: len(begun)]

    def prior(shared: Tensor) -> Tensor:
        return 0.5 * torch.sum((shared / widths) ** 2)

    def objective(x: Tensor) -> Tensor:
        shared, gains = shared_at(x), list(torch.as_tensor(found.gains))
        for group, change in zip(groups, x[len(begun) :], strict=True):
            for k in group:
                gains[k] = gains[k] * torch.exp(GAIN_SCALE * change)
        losses = []
        for k, observation in enumerate(problem.observations):
            begin, end = observation.span(float(found.point.delays[k]))
            output = _output(problem, shared, observation, found.point.state(k))[begin:end]
            losses.append(loss(gains[k] * output, targets[k]))
        return 0.5 * samples * torch.log(torch.stack(losses).mean()) + prior(shared)

    first = math.nan

    def tell(iteration: int, x: Vector, value: float) -> None:
        nonlocal first
        shared = shared_at(torch.as_tensor(x))
        mean = math.exp((value - float(prior(shared))) / (0.5 * samples))
        first = mean if iteration == 0 else first
        watch(Refined(shared.numpy(), first, mean, iteration))

    minimise(objective, np.zeros(len(begun) + len(groups)), optimizer, iterations, tell)


def _target(observation: Observation, found: Evaluation, position: int) -> Tensor:
    """The wet recording without what was taken out of it."""
    delay = float(found.point.delays[position])
    begin, end = observation.span(delay)
    disturbance = np.zeros(end - begin)
    observation.disturb(disturbance, found.own[position].amplitudes, begin)
    return torch.as_tensor(observation.target(delay) - disturbance)


def _output(problem: Problem, shared: Tensor, observation: Observation, state: Vector) -> Tensor:
    """The output [time] in volt, differentiable in shared."""
    model, unknowns, recording = problem.model, problem.unknowns, observation.recording
    overrides = unknowns.overrides(shared, setting(recording))
    numbers = model.discrete.numbers(overrides)
    theta = model.discrete.theta_of(numbers, torch.exp(unknowns.log_level(shared)))
    x, w, rest = model.discrete.rest_of(numbers, model.operating_point(overrides))
    x = x + torch.as_tensor(observation.displacement(state))
    u = torch.nn.functional.pad(torch.as_tensor(recording.dry), (0, model.latency))[None, :, None]
    down = history_at_rest(rest[None], model.oversample)
    run = simulate(u, x[None], w.detach()[None], theta[None], model.kernel, model.oversample, down=down)
    return run.y[0, model.latency :, 0]
