"""Makes the figures of the documentation: python docs/make_figures.py"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import circuitnn as cn
from circuitnn.inspection import inspect
from circuitnn.inspection.figures import plot_sheet
from circuitnn.inspection.frequencies import AUDIBLE
from circuitnn.netlist import format_netlist

DOCS = Path(__file__).parent
ORANGE, BLUE, GREY = "#d9730d", "#1f6feb", "#8b949e"


def fit_figure() -> None:
    """docs/images/fit.png: the recording in docs/example, the circuit as drawn and as fitted, and its values."""
    circuit = cn.read_netlist(DOCS.parent / "netlists" / "ts808_clipper.cir")
    recording = cn.Recording.from_wav(DOCS / "example" / "dry.wav", DOCS / "example" / "wet.wav")
    truth = json.loads((DOCS / "example" / "truth.json").read_text())["values"]
    result = cn.fit(cn.CircuitModel(circuit, recording.sample_rate), [recording])
    fitted = result.recordings[0]

    model = cn.CircuitModel(circuit, recording.sample_rate)
    with torch.no_grad():
        volts = torch.as_tensor(result.input_level * recording.dry)[None, :, None]
        drawn = model.render(volts)[0, :, 0].numpy()
    begin = len(recording.dry) - model.latency - 32 - len(fitted.target)
    drawn = drawn[begin : begin + len(fitted.target)]
    drawn *= np.dot(drawn, fitted.target) / np.dot(drawn, drawn)

    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), width_ratios=(1.5, 1.0), layout="constrained")
    middle = int(np.argmax(np.abs(fitted.target)))
    window = slice(middle - 100, middle + 420)
    time = np.arange(520) / recording.sample_rate * 1e3
    left.plot(time, fitted.target[window], color=GREY, lw=4, alpha=0.6, label="recording")
    left.plot(time, drawn[window], color=ORANGE, lw=1.2, ls="--", label="circuit as drawn")
    left.plot(time, fitted.output[window], color=BLUE, lw=1.2, label="circuit as fitted")
    left.set(xlabel="time [ms]", ylabel="digital full scale")
    left.set_title(f"error-to-signal ratio {result.esr:.1e}", loc="left")
    left.legend(frameon=False, loc="lower right")

    # The report advises to measure a value that the recording tells only in products: R4 here.
    measured = cn.parse_netlist(format_netlist(circuit, {"R4": truth["R4"]}))
    others = [name for name in result.values if name != "R4"]
    second = cn.fit(cn.CircuitModel(measured, recording.sample_rate, learn=others), [recording])

    rows = np.arange(len(others))
    right.axvline(0.0, color=ORANGE, ls="--", lw=1.2)
    for found, colour, offset, label in ((result, GREY, -0.13, "fitted"), (second, BLUE, 0.13, "fitted, R4 measured")):
        change = [100.0 * (found.values[n] / result.nominal[n] - 1.0) for n in others]
        error = [100.0 * found.stderr[n] / result.nominal[n] for n in others]
        right.errorbar(change, rows + offset, xerr=error, fmt="o", ms=5, color=colour, capsize=3, label=label)
    right.plot(
        [100.0 * (truth[n] / result.nominal[n] - 1.0) for n in others], rows + 0.13, "x", color="k", ms=8, label="truth"
    )
    right.set(yticks=rows, yticklabels=others, xlabel="change from the drawn value [%]")
    right.invert_yaxis()
    right.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0.0, 1.06))
    figure.savefig(DOCS / "images" / "fit.png", dpi=110)


def report_figure() -> None:
    """docs/images/report.png: the top of the example's report, as Chromium shows it."""
    circuit = cn.read_netlist(DOCS.parent / "netlists" / "ts808_clipper.cir")
    recording = cn.Recording.from_wav(DOCS / "example" / "dry.wav", DOCS / "example" / "wet.wav")
    result = cn.fit(cn.CircuitModel(circuit, recording.sample_rate), [recording])
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("the picture of the report needs chromium or google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        result.save(folder)
        picture = f"--screenshot={DOCS / 'images' / 'report.png'}"
        page = (Path(folder) / "report.html").as_uri()
        size = "--window-size=1100,1790"
        subprocess.run([browser, "--headless", "--no-sandbox", "--hide-scrollbars", size, picture, page], check=True)


def inspect_figure() -> None:
    """docs/images/inspect.png: what `circuitnn inspect netlists/ts808.cir --plot` draws."""
    plot_sheet(
        inspect(cn.read_netlist(DOCS.parent / "netlists" / "ts808.cir")), DOCS / "images" / "inspect.png", *AUDIBLE
    )


if __name__ == "__main__":
    inspect_figure()
    fit_figure()
    report_figure()
