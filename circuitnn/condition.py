"""What is wrong with a recorded signal: clipping, offset, mains hum and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

# Frames in which levels are measured, and the shortest pause in which noise is, in seconds.
FRAME, PAUSE = 0.02, 0.2
# Of a long pause this much is examined, in seconds.
EXAMINED = 5.0
# A pause is at most this part of the loudest frame (-26 dB); what belongs to it, at most twice the
# level of its quietest frames.
PAUSE_LEVEL, SPREAD = 0.05, 2.0
# Sound begins at this part of the peak (-60 dB), or where the noise ends.
SOUND_LEVEL = 1e-3
# A converter that clips repeats its extreme value. Shorter runs, or at low levels, are what rounding does to a crest.
CLIPPED_RUN, CLIPPED_LEVEL = 4, 0.1
# Mains frequencies in Hz, harmonics that count, and the part of a pause's energy from which on they are reported.
MAINS, HARMONICS, HUM_PART = (50.0, 60.0), 10, 0.1


@dataclass(frozen=True)
class Condition:
    """peak, rms: of the signal; clipped: samples in runs at the extreme value. dc, hum, noise: offset, root mean square
    of mains hum and of what else is left in the longest pause (None without a pause), all relative to digital full
    scale; mains: 50 or 60 Hz (None if hum does not stand out; then it counts as noise)."""

    peak: float
    rms: float
    clipped: int
    dc: float | None
    hum: float | None
    noise: float | None
    mains: float | None


def examine(signal: Signal, sample_rate: float) -> Condition:
    """The condition of a signal [time] with digital full scale at 1.0."""
    peak, rms = float(np.abs(signal).max()), float(np.sqrt(np.mean(signal**2)))
    pause = longest_pause(signal, sample_rate)
    if pause is None:
        return Condition(peak, rms, clipped(signal), None, None, None, None)
    begin, end = pause
    quiet = signal[begin : min(end, begin + round(EXAMINED * sample_rate))]
    rest = quiet - quiet.mean()
    total = float(np.sum(rest**2))
    hums = {mains: _hum(rest, mains, sample_rate) for mains in MAINS}
    mains = max(hums, key=lambda frequency: float(np.sum(hums[frequency] ** 2)))
    power = float(np.sum(hums[mains] ** 2))
    stands_out = power > HUM_PART * total
    return Condition(
        peak,
        rms,
        clipped(signal),
        dc=float(quiet.mean()),
        hum=float(np.sqrt(power / len(rest))) if stands_out else 0.0,
        noise=float(np.sqrt((total - power if stands_out else total) / len(rest))),
        mains=mains if stands_out else None,
    )


def clipped(signal: Signal) -> int:
    """Samples in runs of at least CLIPPED_RUN at the highest or lowest value."""
    count = 0
    for extreme in (signal.max(), signal.min()):
        if abs(extreme) >= CLIPPED_LEVEL:
            edges = np.flatnonzero(np.diff(np.concatenate([[0], signal == extreme, [0]])))
            runs = edges[1::2] - edges[::2]
            count += int(runs[runs >= CLIPPED_RUN].sum())
    return count


def sounding(signal: Signal, sample_rate: float) -> tuple[int, int]:
    """Samples [begin, end) from the first to the last sound above the noise."""
    frame, levels = _levels(signal, sample_rate)
    noise = levels.min() if longest_pause(signal, sample_rate) is not None else 0.0
    loud = np.flatnonzero(levels > max(SOUND_LEVEL * np.abs(signal).max(), 2.0 * SPREAD * noise))
    if not len(loud):
        return 0, len(signal)
    return int(loud[0]) * frame, min(len(signal), (int(loud[-1]) + 1) * frame)


def longest_pause(signal: Signal, sample_rate: float) -> tuple[int, int] | None:
    """Samples [begin, end) of the longest stretch that is as quiet as the quietest; None if there is none."""
    frame, levels = _levels(signal, sample_rate)
    # Digital silence in front of analogue noise is not the noise.
    audible = levels[levels > 0.0]
    if not len(audible):
        return None
    floor = float(np.quantile(audible, 0.01))
    if floor > PAUSE_LEVEL * levels.max():
        return None
    quiet = (levels > 0.0) & (levels <= SPREAD * floor)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet, [0]])))
    runs = edges[1::2] - edges[::2]
    longest = int(np.argmax(runs))
    if runs[longest] * frame < PAUSE * sample_rate:
        return None
    begin = int(edges[2 * longest]) * frame
    return begin, min(len(signal), begin + int(runs[longest]) * frame)


def _levels(signal: Signal, sample_rate: float) -> tuple[int, Signal]:
    """Length of a frame, and the standard deviation of each (an offset is no sound)."""
    frame = min(len(signal), max(1, round(FRAME * sample_rate)))
    frames = signal[: len(signal) // frame * frame].reshape(-1, frame)
    return frame, np.asarray(frames.std(1))


def _hum(signal: Signal, mains: float, sample_rate: float) -> Signal:
    """The least-squares part of a mains frequency and its harmonics."""
    time = np.arange(len(signal)) / sample_rate
    phases = 2.0 * np.pi * mains * np.outer(time, np.arange(1, HARMONICS + 1))
    columns = np.concatenate([np.sin(phases), np.cos(phases)], 1)
    return np.asarray(columns @ np.linalg.lstsq(columns, signal, rcond=None)[0])
