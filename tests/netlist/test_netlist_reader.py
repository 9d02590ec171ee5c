"""What each card means."""

from pathlib import Path

import pytest

from circuitnn.circuit import Circuit, Knob, Learnable, symbol
from circuitnn.errors import NetlistError
from circuitnn.netlist import parse_netlist, read_netlist


def read(*lines: str) -> Circuit:
    return parse_netlist("\n".join(["title", *lines, ".end"]))


def value(circuit: Circuit, name: str) -> float:
    return float(circuit.element(name).value)


@pytest.mark.parametrize(
    ("card", "name", "nodes", "number"),
    [
        ("R1 a B 4k7", "R1", ("a", "b"), 4700.0), ("r1 a b R=4.7kOhm", "R1", ("a", "b"), 4700.0),
        ("C1 a GND 10uF", "C1", ("a", "0"), 1e-5),
        ("C1 a b 1n ic=2", "C1", ("a", "b"), 1e-9), ("L1 a b {2*0.5}", "L1", ("a", "b"), 1.0),
        ("R1 a b '2k+1'", "R1", ("a", "b"), 2001.0),
        ("R1 a b 1k tc=0.1,0.2", "R1", ("a", "b"), 1e3),
        ("V1 p n 9", "V1", ("p", "n"), 9.0), ("V1 p n DC 9 AC 1", "V1", ("p", "n"), 9.0),
        ("V1 p n AC 1 0", "V1", ("p", "n"), 0.0),
        ("Vin in 0 SIN(0 1 1k)", "VIN", ("in", "0"), 0.0),
        ("V1 p n DC 3 PULSE(0 1 0 1n 1n 1u 2u) AC 1", "V1", ("p", "n"), 3.0),
        ("V1 p n", "V1", ("p", "n"), 0.0), ("V1 p n dc={4+5}", "V1", ("p", "n"), 9.0),
        ("I1 p n 1m", "I1", ("p", "n"), 1e-3),
        ("E1 o 0 (i, 0) 1e5", "E1", ("o", "0", "i", "0"), 1e5), ("G1 o 0 i 0 2m", "G1", ("o", "0", "i", "0"), 2e-3),
    ],
)  # fmt: skip
def test_element_cards(card: str, name: str, nodes: tuple[str, ...], number: float) -> None:
    element = read(card).element(name)
    assert element.nodes == nodes
    assert float(element.value) == number


def test_field_effect_transistors() -> None:
    circuit = read(
        "J1 d g s JX 2", "M1 d g s b mx l=2u W=10u ad={3*p} nrd=1", "J2 d g s JX temp=60 off",
        "R1 d 0 1", ".param p=1p",
        ".model JX NJF(Vt0=-2 beta=1m CGS=3p FOO=2 LEVEL=2)", ".model MX nmos kp=1m",
    )  # fmt: skip
    j, m, hot = (circuit.element(name) for name in ("J1", "M1", "J2"))
    assert (j.nodes, j.model, j.area) == (("d", "g", "s"), "JX", 2)
    assert m.nodes == ("d", "g", "s", "b")
    assert {name: float(value.subs(symbol("p"), 1e-12)) for name, value in m.parameters.items()} == {
        "l": 2e-6, "w": 1e-5, "ad": 3e-12,
    }  # fmt: skip
    assert hot.parameters == {"temp": 60}
    assert set(circuit.models["JX"].parameters) == {"vto", "beta", "cgs", "foo", "level"}
    notes = "\n".join(circuit.notes)
    assert "M1: nrd=1 ignored" in notes
    assert "JX: a JFET has no FOO, ignored" in notes
    assert "JX: LEVEL=2 is read as level 1" in notes
    assert "CGS" not in notes


def test_devices_models_and_area() -> None:
    circuit = read(
        "D1 a k 1N4148", "D2 a k 1n4148 area=2", "D3 a k 1N4148 3 off", "Q1 c b e QX 2", "Q2 c b e s QX",
        ".model 1N4148 D(IS=2.5n N = 1.7 mfg=x)",
        ".model qx NPN Bf=100 level={0+1}", ".model UNUSED njf(beta=1)",
    )  # fmt: skip
    assert [circuit.element(name).area for name in ("D1", "D2", "D3", "Q1", "Q2")] == [1, 2, 3, 2, 1]
    assert circuit.element("Q2").nodes == ("c", "b", "e")
    assert set(circuit.models) == {"1N4148", "QX"}
    assert circuit.models["QX"].kind == "npn"
    assert {name: float(x) for name, x in circuit.models["1N4148"].parameters.items()} == {"is": 2.5e-9, "n": 1.7}
    assert any("substrate" in note for note in circuit.notes)


def test_lines_comments_and_continuations() -> None:
    circuit = parse_netlist(
        "* My title\nR1 a b ; a comment; more\n* between\n\n+ 1k $ dollars\n+ ; nothing\nr$2 b$c 0 2k\n.END\nR3 junk",
        "x.cir",
    )
    assert circuit.title == "My title"
    assert [element.name for element in circuit.elements] == ["R1", "R$2"]
    assert value(circuit, "R1") == 1000.0


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends(newline: str) -> None:
    assert len(parse_netlist(newline.join(["t", "R1 a 0 1", "R2 a 0 2"])).elements) == 2


def test_parameters_in_any_order_and_style() -> None:
    circuit = read(".param c='a+b' b={2*a}", ".PARAM a = 1k d=a*2 k=half(d)", ".func half(x) {x/2}", "R1 x 0 {k}")
    assert set(circuit.parameters) == {"a", "b", "c", "d", "k"}
    order = list(circuit.parameters)
    assert order.index("a") < order.index("b") < order.index("c")
    assert circuit.parameters["b"] == 2 * symbol("a")
    assert circuit.element("R1").value == symbol("k")


def test_subcircuits_expand_like_in_ngspice() -> None:
    circuit = read(
        "X1 in out stage r=4.7k", "X2 in o2 STAGE r={g*2}", ".param g=3",
        ".subckt stage a b params: r=1k n=1", ".param rr={r*2}", "R4 a m {rr}", "D1 m gnd dm", "X5 m b inner",
        ".model dm D(IS={n*1n})",
        ".subckt inner p q", "C1 p q 1n", "D2 p q dm", "R1 p mid {r}", ".ends inner", ".ends",
    )  # fmt: skip
    by_name = {element.name: element for element in circuit.elements}
    assert set(by_name) == {
        f"{letter}.{path}" for x in ("X1", "X2") for letter, path in
        (("R", f"{x}.R4"), ("D", f"{x}.D1"), ("C", f"{x}.X5.C1"), ("D", f"{x}.X5.D2"), ("R", f"{x}.X5.R1"))
    }  # fmt: skip
    assert by_name["R.X1.R4"].nodes == ("in", "x1.m")
    assert value(circuit, "R.X1.R4") == 9400.0
    assert circuit.element("R.X2.R4").value.free_symbols == {symbol("g")}
    assert by_name["R.X1.X5.R1"].nodes == ("x1.m", "x1.x5.mid")
    assert value(circuit, "R.X1.X5.R1") == 4700.0
    assert by_name["D.X1.X5.D2"].model == "X1:DM"
    assert set(circuit.models) == {"X1:DM", "X2:DM"}


def test_global_nodes_keep_their_name_in_subcircuits() -> None:
    circuit = read(".global vcc", "X1 a s", ".subckt s a", "R1 a vcc 1k", ".ends")
    assert circuit.elements[0].nodes == ("a", "vcc")


def test_skipped_cards_are_noted_once_per_kind() -> None:
    circuit = read(
        "R1 a 0 1k",
        ".tran 1u 1",
        ".tran 2u 1",
        ".ic v(a)=0",
        ".options reltol=1e-4",
        ".control",
        "run {",
        "plot v(a)",
        ".endc",
    )
    assert [note.split(": ", 1)[1] for note in circuit.notes] == [
        ".tran skipped: analyses are not part of the circuit",
        ".ic skipped: initial values are not part of the circuit",
        ".options skipped: simulator options are not part of the circuit",
        ".control skipped: control blocks are not part of the circuit",
    ]
    assert "line 3" in circuit.notes[0]


@pytest.mark.parametrize(
    ("card", "kelvin"), [(".temp 30", 303.15), (".options reltol=1 temp=-10 abstol=1", 263.15), ("*", 300.15)]
)
def test_temperature(card: str, kelvin: float) -> None:
    assert read("R1 a 0 1", card).temperature == kelvin


def test_doubtful_numbers_are_noted() -> None:
    notes = read("R1 a 0 4k7", "R2 a 0 {2*4k7}", ".param a=4k7").notes
    assert len(notes) == 3
    assert all("ngspice reads 4000" in note for note in notes)


def test_directives() -> None:
    circuit = read(
        "Vin in 0 0", "R4 in out 4.7k", "DCLIP out 0 DX", "R5 out 0 {1k*drive}", ".model DX D(IS=1n)",
        ".param drive=0.1",
        "*@ input vin", "*@ output OUT", "*@ output out IN", "*@ knob Drive 0.5 taper=LOG", "*@ learn r4 dx.IS tol=10%",
        "*@ learn drive",
        "*@ tol r=5% C = 0.1",
    )  # fmt: skip
    assert circuit.inputs == ("VIN",)
    assert circuit.outputs == (("out", "0"), ("out", "in"))
    assert circuit.knobs == (Knob("drive", "log"),)
    assert circuit.learn == (Learnable("R4", 0.1), Learnable("DX.is", 0.1), Learnable("drive"))
    assert circuit.tolerances == {"R": 0.05, "C": 0.1}
    assert not circuit.notes


def test_the_param_of_a_knob_counts_not_the_card() -> None:
    circuit = read("R1 a 0 {1+k}", ".param k=0.5", "*@ knob k 0.5 taper=log")
    assert "write .param k=0.1" in circuit.notes[0]


def test_names_as_written_come_first() -> None:
    circuit = read("R1 a 0 1k", ".param r1=5", "*@ learn r1 R1")
    assert [learnable.name for learnable in circuit.learn] == ["r1", "R1"]


# -- files ------------------------------------------------------------------------------------------------------------


def test_includes_and_library_sections(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.inc").write_text('.inc "b c.inc"\nR2 a 0 2\n.end\nR9 ignored')
    (tmp_path / "sub" / "b c.inc").write_text("R3 a 0 3")
    (tmp_path / "m.lib").write_text(".lib one\nR4 a 0 4\n.endl\n.lib two\nR4 a 0 5\n.endl\n")
    top = tmp_path / "top.cir"
    top.write_text("title\n.include sub/a.inc\nR1 a 0 1\n.lib 'm.lib' TWO\n")
    circuit = read_netlist(top)
    assert {element.name: int(element.value) for element in circuit.elements} == {"R3": 3, "R2": 2, "R1": 1, "R4": 5}
    assert circuit.path == top


@pytest.mark.parametrize(
    "name",
    [
        "../secret", "sub/../../secret", "..\\secret", "{outside}/secret", "{outside}/net/../secret", "link",
        "LINK/secret", "folder/secret", "/etc/passwd", "//host/share/secret", "\\\\host\\share\\secret", "C:\\secret",
        "~/secret", "file:///etc/passwd", "sub\\..\\..\\secret", "./././../secret", "$HOME/secret", "%HOME%\\secret",
    ],
)  # fmt: skip
@pytest.mark.parametrize("keyword", [".include", ".inc", ".lib"])
def test_includes_stay_inside_the_folder(
    name: str, keyword: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("R2 a 0 2")
    folder = tmp_path / "net"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "top.cir").write_text(f'title\nR1 a 0 1\n{keyword} "{name.format(outside=tmp_path)}"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    touched = []
    for method in ("open", "is_file", "exists"):
        original = getattr(Path, method)

        def watched(path: Path, *arguments: object, original: object = original) -> object:
            touched.append(path)
            return original(path, *arguments)

        monkeypatch.setattr(Path, method, watched)
    with pytest.raises(NetlistError, match=r"outside the folder|there is no such file") as caught:
        read_netlist(folder / "top.cir")
    assert (caught.value.location.line, caught.value.location.column) == (3, len(keyword) + 3)
    assert all(path.resolve().is_relative_to(folder) for path in touched)


def test_recursive_include_shows_the_chain(tmp_path: Path) -> None:
    (tmp_path / "top.cir").write_text("title\n.include a.inc\n")
    (tmp_path / "a.inc").write_text(".include b.inc\n")
    (tmp_path / "b.inc").write_text(".include a.inc\n")
    with pytest.raises(NetlistError, match=r"top.cir includes .*a.inc includes .*b.inc includes a.inc") as caught:
        read_netlist(tmp_path / "top.cir")
    assert caught.value.location.file == str(tmp_path / "b.inc")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected element cards"), (b"only a title\n", "expected element cards"),
        (b"t\nR1 a\0 0 1", "not a text file"),
        (b"\xff\xfet\0\n\0R", "not a text file"),
    ],
)  # fmt: skip
def test_what_is_no_netlist(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.cir").write_bytes(data)
    with pytest.raises(NetlistError, match=message) as caught:
        read_netlist(tmp_path / "x.cir")
    assert str(tmp_path / "x.cir") in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(NetlistError, match="no such file"):
        read_netlist(tmp_path / "missing.cir")
    with pytest.raises(NetlistError, match="found a folder"):
        read_netlist(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.cir").write_bytes("Verstärker\nC1 a 0 10µF\n".encode(encoding))
    circuit = read_netlist(tmp_path / "x.cir")
    assert circuit.title == "Verstärker"
    assert value(circuit, "C1") == 1e-5
