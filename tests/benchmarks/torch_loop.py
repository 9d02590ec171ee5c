"""The gradient of the TS-808 clipper against a plain torch loop, for one recording and for a batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from common import NETLISTS, RATE, Row, check_gradient, guitar_like, lanes, print_rows, side_by_side
from torch import Tensor

from circuitnn.discretise import DiscreteCircuit
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist

GRADIENT_TOLERANCE = 1e-6


def torch_loop(model: DiscreteCircuit, u: Tensor, x: Tensor, w: Tensor, theta: Tensor) -> Tensor:
    """The reduced model as a torch loop: u [steps, 1], x [n_x], w [1], theta [size] -> y [steps, n_y]."""
    matrices, coefficients = model.structure.unpack(theta)
    A, B, C, D, E, F, R_x, R_u, _, Q = matrices
    names = [symbol.name for symbol in model.structure.laws[0].coefficients]
    c = dict(zip(names, coefficients, strict=True))
    slope, forward, reverse = c["slope"], c["forward"], c["reverse"]
    k = Q[0, 0]
    # One product with the state, one with the current; what depends on neither is done for all samples at once.
    from_state, from_current = torch.cat([A, D, R_x]), torch.cat([C, F])[:, 0]
    drive = torch.cat([u, torch.ones_like(u)], 1) @ torch.cat([B, E, R_u]).T
    n_x, n_xy = A.shape[0], A.shape[0] + D.shape[0]
    slope_, forward_, reverse_, k_ = (float(value.detach()) for value in (slope, forward, reverse, k))
    voltage, ys = float(w), []
    for base in drive.unbind():
        linear = torch.addmv(base, from_state, x)
        r = linear[n_xy]
        right = float(r.detach())
        for _ in range(100):
            up, down = math.exp(slope_ * voltage), math.exp(-slope_ * voltage)
            current = forward_ * (up - 1.0) - reverse_ * (down - 1.0) + 2e-12 * voltage
            conductance = slope_ * (forward_ * up + reverse_ * down) + 2e-12
            step = (voltage + k_ * current - right) / (1.0 + k_ * conductance)
            voltage -= max(-0.1, min(0.1, step))
            if abs(step) < 1e-9:
                break
        # One Newton step from the solution, with a constant Jacobian: v has the derivatives of the exact solution.
        residual = voltage + k * (forward * torch.expm1(slope * voltage) - reverse * torch.expm1(-slope * voltage)) - r
        v = voltage - (residual + k * (2e-12 * voltage)) / (1.0 + k_ * conductance)
        i = forward * torch.expm1(slope * v) - reverse * torch.expm1(-slope * v) + 2e-12 * v
        state = torch.addcmul(linear[:n_xy], from_current, i)
        x = state[:n_x]
        ys.append(state[n_x:])
    return torch.stack(ys)


def torch_loop_batched(model: DiscreteCircuit, u: Tensor, x: Tensor, w: Tensor, theta: Tensor) -> Tensor:
    """torch_loop for a batch, vectorised over it: u [batch, steps, 1], x [batch, n_x], w [batch, 1], theta [size] ->
    y [batch, steps, n_y]. Newton's method goes on until every lane has converged."""
    matrices, coefficients = model.structure.unpack(theta)
    A, B, C, D, E, F, R_x, R_u, _, Q = matrices
    names = [symbol.name for symbol in model.structure.laws[0].coefficients]
    c = dict(zip(names, coefficients, strict=True))
    slope, forward, reverse = c["slope"], c["forward"], c["reverse"]
    k = Q[0, 0]
    from_state, from_current = torch.cat([A, D, R_x]).T.contiguous(), torch.cat([C, F])[:, 0]
    drive = torch.cat([u, torch.ones_like(u)], 2) @ torch.cat([B, E, R_u]).T
    n_x, n_xy = A.shape[0], A.shape[0] + D.shape[0]
    slope_, forward_, reverse_, k_ = (value.detach() for value in (slope, forward, reverse, k))
    voltage, ys = w[:, 0], []
    for base in drive.unbind(1):
        linear = torch.addmm(base, x, from_state)
        r = linear[:, n_xy]
        with torch.no_grad():
            for _ in range(100):
                up, down = torch.exp(slope_ * voltage), torch.exp(-slope_ * voltage)
                current = forward_ * (up - 1.0) - reverse_ * (down - 1.0) + 2e-12 * voltage
                denominator = 1.0 + k_ * (slope_ * (forward_ * up + reverse_ * down) + 2e-12)
                step = (voltage + k_ * current - r) / denominator
                voltage = voltage - step.clamp(-0.1, 0.1)
                if float(step.abs().max()) < 1e-9:
                    break
        residual = voltage + k * (forward * torch.expm1(slope * voltage) - reverse * torch.expm1(-slope * voltage)) - r
        v = voltage - (residual + k * (2e-12 * voltage)) / denominator
        i = forward * torch.expm1(slope * v) - reverse * torch.expm1(-slope * v) + 2e-12 * v
        state = torch.addcmul(linear[:, :n_xy], from_current, i[:, None])
        x = state[:, :n_x]
        ys.append(state[:, n_x:])
    return torch.stack(ys, 1)


def gradient_of(model: CircuitModel, u: Tensor) -> Tensor:
    """The package's gradient of the output's energy in all learnable values."""
    model.free.grad = None
    model(u)[0].square().sum().backward()
    assert model.free.grad is not None
    return model.free.grad


def start_of(model: CircuitModel) -> tuple[Tensor, Tensor]:
    """x [n_x] and w [n_n] at rest."""
    with torch.no_grad():
        values = model.overrides()
        x, w, _ = model.discrete.initial_state(values, model.operating_point(values))
    return x, w


def measure(repeats: int, steps: int = 4 * RATE, peer_steps: int = 1000) -> list[Row]:
    """The peer runs a shorter excerpt; a loop's time per step does not fall with length."""
    model = CircuitModel(read_netlist(NETLISTS / "ts808_clipper.cir"), RATE, oversample=1)
    discrete, (x, w) = model.discrete, start_of(model)

    def single(u: Tensor, theta: Tensor) -> Tensor:
        return torch_loop(discrete, u[0], x, w, theta)

    def batched(u: Tensor, theta: Tensor) -> Tensor:
        return torch_loop_batched(discrete, u, x.expand(len(u), -1), w.expand(len(u), -1), theta)

    rows = list[Row]()
    cases: list[tuple[int, int, Callable[[Tensor, Tensor], Tensor]]] = [(1, steps, single), (32, steps // 8, batched)]
    for batch, our_steps, loop in cases:
        u = lanes(guitar_like(our_steps), batch)
        excerpt = u[:, :peer_steps]

        def peer(excerpt: Tensor = excerpt, loop: Callable[[Tensor, Tensor], Tensor] = loop) -> Tensor:
            free = model.free.detach().requires_grad_()
            y = loop(excerpt, discrete.theta(model.overrides(free=free)))
            return torch.autograd.grad(y.square().sum(), free)[0]

        worst = check_gradient(peer(), gradient_of(model, excerpt), GRADIENT_TOLERANCE)
        times = side_by_side({"ours": lambda u=u: gradient_of(model, u), "peer": peer}, repeats)
        rows.append(
            Row(
                "torch", f"ts808_clipper, gradient, batch {batch}", "plain torch loop",
                1e9 * times["ours"] / (our_steps * batch), 1e9 * times["peer"] / (peer_steps * batch),
                {"gradient_difference": worst},
            )
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    print_rows(measure(3))
