"""Time discretisation of reactive branches, as small interchangeable objects.

With the differentiation factor d = factor / T a capacitor is the conductance d C beside a history source x, and an
inductor the dual: capacitor i = d C v - x, inductor v = d L (i - x). With q = d C v or q = i the next history is
x' = alpha q - beta x.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """factor: differentiation factor times the step; alpha, beta: the update of the history."""

    name: str
    factor: float
    alpha: float
    beta: float


# Second order, keeps every frequency's magnitude, rings on the very highest ones: the choice for audio.
TRAPEZOIDAL = Scheme("trapezoidal", factor=2.0, alpha=2.0, beta=1.0)
# First order, damps high frequencies: for a circuit that rings, and for comparison.
BACKWARD_EULER = Scheme("backward Euler", factor=1.0, alpha=1.0, beta=0.0)
