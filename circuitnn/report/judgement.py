"""What a fit is worth, in sentences: a verdict, how it ended, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from circuitnn.report.words import DOUBTFUL, FAR, advice, level, told_level, value_rows

if TYPE_CHECKING:
    from circuitnn.fitting.result import FitResult

# ESR up to which a fit is called by that word.
ROUGH, POOR = "Rough", "Poor"
GRADES = ((1e-3, "Very close"), (1e-2, "Close"), (1e-1, ROUGH))
CONVERGED = ("converged", "no step improves the fit")
# Names in a sentence.
NAMED = 4


def grade(result: FitResult) -> str:
    """One word or two for how close the fit is."""
    return next((word for limit, word in GRADES if result.esr < limit), POOR)


def status(result: FitResult) -> str:
    """ "good", "doubt" or "bad": whether a fit is close, came to its end and left the tolerances alone."""
    if grade(result) == POOR:
        return "bad"
    trusted = grade(result) != ROUGH and result.reason in CONVERGED and not outside(result)
    return "good" if trusted else "doubt"


def outside(result: FitResult) -> list[str]:
    """Names of the values that have left their tolerances, the farthest first."""
    return [row.name for row in sorted(value_rows(result), key=lambda row: -abs(row.share)) if row.outside]


def warning(result: FitResult) -> str | None:
    """Values that are so far from the netlist that its schematic is in doubt, in one sentence; None without any."""
    names = [row.name for row in value_rows(result) if row.far]
    if not names:
        return None
    tolerance = "its tolerance" if len(names) == 1 else "their tolerances"
    return (
        f"{_listed(names)} moved by more than {FAR:g} times {tolerance}, which usually means that the schematic is "
        "wrong nearby"
    )


def verdict(result: FitResult) -> str:
    """How close, and what speaks for or against it, in one sentence."""
    text = f"{grade(result)}: the fitted circuit leaves an error-to-signal ratio of {level(result.esr)}"
    if result.esr_gain_free < 0.8 * result.esr:
        text += f", {level(result.esr_gain_free)} with the best gain for each recording"
    if grade(result) == POOR:
        return f"{text}: this circuit does not explain the recordings."
    against = []
    if result.reason not in CONVERGED:
        against.append("the fit ended before it had converged")
    if names := outside(result):
        against.append(f"{_listed(names)} left {'its tolerance' if len(names) == 1 else 'their tolerances'}")
    if against:
        return f"{text}, but {' and '.join(against)}."
    return f"{text}, with every value within its tolerance."


def course(result: FitResult) -> str:
    """How the fit ended."""
    count = max(len(result.errors) - 1, 0)
    steps = f"{count} step{'' if count == 1 else 's'}"
    if result.interrupted:
        return f"Interrupted after {steps} and {result.seconds:.1f} s, before the fit had converged."
    if (last := result.refinement) is not None:
        change = f"{last.loss} from {last.before:.4g} to {last.after:.4g} in {last.iterations} iterations"
        return f"Converged, and then brought {change} of {last.optimizer}, in {result.seconds:.1f} s."
    if result.reason in CONVERGED:
        return f"Converged in {steps} and {result.seconds:.1f} s."
    return f"Stopped after {result.reason} and {result.seconds:.1f} s, before the fit had converged."


def next_steps(result: FitResult) -> list[str]:
    """What to do next, the most urgent first, in sentences."""
    steps = []
    if grade(result) == POOR:
        steps.append(
            "Check that the files belong together, that the knobs stand where the recordings were made, and the "
            "netlist against the device."
        )
    if result.reason not in CONVERGED:
        steps.append("Fit again and let it run to its end; the values are the best so far, not the answer.")
    if names := outside(result):
        steps.append(
            f"Compare the schematic with the device around {_listed(names)}. A value that has left its tolerance "
            "usually means that the schematic is wrong nearby: another part or connection, or one that is missing."
        )
    if doubtful := [recording.name for recording in result.recordings if recording.confidence < DOUBTFUL]:
        steps.append(
            f"The delay of {', '.join(doubtful)} is doubtful: trim dry and wet to start together, and fit again."
        )
    if result.failures:
        steps.append(
            f"{result.failures} steps of the last simulation did not converge: fit again with a higher --oversample."
        )
    if not told_level(result):
        steps.append("Measure the level at the device's input, and give it by --input-level.")
    if (measurement := result.identifiability.measurement) is not None:
        steps.append(advice(measurement))
    if unknown := result.identifiability.undetermined:
        steps.append(
            f"Measure {_listed(unknown)} if you need to know, or add a recording at another level or setting of the "
            "knobs: there the netlist and its tolerances speak, not the sound."
        )
    if grade(result) != POOR and not result.held_out:
        steps.append(
            "Judge the fit on a recording that it has not seen: circuitnn evaluate RUN dry.wav wet.wav, with this "
            "folder as RUN."
        )
    return steps


def _listed(names: Sequence[str]) -> str:
    """ "R1", "R1 and C2", "R1, C2 and D1.n", and the number of what is too much to list."""
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
