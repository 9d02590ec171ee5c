"""What a fit returns: values with error bars, nuisances, and what it takes to repeat or judge it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from circuitnn.circuit import Circuit
from circuitnn.condition import Condition
from circuitnn.fitting.pot_law import LearnedLaw

Signal = NDArray[np.float64]
Matrix = NDArray[np.float64]

# The reason of a fit that Ctrl-C ended.
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class FittedRecording:
    """One recording and the model's rendering of it.

    gain: digital full scale per volt of the model's output (negative: inverted polarity); delay: samples by which the
    device is late, however the recording was cut; confidence: of the alignment (1: a guess); drift: of its clock
    against the player's, relative, None if the test signal's blips do not tell it; offset: constant in the wet
    recording; hum: amplitudes of mains hum in it by frequency [Hz]; cut: whether it begins in mid-sound, and the state
    of the circuit there was estimated; doubted: parts of it that count little (begin, end) in seconds of the dry, which
    the errors leave out; target, output [time]: the wet recording on the model's time axis, and the model's output
    times gain with offset and hum, over the samples that both cover; input [time]: the dry signal there.
    """

    name: str
    knobs: Mapping[str, float]
    gain: float
    delay: float
    confidence: float
    offset: float
    hum: Mapping[float, float]
    esr: float
    esr_gain_free: float
    esr_preemphasis: float
    input: Signal = field(repr=False)
    target: Signal = field(repr=False)
    output: Signal = field(repr=False)
    cut: bool = False
    doubted: tuple[tuple[float, float], ...] = ()
    drift: float | None = None

    @property
    def polarity(self) -> int:
        return 1 if self.gain > 0 else -1


@dataclass(frozen=True)
class Combination:
    """A product of powers of values, prod(value ** exponent), and its relative standard error. Knob positions enter by
    the odds p / (1 - p)."""

    exponents: Mapping[str, float]
    stderr: float

    def __str__(self) -> str:
        largest = max(abs(e) for e in self.exponents.values())
        parts = [
            name if abs(e / largest - 1.0) < 0.05 else f"{name}^{e / largest:.2g}" for name, e in self.exponents.items()
        ]
        return f"{' * '.join(parts)} to {100.0 * self.stderr / largest:.2g} %"


@dataclass(frozen=True)
class Pair:
    """Two values whose product (exponent 1) or ratio (-1) is known to the relative standard error `stderr`, while they
    themselves are known to `singles` only."""

    names: tuple[str, str]
    exponent: int
    stderr: float
    singles: tuple[float, float]


@dataclass(frozen=True)
class Measurement:
    """What a measurement of one value, to the relative standard error `precision`, would do: narrowed: by what factor
    the intervals of others would become narrower."""

    name: str
    precision: float
    narrowed: Mapping[str, float]


@dataclass(frozen=True)
class Identifiability:
    """What the recordings could tell. undetermined: values whose standard error is more than half their prior width, so
    that the netlist's tolerance speaks, not the recording; determined, worst: the best and worst determined
    combinations; pairs: the tightest of those of two values that are not told singly; measurement: what would help most
    to measure; scale: values that can grow with the input level while nothing is heard."""

    undetermined: tuple[str, ...]
    determined: tuple[Combination, ...]
    worst: tuple[Combination, ...]
    pairs: tuple[Pair, ...] = ()
    measurement: Measurement | None = None
    scale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Share:
    """A part of the recordings. kind: what divides them, "frequency", "level" or "time"; of_error: its part of the
    squared error; error: squared error over squared target in it."""

    kind: str
    label: str
    of_error: float
    error: float


@dataclass(frozen=True)
class Suggestion:
    """A value that was not learned and might be. value, promised: the netlist's, and where one Gauss-Newton step would
    put it; share: that step in prior widths; error: the part of the pre-emphasised squared error that would remain;
    gain: of log posterior."""

    name: str
    value: float
    promised: float
    share: float
    error: float
    gain: float


@dataclass(frozen=True)
class Refinement:
    """What a fit gained after least squares by another loss: its name, the optimizer, the mean loss of the recordings
    before and after, and the iterations that took."""

    loss: str
    optimizer: str
    before: float
    after: float
    iterations: int


@dataclass(frozen=True)
class FitResult:
    """values, stderr, nominal: learnable values by name, their standard errors and the netlist's, in SI units;
    covariance [p, p]: in the coordinates that are learned (see learnables.Coordinate), of the values, then of the
    positions, of the values of laws (as logits), and of the input level's logarithm if that was estimated;
    prior_stderr: the standard errors that the netlist's tolerances alone would give. positions, positions_stderr: the
    .param's values of knobs at labelled positions, as "drive@a". laws: of pots, learned. input_level: volt at digital
    full scale, with its standard error (0 if it was given). esr, esr_gain_free: over all recordings, squared errors
    over squared targets, with the fitted gain and with the best one. errors: relative squared error after each step;
    reason: why the fit ended; failures: steps of the last simulation that did not converge. seconds: what the fit took.
    held_out: recordings that took no part, each with the gain that suits it best. suggestions: what else to learn, the
    best first; None if that was not asked for. refinement: None if least squares had the last word.
    """

    circuit: Circuit = field(repr=False)
    sample_rate: float
    oversample: int
    nominal: Mapping[str, float]
    values: Mapping[str, float]
    stderr: Mapping[str, float]
    covariance: Matrix = field(repr=False)
    prior_stderr: Mapping[str, float]
    positions: Mapping[str, float]
    positions_stderr: Mapping[str, float]
    input_level: float
    input_level_stderr: float
    recordings: tuple[FittedRecording, ...]
    esr: float
    esr_gain_free: float
    identifiability: Identifiability
    errors: tuple[float, ...]
    reason: str
    failures: int
    seconds: float = 0.0
    held_out: tuple[FittedRecording, ...] = ()
    suggestions: tuple[Suggestion, ...] | None = None
    laws: tuple[LearnedLaw, ...] = ()
    refinement: Refinement | None = None

    @property
    def fitted_circuit(self) -> Circuit:
        """The circuit with the laws that were learned; `values` are apart."""
        learned = {law.knob: law.taper for law in self.laws}
        knobs = tuple(replace(k, taper=learned.get(k.name, k.taper)) for k in self.circuit.knobs)
        return replace(self.circuit, knobs=knobs)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the fit; the values are the best so far."""
        return self.reason == INTERRUPTED

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a run folder: report.html, fitted.cir, run.json, and the recordings' WAVs. Raises OutputError."""
        # A convenience of the public interface; everything else here knows nothing of files.
        from circuitnn.runs import save_run

        save_run(self, folder)


@dataclass(frozen=True)
class Source:
    """The files of one recording, their lengths in samples if all of them was used, and their condition."""

    dry: str
    wet: str
    dry_samples: int | None = None
    wet_samples: int | None = None
    conditions: tuple[Condition, Condition] | None = None


@dataclass(frozen=True)
class Settings:
    """What it takes to repeat a fit. fixed: `--set` settings as written; input_level [V at digital full scale] and
    output_gain [full scale per volt]: None where they were estimated; robust: as in `fit`; loss: what came after least
    squares, None for nothing; sources, held_out: one per recording; command: the command line, "" for a fit that was
    called from Python."""

    learn: str = "marked"
    fixed: tuple[str, ...] = ()
    input_level: float | None = None
    output_gain: float | None = None
    sources: tuple[Source, ...] = ()
    held_out: tuple[Source, ...] = ()
    max_iterations: int = 40
    robust: bool = False
    loss: str | None = None
    optimizer: str = "lbfgs"
    command: str = ""
