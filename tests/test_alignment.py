"""Delay and polarity from sound alone: through our own circuits, with noise, hum and cuts, and of real devices."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from circuitnn import CircuitModel, read_netlist
from circuitnn.evaluation import render
from circuitnn.excitation import chord, plucked_string
from circuitnn.fitting.alignment import DOUBTFUL, align

Signal = NDArray[np.float64]
ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("CIRCUITNN_DATA", ROOT.parent / "shared" / "data"))
RATE = 22050


def random(seed: int, count: int) -> Signal:
    return np.random.default_rng(seed).standard_normal(count)


def quiet_then(sound: Signal) -> Signal:
    return np.concatenate([np.zeros(RATE // 5), sound])


MATERIAL: dict[str, Callable[[], Signal]] = {
    "note": lambda: quiet_then(plucked_string(246.9, 2.5, RATE)),
    "low note": lambda: quiet_then(plucked_string(82.4, 2.5, RATE)),
    "chord": lambda: quiet_then(chord([110.0, 164.8, 220.0, 277.2], 2.0, RATE)),
    "noise": lambda: 0.3 * random(3, RATE),
}
CASES = [
    *(("rat", material) for material in MATERIAL),
    ("fuzz_face_silicon", "chord"),
    ("fuzz_face_silicon", "noise"),
    ("marshall_tone_stack", "chord"),
]


@cache
def played(device: str, material: str) -> tuple[Signal, Signal]:
    """Dry and what the device makes of it, without delay."""
    dry = MATERIAL[material]()
    model = CircuitModel(read_netlist(ROOT / "netlists" / f"{device}.cir"), RATE, oversample=2, learn=[])
    wet = render(model, dry, 0.3).output
    return dry, wet - wet.mean()


def dirty(wet: Signal) -> Signal:
    """With noise at -50 dB and hum at -40 dB of the peak."""
    time = np.arange(len(wet)) / RATE
    hum = sum(np.sin(2.0 * np.pi * 50.0 * k * time + k) / k for k in (1, 2, 3, 4, 5))
    return wet + np.abs(wet).max() * (0.0032 * random(0, len(wet)) + 0.01 * hum)


@pytest.mark.parametrize(("device", "material"), CASES)
def test_delay_and_polarity_through_our_circuits(device: str, material: str) -> None:
    dry, wet = played(device, material)
    clean = align(dry, wet, RATE)
    # The device's own phase moves the peak by a fraction of a millisecond; what follows is measured from there.
    assert abs(clean.delay) < 0.0005 * RATE
    assert clean.confidence > DOUBTFUL
    # Played back late; cut at both ends, in mid-note.
    for changed, delay in ((np.concatenate([np.zeros(1234), wet]), 1234), (wet[4700:-8000], -4700)):
        found = align(dry, -0.1 * dirty(changed), RATE)
        assert abs(found.delay - delay - clean.delay) <= 3
        assert found.polarity == -clean.polarity


def test_the_same_delay_in_seconds_at_every_rate_and_for_long_files() -> None:
    for rate in (16000, 44100, 96000):
        dry = np.concatenate([np.zeros(rate // 3), plucked_string(146.8, 1.0, rate)])
        found = align(dry, np.tanh(20.0 * np.concatenate([np.zeros(rate // 10), dry])), rate)
        assert found.delay == pytest.approx(rate / 10, abs=0.0001 * rate)
    rate = 16000
    notes = [plucked_string(98.0 * 2.0 ** float(x), 1.1, rate) for x in np.random.default_rng(0).uniform(0.0, 2.0, 24)]
    dry = np.concatenate([np.zeros(7 * rate), *notes])
    wet = np.tanh(20.0 * dry)
    begin = 9 * rate + 7
    found = align(dry, wet[begin:], rate)
    assert abs(found.delay + begin) <= 2
    assert found.confidence > DOUBTFUL


def test_what_does_not_belong_together_is_doubtful() -> None:
    note, other = plucked_string(246.9, 2.0, RATE), plucked_string(196.0, 2.0, RATE)
    time = np.arange(2 * RATE) / RATE
    for dry, wet in (
        (random(1, 2 * RATE), random(2, 2 * RATE)),
        (note, random(2, 2 * RATE)),
        (note, np.tanh(30.0 * other[2000:])),
        # A smooth decay through a linear device, without its beginning.
        (note, note[8000:-8000]),
        # Nothing tells one period of a steady tone from the next.
        (np.sin(2.0 * np.pi * 441.0 * time), np.sign(np.sin(2.0 * np.pi * 441.0 * time))),
    ):
        assert align(dry, wet, RATE).confidence < DOUBTFUL


@pytest.mark.recordings
@pytest.mark.skipif(not DATA.is_dir(), reason="the recordings of real devices are not here")
@pytest.mark.parametrize("pedal", ["TubeScreamer", "RAT", "BluesDriver"])
def test_real_pedals(pedal: str) -> None:
    """The output begins 4410 samples into the input."""
    for clip in range(3):
        dry, rate = soundfile.read(DATA / "egfx" / pedal / f"clip_{clip}_in.wav")
        wet, _ = soundfile.read(DATA / "egfx" / pedal / f"clip_{clip}_out.wav")
        found = align(dry, wet, rate)
        assert abs(found.delay + 4410) <= 5
        assert found.polarity == 1
        assert found.confidence > DOUBTFUL


@pytest.mark.recordings
@pytest.mark.skipif(not DATA.is_dir(), reason="the recordings of real devices are not here")
def test_a_real_amplifier_at_several_positions_of_its_knobs() -> None:
    dry, rate = soundfile.read(DATA / "jvm410h" / "riff9_in.wav")
    found = []
    for setting in ("B5_M5_T0", "B5_M5_T10", "B0_M5_T5", "B10_M5_T5", "B5_M0_T5", "B5_M10_T5"):
        wet, _ = soundfile.read(DATA / "jvm410h" / f"riff9_{setting}_out.wav")
        found.append(align(dry, wet, rate))
    delays = [alignment.delay for alignment in found]
    assert max(delays) - min(delays) <= 2
    assert 0 <= min(delays) <= 8
    assert {alignment.polarity for alignment in found} == {-1}
    assert min(alignment.confidence for alignment in found) > 3.0
