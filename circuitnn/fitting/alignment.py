"""Where a recording lies in time against a model's output, and by fractions of a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# The band in which the phase of both signals is compared, in Hz: below it hum, above it noise.
BAND = (100.0, 15_000.0)
# Width over which spectra are smoothed before they whiten, in Hz: finer than the partials of a note are apart.
SMOOTHING = 17.0
# Fades at the ends, in seconds. A recording that is cut in mid-note begins with a step, which would otherwise match any
# sharp attack in the other one.
WET_FADE, DRY_FADE = 0.1, 0.01
# Below this confidence an alignment is reported as doubtful.
DOUBTFUL = 1.15
# Half length of the fractional-delay filter, in samples, and its Kaiser beta.
HALF_LENGTH = 32
_BETA = 10.06


@dataclass(frozen=True)
class Alignment:
    """delay: by how many samples the wet is late against the model; polarity: +1 or -1; confidence: the height of the
    correlation peak over the highest one elsewhere (1: no better than a guess)."""

    delay: int
    polarity: int
    confidence: float


def align(dry: Signal, wet: Signal, sample_rate: float) -> Alignment:
    """Delay and polarity of `wet` against `dry`, by cross-correlation with whitened spectra in BAND.

    The smoothed coherence transform of generalised cross-correlation (Knapp and Carter 1976): whitening makes the peak
    of a sustained note stand out from its neighbours one period away.
    """
    n = len(dry) + len(wet)
    size = 1 << (n - 1).bit_length()
    frequency = np.fft.rfftfreq(size, 1.0 / sample_rate)
    inside = (frequency >= BAND[0]) & (frequency <= min(BAND[1], 0.45 * sample_rate))
    width = max(1, round(SMOOTHING * size / sample_rate))
    cross = inside.astype(complex)
    for signal, fade in ((wet, WET_FADE), (dry, DRY_FADE)):
        spectrum = np.fft.rfft(_faded(signal, round(fade * sample_rate)), size)
        power = np.convolve(np.abs(spectrum) ** 2, np.full(width, 1.0 / width), mode="same")
        whitened = spectrum / np.sqrt(power + 1e-12 * power.max())
        cross *= whitened if signal is wet else np.conj(whitened)
    correlation = np.fft.irfft(cross, size)
    lags = np.concatenate([np.arange(len(wet)), np.arange(-len(dry), 0)])
    values = np.concatenate([correlation[: len(wet)], correlation[-len(dry) :]])
    best = int(np.argmax(np.abs(values)))
    far = np.abs(lags - lags[best]) > max(8, round(0.0005 * sample_rate))
    confidence = float(np.abs(values[best]) / (np.abs(values[far]).max(initial=0.0) + 1e-300))
    return Alignment(int(lags[best]), 1 if values[best] > 0 else -1, confidence)


def _faded(signal: Signal, length: int) -> Signal:
    length = min(length, len(signal) // 4)
    ramp = np.sin(np.linspace(0.0, np.pi / 2.0, length)) ** 2
    faded = signal.copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def best_lag(output: Signal, target: Signal) -> tuple[float, float]:
    """Where `target` [n] lies in `output` [n + 2 r]: lag from the middle (-r..r, to a fraction of a sample) and the
    normalised correlation there."""
    reach = (len(output) - len(target)) // 2
    products = scipy.signal.correlate(output, target, mode="valid", method="fft")
    running = np.concatenate([[0.0], np.cumsum(output**2)])
    energy = running[len(target) :] - running[: len(running) - len(target)]
    correlation = products / np.sqrt(energy * np.sum(target**2) + 1e-300)
    k = int(np.argmax(np.abs(correlation)))
    fraction = 0.0
    if 0 < k < len(correlation) - 1:
        left, middle, right = np.abs(correlation[k - 1 : k + 2])
        fraction = 0.5 * (left - right) / (left - 2.0 * middle + right)
    return k - reach + fraction, float(correlation[k])


def fractional_advance(signal: Signal, advance: float) -> Signal:
    """signal(n + advance) for |advance| <= 1 by a Kaiser-windowed sinc, same length, zeros beyond the ends."""
    n = np.arange(-HALF_LENGTH, HALF_LENGTH + 1)
    position = (n + advance) / (HALF_LENGTH + 1)
    window = np.i0(_BETA * np.sqrt(np.maximum(1.0 - position**2, 0.0))) / np.i0(_BETA)
    return np.asarray(scipy.signal.fftconvolve(signal, np.sinc(n + advance) * window, mode="same"))
