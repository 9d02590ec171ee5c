"""Numbers of a circuit: every element value, model parameter and .param, with some of them overridden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr

from circuitnn.circuit import Circuit
from circuitnn.symbolic import Operations, evaluate


def resolve(circuit: Circuit, overrides: Mapping[str, Any], operations: Operations) -> dict[str, Any]:
    """All values by name: "R4" (SI), "DCLIP.is", "drive", "D1.area". Expressions follow the overridden parameters."""
    values: dict[str, Any] = {}

    def value_of(name: str, expression: Expr) -> Any:
        return overrides[name] if name in overrides else evaluate(expression, values, operations)

    for name, expression in circuit.parameters.items():
        values[name] = value_of(name, expression)
    for element in circuit.elements:
        if element.value is not None:
            values[element.name] = value_of(element.name, element.value)
        else:
            values[f"{element.name}.area"] = evaluate(element.area, values, operations)
    for model in circuit.models.values():
        for name, expression in model.parameters.items():
            key = f"{model.name}.{name}"
            values[key] = value_of(key, expression)
    return values


def literal_values(circuit: Circuit) -> dict[str, float]:
    """Every value that is a plain number in the netlist, by name, in SI units: what a fit may in principle change."""
    found: dict[str, Expr | None] = {element.name: element.value for element in circuit.elements}
    for model in circuit.models.values():
        found |= {f"{model.name}.{name}": expression for name, expression in model.parameters.items()}
    found |= circuit.parameters
    return {name: float(value) for name, value in found.items() if value is not None and value.is_number}
