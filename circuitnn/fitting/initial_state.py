"""Recordings that begin in mid-sound: what the circuit held when they were cut is an unknown of its own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.simulate import history_at_rest, simulate

Vector = NDArray[np.float64]

# A recording begins in silence if its first BEGIN seconds are that far below the whole (-40 dB, as amplitude).
BEGIN, QUIET = 0.01, 0.01
# If the wet begins so many seconds after the dry, the circuit has settled in between.
SETTLED = 0.05
# The states' usual size is looked for in that many seconds, in steps of.
LOOKED_AT, STEP = 0.5, 0.005


def begins_in_sound(recording: Recording, delay: float) -> bool:
    """Whether the circuit is not at rest where a recording begins, and that is heard."""
    count = max(1, round(BEGIN * recording.sample_rate))
    loud = _rms(recording.dry[:count]) > QUIET * _rms(recording.dry)
    return loud and -delay < SETTLED * recording.sample_rate


def _rms(signal: Vector) -> float:
    return float(np.sqrt(np.mean(signal**2)))


def usual_state(model: CircuitModel, dry: Vector, overrides: dict[str, Tensor], level: float) -> Vector:
    """How far each state [n_x] of the circuit goes from where it is at rest while `dry` plays: the unit in which an
    unknown state is counted, with a prior of one such unit. level: volt at digital full scale."""
    rate, factor = model.sample_rate, model.oversample
    with torch.no_grad():
        numbers = model.discrete.numbers(overrides)
        x, w, rest = (part[None] for part in model.discrete.rest_of(numbers, model.operating_point(overrides)))
        theta, up, down = model.discrete.theta_of(numbers, level)[None], None, history_at_rest(rest, factor)
        start, found = x, torch.zeros_like(x)
        step = max(1, round(STEP * rate))
        for begin in range(0, min(len(dry), round(LOOKED_AT * rate)), step):
            u = torch.as_tensor(dry[begin : begin + step])[None, :, None]
            run = simulate(u, x, w, theta, model.kernel, factor, up, down)
            x, w, up, down = run.x, run.w, run.up, run.down
            found = torch.maximum(found, (x - start).abs())
    # One that does not move at all cannot be told, but must have a unit.
    usual = np.asarray(found[0])
    return np.maximum(np.where(np.isfinite(usual), usual, 0.0), 1e-12)
