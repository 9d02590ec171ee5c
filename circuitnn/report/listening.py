"""A blind, level-matched listening test in the manner of MUSHRA, as one HTML page: models, a hidden reference and an
anchor, rated against the recording (ITU-R BS.1534-3)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from scipy.signal import butter, sosfiltfilt

from circuitnn.audio import Recording, Signal
from circuitnn.comparison import Contender, best_first
from circuitnn.loudness import BLOCK, at_loudness
from circuitnn.report.environment import template
from circuitnn.report.sounds import PEAK, player

# Excerpts in a test and models in each (the best), so that nobody tires; and the longest excerpt in seconds.
EXCERPTS, MODELS, LONGEST = 4, 8, 8.0
# What all sounds of a page may take together, in bytes of base64, and what a sample takes.
TOTAL_BYTES, SAMPLE_BYTES = 16_000_000, 2 * 4.0 / 3.0
# Hz: the recommendation's low-pass anchor.
ANCHOR = 3500.0
# LUFS that all sounds are brought to, before all of them are made quieter where one would clip.
LOUDNESS = -23.0


@dataclass(frozen=True)
class _Condition:
    """name: of a model, "reference" or "anchor"; role: "model", "reference" or "anchor"."""

    name: str
    role: str
    signal: Signal


def render_listening(contenders: Sequence[Contender], recordings: Sequence[Recording]) -> str:
    """The page, as text. Raises CircuitnnError for recordings that are too short to hear."""
    ordered = best_first(contenders)
    trials = [_conditions(ordered, k, recording) for k, recording in enumerate(recordings[:EXCERPTS])]
    most = int(TOTAL_BYTES / SAMPLE_BYTES / sum(map(len, trials)))
    data = [_trial(recording, conditions, most) for recording, conditions in zip(recordings, trials, strict=False)]
    text = json.dumps(data)
    identity = hashlib.sha256(text.encode()).hexdigest()[:16]
    # Inside of a script element, only "<" can end it.
    return template("listening.html.j2").render(trials=Markup(text.replace("<", "\\u003c")), identity=identity)


def _conditions(ordered: Sequence[Contender], index: int, recording: Recording) -> list[_Condition]:
    """Reference, anchor and models over the samples of the wet that all models cover."""
    models = [(one.name, one.evaluations[index]) for one in ordered[:MODELS]]
    begin = max(round(found.begin) for _, found in models)
    end = min(round(found.begin) + len(found.output) for _, found in models)
    reference = recording.wet[begin:end]
    low_pass = butter(8, min(ANCHOR, 0.45 * recording.sample_rate), fs=recording.sample_rate, output="sos")
    sounds = [
        _Condition("reference", "reference", reference),
        _Condition("anchor", "anchor", np.asarray(sosfiltfilt(low_pass, reference))),
    ]
    for name, found in models:
        first = begin - round(found.begin)
        sounds.append(_Condition(name, "model", found.output[first : first + end - begin]))
    return sounds


def _trial(recording: Recording, conditions: Sequence[_Condition], most: int) -> dict[str, object]:
    """Plain data of one excerpt: the stretch in which the reference has the most energy, at equal loudness. most:
    samples."""
    rate = recording.sample_rate
    reference = conditions[0].signal
    length = min(len(reference), round(LONGEST * rate), most)
    total = np.concatenate([[0.0], np.cumsum(reference**2)])
    begin = int(np.argmax(total[length:] - total[:-length]))
    parts = [_matched(one.signal[begin : begin + length], rate) for one in conditions]
    scale = min(1.0, PEAK / max(float(np.abs(part).max()) for part in parts))
    return {
        "recording": recording.name,
        "seconds": length / rate,
        "conditions": [
            {"name": one.name, "role": one.role, "source": player(one.name, scale * part, rate).source}
            for one, part in zip(conditions, parts, strict=True)
        ],
    }


def _matched(signal: Signal, rate: int) -> Signal:
    """At LOUDNESS; what is too short for its measure, at the same mean square as a sine of that loudness."""
    if len(signal) >= BLOCK * rate:
        return at_loudness(signal, rate, LOUDNESS)
    rms = math.sqrt(float(np.mean(signal**2)))
    return signal * (10.0 ** (LOUDNESS / 20.0) / rms) if rms > 0.0 else signal
