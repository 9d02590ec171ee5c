"""The figures of a comparison: error over training audio, error over frequency, harmonics, transfer curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from circuitnn.probing import Harmonics, TransferCurve
from circuitnn.report.residual import Signal, band_levels
from circuitnn.report.svg import ERROR, FITTED, INK, NOMINAL, TARGET, frequency_axis, inline_svg, legend, panels

# Models that a figure shows, each with a colour of its own; more would not be told apart.
COLOURS = (FITTED, ERROR, NOMINAL, INK)
# How far below its top a figure of levels reaches, in dB.
ERROR_RANGE, HARMONIC_RANGE = 100.0, 90.0
# The harmonics that have a panel, and their names.
PANELS = ((1, "fundamental [dB]"), (2, "2nd [dB]"), (3, "3rd [dB]"))


@inline_svg
def efficiency(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """ESR over seconds of training audio, for kinds of model."""
    figure, (axes,) = panels(3.2)
    for colour, (kind, points) in zip(COLOURS, curves.items(), strict=False):
        axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=4.0, label=kind)
    axes.set(xscale="log", yscale="log", xlabel="training audio [s]", ylabel="ESR")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter(lambda x, _: "")
    legend(axes, 3)
    return figure


@inline_svg
def errors(target: Signal, differences: Mapping[str, Signal], rate: float) -> Figure:
    """Levels of a recording and of what models leave of it, in twelfths of an octave."""
    figure, (axes,) = panels(3.2)
    frequencies, levels = band_levels(target, rate)
    axes.plot(frequencies, levels, color=TARGET, linewidth=2.2, label="recording")
    for colour, (name, difference) in zip(COLOURS, differences.items(), strict=False):
        axes.plot(*band_levels(difference, rate), color=colour, label=name)
    top = float(levels.max())
    axes.set(ylabel="level [dB]", ylim=(top - ERROR_RANGE, top + 5.0))
    frequency_axis(axes, frequencies[0], frequencies[-1])
    legend(axes, 3)
    return figure


@inline_svg
def harmonics(found: Mapping[str, Harmonics]) -> Figure:
    """Levels of the fundamental and of harmonics over the frequency of the input, over the input's."""
    figure, axes = panels(6.4, (1.0, 1.0, 1.0))
    for colour, (name, one) in zip(COLOURS, found.items(), strict=False):
        with np.errstate(divide="ignore"):
            levels = 20.0 * np.log10(one.amplitudes)
        for panel, (m, _) in zip(axes, PANELS, strict=True):
            panel.plot(one.frequencies, levels[m - 1], color=colour, label=name)
    top = max(line.get_ydata()[0:].max() for line in axes[0].lines)  # type: ignore[union-attr,index]
    for panel, (_, label) in zip(axes, PANELS, strict=True):
        panel.set(ylabel=label, ylim=(top - HARMONIC_RANGE, top + 5.0))
    first = next(iter(found.values())).frequencies
    frequency_axis(axes[-1], first[0], first[-1])
    legend(axes[0], 3)
    return figure


@inline_svg
def transfer(found: Mapping[str, TransferCurve]) -> Figure:
    """Output peaks over input peaks of a sine."""
    figure, (axes,) = panels(3.2)
    for colour, (name, one) in zip(COLOURS, found.items(), strict=False):
        axes.plot(one.inputs, one.outputs, color=colour, label=name)
    axes.set(xlabel="input peak", ylabel="output peak")
    legend(axes, 3)
    return figure
