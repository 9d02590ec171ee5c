"""Run directories of networks: a training on disk, complete or not there at all.

run.json              format "circuitnn-network", version 1: architecture, knobs, rate, delay, errors, settings
weights.safetensors   what was trained, by the parameters' names; no code, so that a stranger's file cannot run any
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from circuitnn.documents import Document, read_bounded, read_document
from circuitnn.errors import CircuitnnError
from circuitnn.models.architectures import build_network
from circuitnn.models.network import Network, parameter_count
from circuitnn.placing import place_folder
from circuitnn.runs import check_target, finite
from circuitnn.training import Preset, Trained

FORMAT, VERSION = "circuitnn-network", 1
WEIGHTS = "weights.safetensors"
# A run.json holds a few kilobytes, and the largest network of the table less than a megabyte.
MAX_BYTES, MAX_WEIGHT_BYTES = 10_000_000, 100_000_000
MAX_KNOBS = 100
MEND = "train again; the file is damaged"


@dataclass(frozen=True)
class NetworkRun:
    """A training that was saved. delay: samples by which the wet is late; esr: of what judged the training; seconds:
    that it took; audio_seconds: that it was trained on."""

    folder: Path
    network: Network
    architecture: str
    sample_rate: float
    delay: float
    esr: float
    seconds: float
    audio_seconds: float


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
    trained: Trained, folder: str | os.PathLike[str], preset: Preset, seed: int, command: str | None = None
) -> None:
    """Write a run directory; a run that is there already is replaced. Raises OutputError."""
    from safetensors.torch import save_file

    folder = Path(folder)
    check_target(folder)
    settings = {"preset": asdict(preset), "seed": seed, "command": command}
    document = {"format": FORMAT, "version": VERSION, "circuitnn": version("circuitnn"), "settings": settings}
    text = json.dumps(finite(document | network_summary(trained)), indent=2, ensure_ascii=False) + "\n"

    def fill(built: Path) -> None:
        weights = {name: value.contiguous() for name, value in trained.network.state_dict().items()}
        save_file(weights, built / WEIGHTS)
        (built / WEIGHTS).chmod(0o644)
        (built / "run.json").write_text(text, encoding="utf-8")

    place_folder(folder, fill)


def training_state(folder: Path) -> Path:
    """Where a training that will be saved in `folder` keeps its state until then: a folder beside it."""
    return folder.absolute().with_name(f"{folder.absolute().name}.training")


def is_network_run(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder holds a network, complete or not. What else it may be is for others to say."""
    return (Path(folder) / WEIGHTS).exists()


def load_network(folder: str | os.PathLike[str]) -> NetworkRun:
    """Read a run directory. Raises CircuitnnError for one that is missing, broken or of a later format."""
    folder = Path(folder)
    path = folder / "run.json"
    if not path.is_file():
        raise CircuitnnError(f"{folder}: not a run: there is no run.json", "runs are made by `circuitnn train`")
    data = read_document(path, FORMAT, VERSION, MAX_BYTES, MEND)
    try:
        network = build_network(data.text("architecture"), _knobs(data))
    except CircuitnnError as error:
        raise CircuitnnError(f"{path}: {error.message}", error.hint) from None
    _load_weights(network, folder / WEIGHTS)
    return NetworkRun(
        folder, network.eval(), data.text("architecture"), data.number("sample_rate"), data.number("delay"),
        data.number("esr"), data.number("seconds"), data.number("audio_seconds"),
    )  # fmt: skip


def _knobs(data: Document) -> tuple[str, ...]:
    names = data.value.get("knobs")
    if not isinstance(names, list) or len(names) > MAX_KNOBS or not all(isinstance(name, str) for name in names):
        raise data.wrong("knobs", "a list of names")
    return tuple(names)


def _load_weights(network: Network, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    raw = read_bounded(path, MAX_WEIGHT_BYTES, "network of this program")
    try:
        weights = load(raw)
    except SafetensorError as error:
        raise CircuitnnError(f"{path}: not a safetensors file: {error}", MEND) from None
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CircuitnnError(f"{path}: {name} holds values that are not finite", MEND)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CircuitnnError(
            f"{path}: weights of another network: {' '.join(str(error).split())[:300]}", MEND
        ) from None
