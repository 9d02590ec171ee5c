"""What is in a netlist: its parts, what a fit may change, the DC operating point and the small-signal response.

Numbers come from numpy alone, so that an answer takes a second and needs neither torch nor a compiler.
"""

from __future__ import annotations

import io
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitnn.circuit import DEFAULT_TOLERANCES, Circuit, Learnable
from circuitnn.devices import MODEL_KINDS
from circuitnn.errors import OutputError
from circuitnn.mna import Equations, build_equations
from circuitnn.operating_point import OperatingPoint, operating_point
from circuitnn.symbolic import NUMPY
from circuitnn.tapers import position_at
from circuitnn.units import format_value
from circuitnn.values import literal_values, resolve

# One point or two per octave is enough for a table; a plot wants a line.
TABLE_FREQUENCIES = (20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4)
PLOT_FREQUENCIES = tuple(np.geomspace(20.0, 20e3, 400))
# What is plotted of a signal that is blocked altogether, in dB.
FLOOR = -200.0

_ELEMENT_UNITS = {"R": "Ω", "C": "F", "L": "H", "V": "V", "I": "A"}


@dataclass(frozen=True)
class KnobSetting:
    """A knob as the netlist leaves it. position: 0 to 1; value: of its .param."""

    name: str
    position: float
    value: float
    taper: str


@dataclass(frozen=True)
class LearnableValue:
    """Something the netlist marks to be learned. tolerance: relative prior width, None where the netlist leaves it to
    the fit."""

    name: str
    nominal: float
    unit: str
    tolerance: float | None


@dataclass(frozen=True)
class Inspection:
    """operating_point: DC voltage of every node. unused: model parameters that no device law reads. response: output
    over input at `frequencies` (Hz), complex [frequencies, outputs, inputs]."""

    circuit: Circuit
    states: tuple[str, ...]
    ports: tuple[str, ...]
    knobs: tuple[KnobSetting, ...]
    learnable: tuple[LearnableValue, ...]
    operating_point: Mapping[str, float]
    unused: tuple[str, ...]
    frequencies: tuple[float, ...]
    response: NDArray[np.complex128]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs as people write them: "out", or "a - b" for a difference."""
        return tuple(plus if minus == "0" else f"{plus} - {minus}" for plus, minus in self.circuit.outputs)


def inspect(circuit: Circuit, frequencies: Sequence[float] = TABLE_FREQUENCIES) -> Inspection:
    """Everything about a circuit that can be said without running it.

    Raises CircuitError for an ill-posed circuit and ConvergenceError if it has no operating point.
    """
    equations = build_equations(circuit)
    values = resolve(circuit, {}, NUMPY)
    point = operating_point(equations, values, circuit.temperature)
    voltages = dict(zip(equations.unknowns, point.z, strict=True))
    literals = literal_values(circuit)
    return Inspection(
        circuit=circuit,
        states=equations.states,
        ports=equations.ports,
        knobs=tuple(
            KnobSetting(
                knob.name,
                float(position_at(knob.taper, literals[knob.name])),
                literals[knob.name],
                knob.taper,
            )
            for knob in circuit.knobs
        ),
        learnable=tuple(
            LearnableValue(item.name, literals[item.name], unit(circuit, item.name), _tolerance(circuit, item))
            for item in circuit.learn
        ),
        operating_point={node: float(voltages[f"v({node})"]) for node in circuit.nodes},
        unused=_unused_parameters(circuit, equations),
        frequencies=tuple(float(f) for f in frequencies),
        response=small_signal_response(equations, values, point, frequencies),
    )


def small_signal_response(
    equations: Equations, values: Mapping[str, float], point: OperatingPoint, frequencies: Sequence[float]
) -> NDArray[np.complex128]:
    """Output over input, complex [frequencies, n_y, n_u], with every device linearised at the operating point.

    Solves [[M(j omega), N_n I'], [N_n^T, -V']] (z, w) = (N_u, 0): the Jacobian of the DC equations with its linear
    part taken at the frequency instead of at 0.
    """
    m = len(equations.unknowns)
    right_side = np.zeros((len(point.jacobian), len(equations.inputs)), dtype=complex)
    right_side[:m] = equations.N_u
    response = np.zeros((len(frequencies), len(equations.N_y), len(equations.inputs)), dtype=complex)
    for k, frequency in enumerate(frequencies):
        system = point.jacobian.astype(complex)
        c = np.array(equations.coefficient_values(values, 2j * math.pi * frequency), dtype=complex)
        system[:m, :m] = equations.M.dense(c)
        scale = np.abs(system).max(axis=1, initial=1e-300)[:, None]
        response[k] = equations.N_y @ np.linalg.solve(system / scale, right_side / scale)[:m]
    return response


def decibels(response: NDArray[Any]) -> NDArray[np.float64]:
    """20 log10 |response|, not below FLOOR."""
    levels: NDArray[np.float64] = 20.0 * np.log10(np.maximum(np.abs(response), 10.0 ** (FLOOR / 20.0)))
    return levels


def unit(circuit: Circuit, name: str) -> str:
    """The unit of a value by name ("R4", "DCLIP.is", "drive"); "" for a pure number or where the netlist has none."""
    model, _, parameter = name.rpartition(".")
    if model in circuit.models:
        known = MODEL_KINDS[circuit.models[model].kind].parameters.get(parameter)
        return "" if known is None else known.unit.replace("ohm", "Ω")
    return "" if name in circuit.parameters else _ELEMENT_UNITS.get(name[:1], "")


def show(circuit: Circuit, name: str, value: float) -> str:
    """A value as people write it: "4.7 kΩ"; a pure number without a prefix unless it is large."""
    symbol = unit(circuit, name)
    if not symbol and 1e-4 <= abs(value) < 1e3:
        return f"{value:.4g}"
    return format_value(value, symbol)


def _tolerance(circuit: Circuit, item: Learnable) -> float | None:
    if item.tolerance is not None or item.name in circuit.parameters or "." in item.name:
        return item.tolerance
    kind = item.name[0]
    return circuit.tolerances.get(kind, DEFAULT_TOLERANCES.get(kind))


def _unused_parameters(circuit: Circuit, equations: Equations) -> tuple[str, ...]:
    used = {name for _, name in equations.coefficients}
    for device in equations.devices:
        symbols = {symbol.name for rule in device.law.coefficients.values() for symbol in rule.free_symbols}
        used |= {key for name, keys in device.sources.items() if name in symbols for key in keys}
    given = [f"{model.name}.{name}" for model in circuit.models.values() for name in model.parameters]
    return tuple(name for name in given if name not in used)


def plot_response(inspection: Inspection, path: str | os.PathLike[str]) -> None:
    """Write magnitude and phase over frequency as PNG; the file appears complete or not at all. Raises OutputError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for row, output in enumerate(inspection.outputs):
        for column, source in enumerate(inspection.circuit.inputs):
            curve = inspection.response[:, row, column]
            upper.semilogx(inspection.frequencies, decibels(curve), label=f"{source} to {output}")
            lower.semilogx(inspection.frequencies, np.degrees(np.unwrap(np.angle(curve))))
    upper.set(title=_literal(inspection.circuit.title) or "small-signal response", ylabel="gain [dB]")
    lower.set(
        xlabel="frequency [Hz]", ylabel="phase [degrees]", xlim=inspection.frequencies[:: len(PLOT_FREQUENCIES) - 1]
    )
    upper.legend(frameon=False)
    for axes in (upper, lower):
        axes.grid(True, which="both", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    _write_atomically(Path(path), image.getvalue())


def _literal(text: str) -> str:
    # A dollar sign would start a formula.
    return text.replace("$", r"\$")


def _write_atomically(path: Path, content: bytes) -> None:
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    try:
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
