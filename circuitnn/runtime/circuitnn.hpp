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

#include "numerics.hpp"

namespace circuitnn {

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
