"""What the benchmarks share: the signal, the clock, and the row that a peer reports."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RATE = 96000
NETLISTS = Path(__file__).parents[2] / "netlists"


def guitar_like(steps: int) -> Tensor:
    """A plucked chord with a peak of about 0.3 V [1, steps, 1]: the diodes clip hard."""
    t = np.arange(steps) / RATE
    tones = sum(np.sin(2 * np.pi * f * t + f) / k for k in (1, 2, 3, 4, 5) for f in (110.0 * k, 164.8 * k, 220.0 * k))
    return torch.as_tensor(0.12 * tones * np.exp(-2.0 * t))[None, :, None]


def faded_in(signal: Tensor, steps: int = 480) -> Tensor:
    """The signal [batch, steps, 1] with a linear ramp at its beginning: guitar_like starts with a jump."""
    ramp = (torch.arange(signal.shape[1], dtype=torch.float64) / steps).clamp(max=1.0)
    return signal * ramp[:, None]


def lanes(signal: Tensor, batch: int) -> Tensor:
    """The signal [1, steps, 1] at levels from 1 down to 0.5 [batch, steps, 1], so that no two lanes are alike."""
    return signal * torch.linspace(1.0, 0.5, batch, dtype=torch.float64)[:, None, None]


def median_time(work: Callable[[], object], repeats: int) -> float:
    """Seconds, after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def side_by_side(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each work, taking turns, so that a machine that slows down slows down all of them."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(measured) for name, measured in times.items()}


def difference_db(output: Tensor, target: Tensor) -> float:
    """Energy of the difference over the energy of the target, in dB."""
    ratio = float((output - target).square().sum() / target.square().sum())
    return 10.0 * math.log10(ratio) if ratio > 0.0 else -math.inf


def check_gradient(peer: Tensor, ours: Tensor, tolerance: float) -> float:
    """The largest relative difference of two gradients. Raises AssertionError above the tolerance."""
    worst = float(((peer - ours).abs() / ours.abs()).max())
    assert worst < tolerance, f"gradients differ by {worst:.1e}, more than {tolerance:.0e}:\n{peer}\n{ours}"
    return worst


@dataclass(frozen=True)
class Row:
    """One comparison. work: what is computed; ours, peer: ns per step of one lane; notes: figures beside the time,
    such as iterations per step or seconds of compilation."""

    section: str
    work: str
    peer_name: str
    ours: float
    peer: float
    notes: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Above 1: ours is faster."""
        return self.peer / self.ours


def print_rows(rows: list[Row]) -> None:
    """A table for people."""
    print(f"{'work':<42}{'peer':<46}{'ours':>9}{'peer':>11}{'peer/ours':>11}  (ns per step and lane)")
    for row in rows:
        print(f"{row.work:<42}{row.peer_name:<46}{row.ours:9.1f}{row.peer:11.1f}{row.ratio:11.2f}")
        if row.notes:
            print("    " + ", ".join(f"{name} {value:.4g}" for name, value in row.notes.items()))
