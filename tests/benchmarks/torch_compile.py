"""The gradient of the TS-808 clipper against torch.compile, with the arrangement that suits it best.

Compiling the loop of torch_loop.py together with its autograd takes minutes even for eight unrolled samples. So the
derivative is arranged by hand: two compiled functions, each a chunk of unrolled samples in elementwise operations
(states and voltages are vectors over the batch), do what is sequential: Newton's method and the states forward, and
the states' adjoints backward. All else is vectorised over time, and the gradient in theta is autograd's of the
Lagrangian

    sum_n  y_bar (D x + E u + F i(v)) + x_bar' (A x + B u + C i(v)) - r_bar (v + k i(v) - R_x x - R_u u)

at fixed x, v, x_bar and r_bar, which is exact by the implicit function theorem. Each sample makes a fixed number of
Newton iterations from the last solution moved along its tangent; the size of the last one is checked against 1e-9 V.
The time of compilation is reported beside the time per step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from common import NETLISTS, RATE, Row, check_gradient, faded_in, guitar_like, lanes, print_rows, side_by_side
from torch import Tensor
from torch._inductor.utils import fresh_cache
from torch_loop import GRADIENT_TOLERANCE, gradient_of, start_of

from circuitnn.dk import Matrices
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist

# Twice as many take more than twice as long to compile (minutes) and save a few microseconds of calling per step.
CHUNK = 16
ITERATIONS = 5
LIMIT = 0.1
NEWTON_TOLERANCE = 1e-9
TWO_GMIN = 2e-12
STATES = range(3)
# Inductor inlines a chain of elementwise operations into each of its users, which computes every iteration of Newton's
# method many times over. These keep intermediate results and still fuse a whole chunk into few kernels.
OPTIONS = {"realize_opcount_threshold": 8, "realize_reads_threshold": 2, "max_fusion_size": 1000}
Law = tuple[Tensor, Tensor, Tensor]


def diodes(law: Law, v: Tensor) -> tuple[Tensor, Tensor]:
    """Current in ampere and conductance in siemens of the pair. law: slope, forward, reverse."""
    slope, forward, reverse = law
    up = torch.exp(slope * v)
    rising, falling = forward * up, reverse / up
    return rising - falling + (reverse - forward) + TWO_GMIN * v, slope * (rising + falling) + TWO_GMIN


def forward_chunk(
    u: Tensor, x: Tensor, newton: Tensor, matrices: Matrices, law: Law
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """u [CHUNK, batch], x [3, batch], newton [3, batch] -> v [CHUNK, batch], x before each sample [CHUNK, 3, batch],
    x and newton at the end, the largest last step. newton: voltage, and right-hand side and dv/dr that belong to it."""
    A, B, C, _, _, _, R_x, R_u, _, Q = matrices
    k, states = Q[0, 0], list(x.unbind())
    v, last_r, dv_dr = newton.unbind()
    vs, xs, worst = [], [], torch.zeros_like(v)
    for sample in u.unbind():
        xs += states
        r = R_u[0, 0] * sample + R_u[0, 1] + sum(R_x[0, j] * states[j] for j in STATES)
        v = v + ((r - last_r) * dv_dr).clamp(-LIMIT, LIMIT)
        for _ in range(ITERATIONS):
            i, conductance = diodes(law, v)
            dv_dr = 1.0 / (1.0 + k * conductance)
            step = (r - v - k * i) * dv_dr
            v = v + step
        # P is the identity here: v + k i = r at the solution.
        i = (r - v) / k
        worst, last_r = torch.maximum(worst, step.abs()), r
        states = [B[m, 0] * sample + B[m, 1] + C[m, 0] * i + sum(A[m, j] * states[j] for j in STATES) for m in STATES]
        vs.append(v)
    before = torch.stack(xs).unflatten(0, (len(vs), len(STATES)))
    return torch.stack(vs), before, torch.stack(states), torch.stack([v, last_r, dv_dr]), worst.max()


def backward_chunk(y_bar: Tensor, gamma: Tensor, x_bar: Tensor, matrices: Matrices) -> tuple[Tensor, Tensor]:
    """y_bar, gamma = di/dr [CHUNK, batch], x_bar [3, batch] after the chunk -> x_bar after each sample, and before."""
    A, _, C, D, _, F, R_x, _, _, _ = matrices
    bars = list(x_bar.unbind())
    after: list[Tensor] = []
    for n in reversed(range(CHUNK)):
        after = [*bars, *after]
        r_bar = gamma[n] * (F[0, 0] * y_bar[n] + sum(C[m, 0] * bars[m] for m in STATES))
        bars = [
            D[0, j] * y_bar[n] + R_x[0, j] * r_bar + sum(A[m, j] * bars[m] for m in STATES)
            for j in STATES
        ]  # fmt: skip
    return torch.stack(after).unflatten(0, (CHUNK, len(STATES))), torch.stack(bars)


class Peer:
    """The gradient of the output's energy in all learnable values, for one batch size."""

    def __init__(self, model: CircuitModel, compiler: Callable[[Callable[..., object]], Callable[..., object]]) -> None:
        self.model = model
        self.start = start_of(model)
        self.forward, self.backward = compiler(forward_chunk), compiler(backward_chunk)

    def gradient(self, u: Tensor) -> Tensor:
        """u [batch, steps, 1], steps a multiple of CHUNK."""
        model, (x, w), batch = self.model, self.start, len(u)
        free = model.free.detach().requires_grad_()
        matrices, coefficients = model.discrete.structure.unpack(model.discrete.theta(model.overrides(free=free)))
        names = [symbol.name for symbol in model.discrete.structure.laws[0].coefficients]
        law = tuple(coefficients[names.index(name)] for name in ("slope", "forward", "reverse"))
        A, B, C, D, E, F, R_x, R_u, _, Q = matrices
        fixed, fixed_law = Matrices(*(m.detach() for m in matrices)), tuple(c.detach() for c in law)
        signal = u[:, :, 0].T.contiguous()
        with torch.no_grad():
            states = x[:, None].expand(-1, batch).contiguous()
            newton = torch.stack([w.expand(batch), w.new_zeros(batch), w.new_zeros(batch)])
            parts, worst = [], x.new_zeros(())
            for block in signal.split(CHUNK):
                *part, states, newton, last_step = self.forward(block, states, newton, fixed, fixed_law)
                parts.append(part)
                worst = torch.maximum(worst, last_step)
            assert float(worst) < NEWTON_TOLERANCE, f"the last Newton step was {float(worst):.1e} V"
            v, xs = (torch.cat(part) for part in zip(*parts, strict=True))
            i, conductance = diodes(fixed_law, v)
            gamma = conductance / (1.0 + fixed.Q[0, 0] * conductance)
            y = torch.einsum("j,njb->nb", fixed.D[0], xs) + fixed.E[0, 0] * signal + fixed.E[0, 1] + fixed.F[0, 0] * i
            y_bar, x_bar, bars = 2.0 * y, torch.zeros_like(states), []
            for y_block, gamma_block in zip(reversed(y_bar.split(CHUNK)), reversed(gamma.split(CHUNK)), strict=True):
                after, x_bar = self.backward(y_block, gamma_block, x_bar, fixed)
                bars.append(after)
            x_bars = torch.cat(bars[::-1])
            r_bar = gamma * (fixed.F[0, 0] * y_bar + torch.einsum("m,nmb->nb", fixed.C[:, 0], x_bars))
        i, _ = diodes(law, v)
        inputs = torch.stack([signal, torch.ones_like(signal)], 1)
        y = torch.einsum("j,njb->nb", D[0], xs) + torch.einsum("j,njb->nb", E[0], inputs) + F[0, 0] * i
        after = torch.einsum("mj,njb->nmb", A, xs) + torch.einsum("mj,njb->nmb", B, inputs) + C * i[:, None]
        r = torch.einsum("j,njb->nb", R_x[0], xs) + torch.einsum("j,njb->nb", R_u[0], inputs)
        lagrangian = (y_bar * y).sum() + (x_bars * after).sum() - (r_bar * (v + Q[0, 0] * i - r)).sum()
        return torch.autograd.grad(lagrangian, free)[0]


def measure(repeats: int, peer_steps: int = 256 * CHUNK, steps: int = RATE // 2) -> list[Row]:
    """Batch 1 and 32. The peer runs a shorter excerpt; a loop's time per step does not fall with length."""
    model = CircuitModel(read_netlist(NETLISTS / "ts808_clipper.cir"), RATE, oversample=1)
    rows = list[Row]()
    for batch in (1, 32):
        torch.compiler.reset()
        peer = Peer(model, partial(torch.compile, dynamic=False, fullgraph=True, options=OPTIONS))
        u = lanes(faded_in(guitar_like(steps)), batch)
        excerpt = u[:, :peer_steps]
        begin = time.perf_counter()
        # Without what an earlier run may have left in inductor's cache.
        with fresh_cache():
            gradient = peer.gradient(excerpt)
        compilation = time.perf_counter() - begin
        worst = check_gradient(gradient, gradient_of(model, excerpt), GRADIENT_TOLERANCE)
        times = side_by_side(
            {"ours": partial(gradient_of, model, u), "peer": partial(peer.gradient, excerpt)}, repeats
        )  # fmt: skip
        rows.append(
            Row(
                "compile", f"ts808_clipper, gradient, batch {batch}", "torch.compile",
                1e9 * times["ours"] / (steps * batch), 1e9 * times["peer"] / (peer_steps * batch),
                {"gradient_difference": worst, "compilation_s": compilation},
            )
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    print_rows(measure(3))
