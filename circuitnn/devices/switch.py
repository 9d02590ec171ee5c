"""Switches: a conductance that a voltage (S) or a current (W) turns from 1/ROFF to 1/RON.

Between the control at VT - VH and VT + VH the logarithm of the conductance goes from one end to the other along
3 x^2 - 2 x^3, which has no slope at the ends: the law is continuous with its slope, and the same on the way up as on
the way down. (ngspice jumps, at VT + VH up and at VT - VH down; LTspice has this transition where VH is negative.)
"""

from __future__ import annotations

from sympy import Abs, Max, Min, exp, log, symbols

from circuitnn.devices.junction import parameter, signed
from circuitnn.devices.law import AMPERE_PER_VOLT, Law, Parameter

# Half the width of the transition where the card gives no hysteresis or less, in volt or ampere: a real control line
# is not better defined, and a jump is what no solver can stand on.
NARROWEST_VOLT = 1e-3
NARROWEST_AMPERE = 1e-6

v, control = symbols("v control", real=True)
off, span, start, rate, closed = symbols("off span start rate closed", real=True)

_on = Min(Max((control - start) * rate, 0, evaluate=False), 1, evaluate=False)


def _switch(name: str, threshold: str, hysteresis: str, unit: str, scale: float, narrowest: float) -> Law:
    """scale: what the control variable of 1 stands for, in `unit`."""
    half = Max(Abs(signed(hysteresis)), narrowest, evaluate=False)
    return Law(
        name=name,
        variables=(v, control),
        voltages=(v, control),
        currents=(v * exp(off + span * _on**2 * (3.0 - 2.0 * _on)), 0 * control),
        coefficients={
            off: -log(parameter("roff")),
            span: log(parameter("roff") / parameter("ron")),
            start: (signed(threshold) - half) / scale,
            rate: scale / (2.0 * half),
        },
        parameters={
            "ron": Parameter(1.0, "ohm", "resistance when closed"),
            "roff": Parameter(1e12, "ohm", "resistance when open"),
            threshold: Parameter(0.0, unit, "control at which it is half way, on a logarithmic scale"),
            hysteresis: Parameter(0.0, unit, "half the width of the transition"),
        },
        source="LTspice's transition, a cubic in the logarithm of the conductance",
        parts={closed: _on},
    )


VOLTAGE_SWITCH = _switch("voltage_switch", "vt", "vh", "V", 1.0, NARROWEST_VOLT)
CURRENT_SWITCH = _switch("current_switch", "it", "ih", "A", AMPERE_PER_VOLT, NARROWEST_AMPERE)
