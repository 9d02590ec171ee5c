"""How the position of a knob, 0 to 1, maps to the value of its .param: the laws of potentiometers.

The logarithmic ("audio") law passes 10 % at the middle of its travel, as most datasheets of audio-taper
potentiometers state; the antilogarithmic law is its mirror image; the S law is the cosine ramp. A table,
"table(0:0 0.5:0.1 1:1)", is a law by position:value pairs, with a monotone cubic in between. "learned" is a law that
nobody knows yet: it is linear until a fit has made a table of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy

from circuitnn.symbolic import NUMPY, Operations, evaluate

POSITION = sympy.Symbol("position", real=True)
VALUE = sympy.Symbol("value", real=True)
LEARNED = "learned"
# Points of a table at most: nobody measures more, and a netlist may come from a stranger.
MAX_POINTS = 100

# (81**x - 1) / 80 is 0, 0.1, 1 at x = 0, 0.5, 1.
_LOG = (sympy.exp(sympy.log(81.0) * POSITION) - 1.0) / 80.0
_LOG_INVERSE = sympy.log(1.0 + 80.0 * VALUE) / sympy.log(81.0)

# taper -> (value as a formula of POSITION, position as a formula of VALUE)
TAPERS = MappingProxyType(
    {
        "linear": (POSITION, VALUE),
        "log": (_LOG, _LOG_INVERSE),
        "antilog": (1.0 - _LOG.subs(POSITION, 1.0 - POSITION), 1.0 - _LOG_INVERSE.subs(VALUE, 1.0 - VALUE)),
        "s": ((1.0 - sympy.cos(sympy.pi * POSITION)) / 2.0, sympy.acos(1.0 - 2.0 * VALUE) / sympy.pi),
        LEARNED: (POSITION, VALUE),
    }
)

_TABLE = re.compile(r"table\((.*)\)", re.IGNORECASE | re.DOTALL)
_POINT = re.compile(r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?):([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?)", re.IGNORECASE)


def value_at(taper: str, position: Any, operations: Operations = NUMPY) -> Any:
    """Value of a knob's .param at a position from 0 to 1 (a number, or an array of `operations`)."""
    return evaluate(formula(taper), {POSITION.name: position}, operations)


def position_at(taper: str, value: float) -> float:
    """Position from 0 to 1 of a knob whose .param has that value; the nearer end for one beyond the table's."""
    if taper in TAPERS:
        return float(evaluate(TAPERS[taper][1], {VALUE.name: value}, NUMPY))
    # Loading it takes longer than most commands that need no table.
    from scipy.optimize import brentq

    points = table_points(taper)
    if value <= points[0][1]:
        return 0.0
    if value >= points[-1][1]:
        return 1.0
    return float(brentq(lambda position: float(value_at(taper, position)) - value, 0.0, 1.0, xtol=1e-15))


def formula(taper: str) -> sympy.Expr:
    """The value as a formula of POSITION. Raises ValueError for a text that is no taper."""
    return TAPERS[taper][0] if taper in TAPERS else _cubics(taper)


@lru_cache(maxsize=256)
def table_points(taper: str) -> tuple[tuple[float, float], ...]:
    """The (position, value) pairs of a table. Raises ValueError that says what is expected."""
    match = _TABLE.fullmatch(taper.strip())
    if match is None:
        raise ValueError(f"expected one of {', '.join(TAPERS)}, or table(0:0 0.5:0.1 1:1)")
    words = match[1].split()
    if not 2 <= len(words) <= MAX_POINTS:
        raise ValueError(f"expected 2 to {MAX_POINTS} points, found {len(words)}")
    found = []
    for word in words:
        point = _POINT.fullmatch(word)
        if point is None:
            raise ValueError(f"expected a point such as 0.5:0.1, found {word[:40]!r}")
        found.append((float(point[1]), float(point[2])))
    if found[0][0] != 0.0 or found[-1][0] != 1.0:
        raise ValueError("expected points from position 0 to position 1")
    for (a, x), (b, y) in pairwise(found):
        if not (a < b and x < y):
            raise ValueError(f"expected positions and values that rise, found {b:g}:{y:g} after {a:g}:{x:g}")
    if found[-1][1] > 1.0:
        raise ValueError(f"expected values from 0 to 1, found {found[-1][1]:g}")
    return tuple(found)


def table(points: Sequence[tuple[float, float]]) -> str:
    """The taper that passes through (position, value) pairs, as text. Raises ValueError for points that make none."""
    text = f"table({' '.join(f'{float(position)!r}:{float(value)!r}' for position, value in points)})"
    text = re.sub(r"\.0(?=[:) ])", "", text)
    table_points(text)
    return text


@lru_cache(maxsize=256)
def _cubics(taper: str) -> sympy.Expr:
    """A table as a piecewise cubic whose slopes keep it monotone (PCHIP: Fritsch and Butland 1984)."""
    # As above.
    from scipy.interpolate import PchipInterpolator

    positions, values = np.array(table_points(taper)).T
    pieces = []
    for c, begin, end in zip(PchipInterpolator(positions, values).c.T.tolist(), positions, positions[1:], strict=False):
        x = POSITION - float(begin)
        pieces.append((((c[0] * x + c[1]) * x + c[2]) * x + c[3], sympy.StrictLessThan(POSITION, float(end))))
    pieces[-1] = (pieces[-1][0], sympy.true)
    return sympy.Piecewise(*pieces, evaluate=False)
