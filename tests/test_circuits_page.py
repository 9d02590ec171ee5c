"""docs/circuits.md has every netlist as it is: run docs/make_circuits.py for those that have changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from circuitnn.mna import build_equations
from circuitnn.netlist import read_netlist

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "circuits.md").read_text()
NETLISTS = sorted((ROOT / "netlists").glob("*.cir"))


@pytest.mark.parametrize("path", NETLISTS, ids=lambda path: path.stem)
def test_the_page_knows_the_netlist(path: Path) -> None:
    circuit = read_netlist(path)
    equations = build_equations(circuit)
    knobs = ", ".join(knob.name for knob in circuit.knobs)
    expected = [circuit.title, knobs, str(len(equations.states)), str(len(equations.ports))]
    rows = re.findall(rf"^\| \[{path.stem}\]\(\S+\) \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows
    for row in rows:
        assert row.split(" | ")[:4] == expected


def test_what_falls_short_is_explained() -> None:
    shortfalls = PAGE.partition("## What falls short")[2]
    assert shortfalls.strip()
    assert "not explained" not in shortfalls
