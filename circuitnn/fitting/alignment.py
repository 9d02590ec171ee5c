"""Where a recording lies in time against the dry signal or a model's output, and by fractions of a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

Signal = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

# Of a long wet file this much is looked for, in seconds, from where it begins to sound (ONSET of its peak).
LONGEST, ONSET = 20.0, 0.05
# It is looked for in the dry file within REACH seconds, and as many more as one file is longer, up to MOST.
REACH, MOST = 5.0, 60.0
# Files of one take share at least this part of the shorter one.
LEAST_OVERLAP = 0.5
# Signals are compared at the lowest integer division of their rate that is not below this one, in Hz.
RATE = 16_000
# The band in which the phase of both signals is compared, in Hz: below it hum, above it noise.
BAND = (100.0, 8_000.0)
# Width over which spectra are smoothed before they whiten, in Hz: finer than the partials of a note are apart.
SMOOTHING = 4.0
# Guesses at what the device did: corner of a high-pass in Hz, and gain before a clipper, for a peak of 1. Pedals lift
# the treble before they clip.
CORNERS, GAINS = (0.0, 300.0, 1500.0), (10.0, 100.0, 1000.0)
# Part of their mean that is added to the guesses' inner products with themselves: some guesses are nearly the same.
RIDGE = 1e-3
# Fades at the ends, in seconds. A recording that is cut in mid-note begins with a step, which would otherwise match any
# sharp attack in the other one.
WET_FADE, DRY_FADE = 0.1, 0.01
# Delays closer than this to the best one belong to the same peak, in seconds.
PEAK_WIDTH = 0.001
# Below this confidence an alignment is reported as doubtful.
DOUBTFUL = 1.15
# Samples by which a device's own phase may have moved the alignment of dry and wet.
LAG_RANGE = 32
# Half length of the fractional-delay filter, in samples, and its Kaiser beta.
HALF_LENGTH = 32
_BETA = 10.06


@dataclass(frozen=True)
class Alignment:
    """delay: by how many samples the wet is late against the dry, at its beginning; polarity: +1 or -1; confidence: the
    correlation at that delay over the highest one elsewhere (1: no better than a guess). drift: of the wet's clock
    against the dry's, relative (positive: the wet lasts longer), None if that is not known."""

    delay: int
    polarity: int
    confidence: float
    drift: float | None = None


def align(dry: Signal, wet: Signal, sample_rate: float) -> Alignment:
    """Delay and polarity of `wet` against `dry`, whatever the device between them does to the waveform.

    Cross-correlation with whitened spectra (Knapp and Carter 1976) makes the peak of a sustained note stand out from
    its neighbours one period away, but asks for a linear device. Here the wet is correlated with many guesses at once
    (the dry high-passed, clipped and rectified, each to several degrees): the multiple coherence, which is the part of
    the whitened wet that a combination of the guesses explains, for every delay. What tells one period from the next in
    a hard-clipped note is where additional zero crossings come and go; the clipped guesses have them too.
    """
    wet_part, dry_part = _excerpts(len(dry), wet, sample_rate)
    factor = max(1, int(sample_rate // RATE))
    x, y = (scipy.signal.resample_poly(part, 1, factor) for part in (dry[dry_part], wet[wet_part]))
    spectra = _Spectra(len(x) + len(y), sample_rate / factor)
    target = spectra.whitened(y, WET_FADE)
    guesses = np.array([spectra.whitened(guess, DRY_FADE) for guess in _guesses(x, spectra.rate)])

    lags = np.arange(-len(x) + 1, len(y))
    delays = factor * lags + wet_part.start - dry_part.start
    overlap = np.minimum(len(dry) + delays, len(wet)) - np.maximum(delays, 0)
    plausible = overlap >= LEAST_OVERLAP * min(len(dry), len(wet))
    # Cholesky's factor makes the guesses orthogonal, so that what they explain adds up.
    gram = guesses.view(float) @ guesses.view(float).T
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    explained = np.zeros(len(lags))
    for row in np.linalg.inv(np.linalg.cholesky(gram)):
        explained += spectra.correlation(target, row @ guesses, lags) ** 2
    explained[~plausible] = 0.0

    best = int(np.argmax(explained))
    far = np.abs(lags - lags[best]) > PEAK_WIDTH * spectra.rate
    confidence = float(np.sqrt(explained[best] / max(explained[far].max(initial=0.0), 1e-300)))
    # The second half of the guesses is rectified and knows no polarity.
    products = [float(np.real(np.vdot(g * spectra.shift(lags[best]), target))) for g in guesses[: len(guesses) // 2]]
    polarity = 1 if max(products, key=abs) > 0.0 else -1
    fraction = factor * _vertex(explained[best - 1 : best + 2])
    return Alignment(round(float(delays[best]) + fraction), polarity, confidence)


def _excerpts(dry_length: int, wet: Signal, rate: float) -> tuple[slice, slice]:
    """What is compared of wet and dry."""
    longest, reach = round(LONGEST * rate), round(REACH * rate)
    begin = 0
    if len(wet) > longest:
        level = np.abs(wet)
        onset = int(np.argmax(level > ONSET * level.max()))
        begin = min(max(0, onset - round(WET_FADE * rate)), len(wet) - longest)
    end = min(begin + longest, len(wet))
    reach += min(abs(dry_length - len(wet)), round(MOST * rate))
    return slice(begin, end), slice(max(0, min(begin - reach, dry_length - longest)), min(end + reach, dry_length))


def _guesses(dry: Signal, rate: float) -> Iterator[Signal]:
    """What the device may have made of the dry, and then the same rectified."""
    odd = []
    for corner in CORNERS:
        lifted = dry if corner == 0.0 else scipy.signal.sosfilt(_highpass(corner, rate), dry)
        lifted = lifted / max(np.abs(lifted).max(), 1e-300)
        odd += [lifted, *(np.tanh(gain * lifted) for gain in GAINS)]
    yield from odd
    yield from map(np.abs, odd)


def _highpass(corner: float, rate: float) -> Signal:
    return np.asarray(scipy.signal.butter(1, corner, "high", fs=rate, output="sos"))


class _Spectra:
    """Whitened spectra in BAND, at one rate and one length."""

    def __init__(self, length: int, rate: float) -> None:
        self.rate = rate
        self.size = int(scipy.fft.next_fast_len(length, real=True))
        self._frequency = np.fft.rfftfreq(self.size, 1.0 / rate)
        self._inside = (self._frequency >= BAND[0]) & (self._frequency <= min(BAND[1], 0.45 * rate))

    def whitened(self, signal: Signal, fade: float) -> Spectrum:
        spectrum = scipy.fft.rfft(_faded(signal, round(fade * self.rate)), self.size)
        width = max(1, round(SMOOTHING * self.size / self.rate))
        power = scipy.ndimage.uniform_filter1d(np.abs(spectrum) ** 2, width, mode="constant")
        return np.asarray((spectrum / np.sqrt(power + 1e-9 * power.max() + 1e-300))[self._inside])

    def correlation(self, target: Spectrum, other: Spectrum, lags: NDArray[np.int64]) -> Signal:
        """Of `target` with `other` moved later by `lags`."""
        cross = np.zeros(len(self._frequency), complex)
        cross[self._inside] = target * np.conj(other)
        return np.asarray(scipy.fft.irfft(cross, self.size)[lags])

    def shift(self, lag: int) -> Spectrum:
        """What makes a spectrum that of a signal `lag` samples later."""
        return np.asarray(np.exp(-2j * np.pi * self._frequency[self._inside] * lag / self.rate))


def _faded(signal: Signal, length: int) -> Signal:
    length = min(length, len(signal) // 4)
    ramp = np.sin(np.linspace(0.0, np.pi / 2.0, length)) ** 2
    faded = signal.copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def _vertex(three: Signal) -> float:
    """Where the parabola through three values at -1, 0 and 1 has its extremum."""
    if len(three) < 3 or three[1] <= max(three[0], three[2]):
        return 0.0
    left, middle, right = three
    return float(0.5 * (left - right) / (left - 2.0 * middle + right))


def best_lag(output: Signal, target: Signal) -> tuple[float, float]:
    """Where `target` [n] lies in `output` [n + 2 r]: lag from the middle (-r..r, to a fraction of a sample) and the
    normalised correlation there."""
    reach = (len(output) - len(target)) // 2
    products = scipy.signal.correlate(output, target, mode="valid", method="fft")
    running = np.concatenate([[0.0], np.cumsum(output**2)])
    energy = running[len(target) :] - running[: len(running) - len(target)]
    correlation = products / np.sqrt(energy * np.sum(target**2) + 1e-300)
    k = int(np.argmax(np.abs(correlation)))
    return k - reach + _vertex(np.abs(correlation[max(0, k - 1) : k + 2])), float(correlation[k])


def fractional_advance(signal: Signal, advance: float) -> Signal:
    """signal(n + advance) for |advance| <= 1 by a Kaiser-windowed sinc, same length, zeros beyond the ends."""
    n = np.arange(-HALF_LENGTH, HALF_LENGTH + 1)
    position = (n + advance) / (HALF_LENGTH + 1)
    window = np.i0(_BETA * np.sqrt(np.maximum(1.0 - position**2, 0.0))) / np.i0(_BETA)
    return np.asarray(scipy.signal.fftconvolve(signal, np.sinc(n + advance) * window, mode="same"))
