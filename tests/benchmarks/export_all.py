"""The exported C++ of every netlist against Python.

    python tests/benchmarks/export_all.py [NAME ...]

For each netlist the largest difference to the model relative to the largest sample, in double precision: in blocks of
1, 7, 64 and 1000 samples at a random setting of the knobs, and with knobs that jump in every control block. Then the
relative rms difference of single precision, and steps without solution. For noise: export_noise.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from exported import Exported
from numpy.typing import NDArray

from circuitnn.bench import shipped_netlists
from circuitnn.circuit import Circuit
from circuitnn.exporting.subject import Subject
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.simulate import CONTROL_PERIOD

RATE, OVERSAMPLE, LENGTHS, BLOCKS = 48000.0, 2, [1, 7, 64, 1000], 30


def chord(time: int, channels: int) -> NDArray[np.float64]:
    n = np.arange(time)[:, None] - 5.0 * np.arange(channels)
    return 0.3 * (np.sin(0.031 * n) + 0.6 * np.sin(0.083 * n + 1.0)) * np.minimum(n / 300.0, 1.0)


def relative(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def moved(program: Exported, circuit: Circuit, model: CircuitModel, random: np.random.Generator) -> str:
    turns = random.uniform(0.0, 1.0, (BLOCKS, len(circuit.knobs)))
    u = chord(BLOCKS * CONTROL_PERIOD, len(circuit.inputs))
    start = {knob.name: float(turns[0, k]) for k, knob in enumerate(circuit.knobs)}
    found, _ = program.run(u, start, RATE, [CONTROL_PERIOD] * BLOCKS, turns)
    along = {
        knob.name: torch.as_tensor(np.repeat(turns[:, k], CONTROL_PERIOD))[None] for k, knob in enumerate(circuit.knobs)
    }
    expected = model(torch.as_tensor(u)[None], knobs=along)[0][0].numpy()
    return f"{relative(found, expected):.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--flags", default="-O1", help="of the compiler")
    given = parser.parse_args()
    print("netlist                compiled  still    moved    single   failures")
    for path in shipped_netlists():
        if given.names and path.stem not in given.names:
            continue
        circuit, random = read_netlist(path), np.random.default_rng(1)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            begin = time.perf_counter()
            subject = Subject(path.stem, circuit, RATE, OVERSAMPLE)
            program = Exported(subject, Path(folder) / "out", OVERSAMPLE, given.flags.split(), single=True)
            seconds = time.perf_counter() - begin
            model = CircuitModel(circuit, RATE, OVERSAMPLE, [])
            knobs = {knob.name: float(random.uniform()) for knob in circuit.knobs}
            u = chord(sum(LENGTHS), len(circuit.inputs))
            expected = model(torch.as_tensor(u)[None], knobs=knobs)[0][0].numpy()
            still, failures = program.run(u, knobs, RATE, LENGTHS)
            single, _ = program.run(u, knobs, RATE, [len(u)], precision="single")
            error = np.sqrt(np.mean((single - still) ** 2) / np.mean((still - still.mean()) ** 2))
            row = f"{path.stem:22s} {seconds:6.1f} s  {relative(still, expected):.1e}"
            row += f"  {moved(program, circuit, model, random) if circuit.knobs else '':7s}  {error:.1e} {failures:5d}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
