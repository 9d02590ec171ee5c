"""Clippers whose diodes are not what the netlist says, for the test and the benchmark of learned laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from circuitnn.circuit import Circuit
from circuitnn.devices.law import BOLTZMANN_OVER_CHARGE
from circuitnn.mna import build_equations
from circuitnn.netlist import parse_netlist
from circuitnn.operating_point import device_coefficients, law_values
from circuitnn.symbolic import NUMPY
from circuitnn.values import resolve

Signal = NDArray[np.float64]

CARDS = """
Vin in 0 0
R1 in out 2.2k
C1 out 0 10n
D1 out 0 DA
D2 0 out {second}
{more}
*@ input Vin
*@ output out
.end
"""
SILICON = ".model DA D(IS=2.52n N=1.752)"


@dataclass(frozen=True)
class Diode:
    """Shockley's equation behind a resistance."""

    saturation: float
    emission: float
    resistance: float

    def current(self, v: Signal) -> Signal:
        """In closed form, by Lambert's function (Banwell and Jayakumar, Electronics Letters 36, 2000)."""
        thermal = self.emission * BOLTZMANN_OVER_CHARGE * 300.15
        scale = self.saturation * self.resistance / thermal
        argument = scale * np.exp((v + self.saturation * self.resistance) / thermal)
        current: Signal = thermal / self.resistance * lambertw(argument).real - self.saturation
        return current

    def card(self, name: str) -> str:
        return f".model {name} D(IS={self.saturation!r} N={self.emission!r} RS={self.resistance!r})"


@dataclass(frozen=True)
class Truth:
    """What is really between `out` and ground: a diode each way, and what leaks past them [ohm]."""

    forward: Diode
    reverse: Diode
    leakage: float

    def current(self, v: Signal) -> Signal:
        return self.forward.current(v) - self.reverse.current(-v) + v / self.leakage

    @property
    def netlist(self) -> str:
        cards = f"{self.forward.card('DA')}\n{self.reverse.card('DB')}\nRleak out 0 {self.leakage!r}"
        return "truth" + CARDS.format(second="DB", more=cards)


GERMANIUM = Diode(1e-6, 1.3, 30.0)
TRUTHS: Mapping[str, Truth] = {
    "germanium": Truth(GERMANIUM, GERMANIUM, 100e3),
    "asymmetric": Truth(GERMANIUM, Diode(2.52e-9, 1.752, 1.0), 1e6),
}
# The netlist has two equal diodes of silicon.
SHOCKLEY = "*@ learn DA.is DA.n"
NETWORK = "*@ network D1 D2"


def believed(learned: str) -> Circuit:
    """The circuit that the netlist describes, with a card that says what is learned."""
    return parse_netlist("believed" + CARDS.format(second="DA", more=f"{SILICON}\n{learned}"))


def law_current(circuit: Circuit, values: Mapping[str, float], v: Signal) -> Signal:
    """What flows from `out` to ground through the diodes of a circuit with these values."""
    device, *others = build_equations(circuit).devices
    assert not others
    c = device_coefficients(device, resolve(circuit, values, NUMPY), circuit.temperature, NUMPY)
    _, (current,) = law_values(device.law, v[None], c, NUMPY)
    return np.asarray(current)


def visited(truth: Truth, output: Signal, share: float) -> Signal:
    """Voltages of both signs, up to the largest that the output has, at which at least `share` of the largest current
    of that sign flows."""
    ends = []
    for sign in (-1.0, 1.0):
        v = sign * np.linspace(1e-3, np.abs(output[sign * output > 0.0]).max(), 400)
        current = np.abs(truth.current(v))
        ends.append(v[current >= share * current.max()])
    return np.sort(np.concatenate(ends))
