"""--to web: one HTML file that plays the subject in a browser, as WebAssembly in an AudioWorklet."""

from __future__ import annotations

import base64
import html
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from circuitnn.errors import CompilerError
from circuitnn.exporting.cpp import write_headers
from circuitnn.exporting.program import Program, program_of
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.placing import place_file
from circuitnn.runtime.compiler import run_command

# As a reactor a module has no main; its static objects are made by _initialize. 1 MiB of stack is what small threads
# have elsewhere.
_FLAGS = (
    "-target", "wasm32-wasi", "-mexec-model=reactor", "-mcpu=generic+simd128", "-nostdlib++", "-fno-exceptions",
    "-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-s", "-Wl,-z,stack-size=1048576",
)  # fmt: skip


def write_web(subject: Subject | NetworkSubject, path: Path, against: Subject | NetworkSubject | None = None) -> None:
    """Write the page. against: what the page can play in its place, equally loud.

    Raises CircuitnnError, CompilerError, and OutputError if it cannot be written.
    """
    program = program_of(subject)
    data = _model(program) | {"against": None if against is None else _model(program_of(against))}
    # What a netlist says must not end the script that it stands in.
    model = json.dumps(data).replace("<", "\\u003c")
    place_file(path, program.text("page.html", title=html.escape(program.title), model=model))


def _model(program: Program) -> dict[str, Any]:
    program.require_one_signal()
    return {
        "title": program.title,
        "knobs": [{"name": name, "position": position} for name, position in program.knobs.items()],
        "wasm": base64.b64encode(webassembly(program)).decode(),
    }


def webassembly(program: Program) -> bytes:
    """The module: see templates/web.cpp. It imports nothing."""
    if importlib.util.find_spec("ziglang") is None:
        raise CompilerError("a page needs the compiler of the ziglang package", "pip install circuitnn[compiler]")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        write_headers(program, folder)
        (folder / "web.cpp").write_text(program.text("web.cpp"))
        clang = (sys.executable, "-m", "ziglang", "c++")
        run_command([*clang, *_FLAGS, str(folder / "web.cpp"), "-o", str(folder / "web.wasm")])
        return (folder / "web.wasm").read_bytes()
