"""The simulation as one differentiable operation: custom torch ops with reverse mode, forward mode and vmap.

`simulate` works with loss.backward(), torch.func.jvp and jacfwd, gradcheck, and inside code under torch.compile.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor

from circuitnn.errors import CompilerError
from circuitnn.kernel import REPORT_SIZE, CompiledKernel, Run, Structure
from circuitnn.reference import ReferenceKernel

_NO_VMAP = "vmap over the signal or the model of a simulation is not supported: use the batch dimension"
ops: Any = torch.ops.circuitnn
_kernels: list[CompiledKernel | ReferenceKernel] = []


@cache
def kernel_id(structure: Structure, compiled: bool | None = None) -> int:
    """The number by which the ops know a kernel. compiled: None for the C++ core where a compiler can be had and the
    torch reference (with a warning) elsewhere."""
    kernel: CompiledKernel | ReferenceKernel
    if compiled is False:
        kernel = ReferenceKernel(structure)
    else:
        try:
            kernel = CompiledKernel(structure)
        except CompilerError as error:
            if compiled:
                raise
            warnings.warn(f"running the slow torch reference: {error}", stacklevel=2)
            kernel = ReferenceKernel(structure)
    _kernels.append(kernel)
    return len(_kernels) - 1


# Defined by schema: the decorator torch.library.custom_op would import all of torch's compiler at the first call.
torch.library.define(
    "circuitnn::simulate",
    "(Tensor u, Tensor x, Tensor w, Tensor theta, int kernel, bool keep)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "circuitnn::adjoint",
    "(Tensor u, Tensor xs, Tensor ws, Tensor theta, Tensor y_bar, Tensor x_bar, int kernel)"
    " -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    "circuitnn::tangent",
    "(Tensor u, Tensor x, Tensor w, Tensor theta, Tensor du, Tensor dx, Tensor dtheta, int kernel) -> (Tensor, Tensor)",
)


@torch.library.impl("circuitnn::simulate", "CPU")
def _(u: Tensor, x: Tensor, w: Tensor, theta: Tensor, kernel: int, keep: bool) -> tuple[Tensor, ...]:
    run = _kernels[kernel].simulate(u, x, w, theta, keep)
    return run.y, run.x, run.w, run.xs, run.ws, run.report


@torch.library.register_fake("circuitnn::simulate")
def _(u: Tensor, x: Tensor, w: Tensor, theta: Tensor, kernel: int, keep: bool) -> tuple[Tensor, ...]:
    run = _kernels[kernel].structure
    batch, time, _ = u.shape
    kept = time if keep else 0
    return (
        u.new_empty(batch, time, run.n_y), torch.empty_like(x), torch.empty_like(w), u.new_empty(batch, kept, run.n_x),
        u.new_empty(batch, kept, run.n_n), u.new_empty(batch, REPORT_SIZE, dtype=torch.int64),
    )  # fmt: skip


@torch.library.impl("circuitnn::adjoint", "CPU")
def _(u: Tensor, xs: Tensor, ws: Tensor, theta: Tensor, y_bar: Tensor, x_bar: Tensor, kernel: int) -> Any:
    return _kernels[kernel].adjoint(u, xs, ws, theta, y_bar, x_bar)


@torch.library.register_fake("circuitnn::adjoint")
def _(u: Tensor, xs: Tensor, ws: Tensor, theta: Tensor, y_bar: Tensor, x_bar: Tensor, kernel: int) -> Any:
    return torch.empty_like(u), torch.empty_like(x_bar), theta.new_empty(u.shape[0], theta.shape[1])


@torch.library.impl("circuitnn::tangent", "CPU")
def _(u: Tensor, x: Tensor, w: Tensor, theta: Tensor, du: Tensor, dx: Tensor, dtheta: Tensor, kernel: int) -> Any:
    _, dy, dx_final = _kernels[kernel].tangent(u, x, w, theta, du, dx, dtheta)
    return dy, dx_final


@torch.library.register_fake("circuitnn::tangent")
def _(u: Tensor, x: Tensor, w: Tensor, theta: Tensor, du: Tensor, dx: Tensor, dtheta: Tensor, kernel: int) -> Any:
    return u.new_empty(*u.shape[:2], _kernels[kernel].structure.n_y, dx.shape[-1]), torch.empty_like(dx)


@torch.library.register_vmap("circuitnn::tangent")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    """Directions that vmap stacks (as jacfwd does) run side by side in one pass. Only directions may be stacked."""
    *primals, du, dx, dtheta, kernel = arguments
    if any(dim is not None for dim in in_dims[:4]):
        raise NotImplementedError(_NO_VMAP)

    def flat(tensor: Tensor, dim: int | None) -> Tensor:
        if dim is None:
            return tensor.repeat_interleave(1, -1).unsqueeze(-1).expand(*tensor.shape, info.batch_size).flatten(-2)
        return tensor.movedim(dim, -1).flatten(-2)

    directions = [flat(t, dim) for t, dim in zip((du, dx, dtheta), in_dims[4:7], strict=True)]
    dy, dx_final = ops.tangent(*primals, *directions, kernel)
    return (dy.unflatten(-1, (-1, info.batch_size)), dx_final.unflatten(-1, (-1, info.batch_size))), (
        dy.dim(),
        dx_final.dim(),
    )


class _Simulation(torch.autograd.Function):
    @staticmethod
    def forward(u: Tensor, x: Tensor, w: Tensor, theta: Tensor, kernel: int, keep: bool) -> Any:
        return ops.simulate(u, x, w, theta, kernel, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        u, x, w, theta, ctx.kernel, ctx.keep = inputs
        _, _, w_final, xs, ws, report = output
        ctx.mark_non_differentiable(w_final, xs, ws, report)
        ctx.save_for_backward(u, xs, ws, theta)
        ctx.save_for_forward(u, x, w, theta)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        u, xs, ws, theta = ctx.saved_tensors
        y_bar, x_bar = grads[:2]
        u_bar, x0_bar, theta_bar = ops.adjoint(u, xs, ws, theta, y_bar.contiguous(), x_bar.contiguous(), ctx.kernel)
        if theta.shape[0] == 1:
            theta_bar = theta_bar.sum(0, keepdim=True)
        return u_bar, x0_bar, None, theta_bar, None, None

    @staticmethod
    def jvp(ctx: Any, du: Any, dx: Any, dw: Any, dtheta: Any, *_: Any) -> Any:
        u, x, w, theta = ctx.saved_tensors
        du, dx, dtheta = (torch.zeros_like(t) if d is None else d for t, d in ((u, du), (x, dx), (theta, dtheta)))
        dy, dx_final = ops.tangent(u, x, w, theta, du.unsqueeze(-1), dx.unsqueeze(-1), dtheta.unsqueeze(-1), ctx.kernel)
        return dy.squeeze(-1), dx_final.squeeze(-1), None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        # jacfwd stacks directions only, and those go through the rule of the tangent op.
        raise NotImplementedError(_NO_VMAP)


def simulate(u: Tensor, x: Tensor, w: Tensor, theta: Tensor, kernel: int) -> Run:
    """Run a kernel: u [batch, time, n_u], x [batch, n_x], w [batch, n_n], theta [1 or batch, size], all float64.

    Differentiable in u, x and theta; w is only where Newton's method starts.
    """
    keep = torch.is_grad_enabled() and (u.requires_grad or x.requires_grad or theta.requires_grad)
    return Run(*_Simulation.apply(u, x, w, theta, kernel, keep))  # type: ignore[no-untyped-call]


def tangent(
    u: Tensor, x: Tensor, w: Tensor, theta: Tensor, dx: Tensor, dtheta: Tensor, kernel: int
) -> tuple[Run, Tensor, Tensor]:
    """The run and its derivatives in p directions at once: dx [batch, n_x, p], dtheta [1 or batch, size, p] ->
    dy [batch, time, n_y, p], dx of the final state. What least squares needs."""
    return _kernels[kernel].tangent(u, x, w, theta, None, dx, dtheta)
