"""What a circuit does: its response to small signals, its steady answer to a sine at rising levels, and what flows
through devices whose law it has learned."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sympy import Symbol

from circuitnn.circuit import DeviceNetwork
from circuitnn.errors import ConvergenceWarning
from circuitnn.inspection.linearised import decibels, linearise
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.operating_point import device_coefficients, law_values, operating_point
from circuitnn.symbolic import NUMPY
from circuitnn.values import resolve

Real = NDArray[np.float64]

# The sine of a level sweep, in Hz: where distortion is usually stated. The nearest that fits the window is taken.
FREQUENCY = 1000.0
# Periods that are looked at, and the time before them in which coupling capacitors settle, in seconds.
PERIODS, SETTLING = 20, 0.3
# The fundamental counts as the first.
HARMONICS = 7
# Step in a coordinate that is learned, for derivatives of the response.
BAND_STEP = 1e-4
# Voltages at which a learned law is looked at.
LAW_POINTS = 401
# Levels below the highest one, in dB.
LEVELS = tuple(range(-48, 1, 2))


@dataclass(frozen=True)
class LevelSweep:
    """The steady answer to sines of `frequency` [Hz] at rising levels, in volt.

    amplitudes [levels]: peaks of the input. peaks [levels, 2]: of the output without its mean, where the input is
    positive and where it is negative. harmonics [levels, HARMONICS]: amplitudes of the fundamental and of its
    multiples, nan beyond half the sample rate. failures: steps that did not converge, as the core words it, or "".
    """

    frequency: float
    amplitudes: Real
    peaks: Real
    harmonics: Real
    failures: str


def small_signal_gain(
    model: CircuitModel, knobs: Mapping[str, float], frequencies: Sequence[float]
) -> NDArray[np.complex128]:
    """Output over input [f] around the operating point, at the model's present values; frequencies in Hz.

    Raises CircuitError and ConvergenceError.
    """
    circuit, equations = model.circuit, model.discrete.equations
    values = resolve(circuit, {name: float(value.detach()) for name, value in model.overrides(knobs).items()}, NUMPY)
    point = operating_point(equations, values, circuit.temperature)
    return linearise(equations, values, point).response(frequencies).gain[:, 0, 0]


def level_band(model: CircuitModel, knobs: Mapping[str, float], frequencies: Sequence[float], spread: Real) -> Real:
    """Standard error [f] of the small-signal gain's level, in dB, at the model's present values: sqrt(g^T spread g),
    with g the derivatives of the level by the model's coordinates and spread [p, p] the covariance of these.

    Raises CircuitError and ConvergenceError.
    """
    centre = model.free.detach().clone()
    slopes = []
    try:
        for k in range(len(centre)):
            ends = []
            for step in (-BAND_STEP, BAND_STEP):
                with torch.no_grad():
                    model.free.copy_(centre)
                    model.free[k] += step
                ends.append(decibels(small_signal_gain(model, knobs, frequencies)))
            slopes.append((ends[1] - ends[0]) / (2.0 * BAND_STEP))
    finally:
        with torch.no_grad():
            model.free.copy_(centre)
    g = np.array(slopes)
    variance: Real = np.einsum("kf,kl,lf->f", g, spread, g)
    return np.sqrt(np.maximum(variance, 0.0))


def level_sweep(model: CircuitModel, knobs: Mapping[str, float], highest: float) -> LevelSweep:
    """The first output's answer to sines at the first input, up to a peak of `highest` volt, at the present values.

    A window of N samples holds PERIODS periods, so a harmonic is one bin: a_h = |2/N sum y[n] exp(-2 pi j h n k / N)|
    with k = PERIODS. A model without oversampling does it without the colour of rate converters.

    Raises CircuitError and ConvergenceError.
    """
    length = round(PERIODS * model.sample_rate / FREQUENCY)
    frequency = PERIODS * model.sample_rate / length
    amplitudes = highest * 10.0 ** (np.array(LEVELS) / 20.0)
    time = np.arange(round(SETTLING * model.sample_rate) + length)
    sine = np.sin(2.0 * np.pi * PERIODS * time / length)
    u = torch.zeros(len(amplitudes), len(time), model.discrete.structure.n_u, dtype=torch.float64)
    u[:, :, 0] = torch.as_tensor(np.outer(amplitudes, sine))
    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        y = model.render(u, knobs)[:, :, 0].numpy()
    y = y[:, -length:] - y[:, -length:].mean(1, keepdims=True)
    bins = PERIODS * np.arange(1, HARMONICS + 1)
    audible = bins < length / 2
    harmonics = np.full((len(amplitudes), HARMONICS), np.nan)
    harmonics[:, audible] = np.abs(np.fft.rfft(y)[:, bins[audible]]) * 2.0 / length
    high, low = y.max(1), y.min(1)
    upright = y @ sine[-length:] >= 0.0
    peaks = np.stack([np.where(upright, high, low), np.where(upright, low, high)], 1)
    failures = " ".join(str(warning.message) for warning in caught if warning.category is ConvergenceWarning)
    return LevelSweep(frequency, amplitudes, peaks, harmonics, failures)


@dataclass(frozen=True)
class LearnedLaw:
    """What flows through the devices of a network, in ampere, at voltages [n] as far as the law is free. reach [n]: the
    standard error of the logarithm of the fitted current."""

    voltage: Real
    nominal: Real
    fitted: Real
    reach: Real


def learned_law(
    model: CircuitModel,
    network: DeviceNetwork,
    nominal: Mapping[str, float],
    fitted: Mapping[str, float],
    spread: Real,
) -> LearnedLaw:
    """The current at the values `nominal` and `fitted`; spread [p, p]: the covariance of the model's coordinates."""
    circuit = model.circuit
    name = "|".join(network.elements)
    device = next(device for device in model.discrete.equations.devices if device.name == name)

    def coefficients(values: Mapping[str, float]) -> dict[Symbol, float]:
        return device_coefficients(device, resolve(circuit, values, NUMPY), circuit.temperature, NUMPY)

    def current(values: Mapping[str, float]) -> Real:
        (found,) = law_values(device.law, voltage[None], coefficients(values), NUMPY)[1]
        return np.asarray(found)

    density = {symbol.name: value for symbol, value in coefficients(fitted).items()}["density"]
    voltage = np.linspace(-1.0, 1.0, LAW_POINTS) * network.units / density
    slopes = np.zeros((len(model.coordinates), len(voltage)))
    for k, coordinate in enumerate(model.coordinates):
        if coordinate.name in network.values:
            free = torch.tensor(coordinate.free(fitted[coordinate.name]))
            ends = [
                current({**fitted, coordinate.name: float(coordinate.value(free + s))}) for s in (-BAND_STEP, BAND_STEP)
            ]
            with np.errstate(invalid="ignore"):
                slopes[k] = np.nan_to_num(np.log(ends[1] / ends[0]) / (2.0 * BAND_STEP))
    reach = np.sqrt(np.maximum(np.einsum("kv,kl,lv->v", slopes, spread, slopes), 0.0))
    return LearnedLaw(voltage, current(nominal), current(fitted), reach)
