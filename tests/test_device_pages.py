"""docs/devices describes every device and its parameters: run docs/make_devices.py after a change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from circuitnn.devices import MODEL_KINDS
from circuitnn.netlist import parse_netlist
from circuitnn.netlist.part_library import library_files

FOLDER = Path(__file__).parents[1] / "docs" / "devices"
INDEX = (FOLDER / "README.md").read_text()
PAGES = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md"})
# The subcircuits of the library that have parameters, and so are devices and not parts: name -> rest of the card.
SUBCIRCUITS = {
    name: rest
    for name, rest in re.findall(
        r"^\.subckt (\S+) (.+)$", "\n".join(library_files().values()).replace("\n+", ""), re.MULTILINE
    )
    if "=" in rest
}


def page_of(name: str) -> Path:
    """The page that the index names for a model type or subcircuit."""
    (row,) = re.findall(rf"^.*\b{name}\b.*\|$", INDEX, re.MULTILINE)
    return FOLDER / re.findall(r"\((\w+\.md)\)", row)[0]


@pytest.mark.parametrize("name", MODEL_KINDS)
def test_every_parameter_is_on_the_page(name: str) -> None:
    kind = MODEL_KINDS[name]
    rows = dict(re.findall(r"^\| ([A-Z0-9]+) \| (\S+) \|", page_of(name.upper()).read_text(), re.MULTILINE))
    defaults = {key.upper(): parameter.default for key, parameter in kind.parameters.items()}
    assert defaults.keys() <= rows.keys()
    for key, default in defaults.items():
        assert rows[key] == "none" if default == float("inf") else float(rows[key]) == pytest.approx(default)


@pytest.mark.parametrize("name", SUBCIRCUITS)
def test_every_subcircuit_is_on_its_page(name: str) -> None:
    """With the card that makes one, and a row for each parameter of it."""
    text = page_of(name).read_text()
    (example,) = re.findall(rf"^```spice\n(X1 [^`]*? {name} [^`]+)```\n([^`]*)", text, re.MULTILINE)
    card, table = example[0].replace("\n+", "").split(), example[1]
    assert " ".join(card[1:]).replace(f" {name} ", " ").split() == SUBCIRCUITS[name].split()
    rows = dict(re.findall(r"^\| ([A-Z0-9]+) \| (\S+) \| [^|]* \| [^|]+ \|$", table, re.MULTILINE))
    assert rows == dict(word.split("=") for word in card if "=" in word)
    circuit = parse_netlist(f"page\n{' '.join(card)}\n")
    assert circuit.elements


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_complete(page: Path) -> None:
    text = page.read_text()
    assert f"]({page.name})" in INDEX
    assert "## Law\n\n###" in text
    assert text.count("Source: ") >= 1
    images = re.findall(r"!\[.*?\]\((.+?)\)", text)
    assert images
    assert all((FOLDER / image).exists() for image in images)
