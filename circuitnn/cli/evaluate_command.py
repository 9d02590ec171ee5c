"""circuitnn evaluate"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from circuitnn.cli.console import about, plain, print_json, printer, progress, warn
from circuitnn.cli.settings import apply_settings, knob_positions, pairs, set_option

if TYPE_CHECKING:
    from circuitnn.audio import Recording
    from circuitnn.evaluation import Evaluation
    from circuitnn.formats import SavedNetwork
    from circuitnn.runs import Run

METRICS = ("esr", "esr_gain_free", "esr_preemphasis", "mae", "mr_stft", "real_time_factor")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DRY.wav WET.wav ...")
@set_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def evaluate(run: Path, files: Sequence[Path], settings: Sequence[str], as_json: bool) -> None:
    """How far the fitted circuit, or the trained network, of RUN is from recordings that it has not seen. RUN may be a
    file of a network: a model file, .nam, .aidax, or JSON of RTNeural or SimpleRNN.

    The run's input level, mean output gain and median delay are applied; nothing is adjusted to the recordings, but
    for the delay of a file that says none. The knobs of a network stand at 0.5 unless --set says otherwise. What plays
    is the model itself, a network in torch; `compare` plays, and times, what `export` makes of it.
    """
    from circuitnn.formats import network_at
    from circuitnn.runs import load_run

    names = pairs(files)
    saved = network_at(run)
    if saved is not None:
        _evaluate_network(saved, names, settings, as_json)
        return
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
        applied = {"delay": loaded.delay, "gain": loaded.gain, "input_level": loaded.input_level}
        print_json(pooled | {"recordings": _entries(found)} | applied)
    else:
        _print(found, pooled)
        printer().print(
            f"with the run's input level {loaded.input_level:.4g} V at full scale, output gain {loaded.gain:.4g} per "
            f"volt, delay {loaded.delay:.2f} samples"
        )


def _evaluate_network(
    saved: SavedNetwork, names: Sequence[tuple[Path, Path]], settings: Sequence[str], as_json: bool
) -> None:
    from circuitnn import evaluation
    from circuitnn.audio import Recording

    knobs = dict.fromkeys(saved.network.knob_names, 0.5) | knob_positions(settings, saved.network.knob_names)
    rate = None if saved.sample_rate is None else round(saved.sample_rate)
    found, delays = [], []
    with progress(len(names)) as update:
        for k, (dry, wet) in enumerate(names):
            recording = Recording.from_wav(dry, wet, sample_rate=rate)
            update(k, f"evaluating {plain(recording.name)}")
            one, delay = evaluation.evaluate_saved(saved, recording, knobs)
            found.append(one)
            delays.append(delay)
    pooled = evaluation.pool(found)
    if as_json:
        print_json(pooled | {"recordings": _entries(found), "delay": statistics.median(delays), "knobs": knobs})
    else:
        _print(found, pooled)
        whose = "the run's delay" if saved.delay is not None else "delays that were found, a median"
        printer().print(f"with {whose} of {statistics.median(delays):.2f} samples")


def _entries(found: Sequence[Evaluation]) -> list[dict[str, Any]]:
    from circuitnn import evaluation

    return [{"name": entry.name} | evaluation.pool([entry]) for entry in found]


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


def _print(found: Sequence[Evaluation], pooled: dict[str, float | None]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from circuitnn import evaluation

    table = Table("recording", *(name.replace("_", " ") for name in METRICS), box=SIMPLE)
    rows = [(entry.name, evaluation.pool([entry])) for entry in found]
    for name, row in [*rows, ("all", pooled)] if len(rows) > 1 else rows:
        table.add_row(plain(name), *(_number(row[metric]) for metric in METRICS))
    console = printer()
    console.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
