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
from test_runs import SOURCES, example_result

from circuitnn.fitting.result import Settings
from circuitnn.report import words
from circuitnn.report.figures import worst_moment
from circuitnn.report.page import SHOWN, render_report


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(example_result(), Settings(fixed=("tone=0.3",), sources=SOURCES))


def test_the_verdict_comes_first_and_every_section_is_there(page: str) -> None:
    assert page.index("Very close") < page.index("<h2>")
    for heading in (
        "Values",
        "What the recordings told",
        "Levels and delays",
        "See and hear",
        "Convergence",
        "Settings",
    ):
        assert f"<h2>{heading}</h2>" in page
    for text in ("2.346 kΩ", "2.2 kΩ", "+6.6 %", "inverted", "tone=0.3", "dry2.wav", "3.25 samples"):
        assert text in page


def test_nothing_comes_from_outside(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"https?://|@import|<script|<link|url\((?!#)", page)


def test_names_cannot_smuggle_markup_in(page: str) -> None:
    assert "&lt;script&gt;wet.wav" in page
    assert "Clipper &lt;b&gt; &amp; sons" in page


def test_the_page_is_well_formed(page: str) -> None:
    class Checker(HTMLParser):
        VOID = ("meta", "br", "img")

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


def test_sounds_are_playable_and_share_one_scale() -> None:
    result = example_result()
    loud = replace(result.recordings[0], target=4.0 * result.recordings[0].target)
    page = render_report(replace(result, recordings=(loud,)), Settings())
    uris = re.findall(r'src="data:audio/wav;base64,([^"]*)"', page)
    assert len(uris) == 3
    target, output, difference = (soundfile.read(io.BytesIO(base64.b64decode(uri)))[0] for uri in uris)
    assert np.abs(target).max() == pytest.approx(0.99 / 2.0 * 2.0, abs=0.01)
    np.testing.assert_allclose(output - target, difference, atol=1e-4)


def test_a_page_shows_the_worst_recordings_only() -> None:
    result = example_result()
    many = tuple(replace(result.recordings[0], name=f"clip{k}", esr=1e-3 * k) for k in range(7))
    page = render_report(replace(result, recordings=many), Settings())
    assert re.findall(r"<h3>(clip\d)</h3>", page) == ["clip6", "clip5", "clip4", "clip3"][:SHOWN]
    assert "3 more are in the folder" in page


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"esr": 5e-3}, "Close: "),
        ({"esr": 0.9}, "does not explain the recordings"),
        ({"reason": "interrupted"}, "Interrupted after 2 steps"),
        ({"reason": "40 iterations"}, "Stopped after 40 iterations"),
        ({"esr": 3e-3}, "with the best gain"),
        ({"esr": 0.0}, "ratio of 0"),
    ],
)
def test_verdicts(changes: dict[str, object], expected: str) -> None:
    assert expected in words.verdict(example_result(**changes))


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
    assert any("late.wav is doubtful" in s for s in words.findings(example_result(recordings=(doubtful,))))


def test_the_worst_moment_is_found() -> None:
    target, output = np.zeros(44100), np.zeros(44100)
    output[30000:30100] = 0.1
    begin, end = worst_moment(target, output, 44100.0)
    assert end - begin == 882
    assert begin <= 30000
    assert end >= 30100
