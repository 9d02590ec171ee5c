"""Makes docs/parts.md, which lists the part library, with figures from this program's own DC solution:

python docs/make_parts.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from part_figures import CHECKS, in_this_program  # noqa: E402

from circuitnn.netlist.part_library import aliases, library_files  # noqa: E402
from circuitnn.units import format_value  # noqa: E402

INTRODUCTION = """\
# Parts

An element that names a model or subcircuit which the netlist does not define gets it from the part library, and a note
says so: `Q1 c b e 2N3904` is enough. A `.model` or `.subckt` of that name in the netlist comes first. ngspice does not
have the library; what `write_netlist` writes holds every card that it takes from there, so it runs in ngspice.

The files are SPICE text, in `circuitnn/parts/` of the package. The first value of a figure is this program's own DC
solution, in brackets stands what the data sheet allows. Parts of one type differ by as much, often by a factor of two:
write a `.model` of your own where you have measured.

Made by `python docs/make_parts.py`.
"""


def cards(text: str) -> list[tuple[str, str, str]]:
    """Section, card line and comment of each part of a library file, in order."""
    found, section, comment, inside, after_card = [], "", "", False, False
    for line in text.splitlines():
        if line.startswith("* --- "):
            section = line.strip("* -")
            comment = ""
        elif line in ("", "*"):
            comment = ""
        elif line.startswith("* Alias: "):
            pass
        elif line.startswith("* "):
            comment = line[1:].strip() if after_card else f"{comment} {line[1:].strip()}".strip()
            after_card = False
        elif line.startswith((".model", ".subckt")) and not inside:
            found.append((section, line, comment))
            after_card = True
            inside = line.startswith(".subckt")
        inside = inside and not line.startswith(".ends")
    return found


def figures(part: str) -> str:
    """What the part does, and the data sheet's range."""
    found = []
    for check in CHECKS:
        if check.part == part:
            value, low, high = (format_value(x, check.unit) for x in (in_this_program(check), check.low, check.high))
            found.append(f"{check.condition}: {value} ({low} to {high}; {check.source})")
    return "; ".join(found)


def page() -> str:
    blocks = [INTRODUCTION]
    for name, text in library_files().items():
        heading = text.splitlines()[0].strip("* ")
        blocks.append(f"## {heading}\n\n`circuitnn/parts/{name}`\n")
        further: dict[str, list[str]] = {}
        for alias, part in aliases(text).items():
            further.setdefault(part, []).append(alias)
        rows, last = [], None
        for section, card, comment in cards(text):
            if section != last:
                rows += ["", f"### {section}", ""] if section else []
                rows += ["| part | also | nodes | figures | values |", "|---|---|---|---|---|"]
                last = section
            keyword, part, *rest = card.split()
            nodes = " ".join(word for word in rest if "=" not in word) if keyword == ".subckt" else ""
            also = ", ".join(further.get(part.upper(), []))
            comment = re.sub(r"\|", "\\|", comment)
            rows.append(f"| {part} | {also} | {nodes} | {figures(part)} | {comment} |")
        blocks.append("\n".join(rows).strip() + "\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    (DOCS / "parts.md").write_text(page(), encoding="utf-8")
