"""Whole files through a model in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitnn.errors import CircuitError, ConvergenceError
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.network import Network
from circuitnn.simulate import history_at_rest, simulate

Signal = NDArray[np.float64]

# Seconds of a circuit, and samples of a network, that are computed at a time.
CHUNK_SECONDS, CHUNK_SAMPLES = 5.0, 2**15


@dataclass(frozen=True)
class Rendering:
    """output [time], in volt; failures: steps that did not converge; seconds: what the computation took."""

    output: Signal
    failures: int
    seconds: float


# What plays a whole signal [time] from rest, such as an export in the place of the model that it was made of.
Renderer = Callable[[Signal], Rendering]


def render(
    model: CircuitModel,
    signal: Signal,
    level: float = 1.0,
    progress: Callable[[float], None] | None = None,
    overrides: Mapping[str, Tensor] | None = None,
    displacement: Signal | None = None,
) -> Rendering:
    """The model's output for signal [time] times `level` (volt at digital full scale), from rest, latency taken out.

    progress: called with the seconds of audio done. overrides: values by name in place of the model's. displacement
    [n_x or 1]: of the circuit's states from rest where the signal begins. Memory beyond input and output does not grow
    with their length.
    Raises CircuitError unless the model has one input and one output, ConvergenceError if the output is not finite.
    """
    structure = model.discrete.structure
    if structure.n_u != 1 or structure.n_y != 1:
        raise CircuitError(f"expected one input and one output, found {structure.n_u} and {structure.n_y}")
    kernel, factor, latency, rate = model.kernel, model.oversample, model.latency, model.sample_rate
    failures, output = 0, np.empty(len(signal))
    with torch.no_grad():
        overrides = model.overrides() if overrides is None else overrides
        theta = model.discrete.theta(overrides)[None]
        x, w, rest = (part[None] for part in model.discrete.initial_state(overrides, model.operating_point(overrides)))
        x = x if displacement is None else x + torch.as_tensor(displacement)
        up, down = None, history_at_rest(rest, factor)
        chunk = max(1, round(CHUNK_SECONDS * rate))
        # What is compiled or loaded at first use is not the model's speed.
        simulate(torch.zeros(1, 1, 1, dtype=torch.float64), x, w, theta, kernel)
        began = time.perf_counter()
        for start in range(0, len(signal) + latency, chunk):
            part = signal[start : start + chunk]
            tail = min(start + chunk, len(signal) + latency) - start - len(part)
            u = torch.as_tensor(np.concatenate([part * level, np.zeros(tail)]))[None, :, None]
            y, x, w, up, down, report = simulate(u, x, w, theta, kernel, factor, up, down)
            failures += int(report[0, 1])
            made = y[0, max(latency - start, 0) :, 0].numpy()
            first = max(start - latency, 0)
            output[first : first + len(made)] = made
            if progress is not None:
                progress(min(start + chunk, len(signal)) / rate)
    broken = np.flatnonzero(~np.isfinite(output))
    if len(broken):
        raise ConvergenceError(
            f"the output is not finite from sample {broken[0]} on",
            "the circuit may be unstable: look for an amplifier with positive feedback, or lower the input level",
        )
    return Rendering(output, failures, time.perf_counter() - began)


def render_network(network: Network, signal: Signal, knobs: Mapping[str, float | Tensor] | None = None) -> Rendering:
    """The network's output for signal [time], from where it begins, latency taken out; both in digital full scale.

    Raises ConvergenceError if the output is not finite.
    """
    whole, state = np.concatenate([signal, np.zeros(network.latency)]), None
    made = np.empty(len(whole))
    with torch.no_grad():
        network(torch.zeros(1, 1, 1), knobs=knobs)
        began = time.perf_counter()
        for start in range(0, len(whole), CHUNK_SAMPLES):
            u = torch.as_tensor(whole[start : start + CHUNK_SAMPLES])[None, :, None]
            y, state = network(u, state, knobs)
            made[start : start + CHUNK_SAMPLES] = y[0, :, 0].numpy()
        seconds = time.perf_counter() - began
    output = made[network.latency :]
    broken = np.flatnonzero(~np.isfinite(output))
    if len(broken):
        raise ConvergenceError(f"the network's output is not finite from sample {broken[0]} on", "train it again")
    return Rendering(output, 0, seconds)
