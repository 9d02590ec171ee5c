"""The WaveNet of Neural Amp Modeler (S. Atkinson, github.com/sdatkinson/neural-amp-modeler) in .nam files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from circuitnn.models.convolution import ConvolutionalNetwork, Pasts, convolve

HEAD_SCALE = 0.02


class Stack(NamedTuple):
    """Layers of one width. head_size: channels that the stack gives to the next one's head, or to the output."""

    channels: int
    head_size: int
    dilations: tuple[int, ...]


class NamWaveNet(ConvolutionalNetwork):
    """Stacks of dilated convolutions, each of which sees the input sample and the knobs beside its own signal.

        z_k = tanh(H_k * x_k + M_k c),   x_k+1 = x_k + W_k z_k,   head = sum_k z_k,   y = 0.02 head of the last stack

    c: input sample and knobs. A stack's head begins with the rechannelled head of the stack before.
    """

    def __init__(self, stacks: Sequence[Stack], kernel_size: int = 3, knob_names: Sequence[str] = ()) -> None:
        super().__init__(knob_names)
        self.sizes, self.kernel_size = tuple(stacks), kernel_size
        condition = 1 + len(self.knob_names)
        sizes = [1, *(stack.channels for stack in stacks)]
        self.stacks = nn.ModuleList(
            _Layers(size, condition, stack, kernel_size, head_bias=k == len(stacks) - 1)
            for k, (size, stack) in enumerate(zip(sizes, stacks, strict=False))
        )

    def input_weights(self) -> Sequence[Tensor]:
        mixers = [weight[:, :1] for name, weight in self.named_parameters() if ".mixers." in name]
        return [self.get_parameter("stacks.0.rechannel.weight"), *mixers]

    def settings(self) -> dict[str, Any]:
        return {"stacks": [stack._asdict() for stack in self.sizes], "kernel_size": self.kernel_size}

    def layers(self, u: Tensor, knobs: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        condition = torch.cat([u, knobs], 1)
        x, head, after = u, torch.zeros((), dtype=u.dtype, device=u.device), list[Tensor]()
        for stack in self.stacks:
            x, head, later = stack(x, condition, head, pasts)
            after += later
        return HEAD_SCALE * head, after


class _Layers(nn.Module):
    def __init__(self, input_size: int, condition: int, stack: Stack, kernel_size: int, head_bias: bool) -> None:
        super().__init__()
        channels = stack.channels
        self.rechannel = nn.Conv1d(input_size, channels, 1, bias=False)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, dilation=dilation) for dilation in stack.dilations
        )
        self.mixers = nn.ModuleList(nn.Conv1d(condition, channels, 1, bias=False) for _ in stack.dilations)
        self.residuals = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in stack.dilations)
        self.head = nn.Conv1d(channels, stack.head_size, 1, bias=head_bias)

    def forward(self, x: Tensor, condition: Tensor, head: Tensor, pasts: Pasts) -> tuple[Tensor, Tensor, list[Tensor]]:
        x, after = self.rechannel(x), []
        for convolution, mixer, residual in zip(self.convolutions, self.mixers, self.residuals, strict=True):
            filtered, later = convolve(convolution, x, next(pasts))
            z = torch.tanh(filtered + mixer(condition))
            head = head + z
            after.append(later)
            x = x + residual(z)
        return x, self.head(head), after
