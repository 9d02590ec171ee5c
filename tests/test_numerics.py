"""The run-time header's arithmetic against numpy in extended precision, for one number and for many side by side."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from circuitnn.runtime.compiler import compile_library

KINDS = {"double": np.float64, "DoubleLanes": np.float64, "float": np.float32, "FloatLanes": np.float32}
UNARY = ("exponential", "logarithm", "softplus", "logistic", "hyperbolic_tangent", "clamped_exp", "square_root")
SIZES = range(1, 13)
# In lanes every size would take long to compile.
KINDS_OF_SIZE = {
    size: (
        "double",
        *(("DoubleLanes",) if size in (1, 2, 3, 4, 7) else ()),
        *(("float", "FloatLanes") if size == 5 else ()),
    )
    for size in SIZES
}

Array = NDArray[np.floating]

HEADER = """#include "matrices.hpp"
using namespace circuitnn;
template <class Real, int count, class Function>
void each(const ScalarOf<Real>* const* in, ScalarOf<Real>* out, int64_t n, Function function) {
    constexpr int lanes = Traits<Real>::lanes;
    for (int64_t start = 0; start < n; start += lanes) {
        Real x[count], y{};
        for (int k = 0; k < count; ++k)
            for (int lane = 0; lane < lanes; ++lane) set_lane(x[k], lane, in[k][start + lane]);
        y = function(x);
        for (int lane = 0; lane < lanes; ++lane) out[start + lane] = get_lane(y, lane);
    }
}
"""


def functions() -> str:
    """C++: every function of every kind, over arrays."""
    lines = [HEADER]
    several = {"power": (2, "power<Real>(x[0], x[1])")}
    several |= {f"limit_{s}": (4, f"limit_junction<{s}, Real>(x[0], x[1], x[2], x[3])") for s in ("true", "false")}
    for kind in KINDS:
        for name, (count, call) in {name: (1, f"{name}<Real>(x[0])") for name in UNARY}.items() | several.items():
            scalar = f"ScalarOf<{kind}>"
            lines.append(
                f'extern "C" void {name}_{kind}(const {scalar}* const* in, {scalar}* out, int64_t n) {{ '
                f"using Real = {kind}; each<Real, {count}>(in, out, n, [](const Real* x) {{ return {call}; }}); }}"
            )
    return "\n".join(lines)


@cache
def library() -> ctypes.CDLL:
    return compile_library(functions())


def call(name: str, kind: str, *arguments: Array) -> Array:
    """In the kind's own precision; the last numbers again, to fill the lanes."""
    type_, n = KINDS[kind], len(arguments[0])
    padded = [np.pad(np.asarray(a, dtype=type_), (0, -n % 16), mode="edge") for a in arguments]
    out = np.empty_like(padded[0])
    pointers = (ctypes.c_void_p * len(padded))(*[a.ctypes.data for a in padded])
    getattr(library(), f"{name}_{kind}")(pointers, ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(len(out)))
    return out[:n]


def ulps(found: Array, exact: NDArray[np.longdouble]) -> float:
    """The largest error in units of the last place of the exact result."""
    spacing = np.spacing(np.abs(exact).astype(found.dtype)).astype(np.longdouble)
    return float((np.abs(found.astype(np.longdouble) - exact) / spacing).max())


def spread(kind: str, low: float, high: float, log: bool = False) -> Array:
    """Random numbers, uniform or in their logarithm, with both ends."""
    rng = np.random.default_rng(0)
    numbers = np.exp(rng.uniform(np.log(low), np.log(high), 4000)) if log else rng.uniform(low, high, 4000)
    return np.array([low, *numbers, high]).astype(KINDS[kind])


def wide(kind: str) -> bool:
    return KINDS[kind] is np.float64


@pytest.mark.parametrize("kind", KINDS)
class TestFunctions:
    def test_exponential(self, kind: str) -> None:
        low, high = (-707.9, 708.9) if wide(kind) else (-86.9, 87.9)
        for x in (spread(kind, low, high), spread(kind, -1.0, 1.0), spread(kind, 1e-30, 1e-3, log=True)):
            assert ulps(call("exponential", kind, x), np.exp(x.astype(np.longdouble))) < 4.0
        smallest = np.finfo(KINDS[kind]).tiny
        for far in (-1e30, -np.inf):
            assert smallest <= call("exponential", kind, np.array([far]))[0] < 1e-37
        top = call("exponential", kind, np.array([1e30, np.inf, 709.0 if wide(kind) else 88.0]))
        assert np.isfinite(top).all()
        assert (top == top[-1]).all()
        assert np.isnan(call("exponential", kind, np.array([np.nan]))).all()
        assert call("exponential", kind, np.array([0.0, -0.0])).tolist() == [1.0, 1.0]

    def test_not_a_number_stays_in_its_lane(self, kind: str) -> None:
        x = np.zeros(16)
        x[5] = np.nan
        for name, expected in (("exponential", 1.0), ("softplus", np.log(2.0)), ("logistic", 0.5)):
            found = call(name, kind, x)
            assert np.isnan(found[5]), name
            np.testing.assert_allclose(np.delete(found, 5), expected, rtol=1e-6)

    def test_limited_exponential(self, kind: str) -> None:
        x = np.array([79.5, 80.0, 80.5, 1e3, 1e30, np.inf])
        found = call("clamped_exp", kind, x).astype(float)
        np.testing.assert_allclose(found, np.exp(np.minimum(x, 80.0)), rtol=1e-13 if wide(kind) else 1e-5)

    def test_logarithm(self, kind: str) -> None:
        info = np.finfo(KINDS[kind])
        x = spread(kind, float(info.tiny), float(info.max), log=True)
        assert ulps(call("logarithm", kind, x), np.log(x.astype(np.longdouble))) < 3.0
        # Around 1 the result is small: the error relative to the argument's distance from 1.
        near = spread(kind, 0.5, 2.0)
        exact = np.log(near.astype(np.longdouble))
        error = np.abs(call("logarithm", kind, near).astype(np.longdouble) - exact)
        assert float((error / np.maximum(np.abs(exact), np.finfo(KINDS[kind]).eps)).max()) < 8.0 * info.eps
        assert call("logarithm", kind, np.array([1.0]))[0] == 0.0
        # What is not positive has the logarithm of the smallest normal number.
        bottom = call("logarithm", kind, np.array([0.0, -0.0, -1.0, -np.inf, float(info.tiny) / 4.0]))
        np.testing.assert_allclose(bottom, np.log(float(info.tiny)), rtol=1e-6)

    def test_softplus(self, kind: str) -> None:
        low = -700.0 if wide(kind) else -80.0
        x = np.concatenate([spread(kind, low, 700.0), spread(kind, -3.0, 3.0), spread(kind, 0.0, 1e30)])
        x = x.astype(KINDS[kind])
        exact = np.logaddexp(np.longdouble(0.0), x.astype(np.longdouble))
        assert ulps(call("softplus", kind, x), exact) < 6.0
        assert 0.0 < call("softplus", kind, np.array([-np.inf]))[0] < 1e-37

    def test_logistic(self, kind: str) -> None:
        x = np.concatenate([spread(kind, -700.0 if wide(kind) else -80.0, 100.0), spread(kind, -3.0, 3.0)])
        exact = 1.0 / (1.0 + np.exp(-x.astype(np.longdouble)))
        assert ulps(call("logistic", kind, x), exact) < 8.0
        found = call("logistic", kind, np.array([-np.inf, np.inf]))
        assert 0.0 < found[0] < 1e-37
        assert found[1] == 1.0

    def test_hyperbolic_tangent(self, kind: str) -> None:
        x = np.concatenate([spread(kind, -20.0, 20.0), spread(kind, 1e-20, 1.0, log=True)])
        # Also where it is small: a quiet signal keeps its digits.
        assert ulps(call("hyperbolic_tangent", kind, x), np.tanh(x.astype(np.longdouble))) < 6.0
        assert call("hyperbolic_tangent", kind, np.array([-np.inf, -1e9, 0.0, 1e9, np.inf])).tolist() == [
            -1,
            -1,
            0,
            1,
            1,
        ]

    def test_power(self, kind: str) -> None:
        rng = np.random.default_rng(1)
        x, y = (a.astype(KINDS[kind]) for a in (np.exp(rng.uniform(-20.0, 20.0, 4000)), rng.uniform(-3.0, 3.0, 4000)))
        exact = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
        # The exponential magnifies the rounding of its argument y ln(x).
        bound = (8.0 + 2.0 * np.abs(y * np.log(x))) * np.finfo(KINDS[kind]).eps * exact
        assert (np.abs(call("power", kind, x, y) - exact) < bound).all()
        nothing = call("power", kind, np.array([0.0, -3.0, -np.inf]), np.array([1.4, 1.4, 0.5]))
        assert (np.abs(nothing) < 1e-18).all()

    def test_square_root(self, kind: str) -> None:
        x = spread(kind, 1e-30, 1e30, log=True)
        assert ulps(call("square_root", kind, x), np.sqrt(x.astype(np.longdouble))) <= 0.5


def pnjlim(before: float, after: float, slope: float, critical: float) -> float:
    """As in SPICE3's devsup.c, in plain Python."""
    thermal = 1.0 / slope
    if after > critical and abs(after - before) > 2.0 * thermal:
        if before > 0.0:
            arg = 1.0 + (after - before) / thermal
            return before + thermal * float(np.log(arg)) if arg > 0.0 else critical
        return thermal * float(np.log(after / thermal))
    return after


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_junction_limiting(kind: str, symmetric: bool) -> None:
    """All combinations of signs and sizes, mixed in the lanes."""
    rng = np.random.default_rng(0)
    n = 4096
    before, after = (rng.choice([0.01, 0.3, 1.0, 30.0], n) * rng.normal(size=n) for _ in range(2))
    slope, critical = rng.uniform(15.0, 40.0, n), rng.uniform(0.4, 0.8, n)
    numbers = [a.astype(KINDS[kind]).astype(float) for a in (before, after, slope, critical)]
    expected = []
    for b, a, s, c in zip(*numbers, strict=True):
        mirrored = symmetric and a < 0.0
        expected.append(-pnjlim(-b, -a, s, c) if mirrored else pnjlim(b, a, s, c))
    found = call(f"limit_{str(symmetric).lower()}", kind, *numbers)
    # Whether a change of just 2 slopes is limited may be decided by rounding.
    clear = np.abs(np.abs(numbers[1] - numbers[0]) * numbers[2] - 2.0) > 1e-4
    growth = 1.0 + (np.abs(numbers[1]) - np.sign(numbers[1]) * numbers[0]) * numbers[2]
    clear &= np.abs(growth) > 1e-3
    assert clear.mean() > 0.98
    tolerance = 1e-12 if wide(kind) else 3e-4
    np.testing.assert_allclose(found[clear], np.array(expected)[clear], rtol=tolerance, atol=tolerance)
    assert (found != numbers[1].astype(KINDS[kind])).mean() > 0.15


# --- Small linear systems -------------------------------------------------------------------------------------------


@cache
def systems() -> ctypes.CDLL:
    """solve_<kind>_<N>: factorise J and solve J a = b, J^T c = b, and J d = b while factorising."""
    parts = [HEADER.split("template")[0]]
    parts.append("""
template <class Real, int N>
void solve(const double* J, const double* b, double* straight, double* transposed, double* together, int64_t n) {
    constexpr int lanes = Traits<Real>::lanes;
    for (int64_t start = 0; start < n; start += lanes) {
        Factors<N, Real> first, second;
        // Not a number in every place that the elimination does not write.
        memset(&first, 0xff, sizeof first);
        Column<Real, N> x{}, y{}, z{};
        for (auto& column : first.column) column.clear();
        for (int row = 0; row < N; ++row)
            for (int lane = 0; lane < lanes; ++lane) {
                for (int column = 0; column < N; ++column)
                    set_lane(first.column[column][row], lane,
                             ScalarOf<Real>(J[((start + lane) * N + row) * N + column]));
                set_lane(x[row], lane, ScalarOf<Real>(b[(start + lane) * N + row]));
            }
        y = z = x;
        second = first;
        first.factorise();
        first.solve(x);
        first.solve_transposed(y);
        second.factorise(z);
        for (int row = 0; row < N; ++row)
            for (int lane = 0; lane < lanes; ++lane) {
                straight[(start + lane) * N + row] = get_lane(x[row], lane);
                transposed[(start + lane) * N + row] = get_lane(y[row], lane);
                together[(start + lane) * N + row] = get_lane(z[row], lane);
            }
    }
}
// Eight right-hand sides [N, 8] of one matrix.
template <int N>
void several(const double* J, const double* b, double* out) {
    Factors<N, double> factors;
    for (auto& column : factors.column) column.clear();
    DoubleLanes x[N];
    for (int row = 0; row < N; ++row) {
        for (int column = 0; column < N; ++column) factors.column[column].set(row, J[row * N + column]);
        for (int lane = 0; lane < 8; ++lane) set_lane(x[row], lane, b[row * 8 + lane]);
    }
    factors.factorise();
    factors.solve_all(x);
    for (int row = 0; row < N; ++row)
        for (int lane = 0; lane < 8; ++lane) out[row * 8 + lane] = get_lane(x[row], lane);
}
""")
    for size in SIZES:
        parts += [
            f'extern "C" void solve_{kind}_{size}(const double* J, const double* b, double* s, double* t, double* f, '
            f"int64_t n) {{ solve<{kind}, {size}>(J, b, s, t, f, n); }}"
            for kind in KINDS_OF_SIZE[size]
        ]
        parts.append(
            f'extern "C" void several_{size}(const double* J, const double* b, double* out) '
            f"{{ several<{size}>(J, b, out); }}"
        )
    return compile_library("\n".join(parts))


def matrices(size: int) -> NDArray[np.float64]:
    """Forty regular matrices: random ones; rows in reverse of a good order; zeros on the diagonal; rows of very
    different size. Neighbours in the lanes need different pivots."""
    rng = np.random.default_rng(size)
    found = []
    for k in range(48):
        matrix = rng.normal(size=(size, size)) + 3.0 * np.eye(size)
        match k % 4:
            case 1:
                matrix = matrix[::-1]
            case 2:
                matrix = matrix[rng.permutation(size)]
                if size > 1:
                    matrix = np.roll(np.eye(size), 1 + k % (size - 1), 0) + 0.05 * (matrix - np.diag(np.diag(matrix)))
            case 3:
                matrix = (10.0 ** rng.uniform(-6.0, 6.0, (size, 1))) * matrix[rng.permutation(size)]
        found.append(matrix)
    return np.array(found)


def pointer(array: NDArray[np.float64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("size", SIZES)
def test_small_systems(size: int) -> None:
    J = np.ascontiguousarray(matrices(size))
    b = np.random.default_rng(0).normal(size=(len(J), size))
    expected = [np.linalg.solve(J, b[..., None])[..., 0], np.linalg.solve(J.transpose(0, 2, 1), b[..., None])[..., 0]]
    condition = np.linalg.cond(J)
    for kind in KINDS_OF_SIZE[size]:
        found = [np.empty_like(b) for _ in range(3)]
        getattr(systems(), f"solve_{kind}_{size}")(pointer(J), pointer(b), *map(pointer, found), ctypes.c_int64(len(J)))
        eps = np.finfo(KINDS[kind]).eps
        for solution, other in zip(found, (*expected, expected[0]), strict=True):
            error = np.abs(solution - other).max(1) / np.abs(other).max(1)
            fit = condition < 0.01 / eps
            assert fit.sum() >= 30
            # Pivots of a tenth of the largest entry are taken, so multipliers up to 10 may cost a digit.
            assert (error < 200.0 * eps * condition)[fit].all()
            # Badly scaled rows are no excuse: what counts is the error of the equations, row by row.
        residual = np.abs(np.einsum("kij,kj->ki", J, found[0]) - b)
        size_of_terms = np.einsum("kij,kj->ki", np.abs(J), np.abs(found[0])) + np.abs(b)
        assert (residual < 100.0 * size * eps * size_of_terms.max(1, keepdims=True)).all()


@pytest.mark.parametrize("size", SIZES)
def test_several_right_hand_sides(size: int) -> None:
    for matrix in matrices(size)[:4]:
        J, b = np.ascontiguousarray(matrix), np.random.default_rng(1).normal(size=(size, 8))
        out = np.empty_like(b)
        getattr(systems(), f"several_{size}")(pointer(J), pointer(b), pointer(out))
        np.testing.assert_allclose(out, np.linalg.solve(J, b), rtol=1e-8, atol=1e-10 * np.abs(out).max())


def test_a_singular_matrix_is_not_solved_silently() -> None:
    for size in (1, 2, 3, 7):
        J = np.zeros((16, size, size))
        J[:] = np.eye(size)
        J[::2, -1, -1] = 0.0
        b = np.ones((16, size))
        for kind in ("double", "DoubleLanes"):
            found = [np.empty_like(b) for _ in range(3)]
            function = getattr(systems(), f"solve_{kind}_{size}")
            function(pointer(J), pointer(b), *map(pointer, found), ctypes.c_int64(16))
            assert not np.isfinite(found[0][::2]).all(1).any()
            np.testing.assert_array_equal(found[0][1::2], 1.0)
