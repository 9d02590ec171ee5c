"""Circuits that sing: a fit that looks further ahead only when it has what lies before.

The phase of an oscillation adds up what its frequency is off. After a second at 1 kHz, a part in a thousand is a whole
period, and the error by frequency has one narrow valley among as many others as there were periods; a fit that looks at
all of the recordings at once ends in any of them. In the first fraction of a second there is one valley. From its
bottom the next stretch, of the same length, is less than a period off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from circuitnn.audio import Recording
from circuitnn.fitting.least_squares import Descent, LeastSquares, descend
from circuitnn.fitting.observation import SETTLING, Observation, Window
from circuitnn.fitting.problem import Point, Problem, Windows
from circuitnn.fitting.search import (
    APPROACH_AUDIO,
    APPROACH_GAIN,
    APPROACH_ITERATIONS,
    APPROACH_WARM_UP,
    APPROACH_WEIGHT,
    Progress,
    sounding,
)

# Relative squared error from which on a model has lost a recording: -10 dB.
LOST = 0.1
# Seconds that the first fit may see.
LONGEST_BEGIN, SHORTEST_BEGIN = 0.25, 0.002


def first_seconds(seconds: float) -> Windows:
    """Of each recording so much of its sound, from where it begins."""

    def windows(observation: Observation, delay: float) -> Sequence[Window]:
        rate = observation.model.sample_rate
        begin, end = observation.span(delay)
        onset = sounding(observation.recording, delay)
        begin = max(begin, onset - SETTLING)
        start = max(0, begin - round(APPROACH_WARM_UP * rate))
        return [Window(start, begin, min(end, max(begin + SETTLING, onset) + round(seconds * rate)))]

    return windows


def furthest(recordings: Sequence[Recording]) -> float:
    """How many seconds of their sound are looked at together before all of it is."""
    longest = max(len(recording.wet) / recording.sample_rate for recording in recordings)
    return min(APPROACH_AUDIO / len(recordings), longest)


def lost(descent: Descent) -> bool:
    """Whether the recordings are another thing than the model where a fit has come to."""
    return descent.best is None or descent.best.error > LOST


def grown(problem: Callable[[Windows], Problem], start: Point, end: float, progress: Progress) -> Point | None:
    """The outcome of fits to the begin of the recordings, each to twice as much as the one before, until they see `end`
    seconds; the first sees as much as `start` has not lost. None if one of them has lost it all the same."""

    def fitted(seconds: float, point: Point, evaluations: int | None = None) -> Descent:
        within = problem(first_seconds(min(seconds, end)))
        rule = LeastSquares(within, APPROACH_WEIGHT, APPROACH_ITERATIONS, APPROACH_GAIN)
        (descent,) = descend(rule, [Descent(point)], evaluations)
        return descent

    seconds, number = LONGEST_BEGIN, 0
    while seconds > SHORTEST_BEGIN and lost(fitted(seconds, start, evaluations=1)):
        seconds /= 2.0
    while not lost(descent := fitted(seconds, start)):
        start = descent.found.point
        progress("growing", number, descent.found.error)
        if seconds >= end:
            return start
        seconds, number = 2.0 * seconds, number + 1
    return None
