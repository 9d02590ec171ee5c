"""What a fit looks for beside each recording's own nuisances: values of the circuit, knob positions, input level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.errors import RecordingError
from circuitnn.learnables import KNOB_WIDTH, Coordinate
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.tapers import position_at

Vector = NDArray[np.float64]
# Positions by knob: a number that somebody wrote down, or a label for one that nobody did.
Setting = tuple[tuple[str, float | str], ...]

LEVEL_NAME = "input level"
# Prior on an unknown input level: a factor of e^1.5 = 4.5 either way of where it starts, 1 V at digital full scale.
LEVEL_WIDTH = 1.5


class Unknowns:
    """The shared unknowns as one vector [p]: the model's coordinates, one coordinate for each labelled position of a
    knob, and the logarithm of the input level (volt at digital full scale) unless that is known.

    names, widths [p]: their names and the standard deviations of their priors, all centred at 0.
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
        level = () if input_level is not None else (LEVEL_NAME,)
        self.names = (*(coordinate.name for coordinate in self.coordinates), *level)
        self.widths = np.array([c.width for c in self.coordinates] + [LEVEL_WIDTH] * len(level))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def searched(self) -> list[int]:
        """Indices of what has no trustworthy start: knob positions and input level."""
        return [k for k, c in enumerate(self.coordinates) if c.kind == "knob"] + list(
            range(len(self.coordinates), len(self))
        )

    def overrides(self, shared: Tensor, setting: Setting) -> dict[str, Tensor]:
        """The circuit's values for recordings made at `setting`, differentiable in shared [p]."""
        written = {name: position for name, position in setting if not isinstance(position, str)}
        values = self.model.overrides(written, shared[: len(self.model.coordinates)])
        first = len(self.model.coordinates)
        for offset, ((name, label), coordinate) in enumerate(self._positions.items()):
            if (name, label) in setting:
                values[name] = coordinate.value(shared[first + offset])
        return values

    def positions(self, shared: Vector, recording: Recording) -> dict[str, float]:
        """Positions of a recording's knobs, 0 to 1: as written, or as found for a label. Raises RecordingError for a
        label that no recording of the fit has."""
        tapers = {knob.name: knob.taper for knob in self.model.circuit.knobs}
        values = self.values(shared)
        found = {}
        for name, position in recording.knobs.items():
            if isinstance(position, str):
                if f"{name}@{position}" not in values:
                    raise RecordingError(f"{recording.name}: no fitted recording has {name} at {position!r}")
                found[name] = float(position_at(tapers[name], values[f"{name}@{position}"]))
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


def setting(recording: Recording) -> Setting:
    """The knob positions of a recording, to tell which recordings share a model."""
    return tuple(sorted(recording.knobs.items()))
