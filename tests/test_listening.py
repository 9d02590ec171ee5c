"""The listening test: what is in the page, and a listener in a headless browser who rates, reloads and saves."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import welch

from circuitnn import Recording
from circuitnn.comparison import of_rendering
from circuitnn.excitation import chord
from circuitnn.loudness import loudness
from circuitnn.report import listening

RATE = 22050
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
         "--autoplay-policy=no-user-gesture-required"]  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    """Two excerpts; one model that clips and is called as another sound, and one whose name would end the script."""
    recordings, contenders = [], []
    for k in range(2):
        dry = np.tanh(5.0 * chord((110.0 * (k + 1), 164.8, 220.0), 1.5, RATE))
        recordings.append(Recording(dry, 0.3 * dry, RATE, name=f"riff {k}", delay=0.0))
    for name, shape in (("reference", np.tanh), ("</script><b>", lambda x: 0.1 * x)):
        rows = [of_rendering(name, shape(one.wet), one) for one in recordings]
        contenders.append(rows[0].__class__(**{**vars(rows[0]), "evaluations": tuple(r.evaluations[0] for r in rows)}))
    return listening.render_listening(contenders, recordings)


def trials(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: list[dict[str, Any]] = json.loads(found.group(1))
    return data


def samples(condition: dict[str, Any]) -> np.ndarray:
    encoded = condition["source"].removeprefix("data:audio/wav;base64,")
    found, rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    assert rate == RATE
    return np.asarray(found)


def test_every_sound_is_there_and_equally_loud(page: str) -> None:
    for trial in trials(page):
        assert [one["role"] for one in trial["conditions"]] == ["reference", "anchor", "model", "model"]
        names = sorted(one["name"] for one in trial["conditions"])
        assert names == ["</script><b>", "anchor", "reference", "reference"]
        levels = [loudness(samples(one), RATE) for one in trial["conditions"]]
        np.testing.assert_allclose(levels, levels[0], atol=0.05)
        assert max(np.abs(samples(one)).max() for one in trial["conditions"]) <= 0.991


def test_the_anchor_is_dull(page: str) -> None:
    reference, anchor = (samples(one) for one in trials(page)[0]["conditions"][:2])
    frequency, power = welch(reference, RATE)
    _, dull = welch(anchor, RATE)
    ratio = 10.0 * np.log10(dull / power)
    low, high = (frequency > 100.0) & (frequency < 2500.0), (frequency > 5000.0) & (frequency < 7000.0)
    assert np.median(ratio[low]) - np.median(ratio[high]) > 20.0


def test_the_page_is_bounded_and_loads_nothing(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|@import|<link|src=", page)
    assert page.count("</script>") == 2
    monkeypatch.setattr(listening, "TOTAL_BYTES", 100_000)
    wet = 0.1 * np.random.default_rng(0).standard_normal(10 * RATE)
    long = Recording(wet, wet, RATE, name="noise", delay=0.0)
    small = listening.render_listening([of_rendering("model", wet, long)], [long])
    assert 90_000 < sum(len(one["source"]) for one in trials(small)[0]["conditions"]) < 101_000


WATCH = """<script>
const failures = [];
addEventListener("error", event => failures.push(String(event.message)));
addEventListener("unhandledrejection", event => failures.push(String(event.reason)));
addEventListener("securitypolicyviolation", event => failures.push(`policy: ${event.violatedDirective}`));
</script>"""
TELL = """<script>
(async () => { %s })().catch(error => ({ failed: String(error) })).then(found =>
  fetch("http://127.0.0.1:%d", { method: "POST", mode: "no-cors", body: JSON.stringify({ ...found, failures }) }));
</script>"""
RATE_ALL = """
  const rate = (place, score) => {
    const slider = byId("conditions").children[place].querySelector("input");
    slider.value = score;
    slider.dispatchEvent(new Event("input"));
  };
  const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const orders = [], playing = {};
  const early = byId("finish").disabled;
  press("2");
  const second = here().order[1];
  playing.pressed = document.querySelector("[aria-pressed=true]").dataset.play;
  playing.focused = byId("conditions").children[1].querySelector("input") === document.activeElement;
  const heard = await voices;
  await new Promise(done => setTimeout(done, 200));
  playing.gains = heard.map(({ volume }, c) => Math.round(volume.gain.value) === Number(c === second));
  byId("from").value = 0.5;
  byId("from").dispatchEvent(new Event("input"));
  await voices;
  playing.loop = heard.map(({ source }) => source.loopStart);
  byId("from").value = byId("to").value = trials[0].seconds;
  byId("from").dispatchEvent(new Event("input"));
  playing.shortest = here().loop[1] - here().loop[0];
  press("r");
  await new Promise(done => setTimeout(done, 200));
  playing.reference = heard.map(({ volume }) => Math.round(volume.gain.value));
  press(" ");
  playing.stopped = voices === null;
  for (const trial of [0, 1]) {
    orders.push([...here().order]);
    here().order.forEach((c, place) => rate(place, 10 * c + trial));
    if (trial === 0) byId("next").click();
  }
  return { early, orders, playing, finish: byId("finish").disabled };
"""
FINISH = """
  const before = structuredClone(state);
  byId("finish").click();
  const fetched = byId("json").href.startsWith("blob:") && byId("csv").href.startsWith("blob:");
  const found = { before, fetched, results: results(), csv: csv(), table: byId("result-body").innerText,
    screening: byId("screening").textContent, hidden: byId("trial").hidden };
  byId("again").click();
  return { ...found, again: state.trials.flatMap(({ scores }) => scores) };
"""


def visit(page: str, script: str, folder: Path) -> dict[str, Any]:
    """What a script finds on the page in a browser that keeps its profile."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        text = page.replace(
            "default-src 'none';", f"default-src 'none'; connect-src http://127.0.0.1:{server.server_port};"
        )
        text = text.replace("<style>", f"{WATCH}<style>", 1)
        (folder / "asked.html").write_text(text.replace("</body>", TELL % (script, server.server_port) + "</body>"))
        server.timeout = 60
        waiting = threading.Thread(target=server.handle_request)
        waiting.start()
        with subprocess.Popen(
            [str(BROWSER), *FLAGS, f"--user-data-dir={folder}/profile", (folder / "asked.html").as_uri()],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as browser:  # fmt: skip
            waiting.join()
            browser.terminate()
    found: dict[str, Any] = json.loads(received[0])
    assert "failed" not in found, found["failed"]
    assert found["failures"] == []
    return found


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_a_listener_rates_reloads_and_saves(page: str, tmp_path: Path) -> None:
    found = visit(page, RATE_ALL, tmp_path)
    assert found["early"] is True
    assert found["finish"] is False
    assert all(sorted(order) == [0, 1, 2, 3] for order in found["orders"])
    playing = found["playing"]
    assert (playing["pressed"], playing["focused"], playing["stopped"]) == ("1", True, True)
    assert playing["gains"] == [True] * 4
    assert playing["loop"] == [0.5] * 4
    assert playing["shortest"] == pytest.approx(0.1, abs=1e-9)
    assert playing["reference"] == [1, 0, 0, 0]
    # A reload: order and scores are what they were.
    later = visit(page, FINISH, tmp_path)
    assert [one["order"] for one in later["before"]["trials"]] == found["orders"]
    assert [one["scores"] for one in later["before"]["trials"]] == [[0, 10, 20, 30], [1, 11, 21, 31]]
    scores = {(row["recording"], row["name"]): row["score"] for row in later["results"]["scores"]}
    assert scores[("riff 1", "</script><b>")] == 31
    for row in later["results"]["scores"]:
        trial = int(row["recording"].removeprefix("riff "))
        assert found["orders"][trial][row["position"] - 1] == row["score"] // 10
    assert later["csv"].splitlines()[0] == '"recording","name","role","score","position"'
    assert len(later["csv"].splitlines()) == 9
    assert later["fetched"]
    assert later["hidden"]
    assert all(f"\t{mean}" in later["table"] for mean in (30.5, 20.5, 10.5, 0.5))
    assert "less than 90 in 2 of 2" in later["screening"]
    assert later["again"] == [None] * 8
