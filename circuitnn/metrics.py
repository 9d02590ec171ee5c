"""How far an output is from its target. Plain functions on signals [time]; nothing here is differentiated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import CircuitnnError

if TYPE_CHECKING:
    from torch import Tensor

Signal = NDArray[np.float64]

# The pre-emphasis filter H(z) = 1 - 0.95 z^-1 of Wright and Valimaki, "Perceptual loss function for neural modelling
# of audio systems", ICASSP 2020.
PREEMPHASIS = 0.95

# A sampled sine hides the aliases that fall on its own harmonics. With a period that takes at least this many turns
# to repeat on the sample grid, the first hidden one comes from above 7.5 sample rates.
LEAST_TURNS = 8
# Samples that a long signal is worked on at a time.
PIECE = 2**18


def esr(output: Signal, target: Signal) -> float:
    """Error-to-signal ratio: sum (y - t)^2 / sum t^2 (Wright et al., DAFx-19)."""
    return float(_energy(np.subtract, output, target) / np.dot(target, target))


def best_gain(output: Signal, target: Signal) -> float:
    """The factor on the output that brings it closest to the target in the least-squares sense; 0 for silence, which
    no factor changes."""
    energy = np.dot(output, output)
    return float(np.dot(output, target) / energy) if energy > 0.0 else 0.0


def esr_gain_free(output: Signal, target: Signal) -> float:
    """ESR after the least-squares gain on the output."""
    gain = best_gain(output, target)
    return float(_energy(lambda y, t: gain * y - t, output, target) / np.dot(target, target))


def preemphasise(signal: Signal, coefficient: float = PREEMPHASIS) -> Signal:
    """signal filtered by 1 - coefficient z^-1, one sample shorter (the first has no predecessor)."""
    return signal[1:] - coefficient * signal[:-1]


def esr_preemphasis(output: Signal, target: Signal) -> float:
    """ESR of the pre-emphasised signals."""
    error = _energy(lambda y, t: preemphasise(y - t), output, target, overlap=1)
    return float(error / _energy(preemphasise, target, overlap=1))


def _energy(of: Callable[..., Signal], *signals: Signal, overlap: int = 0) -> np.float64:
    """The energy of what `of` makes of signals, piece by piece: nothing as long as a long recording is made. overlap:
    by how many samples a piece comes back shorter."""
    total = np.float64(0.0)
    for start in range(0, len(signals[0]) - overlap, PIECE):
        made = of(*(signal[start : start + PIECE + overlap] for signal in signals))
        total += np.dot(made, made)
    return total


def nrmse(output: Signal, target: Signal) -> float:
    """Normalised root mean squared error, the square root of the ESR (Vanhatalo et al., Applied Sciences 12 (2022),
    eq. 15)."""
    return math.sqrt(esr(output, target))


def snr(output: Signal, target: Signal) -> float:
    """Signal-to-noise ratio 10 lg(sum t^2 / sum (y - t)^2) in dB, the error counting as noise; inf without any."""
    return snr_of_esr(esr(output, target))


def snr_of_esr(ratio: float) -> float:
    """Signal-to-noise ratio in dB of an error-to-signal ratio; inf at 0."""
    return -10.0 * math.log10(ratio) if ratio > 0.0 else math.inf


def mae(output: Signal, target: Signal) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(output - target)))


def dc(output: Signal, target: Signal) -> float:
    """Squared difference of the means over the target's mean square (Wright et al., DAFx-19)."""
    return float(np.mean(output - target) ** 2 / np.mean(target**2))


def stft(output: Signal, target: Signal) -> float:
    """STFT distance with windows of 1024 samples, see losses.stft."""
    from circuitnn import losses

    return _distance(losses.stft, output, target)


def mr_stft(output: Signal, target: Signal) -> float:
    """Multi-resolution STFT distance, see losses.mr_stft."""
    from circuitnn import losses

    return _distance(losses.mr_stft, output, target)


def _distance(loss: Callable[[Tensor, Tensor], Tensor], output: Signal, target: Signal) -> float:
    import torch

    with torch.no_grad():
        return float(loss(torch.as_tensor(output), torch.as_tensor(target)))


def aliasing_to_signal_ratio(output: Signal, frequency: float, sample_rate: float, band: float = math.inf) -> float:
    """Aliasing-to-signal ratio of the response to a sine, in dB: what is no harmonic over what is.

        ASR = 10 lg(E_A / E_H),   E_H = sum_{m >= 1} |Y(m k)|^2,   E_A = sum of |Y|^2 over all other bins but DC

    with Y the DFT of the output and k the bin of the sine, after Sato and Smith, "Aliasing Reduction in Neural Amp
    Modeling by Smoothing Activations", arXiv:2505.04082 (2025), who count DC as aliasing; here it counts as neither,
    because an asymmetric circuit makes it without aliasing. Noise and transients count as aliasing too.

    output: the steady state, over an integer number of periods (so that no window is needed). frequency and
    sample_rate in Hz. band: count only what lies below, in Hz; 20000 leaves out aliases that nobody hears.

    -inf if nothing is aliased. Raises CircuitnnError if the periods do not fit, or if the frequency is so simple a
    fraction of the sample rate that aliases fall on harmonics.
    """
    length = len(output)
    periods = frequency * length / sample_rate
    fundamental = round(periods)
    if fundamental < 1 or abs(periods - fundamental) > 1e-6:
        raise CircuitnnError(
            f"{length} samples at {sample_rate:g} Hz hold {periods:g} periods of {frequency:g} Hz, not a whole number",
            "an integer frequency over one second fits",
        )
    if 2 * fundamental >= length:
        raise CircuitnnError(f"{frequency:g} Hz is not below half the sample rate of {sample_rate:g} Hz")
    if fundamental // math.gcd(fundamental, length) < LEAST_TURNS:
        raise CircuitnnError(
            f"the aliases of {frequency:g} Hz fall on its harmonics at {sample_rate:g} Hz",
            "take a frequency that is no simple fraction of the sample rate, such as 1245 Hz",
        )
    energy = np.abs(np.fft.rfft(output)) ** 2
    # Every bin stands for itself and its mirror image, except the one at half the sample rate.
    if length % 2 == 0:
        energy[-1] *= 0.5
    energy[np.arange(energy.size) * sample_rate > band * length] = 0.0
    harmonic = float(energy[fundamental::fundamental].sum())
    # Summed, not subtracted from the total: -150 dB would drown in rounding.
    energy[::fundamental] = 0.0
    aliased = float(energy.sum())
    if harmonic == 0.0:
        raise CircuitnnError(f"the output has nothing at {frequency:g} Hz and its harmonics")
    return 10.0 * math.log10(aliased / harmonic) if aliased > 0.0 else -math.inf
