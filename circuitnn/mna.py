"""Modified nodal analysis: from a circuit to the stamps of its equations, without fixing any value.

With a differentiation factor d (2/T trapezoidal, 1/T backward Euler, j omega for AC, 0 at DC) the equations are

    M z = N_x x + N_u u + N_s s - N_n i,    v = N_n^T z,    y = N_y z,    q = G_q z

z: node voltages, then currents of the branches without admittance (V, E, H, L, and resistors that may be 0 ohm or
whose current is sensed);
x: history of the reactive branches; u: inputs; s: constant sources; i, v: current through and voltage across the
ports of the nonlinear devices, a current being positive when it flows into the + terminal of the device;
q: capacitor current terms d C v and inductor currents, from which the next history follows.
Matrices are sums of entries sign * c, where c is 1, a value, its reciprocal, or d times a value. See Ho, Ruehli and
Brennan, "The modified nodal approach to network analysis", IEEE Trans. Circuits and Systems 22 (1975).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitnn import couplings, devices, topology
from circuitnn.affine import Affine, linear_source
from circuitnn.circuit import GROUND, Circuit, DeviceModel, Element, current_element, voltage_nodes
from circuitnn.devices import MODEL_KINDS, ZERO_CELSIUS, Law
from circuitnn.errors import CircuitError
from circuitnn.stamp import Entries, Stamp
from circuitnn.substitution import without_intermediate_nodes
from circuitnn.symbolic import NUMPY
from circuitnn.values import resolve

# What holds a node at DC that only capacitors connect to the rest, in siemens.
LEAK = 1e-12
# Matrices are dense: with as many unknowns, one of complex numbers takes 256 MiB.
MAX_UNKNOWNS = 4096

# How an entry's magnitude follows from a value.
UNITY, VALUE, RECIPROCAL, DIFFERENTIATED = "unity", "value", "reciprocal", "differentiated"


@dataclass(frozen=True)
class Device:
    """One nonlinear device: its law, where each of the law's parameters has its value, and the port positions.

    sources: parameter name -> tuple of keys into `values.resolve`, whose values add up (areas of merged junctions).
    """

    name: str
    law: Law
    first_port: int
    sources: Mapping[str, tuple[str, ...]]

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The law's parameters: from `values` where the netlist gives them, else the law's defaults."""
        found: dict[str, Any] = {}
        for name, parameter in self.law.parameters.items():
            keys = self.sources.get(name, ())
            found[name] = sum((values[key] for key in keys[1:]), values[keys[0]]) if keys else parameter.default
        return found

    def temperature(self, values: Mapping[str, Any], ambient: float) -> Any:
        """In kelvin: that of the circuit, unless the element has a `temp` of its own (in degrees Celsius)."""
        (key,) = self.sources.get("temp", ("",))
        return values[key] + ZERO_CELSIUS if key else ambient


@dataclass(frozen=True)
class Equations:
    """The stamps of a circuit. Shapes: M [m, m], N_x [m, n_x], N_u [m, n_u], N_s [m, n_s], N_n [m, n_n], N_y [n_y, m],
    G_q [n_x, m]; leak [m]: conductance to ground, at DC only, of nodes that would be undefined there."""

    unknowns: tuple[str, ...]
    states: tuple[str, ...]
    ports: tuple[str, ...]
    inputs: tuple[str, ...]
    sources: tuple[str, ...]
    devices: tuple[Device, ...]
    coefficients: tuple[tuple[str, str], ...]
    M: Stamp
    N_x: Stamp
    G_q: Stamp
    N_u: NDArray[np.float64]
    N_s: NDArray[np.float64]
    N_n: NDArray[np.float64]
    N_y: NDArray[np.float64]
    leak: NDArray[np.float64]

    def coefficient_values(self, values: Mapping[str, Any], factor: Any) -> list[Any]:
        """c, in order of `coefficients`, for resolved values and a differentiation factor in 1/s."""
        rules: dict[str, Callable[[str], Any]] = {
            UNITY: lambda name: 1.0,
            VALUE: lambda name: values[name],
            RECIPROCAL: lambda name: 1.0 / values[name],
            DIFFERENTIATED: lambda name: factor * values[name],
        }
        return [rules[rule](name) for rule, name in self.coefficients]

    def source_values(self, values: Mapping[str, Any]) -> list[Any]:
        """s: the values of the constant sources, in volt or ampere."""
        return [values[name] for name in self.sources]


class _Builder:
    """Collects entries element by element. Rows and columns of ground are -1 and dropped."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.unknowns = [f"v({node})" for node in circuit.nodes]
        self.node_index = {GROUND: -1} | {node: k for k, node in enumerate(circuit.nodes)}
        self.coefficients: dict[tuple[str, str], int] = {(UNITY, ""): 0}
        self.M, self.N_x, self.G_q = Entries(), Entries(), Entries()
        self.states: list[str] = []
        self.inputs: dict[str, dict[int, float]] = {name: {} for name in circuit.inputs}
        self.sources: dict[str, dict[int, float]] = {}
        # Each port's name and column of N_n.
        self.ports: list[tuple[str, dict[int, float]]] = []
        self.devices: list[Device] = []
        self.networks = {name: network for network in circuit.networks for name in network.elements}
        # The rows of the unknown currents, by element.
        self.branches: dict[str, int] = {}
        self.sensed = {
            name
            for element in circuit.elements if element.behaviour is not None
            for name in map(current_element, element.behaviour.formula.free_symbols) if name is not None
        }  # fmt: skip

    def coefficient(self, rule: str, name: str = "") -> int:
        return self.coefficients.setdefault((rule, name), len(self.coefficients))

    def add(self, entries: Entries, row: int, column: int, sign: float, rule: str = UNITY, name: str = "") -> None:
        if row >= 0 and column >= 0:
            entries.items.append((row, column, sign, self.coefficient(rule, name)))

    def branch(self, name: str, plus: int, minus: int, rule: str = UNITY, factor: str = "") -> int:
        """A new unknown: the current of a branch from plus to minus; its row starts as v(plus) - v(minus), times
        rule(factor)."""
        row = self.branches[name] = len(self.unknowns)
        self.unknowns.append(f"i({name})")
        for node, sign in ((plus, 1.0), (minus, -1.0)):
            self.add(self.M, node, row, sign)
            self.add(self.M, row, node, sign, rule, factor)
        return row

    def conductance(self, rows: tuple[int, int], columns: tuple[int, int], rule: str, name: str) -> None:
        """The current rule(name) * (v(columns[0]) - v(columns[1])) flows from rows[0] to rows[1]."""
        for row, row_sign in zip(rows, (1.0, -1.0), strict=True):
            for column, column_sign in zip(columns, (1.0, -1.0), strict=True):
                self.add(self.M, row, column, row_sign * column_sign, rule, name)

    def element(self, element: Element) -> None:
        name = element.name
        plus, minus, *sense = (self.node_index[node] for node in element.nodes)
        match element.kind:
            case "R":
                if self.may_be_zero(element) or name in self.sensed:
                    row = self.branch(name, plus, minus)
                    self.add(self.M, row, row, -1.0, VALUE, name)
                else:
                    self.conductance((plus, minus), (plus, minus), RECIPROCAL, name)
            case "C":
                self.conductance((plus, minus), (plus, minus), DIFFERENTIATED, name)
                state = self.state(name)
                for node, sign in ((plus, 1.0), (minus, -1.0)):
                    self.add(self.N_x, node, state, sign)
                    self.add(self.G_q, state, node, sign, DIFFERENTIATED, name)
            case "L":
                row = self.branch(name, plus, minus)
                state = self.state(name)
                self.add(self.M, row, row, -1.0, DIFFERENTIATED, name)
                self.add(self.N_x, row, state, -1.0, DIFFERENTIATED, name)
                self.add(self.G_q, state, row, 1.0)
            case "H":
                self.branch(name, plus, minus)
            case "V":
                self.source(name, {self.branch(name, plus, minus): 1.0})
            case "I":
                self.source(name, {plus: -1.0, minus: 1.0})
            case "E":
                row = self.branch(name, plus, minus)
                self.add(self.M, row, sense[0], -1.0, VALUE, name)
                self.add(self.M, row, sense[1], 1.0, VALUE, name)
            case "G":
                self.conductance((plus, minus), (sense[0], sense[1]), VALUE, name)

    def current_controlled(self, element: Element) -> None:
        """F: value times the sensed current flows from + to -; H: v(+) - v(-) is value times the sensed current."""
        column = self.branches[element.branches[0]]
        if element.kind == "H":
            self.add(self.M, self.branches[element.name], column, -1.0, VALUE, element.name)
            return
        for node, sign in zip(element.nodes, (1.0, -1.0), strict=True):
            self.add(self.M, self.node_index[node], column, sign, VALUE, element.name)

    def coupling(self, element: Element) -> None:
        """The voltage d M (i - x) that the current of each inductor makes in the other."""
        mutual = f"{element.name}.mutual"
        rows = [self.branches[name] for name in element.branches]
        states = [self.states.index(name) for name in element.branches]
        for row, other, state in zip(rows, reversed(rows), reversed(states), strict=True):
            self.add(self.M, row, other, -1.0, DIFFERENTIATED, mutual)
            self.add(self.N_x, row, state, -1.0, DIFFERENTIATED, mutual)

    def may_be_zero(self, element: Element) -> bool:
        """A resistor that is, or at some knob position may be, 0 ohm: its current is an unknown of its own."""
        assert element.value is not None
        return bool(element.value.free_symbols) or float(element.value) == 0.0

    def state(self, name: str) -> int:
        self.states.append(name)
        return len(self.states) - 1

    def source(self, name: str, rows: dict[int, float]) -> None:
        (self.inputs if name in self.inputs else self.sources)[name] = rows

    def bundles(self, elements: Iterable[Element]) -> Iterable[list[Element]]:
        """Diodes of one model between the same two nodes are one device, whichever way round they stand, and so are
        those of a network."""
        bundles: dict[tuple[object, ...], list[Element]] = {}
        for element in elements:
            if element.name in self.networks:
                bundles.setdefault((self.networks[element.name].name, "network"), []).append(element)
                continue
            model = self.circuit.models[element.model or ""]
            kind = MODEL_KINDS[model.kind]
            effects = self.effects(model)
            # Only the plain law has one for a pair; a series resistance belongs to one device.
            alone = kind.pair is None or kind.resistances.keys() & effects or element.parameters
            if alone or kind.law(effects) is not kind.laws[-1][0]:
                bundles[element.name,] = [element]
            else:
                bundles.setdefault((frozenset(element.nodes), model.name), []).append(element)
        return bundles.values()

    def semiconductor(self, bundle: list[Element]) -> None:
        """One device, or several of one model as one."""
        first = bundle[0]
        model = self.circuit.models[first.model or ""]
        kind = MODEL_KINDS[model.kind]
        sources: dict[str, tuple[str, ...]] = {key: (f"{model.name}.{key}",) for key in model.parameters}
        sources |= {key: (f"{first.name}.{key}",) for key in first.parameters}
        sources["area"] = tuple(f"{e.name}.area" for e in bundle if e.nodes == first.nodes)
        effects = self.effects(model)
        law = kind.law(effects)
        if turned := tuple(f"{e.name}.area" for e in bundle if e.nodes != first.nodes):
            assert kind.pair is not None
            law, sources["reverse_area"] = kind.pair, turned
        if network := self.networks.get(first.name):
            law = devices.learned_diode(network.units, both=bool(turned))
            sources |= {weight: (f"{network.name}.{weight}",) for weight in network.weights}
            if network.reach is not None:
                sources["reach"] = (f"{network.name}.reach",)
        terminals = dict(zip(kind.family.terminals, (self.node_index[node] for node in first.nodes), strict=True))
        for parameter, terminal in kind.resistances.items():
            if parameter in effects:
                key = f"{model.name}.{parameter}"
                terminals[terminal] = self.series_resistance(first.name, parameter, terminals[terminal], key)
        columns = list[dict[int, float]]()
        for port in kind.ports:
            if port == devices.SENSED_CURRENT:
                columns.append(self.port(first, first.branches[0]))
            else:
                plus, minus = (terminals[terminal] for terminal in (reversed(port) if kind.reversed else port))
                columns.append(_difference(plus, minus))
        self.device("|".join(element.name for element in bundle), law, sources, columns)

    def effects(self, model: DeviceModel) -> set[str]:
        """The parameters of a .model card that count: one of 0 says that there is no such effect, unless it is marked
        to be learned."""
        marked = {learnable.name for learnable in self.circuit.learn}
        return {name for name, value in model.parameters.items() if value != 0 or f"{model.name}.{name}" in marked}

    def series_resistance(self, name: str, parameter: str, outer: int, key: str) -> int:
        """An inner node of the device `name` behind the resistance `key` (ohm times area), which may be 0."""
        inner = len(self.unknowns)
        self.unknowns.append(f"v({name.lower()}#{parameter})")
        row = self.branch(f"{name}#{parameter}", outer, inner, VALUE, f"{name}.area")
        self.add(self.M, row, row, -1.0, VALUE, key)
        return inner

    def behavioural(self, bundle: list[Element]) -> None:
        """A behavioural source, or several as one device."""
        device = devices.behavioural_device(bundle)
        ports = [self.port(bundle[0], port) for port in device.ports]
        name = "|".join(element.name for element in bundle)
        self.device(name, device.law, {key: (value,) for key, value in device.parameters.items()}, ports)

    def linear(self, element: Element, source: Affine) -> None:
        """A behavioural source that is a sum of slopes times voltages and currents, and an offset."""
        assert element.behaviour is not None
        name, (plus, minus) = element.name, (self.node_index[node] for node in element.nodes)
        if element.behaviour.quantity == "voltage":
            row = self.branch(name, plus, minus)
            rows = {row: -1.0}
            self.source(f"{name}.offset", {row: 1.0})
        else:
            rows = _difference(plus, minus)
            self.source(f"{name}.offset", {node: -sign for node, sign in rows.items()})
        for signal in source.slopes:
            key = f"{name}.{signal.name}"
            for column, weight in self.signal(element, voltage_nodes(signal) or current_element(signal) or "").items():
                for row, sign in rows.items():
                    self.add(self.M, row, column, sign * weight, VALUE, key)

    def port(self, element: Element, port: tuple[str, str] | str) -> dict[int, float]:
        """The column of N_n of a behavioural source's port."""
        scale = 1.0 / devices.AMPERE_PER_VOLT if isinstance(port, str) else 1.0
        return {row: scale * weight for row, weight in self.signal(element, port).items()}

    def signal(self, element: Element, sensed: tuple[str, str] | str) -> dict[int, float]:
        """The unknowns whose weighted sum an element senses: a voltage between nodes (+, -), or another's current."""
        if isinstance(sensed, str):
            if sensed not in self.branches:
                raise CircuitError(f"{element.name} senses the current of {sensed}, which has none of its own")
            return {self.branches[sensed]: 1.0}
        if missing := [node for node in sensed if node not in self.node_index]:
            raise CircuitError(f"{element.name} senses node {missing[0]!r}, which is not in the circuit")
        plus, minus = sensed
        return _difference(self.node_index[plus], self.node_index[minus])

    def device(
        self, name: str, law: Law, sources: Mapping[str, tuple[str, ...]], ports: Iterable[dict[int, float]]
    ) -> None:
        """A nonlinear device. ports: the columns of N_n, in the order of the law's variables."""
        self.devices.append(Device(name, law, len(self.ports), sources))
        for variable, column in zip(law.variables, ports, strict=True):
            self.ports.append((f"{name}.{variable.name}", column))

    def incidence(self, columns: Iterable[Mapping[int, float]]) -> NDArray[np.float64]:
        listed = list(columns)
        matrix = np.zeros((len(self.unknowns), len(listed)))
        for k, column in enumerate(listed):
            for row, sign in column.items():
                if row >= 0:
                    matrix[row, k] += sign
        return matrix

    def equations(self) -> Equations:
        m, n_x = len(self.unknowns), len(self.states)
        outputs = [((self.node(plus), 1.0), (self.node(minus), -1.0)) for plus, minus in self.circuit.outputs]
        return Equations(
            unknowns=tuple(self.unknowns),
            states=tuple(self.states),
            ports=tuple(name for name, _ in self.ports),
            inputs=tuple(self.inputs),
            sources=tuple(self.sources),
            devices=tuple(self.devices),
            coefficients=tuple(self.coefficients),
            M=self.M.stamp(m, m),
            N_x=self.N_x.stamp(m, n_x),
            G_q=self.G_q.stamp(n_x, m),
            N_u=self.incidence(self.inputs.values()),
            N_s=self.incidence(self.sources.values()),
            N_n=self.incidence(column for _, column in self.ports),
            N_y=self.incidence(dict(pair) for pair in outputs).T.copy(),
            leak=self.leak(),
        )

    def leak(self) -> NDArray[np.float64]:
        leak = np.zeros(len(self.unknowns))
        leak[[self.node_index[node] for node in topology.without_dc_path(self.circuit)]] = LEAK
        return leak

    def node(self, name: str) -> int:
        if name not in self.node_index:
            raise CircuitError(f"output node {name!r} is not in the circuit", f"nodes: {', '.join(self.circuit.nodes)}")
        return self.node_index[name]


def _difference(plus: int, minus: int) -> dict[int, float]:
    # Both terminals on one node: the port is short-circuited and drives nothing.
    return {} if plus == minus else {plus: 1.0, minus: -1.0}


def build_equations(circuit: Circuit) -> Equations:
    """The equations of a circuit. Nodes that are only steps of formulas have none, see substitution.py.

    Raises CircuitError if it has no ground, a floating node, a loop of voltages or impossible couplings, and if it is
    too large.
    """
    topology.check(circuit)
    couplings.check(circuit, resolve(circuit, {}, NUMPY))
    circuit = without_intermediate_nodes(circuit)
    builder = _Builder(circuit)
    for element in circuit.elements:
        if element.behaviour is None and element.model is None and element.kind not in "FK":
            builder.element(element)
    # What refers to currents comes when all of them are known.
    for element in circuit.elements:
        if (linear := linear_source(element)) is not None:
            builder.linear(element, linear)
        elif element.kind == "K":
            builder.coupling(element)
        elif element.kind in "FH":
            builder.current_controlled(element)
    nonlinear = [e for e in circuit.elements if e.behaviour is not None and linear_source(e) is None]
    for bundle in devices.bundled_sources(nonlinear):
        builder.behavioural(bundle)
    for bundle in builder.bundles(element for element in circuit.elements if element.model is not None):
        builder.semiconductor(bundle)
    count = len(builder.unknowns) + len(builder.ports)
    if count > MAX_UNKNOWNS:
        raise CircuitError(
            f"the circuit has {count} unknown voltages and currents, more than the limit of {MAX_UNKNOWNS}",
            "leave out what cannot be heard, or describe a part of the circuit in a netlist of its own",
        )
    return builder.equations()
