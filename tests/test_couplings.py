"""Coupled inductors: closed forms, energy, ngspice, what is refused, what may be learned."""

from __future__ import annotations

import math
import re

import ngspice
import numpy as np
import pytest
import torch
from circuits import CASES, parse
from numpy.typing import NDArray

from circuitnn.circuit import Element
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError, CircuitnnError, NetlistError
from circuitnn.inspection import inspect
from circuitnn.learnables import coordinates
from circuitnn.mna import build_equations
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import format_netlist, parse_netlist
from circuitnn.simulate import kernel_id, simulate
from circuitnn.symbolic import Operations
from circuitnn.values import resolve

FREQUENCIES = np.geomspace(10.0, 20e3, 25)
LOADED = "Vin in 0 0\nR1 in a 600\nL1 a 0 {one}\nL2 b 0 {other}\nR2 b 0 8\nK1 L1 L2 {k}\n*@ input Vin\n*@ output b"


def response(cards: str, frequencies: NDArray[np.float64] = FREQUENCIES) -> NDArray[np.complex128]:
    """The last output over the input [frequencies]."""
    return inspect(parse(cards)).linearised.response(frequencies).gain[:, -1, 0]


@pytest.mark.parametrize("k", [0.5, 0.99, 1.0, -0.9])
def test_two_windings_have_the_textbook_response(k: float) -> None:
    """The loop equations (R1 + s L1) i1 + s M i2 = u and s M i1 + (R2 + s L2) i2 = 0, solved by hand."""
    one, other = 10.0, 0.15
    s, mutual = 2j * np.pi * FREQUENCIES, k * math.sqrt(one * other)
    expected = 8.0 * s * mutual / ((600.0 + s * one) * (8.0 + s * other) - (s * mutual) ** 2)
    np.testing.assert_allclose(response(LOADED.format(one=one, other=other, k=k)), expected, rtol=1e-9)


def test_a_large_ideal_transformer_is_its_turns_ratio() -> None:
    """Voltage by n, the load reflected by 1/n^2: u n R / (R1 n^2 + R) with n^2 = L2/L1."""
    n = math.sqrt(0.015)
    expected = n * 8.0 / (600.0 * n * n + 8.0)
    np.testing.assert_allclose(response(LOADED.format(one=1e8, other=1.5e6, k=1)), expected, rtol=1e-6)


def test_a_centre_tap_gives_two_equal_and_opposite_halves() -> None:
    cards = (
        "Vin in 0 0\nR1 in a 10\nL1 a 0 2\nL2 b 0 1\nL3 0 c 1\nK1 L1 L2 L3 0.999\nR2 b 0 1k\nR3 c 0 1k\n*@ input Vin\n"
    )
    upper, lower = (response(f"{cards}*@ output {node}") for node in "bc")
    np.testing.assert_allclose(upper, -lower, rtol=1e-12)
    assert np.abs(upper).max() == pytest.approx(math.sqrt(0.5), rel=0.05)


@pytest.mark.parametrize("k", [0.3, 0.95, 1.0])
def test_the_field_never_makes_energy(k: float) -> None:
    """Three windings, each with a resistor: from any state i^T L i / 2 only falls, as the resistors take it."""
    inductances = np.array([0.1, 0.4, 0.2])
    cards = "".join(f"L{n} n{n} 0 {value}\nR{n} n{n} 0 {n}k\n" for n, value in enumerate(inductances, start=1))
    model = DiscreteCircuit(parse(f"{cards}I1 0 n1 0\nK1 L1 L2 L3 {k}\n*@ input I1"), 48000.0)
    x, w, _ = model.initial_state({}, model.operating_point({}))
    history = torch.as_tensor(np.random.default_rng(0).standard_normal((10, len(x))))
    if k == 1.0:
        # Ideal windings share one field: only states that one field can have.
        history = history[:, :1] / torch.as_tensor(np.sqrt(inductances))
    run = simulate(
        torch.zeros(10, 300, 1).double(), history, w.expand(10, -1), model.theta({}).detach()[None],
        kernel_id(model.structure, True),
    )  # fmt: skip
    currents = -run.y.numpy() / np.array([1e3, 2e3, 3e3])
    coefficients = np.full((3, 3), k) + (1.0 - k) * np.eye(3)
    matrix = coefficients * np.sqrt(np.outer(inductances, inductances))
    energy = 0.5 * np.einsum("bti,ij,btj->bt", currents, matrix, currents)
    assert (np.diff(energy, axis=1) <= 1e-9 * energy[:, :1]).all()
    assert (energy[:, 0] > 0.0).all()
    assert (energy[:, -1] < 0.1 * energy[:, 0]).all()


@pytest.mark.ngspice
@pytest.mark.parametrize("k", [0.7, 1.0])
def test_small_signals_as_in_ngspice(k: float) -> None:
    cards = "Vin in 0 DC 0 AC 1\nR1 in a 600\nL1 a 0 10\nL2 b 0 0.1\nL3 0 c 0.2\nR2 b 0 8\nR3 c 0 100\nC3 c 0 1u\n"
    couplings = f"K1 L1 L2 {k}\nK2 L1 L3 {k}\nK3 L2 L3 {k}\n"
    found = ngspice.vectors(f"t\n{cards}{couplings}", "ac dec 5 10 10k", ["vr(c)", "vi(c)"])
    expected = found["vr(c)"] + 1j * found["vi(c)"]
    own = response(f"{cards}K1 L1 L2 L3 {k}\n*@ input Vin\n*@ output c", found["scale"])
    np.testing.assert_allclose(own, expected, rtol=1e-6)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["transformer", "centre_tap"])
def test_transients_as_in_ngspice(name: str) -> None:
    """Into strong conduction of the diodes, both at steps of 0.5 us."""
    case, step, time = CASES[name], 0.5e-6, 2e-3
    source = f"Vin in 0 SIN(0 {case.amplitude} 1.5k)"
    deck = re.sub(r"^Vin.*$", source, case.netlist, flags=re.MULTILINE)
    deck = f"t\n{deck}\n.options reltol=1e-6 abstol=1e-12 vntol=1e-9 chgtol=1e-18"
    out = case.circuit.nodes[-1]
    found = ngspice.vectors(deck, f"tran {step} {time} 0 {step}\nlinearize v({out})", [f"v({out})"])
    t = np.arange(1, round(time / step)) * step
    u = torch.as_tensor(case.amplitude * np.sin(2 * np.pi * 1.5e3 * t))[None, :, None]
    model = CircuitModel(case.circuit, 1.0 / step, oversample=1)
    with torch.no_grad():
        y = model(u)[0][0, :, case.circuit.outputs.index((out, "0"))].numpy()
    expected = np.interp(t, found["scale"], found[f"v({out})"])
    assert 20.0 * np.log10(np.linalg.norm(y - expected) / np.linalg.norm(expected)) < -80.0


def test_the_mutual_inductance_is_differentiable() -> None:
    """M = k sqrt(L1 L2), in all three and through expressions."""
    circuit = parse(
        ".param leak=0.1 L=0.2\nVin in 0 0\nR1 in a 1k\nL1 a 0 {L}\nL2 b 0 0.5\nK1 L1 L2 {1 - leak}\nR2 b 0 1k\n"
    )
    point = {name: torch.tensor(v, dtype=torch.float64, requires_grad=True) for name, v in (("leak", 0.1), ("l", 0.2))}
    point["L2"] = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    mutual = resolve(circuit, point, Operations(torch))["K1.mutual"]
    gradients = torch.autograd.grad(mutual, list(point.values()))
    root = math.sqrt(0.2 * 0.5)
    expected = (-root, 0.9 * 0.5 * 0.5 / root, 0.9 * 0.5 * 0.2 / root)
    assert [float(g) for g in gradients] == pytest.approx(expected)


# -- netlists ---------------------------------------------------------------------------------------------------------

SUBCIRCUIT = (
    ".subckt tr p s t k=0.9\nK1 L1 L2 L3 {k}\nL1 p 0 1\nL2 s 0 2\nL3 t 0 3\n.ends\nV1 in 0 0\nR1 in a 1\nX1 a b c tr\n"
    "R2 b 0 1\nR3 c 0 1\nX2 d e f tr k=1\nR4 d 0 1\nR5 e 0 1\nR6 f 0 1\n*@ tol K=10%\n"
)


def test_names_are_expanded_and_round_trip() -> None:
    circuit = parse(SUBCIRCUIT)
    couplings = [element for element in circuit.elements if element.kind == "K"]
    first = Element("K.X1.K1.L1.L2", (), circuit.element("K.X1.K1.L1.L2").value, branches=("L.X1.L1", "L.X1.L2"))
    assert couplings[0] == first
    assert len(couplings) == 6
    assert parse_netlist(format_netlist(circuit)) == circuit


@pytest.mark.ngspice
def test_ngspice_reads_what_is_written() -> None:
    cards = f"{SUBCIRCUIT}*@ input V1\n*@ output c"
    written = format_netlist(parse(cards)).removesuffix(".end\n")
    found = ngspice.vectors(written, "ac lin 1 1k 1k", ["vm(c)"])
    assert np.abs(response(cards, found["scale"])) == pytest.approx(found["vm(c)"], rel=1e-6)


WINDINGS = "R1 a 0 1\nR2 b 0 1\nR3 c 0 1\nL1 a 0 1\nL2 b 0 1\nL3 c 0 1\n"


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ("K1 L1 L2 1.2", "K1 has the coefficient 1.2"),
        (".param k=-2\nK1 L1 L2 {k/1.5}", "K1 has the coefficient -1.33"),
        ("K1 L1 L2 0.9\nK2 L1 L3 0.9", "inductance matrix of L1, L2, L3 is not positive definite"),
        ("K1 L1 L2 L3 -0.6", "inductance matrix of L1, L2, L3 is not positive definite"),
        ("K1 L1 L2 0.9\nK2 L2 L1 0.5", "K1 and K2 couple the same inductors"),
    ],
)
def test_what_cannot_be(cards: str, message: str) -> None:
    with pytest.raises(CircuitError, match=message):
        build_equations(parse(WINDINGS + cards))


def test_a_negative_inductance_is_named() -> None:
    with pytest.raises(CircuitError, match="positive inductances: L3"):
        build_equations(parse(WINDINGS.replace("L3 c 0 1", "L3 c 0 -1") + "K1 L1 L3 0.5"))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("K1 L1 L9 0.5", "no element is called 'L9'"),
        ("K1 L1 R2 0.5", "expected the name of an inductor, found 'R2'"),
        ("K1 L1 0.5", "expected the name of an inductor, found '0.5'"),
        ("K1 L1 l1 0.5", "l1 is named twice"),
        ("K1 L1 L2", "expected the coefficient"),
    ],
)
def test_cards_that_are_refused(card: str, message: str) -> None:
    with pytest.raises(NetlistError, match=message):
        parse(WINDINGS + card)


def test_a_learned_coupling_stays_a_coupling() -> None:
    circuit = parse(f"{WINDINGS}K1 L1 L2 0.99\nK2 L2 L3 1\n*@ tol K=50%")
    (coordinate,) = coordinates(circuit, ["K1"])
    at = [coordinate.value(torch.tensor(free, dtype=torch.float64)).item() for free in (-50.0, 0.0, coordinate.width)]
    assert -1.0 <= at[0] < -0.99
    assert at[1] == pytest.approx(0.99)
    # One width is the leakage divided by 1.5.
    assert 1.0 - at[2] == pytest.approx(0.01 / 1.5, rel=0.01)
    assert coordinate.free(0.5) == pytest.approx(2.0 * (math.atanh(0.5) - math.atanh(0.99)))
    free = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    coordinate.value(free).backward()
    assert coordinate.slope(0.99) == pytest.approx(float(free.grad))
    with pytest.raises(CircuitnnError, match="K2 cannot be learned"):
        coordinates(circuit, ["K2"])
