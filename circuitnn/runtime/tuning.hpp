// Knobs that are turned while a circuit runs: its numbers as a function of the few resistors and gains that move, by
// the Woodbury identity (Holters and Zoelzer, "Physical modelling of a wah-wah effect pedal ...", DAFx-11, section 3),
// and their way from one setting to the next. No allocation; cheap enough for every control block in real time.
#pragma once

#include "circuitnn.hpp"

namespace circuitnn {

// theta where `count` coefficients have moved from their nominal values: each changes the circuit's equations by a
// rank-one matrix, so with D = diag(changes) the rows (x', y, dependent port quantities) by (x, u, 1, f) are
//     base - H (1 + D Z)^-1 D G
// Filled from DiscreteCircuit.tuning in Python, whose data has the order of the members, or by Equations in
// equations.hpp. Rows of dependent port quantities in H are scaled like those of P, Q and R.
template <class Circuit, int count>
struct Tuning {
    using L = Layout<Circuit>;
    static constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, rows = X + Y + N, columns = X + U + N;
    static constexpr int slots = at_least_one(count);
    double base[L::size], nominal[slots], H[at_least_one(rows)][slots], G[slots][columns], Z[slots][slots];

    // The numbers [size] for coefficients [count].
    void numbers([[maybe_unused]] const double* coefficients, double* theta) const {
        memcpy(theta, base, sizeof base);
        if constexpr (count > 0) update(coefficients, theta);
    }

    // Where in theta the entry of a row (x', y, dependent port quantities) and a column (x, u, 1, f) stands.
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
    // The free quantities stand on the left side of P v + Q i = r.
    static bool on_left_side(int row, int column) { return row >= X + Y && column >= X + U; }

  private:
    void update(const double* coefficients, double* theta) const {
        Factors<count, double> system;
        Column<double, count> moved;
        double change[count];
        moved.clear();
        for (auto& column : system.column) column.clear();
        for (int k = 0; k < count; ++k) change[k] = coefficients[k] - nominal[k];
        for (int k = 0; k < count; ++k)
            for (int j = 0; j < count; ++j) system.column[j].set(k, change[k] * Z[k][j] + (k == j ? 1.0 : 0.0));
        system.factorise();
        for (int column = 0; column < columns; ++column) {
            for (int k = 0; k < count; ++k) moved.set(k, change[k] * G[k][column]);
            system.solve(moved);
            for (int row = 0; row < rows; ++row) {
                double sum = 0.0;
                for (int k = 0; k < count; ++k) sum += H[row][k] * moved.get(k);
                theta[place(row, column)] += on_left_side(row, column) ? sum : -sum;
            }
        }
    }
};

// One recording with knobs. Map says what they do:
//     static constexpr int knobs;
//     static bool moves(int knob);                                      whether it may while the circuit runs
//     void numbers(const double* positions, double* theta) const;
// turn() may be called at any time and from any thread. Where knobs have been turned, the numbers are worked out once
// at the start of the next control block of `hold` samples, and reach them linearly at its end; in one block a knob
// moves by `stride` at most.
template <class Circuit, class Map>
struct Knobs {
    using L = Layout<Circuit>;
    static constexpr int knobs = Map::knobs, slots = at_least_one(knobs);

    // Where the circuit is on its way from one setting to the next.
    struct State {
        int64_t done;                // samples of the control block
        int64_t moving;              // whether the numbers change in it
        double reached[slots];       // positions at its end
        double points[2][L::size];   // the numbers now, and at its end
    };
    State state{};
    double stride = 1.0;

    Knobs(const Map& map_, int64_t hold_) : map(map_), hold(hold_) {}

    // Positions at which everything stands still. Those that are wanted may have become others meanwhile.
    void start(const double* positions) {
        state.done = state.moving = 0;
        for (int k = 0; k < knobs; ++k) {
            state.reached[k] = positions[k];
        }
        map.numbers(state.reached, state.points[0]);
    }

    void turn(int knob, double position) { __atomic_store(&wanted[knob], &position, __ATOMIC_RELAXED); }
    double position(int knob) const {
        double position;
        __atomic_load(&wanted[knob], &position, __ATOMIC_RELAXED);
        return position;
    }

    // Runs the circuit: u [length, n_u]; x [n_x] and w [n_n]: in the start, out the end; y [length, n_y]. Any length.
    template <class Real = double>
    void run(int64_t length, const double* u, double* x, double* w, double* y, Statistics& statistics,
             const Options& options = {}) {
        auto& points = state.points;
        while (length > 0) {
            if (state.done == 0) look();
            const int64_t left = hold - state.done, n = length < left ? length : left;
            const Batch batch{1, n, 0, state.moving ? 2 : 1, left};
            simulate<Circuit, Real>(batch, u, x, w, points[0], y, nullptr, nullptr, 0, &statistics, options);
            if (state.moving) {
                const double part = double(n) / double(left);
                for (int k = 0; k < L::size; ++k)
                    points[0][k] = n == left ? points[1][k] : points[0][k] + part * (points[1][k] - points[0][k]);
            }
            state.done = n == left ? 0 : state.done + n;
            u += n * Circuit::n_u;
            y += n * Circuit::n_y;
            length -= n;
        }
    }

  private:
    const Map& map;
    int64_t hold;
    double wanted[slots] = {};

    void look() {
        state.moving = 0;
        for (int k = 0; k < knobs; ++k) {
            if (!Map::moves(k)) continue;
            const double to = position(k), from = state.reached[k];
            state.moving |= to != from;
            state.reached[k] = to > from + stride ? from + stride : to < from - stride ? from - stride : to;
        }
        if (state.moving) map.numbers(state.reached, state.points[1]);
    }
};

}  // namespace circuitnn
