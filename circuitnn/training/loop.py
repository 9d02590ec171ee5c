"""Lightning's loop around the harness: epochs, checkpoints, devices, and the answer to Ctrl-C."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from circuitnn.errors import CircuitnnError
from circuitnn.training.harness import Harness
from circuitnn.training.resuming import Kept


def run_loop(harness: Harness, device: str, devices: int, state: Path | None, resume: bool) -> str:
    """Train -> why it ended. state: the file that keeps each epoch. On several devices each has a process of its own,
    which Lightning starts by the program's command line; all but the first, whose network is the result, end here.
    Raises CircuitnnError."""
    callbacks = []
    if state is not None:
        # One file, always of the same name.
        callbacks.append(ModelCheckpoint(state.parent, state.stem, save_top_k=1, enable_version_counter=False))
    with _quiet():
        try:
            trainer = Trainer(
                accelerator=device, devices=devices, max_epochs=harness.preset.epochs, callbacks=list(callbacks),
                strategy="auto" if devices == 1 else _strategy(harness), plugins=[StateFile(harness.kept)],
                logger=False, enable_checkpointing=state is not None, enable_progress_bar=False,
                enable_model_summary=False, reload_dataloaders_every_n_epochs=1,
            )  # fmt: skip
        except (MisconfigurationException, RuntimeError) as error:
            raise CircuitnnError(
                f"expected {devices} of device {device}: {error}", "ask for what this machine has"
            ) from None
        known = state if resume and state is not None and state.exists() else None
        try:
            trainer.fit(harness, ckpt_path=known, weights_only=True)
            reason = harness.reason
        except SystemExit:
            # Lightning's answer to Ctrl-C.
            reason = "interrupted"
    if not trainer.is_global_zero:
        raise SystemExit(0)
    return reason


class StateFile(CheckpointIO):
    """Checkpoints as all trainings here write and read them. Lightning's own may be half-written after a kill: it
    copies them from the folder of temporary files if that is another disk."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        self._kept.write(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: object = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return self._kept.read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def _strategy(harness: Harness) -> str:
    """A state to begin with is only seen by the warm-up, and has no gradient; others need not wait for such."""
    unused = any(name.endswith(".start") for name, _ in harness.network.named_parameters(prefix="network"))
    return "ddp_find_unused_parameters_true" if unused else "ddp"


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice and its signal handlers stay inside."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels, main = [logger.level for logger in loggers], threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if main:
                signal.signal(signal.SIGINT, handler)
