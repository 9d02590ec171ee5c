"""How the position of a knob, 0 to 1, maps to the value of its .param: the usual laws of potentiometers.

The logarithmic ("audio") law passes 10 % at the middle of its travel, as most datasheets of audio-taper
potentiometers state; the antilogarithmic law is its mirror image; the S law is the cosine ramp.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import sympy

from circuitnn.symbolic import NUMPY, Operations, evaluate

POSITION = sympy.Symbol("position", real=True)
VALUE = sympy.Symbol("value", real=True)

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
    }
)


def value_at(taper: str, position: Any, operations: Operations = NUMPY) -> Any:
    """Value of a knob's .param at a position from 0 to 1 (a number, or an array of `operations`)."""
    return evaluate(TAPERS[taper][0], {POSITION.name: position}, operations)


def position_at(taper: str, value: Any, operations: Operations = NUMPY) -> Any:
    """Position from 0 to 1 of a knob whose .param has that value."""
    return evaluate(TAPERS[taper][1], {VALUE.name: value}, operations)
