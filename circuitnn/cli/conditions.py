"""What is wrong with recordings, for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from circuitnn.cli.console import plain, warn

if TYPE_CHECKING:
    from circuitnn.audio import Recording


def warn_of_clipping(recordings: Sequence[Recording]) -> None:
    """One warning for each signal whose converter clipped."""
    for recording in recordings:
        for side, condition in zip(("dry", "wet"), recording.conditions, strict=True):
            if condition.clipped:
                warn(
                    f"{plain(recording.name)} ({side}): {condition.clipped} samples are clipped, peak "
                    f"{condition.peak:.3g}; record again at a lower level, or leave them out by a time range"
                )


def print_conditions(console: Console, recordings: Sequence[Recording]) -> None:
    """A table with peak, clipping, offset, hum and noise of every signal."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table("signal", "peak", "clipped", "offset", "hum", "noise", box=SIMPLE)
    for recording in recordings:
        for side, condition in zip(("dry", "wet"), recording.conditions, strict=True):
            mains = "" if condition.mains is None else f" at {condition.mains:.0f} Hz"
            table.add_row(
                f"{plain(recording.name)} ({side})",
                decibels(condition.peak),
                str(condition.clipped or "no"),
                "-" if condition.dc is None else f"{condition.dc:.2g}",
                decibels(condition.hum) + mains,
                decibels(condition.noise),
            )
    console.print(table)


def decibels(value: float | None) -> str:
    """A level relative to digital full scale; None: not known."""
    if value is None:
        return "-"
    return f"{20.0 * math.log10(value):.1f} dBFS" if value > 0.0 else "none"
