"""Circuits, networks and renderings in one table."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from network_files import random

from circuitnn import Chain, CircuitModel, CircuitnnError, Recording, export, fit, parse_netlist
from circuitnn.audio import Signal, write_wav
from circuitnn.cli import main
from circuitnn.comparison import METRICS, as_data, at_rate, check_run, data_efficiency, of_rendering, of_run, told_apart
from circuitnn.evaluation import evaluate, evaluate_saved
from circuitnn.exporting.deployed import deployed
from circuitnn.formats import SavedNetwork, network_at
from circuitnn.models.architectures import build_network
from circuitnn.models.layer_chain import Layer, LayerChain
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.network_runs import save_network
from circuitnn.playable import converted, stepped
from circuitnn.rendering import Rendering, render
from circuitnn.report.comparison_figures import efficiency
from circuitnn.report.comparison_page import render_comparison
from circuitnn.runs import load_run
from circuitnn.session import read_session
from circuitnn.training import PRESETS, train

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 11025
NETLIST = "rc\n*@ input Vin\n*@ output out\n*@ learn C1\nVin in 0 0\nR1 in out 1k\nC1 out 0 47n\n"


@pytest.fixture(scope="module")
def recording() -> Recording:
    rng = np.random.default_rng(0)
    dry = 0.2 * np.convolve(rng.standard_normal(RATE), np.ones(4) / 4.0, "same")
    device = CircuitModel(parse_netlist(NETLIST), RATE, oversample=1, learn=[])
    with torch.no_grad():
        wet = device(torch.as_tensor(dry)[None, :, None])[0][0, :, 0].numpy()
    wet += 1e-5 * rng.standard_normal(len(wet))
    return Recording(dry, wet, RATE, name="wet.wav", delay=0.0)


@pytest.fixture(scope="module")
def runs(recording: Recording, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    model = CircuitModel(parse_netlist(NETLIST.replace("47n", "40n")), RATE, oversample=1)
    fit(model, [recording], input_level=1.0).save(folder / "circuit")
    preset = replace(PRESETS["quick"], epochs=2, segment=0.25)
    trained = train("wiener-hammerstein", [recording], preset=preset)
    save_network(trained, folder / "network", preset, 0)
    return folder / "circuit", folder / "network"


def test_the_command_puts_the_best_first(runs: tuple[Path, Path], recording: Recording, tmp_path: Path) -> None:
    write_wav(tmp_path / "dry.wav", recording.dry, RATE)
    write_wav(tmp_path / "wet.wav", recording.wet, RATE)
    write_wav(tmp_path / "half.wav", 0.5 * recording.wet, RATE)
    out = tmp_path / "report"
    words = ["compare", *map(str, reversed(runs)), "--on", str(tmp_path / "dry.wav"), str(tmp_path / "wet.wav")]
    words += ["--reference", f"<half>={tmp_path / 'half.wav'}", "--other-rate", "16000", "--out", str(out), "--json"]
    (tmp_path / "device.cir").write_text(NETLIST)
    words += ["--truth", str(tmp_path / "device.cir")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads((out / "comparison.json").read_text())
    rows = {row["name"]: row for row in told["models"]}
    assert told["models"][0]["name"] == "circuit"
    assert rows["circuit"]["parameters"] == 1
    assert rows["circuit"]["audio_seconds"] == pytest.approx(1.0, abs=0.01)
    assert rows["circuit"]["runs_as"] == rows["network"]["runs_as"] == "exported C++"
    # The same circuit at another rate: the trapezoidal rule warps 3.4 kHz by 31 % at one and by 15 % at the other.
    assert 1e-6 < rows["circuit"]["other_rate_esr"] < 0.01
    # Between converters it is what it was; 11 kHz hold all that the recording has.
    assert rows["circuit"]["other_rate_converted_esr"] < 1e-5
    # An RC low-pass of 3.4 kHz: its gain, no harmonics, no aliases, a straight curve.
    swept = rows["circuit"]["harmonics"]
    middle = [k for k, f in enumerate(swept["frequencies"]) if 100.0 < f < 1500.0]
    for k in middle:
        gain = 1.0 / abs(1.0 + 2j * np.pi * swept["frequencies"][k] * 47e-6)
        assert swept["amplitudes"][0][k] == pytest.approx(gain, rel=0.03)
        assert swept["amplitudes"][1][k] is None or swept["amplitudes"][1][k] < 1e-3
    # The device is simulated finely, the fit is not: it warps what lies high.
    assert 1e-3 < rows["circuit"]["spectral_difference"] < 1.0
    assert rows["circuit"]["harmonic_difference"] < 0.01
    assert all(tone["ratio"] < -150.0 for tone in rows["circuit"]["aliasing"].values())
    curve = rows["circuit"]["transfer_curve"]
    ratios = np.array(curve["outputs"]) / np.array(curve["inputs"])
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-3)
    assert rows["circuit"]["esr"] < 1e-6
    assert rows["network"]["parameters"] == 117
    assert rows["<half>"]["esr"] == pytest.approx(0.25, rel=1e-5)
    assert rows["<half>"]["esr_gain_free"] < 1e-12
    assert rows["<half>"]["loudness_difference"] == pytest.approx(20.0 * np.log10(2.0), abs=1e-6)
    assert rows["<half>"]["mushra_prediction"] == 100.0
    for key in ("real_time_factor", "aliasing", "audio_seconds", "other_rate_esr", "other_rate_converted_esr"):
        assert rows["<half>"][key] is None
    page = (out / "comparison.html").read_text()
    assert "&lt;half&gt;" in page
    assert "<half>" not in page
    # Once more: a comparison may be replaced, something else may not.
    assert CliRunner().invoke(main, words).exit_code == 0
    words[words.index(str(out))] = str(tmp_path)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "something else than a comparison" in done.stderr


def test_a_row_is_what_evaluate_says(runs: tuple[Path, Path], recording: Recording) -> None:
    """Of the exported C++, which is the model up to the last digits."""
    row = of_run(runs[0], [recording])
    run, exported = load_run(runs[0]), deployed(runs[0])
    model = CircuitModel(run.circuit, run.sample_rate, run.oversample, learn=[])
    found = evaluate(
        model, recording, run.delay, run.input_level, run.gain, lambda dry: exported.render(dry, {}, run.input_level)
    )
    for key in set(METRICS) & {field.name for field in fields(found)}:
        assert row.metrics[key] == pytest.approx(abs(getattr(found, key)), rel=1e-9, abs=1e-15)
    assert as_data([row])[0]["kind"] == "circuit"
    again = evaluate(model, recording, run.delay, run.input_level, run.gain)
    np.testing.assert_allclose(found.output, again.output, rtol=0.0, atol=1e-9 * np.abs(again.output).max())
    assert row.runs_as == "exported C++"


def test_what_has_no_cpp_is_played_by_torch_and_the_table_says_so(
    runs: tuple[Path, Path], recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = [at_rate(recording, 16000)]
    exported = of_run(runs[1], [recording], elsewhere)
    assert exported.runs_as == "exported C++"
    # With a layer behind it that changes nothing, of a kind that has no C++, a run's network sounds like it.
    saved = network_at(runs[1])
    assert saved is not None
    nothing = LayerChain([Layer("dense", 1, bias=False)])
    torch.nn.init.ones_(next(nothing.parameters()))
    export(replace(saved, network=Chain(saved.network, nothing), name="chain"), "json", tmp_path / "chain.json")
    chained = of_run(tmp_path / "chain.json", [recording], elsewhere)
    assert chained.runs_as == "torch"
    monkeypatch.setattr("circuitnn.playable.find_compiler", lambda: None)
    without = of_run(runs[1], [recording], elsewhere)
    assert without.runs_as == "torch (no compiler)"
    for one in (chained, without):
        # Single precision, summed up in another order.
        assert one.metrics["esr"] == pytest.approx(exported.metrics["esr"], rel=1e-4)
        assert one.other_rate is not None
        assert exported.other_rate is not None
        assert one.other_rate.esr == pytest.approx(exported.other_rate.esr, rel=1e-4)
        # Both convert, with filters of their own.
        assert one.other_rate.converted_esr == pytest.approx(exported.other_rate.converted_esr, rel=0.02)
        assert one.probed is not None
        assert exported.probed is not None
        expected = exported.probed.harmonics.amplitudes[0]
        np.testing.assert_allclose(one.probed.harmonics.amplitudes[0], expected, rtol=1e-3)
        assert not np.array_equal(one.evaluations[0].output, exported.evaluations[0].output)


def test_a_chain_that_is_late_is_judged_on_time_by_whatever_plays_it(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network has a delay beside its latency; what plays it takes the latency out."""
    chain = Chain(random(Recurrent("gru", 4)), CircuitModel(parse_netlist(NETLIST), RATE, oversample=2))
    assert chain.latency > 0
    late = 3
    with torch.no_grad():
        y = chain(torch.as_tensor(recording.dry)[None, :, None])[0][0, :, 0].double().numpy()
    wet = np.concatenate([np.zeros(late), y[:-late]])
    device = replace(recording, wet=wet, delay=late + chain.latency)
    for saved in (late, None):
        export(SavedNetwork(chain, "gray", RATE, saved), "json", tmp_path / "gray.json")
        deployed = of_run(tmp_path / "gray.json", [device])
        with monkeypatch.context() as patch:
            patch.setattr("circuitnn.playable.find_compiler", lambda: None)
            played = of_run(tmp_path / "gray.json", [device])
        assert (deployed.runs_as, played.runs_as) == ("exported C++", "torch (no compiler)")
        for one in (deployed, played):
            assert one.metrics["esr"] is not None
            assert one.metrics["esr"] < 1e-10
        assert deployed.probed is not None
        assert played.probed is not None
        np.testing.assert_allclose(deployed.probed.transfer.outputs, played.probed.transfer.outputs, rtol=1e-3)


def test_a_network_hears_the_dry_from_its_first_sample_on(recording: Recording) -> None:
    """As a circuit does, also where the wet has nothing yet."""
    network = random(Recurrent("gru", 4))
    with torch.no_grad():
        y = network(torch.as_tensor(recording.dry)[None, :, None])[0][0, :, 0].double().numpy()
    early = 2000
    found, delay = evaluate_saved(SavedNetwork(network, "gru-4", RATE, -early), replace(recording, wet=y[early:]))
    assert delay == -early
    assert found.esr < 1e-12


def test_knobs_that_nobody_placed_stand_at_one_half(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = SavedNetwork(random(Recurrent("gru", 4, knob_names=("drive",))), "gru-4", float(RATE), 0.0)
    export(saved, "json", tmp_path / "gru.json")
    monkeypatch.setattr("circuitnn.playable.find_compiler", lambda: None)
    at = replace(recording, knobs={"drive": 0.5})
    assert check_run(tmp_path / "gru.json", [at, recording]) == ("drive",)
    assert check_run(tmp_path / "gru.json", [at]) == ()
    free = of_run(tmp_path / "gru.json", [recording])
    placed = of_run(tmp_path / "gru.json", [at])
    turned = of_run(tmp_path / "gru.json", [replace(recording, knobs={"drive": 0.9})])
    assert free.metrics["esr"] == placed.metrics["esr"] != turned.metrics["esr"]
    write_wav(tmp_path / "dry.wav", recording.dry, RATE)
    write_wav(tmp_path / "wet.wav", recording.wet, RATE)
    words = ["compare", tmp_path / "gru.json", "--on", tmp_path / "dry.wav", tmp_path / "wet.wav", "--json"]

    def told(*more: str) -> tuple[float, str]:
        done = CliRunner().invoke(main, [*map(str, words), "--out", str(tmp_path / "out"), *more])
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)["models"][0]["esr"], done.stderr

    esr, said = told()
    assert esr == pytest.approx(free.metrics["esr"], rel=1e-5)
    assert "nothing says where drive stood" in said
    esr, said = told("--set", "drive=0.9")
    assert esr == pytest.approx(turned.metrics["esr"], rel=1e-5)
    assert "drive" not in said


def test_parts_of_one_recording_train_and_judge(recording: Recording, tmp_path: Path) -> None:
    """Where a session cuts, the device is no later than elsewhere."""
    late = 30
    write_wav(tmp_path / "dry.wav", recording.dry, RATE)
    write_wav(tmp_path / "wet.wav", np.concatenate([np.zeros(late), recording.wet]), RATE)
    files = 'dry = "dry.wav"\nwet = "wet.wav"\n'
    entries = [files + "end = 0.25\n", files + "start = 0.25\nend = 0.6\n", files + 'start = 0.6\nrole = "held-out"\n']
    (tmp_path / "session.toml").write_text("".join(f"[[recording]]\n{entry}" for entry in entries))
    session = read_session(tmp_path / "session.toml")
    cut = [one.cut_off for one in session.recordings]
    assert cut[1] - cut[0] > 0.2 * RATE
    model = CircuitModel(parse_netlist(NETLIST.replace("47n", "40n")), RATE, oversample=1)
    fitted = fit(model, session.recordings, input_level=1.0)
    fitted.save(tmp_path / "circuit")
    preset = replace(PRESETS["quick"], epochs=5, segment=0.1)
    trained = train("wiener-hammerstein", session.recordings, preset=preset)
    save_network(trained, tmp_path / "network", preset, 0)
    assert [one.delay for one in fitted.recordings] == pytest.approx([late, late], abs=0.2)
    # Half a second too late or too early, it would be 1 and more.
    for run, of_training in (("circuit", fitted.esr), ("network", trained.esr)):
        esr = of_run(tmp_path / run, session.held_out).metrics["esr"]
        assert esr is not None
        assert esr < max(2.0 * of_training, 1e-4)


def test_a_stated_delay_that_is_not_the_runs_is_doubted(runs: tuple[Path, Path], recording: Recording) -> None:
    late = replace(recording, wet=np.concatenate([np.zeros(40), recording.wet]), delay=40.0)
    for run in runs:
        with pytest.warns(UserWarning, match=r"wet.wav is said to be late by 40 samples, but .* cut the wet"):
            of_run(run, [late])


def test_nothing_is_compared_with_silence(recording: Recording) -> None:
    wet = np.where(np.arange(len(recording.wet)) < 100, recording.wet, 0.0)
    silent = replace(recording, wet=wet, delay=500.0)
    with pytest.raises(CircuitnnError, match="the wet is silent where it overlaps with the dry"):
        evaluate_saved(SavedNetwork(random(Recurrent("gru", 4)), "gru-4", RATE, 500.0), silent)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reference", "theirs.wav"], "expected NAME=FILE.wav"),
        (["--reference", "=wet.wav"], "expected NAME=FILE.wav"),
        (["--reference", "a=wet.wav", "--reference", "a=wet.wav"], "expected different names"),
        (["--reference", "a=missing.wav"], "missing.wav: no such file"),
        (["missing"], "missing: no such file or folder"),
        (["--set", "drive=0.5"], "network: there is no knob 'drive', which stands at 0.5 in wet.wav"),
        (["--set", "drive=2"], "expected a position from 0 to 1, found '2'"),
        (["wet.wav"], "wet.wav: "),
        (["--out", "/proc/comparison"], "/proc/comparison cannot be written"),
    ],
)
def test_what_is_wrong_is_told_before_the_runs_are_evaluated(
    runs: tuple[Path, Path],
    recording: Recording,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav("dry.wav", recording.dry, RATE)
    write_wav("wet.wav", recording.wet, RATE)
    words = [str(runs[1]), "--on", "dry.wav", "wet.wav", "--out", "report", *words]
    done = CliRunner().invoke(main, ["compare", *words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "evaluating" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dry.wav", "wet.wav"]


def test_runs_on_different_amounts_of_audio_make_a_curve(runs: tuple[Path, Path], recording: Recording) -> None:
    row = of_run(runs[1], [recording])
    rows = [
        replace(row, audio_seconds=seconds, metrics=row.metrics | {"esr": error})
        for seconds, error in ((8.0, 0.1), (2.0, 0.4))
    ]
    assert data_efficiency([*rows, of_run(runs[0], [recording])]) == {"wiener-hammerstein": [(2.0, 0.4), (8.0, 0.1)]}
    # A model with more values is another one, although it is of the same kind.
    larger = [replace(one, parameters=999, metrics=one.metrics | {"esr": 0.01}) for one in rows]
    assert data_efficiency([*rows, larger[0]]) == {"wiener-hammerstein": [(2.0, 0.4), (8.0, 0.1)]}
    assert data_efficiency([*rows, *larger]) == {
        f"wiener-hammerstein, {row.parameters}": [(2.0, 0.4), (8.0, 0.1)],
        "wiener-hammerstein, 999": [(2.0, 0.01), (8.0, 0.01)],
    }
    page = render_comparison([*rows, row], [recording])
    assert "Error over training audio" in page
    assert "Error over training audio" not in render_comparison([row], [recording])


def test_no_curve_of_error_over_audio_is_left_out() -> None:
    names = [f"kind-{k}" for k in range(14)]
    figure = efficiency({name: [(1.0, 0.1 / (k + 1)), (8.0, 0.01 / (k + 1))] for k, name in enumerate(names)})
    assert all(f">{name}<" in figure for name in names)


def test_an_stn_changes_its_step_with_the_rate_and_others_do_not() -> None:
    network = StateTrajectoryNetwork(step=1.0)
    faster = stepped(network, 0.25)
    assert isinstance(faster, StateTrajectoryNetwork)
    assert (faster.step, network.step) == (0.25, 1.0)
    other = build_network("lstm-32")
    assert stepped(other, 0.25) is other


@pytest.mark.parametrize(
    ("outside", "inside", "samples"), [(16000, 11025, 4001), (11025, 16000, 4000), (8000, 8000, 7)]
)
def test_converters_keep_the_time_axis(outside: int, inside: int, samples: int) -> None:
    """What is in the middle of the band of both rates comes back where and as it was; the model sees its own rate."""
    seen = []

    def play(signal: Signal) -> Rendering:
        seen.append(len(signal))
        return Rendering(2.0 * signal, 3, 0.5)

    time = np.arange(samples) / outside
    signal = np.sin(2.0 * np.pi * 1000.0 * time) * np.sin(np.pi * time * outside / samples) ** 2
    found = converted(play, outside, inside)(signal)
    assert seen == [pytest.approx(samples * inside / outside, abs=1.0)]
    np.testing.assert_allclose(found.output, 2.0 * signal, atol=1e-4)
    assert (found.failures, found.seconds) == (3, 0.5)


def test_recordings_of_another_rate_judge_what_runs_there(
    runs: tuple[Path, Path], recording: Recording, tmp_path: Path
) -> None:
    """Of the device itself at that rate: a circuit finds it with its step, and loses what its own rate has no room for
    between converters."""
    rate = 3 * RATE
    device = CircuitModel(parse_netlist(NETLIST), rate, oversample=1, learn=[])
    dry = 0.2 * np.random.default_rng(2).standard_normal(rate)
    write_wav(tmp_path / "dry.wav", dry, rate)
    write_wav(tmp_path / "wet.wav", render(device, dry).output, rate)
    elsewhere = Recording.from_wav(tmp_path / "dry.wav", tmp_path / "wet.wav")
    row = of_run(runs[0], [recording], [elsewhere])
    assert row.other_rate is not None
    # The fit has the capacitor to some millionths.
    assert row.other_rate.esr is not None
    assert row.other_rate.esr < 1e-6
    # A third of the noise is below half of the lower rate; of an RC low-pass at 3.4 kHz that is most of the output.
    assert row.other_rate.converted_esr is not None
    corner = 1.0 / (2.0 * np.pi * 47e-6)
    lost = 1.0 - np.arctan(RATE / 2.0 / corner) / np.arctan(rate / 2.0 / corner)
    assert row.other_rate.converted_esr == pytest.approx(lost, rel=0.3)
    words = ["compare", str(runs[0]), "--on", str(tmp_path / "dry.wav"), str(tmp_path / "wet.wav"), "--also-on"]
    words += [
        str(tmp_path / "dry.wav"),
        str(tmp_path / "wet.wav"),
        "--other-rate",
        "16000",
        "--out",
        str(tmp_path / "x"),
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "--also-on and --other-rate say the same" in done.stderr


def test_a_circuit_is_judged_where_the_knobs_stand(tmp_path: Path, recording: Recording) -> None:
    knob = NETLIST.replace("*@ learn C1", "*@ knob gain 0.5\n.param gain=0.5\n*@ learn C1").replace(
        "1k", "{1k+9k*gain}"
    )
    device = CircuitModel(parse_netlist(knob), RATE, oversample=1)

    def at(position: float) -> Recording:
        wet = render(device, recording.dry, overrides=device.overrides({"gain": position})).output
        noise = 1e-5 * np.random.default_rng(1).standard_normal(len(wet))
        return replace(recording, wet=wet + noise, knobs={"gain": position})

    fit(CircuitModel(parse_netlist(knob), RATE, oversample=1), [at(0.5)], input_level=1.0).save(tmp_path / "run")
    for position in (0.1, 0.9):
        assert of_run(tmp_path / "run", [at(position)]).metrics["esr"] < 1e-6
    with pytest.raises(CircuitnnError, match="knob gain: expected a position from 0 to 1, found the label 'a'"):
        of_run(tmp_path / "run", [replace(at(0.5), knobs={"gain": "a"})])


def test_runs_of_one_name_are_told_apart(recording: Recording) -> None:
    rows = [of_rendering(name, recording.wet, recording) for name in ("lstm", "stn", "lstm")]
    assert [one.name for one in told_apart(rows, ["a/lstm", "a/stn", "b/lstm"])] == ["a/lstm", "stn", "b/lstm"]


def test_a_rendering_of_another_length_is_told(recording: Recording) -> None:
    with pytest.raises(CircuitnnError, match="time axis of the wet"):
        of_rendering("half", recording.wet[:-1], recording)
