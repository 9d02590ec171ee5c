"""Behavioural sources that are one device: which those are, and that the circuit stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from circuits import parse

from circuitnn.circuit import Circuit
from circuitnn.devices import bundled_sources
from circuitnn.discretise import DiscreteCircuit
from circuitnn.inspection import inspect
from circuitnn.mna import Equations, build_equations

BENCH = (
    "*@ input Vin\n*@ output p\n"
    "Va a 0 3\nVb b 0 2\nRp a p 1k\nRs b s 2k\nRk k 0 500\nVin g 0 0.7\nRo o 0 1k\nC1 p k 1n\n"
)
PLATE = "G1 p k VALUE={1m*tanh(v(p,k)*v(s,k)) + 0.1m*v(g,k)**2}\n"


def devices(equations: Equations) -> dict[str, int]:
    """Name -> ports."""
    return {device.name: device.law.ports for device in equations.devices}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("G2 s k VALUE={0.2m*v(s,k)**2}", {"G1|G2": 3}),
        # Turned round, and across a difference of voltages that the first senses.
        ("G2 k s VALUE={-0.2m*v(k,s)**2}", {"G1|G2": 3}),
        ("G2 p s VALUE={0.2m*v(p,s)**3}", {"G1|G2": 3}),
        ("B2 p k I={1m*tanh(v(p,k))}", {"G1|B2": 3}),
        # It senses another voltage, or its own current flows elsewhere.
        ("G2 s k VALUE={0.2m*v(o)**2}", {"G1": 3, "G2": 2}),
        ("G2 o 0 VALUE={0.2m*v(p,k)**2}", {"G1": 3, "G2": 2}),
        # A voltage source has its current as the variable.
        ("E2 o k VALUE={v(s,k)**2}", {"G1": 3, "E2": 2}),
        ("G2 s k VALUE={0.2m*v(s,k)**2*i(Rk)}", {"G1": 3, "G2": 2}),
        ("G2 s k VALUE={0.2m*v(s,k)}", {"G1": 3}),
    ],
)
def test_sources_join_one_that_senses_all_they_need(other: str, expected: dict[str, int]) -> None:
    assert devices(build_equations(parse(f"{BENCH}{PLATE}{other}"))) == expected


def test_the_order_of_the_cards_does_not_matter() -> None:
    cards = ("G2 s k VALUE={0.2m*v(s,k)**2}\n", PLATE, "G3 g k VALUE={1m*v(g,k)**3}\n")
    assert sorted(len(bundle) for bundle in bundled_sources(parse(BENCH + "".join(cards)).elements[-3:])) == [3]
    assert list(devices(build_equations(parse(BENCH + "".join(cards[::-1])))).values()) == [3]


CIRCUITS = {
    "screen": f"{PLATE}G2 s k VALUE={{0.2m*v(s,k)**2 + 0.1m*v(g,k)}}",
    "reversed": f"{PLATE}G2 k s VALUE={{-0.2m*v(k,s)**2}}",
    "between": f"{PLATE}G2 p s VALUE={{0.2m*v(p,s)**3}}\nG3 s p VALUE={{0.1m*v(s,k)**2}}",
    "four": f"{PLATE}G2 s k VALUE={{0.2m*v(s,k)**2}}\nG3 g k VALUE={{1m*tanh(v(g,k))}}\n"
    "G4 p k VALUE={1m*tanh(v(p,k))}",
}


@pytest.mark.parametrize("name", CIRCUITS)
def test_together_they_are_what_they_are_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operating point, response, currents and power, with each source a device of its own."""

    def measured(circuit: Circuit) -> tuple[int, np.ndarray, np.ndarray, float]:
        found = inspect(circuit)
        gain = found.linearised.response([1e3, 1e5]).gain.ravel()
        power = sum(item.power for item in found.devices)
        return len(found.ports), DiscreteCircuit(circuit, 48000.0).operating_point({}).z, gain, power

    circuit = parse(BENCH + CIRCUITS[name])
    together = measured(circuit)
    monkeypatch.setattr("circuitnn.devices.bundled_sources", lambda elements: [[element] for element in elements])
    alone = measured(circuit)
    assert together[0] == 3 < alone[0]
    for a, b in zip(together[1:], alone[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-15)


def test_currents_of_a_bundle_are_listed_by_node() -> None:
    found = inspect(parse(BENCH + CIRCUITS["screen"]))
    (device,) = found.devices
    drop = {node: found.operating_point[node] for node in "psk"}
    assert device.terminals["p"] == pytest.approx((3.0 - drop["p"]) / 1e3)
    assert device.terminals["s"] == pytest.approx((2.0 - drop["s"]) / 2e3)
    assert device.terminals["k"] == pytest.approx(-drop["k"] / 500.0)
