"""Formula tree -> sympy: names, calls and signals looked up, places in the text added to what terms.py refuses."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import sympy
from sympy import Expr

from circuitnn.errors import NetlistError
from circuitnn.netlist import terms
from circuitnn.netlist.expressions import Apply, Current, Formula, Name, Node, Number, Signal, Voltage
from circuitnn.netlist.functions import ALIASES, CONSTANTS, FUNCTIONS, RELATIONS
from circuitnn.netlist.lexer import Card
from circuitnn.netlist.terms import COMPOSITES, FOREIGN, ZERO, Term, TermError

MAX_OPERATIONS = 20_000
MAX_CALL_DEPTH = 100


@dataclass(frozen=True)
class Function:
    """A .func card."""

    arguments: tuple[str, ...]
    body: Formula


# What an expression cannot follow, because signals come from recordings.
_CLOCKS = ("time", "hertz", "freq")
# Functions of other simulators that have no place in a circuit model, and what to do instead.
_UNSUPPORTED = {
    **dict.fromkeys(("ddt", "idt", "sdt", "idtmod"), "a capacitor's current is a derivative, its voltage an integral"),
    **dict.fromkeys(("delay", "absdelay", "laplace"), "build it of capacitors and inductors"),
    **dict.fromkeys(("rand", "random", "white", "gauss", "agauss", "unif", "aunif"), "every part has one value here"),
}

# What a v(...) or i(...) of the formula tree stands for, as an expression of symbols of circuit.voltage and .current.
Signals = Callable[[Card, Signal], Expr]


def fold(
    formula: Formula, names: Mapping[str, Term], functions: Mapping[str, Function], signals: Signals | None = None
) -> Term:
    """The value of a formula with its names bound. signals: None where v(...) has no place. Raises NetlistError."""
    # pwrs is a name of PSpice and LTspice alone, so a formula with it takes their pwr too.
    composites = FOREIGN if "pwrs" in formula.calls else COMPOSITES
    return _Folding(functions, signals, composites).formula(formula, names)


@dataclass
class _Folding:
    """One fold: counts its work, so that a netlist cannot make it long."""

    functions: Mapping[str, Function]
    signals: Signals | None
    composites: Mapping[str, tuple[int | None, Callable[..., Term]]]
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

    @contextmanager
    def at(self, node: Node) -> Iterator[None]:
        """Refusals inside come from this node."""
        try:
            yield
        except TermError as error:
            raise self.error(error.message, node, error.hint) from None

    def node(self, node: Node) -> Term:
        self.folding.operations += 1
        if self.folding.operations > MAX_OPERATIONS or self.folding.depth > MAX_CALL_DEPTH:
            raise self.error("this expression takes too many steps", node, "its .func cards call each other too often")
        match node:
            case Number():
                with self.at(node):
                    return terms.constant(node.value)
            case Name():
                return self.name(node)
            case Voltage() | Current():
                return self.signal(node)
        self.folding.depth += 1
        with self.at(node):
            term = self.apply(node)
        self.folding.depth -= 1
        return term

    def name(self, node: Name) -> Term:
        if node.name in self.names:
            return self.names[node.name]
        if node.name in CONSTANTS:
            return terms.constant(CONSTANTS[node.name])
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
                return terms.total([self.node(operand) for operand in node.operands])
            case "-":
                return terms.negative(self.node(node.operands[0]))
            case "*":
                return self.product(node)
            case "**":
                return terms.power(self.node(node.operands[0]), self.node(node.operands[1]))
            case "?":
                return self.ternary(node)
        if node.function in self.folding.functions:
            return self.user_function(node)
        if node.function in _CHOICES:
            self.check_count(node, 3)
            return self.ternary(node)
        return self.call(node)

    def product(self, node: Apply) -> Term:
        factors: list[Term] = []
        for operand in node.operands:
            inverse = isinstance(operand, Apply) and operand.function == "/"
            # `/` with one operand stands only inside a product.
            factor = self.node(operand.operands[0] if inverse and isinstance(operand, Apply) else operand)
            with self.at(operand):
                factors = terms.multiplied(factors, factor, inverse)
        return terms.product(factors)

    def ternary(self, node: Apply) -> Term:
        condition, then, otherwise = node.operands
        if isinstance(condition, Apply) and condition.function in RELATIONS:
            a, b = (self.node(operand) for operand in condition.operands)
            relation = condition.function
        else:
            a, b, relation = self.node(condition), ZERO, "!="
        numeric, _ = RELATIONS[relation]
        if a.value is not None and b.value is not None:
            # Only the branch that counts is evaluated: the other may divide by zero.
            return self.node(then if numeric(a.value, b.value) else otherwise)
        if a.expression.has(sympy.Piecewise) or b.expression.has(sympy.Piecewise):
            hint = "give the inner choice a .param of its own"
            raise self.error("a choice inside the condition of another choice is not supported", condition, hint)
        return terms.choice(relation, a, b, self.node(then), self.node(otherwise))

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
        composites = self.folding.composites
        if name in composites:
            count, function = composites[name]
            if count is not None:
                self.check_count(node, count)
            return function(*map(self.node, node.operands))
        if name in FUNCTIONS:
            if FUNCTIONS[name][0] is not None or not node.operands:
                self.check_count(node, FUNCTIONS[name][0] or 1)
            return terms.elementary(name, *map(self.node, node.operands))
        if name in _UNSUPPORTED:
            raise self.error(f"the function {name} is not supported", node, _UNSUPPORTED[name])
        known = [*FUNCTIONS, *ALIASES, *composites, *_CHOICES, *self.folding.functions]
        hint = closest(name, known) or f"define it: .func {name}(x) {{...}}"
        raise self.error(f"unknown function {name!r}", node, hint)


# Other spellings of `c ? a : b`.
_CHOICES = ("if", "ternary_fcn")


def closest(name: str, known: Iterable[str]) -> str | None:
    """A did-you-mean hint, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {matches[0]}?" if matches else None
