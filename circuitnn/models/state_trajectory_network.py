"""State Trajectory Network: Parker, Esqueda and Bergner, "Modelling of nonlinear state-space systems using a deep
neural network", DAFx-19."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.state_network import LIMIT, StateNetwork

# Of what is nearly a combination of others, as is a tanh where it does not bend, least squares make nothing.
DEPENDENT = 1e-9


class StateTrajectoryNetwork(StateNetwork):
    """x[n] = x[n-1] + h MLP([u[n], knobs, x[n-1]]), tanh after all layers but the last, a bias in the second one only.

    hidden: widths of the hidden layers; 4-4-4 is what the paper takes for the first-order diode clipper. step: h, the
    sampling rate that the network is trained at over the one that it processes; it may be changed afterwards. linear: a
    linear path beside the layers, which is not the paper's (M. Schoukens, "Improved initialization of state-space
    artificial neural networks", ECC 2021, has it): most of a circuit of many states is linear.
    """

    def __init__(
        self,
        n_states: int = 1,
        hidden: Sequence[int] = (4, 4, 4),
        step: float = 1.0,
        knob_names: Sequence[str] = (),
        *,
        linear: bool = False,
        readout: int = 0,
    ) -> None:
        super().__init__(n_states, readout, knob_names)
        self.hidden = tuple(hidden)
        self.step = step
        sizes = [self.inputs + n_states, *hidden, n_states]
        layers = [nn.Linear(*ends, bias=k == 1) for k, ends in enumerate(pairwise(sizes))]
        self.layers = nn.Sequential(*[part for layer in layers for part in (layer, nn.Tanh())][:-1])
        self.linear = nn.Linear(sizes[0], n_states, bias=False) if linear else None

    def settings(self) -> dict[str, Any]:
        width = 0 if self.readout is None else self.readout.hidden.out_features
        return {
            "n_states": self.n_states, "hidden": list(self.hidden), "step": self.step,
            "linear": self.linear is not None, "readout": width,
        }  # fmt: skip

    @property
    def size(self) -> int:
        return self.n_states

    def following(self, now: Tensor, x: Tensor) -> Tensor:
        v = torch.cat([now, x], -1)
        change: Tensor = self.layers(v)
        if self.linear is not None:
            change = change + self.linear(v)
        return torch.clamp(x + self.step * change, -LIMIT, LIMIT)

    @property
    def curved(self) -> list[nn.Parameter]:
        """What its steps do not depend on linearly: all layers but the last."""
        return list(self.layers[:-1].parameters())

    def fit_rest(self, now: Tensor, x: Tensor, following: Tensor) -> None:
        """Give the last layer and the linear path the values that step best, by least squares, from x [count, n_states]
        with (u, knobs) now [count, inputs] to the states `following`."""
        v = torch.cat([now, x], 1)
        with torch.no_grad():
            features = self.layers[:-1](v)
            if self.linear is not None:
                features = torch.cat([v, features], 1)
            change = (following - x) / self.step
            weights = torch.linalg.lstsq(features, change, rcond=DEPENDENT, driver="gelsd").solution.T
            if self.linear is not None:
                self.linear.weight.copy_(weights[:, : v.shape[1]])
                weights = weights[:, v.shape[1] :]
            self._last.weight.copy_(weights)

    @property
    def _last(self) -> nn.Linear:
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        return last

    def cell(self) -> tuple[str, list[Tensor]]:
        layers = [layer for layer in self.layers.children() if isinstance(layer, nn.Linear)]
        types, parts = [], []
        for layer in layers if self.linear is None else [self.linear, *layers]:
            types.append(f"Affine<{layer.in_features}, {layer.out_features}, {str(layer.bias is not None).lower()}>")
            parts += [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        path = "NoAffine" if self.linear is None else types.pop(0)
        parts.append(parts[0].new_tensor([self.step, LIMIT]))
        return f"TrajectoryCell<Number, {self.inputs}, {self.n_states}, {path}, {', '.join(types)}>", parts
