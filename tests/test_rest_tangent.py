"""How the state at rest follows the values of the circuit: against finite differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import circuitnn as cn
from circuitnn.discretise import DiscreteCircuit, Numbers
from circuitnn.schemes import BDF2, TRAPEZOIDAL, Scheme

NETLISTS = Path(__file__).parents[1] / "netlists"


@pytest.mark.parametrize("scheme", [TRAPEZOIDAL, BDF2], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("name", ["ts808", "big_muff", "tube_preamp", "rat", "fmv_tone_stack"])
def test_state_and_output_at_rest_follow_the_numbers(name: str, scheme: Scheme) -> None:
    discrete = DiscreteCircuit(cn.read_netlist(NETLISTS / f"{name}.cir"), 48_000.0, scheme)
    numbers = discrete.numbers({})
    generator = torch.Generator().manual_seed(0)
    # One direction in which all numbers move by parts per thousand, one in which the laws' coefficients alone do.
    moves = [
        Numbers(*(part * 1e-3 * torch.rand(part.shape, generator=generator, dtype=torch.float64) for part in numbers)),
        numbers._replace(c=0.0 * numbers.c, sources=0.0 * numbers.sources, coefficients=1e-3 * numbers.coefficients),
    ]
    stacked = Numbers(*(torch.stack(parts, -1) for parts in zip(*moves, strict=True)))
    dx, dy = discrete.rest_tangent(numbers, stacked, discrete.operating_point({}))

    for k, move in enumerate(moves):
        at = []
        for side in (1.0, -1.0):
            moved = Numbers(*(part + side * 1e-2 * step for part, step in zip(numbers, move, strict=True)))
            # One Newton step from the old point: off by second order, which the difference of both sides cancels.
            point = discrete.operating_point({})
            x, _, y = discrete.rest_of(moved, point)
            at.append((x, y))
        for found, (plus, minus) in zip((dx[:, k], dy[:, k]), zip(*at, strict=True), strict=True):
            expected = (plus - minus) / 2e-2
            scale = float(expected.abs().max()) if len(expected) else 0.0
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * scale + 1e-18)
