"""Sound files, and recordings of a device: what went in and what came out."""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from circuitnn.condition import Condition, examine, sounding
from circuitnn.errors import OutputError, RecordingError

Signal = NDArray[np.float64]

# An hour of audio at 192 kHz; more in one file is a mistake, or an attack on memory.
MAX_SAMPLES = 3600 * 192_000
# From which difference in length on a warning says that only a part of the files is used, in seconds.
NOTABLE_DIFFERENCE = 0.5
# What stays of the silence before and after the sound, in seconds: the circuit settles in it.
LEAD_IN = 0.5
# What soxr converts from and to; beyond it, a file's header is broken.
RATES = (4_000, 768_000)
# Root mean square below which a file counts as silent, relative to digital full scale (-100 dB).
SILENCE = 1e-5


def read_wav(path: str | os.PathLike[str]) -> tuple[Signal, int]:
    """A mono sound file as samples [time] with digital full scale at 1.0, and its sample rate in Hz.

    A file with several equal channels counts as mono. Raises RecordingError for one that is missing, not audio, not
    mono, empty, silent, or holds NaN or infinity.
    """
    channels, rate = read_channels(path)
    if any(not np.array_equal(channels[0], other) for other in channels[1:]):
        raise RecordingError(
            f"{path}: expected one channel, found {len(channels)} that differ",
            "save dry and wet as two mono files, or pass a file with both of them (dry left, wet right) alone",
        )
    return channels[0], rate


def read_channels(path: str | os.PathLike[str]) -> tuple[tuple[Signal, ...], int]:
    """The channels of a sound file, each [time] with digital full scale at 1.0, and its sample rate in Hz.

    Raises RecordingError for a file that is missing, not audio, or of a channel that is empty, silent or not finite.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise RecordingError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames * file.channels > 2 * MAX_SAMPLES:
                raise RecordingError(f"{path}: {file.frames} samples are more than the limit of {MAX_SAMPLES}")
            samples, rate = file.read(dtype="float64", always_2d=True), int(file.samplerate)
    except soundfile.LibsndfileError as error:
        raise RecordingError(f"{path}: not a sound file that can be read ({error.error_string})") from None
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    if not RATES[0] <= rate <= RATES[1]:
        raise RecordingError(f"{path}: expected a sample rate from {RATES[0]} to {RATES[1]} Hz, found {rate} Hz")
    channels = tuple(np.ascontiguousarray(samples[:, k]) for k in range(samples.shape[1]))
    for channel in channels:
        check_signal(channel, str(path))
    return channels, rate


def resampled(signal: Signal, rate: int, new_rate: int) -> Signal:
    """`signal` [time] at `new_rate` in Hz; sample n stays at the time n / rate. Linear phase, by soxr."""
    if rate == new_rate:
        return signal
    import soxr

    return np.asarray(soxr.resample(signal, rate, new_rate, quality="VHQ"), dtype=float)


def volts_at_full_scale(dbu: float) -> float:
    """Volt at digital full scale of an interface whose full-scale sine has `dbu` dBu (0 dBu: sqrt(0.6) V rms)."""
    return math.sqrt(2.0 * 0.6) * math.pow(10.0, dbu / 20.0)


def dbu_at_full_scale(volts: float) -> float:
    """The inverse: dBu of a full-scale sine of an interface that has so many volt at digital full scale."""
    return 20.0 * math.log10(volts / math.sqrt(2.0 * 0.6))


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
    if math.sqrt(float(np.vdot(samples, samples)) / len(samples)) < SILENCE:
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
    """A device's input and output at one setting.

    dry, wet: samples [time], digital full scale at 1.0; wet may start later or end earlier than dry. knobs: positions 0
    to 1 that somebody wrote down, and labels for others: where two recordings have one label, the knob stood at one
    place. name: for messages. delay: samples by which the wet is late against the dry, if somebody knows; a fit starts
    there. polarity: +1 or -1 if known. gain_group: recordings of one group share their output gain; None: it has its
    own. cut_off: by how many samples more the wet was cut off at its beginning than the dry: the device is late by
    delay + cut_off. delay_found: the delay is what alignment found on whole files.
    """

    dry: Signal
    wet: Signal
    sample_rate: int
    knobs: Mapping[str, float | str] = field(default_factory=dict)
    name: str = "recording"
    delay: float | None = None
    polarity: int | None = None
    gain_group: str | None = None
    cut_off: float = 0.0
    delay_found: bool = False

    def __post_init__(self) -> None:
        check_signal(self.dry, f"{self.name} (dry)")
        check_signal(self.wet, f"{self.name} (wet)")
        if self.delay is not None and not abs(self.delay) < max(len(self.dry), len(self.wet)):
            raise RecordingError(f"{self.name}: a delay of {self.delay:g} samples leaves nothing of the recording")
        if self.polarity not in (None, 1, -1):
            raise RecordingError(f"{self.name}: expected a polarity of 1 or -1, found {self.polarity}")

    @classmethod
    def from_wav(
        cls,
        dry: str | os.PathLike[str],
        wet: str | os.PathLike[str] | None = None,
        knobs: Mapping[str, float | str] | None = None,
        *,
        sample_rate: int | None = None,
    ) -> Recording:
        """Read a pair of mono files, or one file with dry as its left and wet as its right channel.

        sample_rate: in Hz, to which both are converted; None: that of the dry. Raises RecordingError.
        """
        if wet is None:
            channels, dry_rate = read_channels(dry)
            if len(channels) != 2:
                raise RecordingError(
                    f"{dry}: expected two channels, dry and wet, found {len(channels)}",
                    "mono files come in pairs: DRY.wav WET.wav",
                )
            (dry_samples, wet_samples), wet_rate, wet = channels, dry_rate, dry
        else:
            dry_samples, dry_rate = read_wav(dry)
            wet_samples, wet_rate = read_wav(wet)
        rate = sample_rate or dry_rate
        name = Path(wet).name
        difference = len(dry_samples) / dry_rate - len(wet_samples) / wet_rate
        if abs(difference) > NOTABLE_DIFFERENCE:
            warnings.warn(
                f"{name}: dry lasts {len(dry_samples) / dry_rate:.2f} s and wet {len(wet_samples) / wet_rate:.2f} s; "
                "what both cover is used",
                stacklevel=2,
            )
        return cls(
            resampled(dry_samples, dry_rate, rate),
            resampled(wet_samples, wet_rate, rate),
            rate,
            dict(knobs or {}),
            name,
        )

    @property
    def stated_delay(self) -> float | None:
        """The delay, if somebody wrote it down."""
        return None if self.delay_found else self.delay

    @cached_property
    def conditions(self) -> tuple[Condition, Condition]:
        """What is wrong with the dry and with the wet, as signals."""
        return examine(self.dry, self.sample_rate), examine(self.wet, self.sample_rate)

    def trimmed(self) -> Recording:
        """Without the silence before and after the sound, of which LEAD_IN stays. The delay stays what it is."""
        spans = [sounding(signal, self.sample_rate) for signal in (self.dry, self.wet)]
        lead = round(LEAD_IN * self.sample_rate)
        # A delay that was not compensated for lies between the two: what one of them has is kept of both.
        begin = max(0, min(span[0] for span in spans) - lead)
        end = max(span[1] for span in spans) + lead
        return replace(self, dry=self.dry[begin:end], wet=self.wet[begin:end])
