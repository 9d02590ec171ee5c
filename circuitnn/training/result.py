"""What a training leaves."""

from __future__ import annotations

from dataclasses import dataclass

from circuitnn.models.network import Network


@dataclass(frozen=True)
class Trained:
    """network: with the values that judged best. delay: samples by which the wet is late. esr: of the part
    that judges; errors: esr after each epoch; seconds: what it took; audio_seconds: what it was trained on."""

    network: Network
    architecture: str
    sample_rate: float
    delay: float
    esr: float
    errors: tuple[float, ...]
    reason: str
    seconds: float
    audio_seconds: float

    @property
    def interrupted(self) -> bool:
        """Whether somebody ended it."""
        return self.reason == "interrupted"
