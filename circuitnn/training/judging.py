"""How far a network is from recordings that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from circuitnn.models.network import Network
from circuitnn.training.data import Batch, Judge, Take, stacked

# Samples that are computed at a time.
CHUNK = 2**14
# Recordings that are computed side by side.
TOGETHER = 32


def judge(network: Network, takes: Sequence[Take], warm_up: int, device: torch.device | str = "cpu") -> float:
    """ESR over all takes, each without its first `warm_up` samples; inf if an output is not finite."""
    network.eval()
    error = energy = 0.0
    with torch.no_grad():
        for some in _side_by_side(takes):
            y = _play(network, some, device)[:, warm_up:]
            target = some.target.to(y)[:, warm_up:]
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


def _side_by_side(takes: Sequence[Take]) -> Iterator[Batch]:
    """Takes of one length as batches: several take little longer than one."""
    for length in dict.fromkeys(len(one.u) for one in takes):
        equal = [one for one in takes if len(one.u) == length]
        for first in range(0, len(equal), TOGETHER):
            yield stacked(equal[first : first + TOGETHER])


def _play(network: Network, takes: Take | Batch, device: torch.device | str) -> Tensor:
    """The output, of the shape of u."""
    state, parts = None, []
    positions = torch.atleast_2d(takes.knobs).to(device)
    knobs = dict(zip(network.knob_names, positions.unbind(1), strict=True))
    for u in torch.atleast_2d(takes.u).to(device).split(CHUNK, 1):
        y, state = network(u[..., None], state, knobs)
        parts.append(y[..., 0])
    return torch.cat(parts, 1).reshape(takes.u.shape)
