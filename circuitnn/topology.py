"""Checks on the graph of a circuit that name the culprit, instead of leaving a singular matrix to be found later."""

from __future__ import annotations

from collections.abc import Iterable

from circuitnn.circuit import GROUND, Circuit, Element, voltage_nodes
from circuitnn.devices import MODEL_KINDS
from circuitnn.errors import CircuitError


class _Groups:
    """Disjoint sets of nodes (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, node: str) -> str:
        parents = self._parent
        while (parent := parents.setdefault(node, node)) != node:
            # Every node on the way moves up to its grandparent, so that no way stays long.
            parents[node] = node = parents[parent]
        return node

    def join(self, a: str, b: str) -> bool:
        """Unite the sets of a and b; False if they were one already."""
        root_a, root_b = self.find(a), self.find(b)
        self._parent[root_a] = root_b
        return root_a != root_b


def _branches(circuit: Circuit, element: Element) -> Iterable[tuple[str, str]]:
    """Pairs of nodes between which the element conducts. Current sources fix no voltage, so they have none."""
    if element.behaviour is not None and element.behaviour.quantity == "current":
        # A current that follows the voltage across it is a conductance of a kind, as from plate to cathode of a tube.
        sensed = map(voltage_nodes, element.behaviour.formula.free_symbols)
        return ((element.nodes[0], element.nodes[1]),) if any(_same(pair, element.nodes) for pair in sensed) else ()
    if element.model is not None:
        kind = MODEL_KINDS[circuit.models[element.model].kind]
        nodes = dict(zip(kind.family.terminals, element.nodes, strict=True))
        return [(nodes[plus], nodes[minus]) for plus, minus in kind.conducting]
    if element.kind in "IFGK":
        return ()
    plus, minus, *_ = element.nodes
    return ((plus, minus),)


def _same(pair: tuple[str, str] | None, nodes: tuple[str, ...]) -> bool:
    return pair is not None and set(pair) == set(nodes)


def check(circuit: Circuit) -> None:
    """Raise CircuitError for a circuit without ground, with a floating node, or with a loop of voltage sources."""
    nodes = circuit.nodes
    if not any(GROUND in element.nodes for element in circuit.elements):
        raise CircuitError(
            f"no element is connected to ground; the nodes are {_list(nodes)}", "call the reference node 0 or gnd"
        )
    groups = _Groups()
    for element in circuit.elements:
        for a, b in _branches(circuit, element):
            groups.join(a, b)
    floating = [node for node in nodes if groups.find(node) != groups.find(GROUND)]
    if floating:
        culprits = [element.name for element in circuit.elements if set(element.nodes) & set(floating)]
        raise CircuitError(
            f"floating node: nothing that conducts connects {_list(floating)} to ground "
            f"(elements there: {_list(culprits)})",
            "connect it, for example by a large resistor to ground; current sources and sensing inputs do not hold "
            "a voltage",
        )
    loop = _voltage_loop(circuit)
    if loop:
        raise CircuitError(
            f"loop of voltage sources or inductors at DC: {_list(loop)}",
            "put a small resistor in series with one of them",
        )


def _voltage_loop(circuit: Circuit) -> list[str]:
    """The elements of a loop made of V, E, H, L and behavioural voltages alone, empty if there is none.

    The current in such a loop is undetermined.
    """
    groups = _Groups()
    edges: list[Element] = []
    for element in circuit.elements:
        if element.kind in "VEHL" or (element.behaviour is not None and element.behaviour.quantity == "voltage"):
            if not groups.join(*element.nodes[:2]):
                return [*_path(edges, *element.nodes[:2]), element.name]
            edges.append(element)
    return []


def _path(edges: list[Element], start: str, goal: str) -> list[str]:
    """Names of the elements on the (only) path from start to goal in a forest of edges."""
    stack: list[tuple[str, list[str]]] = [(start, [])]
    while stack:
        node, names = stack.pop()
        if node == goal:
            return names
        for edge in edges:
            if edge.name not in names and node in edge.nodes[:2]:
                a, b = edge.nodes[:2]
                stack.append((b if node == a else a, [*names, edge.name]))
    return []


def without_dc_path(circuit: Circuit) -> tuple[str, ...]:
    """Nodes that only capacitors connect to ground: nothing defines their voltage at DC."""
    groups = _Groups()
    for element in circuit.elements:
        if element.kind != "C":
            for a, b in _branches(circuit, element):
                groups.join(a, b)
    return tuple(node for node in circuit.nodes if groups.find(node) != groups.find(GROUND))


def _list(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
