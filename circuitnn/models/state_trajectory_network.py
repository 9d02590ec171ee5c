"""State Trajectory Network: Parker, Esqueda and Bergner, "Modelling of nonlinear state-space systems using a deep
neural network", DAFx-19."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.network import State
from circuitnn.models.state_network import StateNetwork


class StateTrajectoryNetwork(StateNetwork):
    """x[n] = x[n-1] + h MLP([u[n], x[n-1], knobs]), tanh after all layers but the last, a bias in the second one only.

    hidden: widths of the hidden layers; 4-4-4 is what the paper takes for the first-order diode clipper. step: h, the
    sampling rate that the network is trained at over the one that it processes; it may be changed afterwards. State: x,
    zero at first.
    """

    def __init__(
        self, n_states: int = 1, hidden: Sequence[int] = (4, 4, 4), step: float = 1.0, knob_names: Sequence[str] = ()
    ) -> None:
        super().__init__(knob_names)
        self.n_states = n_states
        self.step = step
        sizes = [1 + n_states + len(self.knob_names), *hidden, n_states]
        linear = [nn.Linear(*ends, bias=k == 1) for k, ends in enumerate(pairwise(sizes))]
        self.layers = nn.Sequential(*(part for layer in linear for part in (layer, nn.Tanh())))[:-1]

    def settings(self) -> dict[str, Any]:
        hidden = [layer.out_features for layer in self.layers.children() if isinstance(layer, nn.Linear)][:-1]
        return {"n_states": self.n_states, "hidden": hidden, "step": self.step}

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        (x,) = state
        states = []
        for now in torch.cat([u, knobs], 2).unbind(1):
            x = self._next(now, x)
            states.append(x)
        return torch.stack(states, 1)[..., :1], (x,)

    def teach(self, u: Tensor, x: Tensor, knobs: Tensor) -> Tensor:
        return self._next(torch.cat([u, knobs], 2)[:, 1:], x[:, :-1])

    def rest(self, knobs: Tensor) -> State:
        return (knobs.new_zeros(knobs.shape[0], self.n_states),)

    def _next(self, now: Tensor, x: Tensor) -> Tensor:
        step: Tensor = self.layers(torch.cat([now[..., :1], x, now[..., 1:]], -1))
        return x + self.step * step
