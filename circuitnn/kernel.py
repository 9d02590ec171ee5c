"""One reduced circuit as something that runs: compiled where a C++ compiler can be had, else plain torch.

A kernel knows the structure only. Its numbers are one vector theta: the reduced matrices A B C D E F R_x R_u P Q,
row-major, then the devices' coefficients.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from circuitnn.codegen import circuit_source
from circuitnn.devices import Law
from circuitnn.dk import Matrices
from circuitnn.runtime.compiler import compile_library

# Directions that the compiled forward mode carries side by side (`width` in gradients.hpp).
WIDTH = 8
# Failures that one run lists (`Statistics::listed` in circuitnn.hpp).
LISTED = 8
REPORT_SIZE = 2 + 2 * LISTED


@dataclass(frozen=True)
class Structure:
    """Sizes of a reduced circuit, the laws of its devices in port order, and the positions of the free port
    quantities in (v, i). plain: the free ones are all the currents."""

    n_x: int
    n_u: int
    n_y: int
    laws: tuple[Law, ...]
    free: tuple[int, ...]
    plain: bool

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
    def size(self) -> int:
        """Length of theta."""
        return sum(rows * columns for rows, columns in self.shapes.values()) + sum(
            len(law.coefficients) for law in self.laws
        )

    def pack(self, matrices: Matrices, coefficients: Tensor) -> Tensor:
        """theta [size] from the matrices and the devices' coefficients."""
        return torch.cat([*(matrix.reshape(-1) for matrix in matrices), coefficients])

    def unpack(self, theta: Tensor) -> tuple[Matrices, Tensor]:
        """The matrices and the coefficients [n_c] as views of theta [size]."""
        sizes = [rows * columns for rows, columns in self.shapes.values()]
        *parts, coefficients = theta.split([*sizes, self.size - sum(sizes)])
        return Matrices(*(p.reshape(s) for p, s in zip(parts, self.shapes.values(), strict=True))), coefficients


@dataclass(frozen=True)
class Run:
    """What a simulation returns. y [batch, time, n_y]; x [batch, n_x], w [batch, n_n]: final state and devices'
    variables; xs, ws [batch, time, ...]: before each sample, and its solution; report [batch, REPORT_SIZE]:
    iterations, samples not converged, then (sample, port) of the first of them."""

    y: Tensor
    x: Tensor
    w: Tensor
    xs: Tensor
    ws: Tensor
    report: Tensor


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _ready(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float64).contiguous()


class CompiledKernel:
    """The C++ core behind ctypes. Recordings of a batch run on all cores; ctypes releases the interpreter lock."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        s = structure
        self._library = compile_library(circuit_source(s.n_x, s.n_u, s.n_y, s.laws, s.free, s.plain))
        for name in ("circuitnn_simulate", "circuitnn_adjoint", "circuitnn_tangent"):
            getattr(self._library, name).restype = None

    def simulate(self, u: Tensor, x: Tensor, w: Tensor, theta: Tensor, keep: bool) -> Run:
        """u [batch, time, n_u], x [batch, n_x], w [batch, n_n], theta [1 or batch, size]. keep: fill xs and ws."""
        s, (batch, time, _) = self.structure, u.shape
        u, theta = _ready(u), _ready(theta)
        x, w = _ready(x).clone(), _ready(w).clone()
        y = u.new_empty(batch, time, s.n_y)
        xs = u.new_empty(batch, time if keep else 0, s.n_x)
        ws = u.new_empty(batch, time if keep else 0, s.n_n)
        report = torch.zeros(batch, REPORT_SIZE, dtype=torch.int64)

        def run(k: int) -> None:
            self._library.circuitnn_simulate(
                ctypes.c_int64(time), _pointer(u[k]), _pointer(x[k]), _pointer(w[k]), _pointer(theta[k % len(theta)]),
                _pointer(y[k]), _pointer(xs[k] if keep else None), _pointer(ws[k] if keep else None),
                _pointer(report[k]),
            )  # fmt: skip

        _each(run, batch)
        return Run(y, x, w, xs, ws, report)

    def adjoint(
        self, u: Tensor, xs: Tensor, ws: Tensor, theta: Tensor, y_bar: Tensor, x_bar: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients with respect to u, the initial x, and theta [batch, size] of each lane."""
        s, (batch, time, _) = self.structure, u.shape
        u, xs, ws, theta, y_bar = _ready(u), _ready(xs), _ready(ws), _ready(theta), _ready(y_bar)
        x_bar = _ready(x_bar).clone()
        u_bar, theta_bar = torch.empty_like(u), u.new_empty(batch, s.size)

        def run(k: int) -> None:
            self._library.circuitnn_adjoint(
                ctypes.c_int64(time), _pointer(u[k]), _pointer(xs[k]), _pointer(ws[k]),
                _pointer(theta[k % len(theta)]), _pointer(y_bar[k]), _pointer(x_bar[k]), _pointer(u_bar[k]),
                _pointer(theta_bar[k]),
            )  # fmt: skip

        _each(run, batch)
        return u_bar, x_bar, theta_bar

    def tangent(
        self, u: Tensor, x: Tensor, w: Tensor, theta: Tensor, du: Tensor | None, dx: Tensor, dtheta: Tensor
    ) -> tuple[Run, Tensor, Tensor]:
        """The run, and its derivatives in p directions: du [batch, time, n_u, p] or None, dx [batch, n_x, p],
        dtheta [1 or batch, size, p] -> dy [batch, time, n_y, p], dx of the final state [batch, n_x, p]."""
        s, (batch, time, _), p = self.structure, u.shape, dx.shape[-1]
        blocks = -(-p // WIDTH)

        def padded(tensor: Tensor) -> Tensor:
            return _ready(torch.nn.functional.pad(tensor.detach(), (0, blocks * WIDTH - p)))

        def blocked(tensor: Tensor) -> Tensor:
            return torch.unflatten(padded(tensor), -1, (blocks, WIDTH)).movedim(-2, 1).contiguous()

        u, theta = _ready(u), _ready(theta)
        x, w = _ready(x).clone(), _ready(w).clone()
        dx, dtheta = blocked(dx), blocked(dtheta)
        du = None if du is None else padded(du)
        y, dy = u.new_empty(batch, time, s.n_y), u.new_empty(batch, time, s.n_y, blocks * WIDTH)
        report = torch.zeros(batch, REPORT_SIZE, dtype=torch.int64)

        def run(k: int) -> None:
            self._library.circuitnn_tangent(
                ctypes.c_int64(time), _pointer(u[k]), _pointer(x[k]), _pointer(w[k]), _pointer(theta[k % len(theta)]),
                ctypes.c_int64(blocks), _pointer(dx[k]), _pointer(dtheta[k % len(dtheta)]),
                _pointer(None if du is None else du[k]), _pointer(y[k]), _pointer(dy[k]), _pointer(report[k]),
            )  # fmt: skip

        _each(run, batch)
        empty = u.new_empty(batch, 0, 0)
        final = dx.movedim(1, -2).flatten(-2)[..., :p]
        return Run(y, x, w, empty, empty, report), dy[..., :p], final


def _each(run: Callable[[int], None], batch: int) -> None:
    workers = min(batch, torch.get_num_threads())
    if workers <= 1:
        for k in range(batch):
            run(k)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, range(batch)))
