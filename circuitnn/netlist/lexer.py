"""Physical lines -> logical cards -> tokens. Every character keeps the place in the file that it came from."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from circuitnn.errors import Location, NetlistError

MAX_LINE = 100_000


@dataclass(frozen=True)
class Line:
    """One physical line. number counts from 1."""

    file: str
    number: int
    text: str

    def location(self, index: int) -> Location:
        """The place of the character text[index]."""
        return Location(self.file, self.number, index + 1, self.text)


@dataclass(frozen=True)
class Token:
    """A piece of a card. kind: "word", "expression" ({..} or '..', text without the delimiters), "string" (".."),
    or one of = ( ) ,. start: where text begins in the card."""

    kind: str
    text: str
    start: int


@dataclass(frozen=True)
class Card:
    """A logical line: a physical line with its continuations, comments taken off.

    pieces: (start in text, line, index in that line) of each physical line's part.
    """

    text: str
    pieces: tuple[tuple[int, Line, int], ...]

    def location(self, index: int = 0) -> Location:
        """The place in the file of the character text[index]."""
        piece = bisect_right(self.pieces, index, key=lambda entry: entry[0]) - 1
        start, line, first = self.pieces[max(piece, 0)]
        return line.location(min(first + index - start, len(line.text)))

    def error(self, message: str, index: int = 0, hint: str | None = None) -> NetlistError:
        """An error that points at the character text[index]."""
        return NetlistError(message, self.location(index), hint)

    @property
    def keyword(self) -> str:
        """The first word, lower case."""
        return self.text.split(None, 1)[0].lower()

    @property
    def place(self) -> str:
        """The place in words, for notes."""
        return f"{self.pieces[0][1].file} line {self.pieces[0][1].number}"


@dataclass(frozen=True)
class Deck:
    """A whole netlist. file: what errors call it; doubts: what a reader should be told, in words."""

    file: str
    title: str
    cards: list[Card]
    doubts: list[str] = field(default_factory=list)


def physical_lines(text: str, file: str) -> list[Line]:
    """The lines of a text with any of the usual line ends."""
    lines = [Line(file, number, line) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)]
    for line in lines:
        if len(line.text) > MAX_LINE:
            raise NetlistError(f"{file}:{line.number}: a line of more than {MAX_LINE} characters is no netlist line")
    return lines


def cards(lines: Iterable[Line]) -> Iterator[Card]:
    """Join continuation lines and drop comments and blank lines. `*@` cards are kept. Raises NetlistError."""
    pending: list[tuple[Line, int, str]] = []
    # A *@ card between a card and its continuation is a comment to ngspice, so it does not end the card.
    held: list[Card] = []
    for line in lines:
        body = _without_comment(line.text)
        stripped = body.lstrip()
        indent = len(body) - len(stripped)
        if stripped.startswith("*@"):
            held.append(_join([(line, indent, stripped.rstrip())]))
        elif stripped.startswith("+"):
            if not pending:
                raise NetlistError(
                    "expected a card before the continuation",
                    line.location(indent),
                    "a line that begins with + continues the line before it",
                )
            pending.append((line, indent + 1, stripped[1:].rstrip()))
        elif stripped and not stripped.startswith("*"):
            if pending:
                yield _join(pending)
            yield from held
            held = []
            pending = [(line, indent, stripped.rstrip())]
    if pending:
        yield _join(pending)
    yield from held


def _join(parts: list[tuple[Line, int, str]]) -> Card:
    pieces, length = [], 0
    for line, first, part in parts:
        pieces.append((length, line, first))
        length += len(part) + 1
        if length > MAX_LINE + 1:
            raise NetlistError(f"a card of more than {MAX_LINE} characters", parts[0][0].location(parts[0][1]))
    return Card(" ".join(part for _, _, part in parts), tuple(pieces))


def _without_comment(text: str) -> str:
    """The line up to `;`, or up to a `$` at the start of a word, outside quotes and braces."""
    if text.lstrip().startswith("*") and not text.lstrip().startswith("*@"):
        return text
    depth, quote = 0, ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "{}":
            depth += 1 if character == "{" else -1
        elif depth <= 0 and (
            character == ";"
            or (character == "$" and (index == 0 or text[index - 1].isspace() or text[index - 1] == ","))
        ):
            return text[:index]
    return text


_WORD = re.compile(r"[^\s=(),{}'\"]+")


def tokens(card: Card, start: int = 0) -> list[Token]:
    """The tokens of a card from text[start] on. Raises NetlistError for a quote or brace that is not closed."""
    found, text, index = [], card.text, start
    while index < len(text):
        character = text[index]
        if character.isspace():
            index += 1
        elif character in "=(),":
            found.append(Token(character, character, index))
            index += 1
        elif character in "{'\"":
            end = closing(card, index)
            found.append(Token("string" if character == '"' else "expression", text[index + 1 : end], index + 1))
            index = end + 1
        elif match := _WORD.match(text, index):
            found.append(Token("word", match[0], index))
            index = match.end()
        else:
            raise card.error(f"unexpected {character!r}", index, "a closing brace needs an opening one before it")
    return found


def closing(card: Card, index: int) -> int:
    """Where the quote or brace at text[index] closes. Raises NetlistError."""
    opening, text = card.text[index], card.text
    if opening != "{":
        end = text.find(opening, index + 1)
    else:
        depth, end = 0, -1
        for position in range(index, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                end = position
                break
    if end < 0:
        expected = "}" if opening == "{" else opening
        raise card.error(f"expected a closing {expected}, found the end of the line", index)
    return end
