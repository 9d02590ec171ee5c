"""Makes docs/circuits.md, which compares every netlist with ngspice:

    python docs/make_circuits.py [NETLIST ...] [--quick] [--processes N] [--out FOLDER]

Without names, all of netlists/ are compared, which takes one to several minutes of a core each. With names, only these;
the results of the others are kept in circuits.json beside the page, which is written anew after each netlist. --quick
prints one short run of each and writes nothing. Fails if a netlist does not run, or falls short without a reason in
REASONS. Needs ngspice.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "tests"))

import agreement  # noqa: E402
import ngspice  # noqa: E402

from circuitnn.errors import CircuitnnError  # noqa: E402
from circuitnn.mna import build_equations  # noqa: E402
from circuitnn.netlist import read_netlist  # noqa: E402

PLURALS = {"distortion": "distortion", "fuzz": "fuzzes"}
# Why a netlist misses what the page promises, by name of the file.
REASONS: Mapping[str, str] = {
    "bd2": "With the gain up the two amplifiers leave saturation within less than the smallest step. Both programs' "
    "outputs still change from step to step, by the same. At steps of 22 to 44 ns a few of this program's, 30 in 1.4 "
    "million at 2 V, find no solution.",
    "fuzz_face_germanium": "For the reverse current of a junction beyond 3 N VT ngspice takes "
    "-IS (1 + (3 N VT/(e v))^3) instead of the exponential. With IS of 20 µA that is heard. Against transistors that "
    "are made of B sources and have the exponential, the promise is kept: see above.",
}


@dataclass(frozen=True)
class Entry:
    """What the page says of one netlist. own_laws: comparisons with B sources that have this program's laws."""

    title: str
    kind: str
    knobs: tuple[str, ...]
    states: int
    ports: int
    rest: agreement.Rest
    comparisons: tuple[agreement.Comparison, ...]
    own_laws: tuple[agreement.Comparison, ...] = ()


def compared(path: Path, quick: bool) -> Entry:
    ngspice.run_file(path)
    circuit = read_netlist(path)
    equations = build_equations(circuit)
    kind = agreement.kind_of(path)
    peaks = agreement.PEAKS[kind]
    short = (peaks[1:2], (0.5,), agreement.NOTE) if quick else (peaks,)
    return Entry(
        circuit.title, kind, tuple(knob.name for knob in circuit.knobs), len(equations.states), len(equations.ports),
        agreement.compare_rest(path), tuple(agreement.compare(path, *short)),
        tuple(agreement.compare(path, *short, own_laws=True)) if path.stem in agreement.OTHER_LAWS else (),
    )  # fmt: skip


def decibels(value: float) -> str:
    return "-" if math.isinf(value) else f"{value:.0f}"


def cases_of(entry: Mapping[str, Any], key: str = "comparisons") -> list[agreement.Comparison]:
    return [agreement.Comparison(**case) for case in entry[key]]


def row(name: str, entry: Mapping[str, Any], key: str = "comparisons") -> str:
    cases = cases_of(entry, key)
    worst = [max(getattr(case, figure) for case in cases) for figure in ("difference_db", "own_db", "ngspice_db")]
    rest = f"{1e6 * entry['rest']['volt']:.2g}" if key == "comparisons" else "-"
    cells = [
        f"[{name}](../netlists/{name}.cir)", entry["title"], ", ".join(entry["knobs"]), str(entry["states"]),
        str(entry["ports"]), *map(decibels, worst), rest,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def misses(name: str, entry: Mapping[str, Any]) -> list[str]:
    """Why the netlist falls short and where, as lines of the page; none if it does not."""
    lines = []
    for key, against in (("comparisons", ""), ("own_laws", ", against B sources")):
        for case in cases_of(entry, key):
            if not case.agrees:
                figures = (decibels(x) for x in (case.difference_db, case.own_db, case.ngspice_db))
                remark = case.reason or ("steps of ours did not converge" if case.failures else "")
                where = f"{case.position}{against}" if entry["knobs"] else f"-{against}"
                lines.append(f"| {where} | {case.peak:g} V | {' | '.join(figures)} | {remark} |")
    if lines:
        heads = ("knobs at", "input", "difference [dB]", "own error [dB]", "ngspice's [dB]", "remark")
        lines = [f"| {' | '.join(heads)} |", "| ---: | ---: | ---: | ---: | ---: | --- |", *lines]
    if not entry["rest"]["agrees"]:
        lines.append(f"\nAt rest: {entry['rest']['volt']:.2g} V at {entry['rest']['node']}.")
    return [f"**{name}**: {REASONS.get(name, 'not explained yet.')}", "", *lines, ""] if lines else []


def table(heading: str, text: str, rows: Sequence[str]) -> str:
    return (
        f"## {heading}\n\n{text}\n\n"
        "| netlist | circuit | knobs | states | ports | difference [dB] | own error [dB] | ngspice's [dB] "
        "| at rest [µV] |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n" + "\n".join(rows)
    )


def page(results: Mapping[str, Any]) -> str:
    entries: Mapping[str, Any] = results["netlists"]
    sections = []
    for kind in agreement.PEAKS:
        rows = [row(name, entry) for name, entry in sorted(entries.items()) if entry["kind"] == kind]
        if rows:
            heading = PLURALS.get(kind, f"{kind}s").capitalize()
            peaks = ", ".join(f"{peak:g} V" for peak in agreement.PEAKS[kind])
            sections.append(table(heading, f"Peaks of the input: {peaks}.", rows))
    rows = [row(name, entry, "own_laws") for name, entry in sorted(entries.items()) if entry["own_laws"]]
    if rows:
        text = (
            "Where ngspice's law of a device is another one, its semiconductors are written as B sources with this "
            "program's law (`tests/law_sources.py`), and ngspice solves these."
        )
        sections.append(table("With the same laws", text, rows))
    missed = [line for name, entry in sorted(entries.items()) for line in misses(name, entry)]
    sections.append("## What falls short\n\n" + ("\n".join(missed).rstrip() or "Nothing."))
    positions = ", ".join(map(str, agreement.POSITIONS))
    return f"""\
# Circuits, and how they agree with ngspice

Made by `python docs/make_circuits.py`, with {results["ngspice"]}. Every file of `netlists/` runs in ngspice as it \
stands.
Here the outputs of both programs are compared for a quiet, a hot and a clipping input, a plucked chord of
{1e3 * agreement.CHORD.duration:.0f} ms, with all knobs at {positions}. The figures are the worst of these runs:

- difference: rms of the difference over rms of the signal, both without DC; {agreement.PROMISED_DB:.0f} dB or less \
is promised
- own error, ngspice's: what is left of each program's discretisation error, a third of what halving the step changed;
  it is halved until both are below {agreement.CONVERGED_DB:.0f} dB, at most to {agreement.FACTORS[-1]} steps per \
sample of 44.1 kHz;
  steps at which ngspice gives up are passed over
- at rest: the largest difference of any node's DC voltage; 100 µV or 1e-4 of the voltage is promised

States are capacitors and inductors, ports the nonlinear ones of the solver.

{chr(10).join(f"{section}{chr(10)}" for section in sections)}"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("netlists", nargs="*", type=Path, metavar="NETLIST", help="default: all of netlists/")
    parser.add_argument("--quick", action="store_true", help="one short run of each, knobs in the middle; no page")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=DOCS, help="folder for circuits.md and circuits.json")
    given = parser.parse_args(arguments)
    paths = given.netlists or sorted((ROOT / "netlists").glob("*.cir"))
    stored = given.out / "circuits.json"
    # A netlist that has been removed leaves the page when all are compared.
    entries = json.loads(stored.read_text())["netlists"] if given.netlists and stored.exists() else {}
    unexplained = 0
    with ProcessPoolExecutor(given.processes) as pool:
        jobs = {path: pool.submit(compared, path, given.quick) for path in paths}
        for path, job in jobs.items():
            try:
                entry = json.loads(json.dumps(asdict(job.result())))
            except (AssertionError, CircuitnnError) as error:
                print(f"{path}: {error}", flush=True)
                unexplained += 1
                continue
            entries[path.stem] = entry
            missed = misses(path.stem, entry)
            unexplained += bool(missed) and path.stem not in REASONS
            print(row(path.stem, entry), *missed, sep="\n", flush=True)
            if not given.quick:
                given.out.mkdir(parents=True, exist_ok=True)
                results = {"ngspice": ngspice.version(), "netlists": dict(sorted(entries.items()))}
                stored.write_text(json.dumps(results, indent=1) + "\n")
                (given.out / "circuits.md").write_text(page(results))
    sys.exit(unexplained > 0)


if __name__ == "__main__":
    main()
