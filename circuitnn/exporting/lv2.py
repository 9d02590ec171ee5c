"""--to lv2: a plugin bundle with the binary, its description in Turtle, and the source that it was built from."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from circuitnn.errors import CircuitnnError
from circuitnn.exporting.cpp import write_headers
from circuitnn.exporting.folders import check_export_folder, place_export_folder
from circuitnn.exporting.program import Program, program_of
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.runtime.compiler import FLAGS, WIDE, run_compiler

SUFFIX = ".lv2"
BINARY = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
# The ports before the knobs, whose symbols no knob may have; as in templates/plugin.cpp.
_SYMBOLS = ("in", "out", "enabled", "input_trim", "output_trim", "latency")
_TRIM = 24


def write_lv2(subject: Subject | NetworkSubject, folder: Path) -> None:
    """Write the bundle; hosts look for folders called NAME.lv2.

    Raises CircuitnnError, CompilerError, and OutputError if it cannot be written.
    """
    if folder.suffix != SUFFIX:
        raise CircuitnnError(f"{folder}: hosts look for plugins in folders called NAME{SUFFIX}", f"{folder}{SUFFIX}")
    program = program_of(subject)
    program.require_one_signal()
    check_export_folder(folder)
    uri = f"urn:circuitnn:{program.name}"

    def fill(built: Path) -> None:
        source = built / "source"
        source.mkdir()
        write_headers(program, source)
        (source / "plugin.cpp").write_text(program.text("plugin.cpp", uri=uri), encoding="utf-8")
        (built / "manifest.ttl").write_text(_manifest(uri, program.name), encoding="utf-8")
        (built / "plugin.ttl").write_text(_description(uri, program), encoding="utf-8")
        flags = (*FLAGS, *(WIDE if program.wide else ()), "-fvisibility=hidden")
        run_compiler([*flags, str(source / "plugin.cpp"), "-o", str(built / f"{program.name}{BINARY}")])

    place_export_folder(folder, fill)


def _manifest(uri: str, name: str) -> str:
    return f"""@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .

<{uri}>
    a lv2:Plugin ;
    lv2:binary <{name}{BINARY}> ;
    rdfs:seeAlso <plugin.ttl> .
"""


def _description(uri: str, program: Program) -> str:
    ports = [
        _port("AudioPort", "InputPort", "in", "Input"),
        _port("AudioPort", "OutputPort", "out", "Output"),
        _port("ControlPort", "InputPort", "enabled", "Enabled", (0, 1, 1), (
            "lv2:designation lv2:enabled", "lv2:portProperty lv2:toggled , lv2:integer",
        )),
        _port("ControlPort", "InputPort", "input_trim", "Input trim", (-_TRIM, _TRIM, 0), ("units:unit units:db",)),
        _port("ControlPort", "InputPort", "output_trim", "Output trim", (-_TRIM, _TRIM, 0), ("units:unit units:db",)),
        _port("ControlPort", "OutputPort", "latency", "Latency", None, (
            "lv2:designation lv2:latency", "lv2:portProperty lv2:reportsLatency , lv2:integer",
            "units:unit units:frame",
        )),
        *_knobs(program),
    ]  # fmt: skip
    listed = " ,\n".join(port.replace("@index@", str(k)) for k, port in enumerate(ports))
    return f"""@prefix doap: <http://usefulinc.com/ns/doap#> .
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix units: <http://lv2plug.in/ns/extensions/units#> .

<{uri}>
    a lv2:Plugin , lv2:SimulatorPlugin ;
    doap:name {_text(program.title)} ;
    lv2:minorVersion 0 ;
    lv2:microVersion 1 ;
    lv2:optionalFeature lv2:hardRTCapable ;
    lv2:port
{listed} .
"""


def _knobs(program: Program) -> list[str]:
    return [
        _port("ControlPort", "InputPort", symbol, name, (0, 1, position))
        for symbol, (name, position) in zip(symbols(list(program.knobs)), program.knobs.items(), strict=True)
    ]


def symbols(knobs: Sequence[str]) -> list[str]:
    """For each knob a name of letters, digits and underscores that no other port has."""
    found = list(_SYMBOLS)
    for name in knobs:
        letters = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
        symbol = letters if letters[:1].isalpha() else f"knob_{letters}"
        while symbol in found:
            symbol += "_knob"
        found.append(symbol)
    return found[len(_SYMBOLS) :]


def _port(
    kind: str,
    direction: str,
    symbol: str,
    name: str,
    limits: tuple[float, float, float] | None = None,
    properties: tuple[str, ...] = (),
) -> str:
    """limits: minimum, maximum, default."""
    lines = [
        f"a lv2:{direction} , lv2:{kind}",
        "lv2:index @index@",
        f'lv2:symbol "{symbol}"',
        f"lv2:name {_text(name)}",
        *properties,
    ]
    if limits is not None:
        names = ("minimum", "maximum", "default")
        lines += [f"lv2:{key} {float(value):.9f}" for key, value in zip(names, limits, strict=True)]
    return "        [\n" + " ;\n".join(f"            {line}" for line in lines) + "\n        ]"


def _text(text: str) -> str:
    """A string of Turtle, which escapes quotes and backslashes as JSON does, but no character beyond 16 bits."""
    return json.dumps("".join(c for c in text if c.isprintable())[:100], ensure_ascii=False)
