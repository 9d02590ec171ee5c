"""Sources that follow a current: F, H, and i(...) in formulas."""

from __future__ import annotations

import ngspice
import numpy as np
import pytest
from circuits import CASES, parse

from circuitnn.circuit import Behaviour, Circuit, Element, current
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError
from circuitnn.inspection import inspect
from circuitnn.mna import build_equations
from circuitnn.netlist import format_netlist, parse_netlist

# 2 V across 1 ohm, in every element that has a current: 2 A from a to 0.
LOOP = "V1 in 0 3\nE1 in x 0 in 0\nRx x y 0.25\nH0 y z V1 0\nL1 z w 1\nVs w a 1\nR1 a 0 0.75\n"


@pytest.mark.parametrize(
    ("element", "amperes"), [("V1", -2.0), ("Vs", 2.0), ("E1", 2.0), ("H0", 2.0), ("L1", 2.0), ("R1", 2.0), ("Rx", 2.0)]
)
def test_a_formula_senses_every_current_with_its_sign(element: str, amperes: float) -> None:
    """From the first node to the second, through the element: what a source delivers is negative, as in SPICE."""
    cards = f"{LOOP}B1 o 0 V={{10*i({element}) + i({element})*i({element})}}\nRo o 0 1"
    assert inspect(parse(cards)).operating_point["o"] == pytest.approx(10.0 * amperes + 4.0, rel=1e-12)


@pytest.mark.parametrize("sensed", ["V1", "Vs", "E1", "H0"])
def test_f_and_h_follow_a_current(sensed: str) -> None:
    amperes = -2.0 if sensed == "V1" else 2.0
    found = inspect(parse(f"{LOOP}F1 0 o {sensed} 3\nRo o 0 5\nH1 p q {sensed} 7\nRp p 0 1\nRq q 0 1")).operating_point
    assert found["o"] == pytest.approx(15.0 * amperes, rel=1e-12)
    assert found["p"] - found["q"] == pytest.approx(7.0 * amperes, rel=1e-12)


def test_a_current_mirror_behind_a_subcircuit() -> None:
    """Names inside an instance are those of the instance."""
    cards = (
        ".subckt mirror in out gain=1\nVs in 0 0\nF1 out 0 Vs {gain}\nB1 out2 0 I={gain*i(Vs)}\nR1 out2 0 1\n.ends\n"
        "Ia 0 a 1m\nX1 a b mirror gain=4\nRb b 0 1k\nIc 0 c 2m\nX2 c d mirror\nRd d 0 1k\n"
    )
    circuit = parse(cards)
    found = inspect(circuit).operating_point
    assert found["b"] == pytest.approx(-4.0)
    assert found["d"] == pytest.approx(-2.0)
    assert found["x1.out2"] == pytest.approx(-4e-3)
    assert parse_netlist(format_netlist(circuit)) == circuit


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["current_controlled", "behavioural_sensed_currents"])
def test_small_signals_as_in_ngspice(name: str) -> None:
    """Of the written netlist too: ngspice reads i(...) of flat names."""
    circuit = CASES[name].circuit
    written = format_netlist(circuit).removesuffix(".end\n")
    node = circuit.nodes[-1]
    found = ngspice.vectors(written, "ac dec 4 20 20k", [f"vr({node})", f"vi({node})"])
    own = inspect(circuit).linearised.response(found["scale"]).gain[:, -1, 0]
    np.testing.assert_allclose(own, found[f"vr({node})"] + 1j * found[f"vi({node})"], rtol=1e-5, atol=1e-9)


def test_a_microampere_is_found_to_nine_digits() -> None:
    """The port of a current counts in mA, so Newton's absolute tolerance means the same for it as for a voltage."""
    cards = "V1 a 0 1\nR1 a 0 1meg\nB1 0 o I={1meg*i(R1)*i(R1)}\nRo o 0 1meg"
    assert inspect(parse(cards)).operating_point["o"] == pytest.approx(1.0, rel=1e-9)


def test_a_current_that_is_not_there_is_named() -> None:
    elements = (
        Element("V1", ("a", "0"), parse("V1 a 0 1\nR1 a 0 1").elements[0].value),
        Element("B1", ("a", "0"), behaviour=Behaviour("current", current("V2"))),
    )
    with pytest.raises(CircuitError, match="B1 senses the current of V2"):
        build_equations(Circuit("t", elements))


def test_a_loop_with_h_is_a_loop_of_voltages() -> None:
    with pytest.raises(CircuitError, match="loop of voltage sources or inductors at DC: V1, H1"):
        DiscreteCircuit(parse("V1 a 0 1\nH1 a 0 V1 1\nR1 a 0 1"), 48000.0)


def test_powers_add_up_to_zero() -> None:
    """Tellegen's theorem, with every kind of source that follows a current, linear formulas and a coupling."""
    cards = (
        f"{LOOP}F1 0 o Vs 3\nRo o 0 5\nH1 p q V1 7\nRp p 0 1\nRq q 0 1\nB1 0 r I={{2*i(R1) + v(o)/4 + 1}}\nRr r 0 2\n"
        "B2 s 0 V={3*v(r) - 1}\nRs s t 1\nRt t 0 1\nB3 t 0 I={i(Rs)*i(Rs)}\nL2 t 0 1\nK1 L1 L2 0.5"
    )
    bias = inspect(parse(cards)).bias
    assert sum(item.power for item in bias) == pytest.approx(0.0, abs=1e-9)
    powers = {item.name: item.power for item in bias}
    assert powers["RO"] == pytest.approx(5.0 * 6.0**2)
    assert powers["B1"] == pytest.approx(-(powers["RR"]))
    (controls,) = [item.controls for item in bias if item.name == "B3"]
    assert controls["i(RS)"] == pytest.approx(powers["RS"] ** 0.5)
