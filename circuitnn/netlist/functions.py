"""The functions, relations and constants of expressions, each for numbers and for sympy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import sympy
from sympy import Expr


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


# name -> (number of arguments, numeric, symbolic). None: one or more arguments.
Numeric = Callable[..., float]
Symbolic = Callable[..., Expr]


def _elementary(function: type[sympy.Function]) -> Symbolic:
    return lambda *arguments: function(*arguments, evaluate=False)


FUNCTIONS: Mapping[str, tuple[int | None, Numeric, Symbolic]] = {
    "sqrt": (1, math.sqrt, lambda x: sympy.Pow(x, sympy.S.Half, evaluate=False)),
    "exp": (1, math.exp, _elementary(sympy.exp)),
    "log": (1, math.log, _elementary(sympy.log)),
    "sin": (1, math.sin, _elementary(sympy.sin)),
    "cos": (1, math.cos, _elementary(sympy.cos)),
    "tan": (1, math.tan, _elementary(sympy.tan)),
    "asin": (1, math.asin, _elementary(sympy.asin)),
    "acos": (1, math.acos, _elementary(sympy.acos)),
    "atan": (1, math.atan, _elementary(sympy.atan)),
    "sinh": (1, math.sinh, _elementary(sympy.sinh)),
    "cosh": (1, math.cosh, _elementary(sympy.cosh)),
    "asinh": (1, math.asinh, _elementary(sympy.asinh)),
    "acosh": (1, math.acosh, _elementary(sympy.acosh)),
    "atanh": (1, math.atanh, _elementary(sympy.atanh)),
    "tanh": (1, math.tanh, _elementary(sympy.tanh)),
    "abs": (1, abs, _elementary(sympy.Abs)),
    "sgn": (1, _sign, _elementary(sympy.sign)),
    "ceil": (1, lambda x: float(math.ceil(x)), _elementary(sympy.ceiling)),
    "floor": (1, lambda x: float(math.floor(x)), _elementary(sympy.floor)),
    "min": (None, lambda *x: min(x), _elementary(sympy.Min)),
    "max": (None, lambda *x: max(x), _elementary(sympy.Max)),
}
ALIASES = {"ln": "log", "arctan": "atan", "arcsin": "asin", "arccos": "acos", "fabs": "abs", "tbl": "table"}
RELATIONS: Mapping[str, tuple[Callable[[float, float], bool], type[sympy.Rel]]] = {
    "<": (lambda a, b: a < b, sympy.StrictLessThan),
    "<=": (lambda a, b: a <= b, sympy.LessThan),
    ">": (lambda a, b: a > b, sympy.StrictGreaterThan),
    ">=": (lambda a, b: a >= b, sympy.GreaterThan),
    "==": (lambda a, b: a == b, sympy.Equality),
    "!=": (lambda a, b: a != b, sympy.Unequality),
}
CONSTANTS = {"pi": math.pi, "e": math.e}
