"""The gradient of the diode clipper against jax: a hand-reduced circuit in lax.scan, jitted.

One node, out. With the trapezoidal rule the capacitor is the conductance g = 2 C / T beside a history h, and

    g v - h = (u - v) / R - i(v),    i(v) = IS (exp(v / nVt) - exp(-v / nVt)) + 2 gmin v,    h' = 2 g v - h,

one equation G v + i(v) = b in v per step, with G = g + 1/R and b = u/R + h. Newton's method goes on until a step is
below 1e-9 V in every lane; derivatives come from the implicit function theorem. Two arrangements:

    scan      the solve of one step has a custom_jvp; jax differentiates the scan.
    adjoint   the whole run has a custom_vjp: one scan forward, one linear recurrence backward, all else vectorised
              over time. It is what one writes after profiling the first.

Both start from the last solution; for one lane it is first moved along its tangent, which pays there and not in a
batch. A fixed number of iterations (eight are needed), a closed-form start and an unrolled scan were tried too: with
XLA's CPU backend each is slower, except for unrolling the backward recurrence of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch
from common import NETLISTS, RATE, Row, check_gradient, guitar_like, lanes, print_rows, side_by_side
from torch_loop import gradient_of

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist

jax.config.update("jax_enable_x64", True)

# The netlist's learnable values: ohm, farad, ampere, and a pure number.
VALUES = {"R1": 2.2e3, "C1": 10e-9, "DCLIP.is": 2.52e-9, "DCLIP.n": 1.752}
THERMAL_VOLTAGE = 1.380649e-23 / 1.602176634e-19 * 300.15
TWO_GMIN = 2e-12
# The clipper's input needs volts where the TS-808's needs tenths: the chord's peak of 0.3 V becomes 3 V.
LEVEL = 10.0
LIMIT = 0.1
NEWTON_TOLERANCE = 1e-9
GRADIENT_TOLERANCE = 1e-6

Array = jax.Array
# g, 1/R, G in siemens, IS in ampere, 1/nVt in 1/V.
Numbers = tuple[Array, Array, Array, Array, Array]


def numbers(values: Array) -> Numbers:
    """From the values in the order of VALUES."""
    R, C, saturation, n = values
    g = 2.0 * C * RATE
    return g, 1.0 / R, g + 1.0 / R, saturation, 1.0 / (n * THERMAL_VOLTAGE)


def diodes(v: Array, saturation: Array, slope: Array) -> tuple[Array, Array]:
    """Current in ampere and conductance in siemens of the pair."""
    up = jnp.exp(slope * v)
    down = 1.0 / up
    return saturation * (up - down) + TWO_GMIN * v, saturation * slope * (up + down) + TWO_GMIN


def newton(guess: Array, b: Array, G: Array, saturation: Array, slope: Array) -> tuple[Array, Array]:
    """v with G v + i(v) = b; and, for one lane, dv/db at the last iteration (0 for a batch, where nobody reads it)."""

    def iterate(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        v, _, *tangent = carry
        i, conductance = diodes(v, saturation, slope)
        step = jnp.clip((b - G * v - i) / (G + conductance), -LIMIT, LIMIT)
        return (v + step, jnp.abs(step).max(), *([1.0 / (G + conductance)] if tangent else []))

    # One array more in the loop would cost a batch a fifth of its time.
    start = (guess, jnp.array(1.0), *([jnp.zeros_like(guess)] if guess.ndim == 0 else []))
    v, _, *tangent = jax.lax.while_loop(lambda carry: carry[1] >= NEWTON_TOLERANCE, iterate, start)
    return v, tangent[0] if tangent else jnp.zeros_like(v)


solve = jax.custom_jvp(newton)


@solve.defjvp
def _(primals: Any, tangents: Any) -> Any:
    _, db, dG, d_saturation, d_slope = tangents
    _, _, G, saturation, slope = primals
    v, dv_db = solve(*primals)
    up = jnp.exp(slope * v)
    down = 1.0 / up
    right = db - v * dG - (up - down) * d_saturation - saturation * v * (up + down) * d_slope
    # dv_db only serves as the tangent for the next guess, of which the solution does not depend.
    return (v, dv_db), (right / (G + saturation * slope * (up + down) + TWO_GMIN), jnp.zeros_like(dv_db))


def run_scan(values: Numbers, u: Array, solver: Callable[..., tuple[Array, Array]] = solve) -> Array:
    """u [steps] or [steps, batch] in volt -> v of the same shape, from rest."""
    g, conductance, G, saturation, slope = values

    def step(carry: tuple[Array, ...], from_input: Array) -> tuple[tuple[Array, ...], Array]:
        h, v, *tangent = carry
        b = from_input + h
        if tangent:
            last_b, dv_db = tangent
            v = v + jnp.clip((b - last_b) * dv_db, -LIMIT, LIMIT)
        v, dv_db = solver(jax.lax.stop_gradient(v), b, G, saturation, slope)
        return (2.0 * g * v - h, v, *((b, dv_db) if tangent else ())), v

    zero = jnp.zeros_like(u[0])
    return jax.lax.scan(step, (zero,) * (4 if u.ndim == 1 else 2), conductance * u)[1]


@jax.custom_vjp
def run_adjoint(values: Numbers, u: Array) -> Array:
    """run_scan with a derivative of its own."""
    return run_scan(values, u, newton)


def _forward(values: Numbers, u: Array) -> tuple[Array, tuple[Numbers, Array, Array]]:
    v = run_scan(values, u, newton)
    return v, (values, u, v)


def _backward(kept: tuple[Numbers, Array, Array], v_bar: Array) -> tuple[Numbers, Array]:
    (g, conductance, G, saturation, slope), u, v = kept
    up = jnp.exp(slope * v)
    down = 1.0 / up
    inverse = 1.0 / (G + saturation * slope * (up + down) + TWO_GMIN)

    def step(h_bar: Array, coefficients: tuple[Array, Array]) -> tuple[Array, Array]:
        return h_bar * coefficients[0] + coefficients[1], h_bar

    start, pairs = jnp.zeros_like(u[0]), (2.0 * g * inverse - 1.0, v_bar * inverse)
    h_bar = jax.lax.scan(step, start, pairs, reverse=True, unroll=1 if u.ndim == 1 else 8)[1]
    b_bar = (v_bar + 2.0 * g * h_bar) * inverse
    bars = (
        2.0 * (h_bar * v).sum(), (b_bar * u).sum(), -(b_bar * v).sum(), -(b_bar * (up - down)).sum(),
        -saturation * (b_bar * v * (up + down)).sum(),
    )  # fmt: skip
    return bars, conductance * b_bar


run_adjoint.defvjp(_forward, _backward)
ARRANGEMENTS: dict[str, Callable[[Numbers, Array], Array]] = {"scan": run_scan, "adjoint": run_adjoint}


def measure(repeats: int, steps: int = 4 * RATE) -> list[Row]:
    """Both arrangements at batch 1 and 32, value and gradient of the output's energy in all learnable values."""
    model = CircuitModel(read_netlist(NETLISTS / "diode_clipper.cir"), RATE, oversample=1)
    assert [coordinate.name for coordinate in model.coordinates] == list(VALUES)
    # The package differentiates in its own coordinates; the chain rule takes jax's gradient there.
    scale = torch.stack(
        [torch.autograd.grad(coordinate.value(free), free)[0] for coordinate in model.coordinates
         for free in [torch.zeros((), dtype=torch.float64, requires_grad=True)]]
    )  # fmt: skip
    start, rows = jnp.array(list(VALUES.values())), list[Row]()
    for batch, length in ((1, steps), (32, steps // 8)):
        u = LEVEL * lanes(guitar_like(length), batch)
        # Time first, so that a step's lanes lie side by side.
        signal = jnp.asarray(u[0, :, 0].numpy() if batch == 1 else u[:, :, 0].T.contiguous().numpy())
        works: dict[str, Callable[[], object]] = {"ours": partial(gradient_of, model, u)}
        target, notes = gradient_of(model, u).clone(), {}
        for name, run in ARRANGEMENTS.items():
            # The signal is an argument: a constant would be folded into the program.
            loss = jax.jit(
                jax.value_and_grad(lambda values, signal, run=run: (run(numbers(values), signal) ** 2).sum())
            )
            begin = time.perf_counter()
            _, gradient = jax.block_until_ready(loss(start, signal))
            compilation = time.perf_counter() - begin
            worst = check_gradient(
                torch.tensor(gradient.tolist(), dtype=torch.float64) * scale, target, GRADIENT_TOLERANCE
            )
            notes[name] = {"gradient_difference": worst, "compilation_s": compilation}
            works[name] = lambda loss=loss, signal=signal: jax.block_until_ready(loss(start, signal))
        per_lane = {name: 1e9 * value / (length * batch) for name, value in side_by_side(works, repeats).items()}
        rows += [
            Row(
                "jax", f"diode_clipper, gradient, batch {batch}", f"jax, {name}", per_lane["ours"], per_lane[name], note
            )
            for name, note in notes.items()
        ]
    return rows


if __name__ == "__main__":
    print_rows(measure(7))
