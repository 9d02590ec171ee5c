// circuitnn run-time core: one reduced circuit, one sample after another, in real time.
//
// A circuit is a type with
//     static constexpr int n_x, n_u, n_y;      states, inputs, outputs
//     using Stages = circuitnn::Sequence<circuitnn::Stage<Law, ...>, ...>;
//                                              its nonlinear devices in port order: sub-problems that are solved in turn
//     static constexpr int free_ports[];       positions of f within (v[0..n), i[0..n))
//     static constexpr bool plain;             f = i, the classic DK-method, so P = I
// and its numbers are one array `theta`, laid out as in `Layout`:
//     P v + Q i = R_x x + R_u (u, 1)           solved for the devices' variables w, v = V(w), i = I(w)
//     y  = D x + E (u, 1) + F f
//     x' = A x + B (u, 1) + C f
// The last column of B, E and R_u multiplies a constant 1 and carries the supplies. P and Q have no entries above their
// diagonal blocks, one block a stage. `Real` is double or float for one recording, or a vector for several side by side,
// each with its own numbers. C++17, no dependency, no allocation.
#pragma once

#include "solver.hpp"

namespace circuitnn {

// What is simulated together: `count` recordings of `length` samples. Their numbers theta [points, size] stand at
// `stride` from one recording to the next (0: the same for all) and move linearly from one point to the next in `hold`
// samples; a single point stays.
struct Batch {
    int64_t count, length, stride, points, hold;

    int64_t blocks() const { return points > 1 ? points - 1 : 1; }
    int64_t begin(int64_t block) const { return block * hold; }
    int64_t end(int64_t block) const {
        return points < 2 || (block + 1) * hold > length ? length : (block + 1) * hold;
    }
    // Lanes without a recording of their own run the last one again.
    int64_t recording(int lane) const { return lane < count ? lane : count - 1; }
};

// The numbers at the first sample of a block, and what they gain from sample to sample. Never in a hurry.
template <class Circuit, class Real, class Block>
__attribute__((noinline)) void load_block(const Batch& batch, const double* theta, int64_t block, Block& numbers,
                                          Block& gain) {
    using L = Layout<Circuit>;
    using Scalar = ScalarOf<Real>;
    for (int lane = 0; lane < Traits<Real>::lanes; ++lane) {
        const double* point = theta + batch.recording(lane) * batch.stride + block * L::size;
        numbers.each([&](Real& number, int k) { set_lane(number, lane, Scalar(point[k])); });
        if (batch.points > 1)
            gain.each([&](Real& number, int k) {
                set_lane(number, lane, Scalar((point[L::size + k] - point[k]) / double(batch.hold)));
            });
    }
}

// Runs a batch. u [count, length, n_u]; x [count, n_x] and w [count, n_n]: in the start, out the end; y [count, length,
// n_y]. If xs [ceil(length / every), n_x, lanes] and ws [ceil(length / every), n_n, lanes] are given, they receive the
// state before each `every`-th sample, and the solution that Newton's method starts from (every > 1) or ends with (1).
template <class Circuit, class Real>
void simulate(const Batch& batch, const double* u, double* x, double* w, const double* theta, double* y, double* xs,
              double* ws, int64_t every, Statistics* statistics, const Options& options = {}) {
    using L = Layout<Circuit>;
    using Scalar = ScalarOf<Real>;
    constexpr int X = L::X, U = L::U, Y = L::Y, N = L::N, lanes = Traits<Real>::lanes;
    Numbers<Circuit, Real> numbers{}, gain{};
    Solver<Circuit, Real> solver(numbers, options);
    Column<Real, X> state{};
    Column<Real, N> from{};
    const double* in[lanes];
    double* out[lanes];
    for (int lane = 0; lane < lanes; ++lane) {
        const int64_t k = batch.recording(lane);
        in[lane] = u + k * batch.length * (U - 1);
        out[lane] = y + k * batch.length * Y;
        for (int j = 0; j < X; ++j) set_lane(state[j], lane, Scalar(x[k * X + j]));
        for (int j = 0; j < N; ++j) set_lane(from[j], lane, Scalar(w[k * N + j]));
    }
    for (int64_t block = 0; block < batch.blocks(); ++block) {
        load_block<Circuit, Real>(batch, theta, block, numbers, gain);
        if (block == 0) solver.start(&from[0]);
        for (int64_t n = batch.begin(block); n < batch.end(block); ++n) {
            if (batch.points > 1 && n > batch.begin(block)) add_numbers<Real>(numbers, gain, 1);
            if (xs && n % every == 0) {
                memcpy(xs + n / every * X * lanes, &state, X * sizeof(Real));
                if (every > 1) memcpy(ws + n / every * N * lanes, solver.w, N * sizeof(Real));
            }
            // Everything that the state and the input contribute to the next state, the output and r.
            Column<Real, X + Y + N> sum;
            sum.clear();
            for (int k = 0; k < U - 1; ++k) {
                Real input;
                for (int lane = 0; lane < lanes; ++lane) set_lane(input, lane, Scalar(in[lane][n * (U - 1) + k]));
                sum.add(numbers.input[k], input);
            }
            sum.add(numbers.input[U - 1]);
            for (int k = 0; k < X; ++k) sum.add(numbers.state[k], state[k]);
            if constexpr (N > 0) {
                solver.solve(&sum[X + Y], n, statistics);
                if (xs && every == 1) memcpy(ws + n * N * lanes, solver.w, N * sizeof(Real));
                for (int k = 0; k < N; ++k) sum.add(numbers.free[k], solver.free_quantity(k));
            }
            for (int k = 0; k < X; ++k) state[k] = sum[k];
            for (int k = 0; k < Y; ++k)
                for (int lane = 0; lane < lanes; ++lane) out[lane][n * Y + k] = double(get_lane(sum[X + k], lane));
        }
    }
    for (int lane = 0; lane < lanes; ++lane) {
        const int64_t k = batch.recording(lane);
        for (int j = 0; j < X; ++j) x[k * X + j] = double(get_lane(state[j], lane));
        for (int j = 0; j < N; ++j) w[k * N + j] = double(get_lane(solver.w[j], lane));
    }
}

}  // namespace circuitnn
