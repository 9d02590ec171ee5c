"""The table: circuits and networks on the same recordings of one device, trained, compared and heard by one command.

    python tests/benchmarks/table.py DATA/egfx/TubeScreamer OUT [--only lstm-32 stn ...] [--epochs N] [--preset quick]
    python tests/benchmarks/table.py DATA/egfx/TubeScreamer OUT --device ds1_clipper

DATA/egfx/TubeScreamer holds clip_<k>_in.wav, clip_<k>_out.wav and clip_<k>_lstm.wav (EGFxSet, and the published LSTM's
rendering). Clips 0 and 1 train, clip 2 judges. The device is the pedal of these recordings, or a circuit that ngspice
plays the dry ones through (known_devices.py); fits then begin with values that are deliberately wrong. OUT gets a run
for each row, and the comparison: comparison.html, .json and listening.html. What is there already is kept, and an
interrupted training goes on, so the command can be given again. Each row of the preset `quick` ends after four minutes
of training. Networks of states are taught by the fitted circuit, so its row comes with theirs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
from common import NETLISTS
from known_devices import KNOWN, prepared

from circuitnn.netlist import format_netlist, read_netlist

# The published recordings' outputs begin 4410 samples into the inputs.
DELAY = -4410
TRAINING, JUDGE = (0, 1), 2
PEDAL, PEDAL_DIODES = "ts808", "D1 D2"
# A fit of what the netlist marks, and one that learns the law of the diodes in place of their model.
CIRCUIT, NEURAL = "fitted-circuit", "neural-device"
# Networks of states: the fitted circuit teaches them.
TAUGHT = ("stn", "state-space-gru")
NETWORKS = (
    *TAUGHT, "wiener", "hammerstein", "wiener-hammerstein", "lstm-32", "gru-32", "wavenet-1",
    "nam-standard", "tcn-300", "seq2seq-lstm-32", "conv-lstm-32", "mlp",
)  # fmt: skip
# Of the circuit and one architecture, for the curves of error over data: seconds of audio.
AMOUNTS, CURVE = (1.5, 3.0, 6.0), "lstm-32"
# Pedals are heard at this rate once more, with the recordings converted.
OTHER_RATE = 192_000


@dataclass(frozen=True)
class Material:
    """believed: the netlist that fits begin with; diodes: whose law may be learned; recordings: those that train, as
    (dry, wet) in OUT, with what a session file says of all of them; judging: what `compare` is told of those that
    judge."""

    believed: Path
    diodes: str | None
    recordings: Sequence[tuple[str, str]]
    conditions: str
    judging: Sequence[str | Path]

    def session(self, out: Path, seconds: float | None = None) -> Path:
        """A session file of the recordings, or of their first so many seconds."""
        path = out / ("session.toml" if seconds is None else f"session-{seconds:g}s.toml")
        text, left = self.conditions, math.inf if seconds is None else seconds
        for dry, wet in self.recordings:
            duration = soundfile.info(out / dry).duration
            if left > 0.0:
                text += f'\n[[recording]]\ndry = "{dry}"\nwet = "{wet}"\n'
                text += f"end = {left}\n" if left < duration else ""
            left -= duration
        path.write_text(text)
        return path


def recorded(data: Path, out: Path) -> Material:
    """The pedal of the recordings."""
    pairs = [(f"clip_{k}_in.wav", f"clip_{k}_out.wav") for k in TRAINING]
    for name in itertools.chain(*pairs):
        (out / name).write_bytes((data / name).read_bytes())
    dry, wet, published = (data / f"clip_{JUDGE}_{end}.wav" for end in ("in", "out", "lstm"))
    judging = ["--on", dry, wet, "--reference", f"published LSTM={published}", "--other-rate", str(OTHER_RATE)]
    return Material(NETLISTS / f"{PEDAL}.cir", PEDAL_DIODES, pairs, f"delay = {DELAY}\n", judging)


def rendered(device: str, data: Path, out: Path) -> Material:
    """A circuit that is known, played by ngspice."""
    prepared(KNOWN[device], [data / f"clip_{k}_in.wav" for k in (*TRAINING, JUDGE)], out)
    pairs = [(f"dry_{k}.wav", f"wet_{k}.wav") for k in TRAINING]
    judging = ["--on", out / f"dry_{JUDGE}.wav", out / f"wet_{JUDGE}.wav", "--also-on", out / "dry_other.wav",
               out / "wet_other.wav", "--truth", out / "true.cir"]  # fmt: skip
    conditions = "delay = 0\ninput_level = 1.0\noutput_gain = 1.0\n"
    return Material(out / "believed.cir", KNOWN[device].diodes, pairs, conditions, judging)


def with_learned_law(netlist: Path, diodes: str, out: Path) -> Path:
    """The netlist with the diodes' law to be learned in place of the values of their model."""
    circuit = read_netlist(netlist)
    model = next(element.model for element in circuit.elements if element.name == diodes.split()[0])
    learned = tuple(one for one in circuit.learn if not one.name.startswith(f"{model}."))
    title, _, rest = format_netlist(replace(circuit, learn=learned)).partition("\n")
    out.write_text(f"{title}\n*@ network {diodes}\n{rest}")
    return out


def circuitnn(words: Sequence[str | Path]) -> None:
    """One command, the output of which is seen."""
    print("circuitnn", *words, flush=True)
    subprocess.run([sys.executable, "-m", "circuitnn.cli", *map(str, words)], check=True)


def commands(material: Material, chosen: argparse.Namespace) -> dict[str, list[str | Path]]:
    """What makes the run of each row."""
    most = [] if chosen.epochs is None else ["--max-iterations", str(chosen.epochs)]
    everything = ["--recordings", material.session(chosen.out)]
    fit = ["fit", material.believed, *most, "--resume"]
    rows: dict[str, list[str | Path]] = {CIRCUIT: [*fit, *everything]}
    if material.diodes is not None:
        learned = with_learned_law(material.believed, material.diodes, chosen.out / f"{NEURAL}.cir")
        rows[NEURAL] = ["fit", learned, *most, "--resume", *everything]
    limit = [] if chosen.epochs is None else ["--epochs", str(chosen.epochs)]
    training = ["--preset", chosen.preset, *limit, "--resume", *everything]
    rows |= {name: ["train", name, *training] for name in NETWORKS}
    for name in TAUGHT:
        rows[name] += ["--teacher", chosen.out / "runs" / CIRCUIT]
    for amount in AMOUNTS:
        rows[f"{CIRCUIT}-{amount:g}s"] = [*fit, "--recordings", material.session(chosen.out, amount)]
        rows[f"{CURVE}-{amount:g}s"] = ["train", CURVE, *training, "--seconds", str(amount)]
    return rows


def markdown(models: Sequence[dict[str, Any]]) -> str:
    """What the documentation shows of a comparison. The smallest error with the best gain comes first: each of the
    pedal's clips has its own, which no model can know."""
    columns = ("name", "parameters", "esr_gain_free", "esr", "mr_stft", "other_rate_esr", "other_rate_converted_esr",
               "real_time_factor", "training_seconds")  # fmt: skip
    ordered = sorted(models, key=lambda model: model["esr_gain_free"])
    rows = [columns, ["---"] * len(columns), *([_cell(model[key]) for key in columns] for model in ordered)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the clips")
    parser.add_argument("out", type=Path, help="folder for runs and comparison")
    parser.add_argument("--device", choices=(PEDAL, *KNOWN), default=PEDAL)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows, by the names of their runs")
    parser.add_argument("--preset", choices=("quick", "full"), default="quick")
    parser.add_argument("--epochs", type=int, help="at most so many, to try the command")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    pedal = chosen.device == PEDAL
    material = recorded(chosen.data, chosen.out) if pedal else rendered(chosen.device, chosen.data, chosen.out)
    rows = commands(material, chosen)
    if unknown := set(chosen.only or ()) - set(rows):
        parser.error(f"no rows {', '.join(unknown)}; known: {', '.join(rows)}")
    wanted = set(chosen.only or rows)
    if wanted & set(TAUGHT):
        wanted.add(CIRCUIT)
    runs = {name: chosen.out / "runs" / name for name in rows if name in wanted}
    for name, run in runs.items():
        if not (run / "run.json").is_file():
            circuitnn([*rows[name], "--out", run])
    circuitnn(["compare", *runs.values(), *material.judging, "--out", chosen.out / "comparison"])
    models = json.loads((chosen.out / "comparison" / "comparison.json").read_text())["models"]
    print(markdown(models))


if __name__ == "__main__":
    main()
