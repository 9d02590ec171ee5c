"""How much a circuit model aliases: its response to sines at several rates of oversampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from circuitnn import probing
from circuitnn.circuit import Circuit
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.probing import FREQUENCIES, Signal

FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Aliasing:
    """One measurement. frequency: Hz; ratio: the aliasing-to-signal ratio in dB (metrics.aliasing_to_signal_ratio);
    audible: the same below probing.AUDIBLE. They differ where a harmonic lies just above half the sample rate, in the
    transition band of the rate converter: it comes through at any factor, mirrored to just below."""

    oversample: int
    frequency: int
    ratio: float
    audible: float


def measure_aliasing(
    circuit: Circuit,
    *,
    frequencies: Sequence[int] = FREQUENCIES,
    factors: Sequence[int] = FACTORS,
    amplitude: float = 1.0,
    sample_rate: int = 44100,
    knobs: Mapping[str, float] | None = None,
) -> list[Aliasing]:
    """The first output's response to sines at the first input, for each factor of oversampling and each frequency.

    frequencies: whole numbers of Hz, because the ratio is taken over one second; amplitude: peak, in volt;
    sample_rate: of input and output, in Hz; knobs: positions from 0 to 1.
    """
    results = []
    for factor in factors:
        model = CircuitModel(circuit, sample_rate, factor, learn=())

        def play(signals: Signal, model: CircuitModel = model) -> Signal:
            u = torch.zeros(*signals.shape, len(circuit.inputs), dtype=torch.float64)
            u[:, :, 0] = torch.as_tensor(signals)
            with torch.no_grad():
                return np.asarray(model.render(u, knobs)[:, :, 0])

        tones = probing.aliasing(play, sample_rate, amplitude, frequencies)
        results += [Aliasing(factor, tone.frequency, tone.ratio, tone.audible) for tone in tones]
    return results
