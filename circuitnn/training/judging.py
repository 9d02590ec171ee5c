"""How far a network is from recordings that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from circuitnn.models.network import Network
from circuitnn.training.data import Judge, Take

# Samples of a recording that are computed at a time.
CHUNK = 2**16


def judge(network: Network, takes: Sequence[Take], warm_up: int, device: torch.device | str = "cpu") -> float:
    """ESR over all takes, each without its first `warm_up` samples; inf if an output is not finite."""
    network.eval()
    error = energy = 0.0
    with torch.no_grad():
        for one in takes:
            y = _play(network, one, device)[warm_up:]
            target = one.target.to(y)[warm_up:]
            error += float(torch.sum((y - target) ** 2))
            energy += float(torch.sum(target**2))
    network.train()
    return error / max(energy, 1e-30) if math.isfinite(error) else math.inf


def judge_in_place(network: Network, judges: Sequence[Judge], warm_up: int) -> float:
    """ESR over the parts of takes that count, without their first `warm_up` samples, of a network that runs over whole
    takes from rest; inf if an output anywhere in them is not finite."""
    error = energy = 0.0
    with torch.no_grad():
        for one in judges:
            y = _play(network, one.take, "cpu")
            if not bool(torch.isfinite(y).all()):
                return math.inf
            for part in one.parts:
                heard = slice(max(part.start, warm_up), part.stop)
                target = one.take.target.to(y)[heard]
                error += float(torch.sum((y[heard] - target) ** 2))
                energy += float(torch.sum(target**2))
    return error / max(energy, 1e-30)


def _play(network: Network, one: Take, device: torch.device | str) -> Tensor:
    state, parts = None, []
    knobs = dict(zip(network.knob_names, one.knobs.tolist(), strict=True))
    for u in one.u.to(device).split(CHUNK):
        y, state = network(u[None, :, None], state, knobs)
        parts.append(y[0, :, 0])
    return torch.cat(parts)
