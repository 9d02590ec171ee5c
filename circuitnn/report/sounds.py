"""The sounds of a report: excerpts of a recording, its dry signal and its fit, as WAV inside of the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from circuitnn.report.figures import WORST
from circuitnn.report.residual import Signal, worst_stretch

if TYPE_CHECKING:
    from circuitnn.fitting.result import FittedRecording

# Of one recording in seconds, and of all recordings together in bytes of the page: small enough to be sent around.
LONGEST, TOTAL_BYTES = 10.0, 6_000_000
# Sounds of one recording, bytes of a sample, and characters of base64 per byte.
SOUNDS, SAMPLE_BYTES, BASE64 = 4, 2, 4.0 / 3.0
# The highest peak, below digital full scale.
PEAK = 0.99


@dataclass(frozen=True)
class Player:
    """A sound to listen to. source: a data URI."""

    label: str
    source: str


@dataclass(frozen=True)
class Excerpt:
    """A part of a recording that holds its worst second.

    dry, target, output, difference: the last three at one scale, the dry signal as loud as the target. begin: where in
    the recording it starts; seconds: its length; loop_begin, loop_end: its worst second; all in seconds. gain: on the
    output, for the same root mean square as the target.
    """

    dry: Player
    target: Player
    output: Player
    difference: Player
    begin: float
    seconds: float
    loop_begin: float
    loop_end: float
    gain: float

    @property
    def players(self) -> tuple[Player, ...]:
        """All sounds, in the order of the signal's way."""
        return self.dry, self.target, self.output, self.difference


def excerpt(recording: FittedRecording, rate: float, count: int) -> Excerpt:
    """The sounds of one of `count` recordings on a page."""
    bytes_per_second = SOUNDS * SAMPLE_BYTES * BASE64 * rate
    length = min(len(recording.target), round(rate * min(LONGEST, TOTAL_BYTES / count / bytes_per_second)))
    worst_begin, worst_end = worst_stretch(recording.target, recording.output, min(length, round(WORST * rate)))
    begin = min(max(0, (worst_begin + worst_end - length) // 2), len(recording.target) - length)
    part = slice(begin, begin + length)
    dry, target, output = recording.input[part], recording.target[part], recording.output[part]
    # One scale for all three, so that what is quiet stays quiet.
    scale = PEAK / max(1.0, _peak(target), _peak(output))
    loudness = min(_rms(target) / max(_rms(dry), 1e-12), 1.0 / (scale * max(_peak(dry), 1e-12)))
    return Excerpt(
        dry=player("dry", scale * loudness * dry, rate),
        target=player("recording", scale * target, rate),
        output=player("fitted circuit", scale * output, rate),
        difference=player("difference", scale * (output - target), rate),
        begin=begin / rate,
        seconds=length / rate,
        loop_begin=(worst_begin - begin) / rate,
        loop_end=(worst_end - begin) / rate,
        gain=_rms(target) / max(_rms(output), 1e-12),
    )


def _peak(signal: Signal) -> float:
    return float(np.abs(signal).max())


def _rms(signal: Signal) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def player(label: str, samples: Signal, rate: float) -> Player:
    """A sound as 16-bit WAV in the page; samples [time], digital full scale at 1.0."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1.0, 1.0), round(rate), subtype="PCM_16", format="WAV")
    return Player(label, f"data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode('ascii')}")
