"""One recurrent layer and a dense one: Wright, Damskagg and Valimaki, "Real-time black-box modelling with recurrent
neural networks", DAFx-19; Wright et al., "Real-time guitar amplifier emulation with deep learning", Applied Sciences 10
(2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from circuitnn.models.network import Network, State

Cell = Literal["lstm", "gru"]


class Recurrent(Network):
    """y[n] = W h[n] + b (+ u[n] with `residual`), h the hidden state of an LSTM or GRU that sees u and the knobs.

    State: hidden state [batch, hidden_size], and the LSTM's cell state of the same shape; zero at first.
    """

    def __init__(
        self, cell: Cell = "lstm", hidden_size: int = 32, residual: bool = True, knob_names: Sequence[str] = ()
    ) -> None:
        super().__init__(knob_names)
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.recurrent = layer(1 + len(self.knob_names), hidden_size, batch_first=True)
        self.dense = nn.Linear(hidden_size, 1)
        self.residual = residual

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        layered = tuple(part[None] for part in state)
        lstm = len(layered) == 2
        h, after = self.recurrent(torch.cat([u, knobs], 2), layered if lstm else layered[0])
        y = self.dense(h)
        return y + u if self.residual else y, tuple(part[0] for part in (after if lstm else (after,)))

    def rest(self, knobs: Tensor) -> State:
        zero = knobs.new_zeros(knobs.shape[0], self.recurrent.hidden_size)
        return (zero, zero) if isinstance(self.recurrent, nn.LSTM) else (zero,)
