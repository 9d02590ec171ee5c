"""A network with what a file says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from circuitnn.documents import Document
from circuitnn.errors import CircuitnnError
from circuitnn.models.network import Network

# Files of other engines are smaller by far.
MAX_BYTES = 50_000_000
# Of single precision.
LARGEST = 3.4e38


@dataclass(frozen=True)
class SavedNetwork:
    """name: of its architecture, for people; sample_rate [Hz], delay [samples by which the wet is late] and esr of what
    judged its training, seconds that it took and audio_seconds that it was trained on; input_level: volt at digital
    full scale of its input; output_gain: digital full scale of its output per volt. None: the file does not say."""

    network: Network
    name: str
    sample_rate: float | None = None
    delay: float | None = None
    esr: float | None = None
    input_level: float | None = None
    output_gain: float | None = None
    seconds: float | None = None
    audio_seconds: float | None = None


def refused(saved: SavedNetwork, form: str, why: str, holds: str) -> CircuitnnError:
    """The error for a network that a format cannot hold. holds: what it can."""
    return CircuitnnError(f"{saved.name} cannot be written as {form}: {why}", f"{form} holds {holds}")


def fill(places: Iterable[Tensor], weights: Tensor, data: Document, key: str) -> None:
    """Copy weights [count] into tensors, one after the other. data, key: where they come from, for messages. Raises
    CircuitnnError if there are more or fewer, or one is not a number of single precision."""
    places = list(places)
    expected = sum(place.numel() for place in places)
    if weights.numel() != expected:
        raise data.error(key, f"expected {expected} numbers for this network, found {weights.numel()}")
    if not bool(torch.isfinite(weights).all()):
        raise data.error(key, "expected numbers of single precision, found one beyond")
    with torch.no_grad():
        for place, values in zip(places, weights.split([place.numel() for place in places]), strict=True):
            place.copy_(values.reshape(place.shape))


def nested(
    value: object, shape: tuple[int, ...], data: Document, key: str, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Lists of lists of numbers of a known shape as a tensor. Raises CircuitnnError for any others."""
    flat = [value]
    for size in shape:
        for part in flat:
            if not isinstance(part, list) or len(part) != size:
                found = f"a list of {len(part)}" if isinstance(part, list) else type(part).__name__
                wanted = " x ".join(map(str, shape))
                raise data.error(key, f"expected {wanted} numbers, found {found} where {size} should be")
        flat = [entry for part in flat if isinstance(part, list) for entry in part]
    kinds, most = (int | float, LARGEST) if dtype.is_floating_point else (int, 2**53)
    if not all(isinstance(entry, kinds) and not isinstance(entry, bool) and abs(entry) <= most for entry in flat):
        raise data.error(key, "expected numbers of single precision, found something else")
    return torch.tensor(flat, dtype=dtype).reshape(shape)
