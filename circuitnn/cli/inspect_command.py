"""circuitnn inspect"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from circuitnn.cli.console import about, print_json
from circuitnn.cli.inspect_json import as_json
from circuitnn.cli.inspect_tables import ANALYSES, missing_cards, print_inspection
from circuitnn.cli.settings import apply_settings, check_output, set_option
from circuitnn.errors import CircuitError, CircuitnnError
from circuitnn.inspection import inspect as inspect_circuit
from circuitnn.inspection.frequencies import WIDEST, curve, steps
from circuitnn.netlist import read_netlist
from circuitnn.netlist.formulas import closest
from circuitnn.units import format_value, parse_value


@click.command()
@click.argument("netlist", type=click.Path(path_type=Path))
@set_option
@click.option("--show", metavar="WHAT,...", default="", help=f"More analyses: {', '.join(ANALYSES)}, or all.")
@click.option("--range", "span", metavar="LOW:HIGH", default="20:20k", show_default=True, help="Frequencies in Hz.")
@click.option("--points", type=click.IntRange(2, 10_000), help="So many of them.  [default: 1, 2, 5, 10, ... Hz]")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw all analyses over frequency on this PNG file.")
@click.option("--json", "json", is_flag=True, help="One JSON object on stdout.")
def inspect(
    netlist: Path, settings: Sequence[str], show: str, span: str, points: int | None, plot: Path | None, json: bool
) -> None:
    """What is in NETLIST: nodes, states, knobs, learnable values, DC operating point, small-signal response."""
    analyses, (low, high) = _analyses(show), _range(span)
    frequencies = steps(low, high) if points is None else curve(low, high, points)
    if not frequencies:
        raise CircuitnnError(f"--range {span}: no 1, 2 or 5 times a power of ten lies between", "give --points too")
    if plot is not None:
        check_output(plot, netlist)
    with about(netlist):
        circuit, _ = apply_settings(read_netlist(netlist), settings)
        found = inspect_circuit(circuit)
        if plot is not None:
            if not found.pairs:
                raise CircuitError(f"{missing_cards(found)}: there is no response to plot")
            # Drawing is the only thing that takes matplotlib.
            from circuitnn.inspection.figures import plot_sheet

            plot_sheet(found, plot, low, high)
        if json:
            print_json(as_json(found, frequencies, analyses))
        else:
            print_inspection(found, frequencies, analyses)


def _analyses(text: str) -> tuple[str, ...]:
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in (*ANALYSES, "all"):
            known = f"known: {', '.join(ANALYSES)}, all"
            raise CircuitnnError(f"--show {text}: there is no {word!r}", closest(word, (*ANALYSES, "all")) or known)
    return tuple(name for name in ANALYSES if name in words or "all" in words)


def _range(text: str) -> tuple[float, float]:
    parts = text.split(":")
    try:
        low, high = (parse_value(part) for part in parts)
    except ValueError:
        raise CircuitnnError(f"--range {text}: expected LOW:HIGH", "--range 20:20k") from None
    except CircuitnnError as error:
        raise CircuitnnError(f"--range {text}: {error.message}", "--range 20:20k") from None
    if not WIDEST[0] <= low < high <= WIDEST[1]:
        widest = " to ".join(format_value(limit, "Hz") for limit in WIDEST)
        raise CircuitnnError(f"--range {text}: expected two rising frequencies within {widest}", "--range 20:20k")
    return low, high
