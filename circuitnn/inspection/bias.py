"""Currents and powers at the operating point, element by element.

The current into an element at a node is what its entries contribute to Kirchhoff's current law there: those with its
value, its branch current, its source and its ports. So no kind of element needs a rule of its own, and the powers of
all elements add up to zero (Tellegen's theorem).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuitnn.circuit import GROUND, Circuit, Element
from circuitnn.devices import FAMILIES
from circuitnn.mna import Device, Equations
from circuitnn.operating_point import OperatingPoint, device_coefficients, law_values
from circuitnn.symbolic import NUMPY

Real = NDArray[np.float64]


@dataclass(frozen=True)
class ElementBias:
    """An element, or a bundle of diodes or behavioural sources that are one device ("D1|D2"), at rest.

    voltage: of the first node over the second, in volt; current: into the element at its first node, in ampere; power:
    absorbed, in watt, negative where it delivers. terminals: current into each terminal of devices with more than two,
    by its first letter, or by its node for a bundle of sources. controls: the voltages and currents that a nonlinear
    device follows, as "v(b1,e1)".
    """

    name: str
    voltage: float
    current: float
    power: float
    terminals: Mapping[str, float]
    controls: Mapping[str, float]


def bias(
    circuit: Circuit, equations: Equations, values: Mapping[str, float], point: OperatingPoint
) -> tuple[ElementBias, ...]:
    """Every element with nodes at rest, in order of the netlist. A bundle stands where its first element does."""
    rows = _rows(circuit, equations)
    currents = _currents(circuit, equations, values, point, rows)
    devices = {device.name: device for device in equations.devices}
    nodes = {k: unknown[2:-1] for k, unknown in enumerate(equations.unknowns) if unknown.startswith("v(")}
    voltages = {node: float(point.z[k]) for k, node in nodes.items()} | {GROUND: 0.0}
    first: dict[str, Element] = {}
    for element in circuit.elements:
        # A coupling carries no current, and what substitution.py leaves out none that matters.
        if element.nodes and voltages.keys() >= set(element.nodes):
            first.setdefault(rows[element.name], element)
    return tuple(
        _element_bias(name, element, _flowing(currents[name], nodes), voltages, devices.get(name), equations, point)
        for name, element in first.items()
    )


def _rows(circuit: Circuit, equations: Equations) -> dict[str, str]:
    """Element -> the name under which it is listed: that of its bundle, or its own."""
    names = {element.name: element.name for element in circuit.elements}
    return names | {name: device.name for device in equations.devices for name in device.name.split("|")}


def _currents(
    circuit: Circuit, equations: Equations, values: Mapping[str, float], point: OperatingPoint, rows: Mapping[str, str]
) -> dict[str, Real]:
    """The current into each listed element at every unknown; only those at nodes have that meaning."""
    found = {name: np.zeros(len(equations.unknowns)) for name in rows.values()}
    stamp, c = equations.M, np.array(equations.coefficient_values(values, 0.0), dtype=float)
    flowing = stamp.signs * c[stamp.coefficients] * point.z[stamp.columns]
    for row, column, coefficient, current in zip(stamp.rows, stamp.columns, stamp.coefficients, flowing, strict=True):
        _, value = equations.coefficients[coefficient]
        owner = _owner(value, rows) or _owner(equations.unknowns[column][2:-1], rows)
        if owner:
            found[owner][row] += current
    for k, name in enumerate(equations.sources):
        # The column of a voltage source has no entry at a node.
        found[_owner(name, rows)] -= equations.N_s[:, k] * values[name]
    for device in equations.devices:
        ports = slice(device.first_port, device.first_port + device.law.ports)
        coefficients = device_coefficients(device, values, circuit.temperature, NUMPY)
        _, currents = law_values(device.law, point.w[ports], coefficients, NUMPY)
        found[device.name] += equations.N_n[:, ports] @ np.array(currents, dtype=float)
    return found


def _owner(name: str, rows: Mapping[str, str]) -> str:
    """Where a value, branch or source is listed: "D1#rs" and "D1.area" belong to D1; "" for what is no element's."""
    while name and name not in rows:
        name = name[: max(name.rfind("."), name.rfind("#"), 0)]
    return rows.get(name, "")


def _flowing(currents: Real, nodes: Mapping[int, str]) -> dict[str, float]:
    """The current into an element at each of its nodes."""
    flowing = {nodes[k]: float(currents[k]) for k in np.flatnonzero(currents).tolist() if k in nodes}
    # What flows in elsewhere flows out to ground.
    return flowing | {GROUND: -sum(flowing.values())}


def _element_bias(
    name: str,
    element: Element,
    flowing: Mapping[str, float],
    voltages: Mapping[str, float],
    device: Device | None,
    equations: Equations,
    point: OperatingPoint,
) -> ElementBias:
    first, second = element.nodes[:2]
    return ElementBias(
        name,
        voltages[first] - voltages[second],
        flowing.get(first, 0.0) if first != second else 0.0,
        sum(current * voltages[node] for node, current in flowing.items()),
        _terminals(device, element, flowing) if device else {},
        _controls(device, equations, point) if device else {},
    )


def _terminals(device: Device, element: Element, currents: Mapping[str, float]) -> dict[str, float]:
    if element.behaviour is not None and "|" in device.name:
        return dict(currents)
    if len(element.nodes) < 3:
        return {}
    letters: dict[str, list[str]] = {}
    for terminal, node in zip(FAMILIES[element.kind].terminals, element.nodes, strict=True):
        letters.setdefault(node, []).append(terminal[0])
    # Terminals on one node have one current together.
    return {"+".join(together): currents.get(node, 0.0) for node, together in letters.items()}


def _controls(device: Device, equations: Equations, point: OperatingPoint) -> dict[str, float]:
    found = {}
    for port in range(device.first_port, device.first_port + device.law.ports):
        column = equations.N_n[:, port]
        sensed = np.flatnonzero(column)
        if any(equations.unknowns[k].startswith("i(") for k in sensed):
            # A sensed current, which the port has in a unit of its own.
            found[equations.unknowns[sensed[0]]] = float(point.z[sensed[0]])
        elif sensed.size:
            plus, minus = (
                next((equations.unknowns[k][2:-1] for k in sensed if column[k] == sign), GROUND) for sign in (1, -1)
            )
            found[f"v({plus})" if minus == GROUND else f"v({plus},{minus})"] = float(column @ point.z)
    return found
