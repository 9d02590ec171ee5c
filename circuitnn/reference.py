"""The plain torch reference: the same model, sample by sample, for machines without a compiler and as oracle for tests.

Slow (about a millisecond a sample), but it shares nothing with the C++ core but the symbolic laws: Newton's method runs
outside autograd, and one Newton step taken inside it at the solution gives exact first derivatives (the implicit
function theorem).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from circuitnn.kernel import BINS, HISTOGRAM, LISTED, PLACES, REPORT_SIZE, Run, Structure
from circuitnn.operating_point import evaluate_law, limit_step
from circuitnn.symbolic import Operations
from circuitnn.theta_tangent import ThetaTangent

TOLERANCE = 1e-9
MAX_ITERATIONS = 100
_TORCH = Operations(torch)
_Result = TypeVar("_Result")


class ReferenceKernel:
    """Same interface as kernel.CompiledKernel."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure

    def simulate(self, u: Tensor, x: Tensor, w: Tensor, theta: Tensor, every: int = 0, hold: int = 1) -> Run:
        batch = u.shape[0]
        lanes = [_Lane(self.structure, theta[k % len(theta)].detach(), hold) for k in range(batch)]
        runs = [lane.solve(u[k].detach(), x[k].detach(), w[k].detach()) for k, lane in enumerate(lanes)]
        y, x, w, xs, ws, before, report = (torch.stack(part) for part in zip(*runs, strict=True))
        kept = slice(None, None, every) if every else slice(0)
        return Run(y, x, w, xs[:, kept, :, None], (before if every > 1 else ws)[:, kept, :, None], report)

    def adjoint(
        self,
        u: Tensor,
        xs: Tensor,
        ws: Tensor,
        theta: Tensor,
        y_bar: Tensor,
        x_bar: Tensor,
        every: int = 1,
        hold: int = 1,
        signal: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if every > 1:
            run = self.simulate(u, xs[:, 0, :, 0], ws[:, 0, :, 0], theta, 1, hold)
            xs, ws = run.xs, run.ws
        u_bar, x0_bar, theta_bar = _with_autograd(
            lambda: self._adjoint(u, xs[..., 0], ws[..., 0], theta, y_bar, x_bar, hold)
        )
        return u_bar if signal else u.new_empty(0), x0_bar, theta_bar

    def tangent(
        self,
        u: Tensor,
        x: Tensor,
        w: Tensor,
        theta: Tensor,
        du: Tensor | None,
        dx: Tensor,
        dtheta: ThetaTangent,
        hold: int = 1,
    ) -> tuple[Run, Tensor, Tensor]:
        return _with_autograd(lambda: self._tangent(u, x, w, theta, du, dx, self.structure.dtheta_of(dtheta), hold))

    def _adjoint(
        self, u: Tensor, xs: Tensor, ws: Tensor, theta: Tensor, y_bar: Tensor, x_bar: Tensor, hold: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients = []
        for k in range(u.shape[0]):
            inputs = [t.detach().clone().requires_grad_() for t in (u[k], xs[k, 0], theta[k % len(theta)])]
            outputs = _Lane(self.structure, inputs[2], hold).replay(inputs[0], inputs[1], ws[k].detach())
            grad = torch.autograd.grad(outputs, inputs, (y_bar[k], x_bar[k]), allow_unused=True)
            gradients.append([torch.zeros_like(t) if g is None else g for t, g in zip(inputs, grad, strict=True)])
        u_bar, x0_bar, theta_bar = (torch.stack(part) for part in zip(*gradients, strict=True))
        return u_bar, x0_bar, theta_bar

    def _tangent(
        self, u: Tensor, x: Tensor, w: Tensor, theta: Tensor, du: Tensor | None, dx: Tensor, dtheta: Tensor, hold: int
    ) -> tuple[Run, Tensor, Tensor]:
        run = self.simulate(u, x, w, theta, 1, hold)
        derivatives = []
        for k in range(u.shape[0]):
            ws = run.ws[k, ..., 0]

            def replay(u: Tensor, x: Tensor, theta: Tensor, ws: Tensor = ws) -> tuple[Tensor, Tensor]:
                return _Lane(self.structure, theta, hold).replay(u, x, ws)

            point = (u[k].detach(), x[k].detach(), theta[k % len(theta)].detach())
            du_k = u.new_zeros(*u.shape[1:], dx.shape[-1]) if du is None else du[k]
            directions = (du_k, dx[k], dtheta[k % len(dtheta)])
            derivatives.append(
                torch.func.vmap(
                    lambda *d, point=point, replay=replay: torch.func.jvp(replay, point, d)[1], in_dims=-1, out_dims=-1
                )(*(d.detach() for d in directions))
            )
        dy, dx_final = (torch.stack(part) for part in zip(*derivatives, strict=True))
        return run, dy, dx_final


def _with_autograd(compute: Callable[[], _Result]) -> _Result:
    """Inside a custom op autograd is switched off for the thread; a fresh thread has it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(compute).result()


class _Lane:
    """One recording: the reduced model with theta [points, size], one point every `hold` steps."""

    def __init__(self, structure: Structure, theta: Tensor, hold: int) -> None:
        self.structure = structure
        self.theta = theta
        self.hold = hold
        self.stand(theta[0])

    def stand(self, numbers: Tensor) -> None:
        """Go on with these numbers [size]."""
        self.matrices, coefficients = self.structure.unpack(numbers)
        self.devices = []
        port = position = 0
        for law in self.structure.laws:
            names = dict(zip(law.coefficients, coefficients[position : position + len(law.coefficients)], strict=True))
            self.devices.append((law, slice(port, port + law.ports), names))
            port += law.ports
            position += len(law.coefficients)

    def move(self, n: int) -> None:
        """To the numbers of step n."""
        if len(self.theta) > 1:
            block, part = n // self.hold, n % self.hold / self.hold
            self.stand((1.0 - part) * self.theta[block] + part * self.theta[block + 1])

    def ports(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """v, i [n_n] and their block-diagonal Jacobians [n_n, n_n] at w."""
        v, i = list[Tensor](), list[Tensor]()
        dv, di = list[Tensor](), list[Tensor]()
        for law, ports, coefficients in self.devices:
            parts = evaluate_law(law, w[ports], coefficients, _TORCH)
            v += parts[0]
            i += parts[1]
            for blocks, block in zip((dv, di), parts[2:], strict=True):
                blocks.append(torch.stack([_stack(row, w) for row in block]))
        if not v:
            empty = w.new_zeros(0)
            return empty, empty, w.new_zeros(0, 0), w.new_zeros(0, 0)
        return _stack(v, w), _stack(i, w), torch.block_diag(*dv), torch.block_diag(*di)

    def right_side(self, x: Tensor, u: Tensor) -> Tensor:
        return self.matrices.R_x @ x + self.matrices.R_u @ u

    def free(self, v: Tensor, i: Tensor) -> Tensor:
        return torch.cat([v, i])[list(self.structure.free)]

    def advance(self, x: Tensor, u: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        A, B, C, D, E, F, *_ = self.matrices
        return D @ x + E @ u + F @ f, A @ x + B @ u + C @ f

    def newton(self, w: Tensor, right_side: Tensor) -> tuple[Tensor, int, bool, int]:
        """Solution, iterations, whether it converged, port with the largest last step."""
        P, Q = self.matrices.P, self.matrices.Q
        worst = 0
        for iteration in range(1, MAX_ITERATIONS + 1):
            v, i, dv, di = self.ports(w)
            step = torch.linalg.solve(P @ dv + Q @ di, P @ v + Q @ i - right_side)
            new = w - step
            for law, ports, coefficients in self.devices:
                limited = limit_step(law, coefficients, w[ports].numpy(), new[ports].numpy())
                new[ports] = torch.as_tensor(limited)
            change = (new - w).abs() / (1.0 + w.abs())
            w, worst = new, int(change.argmax())
            if not bool(torch.isfinite(change).all()):
                return w, iteration, False, worst
            if float(change.max()) < TOLERANCE:
                return w, iteration, True, worst
        return w, MAX_ITERATIONS, False, worst

    @torch.no_grad()
    def solve(self, u: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        """y, final x and w, xs, ws, the w before each step, report. A sample that does not converge keeps the last
        solution."""
        s = self.structure
        rows: tuple[list[Tensor], ...] = ([], [], [], [])
        report = torch.zeros(REPORT_SIZE, dtype=torch.int64)
        histogram, places = report[HISTOGRAM], report[PLACES]
        for n in range(u.shape[0]):
            self.move(n)
            input_ = torch.cat([u[n], u.new_ones(1)])
            old_x, old_w = x, w
            taken = 0
            if self.devices:
                new, taken, converged, port = self.newton(w, self.right_side(x, input_))
                if converged:
                    w = new
                else:
                    if report[1] < LISTED:
                        places[2 * int(report[1]) : 2 * int(report[1]) + 2] = torch.tensor([n, port])
                    report[1] += 1
            report[0] += taken
            histogram[min(taken, BINS - 1)] += 1
            v, i, _, _ = self.ports(w)
            y, x = self.advance(x, input_, self.free(v, i))
            for row, value in zip(rows, (y, old_x, w, old_w), strict=True):
                row.append(value)
        sizes = (s.n_y, s.n_x, s.n_n, s.n_n)
        y, xs, ws, before = (
            torch.stack(row) if row else u.new_zeros(0, size) for row, size in zip(rows, sizes, strict=True)
        )
        return y, x, w, xs, ws, before, report

    def replay(self, u: Tensor, x: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
        """y [time, n_y] and the final x, differentiable in u, x and theta, given the solutions ws [time, n_n]."""
        ys = []
        for n in range(u.shape[0]):
            self.move(n)
            P, Q = self.matrices.P, self.matrices.Q
            input_ = torch.cat([u[n], u.new_ones(1)])
            w = ws[n]
            if self.devices:
                v, i, dv, di = self.ports(w)
                jacobian = (P @ dv + Q @ di).detach()
                w = w - torch.linalg.solve(jacobian, P @ v + Q @ i - self.right_side(x, input_))
            v, i, _, _ = self.ports(w)
            y, x = self.advance(x, input_, self.free(v, i))
            ys.append(y)
        return torch.stack(ys), x


def _stack(parts: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack([torch.as_tensor(part, dtype=like.dtype) for part in parts])
