"""Names and their formulas: `.param`, `.func`, parameters of subcircuits; the order in which they can be computed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from circuitnn.netlist.expressions import Formula, parse_expression
from circuitnn.netlist.formulas import Function
from circuitnn.netlist.lexer import Card, closing

_ASSIGNMENT = re.compile(r"(?<![\w.])([A-Za-z_][A-Za-z0-9_]*)\s*=(?!=)")
_FUNC = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\(([^(){}]*)\)\s*=?\s*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Definition:
    """A name with its formula. at: where the name stands in the card of the formula."""

    name: str
    formula: Formula
    at: int


def first_assignment(card: Card) -> int:
    """Where the first `name=` after the first word of a card begins, or the length of its text."""
    # Between the first word and a name there is at least a blank, so "X1=..." has no assignment at X1.
    match = _ASSIGNMENT.search(_masked(card), 1)
    return match.start() if match else len(card.text)


def assignments(card: Card, start: int) -> tuple[list[Definition], list[str]]:
    """The `name=value` pairs from text[start] on, and doubts about them in words. Raises NetlistError."""
    masked = _masked(card)
    matches = list(_ASSIGNMENT.finditer(masked, start))
    before = card.text[start : matches[0].start() if matches else len(card.text)]
    if before.strip(" \t,") or not matches:
        at = start + len(before) - len(before.lstrip())
        raise card.error(f"expected name=value, found {before.strip() or 'nothing'!r}", at)
    found: list[Definition] = []
    doubts: list[str] = []
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        end = following.start() if following else len(card.text)
        formula, bare = value_formula(card, match.end(), end)
        doubts += formula.doubts
        if bare and " " in card.text[match.end() : end].strip():
            doubts.append(
                f"{match[1]} is a formula with blanks in it, where ngspice stops reading: write braces around it"
            )
        found.append(Definition(match[1].lower(), formula, match.start()))
    return found, doubts


def value_formula(card: Card, start: int, end: int) -> tuple[Formula, bool]:
    """The formula in text[start:end], with or without {..} or '..' around it; the flag says without."""
    text = card.text[start:end]
    first, last = start + len(text) - len(text.lstrip(" \t")), start + len(text.rstrip(" \t,"))
    if first < last and card.text[first] in "{'" and closing(card, first) == last - 1:
        return parse_expression(card, first + 1, last - 1), False
    return parse_expression(card, min(first, last), last), True


def function(card: Card, start: int) -> tuple[str, Function]:
    """Read `.func name(a, b) {formula}`. Raises NetlistError."""
    match = _FUNC.match(card.text, start)
    if match is None:
        raise card.error("expected name(arguments) {formula} after .func", start, ".func double(x) {2*x}")
    arguments = tuple(argument.strip().lower() for argument in match[2].split(",") if argument.strip())
    if len(set(arguments)) != len(arguments) or not all(_NAME.fullmatch(argument) for argument in arguments):
        raise card.error("expected different names as arguments", match.start(2))
    body, _ = value_formula(card, match.end(), len(card.text))
    return match[1].lower(), Function(arguments, body)


def in_order(definitions: Mapping[str, Definition], functions: Mapping[str, Function]) -> list[Definition]:
    """The definitions, each after those it uses. Raises NetlistError that names a circular chain."""
    needs = {
        name: [used for used in _names(definition.formula, functions) if used in definitions]
        for name, definition in definitions.items()
    }
    try:
        return [definitions[name] for name in TopologicalSorter(needs).static_order()]
    except CycleError as error:
        # graphlib lists each name before the one that uses it; people read "a uses b".
        chain = list(reversed(error.args[1]))
        culprit = definitions[chain[0]]
        message = f"circular definition: {' uses '.join(chain)}"
        raise culprit.formula.card.error(message, culprit.at, "give one of them a number") from None


def _names(formula: Formula, functions: Mapping[str, Function]) -> Iterable[str]:
    """The names in a formula and in the .func cards it calls, directly or not; sorted, to be repeatable."""
    names, pending, seen = set(formula.names), list(formula.calls), set[str]()
    while pending:
        call = pending.pop()
        if call in functions and call not in seen:
            seen.add(call)
            names |= functions[call].body.names - set(functions[call].arguments)
            pending += functions[call].body.calls
    return sorted(names)


def _masked(card: Card) -> str:
    """The text with everything in quotes and braces blanked, so that a search sees only the outside."""
    text, index = list(card.text), 0
    while index < len(text):
        if text[index] in "{'\"":
            end = closing(card, index)
            text[index : end + 1] = " " * (end + 1 - index)
            index = end
        index += 1
    return "".join(text)
