"""Session files: which recordings a fit uses, what is known about them, and which ones judge it."""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from circuitnn.audio import LEAD_IN, Recording, volts_at_full_scale
from circuitnn.errors import RecordingError
from circuitnn.fitting.blips import aligned

# A session is a page of text; more is a mistake, or an attack on memory.
MAX_BYTES, MAX_RECORDINGS = 1_000_000, 1000
FIT, HELD_OUT = "fit", "held-out"
OWN, SHARED = "own", "shared"
# What a recording may say, and what may stand at the top for all of them.
MAX_LABEL = 40
COMMON = ("knobs", "gain", "delay", "polarity", "input_level", "input_level_dbu", "output_gain")
KEYS = ("dry", "wet", "file", "name", "role", "start", "end", *COMMON)
TOP = ("recording", "sample_rate", *COMMON)


@dataclass(frozen=True)
class Session:
    """recordings: to fit to; held_out: to judge the fit on; each at one sample rate and scaled to the same calibration.
    input_level: volt at digital full scale of the dry, output_gain: digital full scale of the wet per volt; None:
    unknown. files, held_out_files: the paths (dry, wet) of each, equal for a file that holds both."""

    recordings: tuple[Recording, ...]
    held_out: tuple[Recording, ...] = ()
    input_level: float | None = None
    output_gain: float | None = None
    files: tuple[tuple[Path, Path], ...] = ()
    held_out_files: tuple[tuple[Path, Path], ...] = ()


def read_session(path: str | os.PathLike[str]) -> Session:
    """Read a TOML session file and its recordings. Raises RecordingError that names the file and the entry."""
    path = Path(path)
    top = _Table(f"{path}", _read(path), TOP)
    entries = top.tables("recording")
    rate = top.number("sample_rate", 4_000.0, 768_000.0)
    if rate is not None and rate != round(rate):
        raise top.wrong("sample_rate", "a whole number of Hz")
    tables = [_Table(f"{path}: recording {k + 1}", entry, KEYS, top.value) for k, entry in enumerate(entries)]
    levels = _all_or_none([_input_level(table) for table in tables], tables, "input_level")
    gains = _all_or_none([table.number("output_gain", nonzero=True) for table in tables], tables, "output_gain")
    found: dict[str, list[tuple[Recording, tuple[Path, Path]]]] = {FIT: [], HELD_OUT: []}
    for table, level, gain in zip(tables, levels, gains, strict=True):
        role = table.choice("role", (FIT, HELD_OUT))
        recording, files = _recording(table, path.parent, None if rate is None else round(rate))
        # All sessions' recordings share the first one's calibration: the others are scaled to it.
        if level is not None and levels[0] is not None:
            recording = replace(recording, dry=recording.dry * (level / levels[0]))
        if gain is not None and gains[0] is not None:
            recording = replace(recording, wet=recording.wet * (gains[0] / gain))
        found[role].append((recording, files))
        rate = rate or recording.sample_rate
    if not found[FIT]:
        raise RecordingError(f"{path}: no recording to fit to", f'give at least one [[recording]] with role = "{FIT}"')
    return Session(
        recordings=tuple(recording for recording, _ in found[FIT]),
        held_out=tuple(recording for recording, _ in found[HELD_OUT]),
        input_level=levels[0],
        output_gain=gains[0],
        files=tuple(files for _, files in found[FIT]),
        held_out_files=tuple(files for _, files in found[HELD_OUT]),
    )


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise RecordingError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise RecordingError(f"{path}: more than {MAX_BYTES // 1_000_000} MB is no session file")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: not a text file", "a session file is TOML; recordings are named in it") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecordingError(f"{path}: not valid TOML: {error}") from None


def _recording(table: _Table, folder: Path, rate: int | None) -> tuple[Recording, tuple[Path, Path]]:
    dry, wet, both = (table.text(key) for key in ("dry", "wet", "file"))
    if both is None and dry is not None and wet is not None:
        files = (folder / dry, folder / wet)
    elif both is not None and dry is None and wet is None:
        files = (folder / both, folder / both)
    else:
        raise RecordingError(
            f"{table.where}: expected dry and wet, or file alone",
            'dry = "dry.wav" and wet = "wet.wav", or file = "both.wav" with dry left and wet right',
        )
    knobs = table.knobs()
    try:
        recording = Recording.from_wav(files[0], None if both is not None else files[1], knobs, sample_rate=rate)
    except RecordingError as error:
        raise RecordingError(f"{table.where}: {error.message}", error.hint) from None
    polarity, delay = table.number("polarity"), table.number("delay")
    if polarity not in (None, 1.0, -1.0):
        raise table.wrong("polarity", "1 or -1")
    if delay is not None and abs(delay) >= len(recording.dry):
        raise table.wrong("delay", f"less than the recording's {len(recording.dry)} samples")
    shared = table.choice("gain", (OWN, SHARED)) == SHARED
    recording = replace(
        recording,
        name=table.text("name") or recording.name,
        delay=delay,
        polarity=None if polarity is None else round(polarity),
        gain_group=SHARED if shared else None,
    )
    return _range(table, recording), files


def _range(table: _Table, recording: Recording) -> Recording:
    """From `start` to `end` of the dry file, with a lead-in in which the circuit settles."""
    start, end = table.number("start", 0.0), table.number("end", 0.0)
    if start is None and end is None:
        return recording.trimmed()
    rate, length = recording.sample_rate, len(recording.dry) / recording.sample_rate
    if (start or 0.0) >= length:
        raise table.wrong("start", f"less than the {length:.3f} s that the dry lasts")
    if end is not None and end <= (start or 0.0):
        raise table.wrong("end", "a time after start")
    # Found on the whole files, where it is surest.
    delay = recording.delay if recording.delay is not None else aligned(recording.dry, recording.wet, rate).delay
    first, last = round((start or 0.0) * rate), len(recording.dry) if end is None else round(end * rate)
    begin = max(0, first - round(LEAD_IN * rate))
    wet_begin, wet_end = max(0, first + round(delay)), max(0, last + round(delay))
    if wet_begin >= min(wet_end, len(recording.wet)):
        raise RecordingError(
            f"{table.where}: the wet has nothing from {first / rate:g} to {last / rate:g} s of the dry",
            f"it is late by {delay:g} samples; choose another time range",
        )
    return replace(
        recording,
        dry=recording.dry[begin:last],
        wet=recording.wet[wet_begin:wet_end],
        delay=delay + begin - wet_begin,
        cut_off=wet_begin - begin,
        delay_found=recording.delay is None,
    )


def _input_level(table: _Table) -> float | None:
    level, dbu = table.number("input_level", positive=True), table.number("input_level_dbu", -60.0, 60.0)
    if level is not None and dbu is not None:
        raise RecordingError(f"{table.where}: input_level and input_level_dbu say the same", "leave one of them out")
    return level if dbu is None else volts_at_full_scale(dbu)


def _all_or_none(values: Sequence[float | None], tables: Sequence[_Table], key: str) -> Sequence[float | None]:
    for value, table in zip(values, tables, strict=True):
        if (value is None) != (values[0] is None):
            raise RecordingError(
                f"{table.where}: {key} is known for some recordings only", "give it for all of them, or at the top"
            )
    return values


class _Table:
    """Typed access to a table of the file, which may hold anything. defaults: the table above."""

    def __init__(
        self, where: str, value: Mapping[str, Any], keys: Sequence[str], defaults: Mapping[str, Any] | None = None
    ) -> None:
        self.where = where
        self.value = value
        self._defaults = {key: entry for key, entry in (defaults or {}).items() if key in COMMON}
        # What a recording says of its calibration in volts replaces a default in dBu, and the other way round.
        if "input_level" in value or "input_level_dbu" in value:
            self._defaults = {k: v for k, v in self._defaults.items() if not k.startswith("input_level")}
        for key in value:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(keys)}"
                raise RecordingError(f"{where}: unknown key {key[:40]!r}", hint)

    def _get(self, key: str) -> Any:
        return self.value.get(key, self._defaults.get(key))

    def wrong(self, key: str, expected: str) -> RecordingError:
        return RecordingError(f"{self.where}: {key}: expected {expected}, found {repr(self._get(key))[:60]}")

    def number(
        self,
        key: str,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        positive: bool = False,
        nonzero: bool = False,
    ) -> float | None:
        value = self._get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            raise self.wrong(key, "a number")
        if positive and value <= 0.0:
            raise self.wrong(key, "a number above 0")
        if nonzero and value == 0.0:
            raise self.wrong(key, "a number other than 0")
        if not low <= value <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g}" if high < math.inf else f"at least {low:g}")
        return float(value)

    def text(self, key: str) -> str | None:
        value = self._get(key)
        if value is not None and (not isinstance(value, str) or not value.strip() or "\0" in value):
            raise self.wrong(key, "a text")
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """One of `choices`, the first by default."""
        value = self._get(key)
        if value is not None and value not in choices:
            raise self.wrong(key, " or ".join(f'"{choice}"' for choice in choices))
        return choices[0] if value is None else str(value)

    def knobs(self) -> dict[str, float | str]:
        """Positions by name; a label stands for one that nobody wrote down."""
        value = self._get("knobs")
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.wrong("knobs", 'a table such as { drive = 0.5 } or { drive = "a" }')
        found: dict[str, float | str] = {}
        for name, position in value.items():
            if isinstance(position, str) and 0 < len(position) <= MAX_LABEL and position.isprintable():
                found[name] = position
            elif isinstance(position, int | float) and not isinstance(position, bool) and 0.0 <= position <= 1.0:
                found[name] = float(position)
            else:
                raise RecordingError(
                    f"{self.where}: knobs.{name[:40]}: expected a position from 0 to 1, or a label of at most "
                    f"{MAX_LABEL} characters, found {repr(position)[:60]}"
                )
        return found

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        value = self.value.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
            raise RecordingError(f"{self.where}: expected at least one [[{key}]]", f'[[{key}]]\ndry = "dry.wav"\n...')
        if len(value) > MAX_RECORDINGS:
            raise RecordingError(f"{self.where}: {len(value)} recordings are more than the limit of {MAX_RECORDINGS}")
        return value
