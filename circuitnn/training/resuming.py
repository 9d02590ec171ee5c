"""Whether the state of an interrupted training belongs to this one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from circuitnn.errors import CircuitnnError
from circuitnn.models.network import Network
from circuitnn.training.data import Take
from circuitnn.training.presets import Preset

# The file that keeps where a training stands.
CHECKPOINT = "last.ckpt"


def fingerprint(name: str, network: Network, takes: Sequence[Take], preset: Preset, seed: int) -> str:
    """What a training depends on, as a hash. network: as it begins."""
    digest = hashlib.sha256(repr((name, preset, seed)).encode())
    for value in network.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    for one in takes:
        for signal in (one.u, one.target, one.knobs, one.states):
            digest.update(signal.numpy().tobytes())
    return digest.hexdigest()


def check_belongs(found: str, expected: str) -> None:
    """Raise CircuitnnError unless the fingerprint in a state is that of this training."""
    if found != expected:
        raise CircuitnnError(
            "the state belongs to a training of another architecture, other recordings or other settings",
            "repeat the interrupted command with --resume added, or train from the beginning without it",
        )
