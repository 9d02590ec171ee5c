"""A comparison as one HTML page that loads nothing from outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from circuitnn.audio import Recording
from circuitnn.comparison import METRICS, Contender, OtherRate, best_first, data_efficiency
from circuitnn.report import comparison_figures as figures
from circuitnn.report.environment import template

# For which metrics more is better.
MORE = ("snr", "mushra_prediction")
# The CSS variables of figures.COLOURS.
LEGEND = ("--fitted", "--error", "--nominal", "--ink")
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
        tables=[_models(ordered), *_metrics(ordered), *_probes(ordered, other_rate)],
        legend=[(variable, one.name) for variable, one in zip(LEGEND, ordered, strict=False)],
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


def _metrics(ordered: Sequence[Contender]) -> list[_Table]:
    best = {key: _best(key, [one.metrics[key] for one in ordered]) for key in METRICS}

    def table(heading: str, keys: Sequence[str], note: str) -> _Table:
        rows = tuple(
            (
                one.name,
                tuple(_Cell(_number(one.metrics[key]), one.metrics[key] == best[key] is not None) for key in keys),
            )
            for one in ordered
        )
        return _Table(heading, note, tuple(NAMES[key] for key in keys), rows)

    waves, hearing = METRICS[: METRICS.index("stft")], METRICS[METRICS.index("stft") :]
    return [
        table(
            "Errors of the waveform",
            waves,
            "ESR: sum (y - t)² / sum t²; with pre-emphasis 1 - 0.95 z⁻¹; gain free: after the best gain.",
        ),
        table(
            "Spectra and hearing",
            hearing,
            "Loudness: how far off, by ITU-R BS.1770-4. The predicted MUSHRA score, 0 to 100, is a regression on MFCC "
            "differences and no listening test.",
        ),
    ]


def _best(key: str, values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    if not found:
        return None
    return max(found) if key in MORE else min(found)


def _probes(ordered: Sequence[Contender], other_rate: int | None) -> list[_Table]:
    """What models do to test signals; nothing if there is nothing but renderings."""
    probed = [one for one in ordered if one.probed is not None]
    if not probed:
        return []
    tones = probed[0].probed.aliasing if probed[0].probed else ()
    columns = [f"{tone.frequency} Hz" for tone in tones]
    known = any(one.probed is not None and one.probed.spectral_difference is not None for one in probed)
    if known:
        columns += ["spectrum [dB]", "harmonics [dB]"]
    if other_rate is not None:
        columns += [f"ESR at {other_rate / 1000:g} kHz", "the same, converted"]
    rows = []
    for one in probed:
        assert one.probed is not None
        cells = [
            _Cell("-" if math.isnan(tone.ratio) else f"{tone.ratio:.1f} / {tone.audible:.1f}")
            for tone in one.probed.aliasing
        ]
        if known:
            differences = (one.probed.spectral_difference, one.probed.harmonic_difference)
            cells += [_Cell(_number(value)) for value in differences]
        if other_rate is not None:
            there = one.other_rate or OtherRate(None, None)
            cells += [_Cell(_number(value)) for value in (there.esr, there.converted_esr)]
        rows.append((one.name, tuple(cells)))
    return [
        _Table(
            "Test signals",
            "Aliasing-to-signal ratio in dB of sines at the recordings' peak, all of it / below 20 kHz."
            + (" Spectrum and harmonics: mean distance from the device's, by a sweep." if known else "")
            + (
                " At another rate, circuits and the State Trajectory Network change their step, other networks run as "
                "they are; converted: they run at their own rate, between sample rate converters."
                if other_rate is not None
                else ""
            ),
            tuple(columns),
            tuple(rows),
        )
    ]


def _figures(ordered: Sequence[Contender], recordings: Sequence[Recording]) -> list[tuple[str, Markup]]:
    """Caption and drawing. A model has one colour in all of them."""
    shown = list(zip(figures.COLOURS, ordered, strict=False))
    target = ordered[0].evaluations[0].target
    differences = [(colour, one.evaluations[0].output - one.evaluations[0].target) for colour, one in shown]
    found = [(f"What is left of {recordings[0].name}", figures.errors(target, differences, recordings[0].sample_rate))]
    if curves := data_efficiency(ordered):
        found.append(("Error over training audio", figures.efficiency(curves)))
    if probed := [(colour, one.probed) for colour, one in shown if one.probed is not None]:
        transfers = [(colour, probe.transfer) for colour, probe in probed]
        sweeps = [(colour, probe.harmonics) for colour, probe in probed]
        found.append(("Transfer curve: peaks at 1 kHz", figures.transfer(transfers)))
        found.append(("Harmonics over frequency, from an exponential sweep", figures.harmonics(sweeps)))
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
