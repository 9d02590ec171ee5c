"""The report of a fit as one HTML page: text, figures and sound, without scripts and without anything from outside."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from circuitnn.report import figures, words

if TYPE_CHECKING:
    from circuitnn.fitting.result import FitResult, FittedRecording, Settings

# Recordings that get figures and sound, the worst first; a page must stay small enough to be sent around.
SHOWN = 4
# Seconds of sound: of one recording, and of all together.
LONGEST, TOTAL = 10.0, 20.0
# Change bars span this many prior widths either way.
BAR_WIDTHS = 3.0


@dataclass(frozen=True)
class _Bar:
    """A change on an axis in percent of its width: from `begin` to `end`, with a whisker; the prior's band."""

    begin: float
    end: float
    whisker_begin: float
    whisker_end: float


@dataclass(frozen=True)
class _Player:
    label: str
    source: str


@dataclass(frozen=True)
class _Recording:
    name: str
    esr: str
    overview: Markup
    close_look: Markup
    spectrum: Markup
    players: tuple[_Player, ...]
    seconds: float


def render_report(result: FitResult, settings: Settings) -> str:
    """The page, as text."""
    environment = Environment(
        loader=PackageLoader("circuitnn.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    worst_first = sorted(result.recordings, key=lambda recording: -recording.esr)[:SHOWN]
    return environment.get_template("report.html.j2").render(
        title=result.circuit.title or "fit",
        sound=words.sound(result),
        verdict=words.verdict(result),
        values=[(row, _bar(row)) for row in words.value_rows(result)],
        bar_widths=BAR_WIDTHS,
        input_level=words.input_level(result),
        recordings=words.recording_rows(result.recordings),
        findings=words.findings(result),
        shown=[_recording(recording, result.sample_rate, len(worst_first)) for recording in worst_first],
        hidden=len(result.recordings) - len(worst_first),
        convergence=Markup(figures.convergence(result.errors)),
        reason=result.reason,
        settings=_settings(result, settings),
        version=version("circuitnn"),
    )


def _bar(row: words.ValueRow) -> _Bar:
    def place(share: float) -> float:
        return 50.0 + 50.0 * min(max(share / BAR_WIDTHS, -1.0), 1.0)

    end = place(row.share)
    return _Bar(min(50.0, end), max(50.0, end), place(row.share - row.spread), place(row.share + row.spread))


def _recording(recording: FittedRecording, rate: float, count: int) -> _Recording:
    target, output = recording.target, recording.output
    seconds = min(LONGEST, TOTAL / count, len(target) / rate)
    length = round(seconds * rate)
    # One scale for all three, so that what is quiet stays quiet.
    scale = 0.99 / max(1.0, float(np.abs(target).max()), float(np.abs(output).max()))
    sounds = (("recording", target), ("fitted circuit", output), ("difference", output - target))
    return _Recording(
        name=recording.name,
        esr=words.level(recording.esr),
        overview=Markup(figures.overview(target, output, rate)),
        close_look=Markup(figures.close_look(target, output, rate)),
        spectrum=Markup(figures.spectrum(target, output, rate)),
        players=tuple(_Player(label, _data_uri(scale * sound[:length], rate)) for label, sound in sounds),
        seconds=seconds,
    )


def _data_uri(samples: figures.Signal, rate: float) -> str:
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1.0, 1.0), round(rate), subtype="PCM_16", format="WAV")
    return f"data:audio/wav;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _settings(result: FitResult, settings: Settings) -> list[tuple[str, str]]:
    rows = [
        ("netlist", str(result.circuit.path or "given in memory")),
        ("sample rate", f"{result.sample_rate:g} Hz, {result.oversample} times oversampled"),
        ("learned", settings.learn),
        ("set", ", ".join(settings.fixed) or "nothing"),
        ("input level", "estimated" if settings.input_level is None else f"{settings.input_level:g} V at full scale"),
        (
            "output gain",
            "estimated for each recording" if settings.output_gain is None else f"{settings.output_gain:g} per volt",
        ),
    ]
    rows += [("recording", f"{source.dry} → {source.wet}") for source in settings.sources]
    return rows
