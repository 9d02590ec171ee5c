"""Small-signal responses, impedances and poles, against closed forms and ngspice."""

from __future__ import annotations

import math
import re
from pathlib import Path

import ngspice
import numpy as np
import pytest
from circuits import CASES, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitnn.circuit import Circuit
from circuitnn.errors import CircuitError
from circuitnn.inspection import inspect
from circuitnn.inspection.linearised import FLOOR, Impedances, Pole, decibels
from circuitnn.netlist import read_netlist

V_T = 1.380649e-23 * 300.15 / 1.602176634e-19
FREQUENCIES = (20.0, 100.0, 1e3, 1e4, 2e4)
OMEGA = 2.0 * np.pi * np.array(FREQUENCIES)
RC = "Vin in 0 0\nR1 in out 10k\nC1 out 0 10n\n*@ input Vin\n*@ output out"


def impedances(circuit: Circuit) -> Impedances:
    return inspect(circuit).linearised.impedances(FREQUENCIES)


def test_a_low_pass() -> None:
    found = inspect(parse(RC)).linearised.response(FREQUENCIES)
    tau = 10e3 * 10e-9
    np.testing.assert_allclose(found.gain[:, 0, 0], 1 / (1 + 1j * OMEGA * tau), rtol=1e-12)
    np.testing.assert_allclose(found.group_delay[:, 0, 0], tau / (1 + (OMEGA * tau) ** 2), rtol=1e-12)


@pytest.mark.parametrize("name", ["rlc", "npn", "amplifier", "behavioural_voltages"])
def test_the_group_delay_is_the_slope_of_the_phase(name: str) -> None:
    linearised, step = inspect(CASES[name].circuit).linearised, 1e-4
    delays = linearised.response(FREQUENCIES).group_delay
    for k, frequency in enumerate(FREQUENCIES):
        low, high = linearised.response([frequency * (1 - step), frequency * (1 + step)]).gain
        through = np.abs(high) > 1e-12
        slope = -np.angle(high[through] / low[through]) / (4 * np.pi * frequency * step)
        np.testing.assert_allclose(delays[k][through], slope, rtol=1e-5, atol=1e-14)


def test_a_diode_conducts_as_its_slope_at_the_operating_point() -> None:
    found = inspect(
        parse(
            "Vin in 0 0\nVcc vcc 0 5\nR1 vcc out 4.7k\nR2 in out 1Meg\nD1 out 0 D\n.model D D(IS=1n N=1.5)\n"
            "*@ input Vin\n*@ output out"
        )
    )
    voltage = found.operating_point["out"]
    current = (5.0 - voltage) / 4700.0 - voltage / 1e6
    conductance = (current + 1e-9) / (1.5 * V_T)
    expected = 1e-6 / (1e-6 + 1 / 4700.0 + conductance)
    np.testing.assert_allclose(found.linearised.response(FREQUENCIES).gain[:, 0, 0], expected, rtol=1e-6)


def test_levels_of_nothing_are_finite() -> None:
    np.testing.assert_array_equal(decibels(np.array([0.0, 1.0, 10.0])), [FLOOR, 0.0, 20.0])
    silent = inspect(parse("Vin in 0 0\nR1 in 0 1k\nV1 out 0 1\nR2 out 0 1k\n*@ input Vin\n*@ output out"))
    response = silent.linearised.response([1e3])
    assert response.gain[0, 0, 0] == 0.0
    assert np.isnan(response.group_delay[0, 0, 0])


@pytest.mark.parametrize("name", CASES)
def test_reactances_are_history_times_storage(name: str) -> None:
    """What the poles rest upon."""
    linearised = inspect(CASES[name].circuit).linearised
    np.testing.assert_allclose(linearised.history @ linearised.storage, linearised.B, rtol=1e-12)


# --- Impedances ---


def test_impedances_of_a_low_pass() -> None:
    found = impedances(parse(RC))
    capacitor = 1 / (1j * OMEGA * 10e-9)
    np.testing.assert_allclose(found.input[:, 0], 10e3 + capacitor, rtol=1e-12)
    np.testing.assert_allclose(found.output[:, 0], 1 / (1e-4 + 1 / capacitor), rtol=1e-12)


def test_a_current_input_sees_what_it_drives() -> None:
    found = impedances(parse("Iin 0 a 0\nR1 a 0 1k\nC1 a 0 1u\n*@ input Iin\n*@ output a"))
    np.testing.assert_allclose(found.input[:, 0], 1 / (1e-3 + 1j * OMEGA * 1e-6), rtol=1e-12)
    # With the input at zero, a current source is open.
    np.testing.assert_allclose(found.output, found.input, rtol=1e-12)


def test_a_difference_of_nodes_as_output() -> None:
    cards = "Vin in 0 0\nR1 in a 1k\nR2 a 0 1k\nR3 in b 2k\nR4 b 0 2k\n*@ input Vin\n*@ output a b"
    np.testing.assert_allclose(impedances(parse(cards)).output[:, 0], 500.0 + 1000.0, rtol=1e-12)


@settings(max_examples=25)
@given(beta=st.floats(20.0, 800.0), emitter=st.floats(100.0, 1e5), base=st.floats(1e3, 1e6), source=st.floats(1.0, 1e4))
def test_an_emitter_follower(beta: float, emitter: float, base: float, source: float) -> None:
    """r_pi = beta V_T / I_C; input R_B || (r_pi + (beta + 1) R_E), output R_E || (R_B || R_S + r_pi) / (beta + 1)."""
    found = inspect(
        parse(
            f"Vin in 0 0\nRS in b {source!r}\nRB b 0 {base!r}\nQ1 0 b e QN\nRE e ee {emitter!r}\nVee ee 0 -9\n"
            f".model QN NPN(IS=1f BF={beta!r})\n*@ input Vin\n*@ output e"
        )
    )
    (q1,) = found.devices
    # The law's base current is IS/BF (exp - 1), so its slope is (I_B + IS/BF) / V_T.
    r_pi = V_T / (q1.terminals["b"] + 1e-15 / beta)
    z_in = source + 1 / (1 / base + 1 / (r_pi + (beta + 1.0) * emitter))
    z_out = 1 / (1 / emitter + (beta + 1.0) / (r_pi + 1 / (1 / base + 1 / source)))
    impedance = found.linearised.impedances([1e3])
    # GMIN across both junctions is left out of these.
    assert impedance.input[0, 0] == pytest.approx(z_in, rel=1e-5)
    assert impedance.output[0, 0] == pytest.approx(z_out, rel=1e-5)


@given(gain=st.floats(10.0, 1e6), ratio=st.floats(0.1, 100.0))
@settings(max_examples=25)
def test_an_inverting_amplifier(gain: float, ratio: float) -> None:
    """Feedback divides the virtual ground's impedance, and the output's, by one plus the loop's gain."""
    r2, r_o = ratio * 10e3, 75.0
    found = impedances(
        parse(
            f"Vin in 0 0\nR1 in m 10k\nR2 m out {r2!r}\nE1 e 0 0 m {gain!r}\nRO e out {r_o}\n"
            "*@ input Vin\n*@ output out"
        )
    )
    np.testing.assert_allclose(found.input[:, 0], 10e3 + (r2 + r_o) / (1.0 + gain), rtol=1e-9)
    feedback = 10e3 / (10e3 + r2)
    conductance = (1.0 + gain * feedback) / r_o + 1.0 / (10e3 + r2)
    np.testing.assert_allclose(found.output[:, 0], 1.0 / conductance, rtol=1e-9)


def test_nothing_drawn_is_an_infinite_impedance_and_an_ideal_source_has_none() -> None:
    found = impedances(parse("Vin in 0 0\nE1 out 0 in 0 2\nR1 out 0 1k\n*@ input Vin\n*@ output out"))
    assert np.isinf(found.input).all()
    np.testing.assert_array_equal(found.output, 0.0)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["fmv_tone_stack", "ts808", "big_muff", "tube_preamp"])
def test_response_and_impedances_agree_with_ngspice(name: str, netlists: Path) -> None:
    text = re.sub(r"^\.(op|end)\s*$", "", (netlists / f"{name}.cir").read_text(), flags=re.MULTILINE | re.IGNORECASE)
    text += "\n.options reltol=1e-8 abstol=1e-16 vntol=1e-12\n"
    parts = "let x_re=real(v(out))\nlet x_im=imag(v(out))\nlet i_re=real(i(vin))\nlet i_im=imag(i(vin))"
    names = ["x_re", "x_im", "i_re", "i_im"]
    driven = ngspice.vectors(text, f"ac dec 3 20 20k\n{parts}", names)
    # The same with the input at rest and a unit current into the output.
    quiet = re.sub(r"(?im)^(Vin\s.*)AC 1", r"\1", text) + "Iprobe 0 out DC 0 AC 1\n"
    probed = ngspice.vectors(quiet, f"ac dec 3 20 20k\n{parts}", names)
    linearised = inspect(read_netlist(netlists / f"{name}.cir")).linearised
    response, found = linearised.response(driven["scale"]), linearised.impedances(driven["scale"])
    np.testing.assert_allclose(response.gain[:, 0, 0], driven["x_re"] + 1j * driven["x_im"], rtol=1e-4)
    np.testing.assert_allclose(found.input[:, 0], -1.0 / (driven["i_re"] + 1j * driven["i_im"]), rtol=1e-4)
    np.testing.assert_allclose(found.output[:, 0], probed["x_re"] + 1j * probed["x_im"], rtol=1e-4)


# --- Poles ---


def poles(cards: str) -> tuple[Pole, ...]:
    return inspect(parse(f"Vin in 0 0\n{cards}\n*@ input Vin")).linearised.poles()


def test_the_pole_of_a_low_pass() -> None:
    (pole,) = inspect(parse(RC)).linearised.poles()
    assert pole == Pole(pytest.approx(1 / (2 * math.pi * 1e-4)), pytest.approx(0.5), False)


@given(frequency=st.floats(1.0, 1e6), q=st.floats(0.6, 50.0))
@settings(max_examples=25)
def test_a_resonance(frequency: float, q: float) -> None:
    """Series R, L, C: omega_0 = 1 / sqrt(L C), Q = omega_0 L / R."""
    omega = 2 * math.pi * frequency
    (pole,) = poles(f"R1 in a {omega * 0.1 / q!r}\nL1 a out 0.1\nC1 out 0 {1 / (0.1 * omega**2)!r}")
    assert pole == Pole(pytest.approx(frequency, rel=1e-9), pytest.approx(q, rel=1e-6), True)


def test_poles_nine_decades_apart_and_equal_ones() -> None:
    """Behind amplifiers of gain 1 the time constants are the products R C."""
    stages = [(1e6, 1e-3), (1e3, 1e-6), (1e3, 1e-6), (100.0, 10e-12)]
    cards, node = [], "in"
    for k, (ohm, farad) in enumerate(stages):
        cards += [f"R{k} {node} a{k} {ohm!r}", f"C{k} a{k} 0 {farad!r}", f"E{k} b{k} 0 a{k} 0 1", f"RL{k} b{k} 0 1k"]
        node = f"b{k}"
    found = poles("\n".join(cards))
    expected = [1 / (2 * math.pi * ohm * farad) for ohm, farad in stages]
    # Two that are equal are known to the root of the rounding error only.
    np.testing.assert_allclose([pole.frequency for pole in found], expected, rtol=1e-6)
    assert not any(pole.oscillates for pole in found)


def test_what_grows_has_a_negative_q() -> None:
    # The conductance of -2 mS beside 1 kohm.
    (pole,) = poles("R1 in a 1k\nC1 a 0 1u\nG1 0 a a 0 2m")
    assert pole == Pole(pytest.approx(1e-3 / (2 * math.pi * 1e-6)), pytest.approx(-0.5), False)


def test_no_poles_without_reactive_elements_nor_for_dependent_ones() -> None:
    assert poles("R1 in a 1k\nR2 a 0 1k") == ()
    # A capacitor across an ideal source stores, but has no motion of its own.
    (pole,) = poles("C1 in 0 1u\nR1 in a 1k\nC2 a 0 1u")
    assert pole.frequency == pytest.approx(1e3 / (2 * math.pi))


def test_a_circuit_without_a_response_is_an_error() -> None:
    # At s = j / sqrt(L C) a tank without losses meets no admittance.
    lossless = inspect(parse("Iin 0 a 0\nL1 a 0 1\nC1 a 0 1\nR1 a b 1\nE1 b 0 a 0 1\n*@ input Iin\n*@ output a"))
    with pytest.raises(CircuitError, match="response"):
        lossless.linearised.response([1 / (2 * math.pi)])
