"""circuitnn fit"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitnn.circuit import Circuit
from circuitnn.cli.conditions import print_conditions, warn_of_clipping
from circuitnn.cli.console import INTERRUPTED, about, note, plain, print_json, printer, progress, warn
from circuitnn.cli.settings import nonzero, open_netlist, oversample_option, recordings_of, set_option
from circuitnn.errors import CircuitnnError

if TYPE_CHECKING:
    from circuitnn.audio import Recording
    from circuitnn.fitting.result import FitResult, Source
    from circuitnn.report.words import ValueRow
    from circuitnn.session import Session


@click.command()
@click.argument("netlist", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="DRY.wav WET.wav ...")
@click.option("--recordings", "session_file", type=click.Path(path_type=Path), help="A session file instead of files.")
@click.option("--learn", default="marked", show_default=True, metavar="marked|all|R4,C3", help="What may change.")
@set_option
@oversample_option
@click.option("--input-level", type=float, help="Volt at digital full scale of DRY.  [default: estimated]")
@click.option("--input-level-dbu", type=float, help="The same as the level in dBu of a sine at full scale.")
@click.option(
    "--output-gain", type=float, help="Digital full scale of WET per volt.  [default: estimated for each pair]"
)
@click.option("--max-iterations", type=click.IntRange(1, 10_000), default=40, show_default=True)
@click.option(
    "--loss", type=click.Choice(["mr-stft"]), help="Go on with it after least squares.  [default: least squares alone]"
)
@click.option(
    "--optimizer", type=click.Choice(["lbfgs", "adam"]), default="lbfgs", show_default=True, help="What --loss goes by."
)
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted or killed.")
@click.option("--suggest", is_flag=True, help="Say what else to learn: values that would explain the error.")
@click.option("--robust", is_flag=True, help="Clicks, coughs and dropouts in the recordings count less.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/<netlist name>]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def fit(
    ctx: click.Context,
    netlist: Path,
    files: Sequence[Path],
    session_file: Path | None,
    learn: str,
    settings: Sequence[str],
    oversample: int,
    input_level: float | None,
    input_level_dbu: float | None,
    output_gain: float | None,
    max_iterations: int,
    loss: str | None,
    optimizer: str,
    resume: bool,
    suggest: bool,
    robust: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fit the values that NETLIST marks to recordings of the device: what went in, what came out.

    One file alone holds both: dry left, wet right. --recordings names a TOML file that says more about each recording.
    Values given by --set stay as they are. Ctrl-C ends the fit with the best values so far; until the fit has come to
    its own end, its state lies beside the run directory, and --resume goes on from there.
    """
    from circuitnn.fitting.result import Settings
    from circuitnn.report.judgement import warning
    from circuitnn.runs import check_target, free_folder, save_run, state_file, summary

    nonzero("--input-level", input_level, positive=True)
    nonzero("--output-gain", output_gain, positive=False)
    if bool(files) == (session_file is not None):
        raise CircuitnnError("expected DRY.wav WET.wav ..., or --recordings SESSION.toml", "give one of them")
    folder = out if out is not None else free_folder(netlist.stem, resume)
    check_target(folder)
    state = state_file(folder)
    if resume and not state.exists():
        note(f"there is no {state.name} of an interrupted fit: this one begins from the start")
    circuit, fixed = open_netlist(netlist, settings)

    from circuitnn import losses
    from circuitnn.fitting import fit as fit_model
    from circuitnn.models.circuit_model import CircuitModel
    from circuitnn.session import read_session

    session = recordings_of(files) if session_file is None else read_session(session_file)
    input_level, output_gain = _calibration(session, input_level, input_level_dbu, output_gain)
    recordings = session.recordings
    warn_of_clipping((*recordings, *session.held_out))
    rate = recordings[0].sample_rate
    with about(netlist):
        model = CircuitModel(circuit, rate, oversample, _learnables(circuit, learn, fixed))
        with progress(max_iterations) as update:
            result = fit_model(
                model,
                recordings,
                input_level=input_level,
                output_gain=output_gain,
                held_out=session.held_out,
                max_iterations=max_iterations,
                suggest=suggest,
                robust=robust,
                loss=None if loss is None else losses.mr_stft,
                optimizer=optimizer,
                progress=lambda stage, iteration, error: update(iteration, _progress_text(stage, iteration, error)),
                checkpoint=state,
                resume=resume,
            )
    if result.failures:
        warn(f"{result.failures} steps of the last simulation did not converge and kept the last solution")
    if (doubt := warning(result)) is not None:
        warn(doubt)
    whole = session_file is None
    sources = (
        _sources(session.recordings, session.files, whole),
        _sources(session.held_out, session.held_out_files, whole),
    )
    command = shlex.join(["circuitnn", *sys.argv[1:]])
    save_run(
        result,
        folder,
        Settings(
            learn, tuple(settings), input_level, output_gain, *sources,
            max_iterations=max_iterations, robust=robust, loss=loss, optimizer=optimizer, command=command,
        ),
    )  # fmt: skip
    if as_json:
        print_json(summary(result) | {"run": str(folder)})
    else:
        _print(result, session, folder)
    if result.interrupted:
        if state.exists():
            note(f"{state.name} keeps where the fit stands: the same command with --resume goes on from there")
        ctx.exit(INTERRUPTED)
    state.unlink(missing_ok=True)


def _calibration(
    session: Session, level: float | None, dbu: float | None, gain: float | None
) -> tuple[float | None, float | None]:
    """Input level and output gain, from the options or from the session. Raises CircuitnnError for both."""
    from circuitnn.audio import volts_at_full_scale

    if level is not None and dbu is not None:
        raise CircuitnnError("--input-level and --input-level-dbu say the same", "leave one of them out")
    if dbu is not None:
        if not -60.0 <= dbu <= 60.0:
            raise CircuitnnError(f"--input-level-dbu: expected a level from -60 to 60 dBu, found {dbu:g}")
        level = volts_at_full_scale(dbu)
    for option, given, known in (
        ("--input-level", level, session.input_level),
        ("--output-gain", gain, session.output_gain),
    ):
        if given is not None and known is not None:
            raise CircuitnnError(f"{option}: the session file has it too", "leave one of them out")
    return level if level is not None else session.input_level, gain if gain is not None else session.output_gain


def _sources(recordings: Sequence[Recording], files: Sequence[tuple[Path, Path]], whole: bool) -> tuple[Source, ...]:
    """For run.json; a session's recordings are parts of their files, whose lengths say nothing about the delay."""
    from circuitnn.fitting.result import Source

    return tuple(
        Source(
            str(dry),
            str(wet),
            len(recording.dry) if whole else None,
            len(recording.wet) if whole else None,
            recording.conditions,
        )
        for recording, (dry, wet) in zip(recordings, files, strict=True)
    )


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
    if stage == "refinement":
        return f"{stage}: iteration {iteration}, loss {error:.4g}"
    return f"{stage}: iteration {iteration}, error {level(error)}"


def _print(result: FitResult, session: Session, folder: Path) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from circuitnn.report import judgement, words

    console = printer()
    console.print(plain(f"{judgement.verdict(result)} {judgement.course(result)}"))

    table = Table("value", "nominal", "fitted", "95 % interval", "change", "", box=SIMPLE)
    for value in words.value_rows(result):
        table.add_row(value.name, value.nominal, value.fitted, value.interval, value.change, _remark(value))
    console.print(table)

    if laws := words.law_rows(result):
        table = Table("knob", "rotation", "value", "95 % interval", title="laws of the pots", box=SIMPLE)
        for law in laws:
            table.add_row(law.knob, law.rotation, law.value, law.interval)
        console.print(table)

    for title, recordings in (("recording", result.recordings), ("held-out recording", result.held_out)):
        table = Table(title, "gain", "polarity", "delay", "alignment", "ESR", "with best gain", box=SIMPLE)
        for row in words.recording_rows(recordings):
            table.add_row(plain(row.name), row.gain, row.polarity, row.delay, row.alignment, row.esr, row.esr_gain_free)
        if recordings:
            console.print(table)
    for row in words.recording_rows(result.recordings):
        if row.disturbance != words.UNDISTURBED:
            console.print(plain(f"{row.name}: taken out: {row.disturbance}"))
    print_conditions(console, (*session.recordings, *session.held_out))

    console.print(words.input_level(result))
    told = (*words.positions(result), *words.remarks(result), *words.findings(result), *words.where_it_fails(result))
    for sentence in (*told, *judgement.next_steps(result)):
        console.print(plain(sentence))
    console.print(f"\nrun written to {plain(str(folder))} (report.html, fitted.cir, run.json)")


def _remark(row: ValueRow) -> str:
    if row.outside:
        return "left its tolerance"
    return "" if row.told else "not told"
