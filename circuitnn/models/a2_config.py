"""What a WaveNet of Neural Amp Modeler is made of, read from the `config` of a .nam file of any version up to 0.7, and
written as version 0.7 has it (S. Atkinson, github.com/sdatkinson/NeuralAmpModelerCore)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from circuitnn.documents import Document

# Of each activation the parameters that it may have, and their defaults. PReLU may have one slope for each channel.
ACTIVATIONS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "Tanh": {}, "Hardtanh": {}, "Fasttanh": {}, "ReLU": {}, "Sigmoid": {}, "SiLU": {}, "Hardswish": {},
        "Softsign": {}, "PReLU": {"negative_slope": 0.01}, "LeakyReLU": {"negative_slope": 0.01},
        "LeakyHardtanh": {"min_val": -1.0, "max_val": 1.0, "min_slope": 0.01, "max_slope": 0.01},
    }
)  # fmt: skip
GATINGS = ("none", "gated", "blended")
# Where a layer may be modulated by the condition (FiLM), in the order of their weights.
FILMS = (
    "conv_pre_film", "conv_post_film", "input_mixin_pre_film", "input_mixin_post_film", "activation_pre_film",
    "activation_post_film", "layer1x1_post_film", "head1x1_post_film",
)  # fmt: skip
# More than any file of the field has, and little enough to be built in a moment.
MAX_ARRAYS, MAX_LAYERS, MAX_CHANNELS, MAX_KERNEL, MAX_DILATION, MAX_DEPTH = 32, 256, 1024, 4096, 2**20, 3


@dataclass(frozen=True)
class Activation:
    """kind: of ACTIVATIONS; parameters: by name; slopes: of PReLU, one or one for each channel."""

    kind: str
    parameters: Mapping[str, float]
    slopes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Film:
    """Modulation by the condition: a gain, and with `shift` an offset."""

    shift: bool
    groups: int


@dataclass(frozen=True)
class LayerConfig:
    """gating: of GATINGS; secondary: the activation of the gate, for the last two of them."""

    kernel_size: int
    dilation: int
    activation: Activation
    gating: str
    secondary: Activation | None

    @property
    def doubled(self) -> int:
        """How many times as many channels the convolution makes as go on."""
        return 1 if self.gating == "none" else 2


@dataclass(frozen=True)
class HeadConfig:
    """The convolution that mixes what the layers of an array give to the head."""

    out_channels: int
    kernel_size: int
    bias: bool


@dataclass(frozen=True)
class ArrayConfig:
    """Layers of one width. bottleneck: channels behind the activation; layer1x1: groups of the mix that goes on to the
    next layer, None without; head1x1: channels and groups of the mix that goes to the head, None without."""

    input_size: int
    condition_size: int
    channels: int
    bottleneck: int
    layers: tuple[LayerConfig, ...]
    groups_input: int
    groups_input_mixin: int
    layer1x1: int | None
    head1x1: tuple[int, int] | None
    films: Mapping[str, Film]
    head: HeadConfig

    @property
    def head_channels(self) -> int:
        """How many channels each layer gives to the head."""
        return self.bottleneck if self.head1x1 is None else self.head1x1[0]


@dataclass(frozen=True)
class PostHead:
    """Activation and convolution, as many times as there are kernel sizes, behind the last array."""

    channels: int
    out_channels: int
    kernel_sizes: tuple[int, ...]
    activation: Activation


@dataclass(frozen=True)
class WaveNetConfig:
    """condition: the network that makes the condition from the sound; None: the sound is the condition."""

    arrays: tuple[ArrayConfig, ...]
    head: PostHead | None
    condition: WaveNetConfig | None

    @property
    def out_channels(self) -> int:
        """How many channels come out."""
        return self.arrays[-1].head.out_channels if self.head is None else self.head.out_channels


def read_config(data: Document, depth: int = 1) -> WaveNetConfig:
    """The `config` of a WaveNet. Raises CircuitnnError for what is missing, does not fit together or is too large."""
    if depth > MAX_DEPTH:
        raise data.error("condition_dsp", f"more than {MAX_DEPTH} networks inside each other")
    if data.has("in_channels"):
        data.count("in_channels", 1)
    condition = None
    if data.has("condition_dsp"):
        inner = data.inner("condition_dsp")
        if inner.text("architecture") != "WaveNet":
            raise inner.wrong("architecture", "WaveNet")
        condition = read_config(inner.inner("config"), depth + 1)
    entries = data.entries("layers")
    if not 1 <= len(entries) <= MAX_ARRAYS:
        raise data.error("layers", f"expected 1 to {MAX_ARRAYS} arrays of layers, found {len(entries)}")
    arrays = tuple(_array(entry) for entry in entries)
    sees = 1 if condition is None else condition.out_channels
    for k, (array, entry) in enumerate(zip(arrays, entries, strict=True)):
        before = arrays[k - 1] if k else None
        if array.condition_size != sees:
            raise entry.wrong("condition_size", f"{sees}, the channels of the condition")
        if array.input_size != (1 if before is None else before.channels):
            raise entry.wrong("input_size", "the channels of what is before it")
        if before is not None and before.head.out_channels != array.head_channels:
            raise entry.error(
                "channels", f"gives {array.head_channels} channels to a head that has {before.head.out_channels}"
            )
    return WaveNetConfig(arrays, _post_head(data) if data.has("head") else None, condition)


def _array(data: Document) -> ArrayConfig:
    channels = data.count("channels", MAX_CHANNELS)
    bottleneck = data.count("bottleneck", MAX_CHANNELS) if data.has("bottleneck") else channels
    found = ArrayConfig(
        input_size=data.count("input_size", MAX_CHANNELS),
        condition_size=data.count("condition_size", MAX_CHANNELS),
        channels=channels,
        bottleneck=bottleneck,
        layers=_layers(data, bottleneck),
        groups_input=data.count("groups_input", channels) if data.has("groups_input") else 1,
        groups_input_mixin=data.count("groups_input_mixin", MAX_CHANNELS) if data.has("groups_input_mixin") else 1,
        layer1x1=_layer1x1(data),
        head1x1=_head1x1(data),
        films={name: film for name in FILMS if (film := _film(data, name)) is not None},
        head=_head(data),
    )
    if found.layer1x1 is None and bottleneck != channels:
        raise data.wrong("bottleneck", f"{channels}, as many as channels, without layer1x1")
    for name, mix in (("layer1x1_post_film", found.layer1x1), ("head1x1_post_film", found.head1x1)):
        if name in found.films and mix is None:
            raise data.error(name, f"modulates {name.partition('_')[0]}, which is not active")
    return found


def _layers(data: Document, bottleneck: int) -> tuple[LayerConfig, ...]:
    dilations = data.counts("dilations", MAX_DILATION, MAX_LAYERS)
    if data.has("kernel_sizes"):
        kernels = data.counts("kernel_sizes", MAX_KERNEL, MAX_LAYERS)
        if len(kernels) != len(dilations):
            raise data.wrong("kernel_sizes", f"{len(dilations)} of them, as many as dilations")
    else:
        kernels = [data.count("kernel_size", MAX_KERNEL)] * len(dilations)
    activations = [_activation(*place, bottleneck) for place in _each(data, "activation", len(dilations))]
    if data.has("gating_mode"):
        gatings = [where.choice(key, GATINGS) for where, key in _each(data, "gating_mode", len(dilations))]
    else:
        gatings = ["gated" if data.has("gated") and data.flag("gated") else "none"] * len(dilations)
    seconds = _each(data, "secondary_activation", len(dilations))
    return tuple(
        LayerConfig(
            kernel, dilation, activation, gating,
            None if gating == "none"
            else _activation(*place, bottleneck) if place[0].has(place[1]) else Activation("Sigmoid", {}),
        )
        for kernel, dilation, activation, gating, place in zip(
            kernels, dilations, activations, gatings, seconds, strict=True
        )
    )  # fmt: skip


def _each(data: Document, key: str, count: int) -> list[tuple[Document, str]]:
    """For each layer where its entry is found: one entry counts for all layers, or a list has one for each."""
    value = data.value.get(key)
    if not isinstance(value, list):
        return [(data, key)] * count
    if len(value) != count:
        raise data.wrong(key, f"{count} entries, as many as dilations")
    parts = Document(data.path, data.where, {f"{key}[{k}]": entry for k, entry in enumerate(value)}, data.hint)
    return [(parts, name) for name in parts.value]


def _activation(data: Document, key: str, channels: int) -> Activation:
    if isinstance(data.value.get(key), str):
        kind = data.choice(key, ACTIVATIONS)
        inner = Document(data.path, data.where, {}, data.hint)
    else:
        inner = data.inner(key)
        kind = inner.choice("type", ACTIVATIONS)
    parameters = {
        name: inner.number(name) if inner.has(name) else default for name, default in ACTIVATIONS[kind].items()
    }
    if kind != "PReLU":
        return Activation(kind, parameters)
    slopes = inner.row("negative_slopes") if inner.has("negative_slopes") else [parameters["negative_slope"]]
    if len(slopes) not in (1, channels):
        raise inner.wrong("negative_slopes", f"1 or {channels} slopes")
    return Activation(kind, {}, tuple(slopes))


def _film(data: Document, name: str) -> Film | None:
    if data.value.get(name) in (None, False):
        return None
    inner = data.inner(name)
    if inner.has("active") and not inner.flag("active"):
        return None
    return Film(
        inner.flag("shift") if inner.has("shift") else True,
        inner.count("groups", MAX_CHANNELS) if inner.has("groups") else 1,
    )


def _layer1x1(data: Document) -> int | None:
    if not data.has("layer1x1"):
        return 1
    inner = data.inner("layer1x1")
    return inner.count("groups", MAX_CHANNELS) if inner.flag("active") else None


def _head1x1(data: Document) -> tuple[int, int] | None:
    if not data.has("head1x1") or not (inner := data.inner("head1x1")).flag("active"):
        return None
    return inner.count("out_channels", MAX_CHANNELS), inner.count("groups", MAX_CHANNELS)


def _head(data: Document) -> HeadConfig:
    if not data.has("head"):
        return HeadConfig(data.count("head_size", MAX_CHANNELS), 1, data.flag("head_bias"))
    head = data.inner("head")
    return HeadConfig(
        head.count("out_channels", MAX_CHANNELS), head.count("kernel_size", MAX_KERNEL), head.flag("bias")
    )


def _post_head(data: Document) -> PostHead:
    head = data.inner("head")
    channels = head.count("channels", MAX_CHANNELS)
    return PostHead(
        channels,
        head.count("out_channels", MAX_CHANNELS),
        tuple(head.counts("kernel_sizes", MAX_KERNEL, MAX_LAYERS)),
        _activation(head, "activation", 1),
    )


def as_data(config: WaveNetConfig) -> dict[str, Any]:
    """What `read_config` reads, but for what hangs on the weights: `head_scale`, and the weights of `condition_dsp`."""
    data: dict[str, Any] = {"layers": [_array_data(array) for array in config.arrays], "head": None}
    if config.head is not None:
        data["head"] = {
            "channels": config.head.channels, "out_channels": config.head.out_channels,
            "kernel_sizes": list(config.head.kernel_sizes), "activation": _activation_data(config.head.activation),
        }  # fmt: skip
    if config.condition is not None:
        data["condition_dsp"] = {"architecture": "WaveNet", "config": as_data(config.condition)}
    return data


def _array_data(array: ArrayConfig) -> dict[str, Any]:
    out, groups = array.head1x1 or (array.channels, 1)
    return {
        "input_size": array.input_size,
        "condition_size": array.condition_size,
        "channels": array.channels,
        "bottleneck": array.bottleneck,
        "kernel_sizes": [layer.kernel_size for layer in array.layers],
        "dilations": [layer.dilation for layer in array.layers],
        "activation": [_activation_data(layer.activation) for layer in array.layers],
        "gating_mode": [layer.gating for layer in array.layers],
        "secondary_activation": [
            None if layer.secondary is None else _activation_data(layer.secondary) for layer in array.layers
        ],
        "groups_input": array.groups_input,
        "groups_input_mixin": array.groups_input_mixin,
        "layer1x1": {"active": array.layer1x1 is not None, "groups": array.layer1x1 or 1},
        "head1x1": {"active": array.head1x1 is not None, "out_channels": out, "groups": groups},
        "head": {
            "out_channels": array.head.out_channels, "kernel_size": array.head.kernel_size, "bias": array.head.bias,
        },
        **{
            name: {"active": name in array.films, **_film_data(array.films.get(name, Film(True, 1)))} for name in FILMS
        },
    }  # fmt: skip


def _film_data(film: Film) -> dict[str, Any]:
    return {"shift": film.shift, "groups": film.groups}


def _activation_data(activation: Activation) -> dict[str, Any]:
    slopes = {"negative_slopes": list(activation.slopes)} if activation.slopes else {}
    return {"type": activation.kind, **activation.parameters, **slopes}
