"""What a generated header says of a circuit: its device laws and its equations, as the run-time headers want them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from circuitnn.codegen import law_source
from circuitnn.errors import CircuitnnError
from circuitnn.exporting.cpp_text import braced, comment, table
from circuitnn.exporting.equations import FACTOR, ExportedKnob, Formulas, dense_rows, formulas, position_of, stamp_rows
from circuitnn.exporting.subject import Subject
from circuitnn.exporting.tracing import Traced, text_of
from circuitnn.mna import DIFFERENTIATED, RECIPROCAL, UNITY

_OVERSAMPLING = (1, 2, 4, 8)


def circuit_struct(subject: Subject) -> str:
    """The device laws and a struct called Circuit, for the header processor.hpp. Raises CircuitnnError."""
    if subject.oversample not in _OVERSAMPLING:
        raise CircuitnnError(
            f"oversample {subject.oversample} is not one of {', '.join(map(str, _OVERSAMPLING))}",
            "give one of them by --oversample",
        )
    model = subject.model()
    discrete = model.discrete
    structure, equations, scheme = discrete.structure, discrete.equations, discrete.scheme
    numbers = formulas(discrete)
    laws = {law.name: law for law in structure.laws}
    remaining = iter(structure.laws)
    stages = [f"circuitnn::Stage<{', '.join(next(remaining).name for _ in range(n))}>" for n in structure.stages]
    dependent = discrete.selection.dependent
    sections = [
        _constants(
            ("n_x", structure.n_x), ("n_u", structure.n_u), ("n_y", structure.n_y),
            ("unknowns", len(equations.unknowns)), ("branches", len(equations.states)),
            ("values", len(numbers.c)), ("sources", len(numbers.sources)), ("knobs", len(numbers.knobs)),
            ("memory", scheme.memory), ("moving", len(numbers.moving)),
            ("moving_sources", len(numbers.moving_sources)),
        ),
        f"static constexpr bool plain = {str(structure.plain).lower()};",
        f"using Stages = circuitnn::Sequence<{', '.join(stages)}>;",
        "\n// The knobs, and where they stand at first.",
        _knobs(numbers.knobs),
        "\n// Where it was fitted, or is meant to run; volt at digital full scale, and digital full scale per volt.",
        f"static constexpr int oversampling = {subject.oversample};",
        f"static constexpr double sample_rate = {float(subject.sample_rate)!r};",
        f"static constexpr double input_level = {float(subject.input_level)!r};",
        f"static constexpr double output_gain = {float(subject.output_gain)!r};",
        "\n// The discretisation: " + scheme.name + ".",
        f"static constexpr double factor = {scheme.factor!r};",
        table("double", f"carry[{scheme.memory}][{scheme.memory}]", [braced(map(repr, row)) for row in scheme.carry]),
        table("double", f"gain[{scheme.memory}]", map(repr, scheme.gain)),
        "\n// The unknowns z: " + comment(", ".join(equations.unknowns)),
        "// The ports: " + comment(", ".join(equations.ports)),
        "// Reactive branches: " + comment(", ".join(equations.states)),
        "// Entries of the equations' matrices: row, column, weight, which of the values c.",
        _entries("M", stamp_rows(equations.M)),
        _entries("N_x", stamp_rows(equations.N_x)),
        _entries("G_q", stamp_rows(equations.G_q)),
        *(_entries(name, dense_rows(getattr(equations, name))) for name in ("N_u", "N_s", "N_n", "N_y")),
        _entries("leak", dense_rows(np.diag(equations.leak))),
        "\n// Port quantities, voltages before currents, that are free, and those that follow from them.",
        table("int", "free_ports[]", map(str, structure.free or (0,))),
        table("int", "dependent[]", map(str, dependent or (0,))),
        "\n// What knobs move while the circuit runs: each of these values changes M by left right^T.",
        table("int", "moving_values[]", map(str, numbers.moving or (0,))),
        _entries("left", dense_rows(numbers.left.T)),
        _entries("right", dense_rows(numbers.right)),
        table("int", "moving_source[]", map(str, numbers.moving_sources or (0,))),
        "\n// The solution at rest, at the positions above.",
        table("double", "z_rest[]", map(repr, numbers.point.z.tolist())),
        table("double", "w_rest[]", map(repr, numbers.point.w.tolist() or [0.0])),
        "\n" + _setter(numbers, equations),
    ]  # fmt: skip
    body = "\n".join(f"    {line}" if line else "" for section in sections for line in section.split("\n"))
    return f"""{chr(10).join(law_source(law, differentiated=False) for law in laws.values())}
struct Circuit {{
{body}
}};

// In double precision, with the oversampling that it was fitted with.
using Processor = circuitnn::Processor<Circuit, Circuit::oversampling, double>;
"""


def _constants(*pairs: tuple[str, int]) -> str:
    return "\n".join(f"static constexpr int {name} = {value};" for name, value in pairs)


def _knobs(knobs: Sequence[ExportedKnob]) -> str:
    rows = [f'{{"{k.name}", {k.position!r}, {str(k.held is None).lower()}}}' for k in knobs]
    notes = [f"// {k.name} waits for reset(): {comment(k.held)}" for k in knobs if k.held is not None]
    return "\n".join([*notes, table("circuitnn::Knob", "knob[]", rows or ['{"", 0.0, false}'])])


def _entries(name: str, rows: Sequence[tuple[int, int, float, int]]) -> str:
    items = [f"{{{row}, {column}, {weight!r}, {value}}}" for row, column, weight, value in rows]
    if not items:
        return f"static constexpr circuitnn::Entries<0> {name} = {{}};"
    listed = table(f"circuitnn::Entries<{len(items)}>", name, items)
    return listed.replace("= {", "= {{", 1).removesuffix("};") + "}};"


def _setter(numbers: Formulas, equations: Any) -> str:
    """The function that computes c, s and the devices' coefficients from the knobs' positions."""
    lines = [
        f"[[maybe_unused]] const double {position_of(knob.name)} = positions[{k}];"
        for k, knob in enumerate(numbers.knobs)
    ]
    lines += numbers.statements
    for k, ((rule, name), number) in enumerate(zip(equations.coefficients, numbers.c, strict=True)):
        lines.append(f"c[{k}] = {_outer(number)};  // {_meaning(rule, name)}")
    for k, (name, number) in enumerate(zip(equations.sources, numbers.sources, strict=True)):
        lines.append(f"s[{k}] = {_outer(number)};  // {comment(name)}")
    position = 0
    for device in equations.devices:
        for symbol in device.law.coefficients:
            number = _outer(numbers.coefficients[position])
            lines.append(f"coefficients[{position}] = {number};  // {comment(device.name)}: {symbol.name}")
            position += 1
    body = "\n".join(f"    {line}" for line in lines)
    return (
        "// The values in the equations, the constant sources, and the coefficients of the devices' laws.\n"
        f"static void set([[maybe_unused]] const double* positions, [[maybe_unused]] double {FACTOR}, double* c,\n"
        f"                [[maybe_unused]] double* s, [[maybe_unused]] double* coefficients) {{\n{body}\n}}"
    )


def _outer(number: Any) -> str:
    """A formula that stands alone."""
    text = text_of(number)
    return text[1:-1] if isinstance(number, Traced) and _wrapped(text) else text


def _wrapped(text: str) -> bool:
    """Whether the first parenthesis closes at the end."""
    depth = 0
    for k, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return text[0] == "(" and k == len(text) - 1
    return False


def _meaning(rule: str, name: str) -> str:
    if rule == UNITY:
        return "the number 1"
    return {RECIPROCAL: "1 / ", DIFFERENTIATED: f"{FACTOR} "}.get(rule, "") + comment(name)
