"""A test signal to play through a device: everything that a fit wants to hear, in a minute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import CircuitnnError

Signal = NDArray[np.float64]

# A steel string, typical values: inharmonicity, where it is plucked (part of its length), how fast the fundamental
# decays, how much faster partials do [1/s, 1/s per kHz], and the two planes of vibration, which decay at different
# rates and are out of tune by a few cents, so that the note beats.
INHARMONICITY, POSITION = 1e-4, 0.17
DECAY, DECAY_SLOPE = 0.7, 1.5
DETUNING, DECAY_RATIO = 1.0012, 2.5
# Middles of the blips from the beginning, and from the end, and their half width, in seconds.
BLIPS, BLIP = (0.5, 1.0), 1.25e-4
# What blips and silence take at each end, the gap after each sound, and the fades of sounds, in seconds.
EDGE, GAP, FADE = 3.0, 0.15, 0.005
# Parts that sweeps (4 each), noise (2), notes (2) and chords (3) take together of the time between the ends.
UNITS = 4.0 * 4.0 + 4.0 * 2.0 + 2.0 * (5.0 * 2.0 + 2.0 * 3.0)
# Guitar strings from the low E to a high A, and chords of them, in Hz (equal temperament, A = 440 Hz).
NOTES = (82.41, 110.0, 196.0, 329.63, 880.0)
CHORDS = ((82.41, 123.47, 164.81), (110.0, 164.81, 220.0, 277.18, 329.63))


def plucked_string(frequency: float, seconds: float, sample_rate: float) -> Signal:
    """A decaying note [time] with a peak of 1: partials of a stiff string up to 8 kHz, without anything above.

    Partial k of a string plucked at p has the amplitude sin(pi k p) / k^2 and the frequency k f sqrt(1 + B k^2)
    (Fletcher and Rossing, The Physics of Musical Instruments, 1998); a pickup senses velocity, which brings back one k.
    """
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    note = np.zeros(len(time))
    top = min(8000.0, 0.4 * sample_rate)
    for k in range(1, 200):
        partial = k * frequency * np.sqrt(1.0 + INHARMONICITY * k**2)
        if partial > top:
            break
        amplitude = np.sin(np.pi * k * POSITION) / k
        rate = DECAY + DECAY_SLOPE * partial / 1000.0
        note += amplitude * np.exp(-rate * time) * np.sin(2.0 * np.pi * partial * time)
        note += 0.4 * amplitude * np.exp(-rate * DECAY_RATIO * time) * np.sin(2.0 * np.pi * DETUNING * partial * time)
    return np.asarray(note / np.abs(note).max())


def chord(frequencies: Sequence[float], seconds: float, sample_rate: float, strum: float = 0.015) -> Signal:
    """Plucked strings [time] one after the other, `strum` seconds apart, with a peak of 1."""
    total = np.zeros(round(seconds * sample_rate))
    for k, frequency in enumerate(frequencies):
        begin = round(k * strum * sample_rate)
        total[begin:] += plucked_string(frequency, seconds, sample_rate)[: len(total) - begin]
    return np.asarray(total / np.abs(total).max())


def sweep(low: float, high: float, seconds: float, sample_rate: float) -> Signal:
    """Exponential sine sweep [time] from `low` to `high` Hz with a peak of 1 (Farina, AES Convention 108, 2000)."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    octaves = np.log(high / low)
    return _faded(np.sin(2.0 * np.pi * low * seconds / octaves * np.expm1(time / seconds * octaves)), sample_rate)


def blip_times(seconds: float) -> tuple[float, ...]:
    """Middles of the blips in an excitation that lasts `seconds`."""
    return (*BLIPS, *(seconds - at for at in reversed(BLIPS)))


def blip(sample_rate: float) -> Signal:
    """One blip [time], with a peak of 1 in its middle: a raised cosine."""
    width = round(BLIP * sample_rate)
    return np.asarray(np.sin(np.pi * np.arange(1, 2 * width) / (2 * width)) ** 2)


def excitation(sample_rate: int, seconds: float = 75.0, level: float = 0.9, seed: int = 0) -> Signal:
    """The whole signal [time] with a peak of `level` (digital full scale at 1.0); the same for the same arguments.

    Blips and a pause; exponential sweeps and noise at several levels; notes and chords of plucked strings, soft and
    hard; a pause and blips. Raises CircuitnnError for arguments out of range.
    """
    for name, value, low, high in (
        ("sample rate", sample_rate, 16_000, 384_000),
        ("length", seconds, 20.0, 600.0),
        ("level", level, 0.001, 1.0),
    ):
        if not low <= value <= high:
            raise CircuitnnError(f"{name} of the test signal: expected {low:g} to {high:g}, found {value:g}")
    total = np.zeros(round(seconds * sample_rate))
    shape = blip(sample_rate)
    for at in blip_times(len(total) / sample_rate):
        begins = round(at * sample_rate) - len(shape) // 2
        total[begins : begins + len(shape)] = shape
    begin, unit = EDGE, (len(total) / sample_rate - 2.0 * EDGE) / UNITS
    for sound in _sounds(unit, sample_rate, seed):
        first = round(begin * sample_rate)
        total[first : first + len(sound)] = sound
        begin += len(sound) / sample_rate + GAP
    return np.asarray(level * total)


def _sounds(unit: float, sample_rate: int, seed: int) -> Iterator[Signal]:
    """One sound after the other, UNITS times `unit` seconds long together with their gaps."""
    for decibels in (-36.0, -24.0, -12.0, 0.0):
        top = min(20_000.0, 0.45 * sample_rate)
        yield _gain(decibels) * sweep(20.0, top, 4.0 * unit - GAP, sample_rate)
    for k, decibels in enumerate((-30.0, -20.0, -10.0, 0.0)):
        yield _gain(decibels) * _noise(2.0 * unit - GAP, sample_rate, seed + k)
    for decibels in (-20.0, 0.0):
        for frequency in NOTES:
            yield _gain(decibels) * _faded(plucked_string(frequency, 2.0 * unit - GAP, sample_rate), sample_rate)
        for frequencies in CHORDS:
            yield _gain(decibels) * _faded(chord(frequencies, 3.0 * unit - GAP, sample_rate), sample_rate)


def _gain(decibels: float) -> float:
    return math.pow(10.0, decibels / 20.0)


def _noise(seconds: float, sample_rate: float, seed: int) -> Signal:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * sample_rate))
    return _faded(noise / np.abs(noise).max(), sample_rate)


def _faded(signal: Signal, sample_rate: float) -> Signal:
    length = min(round(FADE * sample_rate), len(signal) // 2)
    ramp = np.sin(np.linspace(0.0, np.pi / 2.0, length)) ** 2
    faded = np.asarray(signal, dtype=float).copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded
