"""State-space GRU: Peussa, "State-space virtual analog modelling of audio circuits", Master's thesis, Aalto University
(2020); Peussa et al., "Exposure bias and state matching in recurrent neural network virtual analog models", DAFx 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.state_network import StateNetwork

# Where it begins: the size of what goes into a unit, at which tanh is nearly straight and yet learns to bend, and the
# bias of an update gate, which hardly keeps anything then.
SMALL, CLOSED = 0.3, -10.0


class StateSpaceGru(StateNetwork):
    """h[n] = GRU([u[n], knobs, x[n-1]], h[n-1]),   x[n] = W h[n] + b.

    The circuit's states go through the GRU's input, and what they do not tell is kept in its hidden state h, which
    follows x in the state. The size of the layer is this program's choice.
    """

    def __init__(
        self, n_states: int = 1, hidden_size: int = 8, knob_names: Sequence[str] = (), *, readout: int = 0
    ) -> None:
        super().__init__(n_states, readout, knob_names)
        self.recurrent = nn.GRUCell(self.inputs + n_states, hidden_size)
        self.dense = nn.Linear(hidden_size, n_states)

    def settings(self) -> dict[str, Any]:
        width = 0 if self.readout is None else self.readout.hidden.out_features
        return {"n_states": self.n_states, "hidden_size": self.recurrent.hidden_size, "readout": width}

    @property
    def size(self) -> int:
        return self.n_states + self.recurrent.hidden_size

    def following(self, now: Tensor, x: Tensor) -> Tensor:
        h = self.recurrent(torch.cat([now, x[:, : self.n_states]], 1), x[:, self.n_states :])
        return torch.cat([self.dense(h), h], 1)

    def begin_linear(self, now: Tensor, x: Tensor, following: Tensor) -> None:
        """Let it begin as the linear system that steps best, by least squares, from x [count, n_states] with (u, knobs)
        now [count, inputs] to the states `following` (M. Schoukens, "Improved initialization of state-space artificial
        neural networks", ECC 2021): some units take combinations of inputs, so small that tanh does not bend them, and
        the others begin without a say. Of more states than units, the least combinations are left out."""
        size, cell = self.recurrent.hidden_size, self.recurrent
        with torch.no_grad():
            inputs = torch.cat([now, x], 1).double()
            step = torch.linalg.lstsq(inputs, following.double(), driver="gelsd").solution.T
            out, weights, into = torch.linalg.svd(step, full_matrices=False)
            used = min(len(weights), size)
            update, new = slice(size, size + used), slice(2 * size, 2 * size + used)
            for part in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh):
                part[update] = part[new] = 0.0
            cell.bias_ih[update] = CLOSED
            cell.weight_ih[new] = SMALL * into[:used]
            self.dense.weight.zero_()
            self.dense.bias.zero_()
            gain = SMALL / (1.0 + math.exp(CLOSED))
            self.dense.weight[:, :used] = out[:, :used] * weights[:used] / gain

    def cell(self) -> tuple[str, list[Tensor]]:
        own, dense = self.recurrent, self.dense
        parts = [own.weight_ih, own.weight_hh, own.bias_ih, own.bias_hh, dense.weight, dense.bias]
        return f"GruCell<Number, {self.inputs}, {self.n_states}, {own.hidden_size}>", parts
