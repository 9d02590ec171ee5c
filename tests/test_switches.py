"""Switches: the law in all its regions, its smoothness, ngspice in both end states, cards."""

from __future__ import annotations

import math

import ngspice
import numpy as np
import pytest
from circuits import parse
from hypothesis import given
from hypothesis import strategies as st

from circuitnn.devices.switch import NARROWEST_VOLT, VOLTAGE_SWITCH
from circuitnn.errors import NetlistError
from circuitnn.inspection import inspect
from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.operating_point import evaluate_law
from circuitnn.symbolic import NUMPY, evaluate


def conductance(control: float, v: float = 1.0, **card: float) -> tuple[float, float, float]:
    """i/v of a voltage switch, and di/dv and di/dcontrol, from the formulas."""
    values = {name: parameter.default for name, parameter in VOLTAGE_SWITCH.parameters.items()} | card
    c = {symbol: float(evaluate(rule, values, NUMPY)) for symbol, rule in VOLTAGE_SWITCH.coefficients.items()}
    _, i, _, di = evaluate_law(VOLTAGE_SWITCH, np.array([v, control]), c, NUMPY)
    assert float(i[1]) == 0.0
    return float(i[0]) / v, float(di[0][0]), float(di[0][1])


CARD = {"ron": 10.0, "roff": 1e6, "vt": 2.0, "vh": 0.5}


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (-1e3, 1e-6), (1.5, 1e-6), (2.5, 0.1), (1e3, 0.1),
        (2.0, math.sqrt(0.1 * 1e-6)),  # half way in the logarithm
        (1.75, 1e-6 * 1e5 ** (3 * 0.25**2 - 2 * 0.25**3)),
    ],
)  # fmt: skip
def test_the_conductance_along_the_control(control: float, expected: float) -> None:
    assert conductance(control, **CARD)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("vh", [0.0, -0.25, 0.25])
def test_the_sign_of_vh_does_not_matter_and_zero_is_narrow(vh: float) -> None:
    half = max(abs(vh), NARROWEST_VOLT)
    found = [conductance(2.0 + side * half, **CARD | {"vh": vh})[0] for side in (-1.0, 1.0)]
    assert found == pytest.approx([1e-6, 0.1], rel=1e-9)


@given(control=st.floats(-1e3, 1e3) | st.floats(1.4, 2.6), v=st.floats(-1e3, 1e3).filter(lambda v: abs(v) > 1e-3))
def test_passive_and_with_the_slopes_it_says(control: float, v: float) -> None:
    g, by_v, by_control = conductance(control, v, **CARD)
    assert 1e-6 * (1 - 1e-9) <= g <= 0.1 * (1 + 1e-9)
    assert by_v == pytest.approx(g, rel=1e-12)
    h = 1e-5
    quotient = v * (conductance(control + h, v, **CARD)[0] - conductance(control - h, v, **CARD)[0]) / (2 * h)
    # One-sided at the ends of the transition, where the second derivative jumps.
    assert by_control == pytest.approx(quotient, rel=1e-4, abs=200 * h * abs(v))


@pytest.mark.parametrize("end", [1.5, 2.5])
def test_the_slope_is_continuous_at_the_ends(end: float) -> None:
    slopes = [conductance(end + offset, **CARD)[2] for offset in (-1e-9, 0.0, 1e-9)]
    assert max(map(abs, slopes)) < 1e-7


DECK = (
    "Vc c 0 {}\nV1 a 0 5\nS1 a b c 0 SX\nR1 b 0 1k\nVs d 0 0\nR2 c d 1k\nW1 a e Vs WX ON\nR3 e 0 470\n"
    ".model SX SW(RON=33 ROFF=100k VT=1 VH=0.3)\n.model WX CSW(RON=15 ROFF=47k IT=1m IH=0.2m)\n"
)


@pytest.mark.ngspice
@pytest.mark.parametrize("control", [-3.0, 0.5, 1.5, 20.0])
def test_both_end_states_are_those_of_ngspice(control: float) -> None:
    found = inspect(parse(DECK.format(control))).operating_point
    expected = ngspice.vectors(f"t\n{DECK.format(control)}.options reltol=1e-6", "op", ["v(b)", "v(e)"])
    assert (found["b"], found["e"]) == (
        pytest.approx(expected["v(b)"][0], rel=1e-5), pytest.approx(expected["v(e)"][0], rel=1e-5)
    )  # fmt: skip


def test_a_current_switch_is_a_voltage_switch_of_its_current() -> None:
    """1 mA through 1 kohm controls either, also half way."""
    deck = DECK.replace("RON=33 ROFF=100k", "RON=15 ROFF=47k").replace("VH=0.3", "VH=0.2")
    for control in np.linspace(0.7, 1.3, 7):
        point = inspect(parse(deck.replace("R1 b 0 1k", "R1 b 0 470").format(control))).operating_point
        assert point["b"] == pytest.approx(point["e"], rel=1e-9)


def test_names_in_subcircuits_and_round_trip() -> None:
    cards = (
        ".subckt s a b c\nS1 a b c 0 SX\nVs c 0 1\nW1 a b Vs WX\n.model SX SW(VT={t})\n.model WX CSW(RON=5)\n.ends\n"
        ".param t=0.5\nV1 a 0 1\nX1 a b c s\nRb b 0 1k\nRc c 0 1k\n*@ learn X1:WX.ron"
    )
    circuit = parse(cards)
    assert circuit.element("W.X1.W1").branches == ("V.X1.VS",)
    assert parse_netlist(format_netlist(circuit)) == circuit


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("S1 a 0 a SX", "expected the name of a .model|expected the control - node"),
        ("S1 a 0 a 0 WX", "a switch needs a model of type sw"),
        ("W1 a 0 R1 WX", "the current of R1 cannot be sensed"),
        ("W1 a 0 V1", "expected the name of a .model"),
        ("S1 a 0 a 0 SX m=2", "parallel devices"),
    ],
)
def test_cards_that_are_refused(card: str, message: str) -> None:
    with pytest.raises(NetlistError, match=message):
        parse(f"V1 a 0 1\nR1 a 0 1\n{card}\n.model SX SW\n.model WX CSW")
