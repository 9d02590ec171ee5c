"""Small files of other engines' formats, written here by hand or from networks with known weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from circuitnn.documents import Document
from circuitnn.formats import SavedNetwork
from circuitnn.models.a2_config import FILMS, read_config
from circuitnn.models.a2_wavenet import A2WaveNet
from circuitnn.models.chain import Chain
from circuitnn.models.layer_chain import Layer, LayerChain
from circuitnn.models.nam_wavenet import NamWaveNet, Stack
from circuitnn.models.network import Network
from circuitnn.models.recurrent import Recurrent

RATE = 8000.0


def random(network: Network, seed: int = 0) -> Network:
    """With parameters that are the same every time."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def sound(time: int = 300, seed: int = 0) -> Tensor:
    return 0.5 * torch.randn(1, time, 1, generator=torch.Generator().manual_seed(seed))


def output(network: Network, u: Tensor, **knobs: float) -> Tensor:
    with torch.no_grad():
        y: Tensor = network(u, knobs=knobs)[0][0, :, 0]
    return y


def a2_config(films: bool = True) -> dict[str, Any]:
    """A WaveNet with everything that version 0.7 may hold."""
    inner = {
        "input_size": 1, "condition_size": 1, "channels": 4, "bottleneck": 2, "kernel_size": 2, "dilations": [1, 3],
        "activation": [{"type": "PReLU", "negative_slopes": [0.1, 0.2]}, "Hardswish"],
        "gating_mode": ["blended", "gated"], "secondary_activation": ["Sigmoid", {"type": "LeakyReLU"}],
        "groups_input": 2, "head": {"out_channels": 3, "kernel_size": 2, "bias": True},
    }  # fmt: skip
    outer = {
        "input_size": 1, "condition_size": 3, "channels": 4, "bottleneck": 2, "kernel_sizes": [3, 2],
        "dilations": [2, 1], "activation": {"type": "LeakyHardtanh", "max_val": 0.5},
        "gating_mode": "gated", "secondary_activation": "Softsign", "head_size": 2, "head_bias": False,
        "head1x1": {"active": True, "out_channels": 6, "groups": 2}, "layer1x1": {"active": True, "groups": 2},
    }  # fmt: skip
    if films:
        outer |= {name: {"active": True, "shift": k % 2 == 0, "groups": 1} for k, name in enumerate(FILMS)}
    last = {
        "input_size": 4, "condition_size": 3, "channels": 2, "kernel_size": 1, "dilations": [1], "activation": "SiLU",
        "gated": False, "head_size": 2, "head_bias": True, "layer1x1": {"active": False, "groups": 1},
    }  # fmt: skip
    head = {"channels": 3, "out_channels": 1, "kernel_sizes": [2, 3], "activation": "Fasttanh"}
    condition = {"version": "0.7.0", "architecture": "WaveNet", "config": {"layers": [inner], "head": None}}
    return {"layers": [outer, last], "head": head, "condition_dsp": condition, "in_channels": 1}


def a2() -> Network:
    return A2WaveNet(read_config(Document("a2", "", a2_config(), "")))


def small_a2() -> Network:
    """Like those that the trainer makes today: rectifiers that leak, kernels of several sizes, a head that filters."""
    array = {
        "input_size": 1, "condition_size": 1, "channels": 3, "kernel_sizes": [4, 2], "dilations": [1, 5],
        "activation": {"type": "LeakyReLU", "negative_slope": 0.02}, "gating_mode": "none",
        "head": {"out_channels": 1, "kernel_size": 6, "bias": True},
    }  # fmt: skip
    return A2WaveNet(read_config(Document("a2", "", {"layers": [array]}, "")))


def chain(residual: float = 0.0, gain: float = 1.0, knobs: tuple[str, ...] = ()) -> LayerChain:
    """Every kind of layer."""
    layers = [
        Layer("dense", 4, "tanh"), Layer("conv1d", 6, "elu", kernel_size=3, dilation=2, groups=2),
        Layer("batchnorm", 6, epsilon=0.01), Layer("prelu", 6, slopes=6), Layer("batchnorm", 6, bias=False),
        Layer("gru", 3), Layer("activation", 3, "softmax"), Layer("lstm", 2), Layer("prelu", 2, "sigmoid"),
        Layer("dense", 5, "relu", bias=False), Layer("dense", 1),
    ]  # fmt: skip
    return LayerChain(layers, residual, gain, knobs)


NETWORKS = {
    "wavenet": lambda: NamWaveNet([Stack(3, 2, (1, 2)), Stack(2, 1, (4,))], kernel_size=2),
    "a2": a2,
    "small-a2": small_a2,
    "chain": chain,
    "linear": lambda: LayerChain([Layer("conv1d", 1, kernel_size=7)]),
    "lstm": lambda: Recurrent("lstm", 8, residual=False),
    "two-lstms": lambda: Recurrent("lstm", 3, residual=False, layers=2, learned_start=True),
    "gru": lambda: Recurrent("gru", 8, residual=True),
    "chain-of-networks": lambda: Chain(Recurrent("gru", 2), LayerChain([Layer("dense", 1)])),
    "gru-with-knobs": lambda: Recurrent("gru", 3, True, ("knob_1", "knob_2"), layers=2),
}


def saved(name: str) -> SavedNetwork:
    return SavedNetwork(random(NETWORKS[name]()), name, RATE, delay=3.5, esr=0.01, input_level=5.0, output_gain=0.25)


def container(*files: dict[str, Any]) -> dict[str, Any]:
    """A SlimmableContainer of .nam files, the smallest first."""
    submodels = [{"max_value": (k + 1) / len(files), "model": file} for k, file in enumerate(files)]
    config = {"submodels": submodels}
    return {"version": "0.7.0", "architecture": "SlimmableContainer", "config": config, "weights": []}


def written(data: object, path: Path) -> Path:
    path.write_text(json.dumps(data))
    return path
