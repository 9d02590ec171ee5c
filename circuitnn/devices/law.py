"""What a device is: a symbolic law, written once, from which every number and every line of code is derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy
from sympy import Expr, Symbol

from circuitnn.symbolic import derivative

# SPICE's conductance across every junction, in siemens. It keeps the Jacobian regular when all junctions are off.
GMIN = 1e-12

# Boltzmann's constant over the elementary charge, in V/K (exact in the SI of 2019).
BOLTZMANN_OVER_CHARGE = 1.380649e-23 / 1.602176634e-19

# A port that senses a current has the current as its voltage, in this many ampere per volt, and draws nothing: what is
# milliamperes beside volts is then solved to the same relative precision.
AMPERE_PER_VOLT = 1e-3

# What formulas of coefficients hold beside the parameters: kelvin, and k T / q in volt.
TEMPERATURE = Symbol("temperature", positive=True)
THERMAL_VOLTAGE = Symbol("thermal_voltage", positive=True)


def at_temperature(kelvin: Any) -> dict[str, Any]:
    """The values of TEMPERATURE and THERMAL_VOLTAGE."""
    return {TEMPERATURE.name: kelvin, THERMAL_VOLTAGE.name: BOLTZMANN_OVER_CHARGE * kelvin}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a .model card, or of the element itself (areas). unit is "" for a pure number."""

    default: float
    unit: str
    description: str


@dataclass(frozen=True)
class Junction:
    """How far Newton's method may move one variable that drives an exponential.

    slope: the coefficient 1/(n V_T); critical: the coefficient that holds the voltage beyond which steps are limited
    (SPICE's pnjlim); symmetric: whether the law is exponential in both directions; beyond: of a breakdown, the
    coefficient that holds its voltage: the exponential is one of -(w + beyond). bounds_curvature: whether the law is
    nowhere bent more sharply than that exponential, so that its slope tells Newton's method when to stop.
    """

    variable: int
    slope: Symbol
    critical: Symbol
    symmetric: bool = False
    beyond: Symbol | None = None
    bounds_curvature: bool = True


# Laws are constants of this package, or built once for each formula: compared and hashed by identity.
@dataclass(frozen=True, eq=False, repr=False)
class Law:
    """Port voltages and currents of a device as functions of its natural variables w: v = V(w), i = I(w).

    A port current flows into the + terminal and out of the - terminal, so a passive device has v i >= 0. The law is
    written in `coefficients`, quantities that stay constant during a simulation and are formulas of the `parameters`
    of TEMPERATURE and THERMAL_VOLTAGE, and of the coefficients before them. parts: quantities within the currents that
    have a name in the literature, for people who read the law. Units: volt, ampere.
    """

    name: str
    variables: tuple[Symbol, ...]
    voltages: tuple[Expr, ...]
    currents: tuple[Expr, ...]
    coefficients: Mapping[Symbol, Expr]
    parameters: Mapping[str, Parameter]
    source: str
    junctions: tuple[Junction, ...] = ()
    parts: Mapping[Symbol, Expr] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Law({self.name})"

    def __deepcopy__(self, memo: dict[int, object]) -> Law:
        return self

    @property
    def ports(self) -> int:
        return len(self.variables)

    @property
    def voltage_is_variable(self) -> bool:
        """True if v = w, which spares the run-time half of its products."""
        return self.voltages == self.variables

    @cached_property
    def formulas(self) -> tuple[Expr, ...]:
        """V and I."""
        return (*self.voltages, *self.currents)

    @cached_property
    def slopes(self) -> tuple[Expr, ...]:
        """dV/dw and dI/dw, by rows."""
        return (*self.voltage_jacobian, *self.current_jacobian)

    @cached_property
    def voltage_jacobian(self) -> sympy.Matrix:
        return _jacobian(self.voltages, self.variables)

    @cached_property
    def current_jacobian(self) -> sympy.Matrix:
        return _jacobian(self.currents, self.variables)

    @cached_property
    def voltage_coefficient_jacobian(self) -> sympy.Matrix:
        return _jacobian(self.voltages, tuple(self.coefficients))

    @cached_property
    def current_coefficient_jacobian(self) -> sympy.Matrix:
        return _jacobian(self.currents, tuple(self.coefficients))


def _jacobian(values: Sequence[Expr], symbols: Sequence[Symbol]) -> sympy.Matrix:
    entries = [derivative(value, symbol) for value in values for symbol in symbols]
    return sympy.Matrix(len(values), len(symbols), entries)
