"""circuitnn inspect"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.box import SIMPLE
from rich.columns import Columns
from rich.table import Table

from circuitnn.cli.console import about, plain, print_json, printer
from circuitnn.cli.settings import check_output
from circuitnn.errors import CircuitError
from circuitnn.inspection import PLOT_FREQUENCIES, Inspection, decibels, plot_response, show
from circuitnn.inspection import inspect as inspect_circuit
from circuitnn.netlist import read_netlist
from circuitnn.units import format_value

# Characters of the longest bar of the response, and the range that it spans at most.
BAR, BAR_RANGE = 30, 60.0


@click.command()
@click.argument("netlist", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the frequency response to this PNG file.")
def inspect(netlist: Path, as_json: bool, plot: Path | None) -> None:
    """What is in NETLIST: nodes, states, knobs, learnable values, DC operating point, small-signal response."""
    if plot is not None:
        check_output(plot, netlist)
    with about(netlist):
        circuit = read_netlist(netlist)
        found = inspect_circuit(circuit)
        if plot is not None:
            if not found.response.size:
                raise CircuitError(f"{_missing(found)}: there is no response to plot")
            plot_response(inspect_circuit(circuit, PLOT_FREQUENCIES), plot)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)


def _as_json(found: Inspection) -> dict[str, Any]:
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
        "operating_point": dict(found.operating_point),
        "response": {
            "frequency": list(found.frequencies),
            "gain_db": decibels(found.response).tolist(),
            "phase_degrees": np.degrees(np.angle(found.response)).tolist(),
        },
        "unused_parameters": list(found.unused),
        "notes": list(found.circuit.notes),
    }


def _missing(found: Inspection) -> str:
    cards = [
        card
        for card, present in (("*@ input Vin", found.circuit.inputs), ("*@ output out", found.circuit.outputs))
        if not present
    ]
    return f"no card such as {' or '.join(f'`{card}`' for card in cards)}"


def _print(found: Inspection) -> None:
    console, circuit = printer(), found.circuit

    def say(text: str) -> None:
        console.print(plain(text))

    say(circuit.title or str(circuit.path))
    say(
        f"{len(circuit.elements)} elements, {len(circuit.nodes)} nodes, {len(found.states)} states, "
        f"{len(found.ports)} nonlinear ports"
    )
    say(f"states: {', '.join(found.states) or 'none'}\nports: {', '.join(found.ports) or 'none'}")
    say(f"input: {', '.join(circuit.inputs) or 'none'}    output: {', '.join(found.outputs) or 'none'}")

    say("\nDC operating point")
    width = max(map(len, found.operating_point))
    console.print(
        Columns(
            [plain(f"{node:>{width}}  {_volts(v):<10}") for node, v in found.operating_point.items()],
            column_first=True,
        )
    )
    if found.knobs:
        table = Table("knob", "position", "value", "taper", box=SIMPLE)
        for knob in found.knobs:
            table.add_row(knob.name, f"{knob.position:.3g}", f"{knob.value:.4g}", knob.taper)
        console.print(table)
    if found.learnable:
        table = Table("learnable", "nominal", "tolerance", box=SIMPLE)
        knobs = {knob.name for knob in found.knobs}
        for item in found.learnable:
            free = "whole travel" if item.name in knobs else "default"
            tolerance = free if item.tolerance is None or item.name in knobs else f"{100.0 * item.tolerance:.3g} %"
            table.add_row(item.name, show(circuit, item.name, item.nominal), tolerance)
        console.print(table)
    else:
        say("\nnothing is marked to be learned; a card such as `*@ learn R1 C1` does that")

    if found.response.size:
        for row, output in enumerate(found.outputs):
            for column, source in enumerate(circuit.inputs):
                say(f"\nsmall-signal response, {source} to {output}")
                console.print(_response_table(found, row, column))
    else:
        say(f"\n{_missing(found)}: there is nothing to drive or to hear")
    if found.unused:
        say(f"\nmodel parameters without effect here: {', '.join(found.unused)}")
    for text in circuit.notes:
        say(f"note: {text}")


def _volts(value: float) -> str:
    # What a leak of a picosiemens leaves at a node is nothing.
    return format_value(value if abs(value) > 1e-9 else 0.0, "V")


def _response_table(found: Inspection, row: int, column: int) -> Table:
    curve = found.response[:, row, column]
    levels, phases = decibels(curve), np.degrees(np.angle(curve))
    top = float(levels.max())
    span = min(BAR_RANGE, max(top - float(levels.min()), 1.0))
    table = Table(box=None, padding=(0, 2), show_header=False)
    for _ in range(3):
        table.add_column(justify="right")
    table.add_column()
    for frequency, level, phase in zip(found.frequencies, levels, phases, strict=True):
        share = max(0.0, 1.0 - (top - float(level)) / span)
        table.add_row(
            format_value(frequency, "Hz"), f"{level:.1f} dB", f"{phase:.0f}°", "█" * (1 + round((BAR - 1) * share))
        )
    return table
