"""What the semiconductor laws share: names of parameters, SPICE's temperature laws, and the data of a junction."""

from __future__ import annotations

from sympy import Expr, Float, Max, Min, Piecewise, S, Symbol, exp, log, sqrt

from circuitnn.devices.law import BOLTZMANN_OVER_CHARGE, TEMPERATURE, THERMAL_VOLTAGE, Parameter
from circuitnn.symbolic import SMALLEST, limited_exp

# SPICE's reference temperature (27 degrees Celsius), in kelvin: that of silicon's energy gap in its potentials.
REFERENCE = 300.15
ZERO_CELSIUS = 273.15

AREA = Parameter(1.0, "", "area factor")
TNOM = Parameter(27.0, "degC", "temperature at which the parameters hold")
EG = Parameter(1.11, "eV", "energy gap")


def parameter(name: str) -> Symbol:
    """The symbol of a model parameter in the formulas of coefficients."""
    return Symbol(name, positive=True)


def signed(name: str) -> Symbol:
    """As parameter, for one that may be negative."""
    return Symbol(name, real=True)


NOMINAL = parameter("tnom") + ZERO_CELSIUS
RATIO = TEMPERATURE / NOMINAL


def saturation_growth(emission: Expr = S.One) -> Expr:
    """IS at TEMPERATURE over IS at TNOM, for a junction with that emission coefficient and parameters eg and xti."""
    eg, xti = parameter("eg"), parameter("xti")
    return exp((RATIO - 1.0) * eg / (emission * THERMAL_VOLTAGE)) * RATIO ** (xti / emission)


def junction_current(saturation: Expr, slope: Expr, v: Expr) -> Expr:
    """Shockley's equation, with the exponential continued as its tangent beyond all that can flow."""
    return saturation * (limited_exp(slope * v) - 1.0)


def critical_voltage(slope: Expr, saturation: Expr) -> Expr:
    """Where the junction's curve bends most sharply: SPICE's v_crit = n V_T ln(n V_T / (sqrt(2) IS)).

    Not below n V_T, where limiting, which takes a logarithm of v / (n V_T), would turn back.
    """
    return Max(log(1.0 / (slope * sqrt(2.0) * _above_zero(saturation))), 1.0, evaluate=False) / slope


def inverse(name: str, area: Expr = S.One) -> Expr:
    """1 / (parameter times area); 0 for a parameter of 0, which is how cards say that there is no such effect."""
    return Piecewise((1.0 / (_above_zero(signed(name)) * area), signed(name) > 0.0), (S.Zero, True), evaluate=False)


def unless_zero(name: str, otherwise: Expr) -> Expr:
    """The parameter; what it is otherwise where the card does not give it and its default is 0."""
    return Piecewise((_above_zero(signed(name)), signed(name) > 0.0), (otherwise, True), evaluate=False)


def _above_zero(quantity: Expr) -> Expr:
    # Both cases of a choice are evaluated, so both must have a value.
    return Max(quantity, Float(SMALLEST), evaluate=False)


def kept_positive(x: Expr, edge: float) -> Expr:
    """x down to `edge`; below, a hyperbola that goes on with the same slope and never reaches 0."""
    hyperbola = edge**2 / (2.0 * edge - Min(x, Float(edge), evaluate=False))
    return Piecewise((x, x > edge), (hyperbola, True), evaluate=False)


def silicon_gap(temperature: Expr) -> Expr:
    """The energy gap of silicon in eV that SPICE uses for potentials and for the junctions of a MOSFET."""
    return 1.16 - 7.02e-4 * temperature**2 / (temperature + 1108.0)


def potential(nominal: Expr) -> Expr:
    """A built-in or surface potential at TEMPERATURE, from its value at TNOM (Nagel 1975; jfettemp, mos1temp)."""

    def shift(temperature: Expr, thermal: Expr) -> Expr:
        gap = silicon_gap(temperature) / thermal - 1.1150877 / (BOLTZMANN_OVER_CHARGE * REFERENCE)
        return thermal * (gap - 3.0 * log(temperature / REFERENCE))

    then = shift(NOMINAL, BOLTZMANN_OVER_CHARGE * NOMINAL)
    return RATIO * (nominal - then) + shift(TEMPERATURE, THERMAL_VOLTAGE)
