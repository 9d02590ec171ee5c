"""Distances between an output and its target that can be differentiated: plain functions on signals [..., time].

What stands before the time axis is a batch, and all of it is one signal: errors are divided by the energy of the whole
batch, so that a pause in one recording does not count more than the notes in another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from auraloss.freq import MultiResolutionSTFTLoss, STFTLoss

Emphasis = Callable[[Tensor], Tensor]

# Mean square of a target below which it counts as silence (-80 dB of full scale): errors are divided by no less.
SILENCE = 1e-8

# The poles of A-weighting in Hz, and its gain at 1 kHz in dB (IEC 61672-1:2013, Annex E).
A_POLES = (20.598997, 107.65265, 737.86223, 12194.217)
A_1000 = 1.9997


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return torch.mean((output - target) ** 2)


def rmse(output: Tensor, target: Tensor) -> Tensor:
    """Root mean squared error."""
    return torch.sqrt(mse(output, target))


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return torch.mean(torch.abs(output - target))


def esr(output: Tensor, target: Tensor, power: Tensor | float | None = None) -> Tensor:
    """Error-to-signal ratio sum (y - t)^2 / sum t^2 (Wright et al., DAFx-19), over the whole batch.

    power: mean square to divide by instead of the target's own, such as that of all recordings when this is a part.
    """
    return mse(output, target) / _at_least_silence(target, power)


def nrmse(output: Tensor, target: Tensor) -> Tensor:
    """Normalised root mean squared error, sqrt(sum (y - t)^2 / sum t^2) (Vanhatalo et al. 2022, eq. 15)."""
    return torch.sqrt(esr(output, target))


def dc(output: Tensor, target: Tensor, power: Tensor | float | None = None) -> Tensor:
    """Squared difference of the means over time, over the target's power (Wright et al., DAFx-19). power: as in esr."""
    difference = torch.mean(output - target, -1)
    return torch.mean(difference**2) / _at_least_silence(target, power)


def esr_emphasised(output: Tensor, target: Tensor, emphasis: Emphasis, power: Tensor | float | None = None) -> Tensor:
    """ESR of what a filter leaves of both signals. power: that of the filtered target, as in esr."""
    return esr(emphasis(output), emphasis(target), power)


def _at_least_silence(target: Tensor, power: Tensor | float | None) -> Tensor:
    power = torch.mean(target**2) if power is None else torch.as_tensor(power, dtype=target.dtype)
    return torch.clamp(power, min=SILENCE)


def first_order(coefficient: float) -> Emphasis:
    """H(z) = 1 - c z^-1: c = 0.95 (Damskagg et al. 2019), c = 0.85 (Wright et al. 2019), c = -0.85: a low-pass.

    The first sample is dropped, because what came before it is not known.
    """
    return lambda signal: signal[..., 1:] - coefficient * signal[..., :-1]


def folded_differentiator(coefficient: float = 0.85) -> Emphasis:
    """H(z) = 1 - c z^-2 (Wright and Valimaki 2020). The first two samples are dropped."""
    return lambda signal: signal[..., 2:] - coefficient * signal[..., :-2]


def a_weighted_low_pass(sample_rate: float, coefficient: float = 0.85) -> Emphasis:
    """A-weighting after H(z) = 1 + c z^-1 (Wright and Valimaki 2020), which won their listening test. rate in Hz."""
    low_pass = first_order(-coefficient)
    return lambda signal: a_weighted(low_pass(signal), sample_rate)


def a_weighted(signal: Tensor, sample_rate: float) -> Tensor:
    """signal through a filter of A-weighting's magnitude and no phase [..., 2 time]: what rings on is kept, so that its
    energy is exact. The first half is the signal's own time."""
    length = 2 * signal.shape[-1]
    frequency = torch.fft.rfftfreq(length, 1.0 / sample_rate, dtype=signal.dtype, device=signal.device)
    weighted: Tensor = torch.fft.irfft(torch.fft.rfft(signal, length) * a_weighting(frequency), length)
    return weighted


def a_weighting(frequency: Tensor) -> Tensor:
    """Gain of A-weighting at frequencies in Hz, 1 at 1 kHz (IEC 61672-1:2013, Annex E)."""
    f1, f2, f3, f4 = (pole**2 for pole in A_POLES)
    square = frequency**2
    numerator = f4 * square**2
    denominator = (square + f1) * torch.sqrt((square + f2) * (square + f3)) * (square + f4)
    gain: Tensor = 10.0 ** (A_1000 / 20.0) * numerator / denominator
    return gain


def stft(output: Tensor, target: Tensor, fft_size: int = 1024, hop_size: int = 256) -> Tensor:
    """STFT distance with auraloss's defaults (Yamamoto et al. 2020; Steinmetz and Reiss 2020): spectral convergence and
    distance of log magnitudes, at one resolution in samples."""
    loss: Tensor = _resolution(fft_size, hop_size, output.dtype)(_one_channel(output), _one_channel(target))
    return loss


def mr_stft(output: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution STFT distance with auraloss's defaults: mean of `stft` over windows of 600 to 2400 samples."""
    loss: Tensor = _resolutions(output.dtype)(_one_channel(output), _one_channel(target))
    return loss


def _one_channel(signal: Tensor) -> Tensor:
    """[batch, 1, time], the form that auraloss expects."""
    return signal.reshape(-1, 1, signal.shape[-1])


@cache
def _resolution(fft_size: int, hop_size: int, dtype: torch.dtype) -> STFTLoss:
    from auraloss.freq import STFTLoss

    loss = STFTLoss(fft_size, hop_size, fft_size)
    loss.window = loss.window.to(dtype)
    return loss


@cache
def _resolutions(dtype: torch.dtype) -> MultiResolutionSTFTLoss:
    from auraloss.freq import MultiResolutionSTFTLoss

    loss = MultiResolutionSTFTLoss()
    # In single precision, rounding is larger than what an optimizer's step changes, so a double stays one.
    for resolution in loss.stft_losses:
        resolution.window = resolution.window.to(dtype)
    return loss
