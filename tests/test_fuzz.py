"""A small part of the mutated netlists; `python tests/fuzz_netlists.py` examines as many as you like."""

from __future__ import annotations

import ast
from pathlib import Path

import fuzz_netlists
import numpy as np
import pytest

import circuitnn
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError, NetlistError
from circuitnn.inspection import inspect
from circuitnn.netlist import parse_netlist
from circuitnn.stages import _solve_modulo


def test_mutated_netlists_give_a_circuit_or_a_clean_error() -> None:
    found = dict(fuzz_netlists.outcomes(first=0, count=150))
    assert len(found) == 150
    defects = {seed: outcome for seed, outcome in found.items() if outcome.startswith("defect")}
    assert not defects
    # The mutations leave something to look at, and something to refuse.
    assert list(found.values()).count("circuit") > 20
    assert list(found.values()).count("NetlistError") > 20


BASE = "t\n*@ input Vin\n*@ output out\nVin in 0 0\nR1 in out 1k\nC1 out 0 1n\n"
DIODE = "D1 out 0 DX\n"
# Cards after BASE, and what the error says: what mutations once brought down.
MENDED = {
    "no emission": (f"{DIODE}.model DX D(IS=1n N=0)", "D1 has no finite law with is=1e-09, n=0"),
    "division by a parameter": (".param a=0\nR2 out 0 {1k/a}", "R2 has no finite real value"),
    "root of a parameter": (".param a=-1\nR2 out 0 {1k*a**0.5}", "R2 has no finite real value"),
    "logarithm of a parameter": (".param a=-1\nR2 out 0 {1k*ln(a)}", "R2 has no finite real value"),
    "larger than of a root": (".param a=-1\nR2 out 0 {max(a**0.5, 1)}", "R2 has no finite real value"),
    "overflow of parameters": (".param a=1e200 b={a*a}\nR2 out 0 {b}", "b has no finite real value"),
    "overflow of a power": (".param a=1e200\nR2 out 0 {a**2}", "R2 has no finite real value"),
}


@pytest.mark.parametrize("name", MENDED)
def test_values_without_measure_are_named(name: str) -> None:
    cards, message = MENDED[name]
    circuit = parse_netlist(BASE + cards)
    with pytest.raises(CircuitError, match=message) as caught:
        inspect(circuit)
    assert caught.value.hint
    with pytest.raises(CircuitError, match=message):
        DiscreteCircuit(circuit, 48000.0).theta({})


def test_equations_that_only_rounding_makes_regular_are_refused() -> None:
    with pytest.raises(CircuitError, match="no unique solution"):
        _solve_modulo(np.array([[1, 2], [2, 4]]), np.eye(2, dtype=np.int64))


def test_a_circuit_without_inputs_has_no_impedances() -> None:
    circuit = parse_netlist("t\n*@ output out\nV1 in 0 1\nR1 in out 1k\nR2 out 0 1k\n")
    found = inspect(circuit).linearised.impedances([1e3])
    assert found.input.shape == (1, 0)
    assert found.output[0, 0] == pytest.approx(500.0)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('id')", "().__class__.__bases__[0]", "open('/etc/passwd')", "lambda: 1", "S.One",
        "Symbol('x')", "eval(1)", "exec(1)", "getattr(1, 2)", "[1][0]", "f'{1}'", "1 if 1 else 2", "x := 1", "oo",
        "zoo", "I", "Integral(1)", "a.b.c", "print(1)", "not 1", "1 in 1", "`id`", "$(id)", "%s", "\\x41",
    ],
)  # fmt: skip
def test_expressions_know_nothing_of_python(expression: str) -> None:
    for text in (f".param a={{{expression}}}", f"R2 out 0 {{{expression}}}", f"B1 out 0 I={{v(out)*({expression})}}"):
        with pytest.raises(NetlistError):
            parse_netlist(f"{BASE}{text}\n")


def test_nothing_in_the_package_executes_text() -> None:
    """Neither Python's own ways nor sympy's, which evaluate strings."""
    forbidden = {"eval", "exec", "compile", "__import__", "parse_expr", "lambdify", "S"}
    found = []
    for path in Path(circuitnn.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                owner = getattr(node.func, "value", None)
                # Of a network, eval() takes nothing and means something else.
                harmless = (name == "compile" and getattr(owner, "id", "") == "re") or (
                    name == "eval" and owner is not None and not node.args
                )
                if name in forbidden and not harmless:
                    found.append(f"{path.name}:{node.lineno} {name}")
    assert not found
