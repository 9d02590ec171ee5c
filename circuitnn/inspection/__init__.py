"""What a circuit is and does, without running it: operating point, response, impedances, sensitivities, sweeps."""

from circuitnn.inspection.summary import Inspection, inspect, show, unit

__all__ = ["Inspection", "inspect", "show", "unit"]
