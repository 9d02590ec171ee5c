"""A comparison as one HTML page that loads nothing from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from circuitnn.audio import Recording
from circuitnn.comparison import METRICS, Contender, best_first, data_efficiency
from circuitnn.report import comparison_figures as figures
from circuitnn.report.environment import template

# For which metrics more is better, and for which no row is the best.
MORE, NEITHER = ("snr", "mushra_prediction"), ("loudness_difference",)
# What a column is called, and its unit.
NAMES = {
    "esr": "ESR",
    "esr_gain_free": "ESR, gain free",
    "esr_preemphasis": "ESR, pre-emphasis",
    "nrmse": "NRMSE",
    "snr": "SNR [dB]",
    "mae": "MAE",
    "dc": "DC",
    "stft": "STFT",
    "mr_stft": "MR-STFT",
    "loudness_difference": "loudness [LU]",
    "mfcc_cosine": "MFCC cosine",
    "mfcc_difference": "MFCC difference",
    "mushra_prediction": "MUSHRA, predicted",
}

Part = TypeVar("Part")


@dataclass(frozen=True)
class _Cell:
    text: str
    best: bool = False


@dataclass(frozen=True)
class _Table:
    """The first column is the name of the row."""

    heading: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[_Cell, ...]], ...]


def render_comparison(
    contenders: Sequence[Contender], recordings: Sequence[Recording], other_rate: int | None = None
) -> str:
    """The page, as text. other_rate: in Hz, at which runs were judged once more."""
    ordered = best_first(contenders)
    return template("comparison.html.j2").render(
        recordings=[one.name for one in recordings],
        tables=[_models(ordered), _metrics(ordered), *_probes(ordered, other_rate)],
        figures=_figures(ordered, recordings),
    )


def _models(ordered: Sequence[Contender]) -> _Table:
    rows = tuple(
        (
            one.name,
            (
                _Cell(one.kind),
                _Cell("-" if one.parameters is None else str(one.parameters)),
                _Cell(_number(one.audio_seconds)),
                _Cell(_number(one.training_seconds)),
                _Cell(_number(one.real_time_factor)),
                _Cell(one.runs_as or "-"),
            ),
        )
        for one in ordered
    )
    return _Table(
        "Models",
        "The smallest ESR comes first. Real-time factor: seconds of audio in a second on this machine, of what the "
        "last column names.",
        ("model", "parameters", "trained on [s]", "training took [s]", "real-time factor", "runs as"),
        rows,
    )


def _metrics(ordered: Sequence[Contender]) -> _Table:
    best = {key: _best(key, [one.metrics[key] for one in ordered]) for key in METRICS}
    rows = tuple(
        (
            one.name,
            tuple(_Cell(_number(one.metrics[key]), one.metrics[key] == best[key] is not None) for key in METRICS),
        )
        for one in ordered
    )
    return _Table(
        "How close they are",
        "ESR: sum (y - t)² / sum t²; with pre-emphasis 1 - 0.95 z⁻¹; gain free: after the best gain. Loudness: ITU-R "
        "BS.1770-4. The predicted MUSHRA score, 0 to 100, is a regression on MFCC differences and no listening test.",
        tuple(NAMES[key] for key in METRICS),
        rows,
    )


def _best(key: str, values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    if not found or key in NEITHER:
        return None
    return max(found) if key in MORE else min(found)


def _probes(ordered: Sequence[Contender], other_rate: int | None) -> list[_Table]:
    """Aliasing, and the error at another rate; nothing if there is nothing but renderings."""
    probed = [one for one in ordered if one.probed is not None]
    if not probed:
        return []
    tones = probed[0].probed.aliasing if probed[0].probed else ()
    columns = [f"{tone.frequency} Hz" for tone in tones]
    if other_rate is not None:
        columns.append(f"ESR at {other_rate / 1000:g} kHz")
    rows = []
    for one in probed:
        assert one.probed is not None
        cells = [_Cell(f"{tone.ratio:.1f} / {tone.audible:.1f}") for tone in one.probed.aliasing]
        rows.append((one.name, (*cells, *([_Cell(_number(one.other_rate_esr))] if other_rate is not None else []))))
    return [
        _Table(
            "Aliasing and sampling rate" if other_rate is not None else "Aliasing",
            "Aliasing-to-signal ratio in dB of sines at the recordings' peak, all of it / below 20 kHz. At another "
            "rate, circuits and the State Trajectory Network change their step; other networks run as they are.",
            tuple(columns),
            tuple(rows),
        )
    ]


def _figures(ordered: Sequence[Contender], recordings: Sequence[Recording]) -> list[tuple[str, Markup]]:
    """Caption and drawing."""
    found = []
    if curves := data_efficiency(ordered):
        found.append(("Error over training audio", figures.efficiency(curves)))
    shown = _by_name(ordered, lambda one: one.evaluations[0].output - one.evaluations[0].target)
    target = ordered[0].evaluations[0].target
    found.append((f"What is left of {recordings[0].name}", figures.errors(target, shown, recordings[0].sample_rate)))
    sweeps = _by_name(ordered, lambda one: one.probed.harmonics if one.probed else None)
    if sweeps:
        transfers = _by_name(ordered, lambda one: one.probed.transfer if one.probed else None)
        found.append(("Transfer curve: peaks at 1 kHz", figures.transfer(transfers)))
        found.append(("Harmonics over frequency, from an exponential sweep", figures.harmonics(sweeps)))
    return found


def _by_name(ordered: Sequence[Contender], of: Callable[[Contender], Part | None]) -> dict[str, Part]:
    """What the best models have, as many as a figure shows."""
    found = ((one.name, of(one)) for one in ordered)
    return dict([(name, part) for name, part in found if part is not None][: len(figures.COLOURS)])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
