"""One recurrent layer and a dense one: Wright, Damskagg and Valimaki, "Real-time black-box modelling with recurrent
neural networks", DAFx-19; Wright et al., "Real-time guitar amplifier emulation with deep learning", Applied Sciences 10
(2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.gated import Cell, gated_layer
from circuitnn.models.network import Network, State

# What each layer of torch has, in the order that a compiled one takes.
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
# Samples, of all sounds together, from which on a compiled layer is quicker than torch's, and worth a second or two of
# compiling. torch's LSTM is slow only with gradients, of SOUNDS or more side by side; its GRU is a loop that costs as
# much for one sound as for many.
WORTH_COMPILING: Mapping[Cell, int] = MappingProxyType({"lstm": 8192, "gru": 512})
SOUNDS = 12
# The longest memory of a new network, in samples.
MEMORY = 300


class Recurrent(Network):
    """y[n] = W h[n] + b (+ u[n] with `residual`), h the hidden state of the last of `layers` LSTMs or GRUs, the first
    of which sees u and the knobs. At first the units forget after 1 to MEMORY samples.

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
        self._remember()

    def _remember(self) -> None:
        """Biases of the gates for memories t, log-uniform from 1 to MEMORY samples: an LSTM keeps by log(t) and takes
        in by -log(t), a GRU keeps by log(t) (Tallec and Ollivier, "Can recurrent neural networks warp time?", ICLR
        2018). torch's own forget after two samples, where what a coupling capacitor does takes hundreds."""
        size = self.recurrent.hidden_size
        with torch.no_grad():
            for k in range(self.recurrent.num_layers):
                own, other = (getattr(self.recurrent, f"{name}_l{k}") for name in ("bias_ih", "bias_hh"))
                kept = math.log(MEMORY) * torch.rand(size)
                gates = ((1, kept), (0, -kept)) if self.cell == "lstm" else ((1, kept),)
                for gate, bias in gates:
                    rows = slice(gate * size, (gate + 1) * size)
                    own[rows], other[rows] = bias, 0.0

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
        x = torch.cat([u, knobs], 2)
        h, later = self._compiled(x, state) or self._of_torch(x, state)
        y = self.dense(h)
        return y + u if self.residual else y, later

    def _compiled(self, x: Tensor, state: State) -> tuple[Tensor, State] | None:
        """h of the last layer [batch, time, hidden_size] and the state after it; None where it is torch's turn."""
        if x.device.type != "cpu" or x.shape[0] * x.shape[1] < WORTH_COMPILING[self.cell]:
            return None
        if self.cell == "lstm" and not (torch.is_grad_enabled() and len(x) >= SOUNDS):
            return None
        size = self.recurrent.hidden_size
        starts = [torch.cat(parts, 1) for parts in zip(*(part.split(size, 1) for part in state), strict=True)]
        ends = []
        for k, start in enumerate(starts):
            layer = gated_layer(self.cell, x.shape[2], size, x.dtype)
            if layer is None:
                return None
            weights = (getattr(self.recurrent, f"{name}_l{k}") for name in WEIGHTS)
            x, end = layer(x, start, torch.cat([weight.flatten() for weight in weights]))
            ends.append(end.split(size, 1))
        return x, tuple(torch.cat(parts, 1) for parts in zip(*ends, strict=True))

    def _of_torch(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The same."""
        batch, layers = x.shape[0], self.recurrent.num_layers
        layered = tuple(part.reshape(batch, layers, -1).transpose(0, 1).contiguous() for part in state)
        lstm = len(layered) == 2
        h, after = self.recurrent(x, layered if lstm else layered[0])
        return h, tuple(part.transpose(0, 1).reshape(batch, -1) for part in (after if lstm else (after,)))

    def rest(self, knobs: Tensor) -> State:
        batch = knobs.shape[0]
        if self.start is not None:
            return tuple(part.expand(batch, -1) for part in self.start)
        zero = knobs.new_zeros(batch, self.recurrent.num_layers * self.recurrent.hidden_size)
        return (zero, zero) if self.cell == "lstm" else (zero,)
