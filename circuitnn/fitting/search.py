"""Where to start: what nobody wrote down (input level, knob positions) is tried over its whole range first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.fitting.alignment import best_lag
from circuitnn.fitting.least_squares import Descent, minimise
from circuitnn.fitting.observation import Observation
from circuitnn.fitting.problem import LEVEL_NAME, LEVEL_WIDTH, Point, Problem, setting
from circuitnn.fitting.result import INTERRUPTED
from circuitnn.metrics import preemphasise
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.simulate import history_at_rest, simulate

Vector = NDArray[np.float64]

# Length of the excerpt on which starts are compared, and of the input before it that warms the circuit up, in seconds.
EXCERPT, WARM_UP = 0.5, 0.1
# Part of the peak level at which sound begins.
ONSET = 0.05
# Points tried, how many of the best go on to a short fit, and its iterations.
TRIALS, FINALISTS, SHORT_FIT = 64, 3, 6
# Samples by which the circuit's own phase may have moved the alignment of dry and wet.
LAG_RANGE = 32
# Iterations, at most, of the fit of all values to the excerpts.
APPROACH = 8
# Independent samples that an excerpt counts as in a short fit: enough for the recordings to outweigh the priors.
EXCERPT_WEIGHT = 2000.0
# Prior width of values that the search leaves alone.
FROZEN = 1e-4


def excerpt(recording: Recording, delay: float) -> tuple[Recording, float]:
    """The first EXCERPT seconds of sound that dry and wet share, with warm-up, as a recording; and its delay."""
    rate, offset = recording.sample_rate, round(delay)
    begin = max(0, -offset)
    level = np.abs(recording.wet[begin + offset : len(recording.dry) + offset])
    onset = int(np.argmax(level > ONSET * level.max()))
    begin += max(0, onset - round(0.1 * WARM_UP * rate))
    dry_begin = max(0, begin - round(WARM_UP * rate))
    end = begin + round(EXCERPT * rate)
    part = replace(recording, dry=recording.dry[dry_begin:end], wet=recording.wet[begin + offset : end + offset])
    return part, delay - offset - (begin - dry_begin)


def find_start(
    model: CircuitModel,
    recordings: Sequence[Recording],
    delays: Sequence[float],
    input_level: float | None,
    output_gain: float | None,
    independent_part: float,
) -> Point:
    """A start for the fit of `model` to whole recordings, found on excerpts.

    The input level and the knobs that nobody wrote down are tried over their range without oversampling, the best
    trials refined in these alone, and then everything is fitted at the model's own rate. independent_part: of the
    samples, how many count as independent.
    """
    coarse = CircuitModel(
        model.circuit, model.sample_rate, 1, [c.name for c in model.coordinates], compiled=model.compiled
    )
    parts = [excerpt(r, d) for r, d in zip(recordings, delays, strict=True)]
    problem = Problem(coarse, [r for r, _ in parts], [d for _, d in parts], input_level, output_gain)
    # Without oversampling the other values would only learn to make up for the bilinear warp: they stay.
    problem.widths[[k for k in range(len(problem.widths)) if k not in _unknown(problem)]] = FROZEN
    trials = _trials(problem)
    if len(trials) == 1:
        lags = _errors(problem, trials)[0][1]
        best = Point(trials[0], np.array([o.delay for o in problem.observations]) + lags)
    else:
        ranked = sorted(
            ((error, position, lags) for position, (error, lags) in enumerate(_errors(problem, trials))),
            key=lambda entry: entry[0],
        )
        descents = []
        for _, position, lags in ranked[:FINALISTS]:
            point = Point(trials[position], np.array([d for _, d in parts]) + lags)
            descents.append(_short_fit(problem, point, EXCERPT_WEIGHT, SHORT_FIT))
        best = min(descents, key=lambda descent: descent.evaluation.error).evaluation.point
    # All values, at the full rate, still on the excerpts: most of the way for a fraction of the cost.
    if any(len(r.wet) > 2 * len(part.wet) for r, (part, _) in zip(recordings, parts, strict=True)):
        full = Problem(model, [part for part, _ in parts], list(best.delays), input_level, output_gain)
        best = _short_fit(full, best, independent_part * full.samples, APPROACH).evaluation.point
    moved = best.delays - np.array([d for _, d in parts])
    return Point(best.shared, np.array(delays) + moved)


def _short_fit(problem: Problem, start: Point, samples: float, iterations: int) -> Descent:
    """A step on the way: an interrupted one has no result worth keeping."""
    descent = minimise(problem, start, samples, iterations)
    if descent.reason == INTERRUPTED:
        raise KeyboardInterrupt
    return descent


def _unknown(problem: Problem) -> list[int]:
    """Positions of the input level and of the knobs among the shared unknowns."""
    knobs = {knob.name for knob in problem.model.circuit.knobs}
    return [k for k, name in enumerate(problem.names) if name in knobs or name == LEVEL_NAME]


def _trials(problem: Problem) -> list[Vector]:
    """Points spread over the unknown level and knobs; the netlist's values first."""
    spread = _unknown(problem)
    if not spread:
        return [problem.origin.copy()]
    uniform = qmc.Sobol(len(spread), seed=0).random(TRIALS)
    trials = [problem.origin.copy()]
    for row in uniform:
        trial = problem.origin.copy()
        for position, u in zip(spread, row, strict=True):
            if problem.names[position] == LEVEL_NAME:
                trial[position] += LEVEL_WIDTH * (2.0 * u - 1.0) * 1.5
            else:
                trial[position] = problem.model.coordinates[position].free(0.03 + 0.94 * float(u))
        trials.append(trial)
    return trials


def _errors(problem: Problem, trials: Sequence[Vector]) -> list[tuple[float, Vector]]:
    """Relative squared error with the best gain and lag of each recording, and those lags, for each trial."""
    model, observations = problem.model, problem.observations
    settings = {setting(o.recording): dict(o.recording.knobs) for o in observations}
    models = {key: _stacked(problem, trials, knobs) for key, knobs in settings.items()}
    errors, lags = np.zeros((len(trials), len(observations))), np.zeros((len(trials), len(observations)))
    with torch.no_grad():
        for position, observation in enumerate(observations):
            theta, x, w, rest = models[setting(observation.recording)]
            inputs, down = observation.input.expand(len(trials), -1, -1), history_at_rest(rest, model.oversample)
            outputs = simulate(inputs, x, w, theta, model.kernel, model.oversample, down=down).y
            for k, output in enumerate(outputs[:, model.latency :, 0].numpy()):
                errors[k, position], lags[k, position] = _compare(observation, output)
    # A trial that blew up is the worst one, not a crash.
    means = np.where(np.isfinite(errors), errors, np.inf).mean(1)
    return [(float(mean), row) for mean, row in zip(means, lags, strict=True)]


@torch.no_grad()
def _stacked(problem: Problem, trials: Sequence[Vector], knobs: Mapping[str, float]) -> tuple[Tensor, ...]:
    """theta, x, w and the output at rest of all trials."""
    model, count = problem.model, len(problem.model.coordinates)
    states = []
    for trial in trials:
        overrides = model.overrides(knobs, torch.as_tensor(trial[:count]))
        numbers = model.discrete.numbers(overrides)
        rest = model.discrete.rest_of(numbers, model.operating_point(overrides))
        states.append((model.discrete.theta_of(numbers, problem.level(trial)), *rest))
    return tuple(torch.stack(part) for part in zip(*states, strict=True))


def _compare(observation: Observation, output: Vector) -> tuple[float, float]:
    """Relative squared error with the best gain and delay, and that delay less the present one."""
    begin, end = observation.span(observation.delay)
    begin, end = begin + LAG_RANGE, end - LAG_RANGE
    offset = round(observation.delay)
    target = preemphasise(observation.recording.wet[begin + offset : end + offset])
    lag, correlation = best_lag(preemphasise(output[begin - LAG_RANGE : end + LAG_RANGE]), target)
    return 1.0 - correlation**2, offset - lag - observation.delay
