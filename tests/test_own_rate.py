"""Exported networks at sampling rates other than their own."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from exported import WARNINGS, compiler
from numpy.typing import NDArray

from circuitnn import Chain, CircuitModel, parse_netlist
from circuitnn.errors import ConvergenceError
from circuitnn.exporting import export_subject
from circuitnn.exporting.deployed import Deployed
from circuitnn.exporting.subject import NetworkSubject
from circuitnn.models.architectures import build_network
from circuitnn.models.network import Network
from circuitnn.models.recurrent import Recurrent
from circuitnn.playable import converted

pytestmark = pytest.mark.usefixtures("one_thread")

OWN = 44100
RATES = [8000, 22050, 44056, 48000, 96000, 192000, 384000]
BIAS = 0.25
RC = """a low-pass of 339 Hz
Vin in 0 0
R1 in out 100k
C1 out 0 4.7n
*@ input Vin
*@ output out
.end
"""

Signal = NDArray[np.float64]


def wire() -> Network:
    """What comes in, and BIAS."""
    network = Recurrent("lstm", 2, True)
    with torch.no_grad():
        network.dense.weight.zero_()
        network.dense.bias.fill_(BIAS)
    return network


@cache
def of_wire() -> Deployed:
    return Deployed(NetworkSubject("wire", wire(), OWN))


def sine(frequency: float, rate: int, time: int) -> Signal:
    wave: Signal = np.sin(2.0 * np.pi * frequency * np.arange(time) / rate)
    return wave


@pytest.mark.parametrize("rate", RATES)
def test_what_both_rates_hold_passes_as_it_is(rate: int) -> None:
    """To -92 dB up to 0.45 of the lower rate, late by what the processor says."""
    for part in (0.001, 0.1, 0.25, 0.4, 0.449):
        u = sine(part * min(rate, OWN), rate, 8000)
        found = of_wire().render(u, sample_rate=rate).output
        # But for the ends, where the sine begins and breaks off.
        assert np.abs(found - BIAS - u)[1500:-1500].max() < 10 ** (-92 / 20), part


@pytest.mark.parametrize("rate", [96000, 192000])
def test_what_is_beyond_its_own_rate_does_not_reach_it(rate: int) -> None:
    """From 0.55 of its own rate on: there nothing is mirrored."""
    for frequency in (24300.0, 31000.0, 43100.0, 0.49 * rate):
        found = of_wire().render(sine(frequency, rate, 8000), sample_rate=rate).output
        assert np.abs(found - BIAS)[1500:-1500].max() < 10 ** (-95 / 20), frequency


def test_what_it_makes_beyond_the_hosts_rate_is_not_heard() -> None:
    """Harmonics of a network that runs at four times the host's rate: those below its half are there, and no others."""
    network, rate = build_network("wavenet-2"), 22050
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 1.5
    exported = Deployed(NetworkSubject("net", network, 4.0 * rate))

    def lines(played_at: int) -> Signal:
        """Amplitudes at 0, 1, 2, ... Hz for a sine whose second harmonic the host does not have."""
        y = exported.player(sample_rate=played_at).play(sine(0.3 * rate, played_at, 2 * played_at)[:, None])[:, 0]
        amplitudes: Signal = 2.0 * np.abs(np.fft.rfft(y[-played_at:])) / played_at
        return amplitudes

    there, own = lines(rate), lines(4 * rate)
    both = int(0.45 * rate)
    assert own[2 * both :].max() > 1e-2
    assert np.abs(there[1:both] - own[1:both]).max() < 10 ** (-93 / 20)
    assert there[both:].max() < 10 ** (-93 / 20)


@pytest.mark.parametrize("rate", RATES)
def test_it_is_at_rest_from_the_first_sample_on(rate: int) -> None:
    found = of_wire().render(np.zeros(3000), sample_rate=rate).output
    assert np.abs(found - BIAS).max() < 1e-6


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
def test_it_is_the_network_between_converters(rate: int) -> None:
    """Those of soxr, for a sound of which the network makes nothing near either rate's half."""
    torch.manual_seed(1)
    subject = NetworkSubject("net", build_network("wavenet-2"), OWN)
    u = 0.3 * sine(220.0, rate, rate) * np.hanning(rate) + 0.2 * sine(331.0, rate, rate)
    found = Deployed(subject).render(u, sample_rate=rate).output
    expected = converted(Deployed(subject, "single").render, rate, OWN)(u).output
    inner = slice(rate // 4, -rate // 4)
    assert np.sum((found - expected)[inner] ** 2) < 1e-8 * np.sum(expected[inner] ** 2)


@pytest.mark.parametrize("oversample", [1, 2])
def test_a_chain_keeps_its_rate_and_its_time(oversample: int) -> None:
    """With a circuit in it, which is late by samples of the chain's rate; a low-pass in closed form."""
    chain = Chain(wire(), CircuitModel(parse_netlist(RC), float(OWN), oversample), wire())
    rate, time = 48000, 24000
    found = Deployed(NetworkSubject("gray", chain, OWN)).render(sine(339.0, rate, time), sample_rate=rate).output
    omega = 2.0 * np.pi * 339.0
    response = 1.0 / (1.0 + 1j * omega * 100e3 * 4.7e-9)
    expected = np.imag(response * np.exp(1j * omega * np.arange(time) / rate)) + 2.0 * BIAS
    # What the trapezoidal rule does to 339 Hz is less.
    assert np.abs(found - expected)[8000:-8000].max() < 3e-4


@pytest.mark.parametrize("rate", [22050, 48000, 192000])
def test_blocks_of_any_length_are_one(rate: int) -> None:
    """To the last bit: places are counted in whole numbers."""
    u = 0.3 * np.random.default_rng(0).standard_normal((6000, 1))
    whole = of_wire().player(sample_rate=rate).play(u, len(u))
    for length in (1, 7, 64):
        np.testing.assert_array_equal(of_wire().player(sample_rate=rate).play(u, length), whole)


def test_what_is_no_number_counts_as_silence() -> None:
    u = np.zeros((3000, 1))
    u[[0, 100, 700]] = [[np.nan], [np.inf], [-np.inf]]
    player = of_wire().player(sample_rate=48000)
    assert np.abs(player.play(u) - BIAS).max() < 1e-6
    assert player.failures == 0
    assert np.isfinite(player.play(np.full((500, 1), 1e300))).all()
    assert np.abs(player.play(u)[2000:] - BIAS).max() < 1e-6


def test_a_rate_that_is_too_far_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvergenceError, match="at 2000 Hz"):
        of_wire().player(sample_rate=2000)
    out = tmp_path / "wire"
    export_subject(NetworkSubject("wire", wire(), OWN), "cpp", out)
    subprocess.run([*compiler(), "-std=c++17", "-O1", *WARNINGS, "main.cpp", "-o", "play"], cwd=out, check=True)
    signal = 0.5 * sine(440.0, 96000, 9600)
    for rate, status in ((2000, 2), (96000, 0)):
        soundfile.write(out / "dry.wav", signal, rate, subtype="FLOAT")
        done = subprocess.run(["./play", "dry.wav", "wet.wav"], cwd=out, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert ("sampling rate" in done.stderr) == (status == 2)
        assert (out / "wet.wav").exists() == (status == 0)
    wet, rate = soundfile.read(out / "wet.wav")
    assert (rate, len(wet)) == (96000, len(signal))
    assert np.abs(wet - BIAS - signal)[1500:-1500].max() < 1e-4
