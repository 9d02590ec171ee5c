"""What all networks share: the calling convention, and knobs as inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.errors import CircuitnnError

# Where a network stands between two chunks: tensors whose first axis is the batch.
State = tuple[Tensor, ...]


class Network(nn.Module, ABC):
    """A network that maps sound to sound, float32: y, state = network(u, state=None, knobs=None).

    knob_names: knobs that are inputs of the network, in order. latency: by how many samples y is late.
    sample_rate: the only one that it can run at, None for those that learn any. An architecture defines `run`, `rest`
    and `settings`.
    """

    def __init__(self, knob_names: Sequence[str] = ()) -> None:
        super().__init__()
        self.knob_names = tuple(knob_names)
        self.latency = 0
        self.sample_rate: float | None = None

    @abstractmethod
    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        """u [batch, time, 1], knobs [batch, time, n_knobs] -> y [batch, time, 1], and the state after it."""

    @abstractmethod
    def rest(self, knobs: Tensor) -> State:
        """Where the network begins, with the knobs of the first sample [batch, 1, n_knobs]."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What its constructor was given, apart from the knobs, as plain data: with it a file can say what network it
        holds (see description.py)."""

    def input_weights(self) -> Sequence[Tensor]:
        """What u is multiplied by first, see `expect`; none of a network that begins as it is."""
        return []

    def forward(
        self, u: Tensor, state: State | None = None, knobs: Mapping[str, float | Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """u [batch, time, 1] -> y [batch, time, 1], both in digital full scale, and the state after it.

        knobs: positions 0 to 1 by name, one for each of `knob_names`: a number, one per recording [batch], or one per
        sample [batch or 1, time]. Raises CircuitnnError.
        """
        if u.dim() != 3 or u.shape[2] != 1:
            raise CircuitnnError(
                f"expected u of shape [batch, time, 1], found {list(u.shape)}", "a mono signal is u[None, :, None]"
            )
        u = u.to(next(self.parameters()).dtype)
        positions = _columns(self.knob_names, knobs or {}, u)
        if u.shape[1] == 0:
            if state is None:
                raise CircuitnnError("expected at least one sample, found none")
            return u, state
        return self.run(u, positions, self.rest(positions[:, :1]) if state is None else state)


def expect(network: Network, rms: float) -> None:
    """Let a new network begin with inner signals as strong as an input of rms 1 would make them, when the input's own
    is `rms`. Otherwise its first weights would have far to go from a guitar's level in digital full scale, and Adam's
    steps are of one size, whatever the signal's is."""
    with torch.no_grad():
        for weight in network.input_weights():
            weight.div_(rms)


def parameter_count(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def detached(state: State) -> State:
    """The state as numbers: where backpropagation through time is cut."""
    return tuple(part.detach() for part in state)


def _columns(names: Sequence[str], knobs: Mapping[str, float | Tensor], u: Tensor) -> Tensor:
    """Positions [batch, time, n_knobs]. Raises CircuitnnError for a knob that is missing or unknown."""
    for name in [*knobs, *names]:
        if (name in knobs) != (name in names):
            what = f"no position of knob {name!r}" if name in names else f"there is no knob {name!r}"
            raise CircuitnnError(what, f"knobs: {', '.join(names) or 'none'}")
    batch, time = u.shape[:2]
    columns = [_column(name, torch.as_tensor(knobs[name]).to(u), batch, time) for name in names]
    return torch.stack(columns, 2) if columns else u.new_zeros(batch, time, 0)


def check_positions(name: str, position: Tensor) -> None:
    """Raise CircuitnnError for a position of a knob that is not from 0 to 1."""
    inside = (position >= 0.0) & (position <= 1.0)
    if not bool(inside.all()):
        raise CircuitnnError(f"knob {name} is at {float(position[~inside][0]):g}; positions go from 0 to 1")


def _column(name: str, position: Tensor, batch: int, time: int) -> Tensor:
    check_positions(name, position)
    if position.dim() < 2 and position.numel() in (1, batch):
        return position.reshape(-1, 1).expand(batch, time)
    if position.dim() == 2 and position.shape[0] in (1, batch) and position.shape[1] == time:
        return position.expand(batch, time)
    raise CircuitnnError(
        f"knob {name}: expected a number, one per recording [{batch}], or one per sample [1 or {batch}, {time}], "
        f"found shape {list(position.shape)}"
    )
