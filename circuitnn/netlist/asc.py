"""An LTspice schematic (.asc) -> the cards of its netlist, each character with its place in the schematic.

The cards are those that LTspice itself writes: `name node ... SpiceModel Value Value2 SpiceLine SpiceLine2`, with the
exceptions of the help pages "General Attribute Editor" and "Adding Attributes" (ltwiki.org/files/LTspiceHelp.chm).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from circuitnn.circuit import GROUND
from circuitnn.errors import CircuitnnError, NetlistError
from circuitnn.netlist.files import read_text
from circuitnn.netlist.lexer import Card, Deck, Line, cards
from circuitnn.netlist.schematic import Part, Schematic, Text, parse_schematic
from circuitnn.netlist.symbols import Point, Symbol, base_name, parse_symbol, place, standard_symbol
from circuitnn.netlist.wiring import Wiring

_VALUE = ("spicemodel", "value", "value2", "spiceline", "spiceline2")
# Kinds that are nothing without a value, and what one looks like.
_EXAMPLES = {"R": "4.7k", "C": "100n", "L": "500m", "E": "10", "G": "1m", "F": "V1 10", "H": "V1 10",
             "B": "V=2*v(in)", "S": "MYSW", "W": "V1 MYSW", "X": "TL072"}  # fmt: skip
# What a node name cannot hold: it would end the name, or the card.
_SEPARATORS = re.compile(r"[\s=(),{}'\";]")


def schematic_deck(lines: list[Line], folder: Path) -> Deck:
    """The netlist of a schematic. folder: where .asy files of its symbols may lie. Raises NetlistError."""
    drawing = parse_schematic(lines)
    if not drawing.parts:
        raise NetlistError(f"{lines[0].file}: the schematic has no parts")
    library = _Library(folder)
    placed = [_Placed(part, library.symbol(part)) for part in drawing.parts]
    nodes = _Nodes(drawing, placed)
    found = list(cards(drawing.directives))
    models = {card.text.split()[1].upper() for card in found if card.keyword == ".model" and len(card.text.split()) > 1}
    for one in placed:
        found += one.cards(nodes)
        # LTspice supplies an empty model for a symbol that nobody chose a part for.
        if one.symbol.model and one.symbol.model not in models and "value" not in one.part.attributes:
            models.add(one.symbol.model)
            found.append(_card([Text(f".model {one.symbol.model} {one.symbol.model}", *one.here)]))
    # LTspice ends its netlists with this card; the reader knows by it whose dialect it reads.
    found.append(_card([Text(".backanno", lines[0], 0)]))
    return Deck(lines[0].file, Path(lines[0].file).stem, found, nodes.doubts)


@dataclass
class _Library:
    """Symbols by the name that a schematic calls them: a .asy file beside the schematic first, as LTspice does."""

    folder: Path
    files: dict[str, Symbol | None] = field(default_factory=dict)

    def symbol(self, part: Part) -> Symbol:
        """Raises NetlistError for one that is not known."""
        name, key = part.symbol.text, base_name(part.symbol.text).lower()
        if key not in self.files:
            self.files[key] = self._read(part, key)
        found = self.files[key] or standard_symbol(name)
        if found is not None:
            return found
        if self._beside(f"{key}.asc"):
            message = f"{part.name} is a sheet of a hierarchical schematic, which is not supported"
            raise part.error(message, "export the netlist in LTspice (View > SPICE Netlist) and read that")
        hint = f"put its file, {base_name(name)}.asy, into the folder of the schematic"
        raise part.error(f"the symbol {name} of {part.name} is not known", hint)

    def _read(self, part: Part, key: str) -> Symbol | None:
        for path in self._beside(f"{key}.asy"):
            try:
                return parse_symbol(read_text(path, str(path)))
            except CircuitnnError as error:
                raise part.error(f"{path.name}: {error.message}", error.hint) from None
        return None

    def _beside(self, file_name: str) -> list[Path]:
        """The files of that name, in any case, in the folder of the schematic; no links out of it."""
        try:
            files = [path for path in self.folder.iterdir() if path.name.lower() == file_name]
            return [path for path in files if path.resolve().is_relative_to(self.folder.resolve())]
        except OSError:
            return []


class _Placed:
    """A part with its symbol. pins: where they lie on the sheet, in the order of the netlist."""

    def __init__(self, part: Part, symbol: Symbol) -> None:
        self.part = part
        self.symbol = symbol
        self.pins = [place(pin, part.origin, part.orientation) for _, pin in symbol.pins]
        self.here = (part.symbol.line, part.symbol.at)

    def attribute(self, name: str) -> Text | None:
        """An attribute of the part, or else of its symbol; None if it is empty."""
        default = Text(self.symbol.attributes[name], *self.here) if name in self.symbol.attributes else None
        given = self.part.attributes.get(name, default)
        return given if given and given.text != '""' else None

    def cards(self, nodes: _Nodes) -> list[Card]:
        """The element card, and the .lib card that the symbol asks for. Raises NetlistError."""
        if not self.symbol.prefix:
            return []
        name, prefix = self.part.attributes.get("instname"), self.part.attributes.get("prefix")
        if name is None or len(name.text.split()) != 1:
            raise self.part.error("a part without a name", "give it a reference designator, such as R1")
        letter = (prefix.text if prefix else self.symbol.prefix)[0].upper()
        model, value, value2, *rest = (self.attribute(key) for key in _VALUE)
        library = self.attribute("modelfile")
        if letter == "X" and model and value and value2 and not library:
            # The symbol of a subcircuit that brings its library along: the name that people see is not netlisted.
            library, given = model, [value2]
        else:
            given = [text for text in (model, value, value2, *rest) if text]
        if not given and letter in _EXAMPLES:
            hint = f"right-click it in LTspice and enter one, such as {_EXAMPLES[letter]}"
            raise self.part.error(f"{name.text} has no value", hint)
        own = name.text[0].upper() == letter
        full = name.text if own else f"{letter}{'' if letter == 'X' else '§'}{name.text}"
        at_nodes = [Text(nodes.name(spot), *self.here) for spot in self.pins]
        found = [_card([Text(full, name.line, name.at), *at_nodes, *given])]
        if library:
            found.append(_card([Text(f'.lib "{library.text}"', library.line, library.at)]))
        return found


class _Nodes:
    """The nodes of a schematic and their names. doubts: what is drawn but perhaps not meant, in words."""

    def __init__(self, drawing: Schematic, placed: list[_Placed]) -> None:
        self.doubts: list[str] = []
        # A pin that stands twice in the netlist (the bulk of a MOSFET) is drawn once.
        pins = [spot for one in placed for spot in set(one.pins)]
        try:
            self._wiring = Wiring(drawing.wires, [*pins, *(spot for spot, _ in drawing.labels)])
        except CircuitnnError as error:
            raise placed[0].part.error(error.message, error.hint) from None
        for one in placed:
            if not one.symbol.prefix:
                self._wiring.join(one.pins[0], one.pins[1])
        for one in placed:
            self._check(one)
        if loose := sorted(self._wiring.loose_ends):
            self.doubts.append(f"wires end at {', '.join(map(str, loose[:5]))}, where nothing is")
        self._names = self._labelled(drawing)
        self._number([*pins, *(spot for wire in drawing.wires for spot in wire)])

    def name(self, spot: Point) -> str:
        """The node at a point."""
        return self._names[self._wiring.find(spot)]

    def _check(self, one: _Placed) -> None:
        """Note pins that touch nothing; raise NetlistError if the places of assumed pins look wrong."""
        touching_nothing = ", ".join(
            name for (name, _), spot in zip(one.symbol.pins, one.pins, strict=True) if self._wiring.alone(spot)
        )
        if one.symbol.assumed:
            (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*one.pins, strict=True))
            ends = [(x, y) for x, y in self._wiring.loose_ends if left <= x <= right and top <= y <= bottom]
            if touching_nothing or ends:
                name = base_name(one.part.symbol.text)
                what = f"{touching_nothing} would touch nothing" if touching_nothing else f"a wire ends at {ends[0]}"
                message = f"{one.part.name} ({name}) does not have the five pins usual for an op-amp: {what}"
                raise one.part.error(message, f"put its symbol, {name}.asy, into the folder of the schematic")
        elif touching_nothing:
            self.doubts.append(f"{one.part.name}: pin {touching_nothing} touches nothing")

    def _labelled(self, drawing: Schematic) -> dict[Point, str]:
        """The names of the nodes that have labels: ground, else the first label in the file."""
        first: dict[str, Point] = {}
        written: dict[str, str] = {}
        for spot, label in drawing.labels:
            name = _SEPARATORS.sub("_", label.text)
            key = GROUND if name.lower() == "gnd" else name.lower()
            # Labels that are alike are one node wherever they stand.
            self._wiring.join(first.setdefault(key, spot), spot)
            written.setdefault(key, GROUND if key == GROUND else name)
        names: dict[Point, list[str]] = {}
        for key, spot in first.items():
            names.setdefault(self._wiring.find(spot), []).append(written[key])
        found = {root: GROUND if GROUND in alike else alike[0] for root, alike in names.items()}
        self.doubts += [
            f"the labels {', '.join(alike)} are on one node, which is called {found[root]}"
            for root, alike in names.items()
            if len(alike) > 1
        ]
        return found

    def _number(self, spots: list[Point]) -> None:
        """Name all other nodes: N001, ... from top to bottom, and NC_01, ... where a pin touches nothing."""
        taken = {name.lower() for name in self._names.values()}
        counts = {"N": count(1), "NC": count(1)}
        for spot in sorted(spots, key=lambda spot: (spot[1], spot[0])):
            root = self._wiring.find(spot)
            if root not in self._names:
                alone = self._wiring.alone(spot)
                names = (f"NC_{k:02d}" if alone else f"N{k:03d}" for k in counts["NC" if alone else "N"])
                self._names[root] = next(name for name in names if name.lower() not in taken)


def _card(words: list[Text]) -> Card:
    """A card of words from different places of the file."""
    text, pieces = "", []
    for word in words:
        text += " " if text else ""
        pieces.append((len(text), word.line, word.at))
        text += word.text
    return Card(text, tuple(pieces))
