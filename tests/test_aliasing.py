"""The aliasing-to-signal ratio on signals whose aliases are known, and on circuits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from circuitnn.aliasing import measure_aliasing
from circuitnn.errors import CircuitnnError
from circuitnn.metrics import aliasing_to_signal_ratio
from circuitnn.netlist import read_netlist

RATE = 44100
NETLISTS = Path(__file__).parents[1] / "netlists"


def tones(parts: dict[float, float], length: int = RATE) -> NDArray[np.float64]:
    """A sum of sines; parts: frequency in Hz -> amplitude."""
    time = np.arange(length) / RATE
    return np.sum([a * np.sin(2.0 * np.pi * f * time + f) for f, a in parts.items()], axis=0)


@pytest.mark.parametrize("frequency", [1245, 2489, 4186])
@pytest.mark.parametrize("level", [1.0, 1e-3, 1e-6])
def test_a_known_alias(frequency: int, level: float) -> None:
    """A harmonic above half the sample rate, folded back."""
    order = math.ceil(RATE / 2 / frequency)
    signal = tones({frequency: 1.0, 3 * frequency: 0.5, RATE - order * frequency: level})
    expected = 10.0 * math.log10(level**2 / (1.0 + 0.5**2))
    assert aliasing_to_signal_ratio(signal, frequency, RATE) == pytest.approx(expected, abs=1e-6)


def test_harmonics_and_direct_current_are_no_aliases() -> None:
    signal = 3.0 + tones({1245.0 * m: 1.0 / m for m in range(1, 18)})
    assert aliasing_to_signal_ratio(signal, 1245, RATE) < -220.0


def test_every_alias_of_a_sampled_square_wave_is_counted() -> None:
    """Harmonics 1, 3, 5 ... of amplitude 1/m, those above half the sample rate folded back by sampling."""
    orders = np.arange(1, 301, 2)
    signal = tones({1245.0 * m: 1.0 / m for m in orders})
    below = orders * 1245.0 < RATE / 2
    expected = 10.0 * math.log10(np.sum(1.0 / orders[~below] ** 2) / np.sum(1.0 / orders[below] ** 2))
    assert aliasing_to_signal_ratio(signal, 1245, RATE) == pytest.approx(expected, abs=1e-6)


def test_the_bin_at_half_the_sample_rate_counts_once() -> None:
    signal = tones({1245.0: 1.0}) + 0.1 * (-1.0) ** np.arange(RATE)
    # A sine of amplitude a has the energy a^2 / 2, an alternating sequence a^2.
    assert aliasing_to_signal_ratio(signal, 1245, RATE) == pytest.approx(10.0 * math.log10(0.01 / 0.5), abs=1e-6)


def test_the_band_leaves_out_what_lies_above() -> None:
    signal = tones({2489.0: 1.0, 21699.0: 0.1, 7000.0: 1e-4})
    assert aliasing_to_signal_ratio(signal, 2489, RATE, 20000.0) == pytest.approx(-80.0, abs=1e-6)


@pytest.mark.parametrize(
    ("length", "frequency", "message"),
    [
        (44000, 1245.0, "not a whole number"),
        (RATE, 1245.3, "not a whole number"),
        (RATE, 0.0, "not a whole number"),
        (RATE, 23000.0, "not below half the sample rate"),
        (RATE, 2205.0, "fall on its harmonics"),
    ],
)
def test_what_cannot_be_measured_is_named(length: int, frequency: float, message: str) -> None:
    with pytest.raises(CircuitnnError, match=message):
        aliasing_to_signal_ratio(np.ones(length), frequency, RATE)
    with pytest.raises(CircuitnnError, match="nothing at"):
        aliasing_to_signal_ratio(np.zeros(RATE), 1245, RATE)


def test_a_linear_circuit_does_not_alias() -> None:
    circuit = read_netlist(NETLISTS / "rc_lowpass.cir")
    for result in measure_aliasing(circuit, factors=(1, 4), frequencies=(1245, 4186)):
        # Images of the rate conversion are 95 dB down on the way up and on the way down.
        assert result.ratio < (-200.0 if result.oversample == 1 else -180.0)


def test_oversampling_reduces_the_aliasing_of_a_clipper() -> None:
    results = measure_aliasing(read_netlist(NETLISTS / "ts808_clipper.cir"), factors=(1, 2, 4), knobs={"drive": 1.0})
    assert [(result.oversample, result.frequency) for result in results] == [
        (factor, frequency) for factor in (1, 2, 4) for frequency in (1245, 2489, 4186)
    ]
    for frequency in (1245, 2489, 4186):
        audible = [result.audible for result in results if result.frequency == frequency]
        assert audible[0] - 6.0 > audible[1] > audible[2] + 6.0


def test_the_ratio_agrees_with_a_waveshaper_in_closed_form() -> None:
    """A cubic without oversampling: sin^3 = 3/4 sin x - 1/4 sin 3x, and 3 x 9001 Hz folds back to 17097 Hz."""
    signal = tones({9001.0: 1.0}) ** 3
    assert aliasing_to_signal_ratio(signal, 9001, RATE) == pytest.approx(20.0 * math.log10(1.0 / 3.0), abs=1e-6)
