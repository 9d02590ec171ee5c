"""Pieces of generated C++."""

from __future__ import annotations

from collections.abc import Iterable

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
