"""The exported C++ against the model that it was made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from circuits import CASES as SMALL
from circuits import parse
from exported import WARNINGS, Exported, compiler

from circuitnn.circuit import Circuit
from circuitnn.exporting import export, export_subject
from circuitnn.exporting.equations import formulas, positions
from circuitnn.exporting.naming import identifier
from circuitnn.exporting.subject import Subject
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.rendering import render
from circuitnn.schemes import BDF2
from circuitnn.simulate import CONTROL_PERIOD

NETLISTS = Path(__file__).parents[1] / "netlists"
RATE = 48000.0
LENGTHS = [1, 7, 64, 1000]

# Knobs of every kind: `bend` moves a resistor, a gain, a source and a diode at once, `size` a capacitor, which waits
# for a reset; and two inputs, two outputs.
EVERYTHING = """.param bend=0.05 size=0.6
Vin in 0 0
Vside side 0 0
Vcc vcc 0 {1 + bend}
R1 in a 1k
R2 side a {500 + 2k*bend**2}
R3 vcc a 10k
C1 a 0 {1n + 20n*size}
E1 amp 0 a 0 {2 + 3*bend}
R4 amp out 1k
L1 out far 10m
R5 far 0 2.2k
D1 out 0 DK
.model DK D(IS={1n*(1 + 5*bend)} N=1.5)
*@ input Vin Vside
*@ output out
*@ output far
*@ knob bend 0.3575 taper=table(0:0 0.5:0.1 1:1)
*@ knob size 0.6"""


@cache
def circuit_of(name: str) -> Circuit:
    if name in SMALL:
        return SMALL[name].circuit
    return parse(EVERYTHING) if name == "everything" else read_netlist(NETLISTS / f"{name}.cir")


CASES = [
    "fmv_tone_stack",
    "series_diode_clipper",
    "ts808",
    "moog_ladder",
    "tube_preamp",
    "everything",
    "transformer",
    "switch",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@cache
def exported(name: str, folder: Path) -> Exported:
    scheme = {"scheme": BDF2} if name == "everything" else {}
    subject = Subject(name, circuit_of(name), RATE, 2, **scheme)
    return Exported(subject, folder / name, 2, ("-O0", *WARNINGS), single=name in ("ts808", "everything"))


def model_of(name: str, oversample: int = 2) -> CircuitModel:
    scheme = {"scheme": BDF2} if name == "everything" else {}
    return CircuitModel(circuit_of(name), RATE, oversample, [], **scheme)


def signal(time: int, channels: int, amplitude: float = 0.3) -> np.ndarray:
    """A chord that grows, and some noise; other channels a little later."""
    n = np.arange(time)[:, None] - 5.0 * np.arange(channels)
    chord = np.sin(0.031 * n) + 0.6 * np.sin(0.083 * n + 1.0)
    noise = np.random.default_rng(3).standard_normal((time, channels))
    return amplitude * (chord * n / time + 0.01 * noise)


def setting(circuit: Circuit, seed: int) -> dict[str, float]:
    random = np.random.default_rng(seed)
    return {knob.name: float(random.uniform()) for knob in circuit.knobs}


@pytest.mark.parametrize("name", CASES)
def test_it_plays_what_python_plays(name: str, folder: Path) -> None:
    """At rest first, at positions other than those exported, in blocks of any length."""
    program, circuit, model = exported(name, folder), circuit_of(name), model_of(name)
    knobs = setting(circuit, 1)
    u = signal(sum(LENGTHS), len(circuit.inputs))
    with torch.no_grad():
        expected = model(torch.as_tensor(u)[None], knobs=knobs)[0][0].numpy()
        other = model(torch.as_tensor(u)[None], knobs=positions(circuit))[0][0].numpy()
    found, failures = program.run(u, knobs, RATE, LENGTHS)
    assert failures == 0
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-9 * scale
    assert not circuit.knobs or np.abs(other - expected).max() > 1e-3 * scale
    # From the first sample on, also where the output has an offset.
    reversed_, _ = program.run(u, knobs, RATE, LENGTHS[::-1])
    assert np.abs(reversed_ - expected).max() < 1e-9 * scale


@pytest.mark.parametrize("name", ["ts808", "moog_ladder", "everything"])
def test_knobs_move_as_in_python(name: str, folder: Path) -> None:
    program, circuit, model = exported(name, folder), circuit_of(name), model_of(name)
    free = {knob.name for knob in formulas(model.discrete).knobs if knob.held is None}
    blocks = 20
    turns = np.random.default_rng(4).uniform(0.0, 1.0, (blocks, len(circuit.knobs)))
    for k, knob in enumerate(circuit.knobs):
        if knob.name not in free:
            turns[:, k] = 0.4
    turns[7:11] = turns[7]
    start = {knob.name: float(turns[0, k]) for k, knob in enumerate(circuit.knobs)}
    u = signal(blocks * CONTROL_PERIOD, len(circuit.inputs))
    lengths = [CONTROL_PERIOD] * blocks
    found, failures = program.run(u, start, RATE, lengths, turns)
    pieces, _ = program.run(u, start, RATE, [5, 27] * blocks, np.repeat(turns, 2, 0))
    assert failures == 0
    if name == "everything":
        # Python cannot move a source. It can stand still: the end must be that of a circuit that never moved.
        turns[1:] = turns[-1]
        long = signal(200 * CONTROL_PERIOD, len(circuit.inputs))
        along, _ = program.run(long, start, RATE, [CONTROL_PERIOD] * 200, np.repeat(turns[1:2], 200, 0))
        final = dict(zip(start, turns[-1], strict=True))
        with torch.no_grad():
            expected = model(torch.as_tensor(long)[None], knobs=final)[0][0].numpy()
        assert np.abs(along - expected)[:100].max() > 1e-3
        assert np.abs(along - expected)[-1000:].max() < 1e-9 * np.abs(expected).max()
        return
    tensors = {
        knob.name: torch.as_tensor(np.repeat(turns[:, k], CONTROL_PERIOD))[None] for k, knob in enumerate(circuit.knobs)
    }
    with torch.no_grad():
        expected = model(torch.as_tensor(u)[None], knobs=tensors)[0][0].numpy()
        still = model(torch.as_tensor(u)[None], knobs=start)[0][0].numpy()
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-9 * scale
    assert np.abs(pieces - found).max() < 1e-9 * scale
    assert np.abs(still - expected).max() > 1e-2 * scale


PROBE = r"""
#include "ts808.hpp"
#include <stdio.h>

using Processor = circuitnn::Processor<ts808::Circuit, 4, double>;

static Processor one(44100.0), other(44100.0);
static double in[4000], out[4000], expected[4000];

static double difference(int from, int to) {
    double most = 0.0;
    for (int k = from; k < to; ++k) most = fmax(most, fabs(out[k] - expected[k]));
    return most;
}

int main() {
    const double nothing = NAN, without_end = INFINITY;
    for (int k = 0; k < 4000; ++k) in[k] = 0.2 * sin(0.07 * k);
    // What is no number counts as 0.
    in[100] = in[101] = in[3000] = 0.0;
    one.process(in, expected, 4000);
    in[100] = nothing, in[101] = without_end, in[3000] = -without_end;
    one.reset();
    one.process(in, out, 4000);
    printf("nan %g\n", difference(0, 4000));
    // A saved state goes on elsewhere, in the middle of a block and of a turn.
    in[100] = in[101] = in[3000] = 0.0;
    for (int knob = 0; knob < 3; ++knob) one.turn(knob, 0.5);
    one.reset();
    one.turn(0, 1.0);
    one.process(in, expected, 1000);
    const Processor::State state = one.save();
    one.process(in + 1000, expected + 1000, 3000);
    other.process(in + 2000, out, 777);
    other.turn(0, 1.0);
    other.restore(state);
    other.process(in + 1000, out + 1000, 3000);
    printf("state %g\n", difference(1000, 4000));
    // An absurd signal ends, and is forgotten.
    for (int k = 0; k < 100; ++k) in[k] = k % 2 ? 1e200 : -1e200;
    one.process(in, out, 100);
    for (double& sample : in) sample = 0.0;
    for (int k = 0; k < 40; ++k) one.process(in, out, 4000);
    other.reset();
    other.process(in, expected, 4000);
    printf("absurd %g\n", difference(3000, 4000));
    // In place, in single precision samples, with knobs out of range.
    one.turn(0, 7.0), one.turn(1, -3.0), one.turn(2, nothing), one.turn(9, 0.5), one.turn(-1, 0.5);
    printf("knobs %g %g %g\n", one.position(0), one.position(1), one.position(2));
    return 0;
}
"""


def compiled(folder: Path, source: str) -> Path:
    (folder / "probe.cpp").write_text(source)
    command = [*compiler(), "-std=c++17", "-O1", *WARNINGS, "probe.cpp", "-o", "probe"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "probe"


def test_bad_input_saved_states_and_knobs_out_of_range(tmp_path: Path) -> None:
    export(NETLISTS / "ts808.cir", "cpp", tmp_path / "ts808")
    program = compiled(tmp_path / "ts808", PROBE)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in done.stdout.splitlines()}
    # Newton's method starts elsewhere; its tolerance is what is left.
    assert found["nan"][0] < 1e-9
    assert found["state"][0] < 1e-9
    assert found["absurd"][0] < 1e-6
    assert found["knobs"] == [1.0, 0.0, 0.5]


def test_the_export_can_neither_allocate_nor_lock_nor_throw(tmp_path: Path) -> None:
    """Nothing but mathematics and memory moves is called from anywhere in it."""
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    export(NETLISTS / "ts808.cir", "cpp", tmp_path / "ts808")
    source = """#include "ts808.hpp"
    static ts808::Processor processor(44100.0);
    void process(const float* in, float* out, long count) { processor.process(in, out, count); }
    void turn(int knob, double position) { processor.turn(knob, position); }
    bool reset() { return processor.reset(); }
    """
    (tmp_path / "object.cpp").write_text(source)
    command = [
        *compiler(),
        "-std=c++17",
        "-O1",
        "-Its808",
        "-fno-exceptions",
        "-c",
        "object.cpp",
        "-o",
        "object.o",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    listed = subprocess.run(["nm", "-u", "object.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    called = {line.split()[-1] for line in listed.splitlines() if line.strip()}
    mathematics = {"exp", "log", "pow", "sqrt", "sin", "cos", "fmax", "fmin", "fabs"}
    static_object = {"__cxa_guard_acquire", "__cxa_guard_release", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert called <= mathematics | {"memcpy", "memmove", "memset"} | static_object
    assert "pow" in called


def test_single_precision_is_close(folder: Path) -> None:
    for name in ("ts808", "everything"):
        program, circuit = exported(name, folder), circuit_of(name)
        u, knobs = signal(2000, len(circuit.inputs)), setting(circuit, 5)
        double, _ = program.run(u, knobs, RATE, [2000])
        single, failures = program.run(u, knobs, RATE, [2000], precision="single")
        assert failures == 0
        error = np.sqrt(np.mean((single - double) ** 2) / np.mean(double**2))
        # Histories of capacitors are differences of large numbers: about -60 dB are left of single precision.
        assert 1e-9 < error < 2e-3, name


def test_the_program_plays_a_file(tmp_path: Path) -> None:
    """As `simulate` does, whatever the format of the file; knobs and levels are options."""
    folder = tmp_path / "out"
    subject = Subject(
        "clip-per", read_netlist(NETLISTS / "ts808_clipper.cir"), 44100.0, 4, input_level=2.0, output_gain=0.1
    )
    export_subject(subject, "cpp", folder)
    command = [*compiler(), "-std=c++17", "-O1", *WARNINGS, "main.cpp", "-o", "play"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    dry = 0.4 * np.sin(0.05 * np.arange(3000))
    model = CircuitModel(subject.circuit, 48000, 4, [])
    drive = model.overrides({"drive": 0.8})
    for subtype, tolerance in {"PCM_16": 3e-3, "PCM_24": 2e-5, "PCM_32": 1e-6, "FLOAT": 1e-6}.items():
        soundfile.write(folder / "dry.wav", dry, 48000, subtype=subtype)
        options = ["--drive", "0.8", "--input-level", "0.5"]
        done = subprocess.run([folder / "play", folder / "dry.wav", folder / "wet.wav", *options], check=True)
        wet, rate = soundfile.read(folder / "wet.wav")
        assert rate == 48000
        expected = 0.1 * render(model, dry, 0.5, overrides=drive).output
        assert len(wet) == len(dry)
        assert np.abs(wet - expected).max() < tolerance * np.abs(expected).max()
    for words in (["dry.wav"], ["dry.wav", "wet.wav", "--drive"], ["main.cpp", "wet.wav"], ["none.wav", "wet.wav"],
                  ["dry.wav", "wet.wav", "--drive", "x"], ["dry.wav", "wet.wav", "--nothing", "1"]):  # fmt: skip
        refused = subprocess.run([folder / "play", *words], cwd=folder, capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert "usage:" in refused.stderr or "error:" in refused.stderr


def test_latency_and_filters_at_every_oversampling(tmp_path: Path) -> None:
    circuit = read_netlist(NETLISTS / "rc_lowpass.cir")
    u = signal(500, 1)
    for factor in (1, 4, 8):
        program = Exported(Subject("rc", circuit, RATE, factor), tmp_path / str(factor), factor)
        with torch.no_grad():
            expected = CircuitModel(circuit, RATE, factor, [])(torch.as_tensor(u)[None])[0][0].numpy()
        found, _ = program.run(u, {}, RATE, [500])
        assert np.abs(found - expected).max() < 1e-12


def test_clang_finds_nothing_to_warn_of_either(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    # Without knobs and states, arrays and loops of length 0.
    export(NETLISTS / "ds1_clipper.cir", "cpp", tmp_path / "out")
    # Without the C++ standard library, which zig would first build.
    clang = [sys.executable, "-m", "ziglang", "c++", "-nostdlib++", "-fno-exceptions"]
    command = [*clang, "-std=c++17", *WARNINGS, "main.cpp", "-o", "play"]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_is_safe_in_c() -> None:
    assert identifier('../a b-c"); evil') == "a_b_c____evil"
    assert identifier("2n2222") == "circuit_2n2222"
    assert identifier("") == "circuit"
    # Names of the language, of its library, and of the headers beside it.
    for taken in ("switch", "gamma", "exp", "processor", "main"):
        assert identifier(taken) == f"{taken}_circuit"
    assert identifier("ts808") == "ts808"
