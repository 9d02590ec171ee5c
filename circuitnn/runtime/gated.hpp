// Layers of gated units with their derivatives, for training: recurrent.py. One sample after another; the lanes of a
// vector register are pieces of sound side by side, so every weight is a broadcast number. What runs in real time is in
// recurrent.hpp.
//
// A layer is a type with
//     static constexpr int inputs, size, states, kept, parameters;
//     forward(time, theta, u, x, xs, gates)
//     backward(time, theta, u, x, xs, gates, h_bar, bars, x_bar, u_bar, theta_bar)
// u [time, inputs, lanes]; xs [time, states, lanes]: the states after each sample, of which the first `size` are the
// output h; x: the state before; gates [time, kept, lanes]: what backward needs. theta is as torch.nn has it: weight_ih,
// weight_hh, bias_ih, bias_hh. backward replaces x_bar, the gradient by the last state (but for what h_bar says), by that
// of the first; it adds to theta_bar [parameters, lanes], and works in bars [stretch, kept, lanes].
#pragma once

#include <stdlib.h>

#include "numerics.hpp"

namespace circuitnn {

// Sums that are kept in registers at a time: as many as hide the time that a product takes.
constexpr int tile = 8;
constexpr int padded_to_tiles(int rows) { return (rows + tile - 1) / tile * tile; }
// Steps whose gradients by the weights are summed at once, while they are in the cache.
constexpr int stretch = 32;

// A matrix by tiles of rows, of which a column is one piece of memory. What pads the last tile is 0.
template <class S, int rows, int columns>
class Tiles {
    using Tile = S[columns][tile];
    // Not on the stack, which is small in threads.
    Tile* const entry = static_cast<Tile*>(calloc(padded / tile, sizeof(Tile)));

  public:
    static constexpr int padded = padded_to_tiles(rows);

    Tiles() = default;
    Tiles(const Tiles&) = delete;
    ~Tiles() { free(entry); }

    // Row after row, and column after column.
    void load(const S* weights) {
        for (int row = 0; row < rows; ++row)
            for (int k = 0; k < columns; ++k) entry[row / tile][k][row % tile] = weights[row * columns + k];
    }
    void load_transposed(const S* weights) {
        for (int row = 0; row < rows; ++row)
            for (int k = 0; k < columns; ++k) entry[row / tile][k][row % tile] = weights[k * rows + row];
    }
    // sums [padded] += the product with x [columns].
    template <class Real>
    CIRCUITNN_INLINE void add(const Real* x, Real* sums) const {
        for (int t = 0; t < padded / tile; ++t) {
            Real part[tile];
            CIRCUITNN_UNROLL for (int row = 0; row < tile; ++row) part[row] = sums[t * tile + row];
            for (int k = 0; k < columns; ++k)
                CIRCUITNN_UNROLL for (int row = 0; row < tile; ++row) part[row] += entry[t][k][row] * x[k];
            CIRCUITNN_UNROLL for (int row = 0; row < tile; ++row) sums[t * tile + row] = part[row];
        }
    }
};

// sums [rows, columns] += the sum over time of left[row] right[column], one block of both.
template <int block, class Real, int columns>
CIRCUITNN_INLINE inline void add_block(int64_t time, const Real* left, int left_step, const Real* right, int right_step,
                                       Real* sums) {
    Real part[block][block];
    CIRCUITNN_UNROLL for (int r = 0; r < block; ++r)
        CIRCUITNN_UNROLL for (int c = 0; c < block; ++c) part[r][c] = sums[r * columns + c];
    for (int64_t n = 0; n < time; ++n, left += left_step, right += right_step)
        CIRCUITNN_UNROLL for (int r = 0; r < block; ++r)
            CIRCUITNN_UNROLL for (int c = 0; c < block; ++c) part[r][c] += left[r] * right[c];
    CIRCUITNN_UNROLL for (int r = 0; r < block; ++r)
        CIRCUITNN_UNROLL for (int c = 0; c < block; ++c) sums[r * columns + c] = part[r][c];
}

// The gradient by a matrix: sums [rows, columns] += the sum over time of left [time, ..] right [time, ..].
template <int rows, int columns, class Real>
void add_outer(int64_t time, const Real* left, int left_step, const Real* right, int right_step, Real* sums) {
    constexpr int block = 4, whole_rows = rows / block * block, whole_columns = columns / block * block;
    for (int r = 0; r < whole_rows; r += block)
        for (int c = 0; c < whole_columns; c += block)
            add_block<block, Real, columns>(time, left + r, left_step, right + c, right_step, sums + r * columns + c);
    for (int r = 0; r < rows; ++r)
        for (int c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
            add_block<1, Real, columns>(time, left + r, left_step, right + c, right_step, sums + r * columns + c);
}

// The gradients by both matrices and both biases of a layer, from those by the sums of its gates, bars [end - begin, kept].
template <class Layer, class Real>
void add_weights(int64_t begin, int64_t end, const Real* u, const Real* x, const Real* xs, const Real* bars,
                 Real* theta_bar) {
    constexpr int I = Layer::inputs, H = Layer::size, rows = Layer::rows, K = Layer::kept, X = Layer::states;
    // Of the rows that see h, the last H may be kept elsewhere than those that see u.
    constexpr int common = rows - H, own = K - H;
    Real *hh = theta_bar + rows * I, *bias = hh + rows * H;
    const int64_t time = end - begin;
    add_outer<rows, I>(time, bars, K, u + begin * I, I, theta_bar);
    // h before the first of these steps, then before the others.
    const Real* first = begin ? xs + (begin - 1) * X : x;
    add_outer<common, H>(1, bars, K, first, X, hh);
    add_outer<H, H>(1, bars + own, K, first, X, hh + common * H);
    add_outer<common, H>(time - 1, bars + K, K, xs + begin * X, X, hh);
    add_outer<H, H>(time - 1, bars + K + own, K, xs + begin * X, X, hh + common * H);
    for (int64_t n = 0; n < time; ++n, bars += K)
        for (int row = 0; row < rows; ++row) {
            bias[row] += bars[row];
            bias[rows + row] += bars[row < common ? row : own + row - common];
        }
}

// A long short-term memory as torch.nn.LSTM: gates i, f, g, o; state h, then c.
template <class Real, int inputs_, int size_>
class LstmLayer {
    using S = ScalarOf<Real>;

  public:
    static constexpr int inputs = inputs_, size = size_, states = 2 * size, rows = 4 * size, kept = rows,
                         parameters = rows * (inputs + size + 2);

    static void forward(int64_t time, const S* theta, const Real* u, const Real* x, Real* xs, Real* gates) {
        Tiles<S, rows, inputs> ih;
        Tiles<S, rows, size> hh;
        ih.load(theta);
        hh.load(theta + rows * inputs);
        const S* bias = theta + rows * (inputs + size);
        for (int64_t n = 0; n < time; ++n, u += inputs, gates += kept) {
            Real sum[ih.padded];
            for (int row = 0; row < rows; ++row) sum[row] = all_lanes<Real>(bias[row] + bias[rows + row]);
            ih.add(u, sum);
            hh.add(x, sum);
            Real* next = xs + n * states;
            for (int k = 0; k < size; ++k) {
                const Real i = logistic<Real>(sum[k]), f = logistic<Real>(sum[size + k]),
                           g = hyperbolic_tangent<Real>(sum[2 * size + k]), o = logistic<Real>(sum[3 * size + k]);
                const Real c = f * x[size + k] + i * g;
                gates[k] = i, gates[size + k] = f, gates[2 * size + k] = g, gates[3 * size + k] = o;
                next[size + k] = c;
                next[k] = o * hyperbolic_tangent<Real>(c);
            }
            x = next;
        }
    }
    static void backward(int64_t time, const S* theta, const Real* u, const Real* x, const Real* xs, const Real* gates,
                         const Real* h_bar, Real* bars, Real* x_bar, Real* u_bar, Real* theta_bar) {
        Tiles<S, inputs, rows> ih;
        Tiles<S, size, rows> hh;
        ih.load_transposed(theta);
        hh.load_transposed(theta + rows * inputs);
        Real from_h[hh.padded] = {}, from_u[ih.padded];
        for (int k = 0; k < size; ++k) from_h[k] = x_bar[k];
        for (int64_t n = time - 1, end = time; n >= 0; --n) {
            const Real *before = n ? xs + (n - 1) * states : x, *after = xs + n * states;
            const Real* gate = gates + n * kept;
            Real* bar = bars + n % stretch * kept;
            for (int k = 0; k < size; ++k) {
                const Real i = gate[k], f = gate[size + k], g = gate[2 * size + k], o = gate[3 * size + k];
                const Real bent = hyperbolic_tangent<Real>(after[size + k]), h = h_bar[n * size + k] + from_h[k];
                const Real c = x_bar[size + k] + h * o * (S(1) - bent * bent);
                bar[k] = c * g * i * (S(1) - i);
                bar[size + k] = c * before[size + k] * f * (S(1) - f);
                bar[2 * size + k] = c * i * (S(1) - g * g);
                bar[3 * size + k] = h * bent * o * (S(1) - o);
                x_bar[size + k] = c * f;
            }
            for (Real& sum : from_h) sum = Real{};
            for (Real& sum : from_u) sum = Real{};
            hh.add(bar, from_h);
            ih.add(bar, from_u);
            for (int k = 0; k < inputs; ++k) u_bar[n * inputs + k] = from_u[k];
            if (n % stretch == 0) {
                add_weights<LstmLayer>(n, end, u, x, xs, bars, theta_bar);
                end = n;
            }
        }
        for (int k = 0; k < size; ++k) x_bar[k] = from_h[k];
    }
};

// A gated recurrent unit as torch.nn.GRU: gates r, z, n; what n takes of h before its gate r is kept beside them.
template <class Real, int inputs_, int size_>
class GruLayer {
    using S = ScalarOf<Real>;

  public:
    static constexpr int inputs = inputs_, size = size_, states = size, rows = 3 * size, kept = 4 * size,
                         parameters = rows * (inputs + size + 2);

    static void forward(int64_t time, const S* theta, const Real* u, const Real* x, Real* xs, Real* gates) {
        Tiles<S, rows, inputs> ih;
        Tiles<S, rows, size> hh;
        ih.load(theta);
        hh.load(theta + rows * inputs);
        const S *bias_u = theta + rows * (inputs + size), *bias_h = bias_u + rows;
        for (int64_t n = 0; n < time; ++n, u += inputs, gates += kept) {
            Real of_u[ih.padded], of_h[hh.padded];
            for (int row = 0; row < rows; ++row) {
                of_u[row] = all_lanes<Real>(bias_u[row]);
                of_h[row] = all_lanes<Real>(bias_h[row]);
            }
            ih.add(u, of_u);
            hh.add(x, of_h);
            Real* next = xs + n * states;
            for (int k = 0; k < size; ++k) {
                const Real r = logistic<Real>(of_u[k] + of_h[k]), z = logistic<Real>(of_u[size + k] + of_h[size + k]);
                const Real own = of_h[2 * size + k];
                const Real fresh = hyperbolic_tangent<Real>(of_u[2 * size + k] + r * own);
                gates[k] = r, gates[size + k] = z, gates[2 * size + k] = fresh, gates[3 * size + k] = own;
                next[k] = fresh + z * (x[k] - fresh);
            }
            x = next;
        }
    }
    static void backward(int64_t time, const S* theta, const Real* u, const Real* x, const Real* xs, const Real* gates,
                         const Real* h_bar, Real* bars, Real* x_bar, Real* u_bar, Real* theta_bar) {
        Tiles<S, inputs, rows> ih;
        Tiles<S, size, rows> hh;
        ih.load_transposed(theta);
        hh.load_transposed(theta + rows * inputs);
        for (int64_t n = time - 1, end = time; n >= 0; --n) {
            const Real *before = n ? xs + (n - 1) * states : x, *gate = gates + n * kept;
            Real *bar = bars + n % stretch * kept, from_h[hh.padded] = {}, from_u[ih.padded] = {}, seen_by_h[rows];
            for (int k = 0; k < size; ++k) {
                const Real r = gate[k], z = gate[size + k], fresh = gate[2 * size + k], own = gate[3 * size + k];
                const Real h = h_bar[n * size + k] + x_bar[k];
                const Real inner = h * (S(1) - z) * (S(1) - fresh * fresh);
                seen_by_h[k] = bar[k] = inner * own * r * (S(1) - r);
                seen_by_h[size + k] = bar[size + k] = h * (before[k] - fresh) * z * (S(1) - z);
                bar[2 * size + k] = inner;
                seen_by_h[2 * size + k] = bar[3 * size + k] = inner * r;
                from_h[k] = h * z;
            }
            hh.add(seen_by_h, from_h);
            ih.add(bar, from_u);
            for (int k = 0; k < size; ++k) x_bar[k] = from_h[k];
            for (int k = 0; k < inputs; ++k) u_bar[n * inputs + k] = from_u[k];
            if (n % stretch == 0) {
                add_weights<GruLayer>(n, end, u, x, xs, bars, theta_bar);
                end = n;
            }
        }
    }
};

}  // namespace circuitnn

// The two functions of a library that trains one layer. Real: FloatLanes or DoubleLanes.
#define CIRCUITNN_GATED(Real, ...)                                                                                       \
    using Layer = __VA_ARGS__;                                                                                           \
    extern "C" void circuitnn_forward(int64_t time, const ScalarOf<Real>* theta, const Real* u, const Real* x, Real* xs, \
                                      Real* gates) {                                                                     \
        Layer::forward(time, theta, u, x, xs, gates);                                                                    \
    }                                                                                                                    \
    extern "C" void circuitnn_backward(int64_t time, const ScalarOf<Real>* theta, const Real* u, const Real* x,          \
                                       const Real* xs, const Real* gates, const Real* h_bar, Real* bars, Real* x_bar,    \
                                       Real* u_bar, Real* theta_bar) {                                                   \
        Layer::backward(time, theta, u, x, xs, gates, h_bar, bars, x_bar, u_bar, theta_bar);                             \
    }
