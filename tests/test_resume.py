"""A fit that is killed and taken up again ends with the values of one that nobody disturbed, to the last bit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from circuitnn import CircuitModel, CircuitnnError, FitResult, Recording, fit, parse_netlist
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.excitation import plucked_string
from circuitnn.fitting import procedure, search
from circuitnn.fitting.checkpoint import APPROACH, Checkpoint, Progressed, fingerprint
from circuitnn.fitting.problem import Point
from circuitnn.rendering import render
from circuitnn.runs import free_folder, state_file

NETLIST_FILE = Path(__file__).parents[1] / "netlists" / "rat.cir"
RATE = 22050
NETLIST = (
    "clipper\n*@ input Vin\n*@ output out\n*@ learn C1 D.n mix\n*@ knob mix 0.5\n.param mix=0.5\nVin in 0 0\n"
    "R1 in out {1k+mix*10k}\nC1 out 0 10n\nD1 out 0 D\nD2 0 out D\n.model D D(is=2n n=1.8)\n"
)
STATE = Progressed(
    APPROACH, Point(np.array([0.1, -1.5]), np.array([3.25]), (np.array([0.7]),)), 900.0, 0.01, (0.5, 0.25), ((50.0,),)
)


class Killed(BaseException):
    """Not to be caught by anything on the way."""


@pytest.fixture(scope="module")
def recording() -> Recording:
    device = CircuitModel(parse_netlist(NETLIST.replace("10n", "14n").replace("mix=0.5", "mix=0.2")), RATE, learn=[])
    dry = 0.5 * plucked_string(196.0, 0.6, RATE)
    wet = 0.5 * render(device, dry, 2.0).output
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(wet))
    return Recording(dry, wet + noise, RATE)


def fitted(recording: Recording, **options: Any) -> FitResult:
    return fit(CircuitModel(parse_netlist(NETLIST), RATE, oversample=1), [recording], input_level=2.0, **options)


@pytest.mark.parametrize("case", ["from rest", "in mid-sound", "robust", "long"])
def test_a_fit_that_is_killed_at_every_step_ends_with_the_same_values(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    if case == "long":
        monkeypatch.setattr(procedure, "LONG", 0.5)
        for name, seconds in {"SPREAD_AUDIO": 0.2, "SPREAD_WINDOW": 0.05, "SPREAD_WARM_UP": 0.02}.items():
            monkeypatch.setattr(search, name, seconds)
    if case == "from rest":
        silence = np.zeros(RATE // 10)
        recording = replace(recording, dry=np.append(silence, recording.dry), wet=np.append(silence, recording.wet))
    robust = case == "robust"
    undisturbed = fitted(recording, robust=robust)
    assert undisturbed.recordings[0].cut == (case != "from rest")
    state, killed_in = tmp_path / "state.json", []

    def killed() -> FitResult | None:
        calls = 0

        def progress(stage: str, *_: object) -> None:
            nonlocal calls
            calls += stage != "search"
            # The first step of a resumed fit only finds out where it stood, and the last one of a stage is not written.
            if calls == 2 + len(killed_in) % 3:
                killed_in.append(stage)
                raise Killed

        try:
            return fitted(recording, checkpoint=state, resume=True, progress=progress, robust=robust)
        except Killed:
            return None

    while (result := killed()) is None:
        assert len(killed_in) < 50
    assert set(killed_in) == {"approach", "fit", *(["spread"] if case == "long" else [])}
    assert result.values == undisturbed.values
    assert result.stderr == undisturbed.stderr
    assert result.recordings[0].gain == undisturbed.recordings[0].gain
    assert result.recordings[0].delay == undisturbed.recordings[0].delay
    assert result.errors == undisturbed.errors


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_kill_9_and_resume(recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clipper.cir").write_text(NETLIST)
    write_wav(tmp_path / "dry.wav", recording.dry, RATE)
    write_wav(tmp_path / "wet.wav", recording.wet, RATE)

    monkeypatch.chdir(tmp_path)
    arguments = ["fit", "clipper.cir", "dry.wav", "wet.wav", "--oversample", "1", "--input-level", "2", "--out"]

    def values(out: str) -> dict[str, Any]:
        run = json.loads((tmp_path / out / "run.json").read_text())
        return {key: run[key] for key in ("values", "stderr", "errors", "input_level", "reason")}

    whole = CliRunner().invoke(main, [*arguments, "whole"])
    assert whole.exit_code == 0, whole.output
    assert not (tmp_path / "whole.state.json").exists()
    process = subprocess.Popen(
        [sys.executable, "-m", "circuitnn.cli", *arguments, "cut"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "fit: iteration 0" in line:
            process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    assert not (tmp_path / "cut").exists()
    assert (tmp_path / "cut.state.json").exists()
    resumed = CliRunner().invoke(main, [*arguments, "cut", "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert "search" not in resumed.stderr
    assert values("cut") == values("whole")
    assert not list(tmp_path.glob("cut.state*"))


def test_resume_without_a_state_says_so(tmp_path: Path) -> None:
    arguments = [NETLIST_FILE, tmp_path / "none.wav", tmp_path / "none.wav", "--resume", "--out", tmp_path / "new"]
    done = CliRunner().invoke(main, ["fit", *map(str, arguments)])
    assert done.exit_code == 2
    assert "no new.state.json" in done.stderr


def test_the_default_folder_is_that_of_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "rat").mkdir(parents=True)
    (tmp_path / "runs" / "rat-2").mkdir()
    state_file(Path("runs/rat-2")).touch()
    assert free_folder("rat").name == "rat-3"
    assert free_folder("rat", resume=True).name == "rat-2"


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    file = Checkpoint(tmp_path / "deep" / "state.json", "this fit")
    assert file.read(2, 1, [1]) is None
    file.write(STATE)
    back = file.read(2, 1, [1])
    assert back is not None
    assert back.point.shared.tolist() == STATE.point.shared.tolist()
    assert back.point.delays.tolist() == STATE.point.delays.tolist()
    assert [own.tolist() for own in back.point.states] == [[0.7]]
    for others in ([], [2], [1, 1]):
        with pytest.raises(CircuitnnError, match="not a state"):
            file.read(2, 1, others)
    assert replace(back, point=STATE.point) == STATE


def test_a_state_of_another_fit_is_refused(recording: Recording, tmp_path: Path) -> None:
    model = CircuitModel(parse_netlist(NETLIST), RATE, oversample=1)
    of = fingerprint(model, [recording], (2.0, None, 40))
    Checkpoint(tmp_path / "state.json", of).write(STATE)
    other = replace(recording, wet=np.where(np.arange(len(recording.wet)) == 5, 0.1, recording.wet))
    others = (
        fingerprint(model, [other], (2.0, None, 40)),
        fingerprint(model, [replace(recording, knobs={"mix": 0.5})], (2.0, None, 40)),
        fingerprint(model, [recording], (1.0, None, 40)),
        fingerprint(CircuitModel(parse_netlist(NETLIST), RATE, oversample=2), [recording], (2.0, None, 40)),
        fingerprint(CircuitModel(parse_netlist(NETLIST), RATE, 1, ["C1"]), [recording], (2.0, None, 40)),
        fingerprint(CircuitModel(parse_netlist(NETLIST.replace("10n", "9n")), RATE, 1), [recording], (2.0, None, 40)),
    )
    assert of not in others
    for another in others:
        with pytest.raises(CircuitnnError, match=r"state\.json belongs to a fit of another netlist"):
            Checkpoint(tmp_path / "state.json", another).read(2, 1)


BROKEN = {
    "no json": b"{", "not text": b"\xff\xfe", "another": b'{"format": "x"}', "a list": b"[]", "deep": b"[" * 100_000,
    "too large": b" " * 10_000_001,
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_state_is_refused_in_one_message(tmp_path: Path, name: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(BROKEN[name])
    with pytest.raises(CircuitnnError, match=r"state\.json: not a state .*\n.*delete it"):
        Checkpoint(path, "this fit").read(2, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(key=st.sampled_from(["stage", "shared", "delays", "samples", "damping", "errors", "hum", "states"]), value=JSON)
def test_any_value_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, key: str, value: object) -> None:
    path = tmp_path_factory.mktemp("state") / "state.json"
    file = Checkpoint(path, "this fit")
    file.write(STATE)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with contextlib.suppress(CircuitnnError):
        state = file.read(2, 1, [1])
        assert state is not None
        assert len(state.point.shared) == 2
        point = state.point
        assert np.isfinite([*point.shared, *point.delays, *point.states[0], state.samples, state.damping]).all()
