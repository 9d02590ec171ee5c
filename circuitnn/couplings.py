"""Coupled inductors: mutual inductances, and which sets of coupling coefficients can exist.

Two inductors with the coefficient k share the mutual inductance M = k sqrt(L1 L2); the voltage across each is
v = L di/dt plus M di/dt of the other. The field of currents i has the energy i^T L i / 2 with the matrix L of all
inductances, which is never negative only if L is positive semidefinite: otherwise the circuit would make energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from circuitnn.circuit import Circuit
from circuitnn.errors import CircuitError

# How far below 0 rounding may put an eigenvalue of a set of ideal couplings (k = 1), whose matrix is singular.
ROUNDING = 1e-9


def mutual_inductances(circuit: Circuit, values: Mapping[str, Any]) -> dict[str, Any]:
    """M of each K element, as "K1.mutual", in henry; differentiable in the inductances and the coefficient."""
    found: dict[str, Any] = {}
    for element in circuit.elements:
        if element.kind == "K":
            one, other = (values[name] for name in element.branches)
            found[f"{element.name}.mutual"] = values[element.name] * one**0.5 * other**0.5
    return found


def check(circuit: Circuit, values: Mapping[str, Any]) -> None:
    """Raise CircuitError for inductors whose couplings cannot be, at these (numeric) values.

    |k| = 1 is an ideal transformer's and allowed; inductances must be positive.
    """
    couplings = [element for element in circuit.elements if element.kind == "K"]
    names = list(dict.fromkeys(name for coupling in couplings for name in coupling.branches))
    if negative := [name for name in names if not values[name] > 0.0]:
        raise CircuitError(f"coupled inductors must have positive inductances: {', '.join(negative)}")
    matrix = np.eye(len(names))
    pairs = dict[frozenset[str], str]()
    for coupling in couplings:
        k = float(values[coupling.name])
        if abs(k) > 1.0:
            raise CircuitError(f"{coupling.name} has the coefficient {k:g}", "a coupling lies between -1 and 1")
        pair = frozenset(coupling.branches)
        if pair in pairs:
            raise CircuitError(f"{pairs[pair]} and {coupling.name} couple the same inductors", "remove one of them")
        pairs[pair] = coupling.name
        one, other = (names.index(name) for name in coupling.branches)
        matrix[one, other] = matrix[other, one] = k
    eigenvalues, vectors = np.linalg.eigh(matrix)
    if len(names) and eigenvalues[0] < -ROUNDING:
        culprits = [name for name, part in zip(names, vectors[:, 0], strict=True) if abs(part) > 1e-3]
        raise CircuitError(
            f"the inductance matrix of {', '.join(culprits)} is not positive definite: together these couplings would "
            "make energy from nothing",
            "windings that are each coupled tightly to a third are coupled to each other: add the missing K cards, or "
            "lower the coefficients",
        )
