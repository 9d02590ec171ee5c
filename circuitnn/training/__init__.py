"""Training of networks on recordings."""

from __future__ import annotations

from circuitnn.training.presets import PRESETS, Preset
from circuitnn.training.result import Trained
from circuitnn.training.teacher import Teacher
from circuitnn.training.train import train

__all__ = ["PRESETS", "Preset", "Teacher", "Trained", "train"]
