"""Mains hum in what a fit leaves over: which frequencies stand out where hum would be."""

from __future__ import annotations

import numpy as np
import scipy.signal
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# Mains frequencies in Hz, how far a grid (or a recorder's clock) strays from them, and the harmonics looked at.
MAINS, STRAY, HARMONICS = (50.0, 60.0), 0.2, 12
# A line counts if it stands that far (as a ratio of power) above the median of its neighbourhood, in Hz either way.
PROMINENCE, NEIGHBOURHOOD = 100.0, 20.0
# A signal shorter than that, in seconds, cannot tell hum from a bass note.
SHORTEST = 1.0


def mains_lines(residual: Signal, sample_rate: float) -> tuple[float, ...]:
    """Frequencies [Hz] of mains hum that stand out in `residual` [time]: harmonics of one fundamental near 50 or 60 Hz;
    none if its first three are not among them."""
    if len(residual) < SHORTEST * sample_rate:
        return ()
    # The window's side lobes are below any hum; padding resolves the grid's frequency.
    window = scipy.signal.windows.blackmanharris(len(residual), sym=False)
    size = 4 << (len(residual) - 1).bit_length()
    power = np.abs(np.fft.rfft((residual - residual.mean()) * window, size)) ** 2
    per_hertz = size / sample_rate

    def at(frequency: float) -> float:
        return float(power[round(frequency * per_hertz)])

    def stands_out(frequency: float) -> bool:
        low, high = (int((frequency + side * NEIGHBOURHOOD) * per_hertz) for side in (-1.0, 1.0))
        return at(frequency) > PROMINENCE * float(np.median(power[max(low, 0) : high]))

    best: tuple[float, ...] = ()
    strongest = 0.0
    for mains in MAINS:
        candidates = np.arange(mains - STRAY, mains + STRAY, 0.25 / per_hertz)
        reach = min(HARMONICS, int(0.45 * sample_rate / mains))
        sums = [sum(at(k * f) for k in range(1, min(reach, 3) + 1)) for f in candidates]
        fundamental = float(candidates[int(np.argmax(sums))])
        lines = tuple(k * fundamental for k in range(1, reach + 1) if stands_out(k * fundamental))
        if any(line < 3.5 * mains for line in lines) and max(sums) > strongest:
            best, strongest = lines, max(sums)
    return best
