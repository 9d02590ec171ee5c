"""The test signal, and what is said about it when it comes back through a device with dirt."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from numpy.typing import NDArray

from circuitnn import CircuitModel, CircuitnnError, RecordingError, read_netlist
from circuitnn.audio import resampled
from circuitnn.cli import main
from circuitnn.evaluation import render
from circuitnn.excitation import EDGE, GAP, blip_times, excitation, sweep
from circuitnn.excitation_check import check

Signal = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
RATE, SECONDS = 16000, 25.0


@cache
def played() -> Signal:
    return excitation(RATE, SECONDS)


@cache
def returned(device: str) -> Signal:
    """Through a circuit, then late by 700 samples, with noise at -70 dB and hum at 60 Hz."""
    model = CircuitModel(read_netlist(ROOT / "netlists" / f"{device}.cir"), RATE, 1, learn=[])
    wet = render(model, played(), 0.5).output
    wet = np.concatenate([np.zeros(700), wet - wet.mean()]) / np.abs(wet).max() * 0.6
    time = np.arange(len(wet)) / RATE
    return wet + 2e-4 * np.random.default_rng(0).standard_normal(len(wet)) + 2e-4 * np.sin(2.0 * np.pi * 60.0 * time)


def test_the_signal_is_the_same_every_time_and_as_loud_as_said() -> None:
    assert np.array_equal(excitation(RATE, SECONDS), played())
    assert np.abs(excitation(RATE, SECONDS, level=0.3)).max() == pytest.approx(0.3)
    assert not np.array_equal(excitation(RATE, SECONDS, seed=1), played())
    assert len(excitation(RATE, 20.7)) == round(20.7 * RATE)


def test_the_signal_has_its_blips_its_pauses_and_fills_its_length() -> None:
    signal = played()
    peaks = [round(at * RATE) for at in blip_times(SECONDS)]
    assert np.allclose(signal[peaks], 0.9)
    for begin, end in ((1.1, EDGE), (SECONDS - EDGE, SECONDS - 1.1)):
        assert not signal[round(begin * RATE) + 1 : round(end * RATE) - 1].any()
    last = np.flatnonzero(signal[: round((SECONDS - 1.2) * RATE)])[-1] / RATE
    assert SECONDS - EDGE - GAP - 0.01 < last <= SECONDS - EDGE


def test_the_sweep_is_exponential() -> None:
    """Half way it is at the geometric mean of its ends: seen in the distance of its zero crossings."""
    signal = sweep(100.0, 6400.0, 4.0, 48000)
    middle = signal[95000:97000]
    crossings = np.flatnonzero(np.diff(np.sign(middle)) > 0)
    assert 48000 / np.diff(crossings).mean() == pytest.approx(800.0, rel=0.01)


@pytest.mark.parametrize("device", ["rat", "marshall_tone_stack"])
def test_what_came_back_is_described(device: str) -> None:
    found = check(played(), returned(device), RATE)
    assert abs(found.delay - 700) < 0.0005 * RATE
    assert found.blips == 4
    assert found.drift == pytest.approx(0.0, abs=1e-6)
    assert found.missing == 0.0
    assert found.condition.clipped == 0
    assert found.polarity == 1


def test_the_pauses_tell_noise_and_hum() -> None:
    found = check(played(), returned("marshall_tone_stack"), RATE).condition
    assert found.mains == 60.0
    assert found.hum == pytest.approx(2e-4 / np.sqrt(2.0), rel=0.1)
    assert found.noise == pytest.approx(2e-4, rel=0.15)


def test_clocks_that_run_apart() -> None:
    # 50 parts per million slower: the recording has as many samples more.
    slow = resampled(returned("marshall_tone_stack"), 1_000_000, 1_000_050)
    assert check(played(), slow, RATE).drift == pytest.approx(50e-6, abs=3e-6)


def test_useless_recordings_are_refused() -> None:
    wet = returned("marshall_tone_stack")
    with pytest.raises(RecordingError, match=r"cut off: 5\.00 s are missing at the end"):
        check(played(), wet[: -5 * RATE], RATE)
    with pytest.raises(RecordingError, match="clipped"):
        check(played(), np.clip(8.0 * wet, -1.0, 1.0), RATE)
    with pytest.raises(RecordingError, match="does not begin with the two blips"):
        check(played(), wet[RATE:], RATE)
    with pytest.raises(RecordingError, match="does not begin with the two blips"):
        check(played(), np.random.default_rng(0).standard_normal(len(wet)), RATE)
    with pytest.raises(RecordingError, match="not a test signal"):
        check(wet, wet, RATE)
    for arguments in ({"seconds": 5.0}, {"level": 0.0}, {"level": 1.5}, {"sample_rate": 8000}):
        with pytest.raises(CircuitnnError, match="of the test signal: expected"):
            excitation(**{"sample_rate": RATE, **arguments})  # type: ignore[arg-type]


def test_the_command(tmp_path: Path) -> None:
    out, recorded = tmp_path / "out.wav", tmp_path / "recorded.wav"
    run = CliRunner().invoke(main, ["excite", str(out), "--sample-rate", str(RATE), "--seconds", str(SECONDS)])
    assert run.exit_code == 0, run.output
    signal, rate = soundfile.read(out)
    assert rate == RATE
    assert np.abs(signal - played()).max() < 1e-6
    soundfile.write(recorded, resampled(np.concatenate([np.zeros(80), signal]), RATE, 44100), 44100, subtype="PCM_24")
    run = CliRunner().invoke(main, ["excite", "--check", str(out), str(recorded), "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["delay"] == pytest.approx(80, abs=1)
    assert found["blips"] == 4
    run = CliRunner().invoke(main, ["excite", "--check", str(out), str(recorded)])
    assert "usable" in run.stdout
    soundfile.write(recorded, signal[: len(signal) // 2], RATE, subtype="PCM_24")
    run = CliRunner().invoke(main, ["excite", "--check", str(out), str(recorded)])
    assert run.exit_code == 2
    assert run.stderr.count("error: ") == 1
    assert "recorded.wav: the recording is cut off" in run.stderr
    assert CliRunner().invoke(main, ["excite", str(out), str(recorded)]).exit_code == 2
