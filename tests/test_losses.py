"""Losses against auraloss and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from auraloss.freq import MultiResolutionSTFTLoss, STFTLoss
from auraloss.perceptual import FIRFilter
from auraloss.time import DCLoss, ESRLoss
from torch import Tensor

from circuitnn import losses

RATE = 44100.0

pytestmark = pytest.mark.usefixtures("one_thread")


def signals(*shape: int, margin: int = 0) -> tuple[Tensor, Tensor]:
    """A target and an output that is near it, with `margin` zeros at both ends of time."""
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(*shape, generator=generator, dtype=torch.float64)
    output = 0.9 * target + 0.1 + 0.2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return torch.nn.functional.pad(output, (margin, margin)), torch.nn.functional.pad(target, (margin, margin))


def burst(frequency: float, amplitude: float) -> Tensor:
    """A sine in a bell of 0.1 s: its spectrum is a few hertz wide."""
    time = torch.arange(-RATE // 2, RATE // 2, dtype=torch.float64) / RATE
    return amplitude * torch.exp(-0.5 * (time / 0.1) ** 2) * torch.sin(2.0 * math.pi * frequency * time)


def test_simple_ones_by_hand() -> None:
    output, target = torch.tensor([1.0, 2.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])
    assert losses.mse(output, target) == pytest.approx(1.5)
    assert losses.rmse(output, target) == pytest.approx(math.sqrt(1.5))
    assert losses.mae(output, target) == pytest.approx(1.0)
    assert losses.esr(2.0 * output, 2.0 * target) == pytest.approx(1.5)
    assert losses.nrmse(2.0 * output, 2.0 * target) == pytest.approx(math.sqrt(1.5))
    assert losses.dc(2.0 * output, 2.0 * target) == pytest.approx(0.25)


def test_esr_and_dc_equal_auraloss() -> None:
    output, target = signals(4000)
    assert losses.esr(output, target) == pytest.approx(float(ESRLoss()(output, target)), rel=1e-6)
    assert losses.dc(output, target) == pytest.approx(float(DCLoss()(output, target)), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "emphasis", "coefficient"),
    [
        ("hp", losses.first_order(0.85), 0.85),
        ("hp", losses.first_order(0.95), 0.95),
        ("fd", losses.folded_differentiator(), 0.85),
    ],
)
def test_emphasis_equals_auraloss(kind: str, emphasis: losses.Emphasis, coefficient: float) -> None:
    """auraloss correlates where a filter convolves, so its signals run backwards."""
    output, target = signals(1, 1, 3000, margin=200)
    theirs = FIRFilter(kind, coef=coefficient).double()
    expected = ESRLoss()(*theirs(output.flip(-1), target.flip(-1)))
    assert losses.esr_emphasised(output, target, emphasis) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("frequency", "decibel"),
    [(31.623, -39.4), (100.0, -19.1), (1000.0, 0.0), (2511.9, 1.3), (10000.0, -2.5), (19953.0, -9.3)],
)
def test_a_weighting_is_the_standards(frequency: float, decibel: float) -> None:
    """IEC 61672-1:2013, table 3, which is rounded to 0.1 dB; its 31.5 Hz is 10^1.5 Hz, and so on."""
    gain = losses.a_weighting(torch.tensor(frequency, dtype=torch.float64))
    assert 20.0 * math.log10(float(gain)) == pytest.approx(decibel, abs=0.06)


def test_a_weighted_low_pass_weighs_by_its_gains() -> None:
    """An error of one frequency beside a target of another: the ESR is the ratio of the filter's gains, squared."""
    emphasis = losses.a_weighted_low_pass(RATE)
    target = burst(400.0, 1.0)
    found = losses.esr_emphasised(target + burst(5000.0, 0.1), target, emphasis)

    def gain(f: float) -> float:
        low_pass = abs(1.0 + 0.85 * complex(math.cos(2.0 * math.pi * f / RATE), -math.sin(2.0 * math.pi * f / RATE)))
        return low_pass * float(losses.a_weighting(torch.tensor(f, dtype=torch.float64)))

    assert found == pytest.approx((0.1 * gain(5000.0) / gain(400.0)) ** 2, rel=2e-4)


def test_energy_that_rings_on_is_not_lost() -> None:
    """A click at the very end of a signal has the same A-weighted energy as one in its middle."""
    early, late = torch.zeros(2, 8192, dtype=torch.float64)
    early[4096], late[-1] = 1.0, 1.0
    energies = [float(torch.sum(losses.a_weighted(click, RATE) ** 2)) for click in (early, late)]
    assert energies[0] == pytest.approx(energies[1], rel=1e-9)


def test_stft_distances_equal_auraloss() -> None:
    output, target = (signal.float() for signal in signals(2, 8000))
    theirs = STFTLoss(1024, 256, 1024)(output[:, None], target[:, None])
    assert losses.stft(output, target) == pytest.approx(float(theirs), rel=1e-6)
    theirs = MultiResolutionSTFTLoss()(output[:, None], target[:, None])
    assert losses.mr_stft(output, target) == pytest.approx(float(theirs), rel=1e-6)


def test_a_batch_is_one_signal_in_pieces() -> None:
    output, target = signals(6, 500)
    target[3] = 0.0
    for loss in (losses.mse, losses.mae, losses.rmse, losses.esr, losses.nrmse):
        assert loss(output, target) == pytest.approx(float(loss(output.reshape(-1), target.reshape(-1))), rel=1e-12)


def test_silence_does_not_explode() -> None:
    """Nothing but silence, and an output 100 dB below full scale: no alarm, and a gradient to follow."""
    target = torch.zeros(1000, dtype=torch.float64)
    output = torch.full((1000,), 1e-5, dtype=torch.float64, requires_grad=True)
    loss = losses.esr(output, target) + losses.dc(output, target)
    loss.backward()
    assert 0.0 < loss.item() < 0.1
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()


def test_power_of_the_whole_makes_parts_add_up() -> None:
    output, target = signals(4000)
    target[:1000] = 0.0
    power = torch.mean(target**2)
    parts = [losses.esr(output[k : k + 1000], target[k : k + 1000], power) for k in range(0, 4000, 1000)]
    assert torch.stack(parts).mean() == pytest.approx(float(losses.esr(output, target)), rel=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        losses.mse, losses.mae, losses.rmse, losses.esr, losses.nrmse, losses.dc,
        lambda y, t: losses.esr_emphasised(y, t, losses.first_order(0.95)),
        lambda y, t: losses.esr_emphasised(y, t, losses.a_weighted_low_pass(RATE)),
        lambda y, t: losses.stft(y, t, 16, 8),
    ],
)  # fmt: skip
def test_gradients(loss: object) -> None:
    output, target = signals(2, 40)
    assert torch.autograd.gradcheck(loss, (output.requires_grad_(), target), atol=1e-6)
