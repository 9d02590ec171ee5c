"""Junction diodes: one, an antiparallel or parallel bundle of one type, and one with reverse breakdown."""

from __future__ import annotations

from sympy import Expr, Symbol, exp, log, sqrt, symbols

from circuitnn.devices.law import (
    BOLTZMANN_OVER_CHARGE,
    GMIN,
    NOMINAL_TEMPERATURE,
    TEMPERATURE,
    Junction,
    Law,
    Parameter,
)
from circuitnn.symbolic import limited_exp

SOURCE = "Shockley's equation with SPICE's temperature law: Nagel, SPICE2, UCB/ERL M520 (1975), appendix 1"

(v,) = voltage = symbols("v", real=True, seq=True)
slope, critical = symbols("slope critical", positive=True)
forward, reverse = symbols("forward reverse", positive=True)
knee_current, knee_voltage = symbols("knee_current knee_voltage", positive=True)


def parameter(name: str) -> Symbol:
    return Symbol(name, positive=True)


def saturation_current(area: Symbol) -> Expr:
    """IS of a junction of that area at TEMPERATURE, from IS at the nominal temperature."""
    ratio = TEMPERATURE / NOMINAL_TEMPERATURE
    n, eg, xti = parameter("n"), parameter("eg"), parameter("xti")
    growth = exp((ratio - 1.0) * eg / (n * BOLTZMANN_OVER_CHARGE * TEMPERATURE)) * ratio ** (xti / n)
    return parameter("is") * area * growth


def critical_voltage(exponential_slope: Expr, current: Expr) -> Expr:
    """Where the junction's curve bends most sharply: SPICE's v_crit = n V_T ln(n V_T / (sqrt(2) IS))."""
    return log(1.0 / (exponential_slope * sqrt(2.0) * current)) / exponential_slope


MODEL_PARAMETERS = {
    "is": Parameter(1e-14, "A", "saturation current"),
    "n": Parameter(1.0, "", "emission coefficient"),
    "bv": Parameter(float("inf"), "V", "reverse breakdown voltage"),
    "ibv": Parameter(1e-3, "A", "current at the breakdown voltage"),
    "eg": Parameter(1.11, "eV", "energy gap"),
    "xti": Parameter(3.0, "", "exponent of the saturation current's temperature law"),
}
AREA = Parameter(1.0, "", "area factor")

_slope = 1.0 / (parameter("n") * BOLTZMANN_OVER_CHARGE * TEMPERATURE)
_forward = saturation_current(parameter("area"))
_reverse = saturation_current(parameter("reverse_area"))

DIODE = Law(
    name="diode",
    variables=voltage,
    voltages=voltage,
    currents=(forward * (limited_exp(slope * v) - 1.0) + GMIN * v,),
    coefficients={slope: _slope, forward: _forward, critical: critical_voltage(_slope, _forward)},
    parameters={**MODEL_PARAMETERS, "area": AREA},
    source=SOURCE,
    junctions=(Junction(0, slope, critical),),
)

# `area` points along the port, `reverse_area` against it: any bundle of equal diodes between two nodes is one port.
DIODE_PAIR = Law(
    name="diode_pair",
    variables=voltage,
    voltages=voltage,
    currents=(forward * (limited_exp(slope * v) - 1.0) - reverse * (limited_exp(-slope * v) - 1.0) + 2.0 * GMIN * v,),
    coefficients={
        slope: _slope,
        forward: _forward,
        reverse: _reverse,
        critical: critical_voltage(_slope, _forward),
    },
    parameters={**MODEL_PARAMETERS, "area": AREA, "reverse_area": AREA},
    source=SOURCE,
    junctions=(Junction(0, slope, critical, symmetric=True),),
)

# SPICE's breakdown branch: the current -IBV exp(-(v + BV)/(n V_T)) takes over below -BV, whatever the area.
BREAKDOWN_DIODE = Law(
    name="breakdown_diode",
    variables=voltage,
    voltages=voltage,
    currents=(
        forward * (limited_exp(slope * v) - 1.0) - knee_current * limited_exp(-slope * (v + knee_voltage)) + GMIN * v,
    ),
    coefficients={
        slope: _slope,
        forward: _forward,
        knee_current: parameter("ibv"),
        knee_voltage: parameter("bv"),
        critical: critical_voltage(_slope, _forward),
    },
    parameters={**MODEL_PARAMETERS, "area": AREA},
    source=SOURCE,
    junctions=(Junction(0, slope, critical),),
)
