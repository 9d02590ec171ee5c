"""Where the recordings of a fit lie in time, with what is doubtful about it told."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from circuitnn.audio import Recording
from circuitnn.fitting.alignment import DOUBTFUL, Alignment
from circuitnn.fitting.blips import aligned
from circuitnn.fitting.parallel import side_by_side

# Clocks that ran apart by more than this, relative, are reported: half a sample in 4 s at 44.1 kHz.
DRIFTING = 3e-6


def located(recordings: Sequence[Recording]) -> list[Alignment]:
    """All recordings at once; a doubtful delay is reported, and clocks that ran apart."""
    alignments = side_by_side(_located, recordings)
    for recording, alignment in zip(recordings, alignments, strict=True):
        if alignment.confidence < DOUBTFUL:
            warnings.warn(
                f"{recording.name}: the delay of {alignment.delay} samples is doubtful (confidence "
                f"{alignment.confidence:.2f}); trim dry and wet to start together",
                stacklevel=3,
            )
        if alignment.drift is not None and abs(alignment.drift) > DRIFTING:
            warnings.warn(
                f"{recording.name}: the clocks of player and recorder ran apart by {1e6 * alignment.drift:.1f} parts "
                f"per million, {alignment.drift * len(recording.wet):+.1f} samples at its end; play and record on one "
                "interface",
                stacklevel=3,
            )
    return alignments


def _located(recording: Recording) -> Alignment:
    """A known delay needs no search."""
    if recording.delay is not None:
        return Alignment(round(recording.delay), recording.polarity or 1, math.inf)
    return aligned(recording.dry, recording.wet, recording.sample_rate)
