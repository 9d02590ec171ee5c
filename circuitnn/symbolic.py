"""Evaluation of sympy expressions with numpy, torch or plain floats, without generating or executing any text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

# Above this argument an exponential continues as its tangent, so that a Newton iterate far off stays finite.
EXPONENT_LIMIT = 80.0


class clamped_exp(sympy.Function):  # noqa: N801 - printed by its name in formulas and in C++
    """exp(min(x, EXPONENT_LIMIT))."""

    nargs = 1


class ramp(sympy.Function):  # noqa: N801
    """max(x - EXPONENT_LIMIT, 0)."""

    nargs = 1


class limited_exp(sympy.Function):  # noqa: N801
    """exp(x) up to EXPONENT_LIMIT, then its tangent: continuous with its first derivative, never infinite."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return clamped_exp(self.args[0])


class Operations:
    """The elementary functions of one number type. `xp` is numpy or torch; both spell these functions alike."""

    def __init__(self, xp: Any) -> None:
        def unary(name: str) -> Any:
            return getattr(xp, name)

        def clamped(x: Any) -> Any:
            return xp.exp(xp.clip(x, None, EXPONENT_LIMIT))

        def over(x: Any) -> Any:
            return xp.clip(x - EXPONENT_LIMIT, 0.0, None)

        self.functions: dict[type, Any] = {
            sympy.exp: unary("exp"), sympy.log: unary("log"), sympy.sin: unary("sin"), sympy.cos: unary("cos"),
            sympy.tan: unary("tan"), sympy.asin: unary("arcsin"), sympy.acos: unary("arccos"), sympy.atan: unary("arctan"),
            sympy.sinh: unary("sinh"), sympy.cosh: unary("cosh"), sympy.tanh: unary("tanh"),
            sympy.Abs: unary("abs"), sympy.sign: unary("sign"), sympy.floor: unary("floor"),
            clamped_exp: clamped, ramp: over,
            limited_exp: lambda x: clamped(x) * (1.0 + over(x)),
        }  # fmt: skip
        self.where = xp.where
        self.maximum = xp.maximum
        self.minimum = xp.minimum
        self._xp = xp

    def array(self, x: Any) -> Any:
        """x as an array; a plain number becomes double precision, never torch's default of single."""
        return self._xp.asarray(x, dtype=self._xp.float64) if isinstance(x, float | int) else x


def evaluate(expression: sympy.Basic, values: Mapping[str, Any], operations: Operations) -> Any:
    """Value of `expression` with each symbol replaced by values[name]. Numbers stay Python floats until they meet an array.

    Raises KeyError for an unknown symbol, TypeError for a function that is not supported.
    """
    cache: dict[sympy.Basic, Any] = {}

    array = operations.array

    def walk(node: sympy.Basic) -> Any:
        if node in cache:
            return cache[node]
        cache[node] = result = compute(node)
        return result

    def compute(node: sympy.Basic) -> Any:
        if node.is_Symbol:
            return values[node.name]  # type: ignore[attr-defined]
        if node.is_Number or node.is_NumberSymbol:
            return float(node)  # type: ignore[arg-type]
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
                pick = operations.maximum if isinstance(node, sympy.Max) else operations.minimum
                result = array(arguments[0])
                for other in arguments[1:]:
                    result = pick(result, array(other))
                return result
            case sympy.Piecewise():
                *cases, last = [(walk(value), walk(condition)) for value, condition in node.args]
                result = last[0]
                for value, condition in reversed(cases):
                    result = operations.where(array(condition), array(value), array(result))
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
        function = operations.functions.get(type(node))
        if function is None:
            raise TypeError(f"no rule to evaluate {type(node).__name__}")
        return function(array(arguments[0]))

    return walk(expression)
