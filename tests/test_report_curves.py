"""The curves of a report against closed forms."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist
from circuitnn.report.curves import HARMONICS, LEVELS, learned_law, level_band, level_sweep, small_signal_gain
from circuitnn.report.residual import BLOCK, band_levels, block_powers, decibels, spectrogram, worst_stretch

RATE = 44100.0
HEADER = "a test\n*@ input Vin\n*@ output out\nVin in 0 0\n"
IS, N, R = 1e-9, 1.8, 10e3
# At 27 degrees Celsius, from the exact constants of the SI.
THERMAL = 1.380649e-23 * 300.15 / 1.602176634e-19


def model(cards: str, oversample: int = 1) -> CircuitModel:
    return CircuitModel(parse_netlist(f"{HEADER}{cards}\n.end\n"), RATE * oversample, 1, learn=())


def test_the_small_signal_gain_of_a_low_pass_is_its_formula() -> None:
    frequencies = (10.0, 1e3, 15e3)
    gain = small_signal_gain(model("R1 in out 10k\nC1 out 0 1n"), {}, frequencies)
    expected = 1.0 / (1.0 + 2j * np.pi * np.array(frequencies) * 1e-5)
    np.testing.assert_allclose(gain, expected, rtol=1e-9)


def test_the_band_of_a_low_pass_is_its_formula() -> None:
    frequencies = np.array([10.0, 1e3, 15e3])
    circuit = parse_netlist(f"{HEADER}R1 in out 10k\nC1 out 0 1n\n.end\n")
    learned = CircuitModel(circuit, RATE, 1, learn=["R1", "C1"])
    # |H|^2 = 1 / (1 + a), a = (2 pi f R C)^2: the level falls by 20 / ln 10 * a / (1 + a) dB for each e-fold of R or C.
    a = (2.0 * np.pi * frequencies * 1e-5) ** 2
    slope = 20.0 / np.log(10.0) * a / (1.0 + a)
    apart = level_band(learned, {}, frequencies.tolist(), np.diag([0.05, 0.1]) ** 2)
    np.testing.assert_allclose(apart, slope * np.hypot(0.05, 0.1), rtol=1e-5)
    # Values that are only known as a product, and the product well.
    tied = np.array([[1.0, -1.0], [-1.0, 1.0]]) * 0.3**2 + 0.001**2
    np.testing.assert_allclose(level_band(learned, {}, frequencies.tolist(), tied), slope * 0.002, rtol=1e-5)
    assert bool((learned.free == 0.0).all())


def test_a_linear_circuit_has_one_gain_and_no_harmonics() -> None:
    found = level_sweep(model("R1 in out 3k\nR2 out 0 1k"), {}, 2.0)
    np.testing.assert_allclose(found.amplitudes[[0, -1]], [2.0 * 10.0 ** (LEVELS[0] / 20.0), 2.0])
    np.testing.assert_allclose(found.harmonics[:, 0], 0.25 * found.amplitudes, rtol=1e-9)
    assert (found.harmonics[:, 1:] < 1e-9 * found.amplitudes[:, None]).all()
    # Twenty periods on 882 samples: the peaks are nearly met.
    np.testing.assert_allclose(found.peaks, 0.25 * np.outer(found.amplitudes, [1.0, -1.0]), rtol=2e-3)
    assert found.frequency == pytest.approx(1000.0)
    assert found.failures == ""


def test_an_inverting_circuit_has_its_peaks_the_other_way_round() -> None:
    found = level_sweep(model("E1 out 0 0 in 2\nR1 out 0 1k"), {}, 1.0)
    assert (found.peaks[:, 0] < 0.0).all()
    assert (found.peaks[:, 1] > 0.0).all()


def test_the_harmonics_of_a_diode_clipper_are_those_of_its_curve() -> None:
    """u = v + 2 R Is sinh(v / (n V_T)), solved for v point by point."""
    cards = f"R1 in out {R}\nD1 out 0 DX\nD2 0 out DX\n.model DX D(IS={IS} N={N})"
    found = level_sweep(model(cards, oversample=4), {}, 3.0)
    phase = 2.0 * np.pi * np.arange(256) / 256

    def clipped(u: float) -> float:
        return float(brentq(lambda v: v + 2.0 * R * IS * np.sinh(v / (N * THERMAL)) - u, -2.0, 2.0, xtol=1e-14))

    for level in (0, 12, len(LEVELS) - 1):
        v = np.array([clipped(float(u)) for u in found.amplitudes[level] * np.sin(phase)])
        expected = np.abs(np.fft.rfft(v))[1 : HARMONICS + 1] * 2.0 / 256
        np.testing.assert_allclose(found.harmonics[level, 0::2], expected[0::2], rtol=1e-3, atol=1e-8)
        # Odd alone: the curve is odd.
        assert (found.harmonics[level, 1::2] < 1e-8 * expected[0]).all()
        assert found.peaks[level, 0] == pytest.approx(clipped(float(found.amplitudes[level])), rel=1e-3)


def test_one_diode_makes_even_harmonics() -> None:
    found = level_sweep(model(f"R1 in out {R}\nD1 out 0 DX\n.model DX D(IS={IS} N={N})", oversample=4), {}, 3.0)
    assert found.harmonics[-1, 1] > 0.1 * found.harmonics[-1, 0]


def test_harmonics_beyond_half_the_sample_rate_are_not_numbers() -> None:
    low = CircuitModel(parse_netlist(f"{HEADER}R1 in out 1k\nR2 out 0 1k\n.end\n"), 8000.0, 1, learn=())
    found = level_sweep(low, {}, 1.0)
    assert np.isfinite(found.harmonics).all(0).tolist() == [True] * 3 + [False] * 4


def test_knobs_count() -> None:
    knob = "R1 in out {1k + 2k*drive}\nR2 out 0 1k\n.param drive=0.5\n*@ knob drive 0.5"
    turned = model(knob)
    assert abs(small_signal_gain(turned, {"drive": 1.0}, (1e3,))[0]) == pytest.approx(0.25)
    assert level_sweep(turned, {"drive": 0.0}, 1.0).harmonics[-1, 0] == pytest.approx(0.5)


def test_the_worst_stretch_is_found() -> None:
    target, output = np.zeros(44100), np.zeros(44100)
    output[30000:30100] = 0.1
    begin, end = worst_stretch(target, output, 882)
    assert end - begin == 882
    assert begin <= 30000
    assert end >= 30100
    assert worst_stretch(target, output, 10**6) == (0, 44100)


def sine(frequency: float, amplitude: float = 1.0) -> NDArray[np.float64]:
    return amplitude * np.sin(2.0 * np.pi * frequency * np.arange(round(RATE)) / RATE)


def test_powers_of_blocks_are_mean_squares() -> None:
    signal = np.concatenate([sine(1000.0, 0.5), np.zeros(round(RATE))])
    times, powers = block_powers(signal, RATE)
    assert len(times) == round(2.0 / BLOCK)
    np.testing.assert_allclose(powers[times < 1.0], 0.125, rtol=1e-3)
    assert (powers[times > 1.0] == 0.0).all()
    assert len(block_powers(signal[:10], RATE)[0]) == 1
    times, powers = block_powers(signal, RATE, 4)
    np.testing.assert_allclose(times, [0.25, 0.75, 1.25, 1.75])
    np.testing.assert_allclose(powers, [0.125, 0.125, 0.0, 0.0], rtol=1e-3, atol=1e-12)


def test_the_bands_of_white_noise_rise_by_3_db_an_octave_and_hold_its_power() -> None:
    noise = np.random.default_rng(1).standard_normal(10 * round(RATE))
    frequencies, levels = band_levels(noise, RATE)
    middle = (frequencies > 100.0) & (frequencies < 18e3)
    slope = np.polyfit(np.log2(frequencies[middle]), levels[middle], 1)[0]
    assert slope == pytest.approx(10.0 * np.log10(2.0), abs=0.1)
    assert 10.0 * np.log10(np.sum(10.0 ** (levels / 10.0))) == pytest.approx(10.0 * np.log10(20e3 / 22050.0), abs=0.3)


@pytest.mark.parametrize("frequency", [100.0, 440.0, 5000.0])
def test_a_spectrogram_shows_a_sine_where_it_is_and_how_loud(frequency: float) -> None:
    frequencies, levels = spectrogram(sine(frequency, 0.5), RATE)
    loudest = frequencies[levels.mean(1).argmax()]
    assert abs(np.log2(loudest / frequency)) < 0.5
    # -9 dB, less what a bin beside the sine loses.
    assert levels.max() == pytest.approx(decibels(np.array(0.125)), abs=1.5)
    assert np.ptp(levels[levels.mean(1).argmax()]) < 0.5


@pytest.mark.parametrize("function", [partial(spectrogram, rate=RATE), partial(band_levels, rate=RATE)])
@pytest.mark.parametrize("length", [2, 300, 2000])
def test_short_signals_have_pictures_too(function: partial[tuple[NDArray[np.float64], ...]], length: int) -> None:
    assert all(np.isfinite(part).all() for part in function(sine(1000.0)[:length]))


def test_a_learned_law_and_its_band_are_the_formula() -> None:
    """Untrained it is Shockley's, and the factor of its current is off by as much as the current is."""
    cards = f"R1 in out 1k\nD1 out 0 DS\n.model DS D(IS={IS} N={N})\n*@ network D1 units=4 reach=0.8\n.end\n"
    circuit = parse_netlist(f"{HEADER}{cards}")
    learned = CircuitModel(circuit, RATE, 1)
    spread = np.zeros((6, 6))
    spread[0, 0] = 0.3**2
    doubled = {name: float(value) for name, value in circuit.networks[0].values.items()} | {"D1.forward_current": 2.0}
    found = learned_law(learned, circuit.networks[0], {}, doubled, spread)
    assert (found.voltage[0], found.voltage[-1]) == pytest.approx((-0.8, 0.8))
    current = IS * np.expm1(found.voltage / (N * THERMAL))
    np.testing.assert_allclose(found.nominal, current, rtol=2e-3, atol=1e-20)
    np.testing.assert_allclose(found.fitted, 2.0 * current, rtol=2e-3, atol=1e-20)
    np.testing.assert_allclose(found.reach[found.voltage > 0.1], 0.3, rtol=1e-3)
