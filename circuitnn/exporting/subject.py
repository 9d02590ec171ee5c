"""What is exported: a circuit with its values, or a network, the settings that it runs with, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from circuitnn.circuit import Circuit
from circuitnn.schemes import TRAPEZOIDAL, Scheme

if TYPE_CHECKING:
    from circuitnn.models.circuit_model import CircuitModel
    from circuitnn.models.network import Network


@dataclass(frozen=True)
class Subject:
    """name: of the circuit, for files; circuit: with the values that are exported; sample_rate [Hz] and oversample:
    what it was fitted at, or is meant for; input_level: volt at digital full scale; output_gain: digital full scale per
    volt. nominal, values, intervals: of a fit, the circuit that it started from, the fitted values by name, and their
    95 % intervals."""

    name: str
    circuit: Circuit
    sample_rate: float = 44100.0
    oversample: int = 4
    scheme: Scheme = TRAPEZOIDAL
    input_level: float = 1.0
    output_gain: float = 1.0
    nominal: Circuit | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def model(self) -> CircuitModel:
        """The circuit as a model, with nothing to learn. Raises CircuitnnError if it has none."""
        from circuitnn.models.circuit_model import CircuitModel

        return CircuitModel(self.circuit, self.sample_rate, self.oversample, [], scheme=self.scheme)


@dataclass(frozen=True)
class NetworkSubject:
    """name: for files; title: for people; sample_rate [Hz]: that it was trained at; positions: of its knobs at first by
    name, one half where there is none."""

    name: str
    network: Network
    sample_rate: float = 44100.0
    title: str = ""
    positions: Mapping[str, float] = field(default_factory=dict)
