// The arithmetic that the run-time core needs, for one recording (double or float) or for several side by side in the
// lanes of a vector register: elementary functions, junction limiting, small dense linear algebra.
#pragma once

// C headers only: a toolchain without a C++ standard library suffices.
#include <math.h>
#include <stdint.h>
#include <string.h>

// Wide vectors as arguments are called differently by compilers of different age; here none leaves its library.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

// What a sample's critical path goes through must stay in registers, so it is inlined whatever its size.
#define CIRCUITNN_INLINE __attribute__((always_inline))

// Loops over the rows and columns of small matrices, whose positions must be known to stay in registers.
#if defined(__clang__)
#define CIRCUITNN_UNROLL _Pragma("unroll")
#else
#define CIRCUITNN_UNROLL _Pragma("GCC unroll 32")
#endif

namespace circuitnn {

// Vectors of gcc and clang, one cache line wide; a machine with narrower registers takes two or four of them.
constexpr int vector_bytes = 64;
typedef double DoubleLanes __attribute__((vector_size(vector_bytes)));
typedef int64_t DoubleMask __attribute__((vector_size(vector_bytes)));
typedef float FloatLanes __attribute__((vector_size(vector_bytes)));
typedef int32_t FloatMask __attribute__((vector_size(vector_bytes)));

template <class Real>
struct Traits;
template <>
struct Traits<double> {
    using Scalar = double;
    using Bits = int64_t;
    using Unsigned = uint64_t;
    using Mask = bool;
    static constexpr int lanes = 1;
};
template <>
struct Traits<float> {
    using Scalar = float;
    using Bits = int32_t;
    using Unsigned = uint32_t;
    using Mask = bool;
    static constexpr int lanes = 1;
};
template <>
struct Traits<DoubleLanes> {
    using Scalar = double;
    using Bits = DoubleMask;
    using Unsigned = DoubleMask;
    using Mask = DoubleMask;
    static constexpr int lanes = vector_bytes / sizeof(double);
};
template <>
struct Traits<FloatLanes> {
    using Scalar = float;
    using Bits = FloatMask;
    using Unsigned = FloatMask;
    using Mask = FloatMask;
    static constexpr int lanes = vector_bytes / sizeof(float);
};
template <class Real>
using ScalarOf = typename Traits<Real>::Scalar;
template <class Real>
using MaskOf = typename Traits<Real>::Mask;

// The same number in every lane.
template <class Real>
CIRCUITNN_INLINE inline Real all_lanes(ScalarOf<Real> value) {
    return Real{} + value;
}

template <class Real>
CIRCUITNN_INLINE inline ScalarOf<Real> get_lane(const Real& value, int lane) {
    if constexpr (Traits<Real>::lanes == 1)
        return value;
    else
        return value[lane];
}

template <class Real>
CIRCUITNN_INLINE inline void set_lane(Real& value, int lane, ScalarOf<Real> number) {
    if constexpr (Traits<Real>::lanes == 1)
        value = number;
    else
        value[lane] = number;
}

CIRCUITNN_INLINE inline bool any(bool mask) { return mask; }
template <class Mask>
CIRCUITNN_INLINE inline bool any(const Mask& mask) {
    static_assert(sizeof(Mask) == vector_bytes);
    typedef int64_t Half __attribute__((vector_size(vector_bytes / 2)));
    typedef int64_t Quarter __attribute__((vector_size(vector_bytes / 4)));
    Half halves[2];
    Quarter quarters[2];
    memcpy(halves, &mask, sizeof halves);
    const Half half = halves[0] | halves[1];
    memcpy(quarters, &half, sizeof quarters);
    const Quarter quarter = quarters[0] | quarters[1];
    return (quarter[0] | quarter[1]) != 0;
}

CIRCUITNN_INLINE inline bool lane_of(bool mask, int) { return mask; }
template <class Mask>
CIRCUITNN_INLINE inline bool lane_of(const Mask& mask, int lane) {
    return mask[lane] != 0;
}
CIRCUITNN_INLINE inline void set_lane_of(bool& mask, int) { mask = true; }
template <class Mask>
CIRCUITNN_INLINE inline void set_lane_of(Mask& mask, int lane) {
    mask[lane] = -1;
}

CIRCUITNN_INLINE inline bool negate(bool mask) { return !mask; }
template <class Mask>
CIRCUITNN_INLINE inline Mask negate(const Mask& mask) {
    static_assert(sizeof(Mask) == vector_bytes);
    return ~mask;
}

template <class Real>
CIRCUITNN_INLINE inline Real select(const MaskOf<Real>& mask, const Real& yes, const Real& no) {
    return mask ? yes : no;
}

template <class Real>
CIRCUITNN_INLINE inline Real absolute(const Real& x) {
    if constexpr (Traits<Real>::lanes == 1)
        return x < 0 ? -x : x;
    else
        return select<Real>(x < Real{}, -x, x);
}

template <class Real>
CIRCUITNN_INLINE inline Real maximum(const Real& a, const Real& b) {
    return select<Real>(a > b, a, b);
}
template <class Real>
CIRCUITNN_INLINE inline Real minimum(const Real& a, const Real& b) {
    return select<Real>(a < b, a, b);
}

template <class Real>
CIRCUITNN_INLINE inline Real signum(const Real& x) {
    const Real zero{}, one = all_lanes<Real>(1);
    return select<Real>(x > zero, one, select<Real>(x < zero, -one, zero));
}

template <class Real>
CIRCUITNN_INLINE inline Real square_root(const Real& x) {
    Real root{};
    for (int lane = 0; lane < Traits<Real>::lanes; ++lane)
        set_lane(root, lane, ScalarOf<Real>(sqrt(get_lane(x, lane))));
    return root;
}

// exp(x) for -708 <= x <= 709 (float: -87 to 88). Cody-Waite reduction to |r| <= ln(2)/2 and a Taylor polynomial: in
// double of degree 12 (remainder 1.7e-16, 4 units in the last place), in float of degree 7.
template <class Real>
CIRCUITNN_INLINE inline Real exponential_within(const Real& x) {
    using S = ScalarOf<Real>;
    using Bits = typename Traits<Real>::Unsigned;
    constexpr bool wide = sizeof(S) == 8;
    constexpr S shift = wide ? S(6755399441055744.0) : S(12582912.0);  // 1.5 * 2^52 or 2^23: rounds to an integer
    const Real t = x * S(1.4426950408889634074) + shift;
    const Real k = t - shift;
    // 2^k, whose exponent is in the low bits of t.
    Bits bits;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits << (wide ? 52 : 23)) + (wide ? int64_t(0x3ff) << 52 : int64_t(0x7f) << 23);
    Real scale;
    memcpy(&scale, &bits, sizeof scale);
    if constexpr (wide) {
        const Real r = (x - k * S(6.93147180369123816490e-01)) - k * S(1.90821492927058770002e-10);
        const Real r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
        const Real low = (S(1) + r) + r2 * (S(1.0 / 2) + r * S(1.0 / 6)) +
                         r4 * ((S(1.0 / 24) + r * S(1.0 / 120)) + r2 * (S(1.0 / 720) + r * S(1.0 / 5040)));
        const Real high = (S(1.0 / 40320) + r * S(1.0 / 362880)) + r2 * (S(1.0 / 3628800) + r * S(1.0 / 39916800)) +
                          r4 * S(1.0 / 479001600);
        return (low + r8 * high) * scale;
    } else {
        const Real r = (x - k * S(0.693359375)) + k * S(2.12194440e-4);
        const Real r2 = r * r, r4 = r2 * r2;
        return ((S(1) + r) + r2 * (S(1.0 / 2) + r * S(1.0 / 6)) +
                r4 * ((S(1.0 / 24) + r * S(1.0 / 120)) + r2 * (S(1.0 / 720) + r * S(1.0 / 5040)))) *
               scale;
    }
}

// exp(x) up to exp(highest); far below it stays at the smallest normal number, so nothing becomes denormal.
template <class Real>
CIRCUITNN_INLINE inline Real exponential_up_to(const Real& x, ScalarOf<Real> highest) {
    constexpr bool wide = sizeof(ScalarOf<Real>) == 8;
    const Real bottom = all_lanes<Real>(wide ? -708 : -87), top = all_lanes<Real>(highest);
    // Written so that what is not a number stays that.
    const Real raised = select<Real>(x < bottom, bottom, x);
    return exponential_within<Real>(select<Real>(raised > top, top, raised));
}

template <class Real>
CIRCUITNN_INLINE inline Real exponential(const Real& x) {
    return exponential_up_to(x, sizeof(ScalarOf<Real>) == 8 ? 709 : 88);
}

// ln(x) of a finite x, for what is not positive that of the smallest positive normal number; not a number stays that. x = 2^k m with m in [sqrt(1/2), sqrt(2)),
// ln(m) = 2 artanh(s) with s = (m - 1) / (m + 1) as its odd series, |s| <= 0.172.
template <class Real>
CIRCUITNN_INLINE inline Real logarithm(const Real& x) {
    using S = ScalarOf<Real>;
    using Bits = typename Traits<Real>::Bits;
    constexpr bool wide = sizeof(S) == 8;
    constexpr int mantissa = wide ? 52 : 23;
    constexpr auto root_half = wide ? int64_t(0x3fe6a09e667f3bcd) : int64_t(0x3f3504f3);
    constexpr S smallest = wide ? S(2.2250738585072014e-308) : S(1.17549435e-38f);
    const Real positive = select<Real>(x < all_lanes<Real>(smallest), all_lanes<Real>(smallest), x);
    Bits bits;
    memcpy(&bits, &positive, sizeof bits);
    const Bits exponent = (bits - decltype(bits - bits)(Bits{} + root_half)) >> mantissa;
    bits -= exponent << mantissa;
    Real m, k;
    memcpy(&m, &bits, sizeof m);
    if constexpr (Traits<Real>::lanes == 1)
        k = S(exponent);
    else
        k = __builtin_convertvector(exponent, Real);
    const Real s = (m - S(1)) / (m + S(1)), z = s * s, z2 = z * z, z4 = z2 * z2;
    Real series = (S(1) + z * S(1.0 / 3)) + z2 * (S(1.0 / 5) + z * S(1.0 / 7));
    if constexpr (wide)
        series += z4 * ((S(1.0 / 9) + z * S(1.0 / 11)) + z2 * (S(1.0 / 13) + z * S(1.0 / 15)) +
                        z4 * ((S(1.0 / 17) + z * S(1.0 / 19)) + z2 * S(1.0 / 21)));
    return select<Real>(x == x, k * S(0.693147180559945309417) + S(2) * s * series, x);
}

// x^y for x > 0; 0 (but for rounding) for x <= 0 and y > 0.
template <class Real, class Exponent>
CIRCUITNN_INLINE inline Real power(const Real& x, const Exponent& y) {
    return exponential<Real>(logarithm(x) * y);
}

// ln(1 + exp(x)), to full relative precision on both sides: ln(u) of the rounded u = 1 + t and what the rounding lost.
template <class Real>
CIRCUITNN_INLINE inline Real softplus(const Real& x) {
    using S = ScalarOf<Real>;
    const Real t = exponential<Real>(-absolute(x)), u = S(1) + t;
    return maximum(x, Real{}) + (logarithm<Real>(u) + (t - (u - S(1))) / u);
}

// 1 / (1 + exp(-x)), the slope of softplus.
template <class Real>
CIRCUITNN_INLINE inline Real logistic(const Real& x) {
    using S = ScalarOf<Real>;
    const Real t = exponential<Real>(-absolute(x)), one = all_lanes<Real>(1);
    return select<Real>(x < Real{}, t, one) / (S(1) + t);
}

// These come in behavioural sources only, and seldom: the C library's, lane by lane.
template <class Real>
CIRCUITNN_INLINE inline Real sine(Real x) {
    for (int lane = 0; lane < Traits<Real>::lanes; ++lane) set_lane(x, lane, ScalarOf<Real>(sin(get_lane(x, lane))));
    return x;
}
template <class Real>
CIRCUITNN_INLINE inline Real cosine(Real x) {
    for (int lane = 0; lane < Traits<Real>::lanes; ++lane) set_lane(x, lane, ScalarOf<Real>(cos(get_lane(x, lane))));
    return x;
}

template <class Real>
CIRCUITNN_INLINE inline Real hyperbolic_tangent(const Real& x) {
    using S = ScalarOf<Real>;
    const Real e = exponential<Real>(absolute(x) * S(-2));
    const Real magnitude = (S(1) - e) / (S(1) + e);
    return select<Real>(x < Real{}, -magnitude, magnitude);
}

// The two halves of the limited exponential in which device laws are written.
constexpr int exponent_limit = 80;
template <class Real>
CIRCUITNN_INLINE inline Real clamped_exp(const Real& x) {
    return exponential_up_to(x, exponent_limit);
}
template <class Real>
CIRCUITNN_INLINE inline Real ramp(const Real& x) {
    const Real limit = all_lanes<Real>(exponent_limit);
    return select<Real>(x > limit, x - limit, Real{});
}

// SPICE's junction limiting (pnjlim) in the junction's own coordinate. `symmetric`: exponential in both directions.
template <bool symmetric, class Real>
CIRCUITNN_INLINE inline Real limit_junction(const Real& before, const Real& after, const Real& slope, const Real& critical) {
    using S = ScalarOf<Real>;
    using Mask = MaskOf<Real>;
    const Real zero{};
    const Mask mirrored = symmetric ? after < zero : zero > zero;
    const Real from = select<Real>(mirrored, -before, before), to = select<Real>(mirrored, -after, after);
    const Real change = (to - from) * slope;
    const Mask steep = (to > critical) & (absolute(change) > all_lanes<Real>(2));
    if (!any(steep)) return after;
    const Real growth = change + S(1);
    const Real onward = select<Real>(growth > zero, from + logarithm(growth) / slope, critical);
    const Real limited = select<Real>(from > zero, onward, logarithm<Real>(to * slope) / slope);
    return select<Real>(steep, select<Real>(mirrored, -limited, limited), after);
}

template <bool first, class A, class B>
struct Pick {
    using Type = A;
};
template <class A, class B>
struct Pick<false, A, B> {
    using Type = B;
};

constexpr int at_least_one(int n) { return n > 0 ? n : 1; }

// How a column of R numbers lies in registers: of one recording several rows in one, of several recordings one row each.
typedef double FourDoubles __attribute__((vector_size(32)));
typedef float EightFloats __attribute__((vector_size(32)));
template <class Real, int R>
struct Pack {
    using Type = Real;
    static constexpr int rows = 1;
};
template <int R>
struct Pack<double, R> {
    using Type = typename Pick<(R > 8), DoubleLanes, typename Pick<(R > 2), FourDoubles, double>::Type>::Type;
    static constexpr int rows = sizeof(Type) / sizeof(double);
};
template <int R>
struct Pack<float, R> {
    using Type = typename Pick<(R > 8), FloatLanes, typename Pick<(R > 2), EightFloats, float>::Type>::Type;
    static constexpr int rows = sizeof(Type) / sizeof(float);
};

// A column of R numbers, in whole packs; what pads it stays 0. `get` and `set` leave it in registers where the row is
// known to the compiler; operator[] is for columns that live in memory.
template <class Real, int R>
struct Column {
    using Part = typename Pack<Real, R>::Type;
    static constexpr int rows = Pack<Real, R>::rows, parts = at_least_one((R + rows - 1) / rows);
    Part part[parts];

    CIRCUITNN_INLINE Real& operator[](int row) { return reinterpret_cast<Real*>(part)[row]; }
    CIRCUITNN_INLINE const Real& operator[](int row) const { return reinterpret_cast<const Real*>(part)[row]; }

    CIRCUITNN_INLINE Real get(int row) const {
        if constexpr (rows == 1)
            return part[row];
        else
            return part[row / rows][row % rows];
    }
    CIRCUITNN_INLINE void set(int row, const Real& value) {
        if constexpr (rows == 1)
            part[row] = value;
        else
            part[row / rows][row % rows] = value;
    }

    CIRCUITNN_INLINE void clear() {
        for (int k = 0; k < parts; ++k) part[k] = Part{};
    }
    CIRCUITNN_INLINE void add(const Column& column) {
        for (int k = 0; k < parts; ++k) part[k] += column.part[k];
    }
    CIRCUITNN_INLINE void add(const Column& column, const Real& factor) {
        CIRCUITNN_UNROLL
        for (int k = 0; k < parts; ++k) part[k] += column.part[k] * factor;
    }
    CIRCUITNN_INLINE Real dot(const Column& other) const {
        Part sum = part[0] * other.part[0];
        for (int k = 1; k < parts; ++k) sum += part[k] * other.part[k];
        if constexpr (rows == 1) {
            return sum;
        } else {
            Real total = sum[0];
            for (int k = 1; k < rows; ++k) total += sum[k];
            return total;
        }
    }
    // Whether in any row below `row` the magnitude is more than ten times `pivot`; for lanes, in which of them.
    CIRCUITNN_INLINE MaskOf<Real> exceeds(int row, const Real& pivot) const {
        if constexpr (rows == 1) {
            Real largest{};
            CIRCUITNN_UNROLL
            for (int k = row + 1; k < R; ++k) largest = maximum(largest, absolute(part[k]));
            return largest * ScalarOf<Real>(0.1) > pivot;
        } else {
            Part largest{};
            CIRCUITNN_UNROLL
            for (int k = (row + 1) / rows; k < parts; ++k) {
                Part magnitude = part[k] < 0 ? -part[k] : part[k];
                CIRCUITNN_UNROLL
                for (int j = 0; j < rows; ++j)
                    if (k * rows + j <= row) magnitude[j] = 0;
                largest = magnitude > largest ? magnitude : largest;
            }
            Real most = largest[0];
            CIRCUITNN_UNROLL
            for (int j = 1; j < rows; ++j) most = maximum<Real>(most, largest[j]);
            return most * ScalarOf<Real>(0.1) > pivot;
        }
    }
};

// An N x N matrix J by columns, then its factors: the explicit inverse up to N = 2, else Gauss-Jordan elimination with
// threshold pivoting, each lane its own. A singular matrix gives solutions that are not finite.
template <int N, class Real>
struct Factors {
    using Mask = MaskOf<Real>;
    Column<Real, N> column[at_least_one(N)];  // J; then the inverse, or what each step of the elimination subtracts
    Column<Real, N> inverse;                  // one over each pivot
    Mask swapped[at_least_one(N)][at_least_one(N)];
    bool pivoted;

    // Factorises, and b becomes the solution of J b' = b.
    CIRCUITNN_INLINE void factorise(Column<Real, N>& b) {
        if constexpr (N == 1) {
            // The division does not wait for the inverse, which only the next sample needs.
            b.set(0, b.get(0) / column[0].get(0));
            factorise();
        } else if constexpr (N == 2) {
            factorise();
            solve(b);
        } else {
            eliminate(b);
            for (int k = 0; k < Column<Real, N>::parts; ++k) b.part[k] *= inverse.part[k];
        }
    }

    CIRCUITNN_INLINE void factorise() {
        using S = ScalarOf<Real>;
        if constexpr (N == 1) {
            column[0].set(0, S(1) / column[0].get(0));
        } else if constexpr (N == 2) {
            const Real a = column[0].get(0), b = column[1].get(0), c = column[0].get(1), d = column[1].get(1);
            const Real one_over = S(1) / (a * d - b * c);
            column[0].set(0, d * one_over);
            column[1].set(0, -b * one_over);
            column[0].set(1, -c * one_over);
            column[1].set(1, a * one_over);
        } else {
            Column<Real, N> none;
            none.clear();
            eliminate(none);
        }
    }

    // b becomes the solution of J b' = b.
    CIRCUITNN_INLINE void solve(Column<Real, N>& b) const {
        if constexpr (N == 1) {
            b.set(0, b.get(0) * column[0].get(0));
        } else if constexpr (N == 2) {
            const Real first = column[0].get(0) * b.get(0) + column[1].get(0) * b.get(1);
            b.set(1, column[0].get(1) * b.get(0) + column[1].get(1) * b.get(1));
            b.set(0, first);
        } else {
            CIRCUITNN_UNROLL
            for (int k = 0; k < N; ++k) {
                if (pivoted)
                    for (int row = k + 1; row < N; ++row) exchange(swapped[k][row], b, k, row);
                b.add(column[k], -b.get(k));
            }
            for (int k = 0; k < Column<Real, N>::parts; ++k) b.part[k] *= inverse.part[k];
        }
    }

    // The same for several right-hand sides of one recording, side by side in a vector.
    template <class Vector>
    CIRCUITNN_INLINE void solve_all(Vector* b) const {
        if constexpr (N == 1) {
            b[0] *= column[0].get(0);
        } else if constexpr (N == 2) {
            const Vector first = column[0].get(0) * b[0] + column[1].get(0) * b[1];
            b[1] = column[0].get(1) * b[0] + column[1].get(1) * b[1];
            b[0] = first;
        } else {
            for (int k = 0; k < N; ++k) {
                if (pivoted)
                    for (int row = k + 1; row < N; ++row)
                        if (swapped[k][row]) {
                            const Vector kept = b[k];
                            b[k] = b[row];
                            b[row] = kept;
                        }
                for (int row = 0; row < N; ++row)
                    if (row != k) b[row] -= column[k][row] * b[k];
            }
            for (int k = 0; k < N; ++k) b[k] *= inverse[k];
        }
    }

    // b becomes the solution of J^T b' = b.
    CIRCUITNN_INLINE void solve_transposed(Column<Real, N>& b) const {
        if constexpr (N == 1) {
            b.set(0, b.get(0) * column[0].get(0));
        } else if constexpr (N == 2) {
            const Real first = column[0].get(0) * b.get(0) + column[0].get(1) * b.get(1);
            b.set(1, column[1].get(0) * b.get(0) + column[1].get(1) * b.get(1));
            b.set(0, first);
        } else {
            for (int k = 0; k < Column<Real, N>::parts; ++k) b.part[k] *= inverse.part[k];
            CIRCUITNN_UNROLL
            for (int k = N - 1; k >= 0; --k) {
                b.set(k, b.get(k) - column[k].dot(b));
                if (pivoted)
                    for (int row = N - 1; row > k; --row) exchange(swapped[k][row], b, k, row);
            }
        }
    }

  private:
    CIRCUITNN_INLINE void eliminate(Column<Real, N>& b) {
        using S = ScalarOf<Real>;
        pivoted = false;
        CIRCUITNN_UNROLL
        for (int k = 0; k < N; ++k) {
            // A pivot that is a good part of the largest entry below it is good enough.
            const Mask small = column[k].exceeds(k, absolute<Real>(column[k].get(k)));
            if (any(small)) {
                // On copies, so that the usual way stays in registers.
                Factors copy = *this;
                Column<Real, N> right = b;
                copy.pivot(k, small, right);
                *this = copy;
                b = right;
            }
            const Real one_over = S(1) / column[k].get(k);
            inverse.set(k, one_over);
            for (int part = 0; part < Column<Real, N>::parts; ++part) column[k].part[part] *= one_over;
            column[k].set(k, Real{});
            CIRCUITNN_UNROLL
            for (int j = k + 1; j < N; ++j) column[j].add(column[k], -column[j].get(k));
            b.add(column[k], -b.get(k));
        }
    }

    // Each row below that has a larger pivot changes places with row k, where that is needed.
    __attribute__((noinline, cold)) void pivot(int k, const Mask& small, Column<Real, N>& b) {
        if (!pivoted)
            for (auto& row : swapped)
                for (auto& mask : row) mask = Mask{};
        pivoted = true;
        for (int row = k + 1; row < N; ++row) {
            const Mask larger = small & (absolute(column[k][row]) > absolute(column[k][k]));
            swapped[k][row] = larger;
            for (int j = k; j < N; ++j) exchange(larger, column[j], k, row);
            exchange(larger, b, k, row);
        }
    }

    static void exchange(const Mask& mask, Column<Real, N>& column, int k, int row) {
        const Real upper = column.get(k), lower = column.get(row);
        column.set(k, select<Real>(mask, lower, upper));
        column.set(row, select<Real>(mask, upper, lower));
    }
};

}  // namespace circuitnn
