"""Standard errors against what happens: simulated experiments whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.coverage import CIRCUITS, Count, experiment
from numpy.typing import NDArray

from circuitnn.fitting import uncertainty
from circuitnn.fitting.problem import Evaluation, Point
from circuitnn.fitting.reduction import Reduced
from circuitnn.fitting.uncertainty import covariance, independent_samples, information

Signal = NDArray[np.float64]
WIDTH = 0.1
BLOCKS, LENGTH = 100, 50


@pytest.fixture(autouse=True)
def same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Truth and fit are simulated by the same steps: there is no error of discretisation to allow for."""
    monkeypatch.setattr(uncertainty, "DISCRETISATION_ERROR", 0.0)


def linear(slope: Signal, error: Signal, q: float) -> Evaluation:
    """The problem slope * q = slope * truth + noise at q; error: what is left over there; the target's energy is 1."""
    scores = (slope * error).reshape(BLOCKS, LENGTH).sum(1)[:, None]
    H, b, energy = np.array([[slope @ slope]]), scores.sum(0), float(error @ error)
    nothing = np.zeros(0)
    own = Reduced(energy, 1.0, nothing, H, b, scores, nothing, np.zeros(1), np.zeros((1, 1)))
    return Evaluation(Point(np.array([q]), np.zeros(1)), energy, np.ones(1), H, b, scores, (own,), 0)


def coloured(generator: np.random.Generator, memory: float) -> Signal:
    """Noise that forgets by the factor `memory` from sample to sample [BLOCKS * LENGTH], with unit variance."""
    white = generator.standard_normal(BLOCKS * LENGTH + 2000)
    noise = np.zeros_like(white)
    for k in range(1, len(white)):
        noise[k] = memory * noise[k - 1] + white[k]
    return noise[2000:] * np.sqrt(1.0 - memory**2)


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.98], ids=["white", "coloured", "over blocks"])
@pytest.mark.parametrize("level", [0.03, 0.3], ids=["told", "hardly told"])
def test_the_stated_variance_is_that_of_repeated_experiments(memory: float, level: float) -> None:
    generator = np.random.default_rng(0)
    slope = np.full(BLOCKS * LENGTH, 0.01)
    stated, errors = [], []
    for _ in range(120):
        truth = WIDTH * generator.standard_normal()
        noise = level * 0.1 * coloured(generator, memory)
        start = linear(slope, -slope * truth - noise, 0.0)
        weight = independent_samples(linear(slope, -noise, truth), np.array([WIDTH]), len(slope))
        error = float(noise @ noise)
        found = -start.b[0] / (start.H[0, 0] + error / weight * WIDTH**-2.0)
        there = linear(slope, slope * (found - truth) - noise, found)
        stated.append(covariance(there, np.array([WIDTH]), len(slope), weight)[0, 0])
        errors.append(found - truth)
    # 120 experiments know a variance to 13 %. Lags up to four blocks see the most of what is forgotten over one.
    assert np.mean(np.square(errors) / stated) == pytest.approx(1.0, abs=0.45)


def test_information_is_the_inverse_variance_of_an_estimate_without_prior() -> None:
    generator = np.random.default_rng(1)
    slope = np.full(BLOCKS * LENGTH, 0.01)
    told, errors = [], []
    for _ in range(120):
        noise = 0.01 * coloured(generator, 0.9)
        found = float(slope @ noise / (slope @ slope))
        told.append(information(linear(slope, slope * found - noise, found), len(slope))[0, 0])
        errors.append(found)
    assert np.mean(told) * np.mean(np.square(errors)) == pytest.approx(1.0, abs=0.45)


def test_a_fit_that_stops_short_says_so() -> None:
    generator = np.random.default_rng(2)
    slope, noise = np.full(BLOCKS * LENGTH, 0.01), 1e-3 * generator.standard_normal(BLOCKS * LENGTH)
    width, far = np.array([10.0]), 0.05
    there, optimum = (linear(slope, slope * q - noise, q) for q in (far, float(slope @ noise / (slope @ slope))))
    spread = [covariance(e, width, len(slope), float(len(slope)))[0, 0] ** 0.5 for e in (there, optimum)]
    assert spread[1] < 0.05 * far
    assert spread[0] == pytest.approx(far, rel=0.05)


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_intervals_cover_the_truth(circuit: str) -> None:
    """A few of the experiments that tests/benchmarks/coverage.py makes by the hundred."""
    count = Count()
    for seed in range(8):
        count += experiment(circuit, (-60.0, -40.0)[seed % 2], 1000 + seed)[1]
    # Of 40 or more intervals chance leaves out 7 once in 500 times.
    assert count.intervals - count.covered <= 7, count
    assert 0.6 < (count.square / count.intervals) ** 0.5 < 1.5
