"""What the output of a block-oriented model does when one of its parameters moves: all derivatives in one pass, block
by block, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import lfilter
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from circuitnn.models.iir import Biquad, denominator
from circuitnn.models.wiener_hammerstein import WienerHammerstein

Real = NDArray[np.float64]


def output_and_jacobian(network: WienerHammerstein, u: Real, knobs: Real) -> tuple[Real, Real]:
    """u [time], knobs [n_knobs] -> y [time] from a state of zeros, and its derivatives [parameters, time] in the order
    of network.parameters()."""
    x, slopes = u, np.empty((0, len(u)))
    for biquad in network.before:
        assert isinstance(biquad, Biquad)
        x, slopes = _filtered(biquad, x, slopes)
    x, slopes = _shaped(network.curve, x, slopes, knobs)
    for biquad in network.after:
        assert isinstance(biquad, Biquad)
        x, slopes = _filtered(biquad, x, slopes)
    return x, slopes


def _filtered(biquad: Biquad, x: Real, slopes: Real) -> tuple[Real, Real]:
    """A y = B x: A dy = B dx + dB x - dA y."""
    b, a = (part.detach().double().numpy() for part in biquad.coefficients())
    y = lfilter(b, a, x)
    by_b = [lfilter(np.eye(3)[k], a, x) for k in range(3)]
    by_a = np.stack([-lfilter(np.eye(3)[k], a, y) for k in (1, 2)])
    to_a: Tensor = jacrev(denominator)(biquad.p.detach().double())
    return y, np.concatenate([lfilter(b, a, slopes), by_b, to_a[1:].numpy().T @ by_a])


def _shaped(curve: nn.Module, x: Real, slopes: Real, knobs: Real) -> tuple[Real, Real]:
    """v = x + f(x, knobs): dv = (1 + f') dx + df."""
    values = {name: parameter.detach().double() for name, parameter in curve.named_parameters()}
    inputs = torch.as_tensor(np.column_stack([x, np.broadcast_to(knobs, (len(x), len(knobs)))]))

    def f(values: dict[str, Tensor], z: Tensor) -> Tensor:
        output: Tensor = functional_call(curve, values, (z,))
        return output[0]

    both: Any = vmap(grad(f, argnums=(0, 1)), in_dims=(None, 0))(values, inputs)
    own = torch.cat([part.flatten(1) for part in both[0].values()], 1)
    shape = vmap(f, in_dims=(None, 0))(values, inputs)
    return x + shape.numpy(), np.concatenate([(1.0 + both[1][:, 0].numpy()) * slopes, own.numpy().T])
