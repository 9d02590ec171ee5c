"""Matrices as sums of signed coefficients, so that their values can follow later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stamp:
    """A matrix of the given shape as a sum of entries: at rows[k], columns[k] adds signs[k] * c[coefficients[k]]."""

    shape: tuple[int, int]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    signs: NDArray[np.float64]
    coefficients: NDArray[np.int64]

    def dense(self, c: NDArray[Any]) -> NDArray[Any]:
        """The matrix for coefficients c [n_c] (real or complex)."""
        matrix = np.zeros(self.shape, dtype=c.dtype)
        np.add.at(matrix, (self.rows, self.columns), self.signs * c[self.coefficients])
        return matrix


@dataclass
class Entries:
    """The entries of a matrix while they are collected: row, column, sign, coefficient."""

    items: list[tuple[int, int, float, int]] = field(default_factory=list)

    def stamp(self, rows: int, columns: int) -> Stamp:
        """The matrix of that shape."""
        table = np.array(self.items, dtype=float).reshape(-1, 4)
        row, column, coefficient = (table[:, k].astype(np.int64) for k in (0, 1, 3))
        return Stamp((rows, columns), row, column, table[:, 2].copy(), coefficient)
