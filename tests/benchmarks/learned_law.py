"""A law that the netlist gets wrong, learned in place from input and output alone.

    python tests/benchmarks/learned_law.py dry.wav [--seconds 3] [--level 4] [--oversample 8]

ngspice renders a clipper whose diodes are of germanium, with series resistance and leakage, or different in either
direction (tests/learned_laws.py), from a dry guitar. The netlist has two equal silicon diodes: first their IS and N are
fitted, then their law is learned as a network. Printed are both errors, and how far the learned curve is from the true
one over the voltages that the recording visits.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import ngspice
from learned_laws import NETWORK, SHOCKLEY, TRUTHS, Signal, Truth, believed, law_current, visited
from scipy.signal import resample_poly

from circuitnn import CircuitModel, FitResult, Recording, fit
from circuitnn.audio import read_wav, resampled

RATE = 44100
# ngspice's steps a sample.
STEPS = 16


def rendered(truth: Truth, dry: Signal) -> Signal:
    """The output of the true circuit, by ngspice."""
    source = resample_poly(dry, STEPS, 1, window=("kaiser", 12.0))
    wet = ngspice.transient(truth.netlist, source, RATE * STEPS).outputs["v(out)"]
    return resample_poly(wet, 1, STEPS, window=("kaiser", 12.0))


def fitted(card: str, recording: Recording, oversample: int) -> FitResult:
    model = CircuitModel(believed(card), RATE, oversample)
    return fit(model, [recording], input_level=1.0, output_gain=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dry", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--level", type=float, default=4.0, help="volt at the dry recording's peak")
    parser.add_argument("--oversample", type=int, default=8)
    parser.add_argument("--units", type=int, default=16)
    given = parser.parse_args()
    dry, rate = read_wav(given.dry)
    dry = resampled(dry, rate, RATE)
    loudest = int(np.argmax(np.abs(dry)))
    begin = max(0, loudest - RATE // 4)
    dry = dry[begin : begin + round(given.seconds * RATE)]
    dry = given.level * dry / np.abs(dry).max()
    for name, truth in TRUTHS.items():
        wet = rendered(truth, dry)
        recording = Recording(dry, wet, RATE, name=name, delay=0.0)
        wrong = fitted(SHOCKLEY, recording, given.oversample)
        learned = fitted(f"{NETWORK} units={given.units}", recording, given.oversample)
        print(f"{name}: ESR {wrong.esr:.2e} with the best IS and N, {learned.esr:.2e} with the network "
              f"({wrong.esr / learned.esr:.0f} times lower), {len(learned.errors)} steps, {learned.reason}, "
              f"{learned.seconds:.0f} s")  # fmt: skip
        for share in (0.1, 0.01, 0.001):
            v = visited(truth, wet, share)
            for result, what in ((wrong, "IS and N"), (learned, "network")):
                error = law_current(result.circuit, result.values, v) / truth.current(v) - 1.0
                low, high = v[v < 0.0], v[v > 0.0]
                print(f"  {what}: current within {100.0 * np.abs(error).max():.2f} % (rms {100.0 * error.std():.2f} %) "
                      f"from {low[0]:.3f} to {low[-1]:.3f} V and {high[0]:.3f} to {high[-1]:.3f} V "
                      f"({100.0 * share:g} % of the peak currents and more)")  # fmt: skip


if __name__ == "__main__":
    main()
