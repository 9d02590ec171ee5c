"""Sample-rate conversion by powers of two with one linear-phase polyphase filter, in causal blocks.

Both directions use the same Kaiser-windowed sinc: flat to 0.45 of the base rate, at least 95 dB down from 0.55 on,
HALF_LENGTH base samples of delay each way.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

# Half the filter's length, in samples at the base rate: the delay of one conversion.
HALF_LENGTH = 32
# 16 and 32 are for comparison with converged simulations; 4 or 8 is enough for recordings.
FACTORS = (1, 2, 4, 8, 16, 32)
# Kaiser's beta for 100 dB of stop-band attenuation: 0.1102 (100 - 8.7).
KAISER_BETA = 10.06
# Base samples that one matrix product makes: long enough for BLAS, short against the filter.
_BLOCK = 64


@cache
def coefficients(factor: int) -> Tensor:
    """The filter's impulse response [2 factor HALF_LENGTH + 1] at the high rate, with unit gain at DC."""
    half = factor * HALF_LENGTH
    n = torch.arange(-half, half + 1, dtype=torch.float64)
    window = torch.kaiser_window(2 * half + 1, periodic=False, beta=KAISER_BETA, dtype=torch.float64)
    taps = torch.sinc(n / factor) * window
    return taps / taps.sum()


@cache
def _matrices(factor: int) -> tuple[Tensor, Tensor]:
    """Toeplitz blocks: up [_BLOCK factor, _BLOCK + 2 HALF_LENGTH], down [_BLOCK, (_BLOCK + 2 HALF_LENGTH) factor]."""
    taps, history = coefficients(factor), 2 * HALF_LENGTH
    high = torch.arange(_BLOCK * factor)[:, None]
    base = torch.arange(-history, _BLOCK)[None, :]
    return _lookup(factor * taps, high - factor * base), toeplitz(taps, factor)


def toeplitz(taps: Tensor, factor: int = 1) -> Tensor:
    """The matrix that filters a block causally by taps [n + 1] and keeps every factor-th sample."""
    high = torch.arange(1 - len(taps), _BLOCK * factor)[None, :]
    return _lookup(taps, factor * torch.arange(_BLOCK)[:, None] - high)


def _lookup(taps: Tensor, index: Tensor) -> Tensor:
    inside = (index >= 0) & (index < len(taps))
    return torch.where(inside, taps[index.clamp(0, len(taps) - 1)], 0.0)


def filter_blocks(
    matrix: Tensor, signal: Tensor, history: Tensor, unit: int = 1, made: int = 1
) -> tuple[Tensor, Tensor]:
    """Apply a Toeplitz matrix to blocks of `_BLOCK * unit` samples, each making `_BLOCK * made`.

    signal [batch, time, channels]; history [batch, n, channels]: the samples before; the new one is returned too.
    """
    batch, time, channels = signal.shape
    if time == 0:
        return signal, history
    extended = torch.cat([history, signal], 1)
    blocks = -(-time // (_BLOCK * unit))
    padding = blocks * _BLOCK * unit - time
    windows = torch.nn.functional.pad(extended, (0, 0, 0, padding)).unfold(1, matrix.shape[1], _BLOCK * unit)
    converted = torch.stack([matrix @ lane.transpose(-1, -2) for lane in windows])
    converted = converted.reshape(batch, blocks * _BLOCK * made, channels)[:, : time // unit * made]
    # A copy: a view would keep all of the chunk.
    return converted, extended[:, time:].clone()


def filter_blocks_adjoint(
    matrix: Tensor, bar: Tensor, history_bar: Tensor, unit: int = 1, made: int = 1
) -> tuple[Tensor, Tensor]:
    """The transpose of filter_blocks: from the gradients by its two results to those by signal and history."""
    batch, time, channels = bar.shape[0], bar.shape[1] // made * unit, bar.shape[2]
    history = history_bar.shape[1]
    if time == 0:
        return bar, history_bar
    blocks = -(-time // (_BLOCK * unit))
    padded = torch.nn.functional.pad(bar, (0, 0, 0, blocks * _BLOCK * made - bar.shape[1]))
    parts = padded.reshape(batch, blocks, _BLOCK * made, channels).transpose(-1, -2) @ matrix
    step = _BLOCK * unit
    # Windows overlap: each one's pieces are added where they were read.
    extended = bar.new_zeros(batch, blocks * step + -(-matrix.shape[1] // step) * step, channels)
    for start in range(0, matrix.shape[1], step):
        piece = parts[..., start : start + step].transpose(-1, -2)
        piece = torch.nn.functional.pad(piece, (0, 0, 0, step - piece.shape[2]))
        extended[:, start : start + blocks * step] += piece.reshape(batch, blocks * step, channels)
    extended = extended[:, : history + time]
    extended[:, time:] += history_bar
    return extended[:, history:], extended[:, :history]


def upsample(signal: Tensor, history: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """signal [batch, time, channels] -> [batch, time * factor, channels], delayed by HALF_LENGTH base samples.

    history [batch, 2 HALF_LENGTH, channels]: the samples before; the new one is returned.
    """
    return filter_blocks(_matrices(factor)[0], signal, history, 1, factor)


def downsample(signal: Tensor, history: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """signal [batch, time * factor, channels] -> [batch, time, channels], delayed by HALF_LENGTH base samples.

    history [batch, 2 HALF_LENGTH * factor, channels]: the samples before; the new one is returned.
    """
    return filter_blocks(_matrices(factor)[1], signal, history, factor, 1)


def upsample_adjoint(bar: Tensor, history_bar: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The transpose of upsample: gradients by signal and history from those by its results."""
    return filter_blocks_adjoint(_matrices(factor)[0], bar, history_bar, 1, factor)


def downsample_adjoint(bar: Tensor, history_bar: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The transpose of downsample: gradients by signal and history from those by its results."""
    return filter_blocks_adjoint(_matrices(factor)[1], bar, history_bar, factor, 1)
