"""Networks whose memory is the circuit's state, so that a simulation or a measurement of it can teach them."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from circuitnn.models.network import Network


class StateNetwork(Network):
    """A network that computes the state x[n] from u[n] and x[n-1]; its output is the first state.

    `teach` does so from states that are known (teacher forcing), for all samples at once; `run` from its own. The first
    tensor of its state is x [batch, n_states].
    """

    n_states: int

    @abstractmethod
    def teach(self, u: Tensor, x: Tensor, knobs: Tensor) -> Tensor:
        """u [batch, time, 1], the true states x [batch, time, n_states] and knobs [batch, time, n_knobs] -> what the
        network makes of x[n-1] for all but the first sample [batch, time - 1, n_states]."""


def teaching_loss(network: StateNetwork, u: Tensor, x: Tensor, knobs: Tensor) -> Tensor:
    """Squared error of the steps from one true state to the next, over that of standing still, for each state: 1 if
    nothing is learned, whatever the states' sizes and the sampling rate are."""
    error = torch.mean((network.teach(u, x, knobs) - x[:, 1:]) ** 2, (0, 1))
    steps = torch.mean((x[:, 1:] - x[:, :-1]) ** 2, (0, 1))
    return torch.mean(error / torch.clamp(steps, min=torch.finfo(x.dtype).tiny))
