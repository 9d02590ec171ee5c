"""What an element card says, and the reader that takes its tokens one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from circuitnn.errors import NetlistError
from circuitnn.netlist.expressions import Formula, parse_expression
from circuitnn.netlist.lexer import Card, Token, tokens

# How a number begins.
NUMERIC = tuple("+-.0123456789")


@dataclass
class Fields:
    """What an element card says, not yet looked up. A value of None is 0.

    branches: the elements that it senses or couples. parameters: those of a device itself, such as its area, and
    parasitics.PARASITICS. behaviour: the quantity ("current" or "voltage") that a behavioural source gives, and its
    formula. parallel: how many of the element stand side by side, m=.
    """

    nodes: list[Token]
    branches: list[Token] = field(default_factory=list)
    value: Token | None = None
    model: Token | None = None
    parameters: dict[str, Token] = field(default_factory=dict)
    behaviour: tuple[str, Formula] | None = None
    parallel: Formula | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One kind of element card."""

    name: str
    nodes: tuple[str, ...]
    read: Callable[[Reader, Fields], None]
    example: str


class Reader:
    """Takes the tokens of an element card one after the other."""

    def __init__(self, card: Card, row: Row, is_model: Callable[[str], bool]) -> None:
        self.card = card
        self.row = row
        self.is_model = is_model
        # ngspice takes parentheses and commas in element cards for blanks.
        self.rest = [token for token in tokens(card) if token.kind not in "(),"][1:]

    @property
    def here(self) -> Token | None:
        return self.rest[0] if self.rest else None

    @property
    def word(self) -> str:
        """The next token in lower case if it is a word, else ""."""
        return self.rest[0].text.lower() if self.rest and self.rest[0].kind == "word" else ""

    def at(self, index: int) -> Token | None:
        return self.rest[index] if index < len(self.rest) else None

    def assigns(self, index: int = 0) -> bool:
        """Whether `name =` comes next."""
        follower = self.at(index + 1)
        return follower is not None and follower.kind == "="

    def expected(self, what: str) -> NetlistError:
        hint = f"a {self.row.name} looks like: {self.row.example}"
        if self.here is None:
            return self.card.error(f"expected {what}, found the end of the card", len(self.card.text), hint)
        if self.word[:1].isdigit() and re.search(r"[0-9],$", self.card.text[: self.here.start]):
            hint = "if this is a decimal comma, write a point"
        return self.card.error(f"expected {what}, found {self.here.text!r}", self.here.start, hint)

    def node(self, what: str) -> Token:
        if not self.word or self.assigns():
            raise self.expected(f"the {what} node of the {self.row.name}")
        return self.rest.pop(0)

    def value(self, what: str = "a value") -> Token:
        if self.here is None or self.here.kind not in ("word", "expression") or self.assigns():
            raise self.expected(what)
        return self.rest.pop(0)

    def extras(self, fields: Fields, *flags: str, parameters: Collection[str] = ()) -> None:
        """Instance parameters: kept if they are among `parameters`, else noted. Anything else is an error."""
        while self.rest:
            if self.assigns():
                name = self.rest.pop(0)
                self.rest.pop(0)
                if (key := name.text.lower()) in fields.parameters or (key == "m" and fields.parallel):
                    raise self.card.error(f"{name.text} is given twice", name.start)
                if key in parameters:
                    fields.parameters[key] = self.value()
                    continue
                if key == "m":
                    value = self.value()
                    fields.parallel = parse_expression(self.card, value.start, value.start + len(value.text))
                    continue
                given = [self.value().text]
                while self.here and not self.assigns() and self.word.startswith(NUMERIC):
                    given.append(self.value().text)
                fields.notes.append(f"{name.text}={','.join(given)} ignored")
            elif self.word == "noiseless":
                # LTspice: the element makes no noise in a noise analysis.
                self.rest.pop(0)
            elif self.word in flags:
                fields.notes.append(f"{self.rest.pop(0).text} ignored")
            else:
                raise self.expected("the end of the card")
