"""Run directories of networks: a training on disk, complete or not there at all.

run.json              the model file of the network (docs/model-file.md), with how it was trained beside
weights.safetensors   what was trained, by the parameters' names, unless it is so little that it is in run.json
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from circuitnn.errors import CircuitnnError
from circuitnn.formats import SavedNetwork, network_at
from circuitnn.formats.native import FIRST_WEIGHTS as WEIGHTS
from circuitnn.formats.native import document, to_text
from circuitnn.formats.reading import RUN_FILE
from circuitnn.models.network import parameter_count
from circuitnn.netlist import read_netlist
from circuitnn.placing import place_folder
from circuitnn.runs import check_target, finite, load_run
from circuitnn.training import Preset, Teacher, Trained


def network_summary(trained: Trained) -> dict[str, Any]:
    """A training as plain data."""
    return {
        "architecture": trained.architecture,
        "knobs": list(trained.network.knob_names),
        "parameters": parameter_count(trained.network),
        "sample_rate": trained.sample_rate,
        "delay": trained.delay,
        "esr": trained.esr,
        "errors": list(trained.errors),
        "reason": trained.reason,
        "seconds": trained.seconds,
        "audio_seconds": trained.audio_seconds,
    }


def save_network(
    trained: Trained,
    folder: str | os.PathLike[str],
    preset: Preset,
    seed: int,
    command: str | None = None,
    *,
    input_level: float | None = None,
    output_gain: float | None = None,
) -> None:
    """Write a run directory; a run that is there already is replaced. input_level: volt at digital full scale of the
    dry, output_gain: digital full scale of the wet per volt, if they are known. Raises OutputError."""
    folder = Path(folder)
    check_target(folder)
    saved = SavedNetwork(
        trained.network, trained.architecture, trained.sample_rate, trained.delay, trained.esr, input_level, output_gain
    )
    data, weights = document(saved, WEIGHTS)
    settings = {"preset": asdict(preset), "seed": seed, "command": command}
    text = to_text(finite({**data, "settings": settings, **network_summary(trained), "weights": data["weights"]}))

    def fill(built: Path) -> None:
        if weights is not None:
            (built / WEIGHTS).write_bytes(weights)
        (built / RUN_FILE).write_text(text, encoding="utf-8")

    place_folder(folder, fill)


def teacher_at(path: Path, input_level: float | None = None) -> Teacher:
    """The circuit of a fit's run, with the input level that the fit found, or of a netlist, with the given one, in volt
    at digital full scale; None: 1 V. Raises CircuitnnError."""
    if path.is_dir():
        if network_at(path) is not None:
            raise CircuitnnError(f"{path}: a network cannot teach", "give a run of `circuitnn fit`, or a netlist")
        run = load_run(path)
        return Teacher(run.circuit, run.input_level, fitted=True)
    return Teacher(read_netlist(path), input_level or 1.0)


def training_state(folder: Path) -> Path:
    """Where a training that will be saved in `folder` keeps its state until then: a folder beside it."""
    return folder.absolute().with_name(f"{folder.absolute().name}.training")
