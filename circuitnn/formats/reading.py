"""The network in a run, a model file or a file of another engine. What a file is, its content says."""

from __future__ import annotations

import os
from pathlib import Path

from circuitnn.documents import Document, read_json
from circuitnn.errors import CircuitnnError
from circuitnn.formats import aidax, native
from circuitnn.formats.nam import read_nam
from circuitnn.formats.rtneural import read_rtneural
from circuitnn.formats.saved_network import MAX_BYTES, SavedNetwork
from circuitnn.formats.simple_rnn import read_simple_rnn
from circuitnn.formats.torch_layers import is_torch_layers, read_torch_layers

SUFFIXES = (".json", ".nam", ".aidax")
RUN_FILE = "run.json"


def read_network(path: str | os.PathLike[str]) -> SavedNetwork:
    """The network at a path, with what its file says of it; nothing in it is executed. Raises CircuitnnError."""
    found = network_at(path)
    if found is None:
        raise CircuitnnError(
            f"{path}: holds no network",
            f"a run of `circuitnn train`, a model file, or a {', '.join(SUFFIXES[1:])} or .json file of another engine",
        )
    return found


def network_at(path: str | os.PathLike[str]) -> SavedNetwork | None:
    """The same, or None for what this program may know as something else, such as a circuit's run or a netlist."""
    path = Path(path)
    if path.is_dir():
        if not (path / RUN_FILE).is_file() and (path / native.FIRST_WEIGHTS).is_file():
            raise CircuitnnError(f"{path}: not a run: there is no {RUN_FILE}", "runs are made by `circuitnn train`")
        return _of_run(path / RUN_FILE)
    if path.suffix.lower() not in SUFFIXES:
        return None
    data = read_json(path, MAX_BYTES, "file of a network", "export it again; the file is damaged")
    if data.has("format"):
        return native.read_native(data) if data.value["format"] == native.FORMAT else None
    return _foreign(data)


def _of_run(path: Path) -> SavedNetwork | None:
    if not path.is_file():
        return None
    data = read_json(path, MAX_BYTES, "run", native.MEND)
    beside = (path.parent / native.FIRST_WEIGHTS).is_file()
    return native.read_native(data) if beside or data.value.get("format") == native.FORMAT else None


def _foreign(data: Document) -> SavedNetwork:
    keys = data.value
    if "architecture" in keys:
        return read_nam(data)
    if "model_data" in keys:
        return read_simple_rnn(data)
    if "layers" in keys:
        return aidax.read_aidax(data) if any(key in keys for key in aidax.KEYS) else read_rtneural(data)
    if is_torch_layers(data):
        return read_torch_layers(data)
    raise CircuitnnError(
        f"{data.path}: not a file of a network that is known here",
        'expected "format", "architecture" (NAM), "layers" (RTNeural, AIDA-X) or "model_data" (SimpleRNN)',
    )
