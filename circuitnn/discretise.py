"""From a circuit and a step rate to the numbers a kernel runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from circuitnn.circuit import Circuit
from circuitnn.dk import Matrices, dense, reduce, select
from circuitnn.kernel import Structure
from circuitnn.mna import build_equations
from circuitnn.operating_point import OperatingPoint, device_coefficients, evaluate_law, operating_point
from circuitnn.schemes import TRAPEZOIDAL, Scheme
from circuitnn.symbolic import Operations
from circuitnn.values import resolve

_NUMPY, _TORCH = Operations(np), Operations(torch)


class DiscreteCircuit:
    """A circuit discretised at `step_rate` (Hz): its structure, and theta and initial state for any values.

    Values are given as overrides by name ("R4", "DCLIP.is", "drive"), floats or float64 scalars of torch; everything
    is differentiable in the latter. Raises CircuitError if the circuit has no unique model.
    """

    def __init__(self, circuit: Circuit, step_rate: float, scheme: Scheme = TRAPEZOIDAL) -> None:
        self.circuit = circuit
        self.scheme = scheme
        self.factor = scheme.factor * step_rate
        self.equations = build_equations(circuit)
        values = resolve(circuit, {}, _NUMPY)
        c = np.array(self.equations.coefficient_values(values, self.factor), dtype=float)
        # The choice is made once, at the netlist's values, and kept while they are learned.
        self.selection = select(self.equations, c)
        self.structure = Structure(
            n_x=len(self.equations.states),
            n_u=len(self.equations.inputs),
            n_y=len(circuit.outputs),
            laws=tuple(device.law for device in self.equations.devices),
            free=self.selection.free,
            plain=self.selection.plain,
        )

    def operating_point(self, overrides: Mapping[str, float], start: OperatingPoint | None = None) -> OperatingPoint:
        """The DC operating point, as numbers. Raises ConvergenceError."""
        values = resolve(self.circuit, overrides, _NUMPY)
        return operating_point(self.equations, values, self.circuit.temperature, start)

    def theta(self, overrides: Mapping[str, Any], input_scale: Any = 1.0) -> Tensor:
        """The kernel's numbers [size]. input_scale multiplies every input signal."""
        values = resolve(self.circuit, overrides, _TORCH)
        c = _vector(self.equations.coefficient_values(values, self.factor))
        matrices = reduce(self.equations, self.selection, self.scheme, c, self._sources(values))
        scale = torch.ones(self.structure.n_u + 1, dtype=torch.float64)
        scale = torch.cat([scale[:-1] * input_scale, scale[-1:]])
        scaled = {name: getattr(matrices, name) * scale for name in ("B", "E", "R_u")}
        return self.structure.pack(Matrices(**(matrices._asdict() | scaled)), self._coefficients(values))

    def initial_state(self, overrides: Mapping[str, Any], point: OperatingPoint) -> tuple[Tensor, Tensor, Tensor]:
        """x [n_x], w [n_n] and y [n_y] at rest, differentiable: one Newton step from `point` inside autograd."""
        equations = self.equations
        values = resolve(self.circuit, overrides, _TORCH)
        N_n, N_s = torch.as_tensor(equations.N_n), torch.as_tensor(equations.N_s)
        z, w = torch.as_tensor(point.z), torch.as_tensor(point.w)
        v, i = self._ports(values, w)
        M = dense(equations.M, _vector(equations.coefficient_values(values, 0.0)))
        for node in equations.undefined_at_dc:
            M = M.index_put((torch.tensor(node), torch.tensor(node)), torch.tensor(1e-12).double(), accumulate=True)
        residual = torch.cat([M @ z + N_n @ i - N_s @ self._sources(values), N_n.T @ z - v])
        scale = 1.0 / np.abs(point.jacobian).max(axis=1, initial=1e-300)
        jacobian = torch.as_tensor(point.jacobian * scale[:, None])
        solution = torch.cat([z, w]) - torch.linalg.solve(jacobian, torch.as_tensor(scale) * residual)
        z, w = solution.split([len(z), len(w)])
        G_q = dense(equations.G_q, _vector(equations.coefficient_values(values, self.factor)))
        return G_q @ z, w, torch.as_tensor(equations.N_y) @ z

    def _sources(self, values: Mapping[str, Any]) -> Tensor:
        return _vector(self.equations.source_values(values))

    def _coefficients(self, values: Mapping[str, Any]) -> list[Tensor]:
        found = []
        for device in self.equations.devices:
            found += device_coefficients(device, values, self.circuit.temperature, _TORCH).values()
        return [torch.as_tensor(value, dtype=torch.float64) for value in found]

    def _ports(self, values: Mapping[str, Any], w: Tensor) -> tuple[Tensor, Tensor]:
        v, i = list[Any](), list[Any]()
        for device in self.equations.devices:
            coefficients = device_coefficients(device, values, self.circuit.temperature, _TORCH)
            ports = slice(device.first_port, device.first_port + device.law.ports)
            voltages, currents, _, _ = evaluate_law(device.law, w[ports], coefficients, _TORCH)
            v += voltages
            i += currents
        return _vector(v), _vector(i)


def _vector(numbers: list[Any]) -> Tensor:
    if not numbers:
        return torch.zeros(0, dtype=torch.float64)
    return torch.stack([torch.as_tensor(number, dtype=torch.float64) for number in numbers])
