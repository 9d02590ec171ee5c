"""Numbers that carry their derivatives along: forward-mode differentiation without torch.

A `Dual` stands wherever a plain number does, in `symbolic.evaluate` with NUMPY as in arithmetic, and every derivative
rule stands once, in the table below. Kinks have the slope that `symbolic.derivative` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from circuitnn.symbolic import SMALLEST

Gradient = NDArray[np.float64]


class Dual(NDArrayOperatorsMixin):
    """A number and its gradient [n]. Functions of numpy and the operators act on both; comparisons on the value."""

    __slots__ = ("gradient", "value")

    def __init__(self, value: float, gradient: Gradient) -> None:
        self.value = value
        self.gradient = gradient

    @np.errstate(all="ignore")
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        # numpy's numbers, unlike Python's, become infinite where they overflow.
        numbers = [np.float64(value_of(item)) for item in inputs]
        value = ufunc(*numbers)
        if ufunc in _COMPARISONS:
            return bool(value)
        if ufunc not in _SLOPES:
            return NotImplemented
        slopes = _SLOPES[ufunc](*numbers)
        terms = [
            slope * item.gradient
            for slope, item in zip(slopes, inputs, strict=True)
            # Where there is nothing to carry, an infinite slope must not make a nan of it.
            if isinstance(item, Dual) and item.gradient.any()
        ]
        return Dual(float(value), sum(terms, np.zeros_like(self.gradient)))

    def clip(self, low: float | None, high: float | None, out: None = None) -> Dual:
        """What np.clip calls, which is no function of the table."""
        inside = (low is None or self.value >= low) and (high is None or self.value <= high)
        return Dual(float(np.clip(self.value, low, high)), self.gradient * float(inside))


def value_of(x: Any) -> Any:
    """The number without its derivatives."""
    return x.value if isinstance(x, Dual) else x


def gradient_of(x: Any, size: int) -> Gradient:
    """The gradient [size] of a number; zero of a plain one."""
    return x.gradient if isinstance(x, Dual) else np.zeros(size)


def variables(values: Mapping[str, float]) -> dict[str, Dual]:
    """Each value as an independent variable: its gradient is a row of the identity."""
    identity = np.eye(len(values))
    return {name: Dual(value, identity[k]) for k, (name, value) in enumerate(values.items())}


def _power(base: float, exponent: float) -> tuple[float, float]:
    flat_at_zero = float(exponent).is_integer() or exponent >= 1.0
    positive = max(base, SMALLEST)
    by_base = exponent * (base if flat_at_zero else positive) ** (exponent - 1.0) if exponent else 0.0
    return float(by_base), float(base**exponent * np.log(positive))


_COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}

# The partial derivatives of each function, at plain numbers.
_SLOPES: Mapping[np.ufunc, Callable[..., Sequence[float]]] = {
    np.add: lambda x, y: (1.0, 1.0),
    np.subtract: lambda x, y: (1.0, -1.0),
    np.multiply: lambda x, y: (y, x),
    np.divide: lambda x, y: (1.0 / y, -x / y / y),
    np.power: _power,
    np.negative: lambda x: (-1.0,),
    np.exp: lambda x: (np.exp(x),),
    np.log: lambda x: (1.0 / x,),
    np.sin: lambda x: (np.cos(x),),
    np.cos: lambda x: (-np.sin(x),),
    np.tan: lambda x: (1.0 + np.tan(x) ** 2,),
    np.arcsin: lambda x: (1.0 / np.sqrt(1.0 - x * x),),
    np.arccos: lambda x: (-1.0 / np.sqrt(1.0 - x * x),),
    np.arctan: lambda x: (1.0 / (1.0 + x * x),),
    np.arcsinh: lambda x: (1.0 / np.sqrt(x * x + 1.0),),
    np.arccosh: lambda x: (1.0 / np.sqrt(x * x - 1.0),),
    np.arctanh: lambda x: (1.0 / (1.0 - x * x),),
    np.sinh: lambda x: (np.cosh(x),),
    np.cosh: lambda x: (np.sinh(x),),
    np.arcsinh: lambda x: (1.0 / np.sqrt(1.0 + x * x),),
    np.arccosh: lambda x: (1.0 / np.sqrt(x * x - 1.0),),
    np.arctanh: lambda x: (1.0 / (1.0 - x * x),),
    np.tanh: lambda x: (1.0 - np.tanh(x) ** 2,),
    np.absolute: lambda x: (np.sign(x),),
    np.sign: lambda x: (0.0,),
    np.floor: lambda x: (0.0,),
    np.ceil: lambda x: (0.0,),
    np.logaddexp: lambda x, y: (np.exp(x - np.logaddexp(x, y)), np.exp(y - np.logaddexp(x, y))),
    np.maximum: lambda x, y: (float(x >= y), float(x < y)),
    np.minimum: lambda x, y: (float(x <= y), float(x > y)),
}
