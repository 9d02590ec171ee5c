"""Fitting component values to recordings."""

from circuitnn.fitting.procedure import fit
from circuitnn.fitting.result import Combination, FitResult, FittedRecording, Identifiability

__all__ = ["Combination", "FitResult", "FittedRecording", "Identifiability", "fit"]
