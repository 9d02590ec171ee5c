"""Folders that exports write, known by a mark so that a later export may replace them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from circuitnn.placing import check_folder, place_folder

MARK = ".circuitnn-export"


def check_export_folder(folder: Path) -> None:
    """Raise OutputError unless an export may be written to `folder`."""
    check_folder(folder, MARK, "an export")


def place_export_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write an export's folder with what `fill` puts into it. Raises OutputError."""

    def marked(built: Path) -> None:
        fill(built)
        (built / MARK).touch()

    place_folder(folder, marked)
