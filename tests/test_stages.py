"""Which devices are solved together, and in which order, on circuits where that can be seen by eye."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest
import torch
from circuits import RATE, SILICON, TWO_STAGES, excitation, parse, start
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from circuitnn.discretise import DiscreteCircuit
from circuitnn.simulate import kernel_id, simulate
from circuitnn.values import literal_values

# Three clippers in a row behind ideal amplifiers; the last one comes first in the netlist.
CHAIN = f"""E2 a3 0 c2 0 3
R3 a3 c3 1k
C3 c3 0 10n
D6 c3 0 DS
E1 a2 0 c1 0 5
R2 a2 b2 1k
R2b b2 c2 1.5k
C2 c2 0 4n
D3 b2 0 DS
D4 0 c2 DS
Vin in 0 0
R1 in c1 2.2k
C1 c1 0 10n
D1 c1 0 DS
{SILICON}
*@ input Vin
*@ output c1
*@ output c2
*@ output c3"""

# case -> (cards, the stages in order; a set of stages may come in any order)
EXPECTED: dict[str, tuple[str, list[set[str]]]] = {
    "chain": (CHAIN, [{"D1"}, {"D3", "D4"}, {"D6"}]),
    "loop through two amplifiers": (
        "Vin in 0 0\nR1 in a 1k\nRb eb a 10k\nD1 a 0 DS\nEa ea 0 a 0 2\nR2 ea b 1k\nD2 b 0 DS\nEb eb 0 b 0 0.5\n"
        f"Ec ec 0 b 0 1\nR3 ec c 1k\nD3 c 0 DS\nC1 c 0 1n\n{SILICON}\n*@ input Vin",
        [{"D1", "D2"}, {"D3"}],
    ),
    "series diodes behind an amplifier": (TWO_STAGES, [{"D1"}, {"D2", "D3", "D4"}]),
    "a controlled current feeds back": (
        "Vin in 0 0\nR1 in a 1k\nC1 a 0 10n\nD1 a 0 DS\nE1 b 0 a 0 4\nR2 b c 1k\nD2 c 0 DS\nG1 a 0 c 0 0.1m\n"
        f"{SILICON}\n*@ input Vin",
        [{"D1", "D2"}],
    ),
    "it feeds forward only": (
        "G1 c 0 a 0 0.1m\nVin in 0 0\nR2 in c 1k\nD2 c 0 DS\nR1 in a 1k\nC1 a 0 10n\nD1 a 0 DS\n"
        f"{SILICON}\n*@ input Vin",
        [{"D1"}, {"D2"}],
    ),
    # In a balanced bridge the diagonals do not feel each other, but for no other choice of resistors.
    "balanced bridge": (
        "Iin 0 a 0\nR1 a p 1k\nR2 p 0 1k\nR3 a q 1k\nR4 q 0 1k\nD1 a 0 DS\nD2 p q DS\nC1 p q 1n\n"
        f"{SILICON}\n*@ input Iin",
        [{"D1", "D2"}],
    ),
    "transistor between buffers": (
        "Vcc vcc 0 9\nE2 o 0 k 0 1\nRo o z 1k\nD2 z 0 DS\nRc vcc k 4.7k\nQ1 k b e QN\nRe e 0 1k\nRb b1 b 1k\n"
        f"E1 b1 0 a 0 1\nR1 in a 1k\nD1 a vcc DS\nVin in 0 0\n.model QN NPN(IS=10f BF=200)\n{SILICON}\n*@ input Vin",
        [{"D1"}, {"Q1"}, {"D2"}],
    ),
}  # fmt: skip


def stages(model: DiscreteCircuit) -> list[set[str]]:
    names = iter(device.name for device in model.equations.devices)
    return [{next(names) for _ in range(count)} for count in model.structure.stages]


def run(model: DiscreteCircuit, u: Tensor, compiled: bool) -> Tensor:
    theta, x, w = start(model)
    result = simulate(u, x, w, theta, kernel_id(model.structure, compiled))
    assert int(result.report[0, 1]) == 0
    return result.y


@cache
def drive(time: int) -> Tensor:
    return 0.3 * excitation("rc", time, seed=3)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_stages_are_those_seen_by_eye(name: str) -> None:
    cards, expected = EXPECTED[name]
    assert stages(DiscreteCircuit(parse(cards), RATE)) == expected


@settings(max_examples=40)
@given(name=st.sampled_from(sorted(EXPECTED)), seed=st.integers(0, 10**6))
def test_the_order_of_the_cards_does_not_matter_to_the_stages(name: str, seed: int) -> None:
    cards, expected = EXPECTED[name]
    lines = cards.split("\n")
    random.Random(seed).shuffle(lines)
    assert stages(DiscreteCircuit(parse("\n".join(lines)), RATE)) == expected


@cache
def unshuffled() -> Tensor:
    return run(DiscreteCircuit(parse(CHAIN), RATE), drive(150), True)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_cards_does_not_matter_to_the_output(seed: int) -> None:
    cards = [card for card in CHAIN.split("\n") if "output" not in card]
    random.Random(seed).shuffle(cards)
    outputs = [card for card in CHAIN.split("\n") if "output" in card]
    model = DiscreteCircuit(parse("\n".join(cards + outputs)), RATE)
    torch.testing.assert_close(run(model, drive(150), True), unshuffled(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", EXPECTED)
def test_nothing_stands_above_the_blocks_for_any_values(name: str) -> None:
    """The compiled core does not read P and Q above the diagonal blocks of the stages."""
    circuit = parse(EXPECTED[name][0])
    model, rng = DiscreteCircuit(circuit, RATE), np.random.default_rng(1)
    n = model.structure.n_n
    ports = iter(device.law.ports for device in model.equations.devices)
    stage_of_port = np.repeat(
        np.arange(len(model.structure.stages)),
        [sum(next(ports) for _ in range(count)) for count in model.structure.stages],
    )
    above = torch.as_tensor(stage_of_port[None, :] > stage_of_port[:, None])
    for _ in range(20):
        names = [name for name in literal_values(circuit) if name[0] in "RCEG" and "." not in name]
        values = {name: literal_values(circuit)[name] * float(np.exp(rng.normal(0.0, 2.0))) for name in names}
        matrices, _ = model.structure.unpack(model.theta(values))
        for matrix in (matrices.P, matrices.Q):
            assert above.shape == (n, n)
            assert float((matrix.abs() * above).max()) <= 1e-13 * float(matrix.abs().max())


@pytest.mark.parametrize("name", ["chain", "loop through two amplifiers", "series diodes behind an amplifier"])
def test_solving_stage_by_stage_equals_solving_all_at_once(name: str) -> None:
    """The reference knows nothing of stages."""
    model = DiscreteCircuit(parse(EXPECTED[name][0]), RATE)
    u = drive(60) * (1.0 if name != "series diodes behind an amplifier" else 0.5)
    compiled, reference = (run(model, u, kind) for kind in (True, False))
    torch.testing.assert_close(compiled, reference, rtol=0, atol=1e-9)
    # The last stage clips: otherwise it would be a comparison of linear circuits.
    assert 0.3 < float(compiled[..., -1].abs().max()) < 3.0
