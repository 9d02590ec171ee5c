"""Where on the frequency axis a response is looked at."""

from __future__ import annotations

import math

import numpy as np

AUDIBLE = (20.0, 20e3)
# Points of a curve: enough for a line without corners.
PER_DECADE = 60
# What a range may be, in Hz.
WIDEST = (1e-6, 1e12)


def steps(low: float, high: float) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, ... Hz within a range: what people write at a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # From text, because 10.0**-3 * 2 is not the float nearest to 0.002.
    found = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    return tuple(frequency for frequency in found if low <= frequency <= high)


def curve(low: float, high: float, points: int | None = None) -> tuple[float, ...]:
    """A geometric series over a range, both ends included; PER_DECADE points a decade unless their number is given."""
    count = points or 1 + math.ceil(PER_DECADE * math.log10(high / low))
    return tuple(float(frequency) for frequency in np.geomspace(low, high, count))
