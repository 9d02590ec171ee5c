"""Delay and polarity from sound alone: through our own circuits, with what recordings have wrong, and of real devices."""

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
RATE = 44100


def random(seed: int, count: int) -> Signal:
    return np.random.default_rng(seed).standard_normal(count)


def quiet_then(sound: Signal) -> Signal:
    return np.concatenate([np.zeros(RATE // 5), sound])


MATERIAL: dict[str, Callable[[], Signal]] = {
    "note": lambda: quiet_then(plucked_string(246.9, 3.0, RATE)),
    "low note": lambda: quiet_then(plucked_string(82.4, 3.0, RATE)),
    "chord": lambda: quiet_then(chord([110.0, 164.8, 220.0, 277.2], 3.0, RATE)),
    "noise": lambda: 0.3 * random(3, 2 * RATE),
}
DEVICES = {"rat": {}, "fuzz_face_silicon": {}, "marshall_tone_stack": {}}


@cache
def played(device: str, material: str) -> tuple[Signal, Signal]:
    """Dry and what the device makes of it, without delay."""
    dry = MATERIAL[material]()
    model = CircuitModel(read_netlist(ROOT / "netlists" / f"{device}.cir"), RATE, oversample=2, learn=[])
    wet = render(model, dry, 0.3).output
    return dry, wet - wet.mean()


def dirty(wet: Signal, seed: int = 0) -> Signal:
    """With noise at -50 dB and hum at -40 dB of the peak."""
    time = np.arange(len(wet)) / RATE
    hum = sum(np.sin(2.0 * np.pi * 50.0 * k * time + k) / k for k in (1, 2, 3, 4, 5))
    return wet + np.abs(wet).max() * (0.0032 * random(seed, len(wet)) + 0.01 * hum)


@pytest.mark.parametrize("material", MATERIAL)
@pytest.mark.parametrize("device", DEVICES)
def test_through_our_circuits(device: str, material: str) -> None:
    dry, wet = played(device, material)
    clean = align(dry, wet, RATE)
    # The device's own phase counts as delay; everything below is measured from here.
    assert abs(clean.delay) < 25
    assert clean.confidence > DOUBTFUL
    late = np.concatenate([np.zeros(1234), wet])
    for changed, delay in ((late, 1234), (wet[9000:], -9000), (wet[4410:-20000], -4410)):
        found = align(dry, -0.1 * dirty(changed), RATE)
        assert abs(found.delay - delay - clean.delay) <= 12
        assert found.polarity == -clean.polarity
        assert found.confidence > DOUBTFUL
