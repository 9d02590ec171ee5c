"""Junction diodes: one, an antiparallel or parallel bundle of one type, with reverse breakdown, and complete."""

from __future__ import annotations

from sympy import Expr, Float, Max, Min, Symbol, exp, log, sqrt, symbols

from circuitnn.devices.junction import (
    AREA,
    EG,
    NOMINAL,
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
from circuitnn.devices.law import GMIN, TEMPERATURE, THERMAL_VOLTAGE, Junction, Law, Parameter
from circuitnn.symbolic import above_zero, limited_exp

SOURCE = "Shockley's equation with SPICE's temperature law: Nagel, SPICE2, UCB/ERL M520 (1975), appendix 1"
COMPLETE_SOURCE = f"{SOURCE}; breakdown, recombination and high injection as in ngspice 39 (dioload.c)"

(v,) = voltage = symbols("v", real=True, seq=True)
slope, critical = symbols("slope critical", positive=True)
forward, reverse = symbols("forward reverse", positive=True)
knee_voltage, knee_emission, knee_slope, knee_start = symbols(
    "knee_voltage knee_emission knee_slope knee_start", positive=True
)
knee_current, knee_offset, knee_critical = symbols("knee_current knee_offset knee_critical", positive=True)
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
_EXPONENTIAL = {
    slope: 1.0 / (parameter("n") * THERMAL_VOLTAGE),
    forward: saturation_current(parameter("area")),
    critical: critical_voltage(slope, forward),
}
_BREAKDOWN = {
    knee_voltage: Min(parameter("bv") - signed("tcv") * (TEMPERATURE - NOMINAL), _NO_BREAKDOWN, evaluate=False),
    knee_emission: unless_zero("nbv", parameter("n")),
    knee_slope: 1.0 / (knee_emission * THERMAL_VOLTAGE),
    # IBV flows at -BV, whatever the area. ngspice counts a leakage of IS (x / V_T - 1) among it, x being the voltage at
    # which the breakdown carries IS, and never takes less than IS: this is one step of its iteration for x.
    knee_start: Max(forward, parameter("ibv") + forward * (1.0 - knee_voltage / THERMAL_VOLTAGE), evaluate=False),
    knee_current: knee_start + forward * knee_emission * log(knee_start / forward),
    # The breakdown branch at 0 V, so that no current flows there.
    knee_offset: knee_current * exp(-knee_slope * knee_voltage),
    knee_critical: critical_voltage(knee_slope, knee_current),
}

_junction = junction_current(forward, slope, v)
_breakdown = knee_current * limited_exp(-knee_slope * (v + knee_voltage)) - knee_offset
_forward_limit = Junction(0, slope, critical)

DIODE = Law(
    name="diode",
    variables=voltage,
    voltages=voltage,
    currents=(_junction + GMIN * v,),
    coefficients=_EXPONENTIAL,
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
    coefficients={**_EXPONENTIAL, reverse: saturation_current(parameter("reverse_area"))},
    parameters={**MODEL_PARAMETERS, "reverse_area": AREA},
    source=SOURCE,
    junctions=(Junction(0, slope, critical, symmetric=True),),
)

_BREAKDOWN_JUNCTIONS = (_forward_limit, Junction(0, knee_slope, knee_critical, beyond=knee_voltage))

BREAKDOWN_DIODE = Law(
    name="breakdown_diode",
    variables=voltage,
    voltages=voltage,
    currents=(_junction - _breakdown + GMIN * v,),
    coefficients={**_EXPONENTIAL, **_BREAKDOWN},
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
        **_EXPONENTIAL,
        **_BREAKDOWN,
        recombination: parameter("isr") * parameter("area") * saturation_growth(parameter("nr")),
        recombination_slope: 1.0 / (parameter("nr") * THERMAL_VOLTAGE),
        inverse_potential: 1.0 / potential(parameter("vj")),
        half_grading: 0.5 * parameter("m"),
        inverse_injection: inverse("ikf", parameter("area")),
    },
    parameters={**MODEL_PARAMETERS, **BREAKDOWN_PARAMETERS, **COMPLETE_PARAMETERS},
    source=COMPLETE_SOURCE,
    junctions=_BREAKDOWN_JUNCTIONS,
    parts={Symbol("i_low"): _low_injection},
)
