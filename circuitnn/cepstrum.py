"""Mel-frequency cepstral coefficients (MFCC), distances of timbre made of them, and what listeners would say."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from circuitnn.loudness import at_loudness

Signal = NDArray[np.float64]

# Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz with 15 mel there, then 27 steps for a factor of 6.4.
MEL_HERTZ, BREAK_HERTZ, LOG_STEP = 200.0 / 3.0, 1000.0, math.log(6.4) / 27.0
# Power that counts as none, and how far below the loudest band a level can be, in dB.
LEAST_POWER, RANGE = 1e-10, 80.0
# Seconds that are judged, and the loudness that they are brought to, in LUFS.
JUDGED, JUDGED_LOUDNESS = 3.0, -16.0
# Score = 100 - SLOPE (lg d - KNEE), 100 up to the knee.
KNEE, SLOPE = 0.464, 69.4


def mfcc(
    signal: Signal, sample_rate: float, coefficients: int = 20, bands: int = 128, window: int = 2048, hop: int = 512
) -> Signal:
    """MFCC [coefficients, frames] of a signal [time], with librosa's conventions and defaults.

    Hann windows centred at multiples of `hop` in the signal with zeros around it; power in `bands` triangles of equal
    area on Slaney's mel scale from 0 to half the sample rate (Hz); levels in dB, none more than RANGE below the
    highest; an orthonormal DCT-II over the bands.
    """
    from scipy.fft import dct
    from scipy.signal.windows import hann

    padded = np.pad(signal, window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * hann(window, sym=False))) ** 2
    level = 10.0 * np.log10(np.maximum(power @ mel_filters(sample_rate, bands, window).T, LEAST_POWER))
    level = np.maximum(level, level.max() - RANGE)
    found: Signal = dct(level, type=2, norm="ortho", axis=1)[:, :coefficients].T
    return found


def mel_filters(sample_rate: float, bands: int, window: int) -> Signal:
    """Triangles [bands, window // 2 + 1] over the bins of a DFT, each with an area of 1 over frequency in Hz."""
    corners = _hertz(np.linspace(0.0, float(_mel(np.array(sample_rate / 2.0))), bands + 2))[:, None]
    bins = np.fft.rfftfreq(window, 1.0 / sample_rate)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles: Signal = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (corners[2:] - corners[:-2])
    return triangles


def _mel(frequency: Signal) -> Signal:
    logarithmic = np.log(np.maximum(frequency, BREAK_HERTZ) / BREAK_HERTZ) / LOG_STEP
    mel: Signal = np.minimum(frequency, BREAK_HERTZ) / MEL_HERTZ + logarithmic
    return mel


def _hertz(mel: Signal) -> Signal:
    knee = BREAK_HERTZ / MEL_HERTZ
    hertz: Signal = np.minimum(mel, knee) * MEL_HERTZ * np.exp(np.maximum(mel - knee, 0.0) * LOG_STEP)
    return hertz


def mfcc_cosine(output: Signal, target: Signal, sample_rate: float) -> float:
    """Mean cosine distance of the MFCC of two signals [time] of equal energy, 0 to 2: 13 of 40 bands, windows of 4096
    samples that overlap by half (Martinez Ramirez, Benetos and Reiss, Applied Sciences 10 (2020), section 4.3)."""
    found = []
    for signal in (output, target):
        rms = math.sqrt(float(np.mean(signal**2)))
        found.append(mfcc(signal / rms if rms > 0.0 else signal, sample_rate, 13, 40, 4096, 2048))
    a, b = found
    products = np.sum(a * b, 0) / np.maximum(np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0), 1e-30)
    return float(np.mean(1.0 - products))


def mfcc_difference(output: Signal, target: Signal, sample_rate: float) -> float:
    """Mean absolute difference of the MFCC (librosa's defaults) of two signals [time], both at -16 LUFS, over the 3 s
    in which the target has the most energy, or all of what is shorter.

    Raises CircuitnnError for signals that are too short to measure loudness.
    """
    length = min(len(target), round(JUDGED * sample_rate))
    total = np.concatenate([[0.0], np.cumsum(target**2)])
    begin = int(np.argmax(total[length:] - total[:-length]))
    a, b = (
        mfcc(at_loudness(signal[begin : begin + length], sample_rate, JUDGED_LOUDNESS), sample_rate)
        for signal in (output, target)
    )
    return float(np.mean(np.abs(a - b)))


def mushra_prediction(difference: float) -> float:
    """The score 0 to 100 that listeners would give a model in a MUSHRA test, from its `mfcc_difference` d:
    100 if lg d <= 0.464, else 100 - 69.4 (lg d - 0.464), not below 0.

    The two numbers were handed to this project as a regression on listening tests of guitar distortion; neither the
    study nor the settings of its MFCC could be identified. Take the score as an order, not as a promise.
    """
    if difference <= 10.0**KNEE:
        return 100.0
    return max(0.0, 100.0 - SLOPE * (math.log10(difference) - KNEE))
