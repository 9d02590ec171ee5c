"""Sample-rate conversion by powers of two with one linear-phase polyphase filter, in causal blocks.

Both directions use the same Kaiser-windowed sinc: flat to 0.45 of the base rate, at least 95 dB down from 0.55 on,
HALF_LENGTH base samples of delay each way.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from circuitnn.filters import filtered, filtered_adjoint

# Half the filter's length, in samples at the base rate: the delay of one conversion.
HALF_LENGTH = 32
# 16 and 32 are for comparison with converged simulations; 4 or 8 is enough for recordings.
FACTORS = (1, 2, 4, 8, 16, 32)
# Kaiser's beta for 100 dB of stop-band attenuation: 0.1102 (100 - 8.7).
KAISER_BETA = 10.06


@cache
def coefficients(factor: int) -> Tensor:
    """The filter's impulse response [2 factor HALF_LENGTH + 1] at the high rate, with unit gain at DC."""
    half = factor * HALF_LENGTH
    n = torch.arange(-half, half + 1, dtype=torch.float64)
    window = torch.kaiser_window(2 * half + 1, periodic=False, beta=KAISER_BETA, dtype=torch.float64)
    taps = torch.sinc(n / factor) * window
    return taps / taps.sum()


@cache
def _branches(factor: int) -> Tensor:
    """The polyphase branches [factor, 2 HALF_LENGTH + 1] that convert up: what a sample adds to each of the `factor`
    samples that take its place, and to later ones."""
    padded = torch.nn.functional.pad(factor * coefficients(factor), (0, factor - 1))
    branches: Tensor = padded.unflatten(0, (-1, factor)).T.contiguous()
    return branches


def upsample(signal: Tensor, history: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """signal [batch, time, channels] -> [batch, time * factor, channels], delayed by HALF_LENGTH base samples.

    history [batch, 2 HALF_LENGTH, channels]: the samples before; the new one is returned.
    """
    return filtered(_branches(factor), signal, history)


def downsample(signal: Tensor, history: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """signal [batch, time * factor, channels] -> [batch, time, channels], delayed by HALF_LENGTH base samples.

    history [batch, 2 HALF_LENGTH * factor, channels]: the samples before; the new one is returned.
    """
    return filtered(coefficients(factor)[None], signal, history, factor)


def upsample_adjoint(bar: Tensor, history_bar: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The transpose of upsample: gradients by signal and history from those by its results."""
    return filtered_adjoint(_branches(factor), bar, history_bar, 1)


def downsample_adjoint(bar: Tensor, history_bar: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The transpose of downsample: gradients by signal and history from those by its results."""
    return filtered_adjoint(coefficients(factor)[None], bar, history_bar, factor)
