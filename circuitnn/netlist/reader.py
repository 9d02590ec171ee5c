"""Text -> Circuit: sorts the cards into blocks, follows includes, then expands, then reads the *@ cards."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

from circuitnn.circuit import Circuit, symbol
from circuitnn.errors import CircuitnnError, NetlistError
from circuitnn.netlist.definitions import assignments, function, in_order
from circuitnn.netlist.directives import Directives
from circuitnn.netlist.files import Files, read_text, section
from circuitnn.netlist.formulas import closest, fold
from circuitnn.netlist.lexer import Card, Line, cards, physical_lines, tokens
from circuitnn.netlist.subcircuits import Block, Expansion, node_name, subcircuit_header
from circuitnn.netlist.terms import Term, number
from circuitnn.units import parse_value

MAX_CARDS = 100_000
ZERO_CELSIUS = Decimal("273.15")
# Cards that are left out, and what a note calls them.
_SKIPPED = {
    **dict.fromkeys((".tran", ".ac", ".dc", ".op", ".tf", ".noise", ".four", ".fourier", ".sens", ".pz", ".disto",
                     ".sp", ".pss", ".step", ".mc"), "analyses"),
    **dict.fromkeys((".print", ".plot", ".probe", ".save", ".meas", ".measure", ".width", ".backanno"), "outputs"),
    **dict.fromkeys((".nodeset", ".ic"), "initial values"),
    **dict.fromkeys((".title",), "titles after the first line"),
    **dict.fromkeys((".options", ".option", ".opt"), "simulator options"),
    **dict.fromkeys((".control",), "control blocks"),
}  # fmt: skip
_READ = (".param", ".func", ".model", ".subckt", ".ends", ".include", ".inc", ".lib", ".temp", ".global", ".end")


def read_netlist(path: str | Path) -> Circuit:
    """Read a SPICE netlist file, with the files that it includes from its own folder tree.

    Raises NetlistError with file, line and column.
    """
    path = Path(path)
    files = Files(path.parent)
    text = read_text(path, str(path))
    files.chain.append((path.resolve(), path.name))
    files.total = len(text)
    return _Reader(files).circuit(physical_lines(text, str(path)), path)


def parse_netlist(text: str, name: str = "<netlist>") -> Circuit:
    """Read a netlist given as text; it cannot include files. name: what errors call it. Raises NetlistError."""
    if "\0" in text:
        raise NetlistError(f"{name}: not a netlist: it holds NUL characters")
    return _Reader(Files(None)).circuit(physical_lines(text, name), None)


class _Reader:
    def __init__(self, files: Files) -> None:
        self.files = files
        self.top = Block()
        self.stack = [self.top]
        self.control: Card | None = None
        self.temperature = Decimal(27)
        self.global_nodes: set[str] = set()
        self.directives = Directives()
        self.notes: dict[str, None] = {}
        self.skipped: set[str] = set()
        self.count = 0

    def circuit(self, lines: list[Line], path: Path | None) -> Circuit:
        first = lines[0]
        # Leading stars make the title a comment for people; they are no part of it.
        title = re.sub(r"^[\s*]+", "", first.text).rstrip()
        if first.text.lstrip().startswith(("*@", ".")):
            self.notes[f"{first.file} line 1: the first line is always the title, so it was not read as a card"] = None
        self.read(list(cards(lines[1:])))
        header = self.stack[-1].header
        if header is not None:
            raise header.error(".subckt without .ends", 0, "close the subcircuit with .ends")
        if self.control is not None:
            raise self.control.error(".control without .endc", 0, "close the block with .endc")
        if not self.top.elements:
            raise NetlistError(
                f"{first.file}: expected element cards after the title line, found none",
                hint="the first line is the title; elements look like: R1 in out 4.7k",
            )
        order = in_order(self.top.parameters, self.top.functions)
        celsius = Term(number(float(self.temperature)))
        names = {"temper": celsius, "temp": celsius}
        names |= {definition.name: Term(symbol(definition.name)) for definition in order}
        parameters = {d.name: fold(d.formula, names, self.top.functions).expression for d in order}
        expansion = Expansion(self.top, frozenset(self.global_nodes), names, self.notes)
        bare = Circuit(
            title, tuple(expansion.elements.values()), expansion.models, parameters,
            temperature=float(self.temperature + ZERO_CELSIUS), path=path,
        )  # fmt: skip
        return self.directives.apply(bare, self.notes)

    def read(self, content: list[Card]) -> None:
        for card in content:
            self.count += 1
            if self.count > MAX_CARDS:
                raise card.error(f"the netlist has more than {MAX_CARDS} cards")
            if self.control is not None:
                if card.keyword == ".endc":
                    self.control = None
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
        if card.keyword == ".control":
            self.control = card
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
        words = tokens(card, len(card.keyword))
        # A path may hold what are separators elsewhere, so without quotes it reaches to the next blank.
        quoted = bool(words) and words[0].kind in ("string", "expression")
        rest = card.text[len(card.keyword) :].split()
        if not rest:
            raise card.error("expected a file name", len(card.text), f'{card.keyword} "models.lib"')
        at = words[0].start
        name = words[0].text if quoted else rest[0]
        after = card.text[at + len(name) :].lstrip("'\"").split()
        if len(after) > (1 if card.keyword == ".lib" else 0):
            raise card.error(f"unexpected {after[-1]!r} after the file name", card.text.rindex(after[-1]))
        content = self.files.open(card, name, at)
        if after:
            content = section(content, after[0], card, card.text.rindex(after[0]))
        self.read(content)
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
