"""The subcircuits of the part library do what their comments say: closed forms, ngspice, no failed samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import ngspice
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from circuitnn.circuit import Circuit
from circuitnn.discretise import DiscreteCircuit
from circuitnn.inspection import inspect
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist
from circuitnn.netlist.part_library import library_files
from circuitnn.simulate import simulate

Array = NDArray[np.float64]
SUPPLIES = "Vp vp 0 9\nVn vn 0 -9\n"
INVERTING = f"{SUPPLIES}R1 in m 10k\nR2 m out 100k\nX1 0 m vp vn out OPAMP\nRL out 0 10k\n"
FOLLOWER = f"{SUPPLIES}X1 in out vp vn out OPAMP\nRL out 0 1Meg\n"


def parse(cards: str, *outputs: str) -> Circuit:
    listed = "".join(f"*@ output {node}\n" for node in outputs or ("out",))
    return parse_netlist(f"bench\nVin in 0 0\n{cards}*@ input Vin\n{listed}")


@cache
def model(cards: str, rate: float, outputs: tuple[str, ...]) -> CircuitModel:
    return CircuitModel(parse(cards, *outputs), rate, 1, learn=[])


def response(cards: str, frequencies: Sequence[float], *outputs: str) -> NDArray[np.complex128]:
    """Outputs over input [frequencies, outputs] for small signals."""
    return inspect(parse(cards, *outputs)).linearised.response(frequencies).gain[:, :, 0]


def run(cards: str, u: Array, rate: float, *outputs: str) -> tuple[Array, tuple[int, int]]:
    """Outputs [time, outputs] for an input [time] from rest; steps that did not converge, and those that needed the
    continuation."""
    found = model(cards, rate, outputs)
    with torch.no_grad():
        x, w, _ = found.discrete.initial_state({}, found.operating_point({}))
        theta = found.discrete.theta({})
        result = simulate(torch.as_tensor(u)[None, :, None], x[None], w[None], theta[None], found.kernel)
    return result.y[0].numpy(), (int(result.report[0, 1]), int(result.report[0, 2]))


def node_voltages(cards: str) -> dict[str, float]:
    circuit = parse(cards, "in")
    return dict(zip(circuit.nodes, DiscreteCircuit(circuit, 48000.0).operating_point({}).z, strict=False))


def level(error: Array, reference: Array) -> float:
    """rms of the error over that of the reference without its mean, in dB."""
    return float(20.0 * np.log10(np.linalg.norm(error) / np.linalg.norm(reference - reference.mean())))


# --- Operational amplifier ------------------------------------------------------------------------------------------


def test_bandwidth_falls_with_the_gain() -> None:
    """Closed loop: one pole where GBW is shared out over the noise gain of 11."""
    corner = 3e6 / 11.0
    found = response(INVERTING, (10.0, corner, 10.0 * corner))[:, 0]
    expected = -10.0 / (1.0 + 1j * np.array([10.0, corner, 10.0 * corner]) / corner)
    # 100 ohm of output resistance before 9 kohm of load
    np.testing.assert_allclose(found, expected, rtol=1.5e-2)


def test_gain_at_dc() -> None:
    amplifier = f"{SUPPLIES}X1 in 0 vp vn out OPAMP AVOL=5k ROUT=0\nRL out 0 1k\n"
    assert response(amplifier, (1e-3,))[0, 0] == pytest.approx(5000.0, rel=1e-3)


@pytest.mark.parametrize("slew", [0.3e6, 13e6])
def test_slew_rate(slew: float) -> None:
    rate = 40.0 * slew
    u = np.where(np.arange(400) < 20, -3.0, 3.0)
    y, _ = run(FOLLOWER.replace("OPAMP", f"OPAMP SR={slew} GBW={slew}"), u, rate, "out")
    slopes = np.diff(y[:, 0]) * rate
    assert slopes.max() == pytest.approx(slew, rel=1e-3)
    assert slopes.min() == pytest.approx(-slew, rel=1e-3)


@pytest.mark.parametrize(("drop", "other"), [(1.5, 1.5), (0.05, 2.0)])
def test_the_output_stops_short_of_the_supplies(drop: float, other: float) -> None:
    for volt, expected in ((5.0, 9.0 - drop), (-5.0, -9.0 + other)):
        cards = (
            f"V1 a 0 {volt}\n{SUPPLIES}X1 a 0 vp vn out OPAMP DROPP={drop} DROPN={other}\nRL out 0 1Meg\nRin in 0 1k\n"
        )
        assert node_voltages(cards)["out"] == pytest.approx(expected, abs=2e-3)


def test_it_rests_at_half_the_supply() -> None:
    assert node_voltages("Vp vp 0 9\nX1 0 0 vp 0 out OPAMP\nRL out 0 1Meg\nRin in 0 1k\n")["out"] == pytest.approx(
        4.5, rel=1e-3
    )


def test_it_comes_back_from_overload_at_once() -> None:
    """Driven tenfold beyond the rail for 100 us, then reversed: the output is at the other rail after the time that the
    slew rate takes for the distance, with no delay for what the overdrive has stored."""
    rate = 50e6
    u = np.where(np.arange(10000) < 5000, -7.0, 7.0)
    y, _ = run(INVERTING, u, rate, "out")
    reached = np.flatnonzero(y[5000:, 0] < -7.3)[0] / rate
    assert reached == pytest.approx(2.0 * 7.35 / 13e6, rel=0.05)


HARD = {
    "inverting": INVERTING,
    "follower": FOLLOWER,
    "single supply, gain 1000": (
        "Vp vp 0 9\nVb b 0 4.5\nC1 in p 1u\nR0 p b 1Meg\nR1 b m 1k\nR2 m out 1Meg\nX1 p m vp 0 out OPAMP\n"
        "RL out 0 10k\n"
    ),
    "no feedback": f"{SUPPLIES}X1 in 0 vp vn out OPAMP\nRL out 0 10k\n",
    "slow": INVERTING.replace("OPAMP", "OPAMP GBW=0.92Meg SR=0.3Meg AVOL=300k"),
}


@pytest.mark.parametrize("name", HARD)
def test_no_sample_fails(name: str) -> None:
    """Square waves and white noise of 5 V at 8 x 48 kHz, from rail to rail in every sample."""
    rng = np.random.default_rng(0)
    square = 5.0 * np.sign(np.sin(2.0 * np.pi * 997.0 * np.arange(4000) / 384e3))
    for u in (square, 5.0 * rng.standard_normal(4000)):
        y, (failures, _) = run(HARD[name], u, 384e3, "out")
        assert failures == 0
        assert np.abs(y).max() < 9.0


@pytest.mark.ngspice
def test_an_overdriven_stage_agrees_with_ngspice() -> None:
    """A TL072 with a gain of 10, driven to ten times what its supplies allow."""
    rate, duration = 48000.0 * 256, 1e-3
    tl072 = INVERTING.replace("OPAMP", "TL072")
    t = np.arange(round(duration * rate)) / rate
    y, report = run(tl072, 7.0 * np.sin(2.0 * np.pi * 1e3 * t), rate, "out")
    deck = f"overdriven\nVin in 0 SIN(0 7 1k)\n{tl072}{library_files()['opamps.lib']}"
    deck += ".options reltol=1e-6 abstol=1e-14 vntol=1e-10 trtol=1 itl4=100\n"
    expected = ngspice.vectors(deck, f"tran {8 / rate} {duration} 0 {1 / rate}", ["v(out)"])
    reference = np.interp(t, expected["scale"], expected["v(out)"])
    assert report == (0, 0)
    assert level(y[:, 0] - reference, reference) < -95.0


def test_the_linear_and_the_ideal_amplifier() -> None:
    corner = 1e6 / 11.0
    linear = INVERTING.replace("vp vn out OPAMP", "out OPAMP_LINEAR GBW=1Meg ROUT=0")
    ideal = INVERTING.replace("vp vn out OPAMP", "out OPAMP_IDEAL")
    assert response(linear, (corner,))[0, 0] == pytest.approx(-10.0 / (1.0 + 1j), rel=1e-3)
    assert response(ideal, (1e5,))[0, 0] == pytest.approx(-10.0, rel=1e-4)
    assert len(parse(linear).models) == len(parse(ideal).models) == 0


# --- Operational transconductance amplifier -------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "drops"), [("CA3080", 1), ("LM13700", 2)])
def test_ota_is_a_tanh_of_the_input_scaled_by_the_control_current(part: str, drops: int) -> None:
    for control in (1e-6, 1e-3):
        for volt in (0.01, -0.03, 0.2):
            cards = f"Vn vn 0 -9\nIb 0 b {control}\nV1 a 0 {volt}\nX1 a 0 vn b out {part}\nRL out 0 100\nRin in 0 1k\n"
            found = node_voltages(cards)
            assert found["out"] == pytest.approx(100.0 * control * math.tanh(volt / (2.0 * 0.025865)), rel=1e-3)
            junction = drops * 0.0258650 * math.log(control / 1e-14)
            assert found["b"] == pytest.approx(-9.0 + junction + 10.0 * control, abs=1e-3)


# --- Tubes ----------------------------------------------------------------------------------------------------------

TUBES = {
    "TRIODE": ("X1 p g 0 TRIODE\n", ["i(vp)", "i(vg)"]),
    "TRIODE_DZ": ("X1 p g 0 TRIODE_DZ\n", ["i(vp)", "i(vg)"]),
    "PENTODE": ("Vs s 0 200\nX1 p s g 0 PENTODE\n", ["i(vp)", "i(vg)", "i(vs)"]),
}


@pytest.mark.ngspice
@pytest.mark.parametrize("plate", [5.0, 100.0, 300.0])
@pytest.mark.parametrize("tube", TUBES)
def test_tube_agrees_with_ngspice_into_grid_current(tube: str, plate: float) -> None:
    cards, probes = TUBES[tube]
    bench = f"Vp p 0 {plate}\nVg g 0 0\n{cards}"
    text = f"tube\n{bench}{library_files()['tubes.lib']}.options reltol=1e-6 abstol=1e-15 vntol=1e-9\n"
    expected = ngspice.vectors(text, "dc vg -6 2 0.5", probes)
    found = DiscreteCircuit(parse(f"{bench}Rin in 0 1k\n", "in"), 48000.0)
    for k, grid in enumerate(expected["scale"]):
        point = dict(zip(found.equations.unknowns, found.operating_point({"VG": float(grid)}).z, strict=True))
        for probe in probes:
            current = point[f"i({probe[2:-1].upper()})"]
            assert current == pytest.approx(expected[probe][k], rel=1e-5, abs=1e-11), (probe, grid)


def test_the_measured_triode_follows_its_paper() -> None:
    """Dempwolf and Zoelzer 2011, equations of I_k, I_g and I_a = I_k - I_g, for their tube EHX-1."""
    for plate, grid in ((250.0, -2.0), (100.0, 0.5), (20.0, 1.5)):
        cathode = 1.371e-3 * (math.log1p(math.exp(4.56 * (plate / 86.9 + grid))) / 4.56) ** 1.349
        into_grid = 3.263e-4 * (math.log1p(math.exp(11.99 * grid)) / 11.99) ** 1.156 + 3.917e-8
        circuit = parse(f"Vp p 0 {plate}\nVg g 0 {grid}\nX1 p g 0 12AX7_EHX1\nRin in 0 1k\n", "in")
        discrete = DiscreteCircuit(circuit, 48000.0)
        point = dict(zip(discrete.equations.unknowns, discrete.operating_point({}).z, strict=True))
        assert -point["i(VG)"] == pytest.approx(into_grid, rel=1e-9)
        assert -point["i(VP)"] == pytest.approx(cathode - into_grid, rel=1e-9)


# --- Cores and transformers -----------------------------------------------------------------------------------------


def test_ideal_transformer() -> None:
    """Voltages by the ratio of turns, impedances by its square, at any frequency from DC on."""
    cards = "R1 in p 1k\nX1 p 0 s 0 TRANSFORMER_IDEAL N=5\nR2 s 0 40\n"
    np.testing.assert_allclose(response(cards, (1e-3, 1e4), "p", "s"), [[0.5, 0.1], [0.5, 0.1]], rtol=1e-8)


def test_transformer_has_inductance_leakage_and_windings() -> None:
    cards = "X1 in 0 s 0 TRANSFORMER N=10 LP=10 LLEAK=20m RP=100 RS=0.5\nR2 s 0 8\n"
    frequencies = np.array([5.0, 500.0, 50e3])
    s = 2j * np.pi * frequencies
    load = 100.0 * (8.0 + 0.5)
    inside = s * 10.0 * load / (s * 10.0 + load)
    expected = inside / (inside + 100.0 + 0.02 * s) / 10.0 * 8.0 / 8.5
    np.testing.assert_allclose(response(cards, frequencies, "s")[:, 0], expected, rtol=1e-6)


def test_a_push_pull_primary_shows_its_load() -> None:
    """Each half is a quarter of the load from plate to plate; opposite halves add, equal ones cancel."""
    stage = "Vct ct 0 300\nR1 in a 1.65k\nX1 a ct b s 0 TRANSFORMER_CT RAA=6.6k RL=8 LP=1000 LLEAK=1n RP=1u RS=1u\n"
    one = response(f"{stage}R2 s 0 8\nRb b ct 1G\n", (1e3,), "a")[0, 0]
    assert one == pytest.approx(0.5, rel=1e-3)
    both = response(f"{stage}R2 s 0 8\nR3 in b 1.65k\n", (1e3,), "s")[0, 0]
    assert abs(both) < 1e-6


CORE = "R1 in a 100\nX1 a 0 CORE L=10 ISAT=20m LAIR=0.1\n"


def test_core_is_its_inductance_at_small_currents() -> None:
    f = 100.0 / (2.0 * np.pi * 10.0)
    assert response(CORE, (f,), "a")[0, 0] == pytest.approx(1j / (1.0 + 1j), rel=1e-9)


def test_core_follows_its_law_and_saturates() -> None:
    rate = 192e3
    t = np.arange(round(0.1 * rate)) / rate
    y, report = run(CORE, 60.0 * np.sin(2.0 * np.pi * 30.0 * t), rate, "a", "x1.flux", "x1.m")
    volt, flux, current = y.T
    assert report == (0, 0)
    np.testing.assert_allclose(flux, 0.1 * current + 9.9 * 0.02 * np.tanh(current / 0.02), atol=1e-9)
    # The flux is the integral of the voltage, by the trapezoidal rule that the program takes for a capacitor.
    np.testing.assert_allclose(np.diff(flux), 0.5 * (volt[1:] + volt[:-1]) / rate, atol=1e-9)
    assert np.abs(current).max() > 0.1
    # Far below the current of an inductance of 10 H only while the core is not saturated.
    assert np.abs(current).max() > 10.0 * 60.0 / (2.0 * np.pi * 30.0 * 10.0)


@pytest.mark.ngspice
def test_a_saturating_core_agrees_with_ngspice() -> None:
    rate, duration = 48000.0 * 64, 0.05
    t = np.arange(round(duration * rate)) / rate
    y, _ = run(CORE, 60.0 * np.sin(2.0 * np.pi * 30.0 * t), rate, "a")
    deck = f"core\nVin in 0 SIN(0 60 30)\n{CORE}{library_files()['transformers.lib']}"
    deck += ".options reltol=1e-6 abstol=1e-12 vntol=1e-9\n"
    expected = ngspice.vectors(deck, f"tran 1e-5 {duration} 0 2e-6", ["v(a)"])
    reference = np.interp(t, expected["scale"], expected["v(a)"])
    assert level(y[:, 0] - reference, reference) < -90.0
