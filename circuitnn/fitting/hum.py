"""Mains hum in what a fit leaves over: which frequencies stand out where hum would be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.signal
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# Mains frequencies in Hz, how far a grid (or a recorder's clock) strays from them, and the harmonics looked at.
MAINS, STRAY, HARMONICS = (50.0, 60.0), 0.2, 12
# A line counts if it stands that far (as a ratio of power) above the median of its neighbourhood, in Hz either way.
PROMINENCE, NEIGHBOURHOOD = 100.0, 20.0
# One of the first three is the strongest line that far around, in Hz.
NEARBY = 2.0
# A signal shorter than that, in seconds, cannot tell hum from a bass note.
SHORTEST = 1.0
# Hum is looked for at the lowest integer division of the sample rate that is not below this one, in Hz.
RATE = 2000.0


def mains_lines(residual: Signal, sample_rate: float) -> tuple[float, ...]:
    """Frequencies [Hz] of mains hum that stand out in `residual` [time]: harmonics of one fundamental near 50 or 60 Hz;
    none if its first three are not among them."""
    if len(residual) < SHORTEST * sample_rate:
        return ()
    factor = max(1, int(sample_rate // RATE))
    rate = sample_rate / factor
    signal = scipy.signal.resample_poly(residual, 1, factor)
    signal -= signal.mean()
    # The window's side lobes are below any hum; padding resolves the grid's frequency.
    windowed = signal * scipy.signal.windows.blackmanharris(len(signal), sym=False)
    size = 4 << (len(signal) - 1).bit_length()
    power = np.abs(np.fft.rfft(windowed, size)) ** 2
    per_hertz = size / rate

    def at(frequency: float) -> float:
        return float(power[round(frequency * per_hertz)])

    def stands_out(frequency: float) -> bool:
        low, high = (int((frequency + side * NEIGHBOURHOOD) * per_hertz) for side in (-1.0, 1.0))
        return at(frequency) > PROMINENCE * float(np.median(power[max(low, 0) : high]))

    def summit(frequency: float) -> bool:
        """Whether there is nothing stronger nearby: the skirts of a bass note are no hum."""
        low, high = (int((frequency + side * NEARBY) * per_hertz) for side in (-1.0, 1.0))
        return float(power[low:high].max()) <= at(frequency)

    best: tuple[float, ...] = ()
    strongest = 0.0
    for mains in MAINS:
        candidates = np.arange(mains - STRAY, mains + STRAY, 0.25 / per_hertz)
        reach = min(HARMONICS, int(0.42 * rate / mains))
        sums = [sum(at(k * f) for k in range(1, min(reach, 3) + 1)) for f in candidates]
        fundamental = float(candidates[int(np.argmax(sums))])
        orders = [k for k in range(1, reach + 1) if stands_out(k * fundamental)]
        if any(k <= 3 and summit(k * fundamental) for k in orders) and max(sums) > strongest:
            exact = _refined(windowed, rate, fundamental, orders, 1.0 / per_hertz)
            best, strongest = tuple(k * exact for k in orders), max(sums)
    return best


def _refined(windowed: Signal, rate: float, fundamental: float, orders: Sequence[int], reach: float) -> float:
    """The fundamental within `reach` [Hz] at which the harmonics of these orders have most power together."""
    turns = -2j * np.pi * np.arange(len(windowed)) / rate

    def lost(frequency: float) -> float:
        return -sum(float(np.abs(windowed @ np.exp(turns * k * frequency))) ** 2 for k in orders)

    bounds = (fundamental - reach, fundamental + reach)
    found = scipy.optimize.minimize_scalar(lost, bounds=bounds, method="bounded", options={"xatol": 1e-3 * reach})
    return float(found.x)
