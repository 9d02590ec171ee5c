"""Run directories: a fit on disk, complete or not there at all, and readable by the next version.

run.json      format "circuitnn-run", version 1: values, standard errors, nuisances, settings
fitted.cir    the netlist with the fitted values; nominal.cir: the one that the fit started from
wet_<k>.wav   the model's rendering of recording k times its gain; target_<k>.wav: the recording on the same axis
report.html   for people
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitnn.audio import write_wav
from circuitnn.circuit import Circuit
from circuitnn.documents import Document, read_document
from circuitnn.errors import CircuitnnError
from circuitnn.netlist import format_netlist, read_netlist
from circuitnn.placing import check_folder, place_folder

if TYPE_CHECKING:
    from circuitnn.fitting.result import Combination, FitResult, FittedRecording, Settings

FORMAT, VERSION = "circuitnn-run", 1
# A run.json holds a few kilobytes; one of this size was not written here.
MAX_BYTES = 10_000_000


def summary(result: FitResult) -> dict[str, Any]:
    """A fit as plain data: numbers, text, lists and mappings."""
    found = result.identifiability
    return {
        "sample_rate": float(result.sample_rate),
        "oversample": result.oversample,
        "nominal": _floats(result.nominal),
        "values": _floats(result.values),
        "stderr": _floats(result.stderr),
        "prior_stderr": _floats(result.prior_stderr),
        "positions": _floats(result.positions),
        "positions_stderr": _floats(result.positions_stderr),
        "laws": [asdict(law) for law in result.laws],
        "input_level": float(result.input_level),
        "input_level_stderr": float(result.input_level_stderr),
        "recordings": [_recording(recording) for recording in result.recordings],
        "held_out": [_recording(recording) for recording in result.held_out],
        "esr": float(result.esr),
        "esr_gain_free": float(result.esr_gain_free),
        "identifiability": {
            "undetermined": list(found.undetermined),
            "determined": [_combination(c) for c in found.determined],
            "worst": [_combination(c) for c in found.worst],
            "pairs": [asdict(pair) for pair in found.pairs],
            "measurement": None if found.measurement is None else asdict(found.measurement),
            "scale": list(found.scale),
        },
        "suggestions": None if result.suggestions is None else [asdict(s) for s in result.suggestions],
        "refinement": None if result.refinement is None else asdict(result.refinement),
        "errors": [float(error) for error in result.errors],
        "reason": result.reason,
        "failures": result.failures,
        "seconds": float(result.seconds),
    }


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _recording(recording: FittedRecording) -> dict[str, Any]:
    numbers = ("gain", "delay", "confidence", "offset", "esr", "esr_gain_free", "esr_preemphasis")
    return {
        "name": recording.name,
        "knobs": _floats(recording.knobs),
        "polarity": recording.polarity,
        "samples": len(recording.target),
        "cut": recording.cut,
        "drift": None if recording.drift is None else float(recording.drift),
        "doubted": [list(part) for part in recording.doubted],
        "hum": [{"frequency": float(f), "amplitude": float(amplitude)} for f, amplitude in recording.hum.items()],
        **{name: float(getattr(recording, name)) for name in numbers},
    }


def _combination(combination: Combination) -> dict[str, Any]:
    return {
        "text": str(combination),
        "exponents": _floats(combination.exponents),
        "stderr": float(combination.stderr),
    }


def finite(data: Any) -> Any:
    """data with NaN and infinity, which JSON does not have, replaced by None, to any depth."""
    if isinstance(data, Mapping):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def check_target(folder: str | os.PathLike[str]) -> None:
    """Raise OutputError unless a run can be saved in `folder`: before the long work, not after. Leaves no trace."""
    check_folder(Path(folder), "run.json", "a run")


def free_folder(name: str, resume: bool = False, state: Callable[[Path], Path] | None = None) -> Path:
    """runs/NAME, or runs/NAME-2, runs/NAME-3, ... where that is taken. With resume one that has a state beside it is
    not. state: where that would be; `state_file` by default."""
    folder, count = Path("runs") / name, 1
    while folder.exists() and not (resume and (state or state_file)(folder).exists()):
        count += 1
        folder = Path("runs") / f"{name}-{count}"
    return folder


def state_file(folder: Path) -> Path:
    """Where a fit that will be saved in `folder` keeps its state until then: beside it, because the folder is complete
    or not there."""
    return folder.absolute().with_name(f"{folder.absolute().name}.state.json")


def save_run(result: FitResult, folder: str | os.PathLike[str], settings: Settings | None = None) -> None:
    """Write a run directory; a run that is there already is replaced. Raises OutputError."""
    from circuitnn.fitting.result import Settings
    from circuitnn.report.page import render_report

    folder, settings = Path(folder), settings or Settings()
    check_target(folder)
    text = json.dumps(finite(_document(result, settings)), indent=2, ensure_ascii=False) + "\n"
    report = render_report(result, settings)

    def fill(built: Path) -> None:
        fitted = format_netlist(result.fitted_circuit, _floats(result.values))
        (built / "fitted.cir").write_text(fitted, encoding="utf-8")
        (built / "nominal.cir").write_text(format_netlist(result.circuit), encoding="utf-8")
        for k, recording in enumerate(result.recordings):
            write_wav(built / f"wet_{k}.wav", recording.output, round(result.sample_rate))
            write_wav(built / f"target_{k}.wav", recording.target, round(result.sample_rate))
        (built / "report.html").write_text(report, encoding="utf-8")
        (built / "run.json").write_text(text, encoding="utf-8")

    place_folder(folder, fill)


def _document(result: FitResult, settings: Settings) -> dict[str, Any]:
    path = result.circuit.path
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "circuitnn": version("circuitnn"),
        "netlist": {
            "path": None if path is None else str(path),
            "sha256": hashlib.sha256(format_netlist(result.circuit).encode()).hexdigest(),
        },
        "settings": {
            "learn": settings.learn,
            "set": list(settings.fixed),
            "input_level": settings.input_level,
            "output_gain": settings.output_gain,
            "max_iterations": settings.max_iterations,
            "robust": settings.robust,
            "loss": settings.loss,
            "optimizer": None if settings.loss is None else settings.optimizer,
            "command": settings.command,
        },
    }
    document |= summary(result)
    for key, sources in (("recordings", settings.sources), ("held_out", settings.held_out)):
        for entry, source in zip(document[key], sources, strict=False):
            entry |= {"dry": source.dry, "wet": source.wet}
            if source.dry_samples is not None:
                entry |= {"dry_samples": source.dry_samples, "wet_samples": source.wet_samples}
            if source.conditions is not None:
                entry["conditions"] = dict(zip(("dry", "wet"), map(asdict, source.conditions), strict=True))
    return document


@dataclass(frozen=True)
class RunRecording:
    """gain: digital full scale per volt; delay: samples by which the wet is late; samples: that were fitted;
    length_difference: samples by which the dry file was longer than the wet one, None if that was not written down."""

    name: str
    gain: float
    delay: float
    samples: int
    length_difference: int | None


@dataclass(frozen=True)
class Run:
    """A fit that was saved. circuit: with the fitted values; values and stderr in SI units; input_level: volt at
    digital full scale; seconds: that the fit took."""

    folder: Path
    circuit: Circuit
    sample_rate: float
    oversample: int
    values: Mapping[str, float]
    stderr: Mapping[str, float | None]
    input_level: float
    recordings: tuple[RunRecording, ...]
    esr: float
    reason: str
    seconds: float

    @cached_property
    def nominal(self) -> Circuit:
        """The circuit that the fit started from. Raises NetlistError."""
        return read_netlist(self.folder / "nominal.cir")

    @cached_property
    def audio_seconds(self) -> float:
        """How much of its recordings the fit saw."""
        return sum(recording.samples for recording in self.recordings) / self.sample_rate

    @cached_property
    def delay(self) -> float:
        """The median delay of its recordings, in samples."""
        return statistics.median(recording.delay for recording in self.recordings)

    @cached_property
    def gain(self) -> float:
        """The mean output gain of its recordings, in digital full scale per volt."""
        return statistics.fmean(recording.gain for recording in self.recordings)


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a run directory. Raises CircuitnnError for one that is missing, broken or of a later format."""
    folder = Path(folder)
    path = folder / "run.json"
    if not folder.exists():
        raise CircuitnnError(f"{folder}: no such file or folder")
    if not path.is_file():
        raise CircuitnnError(
            f"{folder}: not a run: there is no run.json", "runs are made by `circuitnn fit` and `circuitnn train`"
        )
    data = read_document(path, FORMAT, VERSION, MAX_BYTES, "fit again; the file is damaged")
    recordings = tuple(
        RunRecording(
            entry.text("name"), entry.number("gain"), entry.number("delay"), entry.integer("samples"),
            _length_difference(entry),
        )
        for entry in data.entries("recordings")
    )  # fmt: skip
    if not recordings:
        raise data.wrong("recordings", "at least one recording")
    return Run(
        folder=folder,
        circuit=read_netlist(folder / "fitted.cir"),
        sample_rate=data.number("sample_rate"),
        oversample=data.integer("oversample"),
        values={name: number for name, number in data.numbers("values").items() if number is not None},
        stderr=data.numbers("stderr"),
        input_level=data.number("input_level"),
        recordings=recordings,
        esr=data.number("esr"),
        reason=data.text("reason"),
        seconds=data.number("seconds"),
    )


def _length_difference(entry: Document) -> int | None:
    if "dry_samples" not in entry.value:
        return None
    return entry.integer("dry_samples") - entry.integer("wet_samples")
