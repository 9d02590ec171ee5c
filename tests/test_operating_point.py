"""The DC operating point: hand-made solutions, hard starts, and what happens without one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from circuits import CASES, discrete, parse
from hypothesis import given
from hypothesis import strategies as st

from circuitnn import operating_point as module
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError, ConvergenceError

V_T = 0.0258649  # at 27 degrees Celsius


def voltage(model: DiscreteCircuit, node: str, overrides: dict[str, float] | None = None) -> float:
    return float(model.operating_point(overrides or {}).z[model.equations.unknowns.index(f"v({node})")])


@given(supply=st.floats(-1e3, 1e3), r1=st.floats(1.0, 1e7), r2=st.floats(1.0, 1e7), current=st.floats(-1.0, 1.0))
def test_linear_circuits_by_hand(supply: float, r1: float, r2: float, current: float) -> None:
    """Capacitor open, inductor short, divider with a current source."""
    cards = f"V1 a 0 {supply!r}\nL1 a b 1m\nR1 b out {r1!r}\nR2 out 0 {r2!r}\nI1 0 out {current!r}\nC1 b out 1u"
    expected = (supply / r1 + current) / (1.0 / r1 + 1.0 / r2)
    # A supply near the smallest number of all has few digits.
    scale = abs(supply) + abs(current) * min(r1, r2) + 1e-290
    assert voltage(DiscreteCircuit(parse(cards), 48000.0), "out") == pytest.approx(expected, rel=1e-9, abs=1e-9 * scale)


@given(current=st.floats(1e-6, 0.1), saturation=st.floats(1e-14, 1e-8), n=st.floats(1.0, 2.0))
def test_a_diode_fed_by_a_current(current: float, saturation: float, n: float) -> None:
    cards = f"I1 0 a {current!r}\nD1 a 0 DM\n.model DM D(IS={saturation!r} N={n!r})"
    expected = n * V_T * math.log1p(current / saturation)
    assert voltage(DiscreteCircuit(parse(cards), 48000.0), "a") == pytest.approx(expected, rel=1e-4)


def test_controlled_sources_have_spices_signs() -> None:
    model = DiscreteCircuit(
        parse("V1 a 0 2\nR1 a 0 1\nE1 e 0 a 0 3\nR2 e 0 1\nG1 g 0 a 0 1m\nR3 g 0 1k\nI1 i 0 1m\nR4 i 0 1k"), 48000.0
    )
    # G and I drive their current out of the first node through the source, so they pull it down.
    assert [voltage(model, node) for node in ("e", "g", "i")] == pytest.approx([6.0, -2.0, -1.0])


@pytest.mark.parametrize("supply", [1e-3, 1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize(
    "name", ["series_diodes", "breakdown", "complete_diode", "npn", "pnp", "gummel_poon", "njf", "nmos"]
)
def test_extreme_supplies_converge(name: str, supply: float) -> None:
    # An input rests at zero whatever its DC value, so here the source is a supply.
    cards = CASES[name].netlist.replace("*@ input Vin", "")
    supplies = {"npn": "VCC", "pnp": "VEE", "gummel_poon": "VCC", "njf": "VDD", "nmos": "VDD"}
    source = supplies.get(name, "VIN")
    model = DiscreteCircuit(parse(cards), 48000.0)
    plus = f"v({model.circuit.element(source).nodes[0]})"
    for sign in (1.0, -1.0):
        point = model.operating_point({source: sign * supply})
        assert point.z[model.equations.unknowns.index(plus)] == pytest.approx(sign * supply)
        # Kirchhoff's current law with every device at its solution, relative to the largest current there is.
        again = model.operating_point({source: sign * supply}, point)
        np.testing.assert_allclose(again.z, point.z, rtol=1e-9, atol=1e-9 * supply)


def test_a_chain_of_many_diodes_converges() -> None:
    chain = "\n".join(f"D{k} n{k} n{k + 1} DM" for k in range(12))
    cards = f"V1 n0 0 12\n{chain}\nR1 n12 0 1k\n.model DM D(IS=1f)"
    drops = -np.diff(DiscreteCircuit(parse(cards), 48000.0).operating_point({}).z[:13])
    np.testing.assert_allclose(drops, drops[0], rtol=1e-9)
    assert 0.6 < drops[0] < 0.8


def test_a_flip_flop_converges() -> None:
    """Two cross-coupled transistors: bistable, the case that source stepping exists for."""
    cards = (
        "V1 vcc 0 5\nRc1 vcc c1 1k\nRc2 vcc c2 1.1k\nRb1 c2 b1 10k\nRb2 c1 b2 10k\nQ1 c1 b1 0 QN\nQ2 c2 b2 0 QN\n"
        ".model QN NPN(IS=10f BF=100)"
    )
    model = DiscreteCircuit(parse(cards), 48000.0)
    point = model.operating_point({})
    c1, c2, b1, b2 = (voltage(model, node) for node in ("c1", "c2", "b1", "b2"))
    # Kirchhoff at the bases: the base current is the collector's over BF, or the transistor is saturated.
    for base, far, near in ((b1, c2, c1), (b2, c1, c2)):
        current = (far - base) / 10e3
        forward, reverse = (10e-15 * math.expm1(v / V_T) for v in (base, base - near))
        assert current == pytest.approx(forward / 100.0 + reverse, rel=1e-3, abs=1e-10)
    assert np.isfinite(point.jacobian).all()


@pytest.mark.parametrize("method", ["gmin", "source"])
def test_the_fallbacks_find_the_same_solution(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newton's method from zero is made to fail, then gmin stepping too; what is left must agree."""
    model = discrete("npn")
    expected = model.operating_point({}).z
    original, calls = module._Problem.newton, []

    def newton(
        self: module._Problem, start: np.ndarray, gmin: float = 0.0, source: float = 1.0, limit: int = 50
    ) -> np.ndarray | None:
        calls.append((gmin, source))
        if len(calls) == 1 or (method == "source" and gmin > 0.0):
            return None
        return original(self, start, gmin, source, limit)

    monkeypatch.setattr(module._Problem, "newton", newton)
    np.testing.assert_allclose(model.operating_point({}).z, expected, rtol=1e-9, atol=1e-9)
    assert any(gmin > 0.0 for gmin, _ in calls)
    assert any(source not in (0.0, 1.0) for _, source in calls) == (method == "source")


def test_a_fold_on_the_way_of_the_fallback_is_stepped_around() -> None:
    """The tanh pulls the wrong way near 0 V. From one decade of gmin to the next Newton's method fails; in smaller
    steps it arrives at -10 V, where 1 mA (0.5 + 0.5) flow through 10 kohm."""
    cards = (
        "Va a 0 0\nRa a a1 10k\nB1 out 0 I={1m*(0.5*uramp(v(a1) + 1)**1.4 - 0.5*tanh(2*v(out)))}\nR2 out 0 10k\n"
        "G2 0 b VALUE={0.5m*ln(1 + exp(4*v(out,a1)))}\nR3 b 0 1k"
    )
    assert voltage(DiscreteCircuit(parse(cards), 48000.0), "out") == pytest.approx(-10.0, rel=1e-9)


def test_a_formula_without_a_value_at_zero() -> None:
    model = DiscreteCircuit(parse("Va a 0 3\nVb b 0 2\nB1 out 0 V={v(a)/v(b)}\nR1 out 0 1k"), 48000.0)
    assert voltage(model, "out") == pytest.approx(1.5)


def test_no_solution_is_an_error_that_says_what_to_check() -> None:
    """1 A into a conductance of -9 S beside a diode: the diode's curve nowhere meets the line 1 A + 9 S v."""
    cards = "I1 0 a 1\nG1 0 a a 0 10\nR1 a 0 1\nD1 a 0 DM\n.model DM D(IS=1u N=20)"
    # At v the diode lacks 1e-6 exp(v / 0.517 V) - 1 - 9 v: positive only far up, where it crosses; and below -1/9 V.
    model = DiscreteCircuit(parse(cards), 48000.0)
    point = model.operating_point({})
    v = float(point.z[0])
    assert 1.0 + 9.0 * v - 1e-6 * math.expm1(v / (20 * V_T)) == pytest.approx(0.0, abs=1e-3)
    # Without a resistance the reverse current of 1 A has nowhere to go but the conductance of -9 S turned round.
    unsolvable = cards.replace("I1 0 a 1", "I1 a 0 30").replace("N=20", "N=1")
    with pytest.raises(ConvergenceError, match="source stepping") as caught:
        DiscreteCircuit(parse(unsolvable), 48000.0).operating_point({})
    assert caught.value.hint


def test_a_singular_operating_point_is_named() -> None:
    model = DiscreteCircuit(parse("I1 0 a 1m\nC1 a 0 1n\nR1 a b 1k\nG1 a 0 b 0 0\nR2 b 0 1k"), 48000.0)
    assert np.isfinite(model.operating_point({}).z).all()
    # At DC a unit-gain follower from its own output leaves that output undetermined.
    model = DiscreteCircuit(
        parse("V1 in 0 0\nR1 in x 1k\nC1 x out 1n\nE1 out 0 s 0 1\nL1 s out 1m\nR2 s 0 1k"), 48000.0
    )
    with pytest.raises(CircuitError, match=r"v\(out\)"):
        model.operating_point({})


def test_the_derivative_of_the_state_at_rest() -> None:
    """initial_state is differentiable: against difference quotients of the whole operating point."""
    model, names = discrete("npn"), ["R1", "R2", "RE", "QN.is", "QN.bf", "QN.vaf", "VCC"]
    nominal = {"R1": 100e3, "R2": 15e3, "RE": 470.0, "QN.is": 10e-15, "QN.bf": 200.0, "QN.vaf": 60.0, "VCC": 9.0}

    def at(scale: torch.Tensor) -> torch.Tensor:
        values = {name: nominal[name] * scale[k] for k, name in enumerate(names)}
        point = model.operating_point({name: float(value.detach()) for name, value in values.items()})
        return torch.cat(model.initial_state(values, point))

    ones = torch.ones(len(names), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(at, ones)
    for k in range(len(names)):
        offset = 1e-4 * torch.eye(len(names), dtype=torch.float64)[k]
        quotient = (
            8 * (at(ones + offset) - at(ones - offset)) - (at(ones + 2 * offset) - at(ones - 2 * offset))
        ) / 12e-4
        torch.testing.assert_close(jacobian[:, k], quotient, rtol=1e-6, atol=1e-8 * float(jacobian[:, k].abs().max()))
        assert jacobian[:, k].any()


def test_the_search_for_an_operating_point_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step has no solution on it, so that every fallback fails: all of them share one number of iterations."""
    iterations = []
    original = module._Problem.residual

    def residual(self: module._Problem, *arguments: float) -> tuple[np.ndarray, np.ndarray]:
        iterations.append(1)
        return original(self, *arguments)

    monkeypatch.setattr(module._Problem, "residual", residual)
    with pytest.raises(ConvergenceError):
        DiscreteCircuit(parse("B1 a 0 I={1m*sgn(v(a) - 1) + 1m}\nI1 0 a 1.5m\nR1 a 0 1k"), 48000.0).operating_point({})
    assert 100 < len(iterations) < 2100
