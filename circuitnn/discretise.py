"""From a circuit and a step rate to the numbers a kernel runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sympy import Expr
from torch import Tensor

from circuitnn.circuit import Circuit
from circuitnn.dk import Matrices, dense, derivative, reduce, retuning, select
from circuitnn.dual import Dual
from circuitnn.errors import CircuitError
from circuitnn.kernel import Structure
from circuitnn.mna import DIFFERENTIATED, RECIPROCAL, VALUE, build_equations
from circuitnn.operating_point import OperatingPoint, device_coefficients, law_values, operating_point
from circuitnn.schemes import TRAPEZOIDAL, Scheme
from circuitnn.stages import decompose
from circuitnn.symbolic import NUMPY, Operations
from circuitnn.theta_tangent import ThetaTangent
from circuitnn.values import formulas_of, resolve

_TORCH = Operations(torch)

# Measured: a step of 1000 states takes a millisecond, and the devices of 80 ports a minute to compile.
MAX_STATES, MAX_PORTS = 1000, 80


class DiscreteCircuit:
    """A circuit discretised at `step_rate` (Hz): its structure, and theta and initial state for any values.

    Values are given as overrides by name ("R4", "DCLIP.is", "drive"), floats or float64 scalars of torch; everything
    is differentiable in the latter. Raises CircuitError if the circuit has no unique model.
    """

    def __init__(self, circuit: Circuit, step_rate: float, scheme: Scheme = TRAPEZOIDAL) -> None:
        self.circuit = circuit
        self.scheme = scheme
        self.factor = scheme.factor * step_rate
        equations = build_equations(circuit)
        _check_size(scheme.memory * len(equations.states), len(equations.ports))
        values = resolve(circuit, {}, NUMPY)
        c = np.array(equations.coefficient_values(values, self.factor), dtype=float)
        # The choice is made once, at the netlist's values, and kept while they are learned.
        self.equations, self.selection, stages = decompose(equations, select(equations, c))
        self.structure = Structure(
            n_x=scheme.memory * len(self.equations.states),
            n_u=len(self.equations.inputs),
            n_y=len(circuit.outputs),
            laws=tuple(device.law for device in self.equations.devices),
            free=self.selection.free,
            plain=self.selection.plain,
            stages=stages,
        )

    def operating_point(self, overrides: Mapping[str, float], start: OperatingPoint | None = None) -> OperatingPoint:
        """The DC operating point, as numbers. Raises ConvergenceError."""
        values = resolve(self.circuit, overrides, NUMPY)
        return operating_point(self.equations, values, self.circuit.temperature, start)

    def theta(self, overrides: Mapping[str, Any]) -> Tensor:
        """The kernel's numbers [size]."""
        return self.theta_of(self.numbers(overrides))

    def initial_state(self, overrides: Mapping[str, Any], point: OperatingPoint) -> tuple[Tensor, Tensor, Tensor]:
        """x [n_x], w [n_n] and y [n_y] at rest, differentiable: one Newton step from `point` inside autograd."""
        return self.rest_of(self.numbers(overrides), point)

    def numbers(self, overrides: Mapping[str, Any]) -> Numbers:
        """Everything that depends on the values, before any matrix is built."""
        return Numbers(*(_vector(part) for part in self.scalars(overrides)))

    def scalars(
        self, overrides: Mapping[str, Any], operations: Operations = _TORCH, factor: Any = None
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """The entries of `numbers`, one by one. operations: of the overrides' type; factor: of differentiation, if it
        is not this circuit's own."""
        values = resolve(self.circuit, overrides, operations)
        coefficients = list[Any]()
        for device in self.equations.devices:
            coefficients += device_coefficients(device, values, self.circuit.temperature, operations).values()
        c = self.equations.coefficient_values(values, self.factor if factor is None else factor)
        return c, self.equations.source_values(values), coefficients

    def theta_along(self, overrides: Mapping[str, Any], points: int) -> Tensor:
        """The kernel's numbers [points, size] where overrides may be tensors [points], as of a knob that moves.

        Raises CircuitError if a capacitor, an inductor or a source would move.
        """
        parts = [[torch.as_tensor(x, dtype=torch.float64) for x in part] for part in self.scalars(overrides)]
        if any(source.dim() for source in parts[1]):
            raise CircuitError("a source cannot move while the circuit runs", "a knob that moves may set resistors")
        # What depends on a moving knob counts as moving even while the knob stands still, so that gradients reach it.
        moving = [k for k, coefficient in enumerate(parts[0]) if coefficient.dim()]
        c, sources, coefficients = (
            torch.stack([x.expand(points) for x in part], 1) if part else torch.zeros(points, 0, dtype=torch.float64)
            for part in parts
        )
        model = retuning(self.equations, self.selection, self.scheme, c[0], sources[0], moving)
        return self.structure.pack(model.at((c - c[0])[:, moving]), coefficients)

    def tuning(self, overrides: Mapping[str, float], moving: Sequence[str]) -> Tuning:
        """The kernel's numbers around these values as a function of the values `moving` (such as a knob's .param), for
        programs that turn knobs without Python.

        Raises CircuitError if one of them sets anything but resistances and gains.
        """
        values = resolve(self.circuit, overrides, NUMPY)
        marked = {name: torch.tensor([values[name]], dtype=torch.float64) for name in moving}
        c, sources, coefficients = self.scalars({**overrides, **marked})
        if any(isinstance(x, Tensor) and x.dim() for x in [*sources, *coefficients]):
            raise CircuitError(
                f"{', '.join(moving)} sets a source or a device, not only resistors and gains",
                "such a knob can be turned in Python, where all numbers are worked out anew",
            )
        chosen = [k for k, x in enumerate(c) if isinstance(x, Tensor) and x.dim()]
        numbers = self.numbers(overrides)
        model = retuning(self.equations, self.selection, self.scheme, numbers.c, numbers.sources, chosen)
        base = self.structure.pack(model.at(numbers.c.new_zeros(len(chosen))), numbers.coefficients)
        H, G, Z = model.scaled()
        data = torch.cat([base, numbers.c[chosen], H.flatten(), G.flatten(), Z.flatten()]).detach()
        stamps = [self.equations.coefficients[k] for k in chosen]
        formulas = dict(formulas_of(self.circuit, overrides, moving))
        of_rule = {VALUE: lambda x: x, RECIPROCAL: lambda x: 1 / x}
        return Tuning(tuple(name for _, name in stamps), tuple(of_rule[r](formulas[n]) for r, n in stamps), data)

    def theta_of(self, numbers: Numbers, input_scale: Tensor | float = 1.0) -> Tensor:
        """The kernel's numbers [size]. input_scale multiplies every input signal."""
        matrices = reduce(self.equations, self.selection, self.scheme, numbers.c, numbers.sources)
        scale = torch.ones(self.structure.n_u + 1, dtype=torch.float64)
        scale = torch.cat([scale[:-1] * input_scale, scale[-1:]])
        scaled = {name: getattr(matrices, name) * scale for name in ("B", "E", "R_u")}
        return self.structure.pack(Matrices(**(matrices._asdict() | scaled)), numbers.coefficients)

    def theta_tangent(self, numbers: Numbers, moves: Numbers, input_scale: Tensor, scale_moves: Tensor) -> ThetaTangent:
        """The derivatives of `theta_of(numbers, input_scale)`, for one recording. moves [..., p]: of the numbers in p
        directions; scale_moves [p]: of input_scale."""
        s, equations = self.structure, self.equations
        base, left, right, owner = derivative(equations, self.selection, self.scheme, numbers.c, numbers.sources)
        # The inputs' own products, which move with their scale.
        inputs = slice(s.n_x, s.n_x + s.n_u)
        scale = base.new_ones(base.shape[1])
        scale[inputs] = input_scale
        left = torch.cat([left, base[:, inputs]], 1)
        right = torch.cat([right * scale, torch.eye(base.shape[1], dtype=base.dtype)[inputs]])
        weights = torch.cat([torch.cat([moves.c, moves.sources])[list(owner)], scale_moves.expand(s.n_u, -1)])
        # From the free quantities among (v, i) to the columns of (i, v).
        columns = right.new_zeros(len(right), 2 * s.n_n)
        columns[:, [(k + s.n_n) % (2 * s.n_n) for k in s.free]] = right[:, s.n_x + s.n_u + 1 :]
        right = torch.cat([right[:, : s.n_x + s.n_u + 1], columns[:, : s.n_n if s.plain else 2 * s.n_n]], 1)
        return ThetaTangent(
            (left.unsqueeze(-1) * weights)[None, None], right[None, None], moves.coefficients[None, None]
        )

    def rest_of(self, numbers: Numbers, point: OperatingPoint) -> tuple[Tensor, Tensor, Tensor]:
        """initial_state, from the numbers."""
        equations = self.equations
        N_n, N_s = torch.as_tensor(equations.N_n), torch.as_tensor(equations.N_s)
        z, w = torch.as_tensor(point.z), torch.as_tensor(point.w)
        v, i = self._ports(numbers.coefficients, w)
        # At DC the differentiation factor is 0.
        static = torch.tensor([rule != DIFFERENTIATED for rule, _ in equations.coefficients], dtype=torch.float64)
        M = dense(equations.M, numbers.c * static) + torch.diag(torch.as_tensor(equations.leak))
        residual = torch.cat([M @ z + N_n @ i - N_s @ numbers.sources, N_n.T @ z - v])
        scale = 1.0 / np.abs(point.jacobian).max(axis=1, initial=1e-300)
        jacobian = torch.as_tensor(point.jacobian * scale[:, None])
        solution = torch.cat([z, w]) - torch.linalg.solve(jacobian, torch.as_tensor(scale) * residual)
        z, w = solution.split([len(z), len(w)])
        q = dense(equations.G_q, numbers.c) @ z
        return self.scheme.at_rest(q), w, torch.as_tensor(equations.N_y) @ z

    def rest_tangent(self, numbers: Numbers, moves: Numbers, point: OperatingPoint) -> tuple[Tensor, Tensor]:
        """The derivatives of initial state [n_x, p] and output at rest [n_y, p] by p moves [..., p] of the numbers: the
        implicit function theorem at the operating point, where only the laws' coefficients need to be differentiated
        through formulas."""
        equations = self.equations
        N_n, N_s = torch.as_tensor(equations.N_n), torch.as_tensor(equations.N_s)
        z, count = torch.as_tensor(point.z), moves.c.shape[-1]
        coefficients = [
            Dual(float(value), move.numpy()) if move.any() else float(value)
            for value, move in zip(numbers.coefficients, moves.coefficients, strict=True)
        ]
        dv, di = (
            torch.as_tensor(np.stack([_gradient(x, count) for x in part]) if part else np.zeros((0, count)))
            for part in self._law_values(coefficients, point.w, NUMPY)
        )
        static = torch.tensor([rule != DIFFERENTIATED for rule, _ in equations.coefficients], dtype=torch.float64)
        dMz = torch.stack([dense(equations.M, move * static) @ z for move in moves.c.T], 1)
        residual = torch.cat([dMz + N_n @ di - N_s @ moves.sources, -dv])
        scale = torch.as_tensor(1.0 / np.abs(point.jacobian).max(axis=1, initial=1e-300))
        dz = -torch.linalg.solve(torch.as_tensor(point.jacobian) * scale[:, None], scale[:, None] * residual)[: len(z)]
        dq = (
            torch.stack([dense(equations.G_q, move) @ z for move in moves.c.T], 1)
            + dense(equations.G_q, numbers.c) @ dz
        )
        return self.scheme.at_rest(dq), torch.as_tensor(equations.N_y) @ dz

    def _ports(self, coefficients: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        v, i = self._law_values(coefficients, w, _TORCH)
        return _vector(v), _vector(i)

    def _law_values(self, coefficients: Any, w: Any, operations: Operations) -> tuple[list[Any], list[Any]]:
        v, i, position = list[Any](), list[Any](), 0
        for device in self.equations.devices:
            law = device.law
            named = dict(zip(law.coefficients, coefficients[position : position + len(law.coefficients)], strict=True))
            position += len(law.coefficients)
            voltages, currents = law_values(
                law, w[device.first_port : device.first_port + law.ports], named, operations
            )
            v += voltages
            i += currents
        return v, i


def _check_size(n_x: int, n_n: int) -> None:
    """Raise CircuitError for what cannot run in reasonable time."""
    hint = (
        "leave out what cannot be heard, or run the stages of the circuit one after the other; `inspect` takes it whole"
    )
    if n_x > MAX_STATES:
        raise CircuitError(f"the circuit has {n_x} states, more than the limit of {MAX_STATES} for simulation", hint)
    if n_n > MAX_PORTS:
        raise CircuitError(
            f"the nonlinear devices of the circuit have {n_n} ports, more than the limit of {MAX_PORTS} for simulation",
            hint,
        )


class Tuning(NamedTuple):
    """names: elements whose values move; formulas: what of each is in the equations, by the moving values (symbols as
    made by circuit.symbol); data: the members of `Tuning` in runtime/tuning.hpp, one after the other."""

    names: tuple[str, ...]
    formulas: tuple[Expr, ...]
    data: Tensor


class Numbers(NamedTuple):
    """c [n_c]: coefficients of the stamps, at the scheme's differentiation factor; sources [n_s]: volt or ampere;
    coefficients: of all device laws, in order."""

    c: Tensor
    sources: Tensor
    coefficients: Tensor


def _gradient(x: Any, count: int) -> NDArray[np.float64]:
    return x.gradient if isinstance(x, Dual) else np.zeros(count)


def _vector(numbers: list[Any]) -> Tensor:
    if not numbers:
        return torch.zeros(0, dtype=torch.float64)
    return torch.stack([torch.as_tensor(number, dtype=torch.float64) for number in numbers])
