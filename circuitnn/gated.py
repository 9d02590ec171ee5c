"""Layers of gated units (LSTM, GRU), compiled with their derivatives: on a processor, for as many sounds as its
registers have lanes, torch's own LSTM takes twice as long and its GRU ten times."""

from __future__ import annotations

import ctypes
import warnings
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from circuitnn.errors import CompilerError
from circuitnn.kernel import each_on_cores, pointer
from circuitnn.lanes import BYTES, TYPES, into_lanes, out_of_lanes
from circuitnn.runtime.compiler import compile_library

Cell = Literal["lstm", "gru"]

# Samples whose gradients by the weights gated.hpp sums at a time, as it calls them.
STRETCH = 32
# Samples that are computed at a time where nothing needs to be kept for gradients, which is kilobytes for each.
PIECE = 4096
# A layer of more units would be compiled for long, and torch's own is not much slower.
MOST_UNITS = 256
_LAYERS = {"lstm": "LstmLayer", "gru": "GruLayer"}


class GatedLayer:
    """One layer of `size` units, as torch.nn.LSTM or torch.nn.GRU with batch_first."""

    def __init__(self, cell: Cell, inputs: int, size: int, dtype: torch.dtype) -> None:
        lanes = TYPES[dtype]
        self._library: Any = compile_library(
            f'#include "gated.hpp"\nusing namespace circuitnn;\n'
            f"CIRCUITNN_GATED({lanes}, {_LAYERS[cell]}<{lanes}, {inputs}, {size}>)\n",
            wide=True,
        )
        self._library.circuitnn_forward.restype = self._library.circuitnn_backward.restype = None
        self.size = size
        self.states, self.kept = (2 * size, 4 * size) if cell == "lstm" else (size, 4 * size)
        # Bytes that a call takes there: what one sample makes of the gates, and as much again for the rest.
        self._stack = 4 * BYTES * self.kept + 2**16

    def __call__(self, u: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """u [batch, time, inputs], the state x [batch, states] (h, and c of an LSTM) and the weights theta [parameters]
        in torch's order, all of one type -> h [batch, time, size], and the state after it. Differentiable, once."""
        made, after = [], into_lanes(x)
        for piece in [u] if torch.is_grad_enabled() else u.split(PIECE, 1):
            h, after = _Run.apply(self, into_lanes(piece), after, theta)  # type: ignore[no-untyped-call]
            made.append(out_of_lanes(h, len(u)))
        return torch.cat(made, 1), out_of_lanes(after, len(u))

    def forward(self, u: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """u [groups, time, inputs, lanes], x [groups, states, lanes] -> the states after each sample, and the gates,
        [groups, time, ., lanes]."""
        groups, time, _, lanes = u.shape
        xs, gates = u.new_empty(groups, time, self.states, lanes), u.new_empty(groups, time, self.kept, lanes)

        def one(k: int) -> None:
            parts = (theta, u[k], x[k], xs[k], gates[k])
            self._library.circuitnn_forward(ctypes.c_int64(time), *map(pointer, parts))

        each_on_cores(one, groups, self._stack)
        return xs, gates

    def backward(
        self, u: Tensor, x: Tensor, theta: Tensor, xs: Tensor, gates: Tensor, h_bar: Tensor, x_bar: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients by u, x and theta from those by all h and by the last state."""
        groups, time, _, lanes = u.shape
        u_bar, x_bar, theta_bar = torch.empty_like(u), x_bar.clone(), u.new_zeros(groups, len(theta), lanes)
        bars = u.new_empty(groups, STRETCH, self.kept, lanes)

        def one(k: int) -> None:
            parts = (theta, u[k], x[k], xs[k], gates[k], h_bar[k], bars[k], x_bar[k], u_bar[k], theta_bar[k])
            self._library.circuitnn_backward(ctypes.c_int64(time), *map(pointer, parts))

        each_on_cores(one, groups, self._stack)
        return u_bar, x_bar, theta_bar.sum((0, 2))


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: GatedLayer, u: Tensor, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        u, x, theta = u.contiguous(), x.contiguous(), theta.contiguous()
        xs, gates = layer.forward(u, x, theta)
        ctx.layer = layer
        ctx.save_for_backward(u, x, theta, xs, gates)
        return xs[:, :, : layer.size], xs[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, h_bar: Tensor, x_bar: Tensor) -> tuple[Tensor | None, ...]:
        u, x, theta, xs, gates = ctx.saved_tensors
        bars = ctx.layer.backward(u, x, theta, xs, gates, h_bar.contiguous(), x_bar.contiguous())
        return None, *bars


@cache
def gated_layer(cell: Cell, inputs: int, size: int, dtype: torch.dtype) -> GatedLayer | None:
    """The compiled layer; None for one that is too large, and with a warning where no compiler can be had."""
    if max(inputs, size) > MOST_UNITS:
        return None
    try:
        return GatedLayer(cell, inputs, size, dtype)
    except CompilerError as error:
        warnings.warn(f"training with torch's slower layers: {error}", stacklevel=2)
        return None
