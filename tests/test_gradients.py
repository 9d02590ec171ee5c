"""Four independent ways to one derivative: adjoint, tangent, an unrolled autograd loop, and difference quotients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from circuits import CASES, RATE, discrete, excitation, start
from textbook import FORMULAS
from torch import Tensor

from circuitnn.kernel import CompiledKernel, Structure
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.reference import ReferenceKernel
from circuitnn.simulate import kernel_id, simulate, tangent
from circuitnn.values import literal_values

TIME = 40


# --- The oracle: textbook formulas and a Newton loop, all of it inside autograd -------------------------------------


def unrolled(
    structure: Structure, u: Tensor, x: Tensor, theta: Tensor, ws: Tensor, iterations: int = 6
) -> tuple[Tensor, Tensor]:
    """y [time, n_y] and the final x of one recording. Newton's method starts near the solutions ws, and every one of
    its iterations is in the graph."""
    n = structure.n_n
    matrices, flat = structure.unpack(theta)
    A, B, C, D, E, F, R_x, R_u, P, Q = matrices
    coefficients, position = [], 0
    for law in structure.laws:
        names = [symbol.name for symbol in law.coefficients]
        coefficients.append(dict(zip(names, flat[position : position + len(names)], strict=True)))
        position += len(names)

    def current(w: Tensor) -> Tensor:
        parts, port = [], 0
        for law, c in zip(structure.laws, coefficients, strict=True):
            parts.append(FORMULAS[law.name](w[port : port + law.ports], c))
            port += law.ports
        return torch.cat(parts) if parts else w

    ys = []
    for sample in range(len(u)):
        drive = torch.cat([u[sample], torch.ones(1, dtype=torch.float64)])
        w = ws[sample].detach()
        if n:
            right = R_x @ x + R_u @ drive
            w = w + 1e-3 * torch.linspace(-1.0, 1.0, n + 1, dtype=torch.float64)[:n]
            for _ in range(iterations):
                conductance = torch.func.jacrev(current)(w)
                w = w - torch.linalg.solve(P + Q @ conductance, P @ w + Q @ current(w) - right)
        f = torch.cat([w, current(w)])[list(structure.free)]
        ys.append(D @ x + E @ drive + F @ f)
        x = A @ x + B @ drive + C @ f
    return torch.stack(ys), x


@dataclass(frozen=True)
class Derivatives:
    """Gradients of one loss, and the tangents of y in every entry of theta [time, n_y, size]. scale [size]: the sum of
    the magnitudes whose signed sum is the gradient, which is what relative errors refer to."""

    structure: Structure
    u: Tensor
    x: Tensor
    w: Tensor
    theta: Tensor
    ws: Tensor
    y_bar: Tensor
    x_bar: Tensor
    adjoint: tuple[Tensor, Tensor, Tensor]
    dy: Tensor
    dx_final: Tensor
    scale: Tensor

    def active(self) -> Tensor:
        """Entries of theta that a run depends on: the compiled core takes P = I as read in the classic method."""
        names = [name for name, (r, c) in self.structure.shapes.items() for _ in range(r * c)]
        names += ["coefficient"] * (self.structure.size - len(names))
        return torch.tensor([not (self.structure.plain and name == "P") for name in names])


@cache
def derivatives(name: str, compiled: bool = True) -> Derivatives:
    model = discrete(name)
    structure, kernel = model.structure, kernel_id(model.structure, compiled)
    theta, x, w = start(model)
    u = excitation(name, TIME)
    generator = torch.Generator().manual_seed(0)
    y_bar = torch.randn(1, TIME, structure.n_y, dtype=torch.float64, generator=generator)
    x_bar = torch.randn(1, structure.n_x, dtype=torch.float64, generator=generator) * 1e3
    inputs = [tensor.clone().requires_grad_() for tensor in (u, x, theta)]
    run = simulate(inputs[0], inputs[1], w, inputs[2], kernel)
    assert int(run.report[0, 1]) == 0
    core = (CompiledKernel if compiled else ReferenceKernel)(structure)
    ws = core.simulate(u, x, w, theta[None], every=1).ws[..., 0]
    adjoint = torch.autograd.grad((run.y * y_bar).sum() + (run.x * x_bar).sum(), inputs)
    directions = torch.eye(structure.size, dtype=torch.float64)[None]
    rest = torch.zeros(1, structure.n_x, structure.size, dtype=torch.float64)
    _, dy, dx_final, _ = tangent(u, x, w, theta, rest, directions, kernel)
    scale = (dy * y_bar[..., None]).abs().sum((0, 1, 2)) + (dx_final * x_bar[..., None]).abs().sum((0, 1))
    return Derivatives(structure, u, x, w, theta, ws, y_bar, x_bar, adjoint, dy, dx_final, scale)


def assert_entries(found: Tensor, expected: Tensor, scale: Tensor, relative: float) -> None:
    error = (found - expected).abs()
    assert torch.isfinite(error).all()
    wrong = torch.nonzero(error > relative * scale + 1e-300).flatten().tolist()
    assert not wrong, f"entries {wrong}: {found[wrong].tolist()} against {expected[wrong].tolist()}"


@pytest.mark.parametrize("name", CASES)
def test_adjoint_equals_tangent(name: str) -> None:
    d = derivatives(name)
    gradient = (d.dy * d.y_bar[..., None]).sum((0, 1, 2)) + (d.dx_final * d.x_bar[..., None]).sum((0, 1))
    assert_entries(d.adjoint[2][0], gradient, d.scale, 1e-7)
    # Something must depend on nearly every matrix and coefficient, or the comparison would be empty.
    assert (d.scale > 0.0).sum() > 0.5 * d.structure.size - d.structure.n_n**2


# The laws of behavioural sources have no second formula by hand in FORMULAS.
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("behavioural")])
def test_adjoint_equals_unrolled_autograd(name: str) -> None:
    d = derivatives(name)
    inputs = [tensor[0].clone().requires_grad_() for tensor in (d.u, d.x, d.theta)]
    y, x = unrolled(d.structure, *inputs, d.ws[0])
    expected = torch.autograd.grad((y * d.y_bar[0]).sum() + (x * d.x_bar[0]).sum(), inputs)
    active = d.active()
    assert_entries(d.adjoint[2][0][active], expected[2][active], d.scale[active], 1e-7)
    for found, other in zip(d.adjoint[:2], expected[:2], strict=True):
        torch.testing.assert_close(found[0], other, rtol=1e-6, atol=1e-8 * float(other.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_tangent_equals_difference_quotients(name: str) -> None:
    """Every entry of theta, over time: two central differences, extrapolated (Richardson)."""
    d = derivatives(name)
    largest = d.dy.abs().amax((0, 1, 2))
    # A step that moves a node by about 0.1 mV, and an entry by a small part of what it is.
    step = 1e-4 / largest.clamp(min=1e-30)
    step = torch.where(d.theta[0] == 0.0, step.clamp(max=1e-2), torch.minimum(step, 3e-4 * d.theta[0].abs()))
    entries = torch.nonzero(d.active()).flatten()
    offsets = torch.cat([factor * torch.diag(step)[entries] for factor in (1.0, -1.0, 2.0, -2.0)])
    batch = len(offsets)
    y = simulate(
        d.u.expand(batch, -1, -1), d.x.expand(batch, -1), d.w.expand(batch, -1), d.theta + offsets,
        kernel_id(d.structure, True),
    ).y.unflatten(0, (4, -1))  # fmt: skip
    quotient = (8.0 * (y[0] - y[1]) - (y[2] - y[3])) / (12.0 * step[entries, None, None])
    error = (quotient - d.dy[0].movedim(-1, 0)[entries]).abs().amax((1, 2))
    rounding = 1e-13 * (1.0 + y.abs().max()) / step[entries]
    if name == "amplifier":
        rounding = 1e3 * rounding  # the gain of 200,000 amplifies it
    wrong = entries[error > 1e-6 * largest[entries] + rounding].tolist()
    assert not wrong, (wrong, error[error > 1e-6 * largest[entries] + rounding].tolist(), largest[wrong].tolist())
    # Rounding must not hide the comparison.
    assert (rounding < 1e-4 * largest[entries]).float().mean() > 0.6


@pytest.mark.parametrize("name", ["rlc", "single_diode", "series_diodes", "npn"])
def test_input_and_initial_state_directions(name: str) -> None:
    """The tangents in u and x, against the adjoint: <y_bar, J d> = <J^T y_bar, d>."""
    d = derivatives(name)
    generator = torch.Generator().manual_seed(1)
    du = torch.randn(*d.u.shape, 3, dtype=torch.float64, generator=generator)
    dx = torch.randn(*d.x.shape, 3, dtype=torch.float64, generator=generator)
    zero = torch.zeros(1, d.structure.size, 3, dtype=torch.float64)
    up, down = d.u.new_zeros(1, 0, d.structure.n_u), d.u.new_zeros(1, 0, d.structure.n_y)
    dup, ddown = (history[..., None].expand(-1, -1, -1, 3) for history in (up, down))
    dy, dx_final, _, _ = torch.ops.circuitnn.tangent(
        d.u, d.x, d.w, up, down, d.theta[None], du, dx, dup, ddown, zero[None], kernel_id(d.structure, True), 1
    )
    forward = (dy * d.y_bar[..., None]).sum((0, 1, 2)) + (dx_final * d.x_bar[..., None]).sum((0, 1))
    backward = (d.adjoint[0][..., None] * du).sum((0, 1, 2)) + (d.adjoint[1][..., None] * dx).sum((0, 1))
    torch.testing.assert_close(forward, backward, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["rc", "antiparallel", "series_diodes", "breakdown", "npn", "zero_ohm"])
def test_reference_has_the_same_derivatives(name: str) -> None:
    compiled, reference = derivatives(name), derivatives(name, compiled=False)
    active = compiled.active()
    assert_entries(reference.adjoint[2][0][active], compiled.adjoint[2][0][active], compiled.scale[active], 1e-9)
    for k in (0, 1):
        torch.testing.assert_close(reference.adjoint[k], compiled.adjoint[k], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ["single_diode", "series_diodes", "npn"])
def test_reference_tangent(name: str) -> None:
    d, time = derivatives(name), 10
    directions = torch.randn(1, d.structure.size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    directions = directions * d.theta[..., None] * 1e-3 * d.active()[:, None]
    dx = torch.zeros(1, d.structure.n_x, 2, dtype=torch.float64)
    _, dy, dx_final, _ = tangent(d.u[:, :time], d.x, d.w, d.theta, dx, directions, kernel_id(d.structure, True))
    _, dy_r, dx_r, _ = tangent(d.u[:, :time], d.x, d.w, d.theta, dx, directions, kernel_id(d.structure, False))
    torch.testing.assert_close(dy_r, dy, rtol=1e-6, atol=1e-8 * float(dy.abs().max()))
    torch.testing.assert_close(dx_r, dx_final, rtol=1e-6, atol=1e-8 * float(dx_final.abs().max()))


# --- From the values of the netlist to the output -------------------------------------------------------------------


def everything(name: str) -> CircuitModel:
    """The case's model with every plain number of its netlist learnable, sources and 0 ohm included."""
    circuit = CASES[name].circuit
    names = [value for value in literal_values(circuit) if value not in circuit.inputs]
    return CircuitModel(circuit, RATE, oversample=1, learn=names)


def output(model: CircuitModel, u: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda free: torch.func.functional_call(model, {"free": free}, (u,))[0]


@pytest.mark.parametrize("name", CASES)
def test_every_value_of_the_netlist_has_the_right_derivative(name: str) -> None:
    """Through elimination, temperature laws and the operating point: jacfwd, backward and difference quotients."""
    model, u = everything(name), excitation(name, TIME)
    function, free = output(model, u), torch.zeros(len(model.coordinates), dtype=torch.float64)
    jacobian = torch.func.jacfwd(function)(free)
    assert jacobian.shape == (1, TIME, model.discrete.structure.n_y, len(free))

    y_bar = torch.randn(
        1, TIME, model.discrete.structure.n_y, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    model(u)[0].backward(y_bar)
    assert model.free.grad is not None
    weighted = jacobian * y_bar[..., None]
    assert_entries(model.free.grad, weighted.sum((0, 1, 2)), weighted.abs().sum((0, 1, 2)), 1e-7)

    direction = torch.randn(len(free), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y, dy = torch.func.jvp(function, (free,), (direction,))
    torch.testing.assert_close(dy, jacobian @ direction, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(y, model(u)[0].detach(), rtol=0, atol=1e-11)

    unmoved = []
    for k, coordinate in enumerate(model.coordinates):
        largest = float(jacobian[..., k].abs().max())
        step = min(2e-3, 2e-4 / max(largest, 1e-9))
        with torch.no_grad():
            y = [function(free + factor * step * torch.eye(len(free))[k].double()) for factor in (1.0, -1.0, 2.0, -2.0)]
        quotient = (8.0 * (y[0] - y[1]) - (y[2] - y[3])) / (12.0 * step)
        error = float((quotient - jacobian[..., k]).abs().max())
        assert error <= 1e-6 * largest + (1e-9 if name == "amplifier" else 1e-11) / step, (
            coordinate.name,
            error,
            largest,
        )
        if largest < 1e-9:
            unmoved.append(coordinate.name)
    # A temperature law does nothing at the nominal temperature, and is not stated by any other case.
    assert not unmoved


@pytest.mark.parametrize("name", ["single_diode", "series_diodes", "npn", "rlc"])
def test_gradcheck(name: str) -> None:
    model = everything(name)

    def function(free: Tensor, u: Tensor) -> Tensor:
        return torch.func.functional_call(model, {"free": free}, (u,))[0]

    free = torch.full((len(model.coordinates),), 0.01, dtype=torch.float64, requires_grad=True)
    u = (0.4 * excitation(name, 6)).requires_grad_()
    assert torch.autograd.gradcheck(
        function, (free, u), eps=1e-6, atol=1e-6, rtol=1e-5, check_forward_ad=True, nondet_tol=0.0
    )


def test_the_state_carries_gradients_from_chunk_to_chunk() -> None:
    """Backward through a state that was handed on equals backward through the whole."""
    model, u = everything("series_diodes"), excitation("series_diodes", 60)
    whole, _ = model(u)
    (expected,) = torch.autograd.grad(whole.square().sum(), model.free)
    first, state = model(u[:, :23])
    second, _ = model(u[:, 23:], state)
    (found,) = torch.autograd.grad(torch.cat([first, second], 1).square().sum(), model.free)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    model, u = everything("single_diode"), excitation("single_diode", 10)
    (gradient,) = torch.autograd.grad(model(u)[0].square().sum(), model.free, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
