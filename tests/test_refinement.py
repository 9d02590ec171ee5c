"""A fit that goes on with another loss than squared errors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference.load import recovery_case
from torch import Tensor

from circuitnn import CircuitModel, CircuitnnError, Recording, fit, losses, read_netlist
from circuitnn.errors import ConvergenceError
from circuitnn.fitting.gradient_descent import minimise
from circuitnn.rendering import render

Vector = NDArray[np.float64]


def clipper() -> tuple[CircuitModel, Recording]:
    """Played at 64 times the rate, fitted at twice."""
    case = recovery_case("diode_clipper")
    model = CircuitModel(read_netlist(case.netlist), case.sample_rate, oversample=2)
    first = slice(0, 9000)
    return model, Recording(case.input[first], 0.5 * case.output[first], int(case.sample_rate), name="clipper")


def rosenbrock(x: Tensor) -> Tensor:
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def test_lbfgs_follows_a_curved_valley() -> None:
    seen: list[tuple[int, Vector, float]] = []
    minimise(rosenbrock, np.array([-1.2, 1.0]), "lbfgs", 200, lambda *told: seen.append(told))
    assert seen[0][2] == pytest.approx(24.2)
    assert seen[-1][1] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_adam_finds_a_minimum() -> None:
    seen: list[tuple[int, Vector, float]] = []
    scale = torch.tensor([1.0, 9.0], dtype=torch.float64)
    minimise(lambda x: torch.sum(scale * (x - 2.0) ** 2), np.zeros(2), "adam", 200, lambda *told: seen.append(told))
    assert seen[-1][1] == pytest.approx([2.0, 2.0], abs=1e-2)
    assert [n for n, _, _ in seen] == list(range(201))


def test_where_there_is_no_value_the_line_search_turns_back() -> None:
    def walled(x: Tensor) -> Tensor:
        if float(x.detach()[0]) > 1.5:
            raise ConvergenceError("nothing there")
        return torch.exp(-3.0 * x[0]) + x[0]

    seen: list[tuple[int, Vector, float]] = []
    minimise(walled, np.array([-2.0]), "lbfgs", 50, lambda *told: seen.append(told))
    assert seen[-1][1] == pytest.approx([math.log(3.0) / 3.0], abs=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_loss_falls_below_what_least_squares_leaves(optimizer: str) -> None:
    """The best spectrum is another one than the best waveform: the model is too coarse for the recording."""
    model, recording = clipper()
    found = fit(model, [recording], max_iterations=25, loss=losses.mr_stft, optimizer=optimizer)
    refined = found.refinement
    assert refined is not None
    assert refined.after < 0.995 * refined.before
    # It is the loss of the model as it was left.
    (one,) = found.recordings
    again = losses.mr_stft(torch.as_tensor(one.output), torch.as_tensor(one.target))
    assert float(again) == pytest.approx(refined.after, rel=0.02)
    assert found.esr < 1e-4


def test_a_sum_of_squares_stays_where_least_squares_ended() -> None:
    model, recording = clipper()
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(recording.dry))
    recording = replace(recording, wet=render(model, recording.dry).output + noise)

    def squares(output: Tensor, target: Tensor) -> Tensor:
        error, reference = (x[1:] - 0.95 * x[:-1] for x in (output - target, target))
        return torch.sum(error**2) / torch.sum(reference**2)

    plain = fit(model, [recording], input_level=1.0)
    found = fit(clipper()[0], [recording], input_level=1.0, loss=squares)
    for name, value in plain.values.items():
        assert abs(found.values[name] - value) < 0.5 * plain.stderr[name], name


def test_an_unknown_optimizer_is_refused() -> None:
    model, recording = clipper()
    with pytest.raises(CircuitnnError, match="lbfgs, adam"):
        fit(model, [recording], loss=losses.mr_stft, optimizer="sgd")
