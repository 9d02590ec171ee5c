"""How long and in what steps a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Preset:
    """segment: length of the pieces that recordings are cut into, in seconds; batch: pieces at a time. Of each, the
    first `warm_up` samples only bring the network's state in place; the rest is gone through in chunks of `chunk`
    samples, with one step of the optimizer each. learning_rate: the first one, of half a cosine that ends at zero with
    the last epoch, or with the time. patience: epochs without a better validation after which it ends.
    teaching_epochs: epochs at most for which a network of states is taught the true ones, before only its output
    counts.
    seconds: that the thread which trains may work, after which it ends with the next epoch; None: any time. What other
    programs take from the processor does not count: a busy machine gives a network as good as an idle one.

    Segments of 0.5 s, a warm-up of 1000 samples and chunks of 2048 are those of Wright et al., DAFx-19. In a few
    minutes, more and larger steps come further.
    """

    epochs: int
    patience: int
    learning_rate: float
    batch: int
    segment: float = 0.5
    warm_up: int = 1000
    chunk: int = 2048
    teaching_epochs: int = 0
    seconds: float | None = None


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": Preset(
            epochs=400, patience=400, learning_rate=5e-3, batch=16, chunk=1024, teaching_epochs=40, seconds=240.0
        ),
        "full": Preset(epochs=1000, patience=200, learning_rate=5e-4, batch=40, teaching_epochs=200),
    }
)
