"""How the response depends on each value of the netlist: exact derivatives, by one adjoint solve a frequency.

With S x = b, S^T a = y^T and the gain y x, a change dS of the linearised circuit changes the gain by -a^T dS x. dS has
two parts: the value itself, and the operating point that it shifts, which follows from the DC equations F(u, p) = 0 by
the implicit function theorem, du = -J^-1 dF/dp. See S. W. Director and R. A. Rohrer, "The generalized adjoint network
and network sensitivities", IEEE Trans. Circuit Theory 16 (1969).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitnn.circuit import Circuit
from circuitnn.dual import Dual, gradient_of, variables
from circuitnn.inspection.linearised import Linearised, relative
from circuitnn.mna import Equations
from circuitnn.operating_point import OperatingPoint, device_coefficients, law_jacobians, law_values
from circuitnn.solving import solve_scaled
from circuitnn.symbolic import NUMPY
from circuitnn.tapers import position_at, value_at
from circuitnn.values import literal_values, resolve

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

# Sensitivities are stated for a change of this part of a value, of a knob's travel, or of a coupling's leakage.
CHANGE = 0.1
_DECIBEL = 20.0 / math.log(10.0)


@dataclass(frozen=True)
class Sensitivities:
    """level [names, f, n_y, n_u]: how many dB the gain rises for 10 % more of each value, of a knob's travel, or of the
    leakage 1 - |k| of a coupling: the derivative d (20 log10 |H|) / d (ln value), or / d (position), times 0.1. nan
    where nothing comes through."""

    names: tuple[str, ...]
    frequencies: tuple[float, ...]
    level: Real

    def ranking(self, output: int = 0, source: int = 0) -> list[int]:
        """Positions in `names`, what matters most (root mean square over the frequencies) first."""
        size = np.sqrt(np.mean(np.nan_to_num(self.level[:, :, output, source]) ** 2, axis=1))
        # Of those that are equal but for rounding, the first in the netlist comes first.
        return [int(k) for k in np.argsort(-np.round(size, 9), kind="stable")]


def sensitivities(
    circuit: Circuit,
    equations: Equations,
    point: OperatingPoint,
    linearised: Linearised,
    frequencies: Sequence[float],
) -> Sensitivities:
    """The sensitivity of every gain to every plain number of the netlist that is not zero.

    Left out are inputs, sources within subcircuits and weights: they are how a model is built and no parts.
    """
    knobs = {knob.name for knob in circuit.knobs}
    built_in = {element.name for element in circuit.elements if element.kind in "VIEFGH" and "." in element.name}
    weights = {name for network in circuit.networks for name in network.values}
    nominal = {
        name: value
        for name, value in literal_values(circuit).items()
        if (value != 0.0 or name in knobs) and name not in built_in.union(circuit.inputs, weights)
    }
    change = _Change(circuit, equations, point, nominal)
    level = np.zeros((len(nominal), len(frequencies), len(linearised.y), linearised.b.shape[1]))
    step = _steps(circuit, nominal)
    for k, frequency in enumerate(frequencies):
        x, a = linearised.solve(frequency, linearised.b), linearised.adjoint(frequency)
        gain = linearised.y @ x
        slope = relative(-change.of_system(2j * math.pi * frequency, a, x), gain)
        level[:, k] = _DECIBEL * step[:, None, None] * slope.real
    return Sensitivities(tuple(nominal), tuple(map(float, frequencies)), level)


def _steps(circuit: Circuit, nominal: Mapping[str, float]) -> Real:
    """What CHANGE is of each value."""
    steps = dict(nominal)
    steps |= {knob.name: _slope(knob.taper, nominal[knob.name]) for knob in circuit.knobs}
    # More leakage is less coupling; 10 % more coupling would often be more than there can be.
    couplings = (element.name for element in circuit.elements if element.kind == "K" and element.name in nominal)
    steps |= {name: math.copysign(1.0 - abs(nominal[name]), -nominal[name]) for name in couplings}
    return CHANGE * np.array([steps[name] for name in nominal])


def _slope(taper: str, value: float) -> float:
    """d value / d position of a knob."""
    position = variables({"position": position_at(taper, value)})["position"]
    return float(value_at(taper, position).gradient[0])


class _Change:
    """The derivatives of the linearised system by p values, the shift of the operating point included."""

    def __init__(
        self, circuit: Circuit, equations: Equations, point: OperatingPoint, nominal: Mapping[str, float]
    ) -> None:
        self.equations, self.size = equations, len(nominal)
        values = resolve(circuit, variables(nominal), NUMPY)
        # Of the coefficients, which are constant + s by_s: [n_c, p].
        self.constant = self._gradients(equations.coefficient_values(values, 0.0))
        self.by_s = self._gradients(equations.coefficient_values(values, 1.0)) - self.constant
        coefficients = [device_coefficients(d, values, circuit.temperature, NUMPY) for d in equations.devices]
        shift = self._shift(values, point, coefficients)
        # Of the entries of the devices' Jacobians, [entries, p] each, and which entries they are.
        entries, dv, di = [], [], []
        for device, c in zip(equations.devices, coefficients, strict=True):
            ports = range(device.first_port, device.first_port + device.law.ports)
            w = [Dual(float(point.w[k]), shift[k]) for k in ports]
            voltages, currents = law_jacobians(device.law, w, c, NUMPY)
            entries += [(row, column) for row in ports for column in ports]
            dv += [number for row in voltages for number in row]
            di += [number for row in currents for number in row]
        self.port_rows, self.port_columns = np.array(entries, dtype=np.int64).reshape(-1, 2).T
        self.devices = np.concatenate([self._gradients(di), -self._gradients(dv)])

    def _gradients(self, numbers: Sequence[Any]) -> Real:
        return np.array([gradient_of(number, self.size) for number in numbers]).reshape(len(numbers), self.size)

    def _shift(self, values: Mapping[str, Any], point: OperatingPoint, coefficients: Sequence[Any]) -> Real:
        """d w / d p [n_n, p]: how the operating point of the devices moves."""
        equations, m, stamp = self.equations, len(self.equations.unknowns), self.equations.M
        # The DC equations' derivative by the values, with the unknowns held.
        forces = np.zeros((len(point.jacobian), self.size))
        flowing = (stamp.signs * point.z[stamp.columns])[:, None] * self.constant[stamp.coefficients]
        np.add.at(forces, stamp.rows, flowing)
        forces[:m] -= equations.N_s @ self._gradients(equations.source_values(values))
        for device, c in zip(equations.devices, coefficients, strict=True):
            ports = slice(device.first_port, device.first_port + device.law.ports)
            voltages, currents = law_values(device.law, point.w[ports], c, NUMPY)
            forces[:m] += equations.N_n[:, ports] @ self._gradients(currents)
            forces[m:][ports] -= self._gradients(voltages)
        shift: Real = -solve_scaled(point.jacobian, forces)[m:]
        return shift

    def of_system(self, s: complex, a: Complex, x: Complex) -> Complex:
        """a^T dS x [p, n_y, n_u] at the complex frequency s, for a [m+n_n, n_y] and x [m+n_n, n_u]."""
        stamp, m = self.equations.M, len(self.equations.unknowns)
        products = stamp.signs[:, None, None] * a[stamp.rows, :, None] * x[stamp.columns, None, :]
        by_coefficient = np.zeros((len(self.constant), a.shape[1], x.shape[1]), dtype=complex)
        np.add.at(by_coefficient, stamp.coefficients, products)
        controlling = x[m:][self.port_columns, None, :]
        carrying = (self.equations.N_n.T @ a[:m])[self.port_rows, :, None] * controlling
        holding = a[m:][self.port_rows, :, None] * controlling
        change: Complex = np.tensordot(self.constant + s * self.by_s, by_coefficient, (0, 0))
        change += np.tensordot(self.devices, np.concatenate([carrying, holding]), (0, 0))
        return change
