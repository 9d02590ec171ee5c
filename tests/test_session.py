"""Session files: what they say reaches the fit, and what they get wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from circuitnn import CircuitModel, FitResult, RecordingError, fit, parse_netlist, read_session
from circuitnn.cli import main
from circuitnn.evaluation import render
from circuitnn.excitation import plucked_string

RATE = 22050
NETLIST = (
    "clipper\n*@ input Vin\n*@ output out\n*@ learn C1\n*@ knob mix 0.5\n.param mix=0.5\nVin in 0 0\n"
    "R1 in out {1k+mix*10k}\nC1 out 0 10n\nD1 out 0 D\nD2 0 out D\n.model D D(is=2n n=1.8)\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clipper with C1 = 12 nF, recorded at two positions of its knob, with delay and another rate for one wet."""
    folder = tmp_path_factory.mktemp("session")
    (folder / "clipper.cir").write_text(NETLIST)
    model = CircuitModel(parse_netlist(NETLIST.replace("10n", "12n")), RATE, learn=[])
    for k, position in enumerate((0.2, 0.8)):
        note = np.concatenate([np.zeros(RATE // 4), plucked_string(110.0 * 1.5**k, 1.5, RATE)])
        dry = 0.5 * note + 1e-5 * np.random.default_rng(k).standard_normal(len(note))
        fixed = CircuitModel(
            parse_netlist(NETLIST.replace("10n", "12n").replace("mix=0.5", f"mix={position}")), RATE, learn=[]
        )
        wet = 0.8 * render(fixed, dry, 2.0).output
        soundfile.write(folder / f"dry{k}.wav", dry, RATE, subtype="FLOAT")
        soundfile.write(folder / f"wet{k}.wav", np.concatenate([np.zeros(57), wet]), RATE, subtype="FLOAT")
        soundfile.write(folder / f"both{k}.wav", np.stack([dry, wet], 1), RATE, subtype="FLOAT")
    assert model.sample_rate == RATE
    return folder


def write(folder: Path, text: str) -> Path:
    path = folder / "session.toml"
    path.write_text(text)
    return path


def test_a_session_says_everything(folder: Path) -> None:
    session = read_session(
        write(
            folder,
            """
            input_level_dbu = 12.0
            gain = "shared"
            knobs = { mix = 0.2 }
            [[recording]]
            dry = "dry0.wav"
            wet = "wet0.wav"
            polarity = 1
            [[recording]]
            file = "both1.wav"
            name = "second"
            role = "held-out"
            gain = "own"
            knobs = { mix = 0.8 }
            delay = 0.25
            input_level = 1.0
            """,
        )
    )
    (first,), (second,) = session.recordings, session.held_out
    assert session.input_level == pytest.approx(1.0954 * 10.0 ** (12.0 / 20.0), rel=1e-4)
    assert (first.knobs, first.gain_group, first.polarity, first.delay) == ({"mix": 0.2}, "shared", 1, None)
    assert (second.knobs, second.gain_group, second.delay, second.name) == ({"mix": 0.8}, None, 0.25, "second")
    # The second one's volts are those of its own calibration.
    dry, _ = soundfile.read(folder / "dry1.wav")
    assert np.abs(second.dry).max() * session.input_level == pytest.approx(np.abs(dry).max() * 1.0, rel=1e-6)
    assert session.files == ((folder / "dry0.wav", folder / "wet0.wav"),)


def test_the_example_of_the_documentation_runs(folder: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "recordings.md").read_text()
    example = text.split("```toml\n")[1].split("```")[0]
    for old, new in (("dry.wav", "dry0.wav"), ("wet_low.wav", "wet0.wav"), ("wet_high.wav", "wet0.wav")):
        example = example.replace(old, new)
    session = read_session(write(folder, example.replace("both.wav", "both1.wav")))
    assert [dict(r.knobs) for r in session.recordings] == [{"mix": 0.2}, {"mix": 0.8}]
    assert [r.name for r in session.held_out] == ["the judge"]
    assert session.input_level == pytest.approx(4.36, rel=1e-3)
    assert len(session.recordings[1].wet) == round(0.9 * RATE)
    code = text.split("```python\n")[1].split("```")[0]
    code = code.replace("session.toml", str(folder / "session.toml")).replace(
        "clipper.cir", str(folder / "clipper.cir")
    )
    names: dict[str, object] = {}
    exec(compile(code, "recordings.md", "exec"), names)
    result = names["result"]
    assert isinstance(result, FitResult)
    assert len(result.recordings) == 2
    assert len(result.held_out) == 1


def test_a_time_range_keeps_dry_and_wet_together(folder: Path) -> None:
    session = read_session(write(folder, '[[recording]]\ndry = "dry0.wav"\nwet = "wet0.wav"\nstart = 0.8\nend = 1.3\n'))
    (part,) = session.recordings
    dry, _ = soundfile.read(folder / "dry0.wav")
    wet, _ = soundfile.read(folder / "wet0.wav")
    assert len(part.wet) == round(0.5 * RATE)
    assert len(part.dry) == pytest.approx(1.0 * RATE, abs=1)
    shift_dry = int(np.flatnonzero(dry == part.dry[0])[0])
    shift_wet = int(np.flatnonzero(wet == part.wet[0])[0])
    assert part.delay is not None
    assert shift_wet - shift_dry + part.delay == pytest.approx(57.0, abs=3.0)


def test_held_out_recordings_judge_the_fit(folder: Path) -> None:
    text = (
        'input_level = 2.0\n[[recording]]\ndry = "dry0.wav"\nwet = "wet0.wav"\nknobs = { mix = 0.2 }\n'
        '[[recording]]\ndry = "dry1.wav"\nwet = "wet1.wav"\nknobs = { mix = 0.8 }\nrole = "held-out"\n'
    )
    path = write(folder, text)
    arguments = ["fit", str(folder / "clipper.cir"), "--recordings", str(path), "--out", str(folder / "run")]
    done = CliRunner().invoke(main, [*arguments, "--oversample", "4"])
    assert done.exit_code == 0, done.output
    assert "held-out recording" in done.stdout
    run = json.loads((folder / "run" / "run.json").read_text())
    assert run["values"]["C1"] == pytest.approx(12e-9, rel=0.02)
    (held,) = run["held_out"]
    assert held["name"] == "wet1.wav"
    assert held["esr_gain_free"] < 1e-3
    assert held["delay"] == pytest.approx(57.0, abs=0.6)
    assert held["gain"] == pytest.approx(0.8, rel=0.02)
    assert len(run["recordings"]) == 1
    assert run["recordings"][0]["conditions"]["dry"]["clipped"] == 0
    # It took no part: without it the values are the same.
    path.write_text(text.split('[[recording]]\ndry = "dry1')[0])
    again = CliRunner().invoke(main, [*arguments, "--json"])
    assert json.loads(again.stdout)["values"] == run["values"]


def test_a_label_is_a_position_that_nobody_wrote_down(folder: Path) -> None:
    """Two recordings at one unknown position, one at another, and one that judges."""
    pair = '[[recording]]\ndry = "dry{0}.wav"\nwet = "wet{0}.wav"\nknobs = {{ mix = "{1}" }}\n'
    text = "input_level = 2.0\n" + pair.format(0, "low") + "start = 0.2\nend = 0.8\n" + pair.format(0, "low")
    text += "start = 0.8\n" + pair.format(1, "high") + pair.format(1, "high") + 'role = "held-out"\n'
    path = write(folder, text)
    arguments = ["fit", str(folder / "clipper.cir"), "--recordings", str(path), "--out", str(folder / "labels")]
    done = CliRunner().invoke(main, [*arguments, "--oversample", "4"])
    assert done.exit_code == 0, done.output
    assert 'mix at "low": position 0.2' in done.stdout
    run = json.loads((folder / "labels" / "run.json").read_text())
    assert set(run["positions"]) == {"mix@low", "mix@high"}
    for label, truth in (("mix@low", 0.2), ("mix@high", 0.8)):
        assert abs(run["positions"][label] - truth) < 4.0 * run["positions_stderr"][label] + 0.002
        assert run["positions_stderr"][label] < 0.05
    first, second, third = run["recordings"]
    assert first["knobs"] == second["knobs"] == {"mix": run["positions"]["mix@low"]}
    assert third["knobs"] == run["held_out"][0]["knobs"] == {"mix": run["positions"]["mix@high"]}
    assert run["held_out"][0]["esr_gain_free"] < 1e-3
    assert "mix at &#34;low&#34;" in (folder / "labels" / "report.html").read_text()


def test_a_label_that_only_a_held_out_recording_has_is_refused_before_the_fit(folder: Path) -> None:
    session = read_session(write(folder, PAIR + PAIR + 'role = "held-out"\nknobs = { mix = "high" }\n'))
    model = CircuitModel(parse_netlist(NETLIST), RATE)
    with pytest.raises(RecordingError, match="no fitted recording has mix at 'high'"):
        fit(model, session.recordings, held_out=session.held_out, progress=lambda *_: pytest.fail("the fit has begun"))


PAIR = '[[recording]]\ndry = "dry0.wav"\nwet = "wet0.wav"\n'
WRONG: dict[str, tuple[str, list[str]]] = {
    "empty": ("", ["[[recording]]"]),
    "not toml": ("x = = 1", ["not valid TOML", "line 1"]),
    "not a list": ("recording = 3", ["[[recording]]"]),
    "unknown key at the top": ("nobs = {}\n" + PAIR, ["unknown key 'nobs'", "did you mean knobs?"]),
    "unknown key": (PAIR + "rol = 1", ["recording 1", "unknown key 'rol'", "did you mean role?"]),
    "role": (PAIR + 'role = "test"', ["recording 1", "role", '"held-out"', "'test'"]),
    "only held out": (PAIR + 'role = "held-out"', ["no recording to fit to"]),
    "no wet": ('[[recording]]\ndry = "dry0.wav"', ["recording 1", "dry and wet"]),
    "too many files": (PAIR + 'file = "both0.wav"', ["recording 1", "file alone"]),
    "missing file": (PAIR.replace("wet0", "wet9"), ["recording 1", "wet9.wav", "no such file"]),
    "a folder": (PAIR.replace("wet0.wav", "."), ["recording 1", "a folder"]),
    "not a path": (PAIR.replace('"wet0.wav"', "7"), ["recording 1", "wet", "a text", "7"]),
    "knobs": (PAIR + "knobs = 3", ["recording 1", "knobs", "a table"]),
    "knob": (PAIR + "knobs = { mix = 7 }", ["recording 1", "knobs.mix", "0 to 1", "7"]),
    "delay": (PAIR + 'delay = "long"', ["recording 1", "delay", "a number", "'long'"]),
    "long delay": (PAIR + "delay = 1e9", ["recording 1", "delay", "less than"]),
    "not a number": (PAIR + "delay = nan", ["recording 1", "delay", "a number"]),
    "boolean": (PAIR + "polarity = true", ["recording 1", "polarity", "True"]),
    "polarity": (PAIR + "polarity = 2", ["recording 1", "polarity", "1 or -1"]),
    "start": (PAIR + "start = 100", ["recording 1", "start", "less than"]),
    "end": (PAIR + "start = 1\nend = 0.5", ["recording 1", "end", "after start"]),
    "levels": (PAIR + "input_level = 1\ninput_level_dbu = 1", ["recording 1", "say the same"]),
    "one level": (PAIR + PAIR + "input_level = 1", ["recording 2", "some recordings only"]),
    "level": (PAIR + "input_level = -1", ["recording 1", "input_level", "above 0"]),
    "gain": (PAIR + "output_gain = 0", ["recording 1", "output_gain", "other than 0"]),
    "rate": ("sample_rate = 44100.5\n" + PAIR, ["sample_rate", "whole number"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(folder: Path, name: str) -> None:
    text, expected = WRONG[name]
    with pytest.raises(RecordingError) as caught:
        read_session(write(folder, text))
    for part in ["session.toml", *expected]:
        assert part in str(caught.value)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_with_one_message(folder: Path, content: bytes) -> None:
    path = folder / "bytes.toml"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"bytes\.toml"):
        read_session(path)


def test_session_and_files_exclude_each_other(folder: Path) -> None:
    path = write(folder, PAIR)
    netlist = str(folder / "clipper.cir")
    for arguments in ([], [str(folder / "dry0.wav"), str(folder / "wet0.wav"), "--recordings", str(path)]):
        done = CliRunner().invoke(main, ["fit", netlist, *arguments])
        assert done.exit_code == 2
        assert "--recordings SESSION.toml" in done.stderr
