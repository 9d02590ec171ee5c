"""The simulation of the TS-808 clipper against the same circuit written by hand in C++ (scalar_newton.cpp)."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from common import NETLISTS, RATE, Row, difference_db, guitar_like, print_rows, side_by_side
from torch import Tensor

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.runtime.compiler import FLAGS, find_compiler

SOURCE = Path(__file__).with_suffix(".cpp")
VARIANTS = {
    "library": "std::exp",
    "polynomial": "own exp",
    "extrapolated": "own exp, extrapolated start",
}
TOLERANCE_DB = -120.0

THERMAL_VOLTAGE = 1.380649e-23 / 1.602176634e-19 * 300.15
# What scalar_newton.cpp expects, in its order: the netlist at its written values. Drive at 0.5 is a tenth of the
# 500 kohm track: (81^0.5 - 1) / 80 = 0.1.
VALUES = {
    "C2": 1e-6, "R5": 10e3, "R4": 4.7e3, "C3": 47e-9, "Rf": 51e3 + 10.0 + 500e3 * 0.1, "C4": 51e-12,
    "IS": 2.52e-9, "nVt": 1.752 * THERMAL_VOLTAGE, "A": 200e3,
}  # fmt: skip


def compilers() -> dict[str, tuple[str, ...]]:
    """The compiler that the package uses, and g++ where that is another one: one may suit the program better."""
    found = find_compiler()
    assert found is not None, "no C++ compiler was found"
    gcc = shutil.which("g++")
    return {"the package's compiler": found} | ({"g++": (gcc,)} if gcc and found != (gcc,) else {})


@cache
def library(compiler: tuple[str, ...]) -> ctypes.CDLL:
    """scalar_newton.cpp, compiled with the flags that the package's own core is compiled with."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "scalar_newton.so")
        subprocess.run([*compiler, *FLAGS, str(SOURCE), "-o", str(built)], check=True)
        return ctypes.CDLL(str(built))


def simulate(u: Tensor, variant: str, compiler: tuple[str, ...]) -> tuple[Tensor, int]:
    """u [steps] in volt at RATE -> the output [steps] in volt, and the sum of Newton iterations."""
    function = getattr(library(compiler), f"clipper_{variant}")
    function.restype = ctypes.c_int64
    y, values = torch.empty_like(u), torch.tensor(list(VALUES.values()), dtype=torch.float64)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (u, y, values)]
    iterations = function(ctypes.c_int64(len(u)), ctypes.c_double(RATE), *pointers)
    return y, iterations


def measure(repeats: int, times_over: int = 4) -> list[Row]:
    """Every variant against one lane of the compiled core without gradient.

    The hand-written program has its reduction done beforehand, on paper; so the package's own (`set_up_ms`, the time
    of a call with a single step) is taken out of its time per step.
    """
    model = CircuitModel(read_netlist(NETLISTS / "ts808_clipper.cir"), RATE, oversample=1)
    # Over and over, so that the set-up is a small part of what it is taken from.
    u = guitar_like(RATE).repeat(1, times_over, 1)
    steps = u.shape[1]
    flat = u[0, :, 0].contiguous()

    @torch.no_grad()
    def ours(length: int = steps) -> Tensor:
        return model(u[:, :length])[0]

    target, notes = ours()[0, :, 0], {}
    peers = {
        f"{VARIANTS[variant]}, {name}": (variant, compiler)
        for variant in VARIANTS
        for name, compiler in compilers().items()
    }
    for name, peer in peers.items():
        y, iterations = simulate(flat, *peer)
        difference = difference_db(y, target)
        assert difference < TOLERANCE_DB, f"{name} differs by {difference:.1f} dB"
        notes[name] = {"iterations": iterations / steps, "difference_db": difference}
    works = {"ours": ours, "set up": lambda: ours(1)}
    works |= {name: lambda peer=peer: simulate(flat, *peer) for name, peer in peers.items()}
    times = side_by_side(works, repeats)
    per_step = 1e9 * (times["ours"] - times["set up"]) / (steps - 1)
    return [
        Row(
            "scalar", "ts808_clipper, simulation", f"hand-written C++, {name}", per_step,
            1e9 * times[name] / steps, note | {"set_up_ms": 1e3 * times["set up"]},
        )
        for name, note in notes.items()
    ]  # fmt: skip


if __name__ == "__main__":
    print_rows(measure(9))
