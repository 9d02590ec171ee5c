"""Levenberg-Marquardt for block-oriented models: F. Eichas, S. Moller and U. Zolzer, "Block-oriented modeling of
distortion audio effects using iterative minimization", DAFx-15; Eichas and Zolzer, DAFx-16."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from circuitnn.models.wiener_hammerstein import WienerHammerstein
from circuitnn.training.data import Batch, Take
from circuitnn.training.judging import judge
from circuitnn.training.presets import Preset
from circuitnn.training.resuming import Kept
from circuitnn.training.tangents import output_and_jacobian

Real = NDArray[np.float64]

# Damping at first, its factors after a step that helped and one that did not, and where it gives up.
DAMPING, EASIER, HARDER, MOST_DAMPING = 1e-2, 0.2, 5.0, 1e8
# Pre-emphasis 1 - 0.85 z^-1, as recurrent networks are trained with (Wright et al., DAFx-19).
EMPHASIS = 0.85
# An error that falls by less than this part in an iteration counts as no better, and after so many of these it ends.
SLIGHT, IDLE = 1e-4, 5


class LeastSquares:
    """Minimises ESR plus pre-emphasised ESR over all pieces; what judges it decides which parameters are kept.

    (J^T J + damping diag(J^T J)) step = J^T e, with both errors in e, and J over the pieces without their first
    `warm_up` samples. Without the emphasis, nothing would hold what the recordings have little of. One iteration is
    what others call an epoch; patience counts those that do not help. Double precision, which the network is left in.
    """

    def __init__(
        self,
        network: WienerHammerstein,
        pieces: Batch,
        judges: Sequence[Take],
        preset: Preset,
        kept: Kept,
        progress: Callable[[int, float], None],
    ) -> None:
        self.network, self.pieces, self.judges, self.preset = network.double(), pieces, judges, preset
        self.errors: list[float] = []
        self.best: dict[str, Tensor] = {}
        self.damping, self.idle, self.elapsed = DAMPING, 0, 0.0
        heard = pieces.target[:, preset.warm_up :].double().numpy()
        # One over the energy of what is to be met, plain and emphasised.
        self.weights = tuple(1.0 / max(float(np.sum(part**2)), 1e-30) for part in (heard, _emphasised(heard)))
        self._kept, self._progress = kept, progress

    def run(self, checkpoint: Path | None, resume: bool) -> str:
        """Iterate until the end -> why it ended. checkpoint: a file for the state after each iteration."""
        if resume and checkpoint is not None and checkpoint.exists():
            self._load(checkpoint)
        try:
            while len(self.errors) < self.preset.epochs:
                began = time.thread_time()
                self.idle = 0 if self.iterate() else self.idle + 1
                self._judge()
                self.elapsed += time.thread_time() - began
                if checkpoint is not None:
                    self._save(checkpoint)
                since_best = len(self.errors) - 1 - self.errors.index(min(self.errors))
                if self.idle >= IDLE or since_best >= self.preset.patience:
                    return "no better for a while"
                if self.preset.seconds is not None and self.elapsed >= self.preset.seconds:
                    return "out of time"
        except KeyboardInterrupt:
            return "interrupted"
        return "all epochs done"

    def iterate(self) -> bool:
        """One step, if there is one that helps -> whether it helped noticeably."""
        normal, gradient, before = self._normal_equations()
        start = parameters_to_vector(self.network.parameters()).detach().clone()
        while self.damping < MOST_DAMPING:
            damped = normal + self.damping * np.diag(np.maximum(np.diag(normal), 1e-12 * np.diag(normal).max()))
            step = np.linalg.solve(damped, gradient)
            self._place(start - torch.as_tensor(step, dtype=start.dtype))
            after = self.cost()
            if after < before:
                self.damping = max(self.damping * EASIER, 1e-12)
                return after < (1.0 - SLIGHT) * before
            self.damping *= HARDER
        self._place(start)
        self.damping = DAMPING
        return False

    def _place(self, values: Tensor) -> None:
        with torch.no_grad():
            vector_to_parameters(values, self.network.parameters())

    def _normal_equations(self) -> tuple[Real, Real, float]:
        """J^T J, J^T e and e^T e over all pieces."""
        count = sum(parameter.numel() for parameter in self.network.parameters())
        normal, gradient, cost = np.zeros((count, count)), np.zeros(count), 0.0
        for u, target, knobs in self._each():
            y, slopes = output_and_jacobian(self.network, u, knobs)
            error, slopes = (y - target)[self.preset.warm_up :], slopes[:, self.preset.warm_up :]
            parts = ((error, slopes), (_emphasised(error), _emphasised(slopes)))
            for weight, (e, J) in zip(self.weights, parts, strict=True):
                normal += weight * (J @ J.T)
                gradient += weight * (J @ e)
                cost += weight * float(e @ e)
        return normal, gradient, cost

    def cost(self) -> float:
        """e^T e over all pieces; inf if it is not finite."""
        knobs = dict(zip(self.network.knob_names, self.pieces.knobs.unbind(1), strict=True))
        with torch.no_grad():
            y, _ = self.network(self.pieces.u[..., None], knobs=knobs)
        error = (y[..., 0] - self.pieces.target)[:, self.preset.warm_up :].double().numpy()
        cost = float(sum(w * np.sum(e**2) for w, e in zip(self.weights, (error, _emphasised(error)), strict=True)))
        return cost if math.isfinite(cost) else math.inf

    def _each(self) -> list[tuple[Real, Real, Real]]:
        """u [time], target [time] and knobs [n_knobs] of each piece."""
        parts = (self.pieces.u, self.pieces.target, self.pieces.knobs)
        return list(zip(*(part.double().numpy() for part in parts), strict=True))

    def _judge(self) -> None:
        error = judge(self.network, self.judges, self.preset.warm_up)
        if error < min(self.errors, default=math.inf):
            self.best = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.errors.append(error)
        self._progress(len(self.errors), error)

    def _save(self, path: Path) -> None:
        state = {
            "errors": self.errors, "best": self.best, "damping": self.damping, "idle": self.idle,
            "elapsed": self.elapsed, "network": self.network.state_dict(),
        }  # fmt: skip
        self._kept.write(path, state)

    def _load(self, path: Path) -> None:
        state = self._kept.read(path)
        self.errors, self.best, self.damping = list(state["errors"]), dict(state["best"]), float(state["damping"])
        self.idle, self.elapsed = int(state["idle"]), float(state["elapsed"])
        self.network.load_state_dict(state["network"])


def _emphasised(signal: Real) -> Real:
    """[..., time] through 1 - EMPHASIS z^-1, one sample shorter."""
    return signal[..., 1:] - EMPHASIS * signal[..., :-1]
