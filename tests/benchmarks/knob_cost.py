"""What knobs cost in real time: all knobs of a netlist moving in every control block, against the same run at rest.

    python tests/benchmarks/knob_cost.py [--rate 48000] [--oversample 4] [--seconds 2]

One core, double precision, one recording. A control block is CONTROL_PERIOD samples of the base rate.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_tuning import NETLISTS, array, pointer, source

from circuitnn.models.circuit_model import CircuitModel
from circuitnn.netlist import read_netlist
from circuitnn.runtime.compiler import compile_library
from circuitnn.simulate import CONTROL_PERIOD

MEASURE = """
#include <time.h>
static double seconds() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}
// Out: seconds for one set of numbers, and for the run without and with knobs that move in every block.
extern "C" void measure(const double* data, const double* from, int64_t blocks, int64_t hold, const double* u,
                        const double* x0, const double* w0, double* y, double* out) {
    const Tuned& tuning = *reinterpret_cast<const Tuned*>(data);
    static double theta[Tuned::L::size];
    const Map map{tuning};
    double positions[Map::knobs];
    for (int k = 0; k < Map::knobs; ++k) positions[k] = from[k];
    double begin = seconds();
    for (int repeat = 0; repeat < 2000; ++repeat) {
        positions[0] = double(repeat % 100) / 100.0;
        map.numbers(positions, theta);
    }
    out[0] = (seconds() - begin) / 2000.0;
    for (int moving = 0; moving < 2; ++moving) {
        circuitnn::Knobs<Circuit, Map> knobs(map, hold);
        knobs.start(from);
        circuitnn::Statistics statistics;
        double x[circuitnn::at_least_one(Circuit::n_x)], w[circuitnn::at_least_one(Circuit::Stages::ports)];
        for (int k = 0; k < Circuit::n_x; ++k) x[k] = x0[k];
        for (int k = 0; k < Circuit::Stages::ports; ++k) w[k] = w0[k];
        begin = seconds();
        for (int64_t block = 0; block < blocks; ++block) {
            // Hardly: it is the cost of moving that counts, not how the circuit's own work depends on the setting.
            if (moving)
                for (int k = 0; k < Map::knobs; ++k) knobs.turn(k, from[k] + 1e-6 * double(block % 2));
            knobs.run(hold, u + block * hold * Circuit::n_u, x, w, y, statistics);
        }
        out[1 + moving] = seconds() - begin;
    }
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=48000.0)
    parser.add_argument("--oversample", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    given = parser.parse_args()
    hold = CONTROL_PERIOD * given.oversample
    blocks = int(given.seconds * given.rate / CONTROL_PERIOD)
    print("netlist           knobs  moving  theta   numbers    still   moving   (the last two: share of real time)")
    for name in ("fmv_tone_stack", "ts808_clipper", "ts808", "big_muff", "tube_preamp"):
        model = CircuitModel(read_netlist(NETLISTS / f"{name}.cir"), given.rate, given.oversample, [])
        knobs = [knob.name for knob in model.circuit.knobs]
        tuning = model.discrete.tuning({}, knobs)
        library = compile_library(source(model, tuning, knobs) + MEASURE)
        _, state = model(torch.zeros(1, 0, 1))
        u = 0.2 * np.sin(0.02 / given.oversample * np.arange(blocks * hold))
        y, out = np.empty(hold * model.discrete.structure.n_y), np.empty(3)
        library.measure(
            pointer(array(tuning.data)), pointer(np.full(len(knobs), 0.5)), ctypes.c_int64(blocks),
            ctypes.c_int64(hold), pointer(u), pointer(array(state.x[0].detach())), pointer(array(state.w[0])),
            pointer(y), pointer(out),
        )  # fmt: skip
        seconds = blocks * CONTROL_PERIOD / given.rate
        print(
            f"{name:18s}{len(knobs):4d}{len(tuning.names):8d}{model.discrete.structure.size:7d}"
            f"{1e6 * out[0]:8.2f} us{100.0 * out[1] / seconds:8.2f}%{100.0 * out[2] / seconds:8.2f}%"
        )


if __name__ == "__main__":
    main()
