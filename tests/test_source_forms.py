"""POLY and TABLE forms, parallel devices, and sources that turn out to be linear."""

from __future__ import annotations

import ngspice
import pytest
import torch
from circuits import parse

from circuitnn.discretise import DiscreteCircuit
from circuitnn.inspection import inspect
from circuitnn.mna import build_equations
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import format_netlist, parse_netlist

BENCH = ".param a=1.7\nVx x 0 0.7\nVy y 0 -0.4\nVz z y 0.9\nRx x 0 0.5\nRy y 0 0.1\nRo o 0 1\n"
X, Y, Z = 0.7, -0.4, 0.9
IX = -X / 0.5
IY = 0.4 / 0.1

# The cards and the voltage of o, worked out by hand from the definition of the form.
FORMS = {
    "E1 o 0 POLY(1) x 0 0 2": 2 * X,
    "E1 o 0 POLY(1) (x,0) 1 2 3 4": 1 + 2 * X + 3 * X**2 + 4 * X**3,
    "G1 0 o POLY(1) y 0 0 0 0 1": Y**3,
    "E1 o 0 poly(2) x 0 z y 1 2 3 4 5 6 7 8 9 10": (
        1 + 2 * X + 3 * Z + 4 * X**2 + 5 * X * Z + 6 * Z**2 + 7 * X**3 + 8 * X**2 * Z + 9 * X * Z**2 + 10 * Z**3
    ),
    "E1 o 0 POLY(3) (x,0) (y,0) (z,y) 0 1 1 1 0 2 3 0 4": X + Y + Z + 2 * X * Y + 3 * X * Z + 4 * Y * Z,
    "F1 0 o POLY(1) Vx 0.5 2": 0.5 + 2 * IX,
    "F1 0 o POLY(2) Vx Vy 0 1 2 3 4": IX + 2 * IY + 3 * IX**2 + 4 * IX * IY,
    "H1 o 0 POLY(2) Vx Vy 1 {2*1} 3": 1 + 2 * IX + 3 * IY,
    "E1 o 0 TABLE {v(x)} = (-1, 0) (0, 1) (1, 3)": 1 + 2 * X,
    "E1 o 0 table {v(x)*v(y)} ((0,1), (1,2))": 1.0,
    "G1 0 o TABLE {10*v(x)} = (0,0) (2,4)": 4.0,
    "B1 o 0 V={v(x)*temper + temp}": 27 * X + 27,
}
# What ngspice does not read: LTspice's table of a controlling voltage.
FOREIGN = {"E1 o 0 x 0 table=(-1, 0, 0, 1, 1, 3)": 1 + 2 * X, "G1 0 o z y table=(0, 0, 2, 4m)": 2e-3 * Z}


@pytest.mark.parametrize("card", [*FORMS, *FOREIGN])
def test_each_form_is_its_definition_and_round_trips(card: str) -> None:
    circuit = parse(BENCH + card)
    assert inspect(circuit).operating_point["o"] == pytest.approx((FORMS | FOREIGN)[card], rel=1e-9)
    assert parse_netlist(format_netlist(circuit)) == circuit


@pytest.mark.ngspice
@pytest.mark.parametrize("card", FORMS)
def test_each_form_is_that_of_ngspice(card: str) -> None:
    """As written by hand and by the writer."""
    written = format_netlist(parse(BENCH + card)).removesuffix(".end\n")
    for deck in (f"t\n{BENCH}{card.replace('temp}', 'temper}')}", written):
        found = ngspice.vectors(deck, "op", ["v(o)"])["v(o)"][0]
        assert found == pytest.approx(FORMS[card], rel=1e-5)


def test_forms_inside_a_subcircuit() -> None:
    """The reference and the summing source of an op-amp macromodel: 1 A flows in Vs, -1 A in Vt, r is halfway up."""
    cards = (
        ".subckt amp p n\nVs p 0 0\nEref r 0 POLY(2) (p,0) (n,0) 0 0.5 0.5\nFb q r POLY(2) Vs Vt 0 2 3\nVt t r 0\n"
        "Rt t 0 1\nRq q r 1\n.ends\nIa 0 a 1\nVb b 0 2\nX1 a b amp\n"
    )
    circuit = parse(cards)
    point = inspect(circuit).operating_point
    assert point["x1.r"] == pytest.approx(0.5 * (0.0 + 2.0))
    assert point["x1.q"] - point["x1.r"] == pytest.approx(-(2.0 * 1.0 + 3.0 * -1.0))
    assert not build_equations(circuit).ports
    assert "B.F.X1.FB" in [element.name for element in circuit.elements]
    assert parse_netlist(format_netlist(circuit)) == circuit


# -- linear formulas --------------------------------------------------------------------------------------------------


def test_a_linear_formula_is_an_ordinary_controlled_source() -> None:
    """The same solution and the same gradients as E and G, and no port for Newton's method."""
    common = ".param k=0.5\nVin in 0 0\nR1 in a 1k\nC1 a 0 100n\nR2 b 0 1k\nR3 c 0 2k\nC3 c b 20n\n*@ input Vin\n"
    plain = parse(f"{common}E1 b 0 a c 3\nG1 0 c a 0 {{k}}\n*@ output c")
    formulas = parse(f"{common}B1 b 0 V={{3*(v(a) - v(c))}}\nB2 0 c I={{v(a)*k}}\n*@ output c")
    assert not build_equations(formulas).ports
    u = torch.sin(torch.arange(200, dtype=torch.float64) * 0.2)[None, :, None]
    results = []
    for circuit in (plain, formulas):
        model = CircuitModel(circuit, 48000.0, oversample=1, learn=["k", "R1"])
        y, _ = model(u)
        results.append((y.detach(), *torch.autograd.grad(y.square().sum(), model.free)))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("formula", "linear"), [("2*k*v(in)", True), ("2*k*v(in) + k", False)])
def test_a_knob_in_a_linear_formula_moves_while_the_circuit_runs(formula: str, linear: bool) -> None:
    """A gain may be a linear source's; an offset that a knob moves stays a device's, because sources cannot move."""
    cards = f".param k=0.5\nVin in 0 0\nB1 b 0 V={{{formula}}}\nR2 b 0 1k\n*@ input Vin\n*@ output b\n*@ knob k"
    circuit = parse(cards)
    assert bool(build_equations(circuit).ports) != linear
    k = torch.linspace(0.2, 0.9, 321, dtype=torch.float64)[1:]
    u = torch.ones(1, 320, 1, dtype=torch.float64)
    with torch.no_grad():
        y = CircuitModel(circuit, 48000.0, oversample=1, learn=[])(u, knobs={"k": k[None]})[0][0, :, 0]
    expected = 2.0 * k if linear else 3.0 * k
    # The circuit is at most one block of 32 samples behind the hand.
    torch.testing.assert_close(y, expected, rtol=0, atol=3.0 * 0.7 * 33 / 320)
    assert float(y[-1] - y[0]) > 1.0


def test_an_offset_is_a_source() -> None:
    point = inspect(parse("V1 a 0 2\nB1 b 0 V={3*v(a) - 4}\nR1 b 0 1\nB2 0 c I={v(b) + 1}\nR2 c 0 1")).operating_point
    assert (point["b"], point["c"]) == (pytest.approx(2.0), pytest.approx(3.0))


# -- m= ---------------------------------------------------------------------------------------------------------------

PARALLEL = (
    "V1 in 0 5\nR1 in a 1k m=4\nL1 a b 1 m=2\nD1 b c DX m=3\nQ1 c c e QX 2 m=2\nR2 e 0 100\nI1 0 e 1m m=2\n"
    "G1 0 e in 0 1m m={k}\nB1 e 0 I={1m*v(e)*v(e)} m=2\nC1 e 0 1u m=3\nF1 0 e V1 0.1 m=2\n"
    ".param k=2\n.model DX D(IS=1n RS=3)\n.model QX NPN(BF=50)\n"
)


def test_parallel_devices_are_one_of_their_size() -> None:
    once = (
        "V1 in 0 5\nR1 in a 250\nL1 a b 0.5\nD1 b c DX 3\nQ1 c c e QX 4\nR2 e 0 100\nI1 0 e 2m\nG1 0 e in 0 2m\n"
        "B1 e 0 I={2m*v(e)*v(e)}\nC1 e 0 3u\nF1 0 e V1 0.2\n.model DX D(IS=1n RS=3)\n.model QX NPN(BF=50)\n"
    )
    circuit = parse(PARALLEL)
    assert inspect(circuit).operating_point == pytest.approx(inspect(parse(once)).operating_point, rel=1e-9)
    assert float(circuit.element("C1").value) == pytest.approx(3e-6)
    assert parse_netlist(format_netlist(circuit)) == circuit


@pytest.mark.ngspice
def test_parallel_devices_as_in_ngspice() -> None:
    # ngspice's B has no m=.
    cards = PARALLEL.replace("{1m*v(e)*v(e)} m=2", "{2m*v(e)*v(e)}")
    found = inspect(parse(cards)).operating_point
    expected = ngspice.vectors(f"t\n{cards}.options reltol=1e-6", "op", [f"v({node})" for node in found])
    for node, voltage in found.items():
        assert voltage == pytest.approx(expected[f"v({node})"][0], rel=1e-4), node


# -- the compiled functions -------------------------------------------------------------------------------------------


def test_the_compiled_functions_are_those_of_the_reference() -> None:
    """Each function of a voltage in C++ against torch, over two recordings side by side."""
    formulas = (
        "atan(3*v(a))",
        "asinh(2*v(a))",
        "asin(v(a)/4)",
        "tan(v(a)/3)",
        "acosh(1.5 + v(a)*v(a))",
        "atanh(v(a)/4)",
    )
    cards = "Vin in 0 0\nR1 in a 1k\nC1 a 0 10n\n*@ input Vin\n"
    cards += "".join(f"B{k} o{k} 0 V={{{f}}}\nR1{k} o{k} 0 1k\n*@ output o{k}\n" for k, f in enumerate(formulas))
    u = 2.0 * torch.sin(torch.arange(100, dtype=torch.float64) * torch.tensor([[0.3], [0.37]]))[..., None]
    with torch.no_grad():
        runs = [CircuitModel(parse(cards), 48000.0, 1, learn=[], compiled=c)(u)[0] for c in (True, False)]
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-9, atol=1e-10)


def test_poly_of_one_coefficient_is_doubted() -> None:
    (note,) = parse("V1 a 0 1\nE1 b 0 POLY(1) a 0 3\nR1 b 0 1").notes
    assert "POLY(1) with one coefficient is a constant" in note
    assert DiscreteCircuit(parse("V1 a 0 1\nE1 b 0 POLY(1) a 0 3\nR1 b 0 1"), 48000.0).operating_point({}).z[1] == 3.0
