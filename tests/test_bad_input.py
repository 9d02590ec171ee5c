"""Whatever a person may get wrong ends in exit code 2 and one message that names it, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from circuitnn.cli import main

RC = (
    "rc\n*@ input Vin\n*@ output out\n*@ learn R1\n*@ knob k 0.5\n.param k=0.5\n"
    "Vin in 0 0\nR1 in out 10k\nC1 out 0 10n\n"
)
NETLISTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "element cards"),
    "binary": (bytes(range(256)) * 8, "not a text file"),
    "unknown element": (f"{RC}Z1 out 0 1k\n".encode(), "Z1"),
    "unknown model": (f"{RC}D1 out 0 NOSUCH\n".encode(), "NOSUCH"),
    "floating node": (f"{RC}R7 p q 1k\n".encode(), "floating node"),
    "voltage loop": (f"{RC}V2 in 0 1\n".encode(), "loop of voltage sources"),
    "recursive include": (f"{RC}.include bad.cir\n".encode(), "recursive include"),
    "recursive subcircuit": (f"{RC}.subckt S a b\nX1 a b S\n.ends\nX2 out 0 S\n".encode(), "recurs"),
    "no input": (b"t\n*@ output a\nV1 a 0 1\nR1 a 0 1k\n", "input"),
    "no output": (b"t\n*@ input V1\nV1 a 0 1\nR1 a 0 1k\n", "output"),
}
ONLY_WITH_SOUND = ("no input", "no output")


@dataclass(frozen=True)
class Files:
    """A folder with a good netlist and good recordings, and one to write to."""

    inputs: Path
    outputs: Path

    @property
    def netlist(self) -> Path:
        return self.inputs / "good.cir"

    @property
    def dry(self) -> Path:
        return self.inputs / "dry.wav"

    def wav(self, name: str, samples: object, rate: int = 44100) -> Path:
        soundfile.write(self.inputs / name, samples, rate, subtype="FLOAT")
        return self.inputs / name


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path / "in", tmp_path / "out")
    found.inputs.mkdir()
    found.outputs.mkdir()
    found.netlist.write_text(RC)
    found.wav("dry.wav", noise())
    return found


def noise(length: int = 22050) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(0).uniform(-0.5, 0.5, length)


def refused(files: Files, arguments: list[object], *expected: str) -> None:
    """The command fails as it should: code 2, one message with the expected words, no output."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error: ") == 1
    for text in expected:
        assert text in result.stderr
    assert not list(files.outputs.iterdir())


@pytest.mark.parametrize("name", NETLISTS)
@pytest.mark.parametrize("command", ["inspect", "simulate", "fit"])
def test_netlists(files: Files, name: str, command: str) -> None:
    if command == "inspect" and name in ONLY_WITH_SOUND:
        pytest.skip("inspect shows such a netlist")
    content, message = NETLISTS[name]
    netlist = files.inputs / "bad.cir"
    netlist.write_bytes(content)
    arguments: list[object] = {
        "inspect": [],
        "simulate": [files.dry, files.outputs / "wet.wav"],
        "fit": [files.dry, files.dry, "--out", files.outputs / "run", "--learn", "R1"],
    }[command]
    refused(files, [command, netlist, *arguments], "bad.cir", message)


@pytest.mark.parametrize("command", ["inspect", "simulate"])
def test_a_folder_and_a_missing_file_as_netlist(files: Files, command: str) -> None:
    rest = [files.dry, files.outputs / "wet.wav"] if command == "simulate" else []
    refused(files, [command, files.inputs, *rest], str(files.inputs), "folder")
    refused(files, [command, files.inputs / "none.cir", *rest], "none.cir", "no such file")


RECORDINGS: dict[str, tuple[Callable[[Files], Path], str]] = {
    "another length": (lambda f: f.wav("bad.wav", noise(60000)), "same take"),
    "a broken rate": (lambda f: f.wav("bad.wav", noise(), 2000), "2000 Hz"),
    "two channels": (lambda f: f.wav("bad.wav", np.stack([noise(), -noise()], 1)), "one channel"),
    "silent": (lambda f: f.wav("bad.wav", np.zeros(22050)), "silent"),
    "empty": (lambda f: f.wav("bad.wav", np.zeros(0)), "no samples"),
    "not a number": (lambda f: f.wav("bad.wav", np.where(np.arange(22050) == 7, np.nan, noise())), "sample 7"),
    "missing": (lambda f: f.inputs / "bad.wav", "no such file"),
    "not a sound": (lambda f: (f.inputs / "bad.wav").write_text("hello") and f.inputs / "bad.wav", "not a sound file"),
    "a folder": (lambda f: (f.inputs / "bad.wav").mkdir() or f.inputs / "bad.wav", "a folder"),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings(files: Files, name: str) -> None:
    make, message = RECORDINGS[name]
    bad = make(files)
    refused(files, ["fit", files.netlist, files.dry, bad, "--out", files.outputs / "run"], "bad.wav", message)
    if name != "another length":
        refused(files, ["simulate", files.netlist, bad, files.outputs / "wet.wav"], "bad.wav", message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "drive=0.5"], "no knob or value called 'drive'"),
        (["--set", "R1=-1"], "above 0"),
        (["--range", "20"], "expected LOW:HIGH"),
        (["--range", "20:20k:5"], "expected LOW:HIGH"),
        (["--range", "20:x"], "expected a number"),
        (["--range", "20k:20"], "rising"),
        (["--range", "0:1k"], "rising"),
        (["--range", "-5:1k"], "rising"),
        (["--range", "20:1e30"], "1 THz"),
        (["--range", "21:22"], "--points"),
        (["--show", "pole"], "did you mean poles?"),
        (["--show", "everything"], "sensitivities"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
@pytest.mark.parametrize("json", [False, True])
def test_options_of_inspect(files: Files, options: list[str], message: str, json: bool) -> None:
    refused(files, ["inspect", files.netlist, *options, *["--json"] * json], message)


def test_nothing_to_plot(files: Files) -> None:
    netlist = files.inputs / "bare.cir"
    netlist.write_text("bare\nV1 a 0 1\nR1 a 0 1k\n.end\n")
    refused(files, ["inspect", netlist, "--plot", files.outputs / "plot.png"], "no response to plot", "*@ output")


def test_an_odd_number_of_files(files: Files) -> None:
    refused(files, ["fit", files.netlist, files.dry, "--out", files.outputs / "run"], "pairs", "dry.wav")


def test_places_that_cannot_be_written(files: Files) -> None:
    # Permissions do not bind root, so these are places where nobody can write.
    for place in (files.dry / "x", Path("/proc/x")):
        refused(files, ["simulate", files.netlist, files.dry, place / "wet.wav"], "cannot be written", str(place))
        refused(files, ["fit", files.netlist, files.dry, files.dry, "--out", place], "cannot be written", str(place))
        refused(files, ["inspect", files.netlist, "--plot", place / "plot.png"], "cannot be written", str(place))
    refused(files, ["simulate", files.netlist, files.dry, files.outputs], str(files.outputs), "folder")
    refused(files, ["simulate", files.netlist, files.dry, files.dry], "dry.wav would overwrite")
    refused(files, ["fit", files.netlist, files.dry, files.dry, "--out", files.inputs], "something else than a run")


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--set", "gain=0.5"], ["good.cir", "gain"]),
        (["--set", "k=1.5"], ["k=1.5", "from 0 to 1"]),
        (["--set", "k=nan"], ["k=nan", "number"]),
        (["--set", "R1"], ["NAME=VALUE"]),
        (["--set", "R1=-5"], ["above 0"]),
        (["--oversample", "3"], ["oversample 3", "1, 2, 4, 8"]),
        (["--oversample", "0"], ["oversample 0"]),
        (["--input-level", "0"], ["--input-level", "above 0"]),
        (["--input-level", "-1"], ["--input-level", "above 0"]),
        (["--output-gain", "nan"], ["--output-gain", "other than 0"]),
    ],
)
def test_options(files: Files, options: list[str], messages: list[str]) -> None:
    refused(files, ["simulate", files.netlist, files.dry, files.outputs / "wet.wav", *options], *messages)
    refused(files, ["fit", files.netlist, files.dry, files.dry, "--out", files.outputs / "run", *options], *messages)


def test_learnables_that_are_not_there(files: Files) -> None:
    arguments = ["fit", files.netlist, files.dry, files.dry, "--out", files.outputs / "run", "--learn"]
    refused(files, [*arguments, "R99"], "R99", "learn")
    refused(files, [*arguments, ","], "nothing is left to learn")


def test_runs_that_are_not_there(files: Files) -> None:
    refused(files, ["evaluate", files.inputs, files.dry, files.dry], str(files.inputs), "not a run")
    (files.inputs / "run.json").write_text('{"format": "circuitnn-run", "version": 1, "recordings": 7}')
    refused(files, ["evaluate", files.inputs, files.dry, files.dry], "run.json", "recordings")
