"""One recording as a least-squares problem: the model's output and its derivatives against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import firwin, kaiser_beta
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.errors import RecordingError
from circuitnn.filters import filtered
from circuitnn.fitting.alignment import HALF_LENGTH as SHIFT_MARGIN
from circuitnn.fitting.alignment import fractional_advance
from circuitnn.metrics import PREEMPHASIS
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.simulate import history_at_rest, simulate, tangent
from circuitnn.theta_tangent import ThetaTangent, padded

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

# Seconds simulated at a time: bounds the memory that derivatives take.
CHUNK_SECONDS = 0.5
# Samples of other signals that are computed at a time.
CHUNK_SAMPLES = 2**18
# Length of the blocks in which inner products are kept apart, for error bars that allow for correlated errors.
BLOCK_SECONDS = 0.05
# Length of the low-pass part of the weighting filter.
LOWPASS_TAPS = 65
# The wet recording must overlap the model's output by at least this part of itself.
MIN_OVERLAP = 0.5
# Half the length of the differentiator by which the derivative with respect to delay is found.
SLOPE_REACH = 8
# Samples at the begin of a window that the filters need and that do not count.
SETTLING = LOWPASS_TAPS + 2 * SLOPE_REACH
# The unit of an initial state that is known.
AT_REST = np.zeros(0)
# A long recording is worked on in segments of this length, on all cores. At a segment's begin the state is that of the
# whole simulation; only its derivatives start at zero, `DERIVATIVE_WARM_UP` seconds before.
SEGMENT_SECONDS, DERIVATIVE_WARM_UP = 15.0, 1.0


@dataclass(frozen=True)
class Linearisation:
    """The model around one point, for one setting of the knobs. theta [size], x [n_x], w [n_n], rest [n_y]: numbers,
    initial state and output at rest; d*: their derivatives [..., p], that of theta as products."""

    theta: Tensor
    x: Tensor
    w: Tensor
    rest: Tensor
    dtheta: ThetaTangent
    dx: Tensor
    drest: Tensor


@dataclass(frozen=True)
class Snapshot:
    """A simulation at sample `time` of the input: states and memories of the rate converters, and their derivatives."""

    time: int
    x: Tensor
    w: Tensor
    up: Tensor | None
    down: Tensor
    dx: Tensor
    ddown: Tensor


@dataclass(frozen=True)
class Window:
    """Samples [begin, end) of the model's output that count; the simulation with derivatives starts at `start`: in the
    state of the whole simulation there or, if `afresh`, at rest."""

    start: int
    begin: int
    end: int
    afresh: bool = False


@dataclass(frozen=True)
class Normal:
    """grams [blocks, q, q]: for each block of time, inner products of the q = p + 3 + s + n columns: derivatives [p],
    output, target, derivative of the output by time, derivatives by the initial state [s], linear nuisances [n]; all
    seen through `weighting_filter`.
    ends [blocks]: samples of the model's output where the blocks end. failures: steps not converged."""

    grams: Matrix
    ends: NDArray[np.int64]
    failures: int


@cache
def weighting_filter() -> Tensor:
    """The filter through which errors are seen, as a response [1, length]: pre-emphasis, and a low-pass at 0.42 of the
    sample rate (60 dB down from 0.45), because beyond it the anti-alias filters of recorder and model differ."""
    return torch.as_tensor(np.pad(_weighting(), (SLOPE_REACH, SLOPE_REACH)))[None]


@cache
def slope_filter() -> Tensor:
    """The same filter and the derivative by time in samples (that of a band-limited signal, windowed)."""
    offsets = np.arange(-SLOPE_REACH, SLOPE_REACH + 1)
    ideal = np.where(offsets == 0, 0.0, (-1.0) ** offsets / np.where(offsets == 0, 1, offsets))
    return torch.as_tensor(np.convolve(_weighting(), ideal * np.hamming(len(offsets))))[None]


def _weighting() -> Vector:
    lowpass = firwin(LOWPASS_TAPS, 2.0 * 0.42, window=("kaiser", kaiser_beta(60.0)))
    return np.convolve(lowpass, [1.0, -PREEMPHASIS])


class Observation:
    """A recording prepared for a model: input, target, and the span of samples that both cover.

    hum: frequencies [Hz] of mains hum in the wet recording, each a linear nuisance with unknown amplitude and phase.
    usual_state: the unit of each state of the circuit [n_x] if where it begins is unknown, [0] if it begins at rest.
    """

    def __init__(
        self,
        model: CircuitModel,
        recording: Recording,
        delay: float,
        hum: Sequence[float] = (),
        usual_state: Vector = AT_REST,
    ) -> None:
        self.recording = recording
        self.model = model
        self.hum = tuple(hum)
        self.usual_state = usual_state
        # The converters are late by `latency`: run on by as much, and read the output later.
        self.length = len(recording.dry) + model.latency
        begin, end = self.span(delay)
        if end - begin < MIN_OVERLAP * len(recording.wet):
            raise RecordingError(
                f"{recording.name}: at a delay of {delay:.0f} samples only {max(end - begin, 0)} of "
                f"{len(recording.wet)} wet samples have a dry counterpart",
                "check that dry and wet belong to the same take, and last longer than a few hundredths of a second",
            )

    def span(self, delay: float) -> tuple[int, int]:
        """Samples [begin, end) of the model's output that the wet recording covers at that delay."""
        offset = round(delay)
        # Where the dry recording is cut off, the rate conversion does not know how it goes on.
        dry_end = len(self.recording.dry) - self.model.latency
        return max(0, -offset) + SHIFT_MARGIN, min(dry_end, len(self.recording.wet) - offset) - SHIFT_MARGIN

    def displacement(self, state: Vector) -> Vector:
        """How far from rest the circuit's states [n_x or 1] begin, from `state` in units."""
        return self.usual_state * state if len(state) else np.zeros(1)

    def input(self, begin: int, end: int) -> Tensor:
        """Samples [begin, end) of the dry recording [1, end - begin, 1], with zeros behind it."""
        part = self.recording.dry[begin:end]
        return torch.as_tensor(np.pad(part, (0, end - begin - len(part))))[None, :, None]

    def target(self, delay: float, samples: int | None = None) -> Vector:
        """The wet recording on the model's time axis, over `span(delay)` or so many samples from its begin."""
        begin, end = self.span(delay)
        end = end if samples is None else min(end, begin + samples)
        return _by_chunks(lambda low, high: self._measured(delay, low, high), begin, end)

    def _measured(self, delay: float, begin: int, end: int) -> Vector:
        """The wet recording on the model's time axis, samples [begin, end)."""
        offset = round(delay)
        # The interpolation reaches over neighbouring samples; where there are none, the signal is taken to be zero.
        low, high = begin + offset - SHIFT_MARGIN, end + offset + SHIFT_MARGIN
        kept = self.recording.wet[max(low, 0) : max(high, 0)]
        padded = np.pad(kept, (max(-low, 0), max(high - max(low, 0) - len(kept), 0)))
        return fractional_advance(padded, delay - offset)[SHIFT_MARGIN:-SHIFT_MARGIN]

    def nuisances(self, begin: int, end: int) -> Matrix:
        """Signals [end - begin, n] that the wet recording may hold beside the device's output: a constant, and sine and
        cosine of each frequency of hum."""
        time = np.arange(begin, end) / self.recording.sample_rate
        waves = [wave(2.0 * np.pi * f * time) for f in self.hum for wave in (np.cos, np.sin)]
        return np.stack([np.ones(end - begin), *waves], 1)

    def disturb(self, output: Vector, amplitudes: Vector, begin: int) -> None:
        """Add to an output [time], whose first sample is `begin`, what the wet recording holds beside it."""
        for low in range(0, len(output), CHUNK_SAMPLES):
            part = output[low : low + CHUNK_SAMPLES]
            part += self.nuisances(begin + low, begin + low + len(part)) @ amplitudes

    def windows(self, delay: float) -> tuple[Window, ...]:
        """The whole span: in one piece, or in segments where it is long. A segment begins earlier by what the weighting
        filter settles in, so that no sample is lost between two of them."""
        begin, end = self.span(delay)
        rate = self.model.sample_rate
        count = max(1, int((end - begin) / (SEGMENT_SECONDS * rate)))
        edges = np.linspace(begin, end, count + 1).astype(int)
        warm_up = int(DERIVATIVE_WARM_UP * rate)
        return tuple(
            Window(0, int(low), int(high)) if k == 0 else Window(int(low) - warm_up, int(low) - SETTLING, int(high))
            for k, (low, high) in enumerate(pairwise(edges))
        )

    def snapshots(self, point: Linearisation, windows: Sequence[Window], state: Vector) -> Iterator[Snapshot]:
        """The simulation at each window's start, from one pass without derivatives as far as the last one that does not
        begin afresh. A window that starts at 0 has those by the initial state, too, behind the others."""
        model, factor = self.model, self.model.oversample
        x, w, up = (point.x + torch.as_tensor(self.displacement(state)))[None], point.w[None], None
        down, ddown = history_at_rest(point.rest[None], factor), history_at_rest(point.drest[None], factor)
        dx = point.dx[None]
        afresh = Snapshot(0, point.x[None], w, up, down, dx, ddown)
        # At rest there are no such directions.
        by_state = torch.eye(len(point.x), len(self.usual_state), dtype=torch.float64)
        by_state = (by_state * torch.as_tensor(self.usual_state))[None]
        still = torch.nn.functional.pad(ddown, (0, len(self.usual_state)))
        here = Snapshot(0, x, w, up, down, torch.cat([dx, by_state], 2), still)
        chunk = int(CHUNK_SECONDS * model.sample_rate)
        for window in windows:
            while here.time < window.start and not window.afresh:
                end = min(here.time + chunk, window.start)
                with torch.no_grad():
                    run = simulate(
                        self.input(here.time, end), here.x, here.w, point.theta[None], model.kernel, factor,
                        here.up, here.down,
                    )  # fmt: skip
                here = Snapshot(end, run.x, run.w, run.up, run.down, torch.zeros_like(dx), torch.zeros_like(ddown))
            yield replace(afresh, time=window.start) if window.afresh else here

    def normal(self, point: Linearisation, snapshot: Snapshot, window: Window, delay: float) -> Normal:
        """Simulate a window with derivatives, chunk by chunk, and accumulate the inner products."""
        model, factor = self.model, self.model.oversample
        rate, p, s = model.sample_rate, point.dx.shape[-1], len(self.usual_state)
        grams: list[Matrix] = []
        ends: list[NDArray[np.int64]] = []
        x, w, up, down, dx, ddown = snapshot.x, snapshot.w, snapshot.up, snapshot.down, snapshot.dx, snapshot.ddown
        weighting = weighting_filter()
        settling = SETTLING
        past: Tensor | None = None
        chunk = int(CHUNK_SECONDS * rate)
        last = min(window.end + model.latency, self.length)
        failures = 0
        for start in range(window.start, last, chunk):
            u = self.input(start, min(start + chunk, last))
            run, dy, dx, ddown = tangent(
                u, x, w, point.theta[None], dx, padded(point.dtheta, dx.shape[-1]), model.kernel, factor, up, down,
                ddown,
            )  # fmt: skip
            failures += int(run.report[0, 1])
            x, w, up, down = run.x, run.w, run.up, run.down
            by_state = torch.nn.functional.pad(dy[:, :, 0, p:], (0, s + p - dy.shape[-1]))
            columns = torch.cat([run.y, dy[:, :, 0, :p], by_state], 2)
            # What the initial state made has decayed by the end of the first chunk.
            dx, ddown = dx[..., :p], ddown[..., :p]
            # Rows of the model's time axis that this chunk made, cut to the window.
            first = start - model.latency
            low, high = max(first, window.begin), min(first + columns.shape[1], window.end)
            if high <= low:
                continue
            rows = columns[0, low - first : high - first]
            target = self._measured(delay, low, high)
            measured = torch.as_tensor(np.concatenate([target[:, None], self.nuisances(low, high)], 1))
            output = rows[:, :1]
            derivatives, by_state = rows[:, 1:].split([p, s], 1)
            block = torch.cat([derivatives, output, measured[:, :1], output, by_state, measured[:, 1:]], 1)
            slope = p + 2
            if past is None:
                past = torch.zeros(1, settling, block.shape[1], dtype=torch.float64)
            sloped, _ = filtered(slope_filter(), output[None], past[..., [slope]])
            weighted, past = filtered(weighting, block[None], past)
            weighted[..., [slope]] = sloped
            weighted, settling = weighted[0, settling:], max(0, settling - len(block))
            blocks = max(1, round(len(weighted) / (BLOCK_SECONDS * rate)))
            parts = np.array_split(weighted.numpy(), blocks)
            grams += [part.T @ part for part in parts]
            # The filters are late by half of what they need.
            ends.append(high - SETTLING // 2 - len(weighted) + np.cumsum([len(part) for part in parts]))
        return Normal(np.stack(grams), np.concatenate(ends), failures)


def _by_chunks(part: Callable[[int, int], Vector], begin: int, end: int) -> Vector:
    """A long signal from parts [low, high), so that what they take to compute does not grow with it."""
    signal = np.empty(end - begin)
    for low in range(begin, end, CHUNK_SAMPLES):
        high = min(low + CHUNK_SAMPLES, end)
        signal[low - begin : high - begin] = part(low, high)
    return signal
