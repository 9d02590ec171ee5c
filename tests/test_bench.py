"""`circuitnn bench`: what it prints, not how fast this machine is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from circuitnn.bench import guitar_like
from circuitnn.cli import main

TINY = ("--seconds", "0.01", "--repeats", "1", "--oversample", "2", "--sample-rate", "44100")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def entry(netlists: Path) -> dict[str, Any]:
    threads, environment = torch.get_num_threads(), dict(os.environ)
    result = run(netlists / "diode_clipper.cir", "--json", *TINY)
    assert result.exit_code == 0, result.stderr
    assert (torch.get_num_threads(), dict(os.environ)) == (threads, environment)
    (found,) = json.loads(result.stdout)
    return dict(found)


def test_the_numbers_are_there(entry: dict[str, Any]) -> None:
    for key in (
        "real_time_factor", "ns_per_step", "ns_per_step_lane", "gradient_ratio", "newton_iterations", "adjoint_ratio",
        "adjoint_ratio_lane", "tangent_ratio_20", "compile_seconds",
    ):  # fmt: skip
        assert isinstance(entry[key], float), key
        assert entry[key] > 0.0, key
    assert entry["netlist"] == "diode_clipper"
    assert (entry["states"], entry["ports"], entry["stages"]) == (1, 1, [1])
    assert (entry["seconds"], entry["sample_rate"], entry["oversample"]) == (0.01, 44100.0, 2)


def test_iterations_are_those_of_every_step(entry: dict[str, Any]) -> None:
    histogram = np.array(entry["histogram"])
    assert histogram.sum() == 882
    assert histogram[-1] == 0
    assert entry["newton_iterations"] == pytest.approx(histogram @ np.arange(len(histogram)) / 882)
    assert (entry["failures"], entry["rescues"]) == (0, 0)


def test_a_table_for_people(netlists: Path) -> None:
    result = run(netlists / "diode_clipper.cir", *TINY)
    assert result.exit_code == 0, result.stderr
    for text in ("diode_clipper", "times", "gradient", "Steps in percent", "0.01 s at 44100 Hz"):
        assert text in result.stdout
    assert "measuring diode_clipper" in result.stderr


def test_what_cannot_be_measured_is_one_message(
    netlists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare.cir"
    bare.write_text("bare\nV1 a 0 1\nR1 a 0 1k\n.end\n")
    clipper = netlists / "diode_clipper.cir"
    for arguments, message in (
        ([clipper, tmp_path / "none.cir"], "none.cir"),
        ([bare], "bare.cir: the netlist names no input"),
        ([clipper, "--oversample", 3], "oversample 3"),
        ([clipper, "--sample-rate", "nan"], "sample rate nan"),
    ):
        result = run(*arguments, *TINY[:4])
        assert result.exit_code == 2
        assert result.stdout == ""
        assert message in result.stderr
    monkeypatch.setattr("circuitnn.bench.NETLISTS", tmp_path / "nowhere")
    result = run()
    assert result.exit_code == 2
    assert "name the netlists" in result.stderr


def test_the_signal_clips_and_is_always_the_same() -> None:
    signal = guitar_like(1.0, 48000.0)
    assert signal.shape == (48000,)
    assert np.abs(signal).max() == pytest.approx(0.5)
    np.testing.assert_array_equal(signal, guitar_like(1.0, 48000.0))
    # It is the same sound at the high rate, and has no jumps.
    np.testing.assert_allclose(guitar_like(1.0, 96000.0)[::2], signal, atol=2e-3)
    assert np.abs(np.diff(guitar_like(1.0, 384000.0))).max() < 0.02
    assert guitar_like(1e-6, 48000.0).shape == (1,)
