"""The figures of a report: what the circuit does before and after, one recording against its fit, the convergence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from circuitnn.inspection.linearised import decibels as gain_in_decibels
from circuitnn.report.curves import HARMONICS, LearnedLaw, LevelSweep
from circuitnn.report.residual import (
    Signal,
    band_levels,
    block_powers,
    decibels,
    spectrogram,
    worst_stretch,
)
from circuitnn.report.svg import (
    ERROR,
    FITTED,
    INK,
    NOMINAL,
    TARGET,
    frequency_axis,
    hertz,
    inline_svg,
    legend,
    panels,
)

# Columns of an envelope, and the length of the closest look in seconds.
COLUMNS, CLOSE_LOOK = 500, 0.020
# The worst stretch of a recording, in seconds.
WORST = 1.0
# How far below its highest level a curve, a spectrum and a spectrogram are shown, in dB.
RESPONSE_RANGE, SPECTRUM_RANGE, SPECTROGRAM_RANGE = 60.0, 120.0, 80.0
# Reach in dB beyond which an uncertain response does not widen its axis.
BAND_RANGE = 6.0
# Steps by which a difference that is too quiet for its picture is lifted, in dB.
LIFT = 20.0
# How far below the fundamental at the highest level a harmonic is shown, in dB.
HARMONIC_RANGE = 100.0
# The smallest current of a learned law that is shown, over the largest.
CURRENT_RANGE = 1e-7
# Points of a scatter at most; levels that are put together into one median, in dB.
POINTS, LEVEL_STEP = 500, 3.0
# Inputs this far below the loudest one are the recording's silence, in dB.
SILENCE = 70.0


@inline_svg
def response(
    frequencies: Sequence[float], nominal: NDArray[np.complex128], fitted: NDArray[np.complex128], reach: Signal
) -> Figure:
    """Gain of the netlist and of the fitted circuit, what the fit changed, and in dB how far that may be off."""
    figure, (upper, lower) = panels(3.6, (2.0, 1.0))
    levels = [gain_in_decibels(gain) for gain in (nominal, fitted)]
    upper.plot(frequencies, levels[0], color=NOMINAL, linestyle="--", zorder=3.0, label="netlist")
    upper.plot(frequencies, levels[1], color=FITTED, linewidth=2.2, label="fitted")
    upper.fill_between(frequencies, levels[1] - reach, levels[1] + reach, color=FITTED, alpha=0.25, linewidth=0.0)
    top = max(float(level.max()) for level in levels)
    upper.set_ylim(bottom=max(upper.get_ylim()[0], top - RESPONSE_RANGE))
    upper.set_ylabel("gain [dB]")
    change = levels[1] - levels[0]
    lower.axhline(0.0, color=NOMINAL, linestyle="--", linewidth=1.0)
    lower.fill_between(frequencies, change - reach, change + reach, color=FITTED, alpha=0.25, linewidth=0.0)
    lower.plot(frequencies, change, color=FITTED)
    top = max(1.0, 1.1 * float((np.abs(change) + np.minimum(reach, BAND_RANGE)).max()))
    lower.set(ylabel="change [dB]", ylim=(-top, top))
    frequency_axis(lower, frequencies[0], frequencies[-1])
    legend(upper, 2)
    return figure


@inline_svg
def transfer(nominal: LevelSweep, fitted: LevelSweep) -> Figure:
    """Peaks of the output over peaks of the input, for both signs."""
    figure, (axes,) = panels(3.2)
    for sweep, colour, line, width, label in (
        (nominal, NOMINAL, "--", 1.3, "netlist"),
        (fitted, FITTED, "-", 2.2, "fitted"),
    ):
        inputs = np.concatenate([-sweep.amplitudes[::-1], [0.0], sweep.amplitudes])
        outputs = np.concatenate([sweep.peaks[::-1, 1], [0.0], sweep.peaks[:, 0]])
        order = 3.0 if sweep is nominal else 2.0
        axes.plot(inputs, outputs, color=colour, linestyle=line, linewidth=width, zorder=order, label=label)
    axes.set(xlabel="input peak [V]", ylabel="output peak [V]")
    axes.set_xlim(-fitted.amplitudes[-1], fitted.amplitudes[-1])
    legend(axes, 2)
    return figure


@inline_svg
def harmonics(nominal: LevelSweep, fitted: LevelSweep) -> Figure:
    """Levels of the odd and of the even harmonics over the input's; the fitted curves carry their numbers."""
    figure, axes = panels(7.25, (1.0, 1.0), right=0.3)
    top = float(decibels(fitted.harmonics[-1, :1] ** 2)[0])
    inputs = decibels(fitted.amplitudes**2)
    for panel, first, title in ((axes[0], 1, "odd"), (axes[1], 2, "even")):
        for sweep, colour, line in ((fitted, FITTED, "-"), (nominal, NOMINAL, "--")):
            levels = decibels(sweep.harmonics**2)
            levels[~(levels > top - HARMONIC_RANGE)] = np.nan
            for order in range(first, HARMONICS + 1, 2):
                panel.plot(inputs, levels[:, order - 1], color=colour, linestyle=line, linewidth=2.2 - 0.2 * order)
                if sweep is fitted and np.isfinite(levels[-1, order - 1]):
                    _number(panel, inputs[-1], levels[-1, order - 1], order)
        if not any(np.isfinite(line.get_ydata()).any() for line in panel.lines):
            panel.text(0.5, 0.5, "none", transform=panel.transAxes, ha="center")
        panel.set(ylabel=f"{title} [dB re 1 V]", ylim=(top - HARMONIC_RANGE, top + 8.0))
    axes[1].set(xlabel="input peak [dB re 1 V]", xlim=(inputs[0], inputs[-1]))
    for label, colour, line in (("netlist", NOMINAL, "--"), ("fitted", FITTED, "-")):
        axes[0].plot([], [], color=colour, linestyle=line, label=label)
    legend(axes[0], 2)
    return figure


def _number(axes: Axes, x: float, y: float, order: int) -> None:
    """The number of a harmonic beside the end of its curve, in columns that take turns: the ends may be close."""
    offset = 4.0 + 8.0 * ((order - 1) // 2 % 2)
    axes.annotate(
        str(order), (x, y), xytext=(offset, 0.0), textcoords="offset points", va="center", color=FITTED,
        fontsize=8.0, annotation_clip=False,
    )  # fmt: skip


@inline_svg
def law(curve: LearnedLaw, reach: Signal) -> Figure:
    """Magnitude of the current over the voltage; reach: how far the fitted one's logarithm may be off."""
    figure, (axes,) = panels(3.4)
    nominal, fitted = np.abs(curve.nominal), np.abs(curve.fitted)
    # At 0 V nothing flows.
    flowing = curve.voltage != 0.0
    top = float(max(nominal.max(), fitted.max()))
    for currents, colour, line, width, label in (
        (nominal, NOMINAL, "--", 1.3, "netlist"),
        (fitted, FITTED, "-", 2.2, "fitted"),
    ):
        axes.plot(curve.voltage[flowing], currents[flowing], color=colour, linestyle=line, linewidth=width, label=label)
    with np.errstate(over="ignore"):
        low, high = (fitted * np.exp(sign * reach) for sign in (-1.0, 1.0))
    axes.fill_between(curve.voltage, low, np.minimum(high, 10.0 * top), color=FITTED, alpha=0.25, linewidth=0.0)
    axes.set_yscale("log")
    axes.set(xlabel="voltage [V]", ylabel="current [A]", ylim=(top * CURRENT_RANGE, 2.0 * top))
    axes.set_xlim(curve.voltage[0], curve.voltage[-1])
    legend(axes, 2)
    return figure


@inline_svg
def over_time(target: Signal, output: Signal, rate: float) -> Figure:
    """Envelopes of target and output over the whole recording, and the levels of target and difference below."""
    figure, (upper, lower) = panels(3.6, (1.0, 1.0))
    _envelope(upper, target, 0, rate, TARGET, 0.75, "recording")
    _envelope(upper, output, 0, rate, FITTED, 0.6, "fitted circuit")
    begin, end = worst_stretch(target, output, round(WORST * rate))
    for signal, colour, label in ((target, TARGET, None), (output - target, ERROR, "difference")):
        times, powers = block_powers(signal, rate, COLUMNS)
        lower.plot(times, decibels(powers), color=colour, linewidth=1.0, label=label)
    for axes in (upper, lower):
        axes.axvspan(begin / rate, end / rate, color=INK, alpha=0.07, linewidth=0.0)
    # The entry of the lower panel's curve belongs to the same legend.
    upper.plot([], [], color=ERROR, label="difference")
    upper.set_ylabel("full scale")
    lower.set(xlabel="time [s]", ylabel="level [dB]", xlim=(0.0, len(target) / rate))
    lower.set_ylim(bottom=max(lower.get_ylim()[0], lower.get_ylim()[1] - SPECTRUM_RANGE))
    legend(upper, 3)
    return figure


def _envelope(axes: Axes, signal: Signal, begin: int, rate: float, color: str, alpha: float, label: str) -> None:
    edges = np.linspace(0, len(signal), min(COLUMNS, len(signal)) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(signal, edges), np.maximum.reduceat(signal, edges)
    axes.fill_between((begin + edges) / rate, low, high, color=color, alpha=alpha, linewidth=0.4, label=label)


@inline_svg
def close_look(target: Signal, output: Signal, rate: float) -> Figure:
    """Waveforms where they differ most."""
    begin, end = worst_stretch(target, output, round(CLOSE_LOOK * rate))
    time = np.arange(begin, end) / rate
    figure, (upper, lower) = panels(3.6, (2.0, 1.0))
    upper.plot(time, target[begin:end], color=TARGET, linewidth=3.2, alpha=0.75, label="recording")
    upper.plot(time, output[begin:end], color=FITTED, label="fitted circuit")
    lower.plot(time, (output - target)[begin:end], color=ERROR)
    upper.set_ylabel("full scale")
    lower.set(xlabel="time [s]", ylabel="difference", xlim=(time[0], time[-1]))
    lower.xaxis.set_major_locator(MaxNLocator(6))
    legend(upper, 2)
    return figure


@inline_svg
def worst_second(target: Signal, output: Signal, rate: float) -> Figure:
    """Waveform and spectrograms of the stretch in which the error has the most energy, on one scale of levels; the
    difference is lifted by a multiple of LIFT, and says so, where it would not be seen."""
    begin, end = worst_stretch(target, output, round(WORST * rate))
    sounds = [sound[begin:end] for sound in (target, output, output - target)]
    figure, (wave, *rows) = panels(7.5, (0.8, 1.0, 1.0, 1.0), right=0.62)
    _envelope(wave, sounds[0], begin, rate, TARGET, 0.75, "recording")
    _envelope(wave, sounds[1], begin, rate, FITTED, 0.6, "fitted circuit")
    _envelope(wave, sounds[2], begin, rate, ERROR, 0.9, "difference")
    wave.set_ylabel("full scale")
    legend(wave, 3)
    pictures = [spectrogram(sound, rate) for sound in sounds]
    tops = [float(levels.max()) for _, levels in pictures]
    lift = LIFT * max(0, round((tops[0] - tops[2]) / LIFT) - 1)
    titles = ("recording", "fitted circuit", f"difference + {lift:g} dB" if lift else "difference")
    for axes, (frequencies, levels), title, lifted in zip(rows, pictures, titles, (0.0, 0.0, lift), strict=True):
        axes.imshow(
            levels + lifted, origin="lower", aspect="auto", interpolation="none", cmap="magma", vmax=tops[0],
            vmin=tops[0] - SPECTROGRAM_RANGE, extent=(begin / rate, end / rate, 0.0, float(len(frequencies))),
        )  # fmt: skip
        marks = [mark for mark in (100.0, 1e3, 1e4) if frequencies[0] <= mark <= frequencies[-1]]
        places = np.interp(np.log(marks), np.log(frequencies), np.arange(len(frequencies)) + 0.5)
        axes.set_yticks(places, [hertz(mark) for mark in marks])
        axes.set_ylabel("frequency [Hz]")
        axes.text(0.02, 0.95, title, transform=axes.transAxes, va="top", color="white", fontsize=8.0)
        axes.grid(visible=False)
    rows[-1].set(xlabel="time [s]", xlim=(begin / rate, end / rate))
    low, high = rows[-1].get_position(), rows[0].get_position()
    scale = figure.add_axes((low.x1 + 0.02, low.y0, 0.02, high.y1 - low.y0))
    extent = (0.0, 1.0, tops[0] - SPECTROGRAM_RANGE, tops[0])
    scale.imshow(np.linspace(0.0, 1.0, 128)[:, None], origin="lower", aspect="auto", cmap="magma", extent=extent)
    scale.yaxis.tick_right()
    scale.set_xticks([])
    scale.grid(visible=False)
    return figure


@inline_svg
def spectrum(target: Signal, output: Signal, rate: float) -> Figure:
    """Power in bands, of the target, the output and their difference."""
    figure, (axes,) = panels(3.4)
    top = -np.inf
    for signal, color, label, width in (
        (target, TARGET, "recording", 2.6),
        (output, FITTED, "fitted circuit", 1.3),
        (output - target, ERROR, "difference", 1.1),
    ):
        frequencies, levels = band_levels(signal, rate)
        axes.plot(frequencies, levels, color=color, linewidth=width, label=label)
        top = max(top, float(levels.max()))
    axes.set_ylabel("level [dB]")
    axes.set_ylim(bottom=max(axes.get_ylim()[0], top - SPECTRUM_RANGE))
    frequency_axis(axes, 20.0, min(20e3, rate / 2.0))
    legend(axes, 3)
    return figure


@inline_svg
def over_level(dry: Signal, target: Signal, output: Signal, rate: float) -> Figure:
    """The error against the target, block by block, over the level of the input, and the median of each level."""
    powers = [block_powers(signal, rate)[1] for signal in (dry, target, output - target)]
    level, wet, error = (decibels(power) for power in powers)
    heard = (level > level.max() - SILENCE) & (wet > wet.max() - SILENCE)
    level, relative = level[heard], (error - wet)[heard]
    figure, (axes,) = panels(3.4)
    every = max(1, -(-len(level) // POINTS))
    axes.plot(level[::every], relative[::every], ".", color=ERROR, alpha=0.35, markersize=3.5, markeredgewidth=0.0)
    step = np.round(level / LEVEL_STEP)
    steps = np.unique(step)
    medians = [np.median(relative[step == k]) for k in steps]
    axes.plot(LEVEL_STEP * steps, medians, color=ERROR, linewidth=1.8, label="median")
    axes.set(xlabel="level of the input [dB of full scale]", ylabel="error / recording [dB]")
    legend(axes, 1)
    return figure


@inline_svg
def convergence(errors: Sequence[float]) -> Figure:
    """The relative squared error after each step."""
    figure, (axes,) = panels(2.4)
    axes.plot(decibels(np.array(errors, dtype=float)), color=FITTED, marker="o", markersize=3.0)
    axes.set(xlabel="step", ylabel="error [dB]")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
