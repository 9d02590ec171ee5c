"""What every shipped netlist has in common, beside what test_agreement.py compares."""

from __future__ import annotations

import re
from pathlib import Path

import agreement
import pytest

import circuitnn

NETLISTS = sorted((Path(__file__).parents[1] / "netlists").glob("*.cir"))
PARTS = Path(circuitnn.__file__).parent / "parts"


def _subcircuits(text: str) -> dict[str, str]:
    """The text of each .subckt that stands at the beginning of a line, by name."""
    return {found[1]: found[0] for found in re.finditer(r"^\.subckt (\S+).*?^\.ends$", text, flags=re.M | re.S)}


OPAMPS = _subcircuits((PARTS / "opamps.lib").read_text())


@pytest.mark.parametrize("path", NETLISTS, ids=lambda path: path.stem)
def test_second_line_says_what_kind_of_circuit_it_is(path: Path) -> None:
    line = path.read_text().splitlines()[1]
    assert line in {f"* Kind: {kind}" for kind in agreement.PEAKS}


@pytest.mark.parametrize("path", NETLISTS, ids=lambda path: path.stem)
def test_opamps_copied_from_the_library_are_up_to_date(path: Path) -> None:
    """A netlist holds what it uses, because ngspice knows no library; a copy must not grow old."""
    for name, text in _subcircuits(path.read_text()).items():
        if name in OPAMPS:
            assert text == OPAMPS[name]
