"""Typed access to the reference data. All signals are in volts, at 44.1 kHz or a multiple of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .signals import SAMPLE_RATE, SHORT, FloatArray, guitar, times

HERE = Path(__file__).parent
NETLISTS = HERE.parents[1] / "netlists"
EXAMPLE_FOLDER = HERE.parents[1] / "docs" / "example"

NAMES = (
    "rc_lowpass",
    "diode_clipper",
    "series_diode_clipper",
    "fmv_tone_stack",
    "ts808_clipper",
    "ts808",
    "big_muff",
    "tube_preamp",
)


@dataclass(frozen=True)
class AccuracyCase:
    """A netlist at its written values. output[i] belongs to input[i * stride]; starts at the operating point."""

    netlist: Path
    sample_rate: float
    input: FloatArray
    output: FloatArray
    stride: int


@dataclass(frozen=True)
class RecoveryCase:
    """A netlist whose learnable values have drifted to `truth` (SI units), with its response at 44.1 kHz."""

    netlist: Path
    sample_rate: float
    input: FloatArray
    output: FloatArray
    truth: dict[str, float]


def accuracy_case(name: str, oversample: int = 64) -> AccuracyCase:
    """0.1 s with the input on a grid of oversample * 44.1 kHz; oversample must be a multiple of 4."""
    settings = json.loads((HERE / "accuracy.json").read_text())
    stride, remainder = divmod(oversample, settings["stored_oversample"])
    if remainder:
        raise ValueError(f"oversample must be a multiple of {settings['stored_oversample']}, not {oversample}")
    rate = SAMPLE_RATE * oversample
    peak = settings["netlists"][name]["input_peak"]
    with np.load(HERE / "accuracy.npz") as outputs:
        return AccuracyCase(
            NETLISTS / f"{name}.cir", rate, peak * guitar(SHORT, times(SHORT, rate)), outputs[name], stride
        )


def recovery_case(name: str) -> RecoveryCase:
    """1 s of dry and wet signal for a fit."""
    entry = json.loads((HERE / "recovery" / "truth.json").read_text())["netlists"][name]
    dry, rate = soundfile.read(HERE / "recovery" / "dry.wav")
    wet, _ = soundfile.read(HERE / "recovery" / f"{name}.wav")
    return RecoveryCase(NETLISTS / f"{name}.cir", rate, entry["input_peak"] * dry, wet, entry["values"])


def example_case() -> RecoveryCase:
    """docs/example in volts. The delay and the noise of the recording remain in the output."""
    truth = json.loads((EXAMPLE_FOLDER / "truth.json").read_text())
    dry, rate = soundfile.read(EXAMPLE_FOLDER / "dry.wav")
    wet, _ = soundfile.read(EXAMPLE_FOLDER / "wet.wav")
    return RecoveryCase(
        NETLISTS / Path(truth["netlist"]).name,
        rate,
        truth["dry_volts_at_full_scale"] * dry,
        truth["wet_volts_at_full_scale"] * wet,
        truth["values"],
    )
