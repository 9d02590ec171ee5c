"""Everything that a recording may have beside the device in it: the values stay those of a clean one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from reference.load import recovery_case
from reference.signals import EXAMPLE, guitar, times

from circuitnn import CircuitModel, FitResult, Recording, fit, parse_netlist, read_netlist
from circuitnn.netlist import format_netlist
from circuitnn.rendering import render

RATE, LEVEL = 44100, 1.0
CASE = recovery_case("ts808_clipper")


@dataclass(frozen=True)
class Dirt:
    """What happens to a recording. delay: samples of the dry's rate; hum, noise: against the sound, as amplitudes."""

    delay: float = 0.0
    gain: float = 0.6
    offset: float = 0.0
    hum: float = 0.0
    noise: float = 0.0
    rate: int = RATE
    dry_format: str = "FLOAT"


DIRTY = Dirt(37.3, -0.21, 0.01, 10.0 ** (-50.0 / 20.0), 10.0 ** (-55.0 / 20.0), 48000, "PCM_24")
CASES = {
    "delay": Dirt(delay=DIRTY.delay),
    "gain, offset and format": Dirt(gain=DIRTY.gain, offset=DIRTY.offset, dry_format=DIRTY.dry_format),
    "hum": Dirt(hum=DIRTY.hum),
    "noise": Dirt(noise=DIRTY.noise),
    "rate": Dirt(rate=DIRTY.rate),
    "all": DIRTY,
}


def recorded(folder: Path, dirt: Dirt) -> Recording:
    """The Tube Screamer's clipper with drifted values, at 8 times its recorder's rate, written to files and read again.

    The signal is a formula, so what the device hears is late by a fraction of a sample without any interpolation.
    """
    soundfile.write(folder / "dry.wav", 0.9 * guitar(EXAMPLE, times(EXAMPLE, RATE)), RATE, subtype=dirt.dry_format)
    time = times(EXAMPLE, dirt.rate)
    device = parse_netlist(format_netlist(read_netlist(CASE.netlist), CASE.truth))
    model = CircuitModel(device, dirt.rate, oversample=8, learn=[])
    wet = dirt.gain * render(model, 0.9 * guitar(EXAMPLE, time - dirt.delay / RATE), LEVEL).output
    level = float(wet.std())
    hum = np.sum([a * np.cos(2.0 * np.pi * 50.0 * k * time + k) for k, a in ((1, 1.0), (2, 0.3), (3, 0.5))], 0)
    noise = np.random.default_rng(1).standard_normal(len(time))
    wet = wet + level * (dirt.hum * hum / hum.std() + dirt.noise * noise) + dirt.offset
    soundfile.write(folder / "wet.wav", wet, dirt.rate, subtype="FLOAT")
    return Recording.from_wav(folder / "dry.wav", folder / "wet.wav")


def fitted(recording: Recording) -> FitResult:
    """With the knob's position and the level written down: what is left is told by the recording, not by priors."""
    names = ["C2", "R4", "C3", "C4", "DCLIP.is", "DCLIP.n"]
    model = CircuitModel(read_netlist(CASE.netlist), RATE, learn=names)
    return fit(model, [replace(recording, knobs={"drive": CASE.truth["drive"]})], input_level=LEVEL)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    return fitted(recorded(tmp_path_factory.mktemp("clean"), Dirt()))


@pytest.mark.parametrize("name", CASES)
def test_the_values_are_those_of_a_clean_recording(clean: FitResult, tmp_path: Path, name: str) -> None:
    dirt = CASES[name]
    result = fitted(recorded(tmp_path, dirt))
    for value, expected in clean.values.items():
        interval = 1.96 * math.hypot(result.stderr[value], clean.stderr[value])
        assert abs(result.values[value] - expected) < interval, value
    (one,) = result.recordings
    assert one.delay == pytest.approx(dirt.delay, abs=0.02)
    assert one.gain == pytest.approx(dirt.gain, rel=0.05)
    assert one.offset == pytest.approx(dirt.offset, abs=2e-4)
    assert [round(line) for line in one.hum] == ([50, 100, 150] if dirt.hum else [])
    # What is left is the noise, and at another rate what lies beyond the wet's own band.
    assert result.esr < 2.0 * dirt.noise**2 + 1e-5
