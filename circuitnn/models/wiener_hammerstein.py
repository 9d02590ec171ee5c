"""Wiener-Hammerstein model with differentiable filters: a filter, a static nonlinearity, a filter. The structure is
that of Eichas and Zolzer, "Black-box modeling of distortion circuits with block-oriented models", DAFx-16; the filters
are learned by gradient as in Kuznetsov, Parker and Esqueda, "Differentiable IIR filters for machine learning
applications", DAFx 2020."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from circuitnn.models.iir import Biquad
from circuitnn.models.network import Network, State


class WienerHammerstein(Network):
    """`sections` biquads, x + MLP(x, knobs) without memory, `sections` biquads. With sections = (n, 0) it is a Wiener
    model, with (0, n) a Hammerstein model.

    hidden: width of the MLP's two tanh layers. State: that of each biquad [batch, 2], zero at first.
    """

    def __init__(self, sections: tuple[int, int] = (2, 2), hidden: int = 8, knob_names: Sequence[str] = ()) -> None:
        super().__init__(knob_names)
        self.before = nn.ModuleList(Biquad() for _ in range(sections[0]))
        self.curve = nn.Sequential(
            nn.Linear(1 + len(self.knob_names), hidden), nn.Tanh(),
            nn.Linear(hidden, hidden), nn.Tanh(),
            nn.Linear(hidden, 1),
        )  # fmt: skip
        self.after = nn.ModuleList(Biquad() for _ in range(sections[1]))

    def settings(self) -> dict[str, Any]:
        return {"sections": [len(self.before), len(self.after)], "hidden": self.curve[-1].in_features}

    def run(self, u: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        waiting, later = iter(state), []
        x = u[..., 0]
        for biquad in self.before:
            x, after = biquad(x, next(waiting))
            later.append(after)
        x = x + self.curve(torch.cat([x[..., None], knobs], 2))[..., 0]
        for biquad in self.after:
            x, after = biquad(x, next(waiting))
            later.append(after)
        return x[..., None], tuple(later)

    def rest(self, knobs: Tensor) -> State:
        return tuple(knobs.new_zeros(knobs.shape[0], 2) for _ in (*self.before, *self.after))
