"""Writing: what was read comes back, ngspice runs it, fitted values go in."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitnn.circuit import Circuit, DeviceModel, Element, Knob, Learnable, symbol
from circuitnn.errors import CircuitnnError, NetlistError, OutputError
from circuitnn.netlist import format_netlist, parse_netlist, read_netlist, write_netlist
from circuitnn.netlist.terms import number

NETLIST = """* A stage
.param drive=0.5 tone={1-drive} bare=2*drive
.func half(x) {x/2}
.model dclip D(IS=2.52n N=1.752)
.subckt stage a b params: r=1k
.model dm D IS=1n
.param rr={r*2}
R4 a n {rr}
D1 n b dm area=2
C3 n b {half(100n)*(1+drive)}
.ends
Vin in 0 SIN(0 1 1k)
Rin in x 4.7k
X1 x out stage r={4.7k}
X2 x out stage r={drive*1k+1}
Dp out gnd DCLIP
Q1 c in e QN area=2
.model QN NPN(BF=200 IS=1e-14)
Rc c vcc 10k
Re e 0 1k
Vcc vcc 0 9
Ro out 0 {drive > 0.3 ? 10k*(1+tone) : sqrt(drive)**-2}
Rp out 0 {max(1k, 10k*(drive && tone <= bare)) + int(2.5*drive) + 1/drive - (-2*drive)}
Rq out 0 {100k*2**drive*exp(-tone/3)*(drive == 0.5 ? 1 : 2)}
E1 e1 0 out 0 10
Re1 e1 0 1k
G1 g1 0 out 0 1m
Rg1 g1 0 1k
I1 0 g1 1u
L1 g1 0 500m
.temp 30
*@ input Vin
*@ output out
*@ output out x
*@ knob drive 0.845 taper=log
*@ learn R.X1.R4 rin dclip.is X1:DM.is drive tol=10%
*@ learn Rc
*@ tol R=5% C=12.5%
.end
"""


def test_round_trip_is_the_identity() -> None:
    circuit = parse_netlist(NETLIST)
    text = format_netlist(circuit)
    again = parse_netlist(text)
    assert again == circuit
    assert format_netlist(again) == text
    assert "DC 0 AC 1" in text


@pytest.mark.ngspice
@pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
def test_ngspice_reads_the_same_values(tmp_path: Path) -> None:
    circuit = parse_netlist(NETLIST)
    flat = format_netlist(circuit)
    names = ["rin", "r.x1.r4", "r.x2.r4", "ro", "rp", "rq"]
    control = (
        ".control\nop\n"
        + "".join(f"print @{name}[resistance]\n" for name in names)
        + "print v(out) v(c)\n.endc\n.end\n"
    )

    def values(text: str) -> dict[str, float]:
        (tmp_path / "x.cir").write_text(text.replace(".end\n", control) if ".ends" not in text else text)
        done = subprocess.run(
            ["ngspice", "-b", "x.cir"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        pairs = (line.split(" = ") for line in done.stdout.splitlines() if " = " in line)
        return {pair[0].strip(): float(pair[1]) for pair in pairs if len(pair) == 2 and pair[0].startswith(("@", "v("))}

    written = values(flat)
    original = values(NETLIST.removesuffix(".end\n") + control)
    assert len(written) == len(names) + 2
    assert written == pytest.approx(original, rel=1e-5)
    assert written["@r.x1.r4[resistance]"] == 9400.0


def test_values_go_in_with_the_nominal_ones_as_comments() -> None:
    circuit = parse_netlist(NETLIST)
    text = format_netlist(circuit, {"RIN": 5123.4, "DCLIP.is": 3e-9, "drive": 0.25, "R.X1.R4": 9400.0})
    assert "RIN in x 5.1234k ; nominal 4.7k" in text
    assert ".model DCLIP D(IS=3n N=1.752) ; nominal is=2.52n" in text
    assert ".param drive=0.25 ; nominal 0.5" in text
    assert "R.X1.R4 x x1.n 9.4k\n" in text
    again = parse_netlist(text)
    assert float(again.element("RIN").value) == 5123.4
    assert not again.notes


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("R99", 1.0, "no value called"),
        ("tone", 0.5, "formula"),
        ("RIN", float("nan"), "not a finite"),
        ("QN", 1.0, "no value called"),
    ],
)
def test_values_that_cannot_go_in(name: str, value: float, message: str) -> None:
    with pytest.raises(CircuitnnError, match=message):
        format_netlist(parse_netlist(NETLIST), {name: value})


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    circuit = parse_netlist(NETLIST)
    write_netlist(circuit, tmp_path / "out.cir")
    assert read_netlist(tmp_path / "out.cir") == circuit
    assert os.listdir(tmp_path) == ["out.cir"]
    for target in (tmp_path / "missing" / "out.cir", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            write_netlist(circuit, target)
    assert os.listdir(tmp_path) == ["out.cir"]


# -- generated circuits -----------------------------------------------------------------------------------------------

NODES = st.sampled_from(["0", "a", "b", "x1.n", "n+", "3"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(number)
FORMULAS = st.sampled_from(
    ["{p}", "{p*2 - q/3}", "{-(p+q)**2*sin(p)}", "{p<q ? 1 : -q}", "{1/p/q}", "{-p*-2*(q*p)}", "{min(p,1)-(q-1)}"]
)

CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff")
TITLES = st.text(CHARACTERS, max_size=20).map(lambda text: text.strip().lstrip("*").strip())


@st.composite
def circuits(draw) -> Circuit:
    parameters = {"p": draw(NUMBERS), "q": draw(NUMBERS), "k": number(draw(st.floats(0, 1)))}
    models = {"M1": DeviceModel("M1", "d", {"is": draw(NUMBERS)}), "X1:Q": DeviceModel("X1:Q", "pnp", {}),
              "M2": DeviceModel("M2", "nmos", {"kp": draw(NUMBERS)})}  # fmt: skip
    elements = [
        Element("D1", (draw(NODES), draw(NODES)), model="M1", area=draw(NUMBERS)),
        Element("Q.X1.Q7", (draw(NODES), draw(NODES), draw(NODES)), model="X1:Q"),
        Element("M9", tuple(draw(NODES) for _ in range(4)), model="M2",
                parameters={"w": draw(NUMBERS), "l": draw(NUMBERS), "temp": draw(NUMBERS)}),
        Element("VIN", (draw(NODES), draw(NODES)), draw(NUMBERS)),
    ]  # fmt: skip
    for index, kind in enumerate(draw(st.text("RCLVIEG", max_size=8))):
        nodes = tuple(draw(NODES) for _ in range(4 if kind in "EG" else 2))
        text = draw(FORMULAS)
        formula = parse_netlist(f"t\n.param p=1 q=2\nR1 a 0 {text}").elements[0].value
        elements.append(
            Element(f"{kind}{index}", nodes, draw(st.one_of(NUMBERS, st.just(formula), st.just(symbol("p")))))
        )
    return Circuit(
        draw(TITLES),
        tuple(elements), models, parameters, (Knob("k", draw(st.sampled_from(["linear", "log", "antilog", "s"]))),),
        ("VIN",), ((elements[0].nodes[0], elements[0].nodes[1]),),
        (Learnable("p", draw(st.sampled_from([None, 0.1, 0.123456789]))), Learnable("M1.is")),
        tolerances=draw(st.sampled_from([{}, {"R": 0.05, "C": 1 / 3}])),
        temperature=draw(st.sampled_from([300.15, 303.15, 273.15, 250.0])),
    )  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(circuits())
def test_any_circuit_survives_writing_and_reading(circuit: Circuit) -> None:
    assert parse_netlist(format_netlist(circuit)) == circuit


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_netlists_give_a_circuit_or_a_netlist_error(data) -> None:
    content = bytearray(NETLIST.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        match data.draw(st.sampled_from(["flip", "delete", "double", "cut", "insert"])):
            case "flip":
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(1, 255))
            case "insert":
                piece = data.draw(
                    st.sampled_from(
                        [b"{", b"}", b"'", b'"', b"(", b"=", b"\n+", b"\n.", b"*@ ", b"?", b"1e9", b"\xb5", b"**"]
                    )
                )
                place = data.draw(st.integers(0, len(content)))
                content[place:place] = piece
            case action:
                lines = bytes(content).split(b"\n")
                place = data.draw(st.integers(0, len(lines) - 1))
                lines[place : place + 1] = {
                    "delete": [],
                    "double": [lines[place]] * 2,
                    "cut": [lines[place][: len(lines[place]) // 2]],
                }[action]
                content = bytearray(b"\n".join(lines)) or bytearray(b"x")
    try:
        circuit = parse_netlist(bytes(content).decode("latin-1"))
    except NetlistError as error:
        str(error)
    else:
        assert parse_netlist(format_netlist(circuit)) == circuit
