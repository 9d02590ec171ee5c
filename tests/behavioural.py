"""One behavioural source on a bench: voltages x and y, .param a = 1.7, a source B1 with its output o."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from circuits import parse
from numpy.typing import NDArray
from sympy import Symbol

from circuitnn.circuit import Circuit
from circuitnn.devices import Law
from circuitnn.mna import Equations, build_equations
from circuitnn.operating_point import device_coefficients
from circuitnn.symbolic import NUMPY
from circuitnn.values import resolve

Array = NDArray[np.float64]

BENCH = ".param a=1.7\nVx x 0 0.3\nVy y 0 -0.4\nRo o 0 1k\n"


def circuit_of(formula: str, keyword: str = "V") -> Circuit:
    return parse(f"{BENCH}B1 o 0 {keyword}={{{formula}}}")


@dataclass(frozen=True)
class Source:
    """The device of the one behavioural source of a circuit, with its coefficients."""

    equations: Equations
    coefficients: dict[Symbol, float]

    @property
    def law(self) -> Law:
        return self.equations.devices[0].law


def source_of(circuit: Circuit, **overrides: float) -> Source:
    equations = build_equations(circuit)
    (device,) = equations.devices
    values = resolve(circuit, overrides, NUMPY)
    return Source(equations, device_coefficients(device, values, circuit.temperature, NUMPY))


def port_voltages(source: Source, nodes: dict[str, Array]) -> Array:
    """w [ports, ...] of a voltage source whose nodes have these voltages."""
    unknowns = [nodes.get(name[2:-1], np.zeros(())) for name in source.equations.unknowns]
    return np.array(np.broadcast_arrays(*(sum(s * z for s, z in zip(c, unknowns, strict=True))
                                          for c in source.equations.N_n.T)))  # fmt: skip
