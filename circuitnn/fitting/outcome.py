"""What a fit has to say where it ended: values with error bars, and how well each recording is met."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from circuitnn import metrics
from circuitnn.fitting.alignment import Alignment
from circuitnn.fitting.identifiability import identifiability, scale_ambiguity
from circuitnn.fitting.least_squares import Descent
from circuitnn.fitting.parallel import side_by_side
from circuitnn.fitting.problem import Evaluation, Point, Problem
from circuitnn.fitting.result import FitResult, FittedRecording
from circuitnn.fitting.robust import counting_little
from circuitnn.fitting.uncertainty import covariance, information
from circuitnn.fitting.unknowns import setting
from circuitnn.rendering import render

Vector = NDArray[np.float64]

ESRS = (metrics.esr, metrics.esr_gain_free, metrics.esr_preemphasis)


def rendered(problem: Problem, point: Point, position: int, samples: int | None = None) -> Vector:
    """The output of the circuit at a point, in volt, for one of the recordings (or so many samples of it)."""
    observation = problem.observations[position]
    recording, displacement = observation.recording, observation.displacement(point.state(position))
    overrides = problem.unknowns.overrides(torch.as_tensor(point.shared), setting(recording))
    level = problem.unknowns.level(point.shared)
    return render(problem.model, recording.dry[:samples], level, overrides=overrides, displacement=displacement).output


def outcome(problem: Problem, descent: Descent, weight: float, alignments: Sequence[Alignment]) -> FitResult:
    """What follows from the recordings of a fit where it ended. weight: independent samples that they counted as."""
    evaluation, model, unknowns = descent.found, problem.model, problem.unknowns
    samples = problem.samples(evaluation.point.delays)
    told = unknowns.told(evaluation.point.shared)
    spread = told.jacobian @ covariance(evaluation, unknowns.widths, samples, weight) @ told.jacobian.T
    deviations = np.sqrt(np.diag(spread))
    level = unknowns.level(evaluation.point.shared)
    values = unknowns.values(evaluation.point.shared)
    stderr = {c.name: c.slope(values[c.name]) * d for c, d in zip(unknowns.coordinates, deviations, strict=False)}
    back = np.linalg.inv(told.jacobian)
    scale = () if unknowns.input_level is not None else scale_ambiguity(
        told.names, back.T @ information(evaluation, samples) @ back, told.widths
    )  # fmt: skip
    learned = {c.name for c in model.coordinates}
    positions = range(len(problem.observations))
    fitted = tuple(side_by_side(partial(_judge, problem, evaluation), positions, alignments))
    for one, observation in zip(fitted, problem.observations, strict=True):
        recording = observation.recording
        if recording.polarity not in (None, one.polarity):
            warnings.warn(
                f"{one.name}: stated to have a polarity of {recording.polarity:+d}, but the fit found the "
                "opposite; check the wiring, or whether the netlist inverts",
                stacklevel=3,
            )
    energies = np.array([np.dot(f.target, f.target) for f in fitted])
    return FitResult(
        circuit=model.circuit,
        sample_rate=model.sample_rate,
        oversample=model.oversample,
        nominal={c.name: c.nominal for c in model.coordinates},
        values={name: value for name, value in values.items() if name in learned},
        stderr={name: error for name, error in stderr.items() if name in learned},
        covariance=spread,
        prior_stderr={c.name: c.slope(values[c.name]) * c.width for c in model.coordinates},
        positions={name: value for name, value in values.items() if name not in learned},
        positions_stderr={name: error for name, error in stderr.items() if name not in learned},
        input_level=level,
        input_level_stderr=0.0 if unknowns.input_level is not None else level * float(deviations[-1]),
        recordings=fitted,
        esr=float(np.average([f.esr for f in fitted], weights=energies)),
        esr_gain_free=float(np.average([f.esr_gain_free for f in fitted], weights=energies)),
        laws=unknowns.learned_laws(evaluation.point.shared, deviations),
        identifiability=identifiability(told, spread, scale),
        errors=descent.errors,
        reason=descent.reason or "",
        failures=evaluation.failures,
    )


def _judge(problem: Problem, evaluation: Evaluation, position: int, alignment: Alignment) -> FittedRecording:
    observation, rate = problem.observations[position], problem.model.sample_rate
    own, delay = evaluation.own[position], float(evaluation.point.delays[position])
    begin, end = observation.span(delay)
    target = observation.target(delay)
    output = rendered(problem, evaluation.point, position)[begin:end]
    output *= own.gain
    observation.disturb(output, own.amplitudes, begin)
    waves = own.amplitudes[1:].reshape(-1, 2)
    doubted = [] if own.weights is None else counting_little(own.weights, evaluation.ends[position])
    heard = (output, target)
    if doubted:
        counted = np.ones(len(target), bool)
        for low, high in doubted:
            counted[max(low - begin, 0) : high - begin] = False
        heard = (output[counted], target[counted])
    esrs = [error(*heard) for error in ESRS]
    return FittedRecording(
        name=observation.recording.name,
        knobs=problem.unknowns.positions(evaluation.point.shared, observation.recording),
        gain=own.gain,
        delay=delay + observation.recording.cut_off,
        confidence=alignment.confidence,
        drift=alignment.drift,
        offset=float(own.amplitudes[0]),
        hum={f: float(np.hypot(*wave)) for f, wave in zip(observation.hum, waves, strict=True)},
        cut=len(observation.usual_state) > 0,
        esr=esrs[0],
        esr_gain_free=esrs[1],
        esr_preemphasis=esrs[2],
        doubted=tuple((low / rate, high / rate) for low, high in doubted),
        input=observation.recording.dry[begin:end],
        target=target,
        output=output,
    )
