"""H(s) of a small linear circuit as a formula of its component values.

The equations M(s) z = N_u u, y = N_y z have entries that are polynomials in s and in the values, so by Cramer's rule

    H(s) = -det [[M, N_u], [N_y, 0]] / det M

is a quotient of two polynomials. Determinants of such matrices grow quickly; what is too large is refused by its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import ZZ, Add, Expr, Mul
from sympy.polys.rings import ring

from circuitnn.circuit import symbol
from circuitnn.mna import DIFFERENTIATED, RECIPROCAL, UNITY, VALUE, Equations
from circuitnn.stamp import Stamp
from circuitnn.symbolic import NUMPY, evaluate

# Beyond these a formula is no longer something to read: reactive elements, and terms of any polynomial on the way.
REACTIVE, TERMS = 8, 5000

Row = dict[int, Any]


@dataclass(frozen=True)
class TransferFunction:
    """Coefficients of ascending powers of s, as formulas of the elements' values (ohm, farad, henry, V/V, A/V)."""

    numerator: tuple[Expr, ...]
    denominator: tuple[Expr, ...]

    def coefficients(self, values: Mapping[str, float]) -> tuple[list[float], list[float]]:
        """Numerator and denominator in numbers, divided by the lowest coefficient of the denominator that is not 0."""
        numerator, denominator = (
            [float(evaluate(formula, values, NUMPY)) for formula in side] for side in (self.numerator, self.denominator)
        )
        unit = next(number for number in denominator if number != 0.0)
        return [number / unit for number in numerator], [number / unit for number in denominator]


def transfer_function(
    equations: Equations, values: Mapping[str, float], output: int = 0, source: int = 0
) -> TransferFunction | None:
    """From one input to one output; None for a circuit with nonlinear devices, and for one that is too large.

    An element whose value is 0 (a link) does not appear.
    """
    if equations.devices or len(equations.states) > REACTIVE:
        return None
    names = [name for rule, name in equations.coefficients if rule != UNITY and values[name] != 0.0]
    domain, s, *symbols = ring(["s", *names], ZZ)
    by_name = dict(zip(names, symbols, strict=True))
    # A conductance stands for itself until the fractions are cleared.
    rules: dict[str, Callable[[str], Any]] = {
        UNITY: lambda _: domain.one,
        VALUE: lambda name: by_name.get(name, domain.zero),
        RECIPROCAL: by_name.__getitem__,
        DIFFERENTIATED: lambda name: s * by_name.get(name, domain.zero),
    }
    entries = [rules[rule](name) for rule, name in equations.coefficients]
    rows = _rows(equations.M, entries, domain.zero)
    m = len(rows)
    bordered = [row | ({m: domain(int(b))} if b else {}) for row, b in zip(rows, equations.N_u[:, source], strict=True)]
    bordered.append({int(k): domain(int(equations.N_y[output, k])) for k in np.flatnonzero(equations.N_y[output])})
    numerator, denominator = _determinant(bordered, domain), _determinant(rows, domain)
    if numerator is None or denominator is None:
        return None
    conductances = [1 + names.index(name) for rule, name in equations.coefficients if rule == RECIPROCAL]
    numerator, denominator = _without_fractions(-numerator, denominator, conductances)
    numerator, denominator = numerator.cancel(denominator)
    return TransferFunction(_by_power(numerator, names), _by_power(denominator, names))


def _without_fractions(numerator: Any, denominator: Any, conductances: Sequence[int]) -> tuple[Any, Any]:
    """Both polynomials times resistances until no conductance is left; from here on, its symbol is the resistance."""
    degrees = {k: max(numerator.degree(k), denominator.degree(k)) for k in conductances}
    found = []
    for polynomial in (numerator, denominator):
        terms = {
            tuple(degrees[k] - power if k in degrees else power for k, power in enumerate(powers)): factor
            for powers, factor in polynomial.terms()
        }
        found.append(polynomial.ring.from_dict(terms))
    return found[0], found[1]


def _by_power(polynomial: Any, names: Sequence[str]) -> tuple[Expr, ...]:
    """The coefficients of ascending powers of s."""
    symbols = [symbol(name) for name in names]
    terms: dict[int, list[Expr]] = {}
    for (power, *powers), factor in polynomial.terms():
        product = Mul(int(factor), *(one ** int(k) for one, k in zip(symbols, powers, strict=True)))
        terms.setdefault(power, []).append(product)
    return tuple(Add(*terms.get(power, ())) for power in range(max(terms, default=0) + 1))


def _rows(stamp: Stamp, entries: Sequence[Any], zero: Any) -> list[Row]:
    rows: list[Row] = [{} for _ in range(stamp.shape[0])]
    for row, column, sign, k in zip(stamp.rows, stamp.columns, stamp.signs, stamp.coefficients, strict=True):
        rows[row][int(column)] = rows[row].get(int(column), zero) + int(sign) * entries[k]
    return [{column: entry for column, entry in row.items() if entry} for row in rows]


def _determinant(rows: Sequence[Row], domain: Any) -> Any | None:
    """By expansion along the rows, sums of products of entries sorted by the set of columns that they use; None beyond
    TERMS. Without a division, and cheap where rows are sparse."""
    # Set of columns, as bits -> the sum of all signed products of the rows so far that use these columns.
    minors = {0: domain.one}
    for row in rows:
        longer: dict[int, Any] = {}
        for used, product in minors.items():
            for column, entry in row.items():
                if not used >> column & 1:
                    # The sign counts the inversions that the new column makes.
                    term = product * entry if (used >> column).bit_count() % 2 == 0 else -product * entry
                    taken = used | 1 << column
                    longer[taken] = longer[taken] + term if taken in longer else term
        minors = {used: total for used, total in longer.items() if total}
        if sum(map(len, minors.values())) > TERMS:
            return None
    return minors.get((1 << len(rows)) - 1, domain.zero)
