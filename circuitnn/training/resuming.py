"""Where a training stands, on disk: complete or not there at all, and read again only by the training that wrote it."""

from __future__ import annotations

import hashlib
import io
import pickle
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from circuitnn.errors import CircuitnnError, OutputError
from circuitnn.models.network import Network
from circuitnn.placing import place_file
from circuitnn.training.data import Take
from circuitnn.training.presets import Preset

# The file that keeps where a training stands.
CHECKPOINT = "last.ckpt"


def fingerprint(name: str, network: Network, takes: Sequence[Take], preset: Preset, seed: int) -> str:
    """What a training depends on, as a hash. network: as it begins."""
    digest = hashlib.sha256(repr((name, preset, seed)).encode())
    for value in network.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    for one in takes:
        for signal in (one.u, one.target, one.knobs, one.states):
            digest.update(signal.numpy().tobytes())
    return digest.hexdigest()


def discard_state(folder: Path) -> None:
    """Remove a state, what a kill has left of one that was being written, and the folder if nothing else is in it."""
    with suppress(OSError):
        for file in (folder / CHECKPOINT, *folder.glob(f"{CHECKPOINT}*.part")):
            file.unlink(missing_ok=True)
        folder.rmdir()


class Kept:
    """Where one training stands, as it is written to and read from files, and how long it has taken so far."""

    def __init__(self, of: str, began: float) -> None:
        """of: its fingerprint; began: when, as time.perf_counter() tells."""
        self._of, self._began, self._before = of, began, 0.0

    @property
    def seconds(self) -> float:
        """By a clock on the wall, without the pauses of interruptions."""
        return self._before + time.perf_counter() - self._began

    def write(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write plain data and tensors. Raises OutputError."""
        buffer = io.BytesIO()
        torch.save({**state, "of": self._of, "seconds": self.seconds}, buffer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}", "choose another place") from None
        place_file(path, buffer.getvalue())

    def read(self, path: Path) -> dict[str, Any]:
        """What this training wrote. Raises CircuitnnError for what another one did, or is broken."""
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            of, seconds = state["of"], float(state["seconds"])
        except (OSError, RuntimeError, ValueError, LookupError, TypeError, EOFError, pickle.UnpicklingError):
            raise CircuitnnError(
                f"{path}: expected the state of an interrupted training, found something else",
                "train from the beginning, without --resume",
            ) from None
        if of != self._of:
            raise CircuitnnError(
                f"{path}: the state belongs to a training of another architecture, other recordings or other settings",
                "repeat the interrupted command with --resume added, or train from the beginning without it",
            )
        self._before = seconds
        return state
