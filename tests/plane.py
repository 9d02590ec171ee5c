"""What a device law must be at every voltage to +-1 kV: continuous with its slope, finite, and passive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sympy import Symbol

from circuitnn.devices import Law, at_temperature
from circuitnn.operating_point import evaluate_law
from circuitnn.symbolic import NUMPY, evaluate


def coefficients(law: Law, parameters: Mapping[str, float], temperature: float = 300.15) -> dict[Symbol, float]:
    values = {name: parameter.default for name, parameter in law.parameters.items()}
    values |= parameters | at_temperature(temperature)
    for symbol, rule in law.coefficients.items():
        values[symbol.name] = float(evaluate(rule, values, NUMPY))
    return {symbol: values[symbol.name] for symbol in law.coefficients}


def curve(law: Law, w: NDArray[np.float64], c: Mapping[Symbol, float]) -> NDArray[np.float64]:
    """v and i side by side, [2 ports, ...], at w [ports, ...]."""
    v, i, _, _ = evaluate_law(law, w, c, NUMPY)
    return np.array([np.broadcast_to(part, w.shape[1:]) for part in (*v, *i)])


def slopes(law: Law, w: NDArray[np.float64], c: Mapping[Symbol, float]) -> NDArray[np.float64]:
    """dI/dw [ports, ports, ...] at w [ports, ...]."""
    _, _, _, di = evaluate_law(law, w, c, NUMPY)
    return np.array([[np.broadcast_to(entry, w.shape[1:]) for entry in row] for row in di])


# Distances from the origin in volt: dense where devices work, to +-1 kV.
REACH = np.concatenate([np.linspace(-12.0, 12.0, 401), np.geomspace(12.5, 1e3, 40), -np.geomspace(12.5, 1e3, 40)])
REACH.sort()


def lines(ports: int, count: int, rng: np.random.Generator) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Straight lines (a point, a direction) through the plane: along the axes, the diagonals, and others."""
    axes = [*np.eye(ports), np.ones(ports)]
    found = [(np.zeros(ports), axis) for axis in axes]
    for _ in range(count):
        direction = rng.normal(size=ports) if rng.random() < 0.5 else axes[rng.integers(len(axes))]
        found.append((rng.normal(size=ports) * 3.0, direction / np.abs(direction).max()))
    return found


def assert_smooth(law: Law, c: Mapping[Symbol, float], rng: np.random.Generator) -> None:
    """Along lines through the plane, between two points where a current or a slope differs, the difference must vanish
    as they are moved together towards wherever it is largest."""
    for origin, direction in lines(law.ports, 2, rng):

        def quantities(t: NDArray[np.float64], origin=origin, direction=direction) -> NDArray[np.float64]:
            w = origin[:, None] + direction[:, None] * t
            _, i, _, di = evaluate_law(law, w, c, NUMPY)
            return np.array([np.broadcast_to(part, t.shape) for part in (*i, *(x for row in di for x in row))])

        ends = quantities(REACH)
        assert np.isfinite(ends).all()
        rows = np.repeat(np.arange(len(ends)), len(REACH) - 1)
        low, high = np.tile(REACH[:-1], len(ends)), np.tile(REACH[1:], len(ends))
        at_low, at_high = ends[:, :-1].ravel(), ends[:, 1:].ravel()
        for _ in range(44):
            middle = 0.5 * (low + high)
            found = quantities(middle)
            at_middle = found[rows, np.arange(len(rows))]
            upper = np.abs(at_high - at_middle) > np.abs(at_middle - at_low)
            low, at_low = np.where(upper, middle, low), np.where(upper, at_middle, at_low)
            high, at_high = np.where(upper, high, middle), np.where(upper, at_high, at_middle)
            # What rounding leaves: some digits of the largest of all currents and slopes, which may cancel.
            rest = 1e-9 * np.abs(at_low) + 1e-11 * np.abs(found).max(axis=0) + 1e-18
            left = np.abs(at_high - at_low) > rest
            rows, low, high, at_low, at_high = (x[left] for x in (rows, low, high, at_low, at_high))
            if not len(rows):
                break
        assert not len(rows), (law, rows, [origin + direction * t for t in low])


def assert_passive(law: Law, c: Mapping[Symbol, float], rng: np.random.Generator) -> None:
    """At random voltages of all magnitudes, and at nearly equal ones, where a channel changes its sense."""
    w = rng.choice([-1.0, 1.0], (law.ports, 4000)) * 10.0 ** rng.uniform(-3.0, 3.0, (law.ports, 4000))
    near = rng.uniform(-3.0, 1.0, 2000) + 0.05 * rng.normal(size=(law.ports, 2000))
    v, i = np.split(curve(law, np.concatenate([w, near], axis=1), c), 2)
    # Currents of two ports that cancel leave their rounding errors.
    assert ((v * i).sum(axis=0) >= -1e-14 * np.abs(v * i).max(axis=0)).all()
