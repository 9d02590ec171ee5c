"""A circuit with every device linearised at its operating point: responses, impedances and poles.

S(s) = A + s B is the Jacobian of the DC equations with its linear part taken at the complex frequency s instead of at
0. The unknowns x = (z, w) of a small signal obey S x = b u, and the outputs are y x: everything here is a solve of that
system, or of its transpose, at a few frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import CircuitError
from circuitnn.mna import Equations
from circuitnn.operating_point import OperatingPoint
from circuitnn.solving import solve_scaled

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

# Where the poles are looked for from, in rad/s: amid the audio band. Modes FASTEST times as fast as that are left out,
# because rounding makes such of infinite ones.
CENTRE = 2.0 * math.pi * 1e3
FASTEST = 1e9
# Two equal real poles come out as a conjugate pair with imaginary parts of this size at most, relatively.
ROUNDING = 1e-6


# The level of a signal that is blocked altogether, in dB and as a gain.
FLOOR = -200.0
SILENCE = 10.0 ** (FLOOR / 20.0)


def decibels(gain: NDArray[Any]) -> Real:
    """20 log10 |gain|, not below FLOOR."""
    levels: Real = 20.0 * np.log10(np.maximum(np.abs(gain), SILENCE))
    return levels


def relative(change: NDArray[Any], gain: Complex) -> Complex:
    """change / gain, nan where the signal is blocked and rounding alone would be left."""
    found: Complex = np.full(np.broadcast_shapes(change.shape, gain.shape), complex(math.nan, math.nan))
    np.divide(change, gain, out=found, where=np.abs(gain) > SILENCE)
    return found


@dataclass(frozen=True)
class Response:
    """Output over input. frequencies [f]: in Hz; gain [f, n_y, n_u]: complex, in V/V (V/A where a current drives);
    group_delay [f, n_y, n_u]: -d phase / d omega, in seconds, nan where nothing comes through."""

    frequencies: tuple[float, ...]
    gain: Complex
    group_delay: Real


@dataclass(frozen=True)
class Impedances:
    """Complex, in ohm. input [f, n_u]: what each source sees, with the other inputs at zero and nothing added to the
    outputs; output [f, n_y]: what a load at each output sees, with the inputs at zero. inf where no current flows."""

    frequencies: tuple[float, ...]
    input: Complex
    output: Complex


@dataclass(frozen=True)
class Pole:
    """A natural mode. frequency: |s| / 2 pi, in Hz; q: |s| / (-2 Re s), which is 1/2 for a real pole and negative for a
    mode that grows; oscillates: whether it stands for itself and its complex conjugate."""

    frequency: float
    q: float
    oscillates: bool


@dataclass(frozen=True)
class Linearised:
    """A and B [n, n] of S(s), b [n, n_u] and y [n_y, n], where n = m + n_n; history [n, n_x] and storage [n_x, n] with
    B = history storage: one column for each reactive branch. by_voltage [n_u]: the inputs that are voltage sources."""

    A: Real
    B: Real
    b: Real
    y: Real
    history: Real
    storage: Real
    by_voltage: tuple[bool, ...]

    def solve(self, frequency: float, right: Real) -> Complex:
        """x [n, k] of S x = right [n, k], at a frequency in Hz. Raises CircuitError if there is no such x."""
        return _solve(self._system(frequency), right)

    def adjoint(self, frequency: float) -> Complex:
        """The solution a [n, n_y] of S^T a = y^T, by which a change of S changes the gain: d gain = -a^T dS x."""
        return _solve(self._system(frequency).T, self.y.T)

    def _system(self, frequency: float) -> Complex:
        system: Complex = self.A + 2j * math.pi * frequency * self.B
        return system

    def response(self, frequencies: Sequence[float]) -> Response:
        """Gain and group delay at frequencies in Hz. The delay is exact: d gain / d omega = -a^T (j B) x."""
        shape = (len(frequencies), len(self.y), self.b.shape[1])
        gain, slope = np.zeros(shape, dtype=complex), np.zeros(shape, dtype=complex)
        for k, frequency in enumerate(frequencies):
            x = self.solve(frequency, self.b)
            gain[k] = self.y @ x
            slope[k] = -1j * self.adjoint(frequency).T @ self.B @ x
        return Response(tuple(map(float, frequencies)), gain, -relative(slope, gain).imag)

    def impedances(self, frequencies: Sequence[float]) -> Impedances:
        """Input and output impedances at frequencies in Hz."""
        n_u = self.b.shape[1]
        inputs = np.zeros((len(frequencies), n_u), dtype=complex)
        outputs = np.zeros((len(frequencies), len(self.y)), dtype=complex)
        # A unit current into each output. Its column and that of an input are read by the same vectors.
        right = np.hstack([self.b, self.y.T])
        for k, frequency in enumerate(frequencies):
            x = self.solve(frequency, right)
            # Of a current source this is the voltage that it meets, of a voltage source the current that it absorbs.
            inputs[k] = np.einsum("nu,nu->u", self.b, x[:, :n_u])
            outputs[k] = np.einsum("yn,ny->y", self.y, x[:, n_u:])
        idle = inputs == 0.0
        inputs = np.where(self.by_voltage, -1.0 / np.where(idle, 1.0, inputs), inputs)
        inputs[idle & np.array(self.by_voltage)] = np.inf
        return Impedances(tuple(map(float, frequencies)), inputs, outputs)

    def poles(self) -> tuple[Pole, ...]:
        """The natural modes, slowest first: where S(s) is singular. Raises CircuitError.

        With S(c) = A + c B at a centre c, det S(s) = 0 where s = c - 1/mu, mu an eigenvalue of storage S(c)^-1 history,
        a matrix of the size of the reactive branches alone.
        """
        with _explained():
            modes = np.linalg.eigvals(self.storage @ solve_scaled(self.A + CENTRE * self.B, self.history))
        finite = modes[np.abs(modes) * CENTRE * FASTEST > 1.0]
        s = CENTRE - 1.0 / finite
        upper = s[s.imag > -ROUNDING * np.abs(s)]
        return tuple(_pole(complex(root)) for root in sorted(upper, key=abs))


def linearise(equations: Equations, values: Mapping[str, float], point: OperatingPoint) -> Linearised:
    """The circuit for small signals around an operating point."""
    n, m = len(point.jacobian), len(equations.unknowns)
    constant, unit = (np.array(equations.coefficient_values(values, d), dtype=float) for d in (0.0, 1.0))
    A, B = point.jacobian.copy(), np.zeros((n, n))
    # As the Jacobian has it, but without what leaks at DC only.
    A[:m, :m] = equations.M.dense(constant)
    B[:m, :m] = equations.M.dense(unit - constant)
    b, y = np.zeros((n, len(equations.inputs))), np.zeros((len(equations.N_y), n))
    b[:m], y[:, :m] = equations.N_u, equations.N_y
    history, storage = np.zeros((n, len(equations.states))), np.zeros((len(equations.states), n))
    history[:m], storage[:, :m] = equations.N_x.dense(unit), equations.G_q.dense(unit)
    return Linearised(A, B, b, y, history, storage, tuple(name.startswith("V") for name in equations.inputs))


def _solve(system: NDArray[Any], right: Real) -> NDArray[Any]:
    with _explained():
        return solve_scaled(system, right)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except np.linalg.LinAlgError:
        raise CircuitError(
            "the circuit has no unique response to a small signal",
            "look for a resonance without losses, an amplifier without feedback, or values without measure",
        ) from None


def _pole(s: complex) -> Pole:
    size = abs(s)
    oscillates = s.imag > ROUNDING * size
    return Pole(size / (2.0 * math.pi), size / (-2.0 * s.real) if s.real else math.inf, oscillates)
