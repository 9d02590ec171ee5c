"""Multilayer perceptron on a window of the input: Schmitz, "Nonlinear modeling of the guitar signal chain enabling its
real-time emulation", PhD thesis, University of Liege (2019), model 6; sizes from the author's programs
(github.com/TSchmitzULG/Thesis)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.convolution import ConvolutionalNetwork, Pasts, convolve


class WindowMlp(ConvolutionalNetwork):
    """y[n] = tanh MLP(u[n - window + 1], ..., u[n], knobs), with rectifiers in between.

    hidden: widths of the hidden layers. The first layer is a convolution, so that all windows are computed at once.
    """

    def __init__(self, window: int = 150, hidden: Sequence[int] = (1000, 500), knob_names: Sequence[str] = ()) -> None:
        super().__init__(knob_names)
        self.window = nn.Conv1d(1, hidden[0], window)
        self.knobs = nn.Conv1d(len(self.knob_names), hidden[0], 1, bias=False) if self.knob_names else None
        self.dense = nn.ModuleList(nn.Conv1d(*ends, 1) for ends in pairwise((*hidden, 1)))

    def input_weights(self) -> Sequence[Tensor]:
        return [self.window.weight]

    def settings(self) -> dict[str, Any]:
        return {"window": self.window.kernel_size[0], "hidden": [layer.in_channels for layer in self.dense]}

    def layers(self, u: Tensor, knobs: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        x, later = convolve(self.window, u, next(pasts))
        if self.knobs is not None:
            x = x + self.knobs(knobs)
        for layer in self.dense:
            x = layer(torch.relu(x))
        return torch.tanh(x), [later]
