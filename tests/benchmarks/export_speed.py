"""What an exported circuit costs in real time, on one core, in blocks of 64 samples.

    python tests/benchmarks/export_speed.py [NAME ...] [--rate 44100] [--oversample 4] [--seconds 10] [--repeats 3]

Percent of real time, in processor time of the thread: the median of the runs, and the worst block of the best run (the
others count what the machine did meanwhile); with knobs that stand, and with all of them turned in every block. A
plucked chord of 0.5 V peak goes in.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import NETLISTS
from exported import pointer

from circuitnn.exporting import export_subject
from circuitnn.exporting.subject import Subject
from circuitnn.netlist import read_netlist
from circuitnn.runtime.compiler import FLAGS, run_compiler

BLOCK = 64
MEASURE = """
#include "@name@.hpp"
#include <time.h>

static double seconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// out: seconds in all, and of the longest block.
template <class Real>
static void run(double rate, int turned, const float* in, long blocks, double* out) {
    static circuitnn::Processor<@name@::Circuit, OVERSAMPLE, Real> processor(rate);
    processor.prepare(rate);
    float heard[BLOCK];
    out[0] = out[1] = 0.0;
    for (long block = 0; block < blocks; ++block) {
        const double begin = seconds();
        for (int k = 0; turned && k < processor.knobs; ++k) processor.turn(k, 0.4 + 0.2 * double(block % 50) / 50.0);
        processor.process(in + block * BLOCK, heard, BLOCK);
        const double taken = seconds() - begin;
        out[0] += taken;
        out[1] = fmax(out[1], taken);
    }
}
extern "C" void measure_double(double rate, int turned, const float* in, long blocks, double* out) {
    run<double>(rate, turned, in, blocks, out);
}
extern "C" void measure_float(double rate, int turned, const float* in, long blocks, double* out) {
    run<float>(rate, turned, in, blocks, out);
}
"""


def chord(rate: float, samples: int) -> np.ndarray:
    """Plucked twice a second."""
    t = np.arange(samples) / rate
    tones = sum(np.sin(2 * np.pi * f * k * t + f) / k for k in (1, 2, 3, 4, 5) for f in (110.0, 164.8, 220.0))
    played = tones * np.exp(-4.0 * (t % 0.5))
    return (0.5 * played / np.abs(played).max()).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["fmv_tone_stack", "ts808_clipper", "ts808", "rat", "big_muff"])
    parser.add_argument("--rate", type=float, default=44100.0)
    parser.add_argument("--oversample", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    blocks = int(given.seconds * given.rate) // BLOCK
    signal = chord(given.rate, blocks * BLOCK)
    print("percent of real time       double                             float")
    print("                      mean  worst  turned  worst        mean  worst  turned  worst")
    for name in given.names:
        row = f"{name:18s}"
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "out"
            circuit = read_netlist(NETLISTS / f"{name}.cir")
            export_subject(Subject(name, circuit, given.rate, given.oversample), "cpp", folder)
            source = MEASURE.replace("@name@", name).replace("OVERSAMPLE", str(given.oversample))
            (folder / "measure.cpp").write_text(source.replace("BLOCK", str(BLOCK)))
            flags = [*FLAGS, "-fno-threadsafe-statics"]
            run_compiler([*flags, str(folder / "measure.cpp"), "-o", str(folder / "measure.so")])
            library = ctypes.CDLL(str(folder / "measure.so"))
            for precision in ("double", "float"):
                for turned in (0, 1):
                    found = []
                    for _ in range(given.repeats):
                        out = np.zeros(2)
                        getattr(library, f"measure_{precision}")(
                            ctypes.c_double(given.rate), turned, ctypes.c_void_p(signal.ctypes.data),
                            ctypes.c_long(blocks), pointer(out),
                        )  # fmt: skip
                        found.append(out)
                    mean = statistics.median(out[0] for out in found) * given.rate / (blocks * BLOCK)
                    worst = min(out[1] for out in found) * given.rate / BLOCK
                    row += f"{100.0 * mean:8.2f}{100.0 * worst:7.2f}"
                row += "   "
        print(row, flush=True)


if __name__ == "__main__":
    main()
