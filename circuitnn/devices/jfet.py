"""Junction field-effect transistors: Shichman and Hodges' square law with SPICE's doping tail.

Port 1 runs from gate to source, port 2 from gate to drain; drain and source may change their parts. With
x = max(v - VTO, 0) at either end of the channel, the three regions and their mirror images are one formula,

    i = BETA (1 + LAMBDA |v_ds|) (g(x_s) - g(x_d)),   g(x) = B x^2 + (1 - B) / (PB - VTO) x^3

which has a continuous slope everywhere: at pinch-off, at the edge of saturation and where v_ds changes its sign.
"""

from __future__ import annotations

from sympy import Abs, Max, Symbol, symbols

from circuitnn.devices.junction import (
    AREA,
    EG,
    NOMINAL,
    RATIO,
    TNOM,
    critical_voltage,
    junction_current,
    parameter,
    saturation_growth,
    signed,
)
from circuitnn.devices.law import GMIN, TEMPERATURE, THERMAL_VOLTAGE, Junction, Law, Parameter

v_gs, v_gd = symbols("v_gs v_gd", real=True)
threshold = symbols("threshold", real=True)
gain, lambda_, square, tail = symbols("gain lambda_ square tail", real=True)
saturation, slope, critical = symbols("saturation slope critical", positive=True)

_heating = TEMPERATURE - NOMINAL


_source_end, _drain_end = (Max(v - threshold, 0, evaluate=False) for v in (v_gs, v_gd))
_difference = _source_end**2 * (square + tail * _source_end) - _drain_end**2 * (square + tail * _drain_end)
_channel = gain * (1.0 + lambda_ * Abs(v_gs - v_gd, evaluate=False)) * _difference

JFET = Law(
    name="jfet",
    variables=(v_gs, v_gd),
    voltages=(v_gs, v_gd),
    currents=(
        junction_current(saturation, slope, v_gs) + _channel + GMIN * v_gs,
        junction_current(saturation, slope, v_gd) - _channel + GMIN * v_gd,
    ),
    coefficients={
        threshold: signed("vto") + (signed("vtotc") - signed("tcv")) * _heating,
        gain: parameter("beta") * parameter("area") * RATIO ** signed("bex") * 1.01 ** (signed("betatce") * _heating),
        lambda_: signed("lambda"),
        square: signed("b"),
        tail: (1.0 - signed("b")) / (parameter("pb") - signed("vto")),
        saturation: parameter("is") * parameter("area") * saturation_growth(),
        slope: 1.0 / THERMAL_VOLTAGE,
        critical: critical_voltage(slope, saturation),
    },
    parameters={
        "vto": Parameter(-2.0, "V", "threshold (pinch-off) voltage, negative for both polarities"),
        "beta": Parameter(1e-4, "A/V^2", "transconductance coefficient"),
        "lambda": Parameter(0.0, "1/V", "channel-length modulation"),
        "b": Parameter(1.0, "", "doping tail: 1 for the pure square law"),
        "pb": Parameter(1.0, "V", "gate junction potential"),
        "is": Parameter(1e-14, "A", "saturation current of each gate junction"),
        "eg": EG,
        "xti": Parameter(0.0, "", "exponent of the saturation current's temperature law"),
        "tcv": Parameter(0.0, "V/K", "how far the threshold falls with temperature"),
        "vtotc": Parameter(0.0, "V/K", "how far the threshold rises with temperature"),
        "bex": Parameter(0.0, "", "exponent of BETA's temperature law"),
        "betatce": Parameter(0.0, "%/K", "exponential temperature coefficient of BETA"),
        "tnom": TNOM,
        "area": AREA,
    },
    source="Shichman and Hodges, Modeling and simulation of insulated-gate field-effect transistor switching circuits, "
    "IEEE J. Solid-State Circuits 3 (1968), with the doping tail of Parker and Skellern; as ngspice 39 level 1",
    junctions=(
        Junction(0, slope, critical, bounds_curvature=False),
        Junction(1, slope, critical, bounds_curvature=False),
    ),
    parts={Symbol("x_s"): _source_end, Symbol("x_d"): _drain_end, Symbol("i_ds"): _channel},
)
