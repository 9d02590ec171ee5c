"""What a fit may change, and the unbounded coordinate in which it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from circuitnn.circuit import DEFAULT_TOLERANCES, Circuit
from circuitnn.errors import CircuitnnError
from circuitnn.values import literal_values

# Prior widths (relative, one standard deviation) of model parameters and .params without a stated tolerance.
PARAMETER_TOLERANCE = 0.2
# Saturation currents vary by multiples from part to part, not by percents: a factor of 3 either way.
SATURATION_TOLERANCE = 2.0
# Weights of a device's network stand for a law that may be quite another: slopes by a factor of 3 either way, and the
# current of a germanium diode is hundreds of times that of one of silicon.
SLOPE_TOLERANCE, CURRENT_TOLERANCE = 2.0, 20.0
# Of a normal distribution, 95 % lie within so many standard deviations.
NORMAL_95 = 1.96
# A knob's logit: the logistic prior of a position that nobody wrote down, nearly uniform over the travel.
KNOB_WIDTH = 1.8
# A coupling coefficient varies by its leakage 1 - |k|, by a factor of 2 either way where no tolerance is stated.
LEAKAGE_TOLERANCE = 1.0
# Positions closer than this to a stop have no finite logit worth starting from.
KNOB_MARGIN = 0.005


@dataclass(frozen=True)
class Coordinate:
    """One learnable value as a function of an unbounded coordinate that is 0 at the netlist's value.

    A positive value is nominal * exp(free), so it stays positive and a tolerance is a width of `free`. A knob's .param
    is logistic(offset + free), so it stays between 0 and 1. A coupling coefficient is tanh(offset + free / 2), so it
    stays between -1 and 1, and near the ends a tolerance is one of the leakage 1 - |k|. Anything else is nominal +
    free. width: the standard deviation of the prior on `free`.
    """

    name: str
    nominal: float
    kind: str
    width: float

    @property
    def _offset(self) -> float:
        if self.kind == "coupling":
            return math.atanh(self.nominal)
        clipped = min(max(self.nominal, KNOB_MARGIN), 1.0 - KNOB_MARGIN)
        return math.log(clipped / (1.0 - clipped))

    def value(self, free: Tensor) -> Tensor:
        """The value (SI units) at `free`."""
        if self.kind == "knob":
            return torch.sigmoid(self._offset + free)
        if self.kind == "coupling":
            return torch.tanh(self._offset + free / 2.0)
        return self.nominal * torch.exp(free) if self.kind == "positive" else self.nominal + free

    def free(self, value: float) -> float:
        """The coordinate at which the value is `value`. Raises CircuitnnError outside the range of values."""
        if self.kind == "knob":
            if not 0.0 <= value <= 1.0:
                raise CircuitnnError(f"{self.name}: a knob's .param is between 0 and 1, found {value}")
            clipped = min(max(value, KNOB_MARGIN), 1.0 - KNOB_MARGIN)
            return math.log(clipped / (1.0 - clipped)) - self._offset
        if self.kind == "coupling":
            if not -1.0 < value < 1.0:
                raise CircuitnnError(f"{self.name}: a coupling is between -1 and 1, found {value}")
            return 2.0 * (math.atanh(value) - self._offset)
        if self.kind == "positive":
            if not value > 0.0:
                raise CircuitnnError(f"{self.name}: expected a positive value, found {value}")
            return math.log(value / self.nominal)
        return value - self.nominal

    def slope(self, value: float) -> float:
        """d value / d free at `value`, by which standard errors are carried over."""
        if self.kind == "knob":
            return value * (1.0 - value)
        if self.kind == "coupling":
            return 0.5 * (1.0 - value**2)
        return value if self.kind == "positive" else 1.0

    def interval(self, value: float, stderr: float) -> tuple[float, float]:
        """The 95 % interval around `value`, symmetric in the coordinate, so that its ends are possible values; the
        whole range where nothing is known."""
        slope = self.slope(value)
        reach = NORMAL_95 * stderr / slope if slope > 0.0 and math.isfinite(stderr) else math.inf
        low, high = (self.value(torch.tensor(self.free(value) + side * reach, dtype=torch.float64)) for side in (-1, 1))
        return float(low), float(high)


def coordinates(circuit: Circuit, learn: str | Sequence[str]) -> tuple[Coordinate, ...]:
    """The coordinates for learn = "marked" (the *@ learn cards and the weights of *@ network cards), "all" (every R, C,
    L, model parameter, weight and .param) or a list of names.

    Raises CircuitnnError for a name that does not exist, is not a plain number or is an ideal coupling.
    """
    literals = literal_values(circuit)
    if learn == "marked":
        names = [learnable.name for learnable in circuit.learn]
        names += [name for network in circuit.networks for name in network.values]
    elif learn == "all":
        sources = {element.name for element in circuit.elements if element.kind in "VIEFGHK"}
        names = [name for name, value in literals.items() if name not in sources and value > 0.0]
    elif isinstance(learn, str):
        raise CircuitnnError(f'learn is {learn!r}; expected "marked", "all" or a list of names')
    else:
        canonical = {name.lower(): name for name in literals}
        names = [canonical.get(name.lower(), name) for name in learn]
    if missing := [name for name in names if name not in literals]:
        raise CircuitnnError(
            f"{', '.join(missing)} cannot be learned: no element value, model parameter or .param with a plain number",
            f"learnable here: {', '.join(literals)}",
        )
    return tuple(_coordinate(circuit, name, literals[name]) for name in dict.fromkeys(names))


def _coordinate(circuit: Circuit, name: str, nominal: float) -> Coordinate:
    stated = {learnable.name: learnable.tolerance for learnable in circuit.learn}.get(name)
    if name in {knob.name for knob in circuit.knobs}:
        return Coordinate(name, nominal, "knob", KNOB_WIDTH)
    if name in {element.name for element in circuit.elements if element.kind == "K"}:
        if abs(nominal) >= 1.0:
            raise CircuitnnError(
                f"{name} cannot be learned: a coupling of {nominal:g} has no leakage to begin with",
                "give it a coefficient such as 0.999",
            )
        leakage = stated or circuit.tolerances.get("K", LEAKAGE_TOLERANCE)
        return Coordinate(name, nominal, "coupling", math.log1p(leakage))
    tolerance = stated if stated is not None else _default_tolerance(circuit, name)
    if nominal > 0.0:
        return Coordinate(name, nominal, "positive", math.log1p(tolerance))
    return Coordinate(name, nominal, "real", max(abs(nominal) * tolerance, 1e-3))


def _default_tolerance(circuit: Circuit, name: str) -> float:
    if any(name in network.values for network in circuit.networks):
        return CURRENT_TOLERANCE if name.endswith("_current") else SLOPE_TOLERANCE
    if "." in name and name.rpartition(".")[0] in circuit.models:
        return SATURATION_TOLERANCE if name.endswith(".is") else PARAMETER_TOLERANCE
    if name in circuit.parameters:
        return PARAMETER_TOLERANCE
    kind = name[0]
    return circuit.tolerances.get(kind, DEFAULT_TOLERANCES.get(kind, PARAMETER_TOLERANCE))
