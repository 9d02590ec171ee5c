"""Files of Neural Amp Modeler (S. Atkinson, github.com/sdatkinson/neural-amp-modeler), versions 0.5 to 0.7: WaveNet of
both generations, LSTM, Linear, and containers of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.audio import dbu_at_full_scale, volts_at_full_scale
from circuitnn.documents import Document
from circuitnn.formats.loudness import loudness
from circuitnn.formats.saved_network import SavedNetwork, fill, refused
from circuitnn.models.a2_config import (
    MAX_CHANNELS,
    Activation,
    ArrayConfig,
    HeadConfig,
    LayerConfig,
    WaveNetConfig,
    read_config,
)
from circuitnn.models.a2_wavenet import A2WaveNet, Stage
from circuitnn.models.description import MAX_LAYERS, MAX_TAPS, within_bounds
from circuitnn.models.layer_chain import Layer, LayerChain
from circuitnn.models.nam_wavenet import HEAD_SCALE, NamWaveNet, Stack
from circuitnn.models.network import Network
from circuitnn.models.recurrent import Recurrent

LEGACY_VERSION, VERSION = "0.5.4", "0.7.0"
FIRST, LAST = (0, 5), (0, 7)
ARCHITECTURES = ("WaveNet", "LSTM", "Linear", "SlimmableContainer")
# What hosts take for the rate of a file that does not say.
USUAL_RATE = 48000.0
MAX_DEPTH, MAX_SUBMODELS = 3, 100
HOLDS = (
    "WaveNets such as nam-standard, LSTMs without the input in their output such as lstm-32-plain, and one "
    "convolution, all without knobs"
)


def read_nam(data: Document, depth: int = 1) -> SavedNetwork:
    """The network of a file; of a container, the largest. Raises CircuitnnError."""
    _check_version(data)
    architecture = data.choice("architecture", ARCHITECTURES)
    config = data.inner("config")
    if architecture == "SlimmableContainer":
        return _largest(config, data, depth)
    network = {"WaveNet": _read_wavenet, "LSTM": _read_lstm, "Linear": _read_linear}[architecture](config, data)
    rate = data.number("sample_rate") if data.has("sample_rate") else USUAL_RATE
    if not 1.0 <= rate <= 1e7:
        raise data.wrong("sample_rate", "a rate in Hz")
    return _with_metadata(SavedNetwork(network.eval(), f"NAM {architecture}", rate), data)


def _with_metadata(saved: SavedNetwork, data: Document) -> SavedNetwork:
    """The network with what a file's metadata says; what it says nothing of stays."""
    if not data.has("metadata"):
        return saved
    meta = data.inner("metadata")
    training = meta.inner("training") if meta.has("training") else meta
    level_in, level_out = _level(meta, "input_level_dbu"), _level(meta, "output_level_dbu")
    return replace(
        saved,
        esr=training.number("validation_esr") if training.has("validation_esr") else saved.esr,
        input_level=saved.input_level if level_in is None else level_in,
        output_gain=saved.output_gain if level_out is None else 1.0 / level_out,
    )


def _check_version(data: Document) -> None:
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})\.\d{1,4}", data.text("version"))
    if found is None:
        raise data.wrong("version", "a version such as 0.5.4")
    version = (int(found[1]), int(found[2]))
    if not FIRST <= version <= LAST:
        raise data.wrong("version", f"{FIRST[0]}.{FIRST[1]} to {LAST[0]}.{LAST[1]}, which are those known here")


def _level(meta: Document, key: str) -> float | None:
    """Volt at full scale."""
    if not meta.has(key):
        return None
    dbu = meta.number(key)
    if abs(dbu) > 200.0:
        raise meta.wrong(key, "a level between -200 and 200 dBu")
    return volts_at_full_scale(dbu)


def _largest(config: Document, data: Document, depth: int) -> SavedNetwork:
    submodels = config.entries("submodels")
    if not 1 <= len(submodels) <= MAX_SUBMODELS:
        raise config.error("submodels", f"expected 1 to {MAX_SUBMODELS} of them, found {len(submodels)}")
    if depth == MAX_DEPTH:
        raise config.error("submodels", f"more than {MAX_DEPTH} containers inside each other")
    largest = max(submodels, key=lambda entry: entry.number("max_value"))
    return _with_metadata(read_nam(largest.inner("model"), depth + 1), data)


def _read_wavenet(config: Document, data: Document) -> Network:
    parsed = read_config(config)
    weights = torch.tensor(data.row("weights"), dtype=torch.float32)
    plain = _plain(parsed)
    if plain is None or not len(weights) or weights[-1] != torch.tensor(HEAD_SCALE):
        general = within_bounds(lambda: A2WaveNet(parsed), data)
        assert isinstance(general, A2WaveNet)
        _fill_stage(general.network, weights, data, config)
        return general
    stacks, kernel_size = plain
    network = within_bounds(lambda: NamWaveNet(stacks, kernel_size), data)
    assert isinstance(network, NamWaveNet)
    fill(_plain_weights(network), weights[:-1], data, "weights")
    return network


def _plain(config: WaveNetConfig) -> tuple[list[Stack], int] | None:
    """The stacks and the kernel size of a WaveNet that is like the first generation's presets, else None."""
    stacks = [
        Stack(array.channels, array.head.out_channels, tuple(layer.dilation for layer in array.layers))
        for array in config.arrays
    ]
    kernel_size, tanh = config.arrays[0].layers[0].kernel_size, Activation("Tanh", {})
    arrays = tuple(
        ArrayConfig(
            size, 1, stack.channels, stack.channels,
            tuple(LayerConfig(kernel_size, dilation, tanh, "none", None) for dilation in stack.dilations),
            1, 1, 1, None, {}, HeadConfig(stack.head_size, 1, k == len(stacks) - 1),
        )
        for k, (size, stack) in enumerate(zip([1, *(stack.channels for stack in stacks)], stacks, strict=False))
    )  # fmt: skip
    return (stacks, kernel_size) if config == WaveNetConfig(arrays, None, None) else None


def _legacy_config(network: NamWaveNet) -> dict[str, Any]:
    """As all hosts read it, and beside that `head`, which the trainer asks for from its version 0.13 on."""
    before = [1, *(stack.channels for stack in network.sizes)]
    layers = [
        {
            "input_size": size, "condition_size": 1, "head_size": stack.head_size, "channels": stack.channels,
            "kernel_size": network.kernel_size, "dilations": list(stack.dilations), "activation": "Tanh",
            "gated": False, "head_bias": k == len(network.sizes) - 1,
            "head": {"out_channels": stack.head_size, "kernel_size": 1, "bias": k == len(network.sizes) - 1},
        }
        for k, (size, stack) in enumerate(zip(before, network.sizes, strict=False))
    ]  # fmt: skip
    return {"layers": layers, "head": None, "head_scale": HEAD_SCALE}


def _plain_weights(network: NamWaveNet) -> Iterator[Tensor]:
    """In the order of the files, without the head scale at their end."""
    stacks: Iterable[Any] = network.stacks.children()
    for stack in stacks:
        yield stack.rechannel.weight
        for convolution, mixer, residual in zip(stack.convolutions, stack.mixers, stack.residuals, strict=True):
            yield from (convolution.weight, convolution.bias, mixer.weight, residual.weight, residual.bias)
        yield from stack.head.parameters()


def _stage_weights(stage: Stage) -> Iterator[Tensor]:
    """In the order of the files. Slopes of activations are in the config, the condition's weights in its own list."""
    arrays: Iterable[Any] = stage.arrays.children()
    for array in arrays:
        yield array.rechannel.weight
        for layer in array.layers:
            for part in (layer.convolution, layer.mixer, layer.residual, layer.to_head, *layer.films.values()):
                if part is not None:
                    yield from part.parameters()
        yield from array.head.parameters()
    if stage.head is not None:
        yield from stage.head.convolutions.parameters()
    yield stage.head_scale


def _fill_stage(stage: Stage, weights: Tensor, data: Document, config: Document) -> None:
    fill(_stage_weights(stage), weights, data, "weights")
    if stage.condition is not None:
        inner = config.inner("condition_dsp")
        condition_weights = torch.tensor(inner.row("weights"), dtype=torch.float32)
        _fill_stage(stage.condition, condition_weights, inner, inner.inner("config"))


def _read_lstm(config: Document, data: Document) -> Network:
    config.count("input_size", 1)
    size, layers = config.count("hidden_size", MAX_CHANNELS), config.count("num_layers", MAX_LAYERS)
    network = within_bounds(lambda: Recurrent("lstm", size, residual=False, layers=layers, learned_start=True), data)
    assert isinstance(network, Recurrent)
    places = [torch.empty(shape) for shape in _lstm_shapes(network)]
    fill(places, torch.tensor(data.row("weights"), dtype=torch.float32), data, "weights")
    waiting, starts = iter(places), list[tuple[Tensor, Tensor]]()
    with torch.no_grad():
        for own in network.recurrent.all_weights:
            both, bias = next(waiting), next(waiting)
            for place, value in zip(own, (both[:, :-size], both[:, -size:], bias, torch.zeros_like(bias)), strict=True):
                place.copy_(value)
            starts.append((next(waiting), next(waiting)))
        assert network.start is not None
        network.start.copy_(torch.stack([torch.cat(parts) for parts in zip(*starts, strict=True)]))
        network.dense.weight.copy_(next(waiting)[None])
        network.dense.bias.copy_(next(waiting))
    return network


def _lstm_shapes(network: Recurrent) -> Iterator[tuple[int, ...]]:
    size = network.recurrent.hidden_size
    for k in range(network.recurrent.num_layers):
        yield from ((4 * size, (1 if k == 0 else size) + size), (4 * size,), (size,), (size,))
    yield from ((size,), (1,))


def _read_linear(config: Document, data: Document) -> Network:
    layer = Layer("conv1d", 1, kernel_size=config.count("receptive_field", MAX_TAPS), bias=config.flag("bias"))
    network = within_bounds(lambda: LayerChain([layer]), data)
    fill(network.parameters(), torch.tensor(data.row("weights"), dtype=torch.float32), data, "weights")
    with torch.no_grad():
        _taps(network).copy_(_taps(network).flip(-1))
    return network


def _taps(network: Network) -> Tensor:
    """The weights of a chain of one convolution, the oldest tap first; files have the newest first."""
    assert isinstance(network, LayerChain)
    convolution = network.layers[0]
    assert isinstance(convolution, nn.Conv1d)
    return convolution.weight.detach()


def write_nam(saved: SavedNetwork) -> str:
    """A file's text. Raises CircuitnnError for a network that such a file cannot hold."""
    version, architecture, config, weights = _content(saved)
    rate = {} if saved.sample_rate is None else {"sample_rate": saved.sample_rate}
    document = {
        "version": version, "metadata": _metadata(saved), "architecture": architecture, "config": config,
        "weights": weights.tolist(), **rate,
    }  # fmt: skip
    return json.dumps(document) + "\n"


def _content(saved: SavedNetwork) -> tuple[str, str, dict[str, Any], Tensor]:
    """version, architecture, config and weights."""
    network = saved.network
    if network.knob_names:
        raise refused(saved, "a .nam file", f"it has knobs ({', '.join(network.knob_names)})", HOLDS)
    match network:
        case NamWaveNet():
            weights = _flat([*_plain_weights(network), torch.tensor(HEAD_SCALE)])
            return LEGACY_VERSION, "WaveNet", _legacy_config(network), weights
        case A2WaveNet():
            config = network.settings()
            _add_weights(config, network.network, saved.sample_rate)
            return VERSION, "WaveNet", config, _flat(_stage_weights(network.network))
        case Recurrent(cell="lstm", residual=False):
            sizes = {
                "input_size": 1, "hidden_size": network.recurrent.hidden_size,
                "num_layers": network.recurrent.num_layers,
            }  # fmt: skip
            return LEGACY_VERSION, "LSTM", sizes, _flat(_lstm_weights(network))
        case Recurrent():
            why = "it adds its input to its output" if network.residual else "it has GRUs"
        case LayerChain() if _is_one_convolution(network):
            (layer,) = network.kinds
            bias = [parameter for name, parameter in network.named_parameters() if name.endswith("bias")]
            sizes = {"receptive_field": layer.kernel_size, "bias": layer.bias}
            return LEGACY_VERSION, "Linear", sizes, _flat([_taps(network).flip(-1), *bias])
        case _:
            why = f"a {type(network).__name__} has other layers"
    raise refused(saved, "a .nam file", why, HOLDS)


def _is_one_convolution(network: LayerChain) -> bool:
    """Whether it is one convolution of its input, and nothing else."""
    layer = network.kinds[0]
    plain = Layer("conv1d", 1, kernel_size=layer.kernel_size, bias=layer.bias)
    return network.kinds == (plain,) and network.residual == 0.0 and network.gain == 1.0


def _add_weights(config: dict[str, Any], stage: Stage, rate: float | None) -> None:
    """What version 0.7 has beside the settings: the scale of the head, and a condition that is a file in the file."""
    config["head_scale"] = float(stage.head_scale)
    if stage.condition is not None:
        inner = config["condition_dsp"]
        _add_weights(inner["config"], stage.condition, rate)
        inner |= {"version": VERSION, "weights": _flat(_stage_weights(stage.condition)).tolist()}
        inner |= {} if rate is None else {"sample_rate": rate}


def _lstm_weights(network: Recurrent) -> Iterator[Tensor]:
    layers, size = network.recurrent.num_layers, network.recurrent.hidden_size
    start = torch.zeros(2, layers * size) if network.start is None else network.start
    for (inputs, hidden, *biases), state in zip(network.recurrent.all_weights, start.split(size, 1), strict=True):
        yield from (torch.cat([inputs, hidden], 1), biases[0] + biases[1], *state)
    yield from (network.dense.weight, network.dense.bias)


def _flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().flatten().float() for tensor in tensors])


def _metadata(saved: SavedNetwork) -> dict[str, Any]:
    now = datetime.now()
    parts = ("year", "month", "day", "hour", "minute", "second")
    found: dict[str, Any] = {"date": {part: getattr(now, part) for part in parts}, "name": saved.name}
    level = loudness(saved.network, saved.sample_rate or USUAL_RATE)
    if level is not None:
        found["loudness"] = level
    if saved.input_level is not None:
        found["input_level_dbu"] = dbu_at_full_scale(saved.input_level)
    if saved.output_gain is not None:
        found["output_level_dbu"] = dbu_at_full_scale(1.0 / abs(saved.output_gain))
    return found | {"training": {"validation_esr": saved.esr}}
