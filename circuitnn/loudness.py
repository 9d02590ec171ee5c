"""Loudness of a mono signal, ITU-R BS.1770-4: K-weighting and two gates."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import CircuitnnError

Signal = NDArray[np.float64]

# Length of a gating block in seconds, and how many of them begin in its time.
BLOCK, OVERLAP = 0.4, 4
# LKFS below which a block does not count; LU below the loudness so far from which on it does not count either.
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, 10.0
# What makes a full-scale sine of 997 Hz -3.01 LKFS.
OFFSET = -0.691

# The two analog filters behind the standard's coefficients, which it gives for 48 kHz only: frequency in Hz, Q, and of
# the shelf the gain in dB and the exponent of its middle coefficient. Found by B. De Man ("Evaluation of
# implementations of the EBU R128 loudness measurement", AES 145, 2018); at 48 kHz they give the standard's tables 1 and
# 2 to all of their digits.
SHELF_FREQUENCY, SHELF_Q = 1681.974450955533, 0.7071752369554196
SHELF_GAIN, SHELF_EXPONENT = 3.999843853973347, 0.4996667741545416
HIGH_PASS_FREQUENCY, HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773


def k_weighting(sample_rate: float) -> tuple[tuple[Signal, Signal], tuple[Signal, Signal]]:
    """b [3] and a [3] of the two filters of K-weighting: a shelf for the head, and a high-pass. sample_rate in Hz."""
    k, q = math.tan(math.pi * SHELF_FREQUENCY / sample_rate), SHELF_Q
    high = 10.0 ** (SHELF_GAIN / 20.0)
    middle = high**SHELF_EXPONENT
    b = np.array([high + middle * k / q + k**2, 2.0 * (k**2 - high), high - middle * k / q + k**2])
    a = np.array([1.0 + k / q + k**2, 2.0 * (k**2 - 1.0), 1.0 - k / q + k**2])
    shelf = b / a[0], a / a[0]
    k, q = math.tan(math.pi * HIGH_PASS_FREQUENCY / sample_rate), HIGH_PASS_Q
    a = np.array([1.0 + k / q + k**2, 2.0 * (k**2 - 1.0), 1.0 - k / q + k**2])
    # The standard's numerator is not scaled with its denominator, and programs keep it so at all rates.
    return shelf, (np.array([1.0, -2.0, 1.0]), a / a[0])


def loudness(signal: Signal, sample_rate: float) -> float:
    """Integrated loudness of a signal [time] in LUFS (also called LKFS), as the only channel; -inf for silence.

    Raises CircuitnnError for one that is shorter than a gating block.
    """
    from scipy.signal import lfilter

    length = round(BLOCK * sample_rate)
    if len(signal) < length:
        raise CircuitnnError(
            f"expected at least {BLOCK:g} s to measure loudness, found {len(signal) / sample_rate:.3g} s"
        )
    weighted = signal
    for b, a in k_weighting(sample_rate):
        weighted = lfilter(b, a, weighted)
    total = np.concatenate([[0.0], np.cumsum(weighted**2)])
    count = (len(signal) - length) * OVERLAP // length + 1
    begins = np.arange(count) * length // OVERLAP
    powers = (total[begins + length] - total[begins]) / length
    kept = powers[powers > _power(ABSOLUTE_GATE)]
    if not kept.size:
        return -math.inf
    kept = kept[kept > 10.0 ** (-RELATIVE_GATE / 10.0) * kept.mean()]
    return OFFSET + 10.0 * math.log10(float(kept.mean()))


def _power(level: float) -> float:
    """Mean square of a block of that loudness."""
    return math.pow(10.0, (level - OFFSET) / 10.0)


def at_loudness(signal: Signal, sample_rate: float, level: float) -> Signal:
    """The signal [time] with a gain that gives it a loudness of `level` in LUFS; silence stays what it is."""
    found = loudness(signal, sample_rate)
    return signal * 10.0 ** ((level - found) / 20.0) if math.isfinite(found) else signal
