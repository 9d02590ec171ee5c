"""Networks as plain data, so that a file can say what it holds, and from it, within bounds: it may be a stranger's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import nn

from circuitnn.documents import Document
from circuitnn.errors import CircuitnnError
from circuitnn.gated import Cell
from circuitnn.models import conv_lstm, sequence_lstm
from circuitnn.models.a2_config import MAX_ARRAYS, MAX_CHANNELS, MAX_DEPTH, MAX_DILATION, MAX_KERNEL, read_config
from circuitnn.models.a2_wavenet import A2WaveNet
from circuitnn.models.chain import Chain, read_circuit
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.conv_lstm import ConvLstm
from circuitnn.models.layer_chain import ACTIVATIONS, LAYER_KINDS, Layer, LayerChain
from circuitnn.models.nam_wavenet import NamWaveNet, Stack
from circuitnn.models.network import Network
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.sequence_lstm import SequenceLstm
from circuitnn.models.state_space_gru import StateSpaceGru
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.models.tcn import TemporalConvolutionalNetwork
from circuitnn.models.wavenet import WaveNet
from circuitnn.models.wiener_hammerstein import WienerHammerstein
from circuitnn.models.window_mlp import WindowMlp

MAX_LAYERS, MAX_PARTS, MAX_KNOBS, MAX_TAPS = 1000, 20, 100, 2**20
# Numbers that a network may have, and that its convolutions may remember: a hundred times those of the field's largest.
MAX_PARAMETERS, MAX_MEMORY = 10_000_000, 20_000_000
# Samples that are gone through for each new one, and numbers that an LSTM makes of the windows that go through it at a
# time: ten times those of the field's largest.
MAX_WINDOW, MAX_UNROLLED = 10_000, 200_000_000
# Characters of a knob's name.
MAX_NAME = 100

Reader = Callable[[Document, Sequence[str]], Network]


def describe(network: Network) -> dict[str, Any]:
    """What kind of network it is and what its constructor was given, as plain data. Raises CircuitnnError for one that
    is not of this program."""
    kind = next((kind for kind, (of, _) in KINDS.items() if of is type(network)), None)
    if kind is None:
        raise CircuitnnError(f"a {type(network).__name__} cannot be written to a file", f"known: {', '.join(KINDS)}")
    return {"kind": kind, **network.settings()}


def read_description(data: Document, knobs: Sequence[str]) -> Network:
    """The network that was described, with random values. Raises CircuitnnError for one that is none or too large."""
    _, reader = KINDS[data.choice("kind", KINDS)]
    return within_bounds(lambda: reader(data, knobs), data)


def within_bounds(build: Callable[[], Network], data: Document) -> Network:
    """What `build` makes, if it is small enough: its sizes are known before there is memory for them. data: where it
    comes from, for messages. Raises CircuitnnError."""
    with torch.device("meta"):
        try:
            sizes = build()
        except CircuitnnError as error:
            if error.message.startswith(data.path):
                raise
            raise CircuitnnError(f"{data.path}: {error.message}", data.hint) from None
    count = sum(parameter.numel() for parameter in sizes.parameters())
    memory = sum(
        module.in_channels * module.dilation[0] * (module.kernel_size[0] - 1)
        for module in sizes.modules()
        if isinstance(module, nn.Conv1d)
    )
    for found, most, what in ((count, MAX_PARAMETERS, "parameters"), (memory, MAX_MEMORY, "samples of memory")):
        if found > most:
            raise CircuitnnError(f"{data.path}: a network of {found} {what} is more than the limit of {most}")
    return build()


def knobs_in(data: Document) -> tuple[str, ...]:
    """The names under "knobs". Raises CircuitnnError."""
    names = data.value.get("knobs")
    if (
        not isinstance(names, list)
        or len(names) > MAX_KNOBS
        or not all(isinstance(name, str) and 1 <= len(name) <= MAX_NAME and name.isprintable() for name in names)
        or len(set(names)) != len(names)
    ):
        raise data.wrong("knobs", f"a list of names, at most {MAX_KNOBS} and no two alike")
    return tuple(names)


def _recurrent(data: Document, knobs: Sequence[str]) -> Network:
    return Recurrent(
        cast(Cell, data.choice("cell", ("lstm", "gru"))), data.count("hidden_size", MAX_CHANNELS),
        data.flag("residual"), knobs, layers=data.count("layers", MAX_LAYERS),
        learned_start=data.flag("learned_start"),
    )  # fmt: skip


def _wavenet(data: Document, knobs: Sequence[str]) -> Network:
    return WaveNet(
        data.count("channels", MAX_CHANNELS), data.counts("dilations", MAX_DILATION, MAX_LAYERS),
        data.count("kernel_size", MAX_KERNEL), knobs,
    )  # fmt: skip


def _nam_wavenet(data: Document, knobs: Sequence[str]) -> Network:
    stacks = [
        Stack(
            entry.count("channels", MAX_CHANNELS), entry.count("head_size", MAX_CHANNELS),
            tuple(entry.counts("dilations", MAX_DILATION, MAX_LAYERS)),
        )
        for entry in data.entries("stacks")
    ]  # fmt: skip
    fits = [stack.head_size for stack in stacks] == [*(stack.channels for stack in stacks[1:]), 1]
    if not stacks or len(stacks) > MAX_ARRAYS or not fits:
        raise data.error("stacks", "expected stacks whose head_size are the next one's channels, and 1 at the end")
    return NamWaveNet(stacks, data.count("kernel_size", MAX_KERNEL), knobs)


def _a2_wavenet(data: Document, knobs: Sequence[str]) -> Network:
    if knobs:
        raise data.error("kind", "such a network has no knobs")
    return A2WaveNet(read_config(data))


def _tcn(data: Document, knobs: Sequence[str]) -> Network:
    blocks, growth = data.count("blocks", 20), data.count("dilation_growth", 1000)
    if growth ** (blocks - 1) > MAX_DILATION:
        raise data.wrong("dilation_growth", f"one with which {blocks} blocks have dilations up to {MAX_DILATION}")
    return TemporalConvolutionalNetwork(
        blocks, data.count("kernel_size", MAX_KERNEL), growth, data.count("channels", MAX_CHANNELS), knobs
    )


def _state_trajectory_network(data: Document, knobs: Sequence[str]) -> Network:
    return StateTrajectoryNetwork(
        data.count("n_states", MAX_CHANNELS), data.counts("hidden", MAX_CHANNELS, MAX_LAYERS), data.number("step"),
        knobs, linear=data.flag("linear"), readout=data.count("readout", MAX_CHANNELS, least=0),
    )  # fmt: skip


def _state_space_gru(data: Document, knobs: Sequence[str]) -> Network:
    return StateSpaceGru(
        data.count("n_states", MAX_CHANNELS), data.count("hidden_size", MAX_CHANNELS), knobs,
        linear=data.flag("linear"), readout=data.count("readout", MAX_CHANNELS, least=0),
    )  # fmt: skip


def _wiener_hammerstein(data: Document, knobs: Sequence[str]) -> Network:
    sections = data.value.get("sections")
    if not isinstance(sections, list) or len(sections) != 2:
        raise data.wrong("sections", "two numbers of filters")
    each = Document(data.path, data.where, {f"sections[{k}]": count for k, count in enumerate(sections)}, data.hint)
    before, after = (each.count(key, MAX_LAYERS, least=0) for key in each.value)
    return WienerHammerstein((before, after), data.count("hidden", MAX_CHANNELS), knobs)


def _sequence_lstm(data: Document, knobs: Sequence[str]) -> Network:
    window, size = data.count("window", MAX_WINDOW), data.count("hidden_size", MAX_CHANNELS)
    if sequence_lstm.BLOCK * window * size > MAX_UNROLLED:
        raise data.wrong("window", f"one that an LSTM of {size} units can be led through in bounded memory")
    return SequenceLstm(size, window, data.count("outputs", window), knobs)


def _conv_lstm(data: Document, knobs: Sequence[str]) -> Network:
    strides, steps = data.counts("strides", MAX_KERNEL, 2), data.count("steps", MAX_WINDOW)
    if len(strides) != 2 or strides[0] * strides[1] * steps > MAX_WINDOW:
        raise data.wrong("strides", f"two numbers that with steps reach back at most {MAX_WINDOW} samples")
    size, channels = data.count("hidden_size", MAX_CHANNELS), data.count("channels", MAX_CHANNELS)
    if conv_lstm.BLOCK * steps * max(size, channels) > MAX_UNROLLED:
        raise data.wrong("steps", f"as many as an LSTM of {size} units can be led through in bounded memory")
    return ConvLstm(size, channels, data.count("kernel_size", MAX_KERNEL), (strides[0], strides[1]), steps, knobs)


def _window_mlp(data: Document, knobs: Sequence[str]) -> Network:
    return WindowMlp(data.count("window", MAX_WINDOW), data.counts("hidden", MAX_CHANNELS, MAX_LAYERS), knobs)


def _layer_chain(data: Document, knobs: Sequence[str]) -> Network:
    entries = data.entries("layers")
    if not 1 <= len(entries) <= MAX_LAYERS:
        raise data.error("layers", f"expected 1 to {MAX_LAYERS} layers, found {len(entries)}")
    layers = [
        Layer(
            kind=entry.choice("kind", LAYER_KINDS),
            size=entry.count("size", MAX_CHANNELS),
            activation=entry.choice("activation", ACTIVATIONS),
            bias=entry.flag("bias"),
            kernel_size=entry.count("kernel_size", MAX_TAPS),
            dilation=entry.count("dilation", MAX_DILATION),
            groups=entry.count("groups", MAX_CHANNELS),
            epsilon=entry.number("epsilon"),
            slopes=entry.count("slopes", MAX_CHANNELS),
        )
        for entry in entries
    ]
    return LayerChain(layers, data.number("residual"), data.number("gain"), knobs)


def _chain(data: Document, knobs: Sequence[str]) -> Network:
    if data.where.count("parts[") >= MAX_DEPTH:
        raise data.error("parts", f"more than {MAX_DEPTH} chains inside each other")
    entries = data.entries("parts")
    if not 1 <= len(entries) <= MAX_PARTS:
        raise data.error("parts", f"expected 1 to {MAX_PARTS} parts, found {len(entries)}")
    chain = Chain(*map(_part, entries))
    if set(chain.knob_names) != set(knobs):
        raise data.error(
            "parts", f"expected the knobs {', '.join(knobs) or 'none'}, found {', '.join(chain.knob_names)}"
        )
    return chain


def _part(data: Document) -> CircuitModel | Network:
    if data.choice("kind", ("circuit", *KINDS)) == "circuit":
        return read_circuit(data)
    _, reader = KINDS[data.text("kind")]
    return reader(data, knobs_in(data))


KINDS: Mapping[str, tuple[type[Network], Reader]] = MappingProxyType(
    {
        "recurrent": (Recurrent, _recurrent),
        "wavenet": (WaveNet, _wavenet),
        "nam-wavenet": (NamWaveNet, _nam_wavenet),
        "nam-a2-wavenet": (A2WaveNet, _a2_wavenet),
        "tcn": (TemporalConvolutionalNetwork, _tcn),
        "state-trajectory-network": (StateTrajectoryNetwork, _state_trajectory_network),
        "state-space-gru": (StateSpaceGru, _state_space_gru),
        "wiener-hammerstein": (WienerHammerstein, _wiener_hammerstein),
        "sequence-lstm": (SequenceLstm, _sequence_lstm),
        "conv-lstm": (ConvLstm, _conv_lstm),
        "window-mlp": (WindowMlp, _window_mlp),
        "layer-chain": (LayerChain, _layer_chain),
        "chain": (Chain, _chain),
    }
)
