"""Recordings as tensors: dry and wet on one time axis, cut into pieces to train on and a part to judge by."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.errors import RecordingError
from circuitnn.fitting.alignment import HALF_LENGTH, fractional_advance
from circuitnn.fitting.locating import located

# Of so many pieces one judges the training, unless recordings are held out.
EVERY = 5
# By how many samples alignment may be wrong.
ACCURACY = 5


@dataclass(frozen=True)
class Take:
    """Dry and wet at one setting of the knobs, without delay: u, target [time], knobs [n_knobs]. states [time, n]: the
    circuit's, if something tells them; else n is 0."""

    u: Tensor
    target: Tensor
    knobs: Tensor
    states: Tensor

    def part(self, begin: int, end: int) -> Take:
        """Samples [begin, end)."""
        return Take(self.u[begin:end], self.target[begin:end], self.knobs, self.states[begin:end])


@dataclass(frozen=True)
class Batch:
    """Pieces side by side: u, target [batch, time, 1], knobs [batch, n_knobs], states [batch, time, n]."""

    u: Tensor
    target: Tensor
    knobs: Tensor
    states: Tensor


# The number of a take, and the sample of it where a piece begins.
Place = tuple[int, int]


@dataclass(frozen=True)
class Judge:
    """A whole take, over which a network runs from rest, and the parts of it that count."""

    take: Take
    parts: tuple[slice, ...]


def delays_of(recordings: Sequence[Recording]) -> list[float]:
    """By how many samples each wet is late, as it is cut: what somebody wrote down, or what alignment finds.

    Found delays that differ by less than alignment errs are taken to be one, and ACCURACY is left of each, so that no
    output comes before its input: a fit of a circuit finds its delay on the way, a network has to live with this one.
    """
    # Of the device; how recordings were cut is nothing that they have in common.
    found = [alignment.delay + one.cut_off for alignment, one in zip(located(recordings), recordings, strict=True)]
    unknown = [delay for delay, recording in zip(found, recordings, strict=True) if recording.stated_delay is None]
    same = bool(unknown) and max(unknown) - min(unknown) <= 2 * ACCURACY
    return [
        recording.stated_delay
        if recording.stated_delay is not None
        else (float(round(statistics.median(unknown))) if same else delay) - ACCURACY - recording.cut_off
        for delay, recording in zip(found, recordings, strict=True)
    ]


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


def take(recording: Recording, delay: float, names: Sequence[str]) -> Take:
    """The samples that dry and wet have in common, the wet moved by its delay, also by a part of a sample."""
    offset, (begin, end) = round(delay), span(recording, delay)
    around = recording.wet[begin + offset - HALF_LENGTH : end + offset + HALF_LENGTH]
    target = fractional_advance(around, delay - offset)[HALF_LENGTH:-HALF_LENGTH]
    positions = [float(recording.knobs[name]) for name in names]
    u, wet = (torch.as_tensor(signal.copy(), dtype=torch.float32) for signal in (recording.dry[begin:end], target))
    return Take(u, wet, torch.tensor(positions), u.new_empty(len(u), 0))


def span(recording: Recording, delay: float) -> tuple[int, int]:
    """The samples [begin, end) of the dry that have a wet at that delay, and enough beside it to move it by a part of a
    sample. Raises RecordingError."""
    offset = round(delay)
    begin = max(0, -offset) + HALF_LENGTH
    end = min(len(recording.dry), len(recording.wet) - offset) - HALF_LENGTH
    if end <= begin:
        raise RecordingError(f"{recording.name}: nothing is left at a delay of {delay:g} samples")
    return begin, end


def places(takes: Sequence[Take], length: int, most: int | None = None) -> list[Place]:
    """Where pieces of `length` samples begin in takes; what is left over at their ends is not used. most: samples, of
    which no more are used. Raises RecordingError."""
    found = [(k, begin) for k, one in enumerate(takes) for begin in range(0, len(one.u) - length + 1, length)]
    found = found if most is None else found[: most // length]
    if len(found) < 2:
        raise RecordingError(
            f"expected recordings for two pieces of {length} samples, found {len(found)}",
            "train on more, or on longer recordings",
        )
    return found


def cut(takes: Sequence[Take], chosen: Sequence[Place], length: int) -> list[Take]:
    """The pieces that begin at these places."""
    return [takes[k].part(begin, begin + length) for k, begin in chosen]


def split(found: Sequence[Place]) -> tuple[list[Place], list[Place]]:
    """Pieces to train on, and every fifth one to judge by, so that attacks and decays of notes are on both sides."""
    judging = range(min(EVERY // 2, len(found) - 1), len(found), EVERY)
    training = [piece for k, piece in enumerate(found) if k not in judging]
    return training, [found[k] for k in judging]


def parts_of(takes: Sequence[Take], chosen: Sequence[Place] | None = None, length: int = 0) -> list[Judge]:
    """The pieces that begin at these places as parts of their takes; None: the whole takes."""
    if chosen is None:
        return [Judge(one, (slice(0, len(one.u)),)) for one in takes]
    return [
        Judge(one, tuple(slice(begin, begin + length) for of, begin in chosen if of == k))
        for k, one in enumerate(takes)
    ]


def stacked(cut_pieces: Sequence[Take]) -> Batch:
    """Pieces side by side, without the last axis."""
    return Batch(
        *(torch.stack([getattr(piece, key) for piece in cut_pieces]) for key in ("u", "target", "knobs", "states"))
    )


class Shuffled:
    """The pieces in batches, in an order that depends on seed and epoch only. Of `devices` that share each batch, the
    one of that number, from 0 on, gets its part: as many pieces as the others, if need be one of theirs as well."""

    def __init__(self, whole: Batch, size: int, seed: int) -> None:
        self.whole, self.size, self.seed, self.epoch = whole, size, seed, 0
        self.number, self.devices = 0, 1

    def __len__(self) -> int:
        return -(-len(self.whole.u) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        whole = self.whole
        for every in torch.randperm(len(whole.u), generator=generator).split(self.size):
            each = -(-len(every) // self.devices)
            rows = every[(self.number + self.devices * torch.arange(each)) % len(every)]
            yield Batch(whole.u[rows, :, None], whole.target[rows, :, None], whole.knobs[rows], whole.states[rows])
