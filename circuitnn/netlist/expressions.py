"""Text -> formula tree, by precedence climbing. Nothing is computed here; formulas.py does that.

The grammar, loosest first: `c ? a : b`, `||`, `&&`, comparisons, `+ -`, `* /`, unary `+ - !`, `** ^` (from the
right), then numbers with SPICE suffixes, names, voltages `v(a)` and `v(a,b)`, currents `i(V1)`, calls and parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from circuitnn.circuit import GROUND
from circuitnn.errors import CircuitnnError
from circuitnn.netlist.lexer import Card
from circuitnn.units import read_value

MAX_LENGTH = 50_000
MAX_RECURSION = 200
MAX_DEPTH = 60


@dataclass(frozen=True)
class Number:
    """A literal number, as written."""

    value: float
    at: int
    depth: int = 1


@dataclass(frozen=True)
class Name:
    """A parameter, a constant or an argument of a .func; lower case."""

    name: str
    at: int
    depth: int = 1


@dataclass(frozen=True)
class Voltage:
    """v(plus) or v(plus,minus), as written; minus is "0" where it is left out. at, minus_at: where the nodes stand."""

    plus: str
    minus: str
    at: int
    minus_at: int
    depth: int = 1


@dataclass(frozen=True)
class Current:
    """i(element), as written. at: where the name of the element stands."""

    element: str
    at: int
    depth: int = 1


@dataclass(frozen=True)
class Apply:
    """A function or operator on its operands.

    "+" and "*" take any number of operands; "-" and "/" stand inside them and take one: a - b / c is
    +(a, -(*(b, /(c)))). at: where the function or operator stands.
    """

    function: str
    operands: tuple[Node, ...]
    at: int
    depth: int


Signal = Voltage | Current
Node = Number | Name | Signal | Apply


@dataclass(frozen=True)
class Formula:
    """A parsed expression and the card it stands in. Positions (`at`) count in the text of the card."""

    root: Node
    card: Card
    names: frozenset[str] = field(default=frozenset())
    calls: frozenset[str] = field(default=frozenset())
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Token:
    kind: str  # "number", "name", "end" or the operator itself
    text: str
    at: int


_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\w*)"
    # A node or an element may have any name, so v(...) and i(...) are one token.
    r"|(?P<voltage>[vV]\s*\(\s*[^\s,(){}]+\s*(?:,\s*[^\s,(){}]+\s*)?\))"
    r"|(?P<current>[iI]\s*\(\s*[^\s,(){}]+\s*\))"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<operator>\*\*|&&|\|\||[<>=!]=|[-+*/^<>!?:(){},])"
    r"|(?P<space>\s+)"
)
# PSpice takes braces for parentheses: limit{v(a), 0, 1} and 2*({gain} + 1).
_BRACES = {"{": "(", "}": ")"}
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_BINDING = {"?": 1, "||": 2, "&&": 3, **dict.fromkeys(_COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6, "**": 8, "^": 8}
_UNARY = 7


def parse_expression(card: Card, start: int, end: int) -> Formula:
    """Parse text[start:end] of a card. Raises NetlistError with the column at fault."""
    return _Parser(card, start, end).formula()


class _Parser:
    def __init__(self, card: Card, start: int, end: int) -> None:
        if end - start > MAX_LENGTH:
            raise card.error(f"an expression of more than {MAX_LENGTH} characters", start)
        self.card = card
        self.tokens = list(self._scan(start, end))
        self.index = 0
        self.level = 0
        self.names: set[str] = set()
        self.calls: set[str] = set()
        self.doubts: list[str] = []
        self.unsure_powers = False

    def formula(self) -> Formula:
        root = self.expression(0)
        if self.here.kind != "end":
            raise self.unexpected("an operator or the end of the expression")
        if self.unsure_powers and "pwrs" not in self.calls:
            self.doubts.append(
                "pwr(x, y) has the sign of x, as in ngspice; in LTspice and PSpice it has none: write abs(x)**y or pwrs"
            )
        return Formula(root, self.card, frozenset(self.names), frozenset(self.calls), tuple(self.doubts))

    def _scan(self, start: int, end: int) -> Iterator[_Token]:
        index = start
        while index < end:
            match = _TOKEN.match(self.card.text, index, end)
            if match is None:
                raise self.card.error(f"unexpected {self.card.text[index]!r} in an expression", index)
            kind = match.lastgroup or ""
            if kind != "space":
                yield _Token(_BRACES.get(match[0], match[0]) if kind == "operator" else kind, match[0], index)
            index = match.end()
        yield _Token("end", "the end of the expression", end)

    @property
    def here(self) -> _Token:
        return self.tokens[self.index]

    def take(self) -> _Token:
        self.index += 1
        return self.tokens[self.index - 1]

    def expect(self, kind: str) -> None:
        if self.here.kind != kind:
            raise self.unexpected(f"{kind!r}")
        self.take()

    def unexpected(self, expected: str) -> CircuitnnError:
        found = self.here.text if self.here.kind == "end" else repr(self.here.text)
        around = self.tokens[self.index - 1 : self.index + 2]
        comma = [token.kind for token in around] == ["number", ",", "number"]
        hint = "if this is a decimal comma, write a point" if comma else None
        return self.card.error(f"expected {expected}, found {found}", self.here.at, hint)

    def expression(self, minimum: int) -> Node:
        """Operands joined by operators that bind at least as tightly as minimum."""
        self.level += 1
        if self.level > MAX_RECURSION:
            raise self.card.error("this expression is nested too deeply", self.here.at, "split it into several .params")
        left = self.operand()
        while (binding := _BINDING.get(self.here.kind, -1)) >= minimum:
            operator = self.take()
            if operator.kind == "?":
                left = self.ternary(left, operator)
            elif operator.kind in ("+", "-", "*", "/"):
                left = self.chain(left, operator, binding)
            elif binding == _BINDING["**"]:
                # The exponent may have a sign, and powers group from the right.
                parenthesis, right = self.here.kind == "(", self.expression(_UNARY)
                if isinstance(right, Apply) and right.function == "**" and not parenthesis:
                    self.doubts.append("a**b**c is read as a**(b**c), but ngspice reads (a**b)**c: write parentheses")
                left = self.apply("**", (left, right), operator.at)
            else:
                left = self.apply(operator.kind, (left, self.expression(binding + 1)), operator.at)
        self.level -= 1
        return left

    def chain(self, left: Node, operator: _Token, binding: int) -> Node:
        """All further operands of a sum or product: one flat node, so that long sums do not nest deeply."""
        inverse = "-" if binding == _BINDING["+"] else "/"
        first, operands = operator.at, [left]
        while True:
            operand = self.expression(binding + 1)
            operands.append(self.apply(inverse, (operand,), operator.at) if operator.kind == inverse else operand)
            if _BINDING.get(self.here.kind) != binding:
                return self.apply("+" if inverse == "-" else "*", tuple(operands), first)
            operator = self.take()

    def ternary(self, condition: Node, operator: _Token) -> Node:
        then = self.expression(0)
        self.expect(":")
        return self.apply("?", (condition, then, self.expression(_BINDING["?"])), operator.at)

    def operand(self) -> Node:
        token = self.here
        match token.kind:
            case "number":
                return Number(self.number(self.take()), token.at)
            case "name":
                self.take()
                if self.here.kind == "(":
                    return self.call(token)
                self.names.add(token.text.lower())
                return Name(token.text.lower(), token.at)
            case "voltage":
                self.take()
                spans = [match.span() for match in re.finditer(r"[^\s,(){}]+", token.text)][1:]
                plus, minus = ([token.text[slice(*span)] for span in spans] + [GROUND])[:2]
                return Voltage(plus, minus, token.at + spans[0][0], token.at + spans[-1][0])
            case "current":
                self.take()
                start, end = next(re.finditer(r"[^\s(){}]+", token.text[1:])).span()
                return Current(token.text[1 + start : 1 + end], token.at + 1 + start)
            case "(":
                self.take()
                inner = self.expression(0)
                self.expect(")")
                return inner
            case "+":
                self.take()
                return self.expression(_UNARY)
            case "-" | "!":
                self.take()
                return self.apply(token.kind, (self.expression(_UNARY),), token.at)
        raise self.unexpected("a number, a name or '('")

    def call(self, name: _Token) -> Node:
        self.expect("(")
        operands: list[Node] = []
        while self.here.kind != ")":
            if operands:
                self.expect(",")
            operands.append(self.expression(0))
        self.take()
        self.calls.add(name.text.lower())
        self.unsure_powers |= name.text.lower() == "pwr" and bool(operands) and not _is_positive(operands[0])
        return self.apply(name.text.lower(), tuple(operands), name.at)

    def apply(self, function: str, operands: tuple[Node, ...], at: int) -> Apply:
        depth = 1 + max((operand.depth for operand in operands), default=0)
        if depth > MAX_DEPTH:
            raise self.card.error("this expression is nested too deeply", at, "split it into several .params")
        return Apply(function, operands, at, depth)

    def number(self, token: _Token) -> float:
        try:
            reading = read_value(token.text)
        except CircuitnnError as error:
            raise self.card.error(error.message, token.at, error.hint) from None
        if reading.value != reading.ngspice_value:
            self.doubts.append(doubt(token.text, reading.value, reading.ngspice_value))
        return reading.value


def _is_positive(node: Node) -> bool:
    """Whether a node is seen at once to be never negative."""
    match node:
        case Number():
            return True
        case Apply("abs" | "fabs" | "uramp" | "exp" | "sqrt" | "sqr" | "u"):
            return True
        case Apply("limit", (_, low, _)):
            return _is_positive(low)
        case Apply("max", operands):
            return any(map(_is_positive, operands))
        case Apply("+" | "*", operands):
            return all(map(_is_positive, operands))
        case Apply("/", (operand,)):
            return _is_positive(operand)
    return False


def doubt(text: str, value: float, ngspice_value: float) -> str:
    """What a note says about a number that ngspice reads otherwise."""
    return f"{text} is read as {value:g}, but ngspice reads {ngspice_value:g}: write {value:g} to be understood alike"
