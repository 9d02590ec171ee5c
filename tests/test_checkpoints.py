"""Long signals: in chunks, and from kept states instead of all of them. Nothing but memory may change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from circuits import CASES, RATE, TWO_STAGES, parse, start
from torch import Tensor

from circuitnn import simulate as module
from circuitnn.discretise import DiscreteCircuit
from circuitnn.oversampling import HALF_LENGTH
from circuitnn.simulate import CONTROL_PERIOD, EVERY, kernel_id, simulate, tangent

MODEL = DiscreteCircuit(parse(TWO_STAGES), RATE)
# Not a multiple of EVERY, nor of a control block; several chunks of EVERY steps each.
TIME = {1: 2 * EVERY + 777, 4: EVERY // 2 + 101}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So that nine recordings run in lanes, the last group with empty ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def frugal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No state is kept that can be run again, and every chunk is as short as it can be."""
    monkeypatch.setattr(module, "KEPT_BYTES", 0)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)


def inputs(batch: int, factor: int, moving: bool) -> dict[str, Tensor]:
    """u, x, up, down and theta: everything that `simulate` has derivatives by."""
    time, s = TIME[factor], MODEL.structure
    _, x, _ = start(MODEL)
    generator = torch.Generator().manual_seed(batch)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    points = -(-time // CONTROL_PERIOD) + 1 if moving else 1
    position = torch.linspace(0.0, 6.0, points, dtype=torch.float64)
    values = {"R2": 1e4 * (1.0 + 0.3 * torch.sin(position)), "R3": 2.2e3 * (1.0 + 0.5 * torch.cos(2.0 * position))}
    theta = MODEL.theta_along(values, points).detach()[None]
    tones = torch.sin(torch.rand(batch, 1, 1, generator=generator).double() * 0.2 * torch.arange(time)[None, :, None])
    memory = 2 * HALF_LENGTH if factor > 1 else 0
    return {
        "u": 0.15 * tones + 0.02 * noise(batch, time, 1),
        "x": x + 1e-5 * noise(batch, s.n_x),
        "up": 0.1 * noise(batch, memory, 1),
        "down": 0.1 * noise(batch, memory * factor, s.n_y),
        "theta": theta,
    }


def gradients(batch: int, factor: int, moving: bool) -> tuple[Tensor, dict[str, Tensor]]:
    given = {name: tensor.requires_grad_() for name, tensor in inputs(batch, factor, moving).items()}
    _, _, w = start(MODEL)
    run = simulate(
        given["u"], given["x"], w.expand(batch, -1), given["theta"], kernel_id(MODEL.structure, True), factor,
        given["up"], given["down"],
    )  # fmt: skip
    assert not run.report[:, 1].any()
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (weight * part * torch.randn(part.shape, dtype=torch.float64, generator=generator)).sum()
        for part, weight in ((run.y, 1.0), (run.x, 1e3), (run.up, 1.0), (run.down, 1.0))
    )
    found = torch.autograd.grad(loss, list(given.values()), materialize_grads=True)
    return run.y.detach(), dict(zip(given, found, strict=True))


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("factor", [1, 4])
@pytest.mark.parametrize("batch", [1, 9])
def test_gradients_from_kept_states(batch: int, factor: int, moving: bool, request: pytest.FixtureRequest) -> None:
    y, expected = gradients(batch, factor, moving)
    request.getfixturevalue("frugal")
    again, found = gradients(batch, factor, moving)
    # Newton's method starts afresh in every chunk and stretch: equal to its tolerance.
    torch.testing.assert_close(again, y, rtol=0, atol=1e-9)
    for name, gradient in expected.items():
        if gradient.numel():
            assert gradient.any(), name
            # Entries of theta differ by many orders: each one against the largest of its own.
            scale = gradient.abs().amax(tuple(range(gradient.dim() - 1)), keepdim=True) if name == "theta" else 1.0
            scale = scale * torch.ones(1) if name == "theta" else gradient.abs().max()
            assert float(((found[name] - gradient).abs() / (scale + 1e-300)).max()) < 1e-9, name


def test_the_frugal_way_is_taken(frugal: None) -> None:
    """What is kept for the adjoint is one state in EVERY, from several chunks."""
    given = inputs(9, 4, True)
    _, _, w = start(MODEL)
    arguments = (given["u"], given["x"], w.expand(9, -1), given["up"], given["down"], given["theta"])
    _, _, _, _, _, xs, ws, report = torch.ops.circuitnn.simulate(*arguments, kernel_id(MODEL.structure, True), 4, True)
    steps = 4 * TIME[4]
    assert steps > 2 * EVERY
    assert xs.shape[1] == ws.shape[1] == -(-steps // EVERY)
    assert (report[:, module.PLACES.start - 16 : module.PLACES.start].sum(1) == steps).all()


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("factor", [1, 4])
def test_tangents_in_chunks(factor: int, moving: bool, request: pytest.FixtureRequest) -> None:
    given = inputs(2, factor, moving)
    _, _, w = start(MODEL)
    generator = torch.Generator().manual_seed(0)
    directions = 3

    def both() -> tuple[Tensor, ...]:
        random = torch.randn(1, *given["theta"].shape[1:], directions, dtype=torch.float64, generator=generator)
        dtheta = 1e-2 * random * given["theta"][..., None]
        dx = 1e-6 * torch.randn(2, MODEL.structure.n_x, directions, dtype=torch.float64, generator=generator)
        run, dy, dx, ddown = tangent(
            given["u"], given["x"], w.expand(2, -1), given["theta"], dx, dtheta, kernel_id(MODEL.structure, True),
            factor, given["up"], given["down"],
        )  # fmt: skip
        return run.y, dy, dx, ddown

    expected = both()
    request.getfixturevalue("frugal")
    generator.manual_seed(0)
    for found, other in zip(both(), expected, strict=True):
        if other.numel():
            assert float(other.abs().max()) > 0.0
            torch.testing.assert_close(found, other, rtol=0, atol=1e-9 * float(other.abs().max()) + 1e-30)


def test_a_failure_is_reported_where_it_is_in_the_whole_signal(frugal: None) -> None:
    theta, x, w = start(MODEL)
    u = torch.zeros(1, 3 * EVERY, 1, dtype=torch.float64)
    places = [100, EVERY + 5, EVERY + 6, 2 * EVERY + 900]
    u[0, places] = 2.0
    report = simulate(u, x, w, theta, kernel_id(MODEL.structure, True)).report
    assert int(report[0, 1]) == 4
    assert report[0, module.PLACES].view(-1, 2)[:4, 0].tolist() == places


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read as Linux states it")
def test_the_gradient_of_a_long_signal_needs_little_memory() -> None:
    """200,000 samples at 16 times the rate: each number of a step takes 26 MB in all, and there are a dozen of them."""
    code = f"""
import resource, torch
from circuitnn import simulate as module
from circuitnn.netlist import parse_netlist
from circuitnn.models.circuit_model import CircuitModel
module.KEPT_BYTES = module.CHUNK_BYTES = 2**22
torch.set_num_threads(1)
netlist = {CASES["single_diode"].netlist!r}
model = CircuitModel(parse_netlist("test\\n" + netlist + "\\n*@ output out\\n.end\\n"), 48000.0, 16, ["R1"])
def gradient(time):
    u = torch.sin(0.05 * torch.arange(time, dtype=torch.float64))[None, :, None]
    model(u)[0].square().sum().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = gradient(20_000)
print(gradient(200_000) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The signals themselves, at the base rate, are 1.6 MB each: u, y, their gradients, what torch makes on the way.
    assert float(done.stdout) < 50.0
