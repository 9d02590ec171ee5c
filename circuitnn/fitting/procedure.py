"""The fit from start to finish: align, search, minimise, judge."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from circuitnn import metrics
from circuitnn.audio import Recording
from circuitnn.errors import CircuitnnError, RecordingError
from circuitnn.fitting.alignment import DOUBTFUL, Alignment, align
from circuitnn.fitting.held_out import judge
from circuitnn.fitting.least_squares import minimise
from circuitnn.fitting.problem import Evaluation, Problem
from circuitnn.fitting.result import FitResult, FittedRecording
from circuitnn.fitting.search import find_start
from circuitnn.fitting.uncertainty import covariance, identifiability
from circuitnn.models.circuit_model import CircuitModel

Progress = Callable[[str, int, float], None]

# Of the recordings' samples, how many count as independent while the optimum is sought. Errors of a model are
# correlated over milliseconds; the error bars take that from the data (uncertainty.py).
INDEPENDENT_PART = 0.05


def fit(
    model: CircuitModel,
    recordings: Sequence[Recording],
    *,
    input_level: float | None = None,
    output_gain: float | None = None,
    held_out: Sequence[Recording] = (),
    max_iterations: int = 40,
    progress: Progress | None = None,
) -> FitResult:
    """Fit the learnable values of `model` to recordings, and set the model to them.

    input_level: volt at digital full scale of the dry recordings; None: unknown, estimated through the nonlinearity.
    output_gain: digital full scale per volt of the wet recordings; None: unknown, one per recording. held_out:
    recordings that take no part and are judged afterwards, with one free gain each. progress: called with (stage,
    iteration, relative squared error). Ctrl-C ends the fit with the best values so far.

    Raises RecordingError for recordings that do not go together, CircuitnnError for a model that cannot be fitted.
    """
    began = time.perf_counter()
    _check(model, recordings, held_out)
    for name, level in (("input_level", input_level), ("output_gain", output_gain)):
        if level is not None and not (np.isfinite(level) and level != 0.0 and (level > 0.0 or name == "output_gain")):
            raise CircuitnnError(f"{name} is {level}; expected a number above 0 (an inverting output may be below)")
    recordings = [replace(r, dry=np.asarray(r.dry, float), wet=np.asarray(r.wet, float)) for r in recordings]
    alignments = [_align(r) for r in recordings]
    delays = [float(a.delay if r.delay is None else r.delay) for a, r in zip(alignments, recordings, strict=True)]
    if progress:
        progress("search", 0, 1.0)
    start = find_start(model, recordings, delays, input_level, output_gain, INDEPENDENT_PART)
    problem = Problem(model, recordings, list(start.delays), input_level, output_gain)
    descent = minimise(
        problem,
        start,
        INDEPENDENT_PART * problem.samples,
        max_iterations,
        None if progress is None else lambda iteration, error: progress("fit", iteration, error),
    )
    evaluation = descent.evaluation
    count = len(model.coordinates)
    with torch.no_grad():
        model.free.copy_(torch.as_tensor(evaluation.point.shared[:count]))
    spread = covariance(problem, evaluation)
    deviations = np.sqrt(np.diag(spread))
    level = float(problem.level(evaluation.point.shared))
    values = {c.name: float(c.value(q)) for c, q in zip(model.coordinates, model.free.detach(), strict=True)}
    fitted = tuple(
        _judge(problem, evaluation, position, alignment.confidence) for position, alignment in enumerate(alignments)
    )
    energy = sum(float(np.sum(f.target**2)) for f in fitted)
    return FitResult(
        circuit=model.circuit,
        sample_rate=model.sample_rate,
        oversample=model.oversample,
        nominal={c.name: c.nominal for c in model.coordinates},
        values=values,
        stderr={c.name: c.slope(values[c.name]) * d for c, d in zip(model.coordinates, deviations, strict=False)},
        prior_stderr={c.name: c.slope(values[c.name]) * c.width for c in model.coordinates},
        input_level=level,
        input_level_stderr=0.0 if input_level is not None else level * float(deviations[-1]),
        recordings=fitted,
        esr=sum(f.esr * float(np.sum(f.target**2)) for f in fitted) / energy,
        esr_gain_free=sum(f.esr_gain_free * float(np.sum(f.target**2)) for f in fitted) / energy,
        identifiability=identifiability(problem.names[:count], spread[:count, :count], problem.widths[:count]),
        errors=descent.errors,
        reason=descent.reason,
        failures=evaluation.failures,
        seconds=time.perf_counter() - began,
        held_out=judge(model, held_out, [_align(r) for r in held_out], level),
    )


def _align(recording: Recording) -> Alignment:
    """A known delay needs no search; a doubtful one is reported."""
    if recording.delay is not None:
        return Alignment(round(recording.delay), recording.polarity or 1, math.inf)
    alignment = align(recording.dry, recording.wet, recording.sample_rate)
    if alignment.confidence < DOUBTFUL:
        warnings.warn(
            f"{recording.name}: the delay of {alignment.delay} samples is doubtful (confidence "
            f"{alignment.confidence:.2f}); trim dry and wet to start together",
            stacklevel=3,
        )
    return alignment


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


def _judge(problem: Problem, evaluation: Evaluation, position: int, confidence: float) -> FittedRecording:
    observation = problem.observations[position]
    delay, gain = float(evaluation.point.delays[position]), float(evaluation.gains[position])
    begin, end = observation.span(delay)
    target, output = observation.target(delay), gain * evaluation.outputs[position][begin:end]
    return FittedRecording(
        name=observation.recording.name,
        knobs=observation.recording.knobs,
        gain=gain,
        delay=delay,
        confidence=confidence,
        esr=metrics.esr(output, target),
        esr_gain_free=metrics.esr_gain_free(output, target),
        esr_preemphasis=metrics.esr_preemphasis(output, target),
        input=observation.recording.dry[begin:end],
        target=target,
        output=output,
    )
