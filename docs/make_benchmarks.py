"""Makes docs/benchmarks.md and docs/images/cost.png:

    python docs/make_benchmarks.py [--full] [--quick] [--only netlists,cost,aliasing,peers] [--out FOLDER]

Every table is what the command beside it printed. All of them take half an hour of a machine that does nothing else;
--only makes some of them anew and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import circuitnn as cn
from circuitnn.bench import guitar_like
from circuitnn.runtime.compiler import FLAGS, find_compiler
from circuitnn.simulate import EVERY, KEPT_BYTES

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PROGRAMS = ROOT / "tests" / "benchmarks"
BLUE, GREY = "#1f6feb", "#8b949e"
# What the page consists of, and under which headings.
HEADINGS = {
    "netlists": "Every netlist",
    "cost": "A gradient against the length of the recording",
    "aliasing": "Aliasing",
    "peers": "Against other programs",
}
# The columns of the histogram; the last one has all iterations above.
COLUMNS = 8
# Seconds of audio whose gradient is taken; the last ones only with --full.
LENGTHS, LONG, SHORT = (1, 2, 5, 10, 20, 30, 60), (120, 300, 600), (0.2, 0.5, 1)
COST_NETLIST, COST_RATE, COST_OVERSAMPLE, COST_REPEATS = "ts808_clipper", 44100, 4, 3


@dataclass(frozen=True)
class Cost:
    """Of one gradient. length: seconds of audio; seconds: of computing; before, peak: memory of the process in bytes,
    when everything but the gradient is loaded, and at most."""

    length: float
    seconds: float
    before: int
    peak: int


def printed_by(command: Sequence[str]) -> str:
    """Standard output of a Python program of this checkout."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    print(f"python {' '.join(command)}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Markdown; the first columns are text, the others are numbers."""
    lines = [headings, [*["---"] * texts, *["---:"] * (len(headings) - texts)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100.0 else f"{value:.3g}"


def machine() -> str:
    """Where the numbers come from."""
    processor, compiler = platform.processor() or platform.machine(), "none"
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    if command := find_compiler():
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        compiler = f"{done.stdout.splitlines()[0] if done.stdout else command[0]}, `{' '.join(FLAGS)}`"
    entries = {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "compiler": compiler,
        "versions": ", ".join(f"{name} {version(name)}" for name in ("circuitnn", "torch", "numpy"))
        + f", Python {platform.python_version()}",
    }
    return "\n".join(f"- {name}: {text}" for name, text in entries.items())


def netlists_section(quick: bool) -> str:
    command = ["bench", "--json", *(["--seconds", "0.05", "--repeats", "1"] if quick else [])]
    entries = json.loads(printed_by(["-m", "circuitnn.cli", *command]))
    costs = table(
        ("netlist", "states", "ports", "times real time", "ns per step", "ns in lanes", "gradient", "adjoint",
         "adjoint in lanes", "tangent", "compiled"),
        [
            (
                e["netlist"], str(e["states"]), "+".join(map(str, e["stages"])) or "0", digits(e["real_time_factor"]),
                digits(e["ns_per_step"]), digits(e["ns_per_step_lane"]), f"{e['gradient_ratio']:.2f}",
                f"{e['adjoint_ratio']:.2f}", f"{e['adjoint_ratio_lane']:.2f}", f"{e['tangent_ratio_20']:.2f}",
                f"{e['compile_seconds']:.1f} s",
            )
            for e in entries
        ],
    )  # fmt: skip
    iterations = table(
        ("netlist", "mean", *map(str, range(COLUMNS)), f"{COLUMNS}+", "by continuation", "not converged"),
        [
            (
                e["netlist"], f"{e['newton_iterations']:.2f}", *shares(e["histogram"]),
                str(e["rescues"] - e["failures"]), str(e["failures"]),
            )
            for e in entries
            if e["ports"]
        ],
    )  # fmt: skip
    one = entries[0]
    return f"""\
## {HEADINGS["netlists"]}

    circuitnn {" ".join(command)}

{one["seconds"]:g} s of plucked chords with a peak of 0.5 V at {one["sample_rate"]:g} Hz, {one["oversample"]} times \
oversampled, knobs as in the netlist; medians of {one["repeats"]} runs.

{costs}

Ports: nonlinear ones, as sizes of the systems that are solved one after the other. Times real time: one signal on one
core, rate conversion included. ns per step: of the simulation alone, at the high rate. In lanes: of each of 8 signals
side by side on one core. Gradient: forward pass that keeps states, and adjoint. Adjoint: alone. Tangent: the run with
its derivatives in 20 directions. These three are multiples of the simulation. Compiled: the simulation, at first use.

Newton iterations: mean per step, and steps in percent by what they took.

{iterations}
"""


def shares(histogram: Sequence[int]) -> list[str]:
    counts = [*histogram[:COLUMNS], sum(histogram[COLUMNS:])]
    percent = [100.0 * count / sum(counts) for count in counts]
    return [f"{share:.2g}" if share < 10.0 else f"{share:.0f}" for share in percent]


def aliasing_section() -> str:
    command = "tests/benchmarks/aliasing_table.py"
    return f"""\
## {HEADINGS["aliasing"]}

    python {command}

Aliasing-to-signal ratio in dB of the response to sines, of everything and below 20 kHz.

{printed_by([command]).strip()}
"""


def gradient_cost(seconds: float) -> Cost:
    """Measure one gradient on one core, in this process, which has done nothing else."""
    torch.set_num_threads(1)
    circuit = cn.read_netlist(ROOT / "netlists" / f"{COST_NETLIST}.cir")
    model = cn.CircuitModel(circuit, COST_RATE, COST_OVERSAMPLE)
    signal = torch.as_tensor(guitar_like(seconds, COST_RATE))[None, :, None]
    # Loads or compiles what is needed: the adjoint for short signals, and for long ones the simulation in lanes.
    model(signal[:, :64])[0].sum().backward()
    with torch.no_grad():
        model(signal[:, :64].repeat(2, 1, 1))
    before, times = peak_memory(), []
    for _ in range(COST_REPEATS):
        began = time.perf_counter()
        # The output is the derivative of half its own energy. A loss in torch would add temporaries of its length.
        y, _ = model(signal)
        y.backward(y.detach())
        times.append(time.perf_counter() - began)
    return Cost(seconds, statistics.median(times), before, peak_memory())


def peak_memory() -> int:
    """Bytes."""
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else 1024 * highest


def cost_section(lengths: Sequence[float], out: Path) -> str:
    program = "docs/make_benchmarks.py"
    costs = [Cost(**json.loads(printed_by([program, "--gradient-of", f"{length:g}"]))) for length in lengths]
    cost_figure(costs, out / "images" / "cost.png")
    rows = [
        (
            f"{c.length:g}", f"{c.seconds:.3g}", f"{1e9 * c.seconds / (c.length * COST_RATE * COST_OVERSAMPLE):.0f}",
            f"{c.peak / 2**20:.0f}", f"{(c.peak - c.before) / 2**20:.0f}",
        )
        for c in costs
    ]  # fmt: skip
    return f"""\
## {HEADINGS["cost"]}

    python {program} --gradient-of SECONDS

![time and peak memory of a gradient against the length of the recording](images/cost.png)

Gradient of half the output's energy in all values that `{COST_NETLIST}.cir` marks, {COST_RATE} Hz, \
{COST_OVERSAMPLE} times oversampled, on one core,
each length in a process of its own; medians of {COST_REPEATS} runs. Up to {KEPT_BYTES / 2**20:.0f} MiB all states are \
kept for the adjoint; beyond,
one in {EVERY}, and the stretches between them are run again.

{table(("audio [s]", "time [s]", "ns per step", "peak memory [MiB]", "of it for the gradient [MiB]"), rows)}
"""


def cost_figure(costs: Sequence[Cost], path: Path) -> None:
    """Time and memory on linear axes: what is linear in the length is straight."""
    # Here, so that it is not in the memory of what is measured.
    import matplotlib.pyplot as plt

    length = np.array([c.length for c in costs])
    seconds = np.array([c.seconds for c in costs])
    before, peak = (np.array([getattr(c, name) for c in costs]) / 2**20 for name in ("before", "peak"))
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.6), layout="constrained")
    slope = float(length @ seconds / (length @ length))
    left.plot([0, length.max()], [0, slope * length.max()], color=GREY, lw=1.2, label=f"{1e3 * slope:.3g} ms a second")
    left.plot(length, seconds, "o", color=BLUE, label="gradient")
    left.set(xlabel="audio [s]", ylabel="time [s]")
    right.plot(length, peak, "o-", color=BLUE, lw=1.2, label="at most")
    right.plot(length, before, color=GREY, lw=1.2, label="before the gradient: Python, torch, the recording")
    right.set(xlabel="audio [s]", ylabel="memory of the process [MiB]")
    for axes in (left, right):
        axes.set(xlim=(0, 1.05 * length.max()), ylim=(0, 1.1 * max(line.get_ydata().max() for line in axes.lines)))
        axes.legend(frameon=False, loc="best")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def peers_section(quick: bool) -> str:
    chosen = ["scalar", "--repeats", "1"] if quick else ["scalar,lanes,torch,jax,ngspice"]
    command = ["tests/benchmarks/core_speed.py", "--json", "--only", *chosen]
    found: Mapping[str, Any] = json.loads(printed_by(command))
    rows = [
        (
            row["work"], row["peer_name"], digits(row["ours"]), digits(row["peer"]), f"{row['ratio']:.3g}",
            ", ".join(f"{name} {value:.3g}" for name, value in row["notes"].items()),
        )
        for row in found["rows"]
    ]  # fmt: skip
    skipped = "".join(f"\nNot measured: {name}, {reason}.\n" for name, reason in found["skipped"].items())
    return f"""\
## {HEADINGS["peers"]}

    python {" ".join(command)}

Nanoseconds per step and lane. Each program's output or gradient is compared with ours before it is timed, and both take
turns in one run. A ratio above 1 means that this package is faster.

{table(("what is computed", "by what else", "ours", "theirs", "ratio", "notes"), rows, 2)}
{skipped}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="gradients of up to 10 minutes of audio")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether everything works")
    parser.add_argument("--only", default=",".join(HEADINGS), help="sections to make anew")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder for benchmarks.md and images/cost.png")
    parser.add_argument("--gradient-of", type=float, metavar="SECONDS", help="only measure one gradient; prints JSON")
    arguments = parser.parse_args()
    if arguments.gradient_of is not None:
        print(json.dumps(asdict(gradient_cost(arguments.gradient_of))))
        return
    chosen = arguments.only.split(",")
    if unknown := [name for name in chosen if name not in HEADINGS]:
        parser.error(f"--only: expected some of {','.join(HEADINGS)}, found {','.join(unknown)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    page = arguments.out / "benchmarks.md"
    lengths = SHORT if arguments.quick else LENGTHS + (LONG if arguments.full else ())
    makers: Mapping[str, Callable[[], str]] = {
        "netlists": lambda: netlists_section(arguments.quick),
        "cost": lambda: cost_section(lengths, arguments.out),
        "aliasing": aliasing_section,
        "peers": lambda: peers_section(arguments.quick),
    }
    kept = sections_of(page.read_text()) if page.exists() and len(chosen) < len(HEADINGS) else {}
    sections = [makers[name]() if name in chosen else kept.get(heading, "") for name, heading in HEADINGS.items()]
    title = f"# Benchmarks\n\nMade by `python docs/make_benchmarks.py --full` on this machine:\n\n{machine()}\n"
    page.write_text("\n".join([title, *filter(None, sections)]))


def sections_of(page: str) -> dict[str, str]:
    """Heading -> section of a page that was made before."""
    parts = page.split("\n## ")[1:]
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}


if __name__ == "__main__":
    main()
