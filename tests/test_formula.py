"""Transfer functions as formulas, against what textbooks and papers say and against the numbers of the same circuit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from circuits import CASES, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import Symbol, simplify

from circuitnn.circuit import symbol
from circuitnn.inspection import inspect
from circuitnn.inspection.formula import REACTIVE
from circuitnn.netlist import read_netlist

PORTS = "*@ input Vin\n*@ output out"


def test_a_low_pass() -> None:
    inspection = inspect(parse(f"Vin in 0 0\nR1 in out 10k\nC1 out 0 10n\n{PORTS}"))
    found = inspection.transfer_function()
    assert found is not None
    assert (found.numerator, found.denominator) == ((1,), (1, symbol("R1") * symbol("C1")))
    assert found.coefficients(inspection.values) == ([1.0], [1.0, pytest.approx(1e-4)])


def test_a_resonance_and_what_has_no_part_in_it() -> None:
    """1 / (1 + s R C + s^2 L C). A load on the ideal source cancels."""
    found = inspect(
        parse(f"Vin in 0 0\nR1 in a 1k\nL1 a out 1m\nC1 out 0 1n\nR2 in b 1k\nC2 b 0 1n\n{PORTS}")
    ).transfer_function()
    assert found is not None
    r, inductance, c = symbol("R1"), symbol("L1"), symbol("C1")
    assert (found.numerator, found.denominator) == ((1,), (1, r * c, inductance * c))


def test_an_amplifier_with_finite_gain() -> None:
    """Non-inverting: A / (1 + A R1 / (R1 + R2))."""
    found = inspect(parse(f"Vin in 0 0\nR1 m 0 1k\nR2 m out 9k\nE1 out 0 in m 100k\n{PORTS}")).transfer_function()
    assert found is not None
    a, r1, r2 = symbol("E1"), symbol("R1"), symbol("R2")
    (numerator,), (denominator,) = found.numerator, found.denominator
    assert simplify(numerator / denominator - a / (1 + a * r1 / (r1 + r2))) == 0


def test_a_differentiator_has_no_constant_in_front() -> None:
    found = inspect(parse(f"Vin in 0 0\nC1 in out 1u\nR1 out 0 1k\n{PORTS}"))
    formula = found.transfer_function()
    assert formula is not None
    assert formula.coefficients(found.values) == ([0.0, pytest.approx(1e-3)], [1.0, pytest.approx(1e-3)])


@settings(max_examples=20)
@given(t=st.floats(0.01, 0.99), m=st.floats(0.01, 0.99), b=st.floats(0.01, 0.99))
def test_the_tone_stack_of_a_bassman(t: float, m: float, b: float) -> None:
    """The coefficients of D. T. Yeh and J. O. Smith, "Discretization of the '59 Fender Bassman tone stack", DAFx-06,
    in their symbols (their l is b here)."""
    c1, c2, c3, r1, r2, r3, r4 = 0.25e-9, 20e-9, 20e-9, 250e3, 1e6, 25e3, 56e3
    cards = (
        f"Vin in 0 0\nC1 in top {c1}\nRT2 top out {r1 * (1 - t)!r}\nRT1 out mid {r1 * t!r}\nR1 in low {r4}\n"
        f"C2 low mid {c2}\nC3 low wiper {c3}\nRB mid foot {r2 * b!r}\nRM2 foot wiper {r3 * (1 - m)!r}\n"
        f"RM1 wiper 0 {r3 * m!r}\n{PORTS}"
    )
    b1 = t * c1 * r1 + m * c3 * r3 + b * (c1 * r2 + c2 * r2) + (c1 * r3 + c2 * r3)
    b2 = (
        t * (c1 * c2 * r1 * r4 + c1 * c3 * r1 * r4)
        - m * m * (c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + m * (c1 * c3 * r1 * r3 + c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + b * (c1 * c2 * r1 * r2 + c1 * c2 * r2 * r4 + c1 * c3 * r2 * r4)
        + b * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        + (c1 * c2 * r1 * r3 + c1 * c2 * r3 * r4 + c1 * c3 * r3 * r4)
    )
    c = c1 * c2 * c3
    b3 = (
        b * m * c * (r1 * r2 * r3 + r2 * r3 * r4)
        - m * m * c * (r1 * r3**2 + r3**2 * r4)
        + m * c * (r1 * r3**2 + r3**2 * r4)
        + t * c * r1 * r3 * r4
        - t * m * c * r1 * r3 * r4
        + t * b * c * r1 * r2 * r4
    )
    a1 = c1 * r1 + c1 * r3 + c2 * r3 + c2 * r4 + c3 * r4 + m * c3 * r3 + b * (c1 * r2 + c2 * r2)
    a2 = (
        m * (c1 * c3 * r1 * r3 - c2 * c3 * r3 * r4 + c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + b * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        - m * m * (c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + b * (c1 * c2 * r2 * r4 + c1 * c2 * r1 * r2 + c1 * c3 * r2 * r4 + c2 * c3 * r2 * r4)
        + (
            c1 * c2 * r1 * r4
            + c1 * c3 * r1 * r4
            + c1 * c2 * r3 * r4
            + c1 * c2 * r1 * r3
            + c1 * c3 * r3 * r4
            + c2 * c3 * r3 * r4
        )
    )
    a3 = (
        b * m * c * (r1 * r2 * r3 + r2 * r3 * r4)
        - m * m * c * (r1 * r3**2 + r3**2 * r4)
        + m * c * (r3**2 * r4 + r1 * r3**2 - r1 * r3 * r4)
        + b * c * r1 * r2 * r4
        + c * r1 * r3 * r4
    )
    inspection = inspect(parse(cards))
    found = inspection.transfer_function()
    assert found is not None
    numerator, denominator = found.coefficients(inspection.values)
    np.testing.assert_allclose(numerator, [0.0, b1, b2, b3], rtol=1e-9)
    np.testing.assert_allclose(denominator, [1.0, a1, a2, a3], rtol=1e-9)


@pytest.mark.parametrize(
    "cards",
    [
        CASES["rlc"].netlist,
        "Iin 0 a 0\nR1 a 0 1k\nL1 a b 1m\nR2 b 0 10\nC1 b 0 1u\n*@ input Iin\n*@ output a b",
        "V1 a 0 0\nV2 b 0 0\nR1 a out 10k\nR2 b out 22k\nC1 out 0 4.7n\nG1 0 x out b 1m\nR3 x out 1k\nR0 x y 0\n"
        "C2 y 0 1n\n*@ input V1 V2\n*@ output out\n*@ output y",
        "Vin in 0 0\nR1 in a 220\nL1 a 0 0.2\nL2 b 0 0.8\nK1 L1 L2 0.95\nC1 b 0 1n\nR2 b c 10k\nVs c 0 0\n"
        "F1 0 d Vs 2\nR3 d 0 1k\nH1 e 0 Vs 3k\nR4 e d 1k\n*@ input Vin\n*@ output d",
    ],
)  # fmt: skip
def test_a_formula_gives_the_numbers_of_the_circuit(cards: str) -> None:
    inspection = inspect(parse(cards))
    frequencies = np.geomspace(10.0, 1e6, 9)
    expected = inspection.linearised.response(frequencies).gain
    s = 2j * math.pi * frequencies
    for row, column, _ in inspection.pairs:
        found = inspection.transfer_function(row, column)
        assert found is not None
        numerator, denominator = found.coefficients(inspection.values)
        value = np.polyval(numerator[::-1], s) / np.polyval(denominator[::-1], s)
        np.testing.assert_allclose(value, expected[:, row, column], rtol=1e-9)


def test_poles_are_the_roots_of_the_denominator(netlists: Path) -> None:
    inspection = inspect(read_netlist(netlists / "fmv_tone_stack.cir"))
    found = inspection.transfer_function()
    assert found is not None
    roots = np.sort(np.abs(np.roots(found.coefficients(inspection.values)[1][::-1])))
    poles = [2 * math.pi * pole.frequency for pole in inspection.linearised.poles()]
    np.testing.assert_allclose(poles, roots, rtol=1e-9)


def test_no_formula_of_what_is_nonlinear_or_large(netlists: Path) -> None:
    assert inspect(read_netlist(netlists / "diode_clipper.cir")).transfer_function() is None
    ladder = [f"R{k} n{k} n{k + 1} 1k\nC{k} n{k + 1} 0 1n" for k in range(REACTIVE + 1)]
    cards = "\n".join(["Vin n0 0 0", *ladder, "*@ input Vin", f"*@ output n{REACTIVE + 1}"])
    assert inspect(parse(cards)).transfer_function() is None
    # Every pair of nodes has a resistor: as many terms as spanning trees, nodes^(nodes - 2).
    nodes = ["in", *(f"n{k}" for k in range(9)), "0"]
    mesh = [f"R{a}x{b} {nodes[a]} {nodes[b]} 1k" for a in range(len(nodes)) for b in range(a)]
    assert inspect(parse("\n".join(["Vin in 0 0", *mesh, "*@ input Vin", "*@ output n3"]))).transfer_function() is None


def test_symbols_are_the_names_of_elements() -> None:
    found = inspect(parse(f"Vin in 0 0\nR1 in out {{2*a}}\nR2 out 0 1k\n.param a=1k\n{PORTS}")).transfer_function()
    assert found is not None
    assert {one for part in (*found.numerator, *found.denominator) for one in part.free_symbols} == {
        Symbol("R1", real=True),
        Symbol("R2", real=True),
    }
