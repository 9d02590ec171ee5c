"""sympy -> text that parses to the same formula again, in this program and in ngspice."""

from __future__ import annotations

from decimal import Decimal

import sympy
from sympy import Expr

from circuitnn.errors import CircuitnnError

_SUFFIXES = {12: "t", 9: "g", 6: "meg", 3: "k", 0: "", -3: "m", -6: "u", -9: "n", -12: "p", -15: "f"}
_CALLS: dict[type, str] = {
    sympy.exp: "exp", sympy.log: "ln", sympy.sin: "sin", sympy.cos: "cos", sympy.tan: "tan", sympy.asin: "asin",
    sympy.acos: "acos", sympy.atan: "atan", sympy.sinh: "sinh", sympy.cosh: "cosh", sympy.tanh: "tanh",
    sympy.asinh: "asinh", sympy.acosh: "acosh", sympy.atanh: "atanh", sympy.ceiling: "ceil",
    sympy.Abs: "abs", sympy.sign: "sgn", sympy.floor: "floor", sympy.Min: "min", sympy.Max: "max",
}  # fmt: skip
# How tightly the printed text holds together, as in the grammar of expressions.py.
_CHOICE, _SUM, _PRODUCT, _UNARY, _POWER, _ATOM = 1, 5, 6, 7, 8, 9


def format_number(x: float) -> str:
    """A number as SPICE writes it, exact: 4.7k, 51p, 3.3."""
    exact = Decimal(repr(x))
    exponent = 3 * (exact.adjusted() // 3)
    if x == 0 or 0.01 <= abs(x) < 1000:
        return f"{exact.normalize():f}"
    if exponent not in _SUFFIXES:
        return repr(x)
    return f"{exact.scaleb(-exponent).normalize():f}{_SUFFIXES[exponent]}"


def format_quantity(x: float) -> str:
    """A number in SPICE's suffixes with four significant digits, for comments."""
    return format_number(float(f"{x:.4g}"))


def format_expression(expression: Expr) -> str:
    """The text of a value: a bare number, or a formula in braces."""
    return format_number(float(expression)) if expression.is_Number else f"{{{format_formula(expression)}}}"


def format_formula(expression: Expr) -> str:
    """The text of a formula, without braces."""
    return _print(expression, 0)


def _print(node: sympy.Basic, minimum: int) -> str:
    text, tightness = _text(node)
    return text if tightness >= minimum else f"({text})"


def _text(node: sympy.Basic) -> tuple[str, int]:
    """The text of a node, and how tightly it holds together."""
    match node:
        case sympy.Symbol():
            return node.name, _ATOM
        case sympy.Number():
            value = float(node)
            return format_number(value), _UNARY if value < 0 else _ATOM
        case sympy.NumberSymbol():
            return format_number(float(node)), _ATOM
        case sympy.Add():
            return "".join(_summand(term, first=index == 0) for index, term in enumerate(node.args)), _SUM
        case sympy.Mul():
            if _is_negation(node):
                return f"-{_print(node.args[1], _POWER)}", _UNARY
            return "".join(_factor(factor, first=index == 0) for index, factor in enumerate(node.args)), _PRODUCT
        case sympy.Pow():
            return _power(node)
        case sympy.Piecewise():
            return _choice(node), _CHOICE
    if type(node) in _CALLS:
        return f"{_CALLS[type(node)]}({', '.join(_print(argument, 0) for argument in node.args)})", _ATOM
    raise CircuitnnError(f"a netlist cannot express {type(node).__name__}")


def _is_negation(node: sympy.Basic) -> bool:
    return isinstance(node, sympy.Mul) and len(node.args) == 2 and node.args[0] == -1


def _summand(term: sympy.Basic, first: bool) -> str:
    if first:
        return _print(term, _PRODUCT)
    if _is_negation(term):
        return f" - {_print(term.args[1], _PRODUCT)}"
    text = _print(term, _PRODUCT)
    if text.startswith("-"):
        return f" - {text[1:]}" if term.is_Number else f" + ({text})"
    return f" + {text}"


def _factor(factor: sympy.Basic, first: bool) -> str:
    if isinstance(factor, sympy.Pow) and factor.args[1] is sympy.S.NegativeOne:
        return ("1/" if first else "/") + _print(factor.args[0], _POWER)
    text = _print(factor, _UNARY if first else _POWER)
    return text if first else f"*{text}"


def _power(node: sympy.Basic) -> tuple[str, int]:
    base, exponent = node.args
    if exponent is sympy.S.NegativeOne:
        return f"1/{_print(base, _POWER)}", _PRODUCT
    if exponent == sympy.S.Half and isinstance(exponent, sympy.Rational):
        return f"sqrt({_print(base, 0)})", _ATOM
    return f"{_print(base, _ATOM)}**{_print(exponent, _ATOM)}", _POWER


def _choice(node: sympy.Basic) -> str:
    *choices, (last, _) = [pair.args for pair in node.args]
    text = _print(last, _CHOICE + 1)
    for value, condition in reversed(choices):
        a, b = condition.args
        relation = f"{_print(a, _SUM)} {condition.rel_op} {_print(b, _SUM)}"
        text = f"{relation} ? {_print(value, _CHOICE + 1)} : {text}"
    return text
