"""Behavioural sources: every function against its closed form and ngspice, guards, derivatives, ports, sharing."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import ngspice
import numpy as np
import pytest
import sympy
import torch
from circuits import parse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sympy import Symbol

from circuitnn.circuit import Behaviour, Circuit, Element, voltage
from circuitnn.devices import Law
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError
from circuitnn.mna import Equations, build_equations
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.operating_point import device_coefficients, evaluate_law, law_values
from circuitnn.symbolic import EXPONENT_LIMIT, NUMPY, SMALLEST, Operations, derivative, evaluate, logistic, softplus
from circuitnn.values import resolve

Array = NDArray[np.float64]


def step(x: Array) -> Array:
    return np.asarray(x > 0.0, dtype=float)


# What a formula of x = v(x) and y = v(y) is, with .param a=1.7.
FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    "2*v(x) - v(y)/4 + a": lambda x, y: 2 * x - y / 4 + 1.7,
    "v(x,y)*v(x)": lambda x, y: (x - y) * x,
    "v(x)/(2 + v(y)*v(y))": lambda x, y: x / (2 + y * y),
    "exp(a*v(x))": lambda x, y: np.exp(1.7 * x),
    "ln(2 + v(x)**2) + log(a + v(y)^2)": lambda x, y: np.log(2 + x**2) + np.log(1.7 + y**2),
    "log10(3 + v(x)*v(x))": lambda x, y: np.log10(3 + x * x),
    "sqrt(a + v(x)*v(x))": lambda x, y: np.sqrt(1.7 + x * x),
    "v(x)**2 + v(y)**3": lambda x, y: x**2 + np.abs(y) ** 3,
    "pow(v(x), 2.5)": lambda x, y: np.abs(x) ** 2.5,
    "(1 + v(x)*v(x))**-1.5": lambda x, y: (1 + x * x) ** -1.5,
    "pwr(v(x), a)": lambda x, y: np.sign(x) * np.abs(x) ** 1.7,
    "2**v(x) + a**v(y)": lambda x, y: 2**x + 1.7**y,
    "(1 + v(x)*v(x))**v(y)": lambda x, y: (1 + x * x) ** y,
    "abs(v(x)) + sgn(v(y))": lambda x, y: np.abs(x) + np.sign(y),
    "min(v(x), v(y)) + max(v(x), a)": lambda x, y: np.minimum(x, y) + np.maximum(x, 1.7),
    "uramp(v(x)) - uramp(-v(y))": lambda x, y: np.maximum(x, 0) - np.maximum(-y, 0),
    "tanh(a*v(x)) + sin(v(x)) - cos(v(y))": lambda x, y: np.tanh(1.7 * x) + np.sin(x) - np.cos(y),
    "sinh(v(x)) + cosh(a*v(y))": lambda x, y: np.sinh(x) + np.cosh(1.7 * y),
    "ln(1 + exp(20*v(x)))": lambda x, y: np.logaddexp(0.0, 20 * x),
    "v(x) > 0 ? v(x)*a : v(y)/2": lambda x, y: np.where(x > 0, x * 1.7, y / 2),
    "v(x) > v(y) ? (v(y) > 0 ? 1 : v(x)) : a": lambda x, y: np.where(x > y, np.where(y > 0, 1, x), 1.7),
    "v(x) <= a && v(y) > 0 ? v(x)*v(y) : 0": lambda x, y: np.where((x <= 1.7) & (y > 0), x * y, 0),
    "(v(x) > 0)*v(x) + !(v(y) > 0)*v(y)": lambda x, y: step(x) * x + (1 - step(y)) * y,
    "u(v(x))*v(x)": lambda x, y: step(x) * x,
    "a*3m": lambda x, y: np.full_like(x, 5.1e-3),
}  # fmt: skip
# What ngspice has no name for, or another meaning.
FOREIGN: dict[str, Callable[[Array, Array], Array]] = {
    "pwrs(v(x), a)": lambda x, y: np.sign(x) * np.abs(x) ** 1.7,
    "if(v(x) > 0, v(x), a*v(y))": lambda x, y: np.where(x > 0, x, 1.7 * y),
    "ternary_fcn(v(x) > 0, v(x), a*v(y))": lambda x, y: np.where(x > 0, x, 1.7 * y),
    "limit(v(x), -1, a)": lambda x, y: np.clip(x, -1, 1.7),
    "min(v(x), v(y), a)": lambda x, y: np.minimum(np.minimum(x, y), 1.7),
    "sqr(v(x))": lambda x, y: x * x,
}
SMOOTH = [text for text in FORMULAS if not any(part in text for part in ("?", "sgn", "min", "uramp", "(v(x) >", "u("))]
BENCH = ".param a=1.7\nVx x 0 0.3\nVy y 0 -0.4\nRo o 0 1k\n"


def circuit_of(formula: str, keyword: str = "V") -> Circuit:
    return parse(f"{BENCH}B1 o 0 {keyword}={{{formula}}}")


@dataclass(frozen=True)
class Source:
    """The device of the one behavioural source of a circuit, with its coefficients."""

    equations: Equations
    coefficients: dict[Symbol, float]

    @property
    def law(self) -> Law:
        return self.equations.devices[0].law


def source_of(circuit: Circuit, **overrides: float) -> Source:
    equations = build_equations(circuit)
    (device,) = equations.devices
    values = resolve(circuit, overrides, NUMPY)
    return Source(equations, device_coefficients(device, values, circuit.temperature, NUMPY))


def port_voltages(source: Source, nodes: dict[str, Array]) -> Array:
    """w [ports, ...] of a voltage source whose nodes have these voltages."""
    unknowns = [nodes.get(name[2:-1], np.zeros(())) for name in source.equations.unknowns]
    return np.array(np.broadcast_arrays(*(sum(s * z for s, z in zip(c, unknowns, strict=True))
                                          for c in source.equations.N_n.T)))  # fmt: skip


GRID = np.meshgrid(np.linspace(-2.0, 2.0, 9) + 0.01, np.linspace(-2.0, 2.0, 7) - 0.02)


@pytest.mark.parametrize("formula", [*FORMULAS, *FOREIGN])
def test_each_function_is_its_closed_form(formula: str) -> None:
    source = source_of(circuit_of(formula))
    w = port_voltages(source, dict(zip("xy", GRID, strict=True)))
    found = law_values(source.law, w, source.coefficients, NUMPY)[0][0]
    expected = (FORMULAS | FOREIGN)[formula](*GRID)
    np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.ngspice
@pytest.mark.parametrize("formula", FORMULAS)
def test_each_function_is_that_of_ngspice(formula: str) -> None:
    """As written, and as the writer writes it, which ngspice must read too."""
    expected = np.array([FORMULAS[formula](np.array(x), np.array(-0.4)) for x in np.arange(-2.0, 2.05, 0.4) + 0.05])
    written = format_netlist(circuit_of(formula)).removesuffix(".end\n")
    for deck in (f"t\n{BENCH}B1 o 0 V={{{formula}}}\n", written):
        found = ngspice.vectors(f"{deck}.options reltol=1e-9 vntol=1e-12\n", "dc vx -1.95 2.06 0.4", ["v(o)"])["v(o)"]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("formula", [*FORMULAS, *FOREIGN])
@pytest.mark.parametrize("keyword", ["I", "V"])
def test_round_trip(formula: str, keyword: str) -> None:
    circuit = circuit_of(formula, keyword)
    assert parse_netlist(format_netlist(circuit)) == circuit


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


def at(formula: str, x: float, y: float = 0.0) -> tuple[float, float]:
    """Value and slope along x of a formula."""
    source = source_of(circuit_of(formula))
    w = port_voltages(source, {"x": np.array(x), "y": np.array(y)})
    v, _, dv, _ = evaluate_law(source.law, w, source.coefficients, NUMPY)
    along = port_voltages(source, {"x": np.array(1.0)})
    return float(v[0]), float(np.dot(np.array(dv[0], dtype=float), along))


@pytest.mark.parametrize(
    ("formula", "x", "value", "slope"),
    [
        # Beyond its limit an exponential is its tangent.
        ("exp(v(x))", 1e4, math.exp(EXPONENT_LIMIT) * (1e4 - EXPONENT_LIMIT + 1.0), math.exp(EXPONENT_LIMIT)),
        ("exp(v(x))", -1e4, 0.0, 0.0),
        ("2**v(x)", -1e5, 0.0, 0.0),
        ("ln(1 + exp(v(x)))", 1e4, 1e4, 1.0),
        ("log(exp(v(x)) + 1)", -1e4, 0.0, 0.0),
        ("ln(1 + exp(v(x)))", 0.0, math.log(2.0), 0.5),
        ("ln(1 + exp(v(x)))", -700.0, math.exp(-700.0), math.exp(-700.0)),
        # The edge of the domain.
        ("ln(v(x))", -1.0, math.log(SMALLEST), 0.0),
        ("sqrt(v(x))", -4.0, 0.0, 0.0),
        ("sqrt(v(x))", 4.0, 2.0, 0.25),
        ("abs(v(x))**0.5", 0.0, 0.0, 0.0),
        ("v(x)**1.4", 0.0, 0.0, 0.0),
        ("pwr(v(x), a)", 0.0, 0.0, 0.0),
        ("uramp(v(x))**1.4", -3.0, 0.0, 0.0),
        ("abs(v(x))", -2.0, 2.0, -1.0),
        ("max(v(x), v(y))", 1.0, 1.0, 1.0),
        ("max(v(x), v(y))", -1.0, 0.0, 0.0),
        ("min(v(x), v(y), 1)", -1.0, -1.0, 1.0),
        ("sgn(v(x))*v(x)**2", -3.0, -9.0, 6.0),
    ],
)  # fmt: skip
def test_guards(formula: str, x: float, value: float, slope: float) -> None:
    found = at(formula, x)
    assert found == (pytest.approx(value, rel=1e-12, abs=1e-300), pytest.approx(slope, rel=1e-9, abs=1e-300))


@pytest.mark.parametrize(
    "formula", ["sqrt(v(x))", "ln(v(x))", "abs(v(x))**a", "v(x)**0.3", "pwr(v(x), 0.5)", "exp(v(x))"]
)
@pytest.mark.parametrize("x", [0.0, -1e-300, 1e-300, 1e6, -1e6])
def test_nothing_is_ever_infinite(formula: str, x: float) -> None:
    source = source_of(circuit_of(formula))
    w = port_voltages(source, {"x": np.array(x)})
    _, _, dv, _ = evaluate_law(source.law, w, source.coefficients, NUMPY)
    named = {symbol.name: value for symbol, value in source.coefficients.items()}
    named |= {symbol.name: w[k] for k, symbol in enumerate(source.law.variables)}
    by_coefficient = [evaluate(entry, named, NUMPY) for entry in source.law.voltage_coefficient_jacobian]
    assert np.isfinite(np.array([*at(formula, x), *dv[0], *by_coefficient], dtype=float)).all()


@pytest.mark.parametrize("formula", FORMULAS)
def test_jacobians_are_plain(formula: str) -> None:
    law = source_of(circuit_of(formula)).law
    for matrix in (law.voltage_jacobian, law.voltage_coefficient_jacobian):
        assert not matrix.has(sympy.Derivative, sympy.DiracDelta, sympy.Heaviside, sympy.re, sympy.im, sympy.Subs)
        for entry in matrix:
            evaluate(entry, dict.fromkeys((s.name for s in entry.free_symbols), 0.3), NUMPY)


@given(x=st.floats(-2.0, 2.0), y=st.floats(-2.0, 2.0), formula=st.sampled_from(SMOOTH))
def test_jacobians_are_the_derivatives(x: float, y: float, formula: str) -> None:
    source, h = source_of(circuit_of(formula)), 1e-4
    w = port_voltages(source, {"x": np.array(x), "y": np.array(y)})

    def values(w: Array, coefficients: dict[Symbol, float]) -> float:
        return float(law_values(source.law, w, coefficients, NUMPY)[0][0])

    def quotient(f: Callable[[float], float]) -> float:
        return (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)

    _, _, dv, _ = evaluate_law(source.law, w, source.coefficients, NUMPY)
    for k in range(source.law.ports):
        expected = quotient(lambda d, k=k: values(w + d * np.eye(len(w))[k], source.coefficients))
        assert float(dv[0][k]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    named = {symbol.name: value for symbol, value in source.coefficients.items()}
    named |= {symbol.name: w[k] for k, symbol in enumerate(source.law.variables)}
    for k, symbol in enumerate(source.law.coefficients):
        found = float(evaluate(source.law.voltage_coefficient_jacobian[0, k], named, NUMPY))
        c = source.coefficients
        expected = quotient(lambda d, symbol=symbol, c=c: values(w, {**c, symbol: c[symbol] + d}))
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("x", [-800.0, -30.0, -0.5, 0.0, 0.5, 30.0, 800.0])
def test_softplus_and_logistic_in_numpy_and_torch(x: float) -> None:
    symbol = Symbol("x", real=True)
    operations = Operations(torch)
    for function, expected in (
        (softplus, max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
        (logistic, (1.0 if x >= 0 else math.exp(x)) / (1.0 + math.exp(-abs(x)))),
    ):
        variable = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        result = evaluate(function(symbol), {"x": variable}, operations)
        assert evaluate(function(symbol), {"x": x}, NUMPY) == pytest.approx(expected, rel=1e-12, abs=1e-300)
        assert result.item() == pytest.approx(expected, rel=1e-12, abs=1e-300)
        (slope,) = torch.autograd.grad(result, variable)
        own = evaluate(derivative(function(symbol), symbol), {"x": x}, NUMPY)
        assert slope.item() == pytest.approx(own, rel=1e-9, abs=1e-300)


TRIODE = (
    ".subckt TRIODE p g k u=100\n"
    "G1 p k VALUE={2/1060*uramp(v(p,k)/kp*ln(1 + exp(kp*(1/u + v(g,k)/sqrt(300 + v(p,k)*v(p,k))))))**1.4}\n.ends\n"
)


def test_equal_formulas_share_a_law_and_keep_their_own_values() -> None:
    cards = (
        f"{TRIODE}.param kp=600 u1=90 u2=100\nVp p 0 200\nVin g 0 -1\nX1 p g 0 TRIODE u={{u1}}\nR1 k 0 1k\n"
        "X2 p g k TRIODE u={u2}\nX3 p g k TRIODE\n"
    )
    equations = build_equations(parse(cards))
    one, two, three = equations.devices
    assert one.law is two.law
    assert two.law.name != three.law.name
    assert one.law.name.isidentifier()
    assert sorted(keys for keys in two.sources.values()) == [("kp",), ("u2",)]
    assert [device.law.ports for device in equations.devices] == [2, 2, 2]


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
        ("I={v(a,b) + v(b,a)}", ["+v(a) -v(b)"]),
        ("I={v(c,b)*v(b,c)}", ["+v(a) -v(b)", "-v(b) +v(c)"]),
        # The third difference of a triangle follows from two.
        ("I={v(a)*v(b)}", ["+v(a) -v(b)", "+v(a)"]),
        ("I={v(c)*v(c,b)*v(b)}", ["+v(a) -v(b)", "+v(c)", "-v(b) +v(c)"]),
        ("I={1m}", ["+v(a) -v(b)"]),
        ("V={v(c)}", ["+v(a) -v(b)", "+v(c)"]),
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
        ("atan(v(x))", "B1: atan of a voltage is not supported"),
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
