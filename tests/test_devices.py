"""Device laws: derivatives against differences, smoothness, signs, and curves against ngspice."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import ngspice
import numpy as np
import pytest
from circuits import parse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sympy import Symbol

from circuitnn.circuit import Circuit
from circuitnn.devices import BJT, BREAKDOWN_DIODE, DIODE, DIODE_PAIR, TEMPERATURE, Law
from circuitnn.discretise import DiscreteCircuit
from circuitnn.operating_point import evaluate_law, limit_step
from circuitnn.symbolic import EXPONENT_LIMIT, Operations, evaluate

NUMPY = Operations(np)
LAWS = {law.name: law for law in (DIODE, DIODE_PAIR, BREAKDOWN_DIODE, BJT)}
PARAMETERS = {
    "is": (1e-15, 1e-8), "n": (1.0, 2.0), "bv": (3.0, 12.0), "ibv": (1e-4, 5e-3), "eg": (0.6, 1.3), "xti": (2.0, 4.0),
    "area": (0.5, 3.0), "reverse_area": (0.5, 3.0), "bf": (20.0, 400.0), "br": (0.5, 8.0), "nf": (1.0, 1.2),
    "nr": (1.0, 1.3), "vaf": (30.0, 200.0), "xtb": (0.0, 2.0), "rs": (0.0, 10.0),
}  # fmt: skip


def coefficients(law: Law, parameters: Mapping[str, float], temperature: float = 300.15) -> dict[Symbol, float]:
    values = {name: parameter.default for name, parameter in law.parameters.items()}
    values |= parameters | {TEMPERATURE.name: temperature}
    return {symbol: float(evaluate(rule, values, NUMPY)) for symbol, rule in law.coefficients.items()}


def curve(law: Law, w: NDArray[np.float64], c: Mapping[Symbol, float]) -> NDArray[np.float64]:
    """v and i side by side, [2 ports, ...], at w [ports, ...]."""
    v, i, _, _ = evaluate_law(law, w, c, NUMPY)
    return np.array([np.broadcast_to(part, w.shape[1:]) for part in (*v, *i)])


@st.composite
def states(draw: st.DrawFn) -> tuple[Law, dict[Symbol, float], NDArray[np.float64]]:
    """A law with random parameters at a random point: from hard reverse to hard forward conduction."""
    law = LAWS[draw(st.sampled_from(sorted(LAWS)))]
    parameters = {name: draw(st.floats(*PARAMETERS[name])) for name in law.parameters}
    c = coefficients(law, parameters, draw(st.floats(270.0, 340.0)))
    w = [draw(st.floats(-4.0, 1.1 * c[junction.critical])) for junction in law.junctions]
    return law, c, np.array(w)


def assert_derivative(
    law: Law, found: NDArray[np.float64], points: list[NDArray[np.float64]], step: float, floor: float = 1e-24
) -> None:
    """`found` against the difference quotient of four values at -2, -1, 1, 2 steps (error of order step^4).

    floor: rounding error of the quotient where large terms of the law cancel.
    """
    far_left, left, right, far_right = points
    quotient = (8.0 * (right - left) - (far_right - far_left)) / (12.0 * step)
    scale = np.abs(np.array(points)).max(axis=0) / step
    np.testing.assert_array_less(np.abs(found - quotient), 1e-6 * np.abs(quotient) + 1e-12 * scale + floor)


@given(states())
def test_jacobians_are_the_derivatives_of_the_law(state: tuple[Law, dict[Symbol, float], NDArray[np.float64]]) -> None:
    law, c, w = state
    _, _, dv, di = evaluate_law(law, w, c, NUMPY)
    jacobian = np.array([*dv, *di], dtype=float)
    for k in range(law.ports):
        step = 2e-3 / c[law.junctions[k].slope]
        points = [curve(law, w + offset * step * np.eye(law.ports)[k], c) for offset in (-2, -1, 1, 2)]
        largest = max((c[s] for s in c if s.name in {"forward", "reverse", "saturation"}), default=0.0)
        assert_derivative(law, jacobian[:, k], points, step, floor=1e-15 * largest / step)


@given(states())
def test_coefficient_jacobians_are_the_derivatives_of_the_law(
    state: tuple[Law, dict[Symbol, float], NDArray[np.float64]],
) -> None:
    law, c, w = state
    values = {symbol.name: value for symbol, value in c.items()}
    values |= {symbol.name: w[k] for k, symbol in enumerate(law.variables)}
    both = [*law.voltage_coefficient_jacobian.tolist(), *law.current_coefficient_jacobian.tolist()]
    jacobian = np.array([[float(evaluate(entry, values, NUMPY)) for entry in row] for row in both])
    for k, symbol in enumerate(law.coefficients):
        # Relative to the coefficient, but gentle where it stands in an exponent.
        step = c[symbol] * min(1e-3, 2e-3 / max(1.0, float(np.abs(w).max() + 12.0) * max(
            c[junction.slope] for junction in law.junctions)))  # fmt: skip
        points = [curve(law, w, {**c, symbol: c[symbol] + offset * step}) for offset in (-2, -1, 1, 2)]
        # Near 0 V the two terms of IS (exp(v / n V_T) - 1) cancel.
        largest = max((c[s] for s in c if s.name in {"forward", "reverse", "saturation"}), default=0.0)
        assert_derivative(law, jacobian[:, k], points, step, floor=1e-15 * largest / step)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_continuously_differentiable_where_the_exponential_is_limited(name: str) -> None:
    law = LAWS[name]
    c = coefficients(law, {"bv": 5.0, "vaf": 80.0})
    for k, junction in enumerate(law.junctions):
        corner = EXPONENT_LIMIT / c[junction.slope]
        corners = [corner] + ([-corner] if name == "diode_pair" else [])
        corners += [-corner - c[next(s for s in c if s.name == "knee_voltage")]] if name == "breakdown_diode" else []
        for at in corners:
            below, above = np.zeros(law.ports), np.zeros(law.ports)
            below[k], above[k] = at * (1 - 1e-12), at * (1 + 1e-12)
            for left, right in zip(evaluate_law(law, below, c, NUMPY), evaluate_law(law, above, c, NUMPY), strict=True):
                left, right = np.array(left, dtype=float), np.array(right, dtype=float)
                np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-20)
            # Beyond the corner the law must go on as a straight line and stay finite.
            far = np.zeros(law.ports)
            far[k] = 50.0 * at
            assert np.isfinite(curve(law, far, c)).all()
            here, twice = (curve(law, np.eye(law.ports)[k] * at * s, c)[law.ports + k] for s in (1.0, 2.0))
            middle = curve(law, np.eye(law.ports)[k] * at * 1.5, c)[law.ports + k]
            if name != "bjt":  # the Early factor bends the transistor's line
                assert middle == pytest.approx((here + twice) / 2.0, rel=1e-9)


@pytest.mark.parametrize("name", ["diode", "diode_pair", "breakdown_diode"])
def test_a_diode_dissipates_at_every_voltage(name: str) -> None:
    v = np.linspace(-8.0, 0.9, 2001)[None]
    c = coefficients(LAWS[name], {"is": 1e-9, "n": 1.8, "bv": 5.0})
    voltage, current = curve(LAWS[name], v, c)
    # At 0 V the breakdown branch of SPICE leaves IBV exp(-BV / (N V_T)), which is beyond measuring.
    leftover = 1e-3 * math.exp(-5.0 / (1.8 * 0.02587))
    assert (voltage * current >= -leftover * np.abs(voltage)).all()
    assert (np.diff(current) > 0.0).all()


def test_a_transistor_dissipates_at_every_bias() -> None:
    v_be, v_bc = np.meshgrid(np.linspace(-6.0, 0.8, 301), np.linspace(-6.0, 0.8, 301))
    v_1, v_2, i_1, i_2 = curve(BJT, np.array([v_be, v_bc]), coefficients(BJT, {"vaf": 80.0}))
    assert (v_1 * i_1 + v_2 * i_2 >= 0.0).all()


def test_a_forward_biased_diode_has_positive_port_current() -> None:
    """The sign convention: i flows into the + terminal of the port. The source's current shows it from outside."""
    model = DiscreteCircuit(parse("V1 a 0 1\nR1 a b 1k\nD1 b 0 DM\n.model DM D(IS=1n)"), 48000.0)
    point = model.operating_point({})
    (diode,) = model.equations.devices
    c = coefficients(diode.law, {"is": 1e-9})
    _, (current,), _, _ = evaluate_law(diode.law, point.w, c, NUMPY)
    a, b = (point.z[model.equations.unknowns.index(f"v({node})")] for node in "ab")
    assert point.w[0] == pytest.approx(b, abs=1e-9)
    assert current > 0.0
    assert current == pytest.approx((a - b) / 1000.0, rel=1e-9)


def test_antiparallel_diodes_are_one_port_with_both_areas() -> None:
    """The bundle carries what the diodes carry one by one."""
    pair = DiscreteCircuit(
        parse("I1 0 a 1m\nR1 a 0 10k\nD1 a 0 DM area=2\nD2 0 a DM\nD3 0 a DM area=3\n.model DM D(IS=1n)"), 1e5
    )
    assert len(pair.equations.ports) == 1
    c = coefficients(DIODE_PAIR, {"is": 1e-9, "area": 2.0, "reverse_area": 4.0})
    one, two, four = (coefficients(DIODE, {"is": 1e-9, "area": area}) for area in (1.0, 2.0, 4.0))
    v = np.linspace(-0.7, 0.7, 101)[None]
    singly = curve(DIODE, v, two)[1] - curve(DIODE, -v, four)[1]
    # One GMIN a diode model, so the pair has two, as the two single diodes here.
    np.testing.assert_allclose(curve(DIODE_PAIR, v, c)[1], singly, rtol=1e-12, atol=1e-22)
    assert curve(DIODE, v, one)[1][-1] < curve(DIODE, v, two)[1][-1]
    expected = 1e-3 - pair.operating_point({}).w[0] / 1e4
    assert curve(DIODE_PAIR, pair.operating_point({}).w[:, None], c)[1][0] == pytest.approx(expected, rel=1e-9)


@given(states(), st.floats(-50.0, 50.0))
def test_step_limiting_never_turns_back_and_never_leaps(
    state: tuple[Law, dict[Symbol, float], NDArray[np.float64]], leap: float
) -> None:
    law, c, old = state
    new = old + leap
    limited = limit_step(law, c, old, new)
    for k, junction in enumerate(law.junctions):
        if new[k] > max(old[k], 0.0):
            # A step into conduction may grow the current by a bounded factor only, however large it was.
            assert min(old[k], 0.0) <= limited[k] <= new[k]
            start = max(old[k], c[junction.critical])
            assert (limited[k] - start) * c[junction.slope] < 2.0 + math.log1p(60.0 * c[junction.slope])
        elif not junction.symmetric:
            assert limited[k] == new[k]


# --- Against ngspice ------------------------------------------------------------------------------------------------

TIGHT = ".options reltol=1e-8 abstol=1e-16 vntol=1e-12"


def sweep(cards: str, variable: str, start: float, stop: float, step: float, probes: list[str]) -> dict[str, NDArray]:
    # ngspice-39 multiplies the base-collector saturation current by area and by areab, which is area by default.
    cards = re.sub(r"^(Q.* area=\S+)$", r"\1 areab=1", cards, flags=re.MULTILINE)
    return ngspice.vectors(f"test\n{cards}\n{TIGHT}", f"dc {variable} {start} {stop} {step}", probes)


def branch_currents(circuit: Circuit, source: str, values: NDArray[np.float64], probe: str) -> NDArray[np.float64]:
    """The current through the voltage source `probe` (SPICE's sign) while `source` takes several values."""
    model = DiscreteCircuit(circuit, 48000.0)
    row = model.equations.unknowns.index(f"i({probe.upper()})")
    found, point = [], None
    for value in values:
        point = model.operating_point({source.upper(): float(value)}, point)
        found.append(point.z[row])
    return np.array(found)


DIODES = {
    "plain": ("IS=2.52n N=1.752", "", (-2.0, 0.8, 0.05)),
    "series resistance": ("IS=1n N=1.5 RS=5", "", (-1.0, 1.2, 0.05)),
    "area": ("IS=2.52n N=1.752", " area=2.5", (-1.0, 0.8, 0.05)),
    "hot": ("IS=2.52n N=1.752 EG=1.11 XTI=3\n.temp 60", "", (-1.0, 0.8, 0.05)),
    "cold germanium": ("IS=200n N=1.3 EG=0.67 XTI=2\n.temp 0", "", (-1.0, 0.4, 0.05)),
    "breakdown": ("IS=1n N=1 BV=5 IBV=1m", "", (-5.15, 0.6, 0.05)),
    "breakdown with emission coefficient": ("IS=1n N=1.8 BV=5 IBV=1m", "", (-5.3, 0.8, 0.05)),
    "hot breakdown": ("IS=1n N=1.8 BV=5 IBV=1m\n.temp 60", "", (-5.3, 0.8, 0.05)),
    "breakdown with area": ("IS=1n N=1.2 BV=5 IBV=1m", " area=2", (-5.3, 0.8, 0.05)),
}


@pytest.mark.ngspice
@pytest.mark.parametrize("name", DIODES)
def test_diode_curve_agrees_with_ngspice(name: str) -> None:
    model, area, (start, stop, step) = DIODES[name]
    cards = f"V1 a 0 0\nD1 a 0 DM{area}\n.model DM D({model.replace(chr(10), ')' + chr(10), 1)}"
    cards += "" if "\n" in model else ")"
    expected = sweep(cards, "V1", start, stop, step, ["i(v1)"])
    found = branch_currents(parse(cards), "V1", expected["scale"], "V1")
    # Below -3 n V_T ngspice bends the reverse current a little: less than the saturation current, which is the scale.
    saturation = float(np.abs(expected["i(v1)"][(expected["scale"] < -0.5) & (expected["scale"] > -0.9)]).max())
    np.testing.assert_allclose(found, expected["i(v1)"], rtol=2e-3, atol=1.1 * saturation + 2e-12)


TRANSISTORS = {
    "npn": ("NPN(IS=10f BF=200 BR=3)", 1.0, ""),
    "emission coefficients": ("NPN(IS=10f BF=200 BR=3 NF=1.1 NR=1.2)", 1.0, ""),
    "early voltage": ("NPN(IS=10f BF=200 BR=3 VAF=50)", 1.0, ""),
    "area": ("NPN(IS=10f BF=200 BR=3 VAF=50)", 1.0, " area=3"),
    "pnp": ("PNP(IS=20f BF=150 BR=2 VAF=40)", -1.0, ""),
    "hot": ("NPN(IS=10f BF=200 BR=3 VAF=50 XTB=1.5 EG=1.12 XTI=3.2)\n.temp 60", 1.0, ""),
}


@pytest.mark.ngspice
@pytest.mark.parametrize("probe", ["VC", "VB"])
@pytest.mark.parametrize("name", TRANSISTORS)
def test_transistor_curves_agree_with_ngspice(name: str, probe: str) -> None:
    model, sign, area = TRANSISTORS[name]
    base = f"VB b 0 {0.6 * sign}\nQ1 c b 0 QM{area}\n.model QM {model}"
    # Output characteristic, from saturation and reverse operation into the active region.
    cards = f"VC c 0 0\n{base}"
    expected = sweep(cards, "VC", -0.3 * sign, 8.0 * sign, 0.1 * sign, [f"i({probe.lower()})"])
    found = branch_currents(parse(cards), "VC", expected["scale"], probe)
    np.testing.assert_allclose(found, expected[f"i({probe.lower()})"], rtol=1e-4, atol=2e-11)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", TRANSISTORS)
def test_transistor_transfer_curve_agrees_with_ngspice(name: str) -> None:
    model, sign, area = TRANSISTORS[name]
    cards = f"VC c 0 {5 * sign}\nVB b 0 0\nQ1 c b 0 QM{area}\n.model QM {model}"
    expected = sweep(cards, "VB", -0.5 * sign, 0.75 * sign, 0.05 * sign, ["i(vc)"])
    found = branch_currents(parse(cards), "VB", expected["scale"], "VC")
    np.testing.assert_allclose(found, expected["i(vc)"], rtol=1e-4, atol=2e-11)
