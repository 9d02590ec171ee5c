"""Truncated backpropagation through time as a LightningModule. Imported where it is needed: Lightning loads slowly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from circuitnn import losses
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.network import Network, detached
from circuitnn.training.data import Batch, Shuffled, Take
from circuitnn.training.judging import judge
from circuitnn.training.presets import Preset
from circuitnn.training.resuming import Kept

# The pre-emphasis that Wright et al. train recurrent networks with (DAFx-19), beside a term for the mean. Here the
# plain error counts as well: of a note's fundamental the emphasis leaves too little.
EMPHASIS = losses.first_order(0.85)
# Gradients through thousands of steps explode at times; longer ones are cut to this.
LONGEST_GRADIENT = 1.0
# Step of a circuit's values, in their logarithms, over that of a network's weights. They are known to a tenth where
# weights are random, and at the same pace they are led far away before the networks beside them know anything.
VALUES_PACE = 0.1

Progress = Callable[[int, float], None]


class Harness(LightningModule):
    """One network, the pieces to train on, and the takes that judge it after each epoch."""

    def __init__(
        self,
        network: Network,
        batches: Shuffled,
        judges: Sequence[Take],
        preset: Preset,
        kept: Kept,
        progress: Progress,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.batches, self.judges, self.preset = network, batches, judges, preset
        self.errors: list[float] = []
        self.best: dict[str, Tensor] = {}
        self.reason = "all epochs done"
        # What the thread that trains has worked, in seconds: it does not count what other programs take from it.
        self.elapsed = self._began = 0.0
        self.kept, self._progress = kept, progress
        whole = batches.whole.target
        self._power = float(torch.mean(whole**2))
        self._emphasised_power = float(torch.mean(EMPHASIS(whole) ** 2))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        circuits = [module for module in self.network.modules() if isinstance(module, CircuitModel)]
        values = {id(value): value for circuit in circuits for value in circuit.parameters()}
        weights = [weight for weight in self.network.parameters() if id(weight) not in values]
        groups = [{"params": weights, "pace": 1.0}, {"params": list(values.values()), "pace": VALUES_PACE}]
        return torch.optim.Adam([group for group in groups if group["params"]], self.preset.learning_rate)

    def on_train_epoch_start(self) -> None:
        """Half a cosine from the preset's learning rate to zero (Loshchilov and Hutter, SGDR, ICLR 2017), over all
        epochs, or over the time if that ends first."""
        self._began = time.thread_time()
        done = max(self.current_epoch / self.preset.epochs, self._part_of_time())
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * self.preset.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))

    def _part_of_time(self) -> float:
        seconds = self.preset.seconds
        return 0.0 if seconds is None else min(self.elapsed / max(seconds, 1e-9), 1.0)

    def train_dataloader(self) -> Shuffled:
        self.batches.epoch = self.current_epoch
        self.batches.number, self.batches.devices = self.global_rank, self.trainer.world_size
        return self.batches

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return Batch(*(part.to(device) for part in (batch.u, batch.target, batch.knobs, batch.states)))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        knobs = dict(zip(self.network.knob_names, batch.knobs.unbind(1), strict=True))
        with torch.no_grad():
            _, state = self.network(batch.u[:, : self.preset.warm_up], knobs=knobs)
        rest = slice(self.preset.warm_up, None)
        chunk = self.preset.chunk
        for u, target in zip(batch.u[:, rest].split(chunk, 1), batch.target[:, rest].split(chunk, 1), strict=True):
            y, state = self.network(u, detached(state), knobs)
            self._step(self._loss(y[..., 0], target[..., 0]))

    def _loss(self, y: Tensor, target: Tensor) -> Tensor:
        shape = losses.esr_emphasised(y, target, EMPHASIS, self._emphasised_power)
        return shape + losses.esr(y, target, self._power) + losses.dc(y, target, self._power)

    def _step(self, loss: Tensor) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.zero_grad()
        self.manual_backward(loss)
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
        if torch.isfinite(length):
            optimizer.step()

    def on_train_epoch_end(self) -> None:
        """Judge, and keep what is best. Without Lightning's own validation, whose order against the writing of
        checkpoints would have to be known."""
        error = judge(self.network, self.judges, self.preset.warm_up, self.device)
        elapsed = self.elapsed + time.thread_time() - self._began
        # Several devices go on, and end, together: as the first one sees it.
        error, self.elapsed = self.trainer.strategy.broadcast((error, elapsed))
        if math.isfinite(error) and error < min(self.errors, default=math.inf):
            self.best = {key: value.detach().cpu().clone() for key, value in self.network.state_dict().items()}
        self.errors.append(error)
        if self.trainer.is_global_zero:
            self._progress(len(self.errors), error)
        since_best = len(self.errors) - 1 - self.errors.index(min(self.errors))
        if since_best >= self.preset.patience:
            self._stop("no better for a while")
        elif self.preset.seconds is not None and self.elapsed >= self.preset.seconds:
            self._stop("out of time")

    def _stop(self, reason: str) -> None:
        self.reason = reason
        self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["circuitnn"] = {"errors": self.errors, "best": self.best, "elapsed": self.elapsed}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint["circuitnn"]
        self.errors, self.best, self.elapsed = list(kept["errors"]), dict(kept["best"]), float(kept["elapsed"])
