"""What a generated header says of a chain: its knobs, and which knobs of its parts they turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from circuitnn.exporting.cpp_text import braced, knob_table, table


def chain_struct(sample_rate: float, silence: float, knobs: Mapping[str, float], parts: Sequence[Sequence[str]]) -> str:
    """A struct called Chain, for the header chain.hpp. silence: seconds that are played before it begins; knobs: where
    they stand at first, by name; parts: the names of each part's knobs, in order."""
    links = [braced(str(own.index(name) if name in own else -1) for own in parts) for name in knobs]
    lines = [
        "static constexpr int n_u = 1, n_y = 1;",
        *knob_table(knobs),
        f"static constexpr double sample_rate = {float(sample_rate)!r};",
        f"static constexpr double silence = {float(silence)!r};",
        "static constexpr double input_level = 1.0, output_gain = 1.0;",
        "// Which knob of each part each of them turns; -1: none.",
        table("int", f"link[][{len(parts)}]", links or [braced("-1" for _ in parts)]),
    ]
    body = "\n".join(f"    {line}" for section in lines for line in section.split("\n"))
    return f"struct Chain {{\n{body}\n}};\n"
