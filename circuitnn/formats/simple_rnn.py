"""SimpleRNN JSON, as CoreAudioML trains it and Proteus, NeuralPi and others load it (A. Wright,
github.com/Alec-Wright/CoreAudioML): torch's own layout."""

from __future__ import annotations

import json
from typing import cast

import torch
from torch import nn

from circuitnn.documents import Document
from circuitnn.formats.rtneural import knob_names
from circuitnn.formats.saved_network import SavedNetwork, nested, refused
from circuitnn.gated import Cell
from circuitnn.models.a2_config import MAX_CHANNELS
from circuitnn.models.description import MAX_KNOBS, MAX_LAYERS, within_bounds
from circuitnn.models.recurrent import Recurrent

HOLDS = "LSTMs or GRUs and a dense layer that begin with zeros, such as lstm-32, and knobs as further inputs"
# What the layers are called there and here.
NAMES = {"rec.": "recurrent.", "lin.": "dense."}


def read_simple_rnn(data: Document) -> SavedNetwork:
    """The network of a file; its knobs are called knob_1 and so on. Raises CircuitnnError."""
    model = data.inner("model_data")
    model.choice("model", ("SimpleRNN",))
    model.count("output_size", 1)
    knobs = knob_names(model.count("input_size", 1 + MAX_KNOBS))
    cell = cast(Cell, model.choice("unit_type", ("LSTM", "GRU")).lower())
    size, layers = model.count("hidden_size", MAX_CHANNELS), model.count("num_layers", MAX_LAYERS)
    skip = bool(model.count("skip", 1, least=0)) if model.has("skip") else False
    network = within_bounds(lambda: Recurrent(cell, size, skip, knobs, layers=layers), data)
    weights, biased = data.inner("state_dict"), not model.has("bias_fl") or bool(model.value["bias_fl"])
    with torch.no_grad():
        for name, place in network.named_parameters():
            key = _their_name(name)
            if not biased and "bias" in key and not weights.has(key):
                nn.init.zeros_(place)
            else:
                place.copy_(nested(weights.value.get(key), tuple(place.shape), weights, key))
    return SavedNetwork(network.eval(), "SimpleRNN")


def write_simple_rnn(saved: SavedNetwork) -> str:
    """A file's text. Raises CircuitnnError for a network that such a file cannot hold."""
    network = saved.network
    if not isinstance(network, Recurrent):
        raise refused(saved, "SimpleRNN JSON", f"a {type(network).__name__} has other layers", HOLDS)
    if network.start is not None:
        raise refused(saved, "SimpleRNN JSON", "it begins with a state of its own", HOLDS)
    document = {
        "model_data": {
            "model": "SimpleRNN", "input_size": 1 + len(network.knob_names), "skip": int(network.residual),
            "output_size": 1, "unit_type": network.cell.upper(), "num_layers": network.recurrent.num_layers,
            "hidden_size": network.recurrent.hidden_size, "bias_fl": True,
        },
        "state_dict": {_their_name(name): value.tolist() for name, value in network.state_dict().items()},
    }  # fmt: skip
    return json.dumps(document) + "\n"


def _their_name(name: str) -> str:
    theirs, ours = next((theirs, ours) for theirs, ours in NAMES.items() if name.startswith(ours))
    return theirs + name.removeprefix(ours)
