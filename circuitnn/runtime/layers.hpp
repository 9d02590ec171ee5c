// Layers of networks over a block of samples. A channel is a row of samples, and a vector register holds samples of one
// channel that follow each other: any number of channels fills the registers, and nothing waits for anything.
#pragma once

#include "numerics.hpp"

namespace circuitnn {

// Samples that go through a layer at a time: rows of all channels stay in the nearest cache.
constexpr int block_length = 64;

template <class Real>
struct WideOf;
template <>
struct WideOf<double> {
    using Type = DoubleLanes;
};
template <>
struct WideOf<float> {
    using Type = FloatLanes;
};
// As many numbers as a vector register holds, or several that are side by side.
template <class Real>
using Wide = typename WideOf<Real>::Type;
template <class Real>
constexpr int width = Traits<Wide<Real>>::lanes;

// How many vectors hold n numbers, and what that makes with padding.
template <class Real>
constexpr int vectors(int n) {
    return (n + width<Real> - 1) / width<Real>;
}
template <class Real>
constexpr int padded(int n) {
    return vectors<Real>(n) * width<Real>;
}

template <class Real>
CIRCUITNN_INLINE inline Wide<Real> load(const Real* from) {
    Wide<Real> x;
    memcpy(&x, from, sizeof x);
    return x;
}
template <class Real>
CIRCUITNN_INLINE inline void store(Real* to, const Wide<Real>& x) {
    memcpy(to, &x, sizeof x);
}

// A network's numbers in the order in which its layers take them.
template <class Number>
class Weights {
    const Number* next;

  public:
    explicit Weights(const Number* first) : next(first) {}
    double take() { return double(*next++); }
};

// Rows of samples, `stride` numbers from each to the next. Of a block's last vector some samples belong to nobody; they
// are computed with the others.
template <class Real>
struct Rows {
    Real* first;
    int stride;

    CIRCUITNN_INLINE Real* operator[](int row) const { return first + row * stride; }
    operator Rows<const Real>() const { return {first, stride}; }
};
template <class Real>
struct Rows<const Real> {
    const Real* first;
    int stride;

    CIRCUITNN_INLINE const Real* operator[](int row) const { return first + row * stride; }
};

// Rows of one block, on their own.
template <class Real, int channels>
struct Channels {
    alignas(64) Real row[channels][block_length];

    operator Rows<Real>() { return {row[0], block_length}; }
    operator Rows<const Real>() const { return {row[0], block_length}; }
};

// What comes to a network: a row of sound and a row for each knob. moving: whether a knob moves in it; settling: the
// first sample has been there for ever. pace: the sample rate that it was trained at over the present one.
template <class Real, int inputs>
struct Block {
    Channels<Real, inputs> channels;
    int count;
    bool moving, settling;
    Real pace;
};

// Sums that are kept in registers at a time: outputs by vectors of samples. By how many registers there are, and how many
// of them make one vector of 64 bytes.
#if defined(__AVX512F__)
constexpr int tile_outputs = 8, tile_vectors = 2;
#elif defined(__AVX__) || defined(__aarch64__)
constexpr int tile_outputs = 4, tile_vectors = 1;
#else
constexpr int tile_outputs = 2, tile_vectors = 1;
#endif

// y_o[t] = b_o + sum over taps k and inputs c of w_ock x_c[t - d_k]: a convolution, or with one tap a dense layer. Its
// numbers come as torch's: the weights [outputs][inputs][taps], and the bias if there is one.
template <class Real, int inputs, int outputs, int taps = 1, bool biased = true>
class Mix {
    // For each tile of outputs [taps][inputs][outputs of the tile], as they are read.
    alignas(64) Real weight[taps * inputs * outputs];
    Real bias[outputs] = {};

    static int place(int output, int input, int tap) {
        const int tile = output / tile_outputs * tile_outputs;
        const int wide = outputs - tile < tile_outputs ? outputs - tile : tile_outputs;
        return tile * inputs * taps + (tap * inputs + input) * wide + output - tile;
    }

  public:
    template <class Source>
    void load(Source& weights) {
        for (int o = 0; o < outputs; ++o)
            for (int c = 0; c < inputs; ++c)
                for (int k = 0; k < taps; ++k) weight[place(o, c, k)] = Real(weights.take());
        if constexpr (biased)
            for (Real& number : bias) number = Real(weights.take());
    }
    // Doubles the first `count` outputs, for a tanh: see `gated`.
    void double_outputs(int count = outputs) {
        for (int o = 0; o < count; ++o) {
            for (int c = 0; c < inputs; ++c)
                for (int k = 0; k < taps; ++k) weight[place(o, c, k)] *= Real(2);
            bias[o] *= Real(2);
        }
    }

    // x: the first input's row for each tap, which begins with x[-d_k]; all inputs' rows are `stride` apart. onto: rows
    // that are added, which may be y; none if it is null.
    void apply(const Real* const (&x)[taps], int stride, int count, Rows<const Real> onto, Rows<Real> y) const {
        constexpr int full = outputs / tile_outputs * tile_outputs, rest = outputs - full;
        for (int o = 0; o < full; o += tile_outputs) part<tile_outputs>(o, x, stride, count, onto, y);
        if constexpr (rest > 0) part<rest>(full, x, stride, count, onto, y);
    }
    // With one tap.
    void apply(Rows<const Real> x, int count, Rows<const Real> onto, Rows<Real> y) const {
        static_assert(taps == 1);
        const Real* const only[1] = {x.first};
        apply(only, x.stride, count, onto, y);
    }

  private:
    template <int wide>
    void part(int o, const Real* const (&x)[taps], int stride, int count, Rows<const Real> onto, Rows<Real> y) const {
        constexpr int several = tile_vectors * (wide * 4 <= tile_outputs ? 2 : 1);
        const int all = vectors<Real>(count);
        int at = 0;
        for (; at + several <= all; at += several) tile<wide, several>(o, x, stride, at * width<Real>, onto, y);
        if constexpr (several > 1)
            for (; at < all; ++at) tile<wide, 1>(o, x, stride, at * width<Real>, onto, y);
    }

    template <int wide, int several>
    CIRCUITNN_INLINE void tile(int o, const Real* const (&x)[taps], int stride, int t, Rows<const Real> onto,
                               Rows<Real> y) const {
        Wide<Real> sum[wide][several];
        CIRCUITNN_UNROLL
        for (int k = 0; k < wide; ++k)
            for (int v = 0; v < several; ++v) {
                sum[k][v] = all_lanes<Wide<Real>>(bias[o + k]);
                if (onto.first) sum[k][v] += circuitnn::load(onto[o + k] + t + v * width<Real>);
            }
        const Real* w = weight + o * inputs * taps;
        for (int tap = 0; tap < taps; ++tap) {
            const Real* row = x[tap] + t;
            for (int c = 0; c < inputs; ++c, row += stride, w += wide) {
                Wide<Real> in[several];
                for (int v = 0; v < several; ++v) in[v] = circuitnn::load(row + v * width<Real>);
                CIRCUITNN_UNROLL
                for (int k = 0; k < wide; ++k)
                    for (int v = 0; v < several; ++v) sum[k][v] += in[v] * w[k];
            }
        }
        CIRCUITNN_UNROLL
        for (int k = 0; k < wide; ++k)
            for (int v = 0; v < several; ++v) store(y[o + k] + t + v * width<Real>, sum[k][v]);
    }
};

// visit(row, place of a vector in it) for all vectors of some rows.
template <class Real, class Visit>
CIRCUITNN_INLINE inline void each_vector(int rows, int count, Visit visit) {
    for (int row = 0; row < rows; ++row)
        for (int v = 0; v < vectors<Real>(count); ++v) visit(row, v * width<Real>);
}

// Activations of layers. tanh(x) = g / (g + 2) with the growth g = exp(2x) - 1, logistic(x) = (g + 1) / (g + 2) with
// g = exp(x) - 1; a layer before a tanh has its numbers doubled, so that both begin alike. Divisions cost more than all the
// rest of it, and are shared.
template <class Real>
CIRCUITNN_INLINE inline Real gate(const Real& x) {
    using S = ScalarOf<Real>;
    const Real g = bounded_growth<Real>(x);
    return (g + S(1)) / (g + S(2));
}
// logistic(a) tanh(b / 2)
template <class Real>
CIRCUITNN_INLINE inline Real gated(const Real& a, const Real& b) {
    using S = ScalarOf<Real>;
    const Real g = bounded_growth<Real>(a), h = bounded_growth<Real>(b);
    return ((g + S(1)) * h) / ((g + S(2)) * (h + S(2)));
}
// tanh(a / 2) and tanh(b / 2) in place.
template <class Real>
CIRCUITNN_INLINE inline void bend(Real& a, Real& b) {
    using S = ScalarOf<Real>;
    const Real g = bounded_growth<Real>(a), h = bounded_growth<Real>(b), under_g = g + S(2), under_h = h + S(2);
    const Real one = all_lanes<Real>(1), share = one / (under_g * under_h);
    a = g * under_h * share;
    b = h * under_g * share;
}
template <class Real>
inline void bend_rows(Rows<Real> x, int channels, int count) {
    for (int c = 0; c < channels; c += 2) {
        const int other = c + 1 < channels ? c + 1 : c;
        for (int v = 0; v < vectors<Real>(count); ++v) {
            const int t = v * width<Real>;
            Wide<Real> a = load(x[c] + t), b = load(x[other] + t);
            bend(a, b);
            store(x[c] + t, a);
            store(x[other] + t, b);
        }
    }
}
// tanh of the one row that a network ends with.
template <class Real>
inline void bend_whole(Rows<Real> y, int count) {
    each_vector<Real>(1, count, [&](int, int t) { store(y[0] + t, hyperbolic_tangent(load(y[0] + t))); });
}
template <class Real>
inline void rectify(Rows<Real> x, int rows, int count) {
    each_vector<Real>(rows, count, [&](int c, int t) {
        const Wide<Real> zero{};
        store(x[c] + t, maximum<Wide<Real>>(load(x[c] + t), zero));
    });
}

// What layers of dilated convolutions remember of their inputs: one ring buffer for each, where a write pointer and the
// read pointers behind it go round (Miklanek and Schimmel, "Fast temporal convolutions for real-time audio signal
// processing", DAFx20in22, section 2.1). Behind the ring stand its first `block_length` samples again, so that a block can
// be read and written in one piece wherever it begins. Plain data, all zero at first.
// Shape has `channels`, `taps` and `dilations`, one for each layer.
template <class Real, class Shape>
class Memory {
  public:
    static constexpr int channels = Shape::channels, taps = Shape::taps;
    static constexpr int layers = sizeof Shape::dilations / sizeof Shape::dilations[0];

  private:
    struct Plan {
        int offset[layers], length[layers], stride[layers], total;
    };
    static constexpr Plan plan = [] {
        Plan made{};
        for (int k = 0; k < layers; ++k) {
            const int reach = Shape::dilations[k] * (taps - 1);
            made.offset[k] = made.total;
            made.length[k] = (reach + 2 * block_length - 1) / block_length * block_length;
            // Rows an odd number of cache lines apart do not all fall into the same place of the cache.
            made.stride[k] = made.length[k] + block_length + width<Real>;
            made.total += channels * made.stride[k];
        }
        return made;
    }();
    alignas(64) Real samples[plan.total];
    int at[layers];

  public:
    // Where a layer's input of this block is written.
    Rows<Real> input(int layer) { return {samples + plan.offset[layer] + at[layer], plan.stride[layer]}; }
    // When it has been written: keeps both copies alike, or fills all of the past with its first sample.
    void keep(int layer, int count, bool settling) {
        const int length = plan.length[layer], begin = at[layer], end = begin + count;
        const int last = end < block_length ? end : block_length;
        for (int c = 0; c < channels; ++c) {
            Real* ring = samples + plan.offset[layer] + c * plan.stride[layer];
            if (end > length) memcpy(ring, ring + length, sizeof(Real) * size_t(end - length));
            if (begin < last) memcpy(ring + length + begin, ring + begin, sizeof(Real) * size_t(last - begin));
            if (settling) {
                const Real value = ring[begin];
                for (int k = 0; k < length + block_length; ++k) ring[k] = value;
            }
        }
    }
    // The first channel's rows that the taps see, the oldest first.
    void look(int layer, const Real* (&x)[taps]) const {
        for (int k = 0; k < taps; ++k) {
            const int behind = at[layer] - Shape::dilations[layer] * (taps - 1 - k);
            x[k] = samples + plan.offset[layer] + (behind < 0 ? behind + plan.length[layer] : behind);
        }
    }
    void advance(int layer, int count) {
        const int next = at[layer] + count;
        at[layer] = next < plan.length[layer] ? next : next - plan.length[layer];
    }
};

}  // namespace circuitnn
