"""Which laws stand behind a .model card: one row for each type, so that a new device is one law and one row here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from circuitnn.devices.bjt import BJT
from circuitnn.devices.diode import BREAKDOWN_DIODE, DIODE, DIODE_PAIR
from circuitnn.devices.law import Law, Parameter

Terminals = tuple[str, str]


@dataclass(frozen=True)
class Family:
    """The elements of one letter that have a .model.

    terminals: the nodes of the card, in order. instance: parameters that stand on the element card, beside its area.
    """

    letter: str
    name: str
    terminals: tuple[str, ...]
    example: str
    instance: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelKind:
    """What a .model of some type is.

    laws: (law, model parameters that call for it); the first one counts of whose parameters one is given, and the last
    one, the cheapest, needs none. ports: terminals (+, -) of each port of the laws; reversed: polarity is opposite, so
    all ports are turned round. resistances: model parameters that lie in series with a terminal, as an inner node.
    pair: the law of several devices of one model between the same two nodes, with `reverse_area` for those that are
    turned round. aliases: other names of parameters. ignored: known parameters that no law here has.
    """

    name: str
    family: Family
    laws: tuple[tuple[Law, frozenset[str]], ...]
    ports: tuple[Terminals, ...]
    reversed: bool = False
    resistances: Mapping[str, str] = field(default_factory=dict)
    pair: Law | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def law(self, given: Collection[str]) -> Law:
        """The law of a model whose card gives these parameters."""
        return next(law for law, calling in self.laws if not calling or not calling.isdisjoint(given))

    @property
    def conducting(self) -> tuple[Terminals, ...]:
        """The ports through which a current flows at DC; a gate behind an oxide only senses."""
        law, _ = self.laws[-1]
        return tuple(port for port, current in zip(self.ports, law.currents, strict=True) if current != 0)

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """All parameters that a .model card of this type may give with effect."""
        found = {name: parameter for law, _ in reversed(self.laws) for name, parameter in law.parameters.items()}
        found |= {
            name: Parameter(0.0, "ohm", f"resistance in series with the {terminal}")
            for name, terminal in self.resistances.items()
        }
        return {name: parameter for name, parameter in found.items() if name not in ("area", *self.family.instance)}


_DIODE = Family("D", "diode", ("anode", "cathode"), "D1 anode cathode MODEL")
_BIPOLAR = Family("Q", "bipolar transistor", ("collector", "base", "emitter"), "Q1 c b e MODEL")

MODEL_KINDS: Mapping[str, ModelKind] = {
    kind.name: kind
    for kind in (
        ModelKind(
            name="d",
            family=_DIODE,
            laws=((BREAKDOWN_DIODE, frozenset({"bv"})), (DIODE, frozenset())),
            ports=(("anode", "cathode"),),
            resistances={"rs": "anode"},
            pair=DIODE_PAIR,
        ),
        *(
            ModelKind(
                name=name,
                family=_BIPOLAR,
                laws=((BJT, frozenset()),),
                ports=(("base", "emitter"), ("base", "collector")),
                reversed=name == "pnp",
            )
            for name in ("npn", "pnp")
        ),
    )
}

FAMILIES: Mapping[str, Family] = {kind.family.letter: kind.family for kind in MODEL_KINDS.values()}
