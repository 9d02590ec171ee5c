"""A fit in words and rows, for the command line and for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from circuitnn.fitting.model_check import shares
from circuitnn.inspection import show
from circuitnn.learnables import KNOB_WIDTH, NORMAL_95, Coordinate, coordinates
from circuitnn.tapers import position_at

if TYPE_CHECKING:
    from circuitnn.condition import Condition
    from circuitnn.fitting.result import Combination, FitResult, FittedRecording, Measurement

# Alignments below this confidence are called doubtful.
DOUBTFUL = 1.15
# Factors of a combination that are spelled out, and the relative standard error up to which it is known well.
FACTORS, SHARP = 5, 0.05
# Places in a recording that are listed.
PLACES = 8
# Relative standard error beyond which an estimated input level is a guess.
GUESS = 0.5
# Offset and hum below this amplitude, of full scale, are not worth a word (-100 dB).
INAUDIBLE = 1e-5
UNDISTURBED = "none"
# Prior widths from which on a value that has left its tolerance is warned of.
FAR = 3.0
# By what the recordings are divided to say where the error is.
KINDS = {"frequency": "Most error by frequency", "level": "By level of the input", "time": "By time"}


@dataclass(frozen=True)
class ValueRow:
    """One learned value as text, with its 95 % interval. share: its change in units of the prior's width, in the
    coordinate that is learned; low, high: the ends of its interval there; told: whether the recordings determine it
    better than the netlist's tolerance does; outside: whether its whole interval lies outside its tolerance; far:
    whether the value moreover is FAR widths away from the netlist's."""

    name: str
    nominal: str
    tolerance: str
    fitted: str
    interval: str
    change: str
    share: float
    low: float
    high: float
    told: bool
    outside: bool
    far: bool


@dataclass(frozen=True)
class SignalRow:
    """One signal as text: its peak, clipped samples, and what is in it beside the sound; "-": not known."""

    name: str
    peak: str
    clipped: str
    offset: str
    hum: str
    noise: str


@dataclass(frozen=True)
class RecordingRow:
    """The nuisances and errors of one recording as text."""

    name: str
    gain: str
    polarity: str
    delay: str
    alignment: str
    disturbance: str
    esr: str
    esr_gain_free: str


@dataclass(frozen=True)
class LawRow:
    """What a learned law makes of one rotation, as text."""

    knob: str
    rotation: str
    value: str
    interval: str


def level(error: float) -> str:
    """A ratio of energies as number and in dB."""
    return f"{error:.2g} ({10.0 * math.log10(error):.1f} dB)" if error > 0.0 else "0"


def full_scale(value: float | None) -> str:
    """An amplitude relative to digital full scale; None: not known."""
    if value is None:
        return "-"
    return f"{20.0 * math.log10(value):.1f} dBFS" if value > 0.0 else "none"


def signal_row(name: str, side: str, condition: Condition) -> SignalRow:
    """What a signal is like, and what is wrong with it. side: "dry" or "wet"."""
    return SignalRow(
        name=f"{name} ({side})",
        peak=full_scale(condition.peak),
        clipped=str(condition.clipped or "no"),
        offset="-" if condition.dc is None else f"{condition.dc:.2g}",
        hum=full_scale(condition.hum) + ("" if condition.mains is None else f" at {condition.mains:.0f} Hz"),
        noise=full_scale(condition.noise),
    )


def value_rows(result: FitResult) -> list[ValueRow]:
    """Nominal and fitted values, in the order of the fit. Weights of networks are no values of parts: their laws are
    shown as curves."""
    weights = {name for network in result.circuit.networks for name in network.values}
    names = [name for name in result.values if name not in weights]
    return [_value_row(result, coordinate) for coordinate in coordinates(result.circuit, names)]


def _value_row(result: FitResult, coordinate: Coordinate) -> ValueRow:
    name, width = coordinate.name, coordinate.width
    nominal, fitted, stderr = (source[name] for source in (result.nominal, result.values, result.stderr))
    relative = f"{100.0 * math.expm1(width):.3g} %"
    tolerance = {"knob": "whole travel", "positive": relative, "coupling": f"{relative} of 1 - k"}
    free, slope = coordinate.free(fitted), coordinate.slope(fitted)
    # Intervals are symmetric where the fit works, so that those of positive values and of knobs stay in range.
    reach = NORMAL_95 * stderr / slope if slope > 0.0 and math.isfinite(stderr) else math.inf
    ends = coordinate.interval(fitted, stderr)
    told = name not in result.identifiability.undetermined
    # A knob has no tolerance that it could leave.
    outside = coordinate.kind != "knob" and abs(free) - reach > width
    return ValueRow(
        name=name,
        nominal=show(result.circuit, name, nominal),
        tolerance=tolerance.get(coordinate.kind, show(result.circuit, name, width)),
        fitted=show(result.circuit, name, fitted),
        interval=" to ".join(show(result.circuit, name, end) for end in ends) if math.isfinite(reach) else "unknown",
        change=f"{100.0 * (fitted - nominal) / (abs(nominal) or 1.0):+.1f} %",
        share=free / width,
        low=(free - reach) / width,
        high=(free + reach) / width,
        told=told,
        outside=outside,
        far=outside and abs(free) > FAR * width,
    )


def recording_rows(recordings: Sequence[FittedRecording]) -> list[RecordingRow]:
    """Gain, polarity, delay, confidence and errors of every recording."""
    return [
        RecordingRow(
            name=recording.name,
            gain=f"{abs(recording.gain):.4g} per volt",
            polarity="inverted" if recording.polarity < 0 else "as played",
            delay=f"{round(recording.delay, 2) + 0.0:.2f} samples",
            alignment=_alignment(recording.confidence),
            disturbance=_disturbance(recording),
            esr=f"{recording.esr:.3g}",
            esr_gain_free=f"{recording.esr_gain_free:.3g}",
        )
        for recording in recordings
    ]


def _disturbance(recording: FittedRecording) -> str:
    """What the recording holds beside the device's output, in dB of full scale."""
    parts = [("offset", abs(recording.offset))] + [(f"{f:.4g} Hz", size) for f, size in sorted(recording.hum.items())]
    heard = [f"{name} {20.0 * math.log10(size):.0f} dB" for name, size in parts if size > INAUDIBLE]
    return ", ".join(heard) or UNDISTURBED


def remarks(result: FitResult) -> list[str]:
    """What is special about single recordings, in sentences."""
    cut = [
        f"{recording.name} begins in mid-sound: what the circuit held there was estimated."
        for recording in result.recordings
        if recording.cut
    ]
    return cut + [_doubted(recording) for recording in result.recordings if recording.doubted]


def _doubted(recording: FittedRecording) -> str:
    seconds = sum(end - begin for begin, end in recording.doubted)
    listed = [f"{begin:.2f}" for begin, _ in recording.doubted[:PLACES]]
    more = ", ..." if len(recording.doubted) > PLACES else ""
    return (
        f"{recording.name}: {seconds:.2g} s counted little and are left out of its errors, because nothing else in the "
        f"recording is like them: from {', '.join(listed)}{more} s of the dry."
    )


def positions(result: FitResult) -> list[str]:
    """Where the knobs stood that recordings give by a label, in sentences."""
    tapers = {knob.name: knob.taper for knob in result.fitted_circuit.knobs}
    sentences = []
    for name, value in result.positions.items():
        knob, _, label = name.partition("@")
        coordinate = Coordinate(name, value, "knob", KNOB_WIDTH)
        reach = NORMAL_95 * result.positions_stderr[name] / coordinate.slope(value)
        places = [
            position_at(tapers[knob], float(coordinate.value(torch.tensor(side * reach, dtype=torch.float64))))
            for side in (0.0, -1.0, 1.0)
        ]
        middle, low, high = (f"{place:.3f}" for place in places)
        sentences.append(f'{knob} at "{label}": position {middle} ({low} to {high} with 95 %).')
    return sentences


def law_rows(result: FitResult) -> list[LawRow]:
    """The laws of pots that were learned, at the rotations of the recordings."""
    return [
        LawRow(law.knob, f"{rotation:g}", f"{value:.4g}", " to ".join(f"{end:.4g}" for end in _interval(value, stderr)))
        for law in result.laws
        for rotation, value, stderr in zip(law.rotations, law.values, law.stderr, strict=True)
    ]


def _interval(value: float, stderr: float) -> tuple[float, float]:
    """Of a number between 0 and 1, symmetric in its logit."""
    coordinate = Coordinate("", value, "knob", KNOB_WIDTH)
    reach = NORMAL_95 * stderr / coordinate.slope(value)
    free = coordinate.free(value)
    low, high = (
        float(coordinate.value(torch.tensor(free + side * reach, dtype=torch.float64))) for side in (-1.0, 1.0)
    )
    return low, high


def told_level(result: FitResult) -> bool:
    """Whether the input level is given, or told by the recordings."""
    return result.input_level_stderr <= GUESS * result.input_level


def _alignment(confidence: float) -> str:
    if math.isinf(confidence):
        return "given"
    return f"{'doubtful' if confidence < DOUBTFUL else 'sure'} ({confidence:.2f})"


def input_level(result: FitResult) -> str:
    """Volt at digital full scale, given or estimated."""
    if result.input_level_stderr == 0.0:
        return f"Input level: {result.input_level:.4g} V at digital full scale, as given."
    reach = NORMAL_95 * result.input_level_stderr / result.input_level
    if not told_level(result):
        return (
            "Input level: the recordings do not tell it, because the circuit is nearly linear at their level. Assumed: "
            f"{result.input_level:.3g} V at digital full scale, within a factor of {math.exp(reach):.2g} (95 %)."
        )
    low, high = (result.input_level * math.exp(side * reach) for side in (-1.0, 1.0))
    return (
        f"Input level: {result.input_level:.4g} V at digital full scale ({low:.4g} to {high:.4g} V with 95 %), "
        "estimated through the nonlinearity."
    )


def facts(result: FitResult) -> list[tuple[str, str]]:
    """What a reader looks for first, as (label, number)."""
    told = len(result.values) - len(set(result.values) & set(result.identifiability.undetermined))
    rate = f"{result.sample_rate / 1000.0:g} kHz"
    seconds = sum(len(recording.target) for recording in result.recordings) / result.sample_rate
    return [
        ("ESR", f"{result.esr:.2g}"),
        ("error", f"{10.0 * math.log10(result.esr):.1f} dB" if result.esr > 0.0 else "none"),
        ("values told", f"{told} of {len(result.values)}"),
        ("recordings", f"{len(result.recordings)}, {seconds:.3g} s"),
        ("rate", f"{rate} × {result.oversample}"),
        ("fit time", f"{result.seconds:.1f} s"),
    ]


def findings(result: FitResult) -> list[str]:
    """What the recordings told, and what they could not tell, in sentences."""
    found = result.identifiability
    sentences = []
    combinations = list(dict.fromkeys(map(_Spelled.of, (*found.determined, *found.worst))))
    for heading, sharp in (("Known well", True), ("Known badly", False)):
        if texts := [c.text for c in combinations if (c.precision < SHARP) == sharp]:
            sentences.append(f"{heading}: {'; '.join(texts)}.")
    for pair in found.pairs:
        (a, b), (first, second) = pair.names, (f"{percent(single)}" for single in pair.singles)
        sentences.append(
            f"{a} {'*' if pair.exponent > 0 else '/'} {b} is known to {percent(pair.stderr)}, but {a} singly only to "
            f"{first} and {b} to {second}: measure one of them."
        )
    if found.scale:
        sentences.append(
            f"The input level and {' and '.join(found.scale)} can grow together, the output gain getting smaller, and "
            "nothing is heard: the netlist alone keeps the voltages where they are. If they matter, measure the level."
        )
    if found.undetermined:
        sentences.append(f"What the recordings could not tell: {', '.join(found.undetermined)}.")
    else:
        sentences.append("The recordings tell every learned value better than the netlist's tolerances do.")
    return sentences


def where_it_fails(result: FitResult) -> list[str]:
    """The parts of the recordings that hold most of the error, and what else to learn, in sentences."""
    found = shares(result.recordings, result.sample_rate)
    sentences = []
    for kind in dict.fromkeys(share.kind for share in found):
        worst = max((share for share in found if share.kind == kind), key=lambda share: share.of_error)
        sentences.append(
            f"{KINDS[kind]}: {worst.label}, with {100.0 * worst.of_error:.0f} % of the error, {level(worst.error)} of "
            "the sound there."
        )
    return [*sentences, *suggested(result)]


def suggested(result: FitResult) -> list[str]:
    """What else to learn, the best first, and how; nothing if nobody asked."""
    if result.suggestions is None:
        return []
    if not result.suggestions:
        return ["No value that was not learned would explain the error noticeably better."]
    listed = [
        f"{s.name} ({show(result.circuit, s.name, s.value)} to {show(result.circuit, s.name, s.promised)}, "
        f"{abs(s.share):.2g} times its tolerance) would leave {percent(s.error)} of the error"
        for s in result.suggestions
    ]
    again = ",".join([*result.values, result.suggestions[0].name])
    return [
        f"Not learned, but of influence where the fit fails, by one step each: {'; '.join(listed)}.",
        f"To free the first as well: --learn {again}",
    ]


def advice(measurement: Measurement) -> str:
    """What to measure, and what it would bring."""
    factors = [f"{name} ({factor:.2g})" for name, factor in list(measurement.narrowed.items())[:FACTORS]]
    what = f"{measurement.name} to {percent(measurement.precision)}"
    return (
        f"One measurement would help most: {what}. It would narrow the intervals of others: {', '.join(factors)} times."
    )


def percent(relative: float) -> str:
    """A relative standard error, to two digits."""
    return f"{float(f'{100.0 * relative:.2g}'):g} %"


@dataclass(frozen=True)
class _Spelled:
    """A combination of values as text, and its relative standard error in terms of the value that counts most."""

    text: str
    precision: float

    @classmethod
    def of(cls, combination: Combination) -> _Spelled:
        factors = list(combination.exponents.items())
        text = str(combination)
        if len(factors) > FACTORS:
            product, to, error = str(replace(combination, exponents=dict(factors[:FACTORS]))).rpartition(" to ")
            text = f"{product} * ...{to}{error}"
        return cls(text, combination.stderr / max(abs(exponent) for exponent in combination.exponents.values()))
