"""Recursive filters that can be differentiated: second-order sections, run by scipy, with exact gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad


class Biquad(nn.Module):
    """y[n] = b0 x[n] + b1 x[n-1] + b2 x[n-2] - a1 y[n-1] - a2 y[n-2], stable for all values of its parameters. At first
    it lets everything pass."""

    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))
        self.p = nn.Parameter(torch.zeros(2))

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """b [3] and a [3], with a0 = 1."""
        return self.b, denominator(self.p)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [batch, time], state [batch, 2] as in transposed direct form II -> y [batch, time], and the state after."""
        b, a = self.coefficients()
        y = second_order(x, b, a, state)
        return y, _state_after(x, y, b, a, state)


def denominator(p: Tensor) -> Tensor:
    """1, a1 and a2 from two free numbers: a1 = 2 tanh p1, a2 = ((2 - |a1|) tanh p2 + |a1|) / 2 fill the triangle of
    stable filters (Nercessian, Sarroff and Werner, "Lightweight and interpretable neural modeling of an audio
    distortion effect using hyperconditioned differentiable biquads", ICASSP 2021)."""
    a1 = 2.0 * torch.tanh(p[0])
    a2 = 0.5 * ((2.0 - a1.abs()) * torch.tanh(p[1]) + a1.abs())
    return torch.stack([torch.ones_like(a1), a1, a2])


def second_order(x: Tensor, b: Tensor, a: Tensor, state: Tensor) -> Tensor:
    """x [batch, time] through b [3] over a [3] from state [batch, 2]; differentiable in all four."""
    y: Tensor = _Filter.apply(x, b, a, state)  # type: ignore[no-untyped-call]
    return y


def _state_after(x: Tensor, y: Tensor, b: Tensor, a: Tensor, state: Tensor) -> Tensor:
    """s1 = b1 x[n] - a1 y[n] + s2[n-1] and s2 = b2 x[n] - a2 y[n] at the last sample."""
    second = b[2] * x[:, -2:] - a[2] * y[:, -2:]
    # Of a single sample's chunk, the sample before is in the state.
    before = second[:, 0] if x.shape[1] > 1 else state[:, 1]
    return torch.stack([b[1] * x[:, -1] - a[1] * y[:, -1] + before, second[:, -1]], 1)


class _Filter(torch.autograd.Function):
    """A Y = B X + s1 + s2 z^-1. With q = A^-T g, the gradient g filtered backwards in time, every derivative is an
    inner product of q with what stands beside the coefficient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, b: Tensor, a: Tensor, state: Tensor) -> Tensor:
        y, _ = lfilter(_numpy(b), _numpy(a), _numpy(x), zi=_numpy(state))
        output = torch.as_tensor(y).to(x)
        ctx.save_for_backward(x, b, a, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, b, a, y = ctx.saved_tensors
        backwards = lfilter([1.0], _numpy(a), _numpy(gradients[0].flip(1)))
        q = torch.as_tensor(np.ascontiguousarray(backwards)).flip(1).to(x)
        ahead = _shifted(pad(q, (0, 2)), x.shape[1])
        to_b = torch.stack([torch.sum(part * x) for part in ahead])
        to_a = -torch.stack([torch.sum(part * y) for part in ahead])
        to_x = sum(coefficient * part for coefficient, part in zip(b, ahead, strict=True))
        assert isinstance(to_x, Tensor)
        return to_x, to_b, to_a, pad(q, (0, 1))[:, :2]


def _shifted(q: Tensor, time: int) -> list[Tensor]:
    """q[n], q[n+1] and q[n+2] for n < time."""
    return [q[:, k : k + time] for k in range(3)]


def _numpy(signal: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return signal.detach().cpu().double().numpy()
