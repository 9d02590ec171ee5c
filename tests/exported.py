"""Exported C++ compiled into a library that Python calls, for tests and benchmarks."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from circuitnn.exporting import export_subject
from circuitnn.exporting.naming import identifier
from circuitnn.exporting.subject import Subject
from circuitnn.runtime.compiler import find_compiler

Signal = NDArray[np.float64]

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")

# Two processors of a circuit, the fitted one and one in single precision, behind functions of C.
HARNESS = """
#include "@name@.hpp"

using Double = circuitnn::Processor<@name@::Circuit, OVERSAMPLING, double>;
using Single = circuitnn::Processor<@name@::Circuit, OVERSAMPLING, float>;

// turns [blocks, knobs] are made before each block of the given length.
template <class P>
long run(double rate, const double* positions, double glide, const double* in, double* out, const long* lengths,
         const double* turns, long blocks) {
    static P processor(rate);
    processor.prepare(rate);
    for (int k = 0; k < P::knobs; ++k) processor.turn(k, positions[k]);
    processor.glide(glide);
    if (!processor.reset()) return -1;
    for (long block = 0; block < blocks; ++block) {
        if (turns)
            for (int k = 0; k < P::knobs; ++k) processor.turn(k, turns[block * P::knobs + k]);
        processor.process(in, out, lengths[block]);
        in += lengths[block] * @name@::Circuit::n_u;
        out += lengths[block] * @name@::Circuit::n_y;
    }
    return long(processor.failures() + processor.breakdowns());
}
extern "C" long run_double(double rate, const double* positions, double glide, const double* in, double* out,
                           const long* lengths, const double* turns, long blocks) {
    return run<Double>(rate, positions, glide, in, out, lengths, turns, blocks);
}
#ifdef SINGLE
extern "C" long run_single(double rate, const double* positions, double glide, const double* in, double* out,
                           const long* lengths, const double* turns, long blocks) {
    return run<Single>(rate, positions, glide, in, out, lengths, turns, blocks);
}
#endif
"""


class Exported:
    """A subject's export, compiled. oversample: 1, 2, 4 or 8."""

    def __init__(
        self, subject: Subject, folder: Path, oversample: int, flags: Sequence[str] = ("-O0",), single: bool = False
    ) -> None:
        self.circuit = subject.circuit
        export_subject(subject, "cpp", folder)
        source = HARNESS.replace("@name@", identifier(subject.name)).replace("OVERSAMPLING", str(oversample))
        (folder / "harness.cpp").write_text(source)
        command = [
            *compiler(), "-std=c++17", *flags, "-fPIC", "-shared", *(["-DSINGLE"] if single else []),
            "harness.cpp", "-o", "harness.so",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        self.library = ctypes.CDLL(str(folder / "harness.so"))

    def run(
        self,
        u: Signal,
        knobs: Mapping[str, float],
        rate: float,
        lengths: Sequence[int],
        turns: Signal | None = None,
        glide: float = 0.0,
        precision: str = "double",
    ) -> tuple[Signal, int]:
        """The output [time, n_y] for u [time, n_u] in blocks of the given lengths, and the failures. turns [blocks,
        knobs]: positions before each block."""
        outputs = len(self.circuit.outputs)
        out = np.zeros((len(u), outputs))
        assert sum(lengths) == len(u)
        positions = np.array([knobs[knob.name] for knob in self.circuit.knobs] or [0.0])
        function = getattr(self.library, f"run_{precision}")
        function.restype = ctypes.c_long
        u, counts = np.ascontiguousarray(u, dtype=float), np.array(lengths, dtype=np.int64)
        turns = None if turns is None else np.ascontiguousarray(turns, dtype=float)
        failures = function(
            ctypes.c_double(rate), pointer(positions), ctypes.c_double(glide), pointer(u), pointer(out),
            pointer(counts), None if turns is None else pointer(turns), ctypes.c_long(len(counts)),
        )  # fmt: skip
        return out, int(failures)


def compiler() -> tuple[str, ...]:
    """The system's compiler if there is one; else what `find_compiler` finds, without a C++ standard library."""
    for name in ("g++", "clang++", "c++"):
        if found := shutil.which(name):
            return (found,)
    found_compiler = find_compiler()
    assert found_compiler is not None
    return (*found_compiler, "-fno-exceptions", "-fno-threadsafe-statics")


def pointer(array: NDArray[np.float64] | NDArray[np.int64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
