"""Reading netlist files: size, encoding, and which files an .include may reach."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from pathlib import Path

from circuitnn.errors import NetlistError
from circuitnn.netlist.formulas import closest
from circuitnn.netlist.lexer import Card, cards, physical_lines

MAX_BYTES = 10_000_000
MAX_INCLUDE_DEPTH = 20


def read_text(path: Path, shown: str) -> str:
    """The text of a netlist file: UTF-8, UTF-16 with a byte order mark, else Latin-1. Raises NetlistError."""
    try:
        if not path.exists():
            raise NetlistError(f"{shown}: there is no such file")
        if not path.is_file():
            raise NetlistError(f"{shown}: expected a netlist file, found {'a folder' if path.is_dir() else 'a device'}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NetlistError(f"{shown}: cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        raise NetlistError(f"{shown}: a file of more than {MAX_BYTES // 1_000_000} MB is no netlist")
    return decode(data, shown)


def decode(data: bytes, shown: str) -> str:
    """Text from bytes. Raises NetlistError for what is not text."""
    hint = "expected a text file with a SPICE netlist"
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = data.decode("utf-16")
        else:
            try:
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = data.decode("latin-1")
    except UnicodeDecodeError as error:
        raise NetlistError(f"{shown}: not a text file: {error.reason}", hint=hint) from None
    if "\0" in text:
        raise NetlistError(f"{shown}: not a text file: it holds NUL bytes", hint=hint)
    return text


@dataclass
class Files:
    """The files of one netlist. root: the folder that holds the top file; None for a netlist that is no file."""

    root: Path | None
    chain: list[tuple[Path, str]] = field(default_factory=list)
    total: int = 0

    def open(self, card: Card, name: str, at: int) -> list[Card]:
        """The cards of an included file; `chain` then ends with that file until `close`. Raises NetlistError."""
        if self.root is None:
            raise card.error("a netlist given as text has no folder to include files from", at, "read it from a file")
        folder = self.chain[-1][0].parent if self.chain else self.root
        try:
            path = (folder / name.replace("\\", "/")).resolve()
            inside = path.is_relative_to(self.root.resolve())
        except (OSError, ValueError, RuntimeError) as error:
            raise card.error(f"cannot include {name!r}: {error}", at) from None
        if not inside:
            raise card.error(
                f"{name!r} lies outside the folder of the netlist", at, "copy the file into the folder of the netlist"
            )
        if any(path == other for other, _ in self.chain):
            names = " includes ".join([shown for _, shown in self.chain] + [path.name])
            raise card.error(f"recursive include: {names}", at)
        if len(self.chain) > MAX_INCLUDE_DEPTH:
            raise card.error(f"includes nested more than {MAX_INCLUDE_DEPTH} deep", at)
        shown = str(Path(card.location().file).parent / name)
        try:
            text = read_text(path, shown)
        except NetlistError as error:
            raise card.error(error.message, at, error.hint) from None
        self.total += len(text)
        if self.total > MAX_BYTES:
            raise card.error(f"the included files hold more than {MAX_BYTES // 1_000_000} MB", at)
        self.chain.append((path, shown))
        return list(cards(physical_lines(text, shown)))

    def close(self) -> None:
        """Leave the file that was opened last."""
        self.chain.pop()


def section(content: list[Card], name: str, asked: Card, at: int) -> list[Card]:
    """The cards of a library between `.lib name` and `.endl`. Raises NetlistError if there is no such section."""
    names: dict[str, int] = {}
    for index, card in enumerate(content):
        words = card.text.split()
        if words[0].lower() == ".lib" and len(words) == 2:
            names.setdefault(words[1].lower(), index)
    if name.lower() not in names:
        raise asked.error(f"the library has no section {name!r}", at, closest(name.lower(), names))
    first = names[name.lower()] + 1
    for index in range(first, len(content)):
        if content[index].keyword == ".endl":
            return content[first:index]
    raise content[first - 1].error("this section is not closed", 0, "expected .endl")
