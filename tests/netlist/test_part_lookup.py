"""Part numbers that the netlist does not define: looked up, noted, written out, overridden, misspelt."""

from __future__ import annotations

import ngspice
import pytest

from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import NetlistError
from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.netlist.part_library import library_files

STAGE = "t\nVcc vcc 0 9\nVin in 0 0\nR1 vcc c 10k\nR2 e 0 1k\n"


def notes(cards: str) -> list[str]:
    return [note for note in parse_netlist(STAGE + cards).notes if "part library" in note]


def test_a_part_number_is_looked_up_and_noted() -> None:
    circuit = parse_netlist(f"{STAGE}Q1 c in e 2n3904\nQ2 vcc c e 2N3904\nD1 c 0 1n4148\n")
    assert float(circuit.models["2N3904"].parameters["vaf"]) == 74.03
    assert notes("Q1 c in e 2n3904\nQ2 vcc c e 2N3904\nD1 c 0 1n4148\n") == [
        "2N3904 (Q1, Q2) is from the part library: a .model 2N3904 overrides it",
        "1N4148 (D1) is from the part library: a .model 1N4148 overrides it",
    ]


def test_the_netlist_overrides_the_library() -> None:
    cards = (
        "Q1 c in e 2N3904\n.model 2N3904 NPN(IS=1f)\nX1 in c vcc 0 e TL072\n.subckt TL072 a b c d e\nR1 a b 1\n.ends\n"
    )
    circuit = parse_netlist(STAGE + cards)
    assert set(circuit.models["2N3904"].parameters) == {"is"}
    assert float(circuit.element("R.X1.R1").value) == 1.0
    assert notes(cards) == []


def test_an_alias_keeps_the_name_of_the_netlist() -> None:
    circuit = parse_netlist(f"{STAGE}D1 c 0 1N914\nD2 c 0 1N4148\nX1 c in e ECC83\n")
    assert circuit.models["1N914"].parameters == circuit.models["1N4148"].parameters
    assert notes("X1 c in e ECC83\n") == ["ECC83 (X1) is from the part library: a .subckt ECC83 overrides it"]


def test_the_library_does_not_see_the_netlist() -> None:
    """A .subckt OPAMP, a .model CLAMP and a .param of a stranger do not change what a TL072 is."""
    strange = ".subckt OPAMP a b c d e GBW=1 SR=1 AVOL=1 DROPP=1 DROPN=1\nR1 a b 1\n.ends\n"
    strange += ".model CLAMP D(IS=1)\n.param cc=1\n"
    card = "X1 in c vcc 0 e TL072\n"
    alone, beside = (parse_netlist(STAGE + cards) for cards in (card, strange + card))
    assert alone.elements == beside.elements
    assert alone.models == beside.models


def test_parts_inside_a_subcircuit_of_the_netlist() -> None:
    cards = ".subckt PAIR a b\nD1 a b 1N4148\nD2 b a 1N4148\n.ends\nX1 c 0 PAIR\nX2 c 0 PAIR\n"
    assert notes(cards) == [
        "1N4148 (X1.D1, X1.D2, X2.D1, X2.D2) is from the part library: a .model 1N4148 overrides it"
    ]


def test_a_substrate_node_before_a_part_number() -> None:
    assert parse_netlist(f"{STAGE}Q1 c in e 0 2N3904\n").element("Q1").model == "2N3904"


@pytest.mark.parametrize(
    ("card", "message", "hint"),
    [
        ("Q1 c in e 2N3940", "unknown model '2N3940'", "did you mean 2N3904|did you mean 2N3906"),
        ("D1 c 0 1N4184", "unknown model '1N4184'", "did you mean 1N4148"),
        ("X1 in c vcc 0 e TL702", "unknown subcircuit 'TL702'", "did you mean TL0"),
        ("D1 c 0 NONSENSE", "unknown model 'NONSENSE'", "define it: .model NONSENSE"),
        ("D1 c 0 2N3904", "a diode needs a model of type d", "2N3904 is a .model of type npn"),
        ("X1 in c TL072", "TL072 has 5 nodes, found 2", "inp inn vp vn out"),
    ],
)
def test_a_misspelt_part(card: str, message: str, hint: str) -> None:
    with pytest.raises(NetlistError) as caught:
        parse_netlist(f"{STAGE}{card}\n")
    assert message in str(caught.value)
    assert any(part in str(caught.value.hint) for part in hint.split("|"))


def test_the_library_is_part_of_the_package() -> None:
    assert {"diodes.lib", "transistors.lib", "fets.lib", "tubes.lib", "opamps.lib"} <= set(library_files())


@pytest.mark.ngspice
def test_what_is_written_runs_in_ngspice() -> None:
    cards = (
        "Q1 c in e 2N5088\nJ1 vcc in e J201\nM1 vcc in e 0 BS170\nD1 c 0 1N34A\nD2 0 c 1N4733A\nX1 in e vcc 0 o TL072\n"
        "RO o 0 10k\nX2 c in e 12AX7\nX4 c e VTL5C3\nX5 c 0 e 0 TRANSFORMER\nX6 in o 0 b c LM13700\nRB vcc b 10k\n"
        "X7 vcc c e MPSA13\nX8 e 0 CORE\n"
    )
    circuit = parse_netlist(STAGE + cards)
    written = format_netlist(circuit)
    assert parse_netlist(written).elements == circuit.elements
    found = dict(zip(circuit.nodes, DiscreteCircuit(circuit, 48000.0).operating_point({}).z, strict=False))
    tight = ".options reltol=1e-6 abstol=1e-15 vntol=1e-9"
    expected = ngspice.vectors(written.replace(".end\n", tight), "op", ["v(c)", "v(o)", "v(b)"])
    for node in "cob":
        assert found[node] == pytest.approx(expected[f"v({node})"][0], rel=1e-4, abs=1e-6)
