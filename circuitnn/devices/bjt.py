"""Bipolar transistors: Gummel and Poon, and its special case of Ebers and Moll with forward Early effect.

Port 1 runs from base to emitter, port 2 from base to collector; a PNP is the same law with both ports turned round.
"""

from __future__ import annotations

from sympy import Expr, S, Symbol, sqrt, symbols

from circuitnn.devices.junction import (
    AREA,
    EG,
    RATIO,
    TNOM,
    critical_voltage,
    inverse,
    junction_current,
    kept_positive,
    parameter,
    saturation_growth,
)
from circuitnn.devices.law import GMIN, THERMAL_VOLTAGE, Junction, Law, Parameter

v_be, v_bc = symbols("v_be v_bc", real=True)
saturation, forward_slope, reverse_slope = symbols("saturation forward_slope reverse_slope", positive=True)
inverse_bf, inverse_br, inverse_vaf, inverse_var = symbols(
    "inverse_bf inverse_br inverse_vaf inverse_var", positive=True
)
forward_critical, reverse_critical = symbols("forward_critical reverse_critical", positive=True)
inverse_ikf, inverse_ikr, rolloff = symbols("inverse_ikf inverse_ikr rolloff", positive=True)
emitter_leakage, emitter_leakage_slope = symbols("emitter_leakage emitter_leakage_slope", positive=True)
collector_leakage, collector_leakage_slope = symbols("collector_leakage collector_leakage_slope", positive=True)

forward_current, reverse_current, transport_current = symbols("i_f i_r i_t", real=True)

# Below this the Early factor 1 - v_bc/VAF - v_be/VAR and what stands under the root of the base charge go on as
# hyperbolas: far outside anything that can flow, but Newton's method may ask there, and SPICE has poles.
EDGE = 0.1

_forward = junction_current(saturation, forward_slope, v_be)
_reverse = junction_current(saturation, reverse_slope, v_bc)
_COEFFICIENTS = {
    saturation: parameter("is") * parameter("area") * saturation_growth(),
    forward_slope: 1.0 / (parameter("nf") * THERMAL_VOLTAGE),
    reverse_slope: 1.0 / (parameter("nr") * THERMAL_VOLTAGE),
    inverse_bf: RATIO ** -parameter("xtb") / parameter("bf"),
    inverse_br: RATIO ** -parameter("xtb") / parameter("br"),
    inverse_vaf: inverse("vaf"),
    forward_critical: critical_voltage(forward_slope, saturation),
    reverse_critical: critical_voltage(reverse_slope, saturation),
}
_PARAMETERS = {
    "is": Parameter(1e-16, "A", "transport saturation current"),
    "bf": Parameter(100.0, "", "forward current gain"),
    "br": Parameter(1.0, "", "reverse current gain"),
    "nf": Parameter(1.0, "", "forward emission coefficient"),
    "nr": Parameter(1.0, "", "reverse emission coefficient"),
    "vaf": Parameter(0.0, "V", "forward Early voltage; 0: infinite"),
    "eg": EG,
    "xti": Parameter(3.0, "", "exponent of the saturation current's temperature law"),
    "xtb": Parameter(0.0, "", "exponent of the current gains' temperature law"),
    "tnom": TNOM,
    "area": AREA,
}
_JUNCTIONS = (Junction(0, forward_slope, forward_critical), Junction(1, reverse_slope, reverse_critical))

_early = kept_positive(1.0 - v_bc * inverse_vaf, EDGE)
_transport = (_forward - _reverse) * _early

BJT = Law(
    name="bjt",
    variables=(v_be, v_bc),
    voltages=(v_be, v_bc),
    currents=(
        _forward * inverse_bf + _transport + GMIN * v_be,
        _reverse * inverse_br - _transport + GMIN * v_bc,
    ),
    coefficients=_COEFFICIENTS,
    parameters=_PARAMETERS,
    source="Ebers-Moll transport model, Getreu, Modeling the Bipolar Transistor (1976); Early factor as in SPICE2",
    junctions=_JUNCTIONS,
    parts={forward_current: _forward, reverse_current: _reverse, transport_current: _transport},
)


def _leakage(current: str, emission: str) -> Expr:
    """Saturation current of recombination at TEMPERATURE; it falls as the gain rises."""
    growth = saturation_growth(parameter(emission))
    return parameter(current) * parameter("area") * growth * RATIO ** -parameter("xtb")


def _gummel_poon(name: str, exponent: Expr, more: dict[Symbol, Expr], parameters: dict[str, Parameter]) -> Law:
    charge = kept_positive(1.0 + 4.0 * (_forward * inverse_ikf + _reverse * inverse_ikr), EDGE)
    root = sqrt(charge) if exponent == S.Half else charge**exponent
    early = kept_positive(1.0 - v_bc * inverse_vaf - v_be * inverse_var, EDGE)
    transport = 2.0 * (_forward - _reverse) * early / (1.0 + root)
    base_emitter = _forward * inverse_bf + junction_current(emitter_leakage, emitter_leakage_slope, v_be)
    base_collector = _reverse * inverse_br + junction_current(collector_leakage, collector_leakage_slope, v_bc)
    return Law(
        name=name,
        variables=(v_be, v_bc),
        voltages=(v_be, v_bc),
        currents=(base_emitter + transport + GMIN * v_be, base_collector - transport + GMIN * v_bc),
        coefficients={
            **_COEFFICIENTS,
            inverse_var: inverse("var"),
            inverse_ikf: inverse("ikf", parameter("area")),
            inverse_ikr: inverse("ikr", parameter("area")),
            emitter_leakage: _leakage("ise", "ne"),
            emitter_leakage_slope: 1.0 / (parameter("ne") * THERMAL_VOLTAGE),
            collector_leakage: _leakage("isc", "nc"),
            collector_leakage_slope: 1.0 / (parameter("nc") * THERMAL_VOLTAGE),
            **more,
        },
        parameters={
            **_PARAMETERS,
            "var": Parameter(0.0, "V", "reverse Early voltage; 0: infinite"),
            "ikf": Parameter(0.0, "A", "knee of the forward gain at high currents; 0: none"),
            "ikr": Parameter(0.0, "A", "knee of the reverse gain at high currents; 0: none"),
            "ise": Parameter(0.0, "A", "saturation current of base-emitter leakage"),
            "ne": Parameter(1.5, "", "emission coefficient of base-emitter leakage"),
            "isc": Parameter(0.0, "A", "saturation current of base-collector leakage"),
            "nc": Parameter(2.0, "", "emission coefficient of base-collector leakage"),
            **parameters,
        },
        source="Gummel and Poon, An integral charge control model of bipolar transistors, BSTJ 49 (1970), in the form "
        "of SPICE2: Nagel, UCB/ERL M520 (1975), appendix 1",
        junctions=_JUNCTIONS,
        parts={forward_current: _forward, reverse_current: _reverse, transport_current: transport},
    )


GUMMEL_POON = _gummel_poon("gummel_poon", S.Half, {}, {})
# As ngspice, the exponent of the base charge can be another than 1/2; a general power takes longer than a root.
GUMMEL_POON_NKF = _gummel_poon(
    "gummel_poon_nkf",
    rolloff,
    {rolloff: parameter("nkf")},
    {"nkf": Parameter(0.5, "", "exponent of the roll-off at high currents")},
)
