"""Metrics against closed forms, the standard's own figures, and librosa and pyloudnorm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference.hearing import PATH, SETTINGS, sounds

from circuitnn import metrics
from circuitnn.cepstrum import mfcc, mfcc_cosine, mfcc_difference, mushra_prediction
from circuitnn.errors import CircuitnnError
from circuitnn.loudness import at_loudness, k_weighting, loudness

RATE = 48000
REFERENCE = json.loads(PATH.read_text())


def sine(frequency: float, decibels: float, seconds: float, rate: int = RATE) -> NDArray[np.float64]:
    """decibels: of the peak, below full scale."""
    return 10.0 ** (decibels / 20.0) * np.sin(2.0 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def test_ratios_by_hand() -> None:
    output, target = np.array([1.0, 2.0, -1.0, 0.0]), np.array([2.0, 2.0, 2.0, 2.0])
    assert metrics.esr(output, target) == pytest.approx(14.0 / 16.0, rel=1e-12)
    assert metrics.nrmse(output, target) == pytest.approx(math.sqrt(14.0) / 4.0, rel=1e-12)
    assert metrics.snr(output, target) == pytest.approx(10.0 * math.log10(16.0 / 14.0), rel=1e-12)
    assert metrics.dc(output, target) == pytest.approx((0.5 - 2.0) ** 2 / 4.0, rel=1e-12)
    assert metrics.snr(target, target) == math.inf
    # No gain makes anything of silence.
    assert metrics.esr_gain_free(np.zeros(4), target) == 1.0


def test_k_weighting_is_the_standards() -> None:
    """ITU-R BS.1770-4, tables 1 and 2: coefficients at 48 kHz."""
    (b, a), (high_b, high_a) = k_weighting(48000.0)
    np.testing.assert_allclose(b, [1.53512485958697, -2.69169618940638, 1.19839281085285], rtol=0.0, atol=1e-13)
    np.testing.assert_allclose(a, [1.0, -1.69065929318241, 0.73248077421585], rtol=0.0, atol=1e-13)
    np.testing.assert_allclose(high_b, [1.0, -2.0, 1.0])
    np.testing.assert_allclose(high_a, [1.0, -1.99004745483398, 0.99007225036621], rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_a_full_scale_sine_has_the_standards_loudness(rate: int) -> None:
    """-3.01 LKFS in one channel at 997 Hz, says the standard's annex 1, and 20 dB less 20 dB below; ITU-R BS.2217
    allows meters 0.1. The high-pass's unscaled numerator alone makes 0.02 between 48 and 96 kHz."""
    assert loudness(sine(997.0, 0.0, 4.0, rate), rate) == pytest.approx(-3.01, abs=0.02)
    assert loudness(sine(997.0, -20.0, 4.0, rate), rate) == pytest.approx(-23.01, abs=0.02)


@pytest.mark.parametrize(
    "parts",
    [
        # EBU Tech 3341 (2016), test signals 3 and 4: level of a stereo sine in dBFS, and seconds; all of -23 LUFS.
        [(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)],
        [(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)],
    ],
)
def test_quiet_parts_are_gated(parts: list[tuple[float, float]]) -> None:
    """One channel of the two has half of their power."""
    signal = np.concatenate([sine(1000.0, decibels, seconds) for decibels, seconds in parts])
    assert loudness(signal, RATE) == pytest.approx(-23.0 - 10.0 * math.log10(2.0), abs=0.1)


@given(st.floats(-30.0, 0.0))
def test_loudness_follows_the_level(decibels: float) -> None:
    signal = sounds()["noise"][0]
    louder = loudness(10.0 ** (decibels / 20.0) * signal, RATE) - loudness(signal, RATE)
    assert louder == pytest.approx(decibels, abs=1e-9)
    assert loudness(at_loudness(signal, RATE, -16.0), RATE) == pytest.approx(-16.0, abs=1e-9)


def test_silence_and_too_little_have_no_loudness() -> None:
    assert loudness(np.zeros(RATE), RATE) == -math.inf
    np.testing.assert_array_equal(at_loudness(np.zeros(RATE), RATE, -16.0), np.zeros(RATE))
    with pytest.raises(CircuitnnError, match=r"at least 0\.4 s to measure loudness, found 0\.1 s"):
        loudness(np.ones(RATE // 10), RATE)


@pytest.mark.parametrize("name", ["chord", "noise", "clipped"])
def test_loudness_and_mfcc_equal_pyloudnorm_and_librosa(name: str) -> None:
    signal, rate = sounds()[name]
    assert loudness(signal, rate) == pytest.approx(REFERENCE[name]["loudness"], abs=1e-6)
    for key, settings in SETTINGS.items():
        found = mfcc(signal, rate, *settings)
        assert list(found.shape) == REFERENCE[name][f"{key}_shape"]
        chosen = np.column_stack([found[:, [0, found.shape[1] // 2, -1]], found.mean(1)])
        np.testing.assert_allclose(chosen, REFERENCE[name][key], rtol=1e-6, atol=1e-6)


def test_mfcc_distances() -> None:
    chord, rate = sounds()["chord"]
    clipped, _ = sounds()["clipped"]
    # Neither hears a gain, and equal sounds are at no distance.
    for distance in (mfcc_cosine, mfcc_difference):
        assert distance(0.3 * chord, chord, rate) == pytest.approx(0.0, abs=1e-9)
        assert distance(clipped, chord, rate) > distance(chord + 0.1 * clipped, chord, rate) > 1e-4


def test_the_difference_is_taken_where_the_target_is_loudest() -> None:
    """What differs outside of the 3 s with most energy does not count."""
    noise = np.random.default_rng(0).standard_normal(8 * 16000)
    target = noise * np.repeat([0.01, 0.01, 0.01, 0.1, 0.1, 0.1, 0.01, 0.01], 16000)
    output = target.copy()
    output[: 2 * 16000] = 0.02
    assert mfcc_difference(output, target, 16000) == 0.0
    output[4 * 16000 :] = 0.02
    assert mfcc_difference(output, target, 16000) > 1.0


@pytest.mark.parametrize(
    ("difference", "score"),
    [(0.0, 100.0), (10.0**0.464, 100.0), (10.0**1.464, 30.6), (10.0**0.964, 65.3), (1e3, 0.0)],
)
def test_the_mushra_prediction(difference: float, score: float) -> None:
    assert mushra_prediction(difference) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("error", [metrics.esr, metrics.esr_gain_free, metrics.esr_preemphasis])
def test_long_signals_are_worked_on_in_pieces(monkeypatch: pytest.MonkeyPatch, error: Callable[..., float]) -> None:
    output, target = np.random.default_rng(0).standard_normal((2, 50))
    whole = error(output, target)
    for piece in (1, 7, 49, 50):
        monkeypatch.setattr(metrics, "PIECE", piece)
        assert error(output, target) == pytest.approx(whole, rel=1e-12)
