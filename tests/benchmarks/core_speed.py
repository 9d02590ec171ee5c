"""The package against independent peers, each checked to give the same output or gradient before it is timed.

    python tests/benchmarks/core_speed.py [--only scalar,lanes,torch,jax,ngspice,compile] [--repeats 5] [--json]

    scalar    simulation of the TS-808 clipper: the same circuit written by hand in C++
    lanes     simulation and gradient of the TS-808 clipper in a batch against one recording, per core
    torch     gradient of the TS-808 clipper: a plain torch loop, for one recording and for 32
    jax       gradient of the diode clipper: a hand-reduced lax.scan, for one recording and for 32
    ngspice   simulation of every netlist on the same fixed time grid
    compile   gradient of the TS-808 clipper: the torch loop under torch.compile; slow to compile, so only if named

Times are medians in nanoseconds per step and lane; both sides of a comparison take turns in the same process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import lane_speed
import ngspice_steps
import scalar_newton
import torch
import torch_loop
from common import Row, print_rows

DEFAULT = ("scalar", "lanes", "torch", "jax", "ngspice")


def jax_section(repeats: int) -> list[Row]:
    """Imported only when asked for: jax is no dependency of the package."""
    import jax_scan

    return jax_scan.measure(repeats)


def compile_section(repeats: int) -> list[Row]:
    """Imported only when asked for: inductor takes seconds to load."""
    import torch_compile

    return torch_compile.measure(repeats)


SECTIONS: dict[str, Callable[[int], list[Row]]] = {
    "scalar": scalar_newton.measure,
    "lanes": lane_speed.measure,
    "torch": torch_loop.measure,
    "jax": jax_section,
    "ngspice": ngspice_steps.measure,
    "compile": compile_section,
}


def missing(section: str) -> str | None:
    """Why a section cannot run here, or None."""
    if section == "jax" and importlib.util.find_spec("jax") is None:
        return "jax is not installed: pip install circuitnn[bench]"
    if section == "ngspice" and not ngspice_steps.available():
        return "the ngspice program is not installed"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(DEFAULT), help="sections, separated by commas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    say = partial(print, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if not arguments.json:
        say(", ".join(f"{key} {value}" for key, value in machine.items()))
    rows, skipped = list[Row](), dict[str, str]()
    for name in names:
        if reason := missing(name):
            skipped[name] = reason
            say(f"\n{name}: skipped, {reason}")
            continue
        found = SECTIONS[name](arguments.repeats)
        rows += found
        if not arguments.json:
            say(f"\n{name}")
            print_rows(found)
    if arguments.json:
        print(json.dumps({**machine, "skipped": skipped, "rows": [asdict(row) | {"ratio": row.ratio} for row in rows]}))


if __name__ == "__main__":
    main()
