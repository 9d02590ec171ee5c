"""The figures of a comparison: error over training audio, error over frequency, harmonics, transfer curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product

import numpy as np
from matplotlib.figure import Figure

from circuitnn.probing import Harmonics, TransferCurve
from circuitnn.report.residual import Signal, band_levels
from circuitnn.report.svg import (
    ERROR,
    FITTED,
    INK,
    LINE,
    NOMINAL,
    TARGET,
    TOP,
    frequency_axis,
    inline_svg,
    legend,
    panels,
)

# Models that the figures show, each with a colour of its own; more would not be told apart. The page has the legend.
COLOURS = (FITTED, ERROR, NOMINAL, INK)
# What tells more curves of error over audio apart, which have a legend of their own with so many columns.
LINES, COLUMNS = ("o-", "s--", "^:"), 3
# How far below its top a figure of levels reaches, in dB.
ERROR_RANGE, HARMONIC_RANGE = 100.0, 90.0
# The harmonics that have a panel, and their names.
PANELS = ((1, "fundamental [dB]"), (2, "2nd [dB]"), (3, "3rd [dB]"))


def _label(name: str) -> str:
    """A name as it stands, where matplotlib would read a formula or leave it out."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


@inline_svg
def efficiency(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """ESR over seconds of training audio, for kinds of model."""
    more = LINE * ((len(curves) - 1) // COLUMNS)
    figure, (axes,) = panels(3.2 + more, top=TOP + more)
    lines = cycle(product(LINES, COLOURS))
    for (line, colour), (kind, points) in zip(lines, curves.items(), strict=False):
        axes.plot(*zip(*points, strict=True), line, color=colour, markersize=4.0, label=_label(kind))
    axes.set(xscale="log", yscale="log", xlabel="training audio [s]", ylabel="ESR")
    # Amounts are often within one decade, and may lie too close together for labels of their own.
    low, high = axes.get_xlim()
    ticks = [at for k in range(-3, 6) for at in (1 * 10.0**k, 2 * 10.0**k, 5 * 10.0**k) if low <= at <= high]
    amounts = [at for points in curves.values() for at, _ in points]
    axes.set_xticks(ticks if len(ticks) > 1 else [min(amounts), max(amounts)])
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    # Whole decades, so that a small difference looks small.
    low, high = axes.get_ylim()
    axes.set_ylim(10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(high)))
    axes.minorticks_off()
    legend(axes, COLUMNS)
    return figure


@inline_svg
def errors(target: Signal, differences: Sequence[tuple[str, Signal]], rate: float) -> Figure:
    """Levels of a recording and of what models leave of it, in twelfths of an octave; each difference with a colour."""
    figure, (axes,) = panels(3.2)
    frequencies, levels = band_levels(target, rate)
    axes.plot(frequencies, levels, color=TARGET, linewidth=2.4, alpha=0.6)
    for colour, difference in differences:
        axes.plot(*band_levels(difference, rate), color=colour)
    top = float(levels.max())
    axes.set(ylabel="level [dB]", ylim=(top - ERROR_RANGE, top + 5.0))
    frequency_axis(axes, frequencies[0], frequencies[-1])
    return figure


@inline_svg
def harmonics(found: Sequence[tuple[str, Harmonics]]) -> Figure:
    """Levels of the fundamental and of harmonics over the frequency of the input, over the input's; each with a
    colour."""
    figure, axes = panels(6.5, tuple(1.0 for _ in PANELS))
    top = 0.0
    for colour, one in found:
        with np.errstate(divide="ignore"):
            levels = 20.0 * np.log10(one.amplitudes)
        top = max(top, float(np.nanmax(levels)))
        for panel, (m, _) in zip(axes, PANELS, strict=True):
            panel.plot(one.frequencies, levels[m - 1], color=colour)
    for panel, (_, label) in zip(axes, PANELS, strict=True):
        panel.set(ylabel=label, ylim=(top - HARMONIC_RANGE, top + 5.0))
    frequencies = found[0][1].frequencies
    frequency_axis(axes[-1], frequencies[0], frequencies[-1])
    return figure


@inline_svg
def transfer(found: Sequence[tuple[str, TransferCurve]]) -> Figure:
    """Output peaks over input peaks of a sine; each with a colour."""
    figure, (axes,) = panels(3.2)
    for colour, one in found:
        axes.plot(one.inputs, one.outputs, color=colour)
    axes.set(xlabel="input peak", ylabel="output peak")
    return figure
