"""SPICE's POLY and TABLE forms of controlled sources, as the formulas that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement, count

from circuitnn.netlist.expressions import Apply, Formula, Node, Number, Signal, Voltage, parse_expression
from circuitnn.netlist.lexer import Card, Token

MAX_DIMENSIONS = 50


def controls(pairs: Sequence[Token]) -> list[Signal]:
    """The voltages between pairs of nodes."""
    return [Voltage(a.text, b.text, a.start, b.start) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]


def polynomial(card: Card, signals: Sequence[Signal], coefficients: Sequence[Token]) -> Formula:
    """POLY(n): p0 + p1 x1 + .. + pn xn + the products of two, as x1 x1, x1 x2, .. xn xn, then those of three and so on.

    A. Vladimirescu and others, "SPICE Version 2G User's Guide", Berkeley 1981, appendix B; as in ngspice a single
    coefficient is p0 for any n. Raises NetlistError.
    """
    formulas = [_formula(card, token) for token in coefficients]
    summands: list[Node] = []
    for formula, factors in zip(formulas, _monomials(signals), strict=False):
        if isinstance(formula.root, Number) and formula.root.value == 0.0:
            continue
        summands.append(_join("*", [formula.root, *factors]))
    return _combined(card, _join("+", summands or [Number(0.0, 0)]), formulas)


def table(card: Card, argument: Formula, pairs: Sequence[Token]) -> Formula:
    """TABLE: straight lines between the points (x, y), beyond them the end values. Raises NetlistError."""
    formulas = [argument, *(_formula(card, token) for token in pairs)]
    nodes = tuple(formula.root for formula in formulas)
    at = pairs[0].start if pairs else argument.root.at
    return _combined(card, Apply("table", nodes, at, 1 + max(node.depth for node in nodes)), formulas)


def _monomials(signals: Sequence[Signal]) -> Iterable[tuple[Signal, ...]]:
    return (factors for degree in count() for factors in combinations_with_replacement(signals, degree))


def _join(operator: str, nodes: Sequence[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    return Apply(operator, tuple(nodes), nodes[0].at, 1 + max(node.depth for node in nodes))


def _formula(card: Card, token: Token) -> Formula:
    return parse_expression(card, token.start, token.start + len(token.text))


def _combined(card: Card, root: Node, parts: Sequence[Formula]) -> Formula:
    names = frozenset(name for part in parts for name in part.names)
    calls = frozenset(call for part in parts for call in part.calls)
    return Formula(root, card, names, calls, tuple(doubt for part in parts for doubt in part.doubts))
