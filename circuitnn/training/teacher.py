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
from circuitnn.training.data import ACCURACY, Place, Take, cut, span, take

# Oversampling of a circuit that teaches.
OVERSAMPLE = 8
# Samples that it computes at a time.
CHUNK = 2**16
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
    """What a circuit teaches about recordings. takes: they, with the circuit's states; delays: theirs, in samples;
    gains: of the recordings, over the circuit's output in volt; moves [n]: which of the circuit's states these are."""

    teacher: Teacher
    recordings: Sequence[Recording]
    knobs: Sequence[str]
    takes: list[Take]
    delays: list[float]
    gains: list[float]
    moves: Tensor

    def exercises(self, chosen: Sequence[Place], length: int) -> list[Take]:
        """The pieces of `length` samples that begin at these places, at each of LEVELS, with the circuit's output at
        the gain of the recording. Raises CircuitnnError."""
        found = []
        for level in LEVELS:
            for k in dict.fromkeys(k for k, _ in chosen):
                one, recording = self.takes[k], self.recordings[k]
                inside = slice(*span(recording, self.delays[k]))
                output, states = _play(self.teacher, recording, self.knobs, level)
                target = torch.as_tensor(self.gains[k] * output[inside]).to(one.u)
                played = replace(one, u=level * one.u, target=target, states=states[inside, self.moves])
                found += cut([played], [(0, begin) for of, begin in chosen if of == k], length)
        return found


def taught(teacher: Teacher, recordings: Sequence[Recording], delays: Sequence[float], knobs: Sequence[str]) -> Lesson:
    """What a circuit teaches. Delays, in samples, are as given, but those that nobody wrote down, and all where the
    circuit was fitted, are as its output shows them. A state that never moves is left out. Raises CircuitnnError."""
    takes, refined, gains = list[Take](), list[float](), list[float]()
    for recording, given in zip(recordings, delays, strict=True):
        output, states = _play(teacher, recording, knobs)
        delay = _refined(output, recording.wet, given) if teacher.fitted or recording.stated_delay is None else given
        inside = slice(*span(recording, delay))
        one = replace(take(recording, delay, knobs), states=states[inside])
        takes.append(one)
        refined.append(delay)
        gains.append(best_gain(output[inside], one.target.numpy()))
    moves = torch.stack([torch.amax(torch.abs(one.states), 0) for one in takes]).amax(0) > STILL
    if not bool(moves.any()):
        raise CircuitnnError("the circuit has no states to teach: nothing in it is charged", "train without a teacher")
    if not bool(moves.all()):
        takes = [replace(one, states=one.states[:, moves]) for one in takes]
    return Lesson(teacher, recordings, knobs, takes, refined, gains, moves)


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


@torch.no_grad()
def _play(teacher: Teacher, recording: Recording, knobs: Sequence[str], level: float = 1.0) -> tuple[Signal, Tensor]:
    """The output [time] for a dry recording at some level, in volt, and the states [time, n], both as deviations from
    rest, the states in single precision."""
    model = CircuitModel(with_states(teacher.circuit), recording.sample_rate, OVERSAMPLE, learn=[])
    positions = {name: float(recording.knobs[name]) for name in knobs}
    dry = level * teacher.input_level * torch.as_tensor(recording.dry)[None, :, None]
    # From where the output of a silent input stays.
    rest = model.render(torch.zeros(1, 1, 1, dtype=torch.float64), positions)
    outputs, states, state = [], [], None
    for u in torch.nn.functional.pad(dry, (0, 0, 0, model.latency)).split(CHUNK, 1):
        y, state = model(u, state, positions)
        outputs.append((y - rest)[0, :, 0].numpy())
        states.append((y - rest)[0, :, 1:].float())
    output = np.concatenate(outputs)[model.latency :]
    if not np.all(np.isfinite(output)):
        raise CircuitnnError(f"{recording.name}: the simulation of the circuit that teaches is not finite")
    return output, torch.cat(states)[model.latency :]


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
