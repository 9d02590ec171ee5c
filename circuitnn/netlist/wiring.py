"""Which points of a drawing are one node: wires, pins that touch, labels.

A wire connects every pin, label and wire end that lies on it: a T is a connection. Two wires that only cross are not
connected.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from math import gcd

from circuitnn.errors import CircuitnnError
from circuitnn.netlist.symbols import Point

Wire = tuple[Point, Point]
Direction = tuple[int, int]

MAX_DIRECTIONS = 100


class Wiring:
    """The nodes of a drawing.

    points: where pins and labels are. loose_ends: wire ends at which nothing else is. Raises CircuitnnError for wires
    at more than MAX_DIRECTIONS different angles.
    """

    def __init__(self, wires: Iterable[Wire], points: Iterable[Point]) -> None:
        self._parent: dict[Point, Point] = {}
        wires = [(min(wire), max(wire)) for wire in wires]
        lines: defaultdict[tuple[Direction, int], list[Wire]] = defaultdict(list)
        for start, end in wires:
            if start != end:
                direction = _direction(start, end)
                lines[direction, _offset(direction, start)].append((start, end))
        directions = {direction for direction, _ in lines}
        if len(directions) > MAX_DIRECTIONS:
            raise CircuitnnError(f"wires at more than {MAX_DIRECTIONS} different angles")
        runs = {line: _merged(parts) for line, parts in lines.items()}
        ends = {spot for wire in wires for spot in wire if wire[0] != wire[1]}
        count = Counter([*(spot for wire in wires for spot in set(wire)), *points])
        self.loose_ends: list[Point] = []
        self._alone: set[Point] = set()
        for spot in count:
            found = [_at(runs.get((direction, _offset(direction, spot)), []), spot) for direction in directions]
            hits = [run for run in found if run is not None]
            for run in hits:
                self.join(spot, run[0])
            if count[spot] == 1 and spot in ends and len(hits) == 1 and spot in hits[0]:
                self.loose_ends.append(spot)
            if count[spot] == 1 and not hits:
                self._alone.add(spot)

    def find(self, spot: Point) -> Point:
        """One point that stands for the node of this point."""
        root = spot
        while (parent := self._parent.get(root, root)) != root:
            root = parent
        while (parent := self._parent.get(spot, spot)) != root:
            self._parent[spot], spot = root, parent
        return root

    def join(self, first: Point, second: Point) -> None:
        """Make the nodes of two points one."""
        self._parent[self.find(first)] = self.find(second)

    def alone(self, spot: Point) -> bool:
        """Whether a pin or label touches nothing."""
        return spot in self._alone


def _direction(start: Point, end: Point) -> Direction:
    """Of a wire from the smaller to the larger point: the smallest whole step along it."""
    x, y = end[0] - start[0], end[1] - start[1]
    step = gcd(x, y)
    return x // step, y // step


def _offset(direction: Direction, spot: Point) -> int:
    """Alike for all points of one straight line in that direction."""
    return direction[0] * spot[1] - direction[1] * spot[0]


def _merged(wires: list[Wire]) -> list[Wire]:
    """Wires on one straight line, those that touch or overlap made one."""
    runs: list[Wire] = []
    for start, end in sorted(wires):
        if runs and start <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((start, end))
    return runs


def _at(runs: list[Wire], spot: Point) -> Wire | None:
    """The run on which a point of the same straight line lies."""
    index = bisect_right(runs, spot, key=lambda run: run[0]) - 1
    return runs[index] if index >= 0 and spot <= runs[index][1] else None
