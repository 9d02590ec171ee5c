"""A guitar-like test signal as a formula, so that it can be evaluated exactly on any time grid.

Each plucked string is a sum of decaying sinusoids: slightly inharmonic partials (stiff string), weights from the
plucking and pickup positions, higher partials dying faster. Nothing lies above 7.5 kHz apart from the traces of
the smooth attack and damping ramps, so linear interpolation between the points of a fine grid is accurate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 44100
BAND_LIMIT = 7500.0  # Hz
ATTACK = 0.003  # seconds
DAMPING = 0.015  # seconds

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Pluck:
    """Strings plucked together. start, stop: seconds. pitches: MIDI note numbers. level: relative."""

    start: float
    stop: float
    pitches: tuple[int, ...]
    level: float


@dataclass(frozen=True)
class Performance:
    """What is played: duration in seconds, the plucks, and the seed of phases and plucking positions."""

    duration: float
    plucks: tuple[Pluck, ...]
    seed: int


SHORT = Performance(
    duration=0.1,
    plucks=(Pluck(0.002, 0.045, (40,), 0.5), Pluck(0.040, 0.2, (45, 52, 57), 1.0), Pluck(0.075, 0.2, (67,), 0.7)),
    seed=1,
)
PHRASE = Performance(
    duration=1.0,
    plucks=(
        Pluck(0.01, 0.16, (40,), 0.9),
        Pluck(0.15, 0.27, (64,), 0.12),
        Pluck(0.26, 0.42, (45, 52, 57), 1.0),
        Pluck(0.40, 0.50, (69, 73), 0.5),
        Pluck(0.49, 0.62, (47,), 0.05),
        Pluck(0.61, 0.80, (52, 56, 59, 64), 0.7),
        Pluck(0.78, 0.90, (76,), 0.9),
        Pluck(0.89, 1.50, (40, 47), 0.25),
    ),
    seed=2,
)
EXAMPLE = Performance(
    duration=2.0,
    plucks=(
        Pluck(0.05, 0.35, (40,), 0.8),
        Pluck(0.33, 0.55, (57,), 0.15),
        Pluck(0.54, 0.85, (45, 52, 57), 1.0),
        Pluck(0.84, 1.05, (69, 72), 0.5),
        Pluck(1.04, 1.25, (48,), 0.06),
        Pluck(1.24, 1.60, (43, 50, 55, 59), 0.8),
        Pluck(1.58, 1.75, (76,), 0.9),
        Pluck(1.74, 2.50, (40, 47, 52), 0.3),
    ),
    seed=3,
)


def times(performance: Performance, sample_rate: float, margin: float = 0.0) -> FloatArray:
    """The grid of a performance in seconds, from 0 to its duration plus a margin, end excluded."""
    return np.arange(round((performance.duration + margin) * sample_rate)) / sample_rate


def guitar(performance: Performance, time: FloatArray) -> FloatArray:
    """The performance at increasing times [s], scaled so that its samples at 44.1 kHz have a peak of 1."""
    return _evaluate(performance, time) / np.abs(_evaluate(performance, times(performance, SAMPLE_RATE))).max()


def _evaluate(performance: Performance, time: FloatArray) -> FloatArray:
    rng = np.random.default_rng(performance.seed)
    signal = np.zeros_like(time)
    for pluck in performance.plucks:
        for pitch in pluck.pitches:
            fundamental = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
            number = np.arange(1, int(BAND_LIMIT / fundamental) + 1)
            phase = rng.uniform(0.0, 2.0 * np.pi, number.size)
            position = rng.uniform(0.12, 0.25)
            first, last = np.searchsorted(time, (pluck.start, pluck.stop))
            local: FloatArray = time[first:last] - pluck.start
            note = np.zeros_like(local)
            for k, start_phase in zip(number, phase, strict=True):
                frequency = k * fundamental * np.sqrt(1.0 + 6e-5 * k * k)
                if frequency < BAND_LIMIT:
                    weight = np.sin(np.pi * k * position) * np.cos(0.5 * np.pi * frequency / BAND_LIMIT) ** 2 / k
                    decay = 1.5 + 6.0 * frequency / 1000.0
                    note += weight * np.exp(-decay * local) * np.sin(2.0 * np.pi * frequency * local + start_phase)
            ramps = _ramp(local / ATTACK) * _ramp((pluck.stop - pluck.start - local) / DAMPING)
            signal[first:last] += pluck.level / np.sqrt(len(pluck.pitches)) * ramps * note
    return signal


def _ramp(position: FloatArray) -> FloatArray:
    """From 0 at 0 to 1 at 1 with three continuous derivatives."""
    x = np.clip(position, 0.0, 1.0)
    return np.asarray(x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3), dtype=np.float64)
