"""The law of a potentiometer that nobody knows: its value at each rotation that recordings were made at.

The law rises from 0 at rotation 0 to 1 at rotation 1. Between neighbouring rotations it rises by d_k, the softmax of
log(r_k - r_(k-1)) + s_k, so it is monotone by construction, and linear for s = 0. The prior on s is a Gaussian process
over the middles of these intervals: a tilt that reaches the logarithmic laws, and a smooth bend around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.learnables import Coordinate
from circuitnn.tapers import table

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# Standard deviation of the slope of the logarithm of a law's slope, which is log(81) = 4.4 for an audio taper, 0 for a
# linear one.
TILT = 3.0
# Of the deviation from such a law, and over which part of the travel it is correlated; and of what is rough.
BEND, REACH, ROUGH = 1.2, 0.25, 0.1
# Part of the travel's values that every interval has: a law that is read back from a file must still rise.
LEAST = 1e-6


class PotLaw:
    """The unknown law of `knob` at `rotations` [m], rising and between 0 and 1, as a function of m coordinates with
    independent standard normal priors."""

    def __init__(self, knob: str, rotations: Sequence[float]) -> None:
        self.knob = knob
        self.rotations = tuple(rotations)
        edges = np.array([0.0, *rotations, 1.0])
        middles, self._widths = 0.5 * (edges[1:] + edges[:-1]), torch.as_tensor(np.diff(edges))
        apart = middles[:, None] - middles
        prior = TILT**2 * np.outer(middles, middles) + BEND**2 * np.exp(-0.5 * (apart / REACH) ** 2)
        prior += ROUGH**2 * np.eye(len(middles))
        # What all logarithms have in common drops out of the softmax. Principal axes of the rest, the widest first.
        centred = np.eye(len(middles)) - 1.0 / len(middles)
        variances, axes = np.linalg.eigh(centred @ prior @ centred)
        self._basis = torch.as_tensor((axes * np.sqrt(np.maximum(variances, 0.0)))[:, :0:-1].copy())

    def __len__(self) -> int:
        return len(self.rotations)

    def values(self, free: Tensor) -> Tensor:
        """The .param's values [m] at the rotations, differentiable in `free` [m]."""
        rises = torch.softmax(torch.log(self._widths) + self._basis @ free, 0)
        rises = LEAST + (1.0 - LEAST * len(rises)) * rises
        return torch.cumsum(rises, 0)[:-1]

    def taper(self, free: Vector) -> str:
        """The law as a table, for a netlist."""
        values = self.values(torch.as_tensor(free)).tolist()
        return table([(0.0, 0.0), *zip(self.rotations, values, strict=True), (1.0, 1.0)])

    def coordinates(self, free: Vector) -> tuple[tuple[Coordinate, ...], Matrix]:
        """What is told of the law at `free`: its values [m], each as a coordinate of its own by the name of knob and
        rotation, and their derivatives [m, m] by `free`. Their prior widths are those of a linearisation there."""

        def logits(q: Tensor) -> Tensor:
            return torch.logit(self.values(q))

        # The first call of torch.func takes seconds.
        slopes = np.asarray(torch.autograd.functional.jacobian(logits, torch.as_tensor(free)))
        widths = np.sqrt(np.sum(slopes**2, 1))
        return tuple(
            Coordinate(value_name(self.knob, rotation), rotation, "knob", float(width))
            for rotation, width in zip(self.rotations, widths, strict=True)
        ), slopes


def value_name(knob: str, rotation: float) -> str:
    """What a law's value at a rotation is called."""
    return f"{knob}({rotation:g})"


@dataclass(frozen=True)
class LearnedLaw:
    """What a fit found for a pot: the .param's values at the rotations of its recordings, with standard errors; taper:
    the law as a netlist has it."""

    knob: str
    rotations: tuple[float, ...]
    values: tuple[float, ...]
    stderr: tuple[float, ...]
    taper: str
