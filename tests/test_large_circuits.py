"""Ladders of up to thousands of elements: computed where possible, else refused by their size, never a crash."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from circuitnn.circuit import Circuit
from circuitnn.devices.behavioural import MAX_SENSED
from circuitnn.discretise import MAX_PORTS, MAX_STATES
from circuitnn.errors import CircuitError
from circuitnn.inspection import inspect
from circuitnn.mna import MAX_UNKNOWNS, build_equations
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist

R, C, L = 100.0, 1e-9, 1e-3
SECTIONS = {
    "rc": f"R{{k}} n{{i}} n{{k}} {R}\nC{{k}} n{{k}} 0 {C}",
    "rlc": f"R{{k}} n{{i}} m{{k}} {R}\nL{{k}} m{{k}} n{{k}} {L}\nC{{k}} n{{k}} 0 {C}",
    "diodes": f"R{{k}} n{{i}} n{{k}} {R}\nD{{k}} n{{k}} 0 DX\nDR{{k}} 0 n{{k}} DX",
}


def ladder(kind: str, sections: int, volts: float = 0.0) -> Circuit:
    body = "\n".join(SECTIONS[kind].format(i=k - 1, k=k) for k in range(1, sections + 1))
    cards = f"*@ input Vin\n*@ output n{sections}\nVin n0 0 0\nVdc bias 0 {volts}\nRdc bias n{sections} {R}"
    return parse_netlist(f"ladder\n{cards}\n{body}\n.model DX D(IS=1n N=1.8)\n")


def test_response_of_5000_elements_agrees_with_chain_matrices() -> None:
    frequency, sections = 1e3, 2500
    admittance = 2j * np.pi * frequency * C
    section = np.array([[1.0 + R * admittance, R], [admittance, 1.0]])
    chain = np.linalg.matrix_power(section, sections)
    # At the end, R to a source that is zero: V_in = A V + B V / R.
    expected = 1.0 / (chain[0, 0] + chain[0, 1] / R)
    (found,) = inspect(ladder("rc", sections)).linearised.response([frequency]).gain.ravel()
    assert found == pytest.approx(expected, rel=1e-9)


def test_operating_point_of_300_diode_pairs() -> None:
    """Kirchhoff's current law at every node, with the diodes' law written out."""
    sections = 300
    found = inspect(ladder("diodes", sections, volts=5.0)).operating_point
    v = np.array([found[f"n{k}"] for k in range(sections + 1)])
    v_t = 1.8 * 1.380649e-23 / 1.602176634e-19 * 300.15
    diodes = 2.0 * (1e-9 * np.sinh(v[1:] / v_t) + 1e-12 * v[1:])
    onward = np.append((v[1:-1] - v[2:]) / R, (v[-1] - 5.0) / R)
    assert v[-1] > 0.3
    np.testing.assert_allclose((v[:-1] - v[1:]) / R, onward + diodes, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(("kind", "sections", "limit"), [("rlc", 1666, MAX_UNKNOWNS), ("diodes", 2500, MAX_UNKNOWNS)])
def test_more_unknowns_than_the_limit_are_refused(kind: str, sections: int, limit: int) -> None:
    with pytest.raises(CircuitError, match=rf"\d+ unknown voltages and currents, more than the limit of {limit}"):
        build_equations(ladder(kind, sections))


@pytest.mark.parametrize(
    ("kind", "sections", "message"),
    [
        ("rc", 2500, f"2500 states, more than the limit of {MAX_STATES}"),
        ("diodes", MAX_PORTS + 1, f"{MAX_PORTS + 1} ports, more than the limit of {MAX_PORTS}"),
    ],
)
def test_what_would_run_too_slowly_is_refused(kind: str, sections: int, message: str) -> None:
    with pytest.raises(CircuitError, match=message) as caught:
        CircuitModel(ladder(kind, sections))
    assert "inspect" in str(caught.value)


def test_300_states_run_side_by_side_with_gradients() -> None:
    """Their matrices, eight times side by side, exceed what is usually a thread's stack."""
    model = CircuitModel(ladder("rc", 300), 48000.0, oversample=1, learn=["R1"])
    torch.manual_seed(0)
    u = torch.randn(1, 20, 1, dtype=torch.float64)
    count = torch.get_num_threads() + 1
    scales = torch.arange(1.0, count + 1.0, dtype=torch.float64)[:, None, None]
    alone = model(u)[0]
    together = model(scales * u)[0]
    # n300 is out of reach within 20 samples; the circuit is linear all the same.
    torch.testing.assert_close(together, scales * alone, rtol=1e-9, atol=1e-300)
    (gradient,) = torch.autograd.grad((scales * together).sum(), model.parameters())
    (expected,) = torch.autograd.grad(alone.sum() * scales.square().sum(), model.parameters())
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-300)
    assert alone.abs().max() > 0.0


def test_a_formula_of_too_many_voltages_is_refused() -> None:
    loads = "\n".join(f"R{k} n{k} 0 1k" for k in range(500))
    total = "+".join(f"v(n{k})" for k in range(500))
    circuit = parse_netlist(f"t\nV1 a 0 1\nR a 0 1k\n{loads}\nB1 a 0 I={{1n*({total})**2}}\n")
    with pytest.raises(
        CircuitError, match=rf"B1 senses 50\d voltages and currents, more than the limit of {MAX_SENSED}"
    ):
        build_equations(circuit)
