"""Bipolar transistor: Ebers-Moll in transport form with forward Early effect."""

from __future__ import annotations

from sympy import Symbol, exp, symbols

from circuitnn.devices.diode import critical_voltage
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


def _parameter(name: str) -> Symbol:
    return Symbol(name, positive=True)


v_be, v_bc = symbols("v_be v_bc", real=True)
saturation, forward_slope, reverse_slope = symbols("saturation forward_slope reverse_slope", positive=True)
inverse_bf, inverse_br, inverse_vaf = symbols("inverse_bf inverse_br inverse_vaf", positive=True)
forward_critical, reverse_critical = symbols("forward_critical reverse_critical", positive=True)

_thermal = BOLTZMANN_OVER_CHARGE * TEMPERATURE
_ratio = TEMPERATURE / NOMINAL_TEMPERATURE
_saturation = (
    _parameter("is")
    * _parameter("area")
    * exp((_ratio - 1.0) * _parameter("eg") / _thermal)
    * _ratio ** _parameter("xti")
)
_forward_slope = 1.0 / (_parameter("nf") * _thermal)
_reverse_slope = 1.0 / (_parameter("nr") * _thermal)

_forward = saturation * (limited_exp(forward_slope * v_be) - 1.0)
_reverse = saturation * (limited_exp(reverse_slope * v_bc) - 1.0)
_transport = (_forward - _reverse) * (1.0 - v_bc * inverse_vaf)

# Port 1 runs from base to emitter, port 2 from base to collector; a PNP is the same law with both ports turned round.
BJT = Law(
    name="bjt",
    variables=(v_be, v_bc),
    voltages=(v_be, v_bc),
    currents=(
        _forward * inverse_bf + _transport + GMIN * v_be,
        _reverse * inverse_br - _transport + GMIN * v_bc,
    ),
    coefficients={
        saturation: _saturation,
        forward_slope: _forward_slope,
        reverse_slope: _reverse_slope,
        inverse_bf: 1.0 / (_parameter("bf") * _ratio ** _parameter("xtb")),
        inverse_br: 1.0 / (_parameter("br") * _ratio ** _parameter("xtb")),
        inverse_vaf: 1.0 / _parameter("vaf"),
        forward_critical: critical_voltage(_forward_slope, _saturation),
        reverse_critical: critical_voltage(_reverse_slope, _saturation),
    },
    parameters={
        "is": Parameter(1e-16, "A", "transport saturation current"),
        "bf": Parameter(100.0, "", "forward current gain"),
        "br": Parameter(1.0, "", "reverse current gain"),
        "nf": Parameter(1.0, "", "forward emission coefficient"),
        "nr": Parameter(1.0, "", "reverse emission coefficient"),
        "vaf": Parameter(float("inf"), "V", "forward Early voltage"),
        "eg": Parameter(1.11, "eV", "energy gap"),
        "xti": Parameter(3.0, "", "exponent of the saturation current's temperature law"),
        "xtb": Parameter(0.0, "", "exponent of the current gains' temperature law"),
        "area": Parameter(1.0, "", "area factor"),
    },
    source="Ebers-Moll transport model, Getreu, Modeling the Bipolar Transistor (1976); Early factor as in SPICE2",
    junctions=(Junction(0, forward_slope, forward_critical), Junction(1, reverse_slope, reverse_critical)),
)
