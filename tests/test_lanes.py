"""Recordings that run side by side in vector lanes: each one's numbers are its own, whoever its neighbours are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
import torch
from circuits import RATE, TWO_STAGES, parse, start
from torch import Tensor

from circuitnn.discretise import DiscreteCircuit
from circuitnn.kernel import HISTOGRAM, LANES, PLACES, CompiledKernel, Run, lanes_for

TIME = 300
WILD, FAILING = 3, 7
# Samples of the failing recording without a solution: more than a report lists.
WITHOUT_SOLUTION = [40, 41, 42, 100, 150, 151, 200, 201, 202, 250]
# The same recording 0, in other lanes and beside other neighbours.
NEIGHBOURS = [
    [0, 1, 2],
    [1, 2, 0],
    [0, WILD, 4],
    [0, FAILING, FAILING],
    [1, 2, WILD, 4, 5, 6, FAILING, 0],
    [1, 2, WILD, 4, 5, 6, FAILING, 8, 9, 10, 0],
]


class Signals(NamedTuple):
    kernel: CompiledKernel
    u: Tensor
    x: Tensor
    w: Tensor
    theta: Tensor
    y_bar: Tensor
    x_bar: Tensor

    def simulate(self, recordings: Sequence[int], moving: bool = False) -> Run:
        chosen = list(recordings)
        theta = self.theta[chosen] if moving else self.theta[chosen, :1]
        return self.kernel.simulate(self.u[chosen], self.x[chosen], self.w[chosen], theta, 1, hold=64)

    def adjoint(self, recordings: Sequence[int], moving: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        chosen, run = list(recordings), self.simulate(recordings, moving)
        theta = self.theta[chosen] if moving else self.theta[chosen, :1]
        bars = (self.y_bar[chosen], self.x_bar[chosen])
        return self.kernel.adjoint(self.u[chosen], run.xs, run.ws, theta, *bars, hold=64)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """With one thread every batch of two or more runs in lanes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def signals() -> Signals:
    model = DiscreteCircuit(parse(TWO_STAGES), RATE)
    _, x, w = start(model)
    generator = torch.Generator().manual_seed(0)
    u = 0.2 * torch.randn(11, TIME, 1, dtype=torch.float64, generator=generator).clamp(-1.5, 1.5)
    u[WILD] *= -1e3
    u[FAILING, WITHOUT_SOLUTION] = 2.0
    points = -(-TIME // 64) + 1
    # Every recording has its own resistors, and they move.
    theta = torch.stack(
        [
            torch.stack(
                [model.theta({"R2": 8e3 + 500.0 * k + 100.0 * p, "R3": 1e3 + 300.0 * k}) for p in range(points)]
            )
            for k in range(11)
        ]
    ).detach()
    structure = model.structure
    y_bar = torch.randn(11, TIME, structure.n_y, dtype=torch.float64, generator=generator)
    x_bar = 1e3 * torch.randn(11, structure.n_x, dtype=torch.float64, generator=generator)
    return Signals(CompiledKernel(structure), u, x.expand(11, -1), w.expand(11, -1), theta, y_bar, x_bar)


def test_this_is_about_lanes() -> None:
    assert [lanes_for(batch) for batch in (1, 2, 3, 8, 11)] == [1, LANES, LANES, LANES, LANES]


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_a_recording_does_not_see_its_neighbours(signals: Signals, moving: bool) -> None:
    expected = signals.simulate(NEIGHBOURS[0], moving)
    for group in NEIGHBOURS[1:]:
        run, k = signals.simulate(group, moving), group.index(0)
        for found, other in ((run.y, expected.y), (run.x, expected.x), (run.w, expected.w)):
            assert torch.equal(found[k], other[0]), group
        assert torch.equal(run.report[k], expected.report[0]), group
        assert torch.equal(run.xs[k // LANES, ..., k % LANES], expected.xs[0, ..., 0]), group
        assert torch.equal(run.ws[k // LANES, ..., k % LANES], expected.ws[0, ..., 0]), group
    alone = signals.simulate([0], moving)
    # Vectors and scalars are contracted into fused operations differently: equal to rounding.
    torch.testing.assert_close(alone.y[0], expected.y[0], rtol=0, atol=1e-10)
    torch.testing.assert_close(alone.xs[0, ..., 0], expected.xs[0, ..., 0], rtol=0, atol=1e-10)
    assert expected.y[0].abs().max() > 0.5  # the second stage clips


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
def test_neither_does_its_adjoint(signals: Signals, moving: bool) -> None:
    expected = signals.adjoint(NEIGHBOURS[0], moving)
    for group in NEIGHBOURS[1:]:
        for found, other in zip(signals.adjoint(group, moving), expected, strict=True):
            assert torch.equal(found[group.index(0)], other[0]), group
    for found, other in zip(signals.adjoint([0], moving), expected, strict=True):
        torch.testing.assert_close(found[0], other[0], rtol=1e-8, atol=1e-10 * float(other[0].abs().max()))


def test_every_recording_of_a_batch_equals_itself_alone(signals: Signals) -> None:
    """Those with a wild or a failing signal, too."""
    together = signals.simulate(range(11), moving=True)
    for k in range(11):
        alone = signals.simulate([k], moving=True)
        scale = float(alone.y.abs().max())
        torch.testing.assert_close(together.y[k], alone.y[0], rtol=0, atol=1e-10 * max(scale, 1.0))
        assert torch.equal(together.report[k, 1:3], alone.report[0, 1:3])


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_the_report_of_each_recording(signals: Signals, count: int) -> None:
    chosen = [FAILING, *(k for k in range(11) if k != FAILING)][:count]
    report = signals.simulate(chosen).report
    histogram = report[:, HISTOGRAM]
    assert (histogram.sum(1) == TIME).all()
    bins = torch.arange(histogram.shape[1])
    for k in range(count):
        iterations, failures, rescues = report[k, :3].tolist()
        if histogram[k, -1] == 0:
            assert iterations == int(histogram[k] @ bins)
        places = report[k, PLACES].view(-1, 2)
        if chosen[k] == FAILING:
            assert failures == rescues == len(WITHOUT_SOLUTION)
            # The first diode is what has no solution; its port comes first in the order of stages.
            assert places.tolist() == [[sample, 0] for sample in WITHOUT_SOLUTION[: len(places)]]
        elif chosen[k] != WILD:
            assert failures == 0
            assert not places.any()


def test_a_recording_that_fails_goes_on_afterwards(signals: Signals) -> None:
    """Its memory is a few samples long: then it is where it would be without the failures."""
    run = signals.simulate([FAILING, 0, 1])
    u = signals.u[[FAILING, 0, 1]].clone()
    u[0, WITHOUT_SOLUTION] = 0.3
    possible = signals.kernel.simulate(u, signals.x[:3], signals.w[:3], signals.theta[[FAILING, 0, 1], :1], 1)
    assert run.y.isfinite().all()
    assert int(possible.report[0, 1]) == 0
    after = [n for n in range(TIME) if all(not 0 <= n - sample < 40 for sample in WITHOUT_SOLUTION)]
    assert len(after) > 80
    torch.testing.assert_close(run.y[0, after], possible.y[0, after], rtol=0, atol=1e-6)
    assert float((run.y[0] - possible.y[0]).abs().max()) > 1e-2
