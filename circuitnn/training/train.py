"""Train a network of the table on recordings."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from circuitnn.audio import Recording
from circuitnn.errors import CircuitnnError, ConvergenceError, RecordingError
from circuitnn.formats import SavedNetwork
from circuitnn.models.architectures import build_network
from circuitnn.models.description import describe
from circuitnn.models.network import Network, expect
from circuitnn.models.state_network import StateNetwork
from circuitnn.models.wiener_hammerstein import WienerHammerstein
from circuitnn.training.data import Shuffled, Take, cut, delays_of, knob_names, parts_of, places, split, stacked, take
from circuitnn.training.free_running import FreeRunning, affordable, measure
from circuitnn.training.least_squares import LeastSquares
from circuitnn.training.memory import kept_memory
from circuitnn.training.presets import PRESETS, Preset
from circuitnn.training.result import Trained
from circuitnn.training.resuming import CHECKPOINT, Kept, fingerprint
from circuitnn.training.starts import best_start
from circuitnn.training.teacher import LEVELS, Teacher, taught

if TYPE_CHECKING:
    from circuitnn.training.harness import Harness

# An input is not taken to be quieter than this: -80 dB of full scale.
QUIETEST = 1e-4


@kept_memory()
def train(
    architecture: str | Network | SavedNetwork,
    recordings: Sequence[Recording],
    *,
    held_out: Sequence[Recording] = (),
    seconds: float | None = None,
    preset: Preset = PRESETS["quick"],
    seed: int = 0,
    device: str = "cpu",
    devices: int = 1,
    teacher: Teacher | None = None,
    progress: Callable[[int, float], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Trained:
    """Train a network of `architectures.ARCHITECTURES`, one of your own such as a chain (a copy of it), or go on with
    one of a file (formats.read_network): block-oriented models by least squares, networks of states by a quasi-Newton
    method in free runs, all others by truncated backpropagation through time.

    held_out: recordings that judge it; without any, every fifth piece does. seconds: how much of the recordings is
    used, from their beginning; None: all. device: as Lightning's accelerator names it, "cpu", "gpu" or "auto"; devices:
    how many of them share each batch. For each but the first, Lightning starts the program once more; those end here.
    Least squares and free runs stay on the CPU, on one. teacher: a circuit whose states a network of states is taught;
    without one, its state is the output. progress: called with the number of epochs and the ESR of what judges.
    checkpoint: a folder for the state after each epoch, from which `resume` goes on. On one kind of processor, equal
    seeds give equal networks. Ctrl-C ends it with the best network so far. Raises CircuitnnError.
    """
    try:
        from circuitnn.training.harness import Harness
        from circuitnn.training.loop import run_loop
    except ModuleNotFoundError as error:
        raise CircuitnnError(
            f"training needs {error.name}, which is not installed", "pip install 'circuitnn[train]'"
        ) from None

    began = time.perf_counter()
    every, count = (*recordings, *held_out), len(recordings)
    rate, names, found = _common_rate(every), knob_names(every), delays_of(every)
    if teacher is None:
        name, network = _beginning(architecture, names, rate, seed)
        # What the network itself is late by need not be learned.
        delays = [delay - network.latency for delay in found]
        takes, lesson = [take(one, delay, names) for one, delay in zip(every, delays, strict=True)], None
    else:
        lesson = taught(teacher, every, found, names)
        takes, delays = lesson.takes, lesson.delays
        name, network = _beginning(architecture, names, rate, seed, takes[0].states.shape[1])
    takes = _with_states(network, takes)
    length = round(preset.segment * rate)
    chosen = places(takes[:count], length, None if seconds is None else round(seconds * rate))
    training, judging = (chosen, []) if held_out else split(chosen)
    if isinstance(network, StateNetwork):
        training = affordable(training, length if lesson is None else length * (1 + len(LEVELS)))
    pieces, judges = cut(takes, training, length), takes[count:] if held_out else cut(takes, judging, length)
    recorded = stacked(pieces)
    pieces += [] if lesson is None else lesson.exercises(training, length)
    for some in (pieces, judges):
        if not (any(bool(torch.any(one.u)) for one in some) and any(bool(torch.any(one.target)) for one in some)):
            raise RecordingError("what trains or judges the network is silent", "cut the silence off, or use more")
    if min(len(one.u) for one in judges) <= preset.warm_up:
        raise RecordingError("what judges the training is no longer than the warm-up", "train on longer recordings")
    whole, kept = stacked(pieces), Kept(fingerprint(name, network, [*pieces, *judges], preset, seed), began)
    report = progress or (lambda epoch, error: None)
    state = None if checkpoint is None else Path(checkpoint) / CHECKPOINT
    work: Harness | LeastSquares | FreeRunning
    if isinstance(network, WienerHammerstein | StateNetwork):
        if devices > 1:
            raise CircuitnnError(f"{name} is trained on one device, found {devices}", "leave the number out")
        precision = next(network.parameters()).dtype
        # One that goes on has its start behind it.
        new = isinstance(architecture, str) and not (resume and state is not None and state.exists())
        if isinstance(network, WienerHammerstein):
            network = best_start(network, whole, preset, rate) if new else network
            work = LeastSquares(network, whole, judges, preset, kept, report)
        else:
            in_place = parts_of(takes[count:]) if held_out else parts_of(takes, judging, length)
            if new:
                measure(network, recorded)
            work = FreeRunning(network, whole, in_place, preset, kept, report)
        reason = work.run(state, resume)
        network.to(precision)
    else:
        if isinstance(architecture, str):
            expect(network, max(float(torch.sqrt(torch.mean(whole.u**2))), QUIETEST))
        work = Harness(network, Shuffled(whole, preset.batch, seed), judges, preset, kept, report)
        reason = run_loop(work, device, devices, state, resume)
    if not work.best:
        raise ConvergenceError(
            "the training ended before there was a usable network",
            "interrupted in its first epoch, or the learning rate is too high",
        )
    network.load_state_dict(work.best)
    return Trained(
        network=network.cpu().eval(),
        architecture=name,
        sample_rate=rate,
        delay=statistics.median(late + one.cut_off for late, one in zip(delays[:count], recordings, strict=True)),
        esr=min(work.errors),
        errors=tuple(work.errors),
        reason=reason,
        seconds=kept.seconds,
        audio_seconds=recorded.u.numel() / rate,
    )


def _beginning(
    architecture: str | Network | SavedNetwork,
    knobs: Sequence[str],
    rate: float,
    seed: int,
    n_states: int | None = None,
) -> tuple[str, Network]:
    """The name of the architecture and the network to begin with. n_states: of the circuit that teaches it. Raises
    CircuitnnError."""
    if isinstance(architecture, str):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return architecture, build_network(architecture, knobs, n_states)
    saved = architecture
    if isinstance(saved, Network):
        saved = SavedNetwork(saved, describe(saved)["kind"])
    for own in (saved.sample_rate, saved.network.sample_rate):
        if own not in (None, rate):
            raise RecordingError(f"expected {own:g} Hz, the network's rate, found {rate:g} Hz", "resample them")
    if set(saved.network.knob_names) != set(knobs):
        known, found = (", ".join(names) or "none" for names in (saved.network.knob_names, knobs))
        raise RecordingError(f"expected positions of the network's knobs ({known}), found {found}")
    return saved.name, deepcopy(saved.network).train()


def _with_states(network: Network, takes: list[Take]) -> list[Take]:
    """The takes, whose output is the state where nothing told another one. Raises CircuitnnError if a network of a file
    has other states than the circuit that teaches it."""
    if not isinstance(network, StateNetwork):
        return takes
    told = takes[0].states.shape[1]
    if network.readout is None and not told:
        takes = [replace(one, states=one.target[:, None]) for one in takes]
    if network.n_states != takes[0].states.shape[1]:
        raise CircuitnnError(
            f"expected a circuit of {network.n_states} states, as taught this network, found {told or 'none'}",
            "give it as the teacher" if not told else "give the circuit that it was trained with",
        )
    return takes


def _common_rate(recordings: Sequence[Recording]) -> int:
    rates = {recording.sample_rate for recording in recordings}
    if len(rates) != 1:
        found = ", ".join(str(rate) for rate in sorted(rates)) or "no recordings"
        raise RecordingError(
            f"expected recordings of one sample rate, found {found}", "give all of them one rate in Hz"
        )
    return rates.pop()
