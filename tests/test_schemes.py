"""Time discretisation: accuracy against closed forms and fine solutions, damping, rest, derivatives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from circuits import CASES, RATE, discrete, excitation, parse, start
from numpy.typing import NDArray

from circuitnn.discretise import DiscreteCircuit
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.schemes import BACKWARD_EULER, BDF2, SCHEMES, TRAPEZOIDAL, Scheme
from circuitnn.simulate import kernel_id, simulate
from circuitnn.values import literal_values

ORDERS = [(TRAPEZOIDAL, 2.0), (BACKWARD_EULER, 1.0), (BDF2, 2.0)]


def response(cards: str, scheme: Scheme, rate: float, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """The last node's voltage."""
    model = DiscreteCircuit(parse(cards), rate, scheme)
    theta, x, w = start(model)
    result = simulate(torch.as_tensor(u)[None, :, None], x, w, theta, kernel_id(model.structure, True))
    assert not result.report[0, 1]
    return result.y[0, :, -1].numpy()


def test_all_schemes_are_here() -> None:
    assert {id(scheme) for scheme, _ in ORDERS} == {id(scheme) for scheme in SCHEMES.values()}


@pytest.mark.parametrize(("scheme", "order"), ORDERS, ids=lambda value: getattr(value, "name", ""))
def test_a_low_pass_against_its_closed_form(scheme: Scheme, order: float) -> None:
    """u = sin(wt)^2 from rest: v = (1 - e^-t/RC) / 2 less the response to cos(2wt) / 2."""
    tau, omega, duration = 1e-4, 2.0 * np.pi * 2000.0, 5e-4

    def error(steps: int) -> float:
        t = duration * np.arange(1, steps + 1) / steps
        s = 2.0 * omega
        wave = (np.cos(s * t) + s * tau * np.sin(s * t) - np.exp(-t / tau)) / (1.0 + (s * tau) ** 2)
        exact = (1.0 - np.exp(-t / tau)) / 2.0 - wave / 2.0
        found = response(CASES["rc"].netlist, scheme, steps / duration, np.sin(omega * t) ** 2)
        return float(np.abs(found - exact)[steps // 4 :].max())

    errors = [error(steps) for steps in (400, 800, 1600, 3200)]
    assert errors[0] < 0.02
    np.testing.assert_allclose([np.log2(coarse / fine) for coarse, fine in pairwise(errors)], order, atol=0.1)


@pytest.mark.parametrize(("scheme", "order"), ORDERS, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("name", ["rlc", "single_diode", "inductor_and_diode"])
def test_order_against_a_fine_solution(name: str, scheme: Scheme, order: float) -> None:
    """All schemes go to one and the same solution, each at its own pace."""
    duration, amplitude = 4e-4, 0.6 * CASES[name].amplitude

    def final(scheme: Scheme, steps: int) -> NDArray[np.float64]:
        t = np.arange(1, steps + 1) / steps
        pulse = amplitude * np.sin(np.pi * t) ** 6 * np.cos(4.0 * t)
        return response(CASES[name].netlist, scheme, steps / duration, pulse)[steps // 8 - 1 :: steps // 8]

    fine = (4.0 * final(TRAPEZOIDAL, 51200) - final(TRAPEZOIDAL, 25600)) / 3.0
    errors = [float(np.linalg.norm(final(scheme, steps) - fine)) for steps in (800, 1600, 3200, 6400)]
    np.testing.assert_allclose([np.log2(coarse / fine) for coarse, fine in pairwise(errors)], order, atol=0.2)


def test_a_stiff_mode_rings_under_the_trapezoidal_rule_only() -> None:
    """1 ohm into 1 nF is over in a nanosecond. At 48 kHz, what a scheme leaves of a step after 40 samples, as part of
    what it leaves after one."""
    cards = "Vin in 0 0\nR1 in out 1\nC1 out 0 1n\n*@ input Vin"
    rest = {scheme.name: response(cards, scheme, 48e3, np.ones(60)) - 1.0 for scheme, _ in ORDERS}
    left = {name: np.abs(error[40:]).max() / abs(error[0]) for name, error in rest.items()}
    assert left["trapezoidal"] > 0.9
    assert (np.sign(rest["trapezoidal"]) == -np.sign((-1.0) ** np.arange(60))).all()
    assert left["BDF2"] < 1e-10
    assert left["backward Euler"] < 1e-10


@pytest.mark.parametrize("name", ["npn", "inductor_and_diode"])
def test_rest_stays_at_rest(name: str) -> None:
    model = discrete(name, scheme=BDF2)
    theta, x, w = start(model)
    y = simulate(torch.zeros(1, 1000, 1), x, w, theta, kernel_id(model.structure, True)).y[0]
    torch.testing.assert_close(y, model.initial_state({}, model.operating_point({}))[2].expand_as(y), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["single_diode", "inductor_and_diode"])
def test_gradients_of_the_two_step_scheme(name: str) -> None:
    circuit = CASES[name].circuit
    names = [value for value in literal_values(circuit) if value not in circuit.inputs]
    model = CircuitModel(circuit, RATE, 1, names, scheme=BDF2)
    u = excitation(name, 30, seed=2)

    def loss(free: torch.Tensor) -> torch.Tensor:
        y, _ = torch.func.functional_call(model, {"free": free}, (u,))
        return (y * torch.linspace(0.5, 1.5, 30, dtype=torch.float64)[None, :, None]).sum((0, 1))

    free = torch.full((len(names),), 0.01, dtype=torch.float64)
    forward = torch.func.jacfwd(loss)(free)
    tracked = free.clone().requires_grad_()
    sums = loss(tracked)
    backward = torch.stack([torch.autograd.grad(part, tracked, retain_graph=True)[0] for part in sums])
    torch.testing.assert_close(forward, backward, rtol=1e-8, atol=1e-10)
    with torch.no_grad():
        for k in range(len(names)):
            y = [loss(free + 1e-3 * factor * torch.eye(len(names))[k].double()) for factor in (1.0, -1.0, 2.0, -2.0)]
            quotient = (8.0 * (y[0] - y[1]) - (y[2] - y[3])) / 12e-3
            torch.testing.assert_close(backward[:, k], quotient, rtol=1e-6, atol=1e-8, msg=names[k])
    assert (backward.abs().amax(0) > 1e-6).all()


def test_chunks_carry_both_memories() -> None:
    model = CircuitModel(CASES["single_diode"].circuit, RATE, 2, [], scheme=BDF2)
    u, pieces, state = excitation("single_diode", 100), [], None
    for part in u.split([31, 1, 68], 1):
        y, state = model(part, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), model(u)[0], rtol=0, atol=1e-9)
