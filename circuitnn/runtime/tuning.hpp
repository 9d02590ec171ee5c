// Knobs that are turned while a circuit runs: its numbers as a function of the few resistors and gains that move, by
// the Woodbury identity (Holters and Zoelzer, "Physical modelling of a wah-wah effect pedal ...", DAFx-11, section 3),
// and their way from one setting to the next. No allocation; cheap enough for every control block in real time.
#pragma once

#include "circuitnn.hpp"

namespace circuitnn {

// theta where `count` coefficients have moved from their nominal values: each changes the circuit's equations by a
// rank-one matrix, so with D = diag(changes) the rows (x', y, dependent port quantities) by (x, u, 1, f) are
//     base - H (1 + D Z)^-1 D G
// Filled from DiscreteCircuit.tuning in Python, whose data has the order of the members. Rows of dependent port
// quantities in H are scaled like those of P, Q and R.
template <class Circuit, int count>
struct Tuning {
    using L = Layout<Circuit>;
    static_assert(count > 0);
    static constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, rows = X + Y + N, columns = X + U + N;
    double base[L::size], nominal[count], H[at_least_one(rows)][count], G[count][columns], Z[count][count];

    // The numbers [size] for coefficients [count].
    void numbers(const double* coefficients, double* theta) const {
        Factors<count, double> system;
        Column<double, count> moved;
        double change[count];
        moved.clear();
        for (auto& column : system.column) column.clear();
        for (int k = 0; k < count; ++k) change[k] = coefficients[k] - nominal[k];
        for (int k = 0; k < count; ++k)
            for (int j = 0; j < count; ++j) system.column[j].set(k, change[k] * Z[k][j] + (k == j ? 1.0 : 0.0));
        system.factorise();
        memcpy(theta, base, sizeof base);
        for (int column = 0; column < columns; ++column) {
            for (int k = 0; k < count; ++k) moved.set(k, change[k] * G[k][column]);
            system.solve(moved);
            for (int row = 0; row < rows; ++row) {
                double sum = 0.0;
                for (int k = 0; k < count; ++k) sum += H[row][k] * moved.get(k);
                // The free quantities stand on the left side of P v + Q i = r.
                const bool left = row >= X + Y && column >= X + U;
                theta[place(row, column)] += left ? sum : -sum;
            }
        }
    }

  private:
    static int place(int row, int column) {
        const bool next = row < X, out = !next && row < X + Y;
        const int own = next ? row : out ? row - X : row - X - Y;
        if (column < X) return (next ? L::A : out ? L::D : L::R_x) + own * X + column;
        if (column < X + U) return (next ? L::B : out ? L::E : L::R_u) + own * U + column - X;
        const int f = column - X - U;
        if (next || out) return (next ? L::C : L::F) + own * N + f;
        const int port = Circuit::free_ports[f];
        return (port < N ? L::P : L::Q - N) + own * N + port;
    }
};

// One recording with knobs. Map says what they do:
//     static constexpr int knobs, coefficients;
//     static void set(const double* positions, double* coefficients);
// turn() may be called at any time and from any thread. Where knobs have been turned, the numbers are worked out once
// at the start of the next control block of `hold` samples, and reach them linearly at its end.
template <class Circuit, class Map>
struct Knobs {
    using L = Layout<Circuit>;
    static constexpr int knobs = Map::knobs;

    Knobs(const Tuning<Circuit, Map::coefficients>& tuning_, int64_t hold_, const double* positions)
        : tuning(tuning_), hold(hold_) {
        for (int k = 0; k < knobs; ++k) wanted[k] = reached[k] = positions[k];
        aim(points[0]);
    }

    void turn(int knob, double position) { __atomic_store(&wanted[knob], &position, __ATOMIC_RELAXED); }

    // The numbers for the next sample.
    const double* now() const { return points[0]; }

    // Runs the circuit: u [length, n_u]; x [n_x] and w [n_n]: in the start, out the end; y [length, n_y]. Any length.
    template <class Real = double>
    void run(int64_t length, const double* u, double* x, double* w, double* y, Statistics& statistics,
             const Options& options = {}) {
        while (length > 0) {
            if (done == 0) look();
            const int64_t left = hold - done, n = length < left ? length : left;
            const Batch batch{1, n, 0, moving ? 2 : 1, left};
            simulate<Circuit, Real>(batch, u, x, w, points[0], y, nullptr, nullptr, 0, &statistics, options);
            if (moving) {
                const double part = double(n) / double(left);
                for (int k = 0; k < L::size; ++k)
                    points[0][k] = n == left ? points[1][k] : points[0][k] + part * (points[1][k] - points[0][k]);
            }
            done = n == left ? 0 : done + n;
            u += n * Circuit::n_u;
            y += n * Circuit::n_y;
            length -= n;
        }
    }

  private:
    const Tuning<Circuit, Map::coefficients>& tuning;
    int64_t hold, done = 0;
    bool moving = false;
    double wanted[knobs], reached[knobs];
    double points[2][L::size];  // now, and at the end of the block

    void look() {
        moving = false;
        for (int k = 0; k < knobs; ++k) {
            double position;
            __atomic_load(&wanted[k], &position, __ATOMIC_RELAXED);
            moving |= position != reached[k];
            reached[k] = position;
        }
        if (moving) aim(points[1]);
    }
    void aim(double* theta) {
        double coefficients[Map::coefficients];
        Map::set(reached, coefficients);
        tuning.numbers(coefficients, theta);
    }
};

}  // namespace circuitnn
