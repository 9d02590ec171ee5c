"""The DC operating point: capacitors open, inductors short, inputs at zero or at a given level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Symbol

from circuitnn.devices import Law, at_temperature
from circuitnn.errors import CircuitError, ConvergenceError
from circuitnn.mna import Device, Equations
from circuitnn.solving import solve_scaled
from circuitnn.symbolic import NUMPY, Operations, evaluate, evaluate_finite

MAX_ITERATIONS = 200
# Convergence: largest last step of a port variable, in volt.
TOLERANCE = 1e-12
# The most equations whose null space is searched for the names of culprits: that takes seconds.
NAMED_UP_TO = 1000


@dataclass(frozen=True)
class OperatingPoint:
    """z [m]: node voltages and branch currents (V, A); w [n_n]: the devices' variables (V); jacobian [m+n_n, m+n_n] of
    the equations at the solution, in the order (z, w)."""

    z: NDArray[np.float64]
    w: NDArray[np.float64]
    jacobian: NDArray[np.float64]


def device_coefficients(
    device: Device, values: Mapping[str, Any], temperature: float, operations: Operations
) -> dict[Symbol, Any]:
    """The law's coefficients, from the resolved values of a circuit. Raises CircuitError if one is not finite."""
    kelvin = device.temperature(values, temperature)
    known = device.parameters(values) | at_temperature(kelvin)
    found: dict[Symbol, Any] = {}
    try:
        for symbol, rule in device.law.coefficients.items():
            found[symbol] = known[symbol.name] = evaluate_finite(rule, known, operations)
        return found
    except ArithmeticError:
        given = [f"{name}={known[name]}" for name in device.sources]
        raise CircuitError(
            f"{device.name} has no finite law with {', '.join(given)} at {kelvin:g} K",
            "saturation currents, emission coefficients and areas must be above 0",
        ) from None


def law_values(
    law: Law, w: Any, coefficients: Mapping[Symbol, Any], operations: Operations
) -> tuple[list[Any], list[Any]]:
    """V(w) and I(w) as lists of scalars, for w indexable along its first axis."""
    named = _named(law, w, coefficients)
    voltages, currents = (
        [evaluate(expression, named, operations) for expression in side] for side in (law.voltages, law.currents)
    )
    return voltages, currents


def law_jacobians(
    law: Law, w: Any, coefficients: Mapping[Symbol, Any], operations: Operations
) -> tuple[list[list[Any]], list[list[Any]]]:
    """dV/dw and dI/dw as rows of scalars."""
    named = _named(law, w, coefficients)
    dv, di = (
        [[evaluate(jacobian[row, k], named, operations) for k in range(law.ports)] for row in range(law.ports)]
        for jacobian in (law.voltage_jacobian, law.current_jacobian)
    )
    return dv, di


def _named(law: Law, w: Any, coefficients: Mapping[Symbol, Any]) -> dict[str, Any]:
    named = {symbol.name: value for symbol, value in coefficients.items()}
    return named | {symbol.name: w[k] for k, symbol in enumerate(law.variables)}


def evaluate_law(
    law: Law, w: Any, coefficients: Mapping[Symbol, Any], operations: Operations
) -> tuple[list[Any], list[Any], list[list[Any]], list[list[Any]]]:
    """V(w), I(w), dV/dw and dI/dw."""
    return *law_values(law, w, coefficients, operations), *law_jacobians(law, w, coefficients, operations)


def limit_step(law: Law, coefficients: Mapping[Symbol, Any], old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """`new`, with each junction's step limited in its own coordinate (SPICE's pnjlim, Nagel 1975)."""
    limited = new.copy()
    for junction in law.junctions:
        k = junction.variable
        sign = -1.0 if junction.beyond or (junction.symmetric and new[k] < 0.0) else 1.0
        start = float(coefficients[junction.beyond]) if junction.beyond else 0.0
        before, after = sign * old[k] - start, sign * new[k] - start
        slope, critical = float(coefficients[junction.slope]), float(coefficients[junction.critical])
        if after > critical and abs(after - before) * slope > 2.0:
            if before > 0.0:
                growth = 1.0 + (after - before) * slope
                after = before + np.log(growth) / slope if growth > 0.0 else critical
            else:
                after = np.log(after * slope) / slope
            limited[k] = sign * (after + start)
    return limited


# What overflows is not finite, and seen to be so where it matters.
@np.errstate(all="ignore")
def operating_point(
    equations: Equations,
    values: Mapping[str, float],
    temperature: float,
    start: OperatingPoint | None = None,
    inputs: Sequence[float] | None = None,
) -> OperatingPoint:
    """Solve M z + N_n I(w) = N_s s + N_u u, N_n^T z = V(w) by Newton's method, then by gmin and source stepping.

    inputs: u [n_u] in volt or ampere, 0 if not given. start: where Newton's method begins, if known.
    Raises CircuitError if the equations are singular and ConvergenceError if every method fails.
    """
    problem = _Problem(equations, values, temperature, inputs or [0.0] * len(equations.inputs))
    cold = problem.cold_start()
    first = cold if start is None else np.concatenate([start.z, start.w])
    solution = problem.newton(first)
    if solution is None:
        solution = problem.lower_gmin(cold)
    if solution is None:
        solution = problem.step(cold, [("source", float(s)) for s in np.linspace(0.0, 1.0, 51)])
    if solution is None:
        raise ConvergenceError(
            f"no DC operating point was found in {MAX_ITERATIONS} iterations, with gmin and source stepping",
            "check supply voltages, device polarity and model parameters",
        )
    _, jacobian = problem.residual(solution)
    m = len(equations.unknowns)
    return OperatingPoint(solution[:m], solution[m:], jacobian)


class _Problem:
    def __init__(
        self, equations: Equations, values: Mapping[str, float], temperature: float, inputs: Sequence[float]
    ) -> None:
        self.equations = equations
        self.coefficients = [device_coefficients(d, values, temperature, NUMPY) for d in equations.devices]
        c = np.array(equations.coefficient_values(values, 0.0), dtype=float)
        m, n = len(equations.unknowns), len(equations.ports)
        self.linear = np.zeros((m + n, m + n))
        self.linear[:m, :m] = equations.M.dense(c)
        self.linear[:m, :m] += np.diag(equations.leak)
        self.linear[m:, :m] = equations.N_n.T
        self.right_side = np.zeros(m + n)
        self.right_side[:m] = equations.N_s @ np.array(equations.source_values(values), dtype=float)
        self.right_side[:m] += equations.N_u @ np.asarray(inputs, dtype=float)
        self.m = m

    def cold_start(self) -> NDArray[np.float64]:
        """Zeros; or, where a law has no value there (a quotient of voltages), some millivolts at the ports."""
        start = np.zeros(len(self.right_side))
        if not all(np.isfinite(part).all() for part in self.residual(start)):
            start[self.m :] = 1e-3 * np.arange(1, len(start) - self.m + 1)
        return start

    def residual(
        self, unknowns: NDArray[np.float64], gmin: float = 0.0, source: float = 1.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residual and Jacobian at (z, w), with an extra conductance `gmin` across every port and scaled sources."""
        m, N_n, w = self.m, self.equations.N_n, unknowns[self.m :]
        v, i, dv, di = (np.zeros(w.shape), gmin * w, np.zeros((w.size, w.size)), gmin * np.eye(w.size))
        for device, coefficients in zip(self.equations.devices, self.coefficients, strict=True):
            ports = slice(device.first_port, device.first_port + device.law.ports)
            voltages, currents, dv_dw, di_dw = evaluate_law(device.law, w[ports], coefficients, NUMPY)
            v[ports] = voltages
            i[ports] += currents
            dv[ports, ports] = dv_dw
            di[ports, ports] += di_dw
        residual = self.linear @ unknowns - source * self.right_side
        residual[:m] += N_n @ i
        residual[m:] -= v
        jacobian = self.linear.copy()
        jacobian[:m, m:] += N_n @ di
        jacobian[m:, m:] -= dv
        return residual, jacobian

    def newton(self, start: NDArray[np.float64], gmin: float = 0.0, source: float = 1.0) -> NDArray[np.float64] | None:
        """The solution from `start`, or None if it does not converge."""
        m, unknowns = self.m, start.copy()
        for _ in range(MAX_ITERATIONS):
            residual, jacobian = self.residual(unknowns, gmin, source)
            step = self.solve(jacobian, residual)
            if not np.all(np.isfinite(step)):
                return None
            old_w = unknowns[m:].copy()
            unknowns = unknowns - step
            unlimited = unknowns[m:].copy()
            for device, coefficients in zip(self.equations.devices, self.coefficients, strict=True):
                ports = slice(m + device.first_port, m + device.first_port + device.law.ports)
                old = old_w[device.first_port : device.first_port + device.law.ports]
                unknowns[ports] = limit_step(device.law, coefficients, old, unknowns[ports])
            settled = np.abs(unknowns[m:] - old_w).max(initial=0.0) < TOLERANCE * (1.0 + np.abs(old_w).max(initial=0.0))
            if settled and np.array_equal(unlimited, unknowns[m:]):
                return unknowns
        return None

    def lower_gmin(self, start: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Follow an extra conductance at the ports from 10 mS to 0, in smaller steps where Newton's method fails."""
        gmin, factor = 1e-2, 10.0
        unknowns = self.newton(start, gmin)
        while unknowns is not None and gmin > 1e-12 and factor > 1.01:
            lower = self.newton(unknowns, gmin / factor)
            if lower is None:
                factor **= 0.5
            else:
                unknowns, gmin, factor = lower, gmin / factor, min(factor**1.5, 10.0)
        return None if unknowns is None else self.newton(unknowns)

    def step(self, start: NDArray[np.float64], schedule: list[tuple[str, float]]) -> NDArray[np.float64] | None:
        """Follow a schedule of easier problems that ends with the one to solve."""
        unknowns: NDArray[np.float64] | None = start
        for name, value in schedule:
            if unknowns is None:
                return None
            unknowns = self.newton(unknowns, **{name: value})
        return unknowns

    def solve(self, jacobian: NDArray[np.float64], residual: NDArray[np.float64]) -> NDArray[np.float64]:
        empty = np.flatnonzero(~jacobian.any(axis=1))
        if empty.size:
            raise CircuitError(f"singular at DC: {self.names(empty)} has no equation")
        try:
            return solve_scaled(jacobian, residual)
        except np.linalg.LinAlgError:
            raise CircuitError(
                f"the DC equations have no unique solution{self.culprits(jacobian)}",
                "look for a loop of ideal sources or inductors, or an amplifier without feedback, at these places",
            ) from None

    def culprits(self, jacobian: NDArray[np.float64]) -> str:
        """What a singular Jacobian leaves undetermined, where it is small enough to find out."""
        if len(jacobian) > NAMED_UP_TO or not np.isfinite(jacobian).all():
            return ""
        _, _, vectors = np.linalg.svd(jacobian / np.abs(jacobian).max(axis=1)[:, None])
        indices = np.flatnonzero(np.abs(vectors[-1]) > 0.1 * np.abs(vectors[-1]).max())
        return f"; undetermined: {self.names(indices)}"

    def names(self, indices: NDArray[np.int64]) -> str:
        names = (*self.equations.unknowns, *self.equations.ports)
        return ", ".join(names[k] for k in indices)
