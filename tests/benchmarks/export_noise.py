"""Noise and silence through everything that is exported: netlists and networks.

    python tests/benchmarks/export_noise.py [NAME ...] [--samples 100000000]

So many samples in all, shared out evenly, in blocks of 64 as a host plays them: white noise of 0.3 V (or of full scale)
rms, and after each half a second of it half a second of silence, in which what is left decays through the smallest
numbers. Printed for each: samples that are not finite; steps without solution and breakdowns; the output's level in the
first and in the last tenth of the noise [dB], which differ if it drifts; nanoseconds a sample in noise and in silence,
the second of which is longer if small numbers are slow; and the longest block in percent of the time that it lasts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from circuitnn.bench import shipped_netlists
from circuitnn.exporting.deployed import BLOCK, Deployed
from circuitnn.exporting.subject import NetworkSubject, Subject
from circuitnn.models.architectures import ARCHITECTURES, build_network
from circuitnn.netlist import read_netlist

RATE, HALF = 44100, 344


def subjects(rate: float) -> dict[str, Callable[[], Subject | NetworkSubject]]:
    """What makes each of them, by name; networks with random values."""
    made: dict[str, Callable[[], Subject | NetworkSubject]] = {
        path.stem: partial(_circuit, path, rate) for path in shipped_netlists()
    }
    return made | {name: partial(_network, name, rate) for name in ARCHITECTURES}


def _circuit(path: Path, rate: float) -> Subject:
    return Subject(path.stem, read_netlist(path), rate, 2)


def _network(name: str, rate: float) -> NetworkSubject:
    torch.manual_seed(0)
    return NetworkSubject(name, build_network(name).eval(), rate)


def play(deployed: Deployed, samples: int) -> str:
    """One row."""
    random, player = np.random.default_rng(7), deployed.player()
    inputs = deployed.program.signals[0]
    powers, taken, broken, worst = list[float](), {True: 0.0, False: 0.0}, 0, 0.0
    halves = max(samples // (HALF * BLOCK), 20) // 2 * 2
    silence = np.zeros((BLOCK, inputs))
    for half in range(halves):
        noisy, power = half % 2 == 0, 0.0
        noise = 0.3 * random.standard_normal((HALF, BLOCK, inputs))
        for block in noise:
            begin = time.thread_time()
            y = player.play(block if noisy else silence)
            seconds = time.thread_time() - begin
            taken[noisy] += seconds
            worst = max(worst, seconds)
            broken += int(np.count_nonzero(~np.isfinite(y)))
            power += float(np.mean(np.square(y - y.mean(0))))
        if noisy:
            powers.append(power / HALF)
    tenth = max(len(powers) // 10, 1)
    levels = [10.0 * np.log10(np.mean(part) + 1e-30) for part in (powers[:tenth], powers[-tenth:])]
    played = halves // 2 * HALF * BLOCK
    times = [1e9 * taken[noisy] / played for noisy in (True, False)]
    row = f"{2 * played:10d} {broken:7d} {player.failures:9d} {levels[0]:8.2f} {levels[1]:8.2f}"
    return f"{row} {times[0]:8.0f} {times[1]:8.0f} {100.0 * worst * RATE / BLOCK:8.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--samples", type=int, default=100_000_000)
    given = parser.parse_args()
    chosen = {name: make for name, make in subjects(RATE).items() if not given.names or name in given.names}
    print(f"{'':22s}   samples not fin. failures  first dB  last dB ns noise ns quiet  worst %")
    for name, make in chosen.items():
        print(f"{name:22s}", play(Deployed(make()), given.samples // len(chosen)), flush=True)


if __name__ == "__main__":
    main()
