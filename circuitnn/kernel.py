"""One reduced circuit as something that runs: compiled where a C++ compiler can be had, else plain torch.

A kernel knows the structure only. Its numbers are one vector theta: the reduced matrices A B C D E F R_x R_u P Q,
row-major, then the devices' coefficients. theta comes as [1 or batch, points, size]: one point for numbers that stay,
or one every `hold` steps (and one at the end) between which they move linearly.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from circuitnn.codegen import circuit_source
from circuitnn.devices import Law
from circuitnn.dk import Matrices
from circuitnn.runtime.compiler import compile_library
from circuitnn.theta_tangent import ThetaTangent, pack

# Recordings or directions that run side by side in one vector register (lanes of a DoubleLanes in numerics.hpp).
LANES = 8
# The report of a recording (`Statistics` in solver.hpp): iterations, failures, rescues, a histogram of iterations,
# and (sample, port) of the first failures.
BINS, LISTED = 16, 8
HISTOGRAM = slice(3, 3 + BINS)
PLACES = slice(3 + BINS, 3 + BINS + 2 * LISTED)
REPORT_SIZE = PLACES.stop
# Bytes of stack that every thread has: the least, 512 KiB, on macOS.
ANY_STACK = 2**18
# Above this many ports the core is faster with 512-bit registers throughout. Measured: bd2.cir (22) is by a third,
# big_muff.cir (10) and smaller ones are slower.
WIDE_PORTS = 16
# The size of new threads' stacks is a setting of the process.
_STACKS = threading.Lock()


@dataclass(frozen=True)
class Structure:
    """Sizes of a reduced circuit, the laws of its devices in port order, and the positions of the free port
    quantities in (v, i). plain: the free ones are all the currents. stages: how many devices each ordered sub-problem
    has."""

    n_x: int
    n_u: int
    n_y: int
    laws: tuple[Law, ...]
    free: tuple[int, ...]
    plain: bool
    stages: tuple[int, ...]

    @property
    def n_n(self) -> int:
        return sum(law.ports for law in self.laws)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the matrices in theta, in order."""
        x, u, y, n = self.n_x, self.n_u + 1, self.n_y, self.n_n
        return {
            "A": (x, x), "B": (x, u), "C": (x, n), "D": (y, x), "E": (y, u), "F": (y, n),
            "R_x": (n, x), "R_u": (n, u), "P": (n, n), "Q": (n, n),
        }  # fmt: skip

    @cached_property
    def source(self) -> str:
        """The generated C++ of this structure."""
        laws = iter(self.laws)
        stages = [[next(laws) for _ in range(count)] for count in self.stages]
        return circuit_source(self.n_x, self.n_u, self.n_y, stages, self.free, self.plain)

    @cached_property
    def size(self) -> int:
        """Length of theta."""
        return sum(rows * columns for rows, columns in self.shapes.values()) + sum(
            len(law.coefficients) for law in self.laws
        )

    def stack(self, lanes: int) -> int:
        """Bytes that a run of the core may need on its stack: six sets of numbers in the adjoint, and as much again for
        the solver's matrices and copies."""
        page = 4096
        return page * (16 + 12 * 8 * lanes * self.size // page)

    def pack(self, matrices: Matrices, coefficients: Tensor) -> Tensor:
        """theta [..., size] from the matrices [..., rows, columns] and the devices' coefficients [..., n_c]."""
        return torch.cat([*(matrix.flatten(-2) for matrix in matrices), coefficients], -1)

    def unpack(self, theta: Tensor) -> tuple[Matrices, Tensor]:
        """The matrices and the coefficients [n_c] as views of theta [size]."""
        sizes = [rows * columns for rows, columns in self.shapes.values()]
        *parts, coefficients = theta.split([*sizes, self.size - sum(sizes)])
        return Matrices(*(p.reshape(s) for p, s in zip(parts, self.shapes.values(), strict=True))), coefficients

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor]:
        """Where in theta the rows (x', y, r) by the columns of a ThetaTangent stand, and the entries' signs, which are
        0 where the core reads nothing. Both [rows, columns]."""
        matrices, _ = self.unpack(torch.arange(self.size))
        x, u, y, n = self.n_x, self.n_u + 1, self.n_y, self.n_n
        place = torch.zeros(x + y + n, x + u + 2 * n, dtype=torch.int64)
        sign = torch.zeros(place.shape, dtype=torch.float64)
        place[:, : x + u] = torch.cat(
            [
                torch.cat(pair, 1)
                for pair in ((matrices.A, matrices.B), (matrices.D, matrices.E), (matrices.R_x, matrices.R_u))
            ]
        )
        sign[:, : x + u] = 1.0
        # Of (v, i), as the free ones are counted, to (i, v).
        free = x + u + (torch.tensor(self.free, dtype=torch.int64) + n) % max(2 * n, 1)
        place[: x + y, free] = torch.cat([matrices.C, matrices.F])
        sign[: x + y, free] = 1.0
        place[x + y :, x + u :] = torch.cat([matrices.Q, matrices.P], 1)
        laws = iter(self.laws)
        sizes = [sum(next(laws).ports for _ in range(count)) for count in self.stages]
        own = torch.block_diag(*(torch.ones(size, size) for size in sizes)) if sizes else torch.zeros(0, 0)
        sign[x + y :, x + u :] = -torch.maximum(own, torch.ones(n, n).tril()).repeat(1, 2)
        columns = x + u + (n if self.plain else 2 * n)
        return place[:, :columns], sign[:, :columns]

    def tangent_of(self, dtheta: Tensor) -> ThetaTangent:
        """Any derivative of theta: dtheta [1 or batch, points, size, p]."""
        place, sign = self._places
        coefficients = dtheta[..., self.size - sum(len(law.coefficients) for law in self.laws) :, :]
        right = torch.eye(place.shape[1], dtype=torch.float64).expand(*dtheta.shape[:2], -1, -1)
        return ThetaTangent(dtheta[..., place, :] * sign[..., None], right, coefficients)

    def dtheta_of(self, tangent: ThetaTangent) -> Tensor:
        """dtheta [1 or batch, points, size, p] of a ThetaTangent."""
        place, sign = self._places
        rows = torch.einsum("...rkp,...kc->...rcp", tangent.left, tangent.right) * sign[..., None]
        read = sign != 0.0
        dtheta = rows.new_zeros(*rows.shape[:2], self.size, rows.shape[-1])
        dtheta[..., place[read], :] = rows[..., read, :]
        dtheta[..., self.size - tangent.coefficients.shape[-2] :, :] = tangent.coefficients
        return dtheta


@dataclass(frozen=True)
class Run:
    """What a simulation returns. y [batch, time, n_y]; x [batch, n_x], w [batch, n_n]: final state and devices'
    variables; report [batch, REPORT_SIZE]. xs, ws [groups, kept, n_x or n_n, lanes]: what the adjoint starts from,
    for each `every`-th step the state before it, and its solution (every = 1) or the one before it (every > 1)."""

    y: Tensor
    x: Tensor
    w: Tensor
    xs: Tensor
    ws: Tensor
    report: Tensor


class _Batch(ctypes.Structure):
    """`Batch` of circuitnn.hpp."""

    _fields_ = [(name, ctypes.c_int64) for name in ("count", "length", "stride", "points", "hold")]


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where a contiguous tensor's numbers begin; null for None."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _ready(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float64).contiguous()


def lanes_for(batch: int) -> int:
    """How many recordings of a batch run side by side: each core takes one alone as long as there are cores enough."""
    return 1 if batch <= torch.get_num_threads() else LANES


class CompiledKernel:
    """The C++ core behind ctypes. Groups of recordings run on all cores; ctypes releases the interpreter lock."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self._functions = dict[str, Any]()
        self._compiling = threading.Lock()
        # The one that every use needs: where it cannot be compiled nothing can.
        self._function("simulate", 1)

    def _function(self, name: str, lanes: int) -> Any:
        """The compiled simulate, adjoint or tangent, built at first use: most uses need only some of them."""
        export = name.upper() + ("_LANES" if lanes > 1 else "")
        with self._compiling:
            if export not in self._functions:
                wide = name == "tangent" or self.structure.n_n > WIDE_PORTS
                library = compile_library(f"{self.structure.source}\nCIRCUITNN_{export}(Circuit)\n", wide)
                library.circuitnn_function.restype = None
                self._functions[export] = library.circuitnn_function
        return self._functions[export]

    def _batch(self, u: Tensor, theta: Tensor, hold: int, first: int, lanes: int) -> _Batch:
        """The recordings first, first + 1, ... of u [batch, time, n_u]."""
        batch, time, _ = u.shape
        stride = theta[0].numel() if len(theta) > 1 else 0
        return _Batch(min(lanes, batch - first), time, stride, theta.shape[1], hold)

    def simulate(self, u: Tensor, x: Tensor, w: Tensor, theta: Tensor, every: int = 0, hold: int = 1) -> Run:
        """u [batch, time, n_u], x [batch, n_x], w [batch, n_n], theta [1 or batch, points, size]. every: keep xs and ws
        at each `every`-th step (0: nothing)."""
        s, (batch, time, _) = self.structure, u.shape
        lanes = lanes_for(batch)
        u, theta = _ready(u), _ready(theta)
        x, w = _ready(x).clone(), _ready(w).clone()
        y = u.new_empty(batch, time, s.n_y)
        groups, kept = -(-batch // lanes), -(-time // every) if every else 0
        xs, ws = u.new_empty(groups, kept, s.n_x, lanes), u.new_empty(groups, kept, s.n_n, lanes)
        report = torch.zeros(batch, REPORT_SIZE, dtype=torch.int64)
        function = self._function("simulate", lanes)

        def run(group: int) -> None:
            k = group * lanes
            function(
                ctypes.byref(self._batch(u, theta, hold, k, lanes)), pointer(u[k]), pointer(x[k]), pointer(w[k]),
                pointer(theta[k % len(theta)]), pointer(y[k]), pointer(xs[group] if every else None),
                pointer(ws[group] if every else None), ctypes.c_int64(every), pointer(report[k]),
            )  # fmt: skip

        each_on_cores(run, groups, s.stack(lanes))
        return Run(y, x, w, xs, ws, report)

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
        """Gradients with respect to u (if `signal`, else empty), the initial x, and theta [batch, points, size] of each
        recording, from the xs and ws that a run has kept at each `every`-th step."""
        s, batch = self.structure, len(u)
        u, theta, y_bar = _ready(u), _ready(theta), _ready(y_bar)
        if every > 1:
            xs, ws = self._resume(u, xs, ws, theta, every, hold)
        xs, ws, x_bar = _ready(xs), _ready(ws), _ready(x_bar).clone()
        u_bar = torch.empty_like(u) if signal else u.new_empty(0)
        theta_bar = u.new_zeros(batch, theta.shape[1], s.size)
        lanes = xs.shape[-1]
        function = self._function("adjoint", lanes)

        def run(group: int) -> None:
            k = group * lanes
            function(
                ctypes.byref(self._batch(u, theta, hold, k, lanes)), pointer(u[k]), pointer(xs[group]),
                pointer(ws[group]), pointer(theta[k % len(theta)]), pointer(y_bar[k]),
                pointer(x_bar[k]), pointer(u_bar[k] if signal else None), pointer(theta_bar[k]),
            )  # fmt: skip

        each_on_cores(run, len(xs), s.stack(lanes))
        return u_bar, x_bar, theta_bar

    def _resume(self, u: Tensor, xs: Tensor, ws: Tensor, theta: Tensor, every: int, hold: int) -> tuple[Tensor, Tensor]:
        """All of xs and ws from what was kept: every stretch between two kept states runs at the same time, side by
        side, since each one's start is known."""
        s, (batch, time, n_u), (groups, kept, _, lanes) = self.structure, u.shape, xs.shape

        def stretches(tensor: Tensor) -> Tensor:
            recordings = tensor.permute(0, 3, 1, 2).reshape(groups * lanes, kept, -1)[:batch]
            return recordings.reshape(batch * kept, -1)

        padded = torch.nn.functional.pad(u, (0, 0, 0, kept * every - time)).reshape(batch * kept, every, n_u)
        if theta.shape[1] > 1:
            # The points of each stretch, its last one being the first of the next.
            steps = every // hold
            theta = torch.cat([theta, theta[:, -1:].expand(-1, kept * steps + 1 - theta.shape[1], -1)], 1)
            theta = theta.unfold(1, steps + 1, steps).movedim(-1, 2).expand(batch, -1, -1, -1).flatten(0, 1)
        elif len(theta) > 1:
            theta = theta.repeat_interleave(kept, 0)
        run = self.simulate(padded, stretches(xs), stretches(ws), theta, 1, hold)

        def whole(tensor: Tensor, size: int) -> Tensor:
            parts = tensor.permute(0, 3, 1, 2).reshape(-1, every, size)[: batch * kept]
            recordings = parts.reshape(batch, kept * every, size)[:, :time]
            recordings = torch.cat([recordings, recordings[-1:].expand(groups * lanes - batch, -1, -1)])
            return recordings.reshape(groups, lanes, time, size).permute(0, 2, 3, 1)

        return whole(run.xs, s.n_x), whole(run.ws, s.n_n)

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
        """The run, and its derivatives in p directions: du [batch, time, n_u, p] or None, dx [batch, n_x, p] ->
        dy [batch, time, n_y, p or more], dx of the final state [batch, n_x, p]. Directions beyond p are zero."""
        s, (batch, time, _), p = self.structure, u.shape, dx.shape[-1]
        blocks = -(-p // LANES)

        def padded(tensor: Tensor) -> Tensor:
            return _ready(torch.nn.functional.pad(tensor.detach(), (0, blocks * LANES - p)))

        u, theta = _ready(u), _ready(theta)
        x, w = _ready(x).clone(), _ready(w).clone()
        dx = torch.unflatten(padded(dx), -1, (blocks, LANES)).movedim(-2, -3).contiguous()
        du = None if du is None else padded(du)
        change = pack(dtheta, LANES)
        y, dy = u.new_empty(batch, time, s.n_y), u.new_empty(batch, time, s.n_y, blocks * LANES)
        report = torch.zeros(batch, REPORT_SIZE, dtype=torch.int64)
        function = self._function("tangent", 1)

        def run(k: int) -> None:
            room = change.room()
            function(
                ctypes.byref(self._batch(u, theta, hold, k, 1)), pointer(u[k]), pointer(x[k]), pointer(w[k]),
                pointer(theta[k % len(theta)]), ctypes.byref(change.members(k, room)), pointer(dx[k]),
                pointer(None if du is None else du[k]), pointer(y[k]), pointer(dy[k]), pointer(report[k]),
            )  # fmt: skip

        each_on_cores(run, batch, s.stack(LANES))
        empty = u.new_empty(batch, 0, 0, 1)
        final = dx.movedim(-3, -2).flatten(-2)[..., :p]
        return Run(y, x, w, empty, empty, report), dy, final


def each_on_cores(run: Callable[[int], None], count: int, stack: int) -> None:
    """run(0), run(1), ... on all cores. stack: bytes that each needs there, which may be more than a thread has."""
    workers = min(count, torch.get_num_threads())
    if workers <= 1 and stack <= ANY_STACK:
        for k in range(count):
            run(k)
        return
    with _STACKS:
        usual = threading.stack_size(stack if stack > ANY_STACK else 0)
        try:
            pool = ThreadPoolExecutor(workers)
            # The threads start here.
            futures = [pool.submit(run, k) for k in range(count)]
        finally:
            threading.stack_size(usual)
    with pool:
        for future in futures:
            future.result()
