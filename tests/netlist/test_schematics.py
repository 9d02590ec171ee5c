"""LTspice schematics: a drawing is the netlist that LTspice writes for it, however it is turned, mirrored and wired."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitnn.circuit import Circuit
from circuitnn.errors import CircuitError, NetlistError
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist, read_netlist
from circuitnn.netlist.asc import schematic_deck
from circuitnn.netlist.lexer import Deck, physical_lines
from circuitnn.netlist.symbols import STANDARD

ORIENTATIONS = ("R0", "R90", "R180", "R270", "M0", "M90", "M180", "M270")
HEAD = "Version 4\nSHEET 1 880 680\n"

# A diode clipper as a person draws it: a resistor and a capacitor lying on their side, an upside-down diode, ground by
# flags, a T without a vertex (the capacitor's wire meets the long one in its middle), two pins on the same point.
CLIPPER = (
    HEAD
    + """WIRE 96 96 0 96
WIRE 208 96 176 96
WIRE 480 96 272 96
WIRE 0 112 0 96
WIRE 320 128 320 96
WIRE 400 128 400 96
FLAG 0 192 0
FLAG 320 192 0
FLAG 400 192 0
FLAG 480 96 out
FLAG 0 96 in
SYMBOL voltage 0 96 R0
WINDOW 3 -40 100 Left 2
SYMATTR InstName V1
SYMATTR Value AC 1
SYMBOL res 192 80 R90
WINDOW 0 0 56 VBottom 2
SYMATTR InstName R1
SYMATTR Value {1k*(1+drive)}
SYMBOL cap 208 112 R270
SYMATTR InstName C1
SYMATTR Value 4.7µ
SYMBOL diode 304 128 R0
SYMATTR InstName D1
SYMATTR Value 1N4148X
SYMBOL diode 416 192 R180
SYMATTR InstName D2
SYMATTR Value 1N4148X
SYMBOL res 464 80 R0
SYMATTR InstName R2
SYMATTR Value 10Meg
FLAG 480 176 0
TEXT 16 -40 Left 2 !.model 1N4148X D(IS=2.52n N=1.752)\\n.param drive=0.5
TEXT 16 -80 Left 2 !.tran 10m
TEXT 16 -120 Left 2 ;A note\\n*@ input V1\\n*@ output out
TEXT 16 -140 Left 2 !*@ knob drive 0.5
LINE Normal 0 0 100 100 2
RECTANGLE Normal 0 0 100 100
"""
)
CLIPPER_NETLIST = """by hand
V1 in 0 0
R1 N001 in {1k*(1+drive)}
C1 N001 out 4.7u
D1 out 0 1N4148X
D2 0 out 1N4148X
R2 out 0 10Meg
.model 1N4148X D(IS=2.52n N=1.752)
.param drive=0.5
*@ input V1
*@ output out
*@ knob drive 0.5
"""


def deck(text: str, folder: Path = Path("nowhere")) -> Deck:
    return schematic_deck(physical_lines(text, "x.asc"), folder)


def elements(text: str, folder: Path = Path("nowhere")) -> list[str]:
    """The element cards of some records."""
    return [card.text for card in deck(HEAD + text, folder).cards if not card.text.startswith(".")]


def part(symbol: str, x: int, y: int, orientation: str, name: str, value: str | None = "1") -> str:
    given = "" if value is None else f"SYMATTR Value {value}\n"
    return f"SYMBOL {symbol} {x} {y} {orientation}\nSYMATTR InstName {name}\n{given}"


def essence(circuit: Circuit) -> tuple[object, ...]:
    """All of a circuit but its title and the order of its cards."""
    elements = {element.name: element for element in circuit.elements}
    return elements, circuit.models, circuit.parameters, circuit.knobs, circuit.inputs, circuit.outputs


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("suffix", [".asc", ".ASC"])
def test_a_schematic_is_its_netlist(tmp_path: Path, encoding: str, suffix: str) -> None:
    path = tmp_path / f"clipper{suffix}"
    path.write_bytes(CLIPPER.replace("\n", "\r\n").encode(encoding))
    circuit = read_netlist(path)
    assert circuit.title == "clipper"
    assert essence(circuit) == essence(parse_netlist(CLIPPER_NETLIST))
    assert [note for note in circuit.notes if "skipped" not in note] == []


# Where the pins of an npn at (1000, 2000) are: collector, base, emitter. R0, R90, R180, R270, M0, M90 and M180 are as
# wires end at such symbols in public schematics (M90 and M180: resistors R7 and R11 of mxr-dyna-comp.asc in
# github.com/Cushychicken/ltspice-guitar-pedals); M270 completes the group.
NPN = {
    "R0": [(1064, 2000), (1000, 2048), (1064, 2096)],
    "R90": [(1000, 2064), (952, 2000), (904, 2064)],
    "R180": [(936, 2000), (1000, 1952), (936, 1904)],
    "R270": [(1000, 1936), (1048, 2000), (1096, 1936)],
    "M0": [(936, 2000), (1000, 2048), (936, 2096)],
    "M90": [(1000, 2064), (1048, 2000), (1096, 2064)],
    "M180": [(1064, 2000), (1000, 1952), (1064, 1904)],
    "M270": [(1000, 1936), (952, 2000), (904, 1936)],
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pins_turn_and_mirror_with_the_symbol(orientation: str) -> None:
    flags = "".join(f"FLAG {x} {y} {name}\n" for (x, y), name in zip(NPN[orientation], "cbe", strict=True))
    assert elements(flags + part("npn", 1000, 2000, orientation, "Q1", "QX")) == ["Q1 c b e QX"]


def test_resistors_of_a_public_schematic() -> None:
    """Records as LTspice saved them (mxr-dyna-comp.asc, proco-rat-distortion.asc: see NPN), with labels added."""
    wires = "WIRE 1136 448 1072 448\nFLAG 1072 448 a\nWIRE 1280 448 1216 448\nFLAG 1280 448 b\n"
    assert elements(wires + part("res", 1120, 432, "M90", "R11")) == ["R11 a b 1"]
    wires = "WIRE 960 336 960 272\nFLAG 960 272 a\nWIRE 960 464 960 416\nFLAG 960 464 b\n"
    assert elements(wires + part("res", 944, 432, "M180", "R7")) == ["R7 b a 1"]
    wires = "WIRE -384 224 -384 192\nFLAG -384 192 a\nWIRE -384 368 -384 304\nFLAG -384 368 0\n"
    assert elements(wires + part("res", -368, 208, "M0", "R3")) == ["R3 a 0 1"]


# What LTspice's reference (github.com/analogdevicesinc/ltspice-reference, SCHEMATIC-REFERENCE) says of its symbols.
PUBLISHED = {
    "cap": [(16, 0), (16, 64)], "res": [(16, 16), (16, 96)], "ind": [(16, 16), (16, 96)],
    "voltage": [(0, 16), (0, 96)], "current": [(0, 0), (0, 80)], "diode": [(16, 0), (16, 64)],
    "npn": [(64, 0), (0, 48), (64, 96)], "nmos": [(48, 0), (0, 80), (48, 96)], "sw": [(0, 16), (0, 96), (-48, 80)],
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_symbols_are_as_published(name: str) -> None:
    assert [pin for _, pin in STANDARD[name].pins][: len(PUBLISHED[name])] == PUBLISHED[name]


@settings(max_examples=150)
@given(st.data())
def test_wires_lead_from_every_pin_of_every_symbol(data: st.DataObject) -> None:
    """Pin k is led to a label pk, by a wire with a bend, from a symbol turned and mirrored in any way."""
    name = data.draw(st.sampled_from([name for name, symbol in STANDARD.items() if symbol.prefix]))
    symbol, orientation = STANDARD[name], data.draw(st.sampled_from(ORIENTATIONS))
    x, y = (16 * data.draw(st.integers(-1000, 1000)) for _ in "xy")
    records, top = "", y - 5003
    for k, (_, pin) in enumerate(symbol.pins):
        # Turning is multiplication by i (y points down), mirroring is conjugation about the vertical axis.
        spot = complex(*pin) * 1j ** (int(orientation[1:]) // 90)
        spot = complex(-spot.real, spot.imag) if orientation[0] == "M" else spot
        pin_x, pin_y = x + round(spot.real), y + round(spot.imag)
        # Wires may cross, but none ends on another.
        bend_x, bend_y = x + 4001 + 167 * k, y + 2003 + 101 * k
        records += f"WIRE {pin_x} {pin_y} {bend_x} {bend_y}\nWIRE {bend_x} {bend_y} {bend_x} {top}\n"
        records += f"FLAG {bend_x} {top} p{k}\n"
    letter = symbol.prefix
    # The bulk of a MOSFET with three pins is its source.
    nodes = [f"p{[place for _, place in symbol.pins].index(pin)}" for _, pin in symbol.pins]
    wired = elements(records + part(name, x, y, orientation, f"{letter}1", "VAL"))
    if len(set(nodes)) == len(nodes):
        assert wired[0].split()[: 1 + len(nodes)] == [f"{letter}1", *nodes]
    else:
        assert len(set(wired[0].split()[3:5])) == 1


def test_what_touches_and_what_does_not() -> None:
    def nodes(wires: str) -> list[str]:
        """The nodes of two resistors from labels a and b down to ground, at (0, 0) and (400, 0)."""
        ends = "FLAG 16 96 0\nFLAG 416 96 0\n"
        return [
            card.split()[1]
            for card in elements(wires + ends + part("res", 0, 0, "R0", "R1") + part("res", 400, 0, "R0", "R2"))
        ]

    assert nodes("FLAG 16 16 a\nFLAG 416 16 b\n") == ["a", "b"]
    assert nodes("WIRE 16 16 416 16\n") == ["N001", "N001"]
    # A label in the middle of a wire, and labels that are alike.
    assert nodes("WIRE 16 16 416 16\nFLAG 200 16 x\n") == ["x", "x"]
    assert nodes("FLAG 16 16 Out\nFLAG 416 16 oUT\n") in (["Out", "Out"], ["oUT", "oUT"])
    # Wires that cross are not connected; one that ends on another is, and so is one along another.
    cross = "WIRE 16 16 416 -384\nWIRE 416 16 16 -384\n"
    assert sorted(nodes(cross)) == ["N001", "N002"]
    assert nodes("WIRE 16 16 16 -96\nWIRE 416 16 416 -48\nWIRE 416 -48 16 -48\n") == ["N001", "N001"]
    assert nodes("WIRE 16 16 300 16\nWIRE 200 16 416 16\n") == ["N001", "N001"]
    assert nodes("WIRE 16 16 200 16\nWIRE 232 16 416 16\n") == ["N001", "N002"]
    # Pins on one point need no wire; a pin on a wire is on it.
    assert elements(part("res", 0, 0, "R0", "R1") + part("res", 0, 80, "R0", "R2") + "FLAG 16 176 0\n") == [
        "R1 NC_01 N001 1", "R2 N001 0 1",
    ]  # fmt: skip
    assert elements(
        "WIRE 16 0 16 16\nFLAG 16 0 a\nWIRE -100 96 100 96\nFLAG -100 96 b\n" + part("res", 0, 0, "R0", "R1")
    ) == ["R1 a b 1"]


def test_ground_and_names_of_nodes() -> None:
    resistor = part("res", 0, 0, "R0", "R1")
    assert elements("FLAG 16 16 GND\nFLAG 16 96 my net\n" + resistor) == ["R1 0 my_net 1"]
    assert elements("FLAG 16 16 N001\n" + resistor + part("res", 0, 80, "R0", "R2")) == [
        "R1 N001 N002 1",
        "R2 N002 NC_01 1",
    ]
    two = deck(HEAD + "FLAG 16 16 a\nFLAG 16 16 b\nFLAG 16 96 0\nFLAG 16 96 com\n" + resistor)
    assert two.cards[0].text == "R1 a 0 1"
    assert two.doubts == [
        "the labels a, b are on one node, which is called a", "the labels 0, com are on one node, which is called 0",
    ]  # fmt: skip
    jumper = (
        "SYMBOL Misc\\\\jumper 0 -64 R0\nFLAG -32 0 a\nFLAG 32 0 b\nWIRE 32 0 32 16\nWIRE 32 16 16 16\nFLAG 16 96 0\n"
    )
    assert elements(jumper + resistor) == ["R1 a 0 1"]


def test_what_is_drawn_but_perhaps_not_meant() -> None:
    found = deck(HEAD + "WIRE 16 16 16 0\nFLAG 96 96 lost\n" + part("res", 0, 0, "R0", "R1"))
    assert found.doubts == ["R1: pin B touches nothing", "wires end at (16, 0), where nothing is"]
    assert found.cards[0].text == "R1 N001 NC_01 1"


# -- what a part says -------------------------------------------------------------------------------------------------


def test_attributes_in_the_order_of_the_netlist() -> None:
    records = (
        part("cap", 0, 0, "R0", "C1", "10n")
        + "SYMATTR SpiceLine2 Lser=1n\nSYMATTR SpiceLine Rser=2 ic=0\nSYMATTR Type cap\n"
    )
    assert elements(records) == ["C1 NC_01 NC_02 10n Rser=2 ic=0 Lser=1n"]
    source = part("voltage", 0, 0, "R0", "V1", '""') + "SYMATTR Value2 AC 1 0\n"
    assert elements(source) == ["V1 NC_01 NC_02 AC 1 0"]
    assert elements(part("voltage", 0, 0, "R0", "Vin", None)) == ["Vin NC_01 NC_02"]


def test_names_get_the_letter_of_their_kind_as_in_ltspice() -> None:
    assert elements(part("npn", 0, 0, "R0", "T1", "BC")) == ["Q§T1 NC_01 NC_02 NC_03 BC"]
    assert elements(part("res", 0, 0, "R0", "R1", "POT") + "SYMATTR Prefix X\n") == ["XR1 NC_01 NC_02 POT"]
    assert elements(part("opamp2", 0, 0, "R0", "U1", "TL072"))[0].startswith("XU1 ")


def test_default_models() -> None:
    cards = [
        card.text
        for card in deck(HEAD + part("npn", 0, 0, "R0", "Q1", None) + part("njf", 400, 0, "R0", "J1", "J201")).cards
    ]
    assert cards[0].endswith(" NPN")
    assert ".model NPN NPN" in cards
    assert not any(card.startswith(".model NJF") for card in cards)
    own = HEAD + part("diode", 0, 0, "R0", "D1", None) + "TEXT 0 0 Left 2 !.model D D(IS=1n)\n"
    assert sum(card.text.startswith(".model") for card in deck(own).cards) == 1


# The five pins of the op-amps of LTspice (opamp2.asy, AD822 in Batch_Test.asc of github.com/nunobrum/spicelib, where
# LTspice's own netlist has "XU1 IN N001 +V -V OUT").
OPAMP = (
    "FLAG -32 48 N001\nFLAG -32 80 IN\nFLAG 0 32 +V\nFLAG 0 96 -V\nFLAG 32 64 OUT\n"
    "SYMBOL Opamps\\\\{0} 0 0 R0\nSYMATTR InstName U1\n"
)


def test_op_amps_by_their_name() -> None:
    assert elements(OPAMP.format("AD822")) == ["XU1 IN N001 +V -V OUT AD822"]
    assert elements(OPAMP.format("opamp2") + "SYMATTR Value TL072\n") == ["XU1 IN N001 +V -V OUT TL072"]
    universal = "".join(
        f"FLAG {x} {y} {name}\n"
        for x, y, name in [(-32, 16, "p"), (-32, -16, "m"), (0, -32, "v"), (0, 32, "w"), (32, 0, "o")]
    )
    universal += "SYMBOL Opamps\\\\UniversalOpamp2 0 0 R0\nSYMATTR InstName U1\nSYMATTR Value2 Avol=2Meg\n"
    assert elements(universal)[0].startswith("XU1 p m v w o level2 Avol=2Meg ilimit=25m")


def test_an_op_amp_with_other_pins_is_refused() -> None:
    """The RAT's LM308 has pins for compensation, so wires end beside where the usual pins are."""
    beside = OPAMP.format("LM308") + "WIRE -16 32 -16 0\nFLAG -16 0 comp\n"
    with pytest.raises(NetlistError, match=r"U1 \(LM308\).*a wire ends at \(-16, 32\)") as caught:
        deck(HEAD + beside)
    assert "LM308.asy" in str(caught.value.hint)
    with pytest.raises(NetlistError, match=r"U1 \(LM13700\).*V- would touch nothing"):
        deck(HEAD + OPAMP.format("LM13700").replace("FLAG 0 96 -V\n", ""))


ASY = """Version 4
SymbolType CELL
LINE Normal 16 88 16 96
WINDOW 0 36 32 Left 0
SYMATTR Value Rtot=10K wiper=.5
SYMATTR Prefix X
SYMATTR SpiceModel potentiometer
SYMATTR ModelFile pots.sub
PIN 64 64 NONE 0
PINATTR PinName C
PINATTR SpiceOrder 3
PIN 16 16 NONE 0
PINATTR PinName A
PINATTR SpiceOrder 1
PIN 16 96 NONE 0
PINATTR PinName B
PINATTR SpiceOrder 2
"""
POT = HEAD + "FLAG 16 16 a\nFLAG 16 96 0\nFLAG 64 64 w\nSYMBOL {0} 0 0 R0\nSYMATTR InstName U1\n"
POT_SUB = ".subckt potentiometer 1 2 3\n.param w=limit(wiper,1m,.999)\nR0 1 3 {Rtot*(1-w)}\nR1 3 2 {Rtot*w}\n.ends\n"


def test_symbols_beside_the_schematic(tmp_path: Path) -> None:
    (tmp_path / "Pot.asy").write_text(ASY)
    (tmp_path / "pots.sub").write_text(POT_SUB)
    path = tmp_path / "x.asc"
    # Two of them: a library that is asked for twice is read once.
    second = part("pot", 400, 0, "R0", "U2", "Rtot=1k wiper={drive}") + "FLAG 416 16 w\nFLAG 416 96 0\nFLAG 464 64 a\n"
    path.write_text(POT.format("my\\\\pot") + second + "TEXT 0 0 Left 2 !.param drive=0.25\n")
    circuit = read_netlist(path)
    names = {element.name: element.nodes for element in circuit.elements}
    assert names == {
        "R.XU1.R0": ("a", "w"), "R.XU1.R1": ("w", "0"), "R.XU2.R0": ("w", "a"), "R.XU2.R1": ("a", "0"),
    }  # fmt: skip
    assert float(circuit.element("R.XU1.R0").value) == 5000.0
    assert (
        float(
            circuit.element("R.XU2.R1").value.subs(dict.fromkeys(circuit.element("R.XU2.R1").value.free_symbols, 0.25))
        )
        == 250.0
    )


def test_a_symbol_with_its_library_is_netlisted_by_value2(tmp_path: Path) -> None:
    """As LTspice's help says of the Prefix X with SpiceModel, Value and Value2 ("General Attribute Editor")."""
    text = ASY.replace("SpiceModel potentiometer", "SpiceModel pots.lib").replace("ModelFile pots.sub", "Value2 POT10")
    (tmp_path / "pot.asy").write_text(text)
    cards = [card.text for card in deck(POT.format("pot"), tmp_path).cards]
    assert cards == ["XU1 a 0 w POT10", '.lib "pots.lib"', ".backanno"]


@pytest.mark.parametrize(
    ("records", "message", "hint"),
    [
        ("SYMBOL pot 0 0 R0\nSYMATTR InstName U1\n", "the symbol pot of U1 is not known", "pot.asy"),
        ("SYMBOL AutoGenerated\\\\LM13700 0 0 R0\n", "LM13700 of", "LM13700.asy"),
        ("SYMBOL stage 0 0 R0\nSYMATTR InstName X1\n", "hierarchical", "export the netlist"),
        ("SYMBOL broken 0 0 R0\nSYMATTR InstName X1\n", "broken.asy: a pin without SpiceOrder", None),
        ("SYMBOL res 0 0 R45\n", "expected SYMBOL name x y orientation", "save"),
        ("SYMBOL res 0 zero R0\n", "expected two whole numbers, found '0 zero'", "save"),
        ("SYMBOL res 0 0 R0\nSYMATTR Value 1k\n", "a part without a name", None),
        ("SYMBOL res 0 0 R0\nSYMATTR InstName R1\n", "R1 has no value", "4.7k"),
        ("WIRE 0 0 0\n", "expected two whole numbers", None),
        ("WIRE 0 0 0 99999999999999999999\n", "expected two whole numbers", None),
        ("FLAG 0 0\n", "a FLAG without a name", None),
        ("BUSTAP 0 0 16 16\n", "buses are not supported", None),
        ("SYMATTR Value 1\n", "a SYMATTR without a SYMBOL", None),
        ("NONSENSE 1 2\n", "unknown record 'NONSENSE'", None),
        ("WIRE 0 0 16 16\n", "no parts", None),
        ("".join(f"WIRE 0 0 {k} 1\n" for k in range(200)) + part("res", 0, 0, "R0", "R1"), "different angles", None),
    ],
)  # fmt: skip
def test_what_cannot_be_read(tmp_path: Path, records: str, message: str, hint: str | None) -> None:
    (tmp_path / "stage.asc").write_text(HEAD)
    (tmp_path / "broken.asy").write_text(ASY.replace("PINATTR SpiceOrder 2", ""))
    with pytest.raises(NetlistError) as caught:
        deck(HEAD + records, tmp_path)
    assert message in caught.value.message
    assert "x.asc" in str(caught.value)
    assert hint is None or hint in str(caught.value.hint)


def test_no_schematic() -> None:
    with pytest.raises(NetlistError, match="no LTspice schematic"):
        deck("R1 a b 1k\n")


# -- places of errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("{1k*(1+drive)}", "{1k*(1+drvie)}", "SYMATTR Value {1k*(1+drvie)}", "drvie"),
        ("SYMATTR Value 10Meg", "SYMATTR Value 10Mog x", "SYMATTR Value 10Mog x", "x"),
        (".param drive=0.5", ".param drive=0,5", "", ",5"),
        ("*@ output out", "*@ output oat", "", "oat"),
        ("*@ input V1", "*@ input V7", "", "V7"),
    ],
)
def test_errors_point_into_the_schematic(tmp_path: Path, old: str, new: str, line: str, word: str) -> None:
    text = CLIPPER.replace(old, new)
    path = tmp_path / "x.asc"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NetlistError) as caught:
        read_netlist(path)
    place = caught.value.location
    assert place is not None
    assert place.file == str(path)
    physical = text.split("\n")[place.line - 1]
    assert new in physical
    assert line in physical
    assert physical[place.column - 1 :].startswith(word)


def test_what_is_missing_is_said_as_one_adds_it_in_ltspice(tmp_path: Path) -> None:
    path = tmp_path / "x.asc"
    path.write_text(CLIPPER.replace("\\n*@ input V1", ""), encoding="utf-8")
    with pytest.raises(CircuitError) as caught:
        CircuitModel(read_netlist(path), 44100)
    assert caught.value.hint == "add a card such as `*@ input Vin`, as a SPICE directive on the schematic"


def test_a_part_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.asc"
    path.write_text(CLIPPER.replace("InstName R2", "InstName R1"), encoding="utf-8")
    with pytest.raises(NetlistError, match="R1 is defined twice"):
        read_netlist(path)


@settings(max_examples=150)
@given(st.data())
def test_damaged_schematics_give_a_circuit_or_a_netlist_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = CLIPPER.split("\n")
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(lines) - 1))
        line = lines[place]
        match data.draw(st.sampled_from(["delete", "double", "cut", "swap", "insert", "number"])):
            case "delete":
                del lines[place]
                lines = lines or [""]
            case "double":
                lines.insert(place, line)
            case "cut":
                lines[place] = line[: len(line) // 2]
            case "swap":
                lines[place] = " ".join(reversed(line.split(" ")))
            case "insert":
                at = data.draw(st.integers(0, len(line)))
                lines[place] = (
                    line[:at]
                    + data.draw(st.sampled_from(["\\n", "{", "§", " ", "!", "*@ ", '"', "=", "\t", ";"]))
                    + line[at:]
                )
            case "number":
                lines[place] = line.replace("96", data.draw(st.sampled_from(["97", "-96", "1e9", "9" * 12, ""])))
    path = tmp_path_factory.mktemp("damaged") / "x.asc"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        read_netlist(path)
    except NetlistError as error:
        str(error)
