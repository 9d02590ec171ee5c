"""Makes the reference data with ngspice: `python tests/reference/generate.py`. README.md says what and how."""

from __future__ import annotations

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from scipy.io import wavfile
from scipy.signal import firwin, upfirdn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import ngspice  # noqa: E402

from reference.signals import EXAMPLE, PHRASE, SAMPLE_RATE, SHORT, FloatArray, Performance, guitar, times  # noqa: E402

NETLISTS = HERE.parents[1] / "netlists"
EXAMPLE_FOLDER = HERE.parents[1] / "docs" / "example"

# Peak of the dry signal in volts, hot enough that every diode clips hard.
PEAKS = {
    "rc_lowpass": 1.0,
    "diode_clipper": 3.0,
    "series_diode_clipper": 4.0,
    "fmv_tone_stack": 1.0,
    "ts808_clipper": 0.3,
    "ts808": 0.3,
    "big_muff": 0.1,
    "tube_preamp": 0.5,
}
# Netlists with recordings for fits; the others have accuracy data only.
RECOVERED = tuple(PEAKS)[:6]
# Where ngspice's Newton iteration does not reach the usual 1e-10 V: four stages of high gain in a row.
VOLTAGE_TOLERANCES = {"big_muff": 1e-8}
OVERSAMPLE = 64  # time steps per sample in the accuracy data; checked against twice as many
STORED_OVERSAMPLE = 4
RECOVERY_OVERSAMPLE = 32
SPREAD = 0.2  # relative drift of parts; the emission coefficient hardly varies from diode to diode, so it gets less
EMISSION_SPREAD = 0.05
KNOB_MOVE = 0.1
MARGIN = 0.01  # seconds simulated beyond the end, for the decimation filter

EXAMPLE_DRY_VOLTS = 0.5  # volts at digital full scale
EXAMPLE_WET_VOLTS = 1.7
EXAMPLE_DELAY = 23  # samples
EXAMPLE_NOISE_DB = -60.0  # rms, relative to the wet signal

SUFFIXES = {"meg": 1e6, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "": 1.0}


def simulate(netlist: str, source: FloatArray, rate: float, vntol: float = 1e-10) -> FloatArray:
    """The output [V] of a netlist for a source [V] on a grid of that rate [Hz], one trapezoidal step per point."""
    return ngspice.transient(netlist, source, rate, vntol=vntol).outputs["v(out)"]


def decimate(fine: FloatArray, factor: int) -> FloatArray:
    """Every factor-th sample after a linear-phase low-pass (flat to 20 kHz, -120 dB at 22.05 kHz), no delay."""
    half = 90 * factor
    taps = firwin(2 * half + 1, 21025.0, window=("kaiser", 12.3), fs=SAMPLE_RATE * factor)
    padded = np.concatenate([np.full(half, fine[0]), fine, np.full(half, fine[-1])])
    filtered = upfirdn(taps, padded, down=factor)
    return filtered[2 * half // factor :][: fine.size // factor]


def learnables(netlist: str) -> list[str]:
    """The names on the `*@ learn` cards."""
    words = " ".join(re.findall(r"^\*@ learn\s+(.*)$", netlist, flags=re.MULTILINE)).split()
    return [word for word in words if "=" not in word]


def knobs(netlist: str) -> list[str]:
    return re.findall(r"^\*@ knob\s+(\S+)", netlist, flags=re.MULTILINE)


def _locate(netlist: str, name: str) -> re.Match[str]:
    """The number that belongs to an element, a MODEL.parameter or a .param."""
    model, _, key = name.partition(".")
    patterns = (
        [rf"^\.model\s+{model}\s.*?\b{key}\s*=\s*([^\s)]+)"]
        if key
        else [rf"^{name}\s+\S+\s+\S+\s+([^\s{{]+)", rf"^\.param\b.*?\b{name}\s*=\s*(\S+)"]
    )
    for pattern in patterns:
        if match := re.search(pattern, netlist, flags=re.MULTILINE | re.IGNORECASE):
            return match
    raise KeyError(name)


def _number(text: str) -> float:
    value, suffix = re.fullmatch(r"([-+.\deE]*\d|\d*\.)([a-z]*)", text, flags=re.IGNORECASE).groups()
    return float(value) * SUFFIXES[suffix.lower()]


def drift(netlist: str, seed: int) -> tuple[str, dict[str, float]]:
    """The netlist with every learnable value changed at random, and the new values in SI units."""
    rng = np.random.default_rng(seed)
    truth = {}
    for name in learnables(netlist):
        match = _locate(netlist, name)
        nominal, random = _number(match[1]), rng.uniform(-1.0, 1.0)
        if name in knobs(netlist):
            value = nominal + KNOB_MOVE * random
        else:
            value = nominal * (1.0 + (EMISSION_SPREAD if name.endswith(".n") else SPREAD) * random)
        truth[name] = float(f"{value:.6g}")
        netlist = f"{netlist[: match.start(1)]}{truth[name]!r}{netlist[match.end(1) :]}"
    return netlist, truth


def read(name: str) -> str:
    return (NETLISTS / f"{name}.cir").read_text()


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def accuracy(name: str) -> tuple[FloatArray, float]:
    """The output at twice OVERSAMPLE on the stored grid, and how much the last halving of the step changed it [dB]."""
    outputs = []
    for oversample in (OVERSAMPLE, 2 * OVERSAMPLE):
        rate = SAMPLE_RATE * oversample
        source = PEAKS[name] * guitar(SHORT, times(SHORT, rate))
        fine = simulate(read(name), source, rate, VOLTAGE_TOLERANCES.get(name, 1e-10))
        outputs.append(fine[:: oversample // STORED_OVERSAMPLE])
    coarse, fine = outputs
    return fine, float(20.0 * np.log10(np.linalg.norm(coarse - fine) / np.linalg.norm(fine)))


def render(name: str, performance: Performance, peak: float, seed: int) -> tuple[FloatArray, dict[str, float]]:
    """A drifted netlist's output [V] at 44.1 kHz, and its values."""
    netlist, truth = drift(read(name), seed)
    rate = SAMPLE_RATE * RECOVERY_OVERSAMPLE
    fine = simulate(netlist, peak * guitar(performance, times(performance, rate, MARGIN)), rate)
    return decimate(fine, RECOVERY_OVERSAMPLE)[: round(performance.duration * SAMPLE_RATE)], truth


def make_accuracy(pool: ThreadPoolExecutor) -> None:
    results = dict(zip(PEAKS, pool.map(accuracy, PEAKS), strict=True))
    np.savez_compressed(HERE / "accuracy.npz", **{name: output for name, (output, _) in results.items()})
    settings = {
        name: {"input_peak": PEAKS[name], "step_halving_change_db": round(change, 1)}
        for name, (_, change) in results.items()
    }
    write_json(
        HERE / "accuracy.json",
        {"ngspice": ngspice.version(), "stored_oversample": STORED_OVERSAMPLE, "netlists": settings},
    )


def make_recovery(pool: ThreadPoolExecutor) -> None:
    folder = HERE / "recovery"
    folder.mkdir(exist_ok=True)
    seeds = {name: 100 + index for index, name in enumerate(RECOVERED)}
    results = pool.map(lambda name: render(name, PHRASE, PEAKS[name], seeds[name]), RECOVERED)
    # Not soundfile: it stamps the time into floating-point files, and these shall come out alike every time.
    wavfile.write(folder / "dry.wav", SAMPLE_RATE, guitar(PHRASE, times(PHRASE, SAMPLE_RATE)).astype(np.float32))
    truth = {}
    for name, (wet, values) in zip(RECOVERED, results, strict=True):
        wavfile.write(folder / f"{name}.wav", SAMPLE_RATE, wet.astype(np.float32))
        truth[name] = {"input_peak": PEAKS[name], "seed": seeds[name], "values": values}
    write_json(folder / "truth.json", {"ngspice": ngspice.version(), "netlists": truth})


def make_example() -> None:
    """A recording as an interface would give it: own input and output gain, latency, noise, 24 bit."""
    seed, peak = 200, 0.8  # of digital full scale
    wet, values = render("ts808_clipper", EXAMPLE, peak * EXAMPLE_DRY_VOLTS, seed)
    noise = np.random.default_rng(seed).standard_normal(wet.size)
    noise *= np.sqrt(np.mean(wet**2)) * 10.0 ** (EXAMPLE_NOISE_DB / 20.0)
    delayed = np.concatenate([np.full(EXAMPLE_DELAY, wet[0]), wet[:-EXAMPLE_DELAY]])
    EXAMPLE_FOLDER.mkdir(exist_ok=True)
    dry = peak * guitar(EXAMPLE, times(EXAMPLE, SAMPLE_RATE))
    for name, signal in {"dry": dry, "wet": (delayed + noise) / EXAMPLE_WET_VOLTS}.items():
        if np.abs(signal).max() >= 1.0:
            raise ValueError(f"{name} exceeds digital full scale")
        soundfile.write(EXAMPLE_FOLDER / f"{name}.wav", signal, SAMPLE_RATE, subtype="PCM_24")
    write_json(
        EXAMPLE_FOLDER / "truth.json",
        {
            "netlist": "netlists/ts808_clipper.cir",
            "values": values,
            "dry_volts_at_full_scale": EXAMPLE_DRY_VOLTS,
            "wet_volts_at_full_scale": EXAMPLE_WET_VOLTS,
            "delay_samples": EXAMPLE_DELAY,
            "noise_db_relative_to_wet": EXAMPLE_NOISE_DB,
            "seed": seed,
            "ngspice": ngspice.version(),
        },
    )


def main() -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        example = pool.submit(make_example)
        make_accuracy(pool)
        make_recovery(pool)
        example.result()


if __name__ == "__main__":
    main()
