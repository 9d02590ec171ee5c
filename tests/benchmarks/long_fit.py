"""A fit to minutes of audio: time and peak memory over length, at 4 times oversampling, with 25 unknowns.

    python tests/benchmarks/long_fit.py [--minutes 1,3,10] [--iterations 40]

The Tube Screamer with drifted values, recorded with noise and an offset; each length in a process of its own. The
target: 10 minutes in 1.5 GB and 10 minutes on two cores, both linear in length.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from common import NETLISTS

from circuitnn import Circuit, CircuitModel, Recording, fit, parse_netlist, read_netlist
from circuitnn.excitation import chord, plucked_string
from circuitnn.learnables import coordinates
from circuitnn.netlist import format_netlist
from circuitnn.rendering import render

RATE, LEVEL, UNKNOWNS = 44100, 0.8, 25
# What drifts, in parts of its value.
DRIFT = {"R4": 1.05, "C3": 0.93, "C4": 0.9, "C2": 1.06, "C7": 0.94, "C8": 1.05, "drive": 0.8}


def playing(minutes: float) -> np.ndarray:
    """Notes and chords [time], each 1.5 s long and at its own level, with a peak of 1."""
    rng = np.random.default_rng(0)
    roots = 82.41 * 2.0 ** (np.array([0, 3, 5, 7, 8, 10, 12, 15, 17, 24]) / 12.0)
    sounds = [plucked_string(f, 1.5, RATE) for f in roots] + [chord((f, 1.5 * f, 2.0 * f), 1.5, RATE) for f in roots]
    order = rng.integers(len(sounds), size=int(np.ceil(minutes * 40.0)))
    signal = np.concatenate([sounds[k] * 10.0 ** rng.uniform(-1.0, 0.0) for k in order])[: round(minutes * 60.0 * RATE)]
    return np.asarray(signal / np.abs(signal).max())


def learned(nominal: Circuit) -> tuple[dict[str, float], list[str]]:
    """The netlist's values, and the names of those that are learned: one unknown is the input level."""
    literals = {c.name: c.nominal for c in coordinates(nominal, "all")}
    marked = [c.name for c in coordinates(nominal, "marked")]
    return literals, [*marked, *(name for name in literals if name not in marked)][: UNKNOWNS - 1]


def record(minutes: float, folder: str) -> None:
    """Write what is played, and what the device with drifted values makes of it."""
    nominal = read_netlist(NETLISTS / "ts808.cir")
    literals, _ = learned(nominal)
    device = parse_netlist(format_netlist(nominal, {name: factor * literals[name] for name, factor in DRIFT.items()}))
    dry = playing(minutes)
    wet = render(CircuitModel(device, RATE, 4, learn=[]), dry, LEVEL).output
    wet *= 0.5
    for part in np.array_split(wet, 60):
        part += 3e-4 * np.random.default_rng(len(part)).standard_normal(len(part)) + 1e-3
    np.save(f"{folder}/dry.npy", dry)
    np.save(f"{folder}/wet.npy", wet)


def measure(minutes: float, iterations: int) -> None:
    """Fit a recording of that length and print one row."""
    nominal = read_netlist(NETLISTS / "ts808.cir")
    _, learn = learned(nominal)
    with tempfile.TemporaryDirectory() as folder:
        # Elsewhere, so that the memory below is the fit's.
        recorder = multiprocessing.get_context("spawn").Process(target=record, args=(minutes, folder))
        recorder.start()
        recorder.join()
        dry, wet = (np.load(f"{folder}/{name}.npy") for name in ("dry", "wet"))
    stages: list[tuple[str, float, float]] = []
    began, began_cpu = time.perf_counter(), time.process_time()
    result = fit(
        CircuitModel(nominal, RATE, 4, learn=learn), [Recording(dry, wet, RATE)], max_iterations=iterations,
        progress=lambda stage, *_: stages.append((stage, time.perf_counter(), time.process_time())),
    )  # fmt: skip
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    whole = np.array([clocks for stage, *clocks in stages if stage == "fit"])
    each, each_cpu = np.diff(whole, axis=0).min(0) if len(whole) > 1 else (float("nan"), float("nan"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{minutes:4g} min  {len(learn) + 1} unknowns  {seconds:6.0f} s in all ({cpu:.0f} s of processor)  "
        f"{each:6.1f} s an evaluation ({each_cpu:.1f} s of processor)  "
        f"{memory:5.2f} GiB  ESR {result.esr:.2g}  {result.reason}, {len(result.errors) - 1} steps"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", default="1,3,10")
    parser.add_argument("--iterations", type=int, default=40)
    options = parser.parse_args()
    lengths = [float(minutes) for minutes in options.minutes.split(",")]
    if len(lengths) == 1:
        measure(lengths[0], options.iterations)
        return
    for minutes in lengths:
        arguments = ["--minutes", f"{minutes:g}", "--iterations", str(options.iterations)]
        subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    main()
