// The arithmetic that the run-time core needs: exponential, junction limiting, small dense linear algebra.
#pragma once

// C headers only: a toolchain without a C++ standard library suffices.
#include <math.h>
#include <stdint.h>
#include <string.h>

namespace circuitnn {

// exp(x) for x <= 709, to 4 units in the last place; below -708 it stays at exp(-708), so nothing becomes denormal.
// Cody-Waite reduction to |r| <= ln(2)/2 and a Taylor polynomial of degree 12, whose remainder is 1.7e-16.
inline double exponential(double x) {
    x = x < -708.0 ? -708.0 : x;
    constexpr double shift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer in the low bits
    const double t = x * 1.4426950408889634074 + shift;
    const double k = t - shift;
    const double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
    const double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const double low = (1.0 + r) + r2 * (1.0 / 2 + r * (1.0 / 6)) +
                       r4 * ((1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040)));
    const double high = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800)) +
                        r4 * (1.0 / 479001600);
    const double value = low + r8 * high;
    uint64_t bits, scale;
    memcpy(&bits, &t, sizeof bits);
    memcpy(&scale, &value, sizeof scale);
    scale += bits << 52;
    double result;
    memcpy(&result, &scale, sizeof result);
    return result;
}

// The two halves of the limited exponential in which device laws are written.
constexpr double exponent_limit = 80.0;
inline double clamped_exp(double x) { return exponential(x > exponent_limit ? exponent_limit : x); }
inline double ramp(double x) { return x > exponent_limit ? x - exponent_limit : 0.0; }

// SPICE's junction limiting in the junction's own coordinate.
inline double limit_junction(double before, double after, double slope, double critical, bool symmetric) {
    const double sign = symmetric && after < 0.0 ? -1.0 : 1.0;
    before *= sign;
    after *= sign;
    if (after > critical && fabs(after - before) * slope > 2.0) {
        if (before > 0.0) {
            const double growth = 1.0 + (after - before) * slope;
            after = growth > 0.0 ? before + log(growth) / slope : critical;
        } else {
            after = log(after * slope) / slope;
        }
    }
    return sign * after;
}

constexpr int at_least_one(int n) { return n > 0 ? n : 1; }

// LU factorisation with partial pivoting of an N x N matrix.
template <int N>
struct Factors {
    double lu[at_least_one(N)][at_least_one(N)];
    int pivot[at_least_one(N)];

    bool factorise() {
        for (int k = 0; k < N; ++k) {
            int best = k;
            for (int row = k + 1; row < N; ++row)
                if (fabs(lu[row][k]) > fabs(lu[best][k])) best = row;
            pivot[k] = best;
            if (!(fabs(lu[best][k]) > 0.0)) return false;
            if (best != k)
                for (int column = 0; column < N; ++column) {
                    const double kept = lu[k][column];
                    lu[k][column] = lu[best][column];
                    lu[best][column] = kept;
                }
            const double inverse = 1.0 / lu[k][k];
            lu[k][k] = inverse;
            for (int row = k + 1; row < N; ++row) {
                const double factor = lu[row][k] *= inverse;
                for (int column = k + 1; column < N; ++column) lu[row][column] -= factor * lu[k][column];
            }
        }
        return true;
    }

    // b becomes the solution of J b' = b. Number: double, or a vector of right-hand sides side by side.
    template <class Number>
    void solve(Number* b) const {
        for (int k = 0; k < N; ++k)
            if (pivot[k] != k) {
                const Number kept = b[k];
                b[k] = b[pivot[k]];
                b[pivot[k]] = kept;
            }
        for (int row = 1; row < N; ++row)
            for (int k = 0; k < row; ++k) b[row] -= lu[row][k] * b[k];
        for (int row = N - 1; row >= 0; --row) {
            for (int k = row + 1; k < N; ++k) b[row] -= lu[row][k] * b[k];
            b[row] *= lu[row][row];
        }
    }

    // b becomes the solution of J^T b' = b.
    void solve_transposed(double* b) const {
        for (int row = 0; row < N; ++row) {
            for (int k = 0; k < row; ++k) b[row] -= lu[k][row] * b[k];
            b[row] *= lu[row][row];
        }
        for (int row = N - 2; row >= 0; --row)
            for (int k = row + 1; k < N; ++k) b[row] -= lu[k][row] * b[k];
        for (int k = N - 1; k >= 0; --k)
            if (pivot[k] != k) {
                const double kept = b[k];
                b[k] = b[pivot[k]];
                b[pivot[k]] = kept;
            }
    }
};

// out[R] += matrix[R, C] in[C]
template <int R, int C>
inline void multiply_add(double* out, const double* matrix, const double* in) {
    for (int row = 0; row < R; ++row) {
        double sum = out[row];
        for (int column = 0; column < C; ++column) sum += matrix[row * C + column] * in[column];
        out[row] = sum;
    }
}

}  // namespace circuitnn
