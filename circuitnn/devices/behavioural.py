"""Behavioural sources: a device law for each formula of voltages and currents.

The formula is rewritten so that Newton's method can meet any argument: an exponential continues as its tangent above a
limit, a logarithm or root of what is not positive is held at the edge of its domain, and log(1 + exp(x)) overflows
nowhere. A power of a voltage is |x|^y, without a sign, as in ngspice's sources. What depends on parameters alone
becomes a coefficient of the law, so that it can be learned.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy
from sympy import Expr, Float, Integer, Symbol

from circuitnn.circuit import Behaviour, current_element, is_signal, voltage_nodes
from circuitnn.devices.law import AMPERE_PER_VOLT, Law, Parameter
from circuitnn.errors import CircuitError
from circuitnn.symbolic import above_zero, limited_exp, softplus

SOURCE = "the formula in the netlist"
# Where atanh ends.
ALMOST_ONE = 1.0 - 1e-12
PARAMETER = Parameter(0.0, "", "a parameter of the circuit that stands in the formula")
# Each is a variable of a law that has all slopes by each of them.
MAX_SENSED = 40

Pair = tuple[str, str]


@dataclass(frozen=True)
class BehaviouralDevice:
    """A law, its ports, and which parameter of the circuit each of the law's parameters is.

    A port is a pair of nodes (+, -), or the name of the element whose current it senses, see AMPERE_PER_VOLT.
    """

    law: Law
    ports: tuple[Pair | str, ...]
    parameters: Mapping[str, str]


def behavioural_device(name: str, nodes: Sequence[str], behaviour: Behaviour) -> BehaviouralDevice:
    """The device of a source between nodes (+, -). Raises CircuitError for a formula that has no law.

    Port 1 is the source itself; the others sense voltages or currents and carry no current. Formulas that differ only
    in the names of nodes, elements and parameters share one law.
    """
    own = (nodes[0], nodes[1])
    # A current source's variable is the voltage across it, a voltage source's the current through it.
    is_current = behaviour.quantity == "current"
    ports = _Ports([own] if is_current else [])
    rewriting = _Rewriting(name, ports)
    formula = rewriting.formula(behaviour.formula)
    if len(ports.found) > MAX_SENSED:
        raise CircuitError(
            f"{name} senses {len(ports.found)} voltages and currents, more than the limit of {MAX_SENSED}",
            "add some of them up in a source of their own, which holds a node for this one to sense",
        )
    law = _law(behaviour.quantity, formula, len(ports.found), tuple(rewriting.coefficients.items()))
    found = ports.found if is_current else [own, *ports.found]
    return BehaviouralDevice(
        law, tuple(found), {inner.name: outer.name for outer, inner in rewriting.parameters.items()}
    )


def _variable(index: int) -> Symbol:
    return Symbol(f"v{index}", real=True)


@lru_cache(maxsize=1024)
def _law(quantity: str, formula: Expr, sensed: int, coefficients: tuple[tuple[Expr, Symbol], ...]) -> Law:
    # The name tells the laws of one circuit apart and must be an identifier of C++.
    text = sympy.srepr((formula, *(rule for rule, _ in coefficients)))
    name = f"{quantity}_source_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    variables = tuple(_variable(k) for k in range(sensed))
    voltages: tuple[Expr, ...]
    currents: tuple[Expr, ...]
    if quantity == "current":
        voltages, currents = variables, (formula, *[sympy.S.Zero] * (sensed - 1))
    else:
        through = Symbol("i", real=True)
        voltages, currents = (formula, *variables), (through, *[sympy.S.Zero] * sensed)
        variables = (through, *variables)
    parameters = sorted({symbol.name for rule, _ in coefficients for symbol in rule.free_symbols})
    return Law(
        name=name,
        variables=variables,
        voltages=voltages,
        currents=currents,
        coefficients={symbol: rule for rule, symbol in coefficients},
        parameters=dict.fromkeys(parameters, PARAMETER),
        source=SOURCE,
    )


class _Ports:
    """The ports of a source. A voltage that is a sum of others, as v(a) - v(b) is of v(a) and v(b), needs no port."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.found: list[Pair | str] = []
        # node -> (a reference node, voltage of the node over it)
        self._potentials: dict[str, tuple[str, Expr]] = {}
        for pair in pairs:
            self._join(pair)

    def voltage(self, pair: Pair) -> Expr:
        """The voltage between two nodes (+, -) in the ports' variables."""
        (plus_reference, plus), (minus_reference, minus) = (self._potential(node) for node in pair)
        if plus_reference == minus_reference:
            return plus - minus
        return self._join(pair)

    def current(self, element: str) -> Expr:
        """The current of an element in the ports' variables."""
        if element not in self.found:
            self.found.append(element)
        return Float(AMPERE_PER_VOLT) * _variable(self.found.index(element))

    def _potential(self, node: str) -> tuple[str, Expr]:
        return self._potentials.setdefault(node, (node, sympy.S.Zero))

    def _join(self, pair: Pair) -> Symbol:
        variable = _variable(len(self.found))
        self.found.append(pair)
        (root, plus), (other, minus) = (self._potential(node) for node in pair)
        for node, (reference, voltage) in self._potentials.items():
            if reference == other != root:
                self._potentials[node] = (root, plus - variable + voltage - minus)
        return variable


class _Rewriting:
    """One formula on its way from the netlist's symbols to a law's variables and coefficients."""

    def __init__(self, name: str, ports: _Ports) -> None:
        self.name = name
        self.ports = ports
        self.parameters: dict[Symbol, Symbol] = {}
        self.coefficients: dict[Expr, Symbol] = {}

    def formula(self, node: Expr) -> Expr:
        """The formula in variables and coefficients. Raises CircuitError."""
        try:
            result = self._settled(self._visit(node))
        except TypeError as error:
            raise CircuitError(f"{self.name}: {error}", "docs/netlists.md lists what a formula may hold") from None
        for part in (result, *self.coefficients):
            if part.has(sympy.zoo, sympy.nan, sympy.I) or not all(
                math.isfinite(float(constant)) for constant in part.atoms(sympy.Number)
            ):
                raise CircuitError(f"{self.name}: its formula has no finite value", "look for a division by zero")
        return result

    def _visit(self, node: sympy.Basic) -> Expr:
        if isinstance(node, Symbol):
            return self._symbol(node)
        if node.is_Number or node.is_NumberSymbol:
            return _number(float(node))
        if isinstance(node, sympy.Piecewise):
            return sympy.Piecewise(*map(self._case, node.args), evaluate=False)
        if type(node) in (sympy.Add, sympy.Mul):
            return self._chain(type(node), [self._visit(argument) for argument in node.args])
        if not self._senses(*node.free_symbols):
            # Constant during a simulation: a rule to evaluate once, as the netlist has it.
            return _floated(node.func(*map(self._visit, node.args)))
        if isinstance(node, sympy.Pow):
            return _floated(self._power(*node.args))
        if isinstance(node, sympy.log) and (exponent := _softplus_argument(node)) is not None:
            return softplus(self._visit(exponent))
        if type(node) not in _FUNCTIONS:
            raise TypeError(f"{type(node).__name__} of a voltage is not supported")
        return _FUNCTIONS[type(node)](*(self._settled(self._visit(argument)) for argument in node.args))

    def _symbol(self, symbol: Symbol) -> Expr:
        pair = voltage_nodes(symbol)
        if pair is not None:
            return self.ports.voltage(pair)
        element = current_element(symbol)
        if element is not None:
            return self.ports.current(element)
        return self.parameters.setdefault(symbol, Symbol(f"p{len(self.parameters)}", real=True))

    def _senses(self, *symbols: Symbol) -> bool:
        return any(map(is_signal, symbols))

    def _constant(self, expression: Expr) -> bool:
        """Whether a rewritten expression depends on parameters alone, or on nothing."""
        return bool(expression.free_symbols <= set(self.parameters.values()))

    def _settled(self, expression: Expr) -> Expr:
        """The expression, or the coefficient that stands for it if it is a formula of parameters."""
        if not expression.free_symbols or not self._constant(expression):
            return expression
        return self.coefficients.setdefault(expression, Symbol(f"c{len(self.coefficients)}", real=True))

    def _chain(self, kind: type[Expr], parts: Sequence[Expr]) -> Expr:
        """A sum or product: its constant parts join in one coefficient."""
        constant = [part for part in parts if self._constant(part)]
        sensing = [part for part in parts if not self._constant(part)]
        if not sensing:
            return _floated(kind(*constant))
        if constant:
            sensing.append(self._settled(_floated(kind(*constant))))
        return _floated(kind(*sensing))

    def _case(self, case: sympy.Basic) -> tuple[Expr, sympy.Basic]:
        value, condition = case.args
        if isinstance(condition, sympy.Rel):
            sides = [self._settled(self._visit(side)) for side in condition.args]
            condition = condition.func(*sides, evaluate=False)
        return self._settled(self._visit(value)), condition

    def _power(self, base_node: Expr, exponent_node: Expr) -> Expr:
        base, exponent = (self._settled(self._visit(node)) for node in (base_node, exponent_node))
        if exponent_node is sympy.S.NegativeOne:
            return 1 / base
        if exponent_node is sympy.S.Half:
            return sympy.sqrt(base if base.is_nonnegative else sympy.Max(base, sympy.S.Zero, evaluate=False))
        if self._senses(*exponent_node.free_symbols):
            logarithm = sympy.log(above_zero(_magnitude(base)))
            if not self._senses(*base_node.free_symbols):
                constant = sympy.log(above_zero(_magnitude(self._visit(base_node))))
                logarithm = self._settled(constant) if constant.free_symbols else _number(float(constant))
            return limited_exp(exponent * logarithm)
        if exponent.is_Number and float(exponent).is_integer():
            exponent = Integer(int(exponent))
        return (base if exponent.is_even else _magnitude(base)) ** exponent


def _number(value: float) -> Expr:
    # Exact integers would let a formula grow numbers of any length.
    return Integer(int(value)) if value in (-1.0, 0.0, 1.0) else Float(value)


def _floated(expression: Expr) -> Expr:
    """The expression with the number in front of it as a Float."""
    coefficient, rest = expression.as_coeff_Mul()
    return expression if coefficient in (-1, 0, 1) or coefficient.is_Float else Float(coefficient) * rest


def _magnitude(x: Expr) -> Expr:
    return x if x.is_nonnegative else sympy.Abs(x, evaluate=False)


def _softplus_argument(node: sympy.log) -> Expr | None:
    """x, if the node is log(1 + exp(x))."""
    (inner,) = node.args
    if not isinstance(inner, sympy.Add) or len(inner.args) != 2:
        return None
    one, exponential = sorted(inner.args, key=lambda part: isinstance(part, sympy.exp))
    return exponential.args[0] if one == 1 and isinstance(exponential, sympy.exp) else None


def _choice(kind: type[Expr]) -> Callable[[Expr, Expr], Expr]:
    return lambda a, b: kind(a, b, evaluate=False)


def _clipped(x: Expr, low: float, high: float) -> Expr:
    return sympy.Min(sympy.Max(x, Float(low), evaluate=False), Float(high), evaluate=False)


def _arcsine(x: Expr) -> Expr:
    inside = _clipped(x, -1.0, 1.0)
    return sympy.atan(inside / sympy.sqrt(above_zero(1 - inside**2)))


def _inverse_cosh(x: Expr) -> Expr:
    inside = sympy.Max(x, sympy.S.One, evaluate=False)
    return sympy.log(inside + sympy.sqrt(sympy.Max(inside**2 - 1, sympy.S.Zero, evaluate=False)))


def _inverse_tanh(x: Expr) -> Expr:
    inside = _clipped(x, -ALMOST_ONE, ALMOST_ONE)
    return Float(0.5) * sympy.log((1 + inside) / (1 - inside))


_FUNCTIONS: Mapping[type, Callable[..., Expr]] = {
    sympy.exp: limited_exp,
    sympy.log: lambda x: sympy.log(above_zero(x)),
    sympy.Abs: lambda x: sympy.Abs(x, evaluate=False),
    sympy.sign: lambda x: sympy.sign(x, evaluate=False),
    sympy.Max: _choice(sympy.Max),
    sympy.Min: _choice(sympy.Min),
    sympy.tanh: sympy.tanh,
    sympy.sinh: lambda x: Float(0.5) * (limited_exp(x) - limited_exp(-x)),
    sympy.cosh: lambda x: Float(0.5) * (limited_exp(x) + limited_exp(-x)),
    sympy.sin: sympy.sin,
    sympy.cos: sympy.cos,
    sympy.tan: lambda x: sympy.sin(x) / sympy.cos(x),
    sympy.atan: sympy.atan,
    sympy.asin: _arcsine,
    sympy.acos: lambda x: Float(math.pi / 2) - _arcsine(x),
    sympy.asinh: sympy.asinh,
    sympy.acosh: _inverse_cosh,
    sympy.atanh: _inverse_tanh,
}
