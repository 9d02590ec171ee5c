"""The resistance, inductance and capacitance that LTspice lets a part have besides its value, built as elements.

Between the terminals lie, one after the other, Lser (with RLshunt across it), Rser and the part itself; Rpar and Cpar
lie across all of it. That Rpar spans Rser follows from the AD820 model of LTspice's ADI1.lib, which computes the pole
and the zero of `C Rpar= Rser=` in this arrangement; names and parts: LTspice's help, "C. Capacitor", "L. Inductor",
"V. Voltage Source" (ltwiki.org/LTspiceHelpXVII).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from circuitnn.circuit import Element

# By kind of element. The first letter of a name is the kind of element that it is.
PARASITICS: Mapping[str, tuple[str, ...]] = {
    "C": ("rser", "lser", "rpar", "cpar", "rlshunt"),
    "L": ("rser", "rpar", "cpar"),
    "V": ("rser", "cpar"),
}


def with_parasitics(element: Element) -> Iterator[Element]:
    """The element and what its parameters say that is in series with it or across it, each an element.

    Those of C1 are R.C1.RSER and so on, between nodes such as c1.rser. What is zero is left out.
    """
    known = PARASITICS.get(element.kind, ())
    own = {name: value for name, value in element.parameters.items() if name not in known}
    values = {name: value for name, value in element.parameters.items() if name in known and value != 0}
    if len(own) == len(element.parameters):
        yield element
        return
    path = element.name.partition(".")[2] or element.name

    def part(name: str, *nodes: str) -> Element:
        return Element(f"{name[0].upper()}.{path}.{name.upper()}", nodes, values[name])

    first, last = element.nodes
    here = first
    for name in ("lser", "rser"):
        if name in values:
            inner = f"{path.lower()}.{name}"
            yield part(name, here, inner)
            if name == "lser" and "rlshunt" in values:
                yield part("rlshunt", here, inner)
            here = inner
    yield replace(element, nodes=(here, last), parameters=own)
    for name in ("rpar", "cpar"):
        if name in values:
            yield part(name, first, last)
