"""What a fit sees of a recording: in segments as in one piece, and with what the recorder added taken out."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from circuitnn import CircuitModel, Recording, parse_netlist
from circuitnn.excitation import plucked_string
from circuitnn.fitting import observation as module
from circuitnn.fitting import search
from circuitnn.fitting.observation import Observation
from circuitnn.fitting.problem import Evaluation, Point, Problem, observe
from circuitnn.fitting.unknowns import Unknowns
from circuitnn.netlist import format_netlist
from circuitnn.rendering import render

RATE = 22050
NETLIST = (
    "clipper\n*@ input Vin\n*@ output out\n*@ learn C1 D.n\n*@ knob mix 0.5\n.param mix=0.5\nVin in 0 0\n"
    "R1 in out {1k+mix*10k}\nC1 out 0 10n\nD1 out 0 D\nD2 0 out D\n.model D D(is=2n n=1.8)\n"
)
TRUTH = {"C1": 12e-9, "D.n": 1.75}


def recorded(frequency: float, mix: float, gain: float, level: float = 2.0) -> Recording:
    """The device with its true values at a position of its knob."""
    device = parse_netlist(format_netlist(parse_netlist(NETLIST), {**TRUTH, "mix": mix}))
    rest = np.zeros(RATE // 10)
    dry = 0.5 * np.concatenate([rest, plucked_string(frequency, 1.0, RATE)])
    return Recording(dry, gain * render(CircuitModel(device, RATE, 4, learn=[]), dry, level).output, RATE)


def evaluated(recording: Recording, delay: float, hum: tuple[float, ...] = ()) -> Evaluation:
    model = CircuitModel(parse_netlist(NETLIST), RATE, oversample=2)
    unknowns = Unknowns(model, [recording], None)
    problem = Problem(unknowns, model, observe(model, [recording], [delay], [hum]))
    (found,) = problem.evaluate([Point(np.array([0.1, -0.05, 0.3]), np.array([delay]))])
    assert found is not None
    return found


def test_segments_give_what_one_piece_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorded(196.0, 0.5, 0.7)
    piece = evaluated(recording, 0.3, (50.0,))
    monkeypatch.setattr(module, "SEGMENT_SECONDS", 0.2)
    monkeypatch.setattr(module, "DERIVATIVE_WARM_UP", 0.1)
    windows = Observation(CircuitModel(parse_netlist(NETLIST), RATE), recording, 0.3).windows(0.3)
    assert len(windows) == 5
    assert windows[1].start > 0
    segments = evaluated(recording, 0.3, (50.0,))
    # States are those of the whole simulation: the error is the same but for rounding.
    assert segments.error == pytest.approx(piece.error, rel=1e-12)
    assert segments.gains == pytest.approx(piece.gains, rel=1e-12)
    # Derivatives start at zero before each segment, and have settled where it begins.
    assert np.allclose(segments.H, piece.H, rtol=1e-9, atol=1e-12 * np.abs(piece.H).max())
    assert np.allclose(segments.b, piece.b, rtol=1e-9, atol=1e-12 * np.abs(piece.b).max())


def test_the_windows_of_a_recording_cover_its_span_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_SECONDS", 0.3)
    model = CircuitModel(parse_netlist(NETLIST), RATE)
    observation = Observation(model, recorded(196.0, 0.5, 1.0), 0.0)
    begin, end = observation.span(0.0)
    windows = observation.windows(0.0)
    assert (windows[0].begin, windows[-1].end) == (begin, end)
    for before, after in pairwise(windows):
        # The filters settle in as many samples.
        assert after.begin == before.end - module.SETTLING


def test_windows_begun_afresh_see_what_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread over a long recording, with the circuit at rest before each: its warm-up makes up for that."""
    monkeypatch.setattr(search, "SPREAD_AUDIO", 1.2)
    monkeypatch.setattr(search, "SPREAD_WINDOW", 0.2)
    monkeypatch.setattr(search, "SPREAD_WARM_UP", 0.1)
    recording = replace(long := recorded(196.0, 0.5, 0.7), dry=np.tile(long.dry, 3), wet=np.tile(long.wet, 3))
    model = CircuitModel(parse_netlist(NETLIST), RATE, oversample=2)
    unknowns, observations = Unknowns(model, [recording], None), observe(model, [recording], [0.3])
    windows = search.spread_windows([recording])(observations[0], 0.3)
    begin, end = observations[0].span(0.3)
    assert (windows[0].begin, windows[-1].end, len(windows)) == (begin, end, 6)
    assert [window.afresh for window in windows] == [False, *[True] * 5]
    point = Point(np.array([0.1, -0.05, 0.3]), np.array([0.3]))
    afresh, exact = (
        Problem(unknowns, model, observations, windows=lambda *_, parts=parts: parts).evaluate([point])[0]
        for parts in (windows, [replace(window, afresh=False) for window in windows])
    )
    assert afresh is not None
    assert exact is not None
    assert afresh.error == pytest.approx(exact.error, rel=1e-9)
    assert np.allclose(afresh.H, exact.H, rtol=1e-7, atol=1e-9 * np.abs(exact.H).max())


def test_offset_and_hum_are_found_and_taken_out() -> None:
    clean = recorded(196.0, 0.5, 0.7)
    time = np.arange(len(clean.wet)) / RATE
    dirty = replace(
        clean, wet=clean.wet + 0.02 + 0.01 * np.sin(2.0 * np.pi * 50.0 * time) + 0.004 * np.cos(700.0 * time)
    )
    found, reference = evaluated(dirty, 0.0, (50.0, 700.0 / (2.0 * np.pi))), evaluated(clean, 0.0)
    amplitudes = found.own[0].amplitudes
    assert amplitudes == pytest.approx([0.02, 0.0, 0.01, 0.004, 0.0], abs=1e-3)
    assert found.gains == pytest.approx(reference.gains, rel=2e-3)
    assert evaluated(dirty, 0.0).error > found.error
