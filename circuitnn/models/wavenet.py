"""Feed-forward WaveNet: Damskagg, Juvela and Valimaki, "Real-time modeling of audio distortion circuits with deep
learning", SMC 2019; its layers are those of the authors' program WaveNetVA (github.com/damskaggep/WaveNetVA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.convolution import ConvolutionalNetwork, Pasts, convolve


class WaveNet(ConvolutionalNetwork):
    """Gated dilated convolutions with residuals, whose gated outputs are mixed to y.

        z_k = tanh(H_fk * x_k) sigmoid(H_gk * x_k),   x_k+1 = W_k z_k + x_k,   y = sum_k V_k z_k

    dilations: one per layer. Knobs are further inputs of the first, mixing layer.
    """

    def __init__(
        self, channels: int, dilations: Sequence[int], kernel_size: int = 3, knob_names: Sequence[str] = ()
    ) -> None:
        super().__init__(knob_names)
        self.channels, self.dilations, self.kernel_size = channels, tuple(dilations), kernel_size
        self.input = nn.Conv1d(1 + len(self.knob_names), channels, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, kernel_size, dilation=dilation) for dilation in dilations
        )
        self.residuals = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in dilations)
        self.output = nn.Conv1d(channels * len(dilations), 1, 1)

    def input_weights(self) -> Sequence[Tensor]:
        return [self.input.weight[:, :1]]

    def settings(self) -> dict[str, Any]:
        return {"channels": self.channels, "dilations": list(self.dilations), "kernel_size": self.kernel_size}

    def layers(self, u: Tensor, knobs: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        x = self.input(torch.cat([u, knobs], 1))
        gated, after = [], []
        for convolution, residual in zip(self.convolutions, self.residuals, strict=True):
            both, later = convolve(convolution, x, next(pasts))
            signal, gate = both.chunk(2, 1)
            z = torch.tanh(signal) * torch.sigmoid(gate)
            gated.append(z)
            after.append(later)
            x = x + residual(z)
        return self.output(torch.cat(gated, 1)), after
