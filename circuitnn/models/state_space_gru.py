"""State-space GRU: Peussa, "State-space virtual analog modelling of audio circuits", Master's thesis, Aalto University
(2020); Peussa et al., "Exposure bias and state matching in recurrent neural network virtual analog models", DAFx 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.network import State
from circuitnn.models.state_network import StateNetwork


class StateSpaceGru(StateNetwork):
    """h[n] = GRU([u[n], x[n-1], knobs], h[n-1]),   x[n] = W h[n] + b.

    The circuit's states go through the GRU's input, and what they do not tell is kept in its hidden state. State: x
    [batch, n_states] and h [batch, hidden_size], zero at first. The size of the layer is this program's choice.
    """

    def __init__(self, n_states: int = 1, hidden_size: int = 8, knob_names: Sequence[str] = ()) -> None:
        super().__init__(knob_names)
        self.n_states = n_states
        self.recurrent = nn.GRU(1 + n_states + len(self.knob_names), hidden_size, batch_first=True)
        self.dense = nn.Linear(hidden_size, n_states)

    def settings(self) -> dict[str, Any]:
        return {"n_states": self.n_states, "hidden_size": self.recurrent.hidden_size}

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        x, h = state[0], state[1][None]
        states = []
        for now in torch.cat([u, knobs], 2).unbind(1):
            output, h = self.recurrent(torch.cat([now, x], 1)[:, None], h)
            x = self.dense(output[:, 0])
            states.append(x)
        return torch.stack(states, 1)[..., :1], (x, h[0])

    def teach(self, u: Tensor, x: Tensor, knobs: Tensor) -> Tensor:
        output, _ = self.recurrent(torch.cat([u[:, 1:], knobs[:, 1:], x[:, :-1]], 2))
        predicted: Tensor = self.dense(output)
        return predicted

    def rest(self, knobs: Tensor) -> State:
        batch = knobs.shape[0]
        return knobs.new_zeros(batch, self.n_states), knobs.new_zeros(batch, self.recurrent.hidden_size)
