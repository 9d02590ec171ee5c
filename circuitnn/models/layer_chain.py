"""Layers one after the other, of the kinds that RTNeural's files hold (J. Chowdhury, "RTNeural: fast neural inferencing
for real-time systems", 2021, arXiv:2106.03037)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.errors import CircuitnnError
from circuitnn.models.convolution import convolve
from circuitnn.models.network import Network, State

LAYER_KINDS = ("dense", "conv1d", "lstm", "gru", "prelu", "batchnorm", "activation")
ACTIVATIONS: MappingProxyType[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "": lambda x: x,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "softmax": lambda x: torch.softmax(x, -1),
        "elu": nn.functional.elu,
    }
)
_BY_CHANNEL = (nn.Conv1d, nn.PReLU, nn.BatchNorm1d)


@dataclass(frozen=True)
class Layer:
    """kind: of LAYER_KINDS; size: how many channels it makes; activation: of ACTIVATIONS, applied to what it makes.

    bias: of dense and conv1d, or whether batchnorm has gain and offset; kernel_size, dilation, groups: of conv1d;
    epsilon: of batchnorm; slopes: of prelu, 1 or one for each channel.
    """

    kind: str
    size: int
    activation: str = ""
    bias: bool = True
    kernel_size: int = 1
    dilation: int = 1
    groups: int = 1
    epsilon: float = 1e-3
    slopes: int = 1


class LayerChain(Network):
    """y = gain (layers(u, knobs) + residual u).

    The layers see the sound and the knobs as channels; the last one makes one. State: what each convolution has yet to
    see of its input [batch, channels, reach], and hidden and cell states [batch, size]; all zero at first.
    """

    def __init__(
        self, layers: Sequence[Layer], residual: float = 0.0, gain: float = 1.0, knob_names: Sequence[str] = ()
    ) -> None:
        super().__init__(knob_names)
        self.kinds, self.residual, self.gain = tuple(layers), residual, gain
        sizes = [1 + len(self.knob_names), *(layer.size for layer in layers)]
        if sizes[-1] != 1:
            raise CircuitnnError(f"the last layer makes {sizes[-1]} channels, expected 1")
        self.layers = nn.ModuleList(_module(layer, size) for layer, size in zip(layers, sizes, strict=False))
        if not any(True for _ in self.parameters()):
            raise CircuitnnError("none of the layers has weights")

    def settings(self) -> dict[str, Any]:
        return {"layers": [asdict(layer) for layer in self.kinds], "residual": self.residual, "gain": self.gain}

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        x, waiting, after = torch.cat([u, knobs], 2), iter(state), list[Tensor]()
        for layer, module in zip(self.kinds, self.layers, strict=True):
            if isinstance(module, nn.LSTM):
                x, both = module(x, (next(waiting)[None], next(waiting)[None]))
                after += [part[0] for part in both]
            elif isinstance(module, nn.GRU):
                x, hidden = module(x, next(waiting)[None])
                after.append(hidden[0])
            elif isinstance(module, nn.Conv1d):
                filtered, later = convolve(module, x.transpose(1, 2), next(waiting))
                x = filtered.transpose(1, 2)
                after.append(later)
            elif isinstance(module, _BY_CHANNEL):
                x = module(x.transpose(1, 2)).transpose(1, 2)
            else:
                x = module(x)
            x = ACTIVATIONS[layer.activation](x)
        return self.gain * (x + self.residual * u), tuple(after)

    def rest(self, knobs: Tensor) -> State:
        batch, zeros = knobs.shape[0], list[Tensor]()
        for module in self.layers:
            if isinstance(module, nn.Conv1d):
                reach = int(module.dilation[0]) * (int(module.kernel_size[0]) - 1)
                zeros.append(knobs.new_zeros(batch, module.in_channels, reach))
            elif isinstance(module, nn.LSTM | nn.GRU):
                parts = 2 if isinstance(module, nn.LSTM) else 1
                zeros += [knobs.new_zeros(batch, module.hidden_size) for _ in range(parts)]
        return tuple(zeros)


def _module(layer: Layer, inputs: int) -> nn.Module:
    """The layer as torch has it. Raises CircuitnnError for one that does not fit its `inputs` channels."""
    if layer.kind in ("prelu", "batchnorm", "activation") and layer.size != inputs:
        raise CircuitnnError(f"{layer.kind} of {layer.size} channels behind a layer that makes {inputs}")
    match layer.kind:
        case "dense":
            return nn.Linear(inputs, layer.size, layer.bias)
        case "conv1d":
            if inputs % layer.groups or layer.size % layer.groups:
                raise CircuitnnError(f"conv1d of {inputs} to {layer.size} channels cannot have {layer.groups} groups")
            return nn.Conv1d(
                inputs, layer.size, layer.kernel_size, dilation=layer.dilation, groups=layer.groups, bias=layer.bias
            )
        case "lstm":
            return nn.LSTM(inputs, layer.size, batch_first=True)
        case "gru":
            return nn.GRU(inputs, layer.size, batch_first=True)
        case "prelu":
            if layer.slopes not in (1, inputs):
                raise CircuitnnError(f"prelu of {layer.slopes} slopes for {inputs} channels")
            return nn.PReLU(layer.slopes)
        case "batchnorm":
            return nn.BatchNorm1d(inputs, layer.epsilon, affine=layer.bias)
        case "activation":
            return nn.Identity()
        case _:
            raise CircuitnnError(f"there is no layer of kind {layer.kind!r}", f"known: {', '.join(LAYER_KINDS)}")
