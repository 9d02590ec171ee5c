"""Behavioural sources in circuits: spelling, ports, shared laws, gradients of parameters, refusals."""

from __future__ import annotations

import contextlib
import time

import pytest
import sympy
import torch
from behavioural import BENCH, circuit_of, source_of
from circuits import parse

from circuitnn.circuit import Behaviour, Circuit, Element, voltage
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError
from circuitnn.mna import build_equations
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist


@pytest.mark.parametrize(
    ("card", "same"),
    [
        ("B1 o 0 I=2*v(x) - 1", "B1 o 0 I={2*v(x) - 1}"),
        ("B1 o 0 i = '2*v(x) - 1' tc1=0", "B1 o 0 I={2*v(x) - 1}"),
        ("G1 o 0 VALUE {2*V( X , 0 )}", "G1 o 0 VALUE={2*v(x)}"),
        ("G1 o 0 cur='2*v(x,y)'", "G1 o 0 value = {2*v(x,y)}"),
        ("E1 o 0 vol='2*v(gnd,y)'", "E1 o 0 VALUE={2*-v(y)}"),
    ],
)
def test_spellings(card: str, same: str) -> None:
    assert parse(BENCH + card).elements == parse(BENCH + same).elements


def test_a_node_may_be_called_like_a_keyword() -> None:
    assert parse(f"{BENCH}G1 o 0 value 0 1m\nR1 value x 1k").element("G1").nodes == ("o", "0", "value", "0")


TRIODE = (
    ".subckt TRIODE p g k u=100\n"
    "G1 p k VALUE={2/1060*uramp(v(p,k)/kp*ln(1 + exp(kp*(1/u + v(g,k)/sqrt(300 + v(p,k)*v(p,k))))))**1.4}\n.ends\n"
)


def test_equal_formulas_share_a_law_and_keep_their_own_values() -> None:
    cards = (
        f"{TRIODE}.param kp=600 u1=90 u2=100\nVp p 0 200\nVin g 0 -1\nX1 p g 0 TRIODE u={{u1}}\nR1 k 0 1k\n"
        "X2 p g k TRIODE u={u2}\nX3 q g k TRIODE\nR2 p q 1k\n"
    )
    equations = build_equations(parse(cards))
    one, two, three = equations.devices
    assert one.law is two.law
    assert two.law.name != three.law.name
    assert one.law.name.isidentifier()
    assert sorted(keys for keys in two.sources.values()) == [("kp",), ("u2",)]
    assert [device.law.ports for device in equations.devices] == [2, 2, 2]


def test_a_triode_of_two_sources_is_that_of_one() -> None:
    """As in Koren's own listing: one source computes a voltage, the other the current from it, with PSpice's pwrs."""
    stage = "Vb bb 0 270\nVg g 0 -0.5\nRp bb p 100k\nRk k 0 1.5k\nX1 p g k TRIODE\n.param kp=600\n"
    two = (
        ".subckt TRIODE p g k mu=100\n"
        "E1 e 0 VALUE=\n+ {V(p,k)/kp*LOG(1+EXP(kp*(1/mu+V(g,k)/SQRT(300+V(p,k)*V(p,k)))))}\nRE e 0 1G\n"
        "G1 p k VALUE={ (PWR(V(e),1.4)+PWRS(V(e), 1.4))/1060 }\n.ends\n"
    )
    one = DiscreteCircuit(parse(stage + TRIODE), 48000.0).operating_point({}).z
    other = DiscreteCircuit(parse(stage + two), 48000.0).operating_point({}).z
    assert 100.0 < one[2] < 250.0
    assert other[:4] == pytest.approx(one[:4], rel=1e-9)


def test_a_tower_of_powers_is_doubted() -> None:
    note = "read as a**(b**c)"
    assert any(note in text for text in circuit_of("v(x)**2**3").notes)
    assert not any(note in text for text in circuit_of("v(x)**(2**3) + (v(x)**2)**3").notes)


def ports_of(cards: str) -> list[str]:
    """Port voltages of the one source, as sums of nodes."""
    equations = build_equations(parse(cards))
    return [
        " ".join(f"{'+' if s > 0 else '-'}{name}" for s, name in zip(column, equations.unknowns, strict=True) if s)
        for column in equations.N_n.T
    ]


@pytest.mark.parametrize(
    ("formula", "ports"),
    [
        ("I={v(a,b)*v(b,a)}", ["+v(a) -v(b)"]),
        ("I={v(c,b)*v(b,c)}", ["+v(a) -v(b)", "-v(b) +v(c)"]),
        # The third difference of a triangle follows from two.
        ("I={v(a)*v(b)}", ["+v(a) -v(b)", "+v(a)"]),
        ("I={v(c)*v(c,b)*v(b)}", ["+v(a) -v(b)", "+v(c)", "-v(b) +v(c)"]),
        ("V={tanh(v(c))}", ["+v(a) -v(b)", "+v(c)"]),
        # What is linear needs none.
        ("I={1m}", []),
        ("V={2*(v(c) - v(a,b)/4) + 1}", []),
        # A voltage source's own variable is its current, so its own voltage is sensed like any other.
        ("V={v(c)*v(b,a)}", ["+v(a) -v(b)", "+v(c)", "-v(a) +v(b)"]),
    ],
)
def test_ports(formula: str, ports: list[str]) -> None:
    assert ports_of(f"R1 a 0 1k\nR2 b 0 1k\nR3 c 0 1k\nB1 a b {formula}") == ports


def test_dependent_voltages_have_the_right_signs() -> None:
    cards = "V1 a 0 3\nV2 b 0 1\nV3 c 0 0.5\nR1 o 0 1\nB1 0 o I={v(c) + 10*v(b,c) + 100*v(a,c) + 1000*v(b,a) + v(b)}"
    point = DiscreteCircuit(parse(cards), 48000.0).operating_point({})
    assert point.z[3] == pytest.approx(0.5 + 10 * 0.5 + 100 * 2.5 - 1000 * 2 + 1)


def test_signs_and_units_of_both_kinds() -> None:
    circuit = parse(
        "V1 a 0 2\nB1 i 0 I={1m*v(a)}\nR1 i 0 1k\nB2 v 0 V={3*v(a)}\nR2 v 0 1k\nB3 r 0 I={v(r)/1k}\nR3 r a 1k"
    )
    z = DiscreteCircuit(circuit, 48000.0).operating_point({}).z
    # A current source drives its current out of the first node through the source, so it pulls that node down.
    assert z[:4] == pytest.approx([2.0, -2.0, 6.0, 1.0])


AMPLIFIER = (
    ".param gain=0.5 ex=1.4 bias=1\nVin in 0 0\nR1 in a 10k\nC1 a 0 1n\n"
    "B1 out 0 I={1m*(gain*uramp(v(a) + bias)**ex - tanh(2*v(out)))}\nR2 out 0 10k\nC2 out 0 2n\n"
    "E1 e 0 VALUE={bias*v(out)/(1 + v(a)*v(a))}\nR3 e b 1k\nC3 b 0 10n\n"
    "*@ input Vin\n*@ output out\n*@ output b\n*@ knob gain 0.5\n*@ learn ex bias gain R1\n"
)


@pytest.mark.parametrize("compiled", [True, False])
def test_parameters_of_a_formula_have_gradients(compiled: bool) -> None:
    model = CircuitModel(parse_netlist(f"t\n{AMPLIFIER}"), 48000.0, 1, compiled=compiled)
    u = 0.8 * torch.sin(torch.arange(40, dtype=torch.float64) * 0.5)[None, :, None]
    weight = torch.linspace(0.5, 1.5, 40, dtype=torch.float64)[None, :, None]

    def loss() -> torch.Tensor:
        return (model(u)[0] * weight).square().sum()

    loss().backward()
    assert model.free.grad is not None
    for k in range(4):
        sides = []
        for offset in (1e-5, -1e-5):
            with torch.no_grad():
                model.free[k] += offset
                sides.append(float(loss()))
                model.free[k] -= offset
        assert float(model.free.grad[k]) == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5)


def test_compiled_and_reference_agree_and_the_knob_turns() -> None:
    circuit = parse_netlist(f"t\n{AMPLIFIER}")
    u = torch.sin(torch.arange(64, dtype=torch.float64) * 0.3)[None, :, None]
    outputs = []
    for position in (0.2, 0.9):
        models = [CircuitModel(circuit, 48000.0, 1, learn=[], compiled=c) for c in (True, False)]
        with torch.no_grad():
            runs = [model(u, knobs={"gain": position})[0] for model in models]
        torch.testing.assert_close(runs[0], runs[1], rtol=1e-9, atol=1e-9)
        outputs.append(runs[0])
    assert float((outputs[0] - outputs[1]).abs().max()) > 0.1


def test_a_loop_of_voltages_and_a_floating_node_are_named() -> None:
    with pytest.raises(CircuitError, match="loop of voltage sources or inductors at DC: VX, B1"):
        build_equations(parse(f"{BENCH}B1 x 0 V={{v(y)}}"))
    with pytest.raises(CircuitError, match="floating node: nothing that conducts connects q "):
        build_equations(parse(f"{BENCH}B1 q 0 I={{v(y)}}"))
    # A current that follows its own voltage holds the node.
    assert build_equations(parse(f"{BENCH}B1 q 0 I={{v(q) - v(y)}}")).leak.max() == 0.0


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("ceil(v(x))", "B1: ceiling of a voltage is not supported"),
        ("floor(v(x))", "B1: floor of a voltage is not supported"),
        ("1/(v(x) - v(x))", "B1: its formula has no finite value"),
    ],
)
def test_what_has_no_law(formula: str, message: str) -> None:
    with pytest.raises(CircuitError) as caught:
        build_equations(circuit_of(formula))
    assert message in str(caught.value)


def test_a_node_that_is_not_there_in_a_circuit_made_by_hand() -> None:
    elements = (
        Element("R1", ("a", "0"), sympy.Integer(1)),
        Element("B1", ("a", "0"), behaviour=Behaviour("current", voltage("n"))),
    )
    with pytest.raises(CircuitError, match="B1 senses node 'n'"):
        build_equations(Circuit("t", elements))


@pytest.mark.parametrize(
    "formula",
    [
        "(" * 25 + "v(x)" + "*v(x) + v(y))" * 25,
        "(" * 25 + "v(x) + v(x)" + ")**2" * 25,
        "(" * 25 + "v(x) + v(x)" + ")**100" * 25,
        "exp(tanh(" * 15 + "v(x)" + "*v(y)))" * 15,
        "(v(y)/" * 12 + "(1 + v(x)*v(x))" + " + 1)" * 12,
        "+".join(f"max(v(x), {k}*v(y))*exp(v(x)*{k})" for k in range(100)),
    ],
)
def test_a_hostile_formula_takes_seconds_at_most(formula: str) -> None:
    """It becomes a law, or its numbers are too large and it is refused; in no case does it count for ever."""
    started = time.process_time()
    with contextlib.suppress(CircuitError):
        law = source_of(circuit_of(formula)).law
        assert law.voltage_jacobian.shape == (law.ports, law.ports)
    assert time.process_time() - started < 20.0
