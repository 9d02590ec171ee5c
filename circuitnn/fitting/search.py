"""Where to start: what nobody wrote down (input level, knob positions) is tried over its whole range first.

Many trials on a short excerpt without oversampling, a race of the best ones, and then (as a stage of the fit) an
approach with all values on parts of the recordings at half the model's rate: each stage starts the next near its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, qmc
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.errors import ConvergenceError
from circuitnn.fitting.alignment import LAG_RANGE, best_lag
from circuitnn.fitting.least_squares import Descent, LeastSquares, descend
from circuitnn.fitting.observation import Observation, Window
from circuitnn.fitting.parallel import side_by_side
from circuitnn.fitting.problem import Point, Problem, observe
from circuitnn.fitting.unknowns import LEVEL_NAME, LEVEL_WIDTH, Setting, Unknowns, setting
from circuitnn.metrics import preemphasise
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.simulate import history_at_rest, simulate

Vector = NDArray[np.float64]
Progress = Callable[[str, int, float], None]

# Length of the excerpt on which starts are compared, and of the input before it that warms the circuit up, in seconds.
EXCERPT, WARM_UP = 0.5, 0.1
# Part of the peak level at which sound begins.
ONSET = 0.05
# Trials, and the rounds of the race: how many take part, and how many evaluations each of them gets.
TRIALS, RACE = 128, ((10, 2), (4, 4), (2, 8))
# Prior width, in the coordinate that is learned, from which a value is tried over its range, too.
WIDE = 0.2
# Independent samples that the recordings count as in the race and in the approach: so few that what they can hardly
# tell stays where the netlist says, and a step is not led along a valley in which nothing is gained.
RACE_WEIGHT, APPROACH_WEIGHT = 1000.0, 4000.0
# The approach: audio looked at from where sound begins, over all recordings; length and period of the windows in it;
# what warms their derivatives up. All in seconds. And its iterations, at most.
APPROACH_AUDIO, APPROACH_WINDOW, APPROACH_PERIOD, APPROACH_WARM_UP = 24.0, 0.2, 0.8, 0.1
APPROACH_ITERATIONS = 25
# The approach ends with a step that gained less than this for each unknown; the fit goes on from there.
APPROACH_GAIN = 1.0
# A fit to recordings of more than LONG begins with SPREAD_AUDIO of them at the model's own rate: windows over their
# whole length, each warmed up from rest. In seconds.
LONG, SPREAD_AUDIO, SPREAD_WINDOW, SPREAD_WARM_UP = 90.0, 40.0, 2.0, 1.0
NOWHERE = "the circuit has no operating point at any of the values tried"


def sounding(recording: Recording, delay: float) -> int:
    """The dry sample at which sound begins that dry and wet share."""
    offset = round(delay)
    begin = max(0, -offset)
    level = np.abs(recording.wet[begin + offset : len(recording.dry) + offset])
    return begin + int(np.argmax(level > ONSET * level.max()))


def excerpt(recording: Recording, delay: float) -> tuple[Recording, float]:
    """The first EXCERPT seconds of sound that dry and wet share, with warm-up, as a recording; and its delay."""
    rate, offset = recording.sample_rate, round(delay)
    begin = max(max(0, -offset), sounding(recording, delay) - round(0.1 * WARM_UP * rate))
    dry_begin = max(0, begin - round(WARM_UP * rate))
    end = begin + round(EXCERPT * rate)
    # A stated delay is that of the whole.
    part = replace(
        recording, dry=recording.dry[dry_begin:end], wet=recording.wet[begin + offset : end + offset], delay=None
    )
    return part, delay - offset - (begin - dry_begin)


def approach_windows(recordings: Sequence[Recording]) -> Callable[[Observation, float], Sequence[Window]]:
    """Short windows over the first seconds of each recording's sound."""

    def windows(observation: Observation, delay: float) -> Sequence[Window]:
        rate = observation.model.sample_rate
        begin, end = observation.span(delay)
        begin = max(begin, sounding(observation.recording, delay) - round(0.1 * APPROACH_WINDOW * rate))
        end = min(end, begin + round(APPROACH_AUDIO / len(recordings) * rate))
        starts = range(begin, max(begin + 1, end - round(0.5 * APPROACH_WINDOW * rate)), round(APPROACH_PERIOD * rate))
        return [
            Window(
                max(0, start - round(APPROACH_WARM_UP * rate)), start, min(end, start + round(APPROACH_WINDOW * rate))
            )
            for start in starts
        ]

    return windows


def spread_windows(recordings: Sequence[Recording]) -> Callable[[Observation, float], Sequence[Window]]:
    """Windows over the whole of long recordings, each recording with its share of them."""
    total = sum(len(recording.wet) for recording in recordings)

    def windows(observation: Observation, delay: float) -> Sequence[Window]:
        rate = observation.model.sample_rate
        begin, end = observation.span(delay)
        count = max(1, round(SPREAD_AUDIO / SPREAD_WINDOW * len(observation.recording.wet) / total))
        length, warm_up = min(round(SPREAD_WINDOW * rate), end - begin), round(SPREAD_WARM_UP * rate)
        starts = np.linspace(begin, end - length, count).astype(int).tolist()
        return [Window(max(0, start - warm_up), start, start + length, afresh=start > warm_up) for start in starts]

    return windows


def race(
    model: CircuitModel,
    unknowns: Unknowns,
    recordings: Sequence[Recording],
    delays: Sequence[float],
    output_gain: float | None,
    robust: bool,
    say: Progress,
) -> Point:
    """A start for a fit: the best of many trials, without oversampling and on excerpts, by successive halving. Raises
    ConvergenceError if the circuit has no operating point in any of them."""
    coarse = CircuitModel(
        model.circuit, model.sample_rate, 1, [c.name for c in model.coordinates], compiled=model.compiled
    )
    parts = [excerpt(r, d) for r, d in zip(recordings, delays, strict=True)]
    cut, begun = [r for r, _ in parts], np.array([d for _, d in parts])
    problem = Problem(unknowns, coarse, observe(coarse, cut, list(begun)), output_gain, robust=robust)
    trials = _trials(unknowns)
    say("search", 0, 1.0)
    judged = _errors(problem, trials, begun)
    ranked = sorted(range(len(trials)), key=lambda k: judged[k][0])
    racers = [Descent(Point(trials[k], begun + judged[k][1])) for k in ranked]
    rule = LeastSquares(problem, RACE_WEIGHT, sum(evaluations for _, evaluations in RACE))
    # Without anything to search, the others only make up for the bilinear warp: a trial is a start already.
    if len(trials) > 1:
        for number, (count, evaluations) in enumerate(RACE):
            racers = descend(rule, racers[:count], evaluations)
            racers = sorted((r for r in racers if r.best is not None), key=lambda r: r.found.error)
            if not racers:
                raise ConvergenceError(NOWHERE, "check it by `circuitnn inspect`")
            say("search", number + 1, racers[0].found.error)
    best = racers[0].best.point if racers[0].best is not None else racers[0].proposal
    return Point(best.shared, np.asarray(delays, dtype=float) + best.delays - begun)


def _searched(unknowns: Unknowns) -> list[int]:
    """Indices of unknowns whose start is worth searching: positions, level, and values with a wide tolerance."""
    return sorted(set(unknowns.searched) | {k for k, width in enumerate(unknowns.widths) if width >= WIDE})


def _trials(unknowns: Unknowns) -> list[Vector]:
    """Points spread over what is searched; the netlist's values first."""
    trials = [np.zeros(len(unknowns))]
    spread = _searched(unknowns) if unknowns.searched else []
    if not spread:
        return trials
    for row in qmc.Sobol(len(spread), seed=0).random(TRIALS):
        trial = np.zeros(len(unknowns))
        for position, u in zip(spread, row, strict=True):
            if unknowns.names[position] == LEVEL_NAME:
                trial[position] = LEVEL_WIDTH * (2.0 * u - 1.0) * 1.5
            elif position in unknowns.searched:
                trial[position] = unknowns.coordinates[position].free(0.03 + 0.94 * float(u))
            else:
                trial[position] = unknowns.widths[position] * norm.ppf(0.02 + 0.96 * u)
        trials.append(trial)
    return trials


def _errors(problem: Problem, trials: Sequence[Vector], delays: Vector) -> list[tuple[float, Vector]]:
    """Relative squared error with the best gain and lag of each recording, and those lags, for each trial."""
    model, observations = problem.model, problem.observations
    keys = {setting(o.recording) for o in observations}
    models = {key: [_at_rest(problem, trial, key) for trial in trials] for key in keys}
    # A trial without operating point, or one that blows up, is the worst one, not a crash.
    alive = [k for k in range(len(trials)) if all(models[key][k] is not None for key in keys)]
    errors, lags = np.full((len(trials), len(observations)), np.inf), np.zeros((len(trials), len(observations)))
    if not alive:
        raise ConvergenceError(NOWHERE, "check it by `circuitnn inspect`")
    with torch.no_grad():
        for position, observation in enumerate(observations):
            states = [state for k in alive if (state := models[setting(observation.recording)][k]) is not None]
            theta, x, w, rest = (torch.stack(part) for part in zip(*states, strict=True))
            inputs, down = (
                observation.input(0, observation.length).expand(len(alive), -1, -1),
                history_at_rest(rest, model.oversample),
            )
            outputs = simulate(inputs, x, w, theta, model.kernel, model.oversample, down=down).y
            compared = side_by_side(
                partial(_compare, observation, float(delays[position])), outputs[:, model.latency :, 0].numpy()
            )
            errors[alive, position], lags[alive, position] = np.transpose(compared)
    return [(float(mean), row) for mean, row in zip(errors.mean(1), lags, strict=True)]


@torch.no_grad()
def _at_rest(problem: Problem, trial: Vector, key: Setting) -> tuple[Tensor, ...] | None:
    """theta, x, w and the output at rest of a trial; None without operating point."""
    model, unknowns = problem.model, problem.unknowns
    overrides = unknowns.overrides(torch.as_tensor(trial), key)
    numbers = model.discrete.numbers(overrides)
    try:
        rest = model.discrete.rest_of(numbers, model.operating_point(overrides))
    except ConvergenceError:
        return None
    return (model.discrete.theta_of(numbers, unknowns.level(trial)), *rest)


def _compare(observation: Observation, delay: float, output: Vector) -> tuple[float, float]:
    """Relative squared error with the best gain and delay, and that delay less the present one."""
    begin, end = observation.span(delay)
    begin, end = begin + LAG_RANGE, end - LAG_RANGE
    offset = round(delay)
    if not np.isfinite(output).all():
        return np.inf, 0.0
    target = preemphasise(observation.recording.wet[begin + offset : end + offset])
    lag, correlation = best_lag(preemphasise(output[begin - LAG_RANGE : end + LAG_RANGE]), target)
    return 1.0 - correlation**2, offset - lag - delay
