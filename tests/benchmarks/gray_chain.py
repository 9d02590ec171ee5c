"""A gray chain on a real amplifier, judged at positions of its knobs that it was not trained at, beside a black box.

    python tests/benchmarks/gray_chain.py DATA/jvm410h OUT [--hold-out positions] [--minutes 10] [--only gray black]

DATA/jvm410h holds riff<k>_in.wav and riff<k>_B<bass>_M<middle>_T<treble>_out.wav: a Marshall JVM410H at its speaker
output, from the listening page of S. Miklanek, A. Wright, V. Valimaki and J. Schimmel, "Neural grey-box guitar
amplifier modelling with limited data", DAFx-23. As there, the gray chain is an LSTM of 40 units, the tone stack, and a
GRU of 8; the black box is an LSTM of 48 that is told the knobs. Both are trained by `circuitnn.training.train` on the
same recordings. OUT gets a run for each, which is kept if it is there already; an interrupted training goes on, so the
command can be given again.

With `--hold-out positions` five positions are left out, of a riff that trains at others, one knob turned at a time.
With `--hold-out corner` the other three riffs are left out as well, and with them a corner: bass 10, middle and treble
0, where no recording that trains turns two knobs at once. One riff is all that trains then.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from circuitnn import Chain, CircuitModel, Recording, parse_netlist
from circuitnn.formats import SavedNetwork, read_network
from circuitnn.metrics import esr
from circuitnn.models.network import Network, expect, parameter_count
from circuitnn.models.recurrent import Recurrent
from circuitnn.network_runs import save_network, training_state
from circuitnn.training import Preset, train

RATE = 44100
KNOBS = ("bass", "middle", "treble")
# Bass, middle, treble of the recordings that only judge.
POSITIONS = ("B6_M5_T5", "B5_M4_T5", "B5_M8_T5", "B5_M5_T4", "B5_M5_T8")
HOLD_OUT = {"positions": POSITIONS, "corner": (*POSITIONS, "B10_M0_T0")}
LEARNING_RATE = 0.015
# What the page's renderings have at settings that their models were not trained at, by seconds of training audio.
PUBLISHED = {"gray, 720 s": ".008 to .031", "black, 5040 s": ".04 to .07", "black, 720 s": "above 1"}

# Values, and the law of the pots with its first parameters, are those of the authors' program (grey-box-amp on GitHub);
# pots that end in 10 ohm, and the stage behind, which gives back what the stack takes, are this file's.
STACK = """Tone stack of the Marshall JVM410H, loaded by its volume pot at the top
.func law(x, bend, shift) {(tanh(bend*x - shift) + tanh(shift))/(tanh(bend - shift) + tanh(shift))}
.param treble=0.5 middle=0.5 bass=0.5
.param treble_pot=200k middle_pot=20k bass_pot=1Meg
.param treble_bend=1.79 treble_shift=0.919 middle_bend=1.79 middle_shift=0.919 bass_bend=4.4 bass_shift=3.38
*@ input Vin
*@ output out
*@ knob bass 0.5
*@ knob middle 0.5
*@ knob treble 0.5
*@ learn R1 C1 C2 C3 treble_pot middle_pot bass_pot
*@ learn treble_bend treble_shift middle_bend middle_shift bass_bend bass_shift
Vin in  0
C1  in  top 470p
RT2 top wiper {10 + treble_pot*(1 - law(treble, treble_bend, treble_shift))}
RT1 wiper mid {10 + treble_pot*law(treble, treble_bend, treble_shift)}
R1  in  low 33k
C2  low mid 22n
C3  low centre 22n
RB  mid foot {10 + bass_pot*law(bass, bass_bend, bass_shift)}
RM2 foot centre {10 + middle_pot*(1 - law(middle, middle_bend, middle_shift))}
RM1 centre 0 {10 + middle_pot*law(middle, middle_bend, middle_shift)}
R5  wiper next 39k
RV  next 0 1Meg
E1  out 0 next 0 5
RL  out 0 1k
.end
"""


def recordings(folder: Path) -> dict[str, Recording]:
    """All recordings by name. They are aligned already."""
    found = {}
    for wet in sorted(folder.glob("riff*_out.wav")):
        match = re.fullmatch(r"(riff\d+)_(B(\d+)_M(\d+)_T(\d+))_out\.wav", wet.name)
        if match:
            knobs = {name: int(number) / 10 for name, number in zip(KNOBS, match.groups()[2:], strict=True)}
            one = Recording.from_wav(folder / f"{match[1]}_in.wav", wet, knobs)
            found[f"{match[1]} {match[2]}"] = Recording(one.dry, one.wet, RATE, knobs, one.name, delay=0.0)
    return found


def begin(name: str, rms: float) -> Network:
    """A new network that expects a dry of that root mean square."""
    torch.manual_seed(0)
    if name == "black":
        network: Network = Recurrent("lstm", 48, knob_names=KNOBS)
        expect(network, rms)
        return network
    first = Recurrent("lstm", 40, residual=False)
    expect(first, rms)
    return Chain(first, CircuitModel(parse_netlist(STACK), RATE, oversample=1), Recurrent("gru", 8))


def trained(name: str, training: Sequence[Recording], preset: Preset, out: Path) -> SavedNetwork:
    """The network of the run, or what a training makes of a new one."""
    run = out / name
    if not (run / "run.json").is_file():
        dry = torch.cat([torch.as_tensor(one.dry) for one in training])
        found = train(
            begin(name, float(dry.square().mean().sqrt())), training, preset=preset,
            checkpoint=training_state(run), resume=True,
            progress=lambda epoch, error: print(f"{name}, epoch {epoch}: ESR {error:.4g}", flush=True),
        )  # fmt: skip
        if found.interrupted:
            raise KeyboardInterrupt
        save_network(found, run, preset, 0)
    return read_network(run)


def errors(network: Network, every: Mapping[str, Recording]) -> dict[str, float]:
    """The ESR of each recording, from rest; all side by side, which takes no longer than one of them."""
    ones = list(every.values())
    dry = torch.tensor(np.stack([one.dry for one in ones]))[..., None]
    knobs = {knob: torch.tensor([float(one.knobs[knob]) for one in ones]) for knob in network.knob_names}
    state, parts = None, []
    with torch.no_grad():
        for u in dry.split(2**14, 1):
            y, state = network(u, state, knobs)
            parts.append(y[..., 0])
    return {key: esr(y, one.wet) for (key, one), y in zip(every.items(), torch.cat(parts, 1).numpy(), strict=True)}


def print_stack(circuit: CircuitModel) -> None:
    """What the stack has learned, and the laws of its pots at 0, 0.1 ... 1."""
    values = circuit.component_values()
    for coordinate in circuit.coordinates:
        value = values[coordinate.name]
        print(f"{coordinate.name:<14}{value:12.4g}   {value / coordinate.nominal - 1.0:+.1%} from the netlist's")
    for knob in KNOBS:
        bend, shift = (torch.tensor(values[f"{knob}_{what}"]) for what in ("bend", "shift"))
        law = torch.tanh(bend * torch.linspace(0.0, 1.0, 11) - shift) + torch.tanh(shift)
        print(f"law of {knob:<7}", *(f"{value:.3f}" for value in law / law[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the recordings")
    parser.add_argument("out", type=Path, help="folder for runs")
    parser.add_argument("--hold-out", choices=HOLD_OUT, default="positions", help="what only judges")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, each network")
    parser.add_argument("--only", nargs="+", choices=("gray", "black"), default=["gray", "black"])
    parser.add_argument("--epochs", type=int, default=1000, help="at most so many")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    every = recordings(chosen.data)
    left_out = HOLD_OUT[chosen.hold_out]
    training = [one for name, one in every.items() if not name.endswith(left_out)]
    preset = Preset(
        epochs=chosen.epochs, patience=chosen.epochs, learning_rate=LEARNING_RATE, batch=16, chunk=1024,
        seconds=60.0 * chosen.minutes,
    )  # fmt: skip
    rows: dict[str, Mapping[str, float]] = {}
    for name in chosen.only:
        saved = trained(name, training, preset, chosen.out / chosen.hold_out)
        rows[f"{name}, {saved.audio_seconds:.0f} s"] = errors(saved.network, every)
        print(f"{name}: {parameter_count(saved.network)} parameters, {saved.seconds:.0f} s of training")
        if isinstance(saved.network, Chain):
            circuit = saved.network.parts[1]
            assert isinstance(circuit, CircuitModel)
            print_stack(circuit)
    print(f"{'ESR':<18}", *(f"{row:>14}" for row in rows))
    for key in sorted(every, key=lambda key: (not key.endswith(left_out), key)):
        mark = "" if key.endswith(left_out) else "  (trained)"
        print(f"{key:<18}", *(f"{row[key]:14.4f}" for row in rows.values()), mark)
    print("published, settings not seen:", "; ".join(f"{row} {error}" for row, error in PUBLISHED.items()))


if __name__ == "__main__":
    main()
