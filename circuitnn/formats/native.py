"""This program's own model file of a network (docs/model-file.md): JSON that says what it is, with its weights inside
if they are few, and else in a safetensors file beside it."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from circuitnn.documents import Document, check_format, read_bounded
from circuitnn.errors import CircuitnnError
from circuitnn.formats.saved_network import SavedNetwork, nested
from circuitnn.models.architectures import build_network
from circuitnn.models.description import MAX_PARAMETERS, describe, knobs_in, read_description
from circuitnn.models.network import Network, parameter_count
from circuitnn.placing import check_file, place_file

FORMAT, VERSION = "circuitnn-network", 2
# Networks with more numbers than this have them in a file beside the JSON.
INSIDE = 1000
MAX_WEIGHT_BYTES = 8 * 2 * MAX_PARAMETERS
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
MEND = "export or train it again; the file is damaged"
# Version 1 had all weights there.
FIRST_WEIGHTS = "weights.safetensors"


def document(saved: SavedNetwork, weights_name: str) -> tuple[dict[str, Any], bytes | None]:
    """The file as plain data, and the content of the file of weights beside it, `weights_name`, if there is one."""
    network = saved.network
    values = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    content, weights = None, dict[str, Any]()
    if sum(value.numel() for value in values.values()) <= INSIDE:
        weights = {name: value.tolist() for name, value in values.items()}
    else:
        from safetensors.torch import save

        content = save(values)
        weights = {"file": weights_name, "sha256": hashlib.sha256(content).hexdigest()}
    # Circuits in a chain have double precision in any case.
    single = any(parameter.dtype == torch.float32 for parameter in network.parameters())
    return {
        "format": FORMAT,
        "version": VERSION,
        "circuitnn": version("circuitnn"),
        "architecture": saved.name,
        "network": describe(network),
        "knobs": list(network.knob_names),
        "parameters": parameter_count(network),
        "precision": "float32" if single else "float64",
        "sample_rate": saved.sample_rate,
        "delay": saved.delay,
        "esr": saved.esr,
        "seconds": saved.seconds,
        "audio_seconds": saved.audio_seconds,
        "calibration": {"input_level": saved.input_level, "output_gain": saved.output_gain},
        "weights": weights,
    }, content


def write_native(saved: SavedNetwork, path: Path) -> None:
    """Write a model file, and that of its weights if it needs one. Raises CircuitnnError, and OutputError."""
    if path.suffix.lower() != ".json":
        raise CircuitnnError(f"{path}: a model file is known by its name, which ends in .json", f"name it {path}.json")
    check_file(path)
    beside = path.with_suffix(".safetensors")
    data, content = document(saved, beside.name)
    if content is not None:
        place_file(beside, content)
    place_file(path, to_text(data))


def to_text(data: dict[str, Any]) -> str:
    """JSON for people: rows of numbers on one line each."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def read_native(data: Document) -> SavedNetwork:
    """The network of a model file, or of a run's run.json. Raises CircuitnnError."""
    check_format(data, FORMAT, VERSION)
    knobs = knobs_in(data)
    if data.integer("version") == 1:
        network, precision, calibration = _of_version_1(data, knobs), "float32", None
    else:
        network = read_description(data.inner("network"), knobs)
        precision, calibration = data.choice("precision", PRECISIONS), data.inner("calibration")
    network = network.to(PRECISIONS[precision])
    _load(network, data)
    return SavedNetwork(
        network.eval(),
        data.text("architecture"),
        _rate(data),
        _optional(data, "delay"),
        _optional(data, "esr"),
        None if calibration is None else _level(calibration, "input_level", positive=True),
        None if calibration is None else _level(calibration, "output_gain", positive=False),
        _optional(data, "seconds"),
        _optional(data, "audio_seconds"),
    )


def _of_version_1(data: Document, knobs: tuple[str, ...]) -> Network:
    try:
        return build_network(data.text("architecture"), knobs)
    except CircuitnnError as error:
        raise CircuitnnError(f"{data.path}: {error.message}", error.hint) from None


def _optional(data: Document, key: str) -> float | None:
    return data.number(key) if data.has(key) else None


def _rate(data: Document) -> float | None:
    rate = _optional(data, "sample_rate")
    if rate is not None and not 1.0 <= rate <= 1e7:
        raise data.wrong("sample_rate", "a rate in Hz")
    return rate


def _level(data: Document, key: str, *, positive: bool) -> float | None:
    level = _optional(data, key)
    if level is not None and not (1e-12 <= abs(level) <= 1e12 and (level > 0.0 or not positive)):
        raise data.wrong(key, "a positive number" if positive else "a number other than 0")
    return level


def _load(network: Network, data: Document) -> None:
    """The weights, from inside or beside. Raises CircuitnnError unless they are those of the network."""
    path, values = _weights(network, data)
    own = network.state_dict()
    for name, value in values.items():
        if name in own and value.dtype != own[name].dtype:
            raise CircuitnnError(f"{path}: {name}: expected {own[name].dtype}, found {value.dtype}", MEND)
        if name in own and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CircuitnnError(f"{path}: {name} holds values that are not finite", MEND)
    try:
        network.load_state_dict(values)
    except RuntimeError as error:
        raise CircuitnnError(
            f"{path}: weights of another network: {' '.join(str(error).split())[:300]}", MEND
        ) from None


def _weights(network: Network, data: Document) -> tuple[str, dict[str, Tensor]]:
    """Where they are, and the tensors by name."""
    name, digest = FIRST_WEIGHTS, None
    if data.integer("version") > 1:
        stored = data.inner("weights")
        if not stored.has("file"):
            return data.path, _inside(network, stored)
        name, digest = stored.text("file"), stored.text("sha256")
        if not re.fullmatch(r"[^./\\:][^/\\:]{0,200}\.safetensors", name):
            raise stored.wrong("file", "the name of a safetensors file beside this one")
    path = Path(data.path).parent / name
    raw = read_bounded(path, MAX_WEIGHT_BYTES, "network of this program")
    if digest not in (None, hashlib.sha256(raw).hexdigest()):
        raise CircuitnnError(f"{path}: not the weights that {data.path} was written with", MEND)
    return str(path), _parsed(raw, path)


def _parsed(raw: bytes, path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(raw)
    except SafetensorError as error:
        raise CircuitnnError(f"{path}: not a safetensors file: {error}", MEND) from None


def _inside(network: Network, stored: Document) -> dict[str, Tensor]:
    like = network.state_dict()
    if set(stored.value) != set(like):
        name = min(set(stored.value) ^ set(like))
        raise stored.error(name[:60], f"expected the weights {', '.join(like)}")
    return {name: nested(stored.value[name], tuple(own.shape), stored, name, own.dtype) for name, own in like.items()}
