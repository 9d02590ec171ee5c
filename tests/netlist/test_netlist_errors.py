"""Every complaint names file, line and column, and says how to mend it."""

import pytest

from circuitnn.errors import NetlistError
from circuitnn.netlist import parse_netlist

BASE = [
    "title",
    "Vin in 0 1",
    "R1 in out 1k",
    "D1 out 0 DCLIP",
    ".model DCLIP D(IS=1n)",
    ".param drive=0.5 form=2*drive",
]
SUB = [".subckt stage a b r=1k", "R1 a b {r}", ".ends"]

# (cards after BASE, the text in the last of them that the caret points at, message, hint)
CASES = [
    (["R2 in"], "", "expected the second node of the resistor, found the end", "R1 a b 4.7k"),
    (["R2 in out"], "", "expected a value, found the end", "R1 a b"),
    (["R2 in out foo"], "foo", "expected a value, found 'foo'", "numbers look like"),
    (["R2 a b 1k 2k"], "2k", "expected the end of the card", None),
    (["R2 a b 1k m=0"], ("0", 0), "a positive number of parallel devices", None),
    (["E2 a 0 in 0 2 m=3"], ("3", 0), "m= (parallel devices) has no meaning here", "remove"),
    (["R2 a b {1k"], "{", "closing }", None),
    (["R2 a b '1k"], "'", "closing '", None),
    (["r1 a b 1"], "r1", "R1 is defined twice, first at <netlist> line 3", "rename"),
    (["D2 a 0 DCLAP"], "DCLAP", "unknown model 'DCLAP'", "did you mean DCLIP"),
    (["D2 a 0"], "", "expected the name of a .model", None),
    (["Q1 a b c DCLIP"], "DCLIP", "a bipolar transistor needs a model of type npn or pnp", "type d"),
    (["Q1 a b c J1", ".model J1 nmf(beta=1)"], "nmf", "models of type 'nmf'", "d, npn, pnp"),
    (["D2 a 0 DCLIP area=2 area=3"], "area=3", "area is given twice", None),
    (["N1 a b c NX"], "N1", "elements that begin with 'N'", "known elements: R (resistor)"),
    (["E1 a 0 POLY(1) b 0"], "", "expected a coefficient, found the end", None),
    (["E1 a 0 POLY(0) in 0 1"], ("0) in", 0), "expected a number of variables from 1 to 50", None),
    (["G1 a 0 POLY(2) in 0 out"], "", "expected the - control node of", None),
    (["F1 a 0 POLY(1) Vout 0 1"], ("Vout", 0), "no element is called 'Vout'", None),
    (["E1 a 0 TABLE {v(in)} = (0, 1) (2)"], ("0, 1", 0), "pairs of numbers", None),
    (["E1 a 0 TABLE {v(in)} = (1, 1) (1, 2)"], ("1, 1", 0), "rise from one to the next", None),
    (["E1 a 0 LAPLACE {v(in)} = {1/s}"], "LAPLACE", "LAPLACE form", "VALUE, POLY, TABLE"),
    (["B1 a 0 V=v(in) laplace=1/s"], "laplace", "Laplace form", "R, C and L"),
    (["B1 in 0 I={ddt(v(in))}"], "ddt", "the function ddt is not supported", "capacitor's current"),
    (["B1 in 0 I={table(v(in), 1, 2, 3)}"], "table", "pairs of numbers", None),
    (["E1 a 0 cur={2}"], "cur", "CUR form", "linear form"),
    (["G1 a 0 TABLE={2}"], ("=", 0), "expected a formula in braces", None),
    (["B1 in 0"], "", "expected the formula", "B1 plus minus I="),
    (["B1 in 0 R={v(in)}"], "R=", "expected the formula, found 'R'", "B1 plus minus I="),
    (["B1 in 0 V={v(in)} m=2"], ("2", 0), "m= (parallel devices) has no meaning here", None),
    (["B1 in 0 I={v(outt)}"], "outt", "no element is connected to a node 'outt'", "did you mean out"),
    (["B1 in 0 I={2*v(in,  nix)}"], "nix", "no element is connected to a node 'nix'", None),
    (["B1 in 0 I={2*i(Vim)}"], ("im)}", -1), "no element is called 'Vim'", "did you mean VIN"),
    (["C1 in 0 1n", "B1 in 0 I={2*i( C1 )}"], ("C1 )", 0), "the current of C1 cannot be sensed", "0 V source"),
    (["B2 in 0 V=v(out)", "B1 in 0 I={2*i(B2)}"], ("B2)", 0), "the current of B2 cannot be sensed", "0 V source"),
    (["R2 in out {i(Vin)}"], ("Vin)}", 0), "i(...) has no place", "behavioural"),
    (["B1 in 0 I={i(Vin, R1)}"], "i(", "unknown function 'i'", None),
    (["F1 in 0 R1 2"], ("R1 2", 0), "the current of R1 cannot be sensed", "voltage source (V)"),
    (["F1 in 0 Vin"], "", "expected the gain", "F1 out+ out- Vsense 100"),
    (["H1 in 0"], "", "expected the name of the source", "H1 out+ out- Vsense 1k"),
    (["B1 in 0 I={v(in)*sin(time)}"], "time", "an expression of time is not supported", "recordings"),
    (["B1 in 0 I={expp(v(in))}"], "expp", "unknown function 'expp'", "did you mean exp"),
    (["B1 in 0 I={v(in)*driv}"], "driv", "undefined name 'driv'", "did you mean drive"),
    (["B1 in 0 I={if(v(in) > 0, 1)}"], "if", "if takes 3 arguments, found 2", None),
    (["B1 in 0 V=v(in)*(2"], "", "expected ')', found the end", None),
    (["E1 in 0 VALUE {v(in)} 3"], "3", "expected the end of the card", None),
    ([*SUB[:1], "R1 a b {v(a)}", ".ends", "X1 in out stage"], ("a)}", 0), "v(...) has no place", "behavioural"),
    (["R2 in out {v(in)}"], "in)}", "v(...) has no place", "behavioural"),
    (["G1 a 0 b"], "", "expected the in- node", "G1 out+"),
    ([*SUB, "X1 in out stge"], "stge", "unknown subcircuit 'stge'", "did you mean STAGE"),
    ([*SUB, "X1 in stage"], "stage", "STAGE has 2 nodes, found 1", "a b"),
    ([*SUB, "X1 in out stage q=1"], "q=", "no parameter 'q'", "r"),
    ([".subckt s a", "X1 a s", ".ends", "X1 in s"], ("X1 a s", 5), "recursive subcircuit: S calls S", None),
    ([".subckt s a", "R9 a 0 1"], (".subckt", 0), ".subckt without .ends", None),
    ([".ends"], ".ends", ".ends without .subckt", None),
    ([".subckt s a", "*@ input Vin", ".ends"], ("*@", 0), "cannot stand inside a .subckt", "R.X1.R4"),
    ([".param a={b} b={c}", ".param c=2*a"], ("a={b}", 0), "circular definition: a uses b uses c uses a", None),
    ([".param a={2*nix}"], "nix", "undefined name 'nix'", "define it"),
    ([".param a={2*driv}"], "driv", "undefined name", "did you mean drive"),
    ([".param drive=2"], "drive", "drive is defined twice", None),
    ([".param foo"], "foo", "expected name=value", None),
    ([".func f(x {x}"], " f", "expected name(arguments)", None),
    ([".modle X D"], ".modle", "unknown card '.modle'", "did you mean .model"),
    ([".model X"], "", "expected .model NAME TYPE", None),
    ([".control", "run"], (".control", 0), ".control without .endc", None),
    ([".temp hot"], "hot", "expected one temperature", None),
    ([".include x.inc"], "x.inc", "has no folder", None),
    (["*@ inptu Vin"], "inptu", "unknown card", "did you mean input"),
    (["*@ input"], "", "expected something after", "*@ input Vin"),
    (["*@ input Vim"], "Vim", "no V or I element", "did you mean VIN"),
    (["*@ input R1"], "R1", "no V or I element", "VIN"),
    (["*@ output oat"], "oat", "no element is connected", "did you mean out"),
    (["*@ knob drvie 0.5"], "drvie", "no .param is called", "did you mean drive"),
    (["*@ knob form"], "form", "must be a plain number", None),
    (["*@ knob drive 0.5 taper=lgo"], "taper", "unknown taper", "log"),
    (["*@ knob drive 1.5"], "1.5", "expected a position from 0 to 1", None),
    (["*@ learn R1 R11"], "R11", "is called 'R11'", "did you mean R1"),
    (["*@ learn DCLIP.n"], "DCLIP.n", "is called 'DCLIP.n'", "DCLIP.is"),
    (["*@ learn D1"], "D1", "is called 'D1'", None),
    (["*@ learn form"], "form", "form is a formula of drive", "mark what it depends on instead: drive"),
    (["*@ learn R1 tol=0"], "tol", "expected a tolerance", None),
    (["*@ tol X=5%"], "X=5%", "expected KIND=tolerance", None),
    (["+ R2 a b 1k"], "R2", "expected an operator or the end", None),
    (["R2 a b", "+ {1+", "+ 2*nix}"], "nix", "undefined name", None),
]  # fmt: skip


@pytest.mark.parametrize(("cards", "mark", "message", "hint"), CASES, ids=[case[2][:40] for case in CASES])
def test_the_caret_points_at_what_is_wrong(cards, mark, message: str, hint: str | None) -> None:
    if isinstance(mark, tuple):
        word, offset = mark
    else:
        word, offset = mark, 0
    lines = [*BASE, *cards]
    candidates = [i for i, line in enumerate(lines) if i >= len(BASE) and word in line] if word else [len(lines) - 1]
    line = candidates[0] if isinstance(mark, tuple) else candidates[-1]
    column = (lines[line].index(word) + offset if word else len(lines[line])) + 1
    with pytest.raises(NetlistError) as caught:
        parse_netlist("\n".join(lines))
    error = caught.value
    assert message in error.message
    assert error.location is not None
    assert (error.location.file, error.location.line, error.location.column) == ("<netlist>", line + 1, column)
    assert hint is None or hint in (error.hint or "")
    *_, shown, caret = str(error).splitlines()
    assert shown[4:] == lines[line]
    assert caret == " " * (column + 3) + "^"


def test_a_continuation_needs_a_card() -> None:
    with pytest.raises(NetlistError, match="<netlist>:2:2: expected a card before the continuation"):
        parse_netlist("title\n + R1 a 0 1")


def test_a_bomb_of_subcircuits_is_stopped() -> None:
    levels = [f".subckt s{n + 1} a\n" + "\n".join(f"X{i} a s{n}" for i in range(10)) + "\n.ends" for n in range(8)]
    with pytest.raises(NetlistError, match="more than 100000 elements"):
        parse_netlist("\n".join(["t", ".subckt s0 a", "R1 a 0 1", ".ends", *levels, "X1 in s8"]))
