"""The figures of a report as inline SVG whose colours are the page's CSS variables, so they follow light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import signal as dsp

Signal = NDArray[np.float64]

# Stand-ins that the SVG is written with, and the CSS variables that replace them.
INK, GRID, TARGET, FITTED, ERROR = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "--ink", GRID: "--line", TARGET: "--target", FITTED: "--fitted", ERROR: "--error"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "circuitnn", "font.family": "sans-serif", "font.size": 9.0,
    "text.color": INK, "axes.edgecolor": GRID, "axes.labelcolor": INK, "axes.linewidth": 0.8,
    "xtick.color": INK, "ytick.color": INK, "grid.color": GRID, "grid.linewidth": 0.6, "axes.grid": True,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "lines.linewidth": 1.3,
}  # fmt: skip

# Columns of an overview, length of the closest look in seconds, bands of a spectrum per octave.
COLUMNS, CLOSE_LOOK, BANDS_PER_OCTAVE = 700, 0.020, 12
# The lowest level that a spectrum shows, below its highest, in dB.
SPECTRUM_RANGE = 120.0


def overview(target: Signal, output: Signal, rate: float) -> str:
    """Envelopes of target and output over the whole recording, and of their difference below."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _envelope(upper, target, rate, TARGET, 0.75, "recording")
        _envelope(upper, output, rate, FITTED, 0.6, "fitted circuit")
        _envelope(lower, output - target, rate, ERROR, 0.9, "difference")
        upper.set_ylabel("full scale")
        lower.set(xlabel="time [s]", ylabel="difference", xlim=(0.0, len(target) / rate))
        upper.legend(ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
        return _svg(figure)


def _envelope(axes: Axes, signal: Signal, rate: float, color: str, alpha: float, label: str) -> None:
    edges = np.linspace(0, len(signal), min(COLUMNS, len(signal)) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(signal, edges), np.maximum.reduceat(signal, edges)
    axes.fill_between(edges / rate, low, high, color=color, alpha=alpha, linewidth=0.4, label=label)


def worst_moment(target: Signal, output: Signal, rate: float) -> tuple[int, int]:
    """The samples [begin, end) of CLOSE_LOOK seconds in which the error has the most energy."""
    length = min(len(target), max(2, round(CLOSE_LOOK * rate)))
    total = np.concatenate([[0.0], np.cumsum((output - target) ** 2)])
    begin = int(np.argmax(total[length:] - total[:-length]))
    return begin, begin + length


def close_look(target: Signal, output: Signal, rate: float) -> str:
    """Waveforms where they differ most."""
    begin, end = worst_moment(target, output, rate)
    time = 1e3 * np.arange(begin, end) / rate
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        upper.plot(time, target[begin:end], color=TARGET, linewidth=3.0, alpha=0.75, label="recording")
        upper.plot(time, output[begin:end], color=FITTED, label="fitted circuit")
        lower.plot(time, (output - target)[begin:end], color=ERROR)
        upper.set_ylabel("full scale")
        lower.set(xlabel="time [ms]", ylabel="difference", xlim=(time[0], time[-1]))
        upper.legend(ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))
        return _svg(figure)


def spectrum(target: Signal, output: Signal, rate: float) -> str:
    """Power in bands of a twelfth of an octave (Welch's method), in dB below full scale."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 2.8), layout="constrained")
        axes = figure.subplots()
        top = -np.inf
        for signal, color, label, width in (
            (target, TARGET, "recording", 2.4),
            (output, FITTED, "fitted circuit", 1.3),
            (output - target, ERROR, "difference", 1.0),
        ):
            frequency, levels = _bands(signal, rate)
            axes.semilogx(frequency, levels, color=color, linewidth=width, label=label)
            top = max(top, float(levels.max()))
        axes.set(xlabel="frequency [Hz]", ylabel="level [dB]", xlim=(20.0, min(20e3, rate / 2.0)))
        axes.set_ylim(bottom=max(axes.get_ylim()[0], top - SPECTRUM_RANGE))
        axes.set_xticks([t for t in (20, 100, 1000, 10000) if t < rate / 2.0], minor=False)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0.0, 1.0))
        return _svg(figure)


def _bands(signal: Signal, rate: float) -> tuple[Signal, Signal]:
    frequency, density = dsp.welch(signal, rate, nperseg=min(16384, len(signal)))
    highest = min(20e3, rate / 2.0)
    edges = 20.0 * 2.0 ** (np.arange(int(BANDS_PER_OCTAVE * np.log2(highest / 20.0)) + 1) / BANDS_PER_OCTAVE)
    centers = np.sqrt(edges[1:] * edges[:-1])
    # Low bands are narrower than a bin: the density in between is as good as it gets.
    smooth = np.interp(centers, frequency, density)
    total = np.concatenate([[0.0], np.cumsum(density)])
    begin, end = np.searchsorted(frequency, edges[:-1]), np.searchsorted(frequency, edges[1:])
    wide = end - begin > 1
    mean = np.where(wide, (total[end] - total[begin]) / np.maximum(end - begin, 1), smooth)
    return centers, 10.0 * np.log10(mean * np.diff(edges) + 1e-20)


def convergence(errors: Sequence[float]) -> str:
    """The relative squared error after each step."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 2.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(10.0 * np.log10(np.maximum(errors, 1e-20)), color=FITTED, marker="o", markersize=3.5)
        axes.set(xlabel="step", ylabel="error [dB]")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    metadata: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    image = text.getvalue()
    image = image[image.index("<svg") :]
    image = re.sub(r"<metadata>.*?</metadata>", "", image, flags=re.DOTALL)
    # Sizes come from the page, and HTML knows the namespaces.
    head, _, body = image.partition(">")
    head = re.sub(r'\s(?:width|height|xmlns(?::\w+)?|version)="[^"]*"', "", head)
    for color, variable in _VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    return f'{head} role="img">{body}'
