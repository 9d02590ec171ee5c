"""Compiled recurrences of networks against the loop in torch that says the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from circuitnn.models.state_network import LIMIT, StateNetwork
from circuitnn.models.state_space_gru import StateSpaceGru
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORKS: dict[str, Callable[[], StateNetwork]] = {
    "stn": StateTrajectoryNetwork,
    "taught stn": lambda: StateTrajectoryNetwork(3, (5, 2), 0.7, ("drive", "tone"), linear=True, readout=4),
    "gru": StateSpaceGru,
    "taught gru": lambda: StateSpaceGru(2, 5, ("drive", "tone"), linear=True, readout=3),
}
# One piece, and more than there are lanes in a register of double precision.
BATCHES = [1, 11]


def network(name: str) -> StateNetwork:
    torch.manual_seed(0)
    model = NETWORKS[name]().double()
    with torch.no_grad():
        model.sizes.copy_(0.5 + torch.rand(len(model.sizes)))
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def inputs(model: StateNetwork, batch: int, time: int) -> tuple[Tensor, Tensor, Tensor]:
    """u, knobs and a state to begin with."""
    u, x = torch.randn(batch, time, 1).double(), 0.3 * torch.randn(batch, model.size).double()
    return u.requires_grad_(), torch.rand(batch, time, model.inputs - 1).double(), x.requires_grad_()


@contextmanager
def without_compiler() -> Iterator[None]:
    with patch("circuitnn.models.state_network.compiled_recurrence", return_value=None):
        yield


def gradients(model: StateNetwork, u: Tensor, knobs: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The states, and derivatives of a number that depends on each of them."""
    xs = model.trajectory(u, knobs, x)
    weight = torch.randn(xs.shape, generator=torch.Generator().manual_seed(1), dtype=xs.dtype)
    of = [u, x, *(value for key, value in model.named_parameters() if not key.startswith("readout"))]
    return xs.detach(), list(torch.autograd.grad((weight * xs).sum(), of))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", NETWORKS)
def test_states_and_gradients_are_those_of_the_loop(name: str, batch: int) -> None:
    model = network(name)
    signals = inputs(model, batch, 40)
    xs, found = gradients(model, *signals)
    with without_compiler():
        expected, slopes = gradients(model, *signals)
    torch.testing.assert_close(xs, expected, rtol=1e-11, atol=1e-13)
    for one, other in zip(found, slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
        assert other.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["taught stn", "taught gru"])
def test_states_are_held_within_limits(name: str) -> None:
    model = network(name)
    assert isinstance(model, StateTrajectoryNetwork | StateSpaceGru)
    assert model.linear is not None
    with torch.no_grad():
        # The first state runs up and the second one down.
        model.linear.weight[:, 3:] = torch.diag(torch.tensor([0.8, 0.9, -0.5]))[: model.n_states, : model.n_states]
    u, knobs, _ = inputs(model, 11, 40)
    x = 0.1 * torch.ones(11, model.size).double()
    x[:, :2] = torch.tensor([5.0, -5.0])
    x.requires_grad_()
    xs, found = gradients(model, u, knobs, x)
    with without_compiler():
        expected, slopes = gradients(model, u, knobs, x)
    assert (xs[:, -1, 0] == LIMIT).all()
    assert (xs[:, -1, 1] == -LIMIT).all()
    torch.testing.assert_close(xs, expected, rtol=1e-11, atol=1e-13)
    for one, other in zip(found, slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_differences(name: str) -> None:
    model = network(name)
    u, knobs, x = inputs(model, 2, 6)
    parameters = [value for key, value in model.named_parameters() if not key.startswith("readout")]

    def run(u: Tensor, x: Tensor, *_: Tensor) -> Tensor:
        return model.trajectory(u, knobs, x)

    assert torch.autograd.gradcheck(run, (u, x, *parameters))


@pytest.mark.parametrize("name", NETWORKS)
def test_single_precision_is_close(name: str) -> None:
    model = network(name)
    u, knobs, x = inputs(model, 20, 40)
    with torch.no_grad():
        expected = model.trajectory(u, knobs, x)
        found = model.float().trajectory(u.float(), knobs.float(), x.float())
    assert found.dtype == torch.float32
    assert 1e-9 < (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_cores_share_the_pieces() -> None:
    model = network("taught stn")
    signals = inputs(model, 30, 25)
    alone, slopes = gradients(model, *signals)
    torch.set_num_threads(3)
    together, others = gradients(model, *signals)
    torch.set_num_threads(1)
    assert torch.equal(together, alone)
    for one, other in zip(others, slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_free_run_follows_the_states_that_it_was_given() -> None:
    """Those of the network itself, in volt."""
    model = network("taught stn")
    u, knobs, x = inputs(model, 3, 30)
    with torch.no_grad():
        own = model.trajectory(u, knobs, x)
        volt = own * model.sizes[2:]
        again = model.free_run(u, volt, knobs)
        torch.testing.assert_close(again, own[:, 1:], rtol=1e-10, atol=1e-12)
        assert model.state_loss(again, volt) < 1e-20
        # Standing still.
        assert model.state_loss(own[:, :1].expand(-1, 29, -1), volt).item() == pytest.approx(1.0)
        # Each state counts the same, whatever its size is.
        half = 0.5 * (own[:, 1:] + own[:, :1])
        assert model.state_loss(half, volt).item() == pytest.approx(0.25)
