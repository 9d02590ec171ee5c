"""Networks as C++ against the networks that they were made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from exported import WARNINGS, compiler
from numpy.typing import NDArray
from torch import nn

from circuitnn import Chain, CircuitModel, CircuitnnError, parse_netlist, read_netlist
from circuitnn.cli import main
from circuitnn.exporting import export_subject
from circuitnn.exporting.deployed import Deployed, deployed
from circuitnn.exporting.subject import NetworkSubject
from circuitnn.models.architectures import ARCHITECTURES, build_network
from circuitnn.models.network import Network
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.state_space_gru import StateSpaceGru
from circuitnn.models.state_trajectory_network import StateTrajectoryNetwork
from circuitnn.models.window_mlp import WindowMlp
from circuitnn.network_runs import save_network
from circuitnn.rendering import render
from circuitnn.training import PRESETS, Trained

pytestmark = pytest.mark.usefixtures("one_thread")

RATE = 44100.0
KNOBS = ("drive", "tone")
# The large ones differ from the small ones in width only.
# Of more layers than the table's, with a state of their own to begin with; and a chain, whose middle is a circuit.
RC = """a low-pass
Vin in 0 0
R1 in out 10k
C1 out 0 4.7n
*@ input Vin
*@ output out
.end
"""


def taught(model: StateTrajectoryNetwork | StateSpaceGru) -> Network:
    """With signals of any size, and states that fall back to zero on their own."""
    assert model.linear is not None
    with torch.no_grad():
        model.sizes.copy_(0.2 + torch.rand(len(model.sizes)))
        model.linear.weight.zero_()
        model.linear.weight[:, model.inputs :] = -0.5 * torch.eye(model.n_states)
    return model


OTHERS: dict[str, Callable[[tuple[str, ...]], Network]] = {
    "deep-lstm": lambda knobs: Recurrent("lstm", 11, False, knobs, layers=3, learned_start=True),
    "deep-gru": lambda knobs: Recurrent("gru", 6, True, knobs, layers=2),
    "taught-stn": lambda knobs: taught(StateTrajectoryNetwork(3, (5, 4), 1.0, knobs, linear=True, readout=3)),
    "taught-gru": lambda knobs: taught(StateSpaceGru(3, 5, knobs, linear=True, readout=3)),
    "chain": lambda knobs: Chain(
        Recurrent("lstm", 6, False, knobs[:1]),
        CircuitModel(parse_netlist(RC), RATE, 2),
        Recurrent("gru", 5, True, knobs),
    ),
}
# One of each kind.
KINDS = [
    *OTHERS,
    "lstm-32", "gru-32-plain", "wavenet-2", "nam-nano", "tcn-100", "stn", "state-space-gru", "wiener-hammerstein",
    "seq2seq-lstm-32", "conv-lstm-32", "mlp",
]  # fmt: skip
# The large ones differ from the small ones in width only.
LARGE = ("64", "96", "64-plain", "96-plain", "150")
SHAPES = [*OTHERS, *(name for name in ARCHITECTURES if not name.endswith(LARGE))]
LENGTHS = [1, 7, 64, 1000]

Signal = NDArray[np.float64]


@cache
def network(name: str, knobs: tuple[str, ...] = KNOBS) -> Network:
    """In double precision, with every number far from where it starts, also those that no gradient moves."""
    torch.manual_seed(0)
    # Of the table's size, it is compiled for a minute.
    if name in OTHERS:
        built = OTHERS[name](knobs)
    else:
        built = WindowMlp(150, (24, 10), knobs) if name == "mlp" else build_network(name, knobs)
    model = built.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean += 0.3 * torch.randn_like(layer.running_mean)
                layer.running_var += torch.rand_like(layer.running_var)
    return model


@cache
def program(name: str, precision: str = "double", knobs: tuple[str, ...] = KNOBS) -> Deployed:
    return Deployed(NetworkSubject("net", network(name, knobs), RATE, positions={"drive": 0.3}), precision)


def noise(time: int) -> Signal:
    return 0.5 * np.random.default_rng(2).standard_normal(time)


def in_python(model: Network, u: Signal, positions: Signal) -> Signal:
    """positions [time, knobs]"""
    knobs = {name: torch.as_tensor(positions[None, :, k]) for k, name in enumerate(model.knob_names)}
    with torch.no_grad():
        return model(torch.as_tensor(u)[None, :, None], knobs=knobs)[0][0, :, 0].numpy()


def difference(found: Signal, expected: Signal) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", SHAPES)
def test_it_plays_what_python_plays(name: str) -> None:
    """In blocks of any length, with knobs that jump between them, from the first sample on."""
    u, lengths = noise(2 * sum(LENGTHS)), [*LENGTHS, *reversed(LENGTHS)]
    turns = np.random.default_rng(3).uniform(0.0, 1.0, (len(lengths), 2))
    expected = in_python(network(name), u, np.repeat(turns, lengths, 0))
    player, parts, at = program(name).player(dict(zip(KNOBS, turns[0], strict=True))), [], 0
    player.glide(0.0)
    for turn, length in zip(turns, lengths, strict=True):
        for knob, position in enumerate(turn):
            player.turn(knob, position)
        parts.append(player.play(u[at : at + length, None], length)[:, 0])
        at += length
    assert difference(np.concatenate(parts), expected) < 1e-9
    standing = in_python(network(name), u, np.repeat(turns[:1], len(u), 0))
    assert difference(standing, expected) > 1e-3


@pytest.mark.parametrize("name", KINDS)
def test_blocks_of_any_length_are_one(name: str) -> None:
    u = noise(3000)[:, None]
    whole = program(name).player().play(u, len(u))
    for length in LENGTHS[:3]:
        # To the last bit: nothing depends on where a block begins.
        np.testing.assert_array_equal(program(name).player().play(u, length), whole)


@pytest.mark.parametrize("name", KINDS)
def test_single_precision_is_close(name: str) -> None:
    """And without knobs."""
    u = noise(3000)
    expected = in_python(network(name, ()), u, np.zeros((len(u), 0)))
    found = program(name, "single", ()).player().play(u[:, None])[:, 0]
    assert 1e-9 < difference(found, expected) < 2e-6


@pytest.mark.parametrize("name", ["lstm-32", "tcn-100"])
def test_a_knob_takes_its_time(name: str) -> None:
    """50 ms from stop to stop, in a straight line, whatever the blocks are."""
    u, stride = noise(4000), 1.0 / (0.05 * RATE)
    player = program(name).player({"drive": 0.2, "tone": 0.9})
    first = player.play(u[:1, None])
    player.turn(0, 0.8)
    found = np.concatenate([first, player.play(u[1:, None], 37)])[:, 0]
    drive = np.minimum(0.2 + stride * np.arange(len(u)), 0.8)
    expected = in_python(network(name), u, np.stack([drive, np.full(len(u), 0.9)], 1))
    assert drive[1000] < 0.8
    assert difference(found, expected) < 1e-9


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_number_counts_as_silence(name: str) -> None:
    u, broken = noise(600), [0, 64, 65, 300]
    u[broken] = 0.0
    silent = program(name).player().play(u[:, None])
    u[broken] = np.nan, np.inf, -np.inf, np.nan
    player = program(name).player()
    np.testing.assert_array_equal(player.play(u[:, None]), silent)
    assert player.failures == 0
    # Nor does a number without measure stay: 240 dB above full scale.
    assert np.isfinite(player.play(np.full((100, 1), 1e12))).all()
    assert np.isfinite(player.play(noise(20000)[:, None])).all()


def test_a_state_that_breaks_becomes_that_of_rest() -> None:
    """Of a network whose output is too large for single precision, and 0 in silence."""
    model = StateTrajectoryNetwork(hidden=(4,)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3e38 if parameter.dim() == 2 else 0.0)
        model.sizes[1] = 3e38
    player = Deployed(NetworkSubject("net", model, RATE), "single").player()
    u = np.concatenate([np.zeros(64), np.full(640, 0.1), np.zeros(640)])[:, None]
    y = player.play(u)
    assert np.isfinite(y).all()
    assert player.failures > 0
    assert (y[-500:] == 0.0).all()


def test_a_trajectory_goes_on_at_another_rate() -> None:
    """Its step is that of the rate it was trained at; see StateTrajectoryNetwork.step."""
    u, model = noise(2000), network("stn")
    found = program("stn").player({"drive": 0.5, "tone": 0.5}, 2.0 * RATE).play(u[:, None])[:, 0]
    assert isinstance(model, StateTrajectoryNetwork)
    model.step = 0.5
    expected = in_python(model, u, np.full((len(u), 2), 0.5))
    model.step = 1.0
    assert difference(found, expected) < 1e-9


SAVED = r"""
#include "net.hpp"
#include <stdio.h>

static net::Processor one(RATE), other(RATE);
static float in[3000], out[3000], expected[3000];

int main() {
    for (int k = 0; k < 3000; ++k) in[k] = float(0.3 * sin(0.07 * k));
    one.turn(0, 1.0);
    one.process(in, expected, 1001);
    static const net::Processor::State state = one.save();
    one.process(in + 1001, expected + 1001, 1999);
    other.process(in + 500, out, 777);
    other.turn(0, 1.0);
    other.restore(state);
    // In place.
    memcpy(out, in, sizeof out);
    other.process(out + 1001, out + 1001, 1999);
    float most = 0.0f;
    for (int k = 1001; k < 3000; ++k) most = fmaxf(most, fabsf(out[k] - expected[k]));
    printf("%g %g\n", double(most), double(expected[2999]));
    return 0;
}
"""


@pytest.mark.parametrize(("name", "rate"), [("gru-32-plain", 44100.0), ("wavenet-2", 44100.0), ("wavenet-2", 48000.0)])
def test_a_saved_state_goes_on_elsewhere(name: str, rate: float, tmp_path: Path) -> None:
    export_subject(NetworkSubject("net", network(name), RATE), "cpp", tmp_path / "net")
    (tmp_path / "net" / "probe.cpp").write_text(SAVED)
    command = [*compiler(), "-std=c++17", "-O1", *WARNINGS, f"-DRATE={rate}", "probe.cpp", "-o", "probe"]
    subprocess.run(command, cwd=tmp_path / "net", check=True)
    done = subprocess.run([tmp_path / "net" / "probe"], capture_output=True, text=True, check=True)
    most, last = map(float, done.stdout.split())
    assert most == 0.0
    assert last != 0.0


def test_no_network_can_allocate_or_lock_or_throw(tmp_path: Path) -> None:
    """They call nothing but memory moves, and a circuit in a chain mathematics; nothing warns."""
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    folder = tmp_path / "all"
    folder.mkdir()
    source = ""
    for name in KINDS:
        namespace = f"net_{name.replace('-', '_')}"
        export_subject(NetworkSubject(namespace, network(name), RATE), "cpp", tmp_path / name)
        shutil.copytree(tmp_path / name, folder, dirs_exist_ok=True)
        source += f"""#include "{namespace}.hpp"
        void process(const float* in, float* out, long count, {namespace}::Processor& processor) {{
            processor.turn(0, 0.5);
            processor.process(in, out, count);
            processor.reset();
        }}
        """
    (folder / "object.cpp").write_text(source)
    command = [*compiler(), "-std=c++17", "-O1", *WARNINGS, "-fno-exceptions", "-c", "object.cpp", "-o", "object.o"]
    subprocess.run(command, cwd=folder, check=True)
    listed = subprocess.run(["nm", "-u", "object.o"], cwd=folder, capture_output=True, text=True, check=True).stdout
    called = {line.split()[-1] for line in listed.splitlines() if line.strip()}
    mathematics = {"fmax", "fmin", "pow", "sqrt"}
    assert called <= mathematics | {"memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert called & {"memcpy", "memset"}


def test_clang_finds_nothing_to_warn_of_either(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    clang = [sys.executable, "-m", "ziglang", "c++", "-nostdlib++", "-fno-exceptions"]
    for name in ("tcn-100", "stn"):
        # Without knobs, arrays and loops of length 0.
        export_subject(NetworkSubject(name, network(name, ())), "cpp", tmp_path / name)
        command = [*clang, "-std=c++17", *WARNINGS, "main.cpp", "-o", "play"]
        done = subprocess.run(command, cwd=tmp_path / name, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody did."""
    folder = tmp_path_factory.mktemp("runs") / "my lstm"
    model = network("lstm-32").float()
    network.cache_clear()
    trained = Trained(model, "lstm-32", 48000.0, 0.0, 0.1, (0.1,), "all epochs done", 1.0, 1.0)
    save_network(trained, folder, PRESETS["quick"], 0)
    return folder


def test_the_command_exports_a_run_and_its_program_plays(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["export", str(run), "--to", "cpp", "--set", "tone=0.25", "--out", str(out)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    build = [*compiler(), "-std=c++17", "-O1", *WARNINGS, "main.cpp", "-o", "play"]
    subprocess.run(build, cwd=out, check=True)
    dry = 0.4 * np.sin(0.05 * np.arange(3000)).astype(np.float32).astype(float)
    soundfile.write(out / "dry.wav", dry, 48000, subtype="FLOAT")
    subprocess.run([out / "play", out / "dry.wav", out / "wet.wav", "--drive", "0.75"], check=True)
    wet, rate = soundfile.read(out / "wet.wav")
    assert rate == 48000
    expected = deployed(run).render(dry, {"drive": 0.75, "tone": 0.25})
    assert expected.failures == 0
    assert np.abs(wet - expected.output).max() < 1e-6
    assert np.abs(deployed(run).render(dry).output - expected.output).max() > 1e-4


def test_what_a_network_is_not_exported_as_is_said(run: Path, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        done = CliRunner().invoke(main, ["export", str(run), "--out", str(tmp_path / "x"), *words])
        assert done.exit_code == 2
        return done.output

    assert "no netlist" in said("--to", "spice")
    assert "--oversample is for circuits" in said("--to", "cpp", "--oversample", "2")
    assert "knobs: drive, tone" in said("--to", "cpp", "--set", "gain=0.5")
    assert "0 to 1" in said("--to", "cpp", "--set", "tone=2")
    assert "0 to 1" in said("--to", "cpp", "--set", "tone=loud")
    with pytest.raises(CircuitnnError, match="no knob 'gain'"):
        deployed(run).player({"gain": 0.5})


def test_a_circuit_is_deployed_likewise() -> None:
    """Latency taken out, in volt."""
    model = CircuitModel(read_netlist(Path(__file__).parents[1] / "netlists" / "ts808_clipper.cir"), 48000.0, 2, [])
    dry = 0.4 * np.sin(0.05 * np.arange(3000))
    found = deployed(model).render(dry, {"drive": 0.8}, level=0.5)
    expected = render(model, dry, 0.5, overrides=model.overrides({"drive": 0.8})).output
    assert found.failures == 0
    assert difference(found.output, expected) < 1e-9
