"""The simulation as one differentiable operation: custom torch ops with reverse mode, forward mode and vmap.

`simulate` works with loss.backward(), torch.func.jvp and jacfwd, gradcheck, and inside code under torch.compile. It
covers what happens at the base rate: conversion up, the circuit, conversion down. A long signal is worked off chunk by
chunk, so that nothing at the high rate is ever held whole; what the adjoint needs is kept for short signals and run
again, stretch by stretch from kept states, for long ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from circuitnn.errors import CompilerError
from circuitnn.kernel import LISTED, PLACES, REPORT_SIZE, CompiledKernel, Structure, lanes_for
from circuitnn.oversampling import HALF_LENGTH, downsample, downsample_adjoint, upsample, upsample_adjoint
from circuitnn.reference import ReferenceKernel
from circuitnn.theta_tangent import ThetaTangent

# Samples at the base rate between two points of a theta that moves.
CONTROL_PERIOD = 32
# States and solutions of all steps are kept for the adjoint up to this size; beyond, one in EVERY.
KEPT_BYTES = 2**28
# Steps between two kept states: a multiple of CONTROL_PERIOD times the largest oversampling factor.
EVERY = 1024
# What one chunk may take at the high rate.
CHUNK_BYTES = 2**23

_NO_VMAP = "vmap over the signal or the model of a simulation is not supported: use the batch dimension"
ops: Any = torch.ops.circuitnn
_kernels: list[CompiledKernel | ReferenceKernel] = []


class Simulation(NamedTuple):
    """y [batch, time, n_y]; for the next chunk: x [batch, n_x], history of the reactive branches; w [batch, n_n], the
    devices' variables; up [batch, ., n_u] and down [batch, ., n_y], the last samples that the rate converters need;
    report [batch, REPORT_SIZE], see kernel.py."""

    y: Tensor
    x: Tensor
    w: Tensor
    up: Tensor
    down: Tensor
    report: Tensor


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


def history_at_rest(rest: Tensor, factor: int) -> Tensor:
    """`down` of a simulation whose output has been `rest` [batch, n_y, ...] for ever: a DC offset must not look like
    a step to the filter."""
    return rest.unsqueeze(1).expand(-1, _memory(factor) * factor, *rest.shape[1:])


def _memory(factor: int) -> int:
    return 2 * HALF_LENGTH if factor > 1 else 0


def _up(signal: Tensor, history: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    return upsample(signal, history, factor) if factor > 1 else (signal, history)


def _down(signal: Tensor, history: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    return downsample(signal, history, factor) if factor > 1 else (signal, history)


def _every(structure: Structure, batch: int, steps: int) -> int:
    """Which steps are kept for the adjoint."""
    return 1 if 8 * batch * steps * (structure.n_x + structure.n_n) <= KEPT_BYTES else EVERY


def _chunks(
    structure: Structure, batch: int, time: int, factor: int, every: int = 0, directions: int = 0
) -> Iterator[slice]:
    """A signal in parts whose numbers at the high rate fit into CHUNK_BYTES, each a whole number of EVERY steps. What
    is kept for every step is short enough to stay in one part."""
    if every == 1:
        return iter((slice(0, time),))
    numbers = structure.n_u + structure.n_y * (1 + directions) + structure.n_x + structure.n_n
    most = CHUNK_BYTES // (8 * batch * numbers) // EVERY * EVERY
    length = max(most, EVERY, _memory(factor) * factor) // factor
    return (slice(start, min(start + length, time)) for start in range(0, max(time, 1), length))


def _span(points: int, chunk: slice) -> slice:
    """Which points of a theta that moves belong to one chunk."""
    return slice(chunk.start // CONTROL_PERIOD, -(-chunk.stop // CONTROL_PERIOD) + 1) if points > 1 else slice(0, 1)


def _points(theta: Tensor, chunk: slice) -> Tensor:
    return theta[:, _span(theta.shape[1], chunk)]


def _check(theta: Tensor, u: Tensor) -> None:
    """The compiled core reads as many points as there should be."""
    batch, time, _ = u.shape
    if theta.shape[0] not in (1, batch) or theta.shape[1] not in (1, -(-time // CONTROL_PERIOD) + 1):
        raise ValueError(f"theta of shape {list(theta.shape)} does not fit u of shape {list(u.shape)}")


# Defined by schema: the decorator torch.library.custom_op would import all of torch's compiler at the first call.
torch.library.define(
    "circuitnn::simulate",
    "(Tensor u, Tensor x, Tensor w, Tensor up, Tensor down, Tensor theta, int kernel, int factor, bool keep)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "circuitnn::adjoint",
    "(Tensor u, Tensor up, Tensor xs, Tensor ws, Tensor theta, Tensor y_bar, Tensor x_bar, Tensor up_bar,"
    " Tensor down_bar, int kernel, int factor, bool signal) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "circuitnn::tangent",
    "(Tensor u, Tensor x, Tensor w, Tensor up, Tensor down, Tensor theta, Tensor du, Tensor dx, Tensor dup,"
    " Tensor ddown, Tensor dtheta, int kernel, int factor) -> (Tensor, Tensor, Tensor, Tensor)",
)


@torch.library.impl("circuitnn::simulate", "CPU")
def _(
    u: Tensor, x: Tensor, w: Tensor, up: Tensor, down: Tensor, theta: Tensor, kernel: int, factor: int, keep: bool
) -> tuple[Tensor, ...]:
    runner, (batch, time, _) = _kernels[kernel], u.shape
    structure = runner.structure
    every = _every(structure, batch, time * factor) if keep else 0
    y = u.new_empty(batch, time, structure.n_y)
    report = torch.zeros(batch, REPORT_SIZE, dtype=torch.int64)
    kept = []
    for chunk in _chunks(structure, batch, time, factor, every):
        fast, up = _up(u[:, chunk], up, factor)
        run = runner.simulate(fast, x, w, _points(theta, chunk), every, CONTROL_PERIOD * factor)
        x, w = run.x, run.w
        y[:, chunk], down = _down(run.y, down, factor)
        _add_report(report, run.report, chunk.start * factor)
        kept.append((run.xs, run.ws))
    xs, ws = (torch.cat(parts, 1) if len(parts) > 1 else parts[0] for parts in zip(*kept, strict=True))
    # An op must not return its inputs.
    return y, x.clone(), w.clone(), up.clone(), down.clone(), xs, ws, report


def _add_report(total: Tensor, part: Tensor, first_step: int) -> None:
    """Counts add up; of the failures the first ones stay listed, by their step in the whole signal."""
    for recording, own in zip(total, part, strict=True):
        listed, new = min(int(recording[1]), LISTED), min(int(own[1]), LISTED)
        places, more = recording[PLACES].view(-1, 2), own[PLACES].view(-1, 2)
        for k in range(min(new, LISTED - listed)):
            places[listed + k, 0], places[listed + k, 1] = more[k, 0] + first_step, more[k, 1]
        recording[: PLACES.start] += own[: PLACES.start]


@torch.library.register_fake("circuitnn::simulate")
def _(
    u: Tensor, x: Tensor, w: Tensor, up: Tensor, down: Tensor, theta: Tensor, kernel: int, factor: int, keep: bool
) -> tuple[Tensor, ...]:
    structure = _kernels[kernel].structure
    batch, time, _ = u.shape
    lanes = lanes_for(batch) if isinstance(_kernels[kernel], CompiledKernel) else 1
    every = _every(structure, batch, time * factor) if keep else 0
    groups, kept = -(-batch // lanes), -(-time * factor // every) if every else 0
    return (
        u.new_empty(batch, time, structure.n_y), torch.empty_like(x), torch.empty_like(w), torch.empty_like(up),
        torch.empty_like(down), u.new_empty(groups, kept, structure.n_x, lanes),
        u.new_empty(groups, kept, structure.n_n, lanes), u.new_empty(batch, REPORT_SIZE, dtype=torch.int64),
    )  # fmt: skip


@torch.library.impl("circuitnn::adjoint", "CPU")
def _(
    u: Tensor, up: Tensor, xs: Tensor, ws: Tensor, theta: Tensor, y_bar: Tensor, x_bar: Tensor, up_bar: Tensor,
    down_bar: Tensor, kernel: int, factor: int, signal: bool,
) -> Any:  # fmt: skip
    """signal: whether the gradients by u and up are wanted; else they come back empty and as they were."""
    runner, (batch, time, _) = _kernels[kernel], u.shape
    every = _every(runner.structure, batch, time * factor)
    u_bar = torch.empty_like(u) if signal else u.new_empty(0)
    theta_bar = u.new_zeros(batch, *theta.shape[1:])
    for chunk in reversed(list(_chunks(runner.structure, batch, time, factor, every))):
        # The samples before the chunk; a chunk is longer than the converter's memory.
        history = u[:, chunk.start - up.shape[1] : chunk.start] if chunk.start else up
        fast, _ = _up(u[:, chunk], history, factor)
        fast_bar, down_bar = (
            downsample_adjoint(y_bar[:, chunk], down_bar, factor) if factor > 1 else (y_bar[:, chunk], down_bar)
        )
        kept = slice(chunk.start * factor // every, -(-chunk.stop * factor // every))
        points = _points(theta, chunk)
        fast_u_bar, x_bar, own = runner.adjoint(
            fast, xs[:, kept], ws[:, kept], points, fast_bar, x_bar, every, CONTROL_PERIOD * factor, signal
        )
        first = chunk.start // CONTROL_PERIOD if theta.shape[1] > 1 else 0
        theta_bar[:, first : first + own.shape[1]] += own
        if signal:
            slow_bar, up_bar = upsample_adjoint(fast_u_bar, up_bar, factor) if factor > 1 else (fast_u_bar, up_bar)
            u_bar[:, chunk] = slow_bar
    return u_bar, x_bar.clone(), up_bar.clone(), down_bar.clone(), theta_bar


@torch.library.register_fake("circuitnn::adjoint")
def _(
    u: Tensor, up: Tensor, xs: Tensor, ws: Tensor, theta: Tensor, y_bar: Tensor, x_bar: Tensor, up_bar: Tensor,
    down_bar: Tensor, kernel: int, factor: int, signal: bool,
) -> Any:  # fmt: skip
    theta_bar = theta.new_empty(u.shape[0], *theta.shape[1:])
    u_bar = torch.empty_like(u) if signal else u.new_empty(0)
    return u_bar, torch.empty_like(x_bar), torch.empty_like(up_bar), torch.empty_like(down_bar), theta_bar


@torch.library.impl("circuitnn::tangent", "CPU")
def _(
    u: Tensor, x: Tensor, w: Tensor, up: Tensor, down: Tensor, theta: Tensor, du: Tensor, dx: Tensor, dup: Tensor,
    ddown: Tensor, dtheta: Tensor, kernel: int, factor: int,
) -> Any:  # fmt: skip
    directions = _kernels[kernel].structure.tangent_of(dtheta)
    _, dy, dx, dup, ddown = _tangent(u, x, w, up, down, theta, du, dx, dup, ddown, directions, kernel, factor)
    return dy, dx.clone(), dup.clone(), ddown.clone()


@torch.library.register_fake("circuitnn::tangent")
def _(
    u: Tensor, x: Tensor, w: Tensor, up: Tensor, down: Tensor, theta: Tensor, du: Tensor, dx: Tensor, dup: Tensor,
    ddown: Tensor, dtheta: Tensor, kernel: int, factor: int,
) -> Any:  # fmt: skip
    dy = u.new_empty(*u.shape[:2], _kernels[kernel].structure.n_y, dx.shape[-1])
    return dy, torch.empty_like(dx), torch.empty_like(dup), torch.empty_like(ddown)


def _tangent(
    u: Tensor, x: Tensor, w: Tensor, up: Tensor, down: Tensor, theta: Tensor, du: Tensor | None, dx: Tensor,
    dup: Tensor | None, ddown: Tensor, dtheta: ThetaTangent, kernel: int, factor: int,
) -> tuple[Simulation, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """The run, and dy, dx, dup, ddown after it. Signals [batch, time, channels, p]; du and dup may be absent."""
    runner, (batch, time, _), p = _kernels[kernel], u.shape, dx.shape[-1]
    n_y = runner.structure.n_y
    y, dy = u.new_empty(batch, time, n_y), u.new_empty(batch, time, n_y, p)
    report = torch.zeros(batch, REPORT_SIZE, dtype=torch.int64)
    for chunk in _chunks(runner.structure, batch, time, factor, directions=p):
        fast, up = _up(u[:, chunk], up, factor)
        dfast = None
        if du is not None and dup is not None:
            dfast, dup = (part.unflatten(-1, (-1, p)) for part in _up(du[:, chunk].flatten(2), dup.flatten(2), factor))
        moves = dtheta.between(_span(dtheta.points, chunk))
        run, dfast, dx = runner.tangent(fast, x, w, _points(theta, chunk), dfast, dx, moves, CONTROL_PERIOD * factor)
        x, w = run.x, run.w
        y[:, chunk], down = _down(run.y, down, factor)
        # The core fills whole registers; what is beyond p is cut off at the lower rate, where it is less.
        width = dfast.shape[-1]
        ddown = torch.nn.functional.pad(ddown, (0, width - ddown.shape[-1]))
        dlow, ddown = (part.unflatten(-1, (-1, width)) for part in _down(dfast.flatten(2), ddown.flatten(2), factor))
        dy[:, chunk] = dlow[..., :p]
        _add_report(report, run.report, chunk.start * factor)
    dup = u.new_zeros(*up.shape, p) if dup is None else dup
    return Simulation(y, x, w, up, down, report), dy, dx, dup, ddown[..., :p]


@torch.library.register_vmap("circuitnn::tangent")
def _(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
    """Directions that vmap stacks (as jacfwd does) run side by side in one pass. Only directions may be stacked."""
    primals, directions, (kernel, factor) = arguments[:6], arguments[6:11], arguments[11:]
    if any(dim is not None for dim in in_dims[:6]):
        raise NotImplementedError(_NO_VMAP)

    def flat(tensor: Tensor, dim: int | None) -> Tensor:
        if dim is None:
            return tensor.unsqueeze(-1).expand(*tensor.shape, info.batch_size).flatten(-2)
        return tensor.movedim(dim, -1).flatten(-2)

    stacked = [flat(t, dim) for t, dim in zip(directions, in_dims[6:11], strict=True)]
    results = [t.unflatten(-1, (-1, info.batch_size)) for t in ops.tangent(*primals, *stacked, kernel, factor)]
    return tuple(results), tuple(t.dim() - 1 for t in results)


class _Simulation(torch.autograd.Function):
    @staticmethod
    def forward(
        u: Tensor, x: Tensor, w: Tensor, up: Tensor, down: Tensor, theta: Tensor, kernel: int, factor: int, keep: bool
    ) -> Any:
        return ops.simulate(u, x, w, up, down, theta, kernel, factor, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        u, x, w, up, down, theta, ctx.kernel, ctx.factor, ctx.keep = inputs
        _, _, w_final, _, _, xs, ws, report = output
        ctx.mark_non_differentiable(w_final, xs, ws, report)
        # Zeros in the place of what nobody differentiates would be as large as xs and ws.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(u, x, up, down, xs, ws, theta)
        ctx.save_for_forward(u, x, w, up, down, theta)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        u, x, up, down, xs, ws, theta = ctx.saved_tensors
        y_bar, x_bar, _, up_bar, down_bar = grads[:5]
        y_bar = u.new_zeros(*u.shape[:2], down.shape[2]) if y_bar is None else y_bar.contiguous()
        x_bar, up_bar, down_bar = (
            torch.zeros_like(t) if bar is None else bar.contiguous()
            for t, bar in ((x, x_bar), (up, up_bar), (down, down_bar))
        )
        signal = ctx.needs_input_grad[0] or ctx.needs_input_grad[3]
        u_bar, x_bar, up_bar, down_bar, theta_bar = ops.adjoint(
            u, up, xs, ws, theta, y_bar, x_bar, up_bar, down_bar, ctx.kernel, ctx.factor, signal
        )
        if theta.shape[0] == 1:
            theta_bar = theta_bar.sum(0, keepdim=True)
        return u_bar if signal else None, x_bar, None, up_bar, down_bar, theta_bar, None, None, None

    @staticmethod
    def jvp(ctx: Any, du: Any, dx: Any, dw: Any, dup: Any, ddown: Any, dtheta: Any, *_: Any) -> Any:
        u, x, w, up, down, theta = ctx.saved_tensors
        directions = [
            (torch.zeros_like(t) if d is None else d).unsqueeze(-1)
            for t, d in ((u, du), (x, dx), (up, dup), (down, ddown), (theta, dtheta))
        ]
        results = ops.tangent(u, x, w, up, down, theta, *directions, ctx.kernel, ctx.factor)
        dy, dx, dup, ddown = (t.squeeze(-1) for t in results)
        return dy, dx, None, dup, ddown, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        # jacfwd stacks directions only, and those go through the rule of the tangent op.
        raise NotImplementedError(_NO_VMAP)


def simulate(
    u: Tensor, x: Tensor, w: Tensor, theta: Tensor, kernel: int, factor: int = 1,
    up: Tensor | None = None, down: Tensor | None = None,
) -> Simulation:  # fmt: skip
    """Run a kernel: u [batch, time, n_u], x [batch, n_x], w [batch, n_n], all float64; theta [1 or batch, size], or
    [1 or batch, points, size] with one point every CONTROL_PERIOD samples of u and one at the end, between which the
    numbers move linearly. factor: of oversampling; up, down: the converters' history, at first zero and
    `history_at_rest`.

    Differentiable in u, x, up, down and theta; w is only where Newton's method starts.
    """
    structure, u = _kernels[kernel].structure, u.to(torch.float64)
    theta = theta.unsqueeze(1) if theta.dim() == 2 else theta
    _check(theta, u)
    up = u.new_zeros(len(u), _memory(factor), structure.n_u) if up is None else up
    down = u.new_zeros(len(u), _memory(factor) * factor, structure.n_y) if down is None else down
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (u, x, up, down, theta))
    y, x, w, up, down, _, _, report = _Simulation.apply(u, x, w, up, down, theta, kernel, factor, keep)  # type: ignore[no-untyped-call]
    return Simulation(y, x, w, up, down, report)


def tangent(
    u: Tensor, x: Tensor, w: Tensor, theta: Tensor, dx: Tensor, dtheta: Tensor | ThetaTangent, kernel: int,
    factor: int = 1, up: Tensor | None = None, down: Tensor | None = None, ddown: Tensor | None = None,
) -> tuple[Simulation, Tensor, Tensor, Tensor]:  # fmt: skip
    """The run as by `simulate` and its derivatives in p directions at once: dx [batch, n_x, p], dtheta like theta with
    a last dimension p (or, which is faster, as products), ddown [batch, ., n_y, p] -> dy [batch, time, n_y, p], and dx
    and ddown after it. What least squares needs."""
    structure = _kernels[kernel].structure
    if not isinstance(dtheta, ThetaTangent):
        dtheta = structure.tangent_of(dtheta.unsqueeze(1) if theta.dim() == 2 else dtheta)
    theta = theta.unsqueeze(1) if theta.dim() == 2 else theta
    _check(theta, u)
    up = u.new_zeros(len(u), _memory(factor), structure.n_u) if up is None else up
    down = u.new_zeros(len(u), _memory(factor) * factor, structure.n_y) if down is None else down
    ddown = u.new_zeros(*down.shape, dx.shape[-1]) if ddown is None else ddown
    run, dy, dx, _, ddown = _tangent(u, x, w, up, down, theta, None, dx, None, ddown, dtheta, kernel, factor)
    return run, dy, dx, ddown
