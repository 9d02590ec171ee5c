"""circuitnn evaluate"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitnn.cli.console import about, plain, print_json, printer, progress, warn
from circuitnn.cli.settings import apply_settings, pairs, set_option

if TYPE_CHECKING:
    from circuitnn.audio import Recording
    from circuitnn.evaluation import Evaluation
    from circuitnn.runs import Run

METRICS = ("esr", "esr_gain_free", "esr_preemphasis", "mae", "mr_stft", "real_time_factor")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DRY.wav WET.wav ...")
@set_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def evaluate(run: Path, files: Sequence[Path], settings: Sequence[str], as_json: bool) -> None:
    """How far the fitted circuit of RUN is from recordings that it was not fitted to.

    The run's input level, mean output gain and median delay are applied; nothing is adjusted to the recordings.
    """
    from circuitnn.runs import load_run

    names = pairs(files)
    loaded = load_run(run)
    circuit, _ = apply_settings(loaded.circuit, settings)

    from circuitnn import evaluation
    from circuitnn.audio import Recording
    from circuitnn.models.circuit_model import CircuitModel

    recordings = [Recording.from_wav(dry, wet, sample_rate=round(loaded.sample_rate)) for dry, wet in names]
    for recording in recordings:
        _check_lengths(loaded, recording)
    with about(loaded.folder / "fitted.cir"):
        model = CircuitModel(circuit, loaded.sample_rate, loaded.oversample, learn=[])
        found = []
        with progress(len(recordings)) as update:
            for k, recording in enumerate(recordings):
                update(k, f"evaluating {plain(recording.name)}")
                found.append(evaluation.evaluate(model, recording, loaded.delay, loaded.input_level, loaded.gain))
    if failures := sum(entry.failures for entry in found):
        warn(f"{failures} steps did not converge and kept the last solution")
    pooled = evaluation.pool(found)
    if as_json:
        entries = [{"name": entry.name} | evaluation.pool([entry]) for entry in found]
        print_json(
            pooled
            | {"recordings": entries, "delay": loaded.delay, "gain": loaded.gain, "input_level": loaded.input_level}
        )
    else:
        _print(loaded, found, pooled)


def _check_lengths(run: Run, recording: Recording) -> None:
    """Files that were cut in another way are late by another amount."""
    difference = len(recording.dry) - len(recording.wet)
    fitted = {entry.length_difference for entry in run.recordings} - {None}
    if fitted and difference not in fitted:
        known = ", ".join(str(value) for value in sorted(value for value in fitted if value is not None))
        warn(
            f"{recording.name}: dry is {difference} samples longer than wet, but {known} where the run was fitted; the "
            f"run's delay of {run.delay:.1f} samples may be wrong here, and with it every metric"
        )


def _print(run: Run, found: Sequence[Evaluation], pooled: dict[str, float | None]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from circuitnn import evaluation

    table = Table("recording", *(name.replace("_", " ") for name in METRICS), box=SIMPLE)
    rows = [(entry.name, evaluation.pool([entry])) for entry in found]
    for name, row in [*rows, ("all", pooled)] if len(rows) > 1 else rows:
        table.add_row(plain(name), *(_number(row[metric]) for metric in METRICS))
    console = printer()
    console.print(table)
    console.print(
        f"with the run's input level {run.input_level:.4g} V at full scale, output gain {run.gain:.4g} per volt, "
        f"delay {run.delay:.2f} samples"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
