"""Numbers of a circuit: every element value, model parameter and .param, with some of them overridden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sympy import Expr, Float

from circuitnn import couplings
from circuitnn.affine import linear_source
from circuitnn.circuit import Circuit, symbol
from circuitnn.errors import CircuitError
from circuitnn.symbolic import Operations, evaluate_finite


def resolve(circuit: Circuit, overrides: Mapping[str, Any], operations: Operations) -> dict[str, Any]:
    """All values by name: "R4" (SI), "DCLIP.is", "drive", "D1.area", "D1.forward_3" (see circuit.DeviceNetwork),
    "K1.mutual" (henry), "B1.v(a)" (see affine.py).

    Expressions follow the overridden parameters. Raises CircuitError for a value that is not finite.
    """
    values: dict[str, Any] = {}

    def value_of(name: str, expression: Expr) -> Any:
        if name in overrides:
            return overrides[name]
        try:
            return evaluate_finite(expression, values, operations)
        except ArithmeticError:
            raise CircuitError(
                f"{name} has no finite real value at these settings: {expression}",
                "look for a division by zero, a root of a negative number or a power that is too large",
            ) from None

    for name, expression in circuit.parameters.items():
        values[name] = value_of(name, expression)
    for element in circuit.elements:
        if element.value is not None:
            values[element.name] = value_of(element.name, element.value)
        elif (source := linear_source(element)) is not None:
            for name, expression in source.values(element.name).items():
                values[name] = value_of(name, expression)
        else:
            for name, expression in {"area": element.area, **element.parameters}.items():
                key = f"{element.name}.{name}"
                values[key] = value_of(key, expression)
    for model in circuit.models.values():
        for name, expression in model.parameters.items():
            key = f"{model.name}.{name}"
            values[key] = value_of(key, expression)
    for network in circuit.networks:
        for name, expression in network.values.items():
            values[name] = value_of(name, expression)
        if network.reach is not None:
            values[f"{network.name}.reach"] = value_of(f"{network.name}.reach", network.reach)
    return values | couplings.mutual_inductances(circuit, values)


def formulas_of(circuit: Circuit, overrides: Mapping[str, float], kept: Sequence[str]) -> dict[str, Expr]:
    """As resolve, but without what belongs to devices and as formulas of the values `kept`, which stay symbols."""
    found: dict[str, Expr] = {}
    known: dict[Expr, Expr] = {}

    def formula(name: str, expression: Expr) -> Expr:
        if name in kept:
            return symbol(name)
        return Float(overrides[name]) if name in overrides else expression.subs(known)

    for name, expression in circuit.parameters.items():
        known[symbol(name)] = found[name] = formula(name, expression)
    for element in circuit.elements:
        if element.value is not None:
            found[element.name] = formula(element.name, element.value)
        elif (source := linear_source(element)) is not None:
            found |= {name: expression.subs(known) for name, expression in source.values(element.name).items()}
    for model in circuit.models.values():
        for name, expression in model.parameters.items():
            found[f"{model.name}.{name}"] = formula(f"{model.name}.{name}", expression)
    return found


def literal_values(circuit: Circuit) -> dict[str, float]:
    """Every value that is a plain number in the netlist, by name, in SI units: what a fit may in principle change."""
    found: dict[str, Expr | None] = {element.name: element.value for element in circuit.elements}
    for model in circuit.models.values():
        found |= {f"{model.name}.{name}": expression for name, expression in model.parameters.items()}
    for network in circuit.networks:
        found |= network.values
    found |= circuit.parameters
    return {name: float(value) for name, value in found.items() if value is not None and value.is_number}
