"""One recurrent layer and a dense one: Wright, Damskagg and Valimaki, "Real-time black-box modelling with recurrent
neural networks", DAFx-19; Wright et al., "Real-time guitar amplifier emulation with deep learning", Applied Sciences 10
(2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from circuitnn.models.network import Network, State

Cell = Literal["lstm", "gru"]


class Recurrent(Network):
    """y[n] = W h[n] + b (+ u[n] with `residual`), h the hidden state of the last of `layers` LSTMs or GRUs, the first
    of which sees u and the knobs.

    State: hidden states [batch, layers * hidden_size], and the LSTMs' cell states of the same shape. At first they are
    zero, or with `learned_start` the parameter `start` [1 or 2, layers * hidden_size], as in files of other engines.
    """

    def __init__(
        self,
        cell: Cell = "lstm",
        hidden_size: int = 32,
        residual: bool = True,
        knob_names: Sequence[str] = (),
        *,
        layers: int = 1,
        learned_start: bool = False,
    ) -> None:
        super().__init__(knob_names)
        self.start: nn.Parameter | None
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.recurrent = layer(1 + len(self.knob_names), hidden_size, layers, batch_first=True)
        self.dense = nn.Linear(hidden_size, 1)
        self.residual = residual
        parts = 2 if cell == "lstm" else 1
        start = nn.Parameter(torch.zeros(parts, layers * hidden_size)) if learned_start else None
        self.register_parameter("start", start)

    @property
    def cell(self) -> Cell:
        """What kind of layers it has."""
        return "lstm" if isinstance(self.recurrent, nn.LSTM) else "gru"

    def input_weights(self) -> Sequence[Tensor]:
        return [self.recurrent.get_parameter("weight_ih_l0")[:, :1]]

    def settings(self) -> dict[str, Any]:
        return {
            "cell": self.cell, "hidden_size": self.recurrent.hidden_size, "residual": self.residual,
            "layers": self.recurrent.num_layers, "learned_start": self.start is not None,
        }  # fmt: skip

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        batch, layers = u.shape[0], self.recurrent.num_layers
        layered = tuple(part.reshape(batch, layers, -1).transpose(0, 1).contiguous() for part in state)
        lstm = len(layered) == 2
        h, after = self.recurrent(torch.cat([u, knobs], 2), layered if lstm else layered[0])
        y = self.dense(h)
        later = tuple(part.transpose(0, 1).reshape(batch, -1) for part in (after if lstm else (after,)))
        return y + u if self.residual else y, later

    def rest(self, knobs: Tensor) -> State:
        batch = knobs.shape[0]
        if self.start is not None:
            return tuple(part.expand(batch, -1) for part in self.start)
        zero = knobs.new_zeros(batch, self.recurrent.num_layers * self.recurrent.hidden_size)
        return (zero, zero) if self.cell == "lstm" else (zero,)
