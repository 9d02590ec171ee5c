"""Where a fit stands, on disk: written after every step, complete or not there at all, read again by `--resume`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from circuitnn.audio import Recording
from circuitnn.errors import CircuitnnError, OutputError
from circuitnn.fitting.problem import Point
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import format_netlist

FORMAT, VERSION = "circuitnn-fit-state", 1
# A state holds some kilobytes; one of this size was not written here.
MAX_BYTES = 10_000_000


@dataclass(frozen=True)
class Progressed:
    """A fit between two steps. stage: which part of it; point: the best so far; samples: independent samples that the
    recordings count as; damping, errors: as in Descent; hum: frequencies that were found in each recording."""

    stage: str
    point: Point
    samples: float
    damping: float
    errors: tuple[float, ...]
    hum: tuple[tuple[float, ...], ...]


def fingerprint(model: CircuitModel, recordings: Sequence[Recording], settings: Sequence[object]) -> str:
    """What a fit depends on, as a hash: another circuit, recording or setting must not take up this one's state."""
    digest = hashlib.sha256(format_netlist(model.circuit).encode())
    digest.update(repr((model.sample_rate, model.oversample, [c.name for c in model.coordinates], *settings)).encode())
    for recording in recordings:
        digest.update(repr(sorted(recording.knobs.items())).encode())
        digest.update(np.ascontiguousarray(recording.dry).tobytes() + np.ascontiguousarray(recording.wet).tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The state file of one fit."""

    def __init__(self, path: str | os.PathLike[str], of: str) -> None:
        self.path = Path(path)
        self._of = of

    def write(self, state: Progressed) -> None:
        """Write to a temporary file and rename. Raises OutputError."""
        text = json.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "of": self._of,
                "stage": state.stage,
                "shared": state.point.shared.tolist(),
                "delays": state.point.delays.tolist(),
                "samples": state.samples,
                "damping": state.damping,
                "errors": list(state.errors),
                "hum": [list(lines) for lines in state.hum],
            }
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".circuitnn-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(self.path)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None

    def read(self, unknowns: int, recordings: int) -> Progressed | None:
        """The state that was written, None if there is none. Raises CircuitnnError for one that is broken, or that
        another fit has written."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CircuitnnError(f"{self.path}: cannot be read: {error.strerror}") from None
        try:
            data = json.loads(raw[:MAX_BYTES])
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise ValueError("not a state that this program wrote")
            state = Progressed(
                str(data["stage"]),
                Point(_numbers(data["shared"], unknowns), _numbers(data["delays"], recordings)),
                float(data["samples"]),
                float(data["damping"]),
                tuple(_numbers(data["errors"]).tolist()),
                tuple(tuple(_numbers(lines).tolist()) for lines in data["hum"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CircuitnnError(
                f"{self.path}: not a state of a fit that can be read ({error})", "delete it, and fit from the beginning"
            ) from None
        if data["of"] != self._of:
            raise CircuitnnError(
                f"{self.path} belongs to a fit of another netlist, other recordings or other settings",
                "repeat the command that was interrupted, with --resume added, or fit from the beginning without it",
            )
        return state

    def remove(self) -> None:
        """Delete the file, when the fit is complete."""
        self.path.unlink(missing_ok=True)


def _numbers(data: Any, count: int | None = None) -> np.ndarray[Any, np.dtype[np.float64]]:
    if not isinstance(data, list) or (count is not None and len(data) != count):
        raise ValueError(f"expected {'a list' if count is None else f'{count} numbers'}")
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in data):
        raise ValueError("expected finite numbers")
    return np.array(data, dtype=np.float64)
