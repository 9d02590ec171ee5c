"""Sound files of any kind become recordings on one time axis, and what is wrong with them is measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from circuitnn import Recording, RecordingError
from circuitnn.audio import read_wav, resampled, volts_at_full_scale
from circuitnn.condition import examine
from circuitnn.excitation import plucked_string

Signal = NDArray[np.float64]
RATE = 44100


def pulse(rate: int, at: float, length: float = 1.0) -> Signal:
    """A band-limited burst around 3 kHz whose middle is at `at` seconds, exact at every rate."""
    time = np.arange(round(length * rate)) / rate - at
    return np.asarray(np.exp(-((time / 0.004) ** 2)) * np.cos(2.0 * np.pi * 3000.0 * time + 0.7))


@pytest.mark.parametrize(("rate", "new"), [(48000, 44100), (44100, 96000), (96000, 44100)])
@settings(max_examples=10)
@given(at=st.floats(0.3, 0.7))
def test_resampling_keeps_the_time_axis(rate: int, new: int, at: float) -> None:
    """The error against the same burst sampled at the other rate, as a delay: below a thousandth of a sample."""
    found, expected = resampled(pulse(rate, at), rate, new), pulse(new, at)
    slope = np.gradient(expected)
    delay = -np.dot(found - expected, slope) / np.dot(slope, slope)
    assert abs(delay) < 1e-3
    assert np.abs(found - expected).max() < 1e-4
    back = resampled(found, new, rate)
    assert np.abs(back - pulse(rate, at)).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("x.wav", "PCM_16", 3.1e-5),
        ("x.wav", "PCM_24", 1.2e-7),
        ("x.wav", "FLOAT", 1e-7),
        ("x.wav", "DOUBLE", 0.0),
        ("x.flac", "PCM_24", 1.2e-7),
        ("x.aiff", "PCM_16", 3.1e-5),
    ],
)
def test_formats_and_bit_depths(tmp_path: Path, name: str, subtype: str, tolerance: float) -> None:
    signal = 0.9 * pulse(RATE, 0.5)
    soundfile.write(tmp_path / name, np.stack([signal, signal], 1), RATE, subtype=subtype)
    read, rate = read_wav(tmp_path / name)
    assert rate == RATE
    assert np.abs(read - signal).max() <= tolerance


def test_two_channels_of_one_file_and_rates_that_differ(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "both.wav", np.stack([pulse(48000, 0.4), pulse(48000, 0.41)], 1), 48000, subtype="FLOAT")
    both = Recording.from_wav(tmp_path / "both.wav", knobs={"drive": 0.5})
    assert both.sample_rate == 48000
    assert np.argmax(np.abs(both.wet)) - np.argmax(np.abs(both.dry)) == pytest.approx(480, abs=4)
    soundfile.write(tmp_path / "wet.wav", pulse(44100, 0.41), 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "dry.wav", pulse(48000, 0.4), 48000, subtype="FLOAT")
    for rate in (None, 96000):
        pair = Recording.from_wav(tmp_path / "dry.wav", tmp_path / "wet.wav", sample_rate=rate)
        assert pair.sample_rate == (rate or 48000)
        assert np.abs(pair.wet - pulse(pair.sample_rate, 0.41)).max() < 1e-4
    with pytest.raises(RecordingError, match="two channels"):
        Recording.from_wav(tmp_path / "dry.wav")


def test_lengths_that_differ_are_a_warning(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "dry.wav", pulse(RATE, 0.4, 3.0), RATE)
    soundfile.write(tmp_path / "wet.wav", pulse(RATE, 0.4, 1.0), RATE)
    with pytest.warns(UserWarning, match=r"dry lasts 3\.00 s and wet 1\.00 s"):
        Recording.from_wav(tmp_path / "dry.wav", tmp_path / "wet.wav")


def test_dbu_is_the_level_of_a_sine_that_peaks_at_full_scale() -> None:
    # 0 dBu is the voltage across 600 ohm at 1 mW; +4 dBu is 1.228 V rms (the professional line level).
    assert volts_at_full_scale(0.0) ** 2 / 2.0 / 600.0 == pytest.approx(1e-3)
    assert volts_at_full_scale(4.0) / math.sqrt(2.0) == pytest.approx(1.228, rel=1e-3)


@pytest.mark.parametrize("mains", [50.0, 60.0])
def test_hum_noise_and_offset_are_measured_in_the_pause(mains: float) -> None:
    time = np.arange(4 * RATE) / RATE
    note = np.concatenate([np.zeros(RATE), 0.5 * plucked_string(196.0, 3.0, RATE)])
    hum = 0.004 * np.sin(2.0 * np.pi * mains * time) + 0.002 * np.sin(2.0 * np.pi * 3.0 * mains * time + 1.0)
    noise = 0.001 * np.random.default_rng(0).standard_normal(len(time))
    found = examine(note + hum + noise + 0.01, RATE)
    assert found.mains == mains
    assert found.hum == pytest.approx(math.hypot(0.004, 0.002) / math.sqrt(2.0), rel=0.05)
    assert found.noise == pytest.approx(0.001, rel=0.1)
    assert found.dc == pytest.approx(0.01, abs=2e-4)
    assert found.clipped == 0
    quiet = examine(note + noise, RATE)
    assert (quiet.mains, quiet.hum) == (None, 0.0)


def test_without_a_pause_nothing_is_claimed() -> None:
    found = examine(0.1 * np.random.default_rng(0).standard_normal(2 * RATE), RATE)
    assert (found.dc, found.hum, found.noise, found.mains) == (None, None, None, None)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_clipping_is_counted_and_a_loud_note_is_none(tmp_path: Path, subtype: str) -> None:
    note = plucked_string(110.0, 2.0, RATE)
    counts = []
    for gain in (0.99, 2.0):
        soundfile.write(tmp_path / "x.wav", np.clip(gain * note, -1.0, 1.0), RATE, subtype=subtype)
        counts.append(examine(read_wav(tmp_path / "x.wav")[0], RATE).clipped)
    assert counts[0] == 0
    truly = int(np.sum(np.abs(2.0 * note) >= 1.0))
    assert 0.6 * truly < counts[1] <= truly + 10


def test_trimming_leaves_a_lead_in_and_the_delay() -> None:
    rate, noise = 16000, 1e-5 * np.random.default_rng(0).standard_normal(16 * 16000)
    note = np.concatenate([np.zeros(5 * rate), plucked_string(196.0, 4.0, rate), np.zeros(7 * rate)])
    recording = Recording(note, np.roll(note, 1600) + noise, rate)
    trimmed = recording.trimmed()
    first = int(np.argmax(np.abs(trimmed.dry) > 1e-2))
    assert first == pytest.approx(0.5 * rate, abs=0.03 * rate)
    assert 4.0 * rate < len(trimmed.dry) <= 5.3 * rate
    assert len(trimmed.dry) == len(trimmed.wet)
    assert np.argmax(np.abs(trimmed.wet)) - np.argmax(np.abs(trimmed.dry)) == 1600
