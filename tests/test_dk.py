"""The reduced model: its matrices against the equations it came from, its responses against published formulas."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch
from circuits import CASES, LINEAR, RATE, discrete, excitation, parse, start
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from circuitnn.discretise import DiscreteCircuit
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.schemes import BACKWARD_EULER, TRAPEZOIDAL, Scheme
from circuitnn.simulate import kernel_id, simulate
from circuitnn.symbolic import Operations
from circuitnn.values import resolve


@pytest.mark.parametrize("name", CASES)
def test_plain_dk_where_all_currents_can_be_free(name: str) -> None:
    model = discrete(name)
    matrices, _ = model.structure.unpack(model.theta({}))
    assert model.structure.plain == CASES[name].plain
    if model.structure.plain:
        torch.testing.assert_close(matrices.P, torch.eye(model.structure.n_n, dtype=torch.float64), rtol=0, atol=1e-12)
    else:
        # A node between diodes: their currents are equal whatever the voltages, which P must say with a row of zeros.
        assert (matrices.P.abs().amax(1) < 1e-9 * matrices.Q.abs().amax(1)).any()


def test_a_current_that_a_source_fixes_is_not_free() -> None:
    """In the equation of its current the diode's voltage has no coefficient but rounding."""
    diode = "I1 0 a 1m\nD1 a 0 DX\n.model DX D(IS=1n RS=10)\n"
    model = DiscreteCircuit(parse(diode), RATE)
    assert model.selection.free == (0,)
    inner = 1.380649e-23 * 300.15 / 1.602176634e-19 * np.log(1e-3 / 1e-9 + 1.0)
    assert model.operating_point({}).z[0] == pytest.approx(inner + 0.01, rel=1e-6)


@pytest.mark.parametrize("scheme", [TRAPEZOIDAL, BACKWARD_EULER], ids=lambda s: s.name)
@pytest.mark.parametrize("name", CASES)
def test_the_reduced_model_solves_the_equations_it_came_from(name: str, scheme: Scheme) -> None:
    """Eliminating by hand, for random values of the free quantities: all MNA rows must hold."""
    model, rng = discrete(name, scheme=scheme), np.random.default_rng(1)
    equations, structure = model.equations, model.structure
    matrices, _ = structure.unpack(model.theta({}))
    A, B, C, D, E, F, R_x, R_u, P, Q = (matrix.numpy() for matrix in matrices)
    values = {"R": 1e3, "C": 1e-8}
    x, u, f = (rng.standard_normal(n) for n in (structure.n_x, structure.n_u, structure.n_n))
    x, f, u = (
        x * values["C"] * RATE,
        f * np.where(np.array(structure.free) < structure.n_n, 1.0, 1e-3),
        np.append(u, 1.0),
    )
    # P v + Q i = r gives the dependent quantities.
    both, dependent = np.hstack([P, Q]), list(model.selection.dependent)
    ports = np.zeros(2 * structure.n_n)
    ports[list(structure.free)] = f
    right = R_x @ x + R_u @ u - both[:, list(structure.free)] @ f
    ports[dependent] = np.linalg.solve(both[:, dependent], right)
    v, i = ports[: structure.n_n], ports[structure.n_n :]

    resolved = resolve(model.circuit, {}, Operations(np))
    c = np.array(equations.coefficient_values(resolved, model.factor), dtype=float)
    sources = np.array(equations.source_values(resolved), dtype=float)
    drive = equations.N_x.dense(c) @ x + equations.N_u @ u[:-1] - equations.N_n @ i
    drive += equations.N_s @ sources if len(sources) else 0.0
    # z from all rows at once, by least squares: M alone may be singular.
    M = np.vstack([equations.M.dense(c), equations.N_n.T])
    scale = np.abs(M).max(axis=1, initial=1e-30)[:, None]
    z, *_ = np.linalg.lstsq(M / scale, np.concatenate([drive, v]) / scale[:, 0], rcond=None)
    residual = (M @ z - np.concatenate([drive, v])) / scale[:, 0]
    assert np.abs(residual).max() < 1e-8 * (1.0 + np.abs(z).max())
    tolerance = 1e-8 * (1.0 + np.abs(z).max())
    np.testing.assert_allclose(D @ x + E @ u + F @ f, equations.N_y @ z, atol=tolerance)
    q = equations.G_q.dense(c) @ z
    history = scheme.gain[0] * q + scheme.carry[0][0] * x
    np.testing.assert_allclose(A @ x + B @ u + C @ f, history, atol=tolerance * np.abs(history).max(initial=1.0))


# --- Frequency responses --------------------------------------------------------------------------------------------


def response(
    model: DiscreteCircuit, overrides: dict[str, float], frequencies: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """H(exp(j omega T)) of a linear reduced model [len(frequencies), n_y], for its first input."""
    matrices, _ = model.structure.unpack(model.theta(overrides))
    A, B, _, D, E, *_ = (matrix.numpy() for matrix in matrices)
    rate = model.factor / model.scheme.factor
    found = []
    for f in frequencies:
        z = np.exp(2j * np.pi * f / rate)
        found.append(D @ np.linalg.solve(z * np.eye(len(A)) - A, B[:, 0]) + E[:, 0])
    return np.array(found)


def tone_stack(t: float, m: float, low: float, top: dict[str, float]) -> sympy.Expr:
    """H(s) of the FMV tone stack as a formula of its parts: Yeh and Smith, "Discretization of the '59 Fender Bassman
    tone stack", DAFx-06. t, m, low: treble, middle and bass, 0 to 1."""
    s = sympy.Symbol("s")
    C1, C2, C3, R1, R2, R3, R4 = (top[name] for name in ("C1", "C2", "C3", "R1", "R2", "R3", "R4"))
    b1 = t * C1 * R1 + m * C3 * R3 + low * (C1 * R2 + C2 * R2) + (C1 * R3 + C2 * R3)
    b2 = (
        t * (C1 * C2 * R1 * R4 + C1 * C3 * R1 * R4)
        - m**2 * (C1 * C3 * R3**2 + C2 * C3 * R3**2)
        + m * (C1 * C3 * R1 * R3 + C1 * C3 * R3**2 + C2 * C3 * R3**2)
        + low * (C1 * C2 * R1 * R2 + C1 * C2 * R2 * R4 + C1 * C3 * R2 * R4)
        + low * m * (C1 * C3 * R2 * R3 + C2 * C3 * R2 * R3)
        + (C1 * C2 * R1 * R3 + C1 * C2 * R3 * R4 + C1 * C3 * R3 * R4)
    )
    b3 = (
        low * m * (C1 * C2 * C3 * R1 * R2 * R3 + C1 * C2 * C3 * R2 * R3 * R4)
        - m**2 * (C1 * C2 * C3 * R1 * R3**2 + C1 * C2 * C3 * R3**2 * R4)
        + m * (C1 * C2 * C3 * R1 * R3**2 + C1 * C2 * C3 * R3**2 * R4)
        + t * C1 * C2 * C3 * R1 * R3 * R4
        - t * m * C1 * C2 * C3 * R1 * R3 * R4
        + t * low * C1 * C2 * C3 * R1 * R2 * R4
    )
    a0 = 1
    a1 = (C1 * R1 + C1 * R3 + C2 * R3 + C2 * R4 + C3 * R4) + m * C3 * R3 + low * (C1 * R2 + C2 * R2)
    a2 = (
        m * (C1 * C3 * R1 * R3 - C2 * C3 * R3 * R4 + C1 * C3 * R3**2 + C2 * C3 * R3**2)
        + low * m * (C1 * C3 * R2 * R3 + C2 * C3 * R2 * R3)
        - m**2 * (C1 * C3 * R3**2 + C2 * C3 * R3**2)
        + low * (C1 * C2 * R2 * R4 + C1 * C2 * R1 * R2 + C1 * C3 * R2 * R4 + C2 * C3 * R2 * R4)
        + (C1 * C2 * R1 * R4 + C1 * C3 * R1 * R4 + C1 * C2 * R3 * R4 + C1 * C2 * R1 * R3)
        + (C1 * C3 * R3 * R4 + C2 * C3 * R3 * R4)
    )
    a3 = (
        low * m * (C1 * C2 * C3 * R1 * R2 * R3 + C1 * C2 * C3 * R2 * R3 * R4)
        - m**2 * (C1 * C2 * C3 * R1 * R3**2 + C1 * C2 * C3 * R3**2 * R4)
        + m * (C1 * C2 * C3 * R3**2 * R4 + C1 * C2 * C3 * R1 * R3**2 - C1 * C2 * C3 * R1 * R3 * R4)
        + low * C1 * C2 * C3 * R1 * R2 * R4
        + C1 * C2 * C3 * R1 * R3 * R4
    )
    return (b1 * s + b2 * s**2 + b3 * s**3) / (a0 + a1 * s + a2 * s**2 + a3 * s**3)


BASSMAN = {"C1": 250e-12, "C2": 20e-9, "C3": 20e-9, "R1": 250e3, "R2": 1e6, "R3": 25e3, "R4": 56e3}


@pytest.mark.parametrize("knobs", [(0.5, 0.5, 0.5), (0.1, 0.9, 0.3), (1.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_tone_stack_equals_the_published_formula_under_the_bilinear_transform(
    knobs: tuple[float, float, float], netlists: object
) -> None:
    circuit = read_netlist(f"{netlists}/fmv_tone_stack.cir")
    model = DiscreteCircuit(circuit, 44100.0)
    treble, middle, bass = knobs
    # The paper's pots have no end resistance; the netlist's 10 ohm is taken out to compare formula with formula.
    overrides = {"treble": treble, "middle": middle, "bass": bass, "end_stop": 1e-6}
    formula = tone_stack(treble, middle, bass, BASSMAN)
    frequencies = np.geomspace(5.0, 21000.0, 60)
    warped = 2.0 * 44100.0 * 1j * np.tan(np.pi * frequencies / 44100.0)
    expected = np.array([complex(formula.subs("s", s)) for s in warped])
    found = response(model, overrides, frequencies)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_tone_stack_impulse_response(netlists: object) -> None:
    """The simulated impulse response has the published coefficients' spectrum (the whole path, not the matrices)."""
    circuit = read_netlist(f"{netlists}/fmv_tone_stack.cir")
    model = CircuitModel(circuit, 44100.0, oversample=1, learn=["end_stop"])
    model.set_values({"end_stop": 1e-6})
    length = 1 << 14
    impulse = torch.zeros(1, length, 1, dtype=torch.float64)
    impulse[0, 0, 0] = 1.0
    y, _ = model(impulse, knobs={"treble": 0.8, "middle": 0.3, "bass": 0.2})
    spectrum = np.fft.rfft(y[0, :, 0].detach().numpy())
    frequencies = np.fft.rfftfreq(length, 1 / 44100.0)
    formula = sympy.lambdify("s", tone_stack(0.8, 0.3, 0.2, BASSMAN), "numpy")
    inside = frequencies < 21500.0
    expected = formula(2.0 * 44100.0 * 1j * np.tan(np.pi * frequencies[inside] / 44100.0))
    np.testing.assert_allclose(spectrum[inside], expected, atol=1e-6)


def test_rlc_response_equals_the_textbook_formula() -> None:
    model = discrete("rlc")
    frequencies = np.geomspace(10.0, 40000.0, 50)
    s = 2.0 * RATE * 1j * np.tan(np.pi * frequencies / RATE)
    load = 1.0 / (1.0 / 22e3 + s * 20e-9)
    expected = load / (1e3 + s * 50e-3 + load)
    np.testing.assert_allclose(response(model, {}, frequencies)[:, 2], expected, rtol=1e-10)


@given(
    r=st.floats(1.0, 1e6),
    c=st.floats(1e-12, 1e-4),
    rate=st.floats(8e3, 1e6),
    scheme=st.sampled_from([TRAPEZOIDAL, BACKWARD_EULER]),
)
def test_rc_pole_is_the_mapped_one(r: float, c: float, rate: float, scheme: Scheme) -> None:
    """s = -1/RC goes to (1 + sT/2) / (1 - sT/2), or to 1 / (1 - sT)."""
    model = DiscreteCircuit(parse(f"Vin in 0 0\nR1 in out {r!r}\nC1 out 0 {c!r}\n*@ input Vin"), rate, scheme)
    matrices, _ = model.structure.unpack(model.theta({}))
    x = 1.0 / (r * c * rate)
    pole = (1.0 - x / 2.0) / (1.0 + x / 2.0) if scheme is TRAPEZOIDAL else 1.0 / (1.0 + x)
    assert float(matrices.A) == pytest.approx(pole, rel=1e-9, abs=1e-12)


# --- Physics of the discretised circuit -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_linear_passive_circuits_lose_energy(name: str) -> None:
    """With the input at zero the stored energy C v^2/2 + L i^2/2 never grows, from any state."""
    model, rng = discrete(name), np.random.default_rng(0)
    theta, x, w = start(model)
    x = torch.as_tensor(rng.standard_normal((20, x.shape[1]))) * 1e-3
    run = simulate(torch.zeros(20, 400, 1), x, w.expand(20, -1), theta, kernel_id(model.structure, True))
    voltage = run.y[..., -1].numpy()
    energy = 0.5 * (10e-9 if name == "rc" else 20e-9) * voltage**2
    if name == "rlc":
        current = (run.y[..., 0] - run.y[..., 1]).numpy() / 1e3  # through R1, and so through L1
        energy += 0.5 * 50e-3 * current**2
    assert (np.diff(energy, axis=1) <= 1e-12 * energy[:, :1]).all()
    assert (energy[:, -1] < 0.5 * energy[:, 0]).all()


@pytest.mark.parametrize("name", LINEAR)
def test_superposition(name: str) -> None:
    model = discrete(name)
    theta, x, w = start(model)
    one, two = excitation(name, 300, seed=1), excitation(name, 300, seed=2)
    kernel = kernel_id(model.structure, True)
    a, b, both = (simulate(u, x, w, theta, kernel).y for u in (one, two, 2.0 * one - 3.0 * two))
    torch.testing.assert_close(both, 2.0 * a - 3.0 * b, rtol=0, atol=1e-12)


def test_superposition_of_two_inputs() -> None:
    cards = "V1 a 0 0\nI1 0 b 0\nR1 a out 1k\nR2 b out 2k\nC1 out 0 100n\nL1 b 0 10m\n*@ input V1 I1"
    model = DiscreteCircuit(parse(cards), RATE)
    theta, x, w = start(model)
    u = torch.randn(1, 200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = kernel_id(model.structure, True)
    parts = [simulate(u * mask, x, w, theta, kernel).y for mask in (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))]
    torch.testing.assert_close(simulate(u, x, w, theta, kernel).y, parts[0] + parts[1], rtol=0, atol=1e-10)
    assert min(float(part.abs().max()) for part in parts) > 1e-3


def shockley(v: NDArray[np.float64], saturation: float, n: float) -> NDArray[np.float64]:
    return saturation * np.expm1(v / (n * 0.025864925))


def test_kirchhoff_and_tellegen_in_a_diode_circuit() -> None:
    """Element currents computed from the node voltages with textbook formulas add up to zero at the inner nodes, and
    the power that the source gives equals what the elements take."""
    model = discrete("inductor_and_diode")
    theta, x, w = start(model)
    u = excitation("inductor_and_diode", 3000)
    y = simulate(u, x, w, theta, kernel_id(model.structure, True)).y[0].numpy()
    v_in, v_a, v_out = y.T
    T = 1.0 / RATE
    i_r1 = (v_in - v_a) / 100.0
    i_r2 = v_out / 4.7e3
    i_d = shockley(v_out, 200e-9, 1.3) - shockley(-v_out, 200e-9, 1.3)
    # Trapezoidal rule: i[n] = 2C/T (v[n] - v[n-1]) - i[n-1]; i_L[n] = i_L[n-1] + T/2L (v[n] + v[n-1]); from rest.
    i_c, i_l = np.zeros_like(v_out), np.zeros_like(v_out)
    for n in range(len(v_out)):
        v0, i0 = (v_out[n - 1], i_c[n - 1]) if n else (0.0, 0.0)
        i_c[n] = 2.0 * 47e-9 / T * (v_out[n] - v0) - i0
        l0, u0 = (i_l[n - 1], v_a[n - 1] - v_out[n - 1]) if n else (0.0, 0.0)
        i_l[n] = l0 + T / (2.0 * 20e-3) * (v_a[n] - v_out[n] + u0)
    scale = np.abs(i_r1).max()
    np.testing.assert_allclose(i_l, i_r1, atol=1e-8 * scale)
    np.testing.assert_allclose(i_l - i_c - i_r2 - i_d, 0.0, atol=1e-6 * scale)
    power = v_in * i_r1
    taken = 100.0 * i_r1**2 + (v_a - v_out) * i_l + v_out * (i_c + i_r2 + i_d)
    np.testing.assert_allclose(taken, power, atol=1e-6 * np.abs(power).max())
    # Passivity: from rest, the source can never have got back more than it gave.
    assert (np.cumsum(power) * T > -1e-15).all()
