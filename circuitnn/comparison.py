"""Fitted circuits, trained networks and renderings of others on the same recordings, in one table."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from circuitnn import evaluation
from circuitnn.audio import Recording, Signal
from circuitnn.errors import RecordingError
from circuitnn.formats import network_at
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.network import parameter_count
from circuitnn.rendering import Rendering
from circuitnn.runs import load_run

METRICS = ("esr", "esr_gain_free", "esr_preemphasis", "mae", "mr_stft")


@dataclass(frozen=True)
class Contender:
    """One row. parameters: how many values were fitted or trained, None for a rendering; metrics: as `evaluate` has
    them, over all recordings; real_time_factor: seconds of audio per second, None for a rendering."""

    name: str
    kind: str
    parameters: int | None
    metrics: dict[str, float | None]
    real_time_factor: float | None


def of_run(folder: str | os.PathLike[str], recordings: Sequence[Recording]) -> Contender:
    """A run of `fit` or `train`, with its own delay, level and gain, or a file of a network; but for the delay of a
    file that does not say it, nothing is adjusted to the recordings.

    Knobs stand where the recordings say. Raises CircuitnnError.
    """
    folder = Path(folder)
    saved = network_at(folder)
    if saved is not None:
        found = [evaluation.evaluate_saved(saved, one, evaluation.positions(one))[0] for one in recordings]
        return _contender(folder.name, saved.name, parameter_count(saved.network), found)
    run = load_run(folder)
    model = CircuitModel(run.circuit, run.sample_rate, run.oversample, learn=[])
    found = [evaluation.evaluate(model, one, run.delay, run.input_level, run.gain) for one in recordings]
    return _contender(folder.name, "circuit", len(run.values), found)


def of_rendering(name: str, output: Signal, recording: Recording) -> Contender:
    """Somebody else's rendering of a recording, on the time axis of its wet. Raises RecordingError."""
    if len(output) != len(recording.wet):
        raise RecordingError(
            f"{name}: expected the {len(recording.wet)} samples of {recording.name}, found {len(output)}",
            "a reference lies on the time axis of the wet recording",
        )
    # How long it took is not known.
    found = evaluation.compare(recording, output, recording.wet, Rendering(output, 0, math.inf))
    return replace(_contender(name, "rendering", None, [found]), real_time_factor=None)


def _contender(name: str, kind: str, parameters: int | None, found: Sequence[evaluation.Evaluation]) -> Contender:
    pooled = evaluation.pool(found)
    return Contender(name, kind, parameters, {key: pooled[key] for key in METRICS}, pooled["real_time_factor"])


def as_data(contenders: Sequence[Contender]) -> list[dict[str, Any]]:
    """The table as plain data, the smallest ESR first."""
    return [
        {"name": one.name, "kind": one.kind, "parameters": one.parameters}
        | one.metrics
        | {"real_time_factor": one.real_time_factor}
        for one in best_first(contenders)
    ]


def best_first(contenders: Sequence[Contender]) -> list[Contender]:
    """By ESR."""
    return sorted(contenders, key=lambda one: one.metrics["esr"] or 0.0)


def render_comparison(contenders: Sequence[Contender], recordings: Sequence[Recording]) -> str:
    """The table as one HTML page that loads nothing from outside."""
    from circuitnn.report.environment import template

    return template("comparison.html.j2").render(
        recordings=[one.name for one in recordings],
        metrics=[name.replace("_", " ") for name in METRICS],
        rows=[
            (
                one.name,
                one.kind,
                "-" if one.parameters is None else str(one.parameters),
                [_number(one.metrics[key]) for key in METRICS],
                _number(one.real_time_factor),
            )
            for one in best_first(contenders)
        ],
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
