"""Knobs that move while the circuit runs: numbers between points, the Woodbury update, and what one hears."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from circuits import RATE, TWO_STAGES, parse, start
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import ellip, sosfilt
from torch import Tensor

from circuitnn import dk
from circuitnn.discretise import DiscreteCircuit
from circuitnn.errors import CircuitError, CircuitnnError
from circuitnn.kernel import CompiledKernel
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.reference import ReferenceKernel
from circuitnn.simulate import CONTROL_PERIOD, kernel_id, simulate

SWEPT = ("fmv_tone_stack", "ts808")


@cache
def netlist_model(name: str, oversample: int = 1) -> CircuitModel:
    return CircuitModel(read_netlist(Path(__file__).parents[1] / f"netlists/{name}.cir"), 48000.0, oversample, [])


def sine(frequency: float, time: int, level: float) -> Tensor:
    return level * torch.sin(2.0 * torch.pi * frequency / 48000.0 * torch.arange(time).double())[None, :, None]


# --- The kernels ----------------------------------------------------------------------------------------------------

MODEL = DiscreteCircuit(parse(TWO_STAGES), RATE)
HOLD = 8


def kernel_inputs(time: int, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, x, w = start(MODEL)
    generator = torch.Generator().manual_seed(0)
    points = -(-time // HOLD) + 1
    u = 0.15 * torch.randn(batch, time, 1, dtype=torch.float64, generator=generator).clamp(-2.0, 2.0)
    theta = torch.stack(
        [
            torch.stack([MODEL.theta({"R3": 1e3 * (1 + k + 2 * p), "R2": 1e4 / (1 + p)}) for p in range(points)])
            for k in range(batch)
        ]
    ).detach()
    return u, x.expand(batch, -1), w.expand(batch, -1), theta


def test_moving_numbers_in_both_kernels() -> None:
    """Simulation, adjoint and tangent; 21 samples are two blocks and a part of the third."""
    u, x, w, theta = kernel_inputs(21)
    s = MODEL.structure
    generator = torch.Generator().manual_seed(1)
    y_bar = torch.randn(2, 21, s.n_y, dtype=torch.float64, generator=generator)
    x_bar = 1e3 * torch.randn(2, s.n_x, dtype=torch.float64, generator=generator)
    du = torch.randn(2, 21, 1, 3, dtype=torch.float64, generator=generator)
    dx = 1e-6 * torch.randn(2, s.n_x, 3, dtype=torch.float64, generator=generator)
    dtheta = 0.01 * theta[..., None] * torch.randn(*theta.shape, 3, dtype=torch.float64, generator=generator)
    # What stands above the diagonal blocks is zero, and the compiled core does not read it.
    above = torch.zeros(s.n_n, s.n_n, dtype=torch.bool)
    above[0, 1:] = True
    unread = torch.zeros(s.size, dtype=torch.bool)
    matrices, _ = s.unpack(unread)
    assert s.stages == (1, 3)
    for matrix in (matrices.P, matrices.Q):
        matrix |= above
    dtheta[:, :, unread] = 0.0
    results = []
    for kernel in (CompiledKernel(s), ReferenceKernel(s)):
        run = kernel.simulate(u, x, w, theta, 1, HOLD)
        bars = kernel.adjoint(u, run.xs, run.ws, theta, y_bar, x_bar, 1, HOLD)
        _, dy, dx_end = kernel.tangent(u, x, w, theta, du, dx, s.tangent_of(dtheta), HOLD)
        dy = dy[..., : du.shape[-1]]
        results.append((run.y, run.x, *bars, dy, dx_end))
        # One and the same derivative: <bar, J d> = <J^T bar, d>.
        forward = (dy * y_bar[..., None]).sum((0, 1, 2)) + (dx_end * x_bar[..., None]).sum((0, 1))
        backward = sum(
            (bar[..., None] * d).flatten(0, -2).sum(0) for bar, d in zip(bars, (du, dx, dtheta), strict=True)
        )
        torch.testing.assert_close(forward, backward, rtol=1e-8, atol=1e-9)
    for found, expected in zip(*results, strict=True):
        if expected.shape[-1] == s.size:
            expected[..., unread] = 0.0
        scale = expected.abs().amax(tuple(range(expected.dim() - 1)), keepdim=True) + 1e-12 * expected.abs().max()
        assert float(((found - expected).abs() / scale).max()) < 1e-7
    assert float((results[0][0] - CompiledKernel(s).simulate(u, x, w, theta[:, :1]).y).abs().max()) > 1e-2


def test_gradcheck_by_the_points() -> None:
    """Through the operation, over two blocks and a part, with oversampling."""
    time, points = 70, 4
    u = 0.2 * torch.sin(0.4 * torch.arange(time, dtype=torch.float64))[None, :, None]
    _, x, w = start(MODEL)
    base = MODEL.theta({}).detach()
    rate = (MODEL.theta({"R3": 3e3, "R1": 1.05e3, "DS.n": 1.8}).detach() - base)[None]

    def output(position: Tensor) -> Tensor:
        theta = base + position[:, None] * rate
        return simulate(u, x, w, theta[None], kernel_id(MODEL.structure, True), 2).y[:, ::7]

    position = torch.linspace(0.0, 0.5, points, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(output, (position,), eps=1e-5, atol=1e-7, rtol=1e-6, check_forward_ad=True)


def test_a_theta_of_the_wrong_length_is_refused() -> None:
    _, x, w = start(MODEL)
    theta, u = MODEL.theta({}), torch.zeros(1, 100, 1, dtype=torch.float64)
    for points in (2, 4, 6):
        with pytest.raises(ValueError, match="theta"):
            simulate(u, x, w, theta.expand(1, points, -1), kernel_id(MODEL.structure, True))
    with pytest.raises(ValueError, match="theta"):
        simulate(u.expand(3, -1, -1), x.expand(3, -1), w.expand(3, -1), theta.expand(2, -1), kernel_id(MODEL.structure))


# --- The numbers at each point --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ts808", "fmv_tone_stack", "big_muff", "tube_preamp"])
def test_the_update_equals_the_whole_reduction(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At random positions and at both stops of each knob, and starting from any of them."""
    model = netlist_model(name)
    discrete, knobs = model.discrete, [knob.name for knob in model.circuit.knobs]
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(8, len(knobs), dtype=torch.float64, generator=generator)
    positions[2], positions[5], positions[6] = 0.0, 1.0, (torch.arange(len(knobs)) % 2).double()
    solve = torch.linalg.solve

    def refined(matrix: Tensor, right: Tensor) -> Tensor:
        """With residuals in extended precision. The history of a large capacitor is a small difference of large numbers
        (25 uF beside 1 pF in the preamplifier), where the reduction's own rounding would be all that one sees."""
        if matrix.dim() > 2 or len(matrix) <= 2 * len(knobs):
            return solve(matrix, right)
        m, b = (tensor.numpy().astype(np.longdouble) for tensor in (matrix, right))
        x = solve(matrix, right).numpy().astype(np.longdouble)
        for _ in range(3):
            x = x + solve(matrix, torch.as_tensor((b - m @ x).astype(float))).numpy()
        return torch.as_tensor(x.astype(float))

    monkeypatch.setattr(dk.torch.linalg, "solve", refined)
    with torch.no_grad():
        whole = torch.stack([discrete.theta(model.overrides(dict(zip(knobs, p, strict=True)))) for p in positions])
        for first in (0, 2, 5):
            rolled = positions.roll(-first, 0)
            found = discrete.theta_along(model.overrides(dict(zip(knobs, rolled.T, strict=True))), 8).roll(first, 0)
            assert float((found - found[0]).abs().max()) > 1e-3
            offset = 0
            for rows, columns in [*discrete.structure.shapes.values(), (1, discrete.structure.size)]:
                part = slice(offset, offset + rows * columns)
                offset = part.stop
                if whole[:, part].numel():
                    scale = whole[:, part].abs().amax(1, keepdim=True).clamp(min=1e-12)
                    assert float(((found - whole)[:, part].abs() / scale).max()) < 1e-10


def test_a_knob_that_moves_a_device_law() -> None:
    """A .param in a formula of a behavioural source moves the coefficients of its law, not the matrices."""
    circuit = parse(
        ".param gain=0.5\nVin in 0 0\nR1 in out 1k\nC1 out 0 10n\nB1 out 0 I={1m*gain*tanh(v(out))}\n"
        "*@ input Vin\n*@ output out\n*@ knob gain 0.5"
    )
    model = CircuitModel(circuit, 48000.0, 1, [])
    u = sine(400.0, 320, 1.0)
    sweep = torch.linspace(0.0, 1.0, 320, dtype=torch.float64)[None]
    y = model(u, knobs={"gain": sweep})[0]
    ends = [model(u, knobs={"gain": g})[0] for g in (0.0, 1.0)]
    torch.testing.assert_close(y[0, :3], ends[0][0, :3], rtol=0, atol=1e-3)
    torch.testing.assert_close(y[0, -3:], ends[1][0, -3:], rtol=0, atol=1e-2)
    assert float((ends[0] - ends[1]).abs().max()) > 0.1


# --- The model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oversample", [1, 4])
@pytest.mark.parametrize("name", SWEPT)
def test_a_knob_that_stands_still(name: str, oversample: int) -> None:
    model, u = netlist_model(name, oversample), sine(300.0, 500, 0.3)
    knob = model.circuit.knobs[0].name
    with torch.no_grad():
        for shape in ((1, 500), (2, 500)):
            y, end = model(u.expand(2, -1, -1), knobs={knob: torch.full(shape, 0.7, dtype=torch.float64)})
            still, at_end = model(u.expand(2, -1, -1), knobs={knob: 0.7})
            torch.testing.assert_close(y, still, rtol=0, atol=1e-9)
            torch.testing.assert_close(end.theta, at_end.theta.expand_as(end.theta), rtol=1e-9, atol=1e-9)


def test_a_slow_turn_goes_through_the_settled_sounds() -> None:
    """The slower the turn, the closer is each moment to the circuit with the knob standing there."""
    model, time = netlist_model("fmv_tone_stack"), 24000
    u = sine(300.0, time, 0.3)
    errors = []
    with torch.no_grad():
        for extent in (0.4, 0.1, 0.025):
            position = 0.5 + extent * (torch.linspace(0.0, 1.0, time, dtype=torch.float64) - 0.5)[None]
            y = model(u, knobs={"treble": position, "bass": position})[0]
            middle = slice(time // 2 - 240, time // 2 + 240)
            still = model(u, knobs={"treble": 0.5, "bass": 0.5})[0]
            errors.append(
                float((y - still)[0, middle].square().mean().sqrt() / still[0, middle].square().mean().sqrt())
            )
    assert errors[2] < 2e-3
    for fast, slow in pairwise(errors):
        assert slow == pytest.approx(fast / 4.0, rel=0.2)


@pytest.mark.parametrize(
    ("name", "knob"), [(n, k.name) for n in SWEPT for k in netlist_model(n).circuit.knobs], ids=lambda v: v
)
def test_a_turn_of_half_a_second_makes_no_click(name: str, knob: str) -> None:
    """What a small 500 Hz tone has above 2 kHz while the knob goes from stop to stop, against the tone.

    The hand starts and stops softly: the corner of a turn that ends abruptly is heard with numbers for every sample,
    too (-76 dB for the tone knob).
    """
    model, time = netlist_model(name), 24000
    u = sine(500.0, 2 * time, 1e-4)
    position = 0.5 - 0.5 * torch.cos(torch.linspace(0.0, torch.pi, time, dtype=torch.float64))
    position = torch.cat([torch.zeros(time // 2).double(), position, torch.ones(time // 2).double()])[None]
    with torch.no_grad():
        _, settled = model(u, knobs={knob: 0.0})
        turned = model(u, settled, knobs={knob: position})[0]
        # The measure sees a click where the same way is gone at once.
        first, state = model(u[:, :time], settled, knobs={knob: 0.0})
        second, _ = model(u[:, time:], state, knobs={knob: 1.0})
    assert click(turned) < -80.0
    assert click(torch.cat([first, second], 1)) > click(turned) + 20.0


def click(output: Tensor) -> float:
    """dB of the largest 20 ms above 2 kHz against the largest 20 ms of all."""
    y = output[0, :, 0].numpy() - float(output.mean())
    high = sosfilt(ellip(10, 0.1, 140.0, 2000.0, "highpass", fs=48000.0, output="sos"), y)
    loud = [np.sqrt(np.square(part).reshape(-1, 960).mean(1)[4:].max()) for part in (high, y)]
    return 20.0 * float(np.log10(loud[0] / loud[1]))


@pytest.mark.parametrize("name", SWEPT)
def test_gradients_reach_the_positions(name: str) -> None:
    """By finite differences, along random directions; also where the knob stands still."""
    model, u, time = netlist_model(name, 2), sine(700.0, 100, 0.3), 100
    knob = model.circuit.knobs[1].name
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, time, 1, dtype=torch.float64, generator=generator)
    for position in (torch.linspace(0.2, 0.8, time).double(), torch.full((time,), 0.4).double()):
        position = position[None].requires_grad_()
        (gradient,) = torch.autograd.grad((model(u, knobs={knob: position})[0] * weight).sum(), position)
        direction = torch.rand(1, time, dtype=torch.float64, generator=generator)
        with torch.no_grad():
            loss = [float((model(u, knobs={knob: position + d * direction})[0] * weight).sum()) for d in (1e-4, -1e-4)]
        expected = (loss[0] - loss[1]) / 2e-4
        assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-9)
        # Only the positions that are read, each of which counts.
        read = [0, *range(CONTROL_PERIOD - 1, time, CONTROL_PERIOD), time - 1]
        assert sorted(torch.nonzero(gradient[0]).flatten().tolist()) == sorted(set(read))


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 9), max_size=4), oversample=st.sampled_from([1, 4]))
def test_chunks_of_whole_blocks_equal_the_whole(cuts: list[int], oversample: int) -> None:
    model, time = netlist_model("ts808", oversample), 10 * CONTROL_PERIOD - 5
    u = sine(700.0, time, 0.3)
    position = (0.5 + 0.5 * torch.sin(0.03 * torch.arange(time, dtype=torch.float64)))[None]
    edges = [0, *(CONTROL_PERIOD * cut for cut in sorted(cuts)), time]
    with torch.no_grad():
        whole, end = model(u, knobs={"drive": position, "tone": 1.0 - position})
        pieces, state = [], None
        for first, last in pairwise(edges):
            if first == last and state is None:
                continue
            chunk = position[:, first:last]
            y, state = model(u[:, first:last], state, knobs={"drive": chunk, "tone": 1.0 - chunk})
            pieces.append(y)
    assert state is not None
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-9)
    torch.testing.assert_close(state.theta, end.theta, rtol=1e-9, atol=1e-10)


def test_other_chunks_have_no_jump_either() -> None:
    """Blocks begin with the chunk, so the way differs a little, but it stays in one piece."""
    model, time = netlist_model("fmv_tone_stack"), 400
    u = torch.ones(1, time, 1, dtype=torch.float64)
    position = torch.linspace(0.0, 1.0, time, dtype=torch.float64)[None]
    with torch.no_grad():
        _, settled = model(torch.ones(1, 20000, 1), knobs={"middle": 0.0})
        whole = model(u, settled, knobs={"middle": position})[0]
        first, state = model(u[:, :77], settled, knobs={"middle": position[:, :77]})
        second, _ = model(u[:, 77:], state, knobs={"middle": position[:, 77:]})
        glided = model(u, settled, knobs={"middle": torch.ones(1, time)})[0]
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-3)
    assert float((glided - whole).abs().max()) < 1.0


def test_a_batch_of_turns_equals_one_by_one() -> None:
    model, time = netlist_model("ts808", 2), 150
    u = sine(700.0, time, 0.3).expand(3, -1, -1) * torch.tensor([1.0, 0.5, -1.0]).double()[:, None, None]
    position = torch.rand(3, time, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = model(u, knobs={"drive": position, "level": torch.tensor([0.2, 0.5, 0.9])})[0]
        for k, level in enumerate((0.2, 0.5, 0.9)):
            alone = model(u[k : k + 1], knobs={"drive": position[k : k + 1], "level": level})[0]
            torch.testing.assert_close(together[k], alone[0], rtol=0, atol=1e-7)


# --- Messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 99), (2, 100), (100, 1), (3, 99), (1, 1, 100), (100,)])
def test_a_wrong_shape_is_explained(shape: tuple[int, ...]) -> None:
    u = torch.zeros(3, 100, 1, dtype=torch.float64)
    with pytest.raises(CircuitnnError, match=r"one per sample \[1 or 3, 100\]"):
        netlist_model("ts808")(u, knobs={"drive": torch.full(shape, 0.5)})


def test_a_position_out_of_range_is_explained() -> None:
    with pytest.raises(CircuitnnError, match="from 0 to 1"):
        netlist_model("ts808")(torch.zeros(1, 64, 1), knobs={"drive": torch.linspace(0.0, 1.1, 64)[None]})


@pytest.mark.parametrize(
    ("card", "name"),
    [("C1 out 0 {1n + 10n*p}", "C1"), ("L1 out 0 {1m + 10m*p}", "L1"), ("V1 out z {p}\nR9 z 0 1k", "source")],
)
def test_a_knob_that_moves_something_else_is_explained(card: str, name: str) -> None:
    cards = f".param p=0.5\nVin in 0 0\nR1 in out 1k\n{card}\n*@ input Vin\n*@ output out\n*@ knob p 0.5"
    model, u = CircuitModel(parse(cards), 48000.0, 1, []), torch.zeros(1, 64, 1, dtype=torch.float64)
    model(u, knobs={"p": 0.3})
    for position in (torch.linspace(0.0, 1.0, 64)[None], torch.full((1, 64), 0.5)):
        with pytest.raises(CircuitError, match=f"{name}.*cannot move while the circuit runs"):
            model(u, knobs={"p": position})


def test_an_empty_chunk_with_a_knob() -> None:
    model = netlist_model("ts808", 2)
    _, state = model(sine(500.0, 64, 0.1), knobs={"drive": torch.linspace(0.0, 1.0, 64)[None]})
    y, after = model(torch.zeros(1, 0, 1), state, knobs={"drive": torch.zeros(1, 0)})
    assert y.shape == (1, 0, 1)
    assert torch.equal(after.theta, state.theta)
