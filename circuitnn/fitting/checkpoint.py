"""Where a fit stands, on disk: written after every step, complete or not there at all, read again by `--resume`."""

from __future__ import annotations

import hashlib
import json
import math
import os
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

FORMAT, VERSION = "circuitnn-fit-state", 2
# The stages of a fit, in order: parts of the recordings (or, where those are lost, the begin of them, as far as a fit
# that grows has come), parts of long ones at the model's own rate, and all of them.
APPROACH, GROWN, SPREAD, FIT = "approach", "grown", "spread", "fit"
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
        digest.update(repr((recording.delay, recording.gain_group)).encode())
        for signal in (recording.dry, recording.wet):
            digest.update(np.ascontiguousarray(signal).data)
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
                "states": [own.tolist() for own in state.point.states],
                "samples": state.samples,
                "damping": state.damping,
                "errors": list(state.errors),
                "hum": [list(lines) for lines in state.hum],
            }
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Always of the same name: a process that is killed while it writes leaves no more than one behind.
            temporary = self.path.with_name(f"{self.path.name}.new")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from None

    def read(self, unknowns: int, recordings: int, states: Sequence[int] = ()) -> Progressed | None:
        """The state that was written, None if there is none. states: lengths of the recordings' initial states, if some
        are unknown. Raises CircuitnnError for one that is broken, or that another fit has written."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CircuitnnError(f"{self.path}: cannot be read: {error.strerror}") from None
        try:
            if len(raw) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES // 1_000_000} MB")
            data = json.loads(raw)
            if data["format"] != FORMAT or data["version"] != VERSION:
                raise ValueError("written by something else")
            if data["of"] != self._of:
                raise CircuitnnError(
                    f"{self.path} belongs to a fit of another netlist, other recordings or other settings",
                    "repeat the interrupted command with --resume added, or fit from the beginning without it",
                )
            return _state(data, unknowns, recordings, states)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise CircuitnnError(
                f"{self.path}: not a state of a fit that can be read ({error})", "delete it, and fit from the beginning"
            ) from None


def _state(data: dict[str, Any], unknowns: int, recordings: int, lengths: Sequence[int]) -> Progressed:
    """Raises ValueError, KeyError, TypeError or OverflowError for what was not written here."""
    stage, hum, states = data["stage"], data["hum"], data["states"]
    if stage not in (APPROACH, GROWN, SPREAD, FIT):
        raise ValueError("unknown stage")
    if not isinstance(hum, list) or len(hum) not in (0, recordings):
        raise ValueError("hum of another number of recordings")
    if not isinstance(states, list) or len(states) != len(lengths):
        raise ValueError("states of another number of recordings")
    samples, damping = _numbers([data["samples"], data["damping"]]).tolist()
    if min(samples, damping) <= 0.0:
        raise ValueError("expected numbers above 0")
    return Progressed(
        stage,
        Point(
            _numbers(data["shared"], unknowns),
            _numbers(data["delays"], recordings),
            tuple(_numbers(own, length) for own, length in zip(states, lengths, strict=True)),
        ),
        samples,
        damping,
        tuple(_numbers(data["errors"]).tolist()),
        tuple(tuple(_numbers(lines).tolist()) for lines in hum),
    )


def _numbers(data: Any, count: int | None = None) -> np.ndarray[Any, np.dtype[np.float64]]:
    if not isinstance(data, list) or (count is not None and len(data) != count):
        raise ValueError(f"expected {'a list' if count is None else f'{count} numbers'}")
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in data):
        raise ValueError("expected finite numbers")
    return np.array(data, dtype=np.float64)
