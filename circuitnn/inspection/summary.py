"""What is in a netlist: its parts, what a fit may change, and its operating point, from which every analysis starts.

Numbers come from numpy alone, so that an answer takes a second and needs neither torch nor a compiler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from circuitnn.circuit import DEFAULT_TOLERANCES, GROUND, Circuit, Learnable
from circuitnn.devices import MODEL_KINDS
from circuitnn.inspection.bias import ElementBias, bias
from circuitnn.inspection.formula import TransferFunction, transfer_function
from circuitnn.inspection.linearised import Linearised, linearise
from circuitnn.inspection.sensitivity import Sensitivities, sensitivities
from circuitnn.inspection.sweeps import KnobSweep, TransferCurve, knob_sweeps, transfer_curves
from circuitnn.mna import Equations, build_equations
from circuitnn.operating_point import OperatingPoint, operating_point
from circuitnn.symbolic import NUMPY
from circuitnn.tapers import position_at
from circuitnn.units import format_value
from circuitnn.values import resolve

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
    """A circuit at its operating point. The analyses are made when they are asked for; frequencies are in Hz.

    values: every value by name, as `values.resolve` gives them.
    """

    circuit: Circuit
    equations: Equations
    values: Mapping[str, float]
    point: OperatingPoint

    @property
    def states(self) -> tuple[str, ...]:
        """The reactive elements."""
        return self.equations.states

    @property
    def ports(self) -> tuple[str, ...]:
        """The ports of the nonlinear devices, as "Q1.v_be"."""
        return self.equations.ports

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs as people write them: "out", or "a - b" for a difference."""
        return tuple(plus if minus == GROUND else f"{plus} - {minus}" for plus, minus in self.circuit.outputs)

    @property
    def pairs(self) -> tuple[tuple[int, int, str], ...]:
        """(output, input, "VIN to out"): what a response leads from and to."""
        return tuple(
            (row, column, f"{source} to {output}")
            for row, output in enumerate(self.outputs)
            for column, source in enumerate(self.equations.inputs)
        )

    @property
    def knobs(self) -> tuple[KnobSetting, ...]:
        """The knobs in order of their cards."""
        positions = ((knob, float(self.values[knob.name])) for knob in self.circuit.knobs)
        return tuple(
            KnobSetting(knob.name, position_at(knob.taper, value), value, knob.taper) for knob, value in positions
        )

    @property
    def learnable(self) -> tuple[LearnableValue, ...]:
        """What the netlist marks to be learned."""
        circuit = self.circuit
        return tuple(
            LearnableValue(item.name, self.values[item.name], unit(circuit, item.name), _tolerance(circuit, item))
            for item in circuit.learn
        )

    @property
    def operating_point(self) -> dict[str, float]:
        """The DC voltage of every node that has an equation (see substitution.py)."""
        voltages = {f"v({node})": node for node in self.circuit.nodes}
        found = zip(self.equations.unknowns, self.point.z, strict=True)
        return {voltages[name]: float(value) for name, value in found if name in voltages}

    @property
    def unused(self) -> tuple[str, ...]:
        """Model parameters that no device law reads."""
        return _unused_parameters(self.circuit, self.equations)

    @cached_property
    def bias(self) -> tuple[ElementBias, ...]:
        """Current and power of every element."""
        return bias(self.circuit, self.equations, self.values, self.point)

    @property
    def supplies(self) -> tuple[ElementBias, ...]:
        """The constant sources. Their current and power are negative where they deliver."""
        return tuple(item for item in self.bias if item.name in self.equations.sources)

    @property
    def devices(self) -> tuple[ElementBias, ...]:
        """The nonlinear devices."""
        names = {device.name for device in self.equations.devices}
        return tuple(item for item in self.bias if item.name in names)

    @cached_property
    def linearised(self) -> Linearised:
        """The circuit for small signals: `response`, `impedances`, `poles`."""
        return linearise(self.equations, self.values, self.point)

    def sensitivities(self, frequencies: Sequence[float]) -> Sensitivities:
        """How the response depends on each value."""
        return sensitivities(self.circuit, self.equations, self.point, self.linearised, frequencies)

    def knob_sweeps(self, frequencies: Sequence[float]) -> tuple[KnobSweep, ...]:
        """The response along each knob. Raises ConvergenceError or CircuitError."""
        return knob_sweeps(self.circuit, self.equations, self.point, frequencies)

    def transfer_curves(self) -> tuple[TransferCurve, ...]:
        """Outputs over input voltage, of a nonlinear circuit that lets DC through. Raises ConvergenceError."""
        return transfer_curves(self.circuit, self.equations, self.values, self.point)

    def transfer_function(self, output: int = 0, source: int = 0) -> TransferFunction | None:
        """H(s) of a small linear circuit as a formula."""
        return transfer_function(self.equations, self.values, output, source)


def inspect(circuit: Circuit) -> Inspection:
    """A circuit at its operating point, with all that can be said without running it.

    Raises CircuitError for an ill-posed circuit and ConvergenceError if it has no operating point.
    """
    equations = build_equations(circuit)
    values = {name: float(value) for name, value in resolve(circuit, {}, NUMPY).items()}
    return Inspection(circuit, equations, values, operating_point(equations, values, circuit.temperature))


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
    # A parameter of 0 says itself that it has none.
    given = [f"{m.name}.{name}" for m in circuit.models.values() for name, value in m.parameters.items() if value != 0]
    return tuple(name for name in given if name not in used)
