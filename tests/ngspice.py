"""Runs the ngspice program and reads its results."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def run(deck: str, folder: Path) -> str:
    """What ngspice prints for a deck. Raises AssertionError if it fails."""
    (folder / "deck.cir").write_text(deck)
    done = subprocess.run(
        ["ngspice", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    output = done.stdout + done.stderr
    if done.returncode != 0 or "rror" in output:
        raise AssertionError(f"ngspice failed:\n{output}\nfor\n{deck}")
    return output


def vectors(deck: str, commands: str, names: list[str]) -> dict[str, NDArray[np.float64]]:
    """Vectors after some commands. deck: cards without .end; names: what `wrdata` calls them, such as v(out)."""
    control = f"\n.control\nset wr_singlescale\nset wr_vecnames\nset numdgt=15\n{commands}\n"
    control += f"wrdata result.txt {' '.join(names)}\nquit 0\n.endc\n.end\n"
    with tempfile.TemporaryDirectory() as folder:
        run(deck + control, Path(folder))
        table = np.loadtxt(Path(folder, "result.txt"), skiprows=1, ndmin=2)
    return {name: table[:, k + 1] for k, name in enumerate(names)} | {"scale": table[:, 0]}
