"""Files of strangers, and names and options that nobody expected: one message, and nothing half-written."""

from __future__ import annotations

import hashlib
import json
import re
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from network_files import random
from safetensors.torch import load, save

from circuitnn import CircuitnnError, export
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.exporting.deployed import _pointer
from circuitnn.exporting.lv2 import symbols
from circuitnn.exporting.naming import TEMPLATES, identifier
from circuitnn.exporting.program import program_of
from circuitnn.exporting.subject import NetworkSubject
from circuitnn.formats import SavedNetwork, read_network
from circuitnn.models.iir import second_order
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.tcn import TemporalConvolutionalNetwork

pytestmark = pytest.mark.usefixtures("one_thread")


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def small(path: Path) -> Path:
    """A model file with its weights inside."""
    export(SavedNetwork(random(Recurrent("lstm", 4, residual=False)), "lstm-4", 8000.0, 0.0), "json", path)
    return path


def large(path: Path) -> Path:
    """One with its weights beside it."""
    export(SavedNetwork(random(Recurrent("lstm", 32)), "lstm-32", 8000.0, 0.0), "json", path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": -44100.0}, "sample_rate: expected a rate in Hz, found -44100.0"),
        ({"calibration": {"input_level": -1.0}}, "calibration.input_level: expected a positive number, found -1.0"),
        ({"calibration": {"output_gain": 0}}, "calibration.output_gain: expected a number other than 0, found 0"),
        ({"architecture": "\ud800"}, "architecture: expected a text"),
        ({"knobs": ["\ud800"]}, "knobs: expected a list of names, at most 100 and no two alike"),
        ({"knobs": [""]}, "knobs: expected a list"),
        ({"knobs": ["k" * 101]}, "knobs: expected a list"),
    ],
)
def test_what_a_model_file_says_beside_its_weights_is_checked(
    tmp_path: Path, changes: Mapping[str, Any], message: str
) -> None:
    path = small(tmp_path / "model.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CircuitnnError, match=re.escape(message)):
        read_network(path)


@pytest.mark.parametrize(
    ("network", "key"),
    [
        ({"kind": "tcn", "blocks": 20, "kernel_size": 1, "dilation_growth": 1000, "channels": 1}, "dilation_growth"),
        ({"kind": "sequence-lstm", "hidden_size": 1024, "window": 10_000, "outputs": 1}, "window"),
        (
            {
                "kind": "conv-lstm", "hidden_size": 1024, "channels": 1, "kernel_size": 1, "strides": [1, 1],
                "steps": 10_000,
            },
            "steps",
        ),
        ({"kind": "window-mlp", "window": 2**20, "hidden": [1]}, "window"),
        (
            {
                "kind": "nam-wavenet", "kernel_size": 1,
                "stacks": [{"channels": 1, "head_size": 1, "dilations": [1]}] * 33,
            },
            "stacks",
        ),
    ],
)  # fmt: skip
def test_a_network_that_would_take_all_memory_to_play_is_refused(
    tmp_path: Path, network: Mapping[str, Any], key: str
) -> None:
    """Few parameters may still ask for a stack, a list or a dilation without end."""
    path = small(tmp_path / "model.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "network": network}))
    with pytest.raises(CircuitnnError, match=f"model.json: network.{key}: expected"):
        read_network(path)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.float64, torch.complex64])
def test_weights_of_another_type_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    path = large(tmp_path / "model.json")
    beside = path.with_suffix(".safetensors")
    content = save({name: value.to(dtype) for name, value in load(beside.read_bytes()).items()})
    beside.write_bytes(content)
    data = json.loads(path.read_text())
    data["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(data))
    with pytest.raises(CircuitnnError, match=r"expected torch\.float32, found"):
        read_network(path)


def test_torch_layers_are_named_as_torch_names_them(tmp_path: Path) -> None:
    (tmp_path / "layers.json").write_text(json.dumps({"a weight": [1.0, 2.0]}))
    with pytest.raises(CircuitnnError, match="not a file of a network"):
        read_network(tmp_path / "layers.json")


@pytest.mark.parametrize("out", ["folder.json", ".", "model.safetensors", "model", "nowhere/model.json"])
def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.chdir(tmp_path)
    source = large(tmp_path / "source.json")
    (tmp_path / "folder.json").mkdir()
    before = sorted(tmp_path.rglob("*"))
    done = command("export", source, "--to", "json", "--out", out)
    assert done.exit_code == 2, done.output
    assert f"error: {Path(out).with_suffix('') if out != '.' else out}" in done.stderr
    assert ".part" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "model.json", "--to", "json", "--against", "model.json"], "only a page compares two"),
        (["export", "model.json", "--to", "json", "--sample-rate", "nan"], "nan is not a number"),
        (["export", "model.json", "--to", "cpp", "--set", "drive=0.5"], "--set drive=0.5: there is no knob 'drive'"),
        (["export", "knob.json", "--to", "cpp", "--set", "drive"], "--set drive: expected NAME=VALUE"),
        (["export", "knob.json", "--to", "cpp", "--set", "drive = 2"], "expected a position from 0 to 1, found '2'"),
        (["export", "knob.json", "--to", "cpp", "--set", "drive=0", "--set", "drive=1"], "drive is set twice"),
        (["train", "lstm-32", "a.wav", "a.wav", "--seconds", "nan"], "nan is not a number"),
        (["train", "lstm-32", "a.wav", "a.wav", "--seconds", "inf"], "inf is not a number"),
        (["train", "missing.nam", "a.wav", "a.wav"], "missing.nam: cannot be read: No such file or directory"),
        (["train", "lstm-32", "a.wav", "a.wav", "--device", "gpu"], "torch finds no GPU here"),
        (["compare", "missing", "--on", "a.wav", "a.wav"], "missing: no such file or folder"),
    ],
)
def test_options_that_do_not_fit_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    small(tmp_path / "model.json")
    knob = SavedNetwork(random(Recurrent("lstm", 4, knob_names=("drive",))), "lstm-4", 8000.0, 0.0)
    export(knob, "json", tmp_path / "knob.json")
    write_wav(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000)
    before = sorted(tmp_path.rglob("*"))
    done = command(*words, "--out", "out")
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_namespace_is_called_as_nothing_in_the_programs_around_it() -> None:
    for name in ("Model", "Sound", "number", "usage", "Place", "Processor", "effect", "exported"):
        assert any(re.search(rf"\b{name}\b", path.read_text()) for path in TEMPLATES.glob("*.cpp"))
        assert identifier(name) == f"{name}_circuit"
    assert identifier("ts808") == "ts808"


@given(st.lists(st.text(max_size=12), unique=True, max_size=6))
def test_ports_have_symbols_of_their_own(names: list[str]) -> None:
    found = symbols(["in", "in_knob", *names])
    assert len(set(found)) == len(names) + 2
    assert not {"in", "out", "enabled", "input_trim", "output_trim", "latency"} & set(found)
    assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", symbol) for symbol in found)


def test_an_address_keeps_its_array() -> None:
    array = np.zeros(3)
    alive = weakref.ref(array)
    pointer = _pointer(array)
    del array
    assert alive() is not None
    assert pointer.value is not None


def test_a_tcn_of_one_block_has_no_cpp() -> None:
    with pytest.raises(CircuitnnError, match="a TCN of one block has no C"):
        program_of(NetworkSubject("one", TemporalConvolutionalNetwork(1).eval()))


def test_a_second_derivative_of_a_filter_is_refused_and_not_wrong() -> None:
    x = torch.randn(1, 8, dtype=torch.float64, requires_grad=True)
    b, a = torch.tensor([1.0, 0.5, 0.2]).double(), torch.tensor([1.0, -0.5, 0.1]).double()
    b.requires_grad_(True)
    y = second_order(x, b, a, torch.zeros(1, 2).double())
    (slope,) = torch.autograd.grad((y**2).sum(), b, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
