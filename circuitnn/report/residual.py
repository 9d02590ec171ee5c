"""Where an output differs from its target: in time, in frequency and over level. Signals are [time]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal as dsp

Signal = NDArray[np.float64]

# Bands of a spectrum per octave, from LOWEST to HIGHEST Hz.
BANDS_PER_OCTAVE, LOWEST, HIGHEST = 12, 20.0, 20e3
# Seconds over which a level is taken.
BLOCK = 0.02
# A level or power that counts as nothing, as a power.
NOTHING = 1e-20
# A spectrogram's window in seconds, its columns, and its rows per octave.
WINDOW, COLUMNS, ROWS_PER_OCTAVE = 0.03, 220, 12


def decibels(power: NDArray[np.float64]) -> Signal:
    """10 log10 power, not below -200 dB."""
    levels: Signal = 10.0 * np.log10(np.maximum(power, NOTHING))
    return levels


def worst_stretch(target: Signal, output: Signal, length: int) -> tuple[int, int]:
    """The samples [begin, end) of `length` samples, or of all, in which the error has the most energy."""
    length = min(len(target), max(2, length))
    total = np.concatenate([[0.0], np.cumsum((output - target) ** 2)])
    begin = int(np.argmax(total[length:] - total[:-length]))
    return begin, begin + length


def block_powers(signal: Signal, rate: float, most: int | None = None) -> tuple[Signal, Signal]:
    """Middles [blocks] of blocks of BLOCK seconds, in seconds, and the mean squares there. most: of a signal that has
    more blocks than these, the blocks are longer."""
    length = max(1, round(BLOCK * rate), -(-len(signal) // most) if most else 1)
    length = min(len(signal), length)
    count = len(signal) // length
    blocks = signal[: count * length].reshape(count, length)
    times: Signal = np.arange(0.5, count) * length / rate
    powers: Signal = np.einsum("bn,bn->b", blocks, blocks) / length
    return times, powers


def band_levels(signal: Signal, rate: float) -> tuple[Signal, Signal]:
    """Centres [bands] in Hz, and power in bands of a twelfth of an octave (Welch's method), in dB of full scale."""
    frequency, density = dsp.welch(signal, rate, nperseg=min(16384, len(signal)))
    highest = min(HIGHEST, rate / 2.0)
    edges = LOWEST * 2.0 ** (np.arange(int(BANDS_PER_OCTAVE * np.log2(highest / LOWEST)) + 1) / BANDS_PER_OCTAVE)
    centers = np.sqrt(edges[1:] * edges[:-1])
    # Low bands are narrower than a bin: the density in between is as good as it gets.
    smooth = np.interp(centers, frequency, density)
    total = np.concatenate([[0.0], np.cumsum(density)])
    begin, end = np.searchsorted(frequency, edges[:-1]), np.searchsorted(frequency, edges[1:])
    wide = end - begin > 1
    mean = np.where(wide, (total[end] - total[begin]) / np.maximum(end - begin, 1), smooth)
    return centers, decibels(mean * np.diff(edges))


def spectrogram(signal: Signal, rate: float) -> tuple[Signal, Signal]:
    """Frequencies [rows] in Hz, equal steps of an octave, and levels [rows, columns] in dB; a full-scale sine has -3 dB
    less what its window spreads."""
    length = min(len(signal), round(WINDOW * rate))
    hop = max(1, (len(signal) - length) // COLUMNS)
    window = np.hanning(length + 2)[1:-1]
    frames = np.lib.stride_tricks.sliding_window_view(signal, length)[::hop] * window
    powers = 2.0 * np.abs(np.fft.rfft(frames)) ** 2 / np.sum(window) ** 2
    highest = min(HIGHEST, rate / 2.0)
    rows = highest * 2.0 ** -(
        np.arange(int(ROWS_PER_OCTAVE * np.log2(highest / (2.0 * LOWEST))))[::-1] / ROWS_PER_OCTAVE
    )
    bins = np.fft.rfftfreq(length, 1.0 / rate)
    # Between bins by interpolation; where a row is wider than a bin, the loudest bin in it.
    edges = np.searchsorted(bins, np.concatenate([[rows[0]], np.sqrt(rows[1:] * rows[:-1]), [rows[-1] * 1.03]]))
    levels = np.empty((len(rows), len(frames)))
    for k, row in enumerate(rows):
        begin, end = edges[k], edges[k + 1]
        if end - begin > 1:
            levels[k] = powers[:, begin:end].max(1)
        else:
            right = min(int(np.searchsorted(bins, row)), len(bins) - 1)
            share = (row - bins[right - 1]) / (bins[right] - bins[right - 1])
            levels[k] = (1.0 - share) * powers[:, right - 1] + share * powers[:, right]
    return rows, decibels(levels)
