"""Shallow temporal convolutional network with FiLM: Steinmetz and Reiss, "Efficient neural networks for real-time
modeling of analog dynamic range compression", AES 152 (2022), arXiv:2102.06200; their program is micro-tcn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.convolution import ConvolutionalNetwork, Pasts, convolve

# Sizes of the network that turns knobs into what the blocks are modulated by.
EMBEDDING = (16, 32, 32)


class TemporalConvolutionalNetwork(ConvolutionalNetwork):
    """A few blocks with rapidly growing dilation: convolution, normalisation, modulation by the knobs (FiLM), PReLU and
    residual; y = tanh of a mix of the last block's channels.

    The normalisation is over the batch while training, so chunks equal the whole in evaluation mode only.
    """

    def __init__(
        self,
        blocks: int = 4,
        kernel_size: int = 13,
        dilation_growth: int = 10,
        channels: int = 32,
        knob_names: Sequence[str] = (),
    ) -> None:
        super().__init__(knob_names)
        self.sizes = {
            "blocks": blocks, "kernel_size": kernel_size, "dilation_growth": dilation_growth, "channels": channels,
        }  # fmt: skip
        sizes = [len(self.knob_names), *EMBEDDING]
        self.embedding = nn.Sequential(
            *(
                layer
                for size, width in zip(sizes, EMBEDDING, strict=False)
                for layer in (nn.Linear(size, width), nn.ReLU())
            )
            if self.knob_names
            else ()
        )
        self.blocks = nn.ModuleList(
            _Block(1 if k == 0 else channels, channels, kernel_size, dilation_growth**k, bool(self.knob_names))
            for k in range(blocks)
        )
        self.output = nn.Conv1d(channels, 1, 1)

    def input_weights(self) -> Sequence[Tensor]:
        return [self.get_parameter(f"blocks.0.{part}.weight") for part in ("convolution", "residual")]

    def settings(self) -> dict[str, Any]:
        return dict(self.sizes)

    def layers(self, u: Tensor, knobs: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        x, embedded, after = u, self.embedding(knobs.transpose(1, 2)), []
        for block in self.blocks:
            x, later = block(x, embedded, next(pasts))
            after.append(later)
        return torch.tanh(self.output(x)), after


class _Block(nn.Module):
    def __init__(self, inputs: int, channels: int, kernel_size: int, dilation: int, modulated: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, channels, kernel_size, dilation=dilation, bias=False)
        self.normalisation = nn.BatchNorm1d(channels, affine=not modulated)
        self.film = nn.Linear(EMBEDDING[-1], 2 * channels) if modulated else None
        self.activation = nn.PReLU(channels)
        self.residual = nn.Conv1d(inputs, channels, 1, groups=inputs, bias=False)

    def forward(self, x: Tensor, embedded: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        filtered, later = convolve(self.convolution, x, past)
        y = self.normalisation(filtered)
        if self.film is not None:
            gain, offset = self.film(embedded).transpose(1, 2).chunk(2, 1)
            y = gain * y + offset
        return self.activation(y) + self.residual(x), later
