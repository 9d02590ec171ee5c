"""circuitnn train"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitnn.cli.conditions import warn_of_clipping
from circuitnn.cli.console import INTERRUPTED, note, plain, print_json, printer, progress
from circuitnn.cli.settings import FiniteRange, recordings_of
from circuitnn.errors import CircuitnnError

if TYPE_CHECKING:
    from circuitnn.training import Trained


@click.command()
@click.argument("architecture", metavar="ARCHITECTURE|FILE")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="DRY.wav WET.wav ...")
@click.option("--recordings", "session_file", type=click.Path(path_type=Path), help="A session file instead of files.")
@click.option("--preset", "preset_name", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@click.option("--epochs", type=click.IntRange(1, 1_000_000), help="At most so many.  [default: the preset's]")
@click.option("--seconds", type=FiniteRange(0.0, min_open=True), help="Use the first so many of the recordings.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31),
    default=0,
    show_default=True,
    help="Equal seeds, equal networks, unless time ends it.",
)
@click.option("--device", type=click.Choice(["cpu", "gpu", "auto"]), default="cpu", show_default=True)
@click.option(
    "--devices", type=click.IntRange(1, 1024), default=1, show_default=True, help="So many of them share each batch."
)
@click.option(
    "--teacher",
    metavar="RUN|NETLIST",
    type=click.Path(exists=True, path_type=Path),
    help="A circuit whose states a network of states is taught.",
)
@click.option("--resume", is_flag=True, help="Go on where the same command was interrupted or killed.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/<architecture>]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def train(
    ctx: click.Context,
    architecture: str,
    files: Sequence[Path],
    session_file: Path | None,
    preset_name: str,
    epochs: int | None,
    seconds: float | None,
    seed: int,
    device: str,
    devices: int,
    teacher: Path | None,
    resume: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train a network on recordings of a device: what went in, what came out.

    ARCHITECTURE is a name such as lstm-32, wavenet-1 or tcn-300. A run, or a file of a network (a model file, .nam,
    .aidax, or JSON of RTNeural or SimpleRNN), is trained further. Every fifth half second judges the training; what a
    session file holds out takes no part. Ctrl-C ends it with the best network so far.

    --teacher is for stn and state-space-gru: the circuit that is fitted to the recordings, or a netlist.
    """
    from circuitnn.formats import network_at
    from circuitnn.formats.reading import SUFFIXES
    from circuitnn.models.architectures import ARCHITECTURES, check_architecture
    from circuitnn.network_runs import network_summary, save_network, teacher_at, training_state
    from circuitnn.placing import check_folder
    from circuitnn.runs import check_target, free_folder
    from circuitnn.session import read_session
    from circuitnn.training import PRESETS
    from circuitnn.training import train as train_network
    from circuitnn.training.resuming import CHECKPOINT, discard_state

    path = Path(architecture)
    # A folder that is called like an architecture is meant where it is written as a path.
    named = architecture in ARCHITECTURES
    saved = network_at(path) if not named and (path.exists() or path.suffix.lower() in SUFFIXES) else None
    if saved is None:
        check_architecture(architecture)
    if bool(files) == (session_file is not None):
        raise CircuitnnError("expected DRY.wav WET.wav ..., or --recordings SESSION.toml", "give one of them")
    begin = architecture if saved is None else saved
    name = architecture if saved is None else Path(architecture).absolute().stem
    folder = out if out is not None else free_folder(name, resume, training_state)
    check_target(folder)
    state = training_state(folder)
    if not (state / CHECKPOINT).exists():
        discard_state(state)
    check_folder(state, CHECKPOINT, "the state of a training")
    # Where several devices train, Lightning starts the command once more for each; the first one speaks.
    first = int(os.environ.get("LOCAL_RANK", "0")) == 0
    if first and resume and not state.exists():
        note(f"there is no {state.name} of an interrupted training: this one begins from the start")
    if device == "gpu":
        _check_gpu()
    session = recordings_of(files) if session_file is None else read_session(session_file)
    if first:
        warn_of_clipping(session.recordings)
    preset = PRESETS[preset_name]
    preset = preset if epochs is None else replace(preset, epochs=epochs)
    with progress(preset.epochs) if first else nullcontext(_say_nothing) as update:
        trained = train_network(
            begin, session.recordings, seconds=seconds, preset=preset, seed=seed,
            device=device, devices=devices,
            teacher=None if teacher is None else teacher_at(teacher, session.input_level),
            progress=lambda epoch, error: update(epoch, f"epoch {epoch}: ESR {error:.4g}"),
            checkpoint=state, resume=resume,
        )  # fmt: skip
    save_network(
        trained, folder, preset, seed, shlex.join(["circuitnn", *sys.argv[1:]]),
        input_level=session.input_level, output_gain=session.output_gain,
    )  # fmt: skip
    if as_json:
        print_json(network_summary(trained) | {"run": str(folder)})
    else:
        _print(trained, folder)
    if trained.interrupted:
        note(f"{state.name} keeps where the training stands: the same command with --resume goes on from there")
        ctx.exit(INTERRUPTED)
    discard_state(state)


def _say_nothing(completed: float, text: str) -> None:
    pass


def _check_gpu() -> None:
    """Raise CircuitnnError where torch finds none."""
    import torch

    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise CircuitnnError("--device gpu: torch finds no GPU here", "leave --device out, or install a torch for it")


def _print(trained: Trained, folder: Path) -> None:
    from circuitnn.models.network import parameter_count

    console = printer()
    console.print(
        plain(
            f"{trained.architecture}, {parameter_count(trained.network)} parameters: ESR {trained.esr:.4g} after "
            f"{len(trained.errors)} epochs over {trained.audio_seconds:.1f} s of audio in {trained.seconds:.0f} s "
            f"({trained.reason})"
        )
    )
    console.print(f"run written to {plain(str(folder))} ({', '.join(sorted(file.name for file in folder.iterdir()))})")
