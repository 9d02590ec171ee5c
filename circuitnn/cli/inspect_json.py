"""An inspection as one JSON object. Keys stay once they exist; docs/inspect.md describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitnn.inspection import Inspection
from circuitnn.inspection.bias import ElementBias
from circuitnn.inspection.linearised import decibels
from circuitnn.netlist.printing import format_formula

Frequencies = Sequence[float]


def as_json(found: Inspection, frequencies: Frequencies, analyses: Sequence[str]) -> dict[str, Any]:
    """What is always there, and one key for each of the analyses. Responses are nested by frequency, output, input."""
    response = found.linearised.response(frequencies)
    return {
        "title": found.circuit.title,
        "nodes": list(found.circuit.nodes),
        "states": list(found.states),
        "ports": list(found.ports),
        "inputs": list(found.circuit.inputs),
        "outputs": list(found.outputs),
        "knobs": {k.name: {"position": k.position, "value": k.value, "taper": k.taper} for k in found.knobs},
        "learnable": {
            item.name: {"nominal": item.nominal, "unit": item.unit, "tolerance": item.tolerance}
            for item in found.learnable
        },
        "networks": {
            "|".join(network.elements): {name: float(value) for name, value in network.weights.items()}
            for network in found.circuit.networks
        },
        "operating_point": found.operating_point,
        "supplies": {
            item.name: {"voltage": item.voltage, "current": -item.current, "power": -item.power}
            for item in found.supplies
        },
        "devices": {item.name: _bias(item) for item in found.devices},
        "response": {
            "frequency": list(frequencies),
            "gain_db": decibels(response.gain).tolist(),
            "phase_degrees": _degrees(response.gain),
            "group_delay": response.group_delay.tolist(),
        },
        "unused_parameters": list(found.unused),
        "notes": list(found.circuit.notes),
    } | {name: _ANALYSES[name](found, frequencies) for name in analyses}


def _degrees(x: NDArray[np.complex128]) -> Any:
    return np.degrees(np.angle(x)).tolist()


def _bias(item: ElementBias) -> dict[str, Any]:
    basic = {"voltage": item.voltage, "current": item.current, "power": item.power}
    more = {"terminals": dict(item.terminals), "controls": dict(item.controls)}
    return basic | {key: value for key, value in more.items() if value}


def _elements(found: Inspection, _: Frequencies) -> Any:
    return {item.name: _bias(item) for item in found.bias}


def _impedances(found: Inspection, frequencies: Frequencies) -> Any:
    impedances = found.linearised.impedances(frequencies)
    sides = {
        "inputs": zip(found.equations.inputs, impedances.input.T, strict=True),
        "outputs": zip(found.outputs, impedances.output.T, strict=True),
    }
    return {"frequency": list(frequencies)} | {
        side: {name: {"ohm": np.abs(z).tolist(), "phase_degrees": _degrees(z)} for name, z in pairs}
        for side, pairs in sides.items()
    }


def _sweeps(found: Inspection, frequencies: Frequencies) -> Any:
    return {"frequency": list(frequencies)} | {
        "knobs": {
            sweep.knob: {"positions": list(sweep.positions), "gain_db": decibels(sweep.gain).tolist()}
            for sweep in found.knob_sweeps(frequencies)
        }
    }


def _sensitivities(found: Inspection, frequencies: Frequencies) -> Any:
    result = found.sensitivities(frequencies)
    levels = dict(zip(result.names, result.level.tolist(), strict=True))
    return {"frequency": list(frequencies), "db_for_10_percent": levels}


def _poles(found: Inspection, _: Frequencies) -> Any:
    return [
        {"frequency": pole.frequency, "q": pole.q, "oscillates": pole.oscillates} for pole in found.linearised.poles()
    ]


def _transfer(found: Inspection, _: Frequencies) -> Any:
    return {
        curve.source: {"input": list(curve.voltages), "output": curve.output.tolist()}
        for curve in found.transfer_curves()
    }


def _formula(found: Inspection, _: Frequencies) -> Any:
    formulas = {}
    for row, column, label in found.pairs:
        formula = found.transfer_function(row, column)
        if formula is not None:
            numerator, denominator = formula.coefficients(found.values)
            formulas[label] = {
                "numerator": [format_formula(part) for part in formula.numerator],
                "denominator": [format_formula(part) for part in formula.denominator],
                "numerator_values": numerator,
                "denominator_values": denominator,
            }
    return formulas


_ANALYSES: Mapping[str, Callable[[Inspection, Frequencies], Any]] = {
    "elements": _elements,
    "impedances": _impedances,
    "sweeps": _sweeps,
    "sensitivities": _sensitivities,
    "poles": _poles,
    "transfer": _transfer,
    "formula": _formula,
}
