"""What came back of a test signal that was played through a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitnn.condition import Condition, examine
from circuitnn.errors import RecordingError
from circuitnn.excitation import BLIPS, blip_times
from circuitnn.fitting.alignment import best_lag

Signal = NDArray[np.float64]

# A blip is a place whose level from BEFORE to AFTER it is STANDS_OUT times that of the QUIET time in front, in seconds.
BEFORE, AFTER, QUIET, STANDS_OUT = 0.001, 0.005, 0.1, 5.0
# What is compared of the blips at both ends, and by how much the clocks may have run apart, in seconds.
RESPONSE, DRIFT = 0.01, 0.005
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
    # The two first blips, as far apart as they were played, wherever they are.
    contrast = _contrast(recorded, sample_rate)
    distance = places[1] - places[0]
    both = np.minimum(contrast[:-distance], contrast[distance:]) if len(contrast) > distance else np.zeros(1)
    begins = RecordingError(
        "the recording does not begin with the two blips of the test signal",
        "record the whole signal, and check which input was recorded",
    )
    if both.max() <= STANDS_OUT:
        raise begins
    arrival, polarity = _arrival(recorded, int(np.argmax(both > STANDS_OUT)), sample_rate)
    delay = arrival - _arrival(played, places[0], sample_rate)[0]
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
    reach = round(DRIFT * sample_rate)
    middles = [place + delay for place in places]
    heard = [contrast[max(0, m - reach) : m + reach + 1].max(initial=0.0) > STANDS_OUT for m in middles]
    drift = _drift(recorded, middles, sample_rate) if heard[0] and heard[-1] else None
    missing = (max(0, -delay) + after) / sample_rate
    return Returned(delay, polarity, int(sum(heard)), drift, missing, condition)


def _contrast(recorded: Signal, sample_rate: int) -> Signal:
    """At every sample, the level around it over the level before it; 0 where there is not enough before it."""
    before, after, quiet = (round(x * sample_rate) for x in (BEFORE, AFTER, QUIET))
    running = np.concatenate([[0.0], np.cumsum((recorded - np.median(recorded)) ** 2)])
    at = np.arange(quiet, len(recorded) - after)
    around = (running[at + after] - running[at - before]) / (before + after)
    ahead = (running[at - before] - running[at - quiet]) / (quiet - before)
    # What a 16-bit file cannot hold is no quiet.
    ratio = np.zeros(len(recorded))
    ratio[at] = np.sqrt(around / np.maximum(ahead, 1e-9 * np.max(recorded**2)))
    return ratio


def _arrival(signal: Signal, near: int, sample_rate: int) -> tuple[int, int]:
    """The first sample around `near` that has half of the largest value there, and its sign."""
    reach = round(AFTER * sample_rate)
    begin = max(0, near - reach)
    part = signal[begin : near + 2 * reach]
    part = part - np.median(part)
    first = int(np.argmax(np.abs(part) >= 0.5 * np.abs(part).max()))
    return begin + first, 1 if part[first] > 0.0 else -1


def _drift(recorded: Signal, middles: list[int], sample_rate: int) -> float:
    """From the distance of the first and the last blip: the device answers both in the same way."""
    length, reach = round(RESPONSE * sample_rate), round(DRIFT * sample_rate)
    first, last = middles[0] - length // 4, middles[-1] - length // 4
    segment = recorded[max(0, last - reach) : last + length + reach]
    segment = np.pad(segment, (0, length + 2 * reach - len(segment)))
    template = recorded[first : first + length]
    lag, _ = best_lag(segment - segment.mean(), template - template.mean())
    return lag / (middles[-1] - middles[0])
