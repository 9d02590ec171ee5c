// The TS-808 clipper of netlists/ts808_clipper.cir, reduced and written by hand: what a strong engineer ships for this
// one circuit. It shares nothing with the package. Volt, ampere, siemens and second throughout.
//
// Trapezoidal rule: a capacitor C is the conductance g = 2 C / T beside the history h of the step before,
//     i = g v - h,     h' = g v + i = 2 g v - h.
//
// Input high-pass, from u through C2 to p, R5 to ground; the op-amp takes no current:
//     g2 (u - p) - h2 = p / R5                         =>   p = (g2 u - h2) / (g2 + 1/R5)
// From the inverting input m through R4 to n1 and C3 to ground, the same current in both:
//     (m - n1) / R4 = g3 n1 - h3                       =>   n1 = (m/R4 + h3) / (g3 + 1/R4)
//     i3 = (m - n1) / R4                                       = s (g3 m - h3),   s = (1/R4) / (g3 + 1/R4)
// Feedback from m to out, v = m - out, through Rf = R6 + RD, C4 and the diodes:
//     i_f = v / Rf + g4 v - h4 + i_d(v),               i_d(v) = IS (exp(v / nVt) - exp(-v / nVt)) + 2 gmin v
// Op-amp of gain A: out = A (p - m) = m - v            =>   m = (v + A p) / (1 + A)
// Kirchhoff at m: i3 + i_f = 0, one equation in v:
//     G v + i_d(v) = b,   G = s g3 / (1 + A) + 1/Rf + g4,   b = s h3 + h4 - s g3 A / (1 + A) p
//
// It is solved by Newton's method from the previous solution, until a step is below 1e-9 V. A step is held below
// LIMIT, because the exponential would send a larger one far beyond the solution. `Extrapolated` first moves the
// previous solution along its tangent, dv = db / (G + i_d'), which saves one iteration of three.

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace {

constexpr double TOLERANCE = 1e-9;
constexpr double LIMIT = 0.1;
constexpr double TWO_GMIN = 2e-12;

// exp(x) and exp(-x) by the library.
struct Library {
    static void both(double x, double& up, double& down) {
        up = exp(x);
        down = 1.0 / up;
    }
};

// exp(x) and exp(-x) at once, for |x| < 700: x = k ln 2 + r, and the even and odd parts of exp(r) serve both signs.
// Taylor to degree 9 on |r| <= ln(2)/2: a relative error of 7e-12.
struct Polynomial {
    static double power_of_two(int64_t k) {
        const int64_t bits = (k + 1023) << 52;
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }

    static void both(double x, double& up, double& down) {
        const double shift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer, kept in the low bits
        const double shifted = x * 1.4426950408889634 + shift;
        const double whole = shifted - shift;
        const double r = (x - whole * 0.6931471805599453) - whole * 2.3190468138462996e-17;
        int64_t bits, origin;
        memcpy(&bits, &shifted, sizeof bits);
        memcpy(&origin, &shift, sizeof origin);
        const int64_t k = bits - origin;
        const double q = r * r, q2 = q * q;
        const double even = (1.0 + q * (1.0 / 2)) + q2 * ((1.0 / 24 + q * (1.0 / 720)) + q2 * (1.0 / 40320));
        const double odd = r * ((1.0 + q * (1.0 / 6)) + q2 * ((1.0 / 120 + q * (1.0 / 5040)) + q2 * (1.0 / 362880)));
        up = power_of_two(k) * (even + odd);
        down = power_of_two(-k) * (even - odd);
    }
};

template <class Exponential, bool Extrapolated>
int64_t clipper(int64_t steps, double rate, const double* u, double* y, const double* values) {
    const double C2 = values[0], R5 = values[1], R4 = values[2], C3 = values[3], Rf = values[4], C4 = values[5];
    const double IS = values[6], nVt = values[7], A = values[8];
    const double g2 = 2.0 * C2 * rate, g3 = 2.0 * C3 * rate, g4 = 2.0 * C4 * rate;
    const double rp = 1.0 / (g2 + 1.0 / R5), r3 = 1.0 / (g3 + 1.0 / R4), s = r3 / R4;
    const double G = s * g3 / (1.0 + A) + 1.0 / Rf + g4 + TWO_GMIN, from_p = s * g3 * A / (1.0 + A);
    const double slope = 1.0 / nVt, IS_slope = IS * slope;
    const double m_from_v = 1.0 / (1.0 + A), m_from_p = A / (1.0 + A), n1_from_m = r3 / R4;
    double h2 = 0.0, h3 = 0.0, h4 = 0.0, v = 0.0;
    double last_b = 0.0, dv_db = 0.0;
    int64_t iterations = 0;
    for (int64_t n = 0; n < steps; ++n) {
        const double p = (g2 * u[n] - h2) * rp;
        h2 = 2.0 * g2 * (u[n] - p) - h2;
        const double b = s * h3 + h4 - from_p * p;
        if (Extrapolated) {
            v += (b - last_b) * dv_db;
            last_b = b;
        }
        double step;
        do {
            double up, down;
            Exponential::both(slope * v, up, down);
            dv_db = 1.0 / (G + IS_slope * (up + down));
            step = (b - G * v - IS * (up - down)) * dv_db;
            step = step > LIMIT ? LIMIT : step < -LIMIT ? -LIMIT : step;
            v += step;
            ++iterations;
        } while (fabs(step) >= TOLERANCE);
        const double m = m_from_v * v + m_from_p * p;
        h3 = 2.0 * g3 * (n1_from_m * m + r3 * h3) - h3;
        h4 = 2.0 * g4 * v - h4;
        y[n] = m - v;
    }
    return iterations;
}

}  // namespace

extern "C" int64_t clipper_library(int64_t steps, double rate, const double* u, double* y, const double* values) {
    return clipper<Library, false>(steps, rate, u, y, values);
}

extern "C" int64_t clipper_polynomial(int64_t steps, double rate, const double* u, double* y, const double* values) {
    return clipper<Polynomial, false>(steps, rate, u, y, values);
}

extern "C" int64_t clipper_extrapolated(int64_t steps, double rate, const double* u, double* y, const double* values) {
    return clipper<Polynomial, true>(steps, rate, u, y, values);
}
