"""Netlists with `--set` applied, and options that several commands take."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from circuitnn.circuit import Circuit
from circuitnn.cli.console import note
from circuitnn.errors import CircuitnnError, OutputError
from circuitnn.netlist import format_netlist, parse_netlist, read_netlist
from circuitnn.netlist.directives import canonical, value_names
from circuitnn.netlist.formulas import closest
from circuitnn.tapers import value_at
from circuitnn.units import parse_value

if TYPE_CHECKING:
    from circuitnn.audio import Recording
    from circuitnn.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A range of numbers, of which NaN, that no comparison tells apart, and infinity are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def set_option(command: Command) -> Command:
    """`--set NAME=VALUE`, any number of times."""
    return click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE",
        help="A knob's position (0 to 1), or the value of an element, MODEL.parameter or .param. Repeatable.",
    )(command)  # fmt: skip


def oversample_option(command: Command) -> Command:
    """`--oversample`."""
    return click.option("--oversample", type=int, default=4, show_default=True, help="1, 2, 4, 8, 16 or 32.")(command)


def nonzero(option: str, value: float | None, *, positive: bool) -> None:
    """Check a level or gain. Raises CircuitnnError."""
    if value is not None and (not math.isfinite(value) or value == 0.0 or (positive and value < 0.0)):
        wanted = "a number above 0" if positive else "a number other than 0"
        raise CircuitnnError(f"{option}: expected {wanted}, found {value:g}")


def check_output(path: Path, *sources: Path) -> None:
    """Raise OutputError unless the file `path` can be written, and is not one of those that are read."""
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputError(f"{path} would overwrite what is read from", "choose another name for the output")
    if path.is_dir():
        raise OutputError(f"{path}: expected a file to write, found a folder")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", "choose another place") from None


def open_netlist(path: Path, settings: Sequence[str] = ()) -> tuple[Circuit, tuple[str, ...]]:
    """The circuit of a netlist with `--set` applied, and the names that were set. Says what the reader doubted.

    Raises NetlistError, and CircuitnnError for a setting that does not fit.
    """
    circuit = read_netlist(path)
    for text in circuit.notes:
        note(text)
    return apply_settings(circuit, settings)


def apply_settings(circuit: Circuit, settings: Sequence[str]) -> tuple[Circuit, tuple[str, ...]]:
    """The circuit with NAME=VALUE settings in place of its own values, and the canonical names. A knob's value is its
    position. Raises CircuitnnError."""
    values: dict[str, float] = {}
    for text in settings:
        name, value = _setting(circuit, text)
        if name in values:
            raise CircuitnnError(f"--set {text}: {name} is set twice")
        values[name] = value
    if not values:
        return circuit, ()
    changed = parse_netlist(format_netlist(circuit, values), str(circuit.path or "netlist"))
    return replace(changed, path=circuit.path, notes=circuit.notes), tuple(values)


def _setting(circuit: Circuit, text: str) -> tuple[str, float]:
    given, equals, number = (part.strip() for part in text.partition("="))
    if not equals or not given or not number:
        raise CircuitnnError(f"--set {text}: expected NAME=VALUE", "--set drive=0.3 or --set R4=4.7k")
    knobs = [knob.name for knob in circuit.knobs]
    name = canonical(circuit, given)
    if name is None:
        known = f"knobs: {', '.join(knobs) or 'none'}; values: {', '.join(value_names(circuit)[:12])}, ..."
        where = circuit.path or "the netlist"
        raise CircuitnnError(
            f"--set {text}: {where} has no knob or value called {given!r}",
            closest(given, [*knobs, *value_names(circuit)]) or known,
        )
    try:
        value = parse_value(number)
    except CircuitnnError as error:
        raise CircuitnnError(f"--set {text}: {error.message}", error.hint) from None
    if name in knobs:
        if not 0.0 <= value <= 1.0:
            raise CircuitnnError(f"--set {text}: the position of a knob goes from 0 to 1, found {value:g}")
        taper = next(knob.taper for knob in circuit.knobs if knob.name == name)
        return name, float(value_at(taper, value))
    # Sources and .params may have any sign, a resistor may be a wire, everything else is a positive quantity.
    if name not in circuit.parameters and ("." in name or name[0] in "RCL"):
        wire = name[0] == "R" and "." not in name and value == 0.0
        if value <= 0.0 and not wire:
            raise CircuitnnError(f"--set {text}: expected a value above 0, found {value:g}")
    return name, value


def knob_positions(settings: Sequence[str], names: Sequence[str] | None = None) -> dict[str, float]:
    """Where NAME=VALUE settings put knobs, whose names are `names` (None: any). Raises CircuitnnError."""
    found: dict[str, float] = {}
    for text in settings:
        name, equals, number = (part.strip() for part in text.partition("="))
        if not equals:
            raise CircuitnnError(f"--set {text}: expected NAME=VALUE", "--set drive=0.3")
        if names is not None and name not in names:
            raise CircuitnnError(f"--set {text}: there is no knob {name!r}", f"knobs: {', '.join(names) or 'none'}")
        if name in found:
            raise CircuitnnError(f"--set {text}: {name} is set twice")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = math.nan
        if not 0.0 <= found[name] <= 1.0:
            raise CircuitnnError(f"--set {text}: expected a position from 0 to 1, found {number!r}")
    return found


def pairs(files: Sequence[Path]) -> list[tuple[Path, Path]]:
    """DRY WET DRY WET ... as pairs. Raises CircuitnnError for an odd number."""
    if len(files) % 2:
        raise CircuitnnError(
            f"expected pairs DRY.wav WET.wav, found {len(files)} files: {', '.join(map(str, files))}",
            "give one wet file for each dry file",
        )
    return list(zip(files[::2], files[1::2], strict=True))


def recordings_of(files: Sequence[Path]) -> Session:
    """The recordings of pairs of files, or of one file that holds both."""
    from circuitnn.audio import Recording
    from circuitnn.session import Session

    names = [(files[0], None)] if len(files) == 1 else pairs(files)
    recordings: list[Recording] = []
    for dry, wet in names:
        rate = recordings[0].sample_rate if recordings else None
        recordings.append(Recording.from_wav(dry, wet, sample_rate=rate))
    return Session(tuple(recordings), files=tuple((dry, wet or dry) for dry, wet in names))
