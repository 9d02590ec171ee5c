"""The report of a fit as one HTML page: text, figures and sound, and nothing from outside."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from circuitnn.errors import CircuitnnError
from circuitnn.inspection.frequencies import AUDIBLE, curve
from circuitnn.learnables import NORMAL_95
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import format_netlist
from circuitnn.report import figures, judgement, words
from circuitnn.report.curves import learned_law, level_band, level_sweep, small_signal_gain
from circuitnn.report.environment import template
from circuitnn.report.sounds import Excerpt, excerpt

if TYPE_CHECKING:
    from circuitnn.fitting.result import FitResult, FittedRecording, Settings, Source

# Recordings that get figures and sound, the worst first.
SHOWN = 3
# The tolerance pictures span this many prior widths either way.
BAR_WIDTHS = 3.0


@dataclass(frozen=True)
class _Bar:
    """A value on an axis in percent of its width, and the ends of its interval. beyond: -1 or 1 where the value lies
    beyond an end of the axis, else 0."""

    place: float
    begin: float
    end: float
    beyond: int


@dataclass(frozen=True)
class _Figure:
    """tall: has the height of two."""

    caption: str
    drawing: Markup
    tall: bool = False


@dataclass(frozen=True)
class _Recording:
    name: str
    esr: str
    figures: tuple[_Figure, ...]
    excerpt: Excerpt


@dataclass(frozen=True)
class _Behaviour:
    """What the circuit does before and after. note: at which knobs, or why there are no figures."""

    note: str
    figures: tuple[_Figure, ...] = ()


def render_report(result: FitResult, settings: Settings) -> str:
    """The page, as text."""
    worst_first = sorted(result.recordings, key=lambda recording: -recording.esr)
    shown = worst_first[:SHOWN]
    rows = words.value_rows(result)
    return template("report.html.j2").render(
        title=result.circuit.title or "fit",
        status=judgement.status(result),
        verdict=judgement.verdict(result),
        facts=words.facts(result),
        next_steps=judgement.next_steps(result),
        values=[(row, _bar(row)) for row in rows],
        bar_widths=BAR_WIDTHS,
        findings=words.findings(result),
        failing=words.where_it_fails(result),
        behaviour=_behaviour(result, worst_first[0]),
        laws=words.law_rows(result),
        levels=[words.input_level(result), *words.positions(result), *words.remarks(result)],
        recordings=words.recording_rows(result.recordings),
        signals=_signals(settings.sources),
        held_out=words.recording_rows(result.held_out),
        shown=[_recording(recording, result.sample_rate, len(shown)) for recording in shown],
        hidden=len(result.recordings) - len(shown),
        convergence=figures.convergence(result.errors),
        course=judgement.course(result),
        settings=_settings(result, settings),
        command=settings.command,
    )


def _bar(row: words.ValueRow) -> _Bar:
    def place(share: float) -> float:
        return 50.0 + 50.0 * min(max(share / BAR_WIDTHS, -1.0), 1.0)

    beyond = 0 if abs(row.share) <= BAR_WIDTHS else int(np.sign(row.share))
    return _Bar(place(row.share), place(row.low), place(row.high), beyond)


def _behaviour(result: FitResult, recording: FittedRecording) -> _Behaviour:
    """Figures of the netlist's and the fitted circuit, at the knobs and up to the level of a recording."""
    knobs, frequencies = recording.knobs, curve(*AUDIBLE)
    highest = result.input_level * float(np.abs(recording.input).max())
    gains, sweeps = [], []
    try:
        # The same steps in time as in the fit, without rate conversion.
        model = CircuitModel(result.circuit, result.sample_rate * result.oversample, 1, list(result.values))
        for circuit, values in ((result.circuit, result.nominal), (result.fitted_circuit, result.values)):
            model.tapers = {knob.name: knob.taper for knob in circuit.knobs}
            model.set_values(values)
            gains.append(small_signal_gain(model, knobs, frequencies))
            sweeps.append(level_sweep(model, knobs, highest))
        spread = result.covariance[: len(model.coordinates), : len(model.coordinates)]
        reach = NORMAL_95 * level_band(model, knobs, frequencies, spread)
        laws = [
            (network, learned_law(model, network, result.nominal, result.values, spread))
            for network in result.circuit.networks
            if network.values.keys() & result.values.keys()
        ]
    except CircuitnnError as error:
        # A fit is worth more than these figures.
        return _Behaviour(f"No figures of the circuit's behaviour: {error.message}.")
    tone = f"{sweeps[1].frequency:.0f} Hz"
    failures = " ".join(dict.fromkeys(sweep.failures for sweep in sweeps if sweep.failures))
    return _Behaviour(
        f"{_setting(knobs)} {failures}".strip(),
        (
            _Figure(
                "Frequency response, small signals, with its 95 % band",
                figures.response(frequencies, gains[0], gains[1], reach),
            ),
            _Figure(f"Harmonics of {tone} over level", figures.harmonics(*sweeps), tall=True),
            _Figure(f"Transfer curve: peaks at {tone}, up to the recording's peak", figures.transfer(*sweeps)),
            *(
                _Figure(
                    f"What flows through {' and '.join(network.elements)}, with its 95 % band",
                    figures.law(law, NORMAL_95 * law.reach),
                )
                for network, law in laws
            ),
        ),
    )


def _setting(knobs: Mapping[str, float]) -> str:
    if not knobs:
        return "Knobs as in the netlist, and where they were learned as fitted."
    return f"Knobs: {', '.join(f'{name} {position:.3g}' for name, position in knobs.items())}."


def _recording(recording: FittedRecording, rate: float, count: int) -> _Recording:
    dry, target, output = recording.input, recording.target, recording.output
    return _Recording(
        name=recording.name,
        esr=words.level(recording.esr),
        figures=(
            _Figure("Whole recording; the worst second is shaded", figures.over_time(target, output, rate)),
            _Figure("The 20 ms with the largest error", figures.close_look(target, output, rate)),
            _Figure(
                "The worst second; spectrograms in dB of full scale",
                figures.worst_second(target, output, rate),
                tall=True,
            ),
            _Figure("Spectrum in twelfths of an octave", figures.spectrum(target, output, rate)),
            _Figure("Error over level, in blocks of 20 ms", figures.over_level(dry, target, output, rate)),
        ),
        excerpt=excerpt(recording, rate, count),
    )


def _signals(sources: Sequence[Source]) -> list[words.SignalRow]:
    return [
        words.signal_row(Path(file).name, side, condition)
        for source in sources
        if source.conditions is not None
        for file, side, condition in zip((source.dry, source.wet), ("dry", "wet"), source.conditions, strict=True)
    ]


def _settings(result: FitResult, settings: Settings) -> list[tuple[str, str]]:
    digest = hashlib.sha256(format_netlist(result.circuit).encode()).hexdigest()
    rows = [
        ("netlist", str(result.circuit.path or "given in memory")),
        ("its SHA-256", f"{digest} (as nominal.cir beside this page)"),
        ("sample rate", f"{result.sample_rate:g} Hz, {result.oversample} times oversampled"),
        ("learned", f"{settings.learn}: {', '.join(result.values)}"),
        ("set", ", ".join(settings.fixed) or "nothing"),
        ("input level", "estimated" if settings.input_level is None else f"{settings.input_level:g} V at full scale"),
        (
            "output gain",
            "estimated for each recording" if settings.output_gain is None else f"{settings.output_gain:g} per volt",
        ),
        ("steps at most", str(settings.max_iterations)),
        ("robust", "yes" if settings.robust else "no"),
        ("after least squares", "nothing" if settings.loss is None else f"{settings.loss} by {settings.optimizer}"),
    ]
    rows += [("recording", f"{source.dry} → {source.wet}") for source in settings.sources]
    programs = [f"{name} {version(name)}" for name in ("circuitnn", "torch", "numpy")]
    return [*rows, ("programs", ", ".join([*programs, f"Python {platform.python_version()}"]))]
