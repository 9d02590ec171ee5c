"""Probes of models whose answers are known in closed form: polynomials, filters, and one after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import butter, freqz, lfilter

from circuitnn.probing import (
    HARMONICS,
    Play,
    Signal,
    aliasing,
    harmonic_difference,
    harmonics,
    spectral_difference,
    transfer_curve,
)

RATE = 44100


def polynomial(x: Signal) -> Signal:
    return x + 0.3 * x**2 - 0.2 * x**3


def filtered(x: Signal) -> Signal:
    return np.asarray(lfilter(*butter(2, 3000.0, fs=RATE), x))


@pytest.mark.parametrize("amplitude", [1.0, 0.1])
def test_harmonics_of_a_polynomial(amplitude: float) -> None:
    """sin^2 and sin^3 in multiples of the angle: A - 3/4 0.2 A^3, 0.3 A^2 / 2, 0.2 A^3 / 4, and nothing above."""
    found = harmonics(polynomial, RATE, amplitude)
    expected = np.array([1.0 - 0.15 * amplitude**2, 0.15 * amplitude, 0.05 * amplitude**2])
    middle = (found.frequencies > 60.0) & (found.frequencies < 5000.0)
    np.testing.assert_allclose(
        found.amplitudes[:3, middle], np.tile(expected[:, None], middle.sum()), rtol=0.02, atol=2e-4
    )
    assert np.nanmax(found.amplitudes[3:, middle]) < 1e-4
    beyond = found.frequencies[None] * np.arange(1, HARMONICS + 1)[:, None] > 0.45 * RATE
    np.testing.assert_array_equal(np.isnan(found.amplitudes), beyond)


def test_a_filter_behind_sees_the_harmonics_frequencies() -> None:
    found = harmonics(lambda x: filtered(polynomial(x)), RATE, 1.0)
    middle = (found.frequencies > 60.0) & (found.frequencies < 5000.0)
    for m, size in enumerate((0.85, 0.15, 0.05), 1):
        _, gain = freqz(*butter(2, 3000.0, fs=RATE), worN=m * found.frequencies[middle], fs=RATE)
        np.testing.assert_allclose(found.amplitudes[m - 1, middle], size * np.abs(gain), rtol=0.03, atol=2e-4)


def test_an_offset_does_not_disturb() -> None:
    plain, offset = (harmonics(lambda x, c=c: polynomial(x) + c, RATE, 0.5) for c in (0.0, 0.4))
    np.testing.assert_allclose(offset.amplitudes, plain.amplitudes, atol=1e-6)


def test_differences_in_decibels() -> None:
    one = harmonics(polynomial, RATE, 1.0)
    louder = harmonics(lambda x: 2.0 * polynomial(x), RATE, 1.0)
    assert spectral_difference(louder, one) == pytest.approx(20.0 * math.log10(2.0), abs=1e-6)
    assert spectral_difference(one, one) == harmonic_difference(one, one) == 0.0
    more = harmonics(lambda x: x + 0.6 * x**2 - 0.2 * x**3, RATE, 1.0)
    # The second harmonic is 6 dB stronger, the third as strong; the two above are below the floor of both.
    assert 2.0 < harmonic_difference(more, one, -40.0) < 4.5
    assert harmonic_difference(harmonics(filtered, RATE, 1.0), harmonics(filtered, RATE, 0.5), -60.0) < 0.2


@pytest.mark.parametrize(("play", "sign"), [(np.tanh, 1.0), (lambda x: -np.tanh(x), -1.0)])
def test_the_transfer_curve_of_a_clipper(play: Play, sign: float) -> None:
    found = transfer_curve(play, RATE, 3.0)
    np.testing.assert_allclose(found.inputs, np.sort(found.inputs))
    assert found.inputs[-1] == pytest.approx(3.0)
    np.testing.assert_allclose(found.outputs, sign * np.tanh(found.inputs), rtol=2e-4)


def test_an_asymmetric_curve_keeps_its_sides() -> None:
    """x for one sign and x / 2 for the other: a mean of A / 2 pi, which is left out."""
    found = transfer_curve(lambda x: np.where(x > 0.0, x, 0.5 * x), RATE, 1.0)
    mean = 0.5 * np.abs(found.inputs) / np.pi
    np.testing.assert_allclose(
        found.outputs, np.where(found.inputs > 0.0, found.inputs, 0.5 * found.inputs) - mean, atol=1e-4
    )


def test_the_aliases_of_a_cubic() -> None:
    """sin^3 = 3/4 sin x - 1/4 sin 3x, and 3 x 9001 Hz folds back to 17097 Hz."""
    (tone,) = aliasing(lambda x: x**3, RATE, 0.5, (9001,))
    assert tone.ratio == pytest.approx(20.0 * math.log10(1.0 / 3.0), abs=1e-6)
    assert tone.frequency == 9001


def test_what_cannot_be_told_is_not_a_number() -> None:
    """2000 Hz at 8 kHz: aliases on harmonics; 4186 Hz: beyond half the rate; and a model that is silent."""
    simple, beyond = aliasing(polynomial, 8000, 0.5, (2000, 4186))
    (silent,) = aliasing(np.zeros_like, 8000, 0.5, (1245,))
    assert all(math.isnan(tone.ratio) and math.isnan(tone.audible) for tone in (simple, beyond, silent))
