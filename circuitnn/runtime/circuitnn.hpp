// circuitnn run-time core: one reduced circuit, one sample after another, in real time.
//
// A circuit is a type with
//     static constexpr int n_x, n_u, n_y;        states, inputs, outputs
//     using Devices = circuitnn::DeviceList<...>; its nonlinear devices, in port order
//     static constexpr int free_ports[];         positions of f within (v[0..n), i[0..n))
//     static constexpr bool plain;               f = i, the classic DK-method, so P = I
// and its numbers are one array `theta`, laid out as in `Layout`:
//     P v + Q i = R_x x + R_u (u, 1)             solved for the devices' variables w, v = V(w), i = I(w)
//     y  = D x + E (u, 1) + F f
//     x' = A x + B (u, 1) + C f
// The last column of B, E and R_u multiplies a constant 1 and carries the supplies. C++17, no dependency, no allocation.
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

// A list of laws with the position of each one's first port and first coefficient.
template <class... Laws>
struct DeviceList {
    static constexpr int ports = (0 + ... + Laws::ports);
    static constexpr int coefficients = (0 + ... + Laws::coefficients);
    static constexpr int widest = [] {
        int most = 1;
        ((most = Laws::ports > most ? Laws::ports : most), ...);
        return most;
    }();

    // visit(law, first port, first coefficient)
    template <class Visit>
    static inline void each(Visit&& visit) {
        [[maybe_unused]] int port = 0, coefficient = 0;
        ((visit(Laws{}, port, coefficient), port += Laws::ports, coefficient += Laws::coefficients), ...);
    }
};

template <class Circuit>
struct Layout {
    static constexpr int X = Circuit::n_x, U = Circuit::n_u + 1, Y = Circuit::n_y, N = Circuit::Devices::ports;
    static constexpr int A = 0, B = A + X * X, C = B + X * U, D = C + X * N, E = D + Y * X, F = E + Y * U;
    static constexpr int R_x = F + Y * N, R_u = R_x + N * X, P = R_u + N * U, Q = P + N * N, K = Q + N * N;
    static constexpr int size = K + Circuit::Devices::coefficients;
};

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

struct Options {
    double tolerance = 1e-9;  // largest last Newton step, in volt, relative to 1 + |w|
    int max_iterations = 60;
    double smallest_part = 1e-6;  // the continuation gives up below this part of the step
};

// What a run had to report: iterations in all, samples that did not converge, and the first few of them as
// (sample, port with the largest last step).
struct Statistics {
    static constexpr int listed = 8;
    int64_t iterations = 0, failures = 0;
    int64_t samples[listed] = {}, ports[listed] = {};

    void fail(int64_t sample, int port) {
        if (failures < listed) {
            samples[failures] = sample;
            ports[failures] = port;
        }
        ++failures;
    }
};

// The nonlinear system of one sample and its solution.
template <class Circuit>
struct Solver {
    using L = Layout<Circuit>;
    using Devices = typename Circuit::Devices;
    static constexpr int N = L::N, M = Devices::widest, slots = at_least_one(N);

    const double* theta;
    Options options;
    double v[slots], i[slots];        // port voltages and currents at w
    double dv[slots * M], di[slots * M];  // their Jacobians, one block of columns a device
    Factors<N> factors;
    double w[slots], r[slots];  // last solution and its right-hand side
    int worst = 0;              // port with the largest last step

    explicit Solver(const double* theta_, const Options& options_ = {}) : theta(theta_), options(options_) {}

    void evaluate(const double* at) {
        Devices::each([&](auto law, int p, int c) {
            law.evaluate(at + p, theta + L::K + c, v + p, i + p, dv + p * M, di + p * M, M);
        });
    }

    // J = P V' + Q I'
    bool linearise() {
        const double *P = theta + L::P, *Q = theta + L::Q;
        Devices::each([&](auto law, int p, int) {
            constexpr int n = decltype(law)::ports;
            for (int row = 0; row < N; ++row)
                for (int column = 0; column < n; ++column) {
                    double sum = 0.0;
                    for (int k = 0; k < n; ++k) {
                        if constexpr (!decltype(law)::voltage_is_variable && !Circuit::plain)
                            sum += P[row * N + p + k] * dv[(p + k) * M + column];
                        sum += Q[row * N + p + k] * di[(p + k) * M + column];
                    }
                    if constexpr (decltype(law)::voltage_is_variable && !Circuit::plain)
                        sum += P[row * N + p + column];
                    factors.lu[row][p + column] = sum;
                }
            if constexpr (Circuit::plain)
                for (int k = 0; k < n; ++k)
                    for (int column = 0; column < n; ++column) factors.lu[p + k][p + column] += dv[(p + k) * M + column];
        });
        return factors.factorise();
    }

    // out = P v + Q i
    void left_side(double* out) const {
        for (int k = 0; k < N; ++k) out[k] = Circuit::plain ? v[k] : 0.0;
        if constexpr (!Circuit::plain) multiply_add<N, N>(out, theta + L::P, v);
        multiply_add<N, N>(out, theta + L::Q, i);
    }

    void limit(const double* before, double* after) const {
        Devices::each([&](auto law, int p, int c) { law.limit(before + p, after + p, theta + L::K + c); });
    }

    // Takes w as a solution, and prepares to go on from it.
    bool start(const double* from) {
        for (int k = 0; k < N; ++k) w[k] = from[k];
        evaluate(w);
        left_side(r);
        return linearise();
    }

    // Newton's method for right-hand side `target`, from `from` (overwritten by the solution).
    bool newton(const double* target, double* from, Statistics& statistics) {
        double step[slots], next[slots];
        for (int iteration = 0; iteration < options.max_iterations; ++iteration) {
            ++statistics.iterations;
            evaluate(from);
            left_side(step);
            for (int k = 0; k < N; ++k) step[k] -= target[k];
            if (!linearise()) return false;
            factors.solve(step);
            for (int k = 0; k < N; ++k) next[k] = from[k] - step[k];
            limit(from, next);
            double largest = 0.0;
            bool finite = true;
            for (int k = 0; k < N; ++k) {
                step[k] = next[k] - from[k];
                const double size = fabs(step[k]) / (1.0 + fabs(from[k]));
                finite = finite && isfinite(size);
                if (size > largest) {
                    largest = size;
                    worst = k;
                }
                from[k] = next[k];
            }
            if (!finite) return false;
            if (largest < options.tolerance) {
                // The last step is too small for its square to matter: carry v and i along to first order.
                Devices::each([&](auto law, int p, int) {
                    constexpr int n = decltype(law)::ports;
                    for (int k = p; k < p + n; ++k)
                        for (int column = 0; column < n; ++column) {
                            v[k] += dv[k * M + column] * step[p + column];
                            i[k] += di[k * M + column] * step[p + column];
                        }
                });
                return true;
            }
        }
        return false;
    }

    // Solves for right-hand side `target`; w, v, i, factors then hold the solution. On failure w stays where it was.
    bool solve(const double* target, Statistics& statistics) {
        double guess[slots];
        for (int k = 0; k < N; ++k) guess[k] = target[k] - r[k];
        factors.solve(guess);  // extrapolate from the last solution with its Jacobian (Holters and Zoelzer 2011)
        for (int k = 0; k < N; ++k) guess[k] += w[k];
        limit(w, guess);
        if (newton(target, guess, statistics)) {
            accept(target, guess);
            return true;
        }
        return follow(target, statistics);
    }

    // Homotopy: moves the right-hand side to `target` in parts, halved where Newton's method fails.
    bool follow(const double* target, Statistics& statistics) {
        double from[slots], between[slots], guess[slots];
        for (int k = 0; k < N; ++k) from[k] = r[k];
        double done = 0.0, part = 0.5;
        while (done < 1.0) {
            if (done + part > 1.0) part = 1.0 - done;
            const double goal = done + part;
            for (int k = 0; k < N; ++k) {
                between[k] = goal >= 1.0 ? target[k] : from[k] + goal * (target[k] - from[k]);
                guess[k] = w[k];
            }
            if (newton(between, guess, statistics)) {
                accept(between, guess);
                done = goal;
                part *= 2.0;
            } else if ((part *= 0.5) < options.smallest_part) {
                double last[slots];
                for (int k = 0; k < N; ++k) last[k] = w[k];
                start(last);
                return false;
            }
        }
        return true;
    }

    void accept(const double* target, const double* solution) {
        for (int k = 0; k < N; ++k) {
            w[k] = solution[k];
            r[k] = target[k];
        }
    }

    void free_quantities(double* f) const {
        for (int k = 0; k < N; ++k) {
            const int position = Circuit::free_ports[k];
            f[k] = position < N ? v[position] : i[position - N];
        }
    }
};

// The linear parts of one sample.
template <class Circuit>
struct Linear {
    using L = Layout<Circuit>;
    static constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N;

    // r = R_x x + R_u (u, 1)
    static void right_side(const double* theta, const double* state, const double* input, double* r) {
        for (int k = 0; k < N; ++k) r[k] = 0.0;
        multiply_add<N, X>(r, theta + L::R_x, state);
        multiply_add<N, U>(r, theta + L::R_u, input);
    }

    // y = D x + E (u, 1) + F f, then x becomes A x + B (u, 1) + C f
    static void advance(const double* theta, const double* input, const double* f, double* state, double* out) {
        double next[at_least_one(X)];
        for (int k = 0; k < Y; ++k) out[k] = 0.0;
        multiply_add<Y, X>(out, theta + L::D, state);
        multiply_add<Y, U>(out, theta + L::E, input);
        multiply_add<Y, N>(out, theta + L::F, f);
        for (int k = 0; k < X; ++k) next[k] = 0.0;
        multiply_add<X, X>(next, theta + L::A, state);
        multiply_add<X, U>(next, theta + L::B, input);
        multiply_add<X, N>(next, theta + L::C, f);
        for (int k = 0; k < X; ++k) state[k] = next[k];
    }
};

// Runs `length` samples. u [length, n_u]; x [n_x] and w [n_n]: in the start, out the end; y [length, n_y]. If xs
// [length, n_x] and ws [length, n_n] are given, they receive the state before each sample and its solution.
template <class Circuit>
void simulate(int64_t length, const double* u, double* x, double* w, const double* theta, double* y, double* xs,
              double* ws, Statistics& statistics, const Options& options) {
    using L = Layout<Circuit>;
    constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N;
    Solver<Circuit> solver(theta, options);
    solver.start(w);
    double input[U], r[at_least_one(N)], f[at_least_one(N)] = {}, state[at_least_one(X)];
    input[U - 1] = 1.0;
    for (int k = 0; k < X; ++k) state[k] = x[k];
    for (int64_t n = 0; n < length; ++n) {
        for (int k = 0; k < U - 1; ++k) input[k] = u[n * (U - 1) + k];
        if (xs)
            for (int k = 0; k < X; ++k) xs[n * X + k] = state[k];
        if constexpr (N > 0) {
            Linear<Circuit>::right_side(theta, state, input, r);
            if (!solver.solve(r, statistics)) statistics.fail(n, solver.worst);
            solver.free_quantities(f);
            if (ws)
                for (int k = 0; k < N; ++k) ws[n * N + k] = solver.w[k];
        }
        Linear<Circuit>::advance(theta, input, f, state, y + n * Y);
    }
    for (int k = 0; k < X; ++k) x[k] = state[k];
    for (int k = 0; k < N; ++k) w[k] = solver.w[k];
}

}  // namespace circuitnn
