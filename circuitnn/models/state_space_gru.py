"""State-space GRU: Peussa, "State-space virtual analog modelling of audio circuits", Master's thesis, Aalto University
(2020); Peussa et al., "Exposure bias and state matching in recurrent neural network virtual analog models", DAFx 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.state_network import LIMIT, StateNetwork


class StateSpaceGru(StateNetwork):
    """h[n] = GRU([u[n], knobs, x[n-1]], h[n-1]),   x[n] = W h[n] + b.

    The circuit's states go through the GRU's input, and what they do not tell is kept in its hidden state h, which
    follows x in the state. The size of the layer is this program's choice. linear: a linear path beside the layer,
    x[n] = x[n-1] + A [u[n], knobs, x[n-1]] + W h[n] + b, which is not the thesis's (M. Schoukens, "Improved
    initialization of state-space artificial neural networks", ECC 2021, has it): most of a circuit of many states is
    linear, and a layer of bounded units is slow to find that.
    """

    def __init__(
        self,
        n_states: int = 1,
        hidden_size: int = 8,
        knob_names: Sequence[str] = (),
        *,
        linear: bool = False,
        readout: int = 0,
    ) -> None:
        super().__init__(n_states, readout, knob_names)
        self.recurrent = nn.GRUCell(self.inputs + n_states, hidden_size)
        self.dense = nn.Linear(hidden_size, n_states)
        self.linear = nn.Linear(self.inputs + n_states, n_states, bias=False) if linear else None

    def settings(self) -> dict[str, Any]:
        width = 0 if self.readout is None else self.readout.hidden.out_features
        return {
            "n_states": self.n_states, "hidden_size": self.recurrent.hidden_size,
            "linear": self.linear is not None, "readout": width,
        }  # fmt: skip

    @property
    def size(self) -> int:
        return self.n_states + self.recurrent.hidden_size

    def following(self, now: Tensor, x: Tensor) -> Tensor:
        own = x[:, : self.n_states]
        v = torch.cat([now, own], 1)
        h = self.recurrent(v, x[:, self.n_states :])
        made = self.dense(h)
        if self.linear is not None:
            made = torch.clamp(own + (self.linear(v) + made), -LIMIT, LIMIT)
        return torch.cat([made, h], 1)

    def begin_linear(self, now: Tensor, x: Tensor, following: Tensor) -> None:
        """Let it begin as the linear system that steps best, by least squares, from x [count, n_states] with (u, knobs)
        now [count, inputs] to the states `following`; the layer has no say in it yet."""
        assert self.linear is not None
        v = torch.cat([now, x], 1).double()
        with torch.no_grad():
            step = torch.linalg.lstsq(v, (following - x).double(), driver="gelsd").solution.T
            self.linear.weight.copy_(step)
            self.dense.weight.zero_()
            self.dense.bias.zero_()

    def cell(self) -> tuple[str, list[Tensor]]:
        own, dense, path = self.recurrent, self.dense, "NoAffine"
        parts = [own.weight_ih, own.weight_hh, own.bias_ih, own.bias_hh, dense.weight, dense.bias]
        if self.linear is not None:
            path = f"Affine<{self.linear.in_features}, {self.n_states}, false>"
            parts += [self.linear.weight, dense.bias.new_tensor([LIMIT])]
        return f"GruCell<Number, {self.inputs}, {self.n_states}, {own.hidden_size}, {path}>", parts
