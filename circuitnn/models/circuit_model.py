"""A circuit as an nn.Module whose component values are learnable parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from circuitnn.circuit import Circuit
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError, CircuitnnError, ConvergenceWarning
from circuitnn.kernel import LISTED, PLACES
from circuitnn.learnables import Coordinate, coordinates
from circuitnn.models.network import check_positions
from circuitnn.operating_point import OperatingPoint
from circuitnn.oversampling import FACTORS, HALF_LENGTH
from circuitnn.schemes import TRAPEZOIDAL, Scheme
from circuitnn.simulate import CONTROL_PERIOD, history_at_rest, kernel_id, simulate
from circuitnn.symbolic import Operations
from circuitnn.tapers import value_at
from circuitnn.values import literal_values

_TORCH = Operations(torch)


class CircuitState(NamedTuple):
    """Where a simulation stands, for the next chunk. x [batch, n_x]: history of the reactive branches; w [batch, n_n]:
    the devices' variables; up, down: the last samples [batch, ..., channels] that the rate converters need; theta
    [1 or batch, size]: the circuit's numbers at the end, from which knobs that move go on."""

    x: Tensor
    w: Tensor
    up: Tensor
    down: Tensor
    theta: Tensor


class CircuitModel(nn.Module):
    """A discretised circuit, float64: y, state = model(u, state=None, knobs=None), like nn.LSTM(batch_first=True).

    sample_rate: of u and y, in Hz. oversample: 1, 2, 4, 8, 16 or 32; the circuit runs at sample_rate * oversample, and
    y is `latency` samples late (0 without oversampling). learn: "marked" (the netlist's *@ learn and *@ network
    cards), "all", or names. scheme: of time discretisation, see schemes.py. compiled: True or False demands the C++
    core or the torch reference; None: the core where a compiler is.

    `free` [number of learnables] is the one parameter: 0 where a value is the netlist's; see learnables.Coordinate.
    tapers: how each knob's position maps to its .param, see tapers.py; a fit puts what it learned in place.
    """

    def __init__(
        self,
        circuit: Circuit,
        sample_rate: float = 44100.0,
        oversample: int = 4,
        learn: str | Sequence[str] = "marked",
        *,
        scheme: Scheme = TRAPEZOIDAL,
        compiled: bool | None = None,
    ) -> None:
        super().__init__()
        if not 1.0 <= sample_rate <= 1e9:
            raise CircuitnnError(f"sample rate {sample_rate} Hz is not between 1 Hz and 1 GHz")
        if oversample not in FACTORS:
            raise CircuitnnError(f"oversample {oversample} is not one of {', '.join(map(str, FACTORS))}")
        if not circuit.inputs:
            raise CircuitError("the netlist names no input", f"add a card such as `*@ input Vin`{circuit.card_place}")
        if not circuit.outputs:
            raise CircuitError("the netlist names no output", f"add a card such as `*@ output out`{circuit.card_place}")
        self.circuit = circuit
        self.sample_rate = sample_rate
        self.oversample = oversample
        self.coordinates: tuple[Coordinate, ...] = coordinates(circuit, learn)
        self.discrete = DiscreteCircuit(circuit, sample_rate * oversample, scheme)
        self.free = nn.Parameter(torch.zeros(len(self.coordinates), dtype=torch.float64))
        self.compiled = compiled
        self.tapers = {knob.name: knob.taper for knob in circuit.knobs}
        self._point: OperatingPoint | None = None

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        # A circuit stays in double precision and on the processor: `chain.float()` means the networks.
        return self

    @property
    def latency(self) -> int:
        """By how many samples y is late: the delay of the two rate conversions."""
        return 2 * HALF_LENGTH if self.oversample > 1 else 0

    @property
    def kernel(self) -> int:
        """The compiled core (or its reference), built at first use."""
        return kernel_id(self.discrete.structure, self.compiled)

    def learned(self, free: Tensor | None = None) -> dict[str, Tensor]:
        """The learnable values by name, SI units (knobs: the .param's value), differentiable in `free`."""
        free = self.free if free is None else free
        return {c.name: c.value(free[k]) for k, c in enumerate(self.coordinates)}

    def component_values(self) -> dict[str, float]:
        """Every independent value of the circuit by name, in SI units, learnable or not, at its present value."""
        learned = self.learned(self.free.detach())
        return literal_values(self.circuit) | {name: float(value) for name, value in learned.items()}

    def set_values(self, values: Mapping[str, float]) -> None:
        """Set learnable values by name (SI units). Raises CircuitnnError for a name that is not learnable."""
        known = {c.name: k for k, c in enumerate(self.coordinates)}
        with torch.no_grad():
            for name, value in values.items():
                if name not in known:
                    raise CircuitnnError(f"{name} is not learnable here", f"learnable: {', '.join(known) or 'nothing'}")
                self.free[known[name]] = self.coordinates[known[name]].free(value)

    def overrides(
        self, knobs: Mapping[str, float | Tensor] | None = None, free: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Learned values, with the .params of the given knob positions (0 to 1, scalars) in their place."""
        known, values = self.tapers, self.learned(free)
        for name, position in (knobs or {}).items():
            if name not in known:
                raise CircuitnnError(f"there is no knob {name!r}", f"knobs: {', '.join(known) or 'none'}")
            position = torch.as_tensor(position, dtype=torch.float64)
            check_positions(name, position)
            values[name] = value_at(known[name], position, _TORCH)
        return values

    def operating_point(self, overrides: Mapping[str, Tensor]) -> OperatingPoint:
        """The DC operating point at these values, as numbers; the last one found is the starting point."""
        numbers = {name: float(value.detach()) for name, value in overrides.items()}
        self._point = self.discrete.operating_point(numbers, self._point)
        return self._point

    # Nothing in here gains from tracing: the work is one opaque operation, and its set-up is numpy and formulas.
    @torch.compiler.disable
    def forward(
        self, u: Tensor, state: CircuitState | None = None, knobs: Mapping[str, float | Tensor] | None = None
    ) -> tuple[Tensor, CircuitState]:
        """u [batch, time, n_inputs] in volt -> y [batch, time, n_outputs] in volt, and the state after it.

        state: None starts at rest at the operating point. knobs: positions 0 to 1 by name: a number, one per recording
        [batch], or one per sample [batch or 1, time], which the circuit follows without clicks: its numbers move
        linearly for CONTROL_PERIOD samples, to what they are at the last of these samples' positions. A sample that
        does not converge is reported by a ConvergenceWarning.
        """
        structure = self.discrete.structure
        if u.dim() != 3 or u.shape[2] != structure.n_u:
            raise CircuitnnError(
                f"expected u of shape [batch, time, {structure.n_u}], found {list(u.shape)}",
                "a mono signal is u[None, :, None]",
            )
        u = u.to(torch.float64)
        if state is not None and u.shape[1] == 0:
            return u.new_zeros(u.shape[0], 0, structure.n_y), state
        values = self.overrides(_positions(knobs or {}, u.shape[0], u.shape[1]))
        count = max((len(value) for value in values.values() if value.dim()), default=1)
        rows = [_row(values, k) for k in range(count)]
        moving = any(value.dim() for value in rows[0].values())
        if moving:
            points = -(-u.shape[1] // CONTROL_PERIOD) + 1
            theta = torch.stack([self.discrete.theta_along(row, points) for row in rows])
        else:
            theta = self._numbers_of(values, rows).unsqueeze(1)
        if state is None:
            state = self._initial_state(rows, u, theta[:, 0])
        elif moving:
            count = max(len(theta), len(state.theta))
            theta = torch.cat([state.theta.expand(count, -1)[:, None], theta[:, 1:].expand(count, -1, -1)], 1)
        y, x, w, up, down, report = simulate(
            u, state.x, state.w, theta, self.kernel, self.oversample, state.up, state.down
        )
        self.warn(report)
        return y, CircuitState(x, w, up, down, _numbers_after(theta, u.shape[1]))

    def _numbers_of(self, values: dict[str, Tensor], rows: list[dict[str, Tensor]]) -> Tensor:
        """The circuit's numbers [rows, size] at values [] or [rows]."""
        if len(rows) > 1:
            # All at once where they set resistors and gains only, as knobs mostly do.
            with suppress(CircuitError):
                return self.discrete.theta_along(values, len(rows))
        return torch.stack([self.discrete.theta(row) for row in rows])

    def _initial_state(self, rows: list[dict[str, Tensor]], u: Tensor, theta: Tensor) -> CircuitState:
        at_first = [{name: value.reshape(-1)[0] for name, value in row.items()} for row in rows]
        points = [self.operating_point(values) for values in at_first]
        parts = [self.discrete.initial_state(values, point) for values, point in zip(at_first, points, strict=True)]
        x, w, y = (torch.stack(part).expand(u.shape[0], -1) for part in zip(*parts, strict=True))
        down = history_at_rest(y, self.oversample)
        return CircuitState(x, w.detach(), u.new_zeros(u.shape[0], self.latency, u.shape[2]), down, theta)

    def render(self, u: Tensor, knobs: Mapping[str, float | Tensor] | None = None) -> Tensor:
        """The output for a whole signal u [batch, time, n_inputs], from rest, with the latency taken out."""
        y: Tensor
        y, _ = self(torch.nn.functional.pad(u, (0, 0, 0, self.latency)), knobs=knobs)
        return y[:, self.latency :]

    def warn(self, report: Tensor) -> None:
        """A ConvergenceWarning for the failures in a run's report, if there are any."""
        failures = int(report[:, 1].sum())
        if not failures:
            return
        ports = self.discrete.equations.ports
        listed = [
            f"sample {step // self.oversample} at {ports[port]}"
            for recording in report
            for step, port in recording[PLACES].view(-1, 2)[: min(int(recording[1]), LISTED)].tolist()
        ]
        warnings.warn(
            f"{failures} steps did not converge and kept the last solution: {', '.join(listed[:LISTED])}",
            ConvergenceWarning,
            stacklevel=3,
        )


def _numbers_after(theta: Tensor, time: int) -> Tensor:
    """The numbers [1 or batch, size] where a chunk of `time` samples ends."""
    if theta.shape[1] == 1:
        return theta[:, 0]
    part = (time - (theta.shape[1] - 2) * CONTROL_PERIOD) / CONTROL_PERIOD
    return theta[:, -1] if part == 1.0 else torch.lerp(theta[:, -2], theta[:, -1], part)


def _positions(knobs: Mapping[str, float | Tensor], batch: int, time: int) -> dict[str, Tensor]:
    """Of each knob one position for all recordings [], or one each [1 or batch], where it moves with one for each
    control point [1 or batch, points]: the first position, then the last one before each point, since a chunk must not
    need to know what comes after it."""
    control = torch.arange(0, time + CONTROL_PERIOD, CONTROL_PERIOD).clamp(max=time).sub(1).clamp(min=0)
    found = dict[str, Tensor]()
    for name, position in knobs.items():
        position = torch.as_tensor(position, dtype=torch.float64)
        if position.dim() == 2 and position.shape[0] in (1, batch) and position.shape[1] == time:
            found[name] = position[:, control] if time else position
        elif position.dim() < 2 and position.numel() in (1, batch):
            found[name] = position.reshape(()) if position.numel() == 1 else position
        else:
            raise CircuitnnError(
                f"knob {name}: expected a number, one per recording [{batch}], or one per sample [1 or {batch}, "
                f"{time}], found shape {list(position.shape)}"
            )
    return found


def _row(values: Mapping[str, Tensor], k: int) -> dict[str, Tensor]:
    """The values of recording k: those without rows are common to all."""
    return {name: value[k % len(value)] if value.dim() else value for name, value in values.items()}
