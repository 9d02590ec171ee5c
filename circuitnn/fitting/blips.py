"""The blips of the test signal: they tell the delay of a recording to a sample, and how far two clocks ran apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuitnn.excitation import BLIPS, blip
from circuitnn.fitting.alignment import Alignment, align, best_lag

Signal = NDArray[np.float64]

# A blip is a place whose level from BEFORE to AFTER it is STANDS_OUT times that of the QUIET time in front, in seconds.
BEFORE, AFTER, QUIET, STANDS_OUT = 0.001, 0.005, 0.1, 5.0
# Samples that are looked at at a time: what a long recording takes beside itself does not grow with it.
PIECE = 2**20
# In the signal that was played nothing but a blip is there: the part of the energy around it that its shape explains.
PURE = 0.98
# What came back of the two first blips is alike: their correlation.
ALIKE = 0.8
# Part of the largest value at which a blip begins. Filters smear its peak and clippers widen it; of eight circuits from
# a tone stack to fuzzes, all were within a sample of the truth here, and up to three off at one half.
ONSET = 0.2
# What is compared of the blips at both ends, and by how much the clocks may have run apart, in seconds.
RESPONSE, DRIFT = 0.01, 0.005


def aligned(dry: Signal, wet: Signal, sample_rate: int) -> Alignment:
    """Delay and polarity of `wet` against `dry`: by the blips where the dry begins with them and the wet has them, else
    by what else is there. The confidence of blips is by how much they stand out."""
    places = played_blips(dry, sample_rate)
    found = by_blips(dry, places, wet, sample_rate) if places else None
    return align(dry, wet, sample_rate) if found is None else found


def played_blips(signal: Signal, sample_rate: int) -> list[int]:
    """The middles of the blips in a test signal [time] that may have been trimmed: of the two that it begins with, and
    of the two that it ends with if it has them. None in any other signal."""
    shape = blip(sample_rate)
    half, around = len(shape) // 2, round(AFTER * sample_rate)
    found = []
    for begin in _begins(contrast(signal, sample_rate) > STANDS_OUT):
        part = signal[max(0, begin - around) : begin + 2 * around]
        middle = max(0, begin - around) + int(np.argmax(np.abs(part)))
        near = signal[max(0, middle - around) : middle + around]
        own = signal[max(0, middle - half) : middle + half + 1]
        if len(own) == len(shape) and float(shape @ own) ** 2 > PURE * float(shape @ shape) * float(near @ near):
            found.append(middle)
        elif not found:
            break
    apart = round((BLIPS[1] - BLIPS[0]) * sample_rate)
    pairs = [pair for pair in (found[:2], found[-2:]) if len(pair) == 2 and abs(pair[1] - pair[0] - apart) <= 1]
    if not pairs or pairs[0] != found[:2]:
        return []
    return pairs[0] + (pairs[1] if len(found) >= 4 and len(pairs) == 2 else [])


def by_blips(played: Signal, places: Sequence[int], recorded: Signal, sample_rate: int) -> Alignment | None:
    """Where the blips of `played`, whose middles are at `places`, are in `recorded`; None if the first two are not."""
    levels, apart = contrast(recorded, sample_rate), places[1] - places[0]
    # The two first blips, as far apart as they were played, wherever they are.
    both = np.minimum(levels[:-apart], levels[apart:]) if len(levels) > apart else np.zeros(1)
    if both.max() <= STANDS_OUT:
        return None
    first = int(np.argmax(both > STANDS_OUT))
    before, after = round(BEFORE * sample_rate), round(2.0 * AFTER * sample_rate)
    one = recorded[max(0, first - before) : first + after]
    other = recorded[max(0, first - before) + apart : first + after + apart]
    if _correlation(one, other) < ALIKE:
        return None
    arrival, polarity = _arrival(recorded, first, sample_rate)
    delay = arrival - _arrival(played, places[0], sample_rate)[0]
    last, drift = places[-1] + delay, None
    if len(places) == 4 and stands_out(levels, last, sample_rate):
        drift = _drift(recorded, places[0] + delay, last, sample_rate)
    return Alignment(delay, polarity, float(both.max()), drift)


def contrast(recorded: Signal, sample_rate: int) -> Signal:
    """At every sample, the level around it over the level before it; 0 where there is not enough before it."""
    before, after, quiet = (round(x * sample_rate) for x in (BEFORE, AFTER, QUIET))
    ratio = np.zeros(len(recorded))
    centre = np.median(recorded)
    # What a 16-bit file cannot hold is no quiet.
    least = 1e-9 * max(float(recorded.max()), -float(recorded.min())) ** 2 + 1e-300
    for begin in range(quiet, len(recorded) - after, PIECE):
        end = min(begin + PIECE, len(recorded) - after)
        power = (recorded[begin - quiet : end + after] - centre) ** 2
        running = np.concatenate([[0.0], np.cumsum(power)])
        # Sums up to `after` behind, `before` in front of, and `quiet` in front of each sample.
        last, middle, first = (running[quiet + k :][: end - begin] for k in (after, -before, -quiet))
        around = (last - middle) / (before + after)
        ahead = (middle - first) / (quiet - before)
        ratio[begin:end] = np.sqrt(around / np.maximum(ahead, least))
    return ratio


def stands_out(levels: Signal, middle: int, sample_rate: int) -> bool:
    """Whether there is a blip near `middle`, by the contrast [time] of a recording."""
    reach = round(DRIFT * sample_rate)
    return bool(levels[max(0, middle - reach) : max(0, middle + reach + 1)].max(initial=0.0) > STANDS_OUT)


def _begins(where: NDArray[np.bool_]) -> list[int]:
    """Where runs of true begin."""
    return np.flatnonzero(where & ~np.concatenate([[False], where[:-1]])).tolist()


def _correlation(one: Signal, other: Signal) -> float:
    if len(one) != len(other):
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-300)


def _arrival(signal: Signal, near: int, sample_rate: int) -> tuple[int, int]:
    """The first sample around `near` that has ONSET of the largest value there, and its sign."""
    reach = round(AFTER * sample_rate)
    begin = max(0, near - reach)
    part = signal[begin : near + 2 * reach]
    part = part - np.median(part)
    first = int(np.argmax(np.abs(part) >= ONSET * np.abs(part).max()))
    return begin + first, 1 if part[first] > 0.0 else -1


def _drift(recorded: Signal, first: int, last: int, sample_rate: int) -> float:
    """From the distance of the first and the last blip: the device answers both in the same way."""
    length, reach = round(RESPONSE * sample_rate), round(DRIFT * sample_rate)
    begin, end = first - length // 4, last - length // 4
    segment = recorded[max(0, end - reach) : end + length + reach]
    segment = np.pad(segment, (0, length + 2 * reach - len(segment)))
    template = recorded[begin : begin + length]
    lag, _ = best_lag(segment - segment.mean(), template - template.mean())
    return lag / (last - first)
