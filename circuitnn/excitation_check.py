"""What came back of a test signal that was played through a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitnn.condition import Condition, examine
from circuitnn.errors import RecordingError
from circuitnn.excitation import BLIPS, blip_times
from circuitnn.fitting.blips import by_blips, contrast, stands_out

Signal = NDArray[np.float64]

# Part of the samples from which on clipping makes a recording unusable.
CLIPPED_PART = 1e-3


@dataclass(frozen=True)
class Returned:
    """delay: samples by which the recording is late, at its beginning; polarity: +1 or -1, of the first blip; blips:
    how many of the four came back; drift: of the recorder's clock against the player's, relative (positive: the
    recording is longer), None without blips at both ends; missing: seconds of the signal that the recording does not
    have; condition: clipping, hum, noise and offset of the recording."""

    delay: int
    polarity: int
    blips: int
    drift: float | None
    missing: float
    condition: Condition


def check(played: Signal, recorded: Signal, sample_rate: int) -> Returned:
    """Compare a recording [time] with the test signal [time] that was played. Blips at both ends tell delay and drift.

    Raises RecordingError if `played` is no test signal, or the recording is useless: something else, cut off, clipped.
    """
    places = [round(at * sample_rate) for at in blip_times(len(played) / sample_rate)]
    if len(played) < 4 * max(BLIPS) * sample_rate or any(played[p] < 0.999 * np.abs(played).max() for p in places):
        raise RecordingError("the first file is not a test signal", "`circuitnn excite OUT.wav` writes one")
    condition = examine(recorded, sample_rate)
    begins = RecordingError(
        "the recording does not begin with the two blips of the test signal",
        "record the whole signal, and check which input was recorded",
    )
    found = by_blips(played, places, recorded, sample_rate)
    if found is None:
        raise begins
    delay = found.delay
    after = max(0, len(played) + delay - len(recorded))
    # Those were the blips at the end.
    if after >= places[2] - places[1]:
        raise begins
    # Half a second of silence may go.
    if after > BLIPS[0] * sample_rate:
        raise RecordingError(
            f"the recording is cut off: {after / sample_rate:.2f} s are missing at the end", "record the whole signal"
        )
    if condition.clipped > CLIPPED_PART * len(recorded):
        raise RecordingError(
            f"the recording is clipped: {condition.clipped} samples at {condition.peak:.3g} of full scale",
            "turn the input of the recorder down",
        )
    levels = contrast(recorded, sample_rate)
    heard = [stands_out(levels, place + delay, sample_rate) for place in places]
    missing = (max(0, -delay) + after) / sample_rate
    return Returned(delay, found.polarity, sum(heard), found.drift, missing, condition)
