"""Layers as torch names their weights, in JSON: what RTNeural loads with its torch helpers. Such a file says no more
than the layers, which are taken one after the other in its order, without activations in between."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from circuitnn.documents import Document
from circuitnn.formats.rtneural import knob_names
from circuitnn.formats.saved_network import SavedNetwork, nested
from circuitnn.models.a2_config import MAX_CHANNELS
from circuitnn.models.description import MAX_LAYERS, MAX_TAPS, within_bounds
from circuitnn.models.layer_chain import Layer, LayerChain

_RECURRENT = re.compile(r"(?P<layer>(?:.*\.)?)weight_ih_l(?P<index>[0-9]{1,3})")
_SIMPLE = re.compile(r"(?P<layer>(?:.*\.)?)weight")
# Deepest lists that are weights.
MAX_RANK = 3


def is_torch_layers(data: Document) -> bool:
    """Whether a file is one of these."""
    return any(_RECURRENT.fullmatch(key) or _SIMPLE.fullmatch(key) for key in data.value)


def read_torch_layers(data: Document) -> SavedNetwork:
    """The chain of a file's layers. Raises CircuitnnError."""
    layers, weights, inputs = read_layers(data)
    chain = within_bounds(lambda: LayerChain(layers, knob_names=knob_names(inputs)), data)
    assert isinstance(chain, LayerChain)
    with torch.no_grad():
        for module, values in zip(chain.layers, weights, strict=True):
            for place, value in zip(module.parameters(), values, strict=True):
                if place.shape != value.shape:
                    raise data.error("weights", f"expected {list(place.shape)}, found {list(value.shape)}")
                place.copy_(value)
    return SavedNetwork(chain.eval(), "torch layers")


def read_layers(data: Document) -> tuple[list[Layer], list[list[Tensor]], int]:
    """The layers, the weights of each in torch's order, and the inputs of the first. Raises CircuitnnError."""
    layers, weights, inputs = list[Layer](), list[list[Tensor]](), list[int]()
    for key in data.value:
        if (found := _RECURRENT.fullmatch(key)) is not None:
            at = f"_l{found['index']}"
            names = [f"{found['layer']}{name}{at}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            values = [_tensor(data, name) for name in names]
            gates, size = values[1].shape if values[1].dim() == 2 else (0, 1)
            if gates not in (3 * size, 4 * size):
                raise data.error(names[1], f"expected 3 or 4 times as many rows as columns, found {gates} and {size}")
            layers.append(Layer("gru" if gates == 3 * size else "lstm", size))
        elif (found := _SIMPLE.fullmatch(key)) is not None:
            bias = f"{found['layer']}bias"
            values = [_tensor(data, key), *([_tensor(data, bias)] if data.has(bias) else [])]
            size, taps = values[0].shape[0], values[0].shape[2] if values[0].dim() == 3 else 1
            kind = "dense" if values[0].dim() == 2 else "conv1d"
            layers.append(Layer(kind, size, bias=len(values) > 1, kernel_size=taps))
        else:
            continue
        weights.append(values)
        inputs.append(values[0].shape[1])
    if len(layers) > MAX_LAYERS:
        raise data.error("weights", f"expected at most {MAX_LAYERS} layers, found {len(layers)}")
    return layers, weights, inputs[0]


def _tensor(data: Document, key: str) -> Tensor:
    """Numbers whose shape is that of the first entry of each list."""
    value, shape = data.value.get(key), list[int]()
    while isinstance(value, list) and len(shape) <= MAX_RANK:
        shape.append(len(value))
        value = value[0] if value else None
    weight = key.rpartition(".")[2].startswith("weight")
    if not (2 <= len(shape) <= MAX_RANK if weight else len(shape) == 1) or not all(
        1 <= size <= (MAX_TAPS if k == 2 else 4 * MAX_CHANNELS) for k, size in enumerate(shape)
    ):
        raise data.error(key, "expected a bias, or weights of two or three dimensions, found something else")
    return nested(data.value[key], tuple(shape), data, key)
