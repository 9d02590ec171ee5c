"""What changes along a knob, and along the voltage at the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitnn.circuit import Circuit
from circuitnn.errors import CircuitError, ConvergenceError
from circuitnn.inspection.linearised import linearise
from circuitnn.mna import Equations
from circuitnn.operating_point import OperatingPoint, operating_point
from circuitnn.solving import solve_scaled
from circuitnn.symbolic import NUMPY
from circuitnn.tapers import value_at
from circuitnn.values import resolve

POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
# The input voltages of a transfer curve, either way: up to 5 V, closer together where diodes begin to conduct.
VOLTAGES = tuple(5.0 * (k / 40) ** 2 for k in range(41))
# A gain at DC below this is that of a circuit whose capacitors block it.
BLOCKED = 1e-6


@dataclass(frozen=True)
class KnobSweep:
    """The response with one knob at several positions and the others where they are. gain: complex [positions, f, n_y,
    n_u] at `frequencies` in Hz."""

    knob: str
    positions: tuple[float, ...]
    frequencies: tuple[float, ...]
    gain: NDArray[np.complex128]


@dataclass(frozen=True)
class TransferCurve:
    """Each output at rest over the voltage of one input, in volt. output: [voltages, n_y]."""

    source: str
    voltages: tuple[float, ...]
    output: NDArray[np.float64]


def knob_sweeps(
    circuit: Circuit, equations: Equations, point: OperatingPoint, frequencies: Sequence[float]
) -> tuple[KnobSweep, ...]:
    """A sweep of every knob. Raises ConvergenceError or CircuitError, with the position, where there is no solution."""
    sweeps = []
    for knob in circuit.knobs:
        curves = []
        for position in POSITIONS:
            values = resolve(circuit, {knob.name: value_at(knob.taper, position)}, NUMPY)
            try:
                there = operating_point(equations, values, circuit.temperature, point)
            except (CircuitError, ConvergenceError) as error:
                raise type(error)(f"with {knob.name} at {position:g}: {error.message}", error.hint) from None
            curves.append(linearise(equations, values, there).response(frequencies).gain)
        sweeps.append(KnobSweep(knob.name, POSITIONS, tuple(map(float, frequencies)), np.array(curves)))
    return tuple(sweeps)


def transfer_curves(
    circuit: Circuit, equations: Equations, values: Mapping[str, float], point: OperatingPoint
) -> tuple[TransferCurve, ...]:
    """The outputs over each input voltage, the other inputs at zero: of nonlinear circuits that let DC through.

    Raises ConvergenceError, with the voltage, where there is no solution.
    """
    return tuple(
        _transfer_curve(circuit, equations, values, point, k)
        for k, name in enumerate(equations.inputs)
        if equations.devices and name.startswith("V") and _passes_dc(equations, point, k)
    )


def _passes_dc(equations: Equations, point: OperatingPoint, source: int) -> bool:
    m = len(equations.unknowns)
    right_side = np.zeros((len(point.jacobian), 1))
    right_side[:m, 0] = equations.N_u[:, source]
    return bool(np.abs(equations.N_y @ solve_scaled(point.jacobian, right_side)[:m]).max(initial=0.0) > BLOCKED)


def _transfer_curve(
    circuit: Circuit, equations: Equations, values: Mapping[str, float], point: OperatingPoint, source: int
) -> TransferCurve:
    name = equations.inputs[source]
    found: dict[float, NDArray[np.float64]] = {}
    for side in (-1.0, 1.0):
        # Outwards from rest, each point from the one before: a curve with two branches is followed along one.
        there = point
        for volt in VOLTAGES:
            inputs = [side * volt if other == name else 0.0 for other in equations.inputs]
            try:
                there = operating_point(equations, values, circuit.temperature, there, inputs)
            except ConvergenceError as error:
                raise ConvergenceError(f"with {name} at {side * volt:g} V: {error.message}", error.hint) from None
            found[side * volt] = equations.N_y @ there.z
    voltages = tuple(sorted(found))
    return TransferCurve(name, voltages, np.array([found[volt] for volt in voltages]))
