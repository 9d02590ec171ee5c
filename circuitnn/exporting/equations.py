"""What the numbers in a circuit's equations are as formulas of its knobs, and which knobs can move while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitnn.circuit import Circuit
from circuitnn.discretise import DiscreteCircuit
from circuitnn.dk import rank_one
from circuitnn.errors import CircuitError
from circuitnn.exporting.tracing import Program, depends
from circuitnn.operating_point import OperatingPoint
from circuitnn.stamp import Stamp
from circuitnn.symbolic import NUMPY
from circuitnn.tapers import position_at, value_at

# The name of the differentiation factor in formulas.
FACTOR = "d"


@dataclass(frozen=True)
class ExportedKnob:
    """name: of the .param; position: 0 to 1, at first; held: why it cannot move while the circuit runs, None if it
    can."""

    name: str
    taper: str
    position: float
    held: str | None


@dataclass(frozen=True)
class Formulas:
    """The numbers of a circuit: c, sources and the devices' coefficients, each a float or a Traced of FACTOR and of the
    knobs' positions (named by `position_of`). moving: those of c that knobs move while the circuit runs, each of which
    changes M by the products left [k, m] and right [k, m]; moving_sources: likewise of the sources."""

    knobs: tuple[ExportedKnob, ...]
    statements: tuple[str, ...]
    c: tuple[Any, ...]
    sources: tuple[Any, ...]
    coefficients: tuple[Any, ...]
    moving: tuple[int, ...]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    moving_sources: tuple[int, ...]
    point: OperatingPoint


def position_of(knob: str) -> str:
    """The variable that holds a knob's position, which no name of C can be."""
    return f"{knob}_knob"


def positions(circuit: Circuit) -> dict[str, float]:
    """Where the knobs stand, 0 to 1."""
    found = {k.name: float(position_at(k.taper, float(circuit.parameters[k.name]))) for k in circuit.knobs}
    return {name: min(max(position, 0.0), 1.0) for name, position in found.items()}


def formulas(discrete: DiscreteCircuit) -> Formulas:
    """The numbers of a discretised circuit as formulas. Raises ConvergenceError if it has no operating point."""
    circuit, equations = discrete.circuit, discrete.equations
    program = Program()
    overrides = {
        knob.name: value_at(knob.taper, program.variable(position_of(knob.name), [knob.name]), NUMPY)
        for knob in circuit.knobs
    }
    c, sources, coefficients = discrete.scalars(overrides, NUMPY, program.variable(FACTOR))
    names = [knob.name for knob in circuit.knobs]
    held, products = dict[str, str](), dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]()
    for k, number in enumerate(c):
        if depends(number, names):
            try:
                products[k] = rank_one(equations, k)
            except CircuitError as error:
                held |= {name: error.message for name in names if depends(number, [name])}
    free = [name for name in names if name not in held]
    moving = [k for k in products if depends(c[k], free)]
    at = positions(circuit)
    empty = np.zeros((0, len(equations.unknowns)))
    return Formulas(
        knobs=tuple(ExportedKnob(k.name, k.taper, at[k.name], held.get(k.name)) for k in circuit.knobs),
        statements=tuple(program.statements),
        c=tuple(c),
        sources=tuple(sources),
        coefficients=tuple(coefficients),
        moving=tuple(moving),
        left=np.array([products[k][0] for k in moving]) if moving else empty,
        right=np.array([products[k][1] for k in moving]) if moving else empty,
        moving_sources=tuple(k for k, source in enumerate(sources) if depends(source, free)),
        point=discrete.operating_point({}),
    )


def stamp_rows(stamp: Stamp) -> list[tuple[int, int, float, int]]:
    """The entries of a matrix: row, column, sign, which of c."""
    columns = (stamp.rows, stamp.columns, stamp.signs, stamp.coefficients)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def dense_rows(matrix: NDArray[np.float64]) -> list[tuple[int, int, float, int]]:
    """A constant matrix in the same form: its entries times c[0], which is 1."""
    return [(int(row), int(column), float(matrix[row, column]), 0) for row, column in np.argwhere(matrix)]
