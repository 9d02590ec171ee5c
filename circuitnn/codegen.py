"""C++ source of one reduced circuit: its sizes and its device laws, printed from their symbolic form."""

# ruff: noqa: N802, N815 - methods named as sympy's printer calls them
from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy
from sympy import Symbol
from sympy.logic.boolalg import Boolean
from sympy.printing.cxx import CXX17CodePrinter
from sympy.printing.precedence import PRECEDENCE

from circuitnn.devices import Junction, Law
from circuitnn.symbolic import clamped_exp, limited_exp, logistic, ramp, rounded_ramp, softplus, unit_clip

# Functions of the run-time header, which work on one number and on several side by side.
_FUNCTIONS = {
    sympy.exp: "exponential",
    sympy.log: "logarithm",
    sympy.tanh: "hyperbolic_tangent",
    sympy.Abs: "absolute",
    sympy.sign: "signum",
    sympy.sin: "sine",
    sympy.cos: "cosine",
    sympy.atan: "arctangent",
    sympy.asinh: "inverse_sinh",
    clamped_exp: "clamped_exp",
    ramp: "ramp",
    softplus: "softplus",
    logistic: "logistic",
    unit_clip: "unit_clip",
}


_MUL = PRECEDENCE["Mul"]
# Integer powers up to this are printed as products.
_LONGEST_PRODUCT = 8


class _Printer(CXX17CodePrinter):  # type: ignore[misc]
    """C++ for any number type `Real` with elements `S`: every constant has the element's type, every function is the
    header's own."""

    def _print_Function(self, expression: sympy.Expr) -> str:
        name = _FUNCTIONS.get(expression.func)
        if name is None:
            raise NotImplementedError(f"no C++ for the function {expression.func}")
        return f"circuitnn::{name}<Real>({self._print(expression.args[0])})"

    _print_exp = _print_log = _print_tanh = _print_Abs = _print_sign = _print_Function
    _print_clamped_exp = _print_ramp = _print_softplus = _print_logistic = _print_sin = _print_cos = _print_Function
    _print_atan = _print_asinh = _print_unit_clip = _print_Function

    def _print_Float(self, number: sympy.Float) -> str:
        return f"S({float(number)!r})"

    def _print_Integer(self, number: sympy.Integer) -> str:
        return f"S({int(number)})"

    def _print_Rational(self, number: sympy.Rational) -> str:
        return f"S({int(number.p)}.0 / {int(number.q)}.0)"

    def _print_NumberSymbol(self, number: sympy.NumberSymbol) -> str:
        return f"S({float(number)!r})"

    def _print_Pow(self, expression: sympy.Pow) -> str:
        base, exponent = expression.args
        factor = self.parenthesize(base, _MUL + 1)
        if exponent.is_negative:
            return f"(S(1) / {self.parenthesize(sympy.Pow(base, -exponent), _MUL + 1)})"
        if exponent.is_Integer and exponent <= _LONGEST_PRODUCT:
            return f"({' * '.join([factor] * int(exponent))})"
        if exponent in (sympy.Rational(1, 2), 0.5):
            return f"circuitnn::square_root<Real>({self._print(base)})"
        return f"circuitnn::power<Real>({self._print(base)}, {self._print(exponent)})"

    def _extremum(self, name: str, expression: sympy.Expr) -> str:
        *others, last = map(self._real, expression.args)
        for other in reversed(others):
            last = f"circuitnn::{name}<Real>({other}, {last})"
        return last

    def _print_Max(self, expression: sympy.Max) -> str:
        return self._extremum("maximum", expression)

    def _print_Min(self, expression: sympy.Min) -> str:
        return self._extremum("minimum", expression)

    def _real(self, expression: sympy.Expr) -> str:
        """As a Real even where it is a plain number."""
        text = self._print(expression)
        return f"circuitnn::all_lanes<Real>({text})" if expression.is_number else text

    def _print_Relational(self, relation: sympy.core.relational.Relational) -> str:
        return f"({self._real(relation.lhs)} {relation.rel_op} {self._real(relation.rhs)})"

    def _print_And(self, condition: sympy.And) -> str:
        return "(" + " & ".join(self._print(c) for c in condition.args) + ")"

    def _print_Or(self, condition: sympy.Or) -> str:
        return "(" + " | ".join(self._print(c) for c in condition.args) + ")"

    def _print_Not(self, condition: sympy.Not) -> str:
        return f"circuitnn::negate({self._print(condition.args[0])})"

    def _print_Piecewise(self, expression: sympy.Piecewise) -> str:
        *choices, (last, _) = expression.args
        text = self._real(last)
        for value, condition in reversed(choices):
            text = f"circuitnn::select<Real>({self._print(condition)}, {self._real(value)}, {text})"
        return text


def _assignments(targets: Sequence[str], expressions: Sequence[sympy.Expr], indent: str) -> str:
    """C++ statements that compute all expressions, common parts once. Both halves of a limited exponential share it,
    and a rounded ramp its slope."""
    printer = _Printer()
    shared = [
        sympy.sympify(e)
        .replace(limited_exp, lambda x: clamped_exp(x) * (1.0 + ramp(x)))
        .replace(rounded_ramp, lambda x: unit_clip(x) * (x - 0.5 * unit_clip(x)))
        for e in expressions
    ]
    temporaries, results = sympy.cse(shared, symbols=sympy.numbered_symbols("t"))
    lines = [f"const {_type(value)} {symbol} = {printer.doprint(value)};" for symbol, value in temporaries]
    lines += [f"{target} = {printer._real(value)};" for target, value in zip(targets, results, strict=True)]
    return "\n".join(indent + line for line in lines)


def _type(value: sympy.Basic) -> str:
    return "circuitnn::MaskOf<Real>" if isinstance(value, Boolean) else "Real"


def _names(law: Law) -> str:
    lines = ["using S = circuitnn::ScalarOf<Real>;"]
    lines += [f"[[maybe_unused]] const Real {x} = w_[{k}];" for k, x in enumerate(law.variables)]
    lines += [f"[[maybe_unused]] const Real {x} = c_[{k}];" for k, x in enumerate(law.coefficients)]
    return "\n".join(f"        {line}" for line in lines)


def _limit(junction: Junction, positions: Mapping[Symbol, int]) -> str:
    """The C++ statement that limits the step of a junction's variable."""
    k = junction.variable
    function = (
        "limit_breakdown<Real>" if junction.beyond else f"limit_junction<{str(junction.symmetric).lower()}, Real>"
    )
    coefficients = [junction.slope, junction.critical, *([junction.beyond] if junction.beyond else [])]
    arguments = ", ".join([f"before[{k}], after[{k}]", *(f"c_[{positions[symbol]}]" for symbol in coefficients)])
    return f"after[{k}] = circuitnn::{function}({arguments});"


def law_source(law: Law, differentiated: bool = True) -> str:
    """The C++ struct of a device law: ports, coefficients, evaluate, differentiate (by the coefficients too, which
    gradients need and nothing else), limit."""
    n, k = law.ports, len(law.coefficients)
    targets = [f"i_[{j}]" for j in range(n)]
    values = [*law.currents, *law.current_jacobian]
    targets += [f"di_[{row} * m_ + {column}]" for row in range(n) for column in range(n)]
    gradients = [*law.current_coefficient_jacobian]
    gradient_targets = [f"di_dc_[{j}]" for j in range(n * k)]
    if not law.voltage_is_variable:
        targets += [f"v_[{j}]" for j in range(n)]
        targets += [f"dv_[{row} * m_ + {column}]" for row in range(n) for column in range(n)]
        values += [*law.voltages, *law.voltage_jacobian]
        gradients += [*law.voltage_coefficient_jacobian]
        gradient_targets += [f"dv_dc_[{j}]" for j in range(n * k)]
    positions = {symbol: position for position, symbol in enumerate(law.coefficients)}
    slopes = {
        junction.variable: positions[junction.slope]
        for junction in law.junctions
        if junction.bounds_curvature and junction.beyond is None
    }
    limits = "\n".join(f"        {_limit(junction, positions)}" for junction in law.junctions)
    differentiate = f"""
    template <class Real>
    CIRCUITNN_INLINE static inline void differentiate(const Real* w_, [[maybe_unused]] const Real* c_,
                                                      [[maybe_unused]] Real* v_, Real* i_, [[maybe_unused]] Real* dv_,
                                                      Real* di_, int m_, [[maybe_unused]] Real* dv_dc_,
                                                      [[maybe_unused]] Real* di_dc_) {{
{_names(law)}
{_assignments(targets + gradient_targets, values + gradients, "        ")}
    }}
"""
    return f"""struct {law.name} {{
    static constexpr int ports = {n}, coefficients = {k};
    static constexpr bool voltage_is_variable = {str(law.voltage_is_variable).lower()};
    static constexpr bool junctions_only = {str(len(slopes) == n).lower()};
    // The coefficient that is the slope of each variable's exponential, -1 without one.
    [[maybe_unused]] static constexpr int slopes[] = {{{", ".join(str(slopes.get(j, -1)) for j in range(n))}}};

    template <class Real>
    CIRCUITNN_INLINE static inline void evaluate(const Real* w_, [[maybe_unused]] const Real* c_,
                                                 [[maybe_unused]] Real* v_, Real* i_, [[maybe_unused]] Real* dv_,
                                                 Real* di_, int m_) {{
{_names(law)}
{_assignments(targets, values, "        ")}
    }}
{differentiate if differentiated else ""}
    template <class Real>
    CIRCUITNN_INLINE static inline void limit([[maybe_unused]] const Real* before, [[maybe_unused]] Real* after,
                             [[maybe_unused]] const Real* c_) {{
{limits}
    }}
}};
"""


def circuit_source(
    n_x: int, n_u: int, n_y: int, stages: Sequence[Sequence[Law]], free: Sequence[int], plain: bool
) -> str:
    """The generated part of a compiled circuit. It holds the structure only: values come in at run time."""
    distinct = {law.name: law for stage in stages for law in stage}
    positions = ", ".join(map(str, free or [0]))
    sequence = ", ".join(f"circuitnn::Stage<{', '.join(law.name for law in stage)}>" for stage in stages)
    return f"""// Generated by circuitnn.
#include "gradients.hpp"

namespace {{

{chr(10).join(law_source(law) for law in distinct.values())}
struct Circuit {{
    static constexpr int n_x = {n_x}, n_u = {n_u}, n_y = {n_y};
    [[maybe_unused]] static constexpr int free_ports[] = {{{positions}}};
    [[maybe_unused]] static constexpr bool plain = {str(plain).lower()};
    using Stages = circuitnn::Sequence<{sequence}>;
}};

}}  // namespace
"""
