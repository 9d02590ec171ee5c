"""Recordings of circuits whose values are known: ngspice plays a dry guitar through them.

The dry is brought to a peak of LEVEL volt, where diodes clip, and to a grid so fine that ngspice's trapezoidal rule is
exact to what the tables show; `prepared` renders the judging clip on half the step, too, and refuses to go on if that
changes it. From the fine grid the truth comes down to both sampling rates: at 192 kHz it holds what the device does
above 22 kHz. One volt is digital full scale, so samples go beyond 1.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import ngspice
from common import NETLISTS

from circuitnn.audio import Signal, read_wav, resampled, write_wav
from circuitnn.circuit import Circuit
from circuitnn.learnables import coordinates
from circuitnn.metrics import esr
from circuitnn.netlist import read_netlist, write_netlist

RATE, OTHER_RATE = 44_100, 192_000
# ngspice's steps a sample of RATE.
STEPS = 8
# Volt at the loudest sample; of each clip so many seconds, in which a plucked note decays by 20 dB.
LEVEL, SECONDS = 4.5, 3.0
# Silence before it, so that ngspice's operating point is that of rest.
LEAD = 0.01
# By how many widths of its prior every value that a fit may change is wrong at first, up and down in turns.
WRONG = 2.0


@dataclass(frozen=True)
class Known:
    """netlist: in the netlists' folder; values: what is otherwise there; diodes: whose law may be learned; accuracy:
    the ESR that half of ngspice's step may make of the truth."""

    netlist: str
    values: Mapping[str, float] = field(default_factory=dict)
    diodes: str | None = None
    accuracy: float = 1e-6

    @property
    def circuit(self) -> Circuit:
        return read_netlist(NETLISTS / f"{self.netlist}.cir")


# The ladder's resistor R8 says how much is fed back at most. It oscillates from k = 4 on: the one rings for some
# milliseconds (k = 3.7), the other never ends (k = 4.1). The phase of an oscillation that a note began tells its
# frequency to a millionth after some seconds, which is more than steps in time are good for, ngspice's included.
KNOWN: Mapping[str, Known] = {
    "diode_clipper": Known("diode_clipper", diodes="D1 D2"),
    "ds1_clipper": Known("ds1_clipper", diodes="D4 D5"),
    "moog_ladder": Known("moog_ladder", {"R8": 11.2e3, "resonance": 0.95}),
    "moog_oscillator": Known("moog_ladder", {"R8": 10e3, "resonance": 0.95}, accuracy=0.05),
}


def wrong_values(circuit: Circuit) -> dict[str, float]:
    """Values of all that the netlist marks to be learned, WRONG widths from where they are."""
    return {
        one.name: float(one.value(torch.tensor((-1) ** k * WRONG * one.width, dtype=torch.float64)))
        for k, one in enumerate(coordinates(circuit, "marked"))
    }


def prepared(known: Known, clips: Sequence[Path], folder: Path) -> None:
    """Write true.cir, believed.cir, and of each clip k the pairs dry_<k>.wav, wet_<k>.wav at RATE, of the last one also
    at OTHER_RATE: dry_other.wav, wet_other.wav. What is there already is kept."""
    true = known.circuit
    write_netlist(true, folder / "true.cir", known.values)
    write_netlist(true, folder / "believed.cir", {**known.values, **wrong_values(read_netlist(folder / "true.cir"))})
    for k, clip in enumerate(clips):
        last = k == len(clips) - 1
        if (folder / f"wet_{k}.wav").is_file() and (not last or (folder / "wet_other.wav").is_file()):
            continue
        dry = _played(clip)
        fine = _rendered(folder / "true.cir", dry, STEPS)
        if last:
            _check(folder / "true.cir", dry, fine, known.accuracy)
            write_wav(folder / "dry_other.wav", resampled(dry, RATE, OTHER_RATE), OTHER_RATE)
            write_wav(folder / "wet_other.wav", resampled(fine, RATE * STEPS, OTHER_RATE), OTHER_RATE)
        write_wav(folder / f"dry_{k}.wav", dry, RATE)
        write_wav(folder / f"wet_{k}.wav", resampled(fine, RATE * STEPS, RATE), RATE)


def _played(clip: Path) -> Signal:
    """What goes into the device, in volt."""
    dry, rate = read_wav(clip)
    dry = resampled(dry, rate, RATE)[: round(SECONDS * RATE)]
    fade = np.minimum(1.0, np.arange(len(dry)) / (LEAD * RATE))
    silence = np.zeros(round(LEAD * RATE))
    return np.concatenate([silence, LEVEL / np.abs(dry).max() * fade * dry])


def _rendered(netlist: Path, dry: Signal, steps: int) -> Signal:
    """ngspice's output at so many steps a sample."""
    source = resampled(dry, RATE, RATE * steps)
    source[0] = 0.0
    return ngspice.transient(netlist.read_text(), source, RATE * steps, reltol=1e-6, vntol=1e-9).outputs["v(out)"]


def _check(netlist: Path, dry: Signal, fine: Signal, accuracy: float) -> None:
    """Raise AssertionError unless half the step gives the same."""
    finer = _rendered(netlist, dry, 2 * STEPS)
    for rate in (RATE, OTHER_RATE):
        target = resampled(finer, 2 * STEPS * RATE, rate)
        change = esr(resampled(fine, STEPS * RATE, rate)[: len(target)], target)
        print(f"{netlist.parent.name}: half of ngspice's step changes the truth at {rate} Hz by an ESR of {change:.1e}")
        assert change < accuracy
