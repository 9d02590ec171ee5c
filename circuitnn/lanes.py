"""Pieces of sound side by side in the lanes of a vector register, as numerics.hpp has them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# The register's types there, and its bytes.
TYPES = {torch.float32: "FloatLanes", torch.float64: "DoubleLanes"}
BYTES = 64


def into_lanes(part: Tensor) -> Tensor:
    """[batch, ...] -> [groups, ..., lanes], the last group filled up with zeros."""
    lanes = BYTES // part.itemsize
    groups = -(-len(part) // lanes)
    missing = (*(0, 0) * (part.dim() - 1), 0, groups * lanes - len(part))
    found: Tensor = pad(part, missing).unflatten(0, (groups, lanes)).movedim(1, -1)
    return found


def out_of_lanes(part: Tensor, batch: int) -> Tensor:
    """[groups, ..., lanes] -> [batch, ...]."""
    return part.movedim(-1, 1).flatten(0, 1)[:batch]
