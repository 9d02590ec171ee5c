// Reverse mode of circuitnn::simulate, by the implicit function theorem at each sample: one small linear solve, no
// iteration.
#pragma once

#include "circuitnn.hpp"

namespace circuitnn {

// Derivatives by the numbers of a circuit, in rows: those of x', y and r, each by (x, u, 1, f).
template <class Circuit, class Real>
struct alignas(64) NumbersRows {
    using L = Layout<Circuit>;
    static constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, slots = at_least_one(N);
    Column<Real, X + U + N> row[X + Y + N];
    Column<Real, N> P[slots], Q[slots];
    Real coefficients[at_least_one(L::coefficients)];

    // visit(number, its position in theta)
    template <class Visit>
    void each(Visit&& visit) {
        for (int k = 0; k < X + Y + N; ++k) {
            const bool next = k < X, out = !next && k < X + Y;
            const int own = next ? k : out ? k - X : k - X - Y;
            for (int j = 0; j < X; ++j) visit(row[k][j], (next ? L::A : out ? L::D : L::R_x) + own * X + j);
            for (int j = 0; j < U; ++j) visit(row[k][X + j], (next ? L::B : out ? L::E : L::R_u) + own * U + j);
            if (k < X + Y)
                for (int j = 0; j < N; ++j) visit(row[k][X + U + j], (next ? L::C : L::F) + own * N + j);
        }
        for (int k = 0; k < N; ++k)
            for (int j = 0; j < N; ++j) {
                visit(P[k][j], L::P + k * N + j);
                visit(Q[k][j], L::Q + k * N + j);
            }
        for (int k = 0; k < L::coefficients; ++k) visit(coefficients[k], L::K + k);
    }
};

// Reverse mode of a batch. In: u, theta and the kept xs, ws (every = 1) of the run; y_bar [count, length, n_y];
// x_bar [count, n_x] of the final state. Out: u_bar [count, length, n_u] unless null, x_bar of the initial state, and
// theta_bar [count, points, size].
template <class Circuit, class Real>
void adjoint(const Batch& batch, const double* u, const double* xs, const double* ws, const double* theta,
             const double* y_bar, double* x_bar, double* u_bar, double* theta_bar) {
    using L = Layout<Circuit>;
    using Stages = typename Circuit::Stages;
    using Scalar = ScalarOf<Real>;
    constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, lanes = Traits<Real>::lanes;
    constexpr int widest = Stages::widest;
    constexpr int slots = at_least_one(N);
    Numbers<Circuit, Real> numbers{}, gain{};
    NumbersRows<Circuit, Real> rows{}, rows_gain{}, sum{}, late{};
    Solver<Circuit, Real> solver(numbers);
    Column<Real, X + U + N> in{};
    Real lambda[at_least_one(X)], at[slots], mu[slots];
    Column<Real, N> v_bar, i_bar, v, i;
    in[X + U - 1] = all_lanes<Real>(1);
    for (int lane = 0; lane < lanes; ++lane)
        for (int k = 0; k < X; ++k) set_lane(lambda[k], lane, x_bar[batch.recording(lane) * X + k]);

    for (int64_t block = batch.blocks() - 1; block >= 0; --block) {
        load_block<Circuit, Real>(batch, theta, block, numbers, gain);
        load_block<Circuit, Real>(batch, theta, block, rows, rows_gain);
        const int64_t begin = batch.begin(block), end = batch.end(block);
        if (batch.points > 1) {
            add_numbers<Real>(numbers, gain, Scalar(end - 1 - begin));
            add_numbers<Real>(rows, rows_gain, Scalar(end - 1 - begin));
        }
        for (int64_t n = end - 1; n >= begin; --n) {
            memcpy(&in, xs + n * X * lanes, X * sizeof(Real));
            for (int k = 0; k < U - 1; ++k)
                for (int lane = 0; lane < lanes; ++lane)
                    set_lane(in[X + k], lane, u[(batch.recording(lane) * batch.length + n) * (U - 1) + k]);
            Real dv_dc[at_least_one(L::coefficients) * widest], di_dc[at_least_one(L::coefficients) * widest];
            if constexpr (N > 0) {
                memcpy(at, ws + n * N * lanes, N * sizeof(Real));
                solver.differentiate(at, dv_dc, di_dc);
                for (int k = 0; k < N; ++k) in[X + U + k] = solver.free_quantity(k);
            }
            // The next state and the output: bars of (x, u, 1, f), and of the numbers.
            Column<Real, X + U + N> back;
            back.clear();
            for (int k = 0; k < X; ++k) {
                back.add(rows.row[k], lambda[k]);
                sum.row[k].add(in, lambda[k]);
            }
            for (int k = 0; k < Y; ++k) {
                Real bar;
                for (int lane = 0; lane < lanes; ++lane)
                    set_lane(bar, lane, y_bar[(batch.recording(lane) * batch.length + n) * Y + k]);
                back.add(rows.row[X + k], bar);
                sum.row[X + k].add(in, bar);
            }
            if constexpr (N > 0) {
                v_bar.clear();
                i_bar.clear();
                v.clear();
                i.clear();
                for (int k = 0; k < N; ++k) {
                    v[k] = solver.v[k];
                    i[k] = solver.i[k];
                }
                for (int k = 0; k < N; ++k) {
                    const int position = Circuit::free_ports[k];
                    (position < N ? v_bar[position] : i_bar[position - N]) += back[X + U + k];
                }
                // Stage by stage from the last: J^T mu = V'^T v_bar + I'^T i_bar, then its part in all before it.
                Stages::each_reversed([&](auto stage, auto port, auto) CIRCUITNN_INLINE {
                    using S = decltype(stage);
                    constexpr int p = decltype(port)::value;
                    const auto& point = solver.points.template stage<p>();
                    Column<Real, S::ports> right;
                    right.clear();
                    S::template each<0, 0>([&](auto law, auto first, auto) CIRCUITNN_INLINE {
                        using Law = decltype(law);
                        constexpr int q = decltype(first)::value, M = S::widest;
                        for (int column = 0; column < Law::ports; ++column) {
                            Real bar{};
                            if constexpr (Law::voltage_is_variable) bar = v_bar[p + q + column];
                            for (int k = q; k < q + Law::ports; ++k) {
                                if constexpr (!Law::voltage_is_variable) bar += point.dv[k * M + column] * v_bar[p + k];
                                bar += point.di[k * M + column] * i_bar[p + k];
                            }
                            right.set(q + column, bar);
                        }
                    });
                    point.J.solve_transposed(right);
                    for (int row = p; row < p + S::ports; ++row) {
                        mu[row] = right.get(row - p);
                        if constexpr (!Circuit::plain) {
                            sum.P[row].add(v, -mu[row]);
                            v_bar.add(rows.P[row], -mu[row]);
                        }
                        sum.Q[row].add(i, -mu[row]);
                        i_bar.add(rows.Q[row], -mu[row]);
                        if constexpr (Circuit::plain) v_bar[row] -= mu[row];
                    }
                    // No stage before this one reads its ports.
                    if constexpr (p > 0)
                        for (int k = p; k < p + S::ports; ++k) v[k] = i[k] = Real{};
                });
                for (int k = 0; k < N; ++k) {
                    back.add(rows.row[X + Y + k], mu[k]);
                    sum.row[X + Y + k].add(in, mu[k]);
                }
                Stages::each_law([&](auto law, auto port, auto coefficient) CIRCUITNN_INLINE {
                    using Law = decltype(law);
                    constexpr int p = decltype(port)::value, c = decltype(coefficient)::value, K = Law::coefficients;
                    for (int k = 0; k < Law::ports; ++k)
                        for (int j = 0; j < K; ++j) {
                            if constexpr (!Law::voltage_is_variable)
                                sum.coefficients[c + j] += v_bar[p + k] * dv_dc[c * widest + k * K + j];
                            sum.coefficients[c + j] += i_bar[p + k] * di_dc[c * widest + k * K + j];
                        }
                });
            }
            for (int k = 0; k < X; ++k) lambda[k] = back[k];
            if (u_bar)
                for (int k = 0; k < U - 1; ++k)
                    for (int lane = 0; lane < lanes; ++lane)
                        u_bar[(batch.recording(lane) * batch.length + n) * (U - 1) + k] = get_lane(back[X + k], lane);
            if (batch.points > 1 && n > begin) {
                // Summed up once more for each sample, the sums weight a sample by its distance from the block's start.
                add_numbers<Real>(late, sum, 1);
                add_numbers<Real>(numbers, gain, -1);
                add_numbers<Real>(rows, rows_gain, -1);
            }
        }
        for (int lane = 0; lane < lanes && lane < batch.count; ++lane) {
            double* point = theta_bar + (lane * batch.points + block) * L::size;
            sum.each([&](Real& number, int k) { point[k] += get_lane(number, lane); });
            if (batch.points > 1)
                late.each([&](Real& number, int k) {
                    const double weighted = get_lane(number, lane) / double(batch.hold);
                    point[k] -= weighted;
                    point[L::size + k] += weighted;
                });
        }
        sum = late = NumbersRows<Circuit, Real>{};
    }
    for (int lane = 0; lane < lanes; ++lane)
        for (int k = 0; k < X; ++k) x_bar[batch.recording(lane) * X + k] = get_lane(lambda[k], lane);
}

}  // namespace circuitnn
