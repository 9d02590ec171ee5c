"""How loud a network is, as files of Neural Amp Modeler say it: hosts bring models to one level by it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from circuitnn.models.network import Network

# Its trainer measures with a file of its own: one second of noise with equal power in every octave, at this level. This
# noise gives what that gives within 0.6 dB (eight networks; the figures are in docs/model-file.md).
LEVEL, SECONDS = -14.97, 1.0


def loudness(network: Network, sample_rate: float) -> float | None:
    """dB RMS of what the network makes of pink noise of -14.97 dB RMS, with 0 dB for an RMS of full scale; None for
    silence, and for what is not finite. It has no knobs."""
    with torch.no_grad():
        y, _ = network(pink_noise(sample_rate)[None, :, None])
    power = float(torch.mean(y.double() ** 2))
    return 10.0 * math.log10(power) if 0.0 < power < math.inf else None


def pink_noise(sample_rate: float) -> Tensor:
    """The noise [time], the same every time."""
    count = max(2, round(SECONDS * sample_rate))
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(count))
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), count)
    return torch.tensor(noise * 10.0 ** (LEVEL / 20.0) / np.sqrt(np.mean(noise**2)), dtype=torch.float32)
