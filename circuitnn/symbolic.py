"""Evaluation of sympy expressions with numpy, torch or plain floats, without generating or executing any text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

# Above this argument an exponential continues as its tangent, so that a Newton iterate far off stays finite.
EXPONENT_LIMIT = 80.0


class clamped_exp(sympy.Function):  # type: ignore[misc]  # noqa: N801 - printed by its name in formulas and in C++
    """exp(min(x, EXPONENT_LIMIT))."""

    nargs = 1


class ramp(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """max(x - EXPONENT_LIMIT, 0)."""

    nargs = 1


class limited_exp(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """exp(x) up to EXPONENT_LIMIT, then its tangent: continuous with its first derivative, never infinite."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return clamped_exp(self.args[0])


class Operations:
    """The elementary functions of one array type. `xp` is numpy or torch; both spell these functions alike.

    Plain numbers stay plain numbers, in double precision and without the cost of an array each.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def apply(self, function: type, x: Any) -> Any:
        """function(x) for a sympy function class. Raises TypeError if it is not supported."""
        if function not in _NAMES and function not in (clamped_exp, ramp, limited_exp):
            raise TypeError(f"no rule to evaluate {function.__name__}")
        if isinstance(x, float | int):
            return float(_elementary(np, function, np.float64(x)))
        return _elementary(self._xp, function, x)

    def array(self, x: Any) -> Any:
        """x as an array; a plain number becomes double precision, never torch's default of single."""
        return self._xp.asarray(x, dtype=self._xp.float64) if isinstance(x, float | int) else x

    def pick(self, smallest: bool, x: Any, y: Any) -> Any:
        """The smaller or the larger of two numbers."""
        xp = self._xp
        return (xp.minimum if smallest else xp.maximum)(self.array(x), self.array(y))

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """x where the condition holds, else y."""
        if isinstance(condition, bool | np.bool_):
            return x if condition else y
        return self._xp.where(condition, self.array(x), self.array(y))


NUMPY = Operations(np)

_NAMES = {
    sympy.exp: "exp", sympy.log: "log", sympy.sin: "sin", sympy.cos: "cos", sympy.tan: "tan", sympy.asin: "arcsin",
    sympy.acos: "arccos", sympy.atan: "arctan", sympy.sinh: "sinh", sympy.cosh: "cosh", sympy.tanh: "tanh",
    sympy.Abs: "abs", sympy.sign: "sign", sympy.floor: "floor",
}  # fmt: skip


def _elementary(xp: Any, function: type, x: Any) -> Any:
    if function in _NAMES:
        return getattr(xp, _NAMES[function])(x)
    over = xp.clip(x - EXPONENT_LIMIT, 0.0, None)
    if function is ramp:
        return over
    clamped = xp.exp(xp.clip(x, None, EXPONENT_LIMIT))
    return clamped if function is clamped_exp else clamped * (1.0 + over)


def evaluate(expression: sympy.Basic, values: Mapping[str, Any], operations: Operations) -> Any:
    """Value of `expression` with each symbol replaced by values[name].

    Numbers stay Python floats until they meet an array. Raises KeyError for an unknown symbol and TypeError for a
    function that is not supported.
    """
    cache: dict[sympy.Basic, Any] = {}

    def walk(node: sympy.Basic) -> Any:
        if node in cache:
            return cache[node]
        cache[node] = result = compute(node)
        return result

    def compute(node: sympy.Basic) -> Any:
        if node.is_Symbol:
            return values[node.name]
        if node.is_Number or node.is_NumberSymbol:
            return float(node)
        if isinstance(node, BooleanTrue | BooleanFalse):
            return bool(node)
        arguments = [walk(argument) for argument in node.args] if not isinstance(node, sympy.Piecewise) else []
        match node:
            case sympy.Add():
                return sum(arguments[1:], arguments[0])
            case sympy.Mul():
                result = arguments[0]
                for factor in arguments[1:]:
                    result = result * factor
                return result
            case sympy.Pow():
                base, exponent = arguments
                if exponent == -1:
                    return 1.0 / base
                return base**exponent
            case sympy.Max() | sympy.Min():
                result = arguments[0]
                for other in arguments[1:]:
                    result = operations.pick(isinstance(node, sympy.Min), result, other)
                return result
            case sympy.Piecewise():
                *cases, last = [(walk(value), walk(condition)) for value, condition in node.args]
                result = last[0]
                for value, condition in reversed(cases):
                    result = operations.where(condition, value, result)
                return result
            case sympy.StrictLessThan():
                return arguments[0] < arguments[1]
            case sympy.LessThan():
                return arguments[0] <= arguments[1]
            case sympy.StrictGreaterThan():
                return arguments[0] > arguments[1]
            case sympy.GreaterThan():
                return arguments[0] >= arguments[1]
            case sympy.Equality():
                return arguments[0] == arguments[1]
            case sympy.Unequality():
                return arguments[0] != arguments[1]
        return operations.apply(type(node), arguments[0])

    return walk(expression)
