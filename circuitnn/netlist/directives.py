"""The *@ cards: what a recording drives, what is heard, what a person turns, what a fit may change."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace

from sympy import Expr

from circuitnn.circuit import GROUND, Circuit, DeviceNetwork, Element, Knob, Learnable
from circuitnn.devices import DIRECTIONS, FAMILIES, weight_names
from circuitnn.errors import CircuitnnError
from circuitnn.netlist.blocks import node_name
from circuitnn.netlist.formulas import closest
from circuitnn.netlist.lexer import Card
from circuitnn.netlist.terms import number
from circuitnn.tapers import TAPERS, position_at, table, table_points, value_at
from circuitnn.units import parse_value

KNOB_TOLERANCE = 1e-3
_KINDS = ("R", "C", "L", "K", "V", "I", "E", "F", "G", "H", *FAMILIES)
_WORDS = ("input", "output", "knob", "learn", "network", "tol")
# Names are looked up one by one, so that many of them in a large circuit would take minutes.
MAX_NAMES = 2000
# Hidden units a direction of a *@ network card: where it does not say, and at most.
UNITS, MAX_UNITS = 16, 64
_TABLE = "table(0:0 0.5:0.1 1:1)"
_TOLERANCE = re.compile(r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?)(%?)", re.IGNORECASE)


def literal(circuit: Circuit, name: str) -> Expr:
    """The value of the element, MODEL.param, weight or .param of that canonical name. Raises KeyError."""
    if name in circuit.parameters:
        return circuit.parameters[name]
    model, _, parameter = name.rpartition(".")
    if model in circuit.models and parameter in circuit.models[model].parameters:
        return circuit.models[model].parameters[parameter]
    for network in circuit.networks:
        if name in network.values:
            return network.values[name]
    value = circuit.element(name).value
    if value is None:
        raise KeyError(name)
    return value


def canonical(circuit: Circuit, name: str) -> str | None:
    """The canonical form of a name of something with a value, written in any case; None if there is none."""
    model, _, parameter = name.rpartition(".")
    # As written first: an element R1 and a .param r1 may stand side by side.
    for candidate in (name, name.upper(), name.lower(), f"{model.upper()}.{parameter.lower()}"):
        try:
            literal(circuit, candidate)
        except KeyError:
            continue
        return candidate
    return None


def value_names(circuit: Circuit) -> list[str]:
    """The names of everything that has a value."""
    return [
        *(element.name for element in circuit.elements if element.value is not None),
        *(f"{model.name}.{parameter}" for model in circuit.models.values() for parameter in model.parameters),
        *circuit.parameters,
        *(name for network in circuit.networks for name in network.values),
    ]


def _place(diode: Element) -> tuple[object, ...]:
    """What the diodes of one network have in common."""
    return frozenset(diode.nodes), diode.model, tuple(diode.parameters.items())


@dataclass(frozen=True)
class _Word:
    text: str
    at: int


@dataclass
class Directives:
    """Collects *@ cards while a netlist is read; `apply` gives their sense once all names are known."""

    cards: list[tuple[Card, list[_Word]]] = field(default_factory=list)
    count: int = 0

    def read(self, card: Card) -> None:
        """Take a card. Raises NetlistError for an unknown one."""
        words = [
            _Word(match[0], match.start())
            for match in re.finditer(r"[^\s,=]+(?:\s*=\s*(?:[^\s,=(]|\([^)]*\)?)+)?", card.text[2:])
        ]
        words = [_Word(word.text, word.at + 2) for word in words]
        self.count += len(words)
        if self.count > MAX_NAMES:
            raise card.error(f"more than {MAX_NAMES} words on *@ cards")
        known = "known: " + ", ".join(_WORDS)
        if not words:
            raise card.error("expected a word after *@", len(card.text), known)
        if words[0].text.lower() not in _WORDS:
            hint = closest(words[0].text.lower(), _WORDS) or known
            raise card.error(f"unknown card *@ {words[0].text}", words[0].at, hint)
        if len(words) == 1:
            raise card.error(
                f"expected something after *@ {words[0].text}", len(card.text), _EXAMPLES[words[0].text.lower()]
            )
        self.cards.append((card, words))

    def apply(self, circuit: Circuit, notes: dict[str, None]) -> Circuit:
        """The circuit with its ports, knobs, learnables and tolerances, and with the notes. Raises NetlistError."""
        for card, (word, *rest) in self.cards:
            match word.text.lower():
                case "input":
                    circuit = replace(circuit, inputs=circuit.inputs + self._inputs(circuit, card, rest))
                case "output":
                    circuit = replace(circuit, outputs=(*circuit.outputs, self._output(circuit, card, rest)))
                case "knob":
                    circuit = replace(circuit, knobs=(*circuit.knobs, self._knob(circuit, card, rest, notes)))
                case "learn":
                    circuit = replace(circuit, learn=circuit.learn + self._learn(circuit, card, rest))
                case "network":
                    circuit = replace(circuit, networks=(*circuit.networks, self._network(circuit, card, rest)))
                case "tol":
                    circuit = replace(circuit, tolerances={**circuit.tolerances, **self._kinds(card, rest)})
        return replace(circuit, notes=tuple(notes))

    def _inputs(self, circuit: Circuit, card: Card, words: list[_Word]) -> tuple[str, ...]:
        sources = [element.name for element in circuit.elements if element.kind in "VI"]
        found: list[str] = []
        for word in words:
            name = word.text.upper()
            if name not in sources:
                hint = closest(name, sources) or f"sources: {', '.join(sources) or 'none'}"
                raise card.error(f"no V or I element is called {word.text!r}", word.at, hint)
            if name in circuit.inputs or name in found:
                raise card.error(f"{name} is an input already", word.at)
            found.append(name)
        return tuple(found)

    def _output(self, circuit: Circuit, card: Card, words: list[_Word]) -> tuple[str, str]:
        if len(words) > 2:
            raise card.error("expected one node or two", words[2].at, _EXAMPLES["output"])
        nodes = [node_name(word.text) for word in words]
        for node, word in zip(nodes, words, strict=True):
            if node != GROUND and node not in circuit.nodes:
                raise card.error(
                    f"no element is connected to a node {word.text!r}", word.at, closest(node, circuit.nodes)
                )
        return nodes[0], nodes[1] if len(nodes) == 2 else GROUND

    def _knob(self, circuit: Circuit, card: Card, words: list[_Word], notes: dict[str, None]) -> Knob:
        name, position, taper = words[0].text.lower(), None, "linear"
        for word in words[1:]:
            key, _, value = (part.strip() for part in word.text.lower().partition("="))
            if key == "taper" and value:
                taper = self._taper(card, word, value)
            elif position is None and re.fullmatch(_TOLERANCE, word.text) and "%" not in word.text:
                position = float(word.text)
                if position > 1:
                    raise card.error(f"expected a position from 0 to 1, found {word.text}", word.at)
            else:
                raise card.error(f"expected a position or taper=..., found {word.text!r}", word.at, _EXAMPLES["knob"])
        if name not in circuit.parameters:
            hint = closest(name, circuit.parameters) or f"define it: .param {name}=0.5"
            raise card.error(f"no .param is called {words[0].text!r}", words[0].at, hint)
        if any(knob.name == name for knob in circuit.knobs):
            raise card.error(f"{name} is a knob already", words[0].at)
        value = circuit.parameters[name]
        if not value.is_Number or not 0 <= float(value) <= 1:
            raise card.error(f"the .param of a knob must be a plain number from 0 to 1, found {value}", words[0].at)
        if position is not None and abs(value_at(taper, position) - float(value)) > KNOB_TOLERANCE:
            notes[
                f"{card.place}: knob {name} starts at {position_at(taper, float(value)):.3g}, as its .param says; "
                f"for {position:g}, write .param {name}={value_at(taper, position):.6g}"
            ] = None
        return Knob(name, taper)

    def _taper(self, card: Card, word: _Word, value: str) -> str:
        if value in TAPERS:
            return value
        if not value.startswith("table"):
            known = f"known: {', '.join(TAPERS)}, or {_TABLE}"
            raise card.error(f"unknown taper {value[:40]!r}", word.at, known)
        try:
            return table(table_points(value))
        except ValueError as error:
            raise card.error(f"{value[:40]}: {error}", word.at, f"for example taper={_TABLE}") from None

    def _learn(self, circuit: Circuit, card: Card, words: list[_Word]) -> tuple[Learnable, ...]:
        tolerance, names = None, []
        for word in words:
            key, equals, value = (part.strip() for part in word.text.partition("="))
            if not equals:
                names.append(word)
            elif key.lower() == "tol":
                tolerance = self._tolerance(card, word, value)
            else:
                raise card.error(f"expected names or tol=..., found {word.text!r}", word.at, _EXAMPLES["learn"])
        taken = {learnable.name for learnable in circuit.learn}
        found = []
        for word in names:
            name = self._learnable(circuit, card, word)
            if name in taken:
                raise card.error(f"{name} is marked to be learnt already", word.at)
            taken.add(name)
            found.append(Learnable(name, tolerance))
        return tuple(found)

    def _learnable(self, circuit: Circuit, card: Card, word: _Word) -> str:
        name = canonical(circuit, word.text)
        if name is None:
            known = value_names(circuit)
            by_case = {other.lower(): other for other in known}
            near = difflib.get_close_matches(word.text.lower(), by_case, n=1)
            hint = f"did you mean {by_case[near[0]]}?" if near else None
            what = "no element with a value, MODEL.param of a .model card, or .param is called"
            raise card.error(f"{what} {word.text!r}", word.at, hint or f"known: {', '.join(known[:12])}")
        value = literal(circuit, name)
        if not value.is_Number:
            uses = ", ".join(sorted(used.name for used in value.free_symbols))
            message = f"{name} is a formula of {uses}, so it has no value of its own to learn"
            raise card.error(message, word.at, f"mark what it depends on instead: {uses}")
        return name

    def _network(self, circuit: Circuit, card: Card, words: list[_Word]) -> DeviceNetwork:
        options = dict[str, tuple[_Word, str]]()
        elements = list[Element]()
        for word in words:
            key, equals, value = (part.strip() for part in word.text.lower().partition("="))
            if not equals:
                elements.append(self._diode(circuit, card, word, elements))
            elif key not in ("units", "reach", *DIRECTIONS):
                raise card.error(f"expected diodes or units=..., found {word.text!r}", word.at, _EXAMPLES["network"])
            elif key in options:
                raise card.error(f"{key} is given twice", word.at)
            else:
                options[key] = (word, value)
        if not elements:
            raise card.error("expected the names of diodes", len(card.text), _EXAMPLES["network"])
        directions = DIRECTIONS[: len({element.nodes for element in elements})]
        given = dict[str, tuple[float, ...]]()
        for direction in DIRECTIONS:
            if direction in options:
                word, value = options[direction]
                if direction not in directions:
                    raise card.error(f"{elements[0].name} alone has no reverse direction to learn", word.at)
                given[direction] = self._numbers(card, word, value)
        counts = {len(numbers) - 2 for numbers in given.values()}
        units = self._units(card, *options["units"]) if "units" in options else next(iter(counts), UNITS)
        for direction, numbers in given.items():
            if len(numbers) != units + 2:
                message = f"expected {units + 2} weights for {units} units, found {len(numbers)}"
                raise card.error(message, options[direction][0].at, "the factor of the current, then of the slopes")
        if not 1 <= units <= MAX_UNITS:
            raise card.error(f"expected 1 to {MAX_UNITS} units, found {units}", next(iter(options.values()))[0].at)
        weights = [weight for direction in directions for weight in given.get(direction, (1.0,) * (units + 2))]
        reach = None
        if "reach" in options:
            volts, *more = self._numbers(card, *options["reach"])
            if more:
                raise card.error("expected one voltage", options["reach"][0].at, _EXAMPLES["network"])
            reach = number(volts)
        names = weight_names(units, both=len(directions) == 2)
        found = dict(zip(names, map(number, weights), strict=True))
        return DeviceNetwork(tuple(element.name for element in elements), units, reach, found)

    def _diode(self, circuit: Circuit, card: Card, word: _Word, others: list[Element]) -> Element:
        """The diode of that name, which must stand beside those before it."""
        diodes = {e.name: e for e in circuit.elements if e.kind == "D" and circuit.models[e.model or ""].kind == "d"}
        name = word.text.upper()
        if name not in diodes:
            hint = closest(name, diodes) or f"diodes here: {', '.join([*diodes][:12]) or 'none'}"
            raise card.error(f"no diode is called {word.text!r}", word.at, hint)
        taken = {known for network in circuit.networks for known in network.elements}
        if name in taken or diodes[name] in others:
            raise card.error(f"{name} belongs to a network already", word.at)
        if others and _place(diodes[name]) != _place(others[0]):
            message = f"{name} is not of the same model and between the same two nodes as {others[0].name}"
            raise card.error(message, word.at, f"give it a card of its own: *@ network {name}")
        return diodes[name]

    def _units(self, card: Card, word: _Word, text: str) -> int:
        if not re.fullmatch("[0-9]{1,3}", text):
            raise card.error(f"expected a number of units such as {UNITS}, found {text!r}", word.at)
        return int(text)

    def _numbers(self, card: Card, word: _Word, text: str) -> tuple[float, ...]:
        """Numbers above 0, in parentheses if they are several."""
        try:
            numbers = tuple(parse_value(part) for part in text.strip("()").split())
        except CircuitnnError as error:
            raise card.error(error.message, word.at, error.hint) from None
        if not numbers or min(numbers) <= 0.0:
            raise card.error(f"expected numbers above 0, found {text[:40]!r}", word.at)
        return numbers

    def _kinds(self, card: Card, words: list[_Word]) -> dict[str, float]:
        found: dict[str, float] = {}
        for word in words:
            kind, _, value = (part.strip() for part in word.text.partition("="))
            if kind.upper() not in _KINDS:
                raise card.error(f"expected KIND=tolerance, found {word.text!r}", word.at, _EXAMPLES["tol"])
            found[kind.upper()] = self._tolerance(card, word, value)
        return found

    def _tolerance(self, card: Card, word: _Word, text: str) -> float:
        match = _TOLERANCE.fullmatch(text)
        tolerance = float(match[1]) / (100 if match[2] else 1) if match else 0.0
        if not 0 < tolerance < 1e6:
            raise card.error(f"expected a tolerance such as 5% or 0.05, found {text!r}", word.at)
        return tolerance


_EXAMPLES = {
    "input": "*@ input Vin",
    "output": "*@ output out",
    "knob": "*@ knob drive 0.5 taper=log",
    "learn": "*@ learn R4 C3 DCLIP.is drive tol=10%",
    "network": f"*@ network D1 D2 units={UNITS} reach=0.7",
    "tol": "*@ tol R=5% C=10%",
}
