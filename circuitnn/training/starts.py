"""Where training begins: the best of several starts, because others end in a bad optimum."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import torch

from circuitnn.models.iir import Biquad
from circuitnn.models.wiener_hammerstein import WienerHammerstein
from circuitnn.training.data import Batch
from circuitnn.training.least_squares import LeastSquares
from circuitnn.training.presets import Preset
from circuitnn.training.resuming import Kept

# What is tried before the curve: corner of a high-pass in Hz (0: none), and gain for an input of rms 1. Pedals lift the
# treble before they clip.
STARTS = ((0.0, 1.0), (300.0, 30.0), (700.0, 10.0))
# Each start is followed for so many iterations, on so many pieces.
ITERATIONS, PIECES = 8, 4
# Where they stand is not written.
NOWHERE = Kept("", 0.0)


def best_start(network: WienerHammerstein, pieces: Batch, preset: Preset, sample_rate: float) -> WienerHammerstein:
    """The new network, its filters set so that the curve bends and the output is as loud as the target, and gone the
    first steps from where they lead furthest. sample_rate in Hz."""
    rows = torch.linspace(0, len(pieces.u) - 1, min(PIECES, len(pieces.u))).round().long()
    few = Batch(pieces.u[rows], pieces.target[rows], pieces.knobs[rows], pieces.states[rows])
    trials = [
        placed(network, pieces, corner, gain, sample_rate) for corner, gain in STARTS if network.before or not corner
    ]
    return min(trials, key=lambda trial: cost_after_a_while(trial, few, preset)) if len(trials) > 1 else trials[0]


def placed(
    network: WienerHammerstein, pieces: Batch, corner: float, gain: float, sample_rate: float
) -> WienerHammerstein:
    """A copy whose first filters have that corner and gain, and make the output as loud as the target. corner, rate in
    Hz."""
    rms_in, rms_out = (float(torch.sqrt(torch.mean(part.double() ** 2))) for part in (pieces.u, pieces.target))
    found = deepcopy(network)
    with torch.no_grad():
        for biquad in found.before[:1]:
            assert isinstance(biquad, Biquad)
            biquad.b.mul_(gain / rms_in)
            if corner:
                _become_high_pass(biquad, math.exp(-2.0 * math.pi * corner / sample_rate))
        for biquad in found.after[:1]:
            assert isinstance(biquad, Biquad)
            biquad.b.mul_(rms_out)
    return found


def _become_high_pass(biquad: Biquad, pole: float) -> None:
    """b0 (1 - z^-1) / (1 - pole z^-1): a1 = 2 tanh p1 = -pole, and the p2 for which a2 is 0 (see iir.denominator)."""
    biquad.b[1] = -biquad.b[0]
    biquad.p[0], biquad.p[1] = math.atanh(-pole / 2.0), math.atanh(-pole / (2.0 - pole))


def cost_after_a_while(network: WienerHammerstein, pieces: Batch, preset: Preset) -> float:
    work = LeastSquares(network, pieces, [], replace(preset, epochs=ITERATIONS), NOWHERE, lambda epoch, error: None)
    for _ in range(ITERATIONS):
        work.iterate()
    return work.cost()
