"""Intermediate voltages of formulas: written out where they are used, the same solution with fewer ports."""

from __future__ import annotations

import pytest
import torch
from circuits import parse

from circuitnn.circuit import Circuit
from circuitnn.inspection import inspect
from circuitnn.mna import build_equations
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.substitution import MAX_SIZE, without_intermediate_nodes

INPUT = "Vin in 0 0\nR1 in a 1k\nC1 a 0 100n\nRo o 0 1k\nCo o 0 20n\n*@ input Vin\n*@ output o\n"
STEPS = "E1 x 0 VALUE={tanh(2*v(a))}\nB2 0 y V={v(x)*v(a) + 0.1*v(o)}\nRx x 0 1G\nCy y 0 1p\n"
LAST = "G1 0 o VALUE={1m*(v(y,x) + v(o,a)*v(x))}\n"


def kept(circuit: Circuit) -> set[str]:
    return {element.name for element in without_intermediate_nodes(circuit).elements}


def test_steps_that_nothing_else_needs_are_left_out() -> None:
    circuit = parse(INPUT + STEPS + LAST)
    assert kept(circuit) == {"VIN", "R1", "C1", "RO", "CO", "G1"}
    equations = build_equations(circuit)
    assert len(equations.ports) == 2
    assert not {"v(x)", "v(y)"} & set(equations.unknowns)


def test_the_solution_and_its_gradients_are_the_same() -> None:
    """An output at a step keeps its node and its source, so this is the same circuit with and without the steps."""
    cards = f".param gain=2\n{INPUT}{STEPS.replace('2*v(a)', 'gain*v(a)')}{LAST}"
    u = torch.sin(torch.arange(300, dtype=torch.float64) * 0.1)[None, :, None]
    results = []
    for extra in ("", "*@ output x\n*@ output y\n"):
        model = CircuitModel(parse(cards + extra), 48000.0, oversample=1, learn=["gain", "R1", "Ro"])
        y, _ = model(u)
        results.append((y[..., 0].detach(), *torch.autograd.grad(y[..., 0].square().sum(), model.free)))
        step = inspect(parse(cards + extra)).operating_point
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)
    assert {"x", "y"} <= set(step)


@pytest.mark.parametrize(
    ("card", "needed"),
    [
        ("R9 x a 10k", {"E1"}),  # a resistor to elsewhere carries a current
        ("D1 x 0 DX\n.model DX D", {"E1"}),
        ("E9 q 0 x 0 2\nRq q 0 1", {"E1"}),
        # Linear sources stay linear, and sense a real node.
        ("B8 q 0 V={2*v(y) + v(a)}\nRq q a 1k\nB9 0 q I={v(y)}", {"B2"}),
        ("F9 0 q V9 1\nV9 x z 0\nRz z 0 1\nRq q 0 1", {"E1"}),
        ("B9 q 0 V={i(Rx)*i(Rx)}\nRq q 0 1", {"E1", "RX"}),
        ("*@ output y", {"B2"}),
        ("*@ output a y", {"B2"}),
    ],
)
def test_what_somebody_needs_stays(card: str, needed: set[str]) -> None:
    circuit = parse(f"{INPUT}{STEPS}{LAST}{card}")
    assert needed <= kept(circuit)
    assert inspect(circuit).operating_point["o"] == pytest.approx(0.0, abs=1e-12)


def test_the_only_linear_reader_of_a_step_takes_its_place() -> None:
    circuit = parse(f"{INPUT}{STEPS}{LAST}B9 0 q I={{1m*v(y)}}\nRq q a 1k")
    assert kept(circuit) == {"VIN", "R1", "C1", "RO", "CO", "G1", "B9", "RQ"}


def test_a_loop_of_definitions_is_solved_as_it_is() -> None:
    """x = cos(y)/2 and y = x + x^2/4: found by Newton's method, not written out for ever."""
    cards = "Va a 0 0.3\nB1 x 0 V={0.5*cos(v(y))}\nB2 y 0 V={v(x) + v(x)*v(x)/4}\nB3 0 o I={v(x)*v(y)}\nRo o 0 1"
    found = inspect(parse(cards)).operating_point
    x = 0.0
    for _ in range(200):
        x = 0.5 * float(torch.cos(torch.tensor(x + x * x / 4, dtype=torch.float64)))
    assert found["o"] == pytest.approx(x * (x + x * x / 4), rel=1e-9)


def test_steps_that_would_double_for_ever_stay_steps() -> None:
    """Each step uses the one before it twice; written out, the last would have a tree of 2^30 parts."""
    cards = "Va n0 0 0.1\n"
    cards += "".join(f"B{k + 1} n{k + 1} 0 V={{tanh(v(n{k}))*v(n{k})}}\n" for k in range(30))
    circuit = parse(f"{cards}B0 0 o I={{v(n30)*v(n30)}}\nRo o 0 1\n*@ output o")
    simpler = without_intermediate_nodes(circuit)
    assert 2 < len(simpler.elements) < len(circuit.elements)
    sizes = [str(e.behaviour.formula).count("(") for e in simpler.elements if e.behaviour is not None]
    assert max(sizes) < MAX_SIZE


def test_a_chain_of_any_length() -> None:
    """Written from its end or from its beginning, without going deep."""
    for order in (1, -1):
        steps = [f"B{k + 1} n{k + 1} 0 V={{sin(v(n{k})) + 0.1*v(n{k})}}\n" for k in range(400)][::order]
        circuit = parse(f"Va n0 0 0.5\n{''.join(steps)}B0 0 o I={{tanh(v(n400))}}\nRo o 0 1\n*@ output o")
        assert len(without_intermediate_nodes(circuit).elements) < 400


def test_a_step_that_is_constant() -> None:
    cards = ".param k=2\nB1 x 0 V={0*1}\nB2 y 0 V={k}\nB3 0 o I={v(x)*v(y) + v(y)*v(y)}\nRo o 0 1\n*@ output o"
    found = inspect(parse(cards))
    assert found.operating_point["o"] == pytest.approx(4.0)
    assert found.ports == ("B3.v0",)
