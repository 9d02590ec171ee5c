"""What came back of a test signal that was played through a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitnn.condition import Condition, examine
from circuitnn.errors import RecordingError
from circuitnn.excitation import BLIPS, blip_times
from circuitnn.fitting.alignment import DOUBTFUL, align, best_lag

Signal = NDArray[np.float64]

# A blip is where the level within WINDOW seconds of its place is STANDS_OUT times that of the time before it.
WINDOW, STANDS_OUT = 0.02, 6.0
# What is compared of the blips at both ends, and by how much the clocks may have run apart, in seconds.
RESPONSE, DRIFT = 0.01, 0.005
# Part of the samples from which on clipping makes a recording unusable.
CLIPPED_PART = 1e-3


@dataclass(frozen=True)
class Returned:
    """delay: samples by which the recording is late, polarity, confidence: as in `align`; blips: how many of the four
    came back; drift: of the recorder's clock against the player's, relative (positive: the recording is longer), None
    without blips at both ends; missing: seconds of the signal that the recording does not have; condition: clipping,
    hum, noise and offset of the recording."""

    delay: int
    polarity: int
    confidence: float
    blips: int
    drift: float | None
    missing: float
    condition: Condition


def check(played: Signal, recorded: Signal, sample_rate: int) -> Returned:
    """Compare a recording [time] with the test signal [time] that was played.

    Raises RecordingError if `played` is no test signal, or the recording is useless: something else, cut off, clipped.
    """
    places = [round(at * sample_rate) for at in blip_times(len(played) / sample_rate)]
    if len(played) < 4 * max(BLIPS) * sample_rate or any(played[p] < 0.999 * np.abs(played).max() for p in places):
        raise RecordingError("the first file is not a test signal", "`circuitnn excite OUT.wav` writes one")
    found = align(played, recorded, sample_rate)
    middles = [place + found.delay for place in places]
    heard = [_stands_out(recorded, middle, sample_rate) for middle in middles]
    condition = examine(recorded, sample_rate)
    if found.confidence < DOUBTFUL:
        raise RecordingError(
            f"the recording is not the test signal's: confidence {found.confidence:.2f}, {sum(heard)} of 4 blips",
            "check which input was recorded",
        )
    before, after = max(0, -found.delay), max(0, len(played) + found.delay - len(recorded))
    missing = (before + after) / sample_rate
    # Half a second of silence at either end may go.
    if max(before, after) > BLIPS[0] * sample_rate:
        raise RecordingError(
            f"the recording is cut off: {before / sample_rate:.2f} s are missing at the beginning and "
            f"{after / sample_rate:.2f} s at the end",
            "record the whole signal",
        )
    if condition.clipped > CLIPPED_PART * len(recorded):
        raise RecordingError(
            f"the recording is clipped: {condition.clipped} samples at {condition.peak:.3g} of full scale",
            "turn the input of the recorder down",
        )
    drift = _drift(recorded, middles, sample_rate) if heard[0] and heard[-1] else None
    return Returned(found.delay, found.polarity, found.confidence, sum(heard), drift, missing, condition)


def _stands_out(recorded: Signal, middle: int, sample_rate: int) -> bool:
    window = round(WINDOW * sample_rate)
    if middle < 2 * window or middle + window > len(recorded):
        return False
    before = recorded[middle - 2 * window : middle - window]
    around = recorded[middle - window : middle + window]
    return bool(np.abs(around - before.mean()).max() > STANDS_OUT * before.std())


def _drift(recorded: Signal, middles: list[int], sample_rate: int) -> float:
    """From the distance of the first and the last blip: the device answers both in the same way."""
    length, reach = round(RESPONSE * sample_rate), round(DRIFT * sample_rate)
    first, last = middles[0] - length // 4, middles[-1] - length // 4
    segment = recorded[max(0, last - reach) : last + length + reach]
    segment = np.pad(segment, (0, length + 2 * reach - len(segment)))
    template = recorded[first : first + length]
    lag, _ = best_lag(segment - segment.mean(), template - template.mean())
    return lag / (middles[-1] - middles[0])
