"""Where a fitted model fails, and what in the circuit that was not learned has influence there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from circuitnn.errors import CircuitnnError
from circuitnn.fitting.problem import Evaluation, Point, Problem, observe
from circuitnn.fitting.result import FittedRecording, Share, Suggestion
from circuitnn.fitting.search import approach_windows
from circuitnn.fitting.uncertainty import independent_samples
from circuitnn.fitting.unknowns import Unknowns
from circuitnn.models.circuit_model import CircuitModel

Signal = NDArray[np.float64]
Vector = NDArray[np.float64]

# Lowest edge of the octaves in which errors are compared, in Hz.
LOWEST = 20.0
# Levels of the input's envelope below its peak that divide a recording, in dB, and the time over which it is taken.
LEVELS, ENVELOPE = (12.0, 24.0, 36.0), 0.02
# A note begins where the envelope rises by this factor within RISE seconds and is not below the lowest level; times
# since then that divide a recording, in seconds.
ONSET, RISE, TIMES = 2.0, 0.03, (0.01, 0.05, 0.25)
# Suggestions that are listed, and the gain of log posterior below which chance does as well: 3 is a chance of 1 in 70.
SUGGESTED, WORTHWHILE = 5, 3.0
# No suggestion goes further than this in a coordinate that is learned; a factor of e for a positive value.
LARGEST_STEP = 1.0


def shares(recordings: Sequence[FittedRecording], rate: float) -> tuple[Share, ...]:
    """Where the error is: by octave, by level of the input, by time since the last onset."""
    return (
        *_by_frequency(recordings, rate),
        *_by_samples("level", _level_labels(), [_level_classes(r.input, rate) for r in recordings], recordings),
        *_by_samples("time", _time_labels(), [_time_classes(r.input, rate) for r in recordings], recordings),
    )


def _by_frequency(recordings: Sequence[FittedRecording], rate: float) -> list[Share]:
    edges = LOWEST * 2.0 ** np.arange(int(np.log2(0.5 * rate / LOWEST)) + 1)
    edges = np.append(edges, 0.5 * rate)
    error, energy = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for recording in recordings:
        frequencies = np.fft.rfftfreq(len(recording.target), 1.0 / rate)
        place = np.searchsorted(edges, frequencies, side="right") - 1
        inside = (place >= 0) & (place < len(error))
        for total, signal in ((error, recording.output - recording.target), (energy, recording.target)):
            power = np.abs(np.fft.rfft(signal)) ** 2 / len(signal)
            total += np.bincount(place[inside], power[inside], len(total))
    labels = [f"{_hertz(low)} to {_hertz(high)}" for low, high in pairwise(edges.tolist())]
    return _shares("frequency", labels, error, energy)


def _by_samples(
    kind: str, labels: Sequence[str], classes: Sequence[NDArray[np.int64]], recordings: Sequence[FittedRecording]
) -> list[Share]:
    """classes: for each recording, which of `labels` each sample belongs to."""
    error, energy = np.zeros(len(labels)), np.zeros(len(labels))
    for own, recording in zip(classes, recordings, strict=True):
        error += np.bincount(own, (recording.output - recording.target) ** 2, len(labels))
        energy += np.bincount(own, recording.target**2, len(labels))
    return _shares(kind, labels, error, energy)


def _shares(kind: str, labels: Sequence[str], error: Vector, energy: Vector) -> list[Share]:
    total = max(float(error.sum()), 1e-300)
    return [
        Share(kind, label, float(e) / total, float(e / own))
        for label, e, own in zip(labels, error, energy, strict=True)
        if own > 0.0
    ]


def _envelope(signal: Signal, rate: float) -> Signal:
    """The largest magnitude of the last ENVELOPE seconds, so that it rises when a note begins, not before."""
    length = max(1, round(ENVELOPE * rate))
    return np.asarray(maximum_filter1d(np.abs(signal), length, origin=(length - 1) // 2), dtype=float)


def _level_labels() -> list[str]:
    ends = [0.0, *LEVELS]
    return [f"{high:g} to {low:g} dB below the peak" for high, low in pairwise(ends)] + [
        f"more than {LEVELS[-1]:g} dB below the peak"
    ]


def _level_classes(signal: Signal, rate: float) -> NDArray[np.int64]:
    envelope = _envelope(signal, rate)
    below = -20.0 * np.log10(np.maximum(envelope, 1e-12) / max(float(envelope.max()), 1e-12))
    return np.searchsorted(LEVELS, below, side="right")


def _time_labels() -> list[str]:
    starts = [0.0, *TIMES]
    between = [f"{1e3 * a:g} to {1e3 * b:g} ms after an onset" for a, b in pairwise(starts)]
    return [*between, "later"]


def _time_classes(signal: Signal, rate: float) -> NDArray[np.int64]:
    envelope = _envelope(signal, rate)
    lag = max(1, round(RISE * rate))
    before = np.concatenate([np.zeros(min(lag, len(envelope))), envelope[:-lag]])
    loud = envelope > envelope.max() * 10.0 ** (-LEVELS[-1] / 20.0)
    rising = loud & (envelope > ONSET * before)
    # Of each run of rising samples the first one is the onset.
    onset = rising & ~np.concatenate([[False], rising[:-1]])
    index = np.arange(len(signal))
    since = (index - np.maximum.accumulate(np.where(onset, index, -len(signal)))) / rate
    return np.searchsorted(TIMES, since, side="right")


def _hertz(frequency: float) -> str:
    return f"{frequency / 1e3:.2g} kHz" if frequency >= 1e3 else f"{frequency:g} Hz"


def suggestions(fitted: Problem, point: Point) -> tuple[Suggestion, ...]:
    """Values that were not learned and whose change would explain the most of what the fit at `point` leaves over, the
    best first: a score test on parts of the recordings, with the derivatives of every value of the circuit."""
    model, unknowns = fitted.model, fitted.unknowns
    recordings = [observation.recording for observation in fitted.observations]
    known = {name for recording in recordings for name in recording.knobs}
    learned = [c.name for c in unknowns.coordinates[: len(model.coordinates)]]
    every = CircuitModel(model.circuit, model.sample_rate, 1, "all").coordinates
    others = [c.name for c in every if c.name not in {*learned, *known}]
    if not others:
        return ()
    wide = CircuitModel(
        model.circuit, model.sample_rate, model.oversample, [*learned, *others], compiled=model.compiled
    )
    wider = Unknowns(wide, recordings, unknowns.input_level)
    candidates = np.arange(len(learned), len(learned) + len(others))
    kept = np.setdiff1d(np.arange(len(wider)), candidates)
    shared = np.zeros(len(wider))
    shared[kept] = point.shared
    hum, units = ([getattr(o, name) for o in fitted.observations] for name in ("hum", "usual_state"))
    observations = observe(wide, recordings, list(point.delays), hum, units)
    problem = Problem(wider, wide, observations, fitted.output_gain, approach_windows(recordings), fitted.robust)
    (there,) = problem.evaluate([replace(point, shared=shared)])
    if there is None:
        raise CircuitnnError("the fitted circuit has no finite derivatives by the values that were not learned")
    weight = independent_samples(there, wider.widths, problem.samples(point.delays))
    found = [_suggestion(wider, there, kept, int(k), weight) for k in candidates]
    return tuple(sorted((s for s in found if s.gain > WORTHWHILE), key=lambda s: -s.gain)[:SUGGESTED])


def _suggestion(wider: Unknowns, there: Evaluation, kept: NDArray[np.int64], k: int, weight: float) -> Suggestion:
    """What a Gauss-Newton step promises if value k is learned as well: of the log posterior, what it adds to the gain
    of the step without it (Rao 1948); of the error, how much of it stays."""
    prior = np.diag(wider.widths**-2.0)
    scale = weight / max(there.error, 1e-300)
    A = scale * there.H + prior
    b = scale * there.b + prior @ there.point.shared
    # The others follow: Schur complement.
    follow = -np.linalg.solve(A[np.ix_(kept, kept)], A[kept, k])
    curvature = float(A[k, k] + A[k, kept] @ follow)
    slope = float(b[k] + follow @ b[kept])
    step = float(np.clip(-slope / curvature, -LARGEST_STEP, LARGEST_STEP))
    move = np.zeros(len(wider))
    move[k], move[kept] = step, step * follow
    remaining = there.error + 2.0 * float(there.b @ move) + float(move @ there.H @ move)
    coordinate = wider.coordinates[k]
    return Suggestion(
        name=coordinate.name,
        value=coordinate.nominal,
        promised=float(coordinate.value(torch.tensor(step, dtype=torch.float64))),
        share=step / coordinate.width,
        error=max(remaining / there.error, 0.0),
        gain=-slope * step - 0.5 * curvature * step**2,
    )
