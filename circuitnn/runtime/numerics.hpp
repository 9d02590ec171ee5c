// The arithmetic that the run-time core needs, for one recording (double or float) or for several side by side in the
// lanes of a vector register: elementary functions and junction limiting.
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

// x = k ln(2) + r with |r| <= ln(2)/2 (Cody and Waite) for |x| within what 2^k can hold -> r; scale: 2^k.
template <class Real>
CIRCUITNN_INLINE inline Real reduced_exponent(const Real& x, Real& scale) {
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
    memcpy(&scale, &bits, sizeof scale);
    if constexpr (wide)
        return (x - k * S(6.93147180369123816490e-01)) - k * S(1.90821492927058770002e-10);
    else
        return (x - k * S(0.693359375)) + k * S(2.12194440e-4);
}

// start + r^2/2! + r^3/3! + ... for |r| <= ln(2)/2: in double of degree 12 (remainder 1.7e-16, 4 units in the last place
// of exp), in float of degree 7. With start = 1 + r it is exp(r), with start = r it is exp(r) - 1.
template <class Real>
CIRCUITNN_INLINE inline Real exponential_series(const Real& start, const Real& r) {
    using S = ScalarOf<Real>;
    const Real r2 = r * r, r4 = r2 * r2;
    const Real low = start + r2 * (S(1.0 / 2) + r * S(1.0 / 6)) +
                     r4 * ((S(1.0 / 24) + r * S(1.0 / 120)) + r2 * (S(1.0 / 720) + r * S(1.0 / 5040)));
    if constexpr (sizeof(S) == 8) {
        const Real high = (S(1.0 / 40320) + r * S(1.0 / 362880)) + r2 * (S(1.0 / 3628800) + r * S(1.0 / 39916800)) +
                          r4 * S(1.0 / 479001600);
        return low + r4 * r4 * high;
    } else {
        return low;
    }
}

// exp(x) for -708 <= x <= 709 (float: -87 to 88).
template <class Real>
CIRCUITNN_INLINE inline Real exponential_within(const Real& x) {
    Real scale;
    const Real r = reduced_exponent<Real>(x, scale);
    return exponential_series<Real>(ScalarOf<Real>(1) + r, r) * scale;
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
    if constexpr (Traits<Real>::lanes == 1)
        bits -= Bits(typename Traits<Real>::Unsigned(exponent) << mantissa);
    else
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
CIRCUITNN_INLINE inline Real arctangent(Real x) {
    for (int lane = 0; lane < Traits<Real>::lanes; ++lane) set_lane(x, lane, ScalarOf<Real>(atan(get_lane(x, lane))));
    return x;
}
template <class Real>
CIRCUITNN_INLINE inline Real inverse_sinh(Real x) {
    for (int lane = 0; lane < Traits<Real>::lanes; ++lane) set_lane(x, lane, ScalarOf<Real>(asinh(get_lane(x, lane))));
    return x;
}

// exp(x) - 1, precise also where it is small, for x held within what a tanh(x / 2) or a logistic(x) of 1 takes: up to four
// of them can be multiplied.
template <class Real>
CIRCUITNN_INLINE inline Real bounded_growth(const Real& x) {
    using S = ScalarOf<Real>;
    const Real top = all_lanes<Real>(sizeof(S) == 8 ? 40 : 20);
    // Written so that what is not a number stays that.
    const Real above = select<Real>(x < -top, -top, x), bounded = select<Real>(above > top, top, above);
    Real scale;
    const Real r = reduced_exponent<Real>(bounded, scale);
    return scale * exponential_series<Real>(r, r) + (scale - S(1));
}

template <class Real>
CIRCUITNN_INLINE inline Real hyperbolic_tangent(const Real& x) {
    using S = ScalarOf<Real>;
    const Real growth = bounded_growth<Real>(x + x);
    return growth / (growth + S(2));
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

// x between 0 and 1, else the nearer of them.
template <class Real>
CIRCUITNN_INLINE inline Real unit_clip(const Real& x) {
    return minimum<Real>(maximum<Real>(x, Real{}), all_lanes<Real>(1));
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

// The same for a breakdown, exponential in -(w + voltage). A step that is not limited keeps every bit.
template <class Real>
CIRCUITNN_INLINE inline Real limit_breakdown(const Real& before, const Real& after, const Real& slope, const Real& critical,
                                             const Real& voltage) {
    const Real to = -after - voltage, limited = limit_junction<false, Real>(-before - voltage, to, slope, critical);
    return select<Real>(limited < to, -limited - voltage, after);
}

}  // namespace circuitnn
