"""The fit from start to finish: align, search, minimise, judge."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from circuitnn.audio import Recording
from circuitnn.errors import CircuitnnError, RecordingError
from circuitnn.fitting.checkpoint import APPROACH, FIT, GROWN, SPREAD, Checkpoint, Progressed, fingerprint
from circuitnn.fitting.gradient_descent import OPTIMIZERS
from circuitnn.fitting.held_out import judge
from circuitnn.fitting.horizon import first_seconds, furthest, grown, lost
from circuitnn.fitting.hum import mains_lines
from circuitnn.fitting.initial_state import begins_in_sound, usual_state
from circuitnn.fitting.least_squares import DAMPING, SMALLEST_GAIN, Descent, LeastSquares, descend
from circuitnn.fitting.locating import located
from circuitnn.fitting.model_check import suggestions
from circuitnn.fitting.observation import AT_REST, Observation
from circuitnn.fitting.outcome import outcome, rendered
from circuitnn.fitting.parallel import side_by_side
from circuitnn.fitting.problem import Point, Problem, Windows, observe
from circuitnn.fitting.refinement import Loss, Refined, refine
from circuitnn.fitting.result import INTERRUPTED, FitResult, Refinement
from circuitnn.fitting.search import (
    APPROACH_GAIN,
    APPROACH_ITERATIONS,
    APPROACH_WEIGHT,
    LONG,
    approach_windows,
    race,
    spread_windows,
)
from circuitnn.fitting.uncertainty import independent_samples
from circuitnn.fitting.unknowns import Unknowns, setting
from circuitnn.models.circuit_model import CircuitModel

Progress = Callable[[str, int, float], None]
Vector = NDArray[np.float64]
Lines = tuple[tuple[float, ...], ...]

# By how much less than the fit the approach is oversampled.
APPROACH_COARSER = 2
# Hum is looked for in the first so many seconds of a recording.
HUM_SECONDS = 120.0
# Lines of hum closer than this, in Hz, are one.
SAME_LINE = 1.0
# The recordings are weighted anew if they turn out to count for that many times what they did.
HEAVIER = 3.0


def fit(
    model: CircuitModel,
    recordings: Sequence[Recording],
    *,
    input_level: float | None = None,
    output_gain: float | None = None,
    held_out: Sequence[Recording] = (),
    max_iterations: int = 40,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    suggest: bool = False,
    robust: bool = False,
    loss: Loss | None = None,
    optimizer: str = "lbfgs",
) -> FitResult:
    """Fit the learnable values of `model` to recordings, and set the model to them.

    input_level: volt at digital full scale of the dry recordings; None: unknown, estimated through the nonlinearity.
    output_gain: digital full scale per volt of the wet recordings; None: unknown, one per recording or gain group.
    held_out: recordings that take no part and are judged afterwards, with one free gain each. progress: called with
    (stage, iteration, relative squared error). Ctrl-C ends the fit with the best values so far. checkpoint: a file that
    holds the state after every step; with resume, a fit that was killed goes on from there, and ends with the same
    values. The file stays: delete it once the result is safe. suggest: look among the values that were not learned for
    what would explain the error. robust: parts of the recordings that no other part is like (clicks, coughs, dropouts)
    count less. loss: a distance of output [time] and target [time] that torch can differentiate, such as
    losses.mr_stft: after least squares, the fit goes on with it in place of the squared error, by optimizer "lbfgs" or
    "adam".

    Raises RecordingError for recordings that do not go together, CircuitnnError for a model that cannot be fitted.
    """
    began = time.perf_counter()
    _check(model, recordings, held_out)
    _check_levels(input_level, output_gain)
    if optimizer not in OPTIMIZERS:
        raise CircuitnnError(f"expected an optimizer among {', '.join(OPTIMIZERS)}, found {optimizer!r}")
    recordings = [replace(r, dry=np.asarray(r.dry, float), wet=np.asarray(r.wet, float)) for r in recordings]
    unknowns = Unknowns(model, recordings, input_level)
    for recording in held_out:
        unknowns.positions(np.zeros(len(unknowns)), recording)
    file = None if checkpoint is None else Checkpoint(
        checkpoint, fingerprint(model, recordings, (input_level, output_gain, max_iterations, robust))
    )  # fmt: skip
    alignments = located(recordings)
    delays = [float(a.delay if r.delay is None else r.delay) for a, r in zip(alignments, recordings, strict=True)]
    # Recordings that do not overlap are told before the search, not by it.
    observe(model, recordings, delays)
    say = progress or (lambda stage, iteration, error: None)
    run = _Run(model, unknowns, recordings, delays, output_gain, robust, say, file)
    saved = file.read(len(unknowns), len(recordings), [len(s) for s in run.resting]) if file and resume else None
    start = cache(lambda: race(model, unknowns, recordings, delays, output_gain, robust, run.say))
    if saved is None:
        saved = Progressed(APPROACH, replace(start(), states=run.resting), APPROACH_WEIGHT, DAMPING, (), ())
    descent = run.descend(saved, APPROACH_ITERATIONS if saved.stage in (APPROACH, GROWN) else max_iterations)
    if saved.stage == APPROACH and descent.reason != INTERRUPTED and lost(descent):
        saved, descent = run.grown(saved, descent, start, delays)
    while (following := run.following(saved, descent)) is not None:
        saved = following
        descent = run.descend(saved, max_iterations)
    refinement = None
    if loss is not None and descent.reason != INTERRUPTED:
        descent, refinement = run.refined(saved, descent, loss, optimizer, max_iterations)
    best = descent.found.point
    with torch.no_grad():
        model.free.copy_(torch.as_tensor(best.shared[: len(model.coordinates)]))
    model.tapers = unknowns.tapers(best.shared)
    level = unknowns.level(best.shared)
    judged = judge(model, run.settled(held_out, best), located(held_out), level)
    found = suggestions(run.problem(FIT, best, saved.hum), best) if suggest else None
    result = outcome(run.problem(FIT, best, saved.hum), descent, saved.samples, alignments)
    return replace(
        result, held_out=judged, suggestions=found, refinement=refinement, seconds=time.perf_counter() - began
    )


class _Run:
    """What the stages of one fit have in common."""

    def __init__(
        self,
        model: CircuitModel,
        unknowns: Unknowns,
        recordings: Sequence[Recording],
        delays: Sequence[float],
        output_gain: float | None,
        robust: bool,
        say: Progress,
        file: Checkpoint | None,
    ) -> None:
        self.model, self.unknowns, self.recordings, self.output_gain = model, unknowns, recordings, output_gain
        self.robust, self.say, self.file = robust, say, file
        names = [coordinate.name for coordinate in model.coordinates]
        factor = max(1, model.oversample // APPROACH_COARSER)
        self.coarse = CircuitModel(model.circuit, model.sample_rate, factor, names, compiled=model.compiled)
        cut = [begins_in_sound(recording, delay) for recording, delay in zip(recordings, delays, strict=True)]
        self._usual_states = {m: self._usual(m, cut) for m in (self.coarse, model)} if any(cut) else {}

    def _usual(self, model: CircuitModel, cut: Sequence[bool]) -> list[Vector]:
        """The units of the initial states that are unknown: those of recordings that begin in mid-sound."""
        start = np.zeros(len(self.unknowns))
        level = self.unknowns.level(start)
        return [
            usual_state(model, r.dry, self.unknowns.overrides(torch.as_tensor(start), setting(r)), level)
            if unknown
            else AT_REST
            for r, unknown in zip(self.recordings, cut, strict=True)
        ]

    @property
    def resting(self) -> tuple[Vector, ...]:
        """Initial states to begin with; () if all are known."""
        return tuple(np.zeros(len(unit)) for unit in self._usual_states.get(self.model, []))

    def observe(self, model: CircuitModel, point: Point, hum: Lines = ()) -> list[Observation]:
        """The recordings prepared for the model or the coarse one."""
        return observe(model, self.recordings, list(point.delays), hum, self._usual_states.get(model, ()))

    def problem(self, stage: str, point: Point, hum: Lines) -> Problem:
        """The whole of the recordings, windows of long ones, their begin, or the windows of the approach at a lower
        rate."""
        windows = {
            APPROACH: approach_windows(self.recordings),
            GROWN: first_seconds(furthest(self.recordings)),
            SPREAD: spread_windows(self.recordings),
            FIT: Observation.windows,
        }
        model = self.coarse if stage == APPROACH else self.model
        return Problem(
            self.unknowns, model, self.observe(model, point, hum), self.output_gain, windows[stage], self.robust
        )

    def grown(
        self, approach: Progressed, descent: Descent, start: Callable[[], Point], delays: Sequence[float]
    ) -> tuple[Progressed, Descent]:
        """What takes the place of an approach that has lost the recordings: where fits to more and more of them lead,
        from the values that the race has found (its lags say nothing then); or the approach, if those lose them, too.
        """

        def problem(windows: Windows) -> Problem:
            return Problem(self.unknowns, self.model, observations, self.output_gain, windows, self.robust)

        try:
            first = replace(start(), delays=np.asarray(delays, dtype=float), states=self.resting)
            observations = self.observe(self.model, first)
            found = grown(problem, first, furthest(self.recordings), self.say)
        except KeyboardInterrupt:
            return approach, replace(descent, reason=INTERRUPTED)
        if found is None:
            return approach, descent
        stage = Progressed(GROWN, found, APPROACH_WEIGHT, DAMPING, (), ())
        return stage, self.descend(stage, APPROACH_ITERATIONS)

    def descend(self, start: Progressed, iterations: int) -> Descent:
        """A stage, the state being written after each step. Ctrl-C ends it with the best point so far, if there is
        one."""
        problem = self.problem(start.stage, start.point, start.hum)
        gain = APPROACH_GAIN if start.stage in (APPROACH, GROWN) else SMALLEST_GAIN
        rule = LeastSquares(problem, start.samples, iterations, gain)
        latest = Descent(start.point, damping=start.damping, errors=start.errors)

        def watch(descents: Sequence[Descent]) -> None:
            nonlocal latest
            (latest,) = descents
            if latest.best is None:
                return
            # The last step of a stage is not written: taken again, it ends the stage again.
            if self.file is not None and latest.reason is None:
                self.file.write(
                    replace(start, point=latest.best.point, damping=latest.damping, errors=latest.errors)
                )  # fmt: skip
            self.say(start.stage, len(latest.errors) - 1, latest.best.error)

        try:
            (latest,) = descend(rule, [latest], watch=watch)
            if start.stage == FIT:
                latest = rule.polished(latest)
        except KeyboardInterrupt:
            if latest.best is None:
                raise
            latest = replace(latest, reason=INTERRUPTED)
        return latest

    def following(self, done: Progressed, descent: Descent) -> Progressed | None:
        """The stage after one that has ended, None if that was the last: the whole recordings after the approach (and
        after windows of them, if they are long); once more, if by then the error shows hum, or is so small and white
        that the recordings count for more."""
        if descent.reason == INTERRUPTED:
            return None
        best = descent.found
        stages = (done.stage, SPREAD, FIT)
        samples, spread, whole = (self.problem(s, best.point, done.hum).samples(best.point.delays) for s in stages)
        independent = independent_samples(best, self.unknowns.widths, samples) / samples
        if done.stage == SPREAD:
            # Damping is relative to a curvature that grows with what the recordings count as.
            return Progressed(FIT, best.point, whole * independent, descent.damping * spread / whole, (), done.hum)
        lines = self.hum(best.point)
        if done.stage in (APPROACH, GROWN):
            # Windows that begin afresh know nothing of the phase that growing has found.
            long = done.stage == APPROACH and whole > LONG * self.model.sample_rate
            stage, count = (SPREAD, spread) if long else (FIT, whole)
            return Progressed(stage, best.point, count * independent, descent.damping, (), lines)
        # A frequency that is merely estimated anew is not a new one.
        new = any(
            min((abs(f - known) for known in old), default=math.inf) > SAME_LINE
            for line, old in zip(lines, done.hum, strict=True)
            for f in line
        )
        if not new and whole * independent < HEAVIER * done.samples:
            return None
        return Progressed(
            FIT, best.point, max(whole * independent, done.samples), DAMPING, descent.errors, lines if new else done.hum
        )

    def refined(
        self, last: Progressed, descent: Descent, loss: Loss, optimizer: str, iterations: int
    ) -> tuple[Descent, Refinement | None]:
        """The descent with its point moved to where the loss is least. Ctrl-C ends it with the best point so far."""
        found, problem = descent.found, self.problem(FIT, descent.found.point, last.hum)
        curvature, _ = LeastSquares(problem, last.samples, iterations).system(found)
        latest: Refined | None = None
        reason = descent.reason

        def watch(refined: Refined) -> None:
            nonlocal latest
            latest = refined
            self.say("refinement", refined.iterations, refined.after)

        try:
            refine(problem, found, curvature, last.samples, loss, optimizer, iterations, watch)
        except KeyboardInterrupt:
            reason = INTERRUPTED
        if latest is None:
            return replace(descent, reason=reason), None
        (there,) = problem.evaluate([problem.moved(found, latest.shared - found.point.shared)])
        if there is None:
            return replace(descent, reason=reason), None
        name = getattr(loss, "__name__", type(loss).__name__)
        return (
            replace(descent, best=there, errors=(*descent.errors, there.error), reason=reason),
            Refinement(name, optimizer, latest.before, latest.after, latest.iterations),
        )

    def hum(self, point: Point) -> Lines:
        """Frequencies of mains hum in what the model at `point` leaves over, for each recording."""

        problem = self.problem(FIT, point, ())

        def lines(position: int) -> tuple[float, ...]:
            observation, delay = problem.observations[position], float(point.delays[position])
            begin, _ = observation.span(delay)
            target = observation.target(delay, round(HUM_SECONDS * self.model.sample_rate))
            output = rendered(problem, point, position, begin + len(target))[begin:]
            gain = float(output @ target) / max(float(output @ output), 1e-300)
            return mains_lines(target - gain * output, self.model.sample_rate)

        return tuple(side_by_side(lines, range(len(self.recordings))))

    def settled(self, recordings: Sequence[Recording], point: Point) -> list[Recording]:
        """Recordings with numbers for the positions of their knobs."""
        return [replace(r, knobs=self.unknowns.positions(point.shared, r)) for r in recordings]


def _check(model: CircuitModel, recordings: Sequence[Recording], held_out: Sequence[Recording]) -> None:
    if not recordings:
        raise RecordingError("there is no recording to fit to")
    if not model.coordinates:
        raise CircuitnnError("the model has nothing to learn", "mark values by `*@ learn R1 C1` or pass learn=[...]")
    structure = model.discrete.structure
    if structure.n_u != 1 or structure.n_y != 1:
        raise CircuitnnError(f"a fit needs one input and one output, found {structure.n_u} and {structure.n_y}")
    for recording in (*recordings, *held_out):
        if recording.sample_rate != model.sample_rate:
            raise RecordingError(
                f"{recording.name} has {recording.sample_rate} Hz, the model runs at {model.sample_rate:g} Hz",
                "use recordings of one sample rate, and a model of the same rate",
            )


def _check_levels(input_level: float | None, output_gain: float | None) -> None:
    if input_level is not None and not (np.isfinite(input_level) and input_level > 0.0):
        raise CircuitnnError(f"input_level is {input_level}; expected a number above 0")
    if output_gain is not None and not (np.isfinite(output_gain) and output_gain != 0.0):
        raise CircuitnnError(f"output_gain is {output_gain}; expected a number other than 0")
