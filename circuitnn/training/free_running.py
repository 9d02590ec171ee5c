"""Networks of states learn in free runs, which begin at states that are known and become longer and longer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from circuitnn import losses
from circuitnn.models.state_network import StateNetwork
from circuitnn.models.state_space_gru import StateSpaceGru
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.training.data import Batch, Judge, Place
from circuitnn.training.judging import judge_in_place
from circuitnn.training.presets import Preset
from circuitnn.training.resuming import Kept

# Samples of a run from a known state: short ones to match the states that follow, then, with None, whole pieces, and
# these once more for the output above all.
HORIZONS = (1, 64, 2048, None, None)
# Samples that one evaluation of the loss goes through at most, of short runs and of whole pieces.
SHORT, WHOLE = 2**17, 2**20
# Steps of the quasi-Newton method in an epoch, and how many of the last ones it remembers.
ITERATIONS, MEMORY = 20, 30
# A loss that falls by less than this part in so many epochs will not become much better.
SLIGHT, IDLE = 0.02, 5
# Pre-emphasis 1 - 0.85 z^-1, as recurrent networks are trained with (Wright et al., DAFx-19).
EMPHASIS = losses.first_order(0.85)
# How much the states count when the output is what is learned. With nothing to hold them they drift, unheard, to where
# the network stays on another sound.
HOLD = 0.1
# In the place of a loss that is no number, which a line search could not compare.
WORST = 1e30


def affordable(found: Sequence[Place], samples: int) -> list[Place]:
    """Of places of pieces, as many as one evaluation of the loss may go through, evenly from all over. samples: what
    there is to go through for each of them."""
    count = min(len(found), max(1, WHOLE // samples))
    return [found[(2 * k + 1) * len(found) // (2 * count)] for k in range(count)]


def measure(network: StateNetwork, pieces: Batch) -> None:
    """Tell a new network how large its signals are, and what linear output and, of a GRU, linear step fit best."""
    with torch.no_grad():
        network.sizes[0], network.sizes[1] = (torch.sqrt(torch.mean(x**2)) for x in (pieces.u, pieces.target))
        network.sizes[2:] = torch.std(pieces.states, (0, 1))
        if network.readout is None:
            # The output is the first state.
            network.sizes[1] = network.sizes[2]
            return
        knobs = pieces.knobs[:, None].expand(-1, pieces.u.shape[1], -1)
        x = network.in_own_units(pieces.states)
        own = torch.cat([pieces.u[..., None] / network.sizes[0], knobs, x], 2).flatten(0, 1).double()
        target = pieces.target.reshape(-1, 1).double() / network.sizes[1]
        network.readout.linear.weight.copy_(torch.linalg.lstsq(own, target, driver="gelsd").solution.T)
        network.readout.linear.bias.zero_()
        if isinstance(network, StateSpaceGru) and network.linear is not None:
            steps = windows(pieces, 1)
            x = network.in_own_units(steps.states)
            network.begin_linear(torch.cat([steps.u[:, 1] / network.sizes[0], steps.knobs], 1), x[:, 0], x[:, 1])


class FreeRunning:
    """L-BFGS (D. C. Liu and J. Nocedal, Mathematical Programming 45, 1989) with gradients through all of each run, in
    double precision, which the network is left in.

    Runs begin at true states; they are to meet those that follow, and the output: ESR plus pre-emphasised ESR. They
    become longer and longer, which is multiple shooting (Ribeiro et al., "On the smoothness of nonlinear system
    identification", Automatica 121, 2020) and the remedy for what Peussa et al. (DAFx 2021) call exposure bias. Of
    single steps, the linear layers come by variable projection (Golub and Pereyra, SIAM Journal on Numerical Analysis
    10, 1973). An epoch is ITERATIONS iterations; after each, the network runs over whole takes from rest, and the one
    that is best there is kept: one that runs away never is.
    """

    def __init__(
        self,
        network: StateNetwork,
        pieces: Batch,
        judges: Sequence[Judge],
        preset: Preset,
        kept: Kept,
        progress: Callable[[int, float], None],
    ) -> None:
        self.network, self.judges, self.preset = network.double(), judges, preset
        self.pieces = Batch(*(part.double() for part in (pieces.u, pieces.target, pieces.knobs, pieces.states)))
        self.errors: list[float] = []
        self.best: dict[str, Tensor] = {}
        self.elapsed = 0.0
        self._kept, self._progress = kept, progress
        # In a single step, a hidden state that is zero before it says nothing.
        self._begin(0 if isinstance(network, StateTrajectoryNetwork) else 1)

    def run(self, checkpoint: Path | None, resume: bool) -> str:
        """Train until the end -> why it ended. checkpoint: a file for the state after each epoch."""
        if resume and checkpoint is not None and checkpoint.exists():
            self._load(checkpoint)
        try:
            while len(self.errors) < self.preset.epochs:
                if self._is_learned():
                    if self.phase + 1 == len(HORIZONS):
                        return "no better for a while"
                    self._begin(self.phase + 1)
                began = _clocks()
                self._epoch()
                self._judge()
                self.elapsed += max(now - then for now, then in zip(_clocks(), began, strict=True))
                if checkpoint is not None:
                    self._save(checkpoint)
                if self.preset.seconds is not None and self.elapsed >= self.preset.seconds:
                    return "out of time"
        except KeyboardInterrupt:
            return "interrupted"
        return "all epochs done"

    def _begin(self, phase: int) -> None:
        self.phase, self.losses = phase, list[float]()
        self._windows = windows(self.pieces, HORIZONS[phase])
        network = self.network
        # The network, if what is linear in it follows from the rest.
        self._projected = network if HORIZONS[phase] == 1 and isinstance(network, StateTrajectoryNetwork) else None
        learned = network.parameters() if self._projected is None else self._projected.curved
        self._optimizer = torch.optim.LBFGS(
            learned, max_iter=ITERATIONS, history_size=MEMORY, line_search_fn="strong_wolfe",
            tolerance_grad=0.0, tolerance_change=0.0,
        )  # fmt: skip

    def _is_learned(self) -> bool:
        """Whether this phase has had its share of the epochs, or gains nothing any more."""
        past = self.losses[-1 - IDLE :]
        if len(past) > IDLE and past[-1] > (1.0 - SLIGHT) * past[0]:
            return True
        taught = len(HORIZONS) - 1
        return self.phase < taught and len(self.losses) >= max(1, self.preset.teaching_epochs // taught)

    def _epoch(self) -> None:
        last = WORST

        def closure() -> float:
            nonlocal last
            self.network.zero_grad()
            loss = self._loss()
            last = float(loss.detach())
            if not math.isfinite(last):
                return WORST
            loss.backward()
            return last

        self._optimizer.step(closure)
        self.losses.append(last)

    def _loss(self) -> Tensor:
        """Of the states and the output; in the last phase of the output above all, without what the warm-up takes."""
        network, w = self.network, self._windows
        knobs = w.knobs[:, None].expand(-1, w.u.shape[1], -1)
        if self._projected is not None:
            x, now = network.in_own_units(w.states), torch.cat([w.u / network.sizes[0], knobs], 2)
            self._projected.fit_rest(now[:, 1], x[:, 0], x[:, 1])
            return network.state_loss(network.free_run(w.u, w.states, knobs), w.states)
        xs = network.free_run(w.u, w.states, knobs)
        y, target = network.output(w.u[:, 1:], knobs[:, 1:], xs)[..., 0], w.target[:, 1:, 0]
        last = self.phase + 1 == len(HORIZONS)
        if last:
            y, target = y[:, self.preset.warm_up :], target[:, self.preset.warm_up :]
        shape = losses.esr(y, target) + losses.esr_emphasised(y, target, EMPHASIS)
        return shape + (HOLD if last else 1.0) * network.state_loss(xs, w.states)

    def _judge(self) -> None:
        error = judge_in_place(self.network, self.judges, self.preset.warm_up)
        if math.isfinite(error) and error < min(self.errors, default=math.inf):
            self.best = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        self.errors.append(error)
        self._progress(len(self.errors), error)

    def _save(self, path: Path) -> None:
        state = {
            "errors": self.errors, "best": self.best, "phase": self.phase, "losses": self.losses,
            "elapsed": self.elapsed, "network": self.network.state_dict(), "optimizer": self._optimizer.state_dict(),
        }  # fmt: skip
        self._kept.write(path, state)

    def _load(self, path: Path) -> None:
        state = self._kept.read(path)
        self.errors, self.best, self.elapsed = list(state["errors"]), dict(state["best"]), float(state["elapsed"])
        self._begin(int(state["phase"]))
        self.losses = list(state["losses"])
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])


def _clocks() -> tuple[float, float]:
    """Seconds that this thread has worked, and each of those that work side by side. The one that runs faster counts:
    most of the work is gradients, which autograd follows in a thread of its own."""
    return time.thread_time(), time.process_time() / torch.get_num_threads()


def windows(pieces: Batch, horizon: int | None) -> Batch:
    """Parts of `horizon` samples and the one before them, from all over the pieces."""
    signals = (pieces.u[..., None], pieces.target[..., None], pieces.states)
    if horizon is None:
        return Batch(*signals[:2], pieces.knobs, signals[2])
    length = min(horizon + 1, pieces.u.shape[1])
    most = SHORT // length
    u, target, states = (part.unfold(1, length, length - 1).flatten(0, 1).transpose(1, 2) for part in signals)
    knobs = pieces.knobs.repeat_interleave(len(u) // len(pieces.u), 0)
    every = -(-len(u) // most)
    return Batch(*(part[::every] for part in (u, target, knobs, states)))
