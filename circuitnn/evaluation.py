"""How far a model is from a recording that was not fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from circuitnn import metrics
from circuitnn.audio import Recording, Signal
from circuitnn.errors import RecordingError
from circuitnn.fitting.alignment import LAG_RANGE, best_lag
from circuitnn.fitting.blips import aligned
from circuitnn.fitting.observation import Observation
from circuitnn.formats import SavedNetwork
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.network import Network
from circuitnn.rendering import Rendering, render, render_network
from circuitnn.training.data import take

# The longest window of the multi-resolution STFT; a shorter signal has none.
LONGEST_WINDOW = 2048


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one recording over the samples that both signals cover, in digital full scale. mr_stft: None for a
    signal that is shorter than the longest window; energies: of target and pre-emphasised target, for pooling."""

    name: str
    samples: int
    esr: float
    esr_gain_free: float
    esr_preemphasis: float
    mae: float
    mr_stft: float | None
    energy: float
    preemphasised_energy: float
    failures: int
    seconds: float
    audio_seconds: float


def evaluate(
    model: CircuitModel, recording: Recording, delay: float, level: float = 1.0, gain: float = 1.0
) -> Evaluation:
    """Compare the model with a recording whose wet is late by `delay` samples.

    level: volt at digital full scale of the dry; gain: digital full scale of the wet per volt of the output. Knobs
    stand where the recording says. Raises RecordingError if the recording's rate is not the model's, the position of a
    knob is a label, or too little of it overlaps at that delay.
    """
    _check_rate(recording, model.sample_rate)
    observation = Observation(model, recording, delay)
    begin, end = observation.span(delay)
    target = observation.target(delay)
    rendering = render(model, recording.dry, level, overrides=model.overrides(positions(recording)))
    return compare(recording, gain * rendering.output[begin:end], target, rendering)


def evaluate_network(
    network: Network,
    sample_rate: float,
    recording: Recording,
    delay: float,
    knobs: Mapping[str, float | Tensor] | None = None,
) -> Evaluation:
    """Compare a network with a recording whose wet is late by `delay` samples. knobs: positions by name.

    Raises RecordingError if the recording's rate is not the network's or too little of it overlaps at that delay.
    """
    _check_rate(recording, sample_rate)
    one = take(recording, delay, ())
    target = one.target.double().numpy()
    rendering = render_network(network, one.u.double().numpy(), sample_rate, knobs)
    return compare(recording, rendering.output, target, rendering)


def evaluate_saved(
    saved: SavedNetwork, recording: Recording, knobs: Mapping[str, float | Tensor] | None = None
) -> tuple[Evaluation, float]:
    """Compare the network of a run or a file with a recording, and the delay that was applied: that of its training, or
    for a file that says none, where its output and the wet agree best. Raises RecordingError."""
    rate = saved.sample_rate or recording.sample_rate
    _check_rate(recording, rate)
    delay = _best_delay(saved.network, recording, knobs) if saved.delay is None else saved.delay
    return evaluate_network(saved.network, rate, recording, delay, knobs), delay


def _best_delay(network: Network, recording: Recording, knobs: Mapping[str, float | Tensor] | None) -> float:
    rate = recording.sample_rate
    rough = aligned(recording.dry, recording.wet, rate).delay if recording.delay is None else round(recording.delay)
    rough -= network.latency
    output = render_network(network, recording.dry, rate, knobs).output
    begin, end = LAG_RANGE + max(0, -rough), min(len(output) - LAG_RANGE, len(recording.wet) - rough)
    if end <= begin:
        return float(rough)
    target = recording.wet[begin + rough : end + rough]
    lag, _ = best_lag(metrics.preemphasise(output[begin - LAG_RANGE : end + LAG_RANGE]), metrics.preemphasise(target))
    # To a sample: what is left of it, a network has learned.
    return float(round(rough - lag))


def positions(recording: Recording) -> dict[str, float]:
    """Where a recording's knobs stand, 0 to 1. Raises RecordingError for a label."""
    found = dict[str, float]()
    for name, position in recording.knobs.items():
        if isinstance(position, str):
            raise RecordingError(
                f"{recording.name}: knob {name}: expected a position from 0 to 1, found the label {position!r}",
                "write down where it stands: only a fit looks for it",
            )
        found[name] = float(position)
    return found


def _check_rate(recording: Recording, sample_rate: float) -> None:
    if recording.sample_rate != sample_rate:
        raise RecordingError(
            f"{recording.name}: expected {sample_rate:g} Hz, the rate of the run, found {recording.sample_rate} Hz",
            "resample dry and wet",
        )


def compare(recording: Recording, output: Signal, target: Signal, rendering: Rendering) -> Evaluation:
    """The metrics of an output against its target, both [time]; the rendering says what the output took."""
    return Evaluation(
        name=recording.name,
        samples=len(target),
        esr=metrics.esr(output, target),
        esr_gain_free=metrics.esr_gain_free(output, target),
        esr_preemphasis=metrics.esr_preemphasis(output, target),
        mae=metrics.mae(output, target),
        mr_stft=metrics.mr_stft(output, target) if len(target) >= LONGEST_WINDOW else None,
        energy=float(np.sum(target**2)),
        preemphasised_energy=float(np.sum(metrics.preemphasise(target) ** 2)),
        failures=rendering.failures,
        seconds=rendering.seconds,
        audio_seconds=len(recording.dry) / recording.sample_rate,
    )


def pool(evaluations: Sequence[Evaluation]) -> dict[str, float | None]:
    """One number per metric: squared errors over squared targets, the mean error per sample, the mean STFT distance,
    and seconds of audio per second of computation."""
    energy = sum(e.energy for e in evaluations)
    samples = sum(e.samples for e in evaluations)
    distances = [e.mr_stft for e in evaluations if e.mr_stft is not None]
    return {
        "esr": sum(e.esr * e.energy for e in evaluations) / energy,
        "esr_gain_free": sum(e.esr_gain_free * e.energy for e in evaluations) / energy,
        "esr_preemphasis": sum(e.esr_preemphasis * e.preemphasised_energy for e in evaluations)
        / sum(e.preemphasised_energy for e in evaluations),
        "mae": sum(e.mae * e.samples for e in evaluations) / samples,
        "mr_stft": sum(distances) / len(distances) if distances else None,
        "real_time_factor": sum(e.audio_seconds for e in evaluations) / sum(e.seconds for e in evaluations),
    }
