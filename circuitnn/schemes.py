"""Time discretisation of reactive branches, as small interchangeable objects.

With the differentiation factor d = factor / T a capacitor is the conductance d C beside a history source x, and an
inductor the dual: capacitor i = d C v - x, inductor v = d L (i - x). Let q = d C v or q = i. A scheme has `memory`
numbers for each branch, the first of which is x; they follow as h' = carry h + gain q.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scheme:
    """factor: differentiation factor times the step; carry [memory][memory] and gain [memory]: the update of the
    history. Every row of carry and gain sums to 1, so that a circuit at rest has q in all of its memory."""

    name: str
    factor: float
    carry: tuple[tuple[float, ...], ...]
    gain: tuple[float, ...]

    @property
    def memory(self) -> int:
        """Numbers per reactive branch."""
        return len(self.gain)

    def excitation(self, N_x: Tensor) -> Tensor:
        """What the whole history contributes, [m, memory n_x], from N_x [m, n_x]: only its first part acts."""
        return torch.cat([N_x, N_x.new_zeros(len(N_x), N_x.shape[1] * (self.memory - 1))], 1)

    def history(self, q: Tensor, n_x: int) -> Tensor:
        """The next history [memory n_x, columns] from q [n_x, columns], whose first memory n_x columns are those of the
        present history."""
        carry = torch.kron(torch.tensor(self.carry, dtype=q.dtype), torch.eye(n_x, dtype=q.dtype))
        gain = torch.tensor(self.gain, dtype=q.dtype)
        moved = (gain[:, None, None] * q).flatten(0, 1)
        return moved + torch.cat([carry, q.new_zeros(len(carry), q.shape[1] - len(carry))], 1)

    def at_rest(self, q: Tensor) -> Tensor:
        """The history [memory n_x, ...] of a circuit at rest with q [n_x, ...]."""
        return torch.cat([q] * self.memory)


# Second order, A-stable, keeps every frequency's magnitude: the choice for audio. What it does not damp may ring near
# half the step rate after a jump.
TRAPEZOIDAL = Scheme("trapezoidal", factor=2.0, carry=((-1.0,),), gain=(2.0,))
# First order, damps everything that is fast: for a circuit that rings at any step, and for comparison.
BACKWARD_EULER = Scheme("backward Euler", factor=1.0, carry=((0.0,),), gain=(1.0,))
# Second order and damped at high frequencies (L-stable): 1.5 v[n] - 2 v[n-1] + 0.5 v[n-2], so x' = 4/3 q - 1/3 q[n-1].
# For stiff circuits where the trapezoidal rule rings; its error is about four times as large.
BDF2 = Scheme("BDF2", factor=1.5, carry=((0.0, -1.0 / 3.0), (0.0, 0.0)), gain=(4.0 / 3.0, 1.0))

SCHEMES = {"trapezoidal": TRAPEZOIDAL, "backward-euler": BACKWARD_EULER, "bdf2": BDF2}
