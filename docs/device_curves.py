"""What the pages of the devices plot: curves that this program's own solution of a circuit has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import circuitnn as cn
from circuitnn.discretise import DiscreteCircuit
from circuitnn.inspection import inspect

COLOURS = ("#1f6feb", "#d9730d", "#2da44e", "#8250df", "#8b949e")
Points = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Curve(ABC):
    """One plot of several variants of a circuit.

    variants: label -> cards. axes: their labels. scale: of what is plotted; limits: of the vertical axis, None for all
    of it; logarithmic: the axes that are, "", "x", "y" or "xy".
    """

    title: str
    variants: Mapping[str, str]
    axes: tuple[str, str]
    scale: float = field(default=1.0, kw_only=True)
    limits: tuple[float, float] | None = field(default=None, kw_only=True)
    logarithmic: str = field(default="", kw_only=True)

    @abstractmethod
    def points(self, cards: str) -> Points:
        """x and y of one variant."""


@dataclass(frozen=True)
class Sweep(Curve):
    """A current or voltage of the DC solution, such as "i(VD)" or "v(out)", while `source`, an element or .param, takes
    some values."""

    source: str
    values: Sequence[float]
    shown: str

    def points(self, cards: str) -> Points:
        model = DiscreteCircuit(cn.parse_netlist(f"curve\n{cards}\n.end\n"), 48000.0)
        row, point, found = model.equations.unknowns.index(self.shown), None, []
        # By continuation from one operating point to the next.
        for value in self.values:
            point = model.operating_point({self.source: float(value)}, point)
            found.append(self.scale * float(point.z[row]))
        return self.values, found


@dataclass(frozen=True)
class Response(Curve):
    """Small-signal gain in dB from the element Vin to the node out. frequencies: in Hz."""

    frequencies: Sequence[float]

    def points(self, cards: str) -> Points:
        circuit = cn.parse_netlist(f"curve\n*@ input Vin\n*@ output out\n{cards}\n.end\n")
        gain = inspect(circuit).linearised.response(self.frequencies).gain[:, 0, 0]
        return self.frequencies, (20.0 * np.log10(np.abs(gain))).tolist()


@dataclass(frozen=True)
class Run(Curve):
    """The voltage of the node out over time in seconds, for a signal at the element Vin with that step rate in Hz."""

    signal: Sequence[float]
    rate: float
    time_scale: float = 1.0

    def points(self, cards: str) -> Points:
        circuit = cn.parse_netlist(f"curve\n*@ input Vin\n*@ output out\n{cards}\n.end\n")
        with torch.no_grad():
            u = torch.tensor(self.signal, dtype=torch.float64)[None, :, None]
            y, _ = cn.CircuitModel(circuit, self.rate, oversample=1)(u)
        times = self.time_scale * np.arange(len(self.signal)) / self.rate
        return times.tolist(), (self.scale * y[0, :, 0]).tolist()


def plot(curve: Curve, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8.0, 3.6), layout="constrained")
    for colour, (label, cards) in zip(COLOURS * 2, curve.variants.items(), strict=False):
        x, y = curve.points(cards)
        axes.plot(x, y, color=colour, lw=1.6, label=label)
    axes.set(xlabel=curve.axes[0], ylabel=curve.axes[1], xlim=(min(x), max(x)))
    axes.set_title(curve.title, loc="left")
    for axis in curve.logarithmic:
        getattr(axes, f"set_{axis}scale")("log")
    axes.grid(True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if curve.limits:
        axes.set_ylim(*curve.limits)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
