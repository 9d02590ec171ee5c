"""What a circuit costs on this machine: simulation, lanes, gradients in both modes, iterations, compilation."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.circuit import Circuit
from circuitnn.discretise import Numbers
from circuitnn.errors import CircuitnnError
from circuitnn.kernel import HISTOGRAM, LANES, CompiledKernel, Structure
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.simulate import history_at_rest, simulate, tangent
from circuitnn.theta_tangent import ThetaTangent

# Directions of the forward mode: about as many as a pedal has learnable values.
DIRECTIONS = 20
# The netlists of a checkout lie beside the package.
NETLISTS = Path(__file__).parents[1] / "netlists"

# Hz: the notes of the chords that are plucked in turn; and the seconds between two plucks, of a pluck's attack and of
# the release before the next one.
_CHORDS = ((82.41, 123.47, 164.81), (110.0, 164.81, 220.0), (98.0, 146.83, 246.94))
_HARMONICS = 10
_INTERVAL, _ATTACK, _RELEASE = 0.25, 0.001, 0.005


@dataclass(frozen=True)
class Settings:
    """seconds: of audio; sample_rate: of the audio, in Hz; repeats: of each measurement, whose median counts; threads:
    cores that run lanes at the same time (everything else runs on one)."""

    seconds: float = 1.0
    sample_rate: float = 48000.0
    oversample: int = 8
    repeats: int = 5
    threads: int = 1


@dataclass(frozen=True)
class Measurement:
    """A circuit at its netlist's knob positions. Times are medians; a step is one sample at the high rate.

    real_time_factor: seconds of audio per second of computing, rate conversion included, one signal on one core.
    ns_per_step: of the simulation alone, one signal; ns_per_step_lane: of each signal, per core, all LANES occupied.
    gradient_ratio: forward pass that keeps states, and adjoint, over ns_per_step; adjoint_ratio: the adjoint alone;
    adjoint_ratio_lane: the same, all lanes occupied, over ns_per_step_lane; tangent_ratio_20: the run with its
    derivatives in DIRECTIONS directions, one value each, over ns_per_step. newton_iterations: mean per step; histogram:
    steps that took 0, 1, 2, ... iterations, the last entry that many or more. rescues: steps that needed the
    continuation; failures: steps that did not converge even so. stages: ports of each sub-problem that is solved on its
    own. compile_seconds: the simulation, compiled into an empty cache.
    """

    real_time_factor: float
    ns_per_step: float
    ns_per_step_lane: float
    gradient_ratio: float
    newton_iterations: float
    adjoint_ratio: float
    adjoint_ratio_lane: float
    tangent_ratio_20: float
    histogram: tuple[int, ...]
    rescues: int
    failures: int
    states: int
    ports: int
    stages: tuple[int, ...]
    compile_seconds: float


def shipped_netlists() -> list[Path]:
    """The netlists that come with the project. Raises CircuitnnError where there are none."""
    if found := sorted(NETLISTS.glob("*.cir")):
        return found
    raise CircuitnnError(
        f"{NETLISTS}: found no netlists, as the package does not run from a checkout",
        "name the netlists: circuitnn bench FILE.cir ...",
    )


def guitar_like(seconds: float, sample_rate: float, peak: float = 0.5) -> NDArray[np.float64]:
    """Plucked chords [time], every sound of which ends when the next begins. peak: volt. Always the same."""
    total, length = max(1, round(seconds * sample_rate)), max(1, round(_INTERVAL * sample_rate))
    t = np.arange(min(length, total)) / sample_rate
    envelope = np.minimum(1.0, t / _ATTACK) * np.clip((_INTERVAL - t) / _RELEASE, 0.0, 1.0)
    plucks = [envelope * _chord(notes, t) for notes in _CHORDS[: -(-total // length)]]
    signal = np.concatenate([plucks[k % len(plucks)] for k in range(-(-total // length))])[:total]
    highest = float(np.abs(signal).max())
    return signal * (peak / highest) if highest > 0.0 else signal


def _chord(notes: tuple[float, ...], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strings whose higher harmonics are weaker and fade sooner; all start at zero."""
    total = np.zeros_like(t)
    for note in notes:
        for k in range(1, _HARMONICS + 1):
            total += np.sin(2.0 * np.pi * k * note * t) * np.exp(-(1.5 + 0.8 * k) * t) / k
    return total


def measure(circuit: Circuit, settings: Settings | None = None) -> Measurement:
    """Measure one circuit. Raises CircuitError for a circuit that cannot run, CompilerError without a compiler."""
    settings = settings or Settings()
    model = CircuitModel(circuit, settings.sample_rate, settings.oversample, learn=[], compiled=True)
    structure, kernel, factor = model.discrete.structure, model.kernel, settings.oversample
    compile_seconds = _compile_time(structure)
    with torch.no_grad():
        values = model.overrides()
        theta = model.discrete.theta(values)[None]
        x, w, rest = (part[None] for part in model.discrete.initial_state(values, model.operating_point(values)))
    down = history_at_rest(rest, factor)

    slow = _channels(guitar_like(settings.seconds, settings.sample_rate), structure)
    fast = _channels(guitar_like(settings.seconds, settings.sample_rate * factor), structure)
    steps = fast.shape[1]
    # As many lane steps as the single signal has steps: each lane runs its own part of it.
    part = max(1, steps // LANES)
    lanes = fast[:, : part * LANES].reshape(-1, part, structure.n_u)[:LANES].repeat(settings.threads, 1, 1)
    batch = len(lanes)
    x_lanes, w_lanes = x.expand(batch, -1), w.expand(batch, -1)

    learned = theta.clone().requires_grad_()
    y_bar, y_bar_lanes = fast.new_ones(1, steps, structure.n_y), fast.new_ones(batch, part, structure.n_y)
    directions, dx = _directions(model), fast.new_zeros(1, structure.n_x, DIRECTIONS)

    with _threads(1):
        report = simulate(fast, x, w, theta, kernel).report[0]
        kept = simulate(fast, x, w, learned, kernel).y

        def gradient() -> None:
            torch.autograd.grad(simulate(fast, x, w, learned, kernel).y, learned, y_bar)

        single = _median_times(
            {
                "path": lambda: simulate(slow, x, w, theta, kernel, factor, None, down),
                "simulate": lambda: simulate(fast, x, w, theta, kernel),
                "gradient": gradient,
                "adjoint": lambda: torch.autograd.grad(kept, learned, y_bar, retain_graph=True),
                "tangent": lambda: tangent(fast, x, w, theta, dx, directions, kernel),
            },
            settings.repeats,
        )
        del kept
    with _threads(settings.threads):
        kept = simulate(lanes, x_lanes, w_lanes, learned, kernel).y
        several = _median_times(
            {
                "simulate": lambda: simulate(lanes, x_lanes, w_lanes, theta, kernel),
                "adjoint": lambda: torch.autograd.grad(kept, learned, y_bar_lanes, retain_graph=True),
            },
            settings.repeats,
        )
    return Measurement(
        real_time_factor=slow.shape[1] / settings.sample_rate / single["path"],
        ns_per_step=1e9 * single["simulate"] / steps,
        ns_per_step_lane=1e9 * several["simulate"] * settings.threads / (batch * part),
        gradient_ratio=single["gradient"] / single["simulate"],
        newton_iterations=float(report[0]) / steps,
        adjoint_ratio=single["adjoint"] / single["simulate"],
        adjoint_ratio_lane=several["adjoint"] / several["simulate"],
        tangent_ratio_20=single["tangent"] / single["simulate"],
        histogram=tuple(report[HISTOGRAM].tolist()),
        rescues=int(report[2]),
        failures=int(report[1]),
        states=structure.n_x,
        ports=structure.n_n,
        stages=_stage_sizes(structure),
        compile_seconds=compile_seconds,
    )


def _directions(model: CircuitModel) -> ThetaTangent:
    """DIRECTIONS of them, each of which moves one number: coefficients of the equations (the first is the number 1) and
    of the devices, as evenly spread as they come."""
    numbers = model.discrete.numbers(model.overrides())
    sizes = [len(part) for part in numbers]
    moves = torch.zeros(sum(sizes), DIRECTIONS, dtype=torch.float64)
    values = torch.cat(numbers)
    kinds = [*range(1, sizes[0]), *range(sizes[0] + sizes[1], len(values))]
    for direction in range(DIRECTIONS):
        chosen = kinds[direction * len(kinds) // DIRECTIONS]
        moves[chosen, direction] = values[chosen]
    moved = Numbers(*moves.split(sizes))
    return model.discrete.theta_tangent(numbers, moved, torch.ones(()), torch.zeros(DIRECTIONS))


def _channels(signal: NDArray[np.float64], structure: Structure) -> Tensor:
    """The signal at every input [1, time, n_u]."""
    return torch.as_tensor(signal)[None, :, None].repeat(1, 1, structure.n_u)


def _stage_sizes(structure: Structure) -> tuple[int, ...]:
    laws = iter(structure.laws)
    return tuple(sum(next(laws).ports for _ in range(count)) for count in structure.stages)


def _median_times(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each. They take turns, so that a machine that slows down does so for all, after one run to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(measured[1:]) for name, measured in times.items()}


def _compile_time(structure: Structure) -> float:
    """Seconds of a first use: the circuits that are compiled already stay where they are, and are not looked for."""
    before = os.environ.get("CIRCUITNN_CACHE")
    # A loaded library cannot be deleted on every system.
    with tempfile.TemporaryDirectory(prefix="circuitnn-", ignore_cleanup_errors=True) as folder:
        os.environ["CIRCUITNN_CACHE"] = folder
        try:
            began = time.perf_counter()
            CompiledKernel(structure)
            return time.perf_counter() - began
        finally:
            if before is None:
                del os.environ["CIRCUITNN_CACHE"]
            else:
                os.environ["CIRCUITNN_CACHE"] = before


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
