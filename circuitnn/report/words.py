"""A fit in words and rows, for the command line and for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from circuitnn.inspection import show
from circuitnn.learnables import coordinates

if TYPE_CHECKING:
    from circuitnn.fitting.result import Combination, FitResult, FittedRecording

# ESR up to which a fit is called by that word.
GRADES = ((1e-3, "Very close"), (1e-2, "Close"), (1e-1, "Rough"))
POOR = "Poor"
# Alignments below this confidence are called doubtful.
DOUBTFUL = 1.15
# Factors of a combination that are spelled out, and the relative standard error up to which it is known well.
FACTORS, SHARP = 5, 0.05
# Relative standard error beyond which an estimated input level is a guess.
GUESS = 0.5
CONVERGED = ("converged", "no step improves the fit")


@dataclass(frozen=True)
class ValueRow:
    """One learned value as text. share, spread: its change and its standard error in units of the prior's width, in the
    coordinate that is learned; told: whether the recordings determine it better than the netlist's tolerance does."""

    name: str
    nominal: str
    tolerance: str
    fitted: str
    stderr: str
    change: str
    share: float
    spread: float
    told: bool


@dataclass(frozen=True)
class RecordingRow:
    """The nuisances and errors of one recording as text."""

    name: str
    gain: str
    polarity: str
    delay: str
    alignment: str
    esr: str
    esr_gain_free: str


def level(error: float) -> str:
    """A ratio of energies as number and in dB."""
    return f"{error:.2g} ({10.0 * math.log10(error):.1f} dB)" if error > 0.0 else "0"


def sound(result: FitResult) -> bool:
    """Whether the fit is close and came to its end."""
    return result.reason in CONVERGED and grade(result) in ("Very close", "Close")


def grade(result: FitResult) -> str:
    """One word or two for how close the fit is."""
    return next((word for limit, word in GRADES if result.esr < limit), POOR)


def verdict(result: FitResult) -> str:
    """How close, and whether the fit came to its end."""
    parts = [f"{grade(result)}: the fitted circuit leaves an error-to-signal ratio of {level(result.esr)}"]
    if result.esr_gain_free < 0.8 * result.esr:
        parts[0] += f", {level(result.esr_gain_free)} with the best gain for each recording"
    steps = max(len(result.errors) - 1, 0)
    if result.interrupted:
        parts.append(f"Interrupted after {steps} steps and {result.seconds:.1f} s, before the fit had converged")
    elif result.reason in CONVERGED:
        parts.append(f"Converged in {steps} steps and {result.seconds:.1f} s")
    else:
        parts.append(f"Stopped after {result.reason} and {result.seconds:.1f} s, before the fit had converged")
    if grade(result) == POOR:
        parts.append(
            "This circuit does not explain the recordings: check the netlist, the knob positions and that the files "
            "belong together"
        )
    return ". ".join(parts) + "."


def value_rows(result: FitResult) -> list[ValueRow]:
    """Nominal and fitted values, in the order of the fit."""
    rows = []
    for coordinate in coordinates(result.circuit, list(result.values)):
        name, width = coordinate.name, coordinate.width
        nominal, fitted, stderr = (source[name] for source in (result.nominal, result.values, result.stderr))
        relative = f"{100.0 * math.expm1(width):.3g} %"
        tolerance = {"knob": "whole travel", "positive": relative, "coupling": f"{relative} of 1 - k"}
        rows.append(
            ValueRow(
                name=name,
                nominal=show(result.circuit, name, nominal),
                tolerance=tolerance.get(coordinate.kind, show(result.circuit, name, width)),
                fitted=show(result.circuit, name, fitted),
                stderr=show(result.circuit, name, stderr),
                change=f"{100.0 * (fitted - nominal) / (abs(nominal) or 1.0):+.1f} %",
                share=coordinate.free(fitted) / width,
                spread=stderr / (coordinate.slope(fitted) * width),
                told=name not in result.identifiability.undetermined,
            )
        )
    return rows


def recording_rows(recordings: Sequence[FittedRecording]) -> list[RecordingRow]:
    """Gain, polarity, delay, confidence and errors of every recording."""
    return [
        RecordingRow(
            name=recording.name,
            gain=f"{abs(recording.gain):.4g} per volt",
            polarity="inverted" if recording.polarity < 0 else "as played",
            delay=f"{round(recording.delay, 2) + 0.0:.2f} samples",
            alignment=_alignment(recording.confidence),
            esr=f"{recording.esr:.3g}",
            esr_gain_free=f"{recording.esr_gain_free:.3g}",
        )
        for recording in recordings
    ]


def _alignment(confidence: float) -> str:
    if math.isinf(confidence):
        return "given"
    return f"{'doubtful' if confidence < DOUBTFUL else 'sure'} ({confidence:.2f})"


def input_level(result: FitResult) -> str:
    """Volt at digital full scale, given or estimated."""
    if result.input_level_stderr == 0.0:
        return f"Input level: {result.input_level:.4g} V at digital full scale, as given."
    if result.input_level_stderr > GUESS * result.input_level:
        return (
            "Input level: the recordings do not tell it, because the circuit is nearly linear at their level. Assumed: "
            f"{result.input_level:.3g} V at digital full scale, within a factor of "
            f"{math.exp(result.input_level_stderr / result.input_level):.2g}."
        )
    return (
        f"Input level: {result.input_level:.4g} ± {result.input_level_stderr:.2g} V at digital full scale, estimated "
        "through the nonlinearity."
    )


def findings(result: FitResult) -> list[str]:
    """What the recordings told, and what they could not tell, in sentences."""
    found = result.identifiability
    sentences = []
    combinations = list(dict.fromkeys(map(_Spelled.of, (*found.determined, *found.worst))))
    for heading, sharp in (("Known well", True), ("Known badly", False)):
        if texts := [c.text for c in combinations if (c.precision < SHARP) == sharp]:
            sentences.append(f"{heading}: {'; '.join(texts)}.")
    if found.undetermined:
        sentences.append(
            f"What the recordings could not tell: {', '.join(found.undetermined)}. There the netlist and its "
            "tolerances speak rather than the sound; measure the part, or add a recording at another setting."
        )
    else:
        sentences.append("The recordings tell every learned value better than the netlist's tolerances do.")
    doubtful = [recording.name for recording in result.recordings if recording.confidence < DOUBTFUL]
    if doubtful:
        sentences.append(
            f"The delay of {', '.join(doubtful)} is doubtful: trim dry and wet to start together, and fit again."
        )
    if result.failures:
        sentences.append(f"{result.failures} steps of the last simulation did not converge.")
    return sentences


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
