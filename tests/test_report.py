"""The report: complete, self-contained, and safe against what netlists and file names may hold."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from markupsafe import escape
from test_runs import SOURCES, example_result

from circuitnn.condition import Condition
from circuitnn.errors import ConvergenceError
from circuitnn.fitting.result import Identifiability, Measurement, Pair, Settings, Suggestion
from circuitnn.report import figures, judgement, sounds, words
from circuitnn.report.page import render_report

COMMAND = "circuitnn fit 'my clipper.cir' dry.wav wet.wav --set tone=0.3"


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(example_result(), Settings(fixed=("tone=0.3",), sources=SOURCES, command=COMMAND))


def test_the_verdict_comes_first_and_every_section_is_there(page: str) -> None:
    assert page.index("Very close") < page.index("<h2")
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert headings == [
        "What to do next", "Values", "What the recordings told", "Where the fit fails",
        "The circuit, before and after", "Levels and delays",
        "See and hear", "Convergence", "Settings",
    ]  # fmt: skip
    for text in ("2.346 kΩ", "2.2 kΩ", "+6.6 %", "inverted", "tone=0.3", "dry2.wav", "3.25 samples"):
        assert text in page
    assert f"<pre>{escape(COMMAND)}</pre>" in page
    links = re.findall(r'<a href="#([^"]*)"', page)
    assert links
    assert all(f'id="{link}"' in page for link in links)


def test_every_figure_is_there_once_for_the_circuit_and_once_for_each_recording(page: str) -> None:
    captions = re.findall(r"<figcaption>([^<]*)</figcaption>", page)
    assert len(captions) == len(re.findall("<svg ", page)) == 3 + 2 * 5 + 1
    for start in ("Frequency response", "Transfer curve", "Harmonics of 1000 Hz", "Pre-emphasised error"):
        assert sum(caption.startswith(start) for caption in captions) == 1
    for start in ("Whole recording", "The 20 ms", "The worst second", "Spectrum", "Error over level"):
        assert sum(caption.startswith(start) for caption in captions) == 2


def test_nothing_comes_from_outside(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"https?://|@import|<link|url\((?!#)", page)
    # One script, of our own and in the page; and a browser that knows the policy would load nothing else either.
    assert page.count("<script") == page.count("<script>") == 1
    assert "default-src 'none'" in page


def test_names_cannot_smuggle_markup_in(page: str) -> None:
    assert "&lt;script&gt;wet.wav" in page
    assert "Clipper &lt;b&gt; &amp; sons" in page


def test_the_page_is_well_formed(page: str) -> None:
    class Checker(HTMLParser):
        VOID = ("meta", "br", "img", "input")

        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in self.VOID:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open


def read_player(player: sounds.Player) -> np.ndarray:
    encoded = player.source.removeprefix("data:audio/wav;base64,")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert rate == 44100
    return np.asarray(samples)


def test_sounds_are_playable_and_share_one_scale() -> None:
    recording = example_result().recordings[0]
    loud = replace(recording, target=4.0 * recording.target, input=0.01 * recording.input)
    found = sounds.excerpt(loud, 44100.0, 1)
    dry, target, output, difference = map(read_player, found.players)
    assert np.abs(target).max() == pytest.approx(0.99, abs=1e-3)
    np.testing.assert_allclose(output, target * 0.98 / 4.0, atol=1e-4)
    np.testing.assert_allclose(output - target, difference, atol=1e-4)
    # As loud as the recording, whatever its own level is.
    assert np.std(dry) == pytest.approx(np.std(target), rel=1e-3)


def test_the_blind_comparison_is_level_matched(page: str) -> None:
    found = sounds.excerpt(example_result().recordings[0], 44100.0, 1)
    _, target, output, _ = map(read_player, found.players)
    assert np.std(found.gain * output) == pytest.approx(np.std(target), rel=1e-3)
    assert f'data-gain="{found.gain}"' in page
    for name in re.findall(r'data-(?:target|fitted)="([^"]*)"', page):
        assert page.count(f'id="{name}"') == 1


@pytest.mark.parametrize("second", [2, 30, 58])
def test_an_excerpt_is_short_and_holds_the_worst_second(second: int) -> None:
    rate = 8000
    time = np.arange(60 * rate) / rate
    target = 0.1 * np.sin(2.0 * np.pi * 100.0 * time)
    output = target + np.where((time >= second) & (time < second + 1), 0.05, 0.0)
    recording = replace(example_result().recordings[0], input=target, target=target, output=output)
    found = sounds.excerpt(recording, rate, 1)
    assert found.seconds == sounds.LONGEST
    assert found.begin + found.loop_begin == pytest.approx(second, abs=1e-3)
    assert found.loop_end - found.loop_begin == pytest.approx(1.0)


def test_the_figures_of_a_long_recording_are_small() -> None:
    rate = 8000
    noise = np.random.default_rng(0).standard_normal(300 * rate) * np.linspace(0.01, 1.0, 300 * rate)
    for drawing in (
        figures.over_time(noise, 0.9 * noise, rate),
        figures.over_level(noise, noise, np.tanh(noise), rate),
        figures.worst_second(noise, 0.9 * noise, rate),
        figures.spectrum(noise, 0.9 * noise, rate),
    ):
        assert len(drawing) < 250_000


def test_the_size_of_the_sounds_is_bounded() -> None:
    rate, count = 192_000, 3
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, 10 * rate)
    recording = replace(example_result().recordings[0], input=noise, target=noise, output=0.9 * noise)
    size = sum(len(player.source) for player in sounds.excerpt(recording, rate, count).players)
    assert size == pytest.approx(sounds.TOTAL_BYTES / count, rel=0.01)


def test_a_page_shows_the_worst_recordings_only() -> None:
    result = example_result()
    many = tuple(replace(result.recordings[0], name=f"clip{k}", esr=1e-3 * k) for k in range(7))
    page = render_report(replace(result, recordings=many), Settings())
    assert re.findall(r"<h3>(clip\d)</h3>", page) == ["clip6", "clip5", "clip4"]
    assert "4 more are in the folder" in page


@pytest.mark.parametrize(
    ("changes", "status", "expected", "step"),
    [
        ({}, "good", "every value within its tolerance", "has not seen"),
        ({"esr": 5e-3}, "good", "Close: ", "has not seen"),
        ({"esr": 5e-2}, "doubt", "Rough: ", "has not seen"),
        ({"esr": 0.9}, "bad", "does not explain the recordings", "files belong together"),
        ({"reason": "interrupted"}, "doubt", "before it had converged", "Fit again"),
        ({"esr": 3e-3}, "good", "with the best gain", "has not seen"),
        ({"esr": 0.0}, "good", "ratio of 0", "has not seen"),
        ({"failures": 7}, "good", "Very close", "7 steps of the last simulation"),
        ({"input_level_stderr": 1.5}, "good", "Very close", "Measure the level"),
        ({"identifiability": Identifiability((), (), ())}, "good", "Very close", "has not seen"),
    ],
)
def test_verdicts_and_what_to_do_next(changes: dict[str, object], status: str, expected: str, step: str) -> None:
    result = example_result(**changes)
    assert judgement.status(result) == status
    assert expected in judgement.verdict(result)
    assert any(step in sentence for sentence in judgement.next_steps(result))
    # One sentence.
    assert len(re.findall(r"\.(?:\s|$)", judgement.verdict(result))) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Converged in 2 steps"),
        ({"errors": (0.5, 0.1)}, "Converged in 1 step and"),
        ({"reason": "interrupted"}, "Interrupted after 2 steps"),
        ({"reason": "40 iterations"}, "Stopped after 40 iterations"),
    ],
)
def test_how_the_fit_ended(changes: dict[str, object], expected: str) -> None:
    assert judgement.course(example_result(**changes)).startswith(expected)


def test_a_value_that_has_left_its_tolerance_is_marked() -> None:
    # 10 % of 10 nF; the interval of the first reaches back into the tolerance.
    for capacitance, stderr, outside in ((1.2e-8, 1e-9, False), (1.2e-8, 1e-10, True), (0.8e-8, 1e-10, True)):
        result = example_result(
            values={"R1": 2345.6, "C1": capacitance, "drive": 0.75}, stderr={"R1": 200.0, "C1": stderr, "drive": 1e-3}
        )
        rows = {row.name: row for row in words.value_rows(result)}
        assert rows["C1"].outside is outside
        # A knob has no tolerance.
        assert not rows["drive"].outside
        assert judgement.outside(result) == (["C1"] if outside else [])
        assert ("C1 left its tolerance" in judgement.verdict(result)) is outside
        assert judgement.status(result) == ("doubt" if outside else "good")
        assert ("schematic" in judgement.next_steps(result)[0]) is outside


def test_offset_hum_and_labelled_positions_are_told() -> None:
    recording = replace(example_result().recordings[0], offset=-0.01, hum={50.0: 1e-3, 150.0: 1e-9})
    result = example_result(
        recordings=(replace(recording, knobs={"drive": 0.25}),),
        positions={"drive@a": 0.25},
        positions_stderr={"drive@a": 0.2},
    )
    assert words.recording_rows(result.recordings)[0].disturbance == "offset -40 dB, 50 Hz -60 dB"
    assert words.recording_rows(example_result().recordings)[0].disturbance == "none"
    # The logistic of log(1/3) +- 1.96 * 0.2 / (0.75 * 0.25).
    assert words.positions(result) == ['drive at "a": position 0.250 (0.040 to 0.729 with 95 %).']
    page = render_report(replace(result, held_out=(replace(recording, name="unheard.wav"),)), Settings())
    assert "Knobs: drive 0.25." in page
    assert re.search(r"unheard\.wav <span[^>]*>held out", page)
    assert "has not seen" not in page


def test_the_condition_of_every_signal_is_shown() -> None:
    dry = Condition(peak=0.5, rms=0.1, clipped=0, dc=None, hum=None, noise=None, mains=None)
    wet = Condition(peak=1.0, rms=0.2, clipped=12, dc=0.01, hum=1e-3, noise=1e-4, mains=50.0)
    page = render_report(
        example_result(), Settings(sources=(replace(SOURCES[0], conditions=(dry, wet)), SOURCES[0]))
    )  # fmt: skip
    (table,) = re.findall(r"The signals as they were recorded.*?</table>", page, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)[1:]]
    assert [row[1:] for row in cells] == [
        ["-6.0 dBFS", "no", "-", "-", "-"],
        ["0.0 dBFS", "12", "0.01", "-60.0 dBFS at 50 Hz", "-80.0 dBFS"],
    ]
    assert "The signals as they" not in render_report(example_result(), Settings())


def test_intervals_stay_in_the_range_of_values() -> None:
    result = example_result(stderr={"R1": 20.0, "C1": 1e-8, "drive": 0.2})
    rows = {row.name: row for row in words.value_rows(result)}
    # 2345.6 exp(+-1.96 * 20 / 2345.6); the logistic of log(3) +- 1.96 * 0.2 / (0.75 * 0.25); 11 exp(+-1.96 / 1.1).
    assert rows["R1"].interval == "2.307 kΩ to 2.385 kΩ"
    assert rows["drive"].interval == "0.2705 to 0.9604"
    assert rows["C1"].interval == "1.852 nF to 65.35 nF"
    assert rows["C1"].low < 0.0 < rows["C1"].high


def test_the_page_marks_what_has_left_its_tolerance_what_is_beyond_the_axis_and_what_is_unknown(page: str) -> None:
    assert "⚠" not in page
    assert 'class="beyond' not in page
    result = example_result(
        values={"R1": 2345.6, "C1": 2.0e-8, "drive": 0.75},
        stderr={"R1": float("nan"), "C1": 1e-10, "drive": float("inf")},
        recordings=example_result().recordings[:1],
    )
    rows = {row.name: row for row in words.value_rows(result)}
    assert rows["R1"].interval == rows["drive"].interval == "unknown"
    assert not rows["R1"].outside
    marked = render_report(result, Settings())
    assert marked.count("⚠") == 1
    assert marked.count('class="beyond up"') == 1
    assert "nan%" not in marked
    assert "inf%" not in marked


def test_a_circuit_without_an_operating_point_costs_its_figures_and_not_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ConvergenceError("no operating point <found>")

    monkeypatch.setattr("circuitnn.report.page.level_sweep", fail)
    page = render_report(example_result(), Settings())
    assert "No figures of the circuit&#39;s behaviour: no operating point &lt;found&gt;." in page
    assert "Spectrum in twelfths" in page


def test_what_could_not_be_told_is_said() -> None:
    assert any("could not tell: C1" in sentence for sentence in words.findings(example_result()))
    rows = {row.name: row for row in words.value_rows(example_result())}
    assert not rows["C1"].told
    assert rows["R1"].told
    assert rows["C1"].tolerance == "10 %"
    assert rows["drive"].tolerance == "whole travel"
    sentences = words.findings(example_result())
    assert "Known well: R1 * C1 to 0.14 %." in sentences
    assert "Known badly: R1 * C1^-1 to 43 %." in sentences
    assert "do not tell it" in words.input_level(example_result(input_level_stderr=1.5))
    assert "as given" in words.input_level(example_result(input_level_stderr=0.0))
    doubtful = replace(example_result().recordings[0], confidence=1.01, name="late.wav")
    assert any("late.wav is doubtful" in s for s in judgement.next_steps(example_result(recordings=(doubtful,))))
    assert any(s.startswith("Measure C1 ") for s in judgement.next_steps(example_result()))


def test_what_is_tied_together_is_said() -> None:
    result = example_result()
    found = replace(
        result.identifiability,
        pairs=(Pair(("R1", "C1"), 1, 0.003, (0.043, 0.0412)),),
        measurement=Measurement("R1", 0.01, {"C1": 4.21}),
        scale=("DS.n",),
    )
    result = replace(result, identifiability=found)
    text = " ".join(words.findings(result))
    assert "R1 * C1 is known to 0.3 %, but R1 singly only to 4.3 % and C1 to 4.1 %: measure one of them." in text
    assert "The input level and DS.n can grow together" in text
    (advice,) = [step for step in judgement.next_steps(result) if "One measurement" in step]
    assert "R1 to 1 %" in advice
    assert "C1 (4.2) times" in advice


def test_a_value_far_outside_of_its_tolerance_is_warned_of() -> None:
    result = example_result()
    assert judgement.warning(result) is None
    # The tolerance of R1 is 5 %; four times that, and known to 1 %, is far; not if it is hardly known.
    far = replace(result, values={**result.values, "R1": 2200.0 * 1.22}, stderr={**result.stderr, "R1": 26.0})
    assert "R1 moved by more than 3 times its tolerance" in (judgement.warning(far) or "")
    assert judgement.warning(replace(far, stderr={**far.stderr, "R1": 260.0})) is None


def test_suggestions_are_listed_with_the_option_that_frees_them() -> None:
    result = example_result()
    assert words.suggested(result) == []
    listed, again = words.suggested(replace(result, suggestions=(Suggestion("R2", 1e3, 2e3, 14.2, 0.25, 40.0),)))
    assert "would leave 25 % of the error" in listed
    assert "14 times its tolerance" in listed
    assert again.endswith("--learn R1,C1,drive,R2")
