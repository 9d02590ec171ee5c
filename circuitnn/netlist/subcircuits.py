"""The expansion of blocks of cards to a flat list of elements and models.

Flat names are those of ngspice, in our case: element R4 in instance X1 is R.X1.R4, its node n is x1.n, and a model
DM defined inside the subcircuit is X1:DM. Names are looked up in the instance, then in whoever calls it, then in who
calls that one, as ngspice does.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import combinations

from sympy import Expr, Integer, Mul

from circuitnn.circuit import GROUND, Behaviour, DeviceModel, Element, current, voltage
from circuitnn.devices import FAMILIES, MODEL_KINDS
from circuitnn.errors import CircuitnnError
from circuitnn.netlist.blocks import Block, Scope, node_name
from circuitnn.netlist.cards import ROWS, read_element, unknown
from circuitnn.netlist.definitions import assignments, first_assignment, in_order
from circuitnn.netlist.expressions import Current, Formula, Signal, doubt, parse_expression
from circuitnn.netlist.formulas import closest, fold
from circuitnn.netlist.lexer import Card, Token, tokens
from circuitnn.netlist.parasitics import with_parasitics
from circuitnn.netlist.terms import Term, TermError, divided, number, times
from circuitnn.units import read_value

MAX_ELEMENTS = 50_000
MAX_INSTANCE_DEPTH = 40


def _flat(name: str, scope: Scope) -> str:
    """The flat name of an element of an instance."""
    return f"{name[0]}.{scope.path}.{name}" if scope.path else name


def _coupled_pairs(element: Element) -> list[Element]:
    """A K card of several inductors, as LTspice has it: a K element for each pair, as ngspice has it."""
    if len(element.branches) == 2:
        return [element]
    return [
        replace(element, name=".".join([element.name, *(name.rpartition(".")[2] for name in pair)]), branches=pair)
        for pair in combinations(element.branches, 2)
    ]


class Expansion:
    """Flattens a block and the subcircuits it calls. The results: elements, models, notes.

    library: gives the block whose models and subcircuits stand in for those that the netlist does not define.
    """

    def __init__(
        self,
        top: Block,
        global_nodes: frozenset[str],
        names: Mapping[str, Term],
        notes: dict[str, None],
        library: Callable[[], Block],
    ) -> None:
        self.global_nodes = global_nodes | {GROUND}
        self._read_library = library
        # Part number -> the elements that are such parts.
        self._parts: dict[str, list[str]] = {}
        self.elements: dict[str, Element] = {}
        self.models: dict[str, DeviceModel] = {}
        self.notes = notes
        self._cards: dict[str, Card] = {}
        self._instances = 0
        self._sensed: list[tuple[Card, int, str]] = []
        self._named: list[tuple[Card, Token, str, str]] = []
        functions, blocks = ChainMap(top.functions), ChainMap(top.blocks)
        scope = Scope(ChainMap(dict(names)), functions, ChainMap(), blocks)
        self._body(top, scope, ())
        self._check_sensed()
        for part, elements in self._parts.items():
            card = ".subckt" if part in self._library.blocks else ".model"
            self.notes[f"{part} ({', '.join(elements)}) is from the part library: a {card} {part} overrides it"] = None

    @cached_property
    def _library(self) -> Scope:
        """The part library, which knows no name of the netlist."""
        block = self._read_library()
        scope = Scope(ChainMap(), ChainMap(), ChainMap(), ChainMap(block.blocks))
        scope.models.update({name: (card, scope) for name, card in block.models.items()})
        return scope

    def _body(self, block: Block, scope: Scope, active: tuple[Block, ...]) -> None:
        scope.models.update({name: (card, scope) for name, card in block.models.items()})
        for card in block.elements:
            self._instances += 1
            if self._instances > MAX_ELEMENTS:
                raise card.error(f"the netlist expands to more than {MAX_ELEMENTS} elements")
            if card.text[0] in "xX":
                self._instance(card, scope, active)
            else:
                self._element(card, scope)

    def _element(self, card: Card, scope: Scope) -> None:
        fields = read_element(card, lambda name: name.upper() in scope.models or name.upper() in self._library.models)
        name = tokens(card)[0].text.upper()
        self._register(name, card, scope)
        flat = _flat(name, scope)
        nodes = tuple(self._node(token.text, scope) for token in fields.nodes)
        if name[0] == "A" and fields.model is not None:
            for each in self._potentiometer(card, fields.model, flat, nodes, scope):
                self._add(card, each)
            return
        model = None if fields.model is None else self._model(card, fields.model, scope)
        behaviour = None
        if fields.behaviour is not None:
            quantity, formula = fields.behaviour
            self.doubt(card, formula.doubts)
            behaviour = Behaviour(quantity, self._sensing(formula, scope))
        value = None
        if not model and not behaviour:
            value = Integer(0) if fields.value is None else self.value(card, fields.value, scope)
        parameters = {key: self.value(card, token, scope) for key, token in fields.parameters.items()}
        area = parameters.pop("area", Integer(1))
        kinds = "L" if name[0] == "K" else "VEH"
        branches = tuple(self._branch(card, token, scope, kinds) for token in fields.branches)
        if behaviour is not None and name[0] in "FH":
            # ngspice has POLY of currents in F and H only, but formulas of currents in B.
            flat = f"B.{flat}"
        element = Element(flat, nodes, value, model, area, behaviour, parameters, branches)
        if fields.parallel is not None:
            element = self._in_parallel(card, element, fields.parallel, scope)
        for each in _coupled_pairs(element) if name[0] == "K" else with_parasitics(element):
            self._add(card, each)
        for note in fields.notes:
            self.notes[f"{card.place}: {name}: {note}"] = None

    def _add(self, card: Card, element: Element) -> None:
        if element.name in self.elements:
            raise card.error(f"the name {element.name} is taken by an element of a subcircuit")
        self.elements[element.name] = element

    def _in_parallel(self, card: Card, element: Element, count: Formula, scope: Scope) -> Element:
        """`count` such elements side by side, as one. Raises NetlistError."""
        m = fold(count, scope.names, scope.functions)
        if m.value is not None and m.value <= 0.0:
            raise card.error("expected a positive number of parallel devices", count.root.at)
        try:
            if element.model is not None and self._has_area(element.model):
                return replace(element, area=times(Term(element.area), m).expression)
            if element.behaviour is not None and element.behaviour.quantity == "current":
                formula = times(m, Term(element.behaviour.formula)).expression
                return replace(element, behaviour=replace(element.behaviour, formula=formula))
            if element.value is not None and element.kind in "RLCIGF":
                scale = divided if element.kind in "RL" else times
                return replace(element, value=scale(Term(element.value), m).expression)
        except TermError as error:
            raise card.error(error.message, count.root.at, error.hint) from None
        hint = "remove it, or write the parallel devices out"
        raise card.error("m= (parallel devices) has no meaning here", count.root.at, hint)

    def _potentiometer(
        self, card: Card, model: Token, flat: str, nodes: tuple[str, ...], scope: Scope
    ) -> Iterator[Element]:
        """The two parts of the track of XSPICE's code model "potentiometer", which KiCad has. Raises NetlistError."""
        model_card, home = self._model_card(card, model, scope)
        _, _, kind, *rest = (token for token in tokens(model_card) if token.kind not in "(),")
        if kind.text.lower() != "potentiometer":
            raise card.error(f"an A element of type {kind.text!r} is not supported", 0, "supported: potentiometer")
        values = self._model_parameters(model_card, rest, home, {})
        if re.search(r"\blog", model_card.text, re.IGNORECASE):
            raise model_card.error("a logarithmic potentiometer is not supported", 0, "write the law into the position")
        names = {"r": Term(values.get("r", Integer(10_000))), "position": Term(values.get("position", number(0.5)))}
        path = flat.partition(".")[2] or flat
        for half, (text, ends) in enumerate((("r*position", nodes[:2]), ("r*(1-position)", nodes[1:])), start=1):
            formula = parse_expression(Card(text, model_card.pieces), 0, len(text))
            yield Element(f"R.{path}.{half}", ends, fold(formula, names, {}).expression)

    def _has_area(self, model: str) -> bool:
        law, _ = MODEL_KINDS[self.models[model].kind].laws[-1]
        return "area" in law.parameters

    def _branch(self, card: Card, token: Token, scope: Scope, kinds: str) -> str:
        """The flat name of an element of one of these kinds that another one senses or couples; it may come later."""
        flat = _flat(token.text.upper(), scope)
        self._named.append((card, token, flat, kinds))
        return flat

    def _sensing(self, formula: Formula, scope: Scope) -> Expr:
        """The formula of a behavioural source, in the flat names of what it senses. Raises NetlistError."""

        def signal(card: Card, sensed: Signal) -> Expr:
            if isinstance(sensed, Current):
                return current(self._branch(card, Token("word", sensed.element, sensed.at), scope, "VEHLR"))
            plus, minus = (self._node(node, scope) for node in (sensed.plus, sensed.minus))
            self._sensed += [(card, sensed.at, plus), (card, sensed.minus_at, minus)]
            if plus == minus:
                return Integer(0)
            return Mul(-1, voltage(minus), evaluate=False) if plus == GROUND else voltage(plus, minus)

        return fold(formula, scope.names, scope.functions, signal).expression

    def _check_sensed(self) -> None:
        """Raise NetlistError for a node that is sensed and no element is connected to, or an element that is not."""
        nodes = {GROUND} | {node for element in self.elements.values() for node in element.nodes}
        for card, at, node in self._sensed:
            if node not in nodes:
                raise card.error(f"no element is connected to a node {node!r}", at, closest(node, nodes))
        for card, token, name, kinds in self._named:
            if name not in self.elements:
                alike = [other for other in self.elements if other[0] == name[0]]
                raise card.error(f"no element is called {token.text!r}", token.start, closest(name, alike))
            if name[0] not in kinds or self.elements[name].behaviour is not None:
                known = ", ".join(f"{ROWS[kind].name} ({kind})" for kind in kinds)
                hint = f"a 0 V source in series has its current; what has one here: {known}"
                raise card.error(f"the current of {token.text} cannot be sensed", token.start, hint)

    def _register(self, name: str, card: Card, scope: Scope) -> None:
        key = f"{scope.path}.{name}"
        if key in self._cards:
            raise card.error(
                f"{name} is defined twice, first at {self._cards[key].place}",
                0,
                "element names must differ: rename one",
            )
        self._cards[key] = card

    def _node(self, name: str, scope: Scope) -> str:
        node = node_name(name)
        if node in scope.nodes:
            return scope.nodes[node]
        return node if node in self.global_nodes or not scope.path else f"{scope.path.lower()}.{node}"

    def value(self, card: Card, token: Token, scope: Scope) -> Expr:
        """The value that a token stands for: a number, {..} or '..'. Raises NetlistError."""
        if token.kind == "expression":
            formula = parse_expression(card, token.start, token.start + len(token.text))
            self.doubt(card, formula.doubts)
            return fold(formula, scope.names, scope.functions).expression
        try:
            reading = read_value(token.text)
        except CircuitnnError as error:
            if token.text.lower() in scope.names:
                self.doubt(card, (f"{token.text} is read as {{{token.text}}}, which ngspice needs braces for",))
                return self.value(card, replace(token, kind="expression"), scope)
            raise card.error(f"expected a value, found {token.text!r}", token.start, error.hint) from None
        if reading.value != reading.ngspice_value:
            self.doubt(card, (doubt(token.text, reading.value, reading.ngspice_value),))
        return number(reading.value)

    def doubt(self, card: Card, doubts: tuple[str, ...]) -> None:
        """Note what a reader of the card may take otherwise."""
        for text in doubts:
            self.notes[f"{card.place}: {text}"] = None

    def _model(self, card: Card, token: Token, scope: Scope) -> str:
        name = token.text.upper()
        model_card, home = self._model_card(card, token, scope)
        flat = home.model_name(name)
        if flat not in self.models:
            self.models[flat] = self._read_model(model_card, flat, home)
        kind, family = self.models[flat].kind, FAMILIES[card.text[0].upper()]
        if MODEL_KINDS[kind].family != family:
            expected = " or ".join(other.name for other in MODEL_KINDS.values() if other.family == family)
            message = f"a {family.name} needs a model of type {expected}"
            raise card.error(message, token.start, f"{name} is a .model of type {kind}")
        return flat

    def _model_card(self, card: Card, token: Token, scope: Scope) -> tuple[Card, Scope]:
        """The .model card that a name means, and where its own names are looked up. Raises NetlistError."""
        name = token.text.upper()
        if name in scope.models:
            return scope.models[name]
        if name in self._library.models:
            self._note_part(name, card, scope)
            return self._library.models[name]
        known = {**scope.models, **self._library.models}
        message, hint = unknown("model", token.text, known, f".model {name} D(...)")
        raise card.error(message, token.start, hint)

    def _note_part(self, part: str, card: Card, scope: Scope) -> None:
        name = tokens(card)[0].text.upper()
        self._parts.setdefault(part, []).append(f"{scope.path}.{name}".lstrip("."))

    def _read_model(self, card: Card, flat: str, scope: Scope, heirs: tuple[Card, ...] = ()) -> DeviceModel:
        """heirs: the cards of models that are a kind of this one, the first one that was asked for first."""
        _, _, *rest = (token for token in tokens(card) if token.kind not in "(),")
        base = None
        if rest[0].text.lower().startswith("ako"):
            base = self._base_model(card, rest, scope, heirs)
        typed = bool(rest) and rest[0].kind == "word" and (len(rest) == 1 or rest[1].kind != "=")
        if base is None or typed:
            kind = rest.pop(0)
            if kind.text.lower() not in MODEL_KINDS:
                hint = f"supported types: {', '.join(MODEL_KINDS)}"
                raise card.error(f"models of type {kind.text!r} are not supported", kind.start, hint)
            if base and base.kind != kind.text.lower():
                raise card.error(f"{base.name} is of type {base.kind}", kind.start, "a kind of it has the same type")
        model_kind = MODEL_KINDS[base.kind if base else kind.text.lower()]
        parameters = self._model_parameters(card, rest, scope, model_kind.aliases)
        for key in parameters:
            if key not in model_kind.parameters and key not in model_kind.ignored:
                hint = closest(key, model_kind.parameters) or f"it has {', '.join(model_kind.parameters)}"
                self.doubt(card, (f"{flat}: a {model_kind.family.name} has no {key.upper()}, ignored; {hint}",))
        level = parameters.get("level", Integer(1))
        if level != 1:
            self.doubt(card, (f"{flat}: LEVEL={level} is read as level 1, the only one here",))
        return DeviceModel(flat, model_kind.name, {**base.parameters, **parameters} if base else parameters)

    def _model_parameters(
        self, card: Card, rest: list[Token], scope: Scope, aliases: Mapping[str, str]
    ) -> dict[str, Expr]:
        """The `name=value` pairs of a .model card. Raises NetlistError."""
        parameters: dict[str, Expr] = {}
        while rest:
            if rest[0].text.lower() == "noiseless":
                del rest[0]
                continue
            if len(rest) < 3 or rest[0].kind != "word" or rest[1].kind != "=":
                at = rest[0].start
                raise card.error(f"expected name=value, found {rest[0].text!r}", at, ".model D1N4148 D(IS=2.5n N=1.75)")
            name, _, value, *rest = rest
            # The writer has names in capitals, and those of µ and ß do not lead back to them.
            folded = name.text.casefold()
            key = aliases.get(folded, folded)
            if key in parameters:
                raise card.error(f"{name.text} is given twice", name.start)
            if value.kind == "word" and value.text.lower() in scope.names:
                # ngspice takes the bare name of a .param here.
                value = replace(value, kind="expression")
            if value.kind == "string" or (value.kind == "word" and value.text[:1].isalpha()):
                self.doubt(card, (f"{name.text}={value.text} ignored: not a number",))
            else:
                parameters[key] = self.value(card, value, scope)
        return parameters

    def _base_model(self, card: Card, rest: list[Token], scope: Scope, heirs: tuple[Card, ...]) -> DeviceModel:
        """The model that `ako: NAME` at the start of rest means, which it takes off rest. Raises NetlistError."""
        first = rest.pop(0)
        text = first.text[3:].lstrip(":")
        if not text and not rest:
            raise card.error("expected the name of a .model", len(card.text), ".model BC547C ako: BC547 NPN(BF=520)")
        token = replace(first, text=text, start=first.start + len(first.text) - len(text)) if text else rest.pop(0)
        base_card, home = self._model_card(card, token, scope)
        if base_card is card or base_card in heirs or len(heirs) > MAX_INSTANCE_DEPTH:
            raise card.error(f"{token.text} is a kind of itself, or of too many", token.start)
        return self._read_model(base_card, token.text.upper(), home, (*heirs, card))

    def _instance(self, card: Card, scope: Scope, active: tuple[Block, ...]) -> None:
        start = first_assignment(card)
        words = [t for t in tokens(card) if t.start < start and t.text.lower() != "params:" and t.kind not in "(),"]
        name, *nodes = words
        if not nodes or any(word.kind != "word" for word in words):
            raise card.error("expected X... node node ... NAME", len(name.text), "X1 in out FOLLOWER gain=2")
        self._register(name.text.upper(), card, scope)
        called = nodes.pop()
        # Where the body looks up names.
        home = scope if called.text.upper() in scope.blocks else self._library
        if called.text.upper() not in home.blocks:
            known = {**scope.blocks, **self._library.blocks}
            message, hint = unknown("subcircuit", called.text, known, f".subckt {called.text} ...")
            raise card.error(message, called.start, hint)
        if home is self._library:
            self._note_part(called.text.upper(), card, scope)
        block = home.blocks[called.text.upper()]
        if any(block is other for other in active):
            chain = " calls ".join([other.name for other in active] + [block.name])
            raise card.error(f"recursive subcircuit: {chain}", called.start)
        if len(active) >= MAX_INSTANCE_DEPTH:
            raise card.error(f"subcircuits nested more than {MAX_INSTANCE_DEPTH} deep", called.start)
        if len(nodes) != len(block.ports):
            message = f"{block.name} has {len(block.ports)} nodes, found {len(nodes)}"
            raise card.error(message, called.start, f"its nodes: {' '.join(block.ports) or 'none'}")
        path = f"{scope.path}.{name.text}".upper().lstrip(".")
        inner = Scope(
            home.names.new_child(), home.functions.new_child(block.functions),
            home.models.new_child(), home.blocks.new_child(block.blocks),
            path, {port: self._node(token.text, scope) for port, token in zip(block.ports, nodes, strict=True)},
        )  # fmt: skip
        self._bind(card, start, block, scope, inner)
        self._body(block, inner, (*active, block))

    def _bind(self, card: Card, start: int, block: Block, caller: Scope, inner: Scope) -> None:
        """Give the parameters of an instance their values: those of the call, else the defaults, then local .params."""
        defaults = {definition.name: definition for definition in block.defaults}
        given, doubts = assignments(card, start) if start < len(card.text) else ([], [])
        self.doubt(card, tuple(doubts))
        bound: dict[str, Term] = {}
        for definition in given:
            if definition.name not in defaults and block.uses(definition.name):
                # LTspice needs no declaration.
                note = f"{block.name} uses {definition.name} undeclared, which ngspice does not accept: add a default"
                self.doubt(block.header or card, (note,))
            elif definition.name not in defaults:
                hint = closest(definition.name, defaults) or f"its parameters: {', '.join(defaults) or 'none'}"
                raise card.error(f"{block.name} has no parameter {definition.name!r}", definition.at, hint)
            if definition.name in bound:
                raise card.error(f"{definition.name} is given twice", definition.at)
            bound[definition.name] = fold(definition.formula, caller.names, caller.functions)
        inner.names.update(bound)
        local = {name: definition for name, definition in defaults.items() if name not in bound} | block.parameters
        for definition in in_order(local, inner.functions):
            inner.names[definition.name] = fold(definition.formula, inner.names, inner.functions)
