"""A circuit teaches a network of states."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.signal import butter, lfilter, resample_poly

from circuitnn import Circuit, CircuitModel, CircuitnnError, Recording, parse_netlist, read_netlist
from circuitnn.audio import write_wav
from circuitnn.cli import main
from circuitnn.formats import SavedNetwork, read_network
from circuitnn.models.state_network import StateNetwork
from circuitnn.models.state_space_gru import StateSpaceGru
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.training import Preset, Teacher, Trained, train
from circuitnn.training.data import Judge, Take
from circuitnn.training.free_running import WHOLE, affordable
from circuitnn.training.judging import judge_in_place
from circuitnn.training.teacher import LEVELS, taught, with_states

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 44100
CLIPPER = Path(__file__).parents[1] / "netlists" / "ds1_clipper.cir"
RLC = """rlc
*@ input Vin
*@ output out
Vin in 0 DC 1
Vcc vcc 0 9
Cs  vcc 0 100u
R1  in out 1k
L1  out n1 50m
R2  n1 0 220
C1  out 0 100n
"""
PRESET = Preset(epochs=15, patience=15, learning_rate=1e-3, batch=8, segment=0.2, warm_up=200, teaching_epochs=15)


@cache
def sound(seconds: float) -> np.ndarray:
    """Coloured noise that swells and fades."""
    count = round(seconds * RATE)
    noise = lfilter(*butter(2, 1500.0, fs=RATE), np.random.default_rng(0).standard_normal(count))
    return 2.0 * noise * (0.6 + 0.4 * np.sin(2.0 * np.pi * 3.0 * np.arange(count) / RATE)) / np.std(noise)


def played(circuit: Circuit, dry: np.ndarray, level: float = 1.0) -> np.ndarray:
    model = CircuitModel(circuit, RATE, oversample=8, learn=[])
    with torch.no_grad():
        return model.render(level * torch.as_tensor(dry)[None, :, None])[0].numpy()


@cache
def clipper() -> Recording:
    dry = sound(1.2)
    return Recording(dry, played(read_netlist(CLIPPER), dry)[:, 0], RATE, delay=0.0)


@pytest.fixture(scope="module")
def trained(one_thread: None) -> Trained:
    return train("stn", [clipper()], teacher=Teacher(read_netlist(CLIPPER)), preset=PRESET)


def test_states_are_voltages_of_capacitors_and_currents_of_inductors() -> None:
    circuit = parse_netlist(RLC)
    y = played(with_states(circuit), sound(0.05))
    expected = played(replace(circuit, outputs=(("out", "0"), ("vcc", "0"), ("n1", "0"), ("out", "0"))), sound(0.05))
    # The last but one is the voltage at R2, through which the inductor's current goes.
    np.testing.assert_allclose(y, expected / [1.0, 1.0, 220.0, 1.0], rtol=1e-9, atol=1e-12)
    assert np.std(y[:, 2]) > 1e-6


def test_what_is_taught_are_deviations_from_rest_of_what_moves() -> None:
    dry, level = sound(0.1), 0.5
    teacher = Teacher(parse_netlist(RLC), level)
    lesson = taught(teacher, [Recording(dry, dry, RATE, delay=2.0)], [2.0], ())
    (take,) = lesson.takes
    assert lesson.delays == [2.0]
    y = played(with_states(teacher.circuit), dry, level)[:, 2:]
    rest = played(with_states(teacher.circuit), np.zeros(1), level)[0, 2:]
    begin = int(np.flatnonzero(dry == float(dry[np.argmin(np.abs(dry - float(take.u[0])))]))[0])
    expected = (y - rest)[begin : begin + len(take.u)]
    np.testing.assert_allclose(take.states, expected, atol=1e-6)
    # The supply's capacitor is left out.
    assert take.states.shape[1] == 2


def test_exercises_are_the_same_takes_at_other_levels() -> None:
    dry, teacher = sound(0.1), Teacher(read_netlist(CLIPPER), 0.5)
    y = played(teacher.circuit, dry, 0.5)[:, 0]
    wet = -0.3 * (y - y[0])
    rest = played(with_states(teacher.circuit), np.zeros(1))[0]
    lesson = taught(teacher, [Recording(dry, wet, RATE, delay=0.0)] * 2, [0.0] * 2, ())
    # The first recording judges, and needs none.
    exercises = lesson.exercises([(1, 100), (1, 2100)], 2000)
    assert [len(exercise.u) for exercise in exercises] == [2000] * 2 * len(LEVELS)
    for (level, first), exercise in zip(product(LEVELS, (100, 2100)), exercises, strict=True):
        torch.testing.assert_close(exercise.u, level * lesson.takes[1].u[first : first + 2000])
        y = played(with_states(teacher.circuit), level * dry, 0.5)
        begin = int(np.flatnonzero(dry == float(dry[np.argmin(np.abs(dry - float(exercise.u[0]) / level))]))[0])
        inside = slice(begin, begin + len(exercise.u))
        np.testing.assert_allclose(exercise.u, level * dry[inside], rtol=1e-6)
        np.testing.assert_allclose(exercise.target, -0.3 * (y - rest)[inside, 0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(exercise.states, (y - rest)[inside, 1:], rtol=1e-4, atol=1e-6)


def test_a_recording_may_begin_in_the_middle_of_a_sound() -> None:
    """Its states are deviations from rest all the same."""
    circuit = parse_netlist("rc\n*@ input Vin\n*@ output out\nVin in 0 DC 2\nR1 in out 1k\nC1 out 0 100n\n")
    dry = np.r_[np.ones(2000), np.zeros(10000)]
    (take,) = taught(Teacher(circuit), [Recording(dry, dry, RATE, delay=0.0)], [0.0], ()).takes
    assert float(take.states[1000, 0]) == pytest.approx(1.0, abs=1e-6)
    assert float(take.states[-1, 0]) == pytest.approx(0.0, abs=1e-6)


def test_of_long_recordings_parts_from_all_over_are_used() -> None:
    found = [(k, 1000 * n) for k in range(2) for n in range(50)]
    assert affordable(found, WHOLE // 100) == found
    some = affordable(found, WHOLE // 10)
    assert [found.index(one) for one in some] == list(range(5, 100, 10))
    assert affordable(found, 2 * WHOLE) == [(1, 0)]


@pytest.mark.parametrize("late", [3.0, 7.4])
def test_a_fitted_circuit_knows_the_delay(late: float) -> None:
    """To a part of a sample, where the wet was found four samples off."""
    circuit, dry = read_netlist(CLIPPER), sound(0.5)
    fine = resample_poly(played(circuit, dry)[:, 0], 10, 1)
    wet = 0.3 * np.concatenate([np.zeros(round(10 * late)), fine])[::10][: len(dry)]
    known = Recording(dry, wet, RATE, delay=late - 4.0)
    for teacher, expected in ((Teacher(circuit, fitted=True), late), (Teacher(circuit), late - 4.0)):
        lesson = taught(teacher, [known], [late - 4.0], ())
        assert lesson.delays[0] == pytest.approx(expected, abs=0.05)
    lesson = taught(Teacher(circuit), [replace(known, delay=None)], [late - 4.0], ())
    assert lesson.delays[0] == pytest.approx(late, abs=0.05)


def test_a_network_is_taught_a_clipper_of_two_states(trained: Trained) -> None:
    network = trained.network
    assert isinstance(network, StateTrajectoryNetwork)
    assert network.n_states == 2
    assert trained.esr < 5e-3
    # Longer runs help where single steps are right.
    assert trained.esr < 0.8 * trained.errors[0]
    states = played(with_states(read_netlist(CLIPPER)), clipper().dry)[:, 1:]
    assert float(network.sizes[-1]) == pytest.approx(np.std(states[:, 1]), rel=0.1)
    # Its own states are the circuit's, as it runs alone.
    u = torch.as_tensor(clipper().dry, dtype=torch.float32)[None, :, None]
    with torch.no_grad():
        own = network.trajectory(u, u[..., :0], torch.zeros(1, 2))[0] * network.sizes[2:]
    error = np.sum((own.numpy() - states) ** 2, 0) / np.sum(states**2, 0)
    assert error.max() < 0.05


def test_it_knows_how_a_note_fades() -> None:
    """Softer than any recording that it was trained on."""
    circuit = read_netlist(CLIPPER.with_name("diode_clipper.cir"))
    recording = Recording(sound(1.2), played(circuit, sound(1.2))[:, 0], RATE, delay=0.0)
    network = train("stn", [recording], teacher=Teacher(circuit), preset=PRESET).network
    dry = sound(3.0) * np.linspace(0.2, 0.02, 3 * RATE)
    wet = played(circuit, dry)[:, 0]
    with torch.no_grad():
        y = network(torch.as_tensor(dry, dtype=torch.float32)[None, :, None])[0][0, :, 0].numpy()
    assert np.sum((y - wet) ** 2) < 0.02 * np.sum(wet**2)


def test_states_that_are_not_heard_stay_the_circuits() -> None:
    """Otherwise they end where nobody knows what the network does."""
    side = "R2 in side 10k\nC2 side 0 100n\n"
    circuit = parse_netlist(CLIPPER.with_name("diode_clipper.cir").read_text().replace(".end", f"{side}.end"))
    recording = Recording(sound(1.2), played(circuit, sound(1.2))[:, 0], RATE, delay=0.0)
    # Half of the epochs are for the output.
    found = train("stn", [recording], teacher=Teacher(circuit), preset=replace(PRESET, epochs=24, teaching_epochs=12))
    assert min(found.errors[12:]) < min(found.errors[:12])
    assert isinstance(found.network, StateTrajectoryNetwork)
    states = played(with_states(circuit), sound(1.2))[:, 1:]
    u = torch.as_tensor(sound(1.2), dtype=torch.float32)[None, :, None]
    with torch.no_grad():
        own = found.network.trajectory(u, u[..., :0], torch.zeros(1, 2))[0] * found.network.sizes[2:]
    assert (np.sum((own.numpy() - states) ** 2, 0) / np.sum(states**2, 0)).max() < 0.02


def test_a_state_space_gru_begins_as_a_linear_system() -> None:
    """Filters in a row, each with a state, of more states than the layer has units."""
    network, rng, n_states = StateSpaceGru(9, 4, linear=True).double(), np.random.default_rng(0), 9
    u, x = rng.standard_normal(400), np.zeros((400, n_states))
    for k in range(1, 400):
        before = np.concatenate([u[k : k + 1], x[k - 1, :-1]])
        x[k] = x[k - 1] + np.linspace(0.3, 0.6, n_states) * (before - x[k - 1])
    signals = torch.as_tensor(u)[:, None], torch.as_tensor(x)
    network.begin_linear(signals[0][1:], signals[1][:-1], signals[1][1:])
    with torch.no_grad():
        own = network.free_run(signals[0][None], signals[1][None], torch.zeros(1, 400, 0))[0, :, :n_states].numpy()
    np.testing.assert_allclose(own, x[1:], atol=1e-9)


def test_a_state_space_gru_is_taught_too() -> None:
    found = train(
        "state-space-gru", [clipper()], teacher=Teacher(read_netlist(CLIPPER)), preset=replace(PRESET, epochs=8)
    )
    assert isinstance(found.network, StateNetwork)
    assert found.network.n_states == 2
    assert found.esr < 0.05


def test_without_a_teacher_the_output_is_the_state() -> None:
    found = train("stn", [clipper()], preset=replace(PRESET, epochs=3))
    assert isinstance(found.network, StateNetwork)
    assert found.network.n_states == 1
    assert found.esr < 0.3


def test_it_goes_on_after_an_interruption(tmp_path: Path) -> None:
    teacher, preset = Teacher(read_netlist(CLIPPER)), replace(PRESET, epochs=4, teaching_epochs=5)
    whole = train("stn", [clipper()], teacher=teacher, preset=preset)

    def interrupt(epoch: int, error: float) -> None:
        # In the second phase.
        if epoch == 3:
            raise KeyboardInterrupt

    first = train("stn", [clipper()], teacher=teacher, preset=preset, progress=interrupt, checkpoint=tmp_path)
    assert first.interrupted
    resumed = train("stn", [clipper()], teacher=teacher, preset=preset, checkpoint=tmp_path, resume=True)
    assert resumed.errors == whole.errors
    other = Teacher(read_netlist(CLIPPER), 0.5)
    with pytest.raises(CircuitnnError, match="another architecture, other recordings or other settings"):
        train("stn", [clipper()], teacher=other, preset=preset, checkpoint=tmp_path, resume=True)


def test_what_runs_away_anywhere_in_a_take_is_never_best() -> None:
    network = StateTrajectoryNetwork(hidden=(4,), linear=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        assert network.linear is not None
        # x grows by a hundredth a sample up to its limit, far behind the part that counts.
        network.linear.weight[0, 0], network.linear.weight[0, 1] = 1.0, 0.01
        network.sizes[1] = 1e37
    u = torch.full((20000,), 1e-3)
    take = Take(u, 0.5 * u, torch.empty(0), u[:, None])
    assert judge_in_place(network, [Judge(take, (slice(0, 100),))], 0) == math.inf
    with torch.no_grad():
        network.linear.weight[0, 1], network.sizes[1] = -1.0, 1.0
    # x = u.
    assert judge_in_place(network, [Judge(take, (slice(0, 100), slice(500, 600)))], 50) == pytest.approx(1.0)


def test_what_cannot_be_taught_is_said(trained: Trained) -> None:
    teacher = Teacher(read_netlist(CLIPPER))
    with pytest.raises(CircuitnnError, match="lstm-32 has no states") as raised:
        train("lstm-32", [clipper()], teacher=teacher, preset=PRESET)
    assert raised.value.hint == "taught are: stn, state-space-gru"
    resistors = parse_netlist("divider\n*@ input Vin\n*@ output out\nVin in 0 0\nR1 in out 1k\nR2 out 0 1k\n")
    with pytest.raises(CircuitnnError, match="no states to teach"):
        train("stn", [clipper()], teacher=Teacher(resistors), preset=PRESET)
    saved = SavedNetwork(trained.network, "stn", RATE)
    with pytest.raises(CircuitnnError, match="expected a circuit of 2 states, as taught this network, found none"):
        train(saved, [clipper()], preset=PRESET)


def test_the_command_teaches(tmp_path: Path) -> None:
    for name, signal in (("dry.wav", clipper().dry), ("wet.wav", clipper().wet)):
        write_wav(tmp_path / name, 0.1 * signal, RATE)
    session = tmp_path / "session.toml"
    session.write_text('input_level = 10.0\n[[recording]]\ndry = "dry.wav"\nwet = "wet.wav"\ndelay = 0\n')
    command = [
        "train",
        "stn",
        "--recordings",
        session,
        "--teacher",
        CLIPPER,
        "--epochs",
        "2",
        "--out",
        tmp_path / "run",
    ]
    done = CliRunner().invoke(main, [*map(str, command), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["architecture"] == "stn"
    saved = read_network(tmp_path / "run")
    assert isinstance(saved.network, StateNetwork)
    assert saved.network.n_states == 2
    # Volt of the states, digital full scale of the sound.
    states = played(with_states(read_netlist(CLIPPER)), clipper().dry)[:, 1:]
    assert float(saved.network.sizes[-1]) == pytest.approx(np.std(states[:, 1]), rel=0.2)
