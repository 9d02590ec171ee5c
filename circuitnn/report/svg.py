"""Drawings as inline SVG whose colours are the page's CSS variables, so that they follow light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Stand-ins that the SVG is written with, and the CSS variables that replace them.
INK, GRID, TARGET, FITTED, ERROR, NOMINAL = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_VARIABLES = {
    INK: "--ink", GRID: "--line", TARGET: "--target", FITTED: "--fitted", ERROR: "--error", NOMINAL: "--nominal",
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "circuitnn", "font.family": "sans-serif", "font.size": 9.0,
    "text.color": INK, "axes.edgecolor": GRID, "axes.labelcolor": INK, "axes.linewidth": 0.8,
    "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "grid.color": GRID,
    "grid.linewidth": 0.6, "axes.grid": True, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "legend.handlelength": 1.4, "legend.columnspacing": 1.2,
    "lines.linewidth": 1.3, "lines.solid_capstyle": "round",
}  # fmt: skip
# Inches. Half a page on a screen and the whole width of a phone, where its type can still be read.
WIDTH = 4.7
# Inches around the axes and between them: the same everywhere, so that figures one below the other line up.
LEFT, RIGHT, TOP, BOTTOM, GAP, LABEL = 0.74, 0.14, 0.28, 0.44, 0.14, 0.60
# What a legend's second line, and each that follows, takes.
LINE = 0.17

Arguments = ParamSpec("Arguments")


def inline_svg(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Markup]:
    """Let a function that draws a figure return it as SVG for the page."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Markup:
        with matplotlib.rc_context(_STYLE):
            return _svg(draw(*args, **kwargs))

    return drawn


def panels(
    height: float, ratios: Sequence[float] = (1.0,), *, right: float = RIGHT, top: float = TOP
) -> tuple[Figure, list[Axes]]:
    """A figure of that height in inches, with axes of these relative heights one below the other on one x axis; right,
    top: the margins there."""
    figure = Figure(figsize=(WIDTH, height))
    rows = len(ratios)
    spare = height - top - BOTTOM - (rows - 1) * GAP
    grid = figure.add_gridspec(
        rows, 1, height_ratios=ratios, left=LEFT / WIDTH, right=1.0 - right / WIDTH, top=1.0 - top / height,
        bottom=BOTTOM / height, hspace=GAP * rows / spare,
    )  # fmt: skip
    axes = list(grid.subplots(sharex=True, squeeze=False)[:, 0])
    for one in axes:
        one.yaxis.set_label_coords(-LABEL / (WIDTH - LEFT - right), 0.5)
    return figure, axes


def legend(axes: Axes, columns: int) -> None:
    """A legend above the axes."""
    axes.legend(ncols=columns, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.0)


def frequency_axis(axes: Axes, low: float, high: float) -> None:
    """Logarithmic, in Hz, with ticks at decades as people write them."""
    axes.set_xscale("log")
    axes.set(xlabel="frequency [Hz]", xlim=(low, high))
    axes.set_xticks([tick for tick in (20.0, 100.0, 1e3, 1e4) if low <= tick <= high])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda x, _: hertz(x))


def hertz(frequency: float) -> str:
    """A frequency at an axis: "100", "2k"."""
    return f"{frequency / 1000:g}k" if frequency >= 1000 else f"{frequency:g}"


def _svg(figure: Figure) -> Markup:
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
    return Markup(f'{head} role="img">{body}')
