"""The cards of controlled and behavioural sources: linear, with a formula, and SPICE's POLY and TABLE as formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations_with_replacement, count

from circuitnn.netlist.definitions import assignments
from circuitnn.netlist.expressions import Apply, Current, Formula, Node, Number, Signal, Voltage, parse_expression
from circuitnn.netlist.fields import Fields, Reader
from circuitnn.netlist.lexer import Card, Token

# What the formula of a behavioural source gives, by kind of element and keyword.
_QUANTITIES = {
    ("B", "i"): "current",
    ("B", "v"): "voltage",
    ("G", "value"): "current",
    ("G", "cur"): "current",
    ("E", "value"): "voltage",
    ("E", "vol"): "voltage",
}
# What the other forms of a controlled source give.
_CONTROLLED_QUANTITIES = {"E": "voltage", "F": "current", "G": "current", "H": "voltage"}
# The largest n of POLY(n).
MAX_DIMENSIONS = 50


def controlled(reader: Reader, fields: Fields) -> None:
    """The rest of an E or G card after its nodes, or of an F or H card after the source that it senses."""
    if reader.word == "table" and reader.assigns():
        # LTspice's table of the controlling voltage.
        plus, minus = fields.nodes[2:]
        (control,) = _controls([plus, minus])
        del fields.nodes[2:], reader.rest[:2]
        _points(reader, fields, Formula(control, reader.card))
        return
    fields.value = reader.value("the gain")
    reader.extras(fields)


def current_controlled(reader: Reader, fields: Fields) -> None:
    """The rest of an F or H card after its nodes."""
    if _is_polynomial(reader):
        _polynomial(reader, fields)
        return
    sensed_source(reader, fields)
    controlled(reader, fields)


def sensed_source(reader: Reader, fields: Fields) -> None:
    """The name of the source whose current an element follows."""
    if not reader.word or reader.assigns():
        raise reader.expected("the name of the source whose current counts")
    fields.branches.append(reader.rest.pop(0))


def _is_polynomial(reader: Reader) -> bool:
    return reader.word == "poly" and reader.card.text[reader.rest[0].start + 4 :].lstrip().startswith("(")


def _polynomial(reader: Reader, fields: Fields) -> None:
    letter, card = reader.card.text[0].upper(), reader.card
    reader.rest.pop(0)
    dimensions = int(reader.word) if reader.word.isdecimal() and len(reader.word) < 4 else 0
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise reader.expected(f"a number of variables from 1 to {MAX_DIMENSIONS}")
    reader.rest.pop(0)
    if letter in "EG":
        signals = _controls([reader.node(f"{what} control") for _ in range(dimensions) for what in "+-"])
    else:
        names = [reader.node("source's name instead of a") for _ in range(dimensions)]
        signals = [Current(name.text, name.start) for name in names]
    coefficients = [reader.value("a coefficient")]
    while reader.here and not reader.assigns():
        coefficients.append(reader.value("a coefficient"))
    if dimensions == len(coefficients) == 1:
        fields.notes.append("POLY(1) with one coefficient is a constant, as in ngspice; SPICE2 took it for the gain")
    fields.behaviour = _CONTROLLED_QUANTITIES[letter], _polynomial_formula(card, signals, coefficients)
    reader.extras(fields)


def _table(reader: Reader, fields: Fields) -> None:
    """TABLE {formula} = (x, y) (x, y) ..., the sign optional."""
    card, formula = reader.card, reader.at(1)
    if formula is None or formula.kind != "expression":
        reader.rest.pop(0)
        raise reader.expected("a formula in braces")
    del reader.rest[:2]
    if reader.here and reader.here.kind == "=":
        reader.rest.pop(0)
    _points(reader, fields, parse_expression(card, formula.start, formula.start + len(formula.text)))


def _points(reader: Reader, fields: Fields, argument: Formula) -> None:
    points = [reader.value("the points of the table")]
    while reader.here and not reader.assigns():
        points.append(reader.value("the points of the table"))
    quantity = _CONTROLLED_QUANTITIES[reader.card.text[0].upper()]
    fields.behaviour = quantity, _table_formula(reader.card, argument, points)
    reader.extras(fields)


def behavioural(reader: Reader, fields: Fields) -> None:
    """`I=...`, `VALUE={...}` and the like: the rest of the card, which is a formula even without braces."""
    card, keyword, follower = reader.card, reader.here, reader.at(1)
    quantity = _QUANTITIES.get((card.text[0].upper(), reader.word))
    if keyword is None or follower is None or quantity is None:
        raise reader.expected("the formula")
    if follower.kind == "expression":
        # PSpice also writes VALUE {...} without a sign.
        fields.behaviour = quantity, parse_expression(card, follower.start, follower.start + len(follower.text))
        del reader.rest[:2]
        reader.extras(fields)
        return
    if not reader.assigns():
        raise reader.expected("the formula")
    first, *others = assignments(card, keyword.start)[0]
    fields.behaviour = quantity, first.formula
    reader.rest = []
    for other in others:
        if other.name == "laplace":
            raise card.error("the Laplace form is not supported", other.at, "build the filter of R, C and L")
        if other.name == "m":
            fields.parallel = other.formula
            continue
        fields.notes.append(f"{other.name}= ignored")


def form(reader: Reader) -> Callable[[Reader, Fields], None] | None:
    """What reads the rest of a controlled source that has a formula instead of two controlling nodes."""
    letter = reader.card.text[0].upper()
    if (letter, reader.word) in _QUANTITIES and not _is_node(reader):
        return behavioural
    if letter in "EG" and _is_polynomial(reader):
        return _polynomial
    return _table if letter in "EG" and reader.word == "table" and not _is_node(reader) else None


def _is_node(reader: Reader) -> bool:
    """Whether the next word is a node although it is a keyword too: no = and no formula follows."""
    follower = reader.at(1)
    return follower is None or follower.kind not in ("=", "expression")


def _controls(pairs: Sequence[Token]) -> list[Signal]:
    """The voltages between pairs of nodes."""
    return [Voltage(a.text, b.text, a.start, b.start) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]


def _polynomial_formula(card: Card, signals: Sequence[Signal], coefficients: Sequence[Token]) -> Formula:
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


def _table_formula(card: Card, argument: Formula, pairs: Sequence[Token]) -> Formula:
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
