"""What all commands share: errors and warnings in one readable message, progress, and text that is safe to print."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from circuitnn.errors import CircuitError, CircuitnnError, ConvergenceError

INTERRUPTED = 130
# Width of tables that do not go to a terminal.
PLAIN_WIDTH = 110

Update = Callable[[float, str], None]


class UserError(click.ClickException):
    """One message on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"error: {plain(self.message)}", err=True)


class ReportingGroup(click.Group):
    """A group whose commands end in one message instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # An Ω must not end a program on a terminal that cannot show it.
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="replace")
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except CircuitnnError as error:
                raise UserError(str(error)) from None
            except KeyboardInterrupt:
                click.echo("interrupted: nothing was written", err=True)
                ctx.exit(INTERRUPTED)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    warn(str(message))


def warn(message: str) -> None:
    """One line on stderr."""
    click.echo(f"warning: {' '.join(plain(message).split())}", err=True)


def note(message: str) -> None:
    """One line on stderr about something that is probably meant."""
    click.echo(f"note: {' '.join(plain(message).split())}", err=True)


def plain(text: str) -> str:
    """text without control characters: what a netlist says must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def printer() -> Console:
    """For tables on stdout; text is printed as it is, never read as markup."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else PLAIN_WIDTH, markup=False, emoji=False, highlight=False)


def print_json(data: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """One JSON object, or one list, on stdout. Numbers that JSON cannot hold become null."""
    from circuitnn.runs import finite

    click.echo(json.dumps(finite(data), indent=2))


@contextmanager
def about(path: str | Path) -> Iterator[None]:
    """Errors of a circuit that do not say where it came from get the file's name in front."""
    try:
        yield
    except (CircuitError, ConvergenceError) as error:
        raise type(error)(f"{path}: {error.message}", error.hint) from None


@contextmanager
def progress(total: float, every: float = 0.0, stream: TextIO | None = None) -> Iterator[Update]:
    """Shows update(completed, text): a bar on a terminal, else a line each time at least `every` more is completed, or
    it begins again with less."""
    console = Console(file=stream or sys.stderr, markup=False, emoji=False, highlight=False)
    if console.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda completed, text: bar.update(task, completed=completed, description=text)
        return
    shown = -math.inf

    def line(completed: float, text: str) -> None:
        nonlocal shown
        if completed >= shown + every or completed < shown:
            shown = completed
            click.echo(text, err=True)

    yield line
