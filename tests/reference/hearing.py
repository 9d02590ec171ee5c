"""Loudness and MFCC of three sounds by pyloudnorm and librosa, which the tests do not need: `python hearing.py` writes
hearing.json. (pip install pyloudnorm==0.2.0 librosa==0.11.0)"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).with_suffix(".json")
SETTINGS = {"default": (20, 128, 2048, 512), "cosine": (13, 40, 4096, 2048)}


def sounds() -> dict[str, tuple[NDArray[np.float64], int]]:
    """Signals and their rates: a decaying chord, noise with a pause in it, and a clipped chord."""
    time = np.arange(2 * 44100) / 44100
    chord = sum(np.sin(2.0 * np.pi * f * time + f) / k for k in (1, 2, 3) for f in (110.0 * k, 164.8 * k))
    noise = 0.1 * np.random.default_rng(1).standard_normal(3 * 48000)
    noise[48000:96000] *= 1e-3
    return {
        "chord": (0.3 * chord * np.exp(-1.5 * time), 44100),
        "noise": (noise, 48000),
        "clipped": (0.5 * np.tanh(4.0 * chord * np.exp(-1.5 * time)), 44100),
    }


def main() -> None:
    import librosa
    import pyloudnorm

    found: dict[str, object] = {name: version(name) for name in ("librosa", "pyloudnorm")}
    for name, (signal, rate) in sounds().items():
        entry = {"loudness": float(pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(signal))}
        for key, (coefficients, bands, window, hop) in SETTINGS.items():
            mfcc = librosa.feature.mfcc(
                y=signal, sr=rate, n_mfcc=coefficients, n_mels=bands, n_fft=window, hop_length=hop, dtype=np.float64
            )
            entry[f"{key}_shape"] = list(mfcc.shape)
            # Frames at the begin, in the middle and at the end, and the mean of all.
            frames = mfcc[:, [0, mfcc.shape[1] // 2, -1]]
            entry[key] = np.column_stack([frames, mfcc.mean(1)]).tolist()
        found[name] = entry
    PATH.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
