"""circuitnn: SPICE netlists as differentiable, compiled audio circuit models, fitted to recordings.

circuit = read_netlist("netlists/ts808.cir")
model = CircuitModel(circuit, sample_rate=44100, oversample=4)
result = fit(model, [Recording.from_wav("dry.wav", "wet.wav")])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitnn.audio import Recording
    from circuitnn.circuit import Circuit
    from circuitnn.errors import (
        CircuitError,
        CircuitnnError,
        CompilerError,
        ConvergenceError,
        ConvergenceWarning,
        NetlistError,
        OutputError,
        RecordingError,
    )
    from circuitnn.exporting import export
    from circuitnn.exporting.model_file import read_model
    from circuitnn.fitting import FitResult, fit
    from circuitnn.models.chain import Chain
    from circuitnn.models.circuit_model import CircuitModel, CircuitState
    from circuitnn.netlist import parse_netlist, read_netlist, write_netlist
    from circuitnn.session import Session, read_session

# Loaded at first use (PEP 562): a program that reads a netlist does not wait for torch.
_HOMES = {
    "Chain": "circuitnn.models.chain",
    "Circuit": "circuitnn.circuit",
    "CircuitError": "circuitnn.errors",
    "CircuitModel": "circuitnn.models.circuit_model",
    "CircuitState": "circuitnn.models.circuit_model",
    "CircuitnnError": "circuitnn.errors",
    "CompilerError": "circuitnn.errors",
    "ConvergenceError": "circuitnn.errors",
    "ConvergenceWarning": "circuitnn.errors",
    "FitResult": "circuitnn.fitting",
    "NetlistError": "circuitnn.errors",
    "OutputError": "circuitnn.errors",
    "Recording": "circuitnn.audio",
    "RecordingError": "circuitnn.errors",
    "Session": "circuitnn.session",
    "export": "circuitnn.exporting",
    "fit": "circuitnn.fitting",
    "parse_netlist": "circuitnn.netlist",
    "read_model": "circuitnn.exporting.model_file",
    "read_netlist": "circuitnn.netlist",
    "read_session": "circuitnn.session",
    "write_netlist": "circuitnn.netlist",
}

__all__ = [
    "Chain",
    "Circuit",
    "CircuitError",
    "CircuitModel",
    "CircuitState",
    "CircuitnnError",
    "CompilerError",
    "ConvergenceError",
    "ConvergenceWarning",
    "FitResult",
    "NetlistError",
    "OutputError",
    "Recording",
    "RecordingError",
    "Session",
    "export",
    "fit",
    "parse_netlist",
    "read_model",
    "read_netlist",
    "read_session",
    "write_netlist",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'circuitnn' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    # Importing the package circuitnn.fitting binds the name `fit` to it; the function is what is public.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
