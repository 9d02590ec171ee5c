"""How far a model is from a recording that was not fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from circuitnn import cepstrum, loudness, metrics
from circuitnn.audio import Recording, Signal
from circuitnn.errors import RecordingError
from circuitnn.fitting.alignment import LAG_RANGE, best_lag
from circuitnn.fitting.blips import aligned
from circuitnn.fitting.observation import Observation
from circuitnn.formats import SavedNetwork
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.network import Network
from circuitnn.rendering import Renderer, Rendering, render, render_network
from circuitnn.training.data import span, take

# The longest window of the multi-resolution STFT; a shorter signal has none.
LONGEST_WINDOW = 2048


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one recording over the samples that both signals cover, in digital full scale. loudness_difference: of
    the output over the target, in LU. None: for what takes a longer signal, or sound in both. energies: of target and
    pre-emphasised target, for pooling. output, target: the signals themselves [samples], which begin at the sample
    `begin` of the wet."""

    name: str
    samples: int
    esr: float
    esr_gain_free: float
    esr_preemphasis: float
    mae: float
    dc: float
    stft: float | None
    mr_stft: float | None
    loudness_difference: float | None
    mfcc_cosine: float | None
    mfcc_difference: float | None
    energy: float
    preemphasised_energy: float
    failures: int
    seconds: float
    audio_seconds: float
    begin: float
    output: Signal = field(repr=False, compare=False)
    target: Signal = field(repr=False, compare=False)


def evaluate(
    model: CircuitModel,
    recording: Recording,
    delay: float,
    level: float = 1.0,
    gain: float = 1.0,
    renderer: Renderer | None = None,
) -> Evaluation:
    """Compare the model with a recording of a device that is late by `delay` samples.

    level: volt at digital full scale of the dry; gain: digital full scale of the wet per volt of the output. Knobs
    stand where the recording says. renderer: plays the dry in the model's place, in volt. Raises RecordingError if the
    recording's rate is not the model's, the position of a knob is a label, or too little of it overlaps at that delay.
    """
    _check_rate(recording, model.sample_rate)
    late = delay - recording.cut_off
    observation = Observation(model, recording, late)
    begin, end = observation.span(late)
    target = observation.target(late)
    if renderer is None:
        rendering = render(model, recording.dry, level, overrides=model.overrides(positions(recording)))
    else:
        rendering = renderer(recording.dry)
    return compare(recording, gain * rendering.output[begin:end], target, rendering, begin + late)


def evaluate_network(
    network: Network,
    sample_rate: float,
    recording: Recording,
    delay: float,
    knobs: Mapping[str, float | Tensor] | None = None,
    renderer: Renderer | None = None,
) -> Evaluation:
    """Compare a network with a recording of a device that is late by `delay` samples beside the network's own latency.
    knobs: positions by name. renderer: plays the dry in the network's place, with its knobs there, latency taken out.

    Raises RecordingError if the recording's rate is not the network's or too little of it overlaps at that delay.
    """
    _check_rate(recording, sample_rate)
    late = delay + network.latency - recording.cut_off
    target = take(recording, late, ()).target.double().numpy()
    # From the first sample on, as a circuit: what no wet is there for, the network has heard all the same.
    dry = recording.dry
    rendering = render_network(network, dry, knobs) if renderer is None else renderer(dry)
    begin, end = span(recording, late)
    return compare(recording, rendering.output[begin:end], target, rendering, begin + late)


def evaluate_saved(
    saved: SavedNetwork,
    recording: Recording,
    knobs: Mapping[str, float | Tensor] | None = None,
    renderer: Renderer | None = None,
) -> tuple[Evaluation, float]:
    """Compare the network of a run or a file with a recording, and the delay that was applied: that of its training, or
    for a file that says none, where its output and the wet agree best. renderer: as in `evaluate_network`. Raises
    RecordingError."""
    rate = saved.sample_rate or recording.sample_rate
    _check_rate(recording, rate)
    play = renderer or (lambda dry: render_network(saved.network, dry, knobs))
    delay = saved.delay
    if delay is None:
        delay = _best_delay(play, recording, saved.network.latency) + recording.cut_off
    return evaluate_network(saved.network, rate, recording, delay, knobs, play), delay


def _best_delay(play: Renderer, recording: Recording, latency: int) -> float:
    rate = recording.sample_rate
    rough = aligned(recording.dry, recording.wet, rate).delay if recording.delay is None else round(recording.delay)
    output = play(recording.dry).output
    begin, end = LAG_RANGE + max(0, -rough), min(len(output) - LAG_RANGE, len(recording.wet) - rough)
    if end <= begin:
        return float(rough - latency)
    target = recording.wet[begin + rough : end + rough]
    lag, _ = best_lag(metrics.preemphasise(output[begin - LAG_RANGE : end + LAG_RANGE]), metrics.preemphasise(target))
    # To a sample: what is left of it, a network has learned.
    return float(round(rough - lag) - latency)


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


def compare(
    recording: Recording, output: Signal, target: Signal, rendering: Rendering, begin: float = 0.0
) -> Evaluation:
    """The metrics of an output against its target, both [time]; the rendering says what the output took. begin: where
    in the wet they do. Raises RecordingError for a target of silence, against which there is no relative error."""
    if not np.any(metrics.preemphasise(target)):
        raise RecordingError(
            f"{recording.name}: the wet is silent where it overlaps with the dry",
            "check that both belong together, and the delay",
        )
    rate = recording.sample_rate
    long = len(target) >= LONGEST_WINDOW
    heard = len(target) >= loudness.BLOCK * rate
    louder = loudness.loudness(output, rate) - loudness.loudness(target, rate) if heard else math.nan
    return Evaluation(
        name=recording.name,
        samples=len(target),
        esr=metrics.esr(output, target),
        esr_gain_free=metrics.esr_gain_free(output, target),
        esr_preemphasis=metrics.esr_preemphasis(output, target),
        mae=metrics.mae(output, target),
        dc=metrics.dc(output, target),
        stft=metrics.stft(output, target) if long else None,
        mr_stft=metrics.mr_stft(output, target) if long else None,
        loudness_difference=louder if math.isfinite(louder) else None,
        mfcc_cosine=cepstrum.mfcc_cosine(output, target, rate) if heard else None,
        mfcc_difference=cepstrum.mfcc_difference(output, target, rate) if heard else None,
        energy=float(np.sum(target**2)),
        preemphasised_energy=float(np.sum(metrics.preemphasise(target) ** 2)),
        failures=rendering.failures,
        seconds=rendering.seconds,
        audio_seconds=len(recording.dry) / recording.sample_rate,
        begin=begin,
        output=output,
        target=target,
    )


def pool(evaluations: Sequence[Evaluation]) -> dict[str, float | None]:
    """One number per metric: squared errors over squared targets and what follows from them, the mean error per sample,
    means of the distances, of the loudness differences' sizes and of the predicted scores, and seconds of audio per
    second of computation."""
    energy = sum(e.energy for e in evaluations)
    samples = sum(e.samples for e in evaluations)
    esr = sum(e.esr * e.energy for e in evaluations) / energy
    differences = [e.mfcc_difference for e in evaluations if e.mfcc_difference is not None]
    return {
        "esr": esr,
        "esr_gain_free": sum(e.esr_gain_free * e.energy for e in evaluations) / energy,
        "esr_preemphasis": sum(e.esr_preemphasis * e.preemphasised_energy for e in evaluations)
        / sum(e.preemphasised_energy for e in evaluations),
        "nrmse": math.sqrt(esr),
        "snr": metrics.snr_of_esr(esr),
        "mae": sum(e.mae * e.samples for e in evaluations) / samples,
        "dc": sum(e.dc * e.energy for e in evaluations) / energy,
        "stft": _mean([e.stft for e in evaluations]),
        "mr_stft": _mean([e.mr_stft for e in evaluations]),
        "loudness_difference": _mean([_size(e.loudness_difference) for e in evaluations]),
        "mfcc_cosine": _mean([e.mfcc_cosine for e in evaluations]),
        "mfcc_difference": _mean(differences),
        "mushra_prediction": _mean([cepstrum.mushra_prediction(d) for d in differences]),
        "real_time_factor": sum(e.audio_seconds for e in evaluations) / sum(e.seconds for e in evaluations),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are there."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)
