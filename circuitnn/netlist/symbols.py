"""LTspice's symbols: where their pins are and what they stand for in a netlist.

The pins of the standard symbols are those of the .asy files that come with LTspice (lib/sym), in netlist order. They
were read in copies of these files: the symbol table of github.com/itstorque/ltspice-tikz (web/default_symbols.json)
and the library in github.com/bhamrick/schematics (sym/), which agree. Any other symbol is read from a .asy file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from circuitnn.errors import CircuitnnError

Point = tuple[int, int]

MAX_PINS = 200
MAX_COORDINATE = 10_000_000


@dataclass(frozen=True)
class Symbol:
    """pins: name and place of each pin, in the order of the netlist; prefix: the first letters of its card; attributes:
    what the card says where the schematic says nothing else. assumed: whether the pins are only those usual for its
    kind. model: the type of the .model that LTspice supplies for the default value."""

    prefix: str
    pins: tuple[tuple[str, Point], ...]
    attributes: Mapping[str, str] = field(default_factory=dict)
    assumed: bool = False
    model: str | None = None


# Two pins one above the other; x, y of the first, y of the second.
_TALL = (16, 16, 96)
_SHORT = (16, 0, 64)
_SOURCE = (0, 16, 96)
_CURRENT = (0, 0, 80)
_OPAMP = (("In+", (-32, 80)), ("In-", (-32, 48)), ("V+", (0, 32)), ("V-", (0, 96)), ("OUT", (32, 64)))
_CENTRED_OPAMP = tuple((name, (x, y - 64)) for name, (x, y) in _OPAMP)
_BIPOLAR = (("C", (64, 0)), ("B", (0, 48)), ("E", (64, 96)))
_JFET = (("D", (48, 0)), ("G", (0, 64)), ("S", (48, 96)))
_MOSFET = (("D", (48, 0)), ("G", (0, 80)), ("S", (48, 96)))


def _pair(prefix: str, shape: tuple[int, int, int], names: str = "+-", model: str | None = None) -> Symbol:
    x, first, second = shape
    return Symbol(
        prefix, ((names[0], (x, first)), (names[1], (x, second))), {"value": model} if model else {}, model=model
    )


def _controlled(prefix: str, plus: int, minus: int, control_plus: int, control_minus: int) -> Symbol:
    pins = (("+", (0, plus)), ("-", (0, minus)), ("NC+", (-48, control_plus)), ("NC-", (-48, control_minus)))
    return Symbol(prefix, pins)


def _device(model: str, *pins: tuple[str, Point], prefix: str) -> Symbol:
    return Symbol(prefix, pins, {"value": model}, model=model)


STANDARD: Mapping[str, Symbol] = {
    **dict.fromkeys(("res", "europeanresistor"), _pair("R", _TALL, "AB")),
    "res2": _pair("R", _SHORT, "AB"),
    **dict.fromkeys(("cap", "polcap", "europeancap", "europeanpolcap"), _pair("C", _SHORT, "AB")),
    **dict.fromkeys(("ind", "ind2"), _pair("L", _TALL, "AB")),
    **dict.fromkeys(("diode", "zener", "schottky", "led", "varactor", "tvsdiode"), _pair("D", _SHORT, model="D")),
    **dict.fromkeys(("voltage", "battery", "signal"), _pair("V", _SOURCE)),
    "cell": _pair("V", (0, 0, 64)),
    "current": _pair("I", _CURRENT),
    "bv": _pair("B", _SOURCE),
    "bi": _pair("B", _CURRENT),
    "bi2": _pair("B", (0, 80, 0)),
    "e": _controlled("E", 16, 96, 32, 80),
    "e2": _controlled("E", 16, 96, 80, 32),
    "g": _controlled("G", 96, 16, 32, 80),
    "g2": _controlled("G", 96, 16, 80, 32),
    "f": _pair("F", _CURRENT),
    "h": _pair("H", _SOURCE),
    "sw": _controlled("S", 16, 96, 80, 32),
    "csw": _pair("W", _CURRENT),
    **dict.fromkeys(("npn", "npn2", "npn3"), _device("NPN", *_BIPOLAR, prefix="Q")),
    **dict.fromkeys(("pnp", "pnp2"), _device("PNP", *_BIPOLAR, prefix="Q")),
    "npn4": _device("NPN", *_BIPOLAR, ("S", (64, 48)), prefix="Q"),
    "pnp4": _device("PNP", *_BIPOLAR, ("S", (64, 48)), prefix="Q"),
    "njf": _device("NJF", *_JFET, prefix="J"),
    "pjf": _device("PJF", *_JFET, prefix="J"),
    # LTspice ties the bulk of a MOSFET with three pins to its source.
    "nmos": _device("NMOS", *_MOSFET, _MOSFET[2], prefix="M"),
    "pmos": _device("PMOS", *_MOSFET, _MOSFET[2], prefix="M"),
    "nmos4": _device("NMOS", *_MOSFET, ("B", (48, 48)), prefix="M"),
    "pmos4": _device("PMOS", *_MOSFET, ("B", (48, 48)), prefix="M"),
    "opamp": Symbol(
        "X", (("invin", (-32, 48)), ("noninvin", (-32, 80)), ("out", (32, 64))),
        {"value": "opamp", "spiceline": "Aol=100K", "spiceline2": "GBW=10Meg", "modelfile": "opamp.sub"},
    ),
    "opamp2": Symbol("X", _OPAMP),
    "triode": Symbol("X", (("Plate", (0, -48)), ("Grid", (-48, 0)), ("Cathode", (-32, 48)))),
    "tetrode": Symbol(
        "X", (("Anode", (0, -48)), ("Screen", (48, 0)), ("Grid", (-48, 16)), ("Cathode", (-32, 64)))
    ),
    "pentode": Symbol(
        "X",
        (("Cathode", (-32, 64)), ("G1", (-48, 16)), ("G2", (48, 0)), ("G3", (-48, -16)), ("Anode", (0, -64))),
    ),
    # Two names for one node; no element.
    "jumper": Symbol("", (("+", (-32, 64)), ("-", (32, 64)))),
}  # fmt: skip

_UNIVERSAL = re.compile(r"universalopamps?(?P<level>1|2|3a|3b|)", re.IGNORECASE)

_UNIVERSAL_VALUES = {
    "value2": "Avol=1Meg GBW=10Meg Slew=10Meg",
    "spiceline": "ilimit=25m rail=0 Vos=0 phimargin=45",
    "spiceline2": "en=0 enk=0 in=0 ink=0 Rin=500Meg",
}


def base_name(path: str) -> str:
    """The name of a symbol without its folders: "Opamps\\\\LT1001" -> "LT1001"."""
    return re.split(r"[\\/]", path)[-1]


def standard_symbol(path: str) -> Symbol | None:
    """The symbol that a schematic calls by that name, if LTspice's own library has it with pins that are known here."""
    *folders, name = re.split(r"[\\/]+", path.lower())
    if match := _UNIVERSAL.fullmatch(name):
        attributes = {
            "spicemodel": f"level{match['level'] or 2}",
            "modelfile": "UniversalOpamps2.sub",
            **_UNIVERSAL_VALUES,
        }
        return Symbol("X", _CENTRED_OPAMP, attributes, assumed=True)
    if name in STANDARD:
        return STANDARD[name]
    if folders and folders[-1] == "opamps":
        return Symbol("X", _OPAMP, {"value": base_name(path)}, assumed=True)
    return None


def parse_symbol(text: str) -> Symbol:
    """Read a .asy file. Raises CircuitnnError for a file that is no symbol of a part."""
    attributes: dict[str, str] = {}
    pins: list[dict[str, str]] = []
    places: list[Point] = []
    for line in text.splitlines():
        keyword, _, rest = line.strip().partition(" ")
        words = rest.split(None, 1)
        match keyword.upper():
            case "SYMATTR" if len(words) == 2:
                attributes[words[0].lower()] = words[1].strip()
            case "PIN":
                places.append(point(rest.split()))
                pins.append({})
            case "PINATTR" if pins and len(words) == 2:
                pins[-1][words[0].lower()] = words[1].strip()
    if not pins or len(pins) > MAX_PINS:
        raise CircuitnnError(f"a symbol with {len(pins)} pins")
    orders = [pin.get("spiceorder", "") for pin in pins]
    if not all(re.fullmatch("[0-9]{1,6}", order) for order in orders):
        raise CircuitnnError("a pin without SpiceOrder")
    prefix = attributes.pop("prefix", "")
    if not prefix[:1].isalpha():
        raise CircuitnnError("no Prefix, as the symbol of a sheet in a hierarchical schematic")
    ordered = sorted(range(len(pins)), key=lambda index: int(orders[index]))
    named = tuple((pins[index].get("pinname", orders[index]), places[index]) for index in ordered)
    return Symbol(prefix[0].upper(), named, attributes)


def point(words: list[str]) -> Point:
    """Two coordinates. Raises CircuitnnError."""
    if len(words) < 2 or not all(re.fullmatch("[+-]?[0-9]{1,9}", word) for word in words[:2]):
        raise CircuitnnError(f"expected two whole numbers, found {' '.join(words[:2]) or 'nothing'!r}")
    x, y = int(words[0]), int(words[1])
    if max(abs(x), abs(y)) > MAX_COORDINATE:
        raise CircuitnnError(f"a coordinate beyond {MAX_COORDINATE}")
    return x, y


def place(pin: Point, origin: Point, orientation: str) -> Point:
    """Where a pin of a symbol lies on the sheet. orientation: R or M and 0, 90, 180 or 270.

    R turns clockwise (y points down); M turns, then mirrors left and right.
    """
    x, y = pin
    for _ in range(int(orientation[1:]) // 90):
        x, y = -y, x
    if orientation[0] == "M":
        x = -x
    return origin[0] + x, origin[1] + y
