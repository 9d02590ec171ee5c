"""What exported networks cost in real time, on one core, beside other ways to run them.

    python tests/benchmarks/network_speed.py [NAME ...] [--seconds 5] [--repeats 5]

Seconds for a second of sound at 44.1 kHz, in processor time of the thread: the median of the runs and the best, taking
turns with the references: for LSTM and GRU torch.nn in blocks of 64 samples on one thread, for wavenet-1, -2 and -3
(TCN1, 2 and 3 of Miklanek and Schimmel, DAFx20in22) their Algorithm 1, see algorithm_1.hpp. `worst` is the longest
block of 64 samples of the best run, in percent of the time that it lasts. `goal` is what the best public engines were
measured at, in seconds.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from circuitnn.exporting.deployed import Deployed
from circuitnn.exporting.subject import NetworkSubject
from circuitnn.models.architectures import build_network
from circuitnn.models.network import Network
from circuitnn.models.recurrent import Recurrent
from circuitnn.models.wavenet import WaveNet
from circuitnn.runtime.compiler import FLAGS, HEADERS, WIDE, run_compiler

RATE, BLOCK = 44100, 64
GOALS = {
    "lstm-32": 0.0060, "lstm-64": 0.023, "lstm-96": 0.051, "gru-32": 0.0053,
    "wavenet-1": 0.066, "wavenet-2": 0.067, "wavenet-3": 0.120, "nam-standard": 0.034,
}  # fmt: skip
Signal = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Play = Callable[[Signal], Signal]

REFERENCE = """#include "algorithm_1.hpp"
@included@
namespace {
namespace speed {
@struct@
}
}
static circuitnn::Weights weights(speed::Network::weights);
static algorithm_1::Network<@sizes@> network(weights);
extern "C" void process(const double* in, double* out, int64_t count) { network.process(in, out, count); }
"""


def of_torch(network: Recurrent) -> Play:
    """nn.LSTM or nn.GRU and nn.Linear as they are."""
    layer, dense = network.recurrent, network.dense

    def play(u: Signal) -> Signal:
        blocks, state, out = torch.as_tensor(u, dtype=torch.float32)[None, :, None].split(BLOCK, 1), None, []
        with torch.no_grad():
            for block in blocks:
                hidden, state = layer(block, state)
                out.append(dense(hidden) + block if network.residual else dense(hidden))
        return torch.cat(out, 1)[0, :, 0].double().numpy()

    return play


def of_algorithm_1(network: WaveNet, deployed: Deployed, folder: Path) -> Play:
    """Its weights in the same order, and sums in any order, as the paper's library takes them."""
    dilations = [layer.dilation[0] for layer in network.convolutions if isinstance(layer, nn.Conv1d)]
    sizes = ", ".join(map(str, [network.input.out_channels, *dilations]))
    source = REFERENCE.replace("@sizes@", sizes).replace("@included@", deployed.program.included)
    (folder / "reference.cpp").write_text(source.replace("@struct@", deployed.program.struct))
    flags = [*FLAGS, *WIDE, "-fopenmp-simd", f"-I{HEADERS}", f"-I{Path(__file__).parent}"]
    run_compiler([*flags, str(folder / "reference.cpp"), "-o", str(folder / "reference.so")])
    library = ctypes.CDLL(str(folder / "reference.so"))

    def play(u: Signal) -> Signal:
        y = np.empty_like(u)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (u, y))
        library.process(*pointers, ctypes.c_int64(len(u)))
        return y

    return play


def seconds(play: Play, u: Signal) -> float:
    begin = time.thread_time()
    play(u)
    return (time.thread_time() - begin) * RATE / len(u)


def worst_block(deployed: Deployed, u: Signal, repeats: int) -> float:
    """As a part of the time that a block lasts."""
    longest = []
    for _ in range(repeats):
        player, taken = deployed.player(), []
        for at in range(0, len(u), BLOCK):
            block = u[at : at + BLOCK, None]
            begin = time.thread_time()
            player.play(block)
            taken.append(time.thread_time() - begin)
        longest.append(max(taken))
    return min(longest) * RATE / BLOCK


def measure(name: str, length: float, repeats: int) -> str:
    torch.manual_seed(0)
    network: Network = build_network(name).eval()
    u = 0.3 * np.random.default_rng(1).standard_normal(int(length * RATE) // BLOCK * BLOCK)
    deployed = Deployed(NetworkSubject("speed", network, float(RATE)))
    player = deployed.player()
    works: dict[str, Play] = {"ours": lambda signal: player.play(signal[:, None])[:, 0]}
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(network, Recurrent):
            works["torch"] = of_torch(network)
        elif isinstance(network, WaveNet):
            works["Algorithm 1"] = of_algorithm_1(network, deployed, Path(folder))
    check = deployed.player().play(u[:20000, None])[:, 0]
    taken: dict[str, list[float]] = {kind: [] for kind in works}
    for kind, play in works.items():
        # From another beginning; what is left of it must be gone.
        difference = np.abs(play(u[:20000]) - check)[-5000:].max() / np.abs(check).max()
        assert difference < 1e-4, f"{name}: {kind} is another network: {difference:.1e}"
    for _ in range(repeats):
        for kind, play in works.items():
            taken[kind].append(seconds(play, u))
    ours, best = statistics.median(taken["ours"]), min(taken["ours"])
    row = f"{name:18s}{ours:9.4f}{best:9.4f}{100.0 * worst_block(deployed, u, repeats):8.2f}"
    row += f"{GOALS[name]:9.4f}" if name in GOALS else " " * 9
    for kind, times in taken.items():
        if kind != "ours":
            median = statistics.median(times)
            row += f"   {kind}{median:9.4f}, {median / ours:.1f} times as long"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(GOALS))
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load of the machine {os.getloadavg()[0]:.1f}")
    print("network             median     best worst %     goal")
    for name in given.names:
        print(measure(name, given.seconds, given.repeats), flush=True)


if __name__ == "__main__":
    main()
