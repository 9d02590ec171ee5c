"""Derivatives of a kernel's numbers, theta, in many directions at once.

A component value changes the rows (x', y, r) of the reduced model by a matrix of rank one (or a few of them), as it
changes the circuit's equations. Written as such products they cost the tangent pass a fraction of what whole matrices
would.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class ThetaTangent(NamedTuple):
    """d theta in p directions, for 1 or batch recordings and `points` of theta. The rows (x', y, r) by the columns
    (x, u, 1, i and, unless the structure is plain, v) move by sum_k left[..., :, k, d] right[..., k, :] in direction d,
    the devices' coefficients by coefficients[..., d].

    left [1 or batch, points, rows, k, p], right [1 or batch, points, k, columns], coefficients [1 or batch, points,
    n_c, p].
    """

    left: Tensor
    right: Tensor
    coefficients: Tensor

    def between(self, points: slice) -> ThetaTangent:
        """Those of some points only."""
        return ThetaTangent(*(part[:, points] for part in self))

    @property
    def points(self) -> int:
        return self.left.shape[1]


def padded(tangent: ThetaTangent, directions: int) -> ThetaTangent:
    """`tangent` with further directions in which no number moves, up to so many."""
    more = directions - tangent.left.shape[-1]
    left, coefficients = (torch.nn.functional.pad(part, (0, more)) for part in (tangent.left, tangent.coefficients))
    return ThetaTangent(left, tangent.right, coefficients)


class _Members(ctypes.Structure):
    """`ThetaTangent` of tangent.hpp."""

    _fields_ = [
        ("blocks", ctypes.c_int64), ("groups", ctypes.c_int64), ("first", ctypes.c_void_p), ("chosen", ctypes.c_void_p),
        ("right", ctypes.c_void_p), ("left", ctypes.c_void_p), ("on_devices", ctypes.c_void_p),
        ("coefficients", ctypes.c_void_p), ("products", ctypes.c_void_p),
    ]  # fmt: skip


@dataclass(frozen=True)
class PackedTangent:
    """A ThetaTangent as tangent.hpp reads it; the members there say what each array holds, but for the recordings,
    which come first in right, left and coefficients."""

    first: Tensor
    chosen: Tensor
    right: Tensor
    left: Tensor
    on_devices: Tensor
    coefficients: Tensor

    def members(self, recording: int, products: Tensor) -> _Members:
        """The struct of one recording. products [2, groups, width]: its own, which the pass writes to."""
        k = recording % len(self.left)
        arrays = (
            self.first, self.chosen, self.right[k], self.left[k], self.on_devices, self.coefficients[k], products
        )  # fmt: skip
        return _Members(len(self.on_devices), self.right.shape[2], *(array.data_ptr() for array in arrays))

    def room(self) -> Tensor:
        """`products`."""
        return self.right.new_empty(2, self.right.shape[2], self.right.shape[-1])


def pack(tangent: ThetaTangent, width: int) -> PackedTangent:
    """Directions in blocks of `width`, and of each block's products only those that move one of its directions."""
    left, right, coefficients = (part.detach().to(torch.float64) for part in tangent)
    lots, points, rows, _, p = left.shape
    blocks = -(-p // width)
    moving = (left != 0.0).flatten(0, 2).any(0)
    used = moving.any(1).nonzero()[:, 0]
    moving, left, right = moving[used], left[..., used, :], right[..., used, :]
    # Each direction's products in turn; a direction with fewer than its block has takes the first ones with zeros.
    order = moving.to(torch.int8).argsort(dim=0, descending=True, stable=True)
    counts = torch.nn.functional.pad(moving.sum(0), (0, blocks * width - p)).unflatten(0, (blocks, width)).amax(1)
    first = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    entries = int(first[-1])
    chosen = torch.zeros(entries, width, dtype=torch.int64)
    packed = left.new_zeros(lots, points, entries, rows, width)
    for block in range(blocks):
        directions = slice(block * width, min(p, (block + 1) * width))
        own = slice(int(first[block]), int(first[block + 1]))
        product = order[: own.stop - own.start, directions]
        lanes = slice(0, product.shape[1])
        chosen[own, lanes] = product
        at = product.expand(lots, points, rows, *product.shape)
        packed[:, :, own, :, lanes] = left[..., directions].gather(3, at).movedim(2, 3)
    groups = -(-len(used) // width)
    right = torch.nn.functional.pad(right, (0, 0, 0, groups * width - len(used)))
    coefficients = torch.nn.functional.pad(coefficients, (0, blocks * width - p)).unflatten(-1, (blocks, width))
    return PackedTangent(
        first=first,
        chosen=chosen,
        right=right.unflatten(2, (groups, width)).transpose(-1, -2).contiguous(),
        left=packed,
        on_devices=(coefficients != 0.0).any(-1).flatten(0, 2).any(0).to(torch.int64),
        coefficients=coefficients.movedim(-2, -3).contiguous(),
    )
