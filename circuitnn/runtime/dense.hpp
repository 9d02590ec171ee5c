// Dense layers for one sample at a time. What is computed at once is the rows of a layer; a vector register holds rows that
// stand below each other.
#pragma once

#include "layers.hpp"

namespace circuitnn {

// Vectors of sums that are kept in registers at a time.
#if defined(__AVX512F__)
constexpr int tile_rows = 16;
#elif defined(__AVX__) || defined(__aarch64__)
constexpr int tile_rows = 6;
#else
constexpr int tile_rows = 3;
#endif

// A matrix by columns, in `groups` of `rows` rows which are padded to whole vectors. What pads them is 0.
template <class Real, int inputs, int rows, int groups = 1>
class Columns {
  public:
    static constexpr int each = vectors<Real>(rows), parts = groups * each;

    // Row after row, as torch has them; those of group g are multiplied by factor[g]. Adds to what is there, 0 at first.
    template <class Source>
    void load(Source& weights, const Real (&factor)[groups]) {
        for (int g = 0; g < groups; ++g)
            for (int row = 0; row < rows; ++row)
                for (auto& column : entry) column[g * each * width<Real> + row] += Real(weights.take()) * factor[g];
    }

    // sum[parts] += the product with x[inputs]. With `back` from the last numbers to the first: a matrix that is larger
    // than the nearest cache is read to and fro, and what was read last is still there.
    CIRCUITNN_INLINE void add(const Real* x, Wide<Real>* sum, bool back = false) const { tiles<0, parts>(x, sum, back); }
    // The same of one column.
    CIRCUITNN_INLINE void add_column(int column, Real x, Wide<Real>* sum) const {
        accumulate<0, parts>(column, x, sum);
    }

  private:
    alignas(64) Real entry[inputs][parts * width<Real>] = {};

    template <int first, int count>
    CIRCUITNN_INLINE void tiles(const Real* x, Wide<Real>* sum, bool back) const {
        if constexpr (count > tile_rows) {
            constexpr int half = count / 2;
            if (!back) tiles<first, half>(x, sum, back);
            tiles<first + half, count - half>(x, sum + half, back);
            if (back) tiles<first, half>(x, sum, back);
        } else {
            tile<first, count>(x, sum, back);
        }
    }
    template <int first, int count>
    CIRCUITNN_INLINE void tile(const Real* x, Wide<Real>* sum, bool back) const {
        // A sum waits for the last product; where there are few, several chains take turns.
        constexpr int chains = count * 4 <= tile_rows ? 4 : count * 2 <= tile_rows ? 2 : 1;
        constexpr int whole = inputs / chains * chains;
        Wide<Real> part[chains][count];
        for (int v = 0; v < count; ++v) {
            part[0][v] = sum[v];
            for (int chain = 1; chain < chains; ++chain) part[chain][v] = Wide<Real>{};
        }
        int k = back ? whole - chains : 0;
        const int step = back ? -chains : chains;
        for (int done = 0; done < whole; done += chains, k += step)
            for (int chain = 0; chain < chains; ++chain) accumulate<first, count>(k + chain, x[k + chain], part[chain]);
        for (k = whole; k < inputs; ++k) accumulate<first, count>(k, x[k], part[0]);
        for (int v = 0; v < count; ++v) {
            sum[v] = part[0][v];
            for (int chain = 1; chain < chains; ++chain) sum[v] += part[chain][v];
        }
    }
    template <int first, int count>
    CIRCUITNN_INLINE void accumulate(int column, Real x, Wide<Real>* sum) const {
        for (int v = 0; v < count; ++v) sum[v] += circuitnn::load(entry[column] + (first + v) * width<Real>) * x;
    }
};

// Biases, as sums to begin with.
template <class Real, int rows, int groups = 1>
class Biases {
    Columns<Real, 1, rows, groups> column;

  public:
    template <class Source>
    void load(Source& weights, const Real (&factor)[groups]) {
        column.load(weights, factor);
    }
    CIRCUITNN_INLINE void start(Wide<Real>* sum) const {
        for (int v = 0; v < column.parts; ++v) sum[v] = Wide<Real>{};
        column.add_column(0, Real(1), sum);
    }
};

// a . b of padded numbers.
template <class Real, int size>
CIRCUITNN_INLINE inline Real product(const Real* a, const Real* b) {
    Wide<Real> sum = circuitnn::load(a) * circuitnn::load(b);
    for (int v = 1; v < vectors<Real>(size); ++v)
        sum += circuitnn::load(a + v * width<Real>) * circuitnn::load(b + v * width<Real>);
    Real part[width<Real>];
    store(part, sum);
    for (int half = width<Real> / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) part[k] += part[k + half];
    return part[0];
}

// One output of a dense layer, for a padded input.
template <class Real, int size>
class Dense {
    alignas(64) Real weight[padded<Real>(size)] = {}, bias = 0;

  public:
    template <class Source>
    void load(Source& weights) {
        for (int k = 0; k < size; ++k) weight[k] = Real(weights.take());
        bias = Real(weights.take());
    }
    CIRCUITNN_INLINE Real operator()(const Real* x) const { return product<Real, size>(weight, x) + bias; }
};

// Dense layers with tanh between them, for one sample: from `inputs` numbers to the last of `sizes`.
template <class Real, int inputs, int size, int... sizes>
class Perceptron {
    Columns<Real, inputs, size> matrix;
    Biases<Real, size, 1> bias;
    Perceptron<Real, size, sizes...> next;

  public:
    template <class Source>
    void load(Source& weights) {
        constexpr Real one[] = {Real(1)};
        matrix.load(weights, one);
        bias.load(weights, one);
        next.load(weights);
    }
    CIRCUITNN_INLINE void operator()(const Real* x, Real* y) const {
        constexpr int parts = vectors<Real>(size);
        Wide<Real> sum[parts];
        alignas(64) Real z[padded<Real>(size)];
        bias.start(sum);
        matrix.add(x, sum);
        for (int v = 0; v < parts; ++v) store(z + v * width<Real>, hyperbolic_tangent(sum[v]));
        next(z, y);
    }
};
template <class Real, int inputs, int size>
class Perceptron<Real, inputs, size> {
    Columns<Real, inputs, size> matrix;
    Biases<Real, size, 1> bias;

  public:
    template <class Source>
    void load(Source& weights) {
        constexpr Real one[] = {Real(1)};
        matrix.load(weights, one);
        bias.load(weights, one);
    }
    CIRCUITNN_INLINE void operator()(const Real* x, Real* y) const {
        constexpr int parts = vectors<Real>(size);
        Wide<Real> sum[parts];
        alignas(64) Real z[padded<Real>(size)];
        bias.start(sum);
        matrix.add(x, sum);
        for (int v = 0; v < parts; ++v) store(z + v * width<Real>, sum[v]);
        memcpy(y, z, sizeof(Real) * size);
    }
};

}  // namespace circuitnn
