"""Sensitivities of the response, against closed forms, invariants of circuits, and whole solutions elsewhere."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from circuits import CASES, parse
from numpy.typing import NDArray

from circuitnn.circuit import Circuit
from circuitnn.inspection import Inspection, inspect
from circuitnn.inspection.linearised import linearise
from circuitnn.netlist import parse_netlist, read_netlist
from circuitnn.operating_point import operating_point
from circuitnn.symbolic import NUMPY
from circuitnn.tapers import value_at
from circuitnn.values import resolve

FREQUENCIES = (30.0, 700.0, 9e3)
# dB of a factor e, times the change that is stated.
DECIBEL = 0.1 * 20.0 / np.log(10.0)
NETLISTS = ("fmv_tone_stack", "ts808", "big_muff", "tube_preamp")


def test_a_low_pass() -> None:
    """ln |H| = -ln(1 + w^2) / 2 with w = omega R C, so d ln |H| / d ln R = -w^2 / (1 + w^2), and the same for C."""
    found = inspect(parse("Vin in 0 0\nR1 in out 10k\nC1 out 0 10n\n*@ input Vin\n*@ output out")).sensitivities(
        FREQUENCIES
    )
    w = 2 * np.pi * np.array(FREQUENCIES) * 1e-4
    assert found.names == ("R1", "C1")
    for level in found.level[:, :, 0, 0]:
        np.testing.assert_allclose(level, -DECIBEL * w**2 / (1 + w**2), rtol=1e-10)
    assert found.ranking() == [0, 1]


def test_a_diode_shifts_with_its_bias() -> None:
    """A bias current I flows through a diode alone, whose slope is then n V_T / (I + IS): gain r_d / (R + r_d)."""
    found = inspect(
        parse(
            "Vin in 0 0\nR1 in a 1k\nC1 a out 1\nI1 0 out 1m\nD1 out 0 DM\n.model DM D(IS=1n N=1.5)\n"
            "*@ input Vin\n*@ output out"
        )
    ).sensitivities([1e4])
    slope = 1.5 * 1.380649e-23 * 300.15 / 1.602176634e-19 / 1e-3
    share = 1e3 / (1e3 + slope)
    expected = {"R1": -share, "I1": -share, "DM.n": share, "DM.is": 0.0, "C1": 0.0}
    levels = dict(zip(found.names, found.level[:, 0, 0, 0], strict=True))
    assert levels == {name: pytest.approx(DECIBEL * value, abs=1e-5) for name, value in expected.items()}


def test_scaling_all_impedances_changes_nothing_and_scaling_all_times_moves_along(netlists: Path) -> None:
    """A gain depends on R, L and 1/C in the same degree, and on frequency as on all L and C together."""
    for circuit in (read_netlist(netlists / "fmv_tone_stack.cir"), CASES["rlc"].circuit):
        inspection = inspect(circuit)
        found = inspection.sensitivities(FREQUENCIES)
        levels = dict(zip(found.names, found.level[..., 0], strict=True))
        knobs = {knob.name for knob in inspection.knobs}
        reactive = [levels[name] for name in inspection.states]
        capacitors = sum(levels[name] for name in inspection.states if name.startswith("C"))
        resistances = sum(level for name, level in levels.items() if name not in {*knobs, *inspection.states})
        inductors = sum(levels[name] for name in inspection.states if name.startswith("L"))
        np.testing.assert_allclose(resistances + inductors - capacitors, 0.0, atol=1e-10)
        step = 1e-4
        for k, frequency in enumerate(FREQUENCIES):
            low, high = inspection.linearised.response([frequency * (1 - step), frequency * (1 + step)]).gain[..., 0]
            slope = np.log(np.abs(high / low)) / (2 * step)
            np.testing.assert_allclose(sum(reactive)[k], DECIBEL * slope, rtol=1e-5, atol=1e-9)


def response(inspection: Inspection, name: str, value: float) -> NDArray[np.float64]:
    """ln |H| after solving everything again with another value."""
    values = resolve(inspection.circuit, {name: value}, NUMPY)
    point = operating_point(inspection.equations, values, inspection.circuit.temperature, inspection.point)
    gain = linearise(inspection.equations, values, point).response(FREQUENCIES).gain
    magnitude: NDArray[np.float64] = np.log(np.maximum(np.abs(gain), 1e-300))
    return magnitude


def assert_sensitivities(circuit: Circuit, names: tuple[str, ...] | None = None) -> None:
    inspection = inspect(circuit)
    found = inspection.sensitivities(FREQUENCIES)
    knobs = {knob.name: knob for knob in inspection.knobs}
    couplings = {element.name for element in circuit.elements if element.kind == "K"}
    gain = np.abs(inspection.linearised.response(FREQUENCIES).gain)
    # What does not come through has no level.
    through = gain > 1e-9
    for k, name in enumerate(found.names):
        if names is not None and name not in names:
            continue

        def at(offset: float, name: str = name) -> NDArray[np.float64]:
            if name in knobs:
                return response(inspection, name, float(value_at(knobs[name].taper, knobs[name].position + offset)))
            value = inspection.values[name]
            if name in couplings:
                return response(inspection, name, math.copysign(1.0 - (1.0 - abs(value)) * (1.0 + offset), value))
            return response(inspection, name, value * (1.0 + offset))

        step = 3e-4
        quotient = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
        np.testing.assert_allclose(found.level[k][through], DECIBEL * quotient[through], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_small_circuits_against_solving_again(name: str) -> None:
    assert_sensitivities(CASES[name].circuit)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("big_muff", ("VCC", "R3", "R10", "C10", "sustain", "tone_pot", "DCLIP.n", "QNPN.bf", "QNPN.vaf")),
        ("tube_preamp", ("VBB", "RP1", "RK2", "C1", "mu", "kp", "ex", "kvb", "volume", "DGRID.is")),
        ("ts808", ("VBIAS", "R2", "R4", "drive", "end_stop", "QBUF.bf", "QBUF.is")),
    ],
)
def test_netlists_against_solving_again(name: str, values: tuple[str, ...], netlists: Path) -> None:
    circuit = read_netlist(netlists / f"{name}.cir")
    assert set(values) <= set(inspect(circuit).sensitivities(FREQUENCIES).names)
    assert_sensitivities(circuit, values)


@pytest.mark.parametrize("taper", ["linear", "log", "antilog", "s"])
def test_a_knob_is_measured_by_its_travel(taper: str) -> None:
    card = f"*@ knob k taper={taper}\n.param k={float(value_at(taper, 0.4))!r}"
    circuit = parse_netlist(
        f"t\n*@ input Vin\n*@ output out\n{card}\nVin in 0 0\nR1 in out {{1k + 9k*k}}\nC1 out 0 10n\n.end\n"
    )
    assert_sensitivities(circuit)


def test_sources_within_a_model_are_no_parts() -> None:
    cards = ".subckt BUFFER i o\nE1 x 0 i 0 2\nV1 y x 1\nR1 y o 1k\n.ends\nX1 in out BUFFER\nR2 out 0 1k\nV2 z 0 5\n"
    found = inspect(parse(f"{cards}Vin in 0 0\nR3 z out 1k\n*@ input Vin\n*@ output out")).sensitivities([1e3])
    assert sorted(found.names) == ["R.X1.R1", "R2", "R3", "V2"]


def test_what_is_blocked_has_no_sensitivity() -> None:
    found = inspect(parse("Vin in 0 0\nR1 in 0 1k\nV1 out 0 1\nR2 out 0 1k\n*@ input Vin\n*@ output out"))
    sensitivities = found.sensitivities([1e3])
    assert np.isnan(sensitivities.level).all()
    assert sensitivities.ranking() == [0, 1, 2]


def test_a_knob_at_its_stop_matters_and_a_value_of_zero_has_no_tenth() -> None:
    cards = "*@ knob k\n.param k=0\nVin in 0 0\nR1 in a {k*10k}\nR0 a out 0\nR2 out 0 1k\n*@ input Vin\n*@ output out"
    found = inspect(parse(cards)).sensitivities([1e3])
    # H = 1k / (1k + 10k k): d ln H / d k = -10 at k = 0.
    levels = dict(zip(found.names, found.level[:, 0, 0, 0], strict=True))
    assert levels == {"k": pytest.approx(-10.0 * DECIBEL), "R2": pytest.approx(0.0, abs=1e-12)}
