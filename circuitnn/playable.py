"""Runs and files of networks as what can be played: the C++ that `export` writes of them, wherever there is one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from circuitnn import evaluation, probing
from circuitnn.audio import Recording, Signal, resampled
from circuitnn.circuit import Circuit
from circuitnn.errors import CircuitnnError, CompilerError
from circuitnn.evaluation import Evaluation
from circuitnn.exporting.deployed import Deployed
from circuitnn.exporting.sources import subject_of
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.formats import SavedNetwork
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.models.network import Network, parameter_count
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.rendering import Renderer, Rendering, render, render_network
from circuitnn.runs import Run
from circuitnn.runtime.compiler import find_compiler

EXPORTED = "exported C++"
# Oversampling of a device that is known.
TRUE = 8


@dataclass(frozen=True)
class Playable:
    """runs_as: what is played; evaluate: on a recording, of which the model hears what converters make of it at the
    model's rate if it has another; play: test signals at the model's rate."""

    name: str
    kind: str
    parameters: int
    audio_seconds: float | None
    training_seconds: float | None
    runs_as: str
    evaluate: Callable[[Recording], Evaluation]
    play: probing.Play


def deployed_or(
    subject: Subject | NetworkSubject, otherwise: str, converting: bool = True
) -> tuple[Deployed | None, str]:
    """The subject's C++ and what it is called; where it has none, or there is no compiler, None and what plays instead.
    converting: a network hears its own sampling rate whatever is played. Raises CompilerError if a compiler fails."""
    if find_compiler() is None:
        return None, f"{otherwise} (no compiler)"
    try:
        return Deployed(subject, None if converting else "single"), EXPORTED
    except CompilerError:
        raise
    except CircuitnnError:
        return None, otherwise


def playable_circuit(run: Run, knobs: Mapping[str, float]) -> Callable[[float], Playable]:
    """The circuit of a run at any sampling rate, with its own delay, level and gain. knobs: where they stand in `play`.
    Raises CircuitnnError."""
    exported, runs_as = deployed_or(subject_of(run.folder), "compiled core")

    def at(rate: float) -> Playable:
        model = CircuitModel(run.circuit, rate, run.oversample, learn=[])

        def evaluate(recording: Recording) -> Evaluation:
            there, positions = recording.sample_rate, evaluation.positions(recording)

            def played(dry: Signal) -> Rendering:
                if exported is not None:
                    return exported.render(dry, positions, run.input_level, rate)
                return render(model, dry, run.input_level, overrides=model.overrides(positions))

            observed = model if there == rate else CircuitModel(run.circuit, there, run.oversample, learn=[])
            delay = run.delay * there / run.sample_rate
            return evaluation.evaluate(
                observed, recording, delay, run.input_level, run.gain, converted(played, there, rate)
            )

        played = _played(model, knobs, run.input_level, run.gain)
        play = played if exported is None else _through(exported, knobs, rate, run.input_level, run.gain)
        return Playable(
            run.folder.absolute().name, "circuit", len(run.values), run.audio_seconds, run.seconds, runs_as, evaluate,
            play,
        )  # fmt: skip

    return at


def playable_network(
    name: str, saved: SavedNetwork, own_rate: float, knobs: Mapping[str, float]
) -> Callable[[float], Playable]:
    """A network at any sampling rate, which it takes for its own. own_rate: that it was trained at. Knobs that nobody
    placed stand at one half. Raises CircuitnnError."""
    knobs = _placed(saved.network, knobs)
    subject = NetworkSubject(name, saved.network, own_rate)

    def at(rate: float) -> Playable:
        exported, runs_as = deployed_or(subject, "torch", converting=rate == own_rate)
        # What is exported has converters of its own.
        converts = exported is not None and rate == own_rate
        network = stepped(saved.network, own_rate / rate)

        def evaluate(recording: Recording) -> Evaluation:
            there, positions = recording.sample_rate, _placed(network, evaluation.positions(recording))

            def played(dry: Signal) -> Rendering:
                if exported is not None:
                    return exported.render(dry, positions, 1.0, there if converts else rate)
                return render_network(network, dry, positions)

            renderer = played if converts else converted(played, there, rate)
            # Late beside the network's latency, which is a number of samples at its own rate.
            latency = network.latency
            delay = None if saved.delay is None else (saved.delay + latency) * there / own_rate - latency
            observed = replace(saved, network=network, sample_rate=float(there), delay=delay)
            return evaluation.evaluate_saved(observed, recording, positions, renderer)[0]

        def play(signals: Signal) -> Signal:
            u = np.pad(signals, ((0, 0), (0, network.latency)))
            with torch.no_grad():
                y, _ = network(torch.as_tensor(u)[..., None], knobs=knobs)
            return np.asarray(y[:, network.latency :, 0].double())

        return Playable(
            name, saved.name, parameter_count(network), saved.audio_seconds, saved.seconds, runs_as, evaluate,
            play if exported is None else _through(exported, knobs, rate),
        )  # fmt: skip

    return at


def _placed(network: Network, knobs: Mapping[str, float]) -> dict[str, float]:
    return dict.fromkeys(network.knob_names, 0.5) | dict(knobs)


def played_device(circuit: Circuit, rate: float, knobs: Mapping[str, float]) -> probing.Play:
    """A device that is known, simulated finely; 1 V at full scale on both sides."""
    return _played(CircuitModel(circuit, rate, TRUE, learn=[]), knobs)


def stepped(network: Network, step: float) -> Network:
    """The network for another rate: the one architecture that knows its step takes it; the others run as they are."""
    if not isinstance(network, StateTrajectoryNetwork) or step == 1.0:
        return network
    network = copy.deepcopy(network)
    network.step *= step
    return network


def converted(play: Renderer, outside: float, inside: float) -> Renderer:
    """What plays signals at the rate `inside`, for signals at the rate `outside`, both in Hz."""
    if outside == inside:
        return play

    def through(signal: Signal) -> Rendering:
        rendering = play(resampled(signal, round(outside), round(inside)))
        output = resampled(rendering.output, round(inside), round(outside))
        # There and back, the last samples may be one more or one less.
        short = max(0, len(signal) - len(output))
        return replace(rendering, output=np.pad(output, (0, short))[: len(signal)])

    return through


def _through(
    exported: Deployed, knobs: Mapping[str, float], rate: float, level: float = 1.0, gain: float = 1.0
) -> probing.Play:
    """level: volt at digital full scale; gain: digital full scale per volt."""
    return lambda signals: gain * np.stack([exported.render(one, knobs, level, rate).output for one in signals])


def _played(model: CircuitModel, knobs: Mapping[str, float], level: float = 1.0, gain: float = 1.0) -> probing.Play:
    def play(signals: Signal) -> Signal:
        with torch.no_grad():
            y = model.render(torch.as_tensor(level * signals)[..., None], knobs)
        return np.asarray(gain * y[..., 0])

    return play
