"""Device laws: derivatives against differences, smoothness and passivity over the whole plane, signs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import sympy
import torch
from circuits import parse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from plane import assert_passive, assert_smooth, coefficients, curve, slopes
from sympy import Symbol

from circuitnn.devices import (
    BJT,
    BREAKDOWN_DIODE,
    COMPLETE_DIODE,
    DIODE,
    DIODE_PAIR,
    GUMMEL_POON,
    GUMMEL_POON_NKF,
    JFET,
    MODEL_KINDS,
    NMOS,
    PMOS,
    SENSED_CURRENT,
    Law,
    learned_diode,
    weight_names,
)
from circuitnn.discretise import DiscreteCircuit
from circuitnn.operating_point import evaluate_law, law_values, limit_step
from circuitnn.symbolic import Operations, evaluate

NUMPY = Operations(np)
TORCH = Operations(torch)
DIODES = (DIODE, DIODE_PAIR, BREAKDOWN_DIODE, COMPLETE_DIODE)
LEARNED = (learned_diode(3, both=False), learned_diode(2, both=True))
LAWS = {law.name: law for law in (*DIODES, *LEARNED, BJT, GUMMEL_POON, GUMMEL_POON_NKF, JFET, NMOS, PMOS)}
# Ranges of parameters for all laws. The emission coefficients of a transistor are those of `nf` for both junctions:
# a card with different ones describes a device that may deliver power.
PARAMETERS = {
    "is": (1e-15, 1e-8), "n": (1.0, 2.0), "bv": (3.0, 12.0), "ibv": (1e-4, 5e-3), "nbv": (0.7, 2.0), "tcv": (0.0, 2e-3),
    "eg": (0.6, 1.3), "xti": (2.0, 4.0), "tnom": (20.0, 40.0), "area": (0.5, 3.0), "reverse_area": (0.5, 3.0),
    "ikf": (1e-2, 1.0), "isr": (1e-12, 1e-9), "nr": (1.5, 2.5), "vj": (0.4, 1.0), "m": (0.2, 0.5),
    "bf": (20.0, 400.0), "br": (0.5, 8.0), "nf": (1.0, 1.2), "vaf": (30.0, 200.0), "xtb": (0.0, 2.0),
    "var": (4.0, 30.0), "ikr": (1e-2, 1.0), "ise": (1e-15, 1e-12), "ne": (1.2, 2.0), "isc": (1e-15, 1e-10),
    "nc": (1.5, 2.0), "nkf": (0.45, 0.9), "vto": (-4.0, -0.5), "beta": (1e-4, 1e-2), "lambda": (0.0, 0.05),
    "b": (0.4, 1.0), "pb": (0.5, 1.0), "vtotc": (-3e-3, 0.0), "bex": (-2.0, 0.0), "betatce": (-1.0, 0.0),
    "kp": (1e-5, 1e-2), "gamma": (0.0, 1.0), "phi": (0.4, 0.9), "ld": (0.0, 1e-7), "tox": (2e-8, 1e-7),
    "uo": (300.0, 700.0), "js": (0.0, 1e-3), "w": (1e-5, 1e-3), "l": (1e-6, 1e-4), "ad": (0.0, 1e-9), "as": (0.0, 1e-9),
    "reach": (0.2, 1.0), **dict.fromkeys(weight_names(3, both=True), (0.2, 3.0)),
}  # fmt: skip
# Where devices are driven that conduct hardest; the junctions of the others stop at their critical voltage.
HIGHEST = 6.0


@st.composite
def devices(draw: st.DrawFn, laws: Mapping[str, Law] = LAWS) -> tuple[Law, dict[Symbol, float]]:
    """A law with random parameters."""
    law = laws[draw(st.sampled_from(sorted(laws)))]
    parameters = {name: draw(st.floats(*PARAMETERS[name])) for name in law.parameters}
    if law in (BJT, GUMMEL_POON, GUMMEL_POON_NKF):
        parameters["nr"] = parameters["nf"]
    if law in (NMOS, PMOS):
        parameters["vto"] = -parameters["vto"] if law is NMOS else parameters["vto"]
    return law, coefficients(law, parameters, draw(st.floats(270.0, 340.0)))


def highest(law: Law, c: Mapping[Symbol, float]) -> list[float]:
    """For each variable, how far up it goes."""
    limits = [HIGHEST] * law.ports
    for junction in law.junctions:
        if junction.beyond is None:
            limits[junction.variable] = 1.1 * c[junction.critical]
    return limits


@st.composite
def states(draw: st.DrawFn) -> tuple[Law, dict[Symbol, float], NDArray[np.float64]]:
    """A law with random parameters at a random point: from hard reverse to hard forward conduction."""
    law, c = draw(devices())
    return law, c, np.array([draw(st.floats(-4.0, limit)) for limit in highest(law, c)])


@settings(max_examples=40)
@given(states())
def test_jacobians_are_the_derivatives_of_the_law(state: tuple[Law, dict[Symbol, float], NDArray[np.float64]]) -> None:
    """Against automatic differentiation, by the variables and by the coefficients."""
    law, c, w = state

    def law_of(*numbers: torch.Tensor) -> torch.Tensor:
        named = dict(zip(law.coefficients, numbers[law.ports :], strict=True))
        v, i = law_values(law, numbers[: law.ports], named, TORCH)
        return torch.stack([torch.as_tensor(x, dtype=torch.float64) for x in (*v, *i)])

    point = tuple(torch.tensor(float(x), dtype=torch.float64) for x in (*w, *c.values()))
    expected = torch.stack(torch.autograd.functional.jacobian(law_of, point), 1).numpy()
    values = {symbol.name: value for symbol, value in c.items()}
    values |= {symbol.name: w[k] for k, symbol in enumerate(law.variables)}
    voltages = sympy.Matrix.hstack(law.voltage_jacobian, law.voltage_coefficient_jacobian)
    currents = sympy.Matrix.hstack(law.current_jacobian, law.current_coefficient_jacobian)
    entries = [float(evaluate(entry, values, NUMPY)) for entry in (*voltages, *currents)]
    found = np.array(entries).reshape(expected.shape)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_array_less(np.abs(found - expected), 1e-9 * np.abs(expected) + 1e-11 * scale + 1e-30)


@given(states(), st.integers(0, 2))
def test_slopes_are_those_of_the_values(
    state: tuple[Law, dict[Symbol, float], NDArray[np.float64]], direction: int
) -> None:
    """Against difference quotients, which know nothing of formulas."""
    law, c, w = state
    k = direction % law.ports
    steepest = max(c[junction.slope] for junction in law.junctions)
    step = 1e-4 / steepest
    points = [curve(law, w + offset * step * np.eye(law.ports)[k], c)[law.ports :] for offset in (-2, -1, 1, 2)]
    far_left, left, right, far_right = points
    found = slopes(law, w, c)[:, k]
    quotient = (8.0 * (right - left) - (far_right - far_left)) / (12.0 * step)
    rounding = 1e-14 * np.abs(points).max() / step
    # Where a channel opens, the curvature jumps by at most twice its coefficient: an error of that times the step.
    channel = {"jfet": "gain", "nmos": "half_beta", "pmos": "half_beta"}.get(law.name)
    bend = 0.0 if channel is None else 20.0 * next(c[symbol] for symbol in c if symbol.name == channel)
    # The curvature of high injection is infinite at 0 V, where its root begins.
    # The slope of a learned law has a corner at each of its units.
    accuracy = 1e-4 if law in (COMPLETE_DIODE, *LEARNED) else 1e-6
    bound = accuracy * np.abs(quotient) + rounding + bend * step + 1e-20
    np.testing.assert_array_less(np.abs(found - quotient), bound)


# --- Over the whole plane -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
@settings(max_examples=2)
@given(data=st.data())
def test_a_law_has_no_step_and_no_corner_anywhere(name: str, data: st.DataObject) -> None:
    law, c = data.draw(devices({name: LAWS[name]}))
    assert_smooth(law, c, np.random.default_rng(data.draw(st.integers(0, 1000))))


@pytest.mark.parametrize("name", LAWS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_device_never_delivers_power(name: str, data: st.DataObject) -> None:
    law, c = data.draw(devices({name: LAWS[name]}))
    assert_passive(law, c, np.random.default_rng(data.draw(st.integers(0, 1000))))


@pytest.mark.parametrize("law", DIODES, ids=lambda law: law.name)
def test_the_current_of_a_diode_grows_with_its_voltage(law: Law) -> None:
    parameters = {"is": 1e-9, "n": 1.8, "bv": 5.0, "ikf": 1e-2, "isr": 1e-9}
    v = np.linspace(-8.0, 1.2, 2001)[None]
    _, current = curve(law, v, coefficients(law, {k: x for k, x in parameters.items() if k in law.parameters}))
    assert (np.diff(current) > 0.0).all()
    assert curve(law, np.zeros((1, 1)), coefficients(law, {}))[1] == 0.0


def test_a_field_effect_transistor_is_symmetric() -> None:
    """Drain and source change their parts: the channel's current turns round and nothing else happens."""
    rng = np.random.default_rng(0)
    a, b, g = rng.uniform(-3.0, 3.0, (3, 500))
    c = coefficients(JFET, {"vto": -2.0, "beta": 1e-3, "lambda": 0.02, "b": 0.7, "is": 0.0})
    i, j = (curve(JFET, np.array(w), c)[2] for w in ((g - a, g - b), (g - b, g - a)))
    gmin = 1e-12 * (g - a + g - b)
    np.testing.assert_allclose(i + j, gmin, atol=1e-15)
    c = coefficients(NMOS, {"vto": 1.0, "gamma": 0.5, "lambda": 0.02, "is": 0.0})
    i, j = (curve(NMOS, np.array(w), c)[4] for w in ((g - a, -a, -b), (g - b, -b, -a)))
    np.testing.assert_allclose(i + j, 1e-12 * (-a - b), atol=1e-15)


def test_every_kind_of_model_is_complete() -> None:
    """Ports are terminals of the family; each law has as many; a parameter has one meaning."""
    for kind in MODEL_KINDS.values():
        for law, calling in kind.laws:
            assert len(kind.ports) == law.ports
            assert calling <= law.parameters.keys()
            assert not {symbol.name for symbol in law.coefficients} & law.parameters.keys()
        ports = [port for port in kind.ports if port != SENSED_CURRENT]
        assert {terminal for port in ports for terminal in port} <= set(kind.family.terminals)
        assert set(kind.resistances.values()) <= set(kind.family.terminals)
        assert not kind.ignored & kind.parameters.keys() - {"tnom"}
        assert set(kind.aliases.values()) <= kind.parameters.keys() | kind.ignored
        assert not kind.aliases.keys() & (kind.parameters.keys() | kind.ignored)


@pytest.mark.parametrize(
    ("card", "law"),
    [
        ("D(IS=1n RS=2 CJO=3p)", DIODE),
        ("D(IS=1n BV=5)", BREAKDOWN_DIODE),
        ("D(IS=1n BV=5 ISR=1p)", COMPLETE_DIODE),
        ("NPN(BF=100 VAF=50 RB=10 CJE=1p)", BJT),
        ("NPN(BF=100 VAF=50 ISE=0 IKF=0 ISC=0 NE=2)", BJT),
        ("NPN(BF=100 IKF={20m*x})", GUMMEL_POON),
        ("NPN(BF=100 IKF=20m NKF=.6)", GUMMEL_POON_NKF),
    ],
)
def test_a_card_gets_the_cheapest_law_that_it_needs(card: str, law: Law) -> None:
    letter, nodes = ("D", "a 0") if card.startswith("D") else ("Q", "a a 0")
    circuit = parse(f".param x=1\nI1 0 a 1m\nR1 a 0 1k\n{letter}1 {nodes} DM\n.model DM {card}")
    (device,) = DiscreteCircuit(circuit, 48000.0).equations.devices
    assert device.law is law


@pytest.mark.parametrize(
    ("cards", "ports", "inner"),
    [
        ("D1 a 0 DM\nD2 0 a DM\n.model DM D(IS=1n RS=0)", 1, 0),
        ("D1 a 0 DM\nD2 0 a DM\n.model DM D(IS=1n RS=1)", 2, 2),
        ("Q1 v a 0 DM\nV1 v 0 5\n.model DM NPN(BF=100 RB=0 RE=1 RC=0)", 2, 1),
        ("*@ learn DM.rs\nD1 a 0 DM\n.model DM D(IS=1n RS=0)", 1, 1),
        (".param r=0\nD1 a 0 DM\n.model DM D(IS=1n RS={r})", 1, 1),
    ],
)
def test_a_series_resistance_that_stays_0_needs_no_inner_node(cards: str, ports: int, inner: int) -> None:
    equations = DiscreteCircuit(parse(f"I1 0 a 1m\nR1 a 0 1k\n{cards}"), 48000.0).equations
    assert len(equations.ports) == ports
    assert len([name for name in equations.unknowns if name.startswith("v(") and "#" in name]) == inner


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
    for junction in law.junctions:
        # Seen in the direction in which the exponential rises, from where it does.
        k, sign, start = junction.variable, 1.0, 0.0
        if junction.beyond is not None:
            sign, start = -1.0, c[junction.beyond]
        before, asked, given_ = (sign * x[k] - start for x in (old, new, limited))
        if asked > max(before, 0.0):
            # A step into conduction may grow the current by a bounded factor only, however large it was.
            assert min(before, 0.0) - 1e-12 <= given_ <= asked
            onset = max(before, c[junction.critical])
            assert (given_ - onset) * c[junction.slope] < 2.0 + math.log1p(60.0 * c[junction.slope])
