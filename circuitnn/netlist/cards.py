"""Element cards: one row of data for each letter, and what each kind of card may hold after its nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from circuitnn.circuit import GROUND
from circuitnn.devices import FAMILIES
from circuitnn.errors import NetlistError
from circuitnn.netlist.definitions import assignments
from circuitnn.netlist.expressions import Current, Formula, parse_expression
from circuitnn.netlist.forms import MAX_DIMENSIONS, controls, polynomial, table
from circuitnn.netlist.formulas import closest
from circuitnn.netlist.lexer import Card, Token, tokens
from circuitnn.netlist.parasitics import PARASITICS

# Waveforms, and which of its numbers is the value at rest (none for noise and files).
_WAVEFORMS = {
    **dict.fromkeys(("sin", "sine", "pulse", "exp", "sffm"), 0), "pwl": 1,
    **dict.fromkeys(("am", "trnoise", "trrandom", "external", "wavefile"), None),
}  # fmt: skip
_NONLINEAR_FORMS = ("laplace", "freq", "vcvs", "vccs")
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
# Where a simulator is to begin its search for the operating point, on device cards.
_FLAGS = ("on", "off")
_NUMERIC = tuple("+-.0123456789")
_FOREIGN = {
    **dict.fromkeys("TOU", "transmission lines"),
    "Z": "MESFETs and IGBTs",
}


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
                while self.here and not self.assigns() and self.word.startswith(_NUMERIC):
                    given.append(self.value().text)
                fields.notes.append(f"{name.text}={','.join(given)} ignored")
            elif self.word == "noiseless":
                # LTspice: the element makes no noise in a noise analysis.
                self.rest.pop(0)
            elif self.word in flags:
                fields.notes.append(f"{self.rest.pop(0).text} ignored")
            else:
                raise self.expected("the end of the card")


def _passive(reader: Reader, fields: Fields) -> None:
    if reader.assigns() and reader.word == reader.card.text[0].lower():
        del reader.rest[:2]
    fields.value = reader.value()
    reader.extras(fields, parameters=PARASITICS.get(reader.card.text[0].upper(), ()))


def _coupling(reader: Reader, fields: Fields) -> None:
    while reader.word.startswith("l"):
        token = reader.rest.pop(0)
        if any(token.text.lower() == other.text.lower() for other in fields.branches):
            raise reader.card.error(f"{token.text} is named twice", token.start, "K couples different inductors")
        fields.branches.append(token)
    if len(fields.branches) < 2:
        raise reader.expected("the name of an inductor")
    fields.value = reader.value("the coefficient")
    reader.extras(fields)


def _source(reader: Reader, fields: Fields) -> None:
    while reader.here:
        if reader.word == "dc":
            del reader.rest[: 2 if reader.assigns() else 1]
            # KiCad writes DC even where it has no value for it.
            if not reader.assigns() and reader.word != "ac":
                fields.value = reader.value()
        elif reader.word == "ac":
            del reader.rest[: 2 if reader.assigns() else 1]
            # Magnitude and phase matter to an analysis, not to the circuit.
            for _ in range(2):
                if reader.here and (reader.here.kind == "expression" or reader.word.startswith(_NUMERIC)):
                    reader.value()
        elif reader.word in _WAVEFORMS:
            _waveform(reader, fields)
        elif fields.value is None and not reader.assigns():
            fields.value = reader.value()
        else:
            reader.extras(fields, parameters=PARASITICS.get(reader.card.text[0].upper(), ()))


def _waveform(reader: Reader, fields: Fields) -> None:
    """Leave out a waveform, but keep the value that it has at rest, unless the card also gives a DC value."""
    kind = reader.rest.pop(0).text.lower()
    numbers: list[Token] = []
    while reader.here and reader.word not in ("dc", "ac") and not (reader.assigns() and reader.word in PARASITICS["V"]):
        numbers.append(reader.rest.pop(0))
    note = f"{kind.upper()} waveform skipped: signals come from recordings"
    at_rest = _WAVEFORMS[kind]
    if fields.value is None and at_rest is not None and all(token.kind != "=" for token in numbers[: at_rest + 2]):
        fields.value = next(iter(numbers[at_rest:]), None)
        if fields.value and fields.value.text.strip("0.") != "":
            note += f"; its value at rest, {fields.value.text}, is kept"
    fields.notes.append(note)


def _controlled(reader: Reader, fields: Fields) -> None:
    if reader.word == "table" and reader.assigns():
        # LTspice's table of the controlling voltage.
        plus, minus = fields.nodes[2:]
        (control,) = controls([plus, minus])
        del fields.nodes[2:], reader.rest[:2]
        _points(reader, fields, Formula(control, reader.card))
        return
    fields.value = reader.value("the gain")
    reader.extras(fields)


def _current_controlled(reader: Reader, fields: Fields) -> None:
    if _is_polynomial(reader):
        _polynomial(reader, fields)
        return
    _sensed_source(reader, fields)
    _controlled(reader, fields)


def _sensed_source(reader: Reader, fields: Fields) -> None:
    if not reader.word or reader.assigns():
        raise reader.expected("the name of the source whose current counts")
    fields.branches.append(reader.rest.pop(0))


def _is_polynomial(reader: Reader) -> bool:
    return reader.word == "poly" and reader.card.text[reader.rest[0].start + 4 :].lstrip().startswith("(")


def _polynomial(reader: Reader, fields: Fields) -> None:
    letter, card = reader.card.text[0].upper(), reader.card
    reader.rest.pop(0)
    if not reader.word.isdecimal() or not 1 <= int(reader.word[:9]) <= MAX_DIMENSIONS:
        raise reader.expected(f"a number of variables from 1 to {MAX_DIMENSIONS}")
    dimensions = int(reader.rest.pop(0).text)
    if letter in "EG":
        signals = controls([reader.node(f"{what} control") for _ in range(dimensions) for what in "+-"])
    else:
        names = [reader.node("source's name instead of a") for _ in range(dimensions)]
        signals = [Current(name.text, name.start) for name in names]
    coefficients = [reader.value("a coefficient")]
    while reader.here and not reader.assigns():
        coefficients.append(reader.value("a coefficient"))
    if dimensions == len(coefficients) == 1:
        fields.notes.append("POLY(1) with one coefficient is a constant, as in ngspice; SPICE2 took it for the gain")
    fields.behaviour = _CONTROLLED_QUANTITIES[letter], polynomial(card, signals, coefficients)
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
    fields.behaviour = quantity, table(reader.card, argument, points)
    reader.extras(fields)


def _behavioural(reader: Reader, fields: Fields) -> None:
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


def _device(reader: Reader, fields: Fields) -> None:
    if not reader.word or reader.assigns():
        raise reader.expected("the name of a .model")
    fields.model = reader.rest.pop(0)
    if reader.here and not reader.assigns() and reader.word not in _FLAGS:
        fields.parameters["area"] = reader.value("the area")
    family = FAMILIES[reader.card.text[0].upper()]
    reader.extras(fields, *_FLAGS, parameters=("area", *family.instance))


def _code_model(reader: Reader, fields: Fields) -> None:
    if len(reader.rest) != 1 or not reader.word or not reader.is_model(reader.word):
        message = "A elements (XSPICE's code models, LTspice's special functions) other than potentiometers"
        hint = "replace the part by elements that are, or by a .subckt of such elements"
        raise reader.card.error(f"{message} are not supported", 0, hint)
    fields.model = reader.rest.pop(0)


def _current_switch(reader: Reader, fields: Fields) -> None:
    _sensed_source(reader, fields)
    _device(reader, fields)


def _transistor(reader: Reader, fields: Fields) -> None:
    fifth = reader.at(1)
    # LTspice writes ground here for every transistor with three pins.
    ground = reader.word in (GROUND, "gnd")
    if fifth and fifth.kind == "word" and not reader.assigns(1) and (ground or reader.is_model(fifth.text)):
        substrate = reader.node("substrate")
        if not ground:
            fields.notes.append(f"substrate node {substrate.text} ignored")
    _device(reader, fields)


_DEVICE_READERS = {"Q": _transistor, "W": _current_switch}
_CONTROL = ("out+", "out-", "in+", "in-")
ROWS: Mapping[str, Row] = {
    "R": Row("resistor", ("first", "second"), _passive, "R1 a b 4.7k"),
    "C": Row("capacitor", ("first", "second"), _passive, "C1 a b 100n"),
    "L": Row("inductor", ("first", "second"), _passive, "L1 a b 500m"),
    "K": Row("coupling", (), _coupling, "K1 L1 L2 0.98"),
    "V": Row("voltage source", ("+", "-"), _source, "V1 plus minus DC 9"),
    "I": Row("current source", ("+", "-"), _source, "I1 from to DC 1m"),
    "E": Row("voltage-controlled voltage source", _CONTROL, _controlled, "E1 out+ out- in+ in- 1e5"),
    "G": Row("voltage-controlled current source", _CONTROL, _controlled, "G1 out+ out- in+ in- 1m"),
    "F": Row("current-controlled current source", _CONTROL[:2], _current_controlled, "F1 out+ out- Vsense 100"),
    "H": Row("current-controlled voltage source", _CONTROL[:2], _current_controlled, "H1 out+ out- Vsense 1k"),
    "A": Row("potentiometer", ("first", "wiper", "last"), _code_model, "ARV1 a wiper b MYPOT"),
    "B": Row("behavioural source", ("+", "-"), _behavioural, "B1 plus minus I={1m*tanh(v(in))}"),
    **{
        letter: Row(family.name, family.terminals, _DEVICE_READERS.get(letter, _device), family.example)
        for letter, family in FAMILIES.items()
    },
}


def read_element(card: Card, is_model: Callable[[str], bool]) -> Fields:
    """The fields of an element card (any letter but X). Raises NetlistError."""
    letter = card.text[0].upper()
    if letter in _FOREIGN:
        hint = "replace the part by elements that are, or by a .subckt of such elements"
        raise card.error(f"{_FOREIGN[letter]} are not supported", 0, hint)
    if letter not in ROWS:
        known = ", ".join(f"{letter} ({row.name})" for letter, row in ROWS.items())
        message = f"elements that begin with {card.text[0]!r} are not supported"
        raise card.error(message, 0, f"known elements: {known}, X (subcircuit)")
    row = ROWS[letter]
    reader = Reader(card, row, is_model)
    fields = Fields([])
    for what in row.nodes:
        if len(fields.nodes) == 2 and (form := _form(reader)):
            form(reader, fields)
            return fields
        if letter in "EG" and (reader.word in _NONLINEAR_FORMS or reader.assigns()):
            raise reader.card.error(
                f"the {reader.word.upper()} form of a {row.name} is not supported yet",
                reader.rest[0].start,
                f"supported are VALUE, POLY, TABLE and the linear form: {row.example}",
            )
        fields.nodes.append(reader.node(what))
    row.read(reader, fields)
    return fields


def _form(reader: Reader) -> Callable[[Reader, Fields], None] | None:
    """What reads the rest of a controlled source that has a formula instead of two controlling nodes."""
    letter = reader.card.text[0].upper()
    if (letter, reader.word) in _QUANTITIES and not _is_node(reader):
        return _behavioural
    if letter in "EG" and _is_polynomial(reader):
        return _polynomial
    return _table if letter in "EG" and reader.word == "table" and not _is_node(reader) else None


def _is_node(reader: Reader) -> bool:
    """Whether the next word is a node although it is a keyword too: no = and no formula follows."""
    follower = reader.at(1)
    return follower is None or follower.kind not in ("=", "expression")


def unknown(what: str, name: str, known: Mapping[str, object], define: str) -> tuple[str, str]:
    """Message and hint for a name that is not defined."""
    return f"unknown {what} {name!r}", closest(name.upper(), known) or f"define it: {define}"
