"""Circuit -> text that this program and ngspice read alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from pathlib import Path

from circuitnn.circuit import GROUND, Circuit, DeviceNetwork, Element
from circuitnn.devices import DIRECTIONS
from circuitnn.errors import CircuitnnError
from circuitnn.netlist.directives import canonical, literal, value_names
from circuitnn.netlist.formulas import closest
from circuitnn.netlist.printing import format_expression, format_formula, format_number, format_quantity
from circuitnn.netlist.reader import ZERO_CELSIUS
from circuitnn.netlist.terms import number
from circuitnn.placing import place_file
from circuitnn.tapers import position_at


def write_netlist(circuit: Circuit, path: str | Path, values: Mapping[str, float] | None = None) -> None:
    """Write a flat netlist, with `values` (as in format_netlist) in place of the nominal ones.

    The file appears complete or not at all. Raises OutputError.
    """
    place_file(Path(path), format_netlist(circuit, values))


def format_netlist(
    circuit: Circuit,
    values: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """The text of a flat netlist. values: numbers for elements (R4), model parameters (DCLIP.is) and .params (drive).
    What they replace stands in a comment, with the 95 % interval of those that have one in `intervals`.

    Only plain numbers can be replaced, not formulas. Raises CircuitnnError for another name.
    """
    nominal = {}
    for given, value in (values or {}).items():
        name = _replaceable(circuit, given)
        try:
            new = number(float(value))
        except (ArithmeticError, ValueError):
            raise CircuitnnError(f"{given}: {value} is not a finite number") from None
        ends = (intervals or {}).get(given)
        if ends is not None or float(literal(circuit, name)) != float(new):
            nominal[name] = _change(float(literal(circuit, name)), float(new), ends)
            circuit = _with_value(circuit, name, float(new))
    lines = [circuit.title]
    for block in (_directives(circuit), _definitions(circuit, nominal), _elements(circuit, nominal)):
        lines += ["*", *block] if block else []
    return "\n".join([*lines, ".end"]) + "\n"


def _change(old: float, new: float, ends: tuple[float, float] | None) -> str:
    if ends is None:
        return format_quantity(old)
    low, high = (format_quantity(end) if math.isfinite(end) else "unknown" for end in ends)
    return f"{format_quantity(old)} -> fitted {format_quantity(new)} (95 %: {low} to {high})"


def _replaceable(circuit: Circuit, given: str) -> str:
    name = canonical(circuit, given)
    if name is None:
        raise CircuitnnError(f"the circuit has no value called {given!r}", closest(given, value_names(circuit)))
    if not literal(circuit, name).is_Number:
        raise CircuitnnError(f"{name} is the formula {literal(circuit, name)}, which cannot be replaced by a number")
    return name


def _with_value(circuit: Circuit, name: str, value: float) -> Circuit:
    expression = number(value)
    if name in circuit.parameters:
        return replace(circuit, parameters={**circuit.parameters, name: expression})
    model, _, parameter = name.rpartition(".")
    if model in circuit.models and parameter in circuit.models[model].parameters:
        parameters = {**circuit.models[model].parameters, parameter: expression}
        return replace(circuit, models={**circuit.models, model: replace(circuit.models[model], parameters=parameters)})
    for position, network in enumerate(circuit.networks):
        if name in network.values:
            weights = {**network.weights, name.rpartition(".")[2]: expression}
            networks = list(circuit.networks)
            networks[position] = replace(network, weights=weights)
            return replace(circuit, networks=tuple(networks))
    elements = tuple(replace(e, value=expression) if e.name == name else e for e in circuit.elements)
    return replace(circuit, elements=elements)


def _directives(circuit: Circuit) -> list[str]:
    lines = [f"*@ input {name}" for name in circuit.inputs]
    lines += [f"*@ output {plus}" + (f" {minus}" if minus != GROUND else "") for plus, minus in circuit.outputs]
    for knob in circuit.knobs:
        position = position_at(knob.taper, float(circuit.parameters[knob.name]))
        lines.append(f"*@ knob {knob.name} {min(max(position, 0.0), 1.0):.6g} taper={knob.taper}")
    for tolerance, group in groupby(circuit.learn, key=lambda learnable: learnable.tolerance):
        names = " ".join(learnable.name for learnable in group)
        lines.append(f"*@ learn {names}" + (f" tol={_percent(tolerance)}" if tolerance is not None else ""))
    lines += map(_network, circuit.networks)
    if circuit.tolerances:
        lines.append("*@ tol " + " ".join(f"{kind}={_percent(value)}" for kind, value in circuit.tolerances.items()))
    return lines


def _network(network: DeviceNetwork) -> str:
    """The *@ network card; weights stand there where one is not 1."""
    words = ["*@ network", *network.elements, f"units={network.units}"]
    if network.reach is not None:
        words.append(f"reach={format_number(float(network.reach))}")
    for direction in DIRECTIONS:
        weights = [float(value) for name, value in network.weights.items() if name.startswith(direction)]
        if any(weight != 1.0 for weight in weights):
            words.append(f"{direction}=({' '.join(map(format_number, weights))})")
    return " ".join(words)


def _percent(tolerance: float) -> str:
    text = f"{100 * tolerance:.6g}"
    return f"{text}%" if float(text) / 100 == tolerance else repr(tolerance)


def _definitions(circuit: Circuit, nominal: Mapping[str, str]) -> list[str]:
    lines = []
    celsius = Decimal(repr(circuit.temperature)) - ZERO_CELSIUS
    if celsius != 27:
        lines.append(f".temp {celsius.normalize():f}")
    for name, value in circuit.parameters.items():
        lines.append(f".param {name}={format_expression(value)}" + _comment(nominal.get(name)))
    for model in circuit.models.values():
        given = [f"{name.upper()}={format_expression(value)}" for name, value in model.parameters.items()]
        line = f".model {model.name} {model.kind.upper()}" + (f"({' '.join(given)})" if given else "")
        changed = {name: nominal.get(f"{model.name}.{name}") for name in model.parameters}
        lines.append(line + _comment(" ".join(f"{name}={old}" for name, old in changed.items() if old)))
    return lines


def _comment(nominal: str | None) -> str:
    return f" ; nominal {nominal}" if nominal else ""


def _elements(circuit: Circuit, nominal: Mapping[str, str]) -> list[str]:
    return [_element(e, e.name in circuit.inputs) + _comment(nominal.get(e.name)) for e in circuit.elements]


def _element(element: Element, is_input: bool) -> str:
    words = [element.name, *element.nodes, *element.branches]
    if element.model is not None:
        words.append(element.model)
        if element.area != 1:
            words.append(f"area={format_expression(element.area)}")
        words += [f"{name}={format_expression(value)}" for name, value in element.parameters.items()]
    elif element.behaviour is not None:
        letter = "I" if element.behaviour.quantity == "current" else "V"
        keyword = letter if element.kind == "B" else "VALUE"
        # Braces even around a number: a source is no plain value.
        words.append(f"{keyword}={{{format_formula(element.behaviour.formula)}}}")
    elif element.value is not None:
        value = format_expression(element.value)
        # With AC 1 on the inputs, an .ac card is all that a frequency response takes.
        words.append(f"DC {value} AC 1" if is_input else value)
    return " ".join(words)
