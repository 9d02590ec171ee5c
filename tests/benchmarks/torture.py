"""Long runs that look for samples without solution: every netlist, knobs anywhere, inputs that no guitar makes.

    python tests/benchmarks/torture.py [--steps 1e8] [--seed 0] [--single] [--json] [NETLIST.cir ...]

Steps are shared out evenly among the netlists and run in blocks of at most a second. Blocks go through all
combinations of input, sample rate (44.1 and 192 kHz, no oversampling) and batch (one recording, or LANES side by side,
the first at full level and the others anywhere below). Every block has new knob positions, one in three at an end of
its travel, and goes on from the state that the last one left, or, one in four, starts at rest.

Rescued is a step that needed the continuation and was solved by it; failed, one that was not. The exit code is 1 if
any output is not finite. --single runs the header's core in single precision, as programs that include it may.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from circuitnn.bench import guitar_like, shipped_netlists
from circuitnn.errors import CircuitnnError
from circuitnn.kernel import BINS, HISTOGRAM, LANES, LISTED, PLACES, CompiledKernel
from circuitnn.models.circuit_model import CircuitModel, CircuitState
from circuitnn.netlist import read_netlist
from circuitnn.runtime.compiler import compile_library

RATES = (44100.0, 192000.0)
SECONDS = 1.0
# Volt: what no interface puts out, but what a netlist whose supply is 9 V must survive.
FULL = 20.0
Signal = NDArray[np.float64]
Maker = Callable[[int, float, np.random.Generator], Signal]


def square(steps: int, rate: float, random: np.random.Generator) -> Signal:
    frequency = 2.0 ** random.uniform(4.0, 13.0)
    return FULL * np.where(np.arange(steps) * frequency / rate % 1.0 < 0.5, 1.0, -1.0)


def impulses(steps: int, rate: float, random: np.random.Generator) -> Signal:
    """Single samples, about 50 a second."""
    signal = np.zeros(steps)
    places = random.integers(0, steps, max(1, round(50.0 * steps / rate)))
    signal[places] = random.choice([-FULL, FULL, -1.0, 1.0], len(places))
    return signal


def dc_steps(steps: int, rate: float, random: np.random.Generator) -> Signal:
    """A new level every 20 ms."""
    hold = max(1, round(0.02 * rate))
    return np.repeat(random.uniform(-FULL, FULL, -(-steps // hold)), hold)[:steps]


def plucked(peak: float) -> Maker:
    return lambda steps, rate, random: guitar_like(steps / rate, rate, peak)[:steps]


KINDS: dict[str, Maker] = {
    "guitar": plucked(0.5),
    "hot 3 V": plucked(3.0),
    "hot 20 V": plucked(FULL),
    "square": square,
    "impulses": impulses,
    "silence": lambda steps, rate, random: np.zeros(steps),
    "noise": lambda steps, rate, random: FULL / 3.0 * random.standard_normal(steps),
    "DC steps": dc_steps,
    "alternation": lambda steps, rate, random: FULL * np.where(np.arange(steps) % 2, -1.0, 1.0),
}


class SingleKernel(CompiledKernel):
    """The simulation with all arithmetic in single precision."""

    @cache  # noqa: B019 - there is one kernel a netlist
    def _function(self, name: str, lanes: int) -> Any:
        real = "circuitnn::FloatLanes" if lanes > 1 else "float"
        library = compile_library(f"{self.structure.source}\nCIRCUITNN_{name.upper()}_AS(Circuit, {real})\n")
        library.circuitnn_function.restype = None
        return library.circuitnn_function


@dataclass(frozen=True)
class Block:
    """Where steps failed. first: (lane, step, port) of the first ones."""

    number: int
    kind: str
    rate: float
    lanes: int
    from_rest: bool
    knobs: dict[str, float]
    failed: int
    not_finite: int
    first: list[tuple[int, int, str]]


@dataclass
class Tally:
    """What happened to one netlist. most: the largest number of iterations of a step, BINS - 1 for that or more;
    slow: steps that took that many; no_start: knob positions without operating point."""

    netlist: str
    steps: int = 0
    iterations: int = 0
    most: int = 0
    slow: int = 0
    rescued: int = 0
    failed: int = 0
    not_finite: int = 0
    seconds: float = 0.0
    rescued_by_kind: dict[str, int] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    no_start: list[dict[str, float]] = field(default_factory=list)


def knob_positions(model: CircuitModel, random: np.random.Generator) -> dict[str, float]:
    """Anywhere, and often at a stop."""
    positions = {}
    for knob in model.circuit.knobs:
        anywhere, at_end = float(random.uniform()), random.uniform() < 1.0 / 3.0
        positions[knob.name] = float(round(anywhere)) if at_end else anywhere
    return positions


def torture(path: Path, steps: int, seed: int, single: bool, progress: Callable[[float], None]) -> Tally:
    """At least this many steps of one netlist."""
    circuit, tally = read_netlist(path), Tally(path.stem)
    models = {rate: CircuitModel(circuit, rate, oversample=1, learn=[]) for rate in RATES}
    kernel = (SingleKernel if single else CompiledKernel)(models[RATES[0]].discrete.structure)
    states: dict[tuple[float, int], CircuitState] = {}
    combinations = list(itertools.product(KINDS, RATES, (1, LANES)))
    for number in itertools.count():
        if tally.steps >= steps:
            return tally
        kind, rate, lanes = combinations[number % len(combinations)]
        length = min(round(SECONDS * rate), max(100, steps // len(combinations) // lanes))
        random = np.random.default_rng((seed, number))
        run_block(models[rate], kernel, number, kind, length, lanes, states, random, tally)
        progress(min(1.0, tally.steps / steps))
    return tally


def run_block(
    model: CircuitModel, kernel: CompiledKernel, number: int, kind: str, length: int, lanes: int,
    states: dict[tuple[float, int], CircuitState], random: np.random.Generator, tally: Tally,
) -> None:  # fmt: skip
    """One block at new knob positions. states: where the last blocks of each rate and batch ended."""
    rate, structure = model.sample_rate, model.discrete.structure
    knobs = knob_positions(model, random)
    signal = KINDS[kind](length, rate, random)
    levels = np.concatenate([[1.0], random.uniform(-1.0, 1.0, lanes - 1)])
    u = torch.as_tensor(np.outer(levels, signal))[:, :, None].repeat(1, 1, structure.n_u)
    from_rest = random.uniform() < 0.25 or (rate, lanes) not in states
    # A block counts even if it cannot start, or a circuit that never starts would be tried for ever.
    tally.steps += lanes * length
    try:
        state = model(u[:, :0], knobs=knobs)[1] if from_rest else states[rate, lanes]
    except CircuitnnError:
        tally.no_start.append(knobs)
        return
    theta = model.discrete.theta(model.overrides(knobs))[None, None]
    began = time.perf_counter()
    run = kernel.simulate(u, state.x, state.w, theta)
    tally.seconds += time.perf_counter() - began

    report, not_finite = run.report, int((~torch.isfinite(run.y)).sum())
    states[rate, lanes] = CircuitState(run.x, run.w, state.up, state.down, state.theta)
    if not_finite:
        # What is broken stays broken: the next block starts anew.
        del states[rate, lanes]
    failed, rescued = int(report[:, 1].sum()), int((report[:, 2] - report[:, 1]).sum())
    histogram = report[:, HISTOGRAM].sum(0)
    tally.iterations += int(report[:, 0].sum())
    tally.most = max([tally.most, *torch.nonzero(histogram).flatten().tolist()])
    tally.slow += int(histogram[-1])
    tally.failed += failed
    tally.rescued += rescued
    tally.not_finite += not_finite
    if rescued:
        tally.rescued_by_kind[kind] = tally.rescued_by_kind.get(kind, 0) + rescued
    if failed or not_finite:
        ports = model.discrete.equations.ports
        first = [
            (lane, step, ports[port])
            for lane, own in enumerate(report)
            for step, port in own[PLACES].view(-1, 2)[: min(int(own[1]), LISTED)].tolist()
        ]
        tally.blocks.append(Block(number, kind, rate, lanes, from_rest, knobs, failed, not_finite, first[:LISTED]))


def described(block: Block) -> str:
    knobs = ", ".join(f"{name} {position:.4f}" for name, position in block.knobs.items()) or "no knobs"
    first = ", ".join(f"lane {lane} step {step} {port}" for lane, step, port in block.first)
    return (
        f"block {block.number}: {block.failed} failed, {block.not_finite} not finite; {block.kind}, {block.rate:g} Hz, "
        f"{block.lanes} lanes, {'from rest' if block.from_rest else 'going on'}; {knobs}; first at {first or '-'}"
    )


def print_table(tallies: list[Tally]) -> None:
    headings = ("steps", "iterations", "most", f"{BINS - 1}+", "rescued", "failed", "not finite", "no start", "ns/step")
    print(f"{'netlist':<24}" + "".join(f"{heading:>11}" for heading in headings))
    for t in tallies:
        row = (
            t.steps, f"{t.iterations / t.steps:.3f}", t.most, t.slow, t.rescued, t.failed, t.not_finite,
            len(t.no_start), f"{1e9 * t.seconds / t.steps:.0f}",
        )  # fmt: skip
        print(f"{t.netlist:<24}" + "".join(f"{value:>11}" for value in row))
    for t in tallies:
        if t.rescued_by_kind:
            print(f"{t.netlist} rescued: " + ", ".join(f"{kind} {n}" for kind, n in t.rescued_by_kind.items()))
        for block in t.blocks:
            print(f"{t.netlist} {described(block)}")
        for positions in t.no_start:
            print(f"{t.netlist} does not start at {positions}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("netlists", nargs="*", type=Path, metavar="NETLIST.cir")
    parser.add_argument("--steps", type=float, default=1e6, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--single", action="store_true", help="single precision")
    parser.add_argument("--json", action="store_true", help="one JSON list on stdout, nothing else")
    arguments = parser.parse_args()
    paths = [path for path in arguments.netlists or shipped_netlists() if read_netlist(path).inputs]
    tallies = []
    with torch.no_grad():
        for path in paths:

            def show(share: float, name: str = path.stem) -> None:
                if sys.stderr.isatty():
                    print(f"\r{name} {100.0 * share:3.0f} %  ", end="", file=sys.stderr, flush=True)

            tallies.append(torture(path, round(arguments.steps / len(paths)), arguments.seed, arguments.single, show))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if arguments.json:
        print(json.dumps([asdict(tally) for tally in tallies], indent=2))
    else:
        print_table(tallies)
    return 1 if any(tally.not_finite for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
