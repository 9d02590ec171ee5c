"""Recordings of the test signal are aligned by its blips; all others as before."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from circuitnn import CircuitModel, FitResult, Recording, fit, read_netlist
from circuitnn.audio import resampled
from circuitnn.evaluation import render
from circuitnn.excitation import blip_times, excitation, plucked_string
from circuitnn.fitting.alignment import align
from circuitnn.fitting.blips import aligned, played_blips

Signal = NDArray[np.float64]
NETLISTS = Path(__file__).parents[1] / "netlists"
RATE, SECONDS, DELAY = 44100, 20.0, 37
DEVICES = ("rat", "marshall_tone_stack", "klon_centaur")


@cache
def played() -> Signal:
    return excitation(RATE, SECONDS)


@cache
def returned(device: str, seconds: float) -> Signal:
    """The beginning of the test signal through a circuit, late by 37 samples and inverted, with noise at -55 dB."""
    model = CircuitModel(read_netlist(NETLISTS / f"{device}.cir"), RATE, 2, learn=[])
    wet = render(model, played()[: round(seconds * RATE)], 0.5).output
    wet = -0.5 * np.concatenate([np.zeros(DELAY), wet - np.median(wet)]) / np.abs(wet).max()
    return wet + 0.5 * 10.0 ** (-55.0 / 20.0) * np.random.default_rng(0).standard_normal(len(wet))


@pytest.mark.parametrize("device", DEVICES)
def test_the_delay_is_exact_to_a_sample(device: str) -> None:
    wet = returned(device, 4.0)
    found = aligned(played(), wet, RATE)
    assert abs(found.delay - DELAY) <= 1
    assert found.confidence > 5.0
    assert found.polarity == (-1 if device != "klon_centaur" else found.polarity)
    # A wet that began before the dry, or was cut shortly before the first blip.
    assert abs(aligned(played(), wet[10000:], RATE).delay - (DELAY - 10000)) <= 1
    late = np.concatenate([1e-3 * np.random.default_rng(1).standard_normal(30000), wet])
    assert abs(aligned(played(), late, RATE).delay - (DELAY + 30000)) <= 1


def test_where_correlation_errs() -> None:
    """Three blips' worth of sound through a distortion tell correlation the time within its phase only."""
    wet = returned("rat", 4.0)
    by_sound = align(played()[: 4 * RATE], wet, RATE)
    by_blips = aligned(played()[: 4 * RATE], wet, RATE)
    assert abs(by_blips.delay - DELAY) <= 1 < abs(by_sound.delay - DELAY)
    assert by_blips.confidence > by_sound.confidence


def test_what_is_played_is_known_by_its_shape() -> None:
    places = [round(at * RATE) for at in blip_times(SECONDS)]
    assert played_blips(played(), RATE) == places
    # Trimmed at the begin, as sessions are; without its end; at another rate; as a 16-bit file.
    assert played_blips(played()[5000:], RATE) == [place - 5000 for place in places]
    assert played_blips(played()[: 5 * RATE], RATE) == places[:2]
    at_48 = played_blips(resampled(played(), RATE, 48000), 48000)
    assert at_48 == pytest.approx([place * 48000 / RATE for place in places], abs=1.0)
    assert played_blips(np.round(played() * 32767.0) / 32767.0, RATE) == places
    # Neither a half of it, nor music, clicks or silence.
    others = (
        played()[round(0.7 * RATE) :],
        np.concatenate([np.zeros(RATE), plucked_string(196.0, 1.0, RATE)]),
        np.where(np.arange(3 * RATE) % (RATE // 2) == RATE // 4, 0.9, 0.0),
        np.zeros(RATE),
        np.random.default_rng(0).standard_normal(2 * RATE),
    )
    for other in others:
        assert played_blips(other, RATE) == []


def test_without_blips_sound_decides() -> None:
    """Also if the dry has them and the wet does not: other takes have steps half a second apart, too."""
    note = np.concatenate([np.zeros(RATE // 4), plucked_string(196.0, 1.0, RATE)])
    wet = np.concatenate([np.zeros(50), np.tanh(5.0 * note)])
    assert aligned(note, wet, RATE) == align(note, wet, RATE)
    late = np.concatenate([played()[2 * RATE : 6 * RATE], np.zeros(RATE)])
    assert aligned(played()[: 6 * RATE], late, RATE) == align(played()[: 6 * RATE], late, RATE)


def fitted(wet: Signal) -> FitResult:
    model = CircuitModel(read_netlist(NETLISTS / "marshall_tone_stack.cir"), RATE, 1, ["C1"])
    return fit(model, [Recording(played(), wet, RATE, name="wet.wav")], input_level=0.5, max_iterations=3)


def test_clocks_that_ran_apart_are_reported() -> None:
    wet = returned("marshall_tone_stack", SECONDS)
    steady = fitted(wet).recordings[0]
    assert steady.drift == pytest.approx(0.0, abs=5e-7)
    assert steady.delay == pytest.approx(DELAY, abs=0.1)
    # 20 parts per million: 18 samples in as many seconds.
    message = r"wet\.wav: the clocks .* apart by 20\.\d parts per million, \+17\.\d samples"
    with pytest.warns(UserWarning, match=message):
        drifting = fitted(resampled(wet, 1_000_000, 1_000_020)).recordings[0]
    assert drifting.drift == pytest.approx(20e-6, abs=1e-6)
