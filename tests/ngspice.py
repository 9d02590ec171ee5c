"""Runs the ngspice program and reads its results.

Transients run on a constant grid, one trapezoidal step per sample of the input:

- The source is XSPICE's `filesource`, in series with the netlist's own one. It sets no breakpoints; a PWL source
  would, and make ngspice fall back to first order at every point.
- `trtol`, and `xtrtol` that takes its place beside XSPICE's sources, switch the error-controlled step off; the maximum
  step does the rest.
- ngspice ramps its step up at the start, so its grid is shifted by a fraction of a step; a cubic spline carries the
  output to the intended grid. The steps to the end are irregular too, so the run goes on for some samples.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

# Samples simulated beyond the end.
MARGIN = 16
DRIVE = "external_drive"
INITIALISATION = "set xtrtol=1e9\n"
# ngspice starts with a hundredth of the print step, and far smaller steps than `step` drown in rounding errors.
TRANSIENT = """
.model {drive} filesource(file="{folder}/source.txt" amploffset=[0] amplscale=[1])
a_{drive} %vd([{drive} {minus}]) {drive}
.options method=trap reltol={reltol} abstol=1e-12 vntol={vntol} chgtol=1e-22 trtol=1e9 itl4=200
.control
{commands}
save {names}
tran {print_step:.16e} {stop:.16e} 0 {step:.16e}
rusage everything
write {folder}/out.raw {names}
quit
.endc
.end
"""


@dataclass(frozen=True)
class Transient:
    """outputs: voltages on the grid of the input, by name as in v(out); seconds: of the transient analysis, without
    starting and reading; points, rejected: time points; iterations: of Newton's method."""

    outputs: Mapping[str, NDArray[np.float64]]
    seconds: float
    points: int
    rejected: int
    iterations: int


def run(deck: str, folder: Path, home: Path | None = None) -> str:
    """What ngspice prints for a deck, written to `home` (default: `folder`) and run in `folder`, from where its
    .include cards count. Raises AssertionError if it fails."""
    path = (home or folder) / "deck.cir"
    path.write_text(deck)
    return run_file(path, folder)


def run_file(path: Path, folder: Path | None = None) -> str:
    """What ngspice prints for a file as it stands, run in `folder` (default: the file's). Raises AssertionError."""
    done = subprocess.run(
        ["ngspice", "-b", path.resolve()],
        cwd=folder or path.parent, env=os.environ | {"HOME": str(path.parent)},
        capture_output=True, text=True, errors="replace", timeout=600, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    if done.returncode != 0 or "rror" in output:
        raise AssertionError(f"ngspice failed:\n{output}\nfor\n{path.read_text()}")
    return output


def version() -> str:
    """Such as ngspice-39."""
    printed = subprocess.run(["ngspice", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"ngspice-\S+", printed)
    assert found, printed
    return found[0]


def cards(netlist: str) -> str:
    """A netlist to which cards can be added: without its analysis and its end."""
    return re.sub(r"^\.(op|end)\s*$", "", netlist, flags=re.MULTILINE | re.IGNORECASE)


def settings(parameters: Mapping[str, float]) -> str:
    """Commands that give .params other values."""
    return "\n".join([*(f"alterparam {name}={value!r}" for name, value in parameters.items()), "reset"])


def vectors(
    deck: str, commands: str, names: Sequence[str], folder: Path | None = None
) -> dict[str, NDArray[np.float64]]:
    """Vectors after some commands. deck: cards without .end; names: what `wrdata` calls them, such as v(out); folder:
    from where its .include cards count."""
    with tempfile.TemporaryDirectory() as home:
        control = f"\n.control\nset wr_singlescale\nset wr_vecnames\nset numdgt=15\n{commands}\n"
        control += f"wrdata {home}/result.txt {' '.join(names)}\nquit 0\n.endc\n.end\n"
        run(deck + control, folder or Path(home), Path(home))
        table = np.loadtxt(Path(home, "result.txt"), skiprows=1, ndmin=2)
    return {name: table[:, k + 1] for k, name in enumerate(names)} | {"scale": table[:, 0]}


def transient(
    netlist: str,
    source: NDArray[np.float64],
    rate: float,
    *,
    input_name: str = "Vin",
    names: Sequence[str] = ("v(out)",),
    parameters: Mapping[str, float] | None = None,
    reltol: float = 1e-7,
    vntol: float = 1e-10,
    folder: Path | None = None,
) -> Transient:
    """A netlist driven by `source` [V] on a grid of that rate [Hz], from its operating point.

    The cards run as they stand, but for the minus node of the voltage source `input_name`, where `source` is inserted.
    parameters: .params that get other values; vntol: to how many volts each step is solved; folder: from where .include
    cards count. Raises AssertionError if ngspice does not reach the end.
    """
    pattern = rf"^({re.escape(input_name)}\s+\S+\s+)(\S+)"
    card = re.search(pattern, netlist, flags=re.MULTILINE | re.IGNORECASE)
    assert card, f"no card of {input_name}"
    circuit = cards(f"{netlist[: card.start()]}{card[1]}{DRIVE}{netlist[card.end() :]}")
    step, grid = 1.0 / rate, np.arange(source.size + MARGIN) / rate
    with tempfile.TemporaryDirectory() as home:
        padded = np.concatenate([source, np.full(MARGIN, source[-1])])
        np.savetxt(Path(home, "source.txt"), np.column_stack([grid, padded]), fmt="%.15e")
        Path(home, ".spiceinit").write_text(INITIALISATION)
        deck = circuit + TRANSIENT.format(
            drive=DRIVE, minus=card[2], folder=home, reltol=reltol, vntol=vntol, names=" ".join(names),
            commands=settings(parameters) if parameters else "",
            step=step, print_step=10.0 * step, stop=grid[-1],
        )  # fmt: skip
        printed = run(deck, folder or Path(home), Path(home))
        header, _, data = Path(home, "out.raw").read_bytes().partition(b"Binary:\n")
    assert f"No. Variables: {len(names) + 1}".encode() in header, header
    time, *columns = np.frombuffer(data, dtype="<f8").reshape(-1, len(names) + 1).T
    assert time[-1] > grid[-1] * (1.0 - 1e-9), f"ngspice stopped at {time[-1]} s:\n{printed}"

    def statistic(name: str) -> float:
        found = re.search(rf"^{name} = (\S+)", printed, flags=re.MULTILINE)
        assert found, f"no {name!r} in\n{printed}"
        return float(found[1])

    return Transient(
        {name: CubicSpline(time, column)(grid[: source.size]) for name, column in zip(names, columns, strict=True)},
        seconds=statistic("Transient analysis time"),
        points=int(statistic("Accepted timepoints")),
        rejected=int(statistic("Rejected timepoints")),
        iterations=int(statistic("Transient iterations")),
    )
