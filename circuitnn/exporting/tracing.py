"""Formulas of C out of computations in Python: a `Traced` stands where a number does, and what is done with it is
written down instead.

So the exported program works out its numbers by the very steps that Python takes, and no formula stands twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

# Formulas that are longer get a variable of their own.
LONGEST = 60


class Program:
    """Statements that compute variables t1, t2, ... as they are needed; the same formula never twice."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self._known: dict[str, str] = {}

    def variable(self, text: str, inputs: Iterable[str] = ()) -> Traced:
        """A number that the program is given. inputs: what counts as its origin."""
        return Traced(self, text, frozenset(inputs))

    def shortened(self, text: str) -> str:
        """The formula, or the name of a variable that holds it."""
        if len(text) <= LONGEST:
            return text
        if text not in self._known:
            self._known[text] = f"t{len(self._known) + 1}"
            self.statements.append(f"const double {self._known[text]} = {text};")
        return self._known[text]


class Traced(NDArrayOperatorsMixin):
    """A number that is known when the exported program runs. text: its formula in C; inputs: the names of what it
    depends on."""

    __slots__ = ("inputs", "program", "text")

    def __init__(self, program: Program, text: str, inputs: frozenset[str]) -> None:
        self.program = program
        self.text = text
        self.inputs = inputs

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options or ufunc not in _FORMULAS:
            return NotImplemented
        return self._made(_FORMULAS[ufunc], inputs)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function is np.clip:
            return arguments[0].clip(*arguments[1:], **options)
        if function is not np.where:
            return NotImplemented
        return self._made(lambda condition, yes, no: f"({condition} ? {yes} : {no})", arguments)

    def clip(self, low: float | None, high: float | None) -> Traced:
        """The number between two limits, either of which may be absent."""
        raised = self if low is None else self._made(_FORMULAS[np.maximum], (self, low))
        return raised if high is None else self._made(_FORMULAS[np.minimum], (raised, high))

    def __bool__(self) -> bool:
        raise TypeError("a choice that depends on a knob has to be written as a formula")

    def _made(self, formula: Callable[..., str], operands: Iterable[Any]) -> Traced:
        operands = list(operands)
        inputs = frozenset().union(*(operand.inputs for operand in operands if isinstance(operand, Traced)))
        return Traced(self.program, self.program.shortened(formula(*map(text_of, operands))), inputs)


def text_of(number: Any) -> str:
    """The number in C."""
    if isinstance(number, Traced):
        return number.text
    text = repr(float(number))
    return f"({text})" if text.startswith("-") else text


def depends(number: Any, inputs: Iterable[str]) -> bool:
    """Whether a number follows from one of these inputs."""
    return isinstance(number, Traced) and not number.inputs.isdisjoint(inputs)


def _call(name: str) -> Callable[..., str]:
    return lambda *operands: f"{name}({', '.join(operands)})"


def _between(sign: str) -> Callable[..., str]:
    return lambda x, y: f"({x} {sign} {y})"


_FORMULAS: Mapping[np.ufunc, Callable[..., str]] = {
    np.add: _between("+"),
    np.subtract: _between("-"),
    np.multiply: _between("*"),
    np.divide: _between("/"),
    np.less: _between("<"),
    np.less_equal: _between("<="),
    np.greater: _between(">"),
    np.greater_equal: _between(">="),
    np.equal: _between("=="),
    np.not_equal: _between("!="),
    np.negative: lambda x: f"(-{x})",
    np.sign: lambda x: f"({x} > 0 ? 1.0 : {x} < 0 ? -1.0 : 0.0)",
    np.logaddexp: lambda x, y: f"(fmax({x}, {y}) + log1p(exp(-fabs({x} - {y}))))",
    np.power: _call("pow"),
    np.exp: _call("exp"),
    np.log: _call("log"),
    np.sin: _call("sin"),
    np.cos: _call("cos"),
    np.tan: _call("tan"),
    np.arcsin: _call("asin"),
    np.arccos: _call("acos"),
    np.arctan: _call("atan"),
    np.sinh: _call("sinh"),
    np.cosh: _call("cosh"),
    np.tanh: _call("tanh"),
    np.arcsinh: _call("asinh"),
    np.arccosh: _call("acosh"),
    np.arctanh: _call("atanh"),
    np.absolute: _call("fabs"),
    np.floor: _call("floor"),
    np.ceil: _call("ceil"),
    np.maximum: _call("fmax"),
    np.minimum: _call("fmin"),
}
