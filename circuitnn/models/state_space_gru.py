"""State-space GRU: Peussa, "State-space virtual analog modelling of audio circuits", Master's thesis, Aalto University
(2020); Peussa et al., "Exposure bias and state matching in recurrent neural network virtual analog models", DAFx 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.state_network import StateNetwork


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

    def cell(self) -> tuple[str, list[Tensor]]:
        own, dense = self.recurrent, self.dense
        parts = [own.weight_ih, own.weight_hh, own.bias_ih, own.bias_hh, dense.weight, dense.bias]
        return f"GruCell<Number, {self.inputs}, {self.n_states}, {own.hidden_size}>", parts
