"""Behavioural sources: a device law for each formula of voltages and currents.

The formula is rewritten so that Newton's method can meet any argument: an exponential continues as its tangent above a
limit, a logarithm or root of what is not positive is held at the edge of its domain, and log(1 + exp(x)) overflows
nowhere. A power of a voltage is |x|^y, without a sign, as in ngspice's sources. What depends on parameters alone
becomes a coefficient of the law, so that it can be learned.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy
from sympy import Expr, Float, Integer, Symbol

from circuitnn.circuit import GROUND, Element, current_element, is_signal, voltage_nodes
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


def bundled_sources(elements: Iterable[Element]) -> list[list[Element]]:
    """Behavioural sources, those together that can be one device.

    A current source joins another one if both have a terminal in common and the other senses all that it needs: the
    screen of a pentode joins the plate. One set of ports then does for both.
    """
    found: dict[str, list[Element]] = {}
    sensing = {element.name: _Sensed(element) for element in elements}
    touching: dict[str, list[_Sensed]] = defaultdict(list)
    # Those that sense most come first, and take in the others.
    for source in sorted(sensing.values(), key=lambda source: -len(source.pairs)):
        host = next((other for other in touching[source.place] if other.takes(source)), None)
        if host is not None:
            found[host.element.name].append(source.element)
            continue
        found[source.element.name] = [source.element]
        for node in source.parts:
            touching[node].append(source)
    return [found[name] for name in sensing if name in found]


class _Sensed:
    """What a source needs to know. pairs: of nodes, its own first; parts: node -> a node that stands for all nodes
    whose voltages over it follow from the pairs; place: a terminal that is not ground."""

    def __init__(self, element: Element) -> None:
        assert element.behaviour is not None
        self.element = element
        self.is_current = element.behaviour.quantity == "current"
        signals = element.behaviour.formula.free_symbols
        self.currents = {name for name in map(current_element, signals) if name is not None}
        self.pairs = [element.nodes, *(pair for pair in map(voltage_nodes, signals) if pair is not None)]
        self.place = next((node for node in element.nodes if node != GROUND), GROUND)
        self.parts = {node: node for pair in self.pairs for node in pair}
        for plus, minus in self.pairs:
            old, new = self.parts[plus], self.parts[minus]
            self.parts |= {node: new for node, part in self.parts.items() if part == old}

    def takes(self, other: _Sensed) -> bool:
        return (
            self.is_current
            and other.is_current
            and not set(self.element.nodes).isdisjoint(other.element.nodes)
            and other.currents <= self.currents
            and all(
                plus == minus or (plus in self.parts and self.parts[plus] == self.parts.get(minus))
                for plus, minus in other.pairs
            )
        )


def behavioural_device(elements: Sequence[Element]) -> BehaviouralDevice:
    """The device of a source, or of several from `bundled_sources`. Raises CircuitError for a formula without a law.

    Port 1 is the first source itself; the others sense voltages or currents, and carry what further sources drive.
    Formulas that differ only in the names of nodes, elements and parameters share one law.
    """
    first = elements[0]
    assert first.behaviour is not None
    own = (first.nodes[0], first.nodes[1])
    # A current source's variable is the voltage across it, a voltage source's the current through it.
    is_current = first.behaviour.quantity == "current"
    ports = _Ports([own] if is_current else [])
    rewriting = _Rewriting(ports)
    formulas = [rewriting.formula(element) for element in elements]
    if len(ports.found) > MAX_SENSED:
        raise CircuitError(
            f"{first.name} senses {len(ports.found)} voltages and currents, more than the limit of {MAX_SENSED}",
            "add some of them up in a source of their own, which holds a node for this one to sense",
        )
    sensed = tuple(_variable(k) for k in range(len(ports.found)))
    if is_current:
        across = [ports.voltage((element.nodes[0], element.nodes[1])) for element in elements]
        # The same power: a source across v0 - v1 drives its current into port 0 and out of port 1.
        law = _law(sensed, sensed, tuple(_driven(variable, across, formulas) for variable in sensed), rewriting.rules)
    else:
        through = Symbol("i", real=True)
        nothing = (sympy.S.Zero,) * len(sensed)
        law = _law((through, *sensed), (formulas[0], *sensed), (through, *nothing), rewriting.rules)
    found = ports.found if is_current else [own, *ports.found]
    return BehaviouralDevice(
        law, tuple(found), {inner.name: outer.name for outer, inner in rewriting.parameters.items()}
    )


def _variable(index: int) -> Symbol:
    return Symbol(f"v{index}", real=True)


def _driven(variable: Symbol, across: Sequence[Expr], currents: Sequence[Expr]) -> Expr:
    """The current through a port, of sources across these sums of the ports' voltages."""
    return sympy.Add(*(voltage.coeff(variable) * current for voltage, current in zip(across, currents, strict=True)))


@lru_cache(maxsize=1024)
def _law(
    variables: tuple[Symbol, ...],
    voltages: tuple[Expr, ...],
    currents: tuple[Expr, ...],
    coefficients: tuple[tuple[Symbol, Expr], ...],
) -> Law:
    # The name tells the laws of one circuit apart and must be an identifier of C++.
    text = sympy.srepr((*voltages, *currents, *(rule for _, rule in coefficients)))
    parameters = sorted({symbol.name for _, rule in coefficients for symbol in rule.free_symbols})
    return Law(
        name=f"behavioural_{hashlib.sha256(text.encode()).hexdigest()[:12]}",
        variables=variables,
        voltages=voltages,
        currents=currents,
        coefficients=dict(coefficients),
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
    """Formulas of one device on their way from the netlist's symbols to a law's variables and coefficients."""

    def __init__(self, ports: _Ports) -> None:
        self.ports = ports
        self.parameters: dict[Symbol, Symbol] = {}
        self.coefficients: dict[Expr, Symbol] = {}

    @property
    def rules(self) -> tuple[tuple[Symbol, Expr], ...]:
        """Each coefficient with what it is."""
        return tuple((symbol, rule) for rule, symbol in self.coefficients.items())

    def formula(self, element: Element) -> Expr:
        """The formula of a source in variables and coefficients. Raises CircuitError."""
        assert element.behaviour is not None
        try:
            result = self._settled(self._visit(element.behaviour.formula))
        except TypeError as error:
            raise CircuitError(f"{element.name}: {error}", "docs/netlists.md lists what a formula may hold") from None
        for part in (result, *self.coefficients):
            if part.has(sympy.zoo, sympy.nan, sympy.I) or not all(
                math.isfinite(float(constant)) for constant in part.atoms(sympy.Number)
            ):
                raise CircuitError(f"{element.name}: its formula has no finite value", "look for a division by zero")
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
