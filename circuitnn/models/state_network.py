"""Networks whose memory is the circuit's state, so that a simulation or a measurement of it can teach them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from circuitnn.models.network import Network, State
from circuitnn.recurrence import MOST_PARAMETERS, compiled_recurrence

# States that are sums of steps are held within so many times their size: those of a circuit stay below, and one that
# runs away stays a number.
LIMIT = 100.0


class StateNetwork(Network):
    """x[n] = f(u[n], knobs, x[n-1]),   y[n] = g(u[n], knobs, x[n]): the state-space form of a circuit.

    n_states: how many of the state's numbers are the circuit's; there may be more, behind them. readout: width of the
    hidden layer of g, which has a linear path beside it; with 0, y is the first state. Inside, all signals have the
    size 1: `sizes` [2 + n_states] says what that is of u, of y, and of each of the circuit's states, as deviations from
    rest in volt or ampere. State: x [batch, size], zero at rest.
    """

    sizes: Tensor

    def __init__(self, n_states: int, readout: int = 0, knob_names: Sequence[str] = ()) -> None:
        super().__init__(knob_names)
        self.n_states = n_states
        self.readout = Readout(self.inputs + n_states, readout) if readout else None
        self.register_buffer("sizes", torch.ones(2 + n_states))

    @property
    def inputs(self) -> int:
        """How many numbers come in with each sample: the sound and the knobs."""
        return 1 + len(self.knob_names)

    @property
    @abstractmethod
    def size(self) -> int:
        """How many numbers the state has."""

    @abstractmethod
    def following(self, now: Tensor, x: Tensor) -> Tensor:
        """The next state [batch, size], from (u, knobs) [batch, inputs] and the state x [batch, size]."""

    @abstractmethod
    def cell(self) -> tuple[str, list[Tensor]]:
        """The same as a type of recurrence.hpp, and its numbers in their order."""

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        xs = self.trajectory(u, knobs, state[0])
        return self.output(u, knobs, xs), (xs[:, -1],)

    def rest(self, knobs: Tensor) -> State:
        return (knobs.new_zeros(knobs.shape[0], self.size),)

    def trajectory(self, u: Tensor, knobs: Tensor, x: Tensor) -> Tensor:
        """u [batch, time, 1], knobs [batch, time, n_knobs] and the state x [batch, size] before the first sample -> the
        states after each [batch, time, size]."""
        now = torch.cat([u / self.sizes[0], knobs], 2)
        cell, parts = self.cell()
        theta = torch.cat([part.reshape(-1) for part in parts])
        if u.device.type == "cpu" and len(theta) <= MOST_PARAMETERS:
            compiled = compiled_recurrence(cell, u.dtype)
            if compiled is not None:
                return compiled(now, x, theta)
        states = []
        for one in now.unbind(1):
            x = self.following(one, x)
            states.append(x)
        return torch.stack(states, 1)

    def output(self, u: Tensor, knobs: Tensor, xs: Tensor) -> Tensor:
        """y [batch, time, 1] of states xs [batch, time, size]."""
        if self.readout is None:
            return xs[..., :1] * self.sizes[1]
        y: Tensor = self.readout(torch.cat([u / self.sizes[0], knobs, xs[..., : self.n_states]], 2))
        return y * self.sizes[1]

    def free_run(self, u: Tensor, x: Tensor, knobs: Tensor) -> Tensor:
        """The network's own states [batch, time - 1, size] after the first sample, where the circuit's [batch, time,
        n_states] are x; what else the state has is zero there. A run of one step is what is called teacher forcing."""
        start = nn.functional.pad(self.in_own_units(x[:, 0]), (0, self.size - self.n_states))
        return self.trajectory(u[:, 1:], knobs[:, 1:], start)

    def state_loss(self, xs: Tensor, x: Tensor) -> Tensor:
        """How far a free run xs is from the circuit's states x, of which the first one began it: squared error of each
        state over that of standing still, and their mean. It is 1 if nothing is learned, whatever the states' sizes and
        the sampling rate are."""
        true = self.in_own_units(x)
        error = torch.mean((xs[..., : self.n_states] - true[:, 1:]) ** 2, (0, 1))
        standing = torch.mean((true[:, 1:] - true[:, :1]) ** 2, (0, 1))
        return torch.mean(error / torch.clamp(standing, min=torch.finfo(x.dtype).tiny))

    def in_own_units(self, x: Tensor) -> Tensor:
        """The circuit's states x [..., n_states], from volt or ampere."""
        return x / self.sizes[2:]


class Readout(nn.Module):
    """A linear layer, and beside it one hidden layer with tanh: a node's voltage is a sum of the states and the source,
    but for the currents of nonlinear devices, and for knobs. At first it is linear."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 1)
        self.hidden = nn.Linear(inputs, hidden)
        self.curve = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.curve.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x) + self.curve(torch.tanh(self.hidden(x)))
        return y
