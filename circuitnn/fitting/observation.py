"""One recording as a least-squares problem: the model's output and its derivatives against what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import firwin, kaiser_beta
from torch import Tensor

from circuitnn.audio import Recording
from circuitnn.errors import RecordingError
from circuitnn.fitting.alignment import HALF_LENGTH as SHIFT_MARGIN
from circuitnn.fitting.alignment import fractional_advance
from circuitnn.metrics import PREEMPHASIS
from circuitnn.models.circuit_model import CircuitModel
from circuitnn.oversampling import filter_blocks, toeplitz
from circuitnn.simulate import history_at_rest, tangent
from circuitnn.theta_tangent import ThetaTangent

Matrix = NDArray[np.float64]

# Seconds simulated at a time: bounds the memory that derivatives take.
CHUNK_SECONDS = 1.0
# Blocks in which inner products are kept apart, for error bars that allow for correlated errors: 50 ms each.
BLOCKS_PER_CHUNK = 20
# Length of the low-pass part of the weighting filter.
LOWPASS_TAPS = 65
# The wet recording must overlap the model's output by at least this part of itself.
MIN_OVERLAP = 0.5
# Step for the derivative with respect to delay, in samples.
_DELAY_STEP = 1e-3


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
class Normal:
    """grams [blocks, p+3, p+3]: for each block of time, inner products of the columns (derivatives [p], output, target,
    derivative of the target by delay), seen through `weighting_filter`; output: the model's output [time], in volt;
    failures: steps not converged."""

    grams: Matrix
    output: NDArray[np.float64]
    failures: int


@cache
def weighting_filter() -> Tensor:
    """The filter through which errors are seen, as a Toeplitz matrix: pre-emphasis, and a low-pass at 0.42 of the
    sample rate (60 dB down from 0.45), because beyond it the anti-alias filters of recorder and model differ."""
    lowpass = firwin(LOWPASS_TAPS, 2.0 * 0.42, window=("kaiser", kaiser_beta(60.0)))
    return toeplitz(torch.as_tensor(np.convolve(lowpass, [1.0, -PREEMPHASIS])))


class Observation:
    """A recording prepared for a model: input, target, and the span of samples that both cover."""

    def __init__(self, model: CircuitModel, recording: Recording, delay: float) -> None:
        self.recording = recording
        self.model = model
        self.delay = delay
        # The converters are late by `latency`: run on by as much, and read the output later.
        padded = np.concatenate([recording.dry, np.zeros(model.latency)])
        self.input = torch.as_tensor(padded)[None, :, None]
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

    def target(self, delay: float) -> NDArray[np.float64]:
        """The wet recording on the model's time axis, over `span(delay)`."""
        offset = round(delay)
        begin, end = self.span(delay)
        advanced = fractional_advance(self.recording.wet, delay - offset)
        return advanced[begin + offset : end + offset]

    def normal(self, point: Linearisation) -> Normal:
        """Simulate with derivatives, chunk by chunk, and accumulate the inner products."""
        model, factor = self.model, self.model.oversample
        directions = point.dx.shape[-1]
        begin, end = self.span(self.delay)
        target = self.target(self.delay)
        slope = self._target_slope()
        output = np.zeros(len(self.recording.dry))
        grams = []
        x, w, dx = point.x[None], point.w[None], point.dx[None]
        up = None
        down, ddown = history_at_rest(point.rest[None], factor), history_at_rest(point.drest[None], factor)
        weighting = weighting_filter()
        settling = weighting.shape[1] - weighting.shape[0]
        past = torch.zeros(1, settling, directions + 3, dtype=torch.float64)
        chunk = int(CHUNK_SECONDS * model.sample_rate)
        failures = 0
        for start in range(0, self.input.shape[1], chunk):
            u = self.input[:, start : start + chunk]
            run, dy, dx, ddown = tangent(
                u, x, w, point.theta[None], dx, point.dtheta, model.kernel, factor, up, down, ddown
            )
            failures += int(run.report[0, 1])
            x, w, up, down = run.x, run.w, run.up, run.down
            columns = torch.cat([run.y, dy[:, :, 0]], 2)
            # Rows of the model's time axis that this chunk made, cut to the span.
            first = start - model.latency
            low, high = max(first, 0), first + columns.shape[1]
            output[low : min(high, len(output))] = columns[0, low - first : len(output) - first, 0].numpy()
            low, high = max(low, begin), min(high, end)
            if high <= low:
                continue
            rows = columns[0, low - first : high - first]
            measured = np.stack([target[low - begin : high - begin], slope[low - begin : high - begin]], 1)
            block = torch.cat([rows[:, 1:], rows[:, :1], torch.as_tensor(measured)], 1)
            weighted, past = filter_blocks(weighting, block[None], past)
            weighted, settling = weighted[0, settling:], max(0, settling - len(block))
            grams += [part.T @ part for part in np.array_split(weighted.numpy(), BLOCKS_PER_CHUNK)]
        return Normal(np.stack(grams), output, failures)

    def _target_slope(self) -> NDArray[np.float64]:
        """d target / d delay at the present delay; the span stays that of the present delay."""
        offset = round(self.delay)
        begin, end = self.span(self.delay)
        later, sooner = (
            fractional_advance(self.recording.wet, self.delay - offset + step) for step in (_DELAY_STEP, -_DELAY_STEP)
        )
        return ((later - sooner) / (2.0 * _DELAY_STEP))[begin + offset : end + offset]
