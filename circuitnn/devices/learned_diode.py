"""A diode, or an antiparallel pair, whose law is a small network that begins as Shockley's equation.

Each direction is an exponential of a network of the voltage,

    i = I (exp(N(v)) - 1),   N(v) = s_0 x + sum_k (s_k+1 - s_k) r(x - k),   x = v / spacing,

with one hidden layer of rounded ramps r (symbolic.rounded_ramp) whose corners lie `spacing` apart. Then N(0) = 0, and
the slope of N goes linearly from s_k to s_k+1 between corners, before the first one it is s_0 and after the last one
s_K. The weights are factors, all above 0, of the current I = IS and of the slopes s = spacing / (n V_T) of Shockley's
equation: with any weights the current rises with the voltage and passes through the origin, so the device is passive
and Newton's method finds its one solution; with all weights 1 the law is Shockley's, exactly.
"""

from __future__ import annotations

from functools import cache

from sympy import Expr, Float, Max, S, Symbol, log

from circuitnn.devices.diode import MODEL_PARAMETERS, SOURCE, saturation_current, voltage
from circuitnn.devices.junction import AREA, critical_voltage, junction_current, parameter, unless_zero
from circuitnn.devices.law import GMIN, THERMAL_VOLTAGE, Junction, Law, Parameter
from circuitnn.symbolic import rounded_ramp

# The current, in ampere, up to whose voltage the law is free where the card does not say how far.
REACHED_CURRENT = 1e-2
DIRECTIONS = ("forward", "reverse")


def weight_names(units: int, both: bool) -> tuple[str, ...]:
    """The parameters that are weights: of each direction the factor of its current, and those of its slopes."""
    return tuple(
        f"{direction}_{what}" for direction in DIRECTIONS[: 1 + both] for what in ("current", *range(units + 1))
    )


@cache
def learned_diode(units: int, both: bool) -> Law:
    """The law with that many hidden units a direction. both: a diode stands against the port too; with one diode
    alone, what flows in reverse is its saturation current."""
    (v,) = voltage
    density, step = Symbol("density", positive=True), Symbol("step", positive=True)
    steepest, critical = Symbol("steepest", positive=True), Symbol("critical", positive=True)
    areas = ("area", "reverse_area")[: 1 + both]
    emission = parameter("n") * THERMAL_VOLTAGE
    reached = emission * log(1.0 + REACHED_CURRENT / saturation_current(parameter("area")))
    coefficients: dict[Symbol, Expr] = {
        # Corners a volt, and Shockley's slope from one to the next.
        density: units / unless_zero("reach", reached),
        step: 1.0 / (density * emission),
    }
    current = GMIN * len(areas) * v
    for direction, area, sign in zip(DIRECTIONS, areas, (1.0, -1.0), strict=False):
        saturation, slope = (Symbol(f"{direction}_{name}", positive=True) for name in ("saturation", "slope"))
        bends = [Symbol(f"{direction}_bend_{k}", real=True) for k in range(units)]
        factors = [parameter(f"{direction}_{k}") for k in range(units + 1)]
        x = sign * v * density
        exponent = slope * x + sum(bend * rounded_ramp(x - k) for k, bend in enumerate(bends))
        current += sign * junction_current(saturation, S.One, exponent)
        coefficients |= {
            saturation: saturation_current(parameter(area)) * parameter(f"{direction}_current"),
            slope: factors[0] * step,
            **{bend: (after - before) * step for bend, before, after in zip(bends, factors, factors[1:], strict=False)},
        }
    slopes = [parameter(f"{direction}_{k}") for direction in DIRECTIONS[: 1 + both] for k in range(units + 1)]
    coefficients[steepest] = Max(*slopes, evaluate=False) / emission
    saturations = [Symbol(f"{direction}_saturation", positive=True) for direction in DIRECTIONS[: 1 + both]]
    coefficients[critical] = critical_voltage(steepest, Max(*saturations, Float(0.0), evaluate=False))
    return Law(
        name=f"learned_diode{'_pair' if both else ''}_{units}",
        variables=voltage,
        voltages=voltage,
        currents=(current,),
        coefficients=coefficients,
        parameters={
            **MODEL_PARAMETERS,
            **({"reverse_area": AREA} if both else {}),
            "reach": Parameter(0.0, "V", "how far the law is free; 0: to where Shockley's carries 10 mA"),
            **{name: Parameter(1.0, "", "weight") for name in weight_names(units, both)},
        },
        source=f"a monotone network that begins as {SOURCE}",
        # The network bends on its own, so its exponential does not bound the curvature.
        junctions=(Junction(0, steepest, critical, symmetric=both, bounds_curvature=False),),
    )
