"""What the recordings could tell, what they could not, and what a multimeter could add."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from circuitnn.fitting.result import Combination, Identifiability, Measurement, Pair
from circuitnn.fitting.unknowns import LEVEL_NAME, Told
from circuitnn.learnables import Coordinate

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# A value is told by the recordings if its standard error is below this part of its prior width.
TOLD = 0.5
# Combinations and pairs that are listed, and the part of the largest exponent below which a name is left out.
LISTED, NEGLIGIBLE = 3, 0.15
# A pair is worth naming if its product or ratio is known that much better than either value.
TIED = 0.2
# Relative standard error of a measurement by multimeter.
MULTIMETER = 0.01
# A measurement helps a value whose standard error it divides by two, and is advised if it takes that part of one
# prior's variance from the other values.
HELPED, WORTHWHILE = 0.5, 0.1
# Standard error of the input level's logarithm by the recordings alone beyond which they do not tell it.
LEVEL_UNTOLD = 0.5
# How much wider than the prior a direction is taken to be that the recordings do not tell at all.
WIDER = 100.0


def identifiability(told: Told, spread: Matrix, scale: tuple[str, ...]) -> Identifiability:
    """From the covariance [p, p] of what is told: single values first, then combinations. scale: see
    `scale_ambiguity`."""
    coordinates = told.coordinates
    names, widths = [c.name for c in coordinates], told.widths[: len(coordinates)]
    parts = {element.name for element in told.circuit.elements if element.kind in "RCL"}
    measurable = [name for name in told.names if name in parts or name == LEVEL_NAME]
    measurement = best_measurement(told.names, spread, told.widths, measurable)
    spread = spread[: len(names), : len(names)]
    deviations = np.sqrt(np.diag(spread))
    eigenvalues, vectors = np.linalg.eigh(spread)
    found = [_combination(names, float(value), vector) for value, vector in zip(eigenvalues, vectors.T, strict=True)]
    return Identifiability(
        undetermined=tuple(name for name, d, width in zip(names, deviations, widths, strict=True) if d > TOLD * width),
        determined=tuple(found[:LISTED]),
        worst=tuple(reversed(found[-LISTED:])),
        pairs=_pairs(coordinates, spread),
        measurement=measurement,
        scale=scale,
    )


def _combination(names: Sequence[str], variance: float, vector: Vector) -> Combination:
    largest = np.abs(vector).max()
    kept = {
        name: float(e)
        for name, e in sorted(zip(names, vector, strict=True), key=lambda pair: -abs(pair[1]))
        if abs(e) > NEGLIGIBLE * largest
    }
    sign = 1.0 if next(iter(kept.values())) > 0 else -1.0
    return Combination({name: sign * e for name, e in kept.items()}, float(np.sqrt(max(variance, 0.0))))


def _pairs(coordinates: Sequence[Coordinate], spread: Matrix) -> tuple[Pair, ...]:
    """Products and ratios of two values that are known far better than the values, each value once."""
    found = []
    positive = [k for k, coordinate in enumerate(coordinates) if coordinate.kind == "positive"]
    for a, b in combinations(positive, 2):
        for exponent in (1, -1):
            variance = float(spread[a, a] + spread[b, b] + 2.0 * exponent * spread[a, b])
            singles = (float(np.sqrt(spread[a, a])), float(np.sqrt(spread[b, b])))
            pair = Pair(
                (coordinates[a].name, coordinates[b].name), exponent, float(np.sqrt(max(variance, 0.0))), singles
            )
            told = all(d < TOLD * coordinates[k].width for d, k in zip(singles, (a, b), strict=True))
            if pair.stderr < TIED * min(singles) and not told:
                found.append(pair)
    kept: list[Pair] = []
    for pair in sorted(found, key=lambda pair: pair.stderr / min(pair.singles)):
        if not any(set(pair.names) & set(other.names) for other in kept):
            kept.append(pair)
    return tuple(kept[:LISTED])


def best_measurement(
    names: Sequence[str], spread: Matrix, widths: Vector, measurable: Sequence[str]
) -> Measurement | None:
    """The value that is worth measuring because it takes the most variance, in units of the priors', from the others;
    None if none does.

    With value k known to MULTIMETER, the covariance is C - c c^T / (C_kk + MULTIMETER^2), where c is its column k.
    """
    best, most = None, WORTHWHILE
    before = np.diag(spread)
    for name in measurable:
        k = names.index(name)
        after = before - spread[:, k] ** 2 / (spread[k, k] + MULTIMETER**2)
        others = np.arange(len(names)) != k
        gain = float(np.sum(((before - after) / widths**2)[others]))
        ratios = np.sqrt(np.maximum(after, 0.0) / np.maximum(before, 1e-300))
        helped = {
            names[j]: float(1.0 / max(ratios[j], 1e-3)) for j in np.argsort(ratios) if others[j] and ratios[j] < HELPED
        }
        if gain > most and helped:
            best, most = Measurement(name, MULTIMETER, helped), gain
    return best


def scale_ambiguity(names: Sequence[str], information: Matrix, widths: Vector) -> tuple[str, ...]:
    """Names of the values that can grow or shrink with the input level, the last of the unknowns, while nothing is
    heard; none if the recordings fix the level.

    information [p, p]: of the recordings alone. V = (information + diag(1 / (WIDER widths)^2))^-1 is the covariance
    that they leave, and its last column the direction in which the level moves where it can.
    """
    V = np.linalg.inv(information + np.diag((WIDER * widths) ** -2.0))
    if V[-1, -1] < LEVEL_UNTOLD**2:
        return ()
    direction = V[:-1, -1] / V[-1, -1]
    largest = np.abs(direction).max(initial=0.0)
    return tuple(names[k] for k in np.argsort(-np.abs(direction)) if abs(direction[k]) > max(NEGLIGIBLE, 0.3 * largest))
