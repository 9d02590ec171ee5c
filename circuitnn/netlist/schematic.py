"""The records of an LTspice schematic (.asc): what is drawn, each piece with its place in the file.

Facts on the format: Analog Devices, "LTspice Schematic Design and Modification Guide" (github.com/analogdevicesinc/
ltspice-reference), and KiCad's description of what its importer reads (dev-docs.kicad.org, import formats, LTspice).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from circuitnn.errors import CircuitnnError, NetlistError
from circuitnn.netlist.lexer import Line
from circuitnn.netlist.symbols import Point, point
from circuitnn.netlist.wiring import Wire

MAX_RECORDS = 20_000
_ORIENTATION = re.compile("[RM](0|90|180|270)")
_IGNORED = frozenset(("version", "sheet", "window", "line", "rectangle", "circle", "arc", "iopin", "dataflag", "image"))
_WORD = re.compile(r"\S+")
# "\n" in a text starts a line, unless the backslash is itself escaped, as in a Windows path.
_NEW_LINE = re.compile(r"(?<!\\)(?:\\\\)*(\\n)")


@dataclass(frozen=True)
class Text:
    """Some text of the file and where it begins in its line."""

    text: str
    line: Line
    at: int


@dataclass
class Part:
    """A SYMBOL. attributes: its SYMATTRs by lower-case name."""

    symbol: Text
    origin: Point
    orientation: str
    attributes: dict[str, Text] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The reference designator, or the name of the symbol while there is none."""
        return self.attributes.get("instname", self.symbol).text

    def error(self, message: str, hint: str | None = None) -> NetlistError:
        """An error that points at the SYMBOL."""
        return NetlistError(message, self.symbol.line.location(self.symbol.at), hint)


@dataclass
class Schematic:
    """directives: the lines of `!` texts, and the *@ lines of comments, in file order."""

    wires: list[Wire] = field(default_factory=list)
    labels: list[tuple[Point, Text]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    directives: list[Line] = field(default_factory=list)


def parse_schematic(lines: list[Line]) -> Schematic:
    """Sort the records of a .asc file. Raises NetlistError."""
    if not re.match(r"\s*version\s", lines[0].text, re.IGNORECASE):
        hint = "an LTspice schematic begins with: Version 4"
        raise NetlistError("this is no LTspice schematic", lines[0].location(0), hint)
    found = Schematic()
    if len(lines) > MAX_RECORDS:
        raise NetlistError(f"{lines[0].file}: a schematic of more than {MAX_RECORDS} lines")
    for line in lines:
        words = [Text(match[0], line, match.start()) for match in _WORD.finditer(line.text)]
        if words:
            try:
                _record(found, words[0].text.lower(), words, line)
            except NetlistError:
                raise
            except CircuitnnError as error:
                hint = error.hint or "save the schematic again in LTspice"
                raise NetlistError(error.message, line.location(words[0].at), hint) from None
    return found


def _record(found: Schematic, keyword: str, words: list[Text], line: Line) -> None:
    rest = [word.text for word in words[1:]]
    match keyword:
        case "wire":
            found.wires.append((point(rest), point(rest[2:])))
        case "flag":
            if len(words) < 4:
                raise CircuitnnError("a FLAG without a name")
            found.labels.append((point(rest), _tail(words[3])))
        case "symbol":
            # The name of a symbol may hold blanks; place and orientation come last.
            if len(words) < 5 or not _ORIENTATION.fullmatch(rest[-1].upper()):
                raise CircuitnnError("expected SYMBOL name x y orientation")
            name = Text(line.text[words[1].at : words[-3].at].rstrip(), line, words[1].at)
            found.parts.append(Part(name, point(rest[-3:-1]), rest[-1].upper()))
        case "symattr":
            if not found.parts or len(words) < 2:
                raise CircuitnnError("a SYMATTR without a SYMBOL")
            if len(words) > 2:
                found.parts[-1].attributes[rest[0].lower()] = _tail(words[2])
        case "text":
            if len(words) > 5:
                found.directives += _directives(_tail(words[5]))
        case "bustap":
            raise CircuitnnError("buses are not supported", "label the wires one by one")
        case _ if keyword not in _IGNORED:
            raise CircuitnnError(f"unknown record {words[0].text!r}")


def _tail(first: Text) -> Text:
    """The rest of the line from a word on."""
    return Text(first.line.text[first.at :].rstrip(), first.line, first.at)


def _directives(text: Text) -> Iterator[Line]:
    """The lines of a TEXT that mean something, each at its place in the line of the file."""
    kind, at = text.text[:1], text.at + 1
    if kind not in ("!", ";"):
        return
    for part in _split(text.text[1:]):
        if kind == "!" or part.lstrip().startswith("*@"):
            yield Line(text.line.file, text.line.number, " " * at + part)
        at += len(part) + len("\\n")


def _split(text: str) -> Iterator[str]:
    start = 0
    for match in _NEW_LINE.finditer(text):
        yield text[start : match.start(1)]
        start = match.end(1)
    yield text[start:]
