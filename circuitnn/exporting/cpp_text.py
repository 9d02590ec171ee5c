"""Pieces of generated C++."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

WIDTH = 116


def comment(text: str) -> str:
    """Somebody's text for a line of comment, which nothing in it must end or continue."""
    return "".join(c if c.isprintable() and c not in "\\?" else "_" for c in text)


def braced(items: Iterable[str]) -> str:
    return "{" + ", ".join(items) + "}"


def table(kind: str, name: str, items: Iterable[str]) -> str:
    """A constant array, in lines of bounded width."""
    lines, line = [f"[[maybe_unused]] static constexpr {kind} {name} = {{"], "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH and line.strip():
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([*lines, line, "};"])


def knob_table(positions: Mapping[str, float]) -> list[str]:
    """How many knobs there are, all of which move, and where they stand at first."""
    items = [f'{{"{_safe(name)}", {position!r}, true}}' for name, position in positions.items()]
    return [
        f"static constexpr int knobs = {len(items)};",
        table("circuitnn::Knob", "knob[]", items or ['{"", 0.0, false}']),
    ]


def _safe(name: str) -> str:
    """A knob's name, which somebody wrote, for a string of C."""
    return "".join(c if c.isascii() and (c.isalnum() or c in " _-.") else "_" for c in name)
