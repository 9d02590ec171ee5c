"""Signals to play through a device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# A steel string, typical values: inharmonicity, where it is plucked (part of its length), how fast the fundamental
# decays, how much faster partials do [1/s, 1/s per kHz], and the two planes of vibration, which decay at different
# rates and are out of tune by a few cents, so that the note beats.
INHARMONICITY, POSITION = 1e-4, 0.17
DECAY, DECAY_SLOPE = 0.7, 1.5
DETUNING, DECAY_RATIO = 1.0012, 2.5


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
