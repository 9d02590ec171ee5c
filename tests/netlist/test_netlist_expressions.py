"""The expression parser against Python's own arithmetic, and what it refuses."""

import contextlib
import math
import time

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitnn.circuit import symbol
from circuitnn.errors import NetlistError
from circuitnn.netlist import parse_netlist
from circuitnn.symbolic import Operations, evaluate

NUMPY = Operations(numpy)


def value_of(text: str, **parameters: float):
    """The sympy value of {text}, with .params of the given names."""
    lines = [f".param {name}={value!r}" for name, value in parameters.items()]
    return parse_netlist("\n".join(["title", *lines, f"R1 a 0 {{{text}}}", ".end"])).elements[0].value


def number_of(text: str, **parameters: float) -> float:
    """The number that {text} comes to, through the symbols."""
    return float(evaluate(value_of(text, **parameters), parameters, NUMPY))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1+2*3", 7.0), ("(1+2)*3", 9.0), ("2**3**2", 512.0), ("2^3", 8.0), ("-2**2", -4.0), ("2**-1", 0.5),
        ("8/4/2", 1.0),
        ("8-4-2", 2.0), ("4.7k", 4700.0), ("4.7/10", 0.47), ("sqrt(16)", 4.0), ("exp(1)", math.e), ("log(e)", 1.0),
        ("ln(e)", 1.0), ("log10(1000)", 3.0), ("atan(1)*4", math.pi), ("arctan(1)", math.atan(1)), ("pi", math.pi),
        ("abs(-3)", 3.0), ("min(3,1,2)", 1.0), ("max(3,1,2)", 3.0), ("pow(2,5)", 32.0), ("pwr(-2,3)", -8.0),
        ("sgn(-4)", -1.0),
        ("floor(-1.5)", -2.0), ("int(-1.5)", -1.0), ("limit(5,0,3)", 3.0), ("sqr(3)", 9.0), ("1 < 2", 1.0),
        ("2 <= 1", 0.0),
        ("1 == 1 && 2 != 2", 0.0), ("1 > 2 || 3", 1.0), ("!0", 1.0), ("1 ? 2 : 3", 2.0), ("0 ? 2 : 0 ? 3 : 4", 4.0),
        ("0 ? 1/0 : 5", 5.0), ("1 + 2 < 4 ? 1 : 0", 1.0), ("+3", 3.0), ("- - 3", 3.0), ("SIN(0)+Cos(0)", 1.0),
    ],
)  # fmt: skip
def test_numbers_fold(text: str, expected: float) -> None:
    value = value_of(text)
    assert value.is_Number
    assert float(value) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a*(1-b)", 0.3 * (1 - 2.5)), ("a/b", 0.3 / 2.5), ("a-b-1", 0.3 - 2.5 - 1), ("a**2", 0.09), ("2**a", 2**0.3),
        ("b**a", 2.5**0.3), ("-a**2", -0.09), ("1/a", 1 / 0.3), ("sqrt(b)", 2.5**0.5), ("pwr(-b, 2)", -6.25),
        ("a < b ? 10 : 20", 10.0), ("a > b ? 10 : 20", 20.0), ("a < b", 1.0), ("a >= b", 0.0), ("a <= a", 1.0),
        ("a == a", 1.0), ("a != b", 1.0), ("a < b && b < 1", 0.0), ("a < b || b < 1", 1.0), ("!(a-0.3)", 1.0),
        ("a && b ? 1k : 2k", 1000.0), ("min(a, b, 1)", 0.3), ("max(a, b)", 2.5), ("limit(b, 0, a)", 0.3),
        ("int(-b)", -2.0),
        ("log10(b)", math.log10(2.5)), ("sqr(b)", 6.25), ("A+B", 2.8), ("a > 1 ? 1 : b > 1 ? 2 : 3", 2.0),
    ],
)  # fmt: skip
def test_formulas_of_parameters(text: str, expected: float) -> None:
    assert number_of(text, a=0.3, b=2.5) == pytest.approx(expected, rel=1e-14)


def test_plain_formulas_equal_those_of_sympy() -> None:
    a, b = symbol("a"), symbol("b")
    assert value_of("2*a", a=1.0) == 2 * a
    assert value_of("a*(1-b)", a=1.0, b=1.0) == a * (1 - b)


def test_a_parameter_may_take_the_name_of_a_constant() -> None:
    assert number_of("2*e", e=5.0) == 10.0


PARAMETERS = {"a": 0.25, "b": 1.5, "c": -3.0}
_leaf = st.one_of(
    st.integers(0, 9).map(lambda i: (str(i), float(i))),
    st.sampled_from(sorted(PARAMETERS)).map(lambda name: (name, PARAMETERS[name])),
)


# Each strategy value is (text, value): the value is computed beside the text, not by parsing it.
def _combine(children):
    def binary(operator, function):
        return st.tuples(children, children).map(
            lambda pair: (f"({pair[0][0]} {operator} {pair[1][0]})", function(pair[0][1], pair[1][1]))
        )

    return st.one_of(
        binary("+", lambda a, b: a + b),
        binary("-", lambda a, b: a - b),
        binary("*", lambda a, b: a * b),
        children.map(lambda c: (f"-{c[0]}", -c[1])),
        children.map(lambda c: (f"tanh({c[0]})", math.tanh(c[1]))),
        children.map(lambda c: (f"abs({c[0]})", abs(c[1]))),
        st.tuples(children, children).map(lambda p: (f"max({p[0][0]},{p[1][0]})", max(p[0][1], p[1][1]))),
        # A condition may not hold another choice, so its operands are leaves.
        st.tuples(_leaf, _leaf, children).map(
            lambda t: (f"({t[0][0]} < {t[1][0]} ? {t[2][0]} : 7)", t[2][1] if t[0][1] < t[1][1] else 7.0)
        ),
    )


EXPRESSIONS = st.recursive(_leaf, _combine, max_leaves=12)


@settings(deadline=None)
@given(EXPRESSIONS)
def test_any_expression_comes_to_what_python_computes(case: tuple[str, float]) -> None:
    text, expected = case
    assert number_of(text, **PARAMETERS) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("1+", 3, "expected a number"), ("1+*2", 3, "expected a number"), ("(1+2", 5, r"expected '\)'"),
        ("foo+1", 1, "undefined name"),
        ("1+foo", 3, "undefined name 'foo'"), ("bar(2)", 1, "unknown function"),
        ("2+sqrt(1,2)", 3, "sqrt takes 1 argument, found 2"),
        ("1/0", 2, "division by zero"), ("a/0", 2, "division by zero"), ("9**9**9**9", 5, "no finite"),
        ("2*sqrt(-1)", 3, "no finite real"),
        ("a**1e9", 2, "beyond the limit"), ("1 2", 3, "expected an operator"), ("a ? 1", 6, "expected ':'"),
        ("1 # 2", 3, "unexpected '#'"),
        ("", 1, "expected a number"), ("exp(1000)", 1, "no finite"), ("1e300*1e300", 7, "no finite"),
        ("__import__(1)", 1, "unknown function"),
        ("a.b", 2, "unexpected '.'"), ("max()", 1, "takes 1 argument"), ("2 = 3", 3, "expected value|unexpected"),
        ("(a<1?1:2)<3 ? 1 : 2", 10, "choice inside"),
    ],
)  # fmt: skip
def test_errors_point_at_the_column(text: str, column: int, message: str) -> None:
    with pytest.raises(NetlistError, match=message) as caught:
        value_of(text, a=1.0)
    location = caught.value.location
    assert location is not None
    assert (location.line, location.column) == (3, len("R1 a 0 {") + column)
    shown = str(caught.value).splitlines()
    assert shown[0].startswith(f"<netlist>:3:{location.column}: ")
    assert shown[-1].index("^") - 4 == location.column - 1


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "1" + ")" * 5000, "-" * 5000 + "a", "a**" * 5000 + "a", "1?" * 3000, "a" + "+a" * 4000,
        "((((((3*a)**100)**100)**100)**100)**100)", "2**(a+1e9) * 2**(-a)", "sin(" * 300 + "a" + ")" * 300, "9" * 40000,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_hostile_expressions_end_soon(text: str) -> None:
    start = time.monotonic()
    with contextlib.suppress(NetlistError):
        value_of(text, a=1.0)
    assert time.monotonic() - start < 5.0


def test_functions_that_double_are_stopped() -> None:
    functions = [f".func f{n + 1}(x) {{f{n}(x)+f{n}(x)}}" for n in range(40)]
    for argument in ("1", "a"):
        text = "\n".join(["t", ".param a=1", ".func f0(x) {x}", *functions, f"R1 a 0 {{f40({argument})}}"])
        with pytest.raises(NetlistError, match=r"too many steps|too large"):
            parse_netlist(text)
