"""The table of a real pedal: circuits and networks on the same recordings, trained, compared and heard by one command.

    python tests/benchmarks/table.py DATA/egfx/TubeScreamer OUT [--only lstm-32 stn ...] [--epochs N] [--preset quick]

DATA/egfx/TubeScreamer holds clip_<k>_in.wav, clip_<k>_out.wav and clip_<k>_lstm.wav (EGFxSet, and the published LSTM's
rendering). Clips 0 and 1 train, clip 2 judges. OUT gets a run for each row, and the comparison: comparison.html, .json
and listening.html. A run that is there already is kept, and an interrupted training goes on, so the command can be
given again. Each row of the preset `quick` ends after seven minutes of training.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from common import NETLISTS

# The published recordings' outputs begin 4410 samples into the inputs.
DELAY = -4410
TRAINING, JUDGE = (0, 1), 2
CIRCUIT = "ts808"
NETWORKS = (
    "stn", "state-space-gru", "wiener", "hammerstein", "wiener-hammerstein", "lstm-32", "gru-32", "wavenet-1",
    "nam-standard", "tcn-300", "seq2seq-lstm-32", "conv-lstm-32", "mlp",
)  # fmt: skip
# Of one architecture, for the curve of error over data: seconds of audio.
AMOUNTS, CURVE = (1.5, 3.0, 6.0), "lstm-32"


def session(folder: Path, out: Path) -> Path:
    """A session file of the clips that train."""
    clips = "".join(
        f'[[recording]]\ndry = "clip_{k}_in.wav"\nwet = "clip_{k}_out.wav"\ndelay = {DELAY}\n\n' for k in TRAINING
    )
    for k in TRAINING:
        for end in ("in", "out"):
            (out / f"clip_{k}_{end}.wav").write_bytes((folder / f"clip_{k}_{end}.wav").read_bytes())
    path = out / "session.toml"
    path.write_text(clips)
    return path


def circuitnn(words: Sequence[str | Path]) -> None:
    """One command, the output of which is seen."""
    print("circuitnn", *words, flush=True)
    subprocess.run([sys.executable, "-m", "circuitnn.cli", *map(str, words)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the clips")
    parser.add_argument("out", type=Path, help="folder for runs and comparison")
    parser.add_argument("--only", nargs="+", choices=(CIRCUIT, *NETWORKS), default=[CIRCUIT, *NETWORKS])
    parser.add_argument("--preset", choices=("quick", "full"), default="quick")
    parser.add_argument("--epochs", type=int, help="at most so many, to try the command")
    parser.add_argument("--other-rate", type=int, default=192_000, help="Hz, at which all are judged once more")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    recordings = session(chosen.data, chosen.out)
    limit = [] if chosen.epochs is None else ["--epochs", str(chosen.epochs)]
    rows: dict[str, list[str | Path]] = {}
    if CIRCUIT in chosen.only:
        steps = [] if chosen.epochs is None else ["--max-iterations", str(chosen.epochs)]
        rows[CIRCUIT] = ["fit", NETLISTS / f"{CIRCUIT}.cir", *steps]
    training = ["--preset", chosen.preset, *limit, "--resume"]
    for name in NETWORKS:
        if name in chosen.only:
            rows[name] = ["train", name, *training]
    if CURVE in chosen.only:
        for amount in AMOUNTS:
            rows[f"{CURVE}-{amount:g}s"] = ["train", CURVE, *training, "--seconds", str(amount)]
    for name, words in rows.items():
        run = chosen.out / "runs" / name
        if not (run / "run.json").is_file():
            circuitnn([*words, "--recordings", recordings, "--out", run])
    clip = [chosen.data / f"clip_{JUDGE}_{end}.wav" for end in ("in", "out", "lstm")]
    circuitnn(
        ["compare", *(chosen.out / "runs" / name for name in rows), "--on", *clip[:2], "--reference",
         f"published LSTM={clip[2]}", "--other-rate", str(chosen.other_rate), "--out", chosen.out / "comparison"]
    )  # fmt: skip


if __name__ == "__main__":
    main()
