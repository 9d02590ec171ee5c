"""Exports as netlists and model files, and where they are written."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import ngspice
import numpy as np
import pytest
import torch
from circuits import parse
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from test_runs import example_result

from circuitnn.circuit import Knob
from circuitnn.cli import main
from circuitnn.errors import CircuitnnError, OutputError
from circuitnn.exporting import TARGETS, export
from circuitnn.exporting.folders import MARK
from circuitnn.exporting.model_file import read_model, read_model_file
from circuitnn.exporting.sources import subject_of
from circuitnn.exporting.tracing import Program, depends, text_of
from circuitnn.fitting.pot_law import LearnedLaw
from circuitnn.learnables import coordinates
from circuitnn.mna import build_equations
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.operating_point import operating_point
from circuitnn.runs import save_run
from circuitnn.schemes import BDF2
from circuitnn.symbolic import NUMPY
from circuitnn.tapers import TAPERS, value_at
from circuitnn.values import resolve

NETLISTS = Path(__file__).parents[1] / "netlists"


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("circuitnn.report.page.render_report", lambda *_: "<!DOCTYPE html>")
    save_run(example_result(), tmp_path / "clipper")
    return tmp_path / "clipper"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_a_run_is_exported_with_its_values_and_calibration(run_folder: Path) -> None:
    subject = subject_of(run_folder)
    assert subject.name == "clipper"
    assert float(subject.circuit.element("R1").value) == 2345.6
    assert (subject.sample_rate, subject.oversample, subject.input_level) == (44100.0, 4, 2.0)
    assert subject.output_gain == pytest.approx(-0.6)
    of_result = subject_of(example_result())
    assert of_result.circuit.elements == subject.circuit.elements
    assert of_result.intervals == subject.intervals


def test_the_netlist_says_what_each_value_was_and_how_well_it_is_known(run_folder: Path, tmp_path: Path) -> None:
    export(run_folder, "spice", tmp_path / "out.cir")
    text = (tmp_path / "out.cir").read_text()
    # 1.96 standard errors of 20 ohm, symmetric in the logarithm.
    low, high = (2345.6 * math.exp(side * 1.96 * 20.0 / 2345.6) for side in (-1, 1))
    assert f"R1 in a 2.3456k ; nominal 2.2k -> fitted 2.346k (95 %: {low / 1e3:.4g}k to {high / 1e3:.4g}k)" in text
    assert re.search(r"^\.param drive=0\.75 ; nominal 0\.5 -> fitted 0\.75 \(95 %: 0\.729\d to 0\.769\d\)$", text, re.M)
    assert "D1 out 0 DS\n" in text
    assert read_netlist(tmp_path / "out.cir") == subject_of(run_folder).circuit


@pytest.mark.ngspice
def test_ngspice_runs_the_netlist(run_folder: Path, tmp_path: Path) -> None:
    export(run_folder, "spice", tmp_path / "out.cir")
    text = (tmp_path / "out.cir").read_text().replace("VIN in 0 DC 0", "VIN in 0 DC 2")
    printed = ngspice.run(text.replace(".end\n", ".control\nop\nprint v(out)\nquit\n.endc\n.end\n"), tmp_path)
    found = float(re.search(r"v\(out\) = (\S+)", printed)[1])
    circuit = subject_of(run_folder).circuit
    equations = build_equations(circuit)
    point = operating_point(equations, resolve(circuit, {}, NUMPY), circuit.temperature, inputs=[2.0])
    assert found == pytest.approx(point.z[equations.unknowns.index("v(out)")], rel=1e-6)


def test_a_value_that_nothing_is_known_of_has_the_whole_range_as_interval() -> None:
    (coordinate,) = coordinates(parse("V1 a 0 0\nR1 a 0 1k\n*@ input V1"), ["R1"])
    assert coordinate.interval(1e3, math.inf) == (0.0, math.inf)


@pytest.mark.parametrize("name", ["ts808", "bassman_5f6a", "moog_ladder", "rat", "push_pull_el84"])
def test_a_model_file_gives_back_the_model(name: str, tmp_path: Path) -> None:
    circuit = read_netlist(NETLISTS / f"{name}.cir")
    model = CircuitModel(circuit, 48000.0, 2, scheme=BDF2)
    export(model, "json", tmp_path / "model.json")
    back = read_model(tmp_path / "model.json")
    assert back.circuit == circuit
    assert (back.sample_rate, back.oversample, back.discrete.scheme) == (48000.0, 2, BDF2)
    assert [c.name for c in back.coordinates] == [c.name for c in model.coordinates]
    assert torch.equal(back.discrete.theta({}), model.discrete.theta({}))
    # And a file of what was read is the same file.
    export(tmp_path / "model.json", "json", tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "model.json").read_text()


def test_a_model_at_learned_values_is_exported_with_them(tmp_path: Path) -> None:
    model = CircuitModel(read_netlist(NETLISTS / "ts808_clipper.cir"))
    model.set_values({"R4": 5123.4567890123})
    export(model, "json", tmp_path / "model.json")
    assert read_model(tmp_path / "model.json").component_values()["R4"] == float(model.learned()["R4"].detach())


def test_laws_of_knobs_that_were_learned_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    law = "table(0:0 0.5:0.2 1:1)"
    model = CircuitModel(read_netlist(NETLISTS / "ts808_clipper.cir"))
    model.tapers["drive"] = law
    export(model, "json", tmp_path / "model.json")
    assert read_model(tmp_path / "model.json").tapers == {"drive": law}
    learned = LearnedLaw("drive", (0.0, 0.5, 1.0), (0.0, 0.2, 1.0), (0.0, 0.01, 0.0), law)
    result = example_result(laws=(learned,))
    monkeypatch.setattr("circuitnn.report.page.render_report", lambda *_: "<!DOCTYPE html>")
    save_run(result, tmp_path / "clipper")
    for source in (result, tmp_path / "clipper"):
        export(source, "spice", tmp_path / "out.cir")
        assert read_netlist(tmp_path / "out.cir").knobs == (Knob("drive", law),)


class Interpreter:
    """A model file run by numpy and the file alone: what another program would make of docs/model-file.md."""

    def __init__(self, data: dict[str, Any]) -> None:
        numbers = {name: np.array(value, dtype=float) for name, value in data["numbers"].items()}
        structure = data["structure"]
        n_x, n_n, n_u, n_y = (structure[key] for key in ("states", "ports", "inputs", "outputs"))
        rows = dict.fromkeys("ABC", n_x) | dict.fromkeys("DEF", n_y) | dict.fromkeys(("R_x", "R_u", "P", "Q"), n_n)
        columns = {"A": n_x, "D": n_x, "R_x": n_x, "B": n_u + 1, "E": n_u + 1, "R_u": n_u + 1}
        shapes = {name: (rows[name], columns.get(name, n_n)) for name in rows}
        self.m = {name: numbers[name].reshape(shape) for name, shape in shapes.items()}
        self.x, self.w, self.y = numbers["x"], numbers["w"], numbers["y"]
        self.free = data["equations"]["free"]
        laws = {law["name"]: law for law in data["laws"]}
        self.devices, at, port = [], 0, 0
        for device in structure["devices"]:
            law = laws[device["law"]]
            values = dict(zip(law["coefficients"], numbers["coefficients"][at:], strict=False))
            self.devices.append((law, values, slice(port, port + device["ports"])))
            at, port = at + len(law["coefficients"]), port + device["ports"]
        self.filter, self.factor = np.array(data["filter"]), data["oversample"]

    def ports(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        v, i = np.zeros(len(w)), np.zeros(len(w))
        functions = {
            "limited_exp": lambda x: np.exp(min(x, 80.0)) * (1.0 + max(x - 80.0, 0.0)), "exp": np.exp, "log": np.log
        }  # fmt: skip
        for law, values, ports in self.devices:
            names = functions | values | dict(zip(law["variables"], w[ports], strict=True))
            v[ports] = [eval(text, {"__builtins__": {}}, names) for text in law["voltages"]]
            i[ports] = [eval(text, {"__builtins__": {}}, names) for text in law["currents"]]
        return v, i

    def step(self, u: np.ndarray) -> np.ndarray:
        m, u = self.m, np.append(u, 1.0)
        right = m["R_x"] @ self.x + m["R_u"] @ u

        def residual(w: np.ndarray) -> np.ndarray:
            v, i = self.ports(w)
            return m["P"] @ v + m["Q"] @ i - right

        for _ in range(30):
            value = residual(self.w)
            slopes = [(residual(self.w + 1e-7 * row) - value) / 1e-7 for row in np.eye(len(self.w))]
            change = np.linalg.solve(np.transpose(slopes), value) if len(value) else value
            self.w = self.w - np.clip(change, -0.1, 0.1)
            if np.abs(change).max(initial=0.0) < 1e-12:
                break
        f = np.concatenate(self.ports(self.w))[self.free]
        y = m["D"] @ self.x + m["E"] @ u + m["F"] @ f
        self.x = m["A"] @ self.x + m["B"] @ u + m["C"] @ f
        return y

    def run(self, u: np.ndarray) -> np.ndarray:
        """u [time] -> y [time], both at the base rate, of a circuit whose output rests at 0."""
        spread = np.zeros(len(u) * self.factor)
        spread[:: self.factor] = self.factor * u
        high = np.convolve(spread, self.filter)[: len(spread)]
        made = np.array([self.step(sample)[0] for sample in high[:, None]])
        return np.convolve(made, self.filter)[: len(made)][:: self.factor]


@pytest.mark.parametrize("name", ["fmv_tone_stack", "ts808_clipper", "series_diode_clipper"])
def test_a_model_file_is_enough_to_run_it(name: str, tmp_path: Path) -> None:
    model = CircuitModel(read_netlist(NETLISTS / f"{name}.cir"), 48000.0, 2, [])
    export(model, "json", tmp_path / "model.json")
    u = 0.3 * np.sin(0.05 * np.arange(300))
    with torch.no_grad():
        expected = model(torch.as_tensor(u)[None, :, None])[0][0, :, 0].numpy()
    data = json.loads((tmp_path / "model.json").read_text())
    assert data["latency"] == model.latency
    found = Interpreter(data).run(u)
    assert np.abs(found - expected).max() < 1e-8 * np.abs(expected).max()


def test_damaged_model_files_are_refused_readably(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    export(NETLISTS / "rc_lowpass.cir", "json", path)
    good = json.loads(path.read_text())

    def refused(change: dict[str, Any], match: str) -> None:
        path.write_text(json.dumps(good | change))
        with pytest.raises(CircuitnnError, match=match):
            read_model_file(path)

    refused({"format": "something"}, "format: expected circuitnn-model")
    refused({"version": 99}, "install a newer circuitnn")
    refused({"netlist": "R1"}, "netlist: expected a list of texts")
    refused({"netlist": ["t", "R1 a"]}, "R1")
    refused({"oversample": 3}, "oversample: expected one of")
    refused({"scheme": "magic"}, "scheme: expected one of")
    refused({"sample_rate": "44100"}, "sample_rate: expected a number")
    refused({"sample_rate": 48000.0}, "numbers.A are not those that the netlist in the file gives")
    refused({"numbers": good["numbers"] | {"A": [[True]]}}, "numbers.A: expected a list of lists of numbers")
    refused({"numbers": good["numbers"] | {"B": []}}, "numbers.B are not those")
    refused({"calibration": []}, "calibration: expected an object")
    path.write_text("{" * 100_000)
    with pytest.raises(CircuitnnError, match="not valid JSON"):
        read_model_file(path)


def test_nothing_of_somebody_else_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "song.wav").write_bytes(b"music")
    result = command(NETLISTS / "rc_lowpass.cir", "--to", "cpp", "--out", folder)
    assert result.exit_code == 2
    assert "holds something else than an export" in result.stderr
    assert (folder / "song.wav").read_bytes() == b"music"
    with pytest.raises(OutputError, match="expected a folder, found a file"):
        export(NETLISTS / "rc_lowpass.cir", "cpp", folder / "song.wav")
    with pytest.raises(OutputError, match="expected a file to write, found a folder"):
        export(NETLISTS / "rc_lowpass.cir", "json", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_earlier_export_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(NETLISTS / "rc_lowpass.cir", "cpp", folder)
    (folder / "old.txt").touch()
    assert command(NETLISTS / "diode_clipper.cir", "--to", "cpp", "--out", folder).exit_code == 0
    names = {path.name for path in folder.iterdir()}
    assert {"diode_clipper.hpp", "main.cpp", "README.md", "processor.hpp", MARK} <= names
    assert not names & {"old.txt", "rc_lowpass.hpp", "adjoint.hpp", "gradients.hpp"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_takes_settings(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.json"
    options = (
        "--set",
        "R1=1k",
        "--set",
        "drive=0.1",
        "--input-level",
        "3",
        "--oversample",
        "8",
        "--sample-rate",
        "96000",
    )
    assert command(run_folder, "--to", "json", "--out", out, *options).exit_code == 0
    subject = read_model_file(out)
    assert float(subject.circuit.element("R1").value) == 1000.0
    assert float(subject.circuit.parameters["drive"]) == 0.1
    assert (subject.input_level, subject.oversample, subject.sample_rate) == (3.0, 8, 96000.0)
    assert command(run_folder, "--to", "spice", "--out", tmp_path / "set.cir", *options[:2]).exit_code == 0
    text = (tmp_path / "set.cir").read_text()
    assert "R1 in a 1k ; nominal 2.2k\n" in text
    assert "C1 out 0 11n ; nominal 10n -> fitted 11n" in text
    result = command(run_folder, "--to", "cpp", "--out", tmp_path / "x", "--oversample", "16")
    assert result.exit_code == 2
    assert "oversample 16 is not one of 1, 2, 4, 8" in result.stderr
    assert command(tmp_path / "nowhere", "--to", "json", "--out", out).exit_code == 2


def test_there_is_no_other_target(tmp_path: Path) -> None:
    with pytest.raises(CircuitnnError, match=f"targets: {', '.join(TARGETS)}"):
        export(NETLISTS / "rc_lowpass.cir", "vst", tmp_path / "x")


@given(st.floats(0.0, 1.0), st.sampled_from(sorted(TAPERS)))
def test_a_traced_computation_is_the_computation(position: float, taper: str) -> None:
    """Its text, which Python can read as well but for C's choices, gives what the numbers give."""
    program = Program()
    x = program.variable("x", ["x"])

    def compute(p: Any) -> Any:
        value = value_at(taper, p, NUMPY)
        choice = 1.5 * value**2 * (value > 0.3) + 1.0 / (1.0 + value)
        return choice + np.maximum(0.2, -value) ** 0.5 + np.clip(value, 0.1, 0.6)

    traced = compute(x)
    assert depends(traced, ["x"])
    names = {"pow": pow, "exp": math.exp, "log": math.log, "cos": math.cos, "fmax": max, "fmin": min, "x": position}
    for statement in program.statements:
        name, formula = statement.removeprefix("const double ").removesuffix(";").split(" = ")
        names[name] = eval(formula, {}, names)
    assert eval(text_of(traced), {}, names) == pytest.approx(float(compute(position)), rel=1e-14)
