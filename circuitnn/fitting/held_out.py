"""Recordings that took no part in a fit, judged by it with one free gain each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import torch

from circuitnn import metrics
from circuitnn.audio import Recording
from circuitnn.fitting.alignment import LAG_RANGE, Alignment, best_lag
from circuitnn.fitting.observation import Observation
from circuitnn.fitting.result import FittedRecording
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.rendering import render


def judge(
    model: CircuitModel, recordings: Sequence[Recording], alignments: Sequence[Alignment], level: float
) -> tuple[FittedRecording, ...]:
    """The recordings rendered by `model` as it is, each with the gain and the delay that fit it best.

    level: volt at digital full scale. Raises RecordingError if dry and wet do not overlap.
    """
    return tuple(_judge(model, r, a, level) for r, a in zip(recordings, alignments, strict=True))


@torch.no_grad()
def _judge(model: CircuitModel, recording: Recording, alignment: Alignment, level: float) -> FittedRecording:
    observation = Observation(model, recording, float(alignment.delay))
    positions = {name: float(position) for name, position in recording.knobs.items()}
    output = render(model, recording.dry, level, overrides=model.overrides(positions)).output
    delay = _delay(observation, output, float(alignment.delay))
    begin, end = observation.span(delay)
    output, target = output[begin:end], observation.target(delay)
    gain = float(np.dot(output, target) / max(np.dot(output, output), 1e-300))
    output = gain * output
    return FittedRecording(
        name=recording.name,
        knobs=positions,
        gain=gain,
        delay=delay + recording.cut_off,
        confidence=alignment.confidence,
        offset=0.0,
        hum={},
        esr=metrics.esr(output, target),
        esr_gain_free=metrics.esr_gain_free(output, target),
        esr_preemphasis=metrics.esr_preemphasis(output, target),
        input=recording.dry[begin:end],
        target=target,
        output=output,
    )


def _delay(observation: Observation, output: np.ndarray[tuple[int, ...], np.dtype[np.float64]], start: float) -> float:
    """The delay with the smallest error, to a fraction of a sample."""
    begin, end = observation.span(start)
    begin, end = begin + LAG_RANGE, end - LAG_RANGE
    target = observation.target(start)[LAG_RANGE:-LAG_RANGE]
    lag, _ = best_lag(metrics.preemphasise(output[begin - LAG_RANGE : end + LAG_RANGE]), metrics.preemphasise(target))
    middle = start - lag

    def error(delay: float) -> float:
        first, last = observation.span(delay)
        return metrics.esr_gain_free(output[first:last], observation.target(delay))

    found = scipy.optimize.minimize_scalar(error, bounds=(middle - 0.7, middle + 0.7), method="bounded")
    return float(found.x)
