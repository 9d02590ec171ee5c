"""A small part of the mutated netlists; `python tests/fuzz_netlists.py` examines as many as you like."""

from __future__ import annotations

import fuzz_netlists


def test_mutated_netlists_give_a_circuit_or_a_clean_error() -> None:
    found = dict(fuzz_netlists.outcomes(first=0, count=150))
    assert len(found) == 150
    defects = {seed: outcome for seed, outcome in found.items() if outcome.startswith("defect")}
    assert not defects
    # The mutations leave something to look at, and something to refuse.
    assert list(found.values()).count("circuit") > 20
    assert list(found.values()).count("NetlistError") > 20
