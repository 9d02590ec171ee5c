"""docs/inspect.md shows what the command prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from circuitnn.cli import main

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```\n(.+?)^```$", (ROOT / "docs" / "inspect.md").read_text(), re.MULTILINE | re.DOTALL)
TS808 = ("netlists/ts808.cir", "--show", "sensitivities")
COMMANDS = {
    "Ibanez TS-808": TS808,
    "small-signal response": TS808,
    "sensitivity": TS808,
    "H(s)": ("netlists/fmv_tone_stack.cir", "--show", "formula"),
}


def lines(text: str) -> list[str]:
    """What is on them; empty ones are left out."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("beginning", COMMANDS)
def test_the_page_shows_what_is_printed(beginning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = (block for block in BLOCKS if block.startswith(beginning))
    printed, shown = lines(CliRunner().invoke(main, ["inspect", *COMMANDS[beginning]]).output), lines(block)
    start = printed.index(shown[0])
    assert printed[start : start + len(shown)] == shown


def test_every_block_is_compared() -> None:
    assert len(BLOCKS) == len(COMMANDS)
