"""An inspection as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.box import SIMPLE
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from circuitnn.cli.console import PLAIN_WIDTH, plain, printer
from circuitnn.inspection import Inspection, show
from circuitnn.inspection.bias import ElementBias
from circuitnn.inspection.linearised import decibels
from circuitnn.units import format_value

# Characters of the longest bar of the response, and the range in dB that it spans at most.
BAR, BAR_RANGE = 30, 60.0
# What a table of sensitivities or sweeps shows: rows, and columns.
RANKS, COLUMNS = 15, 10
# What a leak of a picosiemens leaves is nothing: volt, ampere, watt.
NOTHING = {"V": 1e-9, "A": 1e-15, "W": 1e-15}
# What a source within a subcircuit delivers unnoticed, in watt.
NOTHING_BUILT_IN = 1e-9
# Where impedances are stated in one number.
MIDDLE = 1e3

Frequencies = Sequence[float]


def print_inspection(found: Inspection, frequencies: Frequencies, analyses: Sequence[str]) -> None:
    """The overview on stdout, then each of the analyses."""
    console, circuit = printer(), found.circuit
    _say(console, circuit.title or str(circuit.path))
    _say(
        console,
        f"{len(circuit.elements)} elements, {len(circuit.nodes)} nodes, {len(found.states)} states, "
        f"{len(found.ports)} nonlinear ports",
    )
    _say(console, f"states: {', '.join(found.states) or 'none'}\nports: {', '.join(found.ports) or 'none'}")
    _say(console, f"input: {', '.join(circuit.inputs) or 'none'}    output: {', '.join(found.outputs) or 'none'}")
    _operating_point(console, found)
    _knobs_and_learnables(console, found)
    if found.pairs:
        _response(console, found, frequencies)
    else:
        _say(console, f"\n{missing_cards(found)}: there is nothing to drive or to hear")
    for name in analyses:
        ANALYSES[name](console, found, frequencies)
    if found.unused:
        _say(console, f"\nmodel parameters without effect here: {', '.join(found.unused)}")
    for text in circuit.notes:
        _say(console, f"note: {text}")


def missing_cards(found: Inspection) -> str:
    """Which cards a circuit needs before it has a response."""
    cards = (("*@ input Vin", found.circuit.inputs), ("*@ output out", found.circuit.outputs))
    missing = " or ".join(f"`{card}`" for card, present in cards if not present)
    return f"no card such as {missing}{found.circuit.card_place}"


def _say(console: Console, text: str) -> None:
    console.print(plain(text))


def _table(*columns: str, title: str = "") -> Table:
    """A table whose first column is a name and whose others are numbers."""
    table = Table(box=SIMPLE, title=title or None, title_justify="left", title_style="")
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k else "left", overflow="fold")
    return table


def _value(x: float, unit: str) -> str:
    return format_value(x if abs(x) > NOTHING[unit] else 0.0, unit)


def _fixed(x: float, digits: int) -> str:
    # Adding 0 makes -0 a 0.
    return f"{round(float(x), digits) + 0.0:.{digits}f}"


def _seconds(x: float) -> str:
    return format_value(float(x), "s") if np.isfinite(x) else ""


def _operating_point(console: Console, found: Inspection) -> None:
    _say(console, "\nDC operating point")
    width = max(map(len, found.operating_point))
    console.print(
        Columns(
            [plain(f"{node:>{width}}  {_value(v, 'V'):<10}") for node, v in found.operating_point.items()],
            column_first=True,
        )
    )
    # Sources that shift a level within a model deliver next to nothing.
    supplies = [item for item in found.supplies if "." not in item.name or abs(item.power) > NOTHING_BUILT_IN]
    if supplies:
        table = _table("supply", "voltage", "delivers", "power")
        for item in supplies:
            table.add_row(item.name, _value(item.voltage, "V"), _value(-item.current, "A"), _value(-item.power, "W"))
        console.print(table)
    if found.devices:
        table = Table("device", "voltages", "currents", box=SIMPLE)
        table.add_column("power", justify="right")
        for item in found.devices:
            controls = (
                f"{label} {_value(value, 'A' if label.startswith('i(') else 'V')}"
                for label, value in item.controls.items()
            )
            table.add_row(item.name, "  ".join(controls), _device_currents(item), _value(item.power, "W"))
        console.print(table)


def _device_currents(item: ElementBias) -> str:
    if not item.terminals:
        return _value(item.current, "A")
    return "  ".join(f"{letter} {_value(value, 'A')}" for letter, value in item.terminals.items())


def _knobs_and_learnables(console: Console, found: Inspection) -> None:
    if found.knobs:
        table = _table("knob", "position", "value", "taper")
        for knob in found.knobs:
            table.add_row(knob.name, f"{knob.position:.3g}", f"{knob.value:.4g}", knob.taper)
        console.print(table)
    for network in found.circuit.networks:
        name, weights = "|".join(network.elements), len(network.weights)
        _say(console, f"\nthe law of {name} is a network of {network.units} units a direction: {weights} weights")
    if not found.learnable and not found.circuit.networks:
        _say(console, "\nnothing is marked to be learned; a card such as `*@ learn R1 C1` does that")
    if not found.learnable:
        return
    table = Table("learnable", "nominal", "tolerance", box=SIMPLE)
    knobs = {knob.name for knob in found.knobs}
    for item in found.learnable:
        free = "whole travel" if item.name in knobs else "default"
        tolerance = free if item.tolerance is None or item.name in knobs else f"{100.0 * item.tolerance:.3g} %"
        table.add_row(item.name, show(found.circuit, item.name, item.nominal), tolerance)
    console.print(table)


def _response(console: Console, found: Inspection, frequencies: Frequencies) -> None:
    response = found.linearised.response(frequencies)
    levels, phases = decibels(response.gain), np.degrees(np.angle(response.gain))
    for row, column, label in found.pairs:
        _say(console, f"\nsmall-signal response, {label}: gain, phase, group delay")
        top = float(levels[:, row, column].max())
        span = min(BAR_RANGE, max(top - float(levels[:, row, column].min()), 1.0))
        table = Table(box=None, padding=(0, 2), show_header=False)
        for _ in range(4):
            table.add_column(justify="right")
        table.add_column()
        for k, frequency in enumerate(frequencies):
            level = float(levels[k, row, column])
            share = max(0.0, 1.0 - (top - level) / span)
            table.add_row(
                format_value(frequency, "Hz"),
                f"{_fixed(level, 1)} dB",
                f"{_fixed(phases[k, row, column], 0)}°",
                _seconds(response.group_delay[k, row, column]),
                "█" * (1 + round((BAR - 1) * share)),
            )
        console.print(table)
    middle = found.linearised.impedances([MIDDLE])
    seen = [f"{name} sees {_ohm(z)}" for name, z in zip(found.equations.inputs, middle.input[0], strict=True)]
    own = [f"{name} has {_ohm(z)}" for name, z in zip(found.outputs, middle.output[0], strict=True)]
    _say(console, f"\nimpedance at {format_value(MIDDLE, 'Hz')}: {', '.join((*seen, *own))}")


def _ohm(z: complex) -> str:
    size = abs(z)
    return "below 1 mΩ" if size < 1e-3 else "no current" if np.isinf(size) else format_value(size, "Ω")


def _elements(console: Console, found: Inspection, _: Frequencies) -> None:
    table = _table("element", "voltage", "current", "power")
    for item in found.bias:
        table.add_row(item.name, _value(item.voltage, "V"), _value(item.current, "A"), _value(item.power, "W"))
    console.print(table)


def _impedances(console: Console, found: Inspection, frequencies: Frequencies) -> None:
    impedances = found.linearised.impedances(frequencies)
    sides = [(f"seen by {name}", impedances.input[:, k]) for k, name in enumerate(found.equations.inputs)]
    sides += [(f"of {name}", impedances.output[:, k]) for k, name in enumerate(found.outputs)]
    table = _table("impedance", *(label for label, _ in sides))
    for k, frequency in enumerate(frequencies):
        cells = (f"{_ohm(z[k])}  {_fixed(np.degrees(np.angle(z[k])), 0):>4}°" for _, z in sides)
        table.add_row(format_value(frequency, "Hz"), *cells)
    console.print(table)


def _sweeps(console: Console, found: Inspection, frequencies: Frequencies) -> None:
    for sweep in found.knob_sweeps(frequencies):
        for row, column, label in found.pairs:
            _say(console, f"\nknob {sweep.knob}, {label}: gain in dB at its positions")
            table = _table("", *(f"{position:g}" for position in sweep.positions))
            for k, frequency in enumerate(frequencies):
                table.add_row(
                    format_value(frequency, "Hz"), *(_fixed(x, 1) for x in decibels(sweep.gain[:, k, row, column]))
                )
            console.print(table)


def _sensitivities(console: Console, found: Inspection, frequencies: Frequencies) -> None:
    chosen = [frequencies[round(k)] for k in np.linspace(0, len(frequencies) - 1, min(COLUMNS, len(frequencies)))]
    result = found.sensitivities(chosen)
    for row, column, label in found.pairs:
        _say(console, f"\nsensitivity, {label}: gain in dB for 10 % more of a value (knob: of its travel)")
        table = _table("at Hz", "", *map(format_value, chosen))
        for k in result.ranking(row, column)[:RANKS]:
            name = result.names[k]
            cells = (f"{x:+.2f}" if abs(x) >= 0.005 else "·" for x in result.level[k, :, row, column])
            table.add_row(name, show(found.circuit, name, found.values[name]), *cells)
        console.print(table)


def _poles(console: Console, found: Inspection, _: Frequencies) -> None:
    table = _table("pole", "Q", "")
    for pole in found.linearised.poles():
        kind = "pair" if pole.oscillates else "real"
        table.add_row(format_value(pole.frequency, "Hz"), f"{pole.q:.3g}", kind if pole.q > 0.0 else f"{kind}, grows")
    console.print(table)


def _transfer(console: Console, found: Inspection, _: Frequencies) -> None:
    curves = found.transfer_curves()
    if not curves:
        _say(console, "\nno transfer curve at DC: the circuit is linear, or no DC passes from an input to an output")
    for curve in curves:
        table = _table(curve.source, *found.outputs)
        for k in range(0, len(curve.voltages), 4):
            table.add_row(_value(curve.voltages[k], "V"), *(_value(float(v), "V") for v in curve.output[k]))
        console.print(table)


def _formula(console: Console, found: Inspection, _: Frequencies) -> None:
    for row, column, label in found.pairs:
        formula = found.transfer_function(row, column)
        if formula is None:
            _say(console, f"\nno formula, {label}: the circuit has nonlinear devices or is too large for one")
            continue
        _say(console, f"\nH(s), {label}: (b0 + b1 s + ...) / (a0 + a1 s + ...)")
        for letter, side in (("b", formula.numerator), ("a", formula.denominator)):
            for power, part in enumerate(side):
                _say(console, textwrap.fill(f"{letter}{power} = {part}", PLAIN_WIDTH, subsequent_indent="     "))
        numerator, denominator = formula.coefficients(found.values)
        numbers = [f"b{power} = {x:.6g}" for power, x in enumerate(numerator)]
        numbers += [f"a{power} = {x:.6g}" for power, x in enumerate(denominator)]
        _say(console, textwrap.fill(f"in numbers: {',  '.join(numbers)}", PLAIN_WIDTH, subsequent_indent="     "))


ANALYSES: Mapping[str, Callable[[Console, Inspection, Frequencies], None]] = {
    "elements": _elements,
    "impedances": _impedances,
    "sweeps": _sweeps,
    "sensitivities": _sensitivities,
    "poles": _poles,
    "transfer": _transfer,
    "formula": _formula,
}
