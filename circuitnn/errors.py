"""Every error a user can meet, in one tree. The command line turns any of them into one message and exit code 2."""

from __future__ import annotations

from dataclasses import dataclass


class CircuitnnError(Exception):
    """Base of all errors that are the user's to mend.

    message: what is wrong, where, what was expected and what was found. hint: how to mend it, if known.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


@dataclass(frozen=True)
class Location:
    """A place in a netlist file. line and column count from 1; text is the whole physical line."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class NetlistError(CircuitnnError):
    """A netlist that cannot be read. Shows file:line:column and the line with a caret."""

    def __init__(self, message: str, location: Location | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.location = location

    def __str__(self) -> str:
        if self.location is None:
            return super().__str__()
        place = self.location
        # A tab counts as one column; repeating it under the line keeps the caret aligned.
        indent = "".join("\t" if c == "\t" else " " for c in place.text[: place.column - 1])
        return f"{place}: {super().__str__().replace(chr(10), chr(10) + '  ')}\n    {place.text}\n    {indent}^"


class CircuitError(CircuitnnError):
    """A circuit whose equations have no unique solution: floating node, loop of voltage sources, ..."""


class ConvergenceError(CircuitnnError):
    """No operating point or no solution was found."""


class RecordingError(CircuitnnError):
    """A sound file or signal that cannot be used."""


class CompilerError(CircuitnnError):
    """The compiled core could not be built."""


class OutputError(CircuitnnError):
    """A result that cannot be written."""


class ConvergenceWarning(UserWarning):
    """Some samples of a simulation did not converge; the message counts them and names the first."""
