"""Simulation against ngspice on the same fixed time grid, one trapezoidal step per sample, for every netlist
with reference data.

ngspice's own statistics are used: the seconds of the transient analysis over the accepted time points, so that neither
starting the program nor reading the deck counts. Its step control is switched off as far as it can be, and rejected
points are reported; there are none, and only ngspice's short first steps are off the grid.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path

import torch
from common import NETLISTS, RATE, Row, difference_db, faded_in, guitar_like, print_rows, side_by_side
from torch import Tensor

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist

sys.path.insert(0, str(Path(__file__).parents[1]))

import ngspice
from reference.load import NAMES

# How much louder than guitar_like (0.3 V) a netlist is played, so that its diodes clip hard. A fuzz does so from the
# faintest note on; played louder, its edges are so steep that ngspice's first steps off the grid show.
LEVELS = {"diode_clipper": 10.0, "series_diode_clipper": 13.0, "big_muff": 0.3}
# ngspice's tolerances are relative to voltages in volts, and its first steps are shorter than ours.
TOLERANCE_DB = -60.0


def available() -> bool:
    return shutil.which("ngspice") is not None


def measure(repeats: int, steps: int = RATE // 2, times_over: int = 8) -> list[Row]:
    """Every netlist with reference data, one lane, no gradient. The package's set-up is taken out, as ngspice's is; it
    plays the signal `times_over`, so that this is a small part of what it is taken from."""
    rows = []
    for name in NAMES:
        path = NETLISTS / f"{name}.cir"
        circuit = read_netlist(path)
        # ngspice takes its operating point at the first sample, the package without input: it must be 0 V.
        once = LEVELS.get(name, 1.0) * faded_in(guitar_like(steps))
        u = once.repeat(1, times_over, 1)
        model = CircuitModel(circuit, RATE, oversample=1)

        @torch.no_grad()
        def ours(length: int = steps * times_over, model: CircuitModel = model, u: Tensor = u) -> Tensor:
            return model(u[:, :length])[0]

        runs = [
            ngspice.transient(path.read_text(), once[0, :, 0].numpy(), RATE, reltol=1e-6, vntol=1e-9)
            for _ in range(max(1, repeats // 2))
        ]
        target = ours(steps)[0, :, 0]
        difference = difference_db(torch.as_tensor(runs[0].outputs["v(out)"]), target)
        assert difference < TOLERANCE_DB, f"{name}: ngspice differs by {difference:.1f} dB"
        times = side_by_side({"run": ours, "set up": lambda ours=ours: ours(1)}, repeats)
        rows.append(
            Row(
                "ngspice", f"{name}, simulation", "ngspice",
                1e9 * (times["run"] - times["set up"]) / (steps * times_over - 1),
                1e9 * statistics.median(run.seconds for run in runs) / runs[0].points,
                {
                    "points": runs[0].points, "rejected": runs[0].rejected,
                    "iterations": runs[0].iterations / runs[0].points, "difference_db": difference,
                },
            )
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    print_rows(measure(3))
