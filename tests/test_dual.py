"""Numbers with derivatives, against derivatives taken symbolically and against difference quotients."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitnn.dual import Dual, gradient_of, value_of, variables
from circuitnn.symbolic import (
    EXPONENT_LIMIT,
    NUMPY,
    derivative,
    evaluate,
    limited_exp,
    logistic,
    rounded_ramp,
    softplus,
)

X, Y = sympy.symbols("x y", real=True)
SMOOTH = [
    X + Y, X - 2 * Y, X * Y, X / Y, -X, X**3, X**Y, sympy.sqrt(X), 2.0**X, sympy.exp(X), sympy.log(X), sympy.sin(X),
    sympy.cos(X), sympy.tan(X), sympy.asin(X / 4), sympy.acos(X / 4), sympy.atan(X), sympy.sinh(X), sympy.cosh(X),
    sympy.tanh(X), sympy.Abs(X - 2), sympy.sign(X) * Y, sympy.floor(X) + Y, sympy.Max(X, Y), sympy.Min(X, Y),
    limited_exp(X), limited_exp(60 * X), softplus(X - Y), logistic(X - Y), sympy.exp(sympy.sin(X * Y)) / (1 + X**2),
    rounded_ramp(X - Y), sympy.Piecewise((X * Y, X < Y), (X**2, True)),
]  # fmt: skip


def at(formula: sympy.Expr, x: float, y: float) -> Dual:
    return evaluate(formula, variables({"x": x, "y": y}), NUMPY)


@pytest.mark.parametrize("formula", SMOOTH, ids=str)
@settings(max_examples=20)
@given(x=st.floats(0.1, 3.0), y=st.floats(0.1, 3.0))
def test_gradients_are_those_of_the_formula(formula: sympy.Expr, x: float, y: float) -> None:
    found = at(formula, x, y)
    plain = {"x": x, "y": y}
    assert found.value == pytest.approx(evaluate(formula, plain, NUMPY), rel=1e-13)
    expected = [evaluate(derivative(formula, symbol), plain, NUMPY) for symbol in (X, Y)]
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("formula", [X**Y / (X + Y), sympy.exp(-X * Y) * sympy.cos(X), softplus(X * Y) ** 1.4], ids=str)
def test_gradients_are_the_limits_of_differences(formula: sympy.Expr) -> None:
    step = 1e-3
    quotient = [
        sum(w * at(formula, 0.7 + k * dx, 1.9 + k * dy).value for k, w in ((-2, 1), (-1, -8), (1, 8), (2, -1)))
        / (12 * step)
        for dx, dy in ((step, 0.0), (0.0, step))
    ]
    np.testing.assert_allclose(at(formula, 0.7, 1.9).gradient, quotient, rtol=1e-9)


FUNCTIONS = [
    np.arcsin, np.arccos, np.arctan, np.arctanh, np.arcsinh, np.sinh, np.cosh, np.tanh, np.sin, np.cos, np.tan, np.exp,
    np.log, np.negative, np.absolute, np.sign, np.floor, np.ceil,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_functions_of_one_number(function: np.ufunc) -> None:
    (x,) = variables({"x": 0.4}).values()
    assert_slope(function(x), [function(0.4 + k * STEP) for k in OFFSETS])
    (x,) = variables({"x": 1.4}).values()
    assert_slope(np.arccosh(x), [np.arccosh(1.4 + k * STEP) for k in OFFSETS])


STEP, OFFSETS = 1e-3, (-2, -1, 1, 2)


def assert_slope(found: Dual, values: list[float]) -> None:
    quotient = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * STEP)
    assert found.gradient[0] == pytest.approx(quotient, rel=1e-9, abs=1e-12)


def test_a_second_derivative_of_a_law_stays_finite_where_its_exponential_ends() -> None:
    """Beyond the limit an exponential is its tangent: its slope is constant, whose derivative is 0."""
    slope = derivative(limited_exp(X), X)
    assert at(slope, EXPONENT_LIMIT - 1.0, 0.0).gradient[0] == pytest.approx(np.exp(EXPONENT_LIMIT - 1.0))
    assert at(slope, EXPONENT_LIMIT + 1.0, 0.0).gradient[0] == 0.0


@pytest.mark.parametrize("formula", [sympy.sqrt(X), X**1.4, X**0, X**2, Y**X], ids=str)
def test_powers_at_zero_have_finite_slopes(formula: sympy.Expr) -> None:
    found = evaluate(formula, {**variables({"x": 0.0}), "y": 0.0}, NUMPY)
    assert np.isfinite(gradient_of(found, 1)).all()


def test_plain_numbers_have_no_gradient() -> None:
    assert value_of(2.5) == 2.5
    np.testing.assert_array_equal(gradient_of(2.5, 3), np.zeros(3))
    (x,) = variables({"x": 2.0}).values()
    assert (x < 3.0, x > 3.0) == (True, False)
    # numpy's own numbers must not turn a Dual into an array of objects.
    assert isinstance(np.float64(2.0) * x, Dual)
    with pytest.raises(TypeError):
        np.arctan2(x, 1.0)
