"""Sequence-to-sequence LSTM: Schmitz, "Nonlinear modeling of the guitar signal chain enabling its real-time emulation",
PhD thesis, University of Liege (2019), model 3; sizes from the author's programs (github.com/TSchmitzULG/Thesis)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from circuitnn.models.network import Network, State

# Windows that go through the LSTM at a time.
BLOCK = 512


class SequenceLstm(Network):
    """The output comes in blocks: for each, an LSTM goes from zero through the `window` samples that end with it, and
    its last `outputs` hidden states give the block, y = tanh(W h + b).

    State: the last window - 1 inputs and knobs [batch, window - 1, 1 + n_knobs], and how many samples of its block are
    out [batch, 1]; zeros at first. A sample needs nothing of what follows it, so blocks add no latency.
    """

    def __init__(
        self, hidden_size: int = 150, window: int = 100, outputs: int = 5, knob_names: Sequence[str] = ()
    ) -> None:
        super().__init__(knob_names)
        self.window, self.outputs = window, outputs
        self.recurrent = nn.LSTM(1 + len(self.knob_names), hidden_size, batch_first=True)
        self.dense = nn.Linear(hidden_size, 1)

    def input_weights(self) -> Sequence[Tensor]:
        return [self.recurrent.get_parameter("weight_ih_l0")[:, :1]]

    def settings(self) -> dict[str, Any]:
        return {"hidden_size": self.recurrent.hidden_size, "window": self.window, "outputs": self.outputs}

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        past, out = state
        done, time = int(out[0, 0]), u.shape[1]
        inputs = torch.cat([past, torch.cat([u, knobs], 2)], 1)
        blocks = -(-(done + time) // self.outputs)
        begin = self.outputs - 1 - done
        # The rest of the last block is made of zeros, and not used.
        missing = begin + (blocks - 1) * self.outputs + self.window - inputs.shape[1]
        windows = pad(inputs, (0, 0, 0, missing))[:, begin:].unfold(1, self.window, self.outputs)
        parts = windows.transpose(2, 3).flatten(0, 1).split(BLOCK)
        y = torch.cat([torch.tanh(self.dense(self.recurrent(part)[0][:, -self.outputs :])) for part in parts])
        y = y.reshape(u.shape[0], -1, 1)[:, done : done + time]
        return y, (inputs[:, time:], (out + time) % self.outputs)

    def rest(self, knobs: Tensor) -> State:
        batch, _, count = knobs.shape
        silence = knobs.new_zeros(batch, self.window - 1, 1)
        out = torch.zeros(batch, 1, dtype=torch.long, device=knobs.device)
        return torch.cat([silence, knobs.expand(batch, self.window - 1, count)], 2), out
