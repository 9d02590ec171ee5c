"""How far an output is from its target. Plain functions on signals [time]; nothing here is differentiated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# The pre-emphasis filter H(z) = 1 - 0.95 z^-1 of Wright and Valimaki, "Perceptual loss function for neural modelling
# of audio systems", ICASSP 2020.
PREEMPHASIS = 0.95


def esr(output: Signal, target: Signal) -> float:
    """Error-to-signal ratio: sum (y - t)^2 / sum t^2 (Wright et al., DAFx-19)."""
    return float(np.sum((output - target) ** 2) / np.sum(target**2))


def best_gain(output: Signal, target: Signal) -> float:
    """The factor on the output that brings it closest to the target in the least-squares sense."""
    return float(np.dot(output, target) / np.dot(output, output))


def esr_gain_free(output: Signal, target: Signal) -> float:
    """ESR after the least-squares gain on the output."""
    return esr(best_gain(output, target) * output, target)


def preemphasise(signal: Signal, coefficient: float = PREEMPHASIS) -> Signal:
    """signal filtered by 1 - coefficient z^-1, one sample shorter (the first has no predecessor)."""
    return signal[1:] - coefficient * signal[:-1]


def esr_preemphasis(output: Signal, target: Signal) -> float:
    """ESR of the pre-emphasised signals."""
    return esr(preemphasise(output), preemphasise(target))


def mae(output: Signal, target: Signal) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(output - target)))


def mr_stft(output: Signal, target: Signal) -> float:
    """Multi-resolution STFT distance with auraloss's defaults (Yamamoto et al. 2020; Steinmetz and Reiss 2020)."""
    import torch
    from auraloss.freq import MultiResolutionSTFTLoss

    pair = (torch.as_tensor(x, dtype=torch.float32)[None, None, :] for x in (output, target))
    with torch.no_grad():
        return float(MultiResolutionSTFTLoss()(*pair))
