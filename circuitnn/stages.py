"""Ordered sub-problems: which nonlinear devices must be solved together, and in which order.

A device that drives another through an ideal amplifier does not feel it, so the Jacobian of P v + Q i = r is block
triangular in a suitable order. The blocks are the strongly connected components of "needs" between devices (Duff and
Reid, "An implementation of Tarjan's algorithm for the block triangularization of a matrix", ACM TOMS 4 (1978)).

What counts is whether an entry of P or Q is zero for every choice of component values, not whether it is small for
these: the reduction is done once in the integers modulo a prime with random values, where a structural zero stays 0 and
anything else is 0 with a probability of about 1e-9 (Schwartz-Zippel lemma).
"""

from __future__ import annotations

from dataclasses import replace
from graphlib import TopologicalSorter

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from circuitnn.dk import Selection
from circuitnn.errors import CircuitError
from circuitnn.mna import Device, Equations

# Products of two residues fit into 63 bits.
_PRIME = 2**31 - 1
_SEED = 1

Pattern = NDArray[np.bool_]


def decompose(equations: Equations, selection: Selection) -> tuple[Equations, Selection, tuple[int, ...]]:
    """Equations and selection with devices and rows in the order of solution, and the number of devices per stage."""
    n = len(equations.ports)
    if n == 0:
        return equations, selection, ()
    needs = _pattern(equations, selection)
    owner = np.repeat(np.arange(len(equations.devices)), [device.law.ports for device in equations.devices])
    row_of_port = _matching(needs, owner, selection)
    if row_of_port is None:
        return equations, selection, (len(equations.devices),)
    stages = _stages(needs[row_of_port], owner)
    order = [port for stage in stages for device in stage for port in np.flatnonzero(owner == device)]
    position = np.empty(n, dtype=int)
    position[order] = np.arange(n)

    def moved(k: int) -> int:
        return int(position[k % n]) + (n if k >= n else 0)

    devices = list[Device]()
    for device in (equations.devices[k] for stage in stages for k in stage):
        devices.append(replace(device, first_port=sum(d.law.ports for d in devices)))
    ordered = replace(
        equations,
        devices=tuple(devices),
        ports=tuple(equations.ports[port] for port in order),
        N_n=np.ascontiguousarray(equations.N_n[:, order]),
    )
    m = len(equations.unknowns)
    chosen = Selection(
        free=tuple(sorted(moved(k) for k in selection.free)),
        dependent=tuple(moved(selection.dependent[row_of_port[port]]) for port in order),
        row_scale=np.concatenate([selection.row_scale[:m], selection.row_scale[m:][order]]),
    )
    return ordered, chosen, tuple(len(stage) for stage in stages)


def _pattern(equations: Equations, selection: Selection) -> Pattern:
    """needs[row, port]: whether the row of P v + Q i = r holds that port's voltage or current."""
    m, n = len(equations.unknowns), len(equations.ports)
    random = np.random.default_rng(_SEED)
    c = random.integers(1, _PRIME, len(equations.coefficients))
    M = np.zeros((m, m), dtype=np.int64)
    entries = equations.M.signs.astype(np.int64) * c[equations.M.coefficients]
    np.add.at(M, (equations.M.rows, equations.M.columns), entries)
    N_n = equations.N_n.astype(np.int64)
    ports = np.block(
        [[np.zeros((m, n), dtype=np.int64), N_n], [-np.eye(n, dtype=np.int64), np.zeros((n, n), np.int64)]]
    )
    unknown = np.concatenate([np.concatenate([M, N_n.T]), ports[:, list(selection.dependent)]], 1)
    solution = _solve_modulo(unknown, -ports[:, list(selection.free)])[m:]
    needs = np.zeros((n, n), dtype=bool)
    for column, quantity in enumerate(selection.free):
        needs[:, quantity % n] |= solution[:, column] != 0
    for row, quantity in enumerate(selection.dependent):
        needs[row, quantity % n] = True
    return needs


def _solve_modulo(matrix: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The solution of matrix @ x = right modulo the prime, by Gauss-Jordan elimination.

    Raises CircuitError if the matrix is singular for any values: then it was rounding that made it look regular.
    """
    size = len(matrix)
    work = np.concatenate([matrix, right], 1) % _PRIME
    for k in range(size):
        pivot = k + int(np.argmax(work[k:, k] != 0))
        if work[pivot, k] == 0:
            raise CircuitError(
                "the circuit equations have no unique solution",
                "look for values that differ by more than fifteen powers of ten, and for parts that nothing holds",
            )
        work[[k, pivot]] = work[[pivot, k]]
        work[k] = work[k] * pow(int(work[k, k]), -1, _PRIME) % _PRIME
        factors = work[:, k].copy()
        factors[k] = 0
        rows = np.flatnonzero(factors)
        work[rows] = (work[rows] - factors[rows, None] * work[k] % _PRIME) % _PRIME
    return work[:, size:]


def _matching(needs: Pattern, owner: NDArray[np.int64], selection: Selection) -> NDArray[np.int64] | None:
    """For each port the row that determines its variable; None if there is no such assignment."""
    n = len(needs)
    own = np.array([quantity % n for quantity in selection.dependent], dtype=int)
    if len(set(own)) == n:
        # Each port has one dependent quantity, and the row of that quantity.
        return np.argsort(own)
    # A row that holds a port depends on all variables of the device.
    touched = np.zeros_like(needs)
    for row, port in zip(*np.nonzero(needs), strict=True):
        touched[row, owner == owner[port]] = True
    row_of_port = maximum_bipartite_matching(csr_array(touched), perm_type="row")
    return None if (row_of_port < 0).any() else np.asarray(row_of_port, dtype=int)


def _stages(needs: Pattern, owner: NDArray[np.int64]) -> list[list[int]]:
    """Devices in groups that need each other, each group after those it needs. needs[port, port]."""
    count = int(owner.max(initial=-1)) + 1
    depends = np.zeros((count, count), dtype=bool)
    for row, column in zip(*np.nonzero(needs), strict=True):
        depends[owner[row], owner[column]] = True
    _, group = connected_components(csr_array(depends), connection="strong")
    sorter: TopologicalSorter[int] = TopologicalSorter({int(g): set() for g in group})
    for device, other in zip(*np.nonzero(depends), strict=True):
        if group[device] != group[other]:
            sorter.add(int(group[device]), int(group[other]))
    return [np.flatnonzero(group == g).tolist() for g in sorter.static_order()]
