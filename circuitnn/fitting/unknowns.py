"""What a fit looks for beside each recording's own nuisances: values, knob positions, laws of pots, input level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.circuit import Circuit
from circuitnn.errors import RecordingError
from circuitnn.fitting.pot_law import LearnedLaw, PotLaw, value_name
from circuitnn.learnables import KNOB_WIDTH, Coordinate
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.tapers import LEARNED, position_at

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
# Positions by knob: a number that somebody wrote down, or a label for one that nobody did.
Setting = tuple[tuple[str, float | str], ...]

LEVEL_NAME = "input level"
# Prior on an unknown input level: a factor of e^1.5 = 4.5 either way of where it starts, 1 V at digital full scale.
LEVEL_WIDTH = 1.5


@dataclass(frozen=True)
class Told:
    """The shared unknowns [p] as they are told to people: `coordinates` for all but the input level, with the values of
    a law in place of what it is learned by. jacobian [p, p]: derivatives of these by the shared unknowns."""

    circuit: Circuit
    coordinates: tuple[Coordinate, ...]
    names: tuple[str, ...]
    widths: Vector
    jacobian: Matrix


class Unknowns:
    """The shared unknowns as one vector [p]: the model's coordinates, one coordinate for each labelled position of a
    knob, those of each law that is learned, and the logarithm of the input level (volt at digital full scale) unless
    that is known.

    names, widths [p]: their names and the standard deviations of their priors, all centred at 0.
    coordinates: of the values and positions, the first of the unknowns. laws: of the pots, in the order of the rest.
    """

    def __init__(self, model: CircuitModel, recordings: Sequence[Recording], input_level: float | None) -> None:
        self.model = model
        self.input_level = input_level
        knobs = {knob.name for knob in model.circuit.knobs}
        labelled = {
            (name, position): recording
            for recording in recordings
            for name, position in recording.knobs.items()
            if isinstance(position, str)
        }
        for (name, _), recording in labelled.items():
            if name not in knobs:
                known = ", ".join(sorted(knobs)) or "none"
                raise RecordingError(f"{recording.name}: there is no knob {name!r}", f"knobs of the netlist: {known}")
        nominal = model.component_values()
        self._positions = {
            (name, label): Coordinate(f"{name}@{label}", nominal[name], "knob", KNOB_WIDTH) for name, label in labelled
        }
        self.coordinates: tuple[Coordinate, ...] = (*model.coordinates, *self._positions.values())
        self.laws = tuple(_laws(model.circuit, recordings))
        of_laws = [f"{law.knob} law {k + 1}" for law in self.laws for k in range(len(law))]
        level = () if input_level is not None else (LEVEL_NAME,)
        self.names = (*(coordinate.name for coordinate in self.coordinates), *of_laws, *level)
        widths = [c.width for c in self.coordinates] + [1.0] * len(of_laws) + [LEVEL_WIDTH] * len(level)
        self.widths = np.array(widths)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def searched(self) -> list[int]:
        """Indices of what has no trustworthy start: knob positions and input level."""
        return [k for k, c in enumerate(self.coordinates) if c.kind == "knob"] + list(range(self._laws_end, len(self)))

    def overrides(self, shared: Tensor, setting: Setting) -> dict[str, Tensor]:
        """The circuit's values for recordings made at `setting`, differentiable in shared [p]."""
        written = {name: position for name, position in setting if not isinstance(position, str)}
        values = self.model.overrides(written, shared[: len(self.model.coordinates)])
        first = len(self.model.coordinates)
        for offset, ((name, label), coordinate) in enumerate(self._positions.items()):
            if (name, label) in setting:
                values[name] = coordinate.value(shared[first + offset])
        for law, free in self._split(shared):
            position = written.get(law.knob)
            if position in law.rotations:
                values[law.knob] = law.values(free)[law.rotations.index(position)]
        return values

    def _split(self, shared: Tensor) -> list[tuple[PotLaw, Tensor]]:
        """Each law with its part of the unknowns."""
        parts = shared[len(self.coordinates) :].split([*map(len, self.laws), len(self) - self._laws_end])
        return list(zip(self.laws, parts, strict=False))

    @property
    def _laws_end(self) -> int:
        return len(self.coordinates) + sum(map(len, self.laws))

    def tapers(self, shared: Vector) -> dict[str, str]:
        """The taper of every knob, with tables for those that were learned."""
        tapers = {knob.name: knob.taper for knob in self.model.circuit.knobs}
        return tapers | {law.knob: law.taper(free.numpy()) for law, free in self._split(torch.as_tensor(shared))}

    def told(self, shared: Vector) -> Told:
        """What people are told about the unknowns, around `shared`."""
        coordinates, jacobian, widths = list(self.coordinates), np.eye(len(self)), self.widths.copy()
        for law, free in self._split(torch.as_tensor(shared)):
            part = slice(len(coordinates), len(coordinates) + len(law))
            own, jacobian[part, part] = law.coordinates(free.numpy())
            widths[part] = [c.width for c in own]
            coordinates += own
        names = (*(c.name for c in coordinates), *self.names[self._laws_end :])
        return Told(self.model.circuit, tuple(coordinates), names, widths, jacobian)

    def learned_laws(self, shared: Vector, deviations: Vector) -> tuple[LearnedLaw, ...]:
        """The laws at `shared`, with the standard errors [p] of what is told."""
        told = self.told(shared)
        errors = dict(zip(told.names, deviations.tolist(), strict=True))
        tapers = self.tapers(shared)
        found = []
        for law, free in self._split(torch.as_tensor(shared)):
            values = law.values(free).tolist()
            names = [value_name(law.knob, rotation) for rotation in law.rotations]
            stderr = [value * (1.0 - value) * errors[name] for name, value in zip(names, values, strict=True)]
            found.append(LearnedLaw(law.knob, law.rotations, tuple(values), tuple(stderr), tapers[law.knob]))
        return tuple(found)

    def positions(self, shared: Vector, recording: Recording) -> dict[str, float]:
        """Positions of a recording's knobs, 0 to 1: as written, or as found for a label. Raises RecordingError for a
        label that no recording of the fit has."""
        tapers, values = self.tapers(shared), self.values(shared)
        found = {}
        for name, position in recording.knobs.items():
            if isinstance(position, str):
                if f"{name}@{position}" not in values:
                    raise RecordingError(f"{recording.name}: no fitted recording has {name} at {position!r}")
                found[name] = position_at(tapers[name], values[f"{name}@{position}"])
            else:
                found[name] = float(position)
        return found

    def log_level(self, shared: Tensor) -> Tensor:
        """Logarithm of the input level [1]."""
        if self.input_level is None:
            return shared[-1:]
        return torch.tensor([math.log(self.input_level)], dtype=torch.float64)

    def level(self, shared: Vector) -> float:
        """Volt at digital full scale."""
        return math.exp(float(self.log_level(torch.as_tensor(shared))))

    def values(self, shared: Vector) -> dict[str, float]:
        """The values by name, in SI units (knobs: the .param's value), without the input level."""
        return {c.name: float(c.value(torch.tensor(q))) for c, q in zip(self.coordinates, shared, strict=False)}


def _laws(circuit: Circuit, recordings: Sequence[Recording]) -> list[PotLaw]:
    """Of the knobs with a law to be learned, at the positions that somebody wrote down."""
    laws = []
    for knob in circuit.knobs:
        written = {recording.knobs.get(knob.name) for recording in recordings}
        rotations = sorted(float(r) for r in written if isinstance(r, int | float) and 0.0 < r < 1.0)
        if knob.taper == LEARNED and rotations:
            laws.append(PotLaw(knob.name, rotations))
    return laws


def setting(recording: Recording) -> Setting:
    """The knob positions of a recording, to tell which recordings share a model."""
    return tuple(sorted(recording.knobs.items()))
