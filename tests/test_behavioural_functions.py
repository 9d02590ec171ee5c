"""Functions of behavioural sources: closed forms, ngspice, guards, derivatives, text."""

from __future__ import annotations

import math
from collections.abc import Callable

import ngspice
import numpy as np
import pytest
import sympy
import torch
from behavioural import BENCH, Array, circuit_of, port_voltages, source_of
from hypothesis import given
from hypothesis import strategies as st
from sympy import Symbol

from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.operating_point import evaluate_law, law_values
from circuitnn.symbolic import EXPONENT_LIMIT, NUMPY, SMALLEST, Operations, derivative, evaluate, logistic, softplus


def step(x: Array) -> Array:
    return np.asarray(x > 0.0, dtype=float)


# What a formula of x = v(x) and y = v(y) is, with .param a=1.7.
FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    "2*v(x) - v(y)/4 + a": lambda x, y: 2 * x - y / 4 + 1.7,
    "v(x,y)*v(x)": lambda x, y: (x - y) * x,
    "v(x)/(2 + v(y)*v(y))": lambda x, y: x / (2 + y * y),
    "exp(a*v(x))": lambda x, y: np.exp(1.7 * x),
    "ln(2 + v(x)**2) + log(a + v(y)^2)": lambda x, y: np.log(2 + x**2) + np.log(1.7 + y**2),
    "log10(3 + v(x)*v(x))": lambda x, y: np.log10(3 + x * x),
    "sqrt(a + v(x)*v(x))": lambda x, y: np.sqrt(1.7 + x * x),
    "v(x)**2 + v(y)**3": lambda x, y: x**2 + np.abs(y) ** 3,
    "pow(v(x), 2.5)": lambda x, y: np.abs(x) ** 2.5,
    "(1 + v(x)*v(x))**-1.5": lambda x, y: (1 + x * x) ** -1.5,
    "pwr(v(x), a)": lambda x, y: np.sign(x) * np.abs(x) ** 1.7,
    "2**v(x) + a**v(y)": lambda x, y: 2**x + 1.7**y,
    "(1 + v(x)*v(x))**v(y)": lambda x, y: (1 + x * x) ** y,
    "abs(v(x)) + sgn(v(y))": lambda x, y: np.abs(x) + np.sign(y),
    "min(v(x), v(y)) + max(v(x), a)": lambda x, y: np.minimum(x, y) + np.maximum(x, 1.7),
    "uramp(v(x)) - uramp(-v(y))": lambda x, y: np.maximum(x, 0) - np.maximum(-y, 0),
    "tanh(a*v(x)) + sin(v(x)) - cos(v(y))": lambda x, y: np.tanh(1.7 * x) + np.sin(x) - np.cos(y),
    "sinh(v(x)) + cosh(a*v(y))": lambda x, y: np.sinh(x) + np.cosh(1.7 * y),
    "tan(v(x)/4) + atan(a*v(y))": lambda x, y: np.tan(x / 4) + np.arctan(1.7 * y),
    "asin(v(x)/3) - acos(v(y)/3)": lambda x, y: np.arcsin(x / 3) - np.arccos(y / 3),
    "asinh(v(x)) + acosh(2 + v(y)*v(y)) + atanh(v(x)/3)": lambda x, y: (
        np.arcsinh(x) + np.arccosh(2 + y * y) + np.arctanh(x / 3)
    ),
    "pwl(v(x), -1, 0, 0, 1.5, 1, 1)": lambda x, y: np.where(x < 0, 1.5 * (x + 1), 1.5 - x / 2),
    "temper/100*v(x)*v(y)": lambda x, y: 0.27 * x * y,
    "ln(1 + exp(20*v(x)))": lambda x, y: np.logaddexp(0.0, 20 * x),
    "v(x) > 0 ? v(x)*a : v(y)/2": lambda x, y: np.where(x > 0, x * 1.7, y / 2),
    "v(x) > v(y) ? (v(y) > 0 ? 1 : v(x)) : a": lambda x, y: np.where(x > y, np.where(y > 0, 1, x), 1.7),
    "v(x) <= a && v(y) > 0 ? v(x)*v(y) : 0": lambda x, y: np.where((x <= 1.7) & (y > 0), x * y, 0),
    "(v(x) > 0)*v(x) + !(v(y) > 0)*v(y)": lambda x, y: step(x) * x + (1 - step(y)) * y,
    "u(v(x))*v(x)": lambda x, y: step(x) * x,
    "a*3m": lambda x, y: np.full_like(x, 5.1e-3),
}  # fmt: skip
# What ngspice has no name for, or another meaning.
FOREIGN: dict[str, Callable[[Array, Array], Array]] = {
    "pwrs(v(x), a)": lambda x, y: np.sign(x) * np.abs(x) ** 1.7,
    "if(v(x) > 0, v(x), a*v(y))": lambda x, y: np.where(x > 0, x, 1.7 * y),
    "ternary_fcn(v(x) > 0, v(x), a*v(y))": lambda x, y: np.where(x > 0, x, 1.7 * y),
    "limit(v(x), -1, a)": lambda x, y: np.clip(x, -1, 1.7),
    "min(v(x), v(y), a)": lambda x, y: np.minimum(np.minimum(x, y), 1.7),
    "sqr(v(x))": lambda x, y: x * x,
    "LIMIT{v(x), -1, {a}}*{a}": lambda x, y: np.clip(x, -1, 1.7) * 1.7,
    # With pwrs it is a formula for PSpice, whose pwr has no sign.
    "0.5*(pwr(v(x), a) + pwrs(v(x), a))": lambda x, y: np.maximum(x, 0) ** 1.7,
    "buf(v(x))*v(y) + inv(v(x)) + stp(v(y))": lambda x, y: step(x - 0.5) * y + 1 - step(x - 0.5) + step(y),
    "hypot(v(x), v(y)) + fabs(v(x))": lambda x, y: np.hypot(x, y) + np.abs(x),
    "atan2(v(x), 0.5 + v(y)*v(y))": lambda x, y: np.arctan2(x, 0.5 + y * y),
    "table(v(x), -1, 0, 0, 1.5, 1, a)": lambda x, y: np.interp(x, [-1, 0, 1], [0, 1.5, 1.7]),
    "arctan(v(x)) + tbl(v(x), 0, 3)": lambda x, y: np.arctan(x) + 3.0,
}
SMOOTH = [
    text for text in FORMULAS if not any(part in text for part in ("?", "sgn", "min", "uramp", "(v(x) >", "u(", "pwl"))
]
GRID = np.meshgrid(np.linspace(-2.0, 2.0, 9) + 0.01, np.linspace(-2.0, 2.0, 7) - 0.02)


@pytest.mark.parametrize("formula", [*FORMULAS, *FOREIGN])
def test_each_function_is_its_closed_form(formula: str) -> None:
    source = source_of(circuit_of(formula))
    w = port_voltages(source, dict(zip("xy", GRID, strict=True)))
    found = law_values(source.law, w, source.coefficients, NUMPY)[0][0]
    expected = (FORMULAS | FOREIGN)[formula](*GRID)
    np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.ngspice
@pytest.mark.parametrize("formula", FORMULAS)
def test_each_function_is_that_of_ngspice(formula: str) -> None:
    """As written, and as the writer writes it, which ngspice must read too."""
    expected = np.array([FORMULAS[formula](np.array(x), np.array(-0.4)) for x in np.arange(-2.0, 2.05, 0.4) + 0.05])
    written = format_netlist(circuit_of(formula)).removesuffix(".end\n")
    for deck in (f"t\n{BENCH}B1 o 0 V={{{formula}}}\n", written):
        found = ngspice.vectors(f"{deck}.options reltol=1e-9 vntol=1e-12\n", "dc vx -1.95 2.06 0.4", ["v(o)"])["v(o)"]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("formula", [*FORMULAS, *FOREIGN])
@pytest.mark.parametrize("keyword", ["I", "V"])
def test_round_trip(formula: str, keyword: str) -> None:
    circuit = circuit_of(formula, keyword)
    assert parse_netlist(format_netlist(circuit)) == circuit


def at(formula: str, x: float, y: float = 0.0) -> tuple[float, float]:
    """Value and slope along x of a formula."""
    source = source_of(circuit_of(formula))
    w = port_voltages(source, {"x": np.array(x), "y": np.array(y)})
    v, _, dv, _ = evaluate_law(source.law, w, source.coefficients, NUMPY)
    along = port_voltages(source, {"x": np.array(1.0)})
    return float(v[0]), float(np.dot(np.array(dv[0], dtype=float), along))


@pytest.mark.parametrize(
    ("formula", "x", "value", "slope"),
    [
        # Beyond its limit an exponential is its tangent.
        ("exp(v(x))", 1e4, math.exp(EXPONENT_LIMIT) * (1e4 - EXPONENT_LIMIT + 1.0), math.exp(EXPONENT_LIMIT)),
        ("exp(v(x))", -1e4, 0.0, 0.0),
        ("2**v(x)", -1e5, 0.0, 0.0),
        ("ln(1 + exp(v(x)))", 1e4, 1e4, 1.0),
        ("log(exp(v(x)) + 1)", -1e4, 0.0, 0.0),
        ("ln(1 + exp(v(x)))", 0.0, math.log(2.0), 0.5),
        ("ln(1 + exp(v(x)))", -700.0, math.exp(-700.0), math.exp(-700.0)),
        # The edge of the domain.
        ("ln(v(x))", -1.0, math.log(SMALLEST), 0.0),
        ("sqrt(v(x))", -4.0, 0.0, 0.0),
        ("sqrt(v(x))", 4.0, 2.0, 0.25),
        ("asin(v(x))", 2.0, math.pi / 2, 0.0),
        ("acos(v(x))", -2.0, math.pi, 0.0),
        ("acosh(v(x))", 0.5, 0.0, 0.0),
        ("atanh(v(x))", 2.0, math.atanh(1.0 - 1e-12), 0.0),
        ("atan(v(x))", 0.0, 0.0, 1.0),
        ("asinh(v(x))", 0.0, 0.0, 1.0),
        ("abs(v(x))**0.5", 0.0, 0.0, 0.0),
        ("v(x)**1.4", 0.0, 0.0, 0.0),
        ("pwr(v(x), a)", 0.0, 0.0, 0.0),
        ("uramp(v(x))**1.4", -3.0, 0.0, 0.0),
        ("abs(v(x))", -2.0, 2.0, -1.0),
        ("max(v(x), v(y))", 1.0, 1.0, 1.0),
        ("max(v(x), v(y))", -1.0, 0.0, 0.0),
        ("min(v(x), v(y), 1)", -1.0, -1.0, 1.0),
        ("sgn(v(x))*v(x)**2", -3.0, -9.0, 6.0),
    ],
)  # fmt: skip
def test_guards(formula: str, x: float, value: float, slope: float) -> None:
    found = at(formula, x)
    assert found == (pytest.approx(value, rel=1e-12, abs=1e-300), pytest.approx(slope, rel=1e-9, abs=1e-300))


@pytest.mark.parametrize(
    "formula", [
        "sqrt(v(x))", "ln(v(x))", "abs(v(x))**a", "v(x)**0.3", "pwr(v(x), 0.5)", "exp(v(x))", "asin(v(x))",
        "acosh(v(x))", "atanh(v(x))", "hypot(v(x), v(y))",
    ],
)  # fmt: skip
@pytest.mark.parametrize("x", [0.0, -1e-300, 1e-300, 1e6, -1e6])
def test_nothing_is_ever_infinite(formula: str, x: float) -> None:
    source = source_of(circuit_of(formula))
    w = port_voltages(source, {"x": np.array(x)})
    _, _, dv, _ = evaluate_law(source.law, w, source.coefficients, NUMPY)
    named = {symbol.name: value for symbol, value in source.coefficients.items()}
    named |= {symbol.name: w[k] for k, symbol in enumerate(source.law.variables)}
    by_coefficient = [evaluate(entry, named, NUMPY) for entry in source.law.voltage_coefficient_jacobian]
    assert np.isfinite(np.array([*at(formula, x), *dv[0], *by_coefficient], dtype=float)).all()


@pytest.mark.parametrize("formula", FORMULAS)
def test_jacobians_are_plain(formula: str) -> None:
    law = source_of(circuit_of(formula)).law
    for matrix in (law.voltage_jacobian, law.voltage_coefficient_jacobian):
        assert not matrix.has(sympy.Derivative, sympy.DiracDelta, sympy.Heaviside, sympy.re, sympy.im, sympy.Subs)
        for entry in matrix:
            evaluate(entry, dict.fromkeys((s.name for s in entry.free_symbols), 0.3), NUMPY)


# At 0 the powers have no third derivative, so a difference quotient says little.
AWAY_FROM_ZERO = st.floats(-2.0, -0.05) | st.floats(0.05, 2.0)


@given(x=AWAY_FROM_ZERO, y=AWAY_FROM_ZERO, formula=st.sampled_from(SMOOTH))
def test_jacobians_are_the_derivatives(x: float, y: float, formula: str) -> None:
    source, h = source_of(circuit_of(formula)), 1e-4
    w = port_voltages(source, {"x": np.array(x), "y": np.array(y)})

    def values(w: Array, coefficients: dict[Symbol, float]) -> float:
        return float(law_values(source.law, w, coefficients, NUMPY)[0][0])

    def quotient(f: Callable[[float], float]) -> float:
        return (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)

    _, _, dv, _ = evaluate_law(source.law, w, source.coefficients, NUMPY)
    for k in range(source.law.ports):
        expected = quotient(lambda d, k=k: values(w + d * np.eye(len(w))[k], source.coefficients))
        assert float(dv[0][k]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    named = {symbol.name: value for symbol, value in source.coefficients.items()}
    named |= {symbol.name: w[k] for k, symbol in enumerate(source.law.variables)}
    for k, symbol in enumerate(source.law.coefficients):
        found = float(evaluate(source.law.voltage_coefficient_jacobian[0, k], named, NUMPY))
        c = source.coefficients
        expected = quotient(lambda d, symbol=symbol, c=c: values(w, {**c, symbol: c[symbol] + d}))
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("x", [-800.0, -30.0, -0.5, 0.0, 0.5, 30.0, 800.0])
def test_softplus_and_logistic_in_numpy_and_torch(x: float) -> None:
    symbol = Symbol("x", real=True)
    operations = Operations(torch)
    for function, expected in (
        (softplus, max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
        (logistic, (1.0 if x >= 0 else math.exp(x)) / (1.0 + math.exp(-abs(x)))),
    ):
        variable = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        result = evaluate(function(symbol), {"x": variable}, operations)
        assert evaluate(function(symbol), {"x": x}, NUMPY) == pytest.approx(expected, rel=1e-12, abs=1e-300)
        assert result.item() == pytest.approx(expected, rel=1e-12, abs=1e-300)
        (slope,) = torch.autograd.grad(result, variable)
        own = evaluate(derivative(function(symbol), symbol), {"x": x}, NUMPY)
        assert slope.item() == pytest.approx(own, rel=1e-9, abs=1e-300)
