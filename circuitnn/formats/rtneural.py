"""RTNeural's JSON, which has Keras's layout (J. Chowdhury, github.com/jatinchowdhury18/RTNeural)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.documents import Document
from circuitnn.formats.saved_network import SavedNetwork, nested, refused
from circuitnn.models.a2_config import MAX_CHANNELS, MAX_DILATION
from circuitnn.models.description import MAX_LAYERS, MAX_TAPS, within_bounds
from circuitnn.models.layer_chain import ACTIVATIONS, Layer, LayerChain
from circuitnn.models.recurrent import Recurrent

HOLDS = "chains of dense, conv1d, lstm, gru, prelu and batchnorm layers that begin with zeros, such as lstm-32-plain"
TYPES = {
    "dense": "dense", "time-distributed-dense": "dense", "conv1d": "conv1d", "lstm": "lstm", "gru": "gru",
    "prelu": "prelu", "batchnorm": "batchnorm", "activation": "activation",
}  # fmt: skip
# Keras's, for files that do not say.
EPSILON = 1e-3


def read_rtneural(data: Document) -> SavedNetwork:
    """The network of a file. Knobs are its inputs behind the sound, knob_1 and so on. Raises CircuitnnError."""
    rate = sample_rate(data)
    return SavedNetwork(read_chain(data), "RTNeural", rate)


def read_chain(data: Document, residual: float = 0.0, gain: float = 1.0) -> LayerChain:
    """The layers of a file as a network. Raises CircuitnnError."""
    inputs = _last(data, "in_shape")
    entries = data.entries("layers")
    if not 1 <= len(entries) <= MAX_LAYERS:
        raise data.error("layers", f"expected 1 to {MAX_LAYERS} layers, found {len(entries)}")
    layers = [_layer(entry) for entry in entries]
    knobs = knob_names(inputs)
    chain = within_bounds(lambda: LayerChain(layers, residual, gain, knobs), data)
    assert isinstance(chain, LayerChain)
    for module, entry in zip(chain.layers, entries, strict=True):
        _fill(module, entry)
    return chain.eval()


def knob_names(inputs: int) -> tuple[str, ...]:
    """Names for the inputs behind the sound, which files do not name."""
    return tuple(f"knob_{k}" for k in range(1, inputs))


def sample_rate(data: Document) -> float | None:
    """What a file says of its rate, as a number or as text. Raises CircuitnnError."""
    if not data.has("samplerate"):
        return None
    value = data.value["samplerate"]
    try:
        rate = float(value) if isinstance(value, str) else data.number("samplerate")
    except ValueError:
        rate = 0.0
    if not 1.0 <= rate <= 1e7:
        raise data.wrong("samplerate", "a rate in Hz")
    return rate


def _last(data: Document, key: str) -> int:
    """The number of channels, the last entry of a shape."""
    shape = data.value.get(key)
    if not isinstance(shape, list) or not shape or len(shape) > 4:
        raise data.wrong(key, "a shape such as [null, null, 1]")
    name = f"{key}[{len(shape) - 1}]"
    return Document(data.path, data.where, {name: shape[-1]}, data.hint).count(name, MAX_CHANNELS)


def _single(data: Document, key: str, most: int) -> int:
    """A number that Keras writes as a list of one."""
    if not data.has(key):
        return 1
    if isinstance(data.value[key], list):
        (number, *others) = data.counts(key, most, 1)
        assert not others
        return number
    return data.count(key, most)


def _layer(data: Document) -> Layer:
    kind = TYPES[data.choice("type", TYPES)]
    weights = data.value.get("weights", [])
    if not isinstance(weights, list):
        raise data.wrong("weights", "a list of arrays")
    ignored = kind in ("lstm", "gru") or not data.has("activation")
    return Layer(
        kind,
        _last(data, "shape"),
        activation="" if ignored else data.choice("activation", ACTIVATIONS),
        bias=len(weights) > 2 if kind == "batchnorm" else len(weights) > 1,
        kernel_size=_single(data, "kernel_size", MAX_TAPS),
        dilation=_single(data, "dilation", MAX_DILATION),
        groups=_single(data, "groups", MAX_CHANNELS),
        epsilon=data.number("epsilon") if data.has("epsilon") else EPSILON,
        slopes=_slopes(weights) if kind == "prelu" else 1,
    )


def _slopes(weights: Sequence[Any]) -> int:
    return len(weights[0][0]) if weights and isinstance(weights[0], list) and _is_row(weights[0]) else 0


def _is_row(value: Sequence[Any]) -> bool:
    return len(value) == 1 and isinstance(value[0], list)


def _fill(module: nn.Module, data: Document) -> None:
    """Copy a layer's arrays into it. Raises CircuitnnError unless they have its sizes."""
    weights, expected = data.value.get("weights", []), to_keras(module)
    if len(weights) != len(expected):
        raise data.error("weights", f"expected {len(expected)} arrays, found {len(weights)}")
    found = [
        nested(array, tuple(like.shape), data, f"weights[{k}]")
        for k, (like, array) in enumerate(zip(expected, weights, strict=True))
    ]
    with torch.no_grad():
        for place, value in zip(_places(module), _from_keras(module, found), strict=True):
            place.copy_(value)


def _places(module: nn.Module) -> list[Tensor]:
    """What a layer has of weights, in the order of Keras."""
    match module:
        case nn.LSTM() | nn.GRU():
            return list(module.all_weights[0])
        case nn.BatchNorm1d():
            own = [] if module.weight is None else [module.weight, module.bias]
            assert module.running_mean is not None
            assert module.running_var is not None
            return [*own, module.running_mean, module.running_var]
        case nn.Linear() | nn.Conv1d() | nn.PReLU():
            return list(module.parameters())
        case _:
            return []


def to_keras(module: nn.Module) -> list[Tensor]:
    """A layer's arrays in Keras's layout: inputs before outputs, a convolution's oldest tap first, one bias for an
    LSTM, and the gates of a GRU as z r h instead of r z h."""
    places = [place.detach() for place in _places(module)]
    match module:
        case nn.Linear():
            return [places[0].T, *places[1:]]
        case nn.Conv1d():
            return [places[0].permute(2, 1, 0), *places[1:]]
        case nn.LSTM():
            return [places[0].T, places[1].T, places[2] + places[3]]
        case nn.GRU():
            inputs, hidden, *biases = (_swapped(place) for place in places)
            return [inputs.T, hidden.T, torch.stack(biases)]
        case nn.PReLU():
            return [places[0][None]]
        case _:
            return places


def _from_keras(module: nn.Module, arrays: Sequence[Tensor]) -> list[Tensor]:
    """The inverse, as values of `_places`."""
    match module:
        case nn.Linear():
            return [arrays[0].T, *arrays[1:]]
        case nn.Conv1d():
            return [arrays[0].permute(2, 1, 0), *arrays[1:]]
        case nn.LSTM():
            return [arrays[0].T, arrays[1].T, arrays[2], torch.zeros_like(arrays[2])]
        case nn.GRU():
            return [_swapped(part) for part in (arrays[0].T, arrays[1].T, *arrays[2])]
        case nn.PReLU():
            return [arrays[0][0]]
        case _:
            return list(arrays)


def _swapped(gates: Tensor) -> Tensor:
    """The first two of three gates in the other order."""
    first, second, third = gates.chunk(3)
    return torch.cat([second, first, third])


def write_rtneural(saved: SavedNetwork) -> str:
    """A file's text. Raises CircuitnnError for a network that such a file cannot hold."""
    chain = chain_of(saved, "RTNeural's JSON", HOLDS)
    if chain.residual:
        raise refused(saved, "RTNeural's JSON", "it adds its input to its output", HOLDS)
    if chain.gain != 1.0:
        raise refused(saved, "RTNeural's JSON", "it scales its output", HOLDS)
    rate = {} if saved.sample_rate is None else {"samplerate": saved.sample_rate}
    return json.dumps({**chain_data(chain), **rate}) + "\n"


def chain_data(chain: LayerChain) -> dict[str, Any]:
    """in_shape and layers of a file."""
    return {
        "in_shape": [None, None, 1 + len(chain.knob_names)],
        "layers": [_layer_data(layer, module) for layer, module in zip(chain.kinds, chain.layers, strict=True)],
    }


def _layer_data(layer: Layer, module: nn.Module) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if layer.kind == "conv1d":
        more = {"kernel_size": [layer.kernel_size], "dilation": [layer.dilation], "groups": layer.groups}
    if layer.kind == "batchnorm":
        more = {"epsilon": layer.epsilon}
    return {
        "type": layer.kind,
        "activation": layer.activation,
        "shape": [None, None, layer.size],
        **more,
        "weights": [array.tolist() for array in to_keras(module)],
    }


def chain_of(saved: SavedNetwork, form: str, holds: str) -> LayerChain:
    """A network as a chain of layers. Raises CircuitnnError for one that is none."""
    network = saved.network
    if isinstance(network, LayerChain):
        return network
    if not isinstance(network, Recurrent):
        raise refused(saved, form, f"a {type(network).__name__} is no chain of such layers", holds)
    if network.start is not None:
        raise refused(saved, form, "it begins with a state of its own", holds)
    return _chain_of_recurrent(network)


def _chain_of_recurrent(network: Recurrent) -> LayerChain:
    layer, count = network.recurrent, network.recurrent.num_layers
    layers = [Layer(network.cell, layer.hidden_size) for _ in range(count)]
    chain = LayerChain([*layers, Layer("dense", 1)], float(network.residual), 1.0, network.knob_names)
    with torch.no_grad():
        for k in range(count):
            for own, other in zip(_places(chain.layers[k]), layer.all_weights[k], strict=True):
                own.copy_(other)
    chain.layers[count].load_state_dict(network.dense.state_dict())
    return chain.eval()
