"""How much a circuit model aliases: its response to sines at several rates of oversampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from circuitnn.circuit import Circuit
from circuitnn.metrics import aliasing_to_signal_ratio
from circuitnn.models.circuit_model import CircuitModel

# Hz: D#6, D#7 and C8, the highest note of a piano, rounded so that a second holds a whole number of periods. 1245 Hz is
# the tone of the aliasing study in Damskagg, Juvela and Valimaki, "Real-time modeling of audio distortion circuits with
# deep learning", SMC 2019 (cited as such in the review of Vanhatalo et al., Applied Sciences 12(12), 2022).
FREQUENCIES = (1245, 2489, 4186)
FACTORS = (1, 2, 4, 8)
# Hz.
AUDIBLE = 20000.0
# Seconds until the response to a sine has settled: 100 time constants of the coupling capacitors found in pedals.
SETTLING = 1


@dataclass(frozen=True)
class Aliasing:
    """One measurement. frequency: Hz; ratio: the aliasing-to-signal ratio in dB (metrics.aliasing_to_signal_ratio);
    audible: the same below AUDIBLE. They differ where a harmonic lies just above half the sample rate, in the
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
        # The converters look ahead by their latency, so the last samples already hear the sine stop.
        time = np.arange((SETTLING + 1) * sample_rate + model.latency) / sample_rate
        sines = amplitude * np.sin(2.0 * np.pi * np.outer(frequencies, time))
        u = torch.zeros(len(frequencies), time.size, len(circuit.inputs), dtype=torch.float64)
        u[:, :, 0] = torch.as_tensor(sines)
        with torch.no_grad():
            y = model.render(u, knobs)[:, SETTLING * sample_rate : (SETTLING + 1) * sample_rate, 0].numpy()
        results += [
            Aliasing(
                factor,
                frequency,
                aliasing_to_signal_ratio(lane, frequency, sample_rate),
                aliasing_to_signal_ratio(lane, frequency, sample_rate, AUDIBLE),
            )
            for frequency, lane in zip(frequencies, y, strict=True)
        ]
    return results
