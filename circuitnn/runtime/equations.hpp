// The equations of a circuit, and what follows from them at any step rate and any setting of its knobs: the numbers of
// the core, and the state at rest. What mna.py, dk.py and operating_point.py do in Python, in double precision, bounded
// and without allocation, but in no hurry.
//
// Beside what circuitnn.hpp asks for, a circuit has (see mna.py)
//     M z = N_x x + N_u u + N_s s - N_n i,   v = N_n^T z,   y = N_y z,   q = G_q z
//     static constexpr int unknowns, branches, values, sources, knobs;           sizes of z, q, c, s; how many knobs
//     static constexpr Knob knob[];
//     static constexpr Entries<...> M, N_x, G_q, N_u, N_s, N_n, N_y, leak;       leak: to be added to M at rest
//     static constexpr int dependent[];                                          like free_ports, those that follow
//     static constexpr int memory; static constexpr double factor, carry[][], gain[];          see schemes.py
//     static constexpr int moving; static constexpr int moving_values[];         values of c that knobs move while it
//     static constexpr Entries<...> left, right;                                 runs: M changes by left[k] right[k]^T
//     static constexpr int moving_sources; static constexpr int moving_source[]; entries of s that knobs move
//     static constexpr double z_rest[], w_rest[];                                where the search for rest begins
//     static void set(const double* positions, double d, double* c, double* s, double* coefficients);
//                                                       c, s and the devices' coefficients; d: differentiation factor
#pragma once

#include "realtime.hpp"
#include "tuning.hpp"

namespace circuitnn {

// Adds weight * c[value] to a matrix at (row, column); c[0] is 1.
struct Entry {
    int row, column;
    double weight;
    int value;
};
template <int count>
struct Entries {
    Entry entry[at_least_one(count)];

    // visit(entry)
    template <class Visit>
    void each(Visit&& visit) const {
        for (int k = 0; k < count; ++k) visit(entry[k]);
    }
};

// Rows that determine a current are scaled to volts, see dk.py.
constexpr double current_scale = 1e3;

// Gauss elimination with scaled partial pivoting. work [n, width] holds A and, beside it, right-hand sides, whose places
// the solutions take. False if A is singular.
inline bool eliminate(double* work, int n, int width) {
    for (int row = 0; row < n; ++row) {
        double largest = 0.0;
        for (int k = 0; k < n; ++k) largest = fmax(largest, fabs(work[row * width + k]));
        if (!(largest > 0.0)) return false;
        for (int k = 0; k < width; ++k) work[row * width + k] /= largest;
    }
    for (int k = 0; k < n; ++k) {
        int pivot = k;
        for (int row = k + 1; row < n; ++row)
            if (fabs(work[row * width + k]) > fabs(work[pivot * width + k])) pivot = row;
        double *own = work + k * width, *other = work + pivot * width;
        if (!(fabs(other[k]) > 1e-300)) return false;
        for (int column = k; pivot != k && column < width; ++column) {
            const double kept = own[column];
            own[column] = other[column];
            other[column] = kept;
        }
        for (int row = k + 1; row < n; ++row) {
            double* below = work + row * width;
            const double part = below[k] / own[k];
            if (part == 0.0) continue;
            for (int column = k; column < width; ++column) below[column] -= part * own[column];
        }
    }
    for (int k = n - 1; k >= 0; --k) {
        double* own = work + k * width;
        for (int column = n; column < width; ++column) {
            double sum = own[column];
            for (int j = k + 1; j < n; ++j) sum -= own[j] * work[j * width + column];
            own[column] = sum / own[k];
        }
    }
    return true;
}

// A source that a knob moves is one more input, whose value the knob gives.
template <class Circuit>
struct WithSources : Circuit {
    static constexpr int n_u = Circuit::n_u + Circuit::moving_sources;
};

template <class Circuit>
class Equations {
    using L = Layout<Circuit>;
    using Wide = WithSources<Circuit>;
    using W = Layout<Wide>;
    using Stages = typename Circuit::Stages;
    static constexpr int m = Circuit::unknowns, X = L::X, Y = L::Y, N = L::N, U = W::U, Q = Circuit::branches;
    static constexpr int moving = Circuit::moving, slots = at_least_one(N), order = m + N;
    // Columns of the reduction: z and the dependent port quantities | x, inputs, 1, free quantities | moving values.
    static constexpr int own = X + U + N, width = order + own + moving;
    static constexpr int iterations = 200, fewer_iterations = 50, all_iterations = 2000;

    Tuning<Wide, moving> tuning;
    double d = 1.0;
    double work[order * (width > order + 1 ? width : order + 1)];
    int budget = 0;

    struct Values {
        double c[Circuit::values], s[at_least_one(Circuit::sources)], coefficients[at_least_one(L::coefficients)];

        Values(const double* positions, double d) { Circuit::set(positions, d, c, s, coefficients); }
    };

  public:
    static constexpr int knobs = Circuit::knobs;
    static bool moves(int knob) { return Circuit::knob[knob].moves; }

    // The equations at so many steps a second; exact at these positions of the knobs, and for those that move nothing
    // but resistors, gains, sources and devices at all others. False if they are singular.
    bool prepare(const double* positions, double step_rate) {
        d = Circuit::factor * step_rate;
        const Values values(positions, d);
        clear(order * width);
        entries(Circuit::M, values.c, 0, 0, width, 1.0);
        transposed(Circuit::N_n, m, 0, width);
        for (int k = 0; k < N; ++k) port(Circuit::dependent[k], m + k, 1.0);
        entries(Circuit::N_x, values.c, 0, order, width, 1.0);
        entries(Circuit::N_u, values.c, 0, order + X, width, 1.0);
        Circuit::N_s.each([&](const Entry& e) {
            const int input = input_of(e.column);
            const bool constant = input == W::U - 1;
            at(e.row, order + X + input) += constant ? e.weight * values.s[e.column] : e.weight;
        });
        for (int k = 0; k < N; ++k) port(Circuit::free_ports[k], order + X + U + k, -1.0);
        entries(Circuit::left, values.c, 0, order + own, width, 1.0);
        if (!eliminate(work, order, width)) return false;

        for (double& number : tuning.base) number = 0.0;
        for (int row = 0; row < X + Y + N; ++row) {
            const double scale = row < X + Y ? 1.0 : row_scale(row - X - Y);
            for (int column = 0; column < own; ++column) {
                const double value = scale * reduced(row, column, values.c);
                tuning.base[tuning.place(row, column)] = tuning.on_left_side(row, column) ? -value : value;
            }
            for (int k = 0; k < moving; ++k) tuning.H[row][k] = scale * reduced(row, own + k, values.c);
        }
        for (int k = 0; k < N; ++k) {
            const int quantity = Circuit::dependent[k];
            tuning.base[(quantity < N ? W::P : W::Q - N) + k * N + quantity] = row_scale(k);
        }
        for (int k = 0; k < moving; ++k) {
            tuning.nominal[k] = values.c[Circuit::moving_values[k]];
            for (int column = 0; column < own + moving; ++column) {
                double sum = 0.0;
                Circuit::right.each([&](const Entry& e) {
                    if (e.row == k) sum += e.weight * at(e.column, order + column);
                });
                (column < own ? tuning.G[k][column] : tuning.Z[k][column - own]) = sum;
            }
        }
        return true;
    }

    // The numbers [L::size] of the core. Fast enough for real time.
    void numbers(const double* positions, double* theta) const {
        const Values values(positions, d);
        double moved[at_least_one(moving)], wide[W::size];
        for (int k = 0; k < moving; ++k) moved[k] = values.c[Circuit::moving_values[k]];
        tuning.numbers(moved, wide);
        auto copy = [&](int to, int from, int count) { memcpy(theta + to, wide + from, sizeof(double) * count); };
        auto inputs = [&](int to, int from, int rows) {
            for (int row = 0; row < rows; ++row) {
                copy(to + row * L::U, from + row * U, Circuit::n_u);
                double constant = wide[from + row * U + U - 1];
                for (int k = 0; k < Circuit::moving_sources; ++k)
                    constant += wide[from + row * U + Circuit::n_u + k] * values.s[Circuit::moving_source[k]];
                theta[to + row * L::U + L::U - 1] = constant;
            }
        };
        copy(L::A, W::A, X * X);
        inputs(L::B, W::B, X);
        copy(L::C, W::C, X * N + Y * X);
        inputs(L::E, W::E, Y);
        copy(L::F, W::F, Y * N + N * X);
        inputs(L::R_u, W::R_u, N);
        copy(L::P, W::P, 2 * N * N);
        memcpy(theta + L::K, values.coefficients, sizeof(double) * L::coefficients);
    }

    // The state x [n_x], the devices' variables w [n_n] and the output y [n_y] of the circuit at rest: Newton's method
    // from the solution that was exported, then with a conductance across every port that is lowered step by step.
    // False where that does not end; then they belong to the last point that was tried.
    bool rest(const double* positions, double* x, double* w, double* y) {
        const Values still(positions, 0.0), values(positions, d);
        double z[m], start[order];
        for (int k = 0; k < order; ++k) start[k] = k < m ? Circuit::z_rest[k] : Circuit::w_rest[k - m];
        budget = all_iterations;
        bool found = newton(still, start, 0.0, iterations);
        if (!found) {
            for (double& number : start) number = 0.0;
            found = lower_conductance(still, start);
        }
        for (int k = 0; k < order; ++k) (k < m ? z[k] : w[k - m]) = start[k];
        for (int k = 0; k < X; ++k) x[k] = 0.0;
        Circuit::G_q.each([&](const Entry& e) { x[e.row] += e.weight * values.c[e.value] * z[e.column]; });
        for (int k = Q; k < X; ++k) x[k] = x[k - Q];
        for (int k = 0; k < Y; ++k) y[k] = 0.0;
        Circuit::N_y.each([&](const Entry& e) { y[e.row] += e.weight * z[e.column]; });
        return found;
    }

  private:
    void clear(int count) {
        for (int k = 0; k < count; ++k) work[k] = 0.0;
    }
    double& at(int row, int column) { return work[row * width + column]; }

    template <class List>
    void entries(const List& list, const double* c, int row, int column, int columns, double sign) {
        list.each([&](const Entry& e) {
            work[(row + e.row) * columns + column + e.column] += sign * e.weight * c[e.value];
        });
    }
    template <class List>
    void transposed(const List& list, int row, int column, int columns) {
        list.each([&](const Entry& e) { work[(row + e.column) * columns + column + e.row] += e.weight; });
    }
    // A port's voltage or current in the equations M z + N_n i = ..., N_n^T z - v = 0.
    void port(int quantity, int column, double sign) {
        if (quantity < N) {
            at(m + quantity, column) -= sign;
            return;
        }
        Circuit::N_n.each([&](const Entry& e) {
            if (e.column == quantity - N) at(e.row, column) += sign * e.weight;
        });
    }
    static int input_of(int source) {
        for (int k = 0; k < Circuit::moving_sources; ++k)
            if (Circuit::moving_source[k] == source) return Circuit::n_u + k;
        return U - 1;
    }
    static double row_scale(int row) { return Circuit::dependent[row] < N ? 1.0 : current_scale; }

    // A row (x', y, dependent port quantities) by a column right of the unknowns, once they are eliminated.
    double reduced(int row, int column, const double* c) {
        double sum = 0.0;
        if (row >= X + Y) return at(m + row - X - Y, order + column);
        if (row >= X) {
            Circuit::N_y.each([&](const Entry& e) {
                if (e.row == row - X) sum += e.weight * at(e.column, order + column);
            });
            return sum;
        }
        const int branch = row % at_least_one(Q), part = row / at_least_one(Q);
        Circuit::G_q.each([&](const Entry& e) {
            if (e.row == branch) sum += e.weight * c[e.value] * at(e.column, order + column);
        });
        sum *= Circuit::gain[part];
        const bool carried = column < X && column % at_least_one(Q) == branch;
        return carried ? sum + Circuit::carry[part][column / at_least_one(Q)] : sum;
    }

    // From `unknowns` (z, w) to the solution, with a conductance across every port.
    bool newton(const Values& values, double* unknowns, double conductance, int most) {
        constexpr int columns = order + 1;
        double v[slots], i[slots], before[slots];
        double* w = unknowns + m;
        for (int iteration = 0; iteration < most && budget > 0; ++iteration, --budget) {
            clear(order * columns);
            entries(Circuit::M, values.c, 0, 0, columns, 1.0);
            entries(Circuit::leak, values.c, 0, 0, columns, 1.0);
            transposed(Circuit::N_n, m, 0, columns);
            for (int row = 0; row < order; ++row) {
                double sum = 0.0;
                for (int k = 0; k < m; ++k) sum += work[row * columns + k] * unknowns[k];
                work[row * columns + order] = sum;
            }
            Circuit::N_s.each([&](const Entry& e) {
                work[e.row * columns + order] -= e.weight * values.s[e.column];
            });
            Stages::each_law([&](auto law, auto first, auto coefficient) {
                using Law = decltype(law);
                constexpr int p = decltype(first)::value, n = Law::ports;
                double dv[n * n], di[n * n];
                for (int k = 0; k < n; ++k) v[p + k] = w[p + k];
                for (int k = 0; k < n * n; ++k) dv[k] = k % (n + 1) == 0 ? 1.0 : 0.0;
                Law::evaluate(w + p, values.coefficients + decltype(coefficient)::value, v + p, i + p, dv, di, n);
                for (int k = 0; k < n; ++k) {
                    i[p + k] += conductance * w[p + k];
                    di[k * n + k] += conductance;
                    work[(m + p + k) * columns + order] -= v[p + k];
                    for (int j = 0; j < n; ++j) work[(m + p + k) * columns + m + p + j] -= dv[k * n + j];
                }
                Circuit::N_n.each([&](const Entry& e) {
                    const int k = e.column - p;
                    if (k < 0 || k >= n) return;
                    work[e.row * columns + order] += e.weight * i[p + k];
                    for (int j = 0; j < n; ++j) work[e.row * columns + m + p + j] += e.weight * di[k * n + j];
                });
            });
            if (!eliminate(work, order, columns)) return false;
            double step = 0.0, size = 0.0;
            bool limited = false;
            for (int k = 0; k < N; ++k) before[k] = w[k];
            for (int k = 0; k < order; ++k) {
                if (!(fabs(work[k * columns + order]) < 1e30)) return false;
                unknowns[k] -= work[k * columns + order];
            }
            Stages::each_law([&](auto law, auto first, auto coefficient) {
                constexpr int p = decltype(first)::value, n = decltype(law)::ports;
                double after[n];
                for (int k = 0; k < n; ++k) after[k] = w[p + k];
                decltype(law)::limit(before + p, after, values.coefficients + decltype(coefficient)::value);
                for (int k = 0; k < n; ++k) {
                    limited |= after[k] != w[p + k];
                    w[p + k] = after[k];
                }
            });
            for (int k = 0; k < N; ++k) {
                step = fmax(step, fabs(w[k] - before[k]));
                size = fmax(size, fabs(before[k]));
            }
            if (!limited && step < 1e-12 * (1.0 + size)) return true;
        }
        return false;
    }

    bool lower_conductance(const Values& values, double* unknowns) {
        double conductance = 1e-2, factor = 10.0, lower[order];
        if (!newton(values, unknowns, conductance, iterations)) return false;
        while (conductance > 1e-12 && factor > 1.01) {
            memcpy(lower, unknowns, sizeof lower);
            if (newton(values, lower, conductance / factor, fewer_iterations)) {
                memcpy(unknowns, lower, sizeof lower);
                conductance /= factor;
                factor = fmin(pow(factor, 1.5), 10.0);
            } else {
                factor = sqrt(factor);
            }
        }
        return newton(values, unknowns, 0.0, fewer_iterations);
    }
};

}  // namespace circuitnn
