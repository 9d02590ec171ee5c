"""MOSFETs, level 1: Shichman and Hodges' square law with body effect and the two bulk junctions.

Port 1 runs from gate to source and carries no current, port 2 from bulk to source, port 3 from bulk to drain. The end
of the channel with the lower potential is the source, where v_b = max(v_bs, v_bd). With x = max(v - v_on, 0) for v_gs
and v_gd, all regions are one formula with a continuous slope everywhere,

    i = KP/2 W/(L - 2 LD) (1 + LAMBDA |v_ds|) (x_s^2 - x_d^2)
    v_on = VTO + GAMMA sqrt(PHI) (h(v_b / PHI) - 1)

where h(t) = sqrt(1 - t) below 0 and SPICE's tangent 1 - t/2 above; beyond t = 1, with the bulk junction far in
conduction, it bends to 0 as a parabola, where SPICE has a corner.
"""

from __future__ import annotations

from sympy import Abs, Expr, Float, Max, Min, Piecewise, S, Symbol, exp, sqrt, symbols

from circuitnn.devices.junction import (
    NOMINAL,
    RATIO,
    TNOM,
    critical_voltage,
    inverse,
    junction_current,
    parameter,
    potential,
    signed,
    silicon_gap,
    unless_zero,
)
from circuitnn.devices.law import BOLTZMANN_OVER_CHARGE, GMIN, TEMPERATURE, THERMAL_VOLTAGE, Junction, Law, Parameter

v_gs, v_bs, v_bd = symbols("v_gs v_bs v_bd", real=True)
threshold, half_beta, lambda_, body = symbols("threshold half_beta lambda_ body", real=True)
surface, inverse_phi, slope, warming = symbols("surface inverse_phi slope warming", positive=True)
source_saturation, source_critical = symbols("source_saturation source_critical", positive=True)
drain_saturation, drain_critical = symbols("drain_saturation drain_critical", positive=True)

# Permittivity of silicon dioxide in F/m, with SPICE's constants, and the square metres in a square centimetre.
OXIDE = 3.9 * 8.854214871e-12
SQUARE_CENTIMETRE = 1e-4
DEFAULT_KP = 2e-5

_bulk = Max(v_bs, v_bd, evaluate=False) * inverse_phi
_forward = Min(Max(_bulk, 0, evaluate=False), 3, evaluate=False)
_bend = Max(_forward - 1.0, 0, evaluate=False) ** 2 / 8.0
# What is left of the bulk voltage below 0, as a difference: at exactly 0, where the bulk is tied to the source, one of
# the two has the whole slope.
_depletion = sqrt(1.0 - (_bulk - Max(_bulk, 0, evaluate=False))) - _forward / 2.0 + _bend
_on = threshold + body * (_depletion - 1.0)
_v_ds = v_bs - v_bd
_source_end, _drain_end = (Max(v - _on, 0, evaluate=False) for v in (v_gs, v_gs - _v_ds))
_channel = half_beta * (1.0 + lambda_ * Abs(_v_ds, evaluate=False)) * (_source_end**2 - _drain_end**2)

_gaps = [silicon_gap(t) for t in (TEMPERATURE, NOMINAL)]
_growth = exp(_gaps[1] / (BOLTZMANN_OVER_CHARGE * NOMINAL) - _gaps[0] / THERMAL_VOLTAGE)


def _saturation(area: str) -> Expr:
    """IS, or JS times the area if both areas and JS are given."""
    all_given = signed("js") * signed("ad") * signed("as") > 0.0
    return warming * Piecewise((signed("js") * signed(area), all_given), (parameter("is"), True), evaluate=False)


def _transconductance() -> Expr:
    """KP; else from mobility and oxide thickness; else SPICE's default."""
    from_oxide = parameter("uo") * SQUARE_CENTIMETRE * OXIDE * inverse("tox")
    without = Piecewise((from_oxide, signed("tox") > 0.0), (Float(DEFAULT_KP), True), evaluate=False)
    return unless_zero("kp", without)


def _level_1(name: str, polarity: float) -> Law:
    gamma, phi = parameter("gamma"), parameter("phi")
    shift = 0.5 * (polarity * (_gaps[1] - _gaps[0]) + surface - phi)
    length = parameter("l") - 2.0 * parameter("ld")
    return Law(
        name=name,
        variables=(v_gs, v_bs, v_bd),
        voltages=(v_gs, v_bs, v_bd),
        currents=(
            S.Zero,
            junction_current(source_saturation, slope, v_bs) + _channel + GMIN * v_bs,
            junction_current(drain_saturation, slope, v_bd) - _channel + GMIN * v_bd,
        ),
        coefficients={
            surface: potential(phi),
            warming: _growth,
            threshold: polarity * signed("vto") + gamma * (sqrt(surface) - sqrt(phi)) + shift,
            half_beta: _transconductance() * parameter("w") / (2.0 * length * RATIO**1.5),
            lambda_: signed("lambda"),
            body: gamma * sqrt(surface),
            inverse_phi: 1.0 / surface,
            slope: 1.0 / THERMAL_VOLTAGE,
            source_saturation: _saturation("as"),
            source_critical: critical_voltage(slope, source_saturation),
            drain_saturation: _saturation("ad"),
            drain_critical: critical_voltage(slope, drain_saturation),
        },
        parameters={
            "vto": Parameter(0.0, "V", "threshold voltage without body effect; negative for most PMOS"),
            "kp": Parameter(0.0, "A/V^2", f"transconductance coefficient; 0: from UO and TOX, else {DEFAULT_KP:g}"),
            "gamma": Parameter(0.0, "V^0.5", "body effect"),
            "phi": Parameter(0.6, "V", "surface potential"),
            "lambda": Parameter(0.0, "1/V", "channel-length modulation"),
            "ld": Parameter(0.0, "m", "lateral diffusion"),
            "tox": Parameter(0.0, "m", "oxide thickness"),
            "uo": Parameter(600.0, "cm^2/Vs", "surface mobility"),
            "is": Parameter(1e-14, "A", "saturation current of each bulk junction"),
            "js": Parameter(0.0, "A/m^2", "saturation current density of the bulk junctions"),
            "tnom": TNOM,
            "w": Parameter(1e-4, "m", "channel width"),
            "l": Parameter(1e-4, "m", "channel length"),
            "ad": Parameter(0.0, "m^2", "area of the drain junction"),
            "as": Parameter(0.0, "m^2", "area of the source junction"),
        },
        source="Shichman and Hodges, Modeling and simulation of insulated-gate field-effect transistor switching "
        "circuits, IEEE J. Solid-State Circuits 3 (1968); body effect and temperature as ngspice 39 level 1",
        junctions=(
            Junction(1, slope, source_critical, bounds_curvature=False),
            Junction(2, slope, drain_critical, bounds_curvature=False),
        ),
        parts={
            Symbol("u"): _forward,
            Symbol("v_on"): _on,
            Symbol("x_s"): _source_end,
            Symbol("x_d"): _drain_end,
            Symbol("i_ds"): _channel,
        },
    )


NMOS = _level_1("nmos", 1.0)
PMOS = _level_1("pmos", -1.0)
