"""The sheet of a circuit: one figure with a panel for each analysis."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from circuitnn.inspection.frequencies import curve, steps
from circuitnn.inspection.linearised import Impedances, decibels
from circuitnn.inspection.sensitivity import Sensitivities
from circuitnn.inspection.summary import Inspection, show
from circuitnn.inspection.sweeps import KnobSweep, TransferCurve
from circuitnn.placing import place_file
from circuitnn.units import format_value

# Colours that people with any colour vision tell apart: M. Okabe and K. Ito, "Color universal design" (2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
PANEL = (5.6, 3.2)
# What a panel shows of a response below its highest point, in dB, and of impedances, in ohm.
LEVELS, IMPEDANCES = 60.0, (1e-3, 1e9)
# Sensitivities up to this many dB are not worth a curve.
NEGLIGIBLE = 1e-3
_STYLE: dict[Any, Any] = {
    "font.size": 9.0, "axes.titlesize": 10.0, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.alpha": 0.3, "grid.linewidth": 0.6,
    "legend.frameon": False, "legend.fontsize": 8.0, "lines.linewidth": 1.5,
}  # fmt: skip

Panel = Callable[["Axes"], None]
Curve = tuple[str, NDArray[Any]]


def plot_sheet(inspection: Inspection, path: str | os.PathLike[str], low: float, high: float) -> None:
    """Write the sheet of a circuit with inputs and outputs as PNG, for frequencies from low to high in Hz.

    Knobs and sensitivities are those of the first output and the first input. The file appears complete or not at all.
    Raises OutputError, and ConvergenceError or CircuitError where a position of a knob has no solution.
    """
    frequencies = curve(low, high)
    panels = _panels(inspection, frequencies)
    wide = partial(_sensitivities, inspection, inspection.sensitivities(frequencies))
    with matplotlib.rc_context(_STYLE):
        rows = math.ceil(len(panels) / 2) + 1
        figure = Figure(figsize=(2 * PANEL[0], rows * PANEL[1] + 0.5), layout="constrained")
        figure.suptitle(_title(inspection), x=0.01, ha="left", fontsize=11.0)
        grid = figure.add_gridspec(rows, 2)
        for k, panel in enumerate(panels):
            # The last one has the row to itself if it is alone there.
            alone = k == len(panels) - 1 and k % 2 == 0
            panel(figure.add_subplot(grid[k // 2, :] if alone else grid[k // 2, k % 2]))
        wide(figure.add_subplot(grid[rows - 1, :]))
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=120)
    place_file(Path(path), image.getvalue())


def _title(inspection: Inspection) -> str:
    settings = "   ".join(f"{knob.name} {knob.position:.3g}" for knob in inspection.knobs)
    # A dollar sign would start a formula.
    return "\n".join(line for line in (inspection.circuit.title[:110], settings) if line).replace("$", r"\$")


def _panels(inspection: Inspection, frequencies: Sequence[float]) -> list[Panel]:
    gain = inspection.linearised.response(frequencies).gain
    pairs = [(label, gain[:, row, column]) for row, column, label in inspection.pairs]
    return [
        partial(_gains, "Gain", COLOURS, pairs, frequencies),
        partial(_phases, pairs, frequencies),
        *(partial(_knob, sweep) for sweep in inspection.knob_sweeps(frequencies)),
        partial(_impedances, inspection, inspection.linearised.impedances(frequencies)),
        *(partial(_transfer, inspection, found) for found in inspection.transfer_curves()),
    ]


def _gains(
    title: str, colours: Sequence[Any], curves: Sequence[Curve], frequencies: Sequence[float], axes: Axes
) -> None:
    levels = np.array([decibels(gain) for _, gain in curves])
    lowest = levels.max() - LEVELS
    for (label, _), level, colour in zip(curves, levels, colours, strict=False):
        axes.plot(frequencies, level, color=colour, label=label if level.max() > lowest else f"{label} ↓")
    shown = levels[levels > lowest]
    margin = 0.05 * max(float(np.ptp(shown)), 1.0)
    axes.set_ylim(shown.min() - margin, shown.max() + margin)
    _frequency_axis(axes, title, "dB", frequencies)
    axes.legend()


def _phases(curves: Sequence[Curve], frequencies: Sequence[float], axes: Axes) -> None:
    for (label, gain), colour in zip(curves, COLOURS, strict=False):
        axes.plot(frequencies, np.degrees(np.unwrap(np.angle(gain))), color=colour, label=label)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 1.5, 3, 4.5, 9, 10]))
    _frequency_axis(axes, "Phase", "degrees", frequencies)


def _knob(sweep: KnobSweep, axes: Axes) -> None:
    # Light to dark as the knob is turned up.
    colours = [matplotlib.colormaps["viridis_r"](0.15 + 0.8 * position) for position in sweep.positions]
    curves = [(f"{position:g}", gain) for position, gain in zip(sweep.positions, sweep.gain[:, :, 0, 0], strict=True)]
    _gains(f"Gain with {sweep.knob} at", colours, curves, sweep.frequencies, axes)
    axes.legend(ncols=len(curves), loc="lower right", bbox_to_anchor=(1.0, 1.0), columnspacing=1.0, handlelength=1.2)


def _sensitivities(inspection: Inspection, found: Sensitivities, axes: Axes) -> None:
    matter = [k for k in found.ranking() if np.nan_to_num(np.abs(found.level[k, :, 0, 0])).max() > NEGLIGIBLE]
    # Of curves that coincide, as those of R and C of one corner, the wider shows below the other.
    widths = np.linspace(3.0, 1.2, min(len(matter), len(COLOURS)))
    for k, colour, width in zip(matter, COLOURS, widths, strict=False):
        name = found.names[k]
        value = show(inspection.circuit, name, inspection.values[name])
        axes.plot(found.frequencies, found.level[k, :, 0, 0], color=colour, linewidth=width, label=f"{name}  {value}")
    axes.axhline(0.0, color="#777777", linewidth=0.8, zorder=1.0)
    _frequency_axis(axes, "Sensitivity: gain for 10 % more (of a knob: of its travel)", "dB", found.frequencies)
    if matter:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.2)


def _impedances(inspection: Inspection, found: Impedances, axes: Axes) -> None:
    curves = [(f"at {name}", found.input[:, k]) for k, name in enumerate(inspection.equations.inputs)]
    curves += [(f"of {name}", found.output[:, k]) for k, name in enumerate(inspection.outputs)]
    low, high = IMPEDANCES
    for (label, impedance), colour in zip(curves, COLOURS, strict=False):
        size = np.abs(impedance)
        shown = np.where((size >= low) & (size <= high), size, np.nan)
        beyond = f" < {format_value(low, 'Ω')}" if size.max() < low else f" > {format_value(high, 'Ω')}"
        axes.plot(found.frequencies, shown, color=colour, label=label + (beyond if np.isnan(shown).all() else ""))
    axes.set_yscale("log")
    bottom, top = (math.log10(limit) for limit in axes.get_ylim())
    axes.set_ylim(10.0 ** math.floor(bottom), 10.0 ** math.ceil(top))
    axes.yaxis.set_major_formatter(lambda ohm, _: format_value(ohm, "Ω"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _frequency_axis(axes, "Impedance at the input, of the output", "", found.frequencies)
    axes.legend()


def _transfer(inspection: Inspection, found: TransferCurve, axes: Axes) -> None:
    for k, (name, colour) in enumerate(zip(inspection.outputs, COLOURS, strict=False)):
        axes.plot(found.voltages, found.output[:, k], color=colour, label=name)
    axes.set(
        title="Transfer curve at DC",
        xlabel=f"{found.source} [V]",
        ylabel="V",
        xlim=found.voltages[:: len(found.voltages) - 1],
    )
    axes.legend()


def _frequency_axis(axes: Axes, title: str, unit: str, frequencies: Sequence[float]) -> None:
    low, high = frequencies[0], frequencies[-1]
    axes.set(title=title, ylabel=unit, xlim=(low, high), xscale="log")
    ticks = steps(low, high)
    if len(ticks) > 11:
        ticks = tuple(tick for tick in ticks if math.log10(tick).is_integer())
    axes.set_xticks(ticks, [format_value(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Hz")
