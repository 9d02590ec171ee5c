"""Sound files and recordings of a device: what went in and what came out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from circuitnn.errors import OutputError, RecordingError

Signal = NDArray[np.float64]

# An hour of audio at 192 kHz; more in one file is a mistake, or an attack on memory.
MAX_SAMPLES = 3600 * 192_000
# By how much dry and wet may differ in length, in seconds: a leading or trailing pause, not another take.
MAX_LENGTH_DIFFERENCE = 0.5
# Root mean square below which a file counts as silent, relative to digital full scale (-100 dB).
SILENCE = 1e-5


def read_wav(path: str | os.PathLike[str]) -> tuple[Signal, int]:
    """A mono sound file as samples [time] with digital full scale at 1.0, and its sample rate in Hz.

    Raises RecordingError for a file that is missing, not audio, not mono, empty, silent, or holds NaN or infinity.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise RecordingError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        with soundfile.SoundFile(path) as file:
            if file.channels != 1:
                raise RecordingError(
                    f"{path}: expected one channel, found {file.channels}", "save dry and wet as two mono files"
                )
            if file.frames > MAX_SAMPLES:
                raise RecordingError(f"{path}: {file.frames} samples are more than the limit of {MAX_SAMPLES}")
            samples, rate = file.read(dtype="float64"), int(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise RecordingError(f"{path}: not a sound file that can be read ({error.error_string})") from None
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    check_signal(samples, str(path))
    return samples, rate


def check_signal(samples: Signal, name: str) -> None:
    """Raise RecordingError if a signal is empty, silent or not finite."""
    if len(samples) == 0:
        raise RecordingError(f"{name}: holds no samples")
    broken = np.flatnonzero(~np.isfinite(samples))
    if len(broken):
        raise RecordingError(
            f"{name}: {len(broken)} samples are NaN or infinite, the first at sample {broken[0]}",
            "export the file again, or cut that part out",
        )
    if float(np.sqrt(np.mean(samples**2))) < SILENCE:
        raise RecordingError(f"{name}: silent (below -100 dB of full scale)", "check cable, channel and gain")


def write_wav(path: str | os.PathLike[str], samples: Signal, sample_rate: int) -> None:
    """Write mono samples [time] as 32-bit float WAV: to a temporary file first, then renamed. Raises OutputError."""
    import soundfile

    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".wav")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    os.close(handle)
    try:
        soundfile.write(temporary, samples, sample_rate, subtype="FLOAT", format="WAV")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except (OSError, soundfile.LibsndfileError) as error:
        Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}") from None


@dataclass(frozen=True)
class Recording:
    """A device's input and output at one setting. dry, wet: samples [time], digital full scale at 1.0; wet may start
    later or end earlier than dry. knobs: positions 0 to 1 that somebody wrote down. name: for messages."""

    dry: Signal
    wet: Signal
    sample_rate: int
    knobs: Mapping[str, float | str] = field(default_factory=dict)
    name: str = "recording"

    def __post_init__(self) -> None:
        check_signal(self.dry, f"{self.name} (dry)")
        check_signal(self.wet, f"{self.name} (wet)")
        difference = (len(self.dry) - len(self.wet)) / self.sample_rate
        if abs(difference) > MAX_LENGTH_DIFFERENCE:
            raise RecordingError(
                f"{self.name}: dry lasts {len(self.dry) / self.sample_rate:.2f} s and wet "
                f"{len(self.wet) / self.sample_rate:.2f} s; expected the same take, within {MAX_LENGTH_DIFFERENCE} s",
                "trim both files to the same take",
            )

    @classmethod
    def from_wav(
        cls, dry: str | os.PathLike[str], wet: str | os.PathLike[str], knobs: Mapping[str, float] | None = None
    ) -> Recording:
        """Read a pair of mono files of one sample rate. Raises RecordingError."""
        dry_samples, dry_rate = read_wav(dry)
        wet_samples, wet_rate = read_wav(wet)
        if dry_rate != wet_rate:
            raise RecordingError(
                f"sample rates differ: {dry} has {dry_rate} Hz, {wet} has {wet_rate} Hz",
                "resample one of them, so that both files have the same rate",
            )
        return cls(dry_samples, wet_samples, dry_rate, dict(knobs or {}), Path(wet).name)
