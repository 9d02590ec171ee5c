"""One gradient of the TS-808 clipper over one second at 96 kHz: this package against a plain torch loop, side by side.

    python tests/benchmarks/gradient_speed.py [--peer-steps 2000] [--repeats 5]

The peer is what one writes by hand for this circuit: the same reduced model (same theta), states as a torch vector,
Newton's method on the one diode-pair voltage to a tolerance of 1e-9 V without a graph, then one step inside autograd,
which gives exact gradients by the implicit function theorem and keeps the graph short. It runs a shorter excerpt, and
its time is scaled linearly; a loop's time per step does not fall with length. Both gradients are compared before any
figure is printed.
"""

from __future__ import annotations

import argparse
import platform

import torch
from common import NETLISTS, RATE, guitar_like, median_time
from torch import Tensor
from torch_loop import torch_loop

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.simulate import simulate, tangent

NETLIST = NETLISTS / "ts808_clipper.cir"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    circuit, steps, peer_steps = read_netlist(NETLIST), RATE, arguments.peer_steps
    model = CircuitModel(circuit, RATE, oversample=1)
    discrete, kernel = model.discrete, model.kernel
    u = guitar_like(steps)

    with torch.no_grad():
        values = model.overrides()
        theta = discrete.theta(values)
        x, w, _ = discrete.initial_state(values, model.operating_point(values))

    def ours(time_: int = steps) -> Tensor:
        """Gradient of the output's energy in all learnable values, forward and backward, MNA and all."""
        model.free.grad = None
        model(u[:, :time_])[0].square().sum().backward()
        assert model.free.grad is not None
        return model.free.grad

    def peer() -> Tensor:
        free = model.free.detach().requires_grad_()
        y = torch_loop(discrete, u[0, :peer_steps], x, w, discrete.theta(model.overrides(free=free)))
        (gradient,) = torch.autograd.grad(y.square().sum(), free)
        return gradient

    torch.testing.assert_close(peer(), ours(peer_steps), rtol=1e-7, atol=0.0)
    peer_time = median_time(peer, max(1, arguments.repeats // 2)) / peer_steps
    our_time = median_time(ours, arguments.repeats) / steps

    p, one = len(model.coordinates), theta[None]
    start = (x[None], w[None])
    kept = theta[None].clone().requires_grad_()
    simulated = median_time(lambda: simulate(u, *start, one, kernel), arguments.repeats) / steps
    run = simulate(u, *start, kept, kernel)
    y_bar, x_bar = torch.ones_like(run.y), torch.zeros_like(run.x)
    adjoint = median_time(
        lambda: torch.ops.circuitnn.adjoint(u, run.xs, run.ws, one, y_bar, x_bar, kernel), arguments.repeats
    ) / steps  # fmt: skip
    dtheta = torch.func.jacfwd(lambda free: discrete.theta(model.overrides(free=free)))(model.free.detach())[None]
    dx = torch.zeros(1, len(x), p, dtype=torch.float64)
    forward_mode = median_time(lambda: tangent(u, *start, one, dx, dtheta, kernel), arguments.repeats) / steps

    iterations = float(run.report[0, 0]) / steps
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{NETLIST.name} at {RATE} Hz, {p} learnable values, {iterations:.2f} Newton iterations a step")
    print(f"simulate                     {1e9 * simulated:12.1f} ns/step")
    print(f"adjoint                      {1e9 * adjoint:12.1f} ns/step")
    print(f"tangent ({p} directions, run included) {1e9 * forward_mode:6.1f} ns/step")
    print(f"gradient, forward + backward {1e9 * our_time:12.1f} ns/step  ({our_time * steps:.4f} s for {steps} steps)")
    print(f"plain torch loop             {1e9 * peer_time:12.1f} ns/step  (measured over {peer_steps} steps, scaled)")
    print(f"ratio                        {peer_time / our_time:12.0f}")


if __name__ == "__main__":
    main()
