"""Netlists of the library against closed forms from the literature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from circuitnn.inspection.linearised import Linearised, linearise
from circuitnn.mna import build_equations
from circuitnn.netlist import read_netlist
from circuitnn.operating_point import operating_point
from circuitnn.symbolic import NUMPY
from circuitnn.values import resolve

FREQUENCIES = np.geomspace(20.0, 20e3, 61)


def small_signal(path: Path, **values: float) -> Linearised:
    """The netlist linearised at rest, with some of its values changed."""
    circuit = read_netlist(path)
    equations, resolved = build_equations(circuit), resolve(circuit, values, NUMPY)
    return linearise(equations, resolved, operating_point(equations, resolved, circuit.temperature))


def response(path: Path, frequencies: NDArray[np.float64] = FREQUENCIES, **values: float) -> NDArray[np.complex128]:
    """Output over input."""
    return small_signal(path, **values).response(frequencies.tolist()).gain[:, 0, 0]


def fender(t: float, m: float, l: float, p: Mapping[str, float]) -> NDArray[np.complex128]:  # noqa: E741
    """Yeh and Smith, "Discretization of the '59 Fender Bassman tone stack", DAFx-06, equation 1."""
    c1, c2, c3, r1, r2, r3, r4 = (p[name] for name in ("C1", "C2", "C3", "R1", "R2", "R3", "R4"))
    b1 = t * c1 * r1 + m * c3 * r3 + l * (c1 * r2 + c2 * r2) + (c1 * r3 + c2 * r3)
    b2 = (
        t * (c1 * c2 * r1 * r4 + c1 * c3 * r1 * r4)
        - m**2 * (c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + m * (c1 * c3 * r1 * r3 + c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + l * (c1 * c2 * r1 * r2 + c1 * c2 * r2 * r4 + c1 * c3 * r2 * r4)
        + l * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        + (c1 * c2 * r1 * r3 + c1 * c2 * r3 * r4 + c1 * c3 * r3 * r4)
    )
    b3 = (
        c1 * c2 * c3 * (
            l * m * (r1 * r2 * r3 + r2 * r3 * r4) - m**2 * (r1 * r3**2 + r3**2 * r4) + m * (r1 * r3**2 + r3**2 * r4)
            + t * r1 * r3 * r4 - t * m * r1 * r3 * r4 + t * l * r1 * r2 * r4
        )
    )  # fmt: skip
    a1 = (c1 * r1 + c1 * r3 + c2 * r3 + c2 * r4 + c3 * r4) + m * c3 * r3 + l * (c1 * r2 + c2 * r2)
    a2 = (
        m * (c1 * c3 * r1 * r3 - c2 * c3 * r3 * r4 + c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + l * m * (c1 * c3 * r2 * r3 + c2 * c3 * r2 * r3)
        - m**2 * (c1 * c3 * r3**2 + c2 * c3 * r3**2)
        + l * (c1 * c2 * r2 * r4 + c1 * c2 * r1 * r2 + c1 * c3 * r2 * r4 + c2 * c3 * r2 * r4)
        + (
            c1 * c2 * r1 * r4 + c1 * c3 * r1 * r4 + c1 * c2 * r3 * r4 + c1 * c2 * r1 * r3 + c1 * c3 * r3 * r4
            + c2 * c3 * r3 * r4
        )
    )  # fmt: skip
    a3 = (
        c1 * c2 * c3 * (
            l * m * (r1 * r2 * r3 + r2 * r3 * r4) - m**2 * (r1 * r3**2 + r3**2 * r4)
            + m * (r3**2 * r4 + r1 * r3**2 - r1 * r3 * r4) + l * r1 * r2 * r4 + r1 * r3 * r4
        )
    )  # fmt: skip
    s = 2j * np.pi * FREQUENCIES
    return (b1 * s + b2 * s**2 + b3 * s**3) / (1.0 + a1 * s + a2 * s**2 + a3 * s**3)


STACKS = {
    "fmv_tone_stack": {"C1": 250e-12, "C2": 20e-9, "C3": 20e-9, "R1": 250e3, "R2": 1e6, "R3": 25e3, "R4": 56e3},
    "marshall_tone_stack": {"C1": 470e-12, "C2": 22e-9, "C3": 22e-9, "R1": 220e3, "R2": 1e6, "R3": 22e3, "R4": 33e3},
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize(
    ("treble", "middle", "bass"), [(0.1, 0.5, 0.9), (0.5, 0.5, 0.5), (1.0, 0.0, 0.3), (0.0, 1.0, 1.0)]
)
def test_tone_stacks_follow_yeh_and_smith(netlists: Path, name: str, treble: float, middle: float, bass: float) -> None:
    found = response(netlists / f"{name}.cir", treble=treble, middle=middle, bass=bass, end_stop=0.0)
    np.testing.assert_allclose(found, fender(treble, middle, bass, STACKS[name]), rtol=1e-9)


def test_big_muff_tone_stack_is_two_filters_and_a_mixer(netlists: Path) -> None:
    """Without source resistance and load: a low-pass and a high-pass, mixed by the conductances of the pot."""
    s, tone = 2j * np.pi * FREQUENCIES, 0.3
    low, high = 1.0 / (1.0 + s * 39e3 * 10e-9), 1.0 / (1.0 + 1.0 / (s * 22e3 * 3.9e-9))
    # Thevenin's resistance of each side: the resistor beside its capacitor.
    low_side = 39e3 * low + 100e3 * tone
    high_side = 22e3 * (1.0 - high) + 100e3 * (1.0 - tone)
    expected = (low * high_side + high * low_side) / (low_side + high_side)
    found = response(netlists / "big_muff_tone_stack.cir", tone=tone, end_stop=0.0, RS=1e-6, RL=1e15, C3=1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("bass", "treble"), [(0.1, 0.5), (0.9, 0.2), (1.0, 1.0)])
def test_baxandall_mirrors_itself(netlists: Path, bass: float, treble: float) -> None:
    """Knobs turned as far the other way exchange input and feedback: the gain becomes its reciprocal."""
    path = netlists / "baxandall.cir"
    there, back = response(path, bass=bass, treble=treble), response(path, bass=1.0 - bass, treble=1.0 - treble)
    np.testing.assert_allclose(there * back, 1.0, rtol=1e-3)
    low = response(path, np.array([1e-3]), bass=1.0, treble=treble)
    assert abs(low[0]) == pytest.approx((22e3 + 100e3) / 22e3, rel=2e-3)


@pytest.mark.parametrize("cutoff", [0.2, 0.8])
def test_ladder_is_four_equal_sections_with_feedback(netlists: Path, cutoff: float) -> None:
    """Stinchcombe, "Analysis of the Moog Transistor Ladder and Derivative Filters" (2008): 1/((1 + s/w)^4 + k)."""
    path = netlists / "moog_ladder.cir"
    frequency = 30.0 * 500.0**cutoff
    frequencies = frequency * np.array([0.01, 0.3, 1.0, 2.0])
    section = 1.0 + 1j * frequencies / frequency
    gain = 100.0 * 470.0 / (47e3 + 470.0)
    # Base currents (1/416 of the emitters') and Early's effect are not in the formula.
    open_loop = response(path, frequencies, cutoff=cutoff, resonance=0.0)
    np.testing.assert_allclose(open_loop, gain / section**4, rtol=0.06)
    k = 100.0 * 470.0 / (12e3 + 470.0 + 2.5e3)
    closed = response(path, frequencies, cutoff=cutoff, resonance=0.5)
    np.testing.assert_allclose(closed, gain / (section**4 + k / 2.0), rtol=0.06)


@pytest.mark.parametrize("resonance", [0.0, 0.5, 1.0])
def test_ms20_is_sallen_and_key_s_low_pass(netlists: Path, resonance: float) -> None:
    """Stinchcombe, "A Study of the Korg MS10 & MS20 Filters" (2006): 1/(1 + (2 - K) s/w + s^2/w^2)."""
    frequency = 30.0 * math.sqrt(500.0)
    frequencies = frequency * np.array([0.3, 0.9, 1.0, 1.1, 3.0])
    s = 1j * frequencies / frequency
    K = resonance * (1.0 + 2.0 / 2.2)
    # C9 and the pot behind it take bass out of the feedback; far below w they would show.
    found = response(netlists / "ms20_filter.cir", frequencies, level=1.0, cutoff=0.5, resonance=resonance, C9=1.0)
    np.testing.assert_allclose(found, 1.0 / (1.0 + (2.0 - K) * s + s**2), rtol=6e-3)


@pytest.mark.parametrize(("name", "quality"), [("moog_ladder", 20.0), ("ms20_filter", 10.0)])
@pytest.mark.parametrize("cutoff", [0.3, 0.6, 1.0])
def test_resonance_ends_below_self_oscillation(netlists: Path, name: str, quality: float, cutoff: float) -> None:
    """Well above 3 Hz, where the coupling capacitor of the MS-20's resonance turns the phase."""
    poles = small_signal(netlists / f"{name}.cir", cutoff=cutoff, resonance=1.0).poles()
    assert all(pole.q > 0.0 for pole in poles)
    resonant = max(poles, key=lambda pole: pole.q)
    assert resonant.q > quality
    assert resonant.frequency == pytest.approx(30.0 * 500.0**cutoff, rel=0.06)


PUBLISHED = {
    # Fender's drawing I-EG, which states a tolerance of 20 %
    "bassman_5f6a": {"p1": 150.0, "k1": 2.5, "p2": 180.0, "k3": 180.0, "bb": 325.0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_operating_points_are_near_the_published_ones(netlists: Path, name: str) -> None:
    circuit = read_netlist(netlists / f"{name}.cir")
    equations = build_equations(circuit)
    point = operating_point(equations, resolve(circuit, {}, NUMPY), circuit.temperature)
    voltages = dict(zip(equations.unknowns, point.z, strict=True))
    for node, voltage in PUBLISHED[name].items():
        assert voltages[f"v({node})"] == pytest.approx(voltage, rel=0.1), node
