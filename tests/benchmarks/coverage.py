"""Do 95 % intervals cover the truth in 95 % of cases? python tests/benchmarks/coverage.py [experiments of each kind]

Each experiment draws the values of a circuit from the netlist's tolerances, plays plucked chords through it, adds pink
noise, and fits the netlist to the result; gain and delay are unknown, input level and knobs are known. Counted are the
values that the recording tells better than the netlist does, and quantities that the circuit's equations determine: the
truth is in their intervals, or it is not.

The truth is simulated by the same steps in time as the fit, so there is no error of discretisation to allow for, and
none is allowed for.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from circuitnn import CircuitModel, Recording, fit, read_netlist
from circuitnn.fitting import FitResult, uncertainty
from circuitnn.learnables import Coordinate
from circuitnn.report.words import NORMAL_95

NETLISTS = Path(__file__).parents[2] / "netlists"
NOISES = (-60.0, -40.0)
RATE = 44100
SECONDS = 1.0

Signal = NDArray[np.float64]
Values = Mapping[str, float]
Quantity = Callable[[Values], float]


def product(*names: str) -> Quantity:
    """Of values."""
    return lambda values: math.prod(values[name] for name in names)


# What the equations determine where the input level and the knobs are known. Impedances of the tone stack may grow
# together, and nothing is heard.
CIRCUITS: dict[str, list[Quantity]] = {
    "ts808_clipper": [
        product("C2"), product("R4"), product("C3"), product("C4"), product("DCLIP.n"), product("DCLIP.is"),
    ],
    "fmv_tone_stack": [
        product("R1", "C2"), product("R1", "C3"), product("treble_pot", "C1"),
        lambda values: values["middle_pot"] / values["R1"], lambda values: values["bass_pot"] / values["R1"],
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Count:
    """How many intervals there were, how many of them hold the truth, and the mean square of errors in units of the
    standard error (1 where that is right)."""

    intervals: int = 0
    covered: int = 0
    square: float = 0.0

    @classmethod
    def of(cls, errors: Signal) -> Count:
        """errors: in units of their standard errors."""
        return cls(len(errors), int(np.sum(np.abs(errors) < NORMAL_95)), float(np.sum(errors**2)))

    def __add__(self, other: Count) -> Count:
        return Count(self.intervals + other.intervals, self.covered + other.covered, self.square + other.square)

    def __str__(self) -> str:
        share, rms = 100.0 * self.covered / self.intervals, math.sqrt(self.square / self.intervals)
        return f"{self.covered:5d} of {self.intervals:5d} = {share:5.1f} %, rms {rms:.2f}"


def plucked(generator: np.random.Generator) -> Signal:
    """Chords of three decaying notes each, four in all, with a peak from 0.1 to 1 V [time]."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    signal = np.zeros_like(time)
    for onset in np.arange(0.02, SECONDS - 0.1, 0.3):
        since = np.maximum(time - onset, 0.0)
        attack = (1.0 - np.exp(-since / 1e-3)) * (time > onset)
        for note in generator.integers(40, 72, 3):
            frequency = 440.0 * 2.0 ** ((int(note) - 69) / 12.0)
            for k in range(1, 16):
                phase = generator.uniform(0.0, 2.0 * math.pi)
                signal += (
                    attack
                    * np.exp(-since * (2.0 + 1.5 * k))
                    * np.sin(2.0 * math.pi * k * frequency * since + phase)
                    / k
                )
    return signal * 10.0 ** generator.uniform(-1.0, 0.0) / np.abs(signal).max()


def pink(generator: np.random.Generator, length: int) -> Signal:
    """Noise of power 1 / f with a mean square of 1 [time]."""
    spectrum = np.fft.rfft(generator.standard_normal(length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)))


@cache
def model_of(circuit: str) -> CircuitModel:
    """A circuit of the collection, whose values are learned and whose knobs are not."""
    netlist = read_netlist(NETLISTS / f"{circuit}.cir")
    knobs = {knob.name for knob in netlist.knobs}
    return CircuitModel(netlist, RATE, 1, [learn.name for learn in netlist.learn if learn.name not in knobs])


def experiment(circuit: str, noise: float, seed: int) -> tuple[Count, Count]:
    """Counts of single values that the recording tells, and of quantities; noise: in dB of the output."""
    generator = np.random.default_rng(seed)
    model = model_of(circuit)
    drawn = [
        c.width * z for c, z in zip(model.coordinates, generator.standard_normal(len(model.coordinates)), strict=True)
    ]
    truth = {
        c.name: float(c.value(torch.tensor(q, dtype=torch.float64)))
        for c, q in zip(model.coordinates, drawn, strict=True)
    }
    dry, knobs = plucked(generator), {knob.name: generator.uniform(0.1, 0.9) for knob in model.circuit.knobs}
    model.set_values(truth)
    with torch.no_grad():
        wet = model.render(torch.as_tensor(dry)[None, :, None], knobs)[0, :, 0].numpy()
    model.set_values({c.name: c.nominal for c in model.coordinates})
    level = 10.0 ** (noise / 20.0) * np.sqrt(np.mean(wet**2))
    wet = 0.3 * (wet + level * pink(generator, len(wet)))
    result = fit(model, [Recording(dry, wet, RATE, knobs, delay=0.0)], input_level=1.0)
    told = [
        (c.free(result.values[c.name]) - q) / (result.stderr[c.name] / c.slope(result.values[c.name]))
        for c, q in zip(model.coordinates, drawn, strict=True)
        if c.name not in result.identifiability.undetermined
    ]
    determined = [error_of(quantity, model.coordinates, result, truth) for quantity in CIRCUITS[circuit]]
    return Count.of(np.array(told)), Count.of(np.array(determined))


def error_of(quantity: Quantity, coordinates: Sequence[Coordinate], result: FitResult, truth: Values) -> float:
    """Error of the logarithm of a quantity, in units of its standard error by the covariance of the fit."""
    gradient = []
    for coordinate in coordinates:
        free = coordinate.free(result.values[coordinate.name])
        ends = [
            math.log(
                quantity(
                    {
                        **result.values,
                        coordinate.name: float(coordinate.value(torch.tensor(free + step, dtype=torch.float64))),
                    }
                )
            )
            for step in (-1e-3, 1e-3)
        ]
        gradient.append((ends[1] - ends[0]) / 2e-3)
    deviation = math.sqrt(np.array(gradient) @ result.covariance @ np.array(gradient))
    return (math.log(quantity(result.values)) - math.log(quantity(truth))) / deviation


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    uncertainty.DISCRETISATION_ERROR = 0.0
    print(f"{'':20s} {'values told':>30s} {'quantities determined':>30s}")
    for circuit in CIRCUITS:
        for noise in NOISES:
            singles, quantities = Count(), Count()
            for seed in range(count):
                single, determined = experiment(circuit, noise, seed)
                singles, quantities = singles + single, quantities + determined
            print(f"{circuit:15s} {noise:4.0f} dB   {singles}   {quantities}", flush=True)


if __name__ == "__main__":
    main()
