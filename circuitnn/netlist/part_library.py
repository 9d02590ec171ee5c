"""The part library: SPICE files that come with the package, one .model or .subckt for each part number.

A comment line `* Alias: 1N914 1N4448` before a card gives the part of that card further names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_ALIAS = re.compile(r"\* Alias: (.+)")
_CARD = re.compile(r"\.(?:model|subckt) (\S+)")


@cache
def library_files() -> Mapping[str, str]:
    """The text of each file of the library, by its name."""
    found = [file for file in files("circuitnn").joinpath("parts").iterdir() if file.name.endswith(".lib")]
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(found, key=lambda file: file.name)}


def aliases(text: str) -> dict[str, str]:
    """Further name -> part number, from the text of a library file."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    for line in text.splitlines():
        if match := _ALIAS.fullmatch(line):
            waiting = match[1].upper().split()
        elif match := _CARD.match(line):
            found |= dict.fromkeys(waiting, match[1].upper())
            waiting = []
    return found
