"""Text -> Circuit: sorts the cards into blocks, follows includes, then expands, then reads the *@ cards."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from pathlib import Path

from circuitnn.circuit import Circuit, symbol
from circuitnn.errors import CircuitnnError, NetlistError
from circuitnn.netlist.asc import schematic_deck
from circuitnn.netlist.blocks import Block, node_name, subcircuit_header
from circuitnn.netlist.definitions import Definition, assignments, function, in_order, value_formula
from circuitnn.netlist.directives import Directives
from circuitnn.netlist.files import Files, asked_for, read_text, section
from circuitnn.netlist.formulas import closest, fold
from circuitnn.netlist.lexer import Card, Deck, Line, cards, physical_lines, tokens
from circuitnn.netlist.ltspice import is_ltspice_library, stand_in
from circuitnn.netlist.part_library import aliases, library_files
from circuitnn.netlist.subcircuits import Expansion
from circuitnn.netlist.terms import Term, number
from circuitnn.units import parse_value

MAX_CARDS = 100_000
ZERO_CELSIUS = Decimal("273.15")
# Cards that are left out, and what a note calls them.
_SKIPPED = {
    **dict.fromkeys((".tran", ".ac", ".dc", ".op", ".tf", ".noise", ".four", ".fourier", ".sens", ".pz", ".disto",
                     ".sp", ".pss", ".step", ".mc", ".fra"), "analyses"),
    **dict.fromkeys((".print", ".plot", ".probe", ".save", ".meas", ".measure", ".width", ".net", ".wave"), "outputs"),
    **dict.fromkeys((".nodeset", ".ic", ".loadbias", ".savebias"), "initial values"),
    **dict.fromkeys((".text", ".ferret"), "cards for LTspice"),
    **dict.fromkeys((".title",), "titles after the first line"),
    **dict.fromkeys((".options", ".option", ".opt"), "simulator options"),
    **dict.fromkeys((".control",), "control blocks"),
    **dict.fromkeys((".machine",), "state machines"),
}  # fmt: skip
# Cards that open a block to be left out, and what closes it.
_BLOCKS = {".control": ".endc", ".machine": ".endmachine"}
_STEP = re.compile(r"\.step\s+(?:(?:oct|dec|lin)\s+)?param\s+([a-z_]\w*)\s+(?:list\s+)?(\S+)", re.IGNORECASE)
_READ = (
    ".param",
    ".backanno",
    ".func",
    ".model",
    ".subckt",
    ".ends",
    ".include",
    ".inc",
    ".lib",
    ".temp",
    ".global",
    ".end",
)


def read_netlist(path: str | Path) -> Circuit:
    """Read a SPICE netlist file or an LTspice schematic (.asc), with the files that it includes from its folder tree.

    Raises NetlistError with file, line and column.
    """
    path = Path(path)
    files = Files(path.parent)
    text = read_text(path, str(path))
    files.chain.append((path.resolve(), path.name))
    files.total = len(text)
    lines = physical_lines(text, str(path))
    deck = schematic_deck(lines, path.parent) if path.suffix.lower() == ".asc" else _deck(lines)
    return _Reader(files).circuit(deck, path)


def parse_netlist(text: str, name: str = "<netlist>") -> Circuit:
    """Read a netlist given as text; it cannot include files. name: what errors call it. Raises NetlistError."""
    if "\0" in text:
        raise NetlistError(f"{name}: not a netlist: it holds NUL characters")
    return _Reader(Files(None)).circuit(_deck(physical_lines(text, name)), None)


def _deck(lines: list[Line]) -> Deck:
    """The cards of a netlist. Raises NetlistError."""
    first = lines[0]
    if first.text.lower().startswith(".title "):
        # The first line of what KiCad exports.
        return Deck(first.file, first.text.split(None, 1)[1].strip(), list(cards(lines[1:])))
    doubts = []
    if first.text.lstrip().startswith(("*@", ".")):
        doubts.append("line 1: the first line is always the title, so it was not read as a card")
    # Leading stars make the title a comment for people; they are no part of it.
    return Deck(first.file, re.sub(r"^[\s*]+", "", first.text).rstrip(), list(cards(lines[1:])), doubts)


class _Reader:
    def __init__(self, files: Files) -> None:
        self.files = files
        self.top = Block()
        self.stack = [self.top]
        self.left_out: Card | None = None
        self.ltspice = False
        self.libraries: set[str] = set()
        self.steps: list[Card] = []
        self.temperature = Decimal(27)
        self.global_nodes: set[str] = set()
        self.directives = Directives()
        self.notes: dict[str, None] = {}
        self.skipped: set[str] = set()
        self.count = 0

    def circuit(self, deck: Deck, path: Path | None) -> Circuit:
        self.notes.update({f"{deck.file} {doubt}": None for doubt in deck.doubts})
        self.read(deck.cards)
        header = self.stack[-1].header
        if header is not None:
            raise header.error(".subckt without .ends", 0, "close the subcircuit with .ends")
        if self.left_out is not None:
            opening, closing = self.left_out.keyword, _BLOCKS[self.left_out.keyword]
            raise self.left_out.error(f"{opening} without {closing}", 0, f"close the block with {closing}")
        if not self.top.elements:
            raise NetlistError(
                f"{deck.file}: expected element cards after the title line, found none",
                hint="the first line is the title; elements look like: R1 in out 4.7k",
            )
        self.take_steps()
        order = in_order(self.top.parameters, self.top.functions)
        celsius = Term(number(float(self.temperature)))
        names = {"temper": celsius, "temp": celsius}
        names |= {definition.name: Term(symbol(definition.name)) for definition in order}
        parameters = {d.name: fold(d.formula, names, self.top.functions).expression for d in order}
        expansion = Expansion(self.top, frozenset(self.global_nodes), names, self.notes, part_library)
        bare = Circuit(
            deck.title, tuple(expansion.elements.values()), expansion.models, parameters,
            temperature=float(self.temperature + ZERO_CELSIUS), path=path,
        )  # fmt: skip
        if self.ltspice and any(element.kind == "L" for element in bare.elements):
            note = "LTspice has 1 mohm in series with an inductor without Rser= that is not coupled; here it has none"
            self.notes[f"{deck.file}: {note}"] = None
        return self.directives.apply(bare, self.notes)

    def take_steps(self) -> None:
        """Give .params that only a .step card defines the first value of their sweep, as LTspice does."""
        for card in self.steps:
            match = _STEP.match(card.text)
            if match and match[1].lower() not in self.top.parameters:
                formula, _ = value_formula(card, match.start(2), match.end(2))
                self.top.parameters[match[1].lower()] = Definition(match[1].lower(), formula, match.start(1))
                self.doubt(card, [f"{match[1]} has the first value of its .step, {match[2]}: add a .param {match[1]}"])

    def read(self, content: list[Card]) -> None:
        for card in content:
            self.count += 1
            if self.count > MAX_CARDS:
                raise card.error(f"the netlist has more than {MAX_CARDS} cards")
            if self.left_out is not None:
                if card.keyword == _BLOCKS[self.left_out.keyword]:
                    self.left_out = None
            elif card.text.startswith("*@"):
                self.directive(card)
            elif card.keyword == ".end":
                return
            elif card.text.startswith("."):
                self.dot_card(card)
            else:
                self.stack[-1].elements.append(card)

    def directive(self, card: Card) -> None:
        if len(self.stack) > 1:
            hint = "move it to the top level and use flat names there, such as R.X1.R4"
            raise card.error("*@ cards cannot stand inside a .subckt", 0, hint)
        self.directives.read(card)

    def dot_card(self, card: Card) -> None:
        block, start = self.stack[-1], len(card.keyword)
        match card.keyword:
            case ".param":
                definitions, doubts = assignments(card, start)
                self.doubt(card, doubts)
                for definition in definitions:
                    if definition.name in block.parameters:
                        first = block.parameters[definition.name].formula.card.place
                        raise card.error(f"{definition.name} is defined twice, first at {first}", definition.at)
                    block.parameters[definition.name] = definition
            case ".func":
                name, body = function(card, start)
                if name in block.functions:
                    raise card.error(f".func {name} is defined twice", start + 1)
                block.functions[name] = body
            case ".model":
                self.model(card, block)
            case ".subckt":
                inner, doubts = subcircuit_header(card)
                self.doubt(card, doubts)
                if inner.name in block.blocks:
                    raise card.error(f"subcircuit {inner.name} is defined twice", start + 1)
                block.blocks[inner.name] = inner
                self.stack.append(inner)
            case ".ends":
                self.end_subcircuit(card)
            case ".include" | ".inc" | ".lib":
                self.include(card)
            case ".temp":
                self.set_temperature(card, start)
            case ".options" | ".option" | ".opt" if self.options(card):
                pass
            case ".global":
                self.global_nodes.update(node_name(token.text) for token in tokens(card, start))
            case ".backanno":
                self.ltspice = True
            case keyword if keyword in _SKIPPED:
                self.skip(card)
            case keyword:
                hint = closest(keyword, [*_READ, *_SKIPPED])
                raise card.error(
                    f"unknown card {card.text.split()[0]!r}", 0, hint or "remove it, or make it a comment with *"
                )

    def doubt(self, card: Card, doubts: list[str]) -> None:
        self.notes.update({f"{card.place}: {text}": None for text in doubts})

    def skip(self, card: Card) -> None:
        """Note the first card of each kind that is left out."""
        if card.keyword in _BLOCKS:
            self.left_out = card
        if card.keyword == ".step":
            self.steps.append(card)
        if card.keyword not in self.skipped:
            self.skipped.add(card.keyword)
            what = _SKIPPED[card.keyword]
            self.notes[f"{card.place}: {card.keyword} skipped: {what} are not part of the circuit"] = None

    def model(self, card: Card, block: Block) -> None:
        words = [token for token in tokens(card, len(card.keyword)) if token.kind not in "(),"]
        if len(words) < 2 or words[0].kind != "word" or words[1].kind != "word":
            raise card.error("expected .model NAME TYPE(...)", len(card.text), ".model D1N4148 D(IS=2.5n N=1.75)")
        name = words[0].text.upper()
        if name in block.models:
            # ngspice keeps the first one; libraries do repeat models.
            self.doubt(card, [f".model {name} is defined twice: the first one, at {block.models[name].place}, counts"])
        block.models.setdefault(name, card)

    def end_subcircuit(self, card: Card) -> None:
        if len(self.stack) == 1:
            raise card.error(".ends without .subckt")
        closed, words = self.stack.pop(), card.text.split()
        if len(words) > 1 and words[1].upper() != closed.name:
            raise card.error(f"expected .ends {closed.name}, found .ends {words[1]}", card.text.index(words[1], 5))

    def include(self, card: Card) -> None:
        name, at, part = asked_for(card)
        if card.keyword == ".lib" and part is None:
            if name.lower() in self.libraries:
                return
            self.libraries.add(name.lower())
        if is_ltspice_library(name) and not self.files.has(name):
            instead = stand_in(name)
            what = "a stand-in is read" if instead else "parts from it that are not known must be added"
            self.doubt(card, [f"{name} is a library of LTspice and not here: {what}"])
            # Several libraries may have the same stand-in.
            if instead not in self.libraries:
                self.libraries.add(instead)
                self.read(list(cards(physical_lines(instead, f"the stand-in for {name}"))))
            return
        content = self.files.open(card, name, at)
        self.read(section(content, part, card, card.text.rindex(part)) if part else content)
        self.files.close()

    def set_temperature(self, card: Card, start: int) -> None:
        text = card.text[start:].strip().strip("{}'=").strip()
        at = start + len(card.text[start:]) - len(card.text[start:].lstrip())
        try:
            celsius = Decimal(repr(parse_value(text)))
        except CircuitnnError as error:
            raise card.error(f"expected one temperature in Celsius: {error.message}", at, ".temp 27") from None
        if celsius <= -ZERO_CELSIUS:
            raise card.error("a temperature below absolute zero", at)
        self.temperature = celsius

    def options(self, card: Card) -> bool:
        """Read temp= from an .options card; true if the card holds nothing else."""
        words = [token.text.lower() for token in tokens(card)]
        if "temp" not in words or words.index("temp") + 2 >= len(words):
            return False
        token = tokens(card)[words.index("temp") + 2]
        self.set_temperature(Card(card.text[: token.start + len(token.text)], card.pieces), token.start)
        return len(words) == 4


@cache
def part_library() -> Block:
    """The models and subcircuits of all parts that come with the package, under every name that a part has."""
    reader = _Reader(Files(None))
    for name, text in library_files().items():
        reader.read(list(cards(physical_lines(text, f"{name} of the part library"))))
        for alias, part in aliases(text).items():
            if part in reader.top.models:
                reader.top.models[alias] = reader.top.models[part]
            else:
                reader.top.blocks[alias] = reader.top.blocks[part]
    return reader.top
