"""Files and folders that appear complete or not at all, and never in the place of somebody else's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from circuitnn.errors import OutputError


def place_file(path: Path, content: str | bytes) -> None:
    """Write a file whose folder exists; a text as UTF-8. Raises OutputError."""
    check_file(path)
    temporary = None
    try:
        data = content.encode() if isinstance(content, str) else content
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # A temporary file is private; this one gets the rights that a new file has here.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"{path}: cannot be written: {why}", "choose another place") from None


def check_file(path: Path) -> None:
    """Raise OutputError if a folder stands where a file is to be written."""
    if path.is_dir():
        raise OutputError(f"{path}: cannot be written: expected a file to write, found a folder", "name a file")


def check_folder(folder: Path, mark: str, what: str) -> None:
    """Raise OutputError unless `folder` can be written, and is new, empty, or holds `what`, known by the file `mark`:
    before the long work, not after. Leaves no trace."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: expected a folder, found a file", "choose another name by --out")
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
            raise OutputError(f"{folder}: the folder holds something else than {what}", "choose a new one by --out")
        existing = next(parent for parent in folder.absolute().parents if parent.exists())
        tempfile.TemporaryDirectory(dir=existing, prefix=".circuitnn-").cleanup()
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}", "choose another one by --out") from None


def place_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a folder's files, and put it in place when it is complete; what is there already is replaced.
    Raises OutputError."""
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=parent, prefix=".circuitnn-"))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}", "choose another place by --out") from None
    try:
        built, old = work / "new", work / "old"
        built.mkdir()
        fill(built)
        if folder.exists():
            folder.rename(old)
        try:
            built.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
