// Derivatives of circuitnn::simulate: reverse mode (adjoint) and forward mode (tangent), by the implicit function
// theorem at each sample: one small linear solve, no iteration.
#pragma once

#include "circuitnn.hpp"

namespace circuitnn {

template <int N>
struct Constant {
    static constexpr int value = N;
};

// Reverse mode. In: u, xs, ws, theta of the run; y_bar [length, n_y]; x_bar [n_x] of the final state.
// Out: u_bar [length, n_u], x_bar of the initial state, theta_bar [Layout::size].
template <class Circuit>
void adjoint(int64_t length, const double* u, const double* xs, const double* ws, const double* theta,
             const double* y_bar, double* x_bar, double* u_bar, double* theta_bar) {
    using L = Layout<Circuit>;
    using Devices = typename Circuit::Devices;
    constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, M = Devices::widest;
    constexpr int slots = at_least_one(N), states = at_least_one(X);
    Solver<Circuit> solver(theta);
    double gradient[L::size] = {};
    double input[U], f[slots] = {}, f_bar[slots], v_bar[slots], i_bar[slots], mu[slots] = {}, lambda[states], back[states];
    input[U - 1] = 1.0;
    for (int k = 0; k < X; ++k) lambda[k] = x_bar[k];

    // out[K] += matrix[R, K]^T bar[R], and the matrix's own gradient += bar in^T
    auto transpose = [&](auto rows, auto columns, int matrix, const double* bar, const double* in, double* out) {
        constexpr int R = decltype(rows)::value, K = decltype(columns)::value;
        for (int row = 0; row < R; ++row)
            for (int k = 0; k < K; ++k) {
                out[k] += theta[matrix + row * K + k] * bar[row];
                gradient[matrix + row * K + k] += bar[row] * in[k];
            }
    };
    constexpr auto size_x = Constant<X>{};
    constexpr auto size_u = Constant<U>{};
    constexpr auto size_y = Constant<Y>{};
    constexpr auto size_n = Constant<N>{};

    for (int64_t n = length - 1; n >= 0; --n) {
        const double *x = xs + n * X, *out_bar = y_bar + n * Y;
        for (int k = 0; k < U - 1; ++k) input[k] = u[n * (U - 1) + k];
        if constexpr (N > 0) {
            solver.evaluate(ws + n * N);
            solver.linearise();
            solver.free_quantities(f);
        }
        double input_bar[U] = {};
        for (int k = 0; k < X; ++k) back[k] = 0.0;
        for (int k = 0; k < N; ++k) f_bar[k] = v_bar[k] = i_bar[k] = 0.0;
        transpose(size_x, size_x, L::A, lambda, x, back);
        transpose(size_x, size_u, L::B, lambda, input, input_bar);
        transpose(size_x, size_n, L::C, lambda, f, f_bar);
        transpose(size_y, size_x, L::D, out_bar, x, back);
        transpose(size_y, size_u, L::E, out_bar, input, input_bar);
        transpose(size_y, size_n, L::F, out_bar, f, f_bar);
        if constexpr (N > 0) {
            for (int k = 0; k < N; ++k) {
                const int position = Circuit::free_ports[k];
                (position < N ? v_bar[position] : i_bar[position - N]) += f_bar[k];
            }
            // J^T mu = V'^T v_bar + I'^T i_bar
            Devices::each([&](auto law, int p, int) {
                constexpr int ports = decltype(law)::ports;
                for (int column = 0; column < ports; ++column) {
                    double sum = 0.0;
                    for (int k = p; k < p + ports; ++k)
                        sum += solver.dv[k * M + column] * v_bar[k] + solver.di[k * M + column] * i_bar[k];
                    mu[p + column] = sum;
                }
            });
            solver.factors.solve_transposed(mu);
            transpose(size_n, size_x, L::R_x, mu, x, back);
            transpose(size_n, size_u, L::R_u, mu, input, input_bar);
            for (int row = 0; row < N; ++row) {
                const double bar = -mu[row];
                for (int k = 0; k < N; ++k) {
                    if constexpr (!Circuit::plain) {
                        gradient[L::P + row * N + k] += bar * solver.v[k];
                        v_bar[k] += bar * theta[L::P + row * N + k];
                    }
                    gradient[L::Q + row * N + k] += bar * solver.i[k];
                    i_bar[k] += bar * theta[L::Q + row * N + k];
                }
                if constexpr (Circuit::plain) v_bar[row] += bar;
            }
            Devices::each([&](auto law, int p, int c) {
                using Law = decltype(law);
                double dv[Law::ports * Law::coefficients], di[Law::ports * Law::coefficients];
                law.coefficient_jacobian(ws + n * N + p, theta + L::K + c, dv, di);
                for (int k = 0; k < Law::ports; ++k)
                    for (int j = 0; j < Law::coefficients; ++j)
                        gradient[L::K + c + j] +=
                            v_bar[p + k] * dv[k * Law::coefficients + j] + i_bar[p + k] * di[k * Law::coefficients + j];
            });
        }
        for (int k = 0; k < U - 1; ++k) u_bar[n * (U - 1) + k] = input_bar[k];
        for (int k = 0; k < X; ++k) lambda[k] = back[k];
    }
    for (int k = 0; k < X; ++k) x_bar[k] = lambda[k];
    for (int k = 0; k < L::size; ++k) theta_bar[k] = gradient[k];
}

// How many directions the forward mode carries side by side, as one vector of gcc and clang.
constexpr int width = 8;
typedef double Lanes __attribute__((vector_size(width * sizeof(double))));
// The same in memory that comes from outside, which is aligned to a double only.
typedef Lanes Outside __attribute__((aligned(sizeof(double))));

// out[R] += matrix[R, C] in[C] + dmatrix[R, C] value[C]; the derivatives `in` may be absent.
template <int R, int C>
inline void multiply_add_tangent(Lanes* __restrict out, const double* __restrict matrix, const Outside* __restrict in,
                                 const Outside* __restrict dmatrix, const double* __restrict value) {
    for (int row = 0; row < R; ++row) {
        Lanes sum = out[row];
        if (in)
            for (int k = 0; k < C; ++k) sum += matrix[row * C + k] * in[k];
        for (int k = 0; k < C; ++k) sum += value[k] * dmatrix[row * C + k];
        out[row] = sum;
    }
}

// Forward mode, with the run itself. In blocks of `width` directions: dx [blocks, n_x, width] in the start, out the
// end; dtheta [blocks, size, width]; du [length, n_u, blocks * width] or null; dy [length, n_y, blocks * width].
template <class Circuit>
void tangent(int64_t length, const double* u, double* x, double* w, const double* theta, int64_t blocks,
             double* dx, const double* dtheta, const double* du, double* y, double* dy, Statistics& statistics,
             const Options& options) {
    using L = Layout<Circuit>;
    using Devices = typename Circuit::Devices;
    constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, M = Devices::widest;
    constexpr int slots = at_least_one(N), states = at_least_one(X);
    constexpr int entries = at_least_one(Devices::coefficients) * M;
    Solver<Circuit> solver(theta, options);
    solver.start(w);
    double input[U], r[slots], f[slots] = {}, state[states], dv_dc[entries], di_dc[entries];
    Lanes dw[slots], df[slots] = {}, dinput[U] = {}, dv[slots], di[slots], dout[at_least_one(Y)], dnext[states];
    input[U - 1] = 1.0;
    for (int k = 0; k < X; ++k) state[k] = x[k];
    for (int64_t n = 0; n < length; ++n) {
        for (int k = 0; k < U - 1; ++k) input[k] = u[n * (U - 1) + k];
        if constexpr (N > 0) {
            Linear<Circuit>::right_side(theta, state, input, r);
            // The factors are those of the last iterate, a Newton step below the tolerance away from the solution.
            if (!solver.solve(r, statistics)) statistics.fail(n, solver.worst);
            solver.free_quantities(f);
            Devices::each([&](auto law, int p, int c) {
                law.coefficient_jacobian(solver.w + p, theta + L::K + c, dv_dc + c * M, di_dc + c * M);
            });
        }
        for (int64_t block = 0; block < blocks; ++block) {
            const Outside* d = reinterpret_cast<const Outside*>(dtheta) + block * L::size;
            Outside* dstate = reinterpret_cast<Outside*>(dx) + block * X;
            const Outside* dots = nullptr;
            if (du) {
                for (int k = 0; k < U - 1; ++k)
                    dinput[k] = reinterpret_cast<const Outside*>(du)[(n * (U - 1) + k) * blocks + block];
                dots = dinput;
            }
            if constexpr (N > 0) {
                for (int k = 0; k < N; ++k) dw[k] = Lanes{};
                multiply_add_tangent<N, X>(dw, theta + L::R_x, dstate, d + L::R_x, state);
                multiply_add_tangent<N, U>(dw, theta + L::R_u, dots, d + L::R_u, input);
                // dv, di hold V_c dc and I_c dc first, and the whole derivative once dw is known.
                Devices::each([&](auto law, int p, int c) {
                    constexpr int K = decltype(law)::coefficients;
                    for (int k = 0; k < decltype(law)::ports; ++k) {
                        Lanes v_sum{}, i_sum{};
                        for (int j = 0; j < K; ++j) {
                            v_sum += dv_dc[c * M + k * K + j] * d[L::K + c + j];
                            i_sum += di_dc[c * M + k * K + j] * d[L::K + c + j];
                        }
                        dv[p + k] = v_sum;
                        di[p + k] = i_sum;
                    }
                });
                for (int row = 0; row < N; ++row) {
                    Lanes sum = dw[row];
                    for (int k = 0; k < N; ++k) {
                        sum -= theta[L::Q + row * N + k] * di[k] + solver.i[k] * d[L::Q + row * N + k];
                        if constexpr (!Circuit::plain)
                            sum -= theta[L::P + row * N + k] * dv[k] + solver.v[k] * d[L::P + row * N + k];
                    }
                    dw[row] = Circuit::plain ? sum - dv[row] : sum;
                }
                solver.factors.solve(dw);
                Devices::each([&](auto law, int p, int) {
                    constexpr int ports = decltype(law)::ports;
                    for (int k = p; k < p + ports; ++k)
                        for (int column = 0; column < ports; ++column) {
                            dv[k] += solver.dv[k * M + column] * dw[p + column];
                            di[k] += solver.di[k * M + column] * dw[p + column];
                        }
                });
                for (int k = 0; k < N; ++k) {
                    const int position = Circuit::free_ports[k];
                    df[k] = position < N ? dv[position] : di[position - N];
                }
            }
            for (int k = 0; k < Y; ++k) dout[k] = Lanes{};
            multiply_add_tangent<Y, X>(dout, theta + L::D, dstate, d + L::D, state);
            multiply_add_tangent<Y, U>(dout, theta + L::E, dots, d + L::E, input);
            multiply_add_tangent<Y, N>(dout, theta + L::F, df, d + L::F, f);
            for (int k = 0; k < Y; ++k) reinterpret_cast<Outside*>(dy)[(n * Y + k) * blocks + block] = dout[k];
            for (int k = 0; k < X; ++k) dnext[k] = Lanes{};
            multiply_add_tangent<X, X>(dnext, theta + L::A, dstate, d + L::A, state);
            multiply_add_tangent<X, U>(dnext, theta + L::B, dots, d + L::B, input);
            multiply_add_tangent<X, N>(dnext, theta + L::C, df, d + L::C, f);
            for (int k = 0; k < X; ++k) dstate[k] = dnext[k];
        }
        Linear<Circuit>::advance(theta, input, f, state, y + n * Y);
    }
    for (int k = 0; k < X; ++k) x[k] = state[k];
    for (int k = 0; k < N; ++k) w[k] = solver.w[k];
}

}  // namespace circuitnn

// The functions a compiled circuit shows to Python. `report` [2 + 2 * Statistics::listed] is added to.
#define CIRCUITNN_EXPORT(Circuit)                                                                                     \
    static void circuitnn_report(const circuitnn::Statistics& s, int64_t* report) {                              \
        report[0] = s.iterations;                                                                                     \
        report[1] = s.failures;                                                                                       \
        for (int k = 0; k < circuitnn::Statistics::listed; ++k) {                                                     \
            report[2 + 2 * k] = s.samples[k];                                                                         \
            report[3 + 2 * k] = s.ports[k];                                                                           \
        }                                                                                                             \
    }                                                                                                                 \
    extern "C" void circuitnn_simulate(int64_t length, const double* u, double* x, double* w,                    \
                                       const double* theta, double* y, double* xs, double* ws, int64_t* report) {\
        circuitnn::Statistics s;                                                                                      \
        circuitnn::simulate<Circuit>(length, u, x, w, theta, y, xs, ws, s, circuitnn::Options{});                     \
        circuitnn_report(s, report);                                                                                  \
    }                                                                                                                 \
    extern "C" void circuitnn_adjoint(int64_t length, const double* u, const double* xs, const double* ws,       \
                                      const double* theta, const double* y_bar, double* x_bar, double* u_bar,         \
                                      double* theta_bar) {                                                            \
        circuitnn::adjoint<Circuit>(length, u, xs, ws, theta, y_bar, x_bar, u_bar, theta_bar);                        \
    }                                                                                                                 \
    extern "C" void circuitnn_tangent(int64_t length, const double* u, double* x, double* w,                     \
                                      const double* theta, int64_t blocks, double* dx, const double* dtheta,     \
                                      const double* du, double* y, double* dy, int64_t* report) {                \
        circuitnn::Statistics s;                                                                                      \
        circuitnn::tangent<Circuit>(length, u, x, w, theta, blocks, dx, dtheta, du, y, dy, s, circuitnn::Options{});  \
        circuitnn_report(s, report);                                                                                  \
    }
