"""circuitnn fit"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitnn.circuit import Circuit
from circuitnn.cli.console import INTERRUPTED, about, plain, print_json, printer, progress, warn
from circuitnn.cli.settings import nonzero, open_netlist, oversample_option, pairs, set_option
from circuitnn.errors import CircuitnnError

if TYPE_CHECKING:
    from circuitnn.fitting.result import FitResult
    from circuitnn.report.words import ValueRow


@click.command()
@click.argument("netlist", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DRY.wav WET.wav ...")
@click.option("--learn", default="marked", show_default=True, metavar="marked|all|R4,C3", help="What may change.")
@set_option
@oversample_option
@click.option("--input-level", type=float, help="Volt at digital full scale of DRY.  [default: estimated]")
@click.option(
    "--output-gain", type=float, help="Digital full scale of WET per volt.  [default: estimated for each pair]"
)
@click.option("--max-iterations", type=click.IntRange(1, 10_000), default=40, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/<netlist name>]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def fit(
    ctx: click.Context,
    netlist: Path,
    files: Sequence[Path],
    learn: str,
    settings: Sequence[str],
    oversample: int,
    input_level: float | None,
    output_gain: float | None,
    max_iterations: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fit the values that NETLIST marks to recordings of the device: what went in, what came out.

    Values given by --set stay as they are. Ctrl-C ends the fit with the best values so far.
    """
    from circuitnn.fitting.result import Settings, Source
    from circuitnn.runs import check_target, free_folder, save_run, summary

    nonzero("--input-level", input_level, positive=True)
    nonzero("--output-gain", output_gain, positive=False)
    names = pairs(files)
    folder = out if out is not None else free_folder(netlist.stem)
    check_target(folder)
    circuit, fixed = open_netlist(netlist, settings)

    from circuitnn.audio import Recording
    from circuitnn.fitting import fit as fit_model
    from circuitnn.models.circuit_model import CircuitModel

    recordings = [Recording.from_wav(dry, wet) for dry, wet in names]
    with about(netlist):
        model = CircuitModel(circuit, recordings[0].sample_rate, oversample, _learnables(circuit, learn, fixed))
        with progress(max_iterations) as update:
            result = fit_model(
                model,
                recordings,
                input_level=input_level,
                output_gain=output_gain,
                max_iterations=max_iterations,
                progress=lambda stage, iteration, error: update(iteration, _progress_text(stage, iteration, error)),
            )
    if result.failures:
        warn(f"{result.failures} steps of the last simulation did not converge and kept the last solution")
    sources = tuple(
        Source(str(dry), str(wet), len(recording.dry), len(recording.wet))
        for (dry, wet), recording in zip(names, recordings, strict=True)
    )
    command = shlex.join(["circuitnn", *sys.argv[1:]])
    save_run(
        result, folder, Settings(learn, tuple(settings), input_level, output_gain, sources, max_iterations, command)
    )
    if as_json:
        print_json(summary(result) | {"run": str(folder)})
    else:
        _print(result, folder)
    if result.interrupted:
        ctx.exit(INTERRUPTED)


def _learnables(circuit: Circuit, learn: str, fixed: Sequence[str]) -> list[str]:
    """The names that `--learn` means, without those that `--set` fixed. Raises CircuitnnError."""
    from circuitnn.learnables import coordinates

    learn = learn.strip()
    several = learn in ("marked", "all")
    chosen = coordinates(circuit, learn if several else [name.strip() for name in learn.split(",") if name.strip()])
    names = [coordinate.name for coordinate in chosen]
    if not several and (both := [name for name in names if name in fixed]):
        raise CircuitnnError(f"{', '.join(both)}: both in --learn and in --set", "leave it out of one of them")
    if left := [name for name in names if name not in fixed]:
        return left
    raise CircuitnnError(
        f"{circuit.path}: nothing is left to learn (--learn {learn})",
        "mark values by a card such as `*@ learn R1 C1`, or name them: --learn R1,C1",
    )


def _progress_text(stage: str, iteration: int, error: float) -> str:
    from circuitnn.report.words import level

    if stage == "search":
        return "search for a start"
    return f"{stage}: iteration {iteration}, error {level(error)}"


def _print(result: FitResult, folder: Path) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from circuitnn.report import judgement, words

    console = printer()
    console.print(plain(f"{judgement.verdict(result)} {judgement.course(result)}"))

    table = Table("value", "nominal", "fitted", "95 % interval", "change", "", box=SIMPLE)
    for row in words.value_rows(result):
        table.add_row(row.name, row.nominal, row.fitted, row.interval, row.change, _remark(row))
    console.print(table)

    table = Table("recording", "gain", "polarity", "delay", "alignment", "ESR", "with best gain", box=SIMPLE)
    for recording in words.recording_rows(result):
        table.add_row(
            plain(recording.name), recording.gain, recording.polarity, recording.delay, recording.alignment,
            recording.esr, recording.esr_gain_free,
        )  # fmt: skip
    console.print(table)

    console.print(words.input_level(result))
    for sentence in (*words.findings(result), *judgement.next_steps(result)):
        console.print(plain(sentence))
    console.print(f"\nrun written to {plain(str(folder))} (report.html, fitted.cir, run.json)")


def _remark(row: ValueRow) -> str:
    if row.outside:
        return "left its tolerance"
    return "" if row.told else "not told"
