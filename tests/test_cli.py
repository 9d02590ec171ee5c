"""The commands from outside: what they print, write and return."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner, Result

from circuitnn.audio import Recording
from circuitnn.cli import main
from circuitnn.cli.settings import apply_settings
from circuitnn.errors import CircuitnnError
from circuitnn.evaluation import evaluate
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist, read_netlist
from circuitnn.rendering import render
from circuitnn.runs import load_run

RECOVERY = Path(__file__).parent / "reference" / "recovery"
DRY = RECOVERY / "dry.wav"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def data(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def trimmed(path: Path, source: Path, begin: int, end: int, gain: float = 1.0) -> Path:
    samples, rate = soundfile.read(source)
    soundfile.write(path, gain * samples[begin:end], rate, subtype="FLOAT")
    return path


def test_inspect_as_json(netlists: Path) -> None:
    found = data(run("inspect", netlists / "ts808.cir", "--json"))
    assert found.keys() == {
        "title", "nodes", "states", "ports", "inputs", "outputs", "knobs", "learnable", "operating_point", "supplies",
        "devices", "networks", "response", "unused_parameters", "notes",
    }  # fmt: skip
    assert set(found["knobs"]) == {"drive", "tone", "level"}
    assert found["learnable"]["R4"] == {"nominal": 4700.0, "unit": "Ω", "tolerance": 0.05}
    assert set(found["operating_point"]) == set(found["nodes"])
    assert found["operating_point"]["bias"] == pytest.approx(4.5)
    assert any(".op" in note for note in found["notes"])
    assert found["supplies"]["VBIAS"]["voltage"] == 4.5
    assert found["supplies"]["VCC"]["power"] == pytest.approx(9.0 * found["supplies"]["VCC"]["current"])
    assert set(found["devices"]) == {"Q1", "Q2", "D1|D2"}
    assert set(found["devices"]["Q1"]) == {"voltage", "current", "power", "terminals", "controls"}
    assert found["response"]["frequency"] == [20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000]
    assert np.shape(found["response"]["gain_db"]) == np.shape(found["response"]["group_delay"]) == (10, 1, 1)


def test_every_analysis_as_json(netlists: Path) -> None:
    options = ("--json", "--show", "all", "--range", "100:10k", "--points", 3)
    found = data(run("inspect", netlists / "ts808.cir", *options))
    frequencies = [100.0, pytest.approx(1e3), pytest.approx(1e4)]
    for name in ("response", "impedances", "sweeps", "sensitivities"):
        assert found[name]["frequency"] == frequencies
    assert {"R4", "Q1", "D1|D2", "VCC"} <= set(found["elements"])
    assert set(found["impedances"]["inputs"]["VIN"]) == {"ohm", "phase_degrees"}
    assert len(found["impedances"]["outputs"]["out"]["ohm"]) == 3
    assert set(found["sweeps"]["knobs"]) == {"drive", "tone", "level"}
    drive = found["sweeps"]["knobs"]["drive"]
    assert drive["positions"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    # The knob stands at 0.5.
    np.testing.assert_allclose(drive["gain_db"][2], found["response"]["gain_db"], rtol=1e-9)
    assert np.shape(found["sensitivities"]["db_for_10_percent"]["C3"]) == (3, 1, 1)
    assert len(found["poles"]) == 9
    assert set(found["poles"][0]) == {"frequency", "q", "oscillates"}
    assert found["transfer"] == found["formula"] == {}


def test_a_formula_and_a_transfer_curve_as_json(netlists: Path) -> None:
    found = data(run("inspect", netlists / "rc_lowpass.cir", "--json", "--show", "formula"))
    assert found["formula"] == {
        "VIN to out": {
            "numerator": ["1"],
            "denominator": ["1", "C1*R1"],
            "numerator_values": [1.0],
            "denominator_values": [1.0, pytest.approx(1e-4)],
        }
    }
    found = data(run("inspect", netlists / "diode_clipper.cir", "--json", "--show", "transfer"))
    assert set(found["transfer"]["VIN"]) == {"input", "output"}
    assert found["transfer"]["VIN"]["output"][-1][0] == pytest.approx(0.6, abs=0.05)


def test_inspect_at_another_setting(netlists: Path) -> None:
    path = netlists / "ts808.cir"
    turned = data(run("inspect", path, "--json", "--set", "drive=1", "--set", "r4=2.35k", "--show", "sweeps"))
    assert turned["knobs"]["drive"]["position"] == 1.0
    assert turned["learnable"]["R4"]["nominal"] == 2350.0
    np.testing.assert_allclose(turned["sweeps"]["knobs"]["drive"]["gain_db"][4], turned["response"]["gain_db"])
    plain = data(run("inspect", path, "--json"))
    assert turned["response"]["gain_db"][5][0][0] > plain["response"]["gain_db"][5][0][0] + 15.0


def test_inspect_for_people(netlists: Path, tmp_path: Path) -> None:
    result = run("inspect", netlists / "ts808.cir", "--plot", tmp_path / "plot.png")
    assert result.exit_code == 0
    for text in ("Tube Screamer", "4.7 kΩ", "whole travel", "1 kHz", "█", ".op skipped", "VCC", "v(b1,e1)", "sees"):
        assert text in result.stdout
    assert (tmp_path / "plot.png").exists()


def test_every_analysis_for_people(netlists: Path) -> None:
    shown = run("inspect", netlists / "ts808.cir", "--show", "all").stdout
    for text in ("seen by VIN", "knob tone", "10 % more", "pole", "no transfer curve", "no formula", "RLOAD"):
        assert text in shown
    assert "C1*R1" in run("inspect", netlists / "rc_lowpass.cir", "--show", "formula").stdout
    assert "-5 V" in run("inspect", netlists / "diode_clipper.cir", "--show", "transfer").stdout
    only = run("inspect", netlists / "ts808.cir", "--show", "poles").stdout
    assert "pole" in only
    assert "knob tone" not in only


def test_inspect_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "bare.cir"
    path.write_text("bare\nV1 a 0 1\nR1 a 0 1k\n.end\n")
    result = run("inspect", path)
    assert result.exit_code == 0
    assert "*@ input" in result.stdout
    assert "*@ output" in result.stdout
    assert data(run("inspect", path, "--json"))["operating_point"] == {"a": 1.0}


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "escape.cir"
    path.write_text("title \x1b[2J\nV1 a 0 1\nR1 a 0 1k\n.end\n")
    assert "\x1b" not in run("inspect", path).stdout


def test_simulate_agrees_with_ngspice(netlists: Path, tmp_path: Path) -> None:
    truth = json.loads((RECOVERY / "truth.json").read_text())["netlists"]["diode_clipper"]
    settings = [part for name, value in truth["values"].items() for part in ("--set", f"{name}={value}")]
    wet = tmp_path / "wet.wav"
    result = run("simulate", netlists / "diode_clipper.cir", DRY, wet, "--input-level", truth["input_peak"], *settings)
    assert result.exit_code == 0, result.stderr
    assert "peak" in result.stdout
    assert soundfile.info(wet).subtype == "FLOAT"
    target, output = soundfile.read(RECOVERY / "diode_clipper.wav")[0], soundfile.read(wet)[0]
    assert np.sum((output - target) ** 2) < 1e-4 * np.sum(target**2)
    assert [path.name for path in tmp_path.iterdir()] == ["wet.wav"]


@pytest.mark.parametrize("oversample", [1, 4])
def test_chunks_make_no_difference(netlists: Path, oversample: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CircuitModel(read_netlist(netlists / "diode_clipper.cir"), 44100, oversample, learn=[])
    signal_in = soundfile.read(DRY)[0][:3000]
    whole = model.render(torch.as_tensor(2.0 * signal_in)[None, :, None])[0, :, 0].detach().numpy()
    for seconds in (0.001, 0.02, 5.0):
        monkeypatch.setattr("circuitnn.rendering.CHUNK_SECONDS", seconds)
        np.testing.assert_allclose(render(model, signal_in, 2.0).output, whole, atol=1e-9)


def test_simulate_warns_above_full_scale(netlists: Path, tmp_path: Path) -> None:
    dry = trimmed(tmp_path / "dry.wav", DRY, 0, 4410)
    result = run("simulate", netlists / "rc_lowpass.cir", dry, tmp_path / "wet.wav", "--output-gain", -9)
    assert result.exit_code == 0
    assert "exceeds digital full scale" in result.stderr
    assert "--output-gain -" in result.stderr


def test_knobs_are_set_by_position() -> None:
    netlist = (
        "k\n*@ input Vin\n*@ output out\n*@ knob drive 0.5 taper=log\nVin in 0 0\n"
        "R1 in out {1k+drive*1k}\nC1 out 0 1n\n.param drive=0.1\n.end\n"
    )
    circuit, names = apply_settings(parse_netlist(netlist), ["DRIVE=0.25", "c1=4n7"])
    assert names == ("drive", "C1")
    assert float(circuit.parameters["drive"]) == pytest.approx((81**0.25 - 1) / 80)
    assert float(circuit.element("C1").value) == pytest.approx(4.7e-9)
    for setting, message in (
        ("drive=2", "from 0 to 1"), ("drive", "NAME=VALUE"), ("driv=0.5", "drive"), ("C1=0", "above 0"),
        ("C1=x", "number"), ("R1=1k", "formula"),
    ):  # fmt: skip
        with pytest.raises(CircuitnnError, match=message):
            apply_settings(parse_netlist(netlist), [setting])
    with pytest.raises(CircuitnnError, match="twice"):
        apply_settings(parse_netlist(netlist), ["C1=1n", "c1=2n"])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A fit of the diode clipper, with its C1 fixed at the truth."""
    netlist = Path(__file__).parents[1] / "netlists" / "diode_clipper.cir"
    folder = tmp_path_factory.mktemp("fit") / "run"
    result = run(
        "fit", netlist, DRY, RECOVERY / "diode_clipper.wav", "--set", "C1=9.43768n", "--input-level", 3,
        "--out", folder, "--json",
    )  # fmt: skip
    return folder, data(result)


def test_fit_finds_the_values(fitted: tuple[Path, dict[str, Any]]) -> None:
    folder, found = fitted
    assert {"values", "stderr", "esr", "esr_gain_free", "seconds"} <= found.keys()
    assert found["esr"] < 1e-5
    assert found["run"] == str(folder)
    assert set(found["values"]) == {"R1", "DCLIP.is", "DCLIP.n"}
    assert found["values"]["R1"] == pytest.approx(2590.31, rel=0.02)
    fitted_circuit = load_run(folder).circuit
    assert float(fitted_circuit.element("C1").value) == pytest.approx(9.43768e-9)
    assert float(fitted_circuit.element("R1").value) == pytest.approx(found["values"]["R1"], rel=1e-9)


def test_evaluate_repeats_what_the_fit_found(fitted: tuple[Path, dict[str, Any]]) -> None:
    folder, found = fitted
    metrics = data(run("evaluate", folder, DRY, RECOVERY / "diode_clipper.wav", "--json"))
    assert {"esr", "esr_gain_free", "esr_preemphasis", "mae", "mr_stft", "real_time_factor"} <= metrics.keys()
    assert metrics["esr"] == pytest.approx(found["esr"], rel=1e-3, abs=1e-9)
    assert metrics["real_time_factor"] > 0
    assert len(metrics["recordings"]) == 1


def test_evaluate_pools_recordings_and_doubts_other_cuts(fitted: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = fitted
    dry = trimmed(tmp_path / "dry.wav", DRY, 0, 22050)
    wet = trimmed(tmp_path / "wet.wav", RECOVERY / "diode_clipper.wav", 0, 22000, gain=0.5)
    result = run("evaluate", folder, dry, wet, DRY, RECOVERY / "diode_clipper.wav")
    assert result.exit_code == 0, result.stderr
    assert "dry is 50 samples longer than wet" in result.stderr
    assert "all" in result.stdout
    result = run("evaluate", folder, dry, wet, DRY, RECOVERY / "diode_clipper.wav", "--json")
    first, second = data(result)["recordings"]
    assert first["esr"] == pytest.approx(1.0, rel=0.1)
    assert first["esr_gain_free"] < 1e-4
    assert second["esr"] < data(result)["esr"] < first["esr"]


def test_fit_for_people(netlists: Path, tmp_path: Path) -> None:
    result = run(
        "fit", netlists / "rc_lowpass.cir", DRY, RECOVERY / "rc_lowpass.wav", "--input-level", 1, "--learn", "r1",
        "--max-iterations", 3, "--out", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    for text in ("error-to-signal ratio", "R1", "10 kΩ", "rc_lowpass.wav", "as played", "V at digital full scale"):
        assert text in result.stdout
    assert "iteration 0" in result.stderr


def test_what_is_set_cannot_be_learned(netlists: Path, tmp_path: Path) -> None:
    for options in (["--learn", "R1,C1", "--set", "R1=1k"], ["--set", "R1=1k", "--set", "C1=1n"]):
        result = run(
            "fit", netlists / "rc_lowpass.cir", DRY, RECOVERY / "rc_lowpass.wav", "--out", tmp_path / "run", *options
        )
        assert result.exit_code == 2
        assert "learn" in result.stderr
    assert not list(tmp_path.iterdir())


def test_evaluate_applies_level_gain_and_delay(netlists: Path) -> None:
    model = CircuitModel(read_netlist(netlists / "diode_clipper.cir"), 44100, 2, learn=[])
    dry = soundfile.read(DRY)[0][:8000]
    wet = np.concatenate([np.zeros(40), -0.5 * render(model, dry, 3.0).output])[:8000]
    recording = Recording(dry, wet, 44100)
    assert evaluate(model, recording, delay=40.0, level=3.0, gain=-0.5).esr < 1e-12
    assert evaluate(model, recording, delay=41.0, level=3.0, gain=-0.5).esr > 1e-3
    assert evaluate(model, recording, delay=40.0, level=2.0, gain=-0.5).esr_gain_free > 1e-5
    inverted = evaluate(model, recording, delay=40.0, level=3.0, gain=0.5)
    assert inverted.esr == pytest.approx(4.0)
    assert inverted.esr_gain_free < 1e-12


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "circuitnn.cli", *map(str, arguments)]


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_leaves_a_complete_run(netlists: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("fit", netlists / "ts808_clipper.cir", DRY, RECOVERY / "ts808_clipper.wav", "--out", tmp_path / "run"),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        # Where the tests run in a shell's background, children ignore the signal otherwise.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "iteration 0" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Interrupted" in out
    assert "Traceback" not in err
    assert load_run(tmp_path / "run").reason == "interrupted"
    assert "Interrupted" in (tmp_path / "run" / "report.html").read_text()


def test_the_program_ends_in_one_line_and_code_2(tmp_path: Path) -> None:
    done = subprocess.run(command("inspect", tmp_path / "none.cir"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "none.cir" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="torch brings another OpenMP")
@pytest.mark.parametrize("stated", [None, "active"])
def test_threads_that_wait_sleep_unless_somebody_wants_otherwise(netlists: Path, stated: str | None) -> None:
    """OpenMP says by itself what it has read when torch was loaded."""
    code = (
        "from circuitnn.cli import main\n"
        f"main(['inspect', {str(netlists / 'fmv_tone_stack.cir')!r}, '--json'], standalone_mode=False)\n"
        "import torch"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "verbose"} | ({"OMP_WAIT_POLICY": stated} if stated else {})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    (spins,) = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    assert (spins == "0") == (stated is None)


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from circuitnn.cli import main; main(['fit', '--help'], standalone_mode=False); "
        "sys.exit(' '.join({'torch', 'scipy', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
