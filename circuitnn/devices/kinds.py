"""Which laws stand behind a .model card: one row for each type, so that a new device is one law and one row here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from circuitnn.devices.bjt import BJT, GUMMEL_POON, GUMMEL_POON_NKF
from circuitnn.devices.diode import BREAKDOWN_DIODE, COMPLETE_DIODE, DIODE, DIODE_PAIR
from circuitnn.devices.jfet import JFET
from circuitnn.devices.law import Law, Parameter
from circuitnn.devices.mosfet import NMOS, PMOS
from circuitnn.devices.switch import CURRENT_SWITCH, VOLTAGE_SWITCH
from circuitnn.errors import CircuitnnError

Terminals = tuple[str, str]
# The port that senses the current of the element that the card names (see law.AMPERE_PER_VOLT).
SENSED_CURRENT: Terminals = ("", "")


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


# Charges, noise, ratings, geometry and secondary temperature coefficients that SPICE dialects know and no law here has.
_COMMON = "level kf af fc temp tnom mfg vceo icrating iave vpk type"
_DIODE_IGNORED = """
    cjo tt cjp php mjsw fcs ikr jsw ns pj area tlev tlevc cta ctp tpb tphp ttt1 ttt2 tm1 tm2 trs1 trs2 jtun jtunsw
    ntun xtitun keg fv_max bv_max id_max te_max pd_max rth0 cth0 lm lp wm wp xom xoi xm xp ibvl nbvl tbv1 tbv2 tikf"""
_BIPOLAR_IGNORED = """
    irb rbm cje vje mje tf xtf vtf itf ptf cjc vjc mjc xcjc tr cjs vjs mjs iss ns rco vo gamma qco subs tlev tlevc c2 c4
    tbf1 tbf2 tbr1 tbr2 tikf1 tikf2 tikr1 tikr2 tirb1 tirb2 tnc1 tnc2 tne1 tne2 tnf1 tnf2 tnr1 tnr2 trb1 trb2 trc1 trc2
    tre1 tre2 trm1 trm2 tvaf1 tvaf2 tvar1 tvar2 ctc cte cts tvjc tvje tvjs titf1 titf2 ttf1 ttf2 ttr1 ttr2 tmje1 tmje2
    tmjc1 tmjc2 tmjs1 tmjs2 tns1 tns2 tis1 tis2 tise1 tise2 tisc1 tisc2 tiss1 tiss2 quasimod vg cn d kf nepi
    vbe_max vbc_max vce_max pd_max ic_max ib_max te_max rth0 ibe ibc xcjc2"""
_JFET_IGNORED = "cgs cgd m n isr nr alpha vk nlev gdsnoi"
_MOSFET_IGNORED = """
    cbd cbs pb cgso cgdo cgbo rsh cj mj cjsw mjsw nsub nss tpg nfs xj vmax delta theta eta kappa ucrit uexp utra neff
    nlev gdsnoi"""

_SWITCH_IGNORED = "lser vser ilimit level epsilon"


def _names(*lists: str) -> frozenset[str]:
    return frozenset(" ".join(lists).split())


_DIODE = Family("D", "diode", ("anode", "cathode"), "D1 anode cathode MODEL", ("temp",))
_BIPOLAR = Family("Q", "bipolar transistor", ("collector", "base", "emitter"), "Q1 c b e MODEL", ("temp",))
_JFET = Family("J", "JFET", ("drain", "gate", "source"), "J1 d g s MODEL", ("temp",))
_MOSFET = Family(
    "M", "MOSFET", ("drain", "gate", "source", "bulk"), "M1 d g s b MODEL W=10u L=2u", ("temp", "w", "l", "ad", "as")
)

_SWITCH = Family("S", "switch", ("first", "second", "control +", "control -"), "S1 a b control+ control- MODEL")
_CURRENT_SWITCH = Family("W", "current-controlled switch", ("first", "second"), "W1 a b Vsense MODEL")

_KINDS = (
    ModelKind(
        name="d",
        family=_DIODE,
        laws=(
            (COMPLETE_DIODE, frozenset({"ikf", "isr"})),
            (BREAKDOWN_DIODE, frozenset({"bv"})),
            (DIODE, frozenset()),
        ),
        ports=(("anode", "cathode"),),
        resistances={"rs": "anode"},
        pair=DIODE_PAIR,
        aliases={
            "js": "is", "cj0": "cjo", "cj": "cjo", "pb": "vj", "mj": "m", "ib": "ibv", "ik": "ikf", "tref": "tnom",
        },
        ignored=_names(_COMMON, _DIODE_IGNORED),
    ),
    *(
        ModelKind(
            name=name,
            family=_BIPOLAR,
            laws=(
                (GUMMEL_POON_NKF, frozenset({"nkf"})),
                (GUMMEL_POON, frozenset({"var", "ikf", "ikr", "ise", "isc"})),
                (BJT, frozenset()),
            ),
            ports=(("base", "emitter"), ("base", "collector")),
            reversed=name == "pnp",
            resistances={"rc": "collector", "rb": "base", "re": "emitter"},
            aliases={
                "va": "vaf", "vb": "var", "ik": "ikf", "pe": "vje", "me": "mje", "pc": "vjc", "mc": "mjc", "ps": "vjs",
                "ms": "mjs", "ccs": "cjs", "csub": "cjs", "tref": "tnom", "trb": "trb1",
            },
            ignored=_names(_COMMON, _BIPOLAR_IGNORED),
        )
        for name in ("npn", "pnp")
    ),
    *(
        ModelKind(
            name=name,
            family=_JFET,
            laws=((JFET, frozenset()),),
            ports=(("gate", "source"), ("gate", "drain")),
            reversed=name == "pjf",
            resistances={"rd": "drain", "rs": "source"},
            aliases={"vt0": "vto"},
            ignored=_names(_COMMON, _JFET_IGNORED),
        )
        for name in ("njf", "pjf")
    ),
    *(
        ModelKind(
            name=law.name,
            family=_MOSFET,
            laws=((law, frozenset()),),
            ports=(("gate", "source"), ("bulk", "source"), ("bulk", "drain")),
            reversed=law is PMOS,
            resistances={"rd": "drain", "rs": "source"},
            aliases={"vt0": "vto", "u0": "uo"},
            ignored=_names(_COMMON, _MOSFET_IGNORED),
        )
        for law in (NMOS, PMOS)
    ),
    ModelKind(
        name="sw",
        family=_SWITCH,
        laws=((VOLTAGE_SWITCH, frozenset()),),
        ports=(("first", "second"), ("control +", "control -")),
        ignored=_names(_SWITCH_IGNORED),
    ),
    ModelKind(
        name="csw",
        family=_CURRENT_SWITCH,
        laws=((CURRENT_SWITCH, frozenset()),),
        ports=(("first", "second"), SENSED_CURRENT),
        ignored=_names(_SWITCH_IGNORED),
    ),
)  # fmt: skip
_BY_NAME = {kind.name: kind for kind in _KINDS}
MODEL_KINDS: Mapping[str, ModelKind] = MappingProxyType(_BY_NAME)
FAMILIES: Mapping[str, Family] = {kind.family.letter: kind.family for kind in _KINDS}


def register(kind: ModelKind) -> None:
    """Let netlists use a new type of .model, for elements of a letter that exists (one of FAMILIES).

    For programs that add a device of their own; the package's are in the table above. Raises CircuitnnError if the
    name is taken or the family unknown.
    """
    if kind.name in _BY_NAME:
        raise CircuitnnError(f"there is a .model type {kind.name!r} already", f"known: {', '.join(_BY_NAME)}")
    if kind.family not in FAMILIES.values():
        raise CircuitnnError(f"no elements begin with {kind.family.letter!r}", f"known: {', '.join(FAMILIES)}")
    _BY_NAME[kind.name] = kind
