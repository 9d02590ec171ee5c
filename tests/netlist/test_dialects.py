"""Netlists as LTspice and KiCad write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ngspice import vectors
from numpy.typing import NDArray

from circuitnn.circuit import Circuit, symbol
from circuitnn.errors import NetlistError
from circuitnn.inspection import inspect
from circuitnn.netlist import format_netlist, parse_netlist, read_netlist


def read(*lines: str) -> Circuit:
    return parse_netlist("\n".join(["title", *lines, ".end"]))


def value(circuit: Circuit, name: str) -> float:
    return float(circuit.element(name).value)


def response(*lines: str) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """2 pi j f and the response of v(out) to Vin."""
    frequencies = np.geomspace(20.0, 20e3, 9)
    found = inspect(read(*lines, "*@ input Vin", "*@ output out"))
    return 2j * np.pi * frequencies, found.linearised.response(frequencies).gain[:, 0, 0]


# -- parasitics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "impedance"),
    [
        ("C1 out 0 1u Rser=100", lambda s: 100 + 1 / (s * 1e-6)),
        ("C1 out 0 1u Rser=100 Lser=50m", lambda s: 100 + s * 0.05 + 1 / (s * 1e-6)),
        ("C1 out 0 1u Lser=50m RLshunt=300", lambda s: 1 / (1 / 300 + 1 / (s * 0.05)) + 1 / (s * 1e-6)),
        ("C1 out 0 1u Rser=99 Rpar=2k Cpar=0.2u ic=3", lambda s: 1 / (1 / 2e3 + s * 2e-7 + 1 / (99 + 1 / (s * 1e-6)))),
        ("C1 out 0 C=1u Rser=0 Rpar={2*k} noiseless", lambda s: 1 / (1 / 2e3 + s * 1e-6)),
        ("L1 out 0 0.1 Rser=200", lambda s: 200 + s * 0.1),
        ("L1 out 0 0.1 Rser=200 Rpar=3k Cpar=10n", lambda s: 1 / (1 / 3e3 + s * 1e-8 + 1 / (200 + s * 0.1))),
    ],
)  # fmt: skip
def test_parasitics_have_the_impedance_of_the_parts_they_stand_for(card: str, impedance) -> None:
    s, found = response(".param k=1k", "Vin in 0 0", "R1 in out 1k", card)
    expected = impedance(s) / (impedance(s) + 1e3)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_rpar_spans_rser_as_the_model_of_the_ad820_counts_on() -> None:
    """LTspice's AD820 (ADI1.lib) makes a pole p and a zero z of one card: with R2 = 1/a and R1 = 1/(a (z/p - 1)),
    `C Rpar=R2 Rser=R1`, C = 1/(2 pi z R1), is R2 (1 + s/z)/(1 + s/p)."""
    a, p, z = 1e-3, 150.0, 700.0
    r2, r1 = 1 / a, 1 / (a * (z / p - 1))
    card = f"C1 out 0 {1 / (2 * np.pi * z * r1)} Rpar={r2} Rser={r1}"
    s, found = response("Vin in 0 0", "G1 0 out in 0 1", card)
    np.testing.assert_allclose(found, r2 * (1 + s / (2 * np.pi * z)) / (1 + s / (2 * np.pi * p)), rtol=1e-9)


def test_parasitics_in_a_subcircuit_and_written_out() -> None:
    circuit = read("X1 a 0 part", "R2 a 0 1k", "V1 a 0 9 Rser=50", ".subckt part p q", "C1 p q 1u Rser={2*3}", ".ends")
    assert {element.name: element.nodes for element in circuit.elements} == {
        "R.X1.C1.RSER": ("a", "x1.c1.rser"), "C.X1.C1": ("x1.c1.rser", "0"), "R2": ("a", "0"),
        "R.V1.RSER": ("a", "v1.rser"), "V1": ("v1.rser", "0"),
    }  # fmt: skip
    assert value(circuit, "R.X1.C1.RSER") == 6.0
    assert parse_netlist(format_netlist(circuit)) == circuit


def test_a_name_that_a_parasitic_has_is_taken() -> None:
    with pytest.raises(NetlistError, match=r"R\.C1\.RSER is taken"):
        read("C1 a 0 1u Rser=1", "R.C1.RSER a 0 1")


# -- LTspice ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "at_rest"),
    [
        ("V1 a 0 SINE(0 1 1k) AC 1", 0.0), ("V1 a 0 SINE(4.5 1 1k 0 0 90)", 4.5), ("V1 a 0 SIN(-2 1 1k) DC 3", 3.0),
        ("V1 a 0 DC 3 PULSE(1 2 0 1n 1n 1m 2m)", 3.0), ("V1 a 0 PULSE(1 2 0 1n 1n 1m 2m) AC 1 Rser=2", 1.0),
        ("V1 a 0 PWL(0 9 1m 8)", 9.0), ("V1 a 0 EXP(0.5 1 1u 1u)", 0.5), ("V1 a 0 SINE({2*x} 1 1k)", 6.0),
        ("V1 a 0 wavefile=C:\\x\\in.wav chan=0", 0.0), ("V1 a 0 wavefile=in.wav AC 1 Rser=3", 0.0),
        ("V1 a 0 PWL file=in.txt", 0.0), ("V1 a 0 SINE()", 0.0), ("V1 a 0 AC 1 0 Rser=0", 0.0),
        ("I1 a 0 1m load", None), ("V1 a 0 9V", 9.0), ("V1 a 0 {2*x}", 6.0),
    ],
)  # fmt: skip
def test_a_source_has_the_value_it_has_at_rest(card: str, at_rest: float | None) -> None:
    if at_rest is None:
        with pytest.raises(NetlistError):
            read(".param x=3", card, "R1 a 0 1k")
        return
    circuit = read(".param x=3", card, "R1 a 0 1k")
    assert float(circuit.element("V1").value.subs(symbol("x"), 3)) == at_rest


@pytest.mark.ngspice
@pytest.mark.parametrize("waveform", ["SIN(4.5 1 1k)", "PULSE(1 2 0 1n 1n 1m 2m)", "PWL(0 9 1m 8)", "EXP(0.5 1 1u 1u)"])
def test_ngspice_has_the_same_value_at_rest(waveform: str) -> None:
    deck = f"t\nV1 a 0 {waveform}\nR1 a 0 1k"
    expected = vectors(deck, "op", ["v(a)"])["v(a)"][0]
    assert value(parse_netlist(deck), "V1") == pytest.approx(expected)


def test_libraries_of_ltspice_need_not_be_there(tmp_path: Path) -> None:
    path = tmp_path / "x.net"
    cards = [
        "R1 a 0 1k", ".lib C:\\Users\\Max Muster\\AppData\\Local\\LTspice\\lib\\cmp\\standard.dio", ".lib LTC3.lib",
        '.lib "C:/Program Files/LTC/lib/sub/anything.sub"', ".lib UniversalOpamps2.sub", ".backanno",
    ]  # fmt: skip
    path.write_text("* C:\\x.asc\n" + "\n".join(cards) + "\n.end\n")
    circuit = read_netlist(path)
    assert [element.name for element in circuit.elements] == ["R1"]
    assert sum("is a library of LTspice and not here" in note for note in circuit.notes) == 4
    # One that lies beside the netlist is read.
    (tmp_path / "LTC3.lib").write_text("R2 a 0 2k\n")
    assert [element.name for element in read_netlist(path).elements] == ["R1", "R2"]


def test_the_op_amp_of_opamp_sub_has_one_pole() -> None:
    circuit = ["Vin in 0 0", "X1 0 in out opamp Aol=1k GBW=1Meg", ".lib opamp.sub", ".lib opamp.sub"]
    s, found = response(*circuit)
    np.testing.assert_allclose(found, 1e3 / (1 + s / (2 * np.pi * 1e3)), rtol=1e-9)


@pytest.mark.parametrize("level", ["level1", "level.1", "level.2", "level3a", "level.3b"])
def test_the_universal_op_amps_have_their_gain_and_rails(level: str) -> None:
    supplies = ["VP vp 0 9", "VN vn 0 -9", ".lib UniversalOpamps2.sub", ".lib UniversalOpAmp1.lib"]
    s, found = response(
        "Vin in 0 0", f"X1 in 0 vp vn out {level} Avol=1k GBW=100k Slew=10Meg", "RL out 0 1Meg", *supplies
    )
    np.testing.assert_allclose(found, 1e3 / (1 + s / (2 * np.pi * 100)), rtol=2e-3)
    if "1" not in level:
        found = inspect(read("V1 in 0 1", f"X1 in 0 vp vn out {level} rail=2", "RL out 0 1Meg", *supplies))
        assert found.operating_point["out"] == pytest.approx(7.0, abs=0.3)


def test_an_absolute_path_means_the_file_beside_the_netlist(tmp_path: Path) -> None:
    (tmp_path / "models.lib").write_text(".model DX D(IS=1n)\n")
    path = tmp_path / "x.cir"
    for include in ('.include "C:/Users/me/models.lib"', ".lib D:\\me and you\\models.lib", ".inc /home/me/models.lib"):
        path.write_text(f"t\nD1 a 0 DX\nR1 a 0 1k\n{include}\n")
        assert read_netlist(path).models["DX"].parameters["is"] == 1e-9
    path.write_text('t\nR1 a 0 1k\n.include "C:/Users/me/others.lib"\n')
    with pytest.raises(NetlistError, match="outside the folder") as caught:
        read_netlist(path)
    assert "copy the file" in str(caught.value.hint)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "latin-1", "cp1252"])
def test_encodings_of_ltspice(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.net"
    path.write_bytes("* C:\\x\\Verstärker.asc\r\nC§1 a 0 10µ\r\nC2 a 0 1µF\r\n.backanno\r\n.end\r\n".encode(encoding))
    circuit = read_netlist(path)
    assert circuit.title == "C:\\x\\Verstärker.asc"
    assert [value(circuit, name) for name in ("C§1", "C2")] == [1e-5, 1e-6]
    assert parse_netlist(format_netlist(circuit)).elements == circuit.elements


@pytest.mark.parametrize(
    ("step", "first"),
    [
        (".step param Rx list 1k 2k", 1e3), (".step param rx 100 1k 50", 100.0), (".step oct param RX 2k 3k 5", 2e3),
        (".STEP PARAM Rx LIST {2*500}, 3k", 1e3),
    ],
)  # fmt: skip
def test_a_step_gives_the_value_of_its_first_run(step: str, first: float) -> None:
    circuit = read("R1 a 0 {Rx}", step)
    assert float(circuit.parameters["rx"]) == first
    assert any("first value of its .step" in note for note in circuit.notes)
    assert float(read("R1 a 0 {Rx}", step, ".param Rx=7").parameters["rx"]) == 7.0


def test_models_of_a_kind() -> None:
    circuit = read(
        "Q1 c b e 0 BC547C", "Q2 c b e BC547D", "D1 a 0 D3", ".model BC547C ako: BC547 NPN(BF=520)",
        ".model BC547D AKO:BC547C", ".model BC547 NPN(IS=24f BF=300 VAF=63)", ".model D3 ako:d2 D(N=2)",
        ".model D2 D(IS=1n noiseless)", "R1 a 0 1",
    )  # fmt: skip
    found = {name: {k: float(v) for k, v in model.parameters.items()} for name, model in circuit.models.items()}
    assert found == {
        "BC547C": {"is": 24e-15, "bf": 520.0, "vaf": 63.0}, "BC547D": {"is": 24e-15, "bf": 520.0, "vaf": 63.0},
        "D3": {"is": 1e-9, "n": 2.0},
    }  # fmt: skip
    assert circuit.models["BC547D"].kind == "npn"
    assert circuit.element("Q1").nodes == ("c", "b", "e")
    assert not any("substrate" in note for note in circuit.notes)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([".model DX ako: DX D(N=2)"], "DX is a kind of itself"),
        ([".model DX ako: DY", ".model DY ako: DX"], "DX is a kind of itself"),
        ([".model DX ako: NIX D"], "unknown model 'NIX'"),
        ([".model DX ako:"], "expected the name of a .model"),
        ([".model DX ako: QN D", ".model QN NPN(BF=1)"], "QN is of type npn"),
    ],
)
def test_models_of_no_kind(models: Sequence[str], message: str) -> None:
    with pytest.raises(NetlistError) as caught:
        read("D1 a 0 DX", *models)
    assert message in caught.value.message


def test_a_long_chain_of_kinds_is_an_error_not_a_crash() -> None:
    chain = [f".model D{k} ako: D{k + 1}" for k in range(2000)]
    with pytest.raises(NetlistError, match="of too many"):
        read("D1 a 0 D0", *chain, ".model D2000 D(IS=1n)")


def test_parameters_of_a_subcircuit_need_no_declaration() -> None:
    circuit = read(
        "X1 a b w pot Rt=10k", "X2 a b w pot Rt=1k", ".subckt pot 1 2 3", "R1 1 3 {Rt/2}", "R2 3 2 {Rt/2}", ".ends"
    )
    assert [value(circuit, f"R.X{k}.R1") for k in (1, 2)] == [5e3, 500.0]
    assert sum("undeclared" in note for note in circuit.notes) == 1
    with pytest.raises(NetlistError, match="has no parameter 'rtt'"):
        read("X1 a b pot Rtt=10k", ".subckt pot 1 2", "R1 1 2 {Rt}", ".ends")


def test_values_as_people_write_them() -> None:
    circuit = read(
        "R1 a 0 2k2", "R2 a 0 1MEGohm", "R3 a 0 4R7", "R4 a 0 Rx tol=1% pwr=0.25", "C1 a 0 100nF", ".param Rx=3k"
    )
    assert [value(circuit, name) for name in ("R1", "R2", "R3", "C1")] == [2200.0, 1e6, 4.7, 1e-7]
    assert circuit.element("R4").value == symbol("rx")
    assert any("needs braces" in note for note in circuit.notes)


@pytest.mark.parametrize(
    ("card", "message", "hint"),
    [
        ("R1 a 0 4,7k", "expected the end of the card", "decimal comma"),
        (".param x=4,7", "expected an operator", "decimal comma"),
        ("C1 a 0 10\ufffdF", "expected a value", "perhaps the µ"),
        ("A1 a 0 0 0 0 out 0 OTA g=1m", "LTspice's special functions", ".subckt"),
        ("T1 a 0 b 0 Td=1n Z0=50", "transmission lines are not supported", None),
        (".machine\n.state x 0", ".machine without .endmachine", None),
    ],
)
def test_what_cannot_be_read(card: str, message: str, hint: str | None) -> None:
    with pytest.raises(NetlistError) as caught:
        read("R9 a 0 1k", card)
    assert message in caught.value.message
    assert hint is None or hint in str(caught.value.hint)


def test_cards_that_are_left_out() -> None:
    circuit = read(
        "R1 a 0 1k", "L1 a 0 1m", ".wave out.wav 16 44.1k V(a)", ".machine", ".state x 0", "R7 junk", ".endmachine",
        ".text x", ".net I(R1) V1", ".savebias x.txt", ".fra", ".meas tran x max v(a)", ".backanno",
    )  # fmt: skip
    assert [element.name for element in circuit.elements] == ["R1", "L1"]
    assert any("1 mohm in series" in note for note in circuit.notes)
    assert not any("backanno" in note for note in circuit.notes)
    assert not any("1 mohm" in note for note in read("L1 a 0 1m").notes)


# -- KiCad ------------------------------------------------------------------------------------------------------------

# The order and the spelling of cards are those of Eeschema's exporter (netlist_exporter_spice.cpp of KiCad 8).
KICAD = """.title KiCad schematic
.include "C:/Users/me/models.lib"
.save all
.probe alli
.model __RV1 potentiometer( r=100k position={drive} )
.model __D1 D( is=2.52n n=1.752 )
.param drive=0.25
*@ input V1
*@ output /out
*@ knob drive
.tran 10u 10m
ARV1 /in Net-_RV1-Pad2_ GND __RV1
V1 /in GND DC 0.5 SIN( 0.5 1 1k ) AC 1
V2 VCC GND DC 9
R1 Net-_RV1-Pad2_ /out 4700
D1 /out GND __D1
R2 VCC /out 1MEG
C1 /out GND 100nF
R3 VCC unconnected-_U1-Pad1_ 10k
R4 unconnected-_U1-Pad1_ GND 10k
XU1 /out Net-_U1-+_ STAGE
R5 Net-_U1-+_ GND 1k
B1 /a#2 GND V={2*v(Net-_U1-+_) + v(/out,VCC)}
R6 /a#2 /b~1 1k
R7 /b~1 0 1k
.end
"""


@pytest.fixture
def kicad(tmp_path: Path) -> Path:
    (tmp_path / "models.lib").write_text(".subckt STAGE in out\nE1 out 0 in 0 3\n.ends\n")
    path = tmp_path / "x.cir"
    path.write_text(KICAD)
    return path


def test_an_export_of_kicad(kicad: Path) -> None:
    circuit = read_netlist(kicad)
    assert circuit.title == "KiCad schematic"
    assert not any("title" in note for note in circuit.notes)
    assert circuit.outputs == (("/out", "0"),)
    assert circuit.element("R.ARV1.1").nodes == ("/in", "net-_rv1-pad2_")
    assert circuit.element("R.ARV1.2").nodes == ("net-_rv1-pad2_", "0")
    assert parse_netlist(format_netlist(circuit)) == circuit


@pytest.mark.ngspice
def test_an_export_of_kicad_in_ngspice(kicad: Path) -> None:
    """Names of nodes, formulas and the potentiometer mean in ngspice what they mean here."""
    circuit = read_netlist(kicad)
    deck = (
        kicad.read_text().replace("C:/Users/me", str(kicad.parent)).replace(".end\n", "").replace(".tran 10u 10m\n", "")
    )
    # At rest; an input counts as 0 V.
    own = inspect(parse_netlist(format_netlist(circuit).replace("*@ input V1\n", ""))).operating_point
    # wrdata does not take every name that ngspice takes, so the odd ones are copied.
    odd = ("/a#2", "net-_rv1-pad2_", "net-_u1-+_", "unconnected-_u1-pad1_", "/b~1")
    deck += "".join(f"Bcopy{k} copy{k} 0 V=v({node})\n" for k, node in enumerate(odd))
    found = vectors(deck, "op", [f"v(copy{k})" for k in range(len(odd))])
    for k, node in enumerate(odd):
        assert found[f"v(copy{k})"][0] == pytest.approx(own[node], rel=1e-5), node


def test_dc_without_a_value() -> None:
    assert value(read("V1 a 0 DC ac=1 AC 1", "R1 a 0 1k"), "V1") == 0.0


@pytest.mark.parametrize("law", ["log=TRUE", "log=1 log_multiplier=2"])
def test_a_logarithmic_potentiometer_is_refused(law: str) -> None:
    with pytest.raises(NetlistError, match="logarithmic"):
        read("A1 a w 0 P", f".model P potentiometer(r=10k position=0.3 {law})")


def test_other_code_models_are_refused() -> None:
    with pytest.raises(NetlistError, match="'gain'"):
        read("A1 a w 0 P", ".model P gain(gain=2)")
