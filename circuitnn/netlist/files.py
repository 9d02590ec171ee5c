"""Reading netlist files: size, encoding, and which files an .include may reach."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from circuitnn.errors import NetlistError
from circuitnn.netlist.formulas import closest
from circuitnn.netlist.lexer import Card, cards, physical_lines, tokens

MAX_BYTES = 10_000_000
MAX_INCLUDE_DEPTH = 20


def read_text(path: Path, shown: str) -> str:
    """The text of a netlist file: UTF-8, UTF-16, else Latin-1. Raises NetlistError."""
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
    # LTspice has written UTF-16 with and without a byte order mark.
    little_endian = len(data) > 1 and data[0] != 0 and data[1] == 0
    hint = "expected a text file with a SPICE netlist"
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = data.decode("utf-16")
        elif little_endian:
            text = data.decode("utf-16-le")
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


def asked_for(card: Card) -> tuple[str, int, str | None]:
    """Of an .include or .lib card: the file, where its name stands, and the section if one is named.

    Raises NetlistError.
    """
    words = tokens(card, len(card.keyword))
    quoted = bool(words) and words[0].kind in ("string", "expression")
    rest = card.text[len(card.keyword) :].split()
    if not rest:
        raise card.error("expected a file name", len(card.text), f'{card.keyword} "models.lib"')
    at = words[0].start
    if not quoted and PureWindowsPath(rest[0]).drive:
        # LTspice writes paths as they are, blanks and all.
        return card.text[at:].strip(), at, None
    # A path may hold what are separators elsewhere, so without quotes it reaches to the next blank.
    name = words[0].text if quoted else rest[0]
    after = card.text[at + len(name) :].lstrip("'\"").split()
    if len(after) > (1 if card.keyword == ".lib" else 0):
        raise card.error(f"unexpected {after[-1]!r} after the file name", card.text.rindex(after[-1]))
    return name, at, after[0] if after else None


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
        try:
            path = self._find(name, self.root)
        except (OSError, ValueError, RuntimeError) as error:
            raise card.error(f"cannot include {name!r}: {error}", at) from None
        if path is None:
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

    def has(self, name: str) -> bool:
        """Whether there is a file that `open` would read."""
        try:
            path = None if self.root is None else self._find(name, self.root)
            return path is not None and path.is_file()
        except (OSError, ValueError, RuntimeError):
            return False

    def _find(self, name: str, root: Path) -> Path | None:
        """The file inside `root` that a card names; None if it lies elsewhere.

        An absolute path, as drawing programs write it, also means the file of that name beside the netlist. What lies
        elsewhere is not even looked at: asking for a file on a share of the network would tell its host who asks.
        """
        folder = self.chain[-1][0].parent if self.chain else root
        windows = PureWindowsPath(name)
        if windows.drive.startswith("\\\\"):
            names = [windows.name]
        elif windows.is_absolute() or Path(name).is_absolute():
            names = [name.replace("\\", "/"), windows.name]
        else:
            path = (folder / name.replace("\\", "/")).resolve()
            return path if _within(path, root) else None
        paths = [(folder / other).resolve() for other in names]
        return next((path for path in paths if _within(path, root) and path.is_file()), None)

    def close(self) -> None:
        """Leave the file that was opened last."""
        self.chain.pop()


def _within(path: Path, root: Path) -> bool:
    return path.is_relative_to(root.resolve())


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
