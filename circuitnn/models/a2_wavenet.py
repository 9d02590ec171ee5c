"""The WaveNet of Neural Amp Modeler with everything that its files of version 0.7 may hold; what the plain one of
nam_wavenet.py has is trained, what this one adds is read. Its computation is that of NeuralAmpModelerCore 0.5
(S. Atkinson, github.com/sdatkinson/NeuralAmpModelerCore)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.errors import CircuitnnError
from circuitnn.models.a2_config import Activation, ArrayConfig, LayerConfig, PostHead, WaveNetConfig, as_data
from circuitnn.models.convolution import ConvolutionalNetwork, Pasts, convolve


class A2WaveNet(ConvolutionalNetwork):
    """Arrays of layers, each of which sees its input x and the condition c, which a network of its own may make:

        z = H * x + M c,   a = act(z), act(z1) gate(z2) or blended,   x' = x + W a,   head = sum of V a
        y = scale head of the last array, and what a head of activations and convolutions makes of it

    with a modulation by c (FiLM) at any of eight places, and W, V or the gate left out as the config says. It has no
    knobs.
    """

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        if config.out_channels != 1:
            raise CircuitnnError(f"the network has {config.out_channels} outputs, expected 1")
        self.network = Stage(config)

    def settings(self) -> dict[str, Any]:
        return as_data(self.network.config())

    def layers(self, u: Tensor, knobs: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        y, after = self.network(u, pasts)
        return y, after


class Stage(nn.Module):
    """One WaveNet: that of the file, or the one that makes its condition."""

    head_scale: Tensor

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        self._config = config
        self.condition = None if config.condition is None else Stage(config.condition)
        self.arrays = nn.ModuleList(LayerArray(array) for array in config.arrays)
        self.head = None if config.head is None else Head(config.head, config.arrays[-1].head.out_channels)
        # No parameter: the trainer keeps it as it is.
        self.register_buffer("head_scale", torch.tensor(0.02))

    def config(self) -> WaveNetConfig:
        """The config with the slopes of its activations as they are now."""
        return replace(
            self._config,
            arrays=tuple(array.config() for array in self.arrays),  # type: ignore[operator]
            head=None if self.head is None else self.head.config(),
            condition=None if self.condition is None else self.condition.config(),
        )

    def forward(self, x: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        condition, after = x, list[Tensor]()
        if self.condition is not None:
            condition, after = self.condition(x, pasts)
        head = torch.zeros((), dtype=x.dtype, device=x.device)
        for array in self.arrays:
            x, head, later = array(x, condition, head, pasts)
            after += later
        y = self.head_scale * head
        if self.head is not None:
            y, later = self.head(y, pasts)
            after += later
        return y, after


class LayerArray(nn.Module):
    """Layers of one width."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__()
        self._config = config
        self.rechannel = nn.Conv1d(config.input_size, config.channels, 1, bias=False)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in config.layers)
        self.head = nn.Conv1d(
            config.head_channels, config.head.out_channels, config.head.kernel_size, bias=config.head.bias
        )

    def config(self) -> ArrayConfig:
        """The config with the slopes of its activations as they are now."""
        return replace(self._config, layers=tuple(layer.config() for layer in self.layers))  # type: ignore[operator]

    def forward(self, x: Tensor, condition: Tensor, head: Tensor, pasts: Pasts) -> tuple[Tensor, Tensor, list[Tensor]]:
        x, after = self.rechannel(x), []
        for layer in self.layers:
            x, given, later = layer(x, condition, next(pasts))
            head = head + given
            after.append(later)
        head, later = convolve(self.head, head, next(pasts))
        return x, head, [*after, later]


class Layer(nn.Module):
    """One dilated convolution with what belongs to it."""

    def __init__(self, array: ArrayConfig, layer: LayerConfig) -> None:
        super().__init__()
        self._config = layer
        channels, condition, bottleneck = array.channels, array.condition_size, array.bottleneck
        inner = layer.doubled * bottleneck
        self.convolution = _convolution(
            channels, inner, layer.kernel_size, dilation=layer.dilation, groups=array.groups_input
        )
        self.mixer = _convolution(condition, inner, groups=array.groups_input_mixin, bias=False)
        self.residual = None if array.layer1x1 is None else _convolution(bottleneck, channels, groups=array.layer1x1)
        self.to_head = None
        if array.head1x1 is not None:
            self.to_head = _convolution(bottleneck, array.head1x1[0], groups=array.head1x1[1])
        width = {
            "conv_pre_film": channels, "conv_post_film": inner, "input_mixin_pre_film": condition,
            "input_mixin_post_film": inner, "activation_pre_film": inner, "activation_post_film": bottleneck,
            "layer1x1_post_film": channels, "head1x1_post_film": array.head_channels,
        }  # fmt: skip
        self.films = nn.ModuleDict(
            {
                name: _convolution(condition, (2 if film.shift else 1) * width[name], groups=film.groups)
                for name, film in array.films.items()
            }
        )
        self.activation = _activation(layer.activation)
        self.secondary = None if layer.secondary is None else _activation(layer.secondary)

    def config(self) -> LayerConfig:
        """The config with the slopes of its activations as they are now."""
        secondary = self._config.secondary
        return replace(
            self._config,
            activation=_present(self._config.activation, self.activation),
            secondary=None if secondary is None or self.secondary is None else _present(secondary, self.secondary),
        )

    def forward(self, x: Tensor, condition: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        def modulated(name: str, signal: Tensor) -> Tensor:
            if name not in self.films:
                return signal
            by: Tensor = self.films[name](condition)
            if by.shape[1] == signal.shape[1]:
                return signal * by
            gain, offset = by.chunk(2, 1)
            return signal * gain + offset

        filtered, later = convolve(self.convolution, modulated("conv_pre_film", x), past)
        mixed = self.mixer(modulated("input_mixin_pre_film", condition))
        z = modulated("conv_post_film", filtered) + modulated("input_mixin_post_film", mixed)
        z = modulated("activation_pre_film", z)
        if self.secondary is None:
            a = self.activation(z)
        else:
            signal, gate = z.chunk(2, 1)
            a, gate = self.activation(signal), self.secondary(gate)
            a = a * gate if self._config.gating == "gated" else torch.lerp(signal, a, gate)
        a = modulated("activation_post_film", a)
        given = a if self.to_head is None else modulated("head1x1_post_film", self.to_head(a))
        if self.residual is not None:
            further = self.residual(a)
            # The engine modulates this one behind blended layers only, and files sound as it plays them.
            x = x + (modulated("layer1x1_post_film", further) if self._config.gating == "blended" else further)
        return x, given, later


class Head(nn.Module):
    """Activation and convolution in turn, behind the last array."""

    def __init__(self, config: PostHead, inputs: int) -> None:
        super().__init__()
        self._config = config
        sizes = [inputs, *[config.channels] * (len(config.kernel_sizes) - 1), config.out_channels]
        self.activation = _activation(config.activation)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, after, kernel)
            for size, after, kernel in zip(sizes, sizes[1:], config.kernel_sizes, strict=False)
        )

    def config(self) -> PostHead:
        """The config with the slope of its activations as it is now."""
        return replace(self._config, activation=_present(self._config.activation, self.activation))

    def forward(self, x: Tensor, pasts: Pasts) -> tuple[Tensor, list[Tensor]]:
        after = []
        for convolution in self.convolutions:
            x, later = convolve(convolution, self.activation(x), next(pasts))
            after.append(later)
        return x, after


class FastTanh(nn.Module):
    """The rational approximation of tanh in NeuralAmpModelerCore (activations.h)."""

    def forward(self, x: Tensor) -> Tensor:
        size, square = x.abs(), x * x
        above = x * (2.45550750702956 * (1.0 + size) + (0.893229853513558 + 0.821226666969744 * size) * square)
        return above / (2.44506634652299 + (2.44506634652299 + square) * (x + 0.814642734961073 * x * size).abs())


class LeakyHardtanh(nn.Module):
    """x between two bounds, and a line of another slope beyond each."""

    def __init__(self, min_val: float, max_val: float, min_slope: float, max_slope: float) -> None:
        super().__init__()
        self.bounds, self.slopes = (min_val, max_val), (min_slope, max_slope)

    def forward(self, x: Tensor) -> Tensor:
        inside = x.clamp(*self.bounds)
        beyond = x - inside
        return inside + torch.where(beyond < 0.0, self.slopes[0], self.slopes[1]) * beyond


def _convolution(inputs: int, outputs: int, kernel_size: int = 1, *, groups: int, **other: Any) -> nn.Conv1d:
    if inputs % groups or outputs % groups:
        raise CircuitnnError(f"a convolution of {inputs} to {outputs} channels cannot have {groups} groups")
    return nn.Conv1d(inputs, outputs, kernel_size, groups=groups, **other)


def _activation(activation: Activation) -> nn.Module:
    match activation.kind:
        case "PReLU":
            slopes = nn.PReLU(len(activation.slopes))
            with torch.no_grad():
                slopes.weight.copy_(torch.tensor(activation.slopes))
            return slopes
        case "LeakyReLU":
            return nn.LeakyReLU(activation.parameters["negative_slope"])
        case "LeakyHardtanh":
            return LeakyHardtanh(**activation.parameters)
        case "Fasttanh":
            return FastTanh()
        case kind:
            simple: dict[str, type[nn.Module]] = {
                "Tanh": nn.Tanh, "Hardtanh": nn.Hardtanh, "ReLU": nn.ReLU, "Sigmoid": nn.Sigmoid, "SiLU": nn.SiLU,
                "Hardswish": nn.Hardswish, "Softsign": nn.Softsign,
            }  # fmt: skip
            return simple[kind]()


def _present(activation: Activation, module: nn.Module) -> Activation:
    if not isinstance(module, nn.PReLU):
        return activation
    return replace(activation, slopes=tuple(module.weight.detach().tolist()))
