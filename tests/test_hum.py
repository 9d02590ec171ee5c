"""Mains hum is found where it is, and not where there is music."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from circuitnn.excitation import chord, plucked_string
from circuitnn.fitting.hum import mains_lines

RATE = 44100


def residual(seconds: float, seed: int) -> NDArray[np.float64]:
    """What a model that is not quite right leaves over [time], with a level of 1: notes and chords, and noise."""
    parts = [
        chord((82.41, 123.47, 164.81), 1.0, RATE),
        plucked_string(110.0, 1.0, RATE),
        plucked_string(196.0, 1.0, RATE),
    ]
    notes = np.concatenate(parts * int(np.ceil(seconds / 3.0)))[: round(seconds * RATE)]
    noise = 0.05 * np.random.default_rng(seed).standard_normal(len(notes))
    return np.asarray(notes / notes.std() + noise)


def hum(fundamental: float, amplitudes: dict[int, float], seconds: float) -> NDArray[np.float64]:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.sum([a * np.cos(2.0 * np.pi * k * fundamental * time + k) for k, a in amplitudes.items()], 0)


@pytest.mark.parametrize(("fundamental", "seconds"), list(product((50.03, 49.95, 60.02), (2.0, 10.0))))
def test_hum_under_music_is_found(fundamental: float, seconds: float) -> None:
    # The error of a fit at -40 dB, and hum at -50 dB of the sound: -10 dB of what is left over.
    signal = residual(seconds, 1) + hum(fundamental, {1: 0.45, 2: 0.15, 3: 0.2}, seconds)
    lines = mains_lines(signal, RATE)
    assert lines
    # The phase at the ends stays within a tenth of a radian.
    assert lines[0] / round(lines[0] / fundamental) == pytest.approx(fundamental, abs=0.1 / (np.pi * seconds))
    assert {round(line / fundamental) for line in lines} >= {1}


def test_fundamental_and_harmonics_of_clean_hum_are_exact() -> None:
    amplitudes = {1: 1.0, 2: 0.2, 3: 0.5, 7: 0.1}
    signal = hum(50.03, amplitudes, 3.0) + 1e-3 * np.random.default_rng(0).standard_normal(3 * RATE)
    lines = mains_lines(signal, RATE)
    assert lines == pytest.approx([k * 50.03 for k in amplitudes], rel=1e-6)


@pytest.mark.parametrize("seconds", [0.9, 2.0, 10.0])
def test_music_and_noise_are_no_hum(seconds: float) -> None:
    assert mains_lines(residual(seconds, 2), RATE) == ()
    assert mains_lines(np.random.default_rng(3).standard_normal(round(seconds * RATE)), RATE) == ()


def test_the_low_strings_of_a_bass_are_no_hum() -> None:
    # G1 is at 49 Hz, and B1 at 61.7 Hz.
    for frequency in (48.999, 61.735):
        assert mains_lines(plucked_string(frequency, 4.0, RATE), RATE) == ()


def test_the_rate_makes_no_difference() -> None:
    for rate in (22050, 48000, 96000):
        time = np.arange(2 * rate) / rate
        signal = np.cos(2.0 * np.pi * 60.01 * time) + 1e-3 * np.random.default_rng(0).standard_normal(len(time))
        assert mains_lines(signal, rate) == pytest.approx([60.01], rel=1e-6)
