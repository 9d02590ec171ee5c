"""An export compiled for this machine and called from Python: what will run elsewhere, here."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import CircuitnnError, ConvergenceError
from circuitnn.exporting.program import Program, program_of
from circuitnn.exporting.sources import subject_of
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.rendering import Rendering
from circuitnn.runtime.compiler import compile_library

if TYPE_CHECKING:
    from circuitnn.exporting.sources import Source

# What many hosts play at a time.
BLOCK = 64


class Player:
    """One processor of a deployed model, from rest. latency: samples by which it is late."""

    def __init__(self, model: Deployed, sample_rate: float, positions: Sequence[float]) -> None:
        library = model.library
        size, alignment = (int(getattr(library, f"memory_{what}")()) for what in ("size", "alignment"))
        self._memory = np.zeros(size + alignment, dtype=np.uint8)
        address = self._memory.ctypes.data
        self._place = ctypes.c_void_p(-(-address // alignment) * alignment)
        self._model = model
        if not library.begin(self._place, ctypes.c_double(sample_rate), _pointer(np.array([*positions, 0.0]))):
            what = model.program.word("what")
            hint = None if what == "circuit" else "expected a ninth of its own rate to nine times that"
            raise ConvergenceError(f"the exported {what} found no state of rest at {sample_rate:g} Hz", hint)
        self.latency = int(library.latency(self._place))
        self.failures = 0

    def turn(self, knob: int, position: float) -> None:
        """Move a knob."""
        self._model.library.turn(self._place, ctypes.c_int64(knob), ctypes.c_double(position))

    def glide(self, seconds: float) -> None:
        """How long a knob takes from stop to stop."""
        self._model.library.glide(self._place, ctypes.c_double(seconds))

    def play(self, u: NDArray[np.float64], block: int = BLOCK) -> NDArray[np.float64]:
        """u [time, inputs] -> y [time, outputs], of a circuit in volt, of a network in digital full scale."""
        inputs, outputs = self._model.program.signals
        if u.ndim != 2 or u.shape[1] != inputs:
            raise CircuitnnError(f"expected a signal of shape [time, {inputs}], found {list(u.shape)}")
        u, y = np.ascontiguousarray(u, dtype=np.float64), np.empty((len(u), outputs))
        counts = (ctypes.c_int64(len(u)), ctypes.c_int64(block))
        self.failures = int(self._model.library.play(self._place, _pointer(u), _pointer(y), *counts))
        return y


class Deployed:
    """The C++ that `export` writes, as a library. sample_rate [Hz]: the model's. precision: "single" or "double"
    in place of what is exported; a network then takes whatever it plays for sound at its own rate."""

    def __init__(self, subject: Subject | NetworkSubject, precision: str | None = None) -> None:
        self.program: Program = program_of(subject)
        self.sample_rate = subject.sample_rate
        type_ = f"{self.program.name}::Processor" if precision is None else self.program.word(precision)
        words = {"included": self.program.included, "struct": self.program.struct, "type": type_}
        self.library = compile_library(self.program.text("library.cpp", **words), self.program.wide)
        for name in ("memory_size", "memory_alignment", "latency", "begin", "play"):
            getattr(self.library, name).restype = ctypes.c_int64

    def player(self, knobs: Mapping[str, float] | None = None, sample_rate: float | None = None) -> Player:
        """A processor with its knobs (positions by name) where they are wanted, or where they stand at first."""
        known = self.program.knobs
        for name in knobs or {}:
            if name not in known:
                raise CircuitnnError(f"there is no knob {name!r}", f"knobs: {', '.join(known) or 'none'}")
        return Player(self, sample_rate or self.sample_rate, list({**known, **(knobs or {})}.values()))

    def render(
        self,
        signal: NDArray[np.float64],
        knobs: Mapping[str, float] | None = None,
        level: float = 1.0,
        sample_rate: float | None = None,
    ) -> Rendering:
        """The output for signal [time] times `level` (of a circuit: volt at digital full scale), from rest, latency
        taken out; in blocks of 64 samples. Raises CircuitnnError."""
        self.program.require_one_signal()
        player = self.player(knobs, sample_rate)
        u = np.concatenate([level * signal, np.zeros(player.latency)])[:, None]
        began = time.perf_counter()
        y = player.play(u)
        seconds = time.perf_counter() - began
        return Rendering(y[player.latency :, 0], player.failures, seconds)


def deployed(source: Source) -> Deployed:
    """The exported C++ of a run directory, a netlist, a model file, a model, a fit or a network, compiled for this
    machine (or from the cache). Raises CircuitnnError, and CompilerError without a compiler."""
    return Deployed(subject_of(source))


def _pointer(array: NDArray[np.float64]) -> ctypes.c_void_p:
    # Unlike a bare address, this one keeps its array alive.
    return array.ctypes.data_as(ctypes.c_void_p)
