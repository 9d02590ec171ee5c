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

# Relative squared error from which on a model has lost the recordings: -10 dB. Of less than so many seconds, in which
# there may be more noise than sound, it has to explain something at least.
LOST, SHORT, LOST_IN_SHORT = 0.1, 0.3, 0.9
# Seconds that the first fit sees, one after the other: the fewer, the fewer valleys; the more, the less noise counts.
BEGINS = (0.002, 0.016, 0.12)


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


def lost(descent: Descent, limit: float = LOST) -> bool:
    """Whether the recordings are another thing than the model where a fit has come to."""
    return descent.best is None or descent.best.error > limit


def grown(problem: Callable[[Windows], Problem], start: Point, end: float, progress: Progress) -> Point | None:
    """The outcome of fits to the begin of the recordings, each to twice as much as the one before, until they see `end`
    seconds. None if one of them loses it, whatever the first one sees."""
    found = (_grown_from(seconds, problem, start, end, progress) for seconds in BEGINS)
    return next((point for point in found if point is not None), None)


def _grown_from(
    seconds: float, problem: Callable[[Windows], Problem], point: Point, end: float, progress: Progress
) -> Point | None:
    number = 0
    while True:
        seconds = min(seconds, end)
        rule = LeastSquares(problem(first_seconds(seconds)), APPROACH_WEIGHT, APPROACH_ITERATIONS, APPROACH_GAIN)
        (descent,) = descend(rule, [Descent(point)])
        if lost(descent, LOST_IN_SHORT if seconds < min(SHORT, end) else LOST):
            return None
        point = descent.found.point
        progress("growing", number, descent.found.error)
        if seconds == end:
            return point
        seconds, number = 2.0 * seconds, number + 1
