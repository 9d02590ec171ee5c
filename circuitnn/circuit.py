"""The immutable description of a circuit: elements, nodes, models, parameters, knobs. No torch, no numbers computed.

Conventions: element and model names are upper case, nodes and parameter names lower case, ground is node "0".
Values are sympy expressions of the circuit's parameters, in SI units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sympy import Expr, Integer, Symbol

GROUND = "0"
_ONE = Integer(1)

# Relative prior widths (one standard deviation) where the netlist states no tolerance: usual part grades for R, C
# and L; for .params and knobs a mild 20 %; for SPICE model parameters, how much they vary from part to part.
DEFAULT_TOLERANCES: Mapping[str, float] = {
    "R": 0.05, "C": 0.10, "L": 0.10, "E": 0.20, "F": 0.20, "G": 0.20, "H": 0.20, "V": 0.05, "I": 0.05
}  # fmt: skip


def symbol(name: str) -> Symbol:
    """The sympy symbol of a circuit parameter (real-valued)."""
    return Symbol(name, real=True)


def voltage(plus: str, minus: str = GROUND) -> Symbol:
    """The sympy symbol of the voltage of node `plus` over node `minus`, named as netlists write it."""
    return Symbol(f"v({plus})" if minus == GROUND else f"v({plus},{minus})", real=True)


def current(element: str) -> Symbol:
    """The sympy symbol of the current of an element, from its first node to its second."""
    return Symbol(f"i({element})", real=True)


def voltage_nodes(symbol: Symbol) -> tuple[str, str] | None:
    """The nodes (+, -) of a symbol made by `voltage`; None for any other."""
    if not symbol.name.startswith("v("):
        return None
    plus, _, minus = symbol.name[2:-1].partition(",")
    return plus, minus or GROUND


def current_element(symbol: Symbol) -> str | None:
    """The element of a symbol made by `current`; None for any other."""
    return symbol.name[2:-1] if symbol.name.startswith("i(") else None


def is_signal(symbol: Symbol) -> bool:
    """Whether a symbol is a voltage or a current and not a parameter."""
    return str(symbol.name).startswith(("v(", "i("))


@dataclass(frozen=True)
class Behaviour:
    """What a behavioural source does. quantity: "current" (ampere, from + through the source to -) or "voltage" (volt,
    of + over -); formula: an expression of `voltage` and `current` symbols and of the circuit's parameters."""

    quantity: str
    formula: Expr


@dataclass(frozen=True)
class Element:
    """One element. The first letter of the name is its kind: R C L K V I E F G H B, or one of `devices.FAMILIES`.

    nodes: R C L V I F H B: (+, -); E G: (out+, out-, in+, in-); K: none; devices: as their family says. Current sources
    (I, F, G) drive their current from out+ through the source to out-, as SPICE does. value: ohm, farad, henry, volt
    (DC), ampere (DC), V/V, A/A, A/V, V/A, coupling coefficient (K); None for devices, which have a model, an area and
    perhaps other parameters of their own (lower-case names) instead, and for behavioural sources (B, and E and G with a
    formula, which have two nodes), which have a behaviour. branches: the names of the elements whose currents matter:
    the element that F or H senses, the two inductors that K couples.
    """

    name: str
    nodes: tuple[str, ...]
    value: Expr | None = None
    model: str | None = None
    area: Expr = _ONE
    behaviour: Behaviour | None = None
    parameters: Mapping[str, Expr] = field(default_factory=dict)
    branches: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.name[0]


@dataclass(frozen=True)
class DeviceModel:
    """A .model card. kind: its type, such as "npn" (`devices.MODEL_KINDS`). parameters: only those that the card gives,
    lower-case names."""

    name: str
    kind: str
    parameters: Mapping[str, Expr]


@dataclass(frozen=True)
class DeviceNetwork:
    """Diodes of one model between the same two nodes whose law is a network, see devices/learned_diode.py.

    units: hidden units a direction. reach: how far the law is free, in volt; None for the law's default. weights: by
    the names of the law's parameters; forward is from anode to cathode of the first element.
    """

    elements: tuple[str, ...]
    units: int
    reach: Expr | None
    weights: Mapping[str, Expr]

    @property
    def name(self) -> str:
        """What its weights are called after: "D1.forward_3"."""
        return self.elements[0]

    @property
    def values(self) -> dict[str, Expr]:
        """The weights by the names that they have in the circuit."""
        return {f"{self.name}.{weight}": value for weight, value in self.weights.items()}


@dataclass(frozen=True)
class Knob:
    """A .param that a person turns. taper: how the position 0..1 maps to the value of the .param."""

    name: str
    taper: str = "linear"


@dataclass(frozen=True)
class Learnable:
    """What a fit may change: "R4", "DCLIP.is", "drive" or "D1.forward_3". tolerance: relative prior width, None for
    the default."""

    name: str
    tolerance: float | None = None


@dataclass(frozen=True)
class Circuit:
    """A flat circuit (subcircuits expanded).

    parameters: .param values; an entry may use entries before it. inputs: names of V (or I) elements that a signal
    drives. outputs: pairs of nodes (+, -). networks: devices whose laws are learned. tolerances: relative prior width
    by kind letter. temperature: kelvin.
    notes: what the reader skipped or doubted. path: the file it came from.
    """

    title: str
    elements: tuple[Element, ...]
    models: Mapping[str, DeviceModel] = field(default_factory=dict)
    parameters: Mapping[str, Expr] = field(default_factory=dict)
    knobs: tuple[Knob, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    learn: tuple[Learnable, ...] = ()
    networks: tuple[DeviceNetwork, ...] = ()
    tolerances: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 300.15
    notes: tuple[str, ...] = field(default=(), compare=False)
    path: Path | None = field(default=None, compare=False)

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes in order of appearance, ground left out."""
        seen = dict.fromkeys(node for element in self.elements for node in element.nodes)
        return tuple(node for node in seen if node != GROUND)

    @property
    def card_place(self) -> str:
        """What a hint to add a *@ card says after it: how, if the circuit was drawn and not written."""
        drawn = self.path is not None and self.path.suffix.lower() == ".asc"
        return ", as a SPICE directive on the schematic" if drawn else ""

    def element(self, name: str) -> Element:
        """The element of that name. Raises KeyError."""
        for element in self.elements:
            if element.name == name:
                return element
        raise KeyError(name)
