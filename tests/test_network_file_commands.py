"""Commands that take a file of a network where they take a run, or make one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from network_files import RATE, output, random

from circuitnn import CircuitnnError, Recording, export
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.evaluation import evaluate_saved
from circuitnn.formats import SavedNetwork, read_network
from circuitnn.models.recurrent import Recurrent
from circuitnn.training import PRESETS, train

LATE = 7

pytestmark = pytest.mark.usefixtures("one_thread")


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def told(*words: object) -> dict[str, Any]:
    done = command(*words, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """file.nam, and dry.wav with what its network makes of it, late by LATE samples, in wet.wav."""
    folder = tmp_path_factory.mktemp("files")
    network = random(Recurrent("lstm", 8, residual=False))
    export(SavedNetwork(network, "lstm-8", RATE), "nam", folder / "file.nam")
    rng = np.random.default_rng(0)
    dry = 0.3 * np.convolve(rng.standard_normal(4 * int(RATE)), np.ones(4) / 2.0, "same")
    wet = output(network, torch.tensor(dry, dtype=torch.float32)[None, :, None]).numpy()
    write_wav(folder / "dry.wav", dry, int(RATE))
    write_wav(folder / "wet.wav", 0.2 * np.concatenate([np.full(LATE, wet[0]), wet[:-LATE]]), int(RATE))
    return folder


def test_evaluate_and_compare_take_a_file(folder: Path, tmp_path: Path) -> None:
    pair = (folder / "dry.wav", folder / "wet.wav")
    found = told("evaluate", folder / "file.nam", *pair)
    # The wet is the output times 0.2.
    assert found["esr"] == pytest.approx(16.0, rel=0.01)
    assert found["esr_gain_free"] < 1e-4
    assert found["delay"] == LATE
    (row,) = told("compare", folder / "file.nam", "--on", *pair, "--out", tmp_path / "report")["models"]
    assert (row["name"], row["kind"]) == ("file.nam", "NAM LSTM")
    assert row["esr"] == pytest.approx(found["esr"])
    assert row["parameters"] == 4 * 8 * (1 + 8) + 2 * 4 * 8 + 2 * 8 + 9


def test_a_file_is_trained_further_and_exported(folder: Path, tmp_path: Path) -> None:
    """That the output is a fifth of what it was is learned in a moment; from random weights it is not."""
    pair = (folder / "dry.wav", folder / "wet.wav")
    found = told("train", folder / "file.nam", *pair, "--epochs", 40, "--out", tmp_path / "run")
    assert found["architecture"] == "NAM LSTM"
    assert found["esr"] < 0.2
    options = ("--to", "nam", "--out", tmp_path / "run.nam", "--input-level", 1.0)
    assert command("export", tmp_path / "run", *options).exit_code == 0
    meta = json.loads((tmp_path / "run.nam").read_text())["metadata"]
    assert meta["input_level_dbu"] == pytest.approx(20.0 * math.log10(1.0 / math.sqrt(1.2)))
    assert meta["training"]["validation_esr"] == pytest.approx(found["esr"])
    u = torch.randn(1, 100, 1)
    run, file = read_network(tmp_path / "run").network, read_network(tmp_path / "run.nam").network
    torch.testing.assert_close(output(file, u), output(run, u), rtol=0.0, atol=1e-6)
    done = command("export", tmp_path / "run", *options, "--set", "drive=0.3")
    assert done.exit_code == 2
    assert "--set and --oversample are for circuits" in done.stderr
    done = command("export", tmp_path / "run", "--to", "simplernn", "--out", tmp_path / "no.json")
    assert done.exit_code == 2
    assert "it begins with a state of its own" in done.stderr


def test_a_file_is_trained_at_its_rate_and_with_its_knobs() -> None:
    rng = np.random.default_rng(0)
    one = Recording(rng.standard_normal(20000), rng.standard_normal(20000), int(RATE), delay=0.0)
    network = Recurrent("lstm", 2)
    with pytest.raises(CircuitnnError, match="expected 44100 Hz, the network's rate, found 8000 Hz"):
        train(SavedNetwork(network, "lstm-2", 44100.0), [one], preset=PRESETS["quick"])
    with pytest.raises(CircuitnnError, match=r"expected positions of the network's knobs \(drive\), found none"):
        train(SavedNetwork(Recurrent("lstm", 2, knob_names=["drive"]), "lstm-2"), [one], preset=PRESETS["quick"])


@pytest.mark.parametrize("delay", [None, LATE])
def test_the_delay_of_a_file_is_where_it_agrees_best(delay: int | None) -> None:
    network = random(Recurrent("gru", 4, residual=False))
    dry = 0.3 * np.random.default_rng(0).standard_normal(6000)
    late = output(network, torch.tensor(dry, dtype=torch.float32)[None, :, None]).numpy().astype(float)
    wet = np.concatenate([np.full(LATE + 2, late[0]), late])[: len(dry)]
    # What somebody wrote down, or alignment finds, may be off by a few samples.
    recording = Recording(dry, wet, int(RATE), delay=delay)
    found, used = evaluate_saved(SavedNetwork(network, "gru"), recording)
    assert used == LATE + 2
    # The network begins a few samples later than it did when the wet was made.
    assert found.esr < 1e-2
