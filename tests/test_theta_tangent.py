"""Derivatives of theta as products: against autograd through the reduction, and as few as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from circuits import CASES, discrete, excitation, start
from torch import Tensor

from circuitnn.discretise import DiscreteCircuit, Numbers
from circuitnn.netlist import read_netlist
from circuitnn.schemes import BDF2, TRAPEZOIDAL, Scheme
from circuitnn.simulate import kernel_id, tangent
from circuitnn.theta_tangent import ThetaTangent, pack

NETLISTS = Path(__file__).parents[1] / "netlists"
LEVEL = 0.7


def every_number(model: DiscreteCircuit) -> tuple[Numbers, Tensor, ThetaTangent]:
    """The numbers, directions [entries, p] (each number by its own size, then the input scale), and the products."""
    numbers = model.numbers({})
    sizes = [len(part) for part in numbers]
    values = torch.cat([*numbers, torch.tensor([LEVEL], dtype=torch.float64)])
    directions = torch.diag(torch.where(values == 0.0, 1.0, values))
    # The first coefficient is the number 1, which nothing moves.
    directions = directions[:, 1:]
    *moves, scale = directions.split([*sizes, 1])
    scale_now = torch.tensor(LEVEL, dtype=torch.float64)
    return numbers, directions, model.theta_tangent(numbers, Numbers(*moves), scale_now, scale[0])


@pytest.mark.parametrize("scheme", [TRAPEZOIDAL, BDF2], ids=lambda s: s.name)
@pytest.mark.parametrize("name", CASES)
def test_products_equal_autograd_through_the_reduction(name: str, scheme: Scheme) -> None:
    model = discrete(name, scheme=scheme)
    numbers, directions, products = every_number(model)
    sizes = [len(part) for part in numbers]

    def theta(vector: Tensor) -> Tensor:
        *parts, scale = vector.split([*sizes, 1])
        return model.theta_of(Numbers(*parts), scale)

    point = torch.cat([*numbers, torch.tensor([LEVEL], dtype=torch.float64)])
    expected = torch.func.jacfwd(theta)(point) @ directions
    found = model.structure.dtheta_of(products)[0, 0]
    # What is 0 but for rounding is compared with the largest number of its matrix.
    matrices, coefficients = model.structure.unpack(theta(point))
    largest = torch.cat([m.abs().max().expand(m.numel()) if m.numel() else m.flatten() for m in matrices])
    rounding = torch.cat([1e-12 * largest.clamp(min=1e-2), torch.zeros_like(coefficients)])[:, None]
    scale = expected.abs().amax(1, keepdim=True)
    close = (found - expected).abs() <= 1e-8 * scale + rounding
    assert close.all()
    # Every direction moves something.
    assert (found != 0.0).any(0).all()


@pytest.mark.parametrize("name", ["series_diodes", "npn"])
def test_products_and_whole_matrices_give_the_same_tangents(name: str) -> None:
    model = discrete(name)
    theta, x, w = start(model)
    _, _, products = every_number(model)
    dense = model.structure.dtheta_of(products)[:, 0]
    dx = torch.zeros(1, model.structure.n_x, dense.shape[-1], dtype=torch.float64)
    u, kernel = excitation(name, 100), kernel_id(model.structure, True)
    _, dy, final, _ = tangent(u, x, w, theta, dx, products, kernel)
    _, dy_dense, final_dense, _ = tangent(u, x, w, theta, dx, dense, kernel)
    for found, expected in ((dy, dy_dense), (final, final_dense)):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11 * float(expected.abs().max()))


def test_a_value_is_one_product() -> None:
    """Of any linear element; a block of eight directions then has one entry, however many products there are."""
    model = DiscreteCircuit(read_netlist(NETLISTS / "big_muff.cir"), 384e3)
    numbers, _, products = every_number(model)
    moved = (products.left[0, 0] != 0.0).any(0).sum(0)
    assert moved[: len(numbers.c) - 1].tolist() == [1] * (len(numbers.c) - 1)
    packed = pack(products, 8)
    assert packed.first.diff().max() == 1
    assert packed.right.shape[2] == -(-int((moved > 0).sum()) // 8)
