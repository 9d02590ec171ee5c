"""Simulation against ngspice on the same fixed time grid, one trapezoidal step per sample, for every netlist.

ngspice's own statistics are used: the seconds of the transient analysis over the accepted time points, so that neither
starting the program nor reading the deck counts. Its step control is switched off as far as it can be, and rejected
points are reported; there are none, and only ngspice's short first steps are off the grid.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import NETLISTS, RATE, Row, difference_db, faded_in, guitar_like, print_rows, side_by_side
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist

# How much louder than guitar_like (0.3 V) a netlist is played, so that its diodes clip hard. A fuzz does so from the
# faintest note on; played louder, its edges are so steep that ngspice's first steps off the grid show.
LEVELS = {"diode_clipper": 10.0, "series_diode_clipper": 13.0, "big_muff": 0.3}
# ngspice's tolerances are relative to voltages in volts, and its first steps are shorter than ours.
TOLERANCE_DB = -60.0

# filesource sets no breakpoints (a PWL source would, and make ngspice fall back to first order at every point). With
# XSPICE's sources, xtrtol takes the place of trtol: as large as this, it switches the error-controlled step off.
INITIALISATION = "set xtrtol=1e9\n"
DECK = """
.model source filesource(file="source.txt" amploffset=[0] amplscale=[1])
.options method=trap reltol=1e-6 abstol=1e-12 vntol=1e-9 chgtol=1e-22 trtol=1e9 itl4=200
.control
save v(out)
tran {print_step:.16e} {stop:.16e} 0 {step:.16e}
rusage everything
write out.raw v(out)
quit
.endc
.end
"""


@dataclass(frozen=True)
class NgspiceRun:
    """output [steps]: volt, interpolated onto the grid; seconds: of the transient analysis; points: accepted."""

    output: NDArray[np.float64]
    seconds: float
    points: int
    rejected: int
    iterations: int


def simulate(netlist: str, source: NDArray[np.float64]) -> NgspiceRun:
    """ngspice on a netlist with a source [V] at RATE in place of Vin."""
    step = 1.0 / RATE
    grid = np.arange(source.size) * step
    circuit = re.sub(r"^Vin\s.*$", "aVin %v([in]) source", netlist, flags=re.MULTILINE)
    circuit = re.sub(r"^\.(op|end)\s*$", "", circuit, flags=re.MULTILINE)
    # ngspice starts with a hundredth of the print step, or of the largest step if that is less.
    deck = circuit + DECK.format(step=step, print_step=10.0 * step, stop=grid[-1])
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder, "source.txt"), np.column_stack([grid, source]), fmt="%.15e")
        Path(folder, ".spiceinit").write_text(INITIALISATION)
        Path(folder, "deck.cir").write_text(deck)
        done = subprocess.run(["ngspice", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, check=False)
        raw = Path(folder, "out.raw")
        assert raw.exists(), f"ngspice failed:\n{done.stdout}\n{done.stderr}"
        header, _, data = raw.read_bytes().partition(b"Binary:\n")
    assert b"No. Variables: 2" in header, header
    time, output = np.frombuffer(data, dtype="<f8").reshape(-1, 2).T

    def statistic(name: str) -> float:
        found = re.search(rf"^{name} = (\S+)", done.stdout, flags=re.MULTILINE)
        assert found, f"no {name!r} in\n{done.stdout}"
        return float(found[1])

    return NgspiceRun(
        output=np.asarray(CubicSpline(time, output)(grid)),
        seconds=statistic("Transient analysis time"),
        points=int(statistic("Accepted timepoints")),
        rejected=int(statistic("Rejected timepoints")),
        iterations=int(statistic("Transient iterations")),
    )


def available() -> bool:
    return shutil.which("ngspice") is not None


def measure(repeats: int, steps: int = RATE // 2, times_over: int = 8) -> list[Row]:
    """Every netlist with an input, one lane, no gradient. The package's set-up is taken out, as ngspice's is; it plays
    the signal `times_over`, so that this is a small part of what it is taken from."""
    rows = []
    for path in sorted(NETLISTS.glob("*.cir")):
        circuit = read_netlist(path)
        if not circuit.inputs:
            continue
        # ngspice takes its operating point at the first sample, the package without input: it must be 0 V.
        once = LEVELS.get(path.stem, 1.0) * faded_in(guitar_like(steps))
        u = once.repeat(1, times_over, 1)
        model = CircuitModel(circuit, RATE, oversample=1)

        @torch.no_grad()
        def ours(length: int = steps * times_over, model: CircuitModel = model, u: Tensor = u) -> Tensor:
            return model(u[:, :length])[0]

        runs = [simulate(path.read_text(), once[0, :, 0].numpy()) for _ in range(max(1, repeats // 2))]
        target = ours(steps)[0, :, 0]
        difference = difference_db(torch.as_tensor(runs[0].output), target)
        assert difference < TOLERANCE_DB, f"{path.name}: ngspice differs by {difference:.1f} dB"
        times = side_by_side({"run": ours, "set up": lambda ours=ours: ours(1)}, repeats)
        rows.append(
            Row(
                "ngspice", f"{path.stem}, simulation", "ngspice",
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
