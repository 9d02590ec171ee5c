"""Behavioural sources that are linear: sums of constants times voltages and currents, which need no Newton iteration.

Macromodels are full of them: POLY forms that add up currents, E and B sources that shift a voltage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import sympy
from sympy import Expr, Integer, Symbol

from circuitnn.circuit import Element, is_signal

_ZERO, _ONE = Integer(0), Integer(1)


@dataclass(frozen=True)
class Affine:
    """offset plus the sum of slope times signal; the slopes are expressions of parameters."""

    slopes: Mapping[Symbol, Expr]
    offset: Expr

    def values(self, name: str) -> dict[str, Expr]:
        """The slopes and the offset by the names they have among a circuit's values: "B1.v(a)" and "B1.offset"."""
        return {f"{name}.{signal.name}": slope for signal, slope in self.slopes.items()} | {
            f"{name}.offset": self.offset
        }


def linear_source(element: Element) -> Affine | None:
    """What a behavioural source is if its formula is linear with a plain number as offset, else None.

    An offset of parameters stays a device's: a knob may move it while the circuit runs, but not a source.
    """
    found = None if element.behaviour is None else affine(element.behaviour.formula)
    if found is None or not found.offset.is_number:
        return None
    numbers = [n for part in (found.offset, *found.slopes.values()) for n in part.atoms(sympy.Number)]
    return found if all(math.isfinite(float(n)) for n in numbers) else None


@lru_cache(maxsize=4096)
def affine(formula: Expr) -> Affine | None:
    """The formula as an affine function of its voltages and currents, None if it is not one."""
    if not any(map(is_signal, formula.free_symbols)):
        return Affine({}, formula)
    if isinstance(formula, Symbol):
        return Affine({formula: _ONE}, _ZERO)
    if isinstance(formula, sympy.Add):
        return _sum([affine(part) for part in formula.args])
    if isinstance(formula, sympy.Mul):
        sensing = [part for part in formula.args if any(map(is_signal, part.free_symbols))]
        inner = affine(sensing[0]) if len(sensing) == 1 else None
        if inner is not None:
            factors = [part for part in formula.args if part is not sensing[0]]
            slopes = {signal: _product([*factors, slope]) for signal, slope in inner.slopes.items()}
            return Affine(slopes, _product([*factors, inner.offset]))
    return None


def _sum(parts: list[Affine | None]) -> Affine | None:
    slopes: dict[Symbol, list[Expr]] = {}
    offsets = []
    for part in parts:
        if part is None:
            return None
        offsets.append(part.offset)
        for signal, slope in part.slopes.items():
            slopes.setdefault(signal, []).append(slope)
    return Affine({signal: _total(each) for signal, each in slopes.items()}, _total(offsets))


# Numbers join in floating point; what is symbolic stays as it is (see netlist/terms.py).
def _total(parts: list[Expr]) -> Expr:
    numeric = sum(float(part) for part in parts if part.is_Number)
    symbolic = [part for part in parts if not part.is_Number]
    if not symbolic:
        return sympy.Float(numeric)
    return sympy.Add(*symbolic, sympy.Float(numeric), evaluate=False) if numeric else _one_or(sympy.Add, symbolic)


def _product(parts: list[Expr]) -> Expr:
    numeric = 1.0
    for part in parts:
        numeric *= float(part) if part.is_Number else 1.0
    symbolic = [part for part in parts if not part.is_Number]
    if numeric == 0.0 or not symbolic:
        return sympy.Float(numeric)
    return sympy.Mul(sympy.Float(numeric), *symbolic, evaluate=False)


def _one_or(kind: type[Expr], parts: list[Expr]) -> Expr:
    return parts[0] if len(parts) == 1 else kind(*parts, evaluate=False)
