"""LV2 bundles: loaded and run as a host does, by ctypes, and checked by the tools of lv2-dev, lilv and sord."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from circuitnn.errors import CircuitError, CircuitnnError
from circuitnn.exporting import export, export_subject
from circuitnn.exporting.deployed import Deployed
from circuitnn.exporting.lv2 import BINARY
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.models.architectures import build_network
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist, read_netlist

NETLISTS = Path(__file__).parents[1] / "netlists"
RATE = 48000.0
LEVEL, GAIN = 0.7, 0.2
IN, OUT, ENABLED, INPUT_TRIM, OUTPUT_TRIM, LATENCY, KNOBS = range(7)
POINTER = ctypes.c_void_p


class Descriptor(ctypes.Structure):
    """LV2_Descriptor of lv2/core/lv2.h."""

    _fields_ = [
        ("uri", ctypes.c_char_p),
        ("instantiate", ctypes.CFUNCTYPE(POINTER, POINTER, ctypes.c_double, ctypes.c_char_p, POINTER)),
        ("connect_port", ctypes.CFUNCTYPE(None, POINTER, ctypes.c_uint32, POINTER)),
        ("activate", ctypes.CFUNCTYPE(None, POINTER)),
        ("run", ctypes.CFUNCTYPE(None, POINTER, ctypes.c_uint32)),
        ("deactivate", POINTER),
        ("cleanup", ctypes.CFUNCTYPE(None, POINTER)),
        ("extension_data", POINTER),
    ]


class Host:
    """One instance of the plugin in a binary, whose control ports are attributes of `controls`."""

    def __init__(self, binary: Path, knobs: int) -> None:
        library = ctypes.CDLL(str(binary))
        library.lv2_descriptor.restype = ctypes.POINTER(Descriptor)
        library.lv2_descriptor.argtypes = [ctypes.c_uint32]
        assert not library.lv2_descriptor(1)
        self.descriptor = library.lv2_descriptor(0).contents
        self.plugin = self.descriptor.instantiate(None, RATE, b"", None)
        self.controls = np.array([0, 0, 1, 0, 0, 0, *[0.5] * knobs], dtype=np.float32)
        for port in range(ENABLED, KNOBS + knobs):
            self.connect(port, self.controls[port:])

    def connect(self, port: int, array: np.ndarray) -> None:
        self.descriptor.connect_port(self.plugin, port, array.ctypes.data)

    def run(self, signal: np.ndarray, block: int = 100) -> np.ndarray:
        """The output for a signal in blocks, in place, from activation."""
        self.descriptor.activate(self.plugin)
        return self.go_on(signal, block)

    def go_on(self, signal: np.ndarray, block: int = 100) -> np.ndarray:
        buffer, made = np.zeros(block, dtype=np.float32), []
        self.connect(IN, buffer)
        self.connect(OUT, buffer)
        for start in range(0, len(signal), block):
            part = signal[start : start + block]
            buffer[: len(part)] = part
            self.descriptor.run(self.plugin, len(part))
            made.append(buffer[: len(part)].copy())
        return np.concatenate(made).astype(float)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ts808_clipper, calibrated."""
    folder = tmp_path_factory.mktemp("plugins") / "clipper.lv2"
    circuit = read_netlist(NETLISTS / "ts808_clipper.cir")
    export_subject(Subject("clipper", circuit, RATE, 4, input_level=LEVEL, output_gain=GAIN), "lv2", folder)
    return folder


@pytest.fixture
def host(bundle: Path) -> Iterator[Host]:
    host = Host(bundle / f"clipper{BINARY}", 1)
    yield host
    host.descriptor.cleanup(host.plugin)


def model() -> CircuitModel:
    return CircuitModel(read_netlist(NETLISTS / "ts808_clipper.cir"), RATE, 4, [])


def played(signal: np.ndarray, drive: float, level: float = LEVEL, gain: float = GAIN) -> np.ndarray:
    with torch.no_grad():
        u = torch.as_tensor(level * signal)[None, :, None]
        return gain * model()(u, knobs={"drive": drive})[0][0, :, 0].numpy()


def tone(time: int) -> np.ndarray:
    signal: np.ndarray = (0.5 * np.sin(0.06 * np.arange(time))).astype(np.float32).astype(float)
    return signal


def test_a_host_hears_what_python_renders(host: Host) -> None:
    signal = tone(3000)
    host.controls[KNOBS] = 0.25
    expected = played(signal, 0.25)
    assert np.abs(host.run(signal) - expected).max() < 1e-6 * np.abs(expected).max()
    assert host.controls[LATENCY] == model().latency
    # Activation begins anew, whatever the block.
    assert np.abs(host.run(signal, 1000) - expected).max() < 1e-6 * np.abs(expected).max()
    host.controls[[INPUT_TRIM, OUTPUT_TRIM]] = 6.0, -12.0
    trimmed = played(signal, 0.25, LEVEL * 10 ** (6 / 20), GAIN * 10 ** (-12 / 20))
    assert np.abs(host.run(signal) - trimmed).max() < 1e-6 * np.abs(trimmed).max()


def test_bypass_is_the_input_as_late_as_the_output(host: Host) -> None:
    signal = tone(3000)
    host.controls[ENABLED] = 0.0
    late = np.concatenate([np.zeros(model().latency), signal])[: len(signal)]
    assert np.abs(host.run(signal) - late).max() == 0.0
    host.controls[ENABLED] = 1.0
    host.run(signal)
    host.controls[ENABLED] = 0.0
    after = host.go_on(np.concatenate([signal, signal]))
    # It fades over in 10 ms.
    assert np.abs(after[1000:] - np.concatenate([signal, signal, signal])[-5000 - 64 : -64]).max() == 0.0


def loudest_click(signal: np.ndarray) -> float:
    """The largest sample above 4 kHz in dB relative to the signal's largest."""
    spectrum = np.fft.rfft(signal * np.hanning(len(signal)))
    spectrum[np.fft.rfftfreq(len(signal), 1 / RATE) < 4000.0] = 0.0
    return float(20.0 * np.log10(np.abs(np.fft.irfft(spectrum)).max() / np.abs(signal).max()))


def test_turning_a_knob_from_stop_to_stop_makes_no_click(host: Host) -> None:
    # A level at which nothing clips: harmonics would hide the click.
    signal = 1e-3 * np.sin(2 * np.pi * 300.0 / RATE * np.arange(24000))
    host.controls[KNOBS] = 0.0
    host.run(signal)
    still = loudest_click(host.go_on(signal))
    host.controls[KNOBS] = 1.0
    turned = host.go_on(signal)
    assert np.abs(turned[-2000:]).max() > 3.0 * np.abs(turned[:500]).max()
    assert still < -100.0
    assert loudest_click(turned) < -80.0


def test_a_bundle_needs_one_input_one_output_and_its_name(tmp_path: Path) -> None:
    with pytest.raises(CircuitnnError, match=r"folders called NAME\.lv2"):
        export(NETLISTS / "rc_lowpass.cir", "lv2", tmp_path / "plugin")
    two = parse_netlist("two\nV1 a 0 0\nV2 b 0 0\nR1 a o 1k\nR2 b o 1k\nR3 o 0 1k\n*@ input V1 V2\n*@ output o\n.end\n")
    with pytest.raises(CircuitError, match="expected one input and one output, found 2 and 1"):
        export_subject(Subject("two", two), "lv2", tmp_path / "two.lv2")
    assert not list(tmp_path.iterdir())


SCHEMAS = Path("/usr/lib/lv2")


def tool(name: str, *arguments: object, folder: Path) -> str:
    if shutil.which(name) is None or not SCHEMAS.is_dir():
        pytest.skip(f"{name} is not installed")
    environment = os.environ | {"LV2_PATH": f"{folder}:{SCHEMAS}"}
    done = subprocess.run(
        [name, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_description_is_valid(bundle: Path) -> None:
    schemas = [path for path in SCHEMAS.rglob("*.ttl") if "eg-" not in str(path)]
    printed = tool("sord_validate", *schemas, bundle / "manifest.ttl", bundle / "plugin.ttl", folder=bundle.parent)
    assert "0 errors" in printed
    assert "warning" not in printed


def test_hosts_list_it(bundle: Path) -> None:
    printed = tool("lv2info", "urn:circuitnn:clipper", folder=bundle.parent)
    for text in ("drive", "enabled", "input_trim", "output_trim", "Has latency:       yes", "Default:     0.5"):
        assert text in printed


def test_hosts_play_it(bundle: Path, tmp_path: Path) -> None:
    signal = tone(3000)
    soundfile.write(tmp_path / "in.wav", signal, int(RATE), subtype="FLOAT")
    files = ("-i", tmp_path / "in.wav", "-o", tmp_path / "out.wav")
    tool("lv2apply", *files, "-c", "drive", "0.8", "urn:circuitnn:clipper", folder=bundle.parent)
    found, rate = soundfile.read(tmp_path / "out.wav")
    expected = played(signal, 0.8)
    assert rate == RATE
    # What lv2apply writes has 24 bits or more.
    assert np.abs(found[: len(signal)] - expected).max() < 1e-6


def test_a_network_is_a_plugin_too(tmp_path: Path) -> None:
    """Also in memory that is aligned to nothing wide; knobs may be called anything."""
    torch.manual_seed(0)
    network = build_network("lstm-32", ("input trim", "enabled")).eval()
    folder = tmp_path / "net.lv2"
    export_subject(NetworkSubject("net", network, RATE, 'my "net"'), "lv2", folder)
    signal = tone(3000)
    with torch.no_grad():
        knobs = {"input trim": 0.25, "enabled": 0.75}
        expected = network(torch.as_tensor(signal)[None, :, None], knobs=knobs)[0][0, :, 0].double().numpy()
    for _ in range(3):
        host = Host(folder / f"net{BINARY}", 2)
        host.controls[KNOBS : KNOBS + 2] = 0.25, 0.75
        assert np.abs(host.run(signal) - expected).max() < 2e-6 * np.abs(expected).max()
        assert host.controls[LATENCY] == 0.0
        host.descriptor.cleanup(host.plugin)
    schemas = [path for path in SCHEMAS.rglob("*.ttl") if "eg-" not in str(path)]
    printed = tool("sord_validate", *schemas, *folder.glob("*.ttl"), folder=tmp_path)
    assert "0 errors" in printed
    assert "warning" not in printed
    printed = tool("lv2info", "urn:circuitnn:net", folder=tmp_path)
    for text in ("input_trim_knob", "enabled_knob", 'my "net"'):
        assert text in printed


def test_a_network_of_another_rate_sounds_alike(tmp_path: Path) -> None:
    """The host has 48 kHz; what it converts is late, and so is the bypass."""
    network = build_network("wavenet-2").eval()
    subject = NetworkSubject("net", network, 44100.0)
    export_subject(subject, "lv2", tmp_path / "net.lv2")
    signal, host = tone(6000), Host(tmp_path / "net.lv2" / f"net{BINARY}", 0)
    rendered = Deployed(subject).render(signal, sample_rate=RATE).output
    host.run(signal)
    late = int(host.controls[LATENCY])
    assert late == Deployed(subject).player(sample_rate=RATE).latency > 0
    assert np.abs(host.run(signal)[late:] - rendered[:-late]).max() < 1e-6
    host.controls[ENABLED] = 0.0
    assert np.array_equal(host.run(signal)[late:], signal[:-late])
    host.descriptor.cleanup(host.plugin)
