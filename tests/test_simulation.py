"""The kernels in time: order of convergence, compiled against reference, chunks, batches, failures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from circuits import CASES, LINEAR, NONLINEAR, RATE, discrete, excitation, parse, start
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from circuitnn import reference
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import ConvergenceWarning
from circuitnn.kernel import CompiledKernel
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.schemes import BACKWARD_EULER, TRAPEZOIDAL, Scheme
from circuitnn.simulate import Simulation, kernel_id, simulate


def run(name: str, u: torch.Tensor, compiled: bool = True) -> Simulation:
    model = discrete(name)
    theta, x, w = start(model)
    return simulate(u, x.expand(len(u), -1), w.expand(len(u), -1), theta, kernel_id(model.structure, compiled))


# --- Order of convergence -------------------------------------------------------------------------------------------


def final_values(name: str, scheme: Scheme, steps: int) -> NDArray[np.float64]:
    """Node voltages at 8 instants of a smooth pulse of 0.4 ms, in `steps` steps."""
    duration = 4e-4
    model = DiscreteCircuit(CASES[name].circuit, steps / duration, scheme)
    theta, x, w = start(model)
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    # sin^6 leaves rest with five continuous derivatives, so that the start costs no order.
    u = 0.6 * CASES[name].amplitude * torch.sin(torch.pi * t) ** 6 * torch.cos(4.0 * t)
    y = simulate(u[None, :, None], x, w, theta, kernel_id(model.structure, True)).y[0]
    return y[steps // 8 - 1 :: steps // 8].numpy()


@pytest.mark.parametrize(("scheme", "order"), [(TRAPEZOIDAL, 2.0), (BACKWARD_EULER, 1.0)], ids=["trapezoidal", "Euler"])
@pytest.mark.parametrize("name", ["rc", "rlc", "single_diode", "series_diodes", "npn", "inductor_and_diode"])
def test_order_of_convergence(name: str, scheme: Scheme, order: float) -> None:
    values = [final_values(name, scheme, steps) for steps in (1600, 3200, 6400, 12800, 25600)]
    changes = [np.linalg.norm(fine - coarse) for coarse, fine in pairwise(values)]
    orders = np.log2(np.array(changes[:-1]) / np.array(changes[1:]))
    np.testing.assert_allclose(orders, order, atol=0.1)


# --- Two implementations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_compiled_equals_reference(name: str) -> None:
    u = excitation(name, 120, seed=4)
    compiled, slow = run(name, u), run(name, u, compiled=False)
    assert int(compiled.report[0, 1]) == int(slow.report[0, 1]) == 0
    for found, expected in ((compiled.y, slow.y), (compiled.x, slow.x), (compiled.w, slow.w)):
        torch.testing.assert_close(
            found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()) if expected.numel() else 0
        )


@pytest.mark.parametrize("name", NONLINEAR)
def test_every_solution_is_one_that_the_reference_accepts(name: str) -> None:
    """Single samples of a long run, solved again by the reference from where the compiled core ended."""
    model = discrete(name)
    theta, x, w = start(model)
    u = excitation(name, 4000, seed=5)
    result = CompiledKernel(model.structure).simulate(u, x, w, theta[None], every=1)
    assert int(result.report[0, 1]) == 0
    picked = range(0, 4000, 97)
    xs, ws = result.xs[0, picked, :, 0], result.ws[0, picked, :, 0]
    again = reference.ReferenceKernel(model.structure).simulate(u[0, picked, None], xs, ws, theta[None])
    torch.testing.assert_close(again.w, ws, rtol=0, atol=1e-9)
    assert int(again.report[:, 0].max()) <= 2


@pytest.mark.parametrize("name", NONLINEAR)
def test_newton_needs_few_iterations(name: str) -> None:
    """Extrapolation and limiting at work: on a hot, fast signal."""
    result = run(name, excitation(name, 4000, seed=6))
    assert int(result.report[0, 0]) / 4000 < 8.0


# --- At rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_circuit_at_rest_stays_at_rest(name: str) -> None:
    y = run(name, torch.zeros(1, 2000, CASES[name].inputs)).y[0]
    torch.testing.assert_close(y, y[:1].expand_as(y), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_a_long_run_from_zero_ends_at_the_operating_point(name: str) -> None:
    model = discrete(name, 200.0, BACKWARD_EULER)  # coarse damped steps: only the end matters
    theta, x, w = start(model)
    u = torch.zeros(1, 4000, CASES[name].inputs)
    y = simulate(u, torch.zeros_like(x), torch.zeros_like(w), theta, kernel_id(model.structure, True)).y[0]
    _, _, at_rest = model.initial_state({}, model.operating_point({}))
    torch.testing.assert_close(y[-1], at_rest, rtol=1e-7, atol=1e-7)
    if CASES[name].circuit.element(CASES[name].circuit.elements[0].name).value:  # supplies: there was a way to go
        assert float((y[0] - y[-1]).abs().max()) > 1e-3


# --- Chunks and batches ---------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(CASES)), cuts=st.lists(st.integers(0, 300), max_size=4), seed=st.integers(0, 9))
def test_chunks_equal_the_whole(name: str, cuts: list[int], seed: int) -> None:
    model = discrete(name)
    theta, x, w = start(model)
    u, kernel = excitation(name, 300, seed=seed), kernel_id(model.structure, True)
    whole = simulate(u, x, w, theta, kernel)
    pieces = []
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 300], strict=True):
        part = simulate(u[:, first:last], x, w, theta, kernel)
        x, w = part.x, part.w
        pieces.append(part.y)
    # A chunk starts Newton's method without extrapolation, so solutions agree within its tolerance only.
    torch.testing.assert_close(torch.cat(pieces, 1), whole.y, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(x, whole.x, rtol=1e-9, atol=1e-9 * float(whole.x.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_a_batch_equals_one_by_one(name: str) -> None:
    model = discrete(name)
    _, x, w = start(model)
    kernel, u = kernel_id(model.structure, True), excitation(name, 200, batch=5)
    resistor = next(element.name for element in CASES[name].circuit.elements if element.kind == "R")
    factors = [0.5, 0.8, 1.0, 1.5, 3.0]
    nominal = float(CASES[name].circuit.element(resistor).value)
    thetas = torch.stack([model.theta({resistor: nominal * factor}) for factor in factors]).detach()
    both = simulate(u, x.expand(5, -1), w.expand(5, -1), thetas, kernel)
    for k in range(5):
        one = simulate(u[k : k + 1], x, w, thetas[k : k + 1], kernel)
        # Vectors and scalars are contracted into fused operations differently: equal to rounding.
        for found, expected in ((both.y[k], one.y[0]), (both.x[k], one.x[0])):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11 * float(expected.abs().max()))


def test_gradients_of_a_batch_add_up() -> None:
    model = discrete("series_diodes")
    theta, x, w = start(model)
    kernel, u = kernel_id(model.structure, True), excitation("series_diodes", 100, batch=3)
    theta.requires_grad_()
    (together,) = torch.autograd.grad(
        simulate(u, x.expand(3, -1), w.expand(3, -1), theta, kernel).y.square().sum(), theta
    )
    singly = sum(
        torch.autograd.grad(simulate(u[k : k + 1], x, w, theta, kernel).y.square().sum(), theta)[0] for k in range(3)
    )
    torch.testing.assert_close(together, singly, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["rlc", "npn"])
def test_an_empty_chunk_changes_nothing(name: str) -> None:
    model = discrete(name)
    theta, x, w = start(model)
    theta.requires_grad_()
    result = simulate(torch.zeros(1, 0, 1), x, w, theta, kernel_id(model.structure, True))
    assert result.y.shape == (1, 0, model.structure.n_y)
    assert torch.equal(result.x, x)
    (gradient,) = torch.autograd.grad(result.x.sum() + result.y.sum(), theta)
    assert not gradient.any()


# --- Failures are reported ------------------------------------------------------------------------------------------

# A diode fed through a negative conductance of 1 mS has two solutions below 0.4 V of drive and none above.
FOLD = (
    "Vin in 0 0\nR1 in out 1k\nG1 0 out out 0 2m\nG2 0 out in 0 -2m\nD1 out 0 DS\n.model DS D(IS=2.52n N=1.752)\n"
    "*@ input Vin\n*@ output out"
)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "reference"])
def test_a_sample_without_a_solution_is_reported(compiled: bool) -> None:
    model = CircuitModel(parse(FOLD), 1000.0, oversample=1, learn=[], compiled=compiled)
    u = torch.zeros(1, 40, 1, dtype=torch.float64)
    u[0, 17] = u[0, 30] = 2.0
    with pytest.warns(ConvergenceWarning, match=r"^2 steps did not converge.*sample 17 at D1\.v, sample 30 at D1\.v$"):
        y, _ = model(u)
    # It keeps the last solution, and goes on from there.
    assert y.isfinite().all()
    torch.testing.assert_close(y[0, 18:30], torch.zeros(12, 1, dtype=torch.float64), rtol=0, atol=1e-9)


def test_failures_are_counted_beyond_those_listed_and_in_seconds_of_the_input() -> None:
    model = CircuitModel(parse(FOLD), 1000.0, oversample=4, learn=[])
    u = torch.zeros(2, 200, 1, dtype=torch.float64)
    u[1, 100:] = 2.0
    with pytest.warns(ConvergenceWarning) as caught:
        model(u)
    (warning,) = caught
    count = int(str(warning.message).split()[0])
    assert 268 <= count <= 276
    # The drive arrives 32 samples later; the filter rings around its edge.
    first = int(str(warning.message).split("sample ")[1].split()[0])
    assert 124 <= first <= 132
    assert str(warning.message).count("sample ") == 8


def test_a_reference_that_may_not_iterate_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "MAX_ITERATIONS", 1)
    model = CircuitModel(CASES["single_diode"].circuit, RATE, oversample=1, learn=[], compiled=False)
    with pytest.warns(ConvergenceWarning, match=r"D1\.v"):
        model(excitation("single_diode", 30))


def test_leaps_of_a_thousand_volts_converge() -> None:
    """The worst input there is: full-scale alternation far beyond anything a circuit is made for."""
    for name in NONLINEAR:
        u = 1e3 * CASES[name].amplitude * torch.tensor([1.0, -1.0]).double().repeat(50)[None, :, None]
        result = run(name, u.expand(1, -1, CASES[name].inputs))
        assert int(result.report[0, 1]) == 0, name
        assert result.y.isfinite().all()


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_circuit_does_not_iterate(name: str) -> None:
    assert not run(name, excitation(name, 50)).report.any()
