"""Distances between an output and its target that can be differentiated: plain functions on signals [time], float64."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from auraloss.freq import MultiResolutionSTFTLoss


def mr_stft(output: Tensor, target: Tensor) -> Tensor:
    """Multi-resolution STFT distance with auraloss's defaults (Yamamoto et al. 2020; Steinmetz and Reiss 2020): mean
    over three resolutions of spectral convergence and distance of log magnitudes."""
    loss: Tensor = _multi_resolution()(output[None, None], target[None, None])
    return loss


@cache
def _multi_resolution() -> MultiResolutionSTFTLoss:
    from auraloss.freq import MultiResolutionSTFTLoss

    loss = MultiResolutionSTFTLoss()
    # In single precision, rounding is larger than what a step of an optimizer changes.
    for resolution in loss.stft_losses:
        resolution.window = resolution.window.to(torch.float64)
    return loss
