"""Blocks of cards (the top level and each .subckt), and what the names in one instance of a block mean."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

from circuitnn.circuit import GROUND
from circuitnn.netlist.definitions import Definition, assignments, first_assignment
from circuitnn.netlist.formulas import Function
from circuitnn.netlist.lexer import Card, tokens
from circuitnn.netlist.terms import Term


@dataclass
class Block:
    """The top level of a netlist, or the body of a .subckt."""

    name: str = ""
    header: Card | None = None
    ports: tuple[str, ...] = ()
    defaults: list[Definition] = field(default_factory=list)
    elements: list[Card] = field(default_factory=list)
    parameters: dict[str, Definition] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    models: dict[str, Card] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)

    def uses(self, name: str) -> bool:
        """Whether a parameter of that name may occur in the cards of the block itself."""
        word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        return any(word.search(card.text) for card in (*self.elements, *self.models.values())) or any(
            name in definition.formula.names for definition in self.parameters.values()
        )


@dataclass(frozen=True)
class Scope:
    """What the names mean in one instance. path: "" or "X1" or "X1.X2"; nodes: port -> flat node."""

    names: ChainMap[str, Term]
    functions: ChainMap[str, Function]
    models: ChainMap[str, tuple[Card, Scope]]
    blocks: ChainMap[str, Block]
    path: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)

    def model_name(self, name: str) -> str:
        """The flat name of a model defined in this instance."""
        return f"{self.path}:{name}" if self.path else name


def node_name(text: str) -> str:
    """Canonical form of a node name."""
    lower = text.lower()
    return GROUND if lower == "gnd" else lower


def subcircuit_header(card: Card) -> tuple[Block, list[str]]:
    """The still empty block of a .subckt card, and doubts about it. Raises NetlistError."""
    start = first_assignment(card)
    words = [token for token in tokens(card) if token.start < start and token.text.lower() != "params:"][1:]
    if not words or any(word.kind != "word" for word in words):
        raise card.error("expected .subckt NAME node node ...", len(card.keyword), ".subckt follower in out")
    ports = tuple(node_name(word.text) for word in words[1:])
    for index, port in enumerate(ports):
        if port in ports[:index] or port == GROUND:
            what = (
                "ground is not a port: it is the same everywhere" if port == GROUND else f"port {port!r} is named twice"
            )
            raise card.error(what, words[index + 1].start)
    defaults, doubts = assignments(card, start) if start < len(card.text) else ([], [])
    return Block(words[0].text.upper(), card, ports, defaults), doubts
