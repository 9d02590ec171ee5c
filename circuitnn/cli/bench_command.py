"""circuitnn bench"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitnn.cli.console import about, plain, print_json, printer, progress, warn
from circuitnn.cli.settings import FiniteRange
from circuitnn.netlist import read_netlist

if TYPE_CHECKING:
    from circuitnn.bench import Measurement, Settings

# Iterations that get a column of their own in the printed histogram; the last column has all above.
COLUMNS = 8
BARS = "▁▂▃▄▅▆▇█"


@click.command()
@click.argument("netlists", nargs=-1, type=click.Path(path_type=Path), metavar="[NETLIST ...]")
@click.option("--seconds", type=FiniteRange(0.001, 60.0), default=1.0, show_default=True, help="Length of the audio.")
@click.option("--sample-rate", type=float, default=48000.0, show_default=True, help="Of the audio, in Hz.")
@click.option("--oversample", type=int, default=8, show_default=True, help="1, 2, 4, 8, 16 or 32.")
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs whose median is shown."
)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Cores that run lanes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
def bench(
    netlists: Sequence[Path],
    seconds: float,
    sample_rate: float,
    oversample: int,
    repeats: int,
    threads: int,
    as_json: bool,
) -> None:
    """Real-time factor and cost of the gradient of each NETLIST on this machine, with its knobs where they are.

    Without NETLIST: all that come with the project. Plucked chords of 0.5 V peak are played through each.
    """
    from circuitnn.bench import Settings, measure, shipped_netlists

    paths = netlists or shipped_netlists()
    # All are read before the first is measured: a mistake in the last one should not cost minutes.
    circuits = [(path, read_netlist(path)) for path in paths]
    settings = Settings(seconds, sample_rate, oversample, repeats, threads)
    found: list[tuple[Path, Measurement]] = []
    with progress(len(circuits)) as update:
        for k, (path, circuit) in enumerate(circuits):
            update(k, f"measuring {plain(path.stem)}")
            with about(path):
                found.append((path, measure(circuit, settings)))
    for path, entry in found:
        if entry.failures:
            warn(f"{path}: {entry.failures} steps did not converge and kept the last solution")
    if as_json:
        print_json(
            [{"netlist": path.stem, "path": str(path)} | asdict(entry) | asdict(settings) for path, entry in found]
        )
    else:
        _print(found, settings)


def _print(found: Sequence[tuple[Path, Measurement]], settings: Settings) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from circuitnn.bench import DIRECTIONS
    from circuitnn.kernel import LANES

    headings = (
        "netlist", "states", "ports", "times\nreal time", "ns\na step", "ns\nin lanes", "gradient", "adjoint",
        "tangent", "compiled",
    )  # fmt: skip
    costs, shares = (Table(box=SIMPLE, padding=(0, 0, 0, 1)) for _ in range(2))
    for k, heading in enumerate(headings):
        costs.add_column(heading, justify="right" if k else "left", no_wrap=True)
    counts = [*map(str, range(COLUMNS)), f"{COLUMNS}+"]
    for k, heading in enumerate(("netlist", "mean", *counts)):
        shares.add_column(heading, justify="right" if k else "left", no_wrap=True)
    for path, entry in found:
        costs.add_row(
            plain(path.stem), str(entry.states), "+".join(map(str, entry.stages)) or "0",
            _digits(entry.real_time_factor), _digits(entry.ns_per_step), _digits(entry.ns_per_step_lane),
            f"{entry.gradient_ratio:.2f}", f"{entry.adjoint_ratio:.2f}", f"{entry.tangent_ratio_20:.2f}",
            f"{entry.compile_seconds:.2f} s",
        )  # fmt: skip
        if entry.ports:
            shares.add_row(plain(path.stem), f"{entry.newton_iterations:.2f}", *_shares(entry.histogram))
    console = printer()
    console.print(
        f"{settings.seconds:g} s at {settings.sample_rate:g} Hz, {settings.oversample} times oversampled; medians of "
        f"{settings.repeats}"
    )
    console.print(costs)
    console.print(
        f"ports: of each system that is solved on its own. in lanes: ns a step of each of {LANES} signals, per core, "
        f"{settings.threads} in use. gradient (states kept, and adjoint), adjoint alone, and tangent ({DIRECTIONS} "
        f"directions, run included): times the simulation. compiled: the simulation, at first use."
    )
    if shares.row_count:
        console.print("\nSteps in percent by their Newton iterations")
        console.print(shares)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100.0 else f"{value:.3g}"


def _shares(histogram: Sequence[int]) -> list[str]:
    counts = [*histogram[:COLUMNS], sum(histogram[COLUMNS:])]
    total = sum(counts)
    return [_share(count / total) if count else "" for count in counts]


def _share(share: float) -> str:
    percent = f"{100.0 * share:.0f}" if share >= 0.01 else "<1"
    return f"{BARS[round(share * (len(BARS) - 1))]} {percent}"
