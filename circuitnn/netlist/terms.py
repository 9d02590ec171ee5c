"""Values under construction: numbers folded in Python floats, anything else a sympy expression built unevaluated.

Unevaluated, because sympy's automatic rewriting is exact integer arithmetic without bounds: a netlist from a stranger
could make it work for hours ("2**(x+1e9) * 2**(-x)"). It also keeps a formula as its author wrote it. Functions that
ngspice does not have, or has with another meaning, are made of others that it has, so that it reads what is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sympy
from sympy import Expr, Float, Integer

from circuitnn.netlist.functions import FUNCTIONS, RELATIONS, Numeric, Symbolic

MAX_EXPONENT = 100
MAX_SIZE = 2_000
MAX_DEPTH = 60


class TermError(Exception):
    """What is wrong with a value; whoever knows the place in the text adds it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Term:
    """A value under construction. size and depth: of the tree that expression prints as, shared parts counted again."""

    expression: Expr
    size: int = 1
    depth: int = 1

    @property
    def value(self) -> float | None:
        """The number, or None if symbolic."""
        return float(self.expression) if self.expression.is_Number else None


ZERO, ONE = Term(Integer(0)), Term(Integer(1))


def number(value: float) -> Expr:
    """A float as sympy has it here: Integer where exact, else Float. Raises ArithmeticError if not finite."""
    if not math.isfinite(value):
        raise OverflowError("not a finite number")
    return Integer(int(value)) if value == int(value) and abs(value) < 2.0**53 else Float(value)


def constant(value: float) -> Term:
    """A number as a term. Raises TermError if it is not finite."""
    try:
        return Term(number(value))
    except ArithmeticError:
        raise TermError("this has no finite value") from None


def _numeric(function: Numeric, *values: float) -> Term:
    try:
        return Term(number(float(function(*values))))
    except (ArithmeticError, ValueError):
        raise TermError("this has no finite real value") from None


def _build(make: Symbolic, *terms: Term) -> Term:
    size, depth = 1 + sum(term.size for term in terms), 1 + max(term.depth for term in terms)
    if size > MAX_SIZE or depth > MAX_DEPTH:
        raise TermError("this expression grows too large", "introduce a top-level .param for a part of it")
    return Term(make(*(term.expression for term in terms)), size, depth)


# -- operators --------------------------------------------------------------------------------------------------------


def total(terms: Sequence[Term]) -> Term:
    """The sum; numbers at its beginning are added at once."""
    kept = [terms[0]]
    for term in terms[1:]:
        if len(kept) == 1 and kept[0].value is not None and term.value is not None:
            kept = [constant(kept[0].value + term.value)]
        else:
            kept.append(term)
    return kept[0] if len(kept) == 1 else _build(lambda *e: sympy.Add(*e, evaluate=False), *kept)


def negative(term: Term) -> Term:
    """-term."""
    return Term(number(-term.value)) if term.value is not None else _build(_product, Term(Integer(-1)), term)


def _product(*factors: Expr) -> Expr:
    return sympy.Mul(*factors, evaluate=False)


def multiplied(factors: Sequence[Term], factor: Term, inverse: bool) -> list[Term]:
    """The factors of a product with one more, or with one more to divide by; numbers at the beginning join at once."""
    if inverse and factor.value == 0:
        raise TermError("division by zero")
    if len(factors) == 1 and (a := factors[0].value) is not None and (b := factor.value) is not None:
        return [constant(a / b if inverse else a * b)]
    return [*factors, _build(_power, factor, Term(Integer(-1))) if inverse else factor]


def product(factors: Sequence[Term]) -> Term:
    """The product of factors collected by `multiplied`."""
    kept = factors[1:] if factors[0].value == 1 and len(factors) > 1 else factors
    return kept[0] if len(kept) == 1 else _build(_product, *kept)


def times(a: Term, b: Term) -> Term:
    """a * b."""
    return product(multiplied([a], b, inverse=False))


def divided(a: Term, b: Term) -> Term:
    """a / b."""
    return product(multiplied([a], b, inverse=True))


def _power(base: Expr, exponent: Expr) -> Expr:
    return sympy.Pow(base, exponent, evaluate=False)


def power(base: Term, exponent: Term) -> Term:
    """base ** exponent."""
    if base.value is not None and exponent.value is not None:
        return _numeric(math.pow, base.value, exponent.value)
    if exponent.value is not None and abs(exponent.value) > MAX_EXPONENT:
        raise TermError(f"an exponent of {exponent.value:g} is beyond the limit of {MAX_EXPONENT}")
    if exponent.value == -1:
        # Integer(-1) is the mark of a division, which has a sign where a power of a voltage has none.
        exponent = Term(Float(-1.0))
    return _build(_power, base, exponent)


def choice(relation: str, a: Term, b: Term, then: Term, otherwise: Term) -> Term:
    """`then` if the relation holds between a and b, which are not both numbers, else `otherwise`."""
    _, symbolic = RELATIONS[relation]

    def choose(a: Expr, b: Expr, then: Expr, otherwise: Expr) -> Expr:
        return sympy.Piecewise((then, symbolic(a, b, evaluate=False)), (otherwise, True), evaluate=False)

    return _build(choose, a, b, then, otherwise)


def elementary(name: str, *terms: Term) -> Term:
    """One of FUNCTIONS: a number if all its arguments are numbers."""
    _, numeric, symbolic = FUNCTIONS[name]
    values = [value for term in terms if (value := term.value) is not None]
    if len(values) == len(terms):
        return _numeric(numeric, *values)
    if len(terms) > 2:
        # ngspice's sources know min and max of two.
        return _build(symbolic, elementary(name, *terms[:-1]), terms[-1])
    return _build(symbolic, *terms)


# -- functions made of others. Truth values are 0 and 1, made of signs, so that arrays pass through them. -------------


def _difference(a: Term, b: Term) -> Term:
    if a.value is not None and b.value is not None:
        return constant(a.value - b.value)
    return a if b.value == 0 else total([a, negative(b)])


def _log10(x: Term) -> Term:
    if x.value is not None:
        return _numeric(math.log10, x.value)
    return times(elementary("log", x), Term(number(1 / math.log(10.0))))


def _magnitude_power(x: Term, y: Term) -> Term:
    return power(elementary("abs", x), y)


def _signed_power(x: Term, y: Term) -> Term:
    return times(elementary("sgn", x), _magnitude_power(x, y))


def _whole(x: Term) -> Term:
    return times(elementary("sgn", x), elementary("floor", elementary("abs", x)))


def _clip(x: Term, low: Term, high: Term) -> Term:
    return elementary("min", elementary("max", x, low), high)


def _ramp(x: Term) -> Term:
    return elementary("max", x, ZERO)


def _hypot(x: Term, y: Term) -> Term:
    return elementary("sqrt", total([times(x, x), times(y, y)]))


def _angle(y: Term, x: Term) -> Term:
    """atan2: twice the angle in the half plane."""
    if y.value is not None and x.value is not None:
        return _numeric(math.atan2, y.value, x.value)
    return times(Term(Integer(2)), elementary("atan", divided(y, total([_hypot(x, y), x]))))


def _positive(a: Term, b: Term = ZERO) -> Term:
    """1 if a > b, else 0."""
    return elementary("max", elementary("sgn", _difference(a, b)), ZERO)


def _unequal(a: Term, b: Term = ZERO) -> Term:
    return elementary("abs", elementary("sgn", _difference(a, b)))


def _not(truth: Term) -> Term:
    return _difference(ONE, truth)


def _interpolated(*terms: Term, beyond: bool) -> Term:
    """The value at x of the straight lines between points (x1, y1), (x2, y2), ...; beyond the first and last point the
    lines go on, or else the end values stay. Every stretch adds its slope times the part of x that lies in it."""
    x, points = terms[0], terms[1:]
    if len(points) < 2 or len(points) % 2:
        raise TermError("expected a value and pairs of numbers, as in table(x, x1, y1, x2, y2)")
    corners = [corner.value for corner in points[::2]]
    known = [corner for corner in corners if corner is not None]
    if len(known) < len(corners) or any(left >= right for left, right in pairwise(known)):
        raise TermError("the first numbers of the pairs must be plain and rise from one to the next")
    parts = [points[1]]
    last = len(known) - 2
    for index, ((left, low), (right, high)) in enumerate(pairwise(zip(known, points[1::2], strict=True))):
        inside = x
        if index > 0 or not beyond:
            inside = elementary("max", inside, constant(left))
        if index < last or not beyond:
            inside = elementary("min", inside, constant(right))
        slope = divided(_difference(high, low), constant(right - left))
        if slope.value != 0:
            parts.append(times(slope, _difference(inside, constant(left))))
    return total(parts)


# name -> (number of arguments, function). None: any number.
COMPOSITES: Mapping[str, tuple[int | None, Callable[..., Term]]] = {
    "log10": (1, _log10),
    "sqr": (1, lambda x: times(x, x)),
    "square": (1, lambda x: times(x, x)),
    "pow": (2, power),
    "pwr": (2, _signed_power),
    "pwrs": (2, _signed_power),
    "uramp": (1, _ramp),
    "u": (1, _positive),
    "stp": (1, _positive),
    "buf": (1, lambda x: _positive(x, constant(0.5))),
    "inv": (1, lambda x: _not(_positive(x, constant(0.5)))),
    "int": (1, _whole),
    "hypot": (2, _hypot),
    "atan2": (2, _angle),
    "limit": (3, _clip),
    "table": (None, lambda *terms: _interpolated(*terms, beyond=False)),
    "pwl": (None, lambda *terms: _interpolated(*terms, beyond=True)),
    "<": (2, lambda a, b: _positive(b, a)),
    ">": (2, _positive),
    "<=": (2, lambda a, b: _not(_positive(a, b))),
    ">=": (2, lambda a, b: _not(_positive(b, a))),
    "!=": (2, _unequal),
    "==": (2, lambda a, b: _not(_unequal(a, b))),
    "!": (1, lambda x: _not(_unequal(x))),
    "&&": (2, lambda a, b: times(_unequal(a), _unequal(b))),
    "||": (2, lambda a, b: elementary("max", _unequal(a), _unequal(b))),
}
# Where a formula is PSpice's or LTspice's: their pwr has no sign.
FOREIGN: Mapping[str, tuple[int | None, Callable[..., Term]]] = {**COMPOSITES, "pwr": (2, _magnitude_power)}
