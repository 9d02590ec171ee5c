"""Recurrences of networks, compiled with their derivatives: in Python, each sample would cost as much as hundreds of
them do here."""

from __future__ import annotations

import ctypes
import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from circuitnn.errors import CompilerError
from circuitnn.kernel import each_on_cores, pointer
from circuitnn.lanes import BYTES, TYPES, into_lanes, out_of_lanes
from circuitnn.runtime.compiler import compile_library

# A cell of more numbers would be compiled for long, and its steps take long enough in torch.
MOST_PARAMETERS = 4096


class Recurrence:
    """x[n] = cell(u[n], x[n-1]) for all n. cell: its C++ type of recurrence.hpp, in which the number is `Number`."""

    def __init__(self, cell: str, dtype: torch.dtype) -> None:
        source = (
            f'#include "recurrence.hpp"\nusing namespace circuitnn;\nCIRCUITNN_RECURRENCE({TYPES[dtype]}, {cell})\n'
        )
        self._library: Any = compile_library(source, wide=True)
        self._library.circuitnn_run.restype = self._library.circuitnn_back.restype = None

    def __call__(self, u: Tensor, x: Tensor, theta: Tensor) -> Tensor:
        """u [batch, time, inputs], x [batch, states] and the cell's numbers theta [parameters], all of one type ->
        the states after each sample [batch, time, states]. Differentiable, once."""
        xs: Tensor = _Run.apply(self, into_lanes(u), into_lanes(x), theta)  # type: ignore[no-untyped-call]
        return out_of_lanes(xs, len(u))

    def run(self, u: Tensor, x: Tensor, theta: Tensor) -> Tensor:
        """u [groups, time, inputs, lanes], x [groups, states, lanes] -> [groups, time, states, lanes]."""
        time, parts = ctypes.c_int64(u.shape[1]), _parts(len(u))
        xs = x.new_empty(*u.shape[:2], *x.shape[1:])

        def one(k: int) -> None:
            first, count = parts[k]
            signals = (part[first:] for part in (u, x, xs))
            self._library.circuitnn_run(ctypes.c_int64(count), time, *map(pointer, (theta, *signals)))

        each_on_cores(one, len(parts), _stack(theta))
        return xs

    def back(self, u: Tensor, x: Tensor, theta: Tensor, xs: Tensor, xs_bar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients by u, x and theta from those by what a run has returned."""
        time, parts = ctypes.c_int64(u.shape[1]), _parts(len(u))
        u_bar, x_bar, theta_bar = torch.empty_like(u), torch.empty_like(x), theta.new_zeros(len(parts), len(theta))

        def one(k: int) -> None:
            first, count = parts[k]
            signals = (part[first:] for part in (u, x, xs, xs_bar, u_bar, x_bar))
            self._library.circuitnn_back(ctypes.c_int64(count), time, *map(pointer, (theta, *signals, theta_bar[k])))

        each_on_cores(one, len(parts), _stack(theta))
        return u_bar, x_bar, theta_bar.sum(0)


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recurrence: Recurrence, u: Tensor, x: Tensor, theta: Tensor) -> Tensor:
        u, x, theta = u.contiguous(), x.contiguous(), theta.contiguous()
        xs = recurrence.run(u, x, theta)
        ctx.recurrence = recurrence
        ctx.save_for_backward(u, x, theta, xs)
        return xs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, xs_bar: Tensor) -> tuple[Tensor | None, ...]:
        u, x, theta, xs = ctx.saved_tensors
        return None, *ctx.recurrence.back(u, x, theta, xs, xs_bar.contiguous())


@cache
def compiled_recurrence(cell: str, dtype: torch.dtype) -> Recurrence | None:
    """The recurrence of a cell; None, with a warning, where no compiler can be had."""
    try:
        return Recurrence(cell, dtype)
    except CompilerError as error:
        warnings.warn(f"running a slow loop in torch: {error}", stacklevel=2)
        return None


def _parts(groups: int) -> list[tuple[int, int]]:
    """The first group and the number of groups for each core."""
    each = max(1, -(-groups // torch.get_num_threads()))
    return [(first, min(each, groups - first)) for first in range(0, groups, each)]


def _stack(theta: Tensor) -> int:
    """Bytes that the gradient's sums may take on the stack, and as much again for the rest."""
    return 2 * BYTES * len(theta) + 2**16
