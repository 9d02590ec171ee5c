"""Evaluation of sympy expressions with numpy, torch or plain floats, without generating or executing any text."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
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

    def _eval_is_positive(self) -> bool:
        return True


class softplus(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), which overflows nowhere."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return logistic(self.args[0])

    def _eval_is_positive(self) -> bool:
        return True


class logistic(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """1 / (1 + exp(-x)), as t / (1 + t) with t = exp(-|x|), or 1 / (1 + t), which overflows nowhere."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return logistic(self.args[0]) * logistic(-self.args[0])

    def _eval_is_positive(self) -> bool:
        return True


class unit_clip(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """x between 0 and 1, else the nearer of them."""

    nargs = 1


class rounded_ramp(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """The integral of unit_clip: 0 up to 0, x^2 / 2 up to 1, x - 1/2 beyond; a ramp whose corner is an arc."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return unit_clip(self.args[0])


class Operations:
    """The elementary functions of one array type. `xp` is numpy or torch; both spell these functions alike.

    Plain numbers stay plain numbers, in double precision and without the cost of an array each.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp

    def apply(self, function: type, x: Any) -> Any:
        """function(x) for a supported sympy function class."""
        if not isinstance(x, float | int):
            return _elementary(self._xp, function, x)
        if function in _EXPONENTIALS:
            return _EXPONENTIALS[function](x)
        return float(_elementary(np, function, np.float64(x)))

    def array(self, x: Any) -> Any:
        """x as an array; a plain number becomes double precision, never torch's default of single."""
        return self._xp.asarray(x, dtype=self._xp.float64) if isinstance(x, float | int) else x

    def pick(self, smallest: bool, x: Any, y: Any) -> Any:
        """The smaller or the larger of two numbers."""
        if isinstance(x, float | int) and isinstance(y, float | int):
            # What is not a number stays so, which Python's own min and max do not see to.
            return math.nan if x != x or y != y else min(x, y) if smallest else max(x, y)
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
    sympy.asinh: "arcsinh", sympy.acosh: "arccosh", sympy.atanh: "arctanh", sympy.Abs: "abs", sympy.sign: "sign",
    sympy.floor: "floor", sympy.ceiling: "ceil",
}  # fmt: skip


# Of plain numbers; arrays are clipped instead, see _elementary.
_EXPONENTIALS: Mapping[type, Callable[[float], float]] = {
    ramp: lambda x: max(x - EXPONENT_LIMIT, 0.0),
    clamped_exp: lambda x: math.exp(min(x, EXPONENT_LIMIT)),
    limited_exp: lambda x: math.exp(min(x, EXPONENT_LIMIT)) * (1.0 + max(x - EXPONENT_LIMIT, 0.0)),
}

# Functions of this module, beside those of sympy.
_OWN = (clamped_exp, ramp, limited_exp, softplus, logistic, unit_clip, rounded_ramp)


def _elementary(xp: Any, function: type, x: Any) -> Any:
    if function in _NAMES:
        return getattr(xp, _NAMES[function])(x)
    if function is softplus:
        return xp.logaddexp(x, 0.0 * x)
    if function is logistic:
        return xp.exp(-xp.logaddexp(-x, 0.0 * x))
    if function in (unit_clip, rounded_ramp):
        clipped = xp.clip(x, 0.0, 1.0)
        return clipped if function is unit_clip else clipped * (x - 0.5 * clipped)
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
    return evaluate_all((expression,), values, operations)[0]


def evaluate_all(expressions: tuple[sympy.Basic, ...], values: Mapping[str, Any], operations: Operations) -> list[Any]:
    """As `evaluate`, of several expressions; what they have in common is computed once."""
    results = list[Any]()
    steps, positions = _program(expressions)
    for function, payload in steps:
        if function is _NUMBER:
            results.append(payload)
        elif function is _SYMBOL:
            results.append(values[payload])
        else:
            results.append(function(operations, *[results[k] for k in payload]))
    return [results[k] for k in positions]


def evaluate_finite(expression: sympy.Basic, values: Mapping[str, Any], operations: Operations) -> Any:
    """As `evaluate`, for a value that must be finite. Raises ArithmeticError for a plain number that is not."""
    with np.errstate(all="ignore"):
        result = evaluate(expression, values, operations)
    if isinstance(result, float) and not math.isfinite(result):
        raise ArithmeticError
    return result


Step = Callable[..., Any]
_NUMBER: Step = float
_SYMBOL: Step = str


@lru_cache(maxsize=4096)
def _program(expressions: tuple[sympy.Basic, ...]) -> tuple[tuple[tuple[Step, Any], ...], tuple[int, ...]]:
    """Expressions as steps, each (function, positions of its arguments among the earlier results), and the positions
    of their values.

    Walking a sympy tree costs more than the arithmetic in it; the walk is done once.
    """
    steps = list[tuple[Step, Any]]()
    known: dict[sympy.Basic, int] = {}

    def visit(node: sympy.Basic) -> int:
        if node not in known:
            step = _step(node, visit)
            known[node] = len(steps)
            steps.append(step)
        return known[node]

    positions = tuple(visit(expression) for expression in expressions)
    return tuple(steps), positions


def _step(node: sympy.Basic, visit: Callable[[sympy.Basic], int]) -> tuple[Step, Any]:
    if node.is_Symbol:
        return _SYMBOL, node.name
    if node.is_Number or node.is_NumberSymbol:
        return _NUMBER, float(node)
    if isinstance(node, BooleanTrue | BooleanFalse):
        return _NUMBER, bool(node)
    if isinstance(node, sympy.Piecewise):
        return _piecewise, [visit(part) for case in node.args for part in case]
    for kind, function in _RULES.items():
        if issubclass(type(node), kind):
            return function, [visit(argument) for argument in node.args]
    if type(node) not in _NAMES and type(node) not in _OWN:
        raise TypeError(f"no rule to evaluate {type(node).__name__}")
    return partial(_apply, type(node)), [visit(argument) for argument in node.args]


def _apply(function: type, operations: Operations, x: Any) -> Any:
    return operations.apply(function, x)


def _power(_: Operations, base: Any, exponent: Any) -> Any:
    result = 1.0 / base if isinstance(exponent, float) and exponent == -1.0 else base**exponent
    # Python's power of a negative number may be complex.
    return math.nan if isinstance(result, complex) else result


def _piecewise(operations: Operations, *parts: Any) -> Any:
    """parts: value, condition, value, condition, ... of which the last condition counts as true."""
    *cases, (result, _) = zip(parts[::2], parts[1::2], strict=True)
    for value, condition in reversed(cases):
        result = operations.where(condition, value, result)
    return result


_RULES: dict[type, Step] = {
    sympy.Add: lambda _, first, *rest: sum(rest, first),
    sympy.Mul: lambda _, *factors: reduce(operator.mul, factors),
    sympy.Pow: _power,
    sympy.Max: lambda operations, *items: reduce(partial(operations.pick, False), items),
    sympy.Min: lambda operations, *items: reduce(partial(operations.pick, True), items),
    sympy.StrictLessThan: lambda _, x, y: x < y,
    sympy.LessThan: lambda _, x, y: x <= y,
    sympy.StrictGreaterThan: lambda _, x, y: x > y,
    sympy.GreaterThan: lambda _, x, y: x >= y,
    sympy.Equality: lambda _, x, y: x == y,
    sympy.Unequality: lambda _, x, y: x != y,
}


# Below this magnitude the argument of a logarithm, or of a power that is steep at 0, counts as this much.
SMALLEST = 1e-30


def above_zero(x: sympy.Expr) -> sympy.Expr:
    """x, but not below SMALLEST."""
    if x.is_positive:
        return x
    # max(x, 0) needs no limit beside this one.
    parts = [part for part in x.args if part != 0] if isinstance(x, sympy.Max) else [x]
    return sympy.Max(*parts, sympy.Float(SMALLEST), evaluate=False)


def derivative(expression: sympy.Expr, symbol: sympy.Symbol) -> sympy.Expr:
    """d expression / d symbol, in functions that have a value everywhere and that `evaluate` knows.

    Unlike sympy's own: the derivative of Abs is sign, that of sign, floor and ceiling 0, that of Max and Min a choice,
    and a power that is steep at 0 (such as a square root) has a large but finite slope there. Everything is real.
    """
    known: dict[sympy.Basic, sympy.Expr] = {}

    def visit(node: sympy.Expr) -> sympy.Expr:
        if node == symbol:
            return sympy.S.One
        if node.is_Atom:
            return sympy.S.Zero
        if node not in known:
            known[node] = _derivative(node, visit)
        return known[node]

    return visit(expression)


def _derivative(node: sympy.Expr, visit: Callable[[sympy.Expr], sympy.Expr]) -> sympy.Expr:
    if isinstance(node, sympy.Piecewise):
        return _choice([(visit(value), condition) for value, condition in node.args])
    slopes = [visit(argument) for argument in node.args]
    if all(slope.is_zero for slope in slopes):
        return sympy.S.Zero
    match node:
        case sympy.Add():
            return sympy.Add(*slopes)
        case sympy.Mul():
            others = [sympy.Mul(*node.args[:k], *node.args[k + 1 :]) for k in range(len(slopes))]
            return sympy.Add(*(slope * rest for slope, rest in zip(slopes, others, strict=True) if not slope.is_zero))
        case sympy.Pow():
            return _power_derivative(node, *slopes)
        case sympy.Abs():
            return _sign(node.args[0]) * slopes[0]
        case sympy.sign() | sympy.floor() | sympy.ceiling():
            return sympy.S.Zero
        case sympy.Max() | sympy.Min():
            return _extreme_derivative(node, slopes)
    return sympy.Add(*(node.fdiff(k + 1) * slope for k, slope in enumerate(slopes) if not slope.is_zero))


def _power_derivative(node: sympy.Pow, base_slope: sympy.Expr, exponent_slope: sympy.Expr) -> sympy.Expr:
    base, exponent = node.args
    total = sympy.S.Zero
    if not base_slope.is_zero:
        flat_at_zero = exponent.is_integer or (exponent.is_number and exponent >= 1)
        total = exponent * (base if flat_at_zero else above_zero(base)) ** (exponent - 1) * base_slope
    if not exponent_slope.is_zero:
        total += node * sympy.log(above_zero(base)) * exponent_slope
    return total


def _extreme_derivative(node: sympy.Expr, slopes: list[sympy.Expr]) -> sympy.Expr:
    """The slope of whichever argument counts."""
    relation = sympy.GreaterThan if isinstance(node, sympy.Max) else sympy.LessThan
    cases = []
    for k, (argument, slope) in enumerate(zip(node.args[:-1], slopes[:-1], strict=True)):
        rest = node.args[k + 1 :]
        other = rest[0] if len(rest) == 1 else type(node)(*rest, evaluate=False)
        cases.append((slope, relation(argument, other, evaluate=False)))
    return _choice([*cases, (slopes[-1], sympy.S.true)])


def _choice(cases: list[tuple[sympy.Expr, sympy.Basic]]) -> sympy.Expr:
    if all(value == cases[0][0] for value, _ in cases):
        return cases[0][0]
    return sympy.Piecewise(*cases, evaluate=False)


def _sign(x: sympy.Expr) -> sympy.Expr:
    return sympy.S.One if x.is_positive else sympy.sign(x, evaluate=False)
