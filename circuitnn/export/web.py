"""--to web: one HTML file that plays the circuit in a browser, as WebAssembly in an AudioWorklet."""

from __future__ import annotations

import base64
import html
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

from circuitnn.errors import CompilerError
from circuitnn.export.cpp import TEMPLATES, circuit_header, runtime_headers
from circuitnn.export.equations import positions
from circuitnn.export.naming import identifier
from circuitnn.export.subject import Subject, one_signal
from circuitnn.placing import place_file
from circuitnn.runtime.compiler import run_command

# As a reactor a module has no main; its static objects are made by _initialize. 1 MiB of stack is what small threads
# have elsewhere.
_FLAGS = (
    "-target", "wasm32-wasi", "-mexec-model=reactor", "-mcpu=generic+simd128", "-nostdlib++", "-fno-exceptions",
    "-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-s", "-Wl,-z,stack-size=1048576",
)  # fmt: skip


def write_web(subject: Subject, path: Path) -> None:
    """Write the page. Raises CircuitnnError, CompilerError, and OutputError if it cannot be written."""
    one_signal(subject.circuit)
    at = positions(subject.circuit)
    data = {
        "knobs": [{"name": knob.name, "position": at[knob.name]} for knob in subject.circuit.knobs],
        "wasm": base64.b64encode(webassembly(subject)).decode(),
    }
    text = (TEMPLATES / "page.html").read_text(encoding="utf-8")
    # What a netlist says must not end the script that it stands in.
    text = text.replace("@title@", html.escape(subject.circuit.title or subject.name))
    place_file(path, text.replace("@circuit@", json.dumps(data).replace("<", "\\u003c")))


def webassembly(subject: Subject) -> bytes:
    """The module: see templates/web.cpp. It imports nothing."""
    if importlib.util.find_spec("ziglang") is None:
        raise CompilerError("a page needs the compiler of the ziglang package", "pip install circuitnn[compiler]")
    name = identifier(subject.name)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for header in runtime_headers():
            (folder / header.name).write_text(header.read_text())
        (folder / f"{name}.hpp").write_text(circuit_header(subject), encoding="utf-8")
        (folder / "web.cpp").write_text((TEMPLATES / "web.cpp").read_text().replace("@name@", name))
        clang = (sys.executable, "-m", "ziglang", "c++")
        run_command([*clang, *_FLAGS, str(folder / "web.cpp"), "-o", str(folder / "web.wasm")])
        return (folder / "web.wasm").read_bytes()
