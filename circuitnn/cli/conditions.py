"""What is wrong with recordings, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
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

    from circuitnn.report.words import signal_row

    table = Table("signal", "peak", "clipped", "offset", "hum", "noise", box=SIMPLE)
    for recording in recordings:
        for side, condition in zip(("dry", "wet"), recording.conditions, strict=True):
            table.add_row(*astuple(signal_row(plain(recording.name), side, condition)))
    console.print(table)
