"""An ill-posed circuit gets an error that names the nodes and elements concerned."""

from __future__ import annotations

import pytest
from circuits import parse

from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError, CircuitnnError

DIODE = "\n.model D1N D(IS=1n)"

# name, cards, what the message must name, what it must not blame
ILL_POSED = [
    ("no ground", "V1 a b 1\nR1 a b 1k", ("ground", "a", "b"), ()),
    ("floating node behind a current source", "V1 in 0 1\nR1 in 0 1k\nI1 in x 1m", ("x", "I1"), ("R1",)),
    ("floating island", "V1 in 0 1\nR1 in 0 1k\nR2 p q 1k\nC1 p q 1n", ("p", "q", "R2", "C1"), ("R1", "V1")),
    ("sensing inputs hold nothing", "V1 in 0 1\nR1 in 0 1k\nE1 out 0 s in 10\nR2 out 0 1k", ("s", "E1"), ("R2",)),
    ("transconductance alone", "V1 in 0 1\nG1 out 0 in 0 1m", ("out", "G1"), ()),
    ("two sources in parallel", "V1 a 0 1\nV2 a 0 2\nR1 a 0 1k", ("V1", "V2"), ("R1",)),
    (
        "loop of three sources",
        "V1 a 0 1\nV2 b a 1\nV3 b 0 2\nR1 b 0 1k\nV4 c b 1\nR2 c 0 1",
        ("V1", "V2", "V3"),
        ("V4", "R1"),
    ),
    ("inductor across a source", "V1 a 0 1\nL1 a 0 1m", ("V1", "L1"), ()),
    ("loop of inductors", "V1 in 0 1\nR1 in a 1k\nL1 a 0 1m\nL2 a 0 2m", ("L1", "L2"), ("R1", "V1")),
    ("amplifier output on a source", "V1 a 0 1\nR1 a 0 1k\nE1 a 0 a 0 2", ("V1", "E1"), ("R1",)),
    ("source with both ends on one node", "V1 a a 1\nR1 a 0 1k", ("V1",), ("R1",)),
    (
        "amplifier whose output feeds nothing back",
        "V1 in 0 0\nR1 in x 1k\nE1 out 0 out 0 1\nR2 out 0 1k\nR3 x 0 1k",
        ("v(out)", "i(E1)"),
        ("v(in)", "v(x)"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("cards", "named", "innocent"), [c[1:] for c in ILL_POSED], ids=[c[0] for c in ILL_POSED])
def test_the_message_names_the_culprits(cards: str, named: tuple[str, ...], innocent: tuple[str, ...]) -> None:
    with pytest.raises(CircuitError) as caught:
        DiscreteCircuit(parse(cards), 48000.0)
    words = caught.value.message.replace(",", " ").replace("(elements", " ").replace(")", ") ").split()
    words = [word.strip(":;") for word in words] + [word.strip("():;") for word in words]
    assert set(named) <= set(words), caught.value
    assert not set(innocent) & set(words), caught.value
    assert caught.value.hint


def test_a_zero_ohm_loop_is_an_error_that_names_it() -> None:
    with pytest.raises(CircuitError, match=r"i\(R1\)") as caught:
        DiscreteCircuit(parse("V1 a 0 1\nR1 a 0 0\nR2 a b 1k\nR3 b 0 1k"), 48000.0)
    assert "v(b)" not in caught.value.message


def test_an_output_that_does_not_exist_is_named() -> None:
    with pytest.raises(CircuitnnError, match="nowhere"):
        DiscreteCircuit(parse("V1 a 0 1\nR1 a 0 1k\n*@ output nowhere"), 48000.0)


@pytest.mark.parametrize(
    "cards",
    [
        "V1 a 0 1\nC1 a b 1n\nC2 b 0 1n",  # a node between two capacitors
        "V1 a 0 1\nR1 a b 1k\nC1 b c 1n\nR2 c d 1k\nC2 d 0 1n",  # a part that only capacitors connect
        "V1 a 0 1\nC1 a 0 1n\nR1 a 0 1k",  # a loop of a source and a capacitor
        "V1 a 0 1\nR1 a b 1k\nD1 b c D1N\nD2 c 0 D1N" + DIODE,  # a node that touches only diodes
        "V1 a 0 1\nR1 a b 1k\nD1 b b D1N\nR2 b 0 1k" + DIODE,  # a short-circuited diode
        "I1 0 a 1m\nR1 a 0 1k\nL1 a 0 1m",  # an inductor as the only path at DC beside a resistor
    ],
)
def test_what_spice_accepts_is_accepted(cards: str) -> None:
    model = DiscreteCircuit(parse(cards), 48000.0)
    theta = model.theta({})
    assert theta.isfinite().all()
    model.operating_point({})


def test_a_capacitive_divider_keeps_no_charge_at_the_operating_point() -> None:
    """Nothing defines the voltage of a node between capacitors at DC; as in SPICE it starts at ground."""
    circuit = parse("V1 a 0 5\nC1 a b 1n\nC2 b 0 1n")
    point = DiscreteCircuit(circuit, 48000.0).operating_point({})
    assert point.z[circuit.nodes.index("b")] == 0.0


def test_a_loop_that_a_resistor_breaks_is_no_loop() -> None:
    DiscreteCircuit(parse("V1 a 0 1\nR1 a b 1m\nV2 b 0 2\nL1 b c 1m\nR2 c 0 1"), 48000.0)
