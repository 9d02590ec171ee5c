"""Files and folders that appear complete or not at all, and never in the place of somebody else's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from circuitnn.errors import OutputError

# What a folder holds that an export wrote, so that a later one may replace it.
MARK = ".circuitnn-export"


def place_file(path: Path, text: str) -> None:
    """Write a text file. Raises OutputError."""
    if path.is_dir():
        raise OutputError(f"{path}: expected a file to write, found a folder", "name a file by --out")
    temporary = None
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=path.name, suffix=".part")
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}", "choose another place by --out") from None


def check_folder(folder: Path) -> None:
    """Raise OutputError unless an export may be written to `folder`: it is new, empty, or an export's already."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: expected a folder, found a file", "choose another name by --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise OutputError(
            f"{folder}: the folder holds something else than an export", "choose a new one by --out, or empty it"
        )


def place_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder with what `fill` puts into it; an earlier export is replaced. Raises OutputError."""
    check_folder(folder)
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=parent, prefix=".circuitnn-"))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}", "choose another place by --out") from None
    try:
        built = work / "new"
        built.mkdir()
        fill(built)
        (built / MARK).touch()
        if folder.exists():
            folder.rename(work / "old")
        try:
            built.rename(folder)
        except BaseException:
            if (work / "old").exists():
                (work / "old").rename(folder)
            raise
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
