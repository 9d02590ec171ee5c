"""Causal convolutions that go on from chunk to chunk, and networks that are made of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import repeat

import torch
from torch import Tensor, nn

from circuitnn.models.network import Network, State

# For each convolution in turn what it has yet to see of its input, or None: see `convolve`.
Pasts = Iterator[Tensor | None]


class ConvolutionalNetwork(Network):
    """A network whose only memory is that of its convolutions. State: what each of them has yet to see of its input
    [batch, channels, reach]; at first that of a long silence. An architecture defines `layers`."""

    @abstractmethod
    def layers(self, u: Tensor, knobs: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        """u [batch, 1, time], knobs [batch, n_knobs, time] -> y [batch, 1, time], and the pasts of the next chunk."""

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        y, after = self.layers(u.transpose(1, 2), knobs.transpose(1, 2), iter(state))
        return y.transpose(1, 2), tuple(after)

    def rest(self, knobs: Tensor) -> State:
        # Where channels are normalised over a batch, one silent sample has no variance.
        training = self.training
        self.eval()
        silence = knobs.new_zeros(knobs.shape[0], 1, 1)
        _, after = self.layers(silence, knobs.transpose(1, 2), repeat(None))
        self.train(training)
        return tuple(after)


def convolve(convolution: nn.Module, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """Convolve (nn.Conv1d) x [batch, channels, time] after `past` [batch, channels, reach] -> output of the same time,
    and the past of the next chunk. past: None if x has always been what it is at first, as in a long silence."""
    assert isinstance(convolution, nn.Conv1d)
    x, later = continued(x, past, int(convolution.dilation[0]) * (int(convolution.kernel_size[0]) - 1))
    output: Tensor = convolution(x)
    return output, later


def continued(x: Tensor, past: Tensor | None, reach: int) -> tuple[Tensor, Tensor]:
    """x [batch, channels, time] with its past of `reach` samples in front, and the past of the next chunk. past: as in
    `convolve`."""
    past = x[:, :, :1].expand(-1, -1, reach) if past is None else past
    x = torch.cat([past, x], 2)
    return x, x[:, :, x.shape[2] - reach :]
