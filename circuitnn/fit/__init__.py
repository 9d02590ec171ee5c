"""Fitting component values to recordings."""

from circuitnn.fit.fitting import fit
from circuitnn.fit.result import Combination, FitResult, FittedRecording, Identifiability

__all__ = ["Combination", "FitResult", "FittedRecording", "Identifiability", "fit"]
