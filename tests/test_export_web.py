"""The exported page in a headless browser, opened from its file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from circuitnn.circuit import Circuit
from circuitnn.errors import CompilerError
from circuitnn.exporting import export_subject
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.models.architectures import build_network
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import parse_netlist, read_netlist

NETLISTS = Path(__file__).parents[1] / "netlists"
RATE, LEVEL, GAIN = 48000, 0.7, 0.2
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def circuit() -> Circuit:
    """With a title that would end the page's script and begin another."""
    text = (NETLISTS / "ts808_clipper.cir").read_text().split("\n", 1)[1]
    return parse_netlist(f"</script><script>throw 1 & '\n{text}")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ziglang")
    path = tmp_path_factory.mktemp("page") / "clipper.html"
    export_subject(Subject("clipper", circuit(), RATE, 4, input_level=LEVEL, output_gain=GAIN), "web", path)
    return path


# Reports errors from the first line on, and at the end what the page's own functions give.
WATCH = """<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("securitypolicyviolation", event => errors.push(`policy: ${event.violatedDirective}`));
</script>"""
ASK = """<script>
(async () => {
  const samples = Float32Array.from({ length: 4800 }, (_, n) => 0.5 * Math.sin(0.06 * n));
  const found = { still: Array.from(await render(samples, %(rate)d)), response: Array.from(response()) };
  element("knobs").querySelector("input").value = 0.9;
  element("knobs").querySelector("input").dispatchEvent(new Event("input"));
  found.turned = Array.from(await render(samples, %(rate)d));
  %(more)s
  element("bypass").click();
  found.bypassed = Array.from(await render(samples, %(rate)d));
  return found;
})().catch(error => ({ failed: String(error) })).then(found =>
  fetch("http://127.0.0.1:%(port)d", { method: "POST", mode: "no-cors", body: JSON.stringify({ ...found, errors }) }));
</script>"""


# What is asked beside that of a page that compares two models.
COMPARE = """
  found.other = Array.from(await render(samples, %(rate)d, model.against));
  found.match = await match(samples, %(rate)d);
  element("bypass").click();
  found.matchOfBypassed = await match(samples, %(rate)d);
  element("bypass").click();
  element("other").click();
  found.heard = [heard, element("other").getAttribute("aria-pressed")];
"""


def answer(page: Path, folder: Path, more: str = "") -> dict[str, Any]:
    """What the page finds out about itself in a browser; only the report leaves it."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        text = page.read_text().replace("default-src 'none';", f"default-src 'none'; connect-src {_address(server)};")
        ask = ASK % {"port": server.server_port, "rate": RATE, "more": more % {"rate": RATE}}
        (folder / "asked.html").write_text(
            text.replace("<style>", f"{WATCH}<style>", 1).replace("</body>", f"{ask}</body>")
        )
        server.timeout = 60
        waiting = threading.Thread(target=server.handle_request)
        waiting.start()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        with subprocess.Popen(
            [str(BROWSER), *flags, f"--user-data-dir={folder}/profile", (folder / "asked.html").as_uri()],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as browser:  # fmt: skip
            waiting.join()
            browser.terminate()
    found: dict[str, Any] = json.loads(received[0])
    return found


def _address(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def played(drive: float) -> np.ndarray:
    samples = (0.5 * np.sin(0.06 * np.arange(4800))).astype(np.float32).astype(float)
    model = CircuitModel(circuit(), RATE, 4, [])
    with torch.no_grad():
        return GAIN * model(torch.as_tensor(LEVEL * samples)[None, :, None], knobs={"drive": drive})[0][0, :, 0].numpy()


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_the_page_plays_what_python_plays(page: Path, tmp_path: Path) -> None:
    found = answer(page, tmp_path)
    assert "failed" not in found, found["failed"]
    assert found["errors"] == []
    expected = played(0.5)
    assert np.abs(np.array(found["still"]) - expected).max() < 1e-6 * np.abs(expected).max()
    turned = played(0.9)
    assert np.abs(np.array(found["turned"]) - turned).max() < 1e-6 * np.abs(turned).max()
    # Bypassed: what went in, late.
    assert np.abs(np.array(found["bypassed"])[64:] - 0.5 * np.sin(0.06 * np.arange(4800 - 64))).max() < 1e-6
    # The plotted response: of a small sine at 1 kHz, against a simulation.
    model = CircuitModel(circuit(), RATE, 4, [])
    n = np.arange(9600)
    with torch.no_grad():
        y = model(torch.as_tensor(LEVEL * 1e-4 * np.sin(2 * np.pi * 1500.0 / RATE * n))[None, :, None])[0][0, -4800:, 0]
    gain = GAIN * np.abs(np.sum(y.numpy() * np.exp(-2j * np.pi * 1500.0 / RATE * n[-4800:]))) / 2400.0 / 1e-4
    assert found["response"][512] == pytest.approx(20.0 * np.log10(gain), abs=0.05)


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_a_network_plays_in_a_page_too(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    torch.manual_seed(0)
    network = build_network("wavenet-2", ("drive",)).eval()
    other = Subject("clipper", circuit(), RATE, 4, input_level=LEVEL, output_gain=GAIN)
    export_subject(NetworkSubject("net", network, RATE), "web", tmp_path / "net.html", other)
    found = answer(tmp_path / "net.html", tmp_path, COMPARE)
    assert "failed" not in found, found["failed"]
    assert found["errors"] == []
    samples = torch.tensor(0.5 * np.sin(0.06 * np.arange(4800)), dtype=torch.float32)[None, :, None]
    for key, drive in (("still", 0.5), ("turned", 0.9)):
        with torch.no_grad():
            expected = network(samples, knobs={"drive": drive})[0][0, :, 0].numpy()
        assert np.abs(np.array(found[key]) - expected).max() < 2e-6 * np.abs(expected).max()
    # Beside it the circuit, whose knob of the same name is turned with it, and by how much it is to be louder.
    clipped = played(0.9)
    assert np.abs(np.array(found["other"]) - clipped).max() < 1e-6 * np.abs(clipped).max()
    assert found["match"] == pytest.approx(np.std(expected) / np.std(clipped), rel=1e-4)
    # It is the models that are compared, bypassed or not.
    assert found["matchOfBypassed"] == found["match"]
    assert found["heard"] == [1, "true"]
    # Without latency.
    assert np.abs(np.array(found["bypassed"]) - samples[0, :, 0].numpy()).max() < 1e-6
    assert np.isfinite(found["response"]).all()


# Turned while it plays: the message is sent where the rendering waits for it, half-way.
TURNED = """
  const context = new OfflineAudioContext(1, 9600, %(rate)d);
  const oscillator = new OscillatorNode(context, { frequency: 1500 });
  const node = await addModel(context, model, 1);
  oscillator.connect(node).connect(context.destination);
  oscillator.start();
  context.suspend(4800 / %(rate)d).then(() => {
    node.port.postMessage({ knob: 0, position: 0.1 });
    setTimeout(() => context.resume(), 300);
  });
  found.inFlight = Array.from((await context.startRendering()).getChannelData(0));
"""


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
def test_the_knob_of_a_capacitor_is_heard(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    swept = parse_netlist(
        "swept\n.param size=0.5\nVin in 0 0\nR1 in out 10k\nC1 out 0 {10n + 90n*size}\n"
        "*@ input Vin\n*@ output out\n*@ knob size\n.end\n"
    )
    export_subject(Subject("swept", swept, RATE), "web", tmp_path / "swept.html")
    found = answer(tmp_path / "swept.html", tmp_path, TURNED)
    assert "failed" not in found, found["failed"]
    assert found["errors"] == []
    # At 0.9 half-way, and then at 0.1: a low-pass of the first order.
    for part, size in ((slice(3200, 4800), 0.9), (slice(8000, 9600), 0.1)):
        heard = np.array(found["inFlight"])[part]
        gain = 1.0 / np.hypot(1.0, 2.0 * np.pi * 1500.0 * 10e3 * (10e-9 + 90e-9 * size))
        assert np.sqrt(2.0) * np.std(heard) == pytest.approx(gain, rel=1e-3)


def test_a_page_loads_nothing_from_elsewhere(page: Path) -> None:
    text = page.read_text()
    assert "default-src 'none'" in text
    assert "https:" not in text
    assert "http:" not in text
    assert text.count("<script") == 2
    assert "<title>&lt;/script&gt;" in text


def test_without_a_compiler_for_webassembly_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ziglang", None)
    subject = Subject("rc", read_netlist(NETLISTS / "rc_lowpass.cir"))
    with pytest.raises(CompilerError, match="ziglang"):
        export_subject(subject, "web", tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
