"""docs/devices names every parameter of every kind of model: run docs/make_devices.py after a change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from circuitnn.devices import MODEL_KINDS

FOLDER = Path(__file__).parents[1] / "docs" / "devices"


@pytest.mark.parametrize("name", MODEL_KINDS)
def test_every_parameter_is_on_the_page(name: str) -> None:
    kind = MODEL_KINDS[name]
    # The index tells which page has it.
    (row,) = re.findall(rf"^.*\b{name.upper()}\b.*\|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    page = FOLDER / re.findall(r"\((.+?)\)", row)[0]
    rows = dict(re.findall(r"^\| ([A-Z0-9]+) \| (\S+) \|", page.read_text(), re.MULTILINE))
    defaults = {key.upper(): parameter.default for key, parameter in kind.parameters.items()}
    assert defaults.keys() <= rows.keys()
    for key, default in defaults.items():
        assert rows[key] == "none" if default == float("inf") else float(rows[key]) == pytest.approx(default)
    for image in re.findall(r"!\[.*?\]\((.+?)\)", page.read_text()):
        assert (FOLDER / image).exists()
