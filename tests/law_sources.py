"""Netlists for ngspice in which every semiconductor is made of B sources with this program's law.

ngspice has laws of its own for some devices. Where they differ, a comparison with such a netlist tells what is left
once both programs solve the same equations.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy
from sympy import Expr, Float

from circuitnn.circuit import GROUND, Circuit, voltage
from circuitnn.devices import MODEL_KINDS
from circuitnn.mna import Device, build_equations
from circuitnn.netlist import format_netlist
from circuitnn.netlist.printing import format_expression, format_formula
from circuitnn.operating_point import device_coefficients
from circuitnn.symbolic import NUMPY, limited_exp
from circuitnn.values import resolve

SEMICONDUCTORS = "DQJM"
# Exponentials go on as their tangents from here, where this program's do from 80: no junction carries e^40 times its
# saturation current, but Newton's method asks there, and ngspice does not limit the steps of B sources.
EXPONENT_LIMIT = 40.0


def with_law_sources(circuit: Circuit) -> str:
    """The flat netlist of a circuit, with its semiconductors as B sources at their nominal values."""
    equations, values = build_equations(circuit), resolve(circuit, {}, NUMPY)
    devices = [device for device in equations.devices if device.name[0] in SEMICONDUCTORS]
    replaced = {name for device in devices for name in device.name.split("|")}
    *lines, end = format_netlist(circuit).splitlines()
    kept = [line for line in lines if line.split(" ")[0] not in replaced]
    for device in devices:
        kept += _cards(circuit, device, device_coefficients(device, values, circuit.temperature, NUMPY))
    return "\n".join([*kept, end]) + "\n"


def _cards(circuit: Circuit, device: Device, coefficients: dict[sympy.Symbol, float]) -> Iterator[str]:
    """A resistor for each series resistance, a B source for each port that carries a current."""
    first = circuit.element(device.name.split("|")[0])
    model = circuit.models[first.model or ""]
    kind = MODEL_KINDS[model.kind]
    terminals = dict(zip(kind.family.terminals, first.nodes, strict=True))
    for parameter, terminal in kind.resistances.items():
        if model.parameters.get(parameter, 0) != 0:
            outer, inner = terminals[terminal], f"{first.name}_{parameter}".lower()
            ohm = format_expression(model.parameters[parameter] / first.area)
            yield f"R{first.name}_{parameter.upper()} {outer} {inner} {ohm}"
            terminals[terminal] = inner
    ports = [tuple(terminals[name] for name in (reversed(port) if kind.reversed else port)) for port in kind.ports]
    known = {symbol: Float(value) for symbol, value in coefficients.items()}
    known |= {variable: _voltage(*port) for variable, port in zip(device.law.variables, ports, strict=True)}
    for number, ((plus, minus), current) in enumerate(zip(ports, device.law.currents, strict=True), 1):
        if current != 0:
            formula = current.xreplace(known).replace(limited_exp, _limited_exp)
            yield f"B{first.name}_{number} {plus} {minus} I={format_formula(formula)}"


def _voltage(plus: str, minus: str) -> Expr:
    return -voltage(minus) if plus == GROUND else voltage(plus, minus)


def _limited_exp(x: Expr) -> Expr:
    """The exponential in functions that a netlist can express."""
    limit = Float(EXPONENT_LIMIT)
    over = sympy.Max(x - limit, sympy.S.Zero, evaluate=False)
    return sympy.exp(sympy.Min(x, limit, evaluate=False)) * (1 + over)
