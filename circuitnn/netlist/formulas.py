"""Formula tree -> sympy. Numbers are folded in Python floats; what remains symbolic is built unevaluated.

Unevaluated, because sympy's automatic rewriting is exact integer arithmetic without bounds: a netlist from a stranger
could make it work for hours ("2**(x+1e9) * 2**(-x)"). It also keeps a formula as its author wrote it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import sympy
from sympy import Expr, Float, Integer

from circuitnn.errors import NetlistError
from circuitnn.netlist.expressions import Apply, Current, Formula, Name, Node, Number, Signal, Voltage
from circuitnn.netlist.functions import ALIASES, CONSTANTS, FUNCTIONS, RELATIONS, Numeric, Symbolic
from circuitnn.netlist.lexer import Card

MAX_EXPONENT = 100
MAX_SIZE = 2_000
MAX_DEPTH = 60
MAX_OPERATIONS = 20_000
MAX_CALL_DEPTH = 100


@dataclass(frozen=True)
class Term:
    """A value under construction. size and depth: of the tree that expression prints as, shared parts counted again."""

    expression: Expr
    size: int = 1
    depth: int = 1

    @property
    def value(self) -> float | None:
        """The number, or None if symbolic."""
        return float(self.expression) if self.expression.is_Number else None


@dataclass(frozen=True)
class Function:
    """A .func card."""

    arguments: tuple[str, ...]
    body: Formula


def number(value: float) -> Expr:
    """A float as sympy has it here: Integer where exact, else Float. Raises ArithmeticError if not finite."""
    if not math.isfinite(value):
        raise OverflowError("not a finite number")
    return Integer(int(value)) if value == int(value) and abs(value) < 2.0**53 else Float(value)


# What an expression cannot follow, because signals come from recordings.
_CLOCKS = ("time", "hertz", "freq")

# What a v(...) or i(...) of the formula tree stands for, as an expression of symbols of circuit.voltage and .current.
Signals = Callable[[Card, Signal], Expr]


def fold(
    formula: Formula, names: Mapping[str, Term], functions: Mapping[str, Function], signals: Signals | None = None
) -> Term:
    """The value of a formula with its names bound. signals: None where v(...) has no place. Raises NetlistError."""
    return _Folding(functions, signals).formula(formula, names)


@dataclass
class _Folding:
    """One fold: counts its work, so that a netlist cannot make it long."""

    functions: Mapping[str, Function]
    signals: Signals | None = None
    operations: int = 0
    calls: list[str] = field(default_factory=list)
    depth: int = 0

    def formula(self, formula: Formula, names: Mapping[str, Term]) -> Term:
        return _Scope(self, formula.card, names).node(formula.root)


@dataclass
class _Scope:
    """The part of a fold that one card's text and one set of bound names belong to."""

    folding: _Folding
    card: Card
    names: Mapping[str, Term]

    def error(self, message: str, node: Node, hint: str | None = None) -> NetlistError:
        return self.card.error(message, node.at, hint)

    def node(self, node: Node) -> Term:
        self.folding.operations += 1
        if self.folding.operations > MAX_OPERATIONS or self.folding.depth > MAX_CALL_DEPTH:
            raise self.error("this expression takes too many steps", node, "its .func cards call each other too often")
        match node:
            case Number():
                return self.number(node.value, node)
            case Name():
                return self.name(node)
            case Voltage() | Current():
                return self.signal(node)
        self.folding.depth += 1
        try:
            term = self.apply(node)
        except _TooLargeError:
            hint = "introduce a top-level .param for a part of it"
            raise self.error("this expression grows too large", node, hint) from None
        self.folding.depth -= 1
        return term

    def number(self, value: float, node: Node) -> Term:
        try:
            return Term(number(value))
        except ArithmeticError:
            raise self.error("this has no finite value", node) from None

    def name(self, node: Name) -> Term:
        if node.name in self.names:
            return self.names[node.name]
        if node.name in CONSTANTS:
            return Term(number(CONSTANTS[node.name]))
        if node.name in _CLOCKS:
            raise self.error(f"an expression of {node.name} is not supported", node, "signals come from recordings")
        hint = closest(node.name, self.names) or f"define it: .param {node.name}=..."
        raise self.error(f"undefined name {node.name!r}", node, hint)

    def signal(self, node: Signal) -> Term:
        if self.folding.signals is None:
            what, name = ("voltage", "v") if isinstance(node, Voltage) else ("current", "i")
            hint = f"only the formula of a behavioural source (B, E or G) may sense a {what}"
            raise self.error(f"{name}(...) has no place in this expression", node, hint)
        expression = self.folding.signals(self.card, node)
        return Term(expression, 1 + len(expression.args), 1 + bool(expression.args))

    def apply(self, node: Apply) -> Term:
        match node.function:
            case "+":
                return self.sum(node)
            case "-":
                return self.negative(self.node(node.operands[0]))
            case "*":
                return self.product(node)
            case "**":
                return self.power(self.node(node.operands[0]), self.node(node.operands[1]), node)
            case "?":
                return self.ternary(node)
        if node.function in self.folding.functions:
            return self.user_function(node)
        if node.function in _CHOICES:
            self.check_count(node, 3)
            return self.ternary(node)
        return self.call(node)

    def sum(self, node: Apply) -> Term:
        terms: list[Term] = []
        for operand in node.operands:
            term = self.node(operand)
            if len(terms) == 1 and (a := terms[0].value) is not None and (b := term.value) is not None:
                terms = [self.number(a + b, node)]
            else:
                terms.append(term)
        return terms[0] if len(terms) == 1 else _build(_sum, *terms)

    def negative(self, term: Term) -> Term:
        return Term(number(-term.value)) if term.value is not None else _build(_product, Term(Integer(-1)), term)

    def product(self, node: Apply) -> Term:
        factors: list[Term] = []
        for operand in node.operands:
            inverse = isinstance(operand, Apply) and operand.function == "/"
            # `/` with one operand stands only inside a product.
            factor = self.node(operand.operands[0] if inverse and isinstance(operand, Apply) else operand)
            if inverse and factor.value == 0:
                raise self.error("division by zero", operand)
            if len(factors) == 1 and (a := factors[0].value) is not None and (b := factor.value) is not None:
                factors = [self.number(a / b if inverse else a * b, operand)]
            else:
                factors.append(_build(_power, factor, Term(Integer(-1))) if inverse else factor)
        if factors[0].value == 1 and len(factors) > 1:
            factors = factors[1:]
        return factors[0] if len(factors) == 1 else _build(_product, *factors)

    def power(self, base: Term, exponent: Term, node: Node) -> Term:
        if base.value is not None and exponent.value is not None:
            return self.numeric(math.pow, (base.value, exponent.value), node)
        if exponent.value is not None and abs(exponent.value) > MAX_EXPONENT:
            message = f"an exponent of {exponent.value:g} is beyond the limit of {MAX_EXPONENT}"
            raise self.error(message, node)
        if exponent.value == -1:
            # Integer(-1) is the mark of a division, which has a sign where a power of a voltage has none.
            exponent = Term(Float(-1.0))
        return _build(_power, base, exponent)

    def numeric(self, function: Numeric, values: Iterable[float], node: Node) -> Term:
        try:
            return Term(number(float(function(*values))))
        except (ArithmeticError, ValueError):
            raise self.error("this has no finite real value", node) from None

    def ternary(self, node: Apply) -> Term:
        condition, then, otherwise = node.operands
        if isinstance(condition, Apply) and condition.function in RELATIONS:
            a, b = (self.node(operand) for operand in condition.operands)
            relation = condition.function
        else:
            a, b, relation = self.node(condition), Term(Integer(0)), "!="
        numeric, symbolic = RELATIONS[relation]
        if a.value is not None and b.value is not None:
            # Only the branch that counts is evaluated: the other may divide by zero.
            return self.node(then if numeric(a.value, b.value) else otherwise)
        if a.expression.has(sympy.Piecewise) or b.expression.has(sympy.Piecewise):
            hint = "give the inner choice a .param of its own"
            raise self.error("a choice inside the condition of another choice is not supported", condition, hint)

        def choose(a: Expr, b: Expr, then: Expr, otherwise: Expr) -> Expr:
            return sympy.Piecewise((then, symbolic(a, b, evaluate=False)), (otherwise, True), evaluate=False)

        return _build(choose, a, b, self.node(then), self.node(otherwise))

    def user_function(self, node: Apply) -> Term:
        function = self.folding.functions[node.function]
        if node.function in self.folding.calls:
            raise self.error(f".func {node.function} calls itself", node)
        self.check_count(node, len(function.arguments))
        arguments = [self.node(operand) for operand in node.operands]
        self.folding.calls.append(node.function)
        bound = {**self.names, **dict(zip(function.arguments, arguments, strict=True))}
        result = self.folding.formula(function.body, bound)
        self.folding.calls.pop()
        return result

    def check_count(self, node: Apply, expected: int) -> None:
        if len(node.operands) != expected:
            plural = "argument" if expected == 1 else "arguments"
            raise self.error(f"{node.function} takes {expected} {plural}, found {len(node.operands)}", node)

    def call(self, node: Apply) -> Term:
        """A built-in function or an operator whose value is 0 or 1."""
        name = ALIASES.get(node.function, node.function)
        if name in _COMPOSITES:
            self.check_count(node, _COMPOSITES[name][0])
        elif name not in FUNCTIONS:
            known = [*FUNCTIONS, *ALIASES, *_COMPOSITES, *_CHOICES, *self.folding.functions]
            hint = closest(name, known) or f"define it: .func {name}(x) {{...}}"
            raise self.error(f"unknown function {name!r}", node, hint)
        elif FUNCTIONS[name][0] is not None or not node.operands:
            self.check_count(node, FUNCTIONS[name][0] or 1)
        terms = tuple(self.node(operand) for operand in node.operands)
        return _COMPOSITES[name][1](self, terms, node) if name in _COMPOSITES else self.elementary(name, terms, node)

    def elementary(self, name: str, terms: tuple[Term, ...], node: Apply) -> Term:
        """One of FUNCTIONS: a number if all its arguments are numbers."""
        _, numeric, symbolic = FUNCTIONS[name]
        values = [value for term in terms if (value := term.value) is not None]
        if len(values) == len(terms):
            return self.numeric(numeric, values, node)
        if len(terms) > 2:
            # ngspice's sources know min and max of two.
            return _build(symbolic, self.elementary(name, terms[:-1], node), terms[-1])
        return _build(symbolic, *terms)


class _TooLargeError(Exception):
    """Raised where the place in the text is not known, caught where it is."""


def _build(make: Symbolic, *terms: Term) -> Term:
    size, depth = 1 + sum(term.size for term in terms), 1 + max(term.depth for term in terms)
    if size > MAX_SIZE or depth > MAX_DEPTH:
        raise _TooLargeError
    return Term(make(*(term.expression for term in terms)), size, depth)


def _sum(*terms: Expr) -> Expr:
    return sympy.Add(*terms, evaluate=False)


def _product(*factors: Expr) -> Expr:
    return sympy.Mul(*factors, evaluate=False)


def _power(base: Expr, exponent: Expr) -> Expr:
    return sympy.Pow(base, exponent, evaluate=False)


# Functions made of others. Truth values are 0 and 1, made of signs, so that arrays pass through them.
_Composite = Callable[[_Scope, tuple[Term, ...], Apply], Term]


def _log10(scope: _Scope, terms: tuple[Term, ...], node: Apply) -> Term:
    if (value := terms[0].value) is not None:
        return scope.numeric(math.log10, (value,), node)
    return _build(_product, scope.elementary("log", terms, node), Term(number(1 / math.log(10.0))))


def _times(scope: _Scope, node: Apply, a: Term, b: Term) -> Term:
    if a.value is not None and b.value is not None:
        return scope.number(a.value * b.value, node)
    return b if a.value == 1 else _build(_product, a, b)


def _pwr(scope: _Scope, terms: tuple[Term, ...], node: Apply) -> Term:
    x, y = terms
    magnitude = scope.power(scope.elementary("abs", (x,), node), y, node)
    return _times(scope, node, scope.elementary("sgn", (x,), node), magnitude)


def _int(scope: _Scope, terms: tuple[Term, ...], node: Apply) -> Term:
    magnitude = scope.elementary("floor", (scope.elementary("abs", terms, node),), node)
    return _times(scope, node, scope.elementary("sgn", terms, node), magnitude)


def _clip(scope: _Scope, terms: tuple[Term, ...], node: Apply) -> Term:
    x, low, high = terms
    return scope.elementary("min", (scope.elementary("max", (x, low), node), high), node)


def _ramp(scope: _Scope, terms: tuple[Term, ...], node: Apply) -> Term:
    return scope.elementary("max", (*terms, Term(Integer(0))), node)


def _difference(scope: _Scope, a: Term, b: Term, node: Apply) -> Term:
    if a.value is not None and b.value is not None:
        return scope.number(a.value - b.value, node)
    if b.value == 0:
        return a
    return _build(_sum, a, scope.negative(b))


def _positive(scope: _Scope, a: Term, b: Term, node: Apply) -> Term:
    """1 if a > b, else 0."""
    sign = scope.elementary("sgn", (_difference(scope, a, b, node),), node)
    return scope.elementary("max", (sign, Term(Integer(0))), node)


def _unequal(scope: _Scope, a: Term, b: Term, node: Apply) -> Term:
    return scope.elementary("abs", (scope.elementary("sgn", (_difference(scope, a, b, node),), node),), node)


def _not(scope: _Scope, truth: Term, node: Apply) -> Term:
    return _difference(scope, Term(Integer(1)), truth, node)


def _truth(scope: _Scope, term: Term, node: Apply) -> Term:
    return _unequal(scope, term, Term(Integer(0)), node)


_COMPOSITES: Mapping[str, tuple[int, _Composite]] = {
    "log10": (1, _log10),
    "sqr": (1, lambda scope, terms, node: _times(scope, node, terms[0], terms[0])),
    "pow": (2, lambda scope, terms, node: scope.power(terms[0], terms[1], node)),
    "pwr": (2, _pwr),
    "pwrs": (2, _pwr),
    "uramp": (1, _ramp),
    "u": (1, lambda scope, terms, node: _positive(scope, terms[0], Term(Integer(0)), node)),
    "int": (1, _int),
    "limit": (3, _clip),
    "<": (2, lambda scope, terms, node: _positive(scope, terms[1], terms[0], node)),
    ">": (2, lambda scope, terms, node: _positive(scope, terms[0], terms[1], node)),
    "<=": (2, lambda scope, terms, node: _not(scope, _positive(scope, terms[0], terms[1], node), node)),
    ">=": (2, lambda scope, terms, node: _not(scope, _positive(scope, terms[1], terms[0], node), node)),
    "!=": (2, lambda scope, terms, node: _unequal(scope, terms[0], terms[1], node)),
    "==": (2, lambda scope, terms, node: _not(scope, _unequal(scope, terms[0], terms[1], node), node)),
    "!": (1, lambda scope, terms, node: _not(scope, _truth(scope, terms[0], node), node)),
    "&&": (2, lambda scope, terms, node: _times(scope, node, *(_truth(scope, t, node) for t in terms))),
    "||": (2, lambda scope, terms, node: scope.elementary("max", tuple(_truth(scope, t, node) for t in terms), node)),
}
# Other spellings of `c ? a : b`.
_CHOICES = ("if", "ternary_fcn")


def closest(name: str, known: Iterable[str]) -> str | None:
    """A did-you-mean hint, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {matches[0]}?" if matches else None
