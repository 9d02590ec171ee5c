"""The rate converters against what a converter must do, measured on signals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from circuitnn.oversampling import (
    FACTORS,
    HALF_LENGTH,
    coefficients,
    downsample,
    downsample_adjoint,
    upsample,
    upsample_adjoint,
)

RATES = [factor for factor in FACTORS if factor > 1]


def up(signal: Tensor, factor: int) -> Tensor:
    """signal [time] -> [time * factor], from silence."""
    return upsample(signal[None, :, None], torch.zeros(1, 2 * HALF_LENGTH, 1, dtype=torch.float64), factor)[0][0, :, 0]


def down(signal: Tensor, factor: int) -> Tensor:
    history = torch.zeros(1, 2 * HALF_LENGTH * factor, 1, dtype=torch.float64)
    return downsample(signal[None, :, None], history, factor)[0][0, :, 0]


def tone(frequency: float, time: int, phase: float = 0.3) -> Tensor:
    """A cosine; frequency in cycles per sample."""
    return torch.cos(2.0 * torch.pi * frequency * torch.arange(time, dtype=torch.float64) + phase)


SETTLED = slice(4 * HALF_LENGTH, None)


@pytest.mark.parametrize("factor", RATES)
def test_direct_current_passes_unchanged(factor: int) -> None:
    ones = torch.ones(400, dtype=torch.float64)
    high = up(ones, factor)
    # Each of the polyphase branches has its own DC gain; they differ by what the stop band lets through.
    torch.testing.assert_close(
        high[4 * HALF_LENGTH * factor :], torch.ones_like(high[4 * HALF_LENGTH * factor :]), rtol=0, atol=2e-5
    )
    low = down(torch.ones(400 * factor, dtype=torch.float64), factor)
    torch.testing.assert_close(low[SETTLED], torch.ones_like(low[SETTLED]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", RATES)
@pytest.mark.parametrize("frequency", [0.01, 0.1, 0.25, 0.4, 0.45])
def test_the_pass_band_is_a_pure_delay(factor: int, frequency: float) -> None:
    """A tone at the base rate comes out as the same tone at the high rate, HALF_LENGTH base samples later, and back."""
    time = 600
    high = up(tone(frequency, time), factor)
    expected = tone(frequency / factor, time * factor, 0.3 - 2.0 * np.pi * frequency * HALF_LENGTH)
    torch.testing.assert_close(high[SETTLED.start * factor :], expected[SETTLED.start * factor :], rtol=0, atol=3e-5)
    low = down(tone(frequency / factor, time * factor), factor)
    expected = tone(frequency, time, 0.3 - 2.0 * np.pi * frequency * HALF_LENGTH)
    torch.testing.assert_close(low[SETTLED], expected[SETTLED], rtol=0, atol=3e-5)


@pytest.mark.parametrize("factor", RATES)
def test_the_stop_band(factor: int) -> None:
    """Tones above 0.55 of the base rate, which would alias, arrive at least 95 dB down."""
    for frequency in np.linspace(0.55, factor / 2.0, 60):
        aliased = down(tone(float(frequency) / factor, 400 * factor), factor)[SETTLED]
        assert 20.0 * np.log10(float(aliased.abs().max())) < -95.0, frequency
    # On the way up, nothing but the tone may come out: its images are what the stop band removes.
    high = up(tone(0.2, 1024 + 2 * HALF_LENGTH), factor)[2 * HALF_LENGTH * factor :][: 1000 * factor]
    spectrum = torch.fft.rfft(high * torch.hann_window(len(high), periodic=False, dtype=torch.float64) ** 2).abs()
    frequencies = torch.linspace(0.0, factor / 2.0, len(spectrum))
    assert 20.0 * np.log10(float(spectrum[frequencies > 0.55].max() / spectrum.max())) < -95.0


@pytest.mark.parametrize("factor", RATES)
def test_up_then_down_delays_a_band_limited_signal(factor: int) -> None:
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.randn(401, dtype=torch.complex128, generator=generator)
    spectrum[361:] = 0.0  # nothing above 0.45 of the sample rate
    signal = torch.fft.irfft(spectrum, n=800).repeat(2)
    back = down(up(signal, factor), factor)
    error = (
        back[SETTLED] - signal[: len(signal) - 2 * HALF_LENGTH][2 * HALF_LENGTH :]
    ).abs().max() / signal.abs().max()
    assert float(error) < 6e-5


@pytest.mark.parametrize("factor", RATES)
def test_the_filter_is_symmetric_and_peaks_at_the_stated_delay(factor: int) -> None:
    impulse = torch.zeros(200, dtype=torch.float64)
    impulse[10] = 1.0
    high = up(impulse, factor)
    assert int(high.argmax()) == (10 + HALF_LENGTH) * factor
    assert torch.equal(coefficients(factor), coefficients(factor).flip(0))
    reach = HALF_LENGTH * factor
    centre = (10 + HALF_LENGTH) * factor
    assert not high[: centre - reach].any()
    assert not high[centre + reach + 1 :].any()


@settings(max_examples=60)
@given(
    factor=st.sampled_from(RATES),
    time=st.integers(1, 300),
    cuts=st.lists(st.integers(0, 300), max_size=5),
    channels=st.integers(1, 3),
)
def test_chunks_equal_the_whole(factor: int, time: int, cuts: list[int], channels: int) -> None:
    generator = torch.Generator().manual_seed(time)
    signal = torch.randn(2, time, channels, dtype=torch.float64, generator=generator)
    up_history = torch.randn(2, 2 * HALF_LENGTH, channels, dtype=torch.float64, generator=generator)
    down_history = torch.randn(2, 2 * HALF_LENGTH * factor, channels, dtype=torch.float64, generator=generator)
    whole, up_end = upsample(signal, up_history, factor)
    back, down_end = downsample(whole, down_history, factor)
    edges = [0, *sorted(min(cut, time) for cut in cuts), time]
    highs, lows = [], []
    for first, last in pairwise(edges):
        high, up_history = upsample(signal[:, first:last], up_history, factor)
        low, down_history = downsample(high, down_history, factor)
        highs.append(high)
        lows.append(low)
    torch.testing.assert_close(torch.cat(highs, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat(lows, 1), back, rtol=0, atol=1e-12)
    assert torch.equal(up_history, up_end)
    torch.testing.assert_close(down_history, down_end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", RATES)
def test_the_converters_are_each_others_transpose(factor: int) -> None:
    """<down(a), b> = <a, up(b)> / factor once both delays are taken out: they use one and the same filter."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.zeros(300 * factor, dtype=torch.float64), torch.zeros(300, dtype=torch.float64)
    a[100 * factor : 150 * factor] = torch.randn(50 * factor, dtype=torch.float64, generator=generator)
    b[90:160] = torch.randn(70, dtype=torch.float64, generator=generator)
    left = down(a, factor)[HALF_LENGTH:] @ b[: len(b) - HALF_LENGTH]
    right = a[: len(a) - HALF_LENGTH * factor] @ up(b, factor)[HALF_LENGTH * factor :] / factor
    assert float(left) == pytest.approx(float(right), rel=1e-10)


@settings(max_examples=80)
@given(
    factor=st.sampled_from(RATES), time=st.integers(0, 300), channels=st.integers(1, 3), batch=st.integers(1, 2),
    upwards=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_adjoints_are_exact_transposes(
    factor: int, time: int, channels: int, batch: int, upwards: bool, seed: int
) -> None:
    """<J (s, h), (a, b)> = <(s, h), J^T (a, b)> for signal and history, and what comes out of both."""
    generator = torch.Generator().manual_seed(seed)

    def noise(length: int) -> Tensor:
        return torch.randn(batch, length, channels, dtype=torch.float64, generator=generator)

    memory = 2 * HALF_LENGTH * (1 if upwards else factor)
    signal, history = noise(time * (1 if upwards else factor)), noise(memory)
    convert, transpose = (upsample, upsample_adjoint) if upwards else (downsample, downsample_adjoint)
    results = convert(signal, history, factor)
    bars = noise(results[0].shape[1]), noise(memory)
    back = transpose(*bars, factor)
    assert [part.shape for part in back] == [signal.shape, history.shape]
    forward = sum(float((a * b).sum()) for a, b in zip(results, bars, strict=True))
    backward = sum(float((a * b).sum()) for a, b in zip((signal, history), back, strict=True))
    assert forward == pytest.approx(backward, rel=1e-11, abs=1e-11 * (1.0 + time))
