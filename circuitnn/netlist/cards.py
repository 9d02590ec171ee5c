"""Element cards: one row of data for each letter, and what each kind of card may hold after its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from circuitnn.circuit import GROUND
from circuitnn.devices import FAMILIES
from circuitnn.netlist.fields import NUMERIC, Fields, Reader, Row
from circuitnn.netlist.forms import behavioural, controlled, current_controlled, form, sensed_source
from circuitnn.netlist.formulas import closest
from circuitnn.netlist.lexer import Card, Token
from circuitnn.netlist.parasitics import PARASITICS

# Waveforms, and which of its numbers is the value at rest (none for noise and files).
_WAVEFORMS = {
    **dict.fromkeys(("sin", "sine", "pulse", "exp", "sffm"), 0), "pwl": 1,
    **dict.fromkeys(("am", "trnoise", "trrandom", "external", "wavefile"), None),
}  # fmt: skip
_NONLINEAR_FORMS = ("laplace", "freq", "vcvs", "vccs")
# Where a simulator is to begin its search for the operating point, on device cards.
_FLAGS = ("on", "off")
_FOREIGN = {
    **dict.fromkeys("TOU", "transmission lines"),
    "Z": "MESFETs and IGBTs",
}


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
                if reader.here and (reader.here.kind == "expression" or reader.word.startswith(NUMERIC)):
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
    sensed_source(reader, fields)
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
    "E": Row("voltage-controlled voltage source", _CONTROL, controlled, "E1 out+ out- in+ in- 1e5"),
    "G": Row("voltage-controlled current source", _CONTROL, controlled, "G1 out+ out- in+ in- 1m"),
    "F": Row("current-controlled current source", _CONTROL[:2], current_controlled, "F1 out+ out- Vsense 100"),
    "H": Row("current-controlled voltage source", _CONTROL[:2], current_controlled, "H1 out+ out- Vsense 1k"),
    "A": Row("potentiometer", ("first", "wiper", "last"), _code_model, "ARV1 a wiper b MYPOT"),
    "B": Row("behavioural source", ("+", "-"), behavioural, "B1 plus minus I={1m*tanh(v(in))}"),
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
        if len(fields.nodes) == 2 and (read := form(reader)):
            read(reader, fields)
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


def unknown(what: str, name: str, known: Mapping[str, object], define: str) -> tuple[str, str]:
    """Message and hint for a name that is not defined."""
    return f"unknown {what} {name!r}", closest(name.upper(), known) or f"define it: {define}"
