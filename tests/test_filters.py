"""Filters in chunks, against numpy's convolution and their own definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from circuitnn import filters
from circuitnn.errors import CompilerError


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(source: str, wide: bool = False) -> None:
        raise CompilerError("no C++ compiler was found")

    monkeypatch.setattr(filters, "compile_library", none)
    monkeypatch.setattr(filters, "_compiled", filters._compiled.__wrapped__)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def check(responses: Tensor, signal: Tensor, stride: int) -> None:
    made = filters.convolve(responses, signal, stride).numpy()
    phases, length = responses.shape
    for recording, own in zip(signal.numpy(), made, strict=True):
        for channel in range(signal.shape[2]):
            for phase in range(phases):
                whole = np.convolve(recording[:, channel], responses[phase].numpy(), mode="full")
                expected = whole[length - 1 : len(recording)][::stride]
                np.testing.assert_allclose(own[phase::phases, channel], expected, rtol=0, atol=1e-12)


sizes = {
    "phases": st.integers(1, 3), "length": st.integers(1, 40), "time": st.integers(0, 90), "batch": st.integers(1, 2),
    "channels": st.integers(1, 19), "stride": st.integers(1, 4),
}  # fmt: skip


@given(**sizes)
def test_convolution_is_numpys(phases: int, length: int, time: int, batch: int, channels: int, stride: int) -> None:
    time = max(time, length)
    check(noise(phases, length), noise(batch, time, channels, seed=1), stride)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_a_compiler(without_compiler: None, channels: int) -> None:
    check(noise(2, 9), noise(2, 50, channels, seed=1), 3)
    assert filters.convolve(noise(2, 9), noise(1, 5, channels)).shape == (1, 0, channels)


@given(length=st.integers(1, 30), time=st.integers(0, 60), channels=st.integers(1, 3), rate=st.integers(1, 4),
       several=st.booleans())  # fmt: skip
def test_the_adjoint_is_the_transpose(length: int, time: int, channels: int, rate: int, several: bool) -> None:
    """<convolve(s), b> = <s, adjoint(b)>, with several responses or a stride."""
    responses, stride = noise(rate if several else 1, length), 1 if several else rate
    signal = noise(2, length - 1 + time, channels, seed=1)
    made = filters.convolve(responses, signal, stride)
    bar = noise(*made.shape, seed=2)
    back = filters.convolve_adjoint(responses, bar, stride, signal.shape[1])
    assert back.shape == signal.shape
    forward, backward = float((made * bar).sum()), float((signal * back).sum())
    assert forward == pytest.approx(backward, rel=1e-11, abs=1e-11 * (1.0 + time * length))


def test_what_is_not_a_number_stays_within_reach() -> None:
    """A broken sample spoils no more than what it is part of, if it is the only channel (what a model plays)."""
    signal = noise(1, 200, 1)
    signal[0, 100] = torch.nan
    broken = filters.convolve(noise(1, 10), signal).isnan()[0, :, 0].nonzero()[:, 0]
    assert broken.tolist() == list(range(91, 101))
