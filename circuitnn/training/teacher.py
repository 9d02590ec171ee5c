"""A circuit as a teacher: it plays the dry recordings, and its states are what a network of states learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sympy import Integer
from torch import Tensor

from circuitnn.audio import Recording, Signal
from circuitnn.circuit import GROUND, Circuit, Element
from circuitnn.errors import CircuitnnError
from circuitnn.metrics import best_gain
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.training.data import ACCURACY, Take, span, take

# Oversampling of a circuit that teaches.
OVERSAMPLE = 8
# Volt or ampere; what moves less is a supply's.
STILL = 1e-9
# What a circuit also plays, as factors on the dry recordings: notes fade out further than recordings do, down to where
# the circuit is linear, and others are louder.
LEVELS = (0.1, 1.5)
# Samples by which a delay may be corrected.
SEARCH = 2 * ACCURACY


@dataclass(frozen=True)
class Teacher:
    """A circuit that is, more or less, the device that was recorded. input_level: volt at digital full scale of the
    dry. fitted: whether it was fitted to recordings of the device."""

    circuit: Circuit
    input_level: float = 1.0
    fitted: bool = False


@dataclass(frozen=True)
class Lesson:
    """takes: the recordings, with the circuit's states; delays: theirs, in samples; exercises: for each of LEVELS the
    takes that train at that level, with the circuit's output at the gain of the recording."""

    takes: list[Take]
    delays: list[float]
    exercises: list[list[Take]]


def taught(
    teacher: Teacher, recordings: Sequence[Recording], delays: Sequence[float], knobs: Sequence[str], training: int
) -> Lesson:
    """What a circuit teaches. training: how many of the recordings, the first ones, train; others judge. Delays, in
    samples, are as given, but those that nobody wrote down, and all where the circuit was fitted, are as its output
    shows them. A state that never moves is left out. Raises CircuitnnError."""
    played = [_play(teacher, recording, knobs) for recording in recordings]
    moves = torch.stack([torch.amax(torch.abs(states), 0) for _, states in played]).amax(0) > STILL
    if not bool(moves.any()):
        raise CircuitnnError("the circuit has no states to teach: nothing in it is charged", "train without a teacher")
    refined = [
        _refined(output, recording.wet, delay) if teacher.fitted or recording.delay is None else delay
        for recording, delay, (output, _) in zip(recordings, delays, played, strict=True)
    ]
    takes, exercises = list[Take](), [list[Take]() for _ in LEVELS]
    for k, (recording, delay, (output, states)) in enumerate(zip(recordings, refined, played, strict=True)):
        one, inside = take(recording, delay, knobs), slice(*span(recording, delay))
        takes.append(replace(one, states=states[inside, moves].to(one.u)))
        if k >= training:
            continue
        gain = best_gain(output[inside], one.target.numpy())
        for level, into in zip(LEVELS, exercises, strict=True):
            sound, states_there = _play(teacher, recording, knobs, level)
            target = torch.as_tensor(gain * sound[inside]).to(one.u)
            into.append(replace(one, u=level * one.u, target=target, states=states_there[inside, moves].to(one.u)))
    return Lesson(takes, refined, exercises)


def with_states(circuit: Circuit) -> Circuit:
    """The circuit with more outputs: the voltages of its capacitors, and the currents of its inductors as voltages of
    nodes of their own."""
    elements, outputs = list(circuit.elements), list(circuit.outputs)
    for element in circuit.elements:
        if element.kind == "C":
            outputs.append((element.nodes[0], element.nodes[1]))
        elif element.kind == "L":
            node = f"current of {element.name}"
            elements.append(Element(f"H_{node}", (node, GROUND), Integer(1), branches=(element.name,)))
            outputs.append((node, GROUND))
    return replace(circuit, elements=tuple(elements), outputs=tuple(outputs))


def _play(teacher: Teacher, recording: Recording, knobs: Sequence[str], level: float = 1.0) -> tuple[Signal, Tensor]:
    """The output [time] for a dry recording at some level, in volt, and the states [time, n], both as deviations from
    rest."""
    model = CircuitModel(with_states(teacher.circuit), recording.sample_rate, OVERSAMPLE, learn=[])
    positions = {name: float(recording.knobs[name]) for name in knobs}
    with torch.no_grad():
        y = model.render(level * teacher.input_level * torch.as_tensor(recording.dry)[None, :, None], positions)[0]
    if not bool(torch.isfinite(y).all()):
        raise CircuitnnError(f"{recording.name}: the simulation of the circuit that teaches is not finite")
    y = y - y[0]
    return np.asarray(y[:, 0]), y[:, 1:]


def _refined(output: Signal, wet: Signal, delay: float) -> float:
    """The delay of the wet near the given one at which it is most like the circuit's output, to a part of a sample by
    the parabola through the peak of their correlation."""
    lags = round(delay) + np.arange(-SEARCH, SEARCH + 1)
    begin, end = max(0, -int(lags[0])), min(len(output), len(wet) - int(lags[-1]))
    if end <= begin:
        return delay
    correlation = np.abs([output[begin:end] @ wet[begin + lag : end + lag] for lag in lags])
    peak = int(np.argmax(correlation))
    if not 0 < peak < len(lags) - 1:
        return delay
    before, most, after = correlation[peak - 1 : peak + 2]
    return float(lags[peak] + 0.5 * (before - after) / (before - 2.0 * most + after))
