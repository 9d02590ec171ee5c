"""The generalised DK-method: from a circuit's equations to a reduced state-space model in torch.

Classic DK (Yeh 2009; Holters and Zoelzer, "Physical modelling of a wah-wah effect pedal as a case study for
application of the nodal DK method to circuits with variable parts", DAFx-11) eliminates z and keeps v = p + K i,
which needs M to be regular. A node that touches only nonlinear devices makes M singular. Here the unknowns (z, v, i)
are one affine system; n_n of the 2 n_n port quantities (v, i) are free (f; all i where that is possible, which is
the classic method), the rest follow from them:

    P v + Q i = R_x x + R_u (u, 1),   y = D x + E (u, 1) + F f,   x' = A x + B (u, 1) + C f

The constant 1 carries the supplies. i is positive into the + terminal of the device, so classic DK has P = I, Q = -K.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.errors import CircuitError
from circuitnn.mna import Equations
from circuitnn.schemes import Scheme
from circuitnn.stamp import Stamp

# What makes a port current comparable with a port voltage, in ohm: milliamperes beside volts.
CURRENT_SCALE = 1e3
# A port voltage is chosen as dependent while at least this part of its column is independent of those chosen before.
INDEPENDENT = 1e-9
# The rows are scaled to 1. A column smaller than this is compared with this much, because all of it may be rounding.
SMALL_COLUMN = 1e-5


class Matrices(NamedTuple):
    """The reduced model. A [n_x, n_x], B [n_x, n_u+1], C [n_x, n_n], D [n_y, n_x], E [n_y, n_u+1], F [n_y, n_n],
    R_x [n_n, n_x], R_u [n_n, n_u+1], P and Q [n_n, n_n]; float64."""

    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    E: Tensor
    F: Tensor
    R_x: Tensor
    R_u: Tensor
    P: Tensor
    Q: Tensor


@dataclass(frozen=True)
class Selection:
    """Which port quantities are free and which follow, as positions in (v[0..n), i[0..n)), and the row scaling of the
    equations [m + n_n] that makes the elimination well conditioned."""

    free: tuple[int, ...]
    dependent: tuple[int, ...]
    row_scale: NDArray[np.float64]

    @property
    def plain(self) -> bool:
        """Classic DK: every current is free and every voltage follows."""
        return self.dependent == tuple(range(len(self.dependent)))


def select(equations: Equations, c: NDArray[np.float64]) -> Selection:
    """Choose the free port quantities at the coefficients c. Raises CircuitError if the circuit has no unique model."""
    m, n = len(equations.unknowns), len(equations.ports)
    M = equations.M.dense(c)
    # Columns: z, v, i, the currents in units of 1/CURRENT_SCALE.
    N_i = equations.N_n / CURRENT_SCALE
    system = np.block([[M, np.zeros((m, n)), N_i], [equations.N_n.T, -np.eye(n), np.zeros((n, n))]])
    row_scale = 1.0 / np.abs(system).max(axis=1, initial=1e-300)
    # z can be eliminated if its columns are independent; what is left are n equations in the 2n port quantities.
    scaled = system * row_scale[:, None]
    column_scale = np.maximum(np.abs(scaled[:, :m]).max(axis=0, initial=1e-300), 1e-300)
    if not np.isfinite(scaled).all():
        raise CircuitError(
            "the circuit equations are not finite", "look for values that are far too large or too small"
        )
    # With column pivoting, which reveals the rank at a fraction of the cost of singular values.
    left, triangle, order = scipy.linalg.qr(scaled[:, :m] / column_scale, pivoting=True)
    pivots = np.abs(np.diag(triangle))
    if m and pivots[-1] < 1e-13 * pivots[0]:
        rank = int(np.count_nonzero(pivots >= 1e-13 * pivots[0]))
        # A combination of columns that is zero: the first dependent one and those it depends on.
        others = scipy.linalg.solve_triangular(triangle[:rank, :rank], triangle[:rank, rank])
        vector = np.abs(np.concatenate([others, [1.0]]))
        names = [equations.unknowns[order[k]] for k in np.flatnonzero(vector > 0.1 * vector.max())]
        raise CircuitError(
            f"the circuit equations have no unique solution; undetermined: {', '.join(names[:12])}",
            "look for a floating part, a loop of ideal sources, or an amplifier without feedback at these places",
        )
    columns = left[:, m:].T @ scaled[:, m:]
    dependent = _independent_columns(columns, n)
    free = tuple(k for k in (*range(n, 2 * n), *range(n)) if k not in dependent)
    return Selection(free, tuple(sorted(dependent)), row_scale)


def _independent_columns(columns: NDArray[np.float64], n: int) -> list[int]:
    """n independent columns of an [n, 2n] matrix of rank n: the first n (voltages) before the others (currents)."""
    original = np.maximum(np.linalg.norm(columns, axis=0), SMALL_COLUMN)
    rest, chosen = columns.copy(), list[int]()
    for _ in range(n):
        independent = np.linalg.norm(rest, axis=0) / original
        independent[chosen] = 0.0
        voltage = int(np.argmax(independent[:n]))
        pick = voltage if independent[voltage] > INDEPENDENT else n + int(np.argmax(independent[n:]))
        direction = rest[:, pick] / np.linalg.norm(rest[:, pick])
        rest = rest - np.outer(direction, direction @ rest)
        chosen.append(pick)
    return chosen


def dense(stamp: Stamp, c: Tensor) -> Tensor:
    """The matrix of a stamp for coefficients c [n_c], differentiable in c."""
    rows, columns = stamp.shape
    positions = torch.as_tensor(stamp.rows * columns + stamp.columns)
    weights = torch.as_tensor(stamp.signs) * c[torch.as_tensor(stamp.coefficients)]
    return torch.zeros(rows * columns, dtype=c.dtype).index_add(0, positions, weights).reshape(rows, columns)


def reduce(equations: Equations, selection: Selection, scheme: Scheme, c: Tensor, s: Tensor) -> Matrices:
    """The reduced model for coefficients c [n_c] (at the scheme's differentiation factor) and constant sources s [n_s].

    Differentiable in c and s. Linear in the size of the circuit but for one dense solve of order m + n_n.
    """
    rows, _ = _rows(equations, selection, scheme, c, s, c.new_zeros(len(equations.unknowns), 0))
    return _matrices(equations, selection, rows)


@dataclass(frozen=True)
class Retuning:
    """The reduced model as a function of few coefficients, by the Woodbury identity (Holters and Zoelzer 2011, section
    3): each changes M by a rank-one matrix, so all of the model follows from one system of their number, k.

    base [rows, columns], H [rows, k], G [k, columns], Z [k, k]: rows (x', y, dependent port quantities), columns
    (x, u, 1, f). With D = diag(change of the coefficients): rows = base - H (1 + D Z)^-1 D G.
    """

    equations: Equations
    selection: Selection
    base: Tensor
    H: Tensor
    G: Tensor
    Z: Tensor

    def at(self, change: Tensor) -> Matrices:
        """The reduced model where the coefficients have changed by change [..., k]."""
        identity = torch.eye(self.Z.shape[0], dtype=self.Z.dtype)
        update = torch.linalg.solve(identity + change.unsqueeze(-1) * self.Z, change.unsqueeze(-1) * self.G)
        return _matrices(self.equations, self.selection, self.base - self.H @ update)

    def scaled(self) -> tuple[Tensor, Tensor, Tensor]:
        """H, G and Z, with the rows of H scaled like those of the matrices."""
        dependent = _row_scale(self.selection, self.base.dtype)
        others = self.H.new_ones(len(self.H) - len(dependent))
        return torch.cat([others, dependent])[:, None] * self.H, self.G, self.Z


def retuning(
    equations: Equations, selection: Selection, scheme: Scheme, c: Tensor, s: Tensor, moving: Sequence[int]
) -> Retuning:
    """The reduced model around c [n_c] for changes of the coefficients `moving`; differentiable in c and s.

    Raises CircuitError if one of them is not a resistance or a gain.
    """
    pairs = [rank_one(equations, k) for k in moving]
    left = np.array([a for a, _ in pairs]).reshape(len(pairs), len(equations.unknowns))
    right = np.array([b for _, b in pairs]).reshape(len(pairs), len(equations.unknowns))
    return Retuning(equations, selection, *_responses(equations, selection, scheme, c, s, left, right))


def _responses(
    equations: Equations,
    selection: Selection,
    scheme: Scheme,
    c: Tensor,
    s: Tensor,
    left: NDArray[np.float64],
    right: NDArray[np.float64],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """base, H, G and Z of `Retuning` for changes left[k]^T right[k] of M; left and right [k, m]."""
    rows, z = _rows(equations, selection, scheme, c, s, torch.as_tensor(left.T.copy()))
    own = torch.as_tensor(right) @ z
    columns = rows.shape[1] - len(left)
    # The columns of the extra excitations stand before those of the free quantities.
    order = [*range(columns - len(selection.free)), *range(rows.shape[1] - len(selection.free), rows.shape[1])]
    extra = slice(columns - len(selection.free), rows.shape[1] - len(selection.free))
    return rows[:, order], rows[:, extra], own[:, order], own[:, extra]


class Derivative(NamedTuple):
    """How the reduced model moves with its coefficients, as products left[:, k] right[k]: rows (x', y, dependent port
    quantities, scaled like the matrices), columns (x, u, 1, f).

    base [rows, columns]: the model itself; left [rows, k], right [k, columns]; owner [k]: which of (c, s) each belongs
    to.
    """

    base: Tensor
    left: Tensor
    right: Tensor
    owner: tuple[int, ...]


def derivative(equations: Equations, selection: Selection, scheme: Scheme, c: Tensor, s: Tensor) -> Derivative:
    """The reduced model's derivatives at c [n_c] and s [n_s]: few products for each coefficient.

    With M z = N_x x + ... and q = G_q z, a coefficient moves (M z - N_x x, q) by a few products of a column and a row.
    """
    m, n_x, n_c, n_s = len(equations.unknowns), len(equations.states), len(c), len(s)
    # The first coefficient is the number 1.
    products = [product for k in range(1, n_c) for product in _products(equations, k)]
    owner = (*(product.coefficient for product in products), *range(n_c, n_c + n_s))
    # A source moves the equations by its column of N_s times the constant 1.
    a = np.concatenate([*(product.equations[None] for product in products), -equations.N_s.T])
    b = np.concatenate([*(product.unknowns[None] for product in products), np.zeros((n_s, m))])
    base, H, G, _ = _responses(equations, selection, scheme, c, s, a, b)
    states = np.array([product.states for product in products]).reshape(len(products), n_x)
    right = G.clone()
    right[: len(products), :n_x] -= torch.as_tensor(states)
    right[len(products) :, scheme.memory * n_x + len(equations.inputs)] = 1.0
    left = -H
    charges = np.array([product.charges for product in products]).reshape(len(products), n_x)
    gain = torch.tensor(scheme.gain, dtype=c.dtype)
    left[: scheme.memory * n_x, : len(products)] += torch.kron(gain[:, None], torch.as_tensor(charges.T.copy()))
    scale = torch.cat([c.new_ones(len(base) - len(selection.free)), _row_scale(selection, c.dtype)])[:, None]
    return Derivative(scale * base, scale * left, right, owner)


class _Product(NamedTuple):
    """What a coefficient changes: M z - N_x x by equations (unknowns z - states x), G_q z by charges (unknowns z)."""

    coefficient: int
    equations: NDArray[np.float64]
    charges: NDArray[np.float64]
    unknowns: NDArray[np.float64]
    states: NDArray[np.float64]


def _products(equations: Equations, coefficient: int) -> list[_Product]:
    """The fewest products for one coefficient, by elimination of the few entries that it has (exact, as they are 1)."""
    m, n_x = len(equations.unknowns), len(equations.states)
    entries = dict[tuple[int, int], float]()
    for stamp, first_row, first_column, sign in (
        (equations.M, 0, 0, 1.0), (equations.N_x, 0, m, -1.0), (equations.G_q, m, 0, 1.0)
    ):  # fmt: skip
        for k in np.flatnonzero(stamp.coefficients == coefficient):
            place = (first_row + int(stamp.rows[k]), first_column + int(stamp.columns[k]))
            entries[place] = entries.get(place, 0.0) + sign * float(stamp.signs[k])
    rows, columns = (sorted({place[k] for place in entries}) for k in (0, 1))
    rest = np.array([[entries.get((row, column), 0.0) for column in columns] for row in rows])
    found = []
    while np.abs(rest).max(initial=0.0) > 0.0:
        row, column = np.unravel_index(np.argmax(np.abs(rest)), rest.shape)
        left, right = np.zeros(m + n_x), np.zeros(m + n_x)
        left[rows], right[columns] = rest[:, column] / rest[row, column], rest[row]
        rest = rest - np.outer(left[rows], right[columns])
        found.append(_Product(coefficient, left[:m], left[m:], right[:m], -right[m:]))
    return found


def rank_one(equations: Equations, coefficient: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """a and b [m] such that M changes by a b^T with the coefficient."""
    unit = np.zeros(len(equations.coefficients))
    unit[coefficient] = 1.0
    matrix = equations.M.dense(unit)
    if not equations.N_x.dense(unit).any() and not equations.G_q.dense(unit).any() and matrix.any():
        row, column = np.unravel_index(np.argmax(np.abs(matrix)), matrix.shape)
        a, b = matrix[:, column] / matrix[row, column], matrix[row]
        if np.array_equal(np.outer(a, b), matrix):
            return a, b
    raise CircuitError(
        f"{equations.coefficients[coefficient][1]} cannot move while the circuit runs",
        "a knob that moves may set resistors and gains, not capacitors, inductors or sources",
    )


def _rows(
    equations: Equations, selection: Selection, scheme: Scheme, c: Tensor, s: Tensor, extra: Tensor
) -> tuple[Tensor, Tensor]:
    """x', y and the dependent port quantities as rows, by (x, u, 1, extra excitations [m, k], f), and z likewise."""
    m, n, n_x = len(equations.unknowns), len(equations.ports), len(equations.states)
    constant = {name: torch.as_tensor(getattr(equations, name)) for name in ("N_u", "N_s", "N_n", "N_y")}
    M, N_n = dense(equations.M, c), constant["N_n"]
    ports = torch.cat(
        [torch.cat([torch.zeros(m, n, dtype=c.dtype), N_n], 1), torch.cat([-torch.eye(n), torch.zeros(n, n)], 1)]
    )
    unknown = torch.cat([torch.cat([M, N_n.T]), ports[:, list(selection.dependent)]], 1)
    supplies = (constant["N_s"] @ s)[:, None]
    excitation = torch.cat([scheme.excitation(dense(equations.N_x, c)), constant["N_u"], supplies, extra], 1)
    excitation = torch.cat([excitation, torch.zeros(n, excitation.shape[1], dtype=c.dtype)])
    scale = torch.as_tensor(selection.row_scale)[:, None]
    solution = torch.linalg.solve(scale * unknown, scale * torch.cat([excitation, -ports[:, list(selection.free)]], 1))
    z, dependent = solution[:m], solution[m:]
    history = scheme.history(dense(equations.G_q, c) @ z, n_x)
    return torch.cat([history, constant["N_y"] @ z, dependent]), z


def _matrices(equations: Equations, selection: Selection, rows: Tensor) -> Matrices:
    """The matrices from rows (x', y, dependent port quantities) [..., rows, columns] by (x, u, 1, f)."""
    n, n_u = len(equations.ports), len(equations.inputs)
    n_x = rows.shape[-1] - n_u - 1 - n
    n_y = len(equations.N_y)
    history, output, dependent = rows.split([n_x, n_y, n], -2)
    split = [n_x, n_u + 1, n]
    A, B, C = history.split(split, -1)
    D, E, F = output.split(split, -1)
    row_scale = _row_scale(selection, rows.dtype)
    R_x, R_u, minus_free = (row_scale[:, None] * dependent).split(split, -1)
    both = torch.zeros(*rows.shape[:-2], n, 2 * n, dtype=rows.dtype)
    both = both.index_copy(-1, torch.tensor(selection.free, dtype=torch.int64), -minus_free)
    own = torch.diag(row_scale).expand(*rows.shape[:-2], n, n)
    both = both.index_copy(-1, torch.tensor(selection.dependent, dtype=torch.int64), own)
    P, Q = both.split([n, n], -1)
    return Matrices(A, B, C, D, E, F, R_x, R_u, P, Q)


def _row_scale(selection: Selection, dtype: torch.dtype) -> Tensor:
    """Rows that determine a current are scaled to volts, so that pivoting compares like with like."""
    n = len(selection.dependent)
    return torch.tensor([CURRENT_SCALE if k >= n else 1.0 for k in selection.dependent], dtype=dtype)
