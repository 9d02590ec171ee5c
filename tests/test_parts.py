"""Every part of the part library: it is read, has a source, does what its data sheet says, and ngspice agrees."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import ngspice
import pytest
from part_figures import CHECKS, Check, in_this_program

from circuitnn.netlist.part_library import aliases, library_files

TEXT = "".join(library_files().values())
# .model and .subckt cards at the top level; parts of more than one word have no data sheet.
CARDS = re.findall(
    r"^\.(?:model|subckt) (\S+)", re.sub(r"(?ms)^(\.subckt [^\n]*).*?^\.ends", r"\1", TEXT), re.MULTILINE
)
BUILDING_BLOCKS = {
    "OPAMP", "OPAMP_LINEAR", "OPAMP_IDEAL", "OTA", "TRIODE", "TRIODE_DZ", "PENTODE", "PHOTOCELL",
    "TRANSFORMER_IDEAL", "TRANSFORMER", "TRANSFORMER_CT", "CORE",
}  # fmt: skip


@cache
def in_ngspice() -> tuple[float, ...]:
    """The figure of every check, from one run of ngspice on the library's own text."""
    benches = "".join(check.cards.replace("@", f"z{k}") for k, check in enumerate(CHECKS))
    probes = [check.probe.replace("@", f"z{k}") for k, check in enumerate(CHECKS)]
    tight = ".options reltol=1e-6 abstol=1e-15 vntol=1e-9 itl1=1000\n"
    found = ngspice.vectors(f"parts\n{benches}{TEXT}{tight}", "op", probes)
    return tuple(check.figure(found[probe][0]) for check, probe in zip(CHECKS, probes, strict=True))


def name(check: Check) -> str:
    return f"{check.part}: {check.condition}"


@pytest.mark.parametrize("check", CHECKS, ids=name)
def test_part_does_what_its_data_sheet_says(check: Check) -> None:
    assert check.low <= in_this_program(check) <= check.high, check.source


@pytest.mark.ngspice
@pytest.mark.parametrize("index", range(len(CHECKS)), ids=[name(check) for check in CHECKS])
def test_part_agrees_with_ngspice(index: int) -> None:
    """ngspice reads the library's own text, this program the text that it looks up."""
    assert in_this_program(CHECKS[index]) == pytest.approx(in_ngspice()[index], rel=1e-4)


def test_every_part_is_checked() -> None:
    assert set(CARDS) - BUILDING_BLOCKS == {check.part for check in CHECKS}
    assert len(CARDS) == len(set(CARDS))


def test_every_part_has_a_source() -> None:
    """A comment stands in the paragraph before each card."""
    for part in CARDS:
        before = re.split(rf"(?m)^\.(?:model|subckt) {re.escape(part)}\b", TEXT)[0]
        assert re.search(r"(?m)^\*(?! Alias| ---)", before.rpartition("\n\n")[2]), part


def test_no_name_is_given_twice() -> None:
    names = [alias for line in re.findall(r"(?m)^\* Alias: (.+)", TEXT) for alias in line.split()]
    assert len({name.upper() for name in (*names, *CARDS)}) == len(names) + len(CARDS)
    assert {name.upper() for name in names} == {name for text in library_files().values() for name in aliases(text)}


def test_the_page_of_parts_lists_every_name() -> None:
    page = Path(__file__).parents[1].joinpath("docs", "parts.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in page.splitlines() if line.startswith("| ")]
    listed = {name.upper() for part, further in rows for name in (part, *further.split(", ")) if name}
    aliased = {alias for text in library_files().values() for alias in aliases(text)}
    assert listed - {"PART", "ALSO"} == {part.upper() for part in CARDS} | aliased, "run docs/make_parts.py"
