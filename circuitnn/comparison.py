"""Fitted circuits, trained networks and renderings of others on the same recordings: every metric and every probe."""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from circuitnn import evaluation, probing
from circuitnn.audio import Recording, Signal, resampled
from circuitnn.circuit import Circuit
from circuitnn.errors import CircuitnnError, RecordingError
from circuitnn.evaluation import Evaluation
from circuitnn.formats import network_at
from circuitnn.playable import Playable, playable_circuit, playable_network, played_device
from circuitnn.rendering import Rendering
from circuitnn.runs import load_run
from circuitnn.training.data import ACCURACY

METRICS = (
    "esr", "esr_gain_free", "esr_preemphasis", "nrmse", "snr", "mae", "dc", "stft", "mr_stft", "loudness_difference",
    "mfcc_cosine", "mfcc_difference", "mushra_prediction",
)  # fmt: skip


@dataclass(frozen=True)
class Probed:
    """What a model does to test signals as strong as the recordings' peak. spectral_difference, harmonic_difference:
    from the device, where it is known, in dB."""

    aliasing: tuple[probing.Tone, ...]
    harmonics: probing.Harmonics
    transfer: probing.TransferCurve
    spectral_difference: float | None
    harmonic_difference: float | None


@dataclass(frozen=True)
class OtherRate:
    """ESR of a run at another sampling rate than its own. esr: it runs at that rate; None if it cannot. converted_esr:
    it runs at its own, between sample rate converters."""

    esr: float | None
    converted_esr: float | None


@dataclass(frozen=True)
class Contender:
    """One row, and what its figures and sounds are made of. None where a rendering of others does not tell.

    kind: "circuit", an architecture or "rendering"; parameters: how many values were fitted or trained; audio_seconds:
    on how much; training_seconds: how long that took; metrics: as `evaluate` has them, over all recordings;
    real_time_factor: seconds of audio per second, of what runs_as says; other_rate: at another sampling rate.
    """

    name: str
    kind: str
    parameters: int | None
    audio_seconds: float | None
    training_seconds: float | None
    metrics: dict[str, float | None]
    real_time_factor: float | None
    runs_as: str | None
    other_rate: OtherRate | None
    probed: Probed | None
    evaluations: tuple[Evaluation, ...]


def check_run(folder: Path, recordings: Sequence[Recording]) -> tuple[str, ...]:
    """Raise CircuitnnError unless `of_run` can read what is there and every knob of the recordings is its own. The
    knobs that a network will have at one half, since a recording does not place them; a circuit has its own places."""
    saved = network_at(folder)
    names = tuple(knob.name for knob in load_run(folder).circuit.knobs) if saved is None else saved.network.knob_names
    placed = [evaluation.positions(recording) for recording in recordings]
    for recording, positions in zip(recordings, placed, strict=True):
        for name in positions:
            if name not in names:
                raise CircuitnnError(
                    f"{folder}: there is no knob {name!r}, which stands at {positions[name]:g} in {recording.name}",
                    f"knobs: {', '.join(names) or 'none'}",
                )
    unplaced = tuple(name for name in names if not all(name in positions for positions in placed))
    return () if saved is None else unplaced


def of_run(
    folder: str | os.PathLike[str],
    recordings: Sequence[Recording],
    elsewhere: Sequence[Recording] = (),
    truth: Circuit | None = None,
) -> Contender:
    """A run of `fit` or `train`, with its own delay, level and gain, or a file of a network; but for the delay of a
    file that does not say it, nothing is adjusted to the recordings.

    Knobs stand where the recordings say, and in the probes where the first one says. elsewhere: recordings of one other
    sampling rate, on which the run is judged once more; it is not trained again. truth: the device, where it is known,
    with 1 V at full scale on both sides; what sweeps make of it is compared. Raises CircuitnnError.
    """
    folder = Path(folder)
    knobs = evaluation.positions(recordings[0])
    saved = network_at(folder)
    if saved is not None:
        rate = saved.sample_rate or float(recordings[0].sample_rate)
        late = None if saved.delay is None else saved.delay + saved.network.latency
        at = playable_network(folder.absolute().name, saved, rate, knobs)
        # A part of it may be a circuit, whose equations are made for one rate.
        runs_elsewhere = saved.network.sample_rate is None
    else:
        run = load_run(folder)
        rate, at, runs_elsewhere, late = run.sample_rate, playable_circuit(run, knobs), True, run.delay
    if late is not None:
        for one in recordings:
            _doubt(one, late * one.sample_rate / rate, folder)
    model = at(rate)
    found = tuple(model.evaluate(one) for one in recordings)
    other_rate = None
    if elsewhere:
        there = at(float(elsewhere[0].sample_rate)) if runs_elsewhere else None
        other_rate = OtherRate(None if there is None else _esr(there, elsewhere), _esr(model, elsewhere))
    peak = max(float(np.abs(one.dry).max()) for one in recordings)
    swept = probing.harmonics(model.play, rate, peak)
    device = None if truth is None else probing.harmonics(played_device(truth, rate, knobs), rate, peak)
    probed = Probed(
        tuple(probing.aliasing(model.play, round(rate), peak)),
        swept,
        probing.transfer_curve(model.play, rate, peak),
        None if device is None else probing.spectral_difference(swept, device),
        None if device is None else probing.harmonic_difference(swept, device),
    )
    pooled = evaluation.pool(found)
    return Contender(
        name=model.name,
        kind=model.kind,
        parameters=model.parameters,
        audio_seconds=model.audio_seconds,
        training_seconds=model.training_seconds,
        metrics={key: pooled[key] for key in METRICS},
        real_time_factor=pooled["real_time_factor"],
        runs_as=model.runs_as,
        other_rate=other_rate,
        probed=probed,
        evaluations=found,
    )


def _doubt(recording: Recording, late: float, folder: Path) -> None:
    """Warn if the delay of a run [samples] is not what somebody wrote down for a recording."""
    stated = recording.stated_delay
    if stated is not None and abs(stated + recording.cut_off - late) > 2 * ACCURACY:
        warnings.warn(
            f"{recording.name} is said to be late by {stated + recording.cut_off:g} samples, but {folder} "
            f"was made with recordings that are late by {late:.1f}, which is applied: every metric may be wrong; cut "
            "the wet so that they agree",
            stacklevel=3,
        )


def _esr(model: Playable, recordings: Sequence[Recording]) -> float | None:
    return evaluation.pool([model.evaluate(one) for one in recordings])["esr"]


def at_rate(recording: Recording, rate: int) -> Recording:
    """The recording at another sampling rate [Hz], which adds nothing to what it holds."""
    dry, wet = (resampled(signal, recording.sample_rate, rate) for signal in (recording.dry, recording.wet))
    delay = None if recording.delay is None else recording.delay * rate / recording.sample_rate
    cut_off = recording.cut_off * rate / recording.sample_rate
    return replace(recording, dry=dry, wet=wet, sample_rate=rate, delay=delay, cut_off=cut_off)


def of_rendering(name: str, output: Signal, recording: Recording) -> Contender:
    """Somebody else's rendering of a recording, on the time axis of its wet. Raises RecordingError."""
    if len(output) != len(recording.wet):
        raise RecordingError(
            f"{name}: expected the {len(recording.wet)} samples of {recording.name}, found {len(output)}",
            "a reference lies on the time axis of the wet recording",
        )
    # How long it took is not known.
    found = evaluation.compare(recording, output, recording.wet, Rendering(output, 0, math.inf))
    pooled = evaluation.pool([found])
    return Contender(
        name, "rendering", None, None, None, {key: pooled[key] for key in METRICS}, None, None, None, None, (found,)
    )


def told_apart(contenders: Sequence[Contender], names: Sequence[str]) -> list[Contender]:
    """Those of one name get the longer one in `names` instead, such as the path of their run."""
    found = [one.name for one in contenders]
    return [
        replace(one, name=name) if found.count(one.name) > 1 else one
        for one, name in zip(contenders, names, strict=True)
    ]


def as_data(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    """The table as plain data, the smallest ESR first."""
    return [_row(one) for one in best_first(contenders)]


def _row(one: Contender) -> dict[str, Any]:
    row = {
        "name": one.name,
        "kind": one.kind,
        "parameters": one.parameters,
        "audio_seconds": one.audio_seconds,
        "training_seconds": one.training_seconds,
        **one.metrics,
        "real_time_factor": one.real_time_factor,
        "runs_as": one.runs_as,
        "other_rate_esr": None if one.other_rate is None else one.other_rate.esr,
        "other_rate_converted_esr": None if one.other_rate is None else one.other_rate.converted_esr,
    }
    if one.probed is None:
        return row | dict.fromkeys(
            ("spectral_difference", "harmonic_difference", "aliasing", "harmonics", "transfer_curve")
        )
    tones, swept, curve = one.probed.aliasing, one.probed.harmonics, one.probed.transfer
    return row | {
        "spectral_difference": one.probed.spectral_difference,
        "harmonic_difference": one.probed.harmonic_difference,
        "aliasing": {str(tone.frequency): {"ratio": tone.ratio, "audible": tone.audible} for tone in tones},
        "harmonics": {"frequencies": swept.frequencies.tolist(), "amplitudes": swept.amplitudes.tolist()},
        "transfer_curve": {"inputs": curve.inputs.tolist(), "outputs": curve.outputs.tolist()},
    }


def best_first(contenders: Sequence[Contender]) -> list[Contender]:
    """By ESR; one without an ESR is last."""

    def error(one: Contender) -> float:
        found = one.metrics["esr"]
        return math.inf if found is None or math.isnan(found) else found

    return sorted(contenders, key=error)


def data_efficiency(contenders: Sequence[Contender]) -> dict[str, list[tuple[float, float]]]:
    """ESR over seconds of training audio, by kind, for kinds of which there are runs on different amounts. Models with
    another number of values are of another kind, which then has the number in its name."""
    found: dict[tuple[str, int | None], list[tuple[float, float]]] = {}
    for one in contenders:
        if one.audio_seconds is not None and one.metrics["esr"] is not None:
            found.setdefault((one.kind, one.parameters), []).append((one.audio_seconds, one.metrics["esr"]))
    curves = {of: sorted(points) for of, points in found.items() if len({at for at, _ in points}) > 1}
    shared = Counter(kind for kind, _ in curves)
    return {kind if shared[kind] == 1 else f"{kind}, {values}": points for (kind, values), points in curves.items()}
