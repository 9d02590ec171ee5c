"""Voltages that are only intermediate results of formulas, written out where they are used.

Macromodels, above all those of tubes, compute in steps: an E or B source makes a voltage at a node of its own, and the
formula of the next source senses it. To the solver each step is a device with ports of its own. Here v(node) is
replaced by the formula behind it, and where nothing else is connected to the node, the source and the node are left
out: the triode of N. Koren ("Improved vacuum tube models for SPICE simulations", Glass Audio 8 (1996) 5) has 2 ports
instead of 5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr, Integer

from circuitnn.affine import affine
from circuitnn.circuit import GROUND, Circuit, Element, current_element, voltage, voltage_nodes

# A formula is written out as long as its tree is not larger: parts that occur twice count twice.
MAX_SIZE = 2_000
MAX_DEPTH = 60
# How many definitions lead from one to the next before a voltage is taken as it is.
MAX_CHAIN = 8
# Elements that may hang from such a node to ground, as simulators want: they take no part in anything.
_IDLE = "RC"


def without_intermediate_nodes(circuit: Circuit) -> Circuit:
    """The circuit with the intermediate voltages of its formulas written out; itself if it has none."""
    definitions = _definitions(circuit)
    if not definitions:
        return circuit
    writing = _Writing(definitions)
    readers = Counter(node for element in circuit.elements if _is_linear(element) for node in _sensed_nodes(element))
    elements = tuple(_written_out(element, writing, readers) for element in circuit.elements)
    idle = _idle_nodes(circuit, elements, definitions)
    kept = tuple(element for element in elements if not idle.intersection(element.nodes))
    return replace(circuit, elements=kept)


def _definitions(circuit: Circuit) -> dict[str, Expr]:
    """Node -> the formula of its voltage over ground, for the nodes that a behavioural source holds."""
    found = {}
    for element in circuit.elements:
        if element.behaviour is not None and element.behaviour.quantity == "voltage":
            plus, minus = element.nodes
            formula = element.behaviour.formula
            if minus == GROUND:
                found[plus] = formula
            elif plus == GROUND:
                found[minus] = _negative(formula)
    return found


def _written_out(element: Element, writing: _Writing, readers: Mapping[str, int]) -> Element:
    if element.behaviour is None:
        return element
    if _is_linear(element):
        # A linear source needs no port, so it stays one; but the only one that reads a step takes the step's place.
        steps = [
            n for n in _sensed_nodes(element) if n in writing.definitions and affine(writing.definitions[n]) is None
        ]
        if not steps or any(readers[node] > 1 for node in steps):
            return element
    formula = writing.formula(element.behaviour.formula)
    return element if formula is None else replace(element, behaviour=replace(element.behaviour, formula=formula))


def _is_linear(element: Element) -> bool:
    return element.behaviour is not None and affine(element.behaviour.formula) is not None


def _idle_nodes(circuit: Circuit, elements: tuple[Element, ...], definitions: Mapping[str, Expr]) -> set[str]:
    """The nodes of `definitions` that nothing needs: each has its source and perhaps idle elements to ground."""
    idle = set(definitions) - {node for pair in circuit.outputs for node in pair}
    currents = {
        name
        for element in elements
        for name in (*element.branches, *map(current_element, _signals(element)))
        if name is not None
    }
    for element in elements:
        hangs = element.kind in _IDLE and GROUND in element.nodes and element.name not in currents
        holds = element.behaviour is not None and element.behaviour.quantity == "voltage" and GROUND in element.nodes
        if not hangs and not (holds and element.name not in currents):
            idle.difference_update(element.nodes)
    while needed := {
        node
        for element in elements
        if not idle.intersection(element.nodes)
        for node in _sensed_nodes(element)
        if node in idle
    }:
        idle -= needed
    return idle


def _sensed_nodes(element: Element) -> set[str]:
    return {node for pair in map(voltage_nodes, _signals(element)) if pair is not None for node in pair}


def _signals(element: Element) -> set[sympy.Symbol]:
    return set() if element.behaviour is None else element.behaviour.formula.free_symbols


@dataclass
class _Writing:
    """Writes formulas out. sizes: size and depth of the trees that have been written."""

    definitions: Mapping[str, Expr]
    written: dict[str, Expr | None] = field(default_factory=dict)
    chain: int = 0
    sizes: dict[sympy.Basic, tuple[int, int]] = field(default_factory=dict)

    def formula(self, formula: Expr) -> Expr | None:
        """The formula with all defined voltages written out; None if it has none, or cannot be written so."""
        try:
            replaced = self._replaced(formula, {})
        except _ChoiceInConditionError:
            return None
        size, depth = self._measure(replaced)
        return None if replaced is formula or size > MAX_SIZE or depth > MAX_DEPTH else replaced

    def _potential(self, node: str) -> Expr:
        """The voltage of a node over ground, written out if it can be."""
        if node == GROUND:
            return Integer(0)
        if node not in self.definitions or (node not in self.written and self.chain == MAX_CHAIN):
            return voltage(node)
        if node not in self.written:
            # Whoever comes back here has gone round a loop, and takes the voltage as it is.
            self.written[node] = None
            definition = self.definitions[node]
            self.chain += 1
            longer = self.formula(definition)
            self.chain -= 1
            self.written[node] = definition if longer is None else longer
        written = self.written[node]
        return voltage(node) if written is None else written

    def _replaced(self, node: sympy.Basic, known: dict[sympy.Basic, sympy.Basic]) -> sympy.Basic:
        if node in known:
            return known[node]
        if isinstance(node, sympy.Symbol):
            pair = voltage_nodes(node)
            known[node] = node if pair is None or not set(pair) & set(self.definitions) else self._difference(*pair)
        elif not node.args:
            known[node] = node
        else:
            parts = [self._replaced(part, known) for part in node.args]
            if isinstance(node, sympy.Rel) and any(part.has(sympy.Piecewise) for part in parts):
                raise _ChoiceInConditionError
            same = all(new is old for new, old in zip(parts, node.args, strict=True))
            known[node] = node if same else _rebuilt(node, parts)
        return known[node]

    def _difference(self, plus: str, minus: str) -> Expr:
        upper, lower = self._potential(plus), self._potential(minus)
        if minus == GROUND:
            return upper
        return _negative(lower) if plus == GROUND else sympy.Add(upper, _negative(lower), evaluate=False)

    def _measure(self, node: sympy.Basic) -> tuple[int, int]:
        if node not in self.sizes:
            parts = [self._measure(part) for part in node.args]
            self.sizes[node] = 1 + sum(s for s, _ in parts), 1 + max((depth for _, depth in parts), default=0)
        return self.sizes[node]


class _ChoiceInConditionError(Exception):
    """The condition of a choice cannot hold another one (see netlist/formulas.py)."""


def _rebuilt(node: sympy.Basic, parts: list[sympy.Basic]) -> sympy.Basic:
    # Unevaluated, as everything that comes from a netlist (see netlist/terms.py).
    return node.func(*parts) if isinstance(node, sympy.Tuple) else node.func(*parts, evaluate=False)


def _negative(expression: Expr) -> Expr:
    return sympy.Mul(Integer(-1), expression, evaluate=False)
