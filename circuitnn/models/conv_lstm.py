"""Convolutional LSTM: Schmitz, "Nonlinear modeling of the guitar signal chain enabling its real-time emulation", PhD
thesis, University of Liege (2019), model 5; sizes from the author's programs (github.com/TSchmitzULG/Thesis)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from circuitnn.models.convolution import ConvolutionalNetwork, Pasts, continued, convolve

# Windows that go through the LSTM at a time.
BLOCK = 8192


class ConvLstm(ConvolutionalNetwork):
    """Two convolutions shorten the input before each sample to a few steps, which an LSTM goes through from zero; its
    last hidden state gives the sample: y[n] = tanh(W h + b).

    strides: of the two convolutions; steps: that are left for the LSTM. All windows overlap, so the convolutions are
    computed once, with the strides as dilations. The thesis cuts windows of 150 samples and pads both convolutions
    with zeros to 13 steps; here they see the samples before the window instead. Knobs are further inputs of the first
    convolution. State: what the convolutions and the windows have yet to see again.
    """

    def __init__(
        self,
        hidden_size: int = 150,
        channels: int = 35,
        kernel_size: int = 10,
        strides: tuple[int, int] = (4, 3),
        steps: int = 13,
        knob_names: Sequence[str] = (),
    ) -> None:
        super().__init__(knob_names)
        self.first = nn.Conv1d(1 + len(self.knob_names), channels, kernel_size)
        self.second = nn.Conv1d(channels, channels, kernel_size, dilation=strides[0])
        self.recurrent = nn.LSTM(channels, hidden_size)
        self.dense = nn.Linear(hidden_size, 1)
        self.strides, self.stride, self.steps = strides, strides[0] * strides[1], steps

    def input_weights(self) -> Sequence[Tensor]:
        return [self.first.weight[:, :1]]

    def settings(self) -> dict[str, Any]:
        return {
            "hidden_size": self.recurrent.hidden_size, "channels": self.first.out_channels,
            "kernel_size": self.first.kernel_size[0], "strides": list(self.strides), "steps": self.steps,
        }  # fmt: skip

    def layers(self, u: Tensor, knobs: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        x, first = convolve(self.first, torch.cat([u, knobs], 1), next(pasts))
        x, second = convolve(self.second, elu(x), next(pasts))
        reach = self.stride * (self.steps - 1)
        x, third = continued(elu(x), next(pasts), reach)
        parts = [self._recur(x[:, :, at : at + BLOCK + reach]) for at in range(0, u.shape[2], BLOCK)]
        return torch.cat(parts, 2), [first, second, third]

    def _recur(self, x: Tensor) -> Tensor:
        """x [batch, channels, reach + time] -> y [batch, 1, time]."""
        time = x.shape[2] - self.stride * (self.steps - 1)
        taken = torch.stack([x[:, :, k * self.stride :][:, :, :time] for k in range(self.steps)])
        _, (h, _) = self.recurrent(taken.transpose(2, 3).flatten(1, 2))
        return torch.tanh(self.dense(h[0])).reshape(x.shape[0], 1, time)
