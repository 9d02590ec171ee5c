"""Run directories: written whole or not at all, read back with every type checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuitnn.audio import read_wav
from circuitnn.errors import CircuitnnError, OutputError
from circuitnn.fitting import Combination, FitResult, FittedRecording, Identifiability
from circuitnn.fitting.result import Settings, Source
from circuitnn.netlist import parse_netlist, read_netlist
from circuitnn.runs import check_target, finite, free_folder, load_run, save_run, summary

NETLIST = """Clipper <b> & sons
*@ input Vin
*@ output out
*@ knob drive 0.5
*@ learn R1 C1 drive
Vin in 0 0
R1 in a 2.2k
R2 a out {1k + 10k*drive}
C1 out 0 10n
D1 out 0 DS
.param drive=0.5
.model DS D(IS=2.52n N=1.752)
.end
"""


def example_result(**changes: Any) -> FitResult:
    """A fit as it might have gone, without fitting anything."""
    time = np.arange(8820) / 44100.0
    target = 0.5 * np.sin(2 * np.pi * 440.0 * time)
    recording = FittedRecording(
        name="<script>wet.wav", knobs={}, gain=-0.5, delay=3.25, confidence=2.0, offset=0.0, hum={}, esr=4e-4,
        esr_gain_free=3e-4, esr_preemphasis=5e-4, input=target, target=target, output=0.98 * target,
    )  # fmt: skip
    result = FitResult(
        circuit=parse_netlist(NETLIST),
        sample_rate=44100,
        oversample=4,
        nominal={"R1": 2200.0, "C1": 1e-8, "drive": 0.5},
        values={"R1": 2345.6, "C1": 1.1e-8, "drive": 0.75},
        stderr={"R1": 20.0, "C1": 5e-10, "drive": 0.01},
        covariance=np.diag([0.0085, 0.045, 0.053]) ** 2,
        prior_stderr={"R1": 110.0, "C1": 1e-9, "drive": 0.3},
        positions={},
        positions_stderr={},
        input_level=2.0,
        input_level_stderr=0.1,
        recordings=(recording, replace(recording, name="second", delay=5.25, gain=-0.7)),
        esr=4e-4,
        esr_gain_free=3e-4,
        identifiability=Identifiability(
            undetermined=("C1",),
            determined=(Combination({"R1": 0.7, "C1": 0.7}, 1e-3),),
            worst=(Combination({"R1": 0.7, "C1": -0.7}, 0.3),),
        ),
        errors=(0.5, 0.01, 4e-4),
        reason="converged",
        failures=0,
        seconds=1.5,
    )
    return replace(result, **changes)


SOURCES = (Source("dry.wav", "wet.wav", 9000, 8900), Source("dry2.wav", "wet2.wav", 9000, 8950))


@pytest.fixture(autouse=True)
def blank_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the page is test_report.py's business."""
    monkeypatch.setattr("circuitnn.report.page.render_report", lambda *_: "<!DOCTYPE html>")


def test_a_run_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    result = example_result()
    save_run(result, tmp_path / "deep" / "run", Settings(sources=SOURCES))
    run = load_run(tmp_path / "deep" / "run")
    assert run.values == result.values
    assert run.stderr == result.stderr
    assert (run.sample_rate, run.oversample, run.input_level) == (44100.0, 4, 2.0)
    assert run.delay == 4.25
    assert run.gain == pytest.approx(-0.6)
    assert [recording.length_difference for recording in run.recordings] == [100, 50]
    assert float(run.circuit.element("R1").value) == 2345.6
    assert float(run.circuit.parameters["drive"]) == 0.75


def test_a_run_directory_holds_what_a_person_needs_and_nothing_half_written(tmp_path: Path) -> None:
    save_run(example_result(), tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "run.json", "fitted.cir", "nominal.cir", "report.html", "wet_0.wav", "wet_1.wav", "target_0.wav",
        "target_1.wav",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert float(read_netlist(tmp_path / "run" / "nominal.cir").element("R1").value) == 2200.0
    samples, rate = read_wav(tmp_path / "run" / "wet_0.wav")
    assert rate == 44100
    np.testing.assert_allclose(samples, example_result().recordings[0].output, atol=1e-7)


def test_numbers_that_json_does_not_have_become_null(tmp_path: Path) -> None:
    save_run(example_result(stderr={"R1": float("nan"), "C1": 1e-10, "drive": float("inf")}), tmp_path / "run")
    text = (tmp_path / "run" / "run.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert load_run(tmp_path / "run").stderr == {"R1": None, "C1": 1e-10, "drive": None}
    assert finite({"a": [float("nan"), (1.0, float("-inf"))]}) == {"a": [None, [1.0, None]]}


def test_a_run_is_replaced_but_anything_else_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    save_run(example_result(), folder)
    (folder / "stale.txt").write_text("from the first run")
    save_run(example_result(esr=1e-5), folder)
    assert load_run(folder).esr == 1e-5
    assert not (folder / "stale.txt").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("years of work")
    with pytest.raises(OutputError, match="something else than a run"):
        save_run(example_result(), other)
    assert [path.name for path in other.iterdir()] == ["chapter.tex"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "thesis"]


def test_a_failure_while_writing_leaves_the_old_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    save_run(example_result(), folder)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("circuitnn.runs.write_wav", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_run(example_result(esr=1e-5), folder)
    assert load_run(folder).esr == 4e-4
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_place_that_cannot_be_written_is_found_without_leaving_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for target in (file, file / "run", Path("/proc/run")):
        with pytest.raises(OutputError, match=str(target)):
            check_target(target)
    check_target(tmp_path / "a" / "b" / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_default_folders_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder("ts808") == Path("runs/ts808")
    for name in ("ts808", "ts808-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert free_folder("ts808") == Path("runs/ts808-3")


def test_the_summary_is_json(tmp_path: Path) -> None:
    result = example_result()
    data = json.loads(json.dumps(summary(result)))
    assert data["values"] == result.values
    assert data["recordings"][0]["polarity"] == -1
    assert data["identifiability"]["undetermined"] == ["C1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "format: expected circuitnn-run"),
        ({"version": 99}, "version 99"),
        ({"version": "1"}, "version: expected an integer"),
        ({"values": [1, 2]}, "values: expected an object"),
        ({"values": {"R1": "much"}}, "values.R1: expected a number"),
        ({"esr": True}, "esr: expected a number"),
        ({"esr": None}, "esr: expected a number"),
        ({"sample_rate": 10**400}, "JSON|sample_rate"),
        ({"recordings": []}, "at least one recording"),
        ({"recordings": [3]}, "recordings: expected a list of objects"),
        ({"recordings": [{"name": "a", "gain": "x", "delay": 0}]}, r"recordings\[0\].gain: expected a number"),
        ({"reason": None}, "reason: expected a text"),
    ],
)
def test_a_broken_run_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    save_run(example_result(), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CircuitnnError, match=message) as caught:
        load_run(tmp_path / "run")
    assert "run.json" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '{"esr": NaN}', "\udc80", '{"version": 1' + "0" * 5000 + "}"]
)
def test_what_is_not_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CircuitnnError, match=r"run\.json"):
        load_run(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CircuitnnError, match="not a run"):
        load_run(tmp_path)
