"""What a model does to test signals: exponential sweeps, sines at rising levels, sines whose aliases can be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import CircuitnnError
from circuitnn.excitation import sweep
from circuitnn.metrics import aliasing_to_signal_ratio

Signal = NDArray[np.float64]
# A model at rest, as what it makes of signals [batch, time]: same shape, same rate, without latency.
Play = Callable[[Signal], Signal]

# Hz: D#6, D#7 and C8, the highest note of a piano, rounded so that a second holds a whole number of periods. 1245 Hz is
# the tone of the aliasing study in Damskagg, Juvela and Valimaki, "Real-time modeling of audio distortion circuits with
# deep learning", SMC 2019 (cited as such in the review of Vanhatalo et al., Applied Sciences 12(12), 2022).
FREQUENCIES = (1245, 2489, 4186)
# Hz.
AUDIBLE = 20000.0
# Seconds until the response to a sine has settled: 100 time constants of the coupling capacitors found in pedals.
SETTLING = 1
# Seconds that a signal goes on after what is looked at, because rate converters look ahead.
MARGIN = 0.01

# The sweep: from where to where in Hz, its length and the silence after it in seconds, and the harmonics told apart.
LOWEST, HIGHEST, SWEEP, SILENCE, HARMONICS = 20.0, 20_000.0, 2.0, 0.5, 5
# Frequencies per octave at which harmonics are read.
PER_OCTAVE = 6
# Hz of the transfer curve's sine, its periods that are looked at, the seconds before, and levels in dB.
TONE, PERIODS, TONE_SETTLING, LEVELS = 1000.0, 20, 0.3, tuple(range(-42, 1, 6))


@dataclass(frozen=True)
class Tone:
    """frequency: Hz; ratio: the aliasing-to-signal ratio in dB (metrics.aliasing_to_signal_ratio); audible: the same
    below AUDIBLE."""

    frequency: int
    ratio: float
    audible: float


def aliasing(play: Play, sample_rate: int, amplitude: float, frequencies: Sequence[int] = FREQUENCIES) -> list[Tone]:
    """Aliasing of the response to sines [whole Hz] that peak at `amplitude`, over one second. nan: where it cannot be
    told, as at a rate below twice the frequency, or of a model that gives nothing."""
    count = (SETTLING + 1) * sample_rate
    time = np.arange(count + round(MARGIN * sample_rate)) / sample_rate
    y = play(amplitude * np.sin(2.0 * np.pi * np.outer(frequencies, time)))[:, SETTLING * sample_rate : count]
    return [
        Tone(frequency, *(_ratio(one, frequency, sample_rate, band) for band in (math.inf, AUDIBLE)))
        for frequency, one in zip(frequencies, y, strict=True)
    ]


def _ratio(output: Signal, frequency: int, sample_rate: int, band: float) -> float:
    try:
        return aliasing_to_signal_ratio(output, frequency, sample_rate, band)
    except CircuitnnError:
        return math.nan


@dataclass(frozen=True)
class Harmonics:
    """What a sine of `frequencies` [f] in Hz comes out as: amplitudes [HARMONICS, f] of the fundamental and its
    multiples, over the amplitude of the sine; nan where they lie beyond the sweep."""

    frequencies: Signal
    amplitudes: Signal


def harmonics(play: Play, sample_rate: float, amplitude: float) -> Harmonics:
    """Harmonic responses at one level from one exponential sweep, after A. Farina, "Simultaneous measurement of impulse
    response and distortion with a swept-sine technique", AES 108 (2000).

    With x(t) = sin(2 pi f1 L (exp(t / L) - 1)), the m-th harmonic of x runs L ln m ahead of x, so that the output
    divided by the sweep's spectrum has the m-th harmonic's impulse response at -L ln m, where a window cuts it out.
    """
    highest = min(HIGHEST, 0.45 * sample_rate)
    length = SWEEP / math.log(highest / LOWEST)
    signal = sweep(LOWEST, highest, SWEEP, sample_rate)
    size = 2 ** math.ceil(math.log2(len(signal) + SILENCE * sample_rate))
    # Beside the sweep, silence: an offset would be taken for low frequencies.
    both = np.zeros((2, size))
    both[0, : len(signal)] = amplitude * signal
    swept, silence = play(both)
    spectrum = np.fft.rfft(swept - silence)
    frequency = np.fft.rfftfreq(size, 1.0 / sample_rate)
    # The inverse in closed form: beyond the sweep's ends, its own spectrum has nothing to divide by.
    with np.errstate(divide="ignore", invalid="ignore"):
        phase = 2.0 * np.pi * length * (LOWEST - frequency + frequency * np.log(frequency / LOWEST)) + np.pi / 4.0
        inverse = 2.0 * np.sqrt(frequency / length) * np.exp(1j * phase) / sample_rate
    inverse[0] = 0.0
    response = np.fft.irfft(spectrum * inverse / amplitude, size)
    octaves = math.log2(highest / LOWEST)
    told = LOWEST * 2.0 ** (np.arange(1, int(PER_OCTAVE * octaves)) / PER_OCTAVE)
    found = [_harmonic(response, m, length, sample_rate, told, highest) for m in range(1, HARMONICS + 1)]
    return Harmonics(told, np.array(found))


def _harmonic(response: Signal, m: int, length: float, rate: float, told: Signal, highest: float) -> Signal:
    """|H_m| [f] at the multiples of `told`, from the window around -L ln m that reaches half way to the next one."""
    before = length * math.log((m + 1) / m) / 2.0
    after = SILENCE if m == 1 else length * math.log(m / (m - 1)) / 2.0
    begin, reach = -round((length * math.log(m) + before) * rate), round((before + after) * rate)
    cut = response[np.arange(begin, begin + reach) % len(response)]
    fade = max(1, round(0.25 * before * rate))
    ramp = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade) ** 2
    cut[:fade] *= ramp
    cut[-fade:] *= ramp[::-1]
    spectrum = np.abs(np.fft.rfft(cut, len(response)))
    found: Signal = np.interp(m * told, np.fft.rfftfreq(len(response), 1.0 / rate), spectrum)
    found[m * told > highest] = np.nan
    return found


def spectral_difference(one: Harmonics, other: Harmonics) -> float:
    """Mean absolute difference of the fundamental's levels over all frequencies, in dB."""
    return _difference(one.amplitudes[:1], other.amplitudes[:1], -math.inf)


def harmonic_difference(one: Harmonics, other: Harmonics, floor: float = -80.0) -> float:
    """Mean absolute difference of the levels of harmonics 2 to HARMONICS relative to the other's fundamental, in dB.
    floor: what is weaker counts as being there, in dB; where nothing is stronger in either, nothing counts."""
    level = other.amplitudes[:1]
    return _difference(one.amplitudes[1:] / level, other.amplitudes[1:] / level, floor)


def _difference(one: Signal, other: Signal, floor: float) -> float:
    with np.errstate(divide="ignore"):
        a, b = (np.maximum(20.0 * np.log10(part), floor) for part in (one, other))
    counted = np.isfinite(a) & np.isfinite(b) & ((a > floor) | (b > floor))
    return float(np.mean(np.abs(a - b)[counted])) if counted.any() else 0.0


@dataclass(frozen=True)
class TransferCurve:
    """Steady answer to a sine of about TONE. inputs [2 levels]: where the input peaks, ascending; outputs: the peaks
    of the output there, its mean left out."""

    inputs: Signal
    outputs: Signal


def transfer_curve(play: Play, sample_rate: float, highest: float) -> TransferCurve:
    """Output peaks over input peaks, for both signs, up to a peak of `highest`."""
    count = round(PERIODS * sample_rate / TONE)
    # Without a common divisor the periods are sampled at different phases, so that peaks are not missed.
    while math.gcd(count, PERIODS) > 1:
        count += 1
    amplitudes = highest * 10.0 ** (np.array(LEVELS) / 20.0)
    before, margin = round(TONE_SETTLING * sample_rate), round(MARGIN * sample_rate)
    sine = np.sin(2.0 * np.pi * PERIODS * np.arange(before + count + margin) / count)
    y = play(np.outer(amplitudes, sine))[:, before : before + count]
    y = y - y.mean(1, keepdims=True)
    upright = (y @ sine[before : before + count] >= 0.0)[:, None]
    peaks = np.where(upright, np.column_stack([y.min(1), y.max(1)]), np.column_stack([y.max(1), y.min(1)]))
    return TransferCurve(np.concatenate([-amplitudes[::-1], amplitudes]), np.concatenate([peaks[::-1, 0], peaks[:, 1]]))
