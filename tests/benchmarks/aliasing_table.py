"""Aliasing of the clippers against the factor of oversampling, as a markdown table.

    python tests/benchmarks/aliasing_table.py [--amplitude 1.0]

Sines at full drive; the table holds aliasing-to-signal ratios in dB at 44.1 kHz, all of it and below 20 kHz.
"""

from __future__ import annotations

import argparse

from common import NETLISTS

from circuitnn.aliasing import FREQUENCIES, Aliasing, measure_aliasing
from circuitnn.netlist import read_netlist

KNOBS: dict[str, dict[str, float]] = {"ts808_clipper": {"drive": 1.0}, "diode_clipper": {}}


def table(measured: dict[str, list[Aliasing]]) -> str:
    """One row for each netlist and factor, one column for each frequency."""
    lines = [
        "| netlist | oversample | " + " | ".join(f"{frequency} Hz" for frequency in FREQUENCIES) + " |",
        "|---|---|" + "---|" * len(FREQUENCIES),
    ]
    for name, results in measured.items():
        for factor in dict.fromkeys(result.oversample for result in results):
            cells = [f"{result.ratio:.1f} / {result.audible:.1f}" for result in results if result.oversample == factor]
            lines.append(f"| {name} | {factor} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--amplitude", type=float, default=1.0, help="peak of the sines in volt")
    amplitude = parser.parse_args().amplitude
    circuits = {name: read_netlist(NETLISTS / f"{name}.cir") for name in KNOBS}
    print(table({name: measure_aliasing(c, amplitude=amplitude, knobs=KNOBS[name]) for name, c in circuits.items()}))


if __name__ == "__main__":
    main()
