"""JSON files of a known format, from anybody: bounded in size, and every entry's type checked as it is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitnn.errors import CircuitnnError


def read_document(path: Path, form: str, version: int, max_bytes: int, hint: str) -> Document:
    """The JSON object in a file whose "format" is `form` and whose "version" is at most `version`.

    hint: how to mend a file that is damaged. Raises CircuitnnError.
    """
    document = read_json(path, max_bytes, f"{form} file", hint)
    check_format(document, form, version)
    return document


def read_json(path: Path, max_bytes: int, what: str, hint: str) -> Document:
    """The JSON object in a file that is `what` only up to so many bytes. Raises CircuitnnError."""
    raw = read_bounded(path, max_bytes, what)
    try:
        data = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CircuitnnError(f"{path}: not valid JSON: {error}", hint) from None
    if not isinstance(data, dict):
        raise CircuitnnError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return Document(str(path), "", data, hint)


def check_format(document: Document, form: str, version: int) -> None:
    """Raise CircuitnnError unless "format" is `form` and "version" from 1 to `version`."""
    if document.value.get("format") != form:
        raise document.wrong("format", form)
    if document.integer("version") < 1:
        raise document.wrong("version", "a number from 1 on")
    if document.integer("version") > version:
        raise CircuitnnError(
            f"{document.path}: version {document.integer('version')} of the format, but this program knows {version}",
            "install a newer circuitnn",
        )


def read_bounded(path: Path, max_bytes: int, what: str) -> bytes:
    """The content of a file that is `what` only up to so many bytes. Raises CircuitnnError."""
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise CircuitnnError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > max_bytes:
        raise CircuitnnError(f"{path}: more than {max_bytes // 1_000_000} MB is no {what}")
    return raw


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


@dataclass(frozen=True)
class Document:
    """Typed access to a JSON object that may hold anything. path, where, hint: for messages."""

    path: str
    where: str
    value: Mapping[str, Any]
    hint: str

    def wrong(self, key: str, expected: str) -> CircuitnnError:
        """The error for an entry that is not what it should be."""
        try:
            found = json.dumps(self.value[key])[:60] if key in self.value else "nothing"
        except RecursionError:
            found = "lists in lists without end"
        return self.error(key, f"expected {expected}, found {found}")

    def error(self, key: str, message: str) -> CircuitnnError:
        """An error about an entry, or a part of it such as `weights[2]`."""
        return CircuitnnError(f"{self.path}: {self.where}{key}: {message}", self.hint)

    def has(self, key: str) -> bool:
        """Whether there is an entry, and it is not null."""
        return self.value.get(key) is not None

    def number(self, key: str) -> float:
        """A number of magnitude up to 1e300."""
        value = self.value.get(key)
        if not _is_number(value):
            raise self.wrong(key, "a number")
        return float(value)  # type: ignore[arg-type]

    def integer(self, key: str) -> int:
        """An integer of magnitude up to 2^53."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**53:
            raise self.wrong(key, "an integer")
        return value

    def count(self, key: str, most: int, least: int = 1) -> int:
        """An integer from `least` to `most`."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"an integer from {least} to {most}")
        return value

    def counts(self, key: str, most: int, length: int) -> list[int]:
        """A list of 1 to `length` integers from 1 to `most`."""
        value = self.value.get(key)
        if not isinstance(value, list) or not 1 <= len(value) <= length:
            raise self.wrong(key, f"a list of 1 to {length} integers")
        inner = Document(self.path, self.where, {f"{key}[{k}]": entry for k, entry in enumerate(value)}, self.hint)
        return [inner.count(name, most) for name in inner.value]

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.value.get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def text(self, key: str) -> str:
        """A text."""
        value = self.value.get(key)
        if not _is_text(value):
            raise self.wrong(key, "a text")
        assert isinstance(value, str)
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        value = self.value.get(key)
        if not isinstance(value, list) or not all(map(_is_text, value)):
            raise self.wrong(key, "a list of texts")
        return value

    def choice(self, key: str, choices: Iterable[str]) -> str:
        """One of `choices`."""
        value = self.value.get(key)
        if not isinstance(value, str) or value not in choices:
            raise self.wrong(key, f"one of {', '.join(choice or 'nothing' for choice in choices)}")
        return value

    def row(self, key: str) -> list[float]:
        """A list of numbers."""
        value = self.value.get(key)
        if not isinstance(value, list) or not all(map(_is_number, value)):
            raise self.wrong(key, "a list of numbers")
        return [float(number) for number in value]

    def rows(self, key: str) -> list[list[float]]:
        """A list of lists of numbers."""
        value = self.value.get(key)
        if not isinstance(value, list) or not all(isinstance(row, list) and all(map(_is_number, row)) for row in value):
            raise self.wrong(key, "a list of lists of numbers")
        return [[float(number) for number in row] for row in value]

    def numbers(self, key: str) -> dict[str, float | None]:
        """A mapping of names to numbers or null."""
        inner = self.inner(key)
        return {name: None if entry is None else inner.number(name) for name, entry in inner.value.items()}

    def inner(self, key: str) -> Document:
        """An object."""
        value = self.value.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Document(self.path, f"{self.where}{key}.", value, self.hint)

    def entries(self, key: str) -> Sequence[Document]:
        """A list of objects."""
        value = self.value.get(key)
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.wrong(key, "a list of objects")
        return [Document(self.path, f"{self.where}{key}[{k}].", entry, self.hint) for k, entry in enumerate(value)]


def _is_text(value: object) -> bool:
    """Not every str is: JSON can escape halves of characters, which no file can hold."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
