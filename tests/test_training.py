"""Training: it learns, goes on after a kill as if nothing had been, and what it saves is read with care."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from scipy.signal import butter, lfilter

from circuitnn import CircuitnnError, Recording
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.errors import OutputError
from circuitnn.formats import read_network
from circuitnn.metrics import esr
from circuitnn.models.architectures import build_network
from circuitnn.models.iir import Biquad
from circuitnn.models.wiener_hammerstein import WienerHammerstein
from circuitnn.network_runs import WEIGHTS, save_network
from circuitnn.training import PRESETS, Preset, Trained, train
from circuitnn.training.data import ACCURACY, Batch, Shuffled, cut, delays_of, places, split, stacked, take
from circuitnn.training.least_squares import LeastSquares
from circuitnn.training.memory import kept_memory
from circuitnn.training.resuming import Kept
from circuitnn.training.starts import STARTS, best_start, cost_after_a_while, placed
from circuitnn.training.tangents import output_and_jacobian

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 8000
SHORT = Preset(epochs=3, patience=3, learning_rate=5e-3, batch=8, segment=0.25, warm_up=100, chunk=500)
SCRIPT = """
import os, signal, sys
import numpy as np, torch
from circuitnn import Recording
from circuitnn.training import Preset, train
torch.set_num_threads(1)
data = np.load(sys.argv[1])

def kill(epoch, error):
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

preset = Preset(epochs=3, patience=3, learning_rate=5e-3, batch=8, segment=0.25, warm_up=100, chunk=500)
train("lstm-32", [Recording(data[0], data[1], 8000, delay=5.0)], preset=preset, checkpoint=sys.argv[2], progress=kill)
"""


def recording(delay: int = 5, seconds: float = 3.0, drive: float = 3.0, **other: object) -> Recording:
    """A smooth clipper, late by `delay` samples."""
    count = round(seconds * RATE)
    dry = np.convolve(np.random.default_rng(0).standard_normal(count), np.ones(6) / 6.0, "same")
    wet = np.concatenate([np.zeros(delay), 0.5 * np.tanh(drive * dry)])[:count]
    return Recording(dry, wet, RATE, delay=float(delay), **other)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(one_thread: None) -> Trained:
    return train("lstm-32", [recording()], preset=SHORT)


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.network.state_dict()


def test_it_learns_a_clipper() -> None:
    found = train(
        "wiener-hammerstein", [recording()], preset=replace(SHORT, epochs=12, patience=12, learning_rate=0.02)
    )
    assert found.esr < 1e-4
    assert found.errors[0] > 2.0 * found.esr
    assert found.delay == 5.0
    assert found.audio_seconds == pytest.approx(2.25)


@pytest.mark.parametrize("sections", [(2, 1), (1, 0), (0, 2)])
def test_derivatives_of_blocks_are_those_of_backpropagation(sections: tuple[int, int]) -> None:
    torch.manual_seed(1)
    network = WienerHammerstein(sections, hidden=3, knob_names=("drive",)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    u, knobs = np.random.default_rng(0).standard_normal(30), np.array([0.3])
    y, found = output_and_jacobian(network, u, knobs)
    expected, _ = network(torch.as_tensor(u)[None, :, None], knobs={"drive": torch.tensor(0.3, dtype=torch.float64)})
    np.testing.assert_allclose(y, expected[0, :, 0].detach(), rtol=1e-12)
    for n in (0, 1, 7, 29):
        gradients = torch.autograd.grad(expected[0, n, 0], list(network.parameters()), retain_graph=True)
        np.testing.assert_allclose(
            found[:, n], torch.cat([part.flatten() for part in gradients]), rtol=1e-9, atol=1e-12
        )


def test_least_squares_find_the_model_that_made_the_data() -> None:
    """A filter, a clipper and a filter, of which every part is in the model's reach."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    dry = 0.3 * rng.standard_normal(RATE)
    wet = lfilter(*butter(2, 900.0, fs=RATE), np.tanh(4.0 * lfilter(*butter(1, 300.0, "high", fs=RATE), dry)))
    found = train(
        "wiener-hammerstein", [Recording(dry, wet, RATE, delay=0.0)], preset=replace(SHORT, epochs=20, patience=20)
    )
    assert found.esr < 1e-4


def test_least_squares_begin_with_a_high_pass_at_the_targets_level() -> None:
    dry = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dry /= torch.sqrt(torch.mean(dry**2))
    pieces = Batch(0.02 * dry, 0.3 * dry, torch.zeros(3, 0), torch.zeros(3, 4000, 0))
    torch.manual_seed(0)
    network = WienerHammerstein()
    first = placed(network, pieces, 700.0, 10.0, RATE).before[0]
    assert isinstance(first, Biquad)
    found, _ = first(pieces.u, torch.zeros(3, 2))
    pole = np.exp(-2.0 * np.pi * 700.0 / RATE)
    expected = lfilter([10.0, -10.0], [1.0, -pole], dry.numpy())
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-3, atol=1e-3)
    # Of signals that the curve lets pass, what comes out is as loud as the target.
    with torch.no_grad():
        for part in network.curve:
            for parameter in part.parameters():
                parameter.zero_()
        y, _ = placed(network, pieces, 0.0, 1.0, RATE)(pieces.u[..., None])
    torch.testing.assert_close(y[..., 0].double(), pieces.target, rtol=1e-2, atol=1e-3)


def test_the_best_of_several_starts_is_taken() -> None:
    """A pedal that lifts the treble far before it clips, where most starts end in a bad optimum."""
    rng = np.random.default_rng(0)
    dry = 0.05 * lfilter([1.0], [1.0, -0.95], rng.standard_normal(RATE))
    wet = np.tanh(lfilter(*butter(1, 700.0, "high", fs=RATE), 50.0 * dry))
    one = take(Recording(dry, wet, RATE, delay=0.0), 0.0, ())
    pieces = stacked(cut([one], places([one], 2000), 2000))
    torch.manual_seed(0)
    network = WienerHammerstein()
    preset = replace(SHORT, epochs=4)
    costs = [cost_after_a_while(placed(network, pieces, *start, RATE), pieces, preset) for start in STARTS]
    best = LeastSquares(
        best_start(network, pieces, preset, RATE), pieces, [], preset, Kept("", 0.0), lambda epoch, error: None
    )
    assert best.cost() == pytest.approx(min(costs))
    # It matters which one is taken.
    assert min(costs) < 0.5 * max(costs)


def test_least_squares_go_on_after_an_interruption(tmp_path: Path) -> None:
    preset = replace(SHORT, epochs=6, patience=6)
    whole = train("hammerstein", [recording(seconds=1.5)], preset=preset)

    def interrupt(epoch: int, error: float) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    first = train("hammerstein", [recording(seconds=1.5)], preset=preset, progress=interrupt, checkpoint=tmp_path)
    assert first.interrupted
    assert first.errors == whole.errors[:3]
    epochs: list[int] = []
    resumed = train(
        "hammerstein", [recording(seconds=1.5)], preset=preset, checkpoint=tmp_path, resume=True,
        progress=lambda n, _: epochs.append(n),
    )  # fmt: skip
    # The third iteration was interrupted before its state was written.
    assert epochs == [3, 4, 5, 6]
    assert resumed.errors == whole.errors
    # What was done before counts.
    assert resumed.seconds > first.seconds * 2 / 3
    with pytest.raises(CircuitnnError, match="another architecture, other recordings or other settings"):
        train("hammerstein", [recording(drive=2.0)], preset=preset, checkpoint=tmp_path, resume=True)


def test_equal_seeds_give_equal_networks(trained: Trained) -> None:
    again = train("lstm-32", [recording()], preset=SHORT)
    assert again.errors == trained.errors
    assert all(torch.equal(a, b) for a, b in zip(weights(again).values(), weights(trained).values(), strict=True))
    other = train("lstm-32", [recording()], preset=replace(SHORT, epochs=1), seed=1)
    assert other.errors[0] != trained.errors[0]


def test_a_training_that_is_killed_goes_on_as_if_nothing_had_been(trained: Trained, tmp_path: Path) -> None:
    data, state = tmp_path / "data.npy", tmp_path / "state"
    np.save(data, np.stack([recording().dry, recording().wet]))
    command = [sys.executable, "-c", SCRIPT, str(data), str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert os.listdir(state) == ["last.ckpt"]
    epochs: list[int] = []
    resumed = train(
        "lstm-32", [recording()], preset=SHORT, checkpoint=state, resume=True, progress=lambda n, _: epochs.append(n)
    )
    # The second epoch was killed before its state was written.
    assert epochs == [2, 3]
    assert resumed.errors == trained.errors
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed).values(), weights(trained).values(), strict=True))
    with pytest.raises(CircuitnnError, match="another architecture, other recordings or other settings"):
        train("lstm-32", [recording(drive=2.0)], preset=SHORT, checkpoint=state, resume=True)


@pytest.mark.parametrize("name", ["nam-nano", "stn", "wiener"])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"PK\x03\x04 cut off", b"whole, without its end", b"another file"]
)
def test_a_broken_state_is_refused_in_words(name: str, content: bytes, tmp_path: Path) -> None:
    state, preset = tmp_path / "last.ckpt", replace(SHORT, epochs=1)
    begin = [recording(seconds=1.5)]
    if content == b"whole, without its end":
        train(name, begin, preset=preset, checkpoint=tmp_path)
        content = state.read_bytes()[:-1000]
    if content == b"another file":
        torch.save({"errors": [0.1]}, state)
    else:
        state.write_bytes(content)
    with pytest.raises(CircuitnnError, match=r"last\.ckpt: expected the state of an interrupted training"):
        train(name, begin, preset=preset, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("name", ["nam-nano", "stn", "wiener-hammerstein"])
def test_silence_teaches_nothing(name: str) -> None:
    sound = recording(seconds=1.5)
    late = replace(sound, dry=np.r_[np.zeros(2 * RATE), sound.dry], wet=np.r_[np.zeros(2 * RATE), sound.wet], delay=0.0)
    with pytest.raises(CircuitnnError, match="silent"):
        train(name, [late], seconds=1.5, preset=SHORT)


def test_short_pieces_teach_networks_of_states_too() -> None:
    found = train("stn", [recording(seconds=1.5)], preset=replace(SHORT, epochs=12, patience=12, teaching_epochs=4))
    assert len(found.errors) == 12


@pytest.mark.parametrize("name", ["nam-nano", "stn", "wiener"])
def test_a_state_that_cannot_be_written_is_refused_and_the_last_one_stays(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, preset = [recording(seconds=1.5)], replace(SHORT, epochs=1)
    train(name, begin, preset=preset, checkpoint=tmp_path)
    before = (tmp_path / "last.ckpt").read_bytes()

    def full(old: object, new: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("circuitnn.placing.os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        train(name, begin, preset=replace(preset, seconds=60.0), checkpoint=tmp_path)
    assert os.listdir(tmp_path) == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_an_interruption_keeps_the_best_so_far(trained: Trained) -> None:
    def interrupt(epoch: int, error: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    found = train("lstm-32", [recording()], preset=SHORT, progress=interrupt)
    assert found.interrupted
    assert found.errors == trained.errors[:2]
    assert signal.getsignal(signal.SIGINT) is before


def test_it_stops_when_nothing_gets_better() -> None:
    preset = replace(SHORT, epochs=50, patience=2, learning_rate=1e-12)
    found = train("nam-nano", [recording(seconds=1.5)], preset=preset)
    assert found.reason == "no better for a while"
    assert len(found.errors) < 20
    for name in ("nam-nano", "wiener-hammerstein"):
        found = train(name, [recording(seconds=1.5)], preset=replace(preset, seconds=0.0))
        assert found.reason == "out of time"
        assert len(found.errors) == 1


def test_the_learning_rate_falls_to_zero_with_the_time(tmp_path: Path) -> None:
    """Of a clock that says how much each epoch has taken, also over an interruption."""
    rates: list[float] = []

    class Watched(torch.optim.Adam):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            rates.append(self.param_groups[0]["lr"])
            super().step(closure)

    preset = replace(SHORT, epochs=100, patience=100, learning_rate=1e-3, batch=20, chunk=2000, seconds=4.0)

    def interrupt(epoch: int, error: float) -> None:
        if epoch == 3:
            raise KeyboardInterrupt

    for stop in (interrupt, None):
        clock = (0.5 * n for n in range(1000))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim, "Adam", Watched)
            patch.setattr("circuitnn.training.harness.time.thread_time", lambda clock=clock: next(clock))
            found = train("nam-nano", [recording()], preset=preset, checkpoint=tmp_path, resume=True, progress=stop)
    assert found.reason == "out of time"
    # Half a second each, of four; the third was interrupted, and came again.
    parts = np.array([0, 1, 2, 2, 3, 4, 5, 6, 7]) / 8.0
    np.testing.assert_allclose(rates, 0.5e-3 * (1.0 + np.cos(np.pi * parts)))


def test_knobs_are_learned_from_positions() -> None:
    recordings = [recording(seconds=1.0, drive=drive, knobs={"drive": drive / 8.0}) for drive in (1.0, 2.0, 4.0, 8.0)]
    found = train("wiener-hammerstein", recordings, preset=replace(SHORT, epochs=8, patience=8))
    assert found.network.knob_names == ("drive",)
    # At positions in between, which were not trained.
    for drive in (3.0, 6.0):
        one = recording(seconds=1.0, drive=drive, delay=0)
        with torch.no_grad():
            y, _ = found.network(torch.as_tensor(one.dry)[None, :, None], knobs={"drive": drive / 8.0})
        assert esr(y[0, :, 0].double().numpy(), one.wet) < 0.02
    with pytest.raises(CircuitnnError, match="knob drive: expected a position"):
        train("wiener-hammerstein", [recording(knobs={"drive": "a"})], preset=SHORT)


@given(st.integers(-40, 40), st.sampled_from([0.0, 0.25]))
def test_takes_lie_on_one_time_axis(offset: int, part: float) -> None:
    """A sine that is late by a part of a sample too."""
    time = np.arange(600.0)
    dry = np.sin(0.3 * time + 0.1)
    late = Recording(dry, 0.5 * np.sin(0.3 * (time - offset - part) + 0.1), RATE, delay=offset + part)
    one = take(late, offset + part, ())
    assert len(one.u) >= 600 - 2 * 32 - abs(offset) - 1
    np.testing.assert_allclose(one.target, 0.5 * one.u, atol=2e-4)


def test_only_so_many_seconds_are_used() -> None:
    found = train("hammerstein", [recording()], preset=replace(SHORT, epochs=1), seconds=1.3)
    # Five pieces of a quarter of a second, of which one judges.
    assert found.audio_seconds == pytest.approx(1.0)


@given(st.integers(2, 23))
def test_what_judges_is_not_trained_on(count: int) -> None:
    one = take(recording(seconds=0.4), 5.0, ())
    whole = [one.part(0, count * 100 + 50)]
    training, judging = (cut(whole, chosen, 100) for chosen in split(places(whole, 100)))
    assert training
    assert len(judging) == max(1, (count + 2) // 5)
    together = sorted([*training, *judging], key=lambda piece: piece.u.data_ptr())
    torch.testing.assert_close(torch.cat([piece.u for piece in together]), one.u[: count * 100])


def test_delays_that_are_found_leave_room() -> None:
    """Nothing comes before its cause, and what differs by less than alignment errs is one delay."""
    known, *unknown = recording(7), *(replace(recording(delay), delay=None) for delay in (20, 22))
    found = delays_of([known, *unknown])
    assert found[0] == 7.0
    assert found[1] == found[2]
    assert 20 - 2 * ACCURACY <= found[1] <= 20


def test_every_piece_comes_once_in_an_epoch() -> None:
    whole = Batch(torch.arange(10.0)[:, None], torch.arange(10.0)[:, None], torch.zeros(10, 0), torch.zeros(10, 1, 0))
    batches = Shuffled(whole, 4, seed=0)
    orders = []
    for epoch in range(2):
        batches.epoch = epoch
        orders.append(torch.cat([batch.u.flatten() for batch in batches]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    assert len(batches) == 3


def test_recordings_that_are_too_short_are_told() -> None:
    with pytest.raises(CircuitnnError, match="two pieces of 4000 samples, found 1"):
        train("lstm-32", [recording(seconds=0.6)], preset=replace(SHORT, segment=0.5))
    with pytest.raises(CircuitnnError, match="one sample rate"):
        train("lstm-32", [recording(), replace(recording(), sample_rate=16000)], preset=SHORT)


def test_a_run_is_read_as_it_was_written(trained: Trained, tmp_path: Path) -> None:
    save_network(trained, tmp_path / "run", SHORT, 0)
    run = read_network(tmp_path / "run")
    u = torch.randn(1, 100, 1)
    torch.testing.assert_close(run.network(u)[0], trained.network(u)[0], rtol=0.0, atol=0.0)
    assert (run.name, run.sample_rate, run.delay, run.esr) == ("lstm-32", RATE, 5.0, trained.esr)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {"kind": "recurrent"}}, "network.cell: expected one of lstm, gru, found nothing"),
        ({"network": {"kind": "lstm-9999"}}, "network.kind: expected one of recurrent"),
        ({"architecture": 3}, "architecture: expected a text"),
        ({"knobs": ["a"] * 1000}, "knobs: expected a list of names"),
        ({"knobs": ["a"]}, "weights of another network"),
        ({"version": 3}, "install a newer"),
        ({"format": "circuitnn-run"}, "expected circuitnn-network|holds no network"),
        ({"delay": "late"}, "delay: expected a number"),
        ({"precision": "float16"}, "precision: expected one of float32, float64"),
        ({"weights": {"file": "../weights.safetensors", "sha256": ""}}, "the name of a safetensors file beside"),
        ({"weights": {"file": "weights.safetensors", "sha256": ""}}, "not the weights that"),
        ({"weights": {}}, "expected the weights recurrent.weight_ih_l0"),
    ],
)
def test_a_damaged_run_is_refused(trained: Trained, tmp_path: Path, change: dict[str, object], message: str) -> None:
    save_network(trained, tmp_path, SHORT, 0)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CircuitnnError, match=message):
        read_network(tmp_path)


def version_1(folder: Path) -> None:
    """Make a run one of the first version: the architecture by its name, and no hash."""
    path = folder / "run.json"
    kept = ("format", "circuitnn", "architecture", "knobs", "sample_rate", "delay", "esr", "settings", "errors")
    data = json.loads(path.read_text())
    path.write_text(json.dumps({key: data[key] for key in kept} | {"version": 1}))


def test_a_run_of_the_first_version_is_read(trained: Trained, tmp_path: Path) -> None:
    save_network(trained, tmp_path, SHORT, 0)
    version_1(tmp_path)
    run = read_network(tmp_path)
    assert (run.name, run.sample_rate, run.delay, run.esr) == ("lstm-32", RATE, 5.0, trained.esr)
    for name, value in run.network.state_dict().items():
        assert torch.equal(value, trained.network.state_dict()[name])


def test_damaged_weights_are_refused(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    save_network(trained, folder, SHORT, 0)
    whole = load_file(folder / WEIGHTS)
    save_file(whole | {"dense.bias": torch.tensor([0.0])}, folder / WEIGHTS)
    with pytest.raises(CircuitnnError, match=r"not the weights that .*run.json was written with"):
        read_network(folder)
    version_1(folder)
    save_file(whole | {"dense.bias": torch.tensor([float("nan")])}, folder / WEIGHTS)
    with pytest.raises(CircuitnnError, match=r"dense\.bias holds values that are not finite"):
        read_network(folder)
    torch.save(whole, folder / WEIGHTS)
    with pytest.raises(CircuitnnError, match="not a safetensors file"):
        read_network(folder)
    (folder / "run.json").unlink()
    with pytest.raises(CircuitnnError, match="there is no run"):
        read_network(folder)


def test_the_commands(tmp_path: Path) -> None:
    one = recording(seconds=4.0)
    for name, samples in (("dry", one.dry), ("wet", one.wet)):
        write_wav(tmp_path / f"{name}.wav", 0.2 * samples, RATE)
    files = [str(tmp_path / "dry.wav"), str(tmp_path / "wet.wav")]
    run = str(tmp_path / "run")
    options = ["--out", run, "--epochs", "2", "--json"]
    done = CliRunner().invoke(main, ["train", "wiener-hammerstein", *files, *options])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["architecture"] == "wiener-hammerstein"
    assert told["parameters"] == 117
    # So few weights are in it.
    assert os.listdir(run) == ["run.json"]
    assert not (tmp_path / "run.training").exists()

    done = CliRunner().invoke(main, ["evaluate", run, *files, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {"esr", "esr_gain_free", "esr_preemphasis", "mae", "mr_stft", "real_time_factor"} <= set(found)
    # The same recording, of which a part judged the training.
    assert found["esr"] == pytest.approx(told["esr"], rel=0.3)
    assert found["esr_gain_free"] <= found["esr"]
    done = CliRunner().invoke(main, ["train", "lstm32", *files])
    assert done.exit_code == 2
    assert "did you mean lstm-32?" in done.stderr
    done = CliRunner().invoke(main, ["evaluate", run, *files, "--set", "drive=0.3"])
    assert done.exit_code == 2
    assert "no knob 'drive'" in done.stderr


def test_a_folder_of_somebody_else_is_neither_used_nor_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav(Path("dry.wav"), 0.2 * recording(seconds=2.0).dry, RATE)
    write_wav(Path("wet.wav"), recording(seconds=2.0).wet, RATE)
    words = ["train", "wiener", "dry.wav", "wet.wav", "--epochs", "1", "--json"]
    Path("run.training").mkdir()
    Path("run.training", "thesis.txt").write_text("years of work")
    done = CliRunner().invoke(main, [*words, "--out", "run"])
    assert done.exit_code == 2
    assert "run.training: the folder holds something else than the state of a training" in done.stderr
    assert Path("run.training", "thesis.txt").read_text() == "years of work"
    # What a kill has left of a state that was being written is no such thing.
    Path("left.training").mkdir()
    Path("left.training", "last.ckpt123.part").write_bytes(b"half")
    assert CliRunner().invoke(main, [*words, "--out", "left"]).exit_code == 0
    assert not Path("left.training").exists()
    # A run that is called like the architecture is not gone on with, unless it is written as a path.
    told = [json.loads(CliRunner().invoke(main, [*words, "--out", "wiener"]).stdout) for _ in range(2)]
    assert told[0]["errors"] == told[1]["errors"]
    further = CliRunner().invoke(main, ["train", "./wiener", *words[2:], "--out", "further"])
    assert json.loads(further.stdout)["esr"] < told[0]["esr"]


def test_what_a_session_holds_out_takes_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_wav(Path("in.wav"), 0.2 * recording(seconds=2.0).dry, RATE)
    for name, drive in (("out", 3.0), ("other", 1.0)):
        write_wav(Path(f"{name}.wav"), recording(seconds=2.0, drive=drive).wet, RATE)
    text = '[[recording]]\ndry = "in.wav"\nwet = "out.wav"\ndelay = 5\n'
    held_out = '[[recording]]\ndry = "in.wav"\nwet = "other.wav"\ndelay = 5\nrole = "held-out"\n'
    Path("some.toml").write_text(text)
    Path("all.toml").write_text(text + held_out)
    some, every = (
        CliRunner().invoke(main, ["train", "wiener", "--recordings", name, "--epochs", "2", "--json"])
        for name in ("some.toml", "all.toml")
    )
    assert every.exit_code == 0, every.output
    assert json.loads(every.stdout)["errors"] == json.loads(some.stdout)["errors"]


def test_two_devices_share_each_batch(tmp_path: Path) -> None:
    # Two pieces train, of opposite sign: a device that saw one of them alone would learn something else.
    dry = 0.2 * recording(seconds=1.6).dry
    write_wav(tmp_path / "dry.wav", dry, RATE)
    write_wav(tmp_path / "wet.wav", np.where(np.arange(len(dry)) // 4000 == 1, -dry, dry), RATE)
    errors = []
    for devices in (1, 2):
        words = ["train", "gru-32", "dry.wav", "wet.wav", "--epochs", "4", "--devices", str(devices), "--out", "run"]
        done = subprocess.run(
            [sys.executable, "-m", "circuitnn.cli", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        # Both speak as one.
        assert [line.split(":")[0] for line in done.stderr.splitlines()] == [f"epoch {k}" for k in range(1, 5)]
        assert done.stdout.count("run written") == 1
        errors.append(json.loads((tmp_path / "run" / "run.json").read_text())["errors"])
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-4)


def test_pieces_are_shared_among_devices() -> None:
    shared = Shuffled(Batch(*(torch.arange(11.0)[:, None] for _ in range(4))), 4, 0)
    whole = [batch.u.flatten().tolist() for batch in shared]
    shared.devices, parts = 2, []
    for shared.number in range(2):
        parts.append([batch.u.flatten().tolist() for batch in shared])
    # The last batch has three pieces, so one of them comes twice.
    assert [len(part) for part in parts[0]] == [len(part) for part in parts[1]] == [2, 2, 2]
    assert [{*a, *b} for a, b in zip(*parts, strict=True)] == [set(batch) for batch in whole]


@pytest.mark.parametrize(
    ("architecture", "device", "message"),
    [("stn", "cpu", "trained on one device, found 2"), ("lstm-32", "gpu", "expected 2 of device gpu")],
)
def test_devices_that_cannot_be_had_are_told(architecture: str, device: str, message: str) -> None:
    if device == "gpu" and torch.cuda.device_count() > 1:
        pytest.skip("this machine has them")
    with pytest.raises(CircuitnnError, match=message):
        train(architecture, [recording()], preset=SHORT, device=device, devices=2)


def test_presets_fit_every_architecture() -> None:
    for preset in PRESETS.values():
        assert preset.warm_up < preset.segment * RATE
    assert build_network("lstm-32").knob_names == ()


def test_the_loop_in_the_docs_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "docs" / "networks.md").read_text()
    code = text.split("## The loop by hand\n")[1].split("```python\n")[1].split("```")[0]
    one = recording(delay=0)
    for name, samples in (("dry", one.dry), ("wet", one.wet)):
        write_wav(tmp_path / f"{name}.wav", 0.2 * samples, RATE)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    space: dict[str, torch.Tensor] = {}
    exec(code, space)
    assert space["loss"].item() < 0.1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept where the C library is glibc")
def test_memory_is_kept_while_a_network_is_trained_and_given_back_after_it() -> None:
    import resource

    def pages() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(8):
            torch.ones(2**24)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    torch.ones(2**24)
    with kept_memory():
        pages()
        kept = pages()
    assert pages() > 4 * kept + 1000
