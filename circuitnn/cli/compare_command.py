"""circuitnn compare"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from circuitnn.cli.console import note, plain, print_json, printer, progress
from circuitnn.cli.settings import knob_positions
from circuitnn.errors import CircuitnnError

# What fits on a terminal; the rest is in the files.
COLUMNS = ("name", "kind", "parameters", "esr", "esr_gain_free", "mr_stft", "mushra_prediction", "real_time_factor")


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="RUN ...")
@click.option(
    "--on", "pairs", nargs=2, multiple=True, type=click.Path(path_type=Path), metavar="DRY.wav WET.wav",
    help="Recordings to compare on, which no run should have seen. Repeatable.",
)  # fmt: skip
@click.option(
    "--recordings", "session_file", type=click.Path(path_type=Path), help="The held-out ones of a session file."
)
@click.option(
    "--set", "settings", multiple=True, metavar="KNOB=POSITION",
    help="Where a knob stands (0 to 1) in the recordings of --on and --also-on. Repeatable.",
)  # fmt: skip
@click.option(
    "--reference", "references", multiple=True, metavar="NAME=FILE.wav",
    help="Somebody's rendering of the only recording. Repeatable.",
)  # fmt: skip
@click.option(
    "--also-on", "other_pairs", nargs=2, multiple=True, type=click.Path(path_type=Path), metavar="DRY.wav WET.wav",
    help="Recordings at one other sampling rate, at which runs are judged once more. Repeatable.",
)  # fmt: skip
@click.option(
    "--other-rate", type=click.IntRange(4_000, 768_000), metavar="HZ",
    help="The same, with the recordings converted to this rate.",
)  # fmt: skip
@click.option(
    "--truth", type=click.Path(path_type=Path), metavar="NETLIST",
    help="The device, where it is known: recordings of it at 1 V at full scale.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), required=True,
    help="Folder for comparison.html, comparison.json and listening.html.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The table as one JSON object on stdout.")
def compare(
    runs: Sequence[Path],
    pairs: Sequence[tuple[Path, Path]],
    session_file: Path | None,
    settings: Sequence[str],
    references: Sequence[str],
    other_pairs: Sequence[tuple[Path, Path]],
    other_rate: int | None,
    truth: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Fitted circuits and trained networks on the same recordings: every metric, aliasing, harmonics, sound.

    RUN is a run directory of `fit` or of `train`, or a file of a network: a model file, .nam, .aidax, or JSON of
    RTNeural or SimpleRNN. Runs of one architecture on different amounts of audio make a curve of error over data.
    Tables and figures are written as a page and as JSON, and a second page is a blind listening test.
    """
    if bool(pairs) == (session_file is not None):
        raise CircuitnnError("expected --on DRY.wav WET.wav, or --recordings SESSION.toml", "give one of them")
    if settings and session_file is not None:
        raise CircuitnnError("--set: a session file says itself where the knobs stand", "write it there")
    if other_pairs and other_rate is not None:
        raise CircuitnnError("--also-on and --other-rate say the same", "leave one of them out")
    if not runs and not references:
        raise CircuitnnError("expected at least one run", "runs are made by `circuitnn fit` and `circuitnn train`")
    named = [_reference(text) for text in references]
    taken = [name for name, _ in named]
    if len(set(taken)) < len(taken):
        raise CircuitnnError(f"--reference: expected different names, found {', '.join(taken)}")

    positions = knob_positions(settings)

    from circuitnn import comparison
    from circuitnn.audio import Recording, read_wav, resampled
    from circuitnn.netlist import read_netlist
    from circuitnn.placing import check_folder, place_folder
    from circuitnn.report.comparison_page import render_comparison
    from circuitnn.report.listening import render_listening
    from circuitnn.runs import finite
    from circuitnn.session import read_session

    check_folder(out, "comparison.json", "a comparison")
    if session_file is None:
        recordings: Sequence[Recording] = [Recording.from_wav(dry, wet, knobs=positions) for dry, wet in pairs]
    else:
        recordings = read_session(session_file).held_out
    if not recordings:
        raise CircuitnnError(f"{session_file}: nothing is held out", 'give a recording role = "held-out"')
    if other_rate is not None:
        elsewhere = [comparison.at_rate(one, other_rate) for one in recordings]
    else:
        elsewhere = [Recording.from_wav(dry, wet, knobs=positions) for dry, wet in other_pairs]
    if len({one.sample_rate for one in elsewhere}) > 1:
        raise CircuitnnError("--also-on: expected recordings of one sampling rate", "convert them")
    other_rate = elsewhere[0].sample_rate if elsewhere else None
    device = None if truth is None else read_netlist(truth)
    if named and len(recordings) != 1:
        raise CircuitnnError(
            f"--reference: expected one recording to compare on, found {len(recordings)}", "leave the references out"
        )
    # Before the first run is evaluated, which takes minutes.
    renderings = []
    for name, file in named:
        output = resampled(*read_wav(file), recordings[0].sample_rate)
        renderings.append(comparison.of_rendering(name, output, recordings[0]))
    for run in runs:
        if unplaced := comparison.check_run(run, [*recordings, *elsewhere]):
            note(f"{run}: nothing says where {', '.join(unplaced)} stood: taken as 0.5; --set KNOB=POSITION says it")
    contenders = []
    with progress(len(runs)) as update:
        for k, run in enumerate(runs):
            update(k, f"evaluating {plain(str(run))}")
            contenders.append(comparison.of_run(run, recordings, elsewhere, device))
    contenders = comparison.told_apart([*contenders, *renderings], [*map(str, runs), *taken])
    models = comparison.as_data(contenders)
    data = {
        "recordings": [one.name for one in recordings],
        "other_rate": other_rate,
        "models": models,
        "data_efficiency": comparison.data_efficiency(contenders),
    }
    pages = {
        "comparison.json": json.dumps(finite(data), indent=2) + "\n",
        "comparison.html": render_comparison(contenders, recordings, other_rate),
        "listening.html": render_listening(contenders, recordings),
    }

    def fill(built: Path) -> None:
        for name, text in pages.items():
            (built / name).write_text(text, encoding="utf-8")

    place_folder(out, fill)
    if as_json:
        print_json(data)
        return
    _print(models)
    printer().print(f"written to {plain(str(out))} ({', '.join(pages)})")


def _reference(text: str) -> tuple[str, str]:
    """Name and file of a `--reference`. Raises CircuitnnError."""
    name, _, file = (part.strip() for part in text.partition("="))
    if not name or not file:
        raise CircuitnnError(f"--reference {text}: expected NAME=FILE.wav", "--reference published=theirs.wav")
    return name, file


def _print(models: Sequence[Mapping[str, Any]]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(*(key.replace("_", " ") for key in COLUMNS), box=SIMPLE)
    for model in models:
        values = [model[key] for key in COLUMNS]
        table.add_row(*("-" if v is None else f"{v:.3g}" if isinstance(v, float) else plain(str(v)) for v in values))
    printer().print(table)
