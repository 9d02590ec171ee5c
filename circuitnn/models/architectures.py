"""The networks by name, with the sizes of their papers."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from circuitnn.errors import CircuitnnError
from circuitnn.gated import Cell
from circuitnn.models.conv_lstm import ConvLstm
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

Constructor = Callable[[Sequence[str]], Network]
TaughtConstructor = Callable[[int, Sequence[str]], Network]

TEN = tuple(2**k for k in range(10))
EIGHTEEN = tuple(2**k for k in range(9)) * 2
# The smaller presets of Neural Amp Modeler share twenty dilations out otherwise than the standard one.
SEVEN, THIRTEEN = TEN[:7], TEN[7:] + TEN

# Width of the output's hidden layer of networks that a circuit teaches.
READOUT = 8


@dataclass(frozen=True)
class Architecture:
    """build: a new network, given the names of its knobs. source: who published it. taught: one with as many
    states as the circuit that teaches it, if it has states."""

    build: Constructor
    source: str
    taught: TaughtConstructor | None = None


def _recurrent(cell: Cell, hidden_size: int, residual: bool) -> Architecture:
    return Architecture(lambda knobs: Recurrent(cell, hidden_size, residual, knobs), "Wright et al. 2019, 2020")


def _wavenet(channels: int, dilations: Sequence[int]) -> Architecture:
    return Architecture(lambda knobs: WaveNet(channels, dilations, knob_names=knobs), "Damskagg et al. 2019")


def _nam(first: tuple[int, Sequence[int]], second: tuple[int, Sequence[int]]) -> Architecture:
    stacks = (Stack(first[0], second[0], tuple(first[1])), Stack(second[0], 1, tuple(second[1])))
    return Architecture(lambda knobs: NamWaveNet(stacks, knob_names=knobs), "Neural Amp Modeler")


def _tcn(kernel_size: int) -> Architecture:
    return Architecture(
        lambda knobs: TemporalConvolutionalNetwork(kernel_size=kernel_size, knob_names=knobs),
        "Steinmetz and Reiss 2022",
    )


def _sequence_lstm(hidden_size: int) -> Architecture:
    return Architecture(lambda knobs: SequenceLstm(hidden_size, knob_names=knobs), "Schmitz 2019")


def _conv_lstm(hidden_size: int) -> Architecture:
    return Architecture(lambda knobs: ConvLstm(hidden_size, knob_names=knobs), "Schmitz 2019")


def _block_oriented(before: int, after: int) -> Architecture:
    return Architecture(
        lambda knobs: WienerHammerstein((before, after), knob_names=knobs),
        "Eichas and Zolzer 2016; Kuznetsov et al. 2020",
    )


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        **{f"lstm-{size}": _recurrent("lstm", size, residual=True) for size in (32, 64, 96)},
        **{f"lstm-{size}-plain": _recurrent("lstm", size, residual=False) for size in (32, 64, 96)},
        **{f"gru-{size}": _recurrent("gru", size, residual=True) for size in (32, 64, 96)},
        **{f"gru-{size}-plain": _recurrent("gru", size, residual=False) for size in (32, 64, 96)},
        "wavenet-1": _wavenet(16, TEN),
        "wavenet-2": _wavenet(8, EIGHTEEN),
        "wavenet-3": _wavenet(16, EIGHTEEN),
        "nam-standard": _nam((16, TEN), (8, TEN)),
        "nam-lite": _nam((12, SEVEN), (6, THIRTEEN)),
        "nam-feather": _nam((8, SEVEN), (4, THIRTEEN)),
        "nam-nano": _nam((4, SEVEN), (2, THIRTEEN)),
        "tcn-100": _tcn(5),
        "tcn-300": _tcn(13),
        "stn": Architecture(
            lambda knobs: StateTrajectoryNetwork(knob_names=knobs),
            "Parker et al. 2019",
            lambda n, knobs: StateTrajectoryNetwork(n, (8, 8), knob_names=knobs, linear=True, readout=READOUT),
        ),
        "state-space-gru": Architecture(
            lambda knobs: StateSpaceGru(knob_names=knobs),
            "Peussa 2020",
            lambda n, knobs: StateSpaceGru(n, 16, knobs, linear=True, readout=READOUT),
        ),
        **{f"seq2seq-lstm-{size}": _sequence_lstm(size) for size in (32, 150)},
        **{f"conv-lstm-{size}": _conv_lstm(size) for size in (32, 150)},
        "mlp": Architecture(lambda knobs: WindowMlp(knob_names=knobs), "Schmitz 2019"),
        "wiener": _block_oriented(4, 0),
        "hammerstein": _block_oriented(0, 4),
        "wiener-hammerstein": _block_oriented(2, 2),
    }
)


def build_network(name: str, knob_names: Sequence[str] = (), n_states: int | None = None) -> Network:
    """A new network with random values. n_states: of a circuit that will teach it; None: there is none. Raises
    CircuitnnError for a name that is not in the table, or for an architecture without states that is to be taught."""
    check_architecture(name)
    architecture = ARCHITECTURES[name]
    if n_states is None:
        return architecture.build(knob_names)
    if architecture.taught is None:
        able = ", ".join(key for key, one in ARCHITECTURES.items() if one.taught is not None)
        raise CircuitnnError(f"{name} has no states that a circuit could teach", f"taught are: {able}")
    return architecture.taught(n_states, knob_names)


def check_architecture(name: str) -> None:
    """Raise CircuitnnError for a name that is not in the table."""
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(name, ARCHITECTURES, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(ARCHITECTURES)}"
        raise CircuitnnError(f"there is no architecture {name[:60]!r}", hint)
