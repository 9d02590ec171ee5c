"""Recordings as tensors: dry and wet on one time axis, cut into pieces to train on and a part to judge by."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.errors import RecordingError
from circuitnn.fitting.alignment import HALF_LENGTH, align, fractional_advance

# The last part of each recording judges the training, unless recordings are held out.
VALIDATION = 0.2


@dataclass(frozen=True)
class Take:
    """Dry and wet at one setting of the knobs, without delay: u, target [time], knobs [n_knobs]."""

    u: Tensor
    target: Tensor
    knobs: Tensor

    def part(self, begin: int, end: int) -> Take:
        """Samples [begin, end)."""
        return Take(self.u[begin:end], self.target[begin:end], self.knobs)


@dataclass(frozen=True)
class Batch:
    """Pieces side by side: u, target [batch, time, 1], knobs [batch, n_knobs]."""

    u: Tensor
    target: Tensor
    knobs: Tensor


def delay_of(recording: Recording) -> float:
    """By how many samples the wet is late: what somebody wrote down, or what alignment finds."""
    if recording.delay is not None:
        return recording.delay
    return float(align(recording.dry, recording.wet, recording.sample_rate).delay)


def common_delay(recordings: Sequence[Recording]) -> float:
    """The median delay, in samples: what a run says of recordings that it has not seen."""
    return statistics.median(delay_of(recording) for recording in recordings)


def knob_names(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The knobs whose positions the recordings give. Raises RecordingError if one lacks a position."""
    names = tuple(sorted({name for recording in recordings for name in recording.knobs}))
    for recording in recordings:
        for name in names:
            if not isinstance(recording.knobs.get(name), float | int):
                raise RecordingError(
                    f"{recording.name}: knob {name}: expected a position from 0 to 1, found "
                    f"{recording.knobs.get(name, 'nothing')}",
                    "a network is told where the knobs stand; a label, or nothing, is for fits of circuits",
                )
    return names


def take(recording: Recording, names: Sequence[str]) -> Take:
    """The samples that dry and wet have in common, the wet moved by its delay, also by a part of a sample."""
    delay = delay_of(recording)
    offset = round(delay)
    begin = max(0, -offset) + HALF_LENGTH
    end = min(len(recording.dry), len(recording.wet) - offset) - HALF_LENGTH
    if end <= begin:
        raise RecordingError(f"{recording.name}: nothing is left at a delay of {delay:g} samples")
    around = recording.wet[begin + offset - HALF_LENGTH : end + offset + HALF_LENGTH]
    target = fractional_advance(around, delay - offset)[HALF_LENGTH:-HALF_LENGTH]
    positions = [float(recording.knobs[name]) for name in names]
    u, wet = (torch.as_tensor(signal.copy(), dtype=torch.float32) for signal in (recording.dry[begin:end], target))
    return Take(u, wet, torch.tensor(positions))


def split(takes: Sequence[Take], held_out: Sequence[Take], lead_in: int) -> tuple[list[Take], list[Take]]:
    """To train on, and to judge by. A part that judges begins `lead_in` samples early, in which the state settles."""
    if held_out:
        return list(takes), list(held_out)
    edges = [int(len(one.u) * (1.0 - VALIDATION)) for one in takes]
    before = [one.part(0, edge) for one, edge in zip(takes, edges, strict=True)]
    after = [one.part(max(0, edge - lead_in), len(one.u)) for one, edge in zip(takes, edges, strict=True)]
    return before, after


def pieces(takes: Sequence[Take], length: int) -> Batch:
    """All takes cut into pieces of `length` samples; what is left over at their ends is not used."""
    cut = [one.part(begin, begin + length) for one in takes for begin in range(0, len(one.u) - length + 1, length)]
    if not cut:
        raise RecordingError(
            f"no recording lasts for the {length} samples of one piece", "train on more, or on longer recordings"
        )
    return Batch(*(torch.stack([getattr(one, key) for one in cut]) for key in ("u", "target", "knobs")))


class Shuffled:
    """The pieces in batches, in an order that depends on seed and epoch only."""

    def __init__(self, whole: Batch, size: int, seed: int) -> None:
        self.whole, self.size, self.seed, self.epoch = whole, size, seed, 0

    def __len__(self) -> int:
        return -(-len(self.whole.u) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        for rows in torch.randperm(len(self.whole.u), generator=generator).split(self.size):
            yield Batch(self.whole.u[rows, :, None], self.whole.target[rows, :, None], self.whole.knobs[rows])
