"""Junction diodes: one, an antiparallel or parallel bundle of one type, with reverse breakdown, and complete."""

from __future__ import annotations

from sympy import Expr, Float, Max, Min, Symbol, exp, log, sqrt, symbols

from circuitnn.devices.junction import (
    AREA,
    EG,
    NOMINAL,
    THERMAL_VOLTAGE,
    TNOM,
    critical_voltage,
    inverse,
    junction_current,
    parameter,
    potential,
    saturation_growth,
    signed,
    unless_zero,
)
from circuitnn.devices.law import GMIN, TEMPERATURE, Junction, Law, Parameter
from circuitnn.symbolic import above_zero, limited_exp

SOURCE = "Shockley's equation with SPICE's temperature law: Nagel, SPICE2, UCB/ERL M520 (1975), appendix 1"
COMPLETE_SOURCE = f"{SOURCE}; breakdown, recombination and high injection as in ngspice 39 (dioload.c)"

(v,) = voltage = symbols("v", real=True, seq=True)
slope, critical = symbols("slope critical", positive=True)
forward, reverse = symbols("forward reverse", positive=True)
knee_current, knee_voltage, knee_slope, knee_critical, knee_offset = symbols(
    "knee_current knee_voltage knee_slope knee_critical knee_offset", positive=True
)
recombination, recombination_slope = symbols("recombination recombination_slope", positive=True)
inverse_potential, half_grading, inverse_injection = symbols(
    "inverse_potential half_grading inverse_injection", positive=True
)

MODEL_PARAMETERS = {
    "is": Parameter(1e-14, "A", "saturation current"),
    "n": Parameter(1.0, "", "emission coefficient"),
    "eg": EG,
    "xti": Parameter(3.0, "", "exponent of the saturation current's temperature law"),
    "tnom": TNOM,
    "area": AREA,
}
BREAKDOWN_PARAMETERS = {
    "bv": Parameter(float("inf"), "V", "reverse breakdown voltage"),
    "ibv": Parameter(1e-3, "A", "current at the breakdown voltage"),
    "nbv": Parameter(0.0, "", "emission coefficient of the breakdown; 0: that of the junction"),
    "tcv": Parameter(0.0, "V/K", "how far the breakdown voltage falls with temperature"),
}
COMPLETE_PARAMETERS = {
    "ikf": Parameter(0.0, "A", "knee of high injection; 0: none"),
    "isr": Parameter(0.0, "A", "saturation current of recombination"),
    "nr": Parameter(2.0, "", "emission coefficient of recombination"),
    "vj": Parameter(1.0, "V", "junction potential"),
    "m": Parameter(0.5, "", "grading coefficient"),
}


def saturation_current(area: Symbol) -> Expr:
    """IS of a junction of that area at TEMPERATURE, from IS at the nominal temperature."""
    return parameter("is") * area * saturation_growth(parameter("n"))


# Beyond any voltage, where the card gives no breakdown: infinity times zero would not be zero.
_NO_BREAKDOWN = Float(1e6)
_slope = 1.0 / (parameter("n") * THERMAL_VOLTAGE)
_forward = saturation_current(parameter("area"))
_reverse = saturation_current(parameter("reverse_area"))
_knee_voltage = Min(parameter("bv") - signed("tcv") * (TEMPERATURE - NOMINAL), _NO_BREAKDOWN, evaluate=False)
_knee_emission = unless_zero("nbv", parameter("n"))
_knee_slope = 1.0 / (_knee_emission * THERMAL_VOLTAGE)
# IBV flows at -BV, whatever the area. ngspice counts a leakage of IS (x / V_T - 1) among it, x being the voltage at
# which the breakdown carries IS, and never takes less than IS: this is one step of its iteration for x.
_knee_start = Max(_forward, parameter("ibv") + _forward * (1.0 - _knee_voltage / THERMAL_VOLTAGE), evaluate=False)
_knee_current = _knee_start + _forward * _knee_emission * log(_knee_start / _forward)

_junction = junction_current(forward, slope, v)
_breakdown = knee_current * limited_exp(-knee_slope * (v + knee_voltage)) - knee_offset
_forward_limit = Junction(0, slope, critical)

DIODE = Law(
    name="diode",
    variables=voltage,
    voltages=voltage,
    currents=(_junction + GMIN * v,),
    coefficients={slope: _slope, forward: _forward, critical: critical_voltage(_slope, _forward)},
    parameters=MODEL_PARAMETERS,
    source=SOURCE,
    junctions=(_forward_limit,),
)

# `area` points along the port, `reverse_area` against it: any bundle of equal diodes between two nodes is one port.
DIODE_PAIR = Law(
    name="diode_pair",
    variables=voltage,
    voltages=voltage,
    currents=(_junction - junction_current(reverse, slope, -v) + 2.0 * GMIN * v,),
    coefficients={
        slope: _slope,
        forward: _forward,
        reverse: _reverse,
        critical: critical_voltage(_slope, _forward),
    },
    parameters={**MODEL_PARAMETERS, "reverse_area": AREA},
    source=SOURCE,
    junctions=(Junction(0, slope, critical, symmetric=True),),
)

_BREAKDOWN_COEFFICIENTS = {
    slope: _slope,
    forward: _forward,
    critical: critical_voltage(_slope, _forward),
    knee_current: _knee_current,
    knee_voltage: _knee_voltage,
    knee_slope: _knee_slope,
    # The breakdown branch at 0 V, so that no current flows there.
    knee_offset: _knee_current * exp(-_knee_slope * _knee_voltage),
    knee_critical: critical_voltage(_knee_slope, _knee_current),
}
_BREAKDOWN_JUNCTIONS = (_forward_limit, Junction(0, knee_slope, knee_critical, beyond=knee_voltage))

BREAKDOWN_DIODE = Law(
    name="breakdown_diode",
    variables=voltage,
    voltages=voltage,
    currents=(_junction - _breakdown + GMIN * v,),
    coefficients=_BREAKDOWN_COEFFICIENTS,
    parameters={**MODEL_PARAMETERS, **BREAKDOWN_PARAMETERS},
    source=COMPLETE_SOURCE,
    junctions=_BREAKDOWN_JUNCTIONS,
)

# Recombination in the depletion layer, whose width follows (1 - v/VJ)^M; IKF bends the sum of both forward currents.
_width = ((1.0 - v * inverse_potential) ** 2 + 0.005) ** half_grading
_low_injection = _junction + junction_current(recombination, recombination_slope, v) * _width
_injected = _low_injection / (1.0 + sqrt(above_zero(_low_injection) * inverse_injection))

COMPLETE_DIODE = Law(
    name="complete_diode",
    variables=voltage,
    voltages=voltage,
    currents=(_injected - _breakdown + GMIN * v,),
    coefficients={
        **_BREAKDOWN_COEFFICIENTS,
        recombination: parameter("isr") * parameter("area") * saturation_growth(parameter("nr")),
        recombination_slope: 1.0 / (parameter("nr") * THERMAL_VOLTAGE),
        inverse_potential: 1.0 / potential(parameter("vj")),
        half_grading: 0.5 * parameter("m"),
        inverse_injection: inverse("ikf", parameter("area")),
    },
    parameters={**MODEL_PARAMETERS, **BREAKDOWN_PARAMETERS, **COMPLETE_PARAMETERS},
    source=COMPLETE_SOURCE,
    junctions=_BREAKDOWN_JUNCTIONS,
)
