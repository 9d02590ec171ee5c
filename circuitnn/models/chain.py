"""Circuits and networks in series, trained as one: the gray box whose known parts are circuits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.documents import Document
from circuitnn.errors import CircuitnnError
from circuitnn.models.circuit_model import CircuitModel, CircuitState
from circuitnn.models.network import Network, State
from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.schemes import SCHEMES

Part = CircuitModel | Network
# What a network says in silence need not be zero, and a circuit that is at rest for zero answers with a thump. So a
# chain begins after so many seconds of silence, in which coupling capacitors charge.
SILENCE = 0.5


class Chain(Network):
    """Each part's output is the next one's input: y, state = chain(u, state=None, knobs=None).

    A circuit takes what comes as volt, and hands on volt; each part computes in its own precision. A knob goes to every
    part that names it. sample_rate: the circuits', None if there is none. State: the parts' states one after the other.
    At first each part is at its own rest; where a circuit follows another part, SILENCE has been played since, through
    which no gradients go. Raises CircuitnnError for parts that do not go together.
    """

    def __init__(self, *parts: Part) -> None:
        if not parts:
            raise CircuitnnError("expected circuits and networks, found none")
        super().__init__(list(dict.fromkeys(name for part in parts for name in knobs_of(part))))
        rates = sorted({part.sample_rate for part in parts if part.sample_rate is not None})
        if len(rates) > 1:
            raise CircuitnnError(
                f"the circuits of a chain run at {' and '.join(f'{rate:g} Hz' for rate in rates)}",
                "give all of them one sample_rate",
            )
        for part in parts:
            structure = part.discrete.structure if isinstance(part, CircuitModel) else None
            if structure and (structure.n_u, structure.n_y) != (1, 1):
                found = f"{structure.n_u} inputs and {structure.n_y} outputs"
                raise CircuitnnError(f"expected circuits of one input and one output, found one with {found}")
        self.parts = nn.ModuleList(parts)
        self.sample_rate = rates[0] if rates else None
        self.latency = sum(part.latency for part in parts)
        self.silence = round(SILENCE * rates[0]) if any(part.sample_rate is not None for part in parts[1:]) else 0
        # How many tensors each part's state is.
        self._sizes = [_state_size(part) for part in parts]

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        y, waiting, later = u, iter(state), list[Tensor]()
        for part, size in zip(self.links(), self._sizes, strict=True):
            own = tuple(islice(waiting, size))
            y, after = part(y, CircuitState(*own) if isinstance(part, CircuitModel) else own, self._knobs(part, knobs))
            later += after
        return y, tuple(later)

    def rest(self, knobs: Tensor) -> State:
        at_rest = list[Tensor]()
        for part in self.links():
            if isinstance(part, CircuitModel):
                _, state = part(knobs.new_zeros(len(knobs), 0, 1), knobs=self._knobs(part, knobs))
            else:
                own = knobs[:, :, [self.knob_names.index(name) for name in part.knob_names]]
                state = part.rest(own.to(next(part.parameters()).dtype))
            at_rest += state
        return self._after_silence(knobs, tuple(at_rest)) if self.silence else tuple(at_rest)

    def _after_silence(self, knobs: Tensor, state: State) -> State:
        """Played once for all sounds at the same positions of the knobs."""
        # The zeros are for chains without knobs.
        at_first = torch.nn.functional.pad(knobs[:, 0], (1, 0))
        positions, which = torch.unique(at_first, dim=0, return_inverse=True)
        first = torch.stack([torch.nonzero(which == k)[0, 0] for k in range(len(positions))])
        one_of_each = tuple(part[first] if len(part) == len(knobs) else part for part in state)
        zeros = knobs.new_zeros(len(positions), self.silence, 1)
        standing = positions[:, None, 1:].expand(-1, self.silence, -1)
        # It says nothing about the sounds that a network is trained on, whose statistics it may keep.
        training = self.training
        self.eval()
        with torch.no_grad():
            _, later = self.run(zeros, standing, one_of_each)
        self.train(training)
        return tuple(part[which] if len(part) == len(positions) else part for part in later)

    def settings(self) -> dict[str, Any]:
        # It knows all kinds of networks, this one too.
        from circuitnn.models.description import describe

        def described(part: Part) -> dict[str, Any]:
            if isinstance(part, CircuitModel):
                return described_circuit(part)
            return {**describe(part), "knobs": list(part.knob_names)}

        return {"parts": [described(part) for part in self.links()]}

    def links(self) -> Iterator[Part]:
        """Its parts, in the order in which the sound goes through them."""
        for part in self.parts:
            assert isinstance(part, CircuitModel | Network)
            yield part

    def _knobs(self, part: Part, knobs: Tensor) -> dict[str, Tensor]:
        """The part's knobs, [batch] where they stand still: a circuit is cheaper then."""
        own = {name: knobs[:, :, self.knob_names.index(name)] for name in knobs_of(part)}
        return {name: k[:, 0] if bool((k == k[:, :1]).all()) else k for name, k in own.items()}


def described_circuit(circuit: CircuitModel) -> dict[str, Any]:
    """A circuit as plain data, with the values of its netlist: those that it has learned are its parameters."""
    return {
        "kind": "circuit",
        "netlist": format_netlist(circuit.circuit).splitlines(),
        "sample_rate": circuit.sample_rate,
        "oversample": circuit.oversample,
        "scheme": circuit.discrete.scheme.name,
        "learn": [coordinate.name for coordinate in circuit.coordinates],
    }


def read_circuit(data: Document) -> CircuitModel:
    """The circuit that was described. Raises CircuitnnError."""
    schemes = {scheme.name: scheme for scheme in SCHEMES.values()}
    netlist, learn = data.texts("netlist"), data.texts("learn")
    return CircuitModel(
        parse_netlist("\n".join(netlist) + "\n", data.path), data.number("sample_rate"), data.integer("oversample"),
        learn, scheme=schemes[data.choice("scheme", schemes)],
    )  # fmt: skip


def knobs_of(part: Part) -> tuple[str, ...]:
    """The names of a part's knobs."""
    return tuple(part.tapers) if isinstance(part, CircuitModel) else part.knob_names


def _state_size(part: Part) -> int:
    if isinstance(part, CircuitModel):
        return len(CircuitState._fields)
    return len(part.rest(next(part.parameters()).new_zeros(1, 1, len(part.knob_names))))
