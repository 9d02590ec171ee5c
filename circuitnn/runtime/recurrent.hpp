// Networks that wait for their own last sample: recurrent.py, state_space_gru.py and state_trajectory_network.py. What is
// computed at once is the rows of a layer; a vector register holds rows that stand below each other.
#pragma once

#include "layers.hpp"

namespace circuitnn {

// Vectors of sums that are kept in registers at a time.
#if defined(__AVX512F__)
constexpr int tile_rows = 24;
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

    // sum[parts] += the product with x[inputs]. With `back` from the last column to the first: a matrix that is larger
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
            tiles<first, half>(x, sum, back);
            tiles<first + half, count - half>(x, sum + half, back);
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

// A long short-term memory as torch.nn.LSTM: gates i, f, g, o.
template <class Real, int inputs, int size>
class Lstm {
  public:
    static constexpr int each = vectors<Real>(size), parts = 4 * each;
    struct State {
        alignas(64) Real h[padded<Real>(size)], c[padded<Real>(size)];
        bool back;
    };

    // weight_ih, weight_hh, bias_ih, bias_hh.
    template <class Source>
    void load(Source& weights) {
        constexpr Real factor[] = {1, 1, 2, 1}, first[] = {1, 1, 2}, last[] = {1};
        input.load(weights, factor);
        before.load(weights, first);
        out.load(weights, last);
        bias.load(weights, factor);
        bias.load(weights, factor);
    }
    // What does not depend on the state: the sum to begin with, and that of one input added.
    CIRCUITNN_INLINE void start(Wide<Real>* sum) const { bias.start(sum); }
    CIRCUITNN_INLINE void add(int k, Real x, Wide<Real>* sum) const { input.add_column(k, x, sum); }
    CIRCUITNN_INLINE void step(Wide<Real>* sum, State& state) const {
        before.add(state.h, sum, state.back);
        Wide<Real> c[each];
        for (int v = 0; v < each; ++v) {
            const Wide<Real> kept = gate(sum[each + v]) * circuitnn::load(state.c + v * width<Real>);
            c[v] = kept + gated(sum[v], sum[2 * each + v]);
            store(state.c + v * width<Real>, c[v]);
        }
        // The last gate is for what waits for these.
        out.add(state.h, sum + 3 * each, state.back);
        for (int v = 0; v < each; ++v)
            store(state.h + v * width<Real>, gated<Wide<Real>>(sum[3 * each + v], c[v] + c[v]));
        state.back = !state.back;
    }

  private:
    Columns<Real, inputs, size, 4> input;
    Columns<Real, size, size, 3> before;
    Columns<Real, size, size> out;
    Biases<Real, size, 4> bias;
};

// A gated recurrent unit as torch.nn.GRU: gates r, z, n.
template <class Real, int inputs, int size>
class Gru {
  public:
    static constexpr int each = vectors<Real>(size), parts = 3 * each;
    struct State {
        alignas(64) Real h[padded<Real>(size)];
        bool back;
    };

    // weight_ih, weight_hh, bias_ih, bias_hh.
    template <class Source>
    void load(Source& weights) {
        constexpr Real factor[] = {1, 1, 2}, one[] = {1}, two[] = {2};
        input.load(weights, factor);
        reset.load(weights, one);
        keep.load(weights, one);
        make.load(weights, two);
        bias.load(weights, factor);
        reset_bias.load(weights, one);
        keep_bias.load(weights, one);
        make_bias.load(weights, two);
    }
    CIRCUITNN_INLINE void start(Wide<Real>* sum) const {
        bias.start(sum);
        Wide<Real> more[2 * each];
        reset_bias.start(more);
        keep_bias.start(more + each);
        for (int v = 0; v < 2 * each; ++v) sum[v] += more[v];
    }
    CIRCUITNN_INLINE void add(int k, Real x, Wide<Real>* sum) const { input.add_column(k, x, sum); }
    // n = tanh(.. + r (..)), h = (1 - z) n + z h over one denominator.
    CIRCUITNN_INLINE void step(Wide<Real>* sum, State& state) const {
        Wide<Real> made[each];
        make_bias.start(made);
        reset.add(state.h, sum, state.back);
        make.add(state.h, made, state.back);
        for (int v = 0; v < each; ++v)
            made[v] = bounded_growth<Wide<Real>>(sum[2 * each + v] + gate(sum[v]) * made[v]);
        keep.add(state.h, sum + each, state.back);
        for (int v = 0; v < each; ++v) {
            const Wide<Real> z = bounded_growth(sum[each + v]), below = made[v] + Real(2);
            const Wide<Real> before = (z + Real(1)) * circuitnn::load(state.h + v * width<Real>);
            store<Real>(state.h + v * width<Real>, (made[v] + before * below) / (below * (z + Real(2))));
        }
        state.back = !state.back;
    }

  private:
    Columns<Real, inputs, size, 3> input;
    Columns<Real, size, size> reset, keep, make;
    Biases<Real, size, 3> bias;
    Biases<Real, size> reset_bias, keep_bias, make_bias;
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

// A recurrent layer and a dense one, to which the input is added with `residual`. Cell: Lstm or Gru.
template <class Real, int inputs, template <class, int, int> class Cell, int size, bool residual>
class Recurrent {
    using Layer = Cell<Real, inputs, size>;
    Layer layer;
    Dense<Real, size> dense;

  public:
    using State = typename Layer::State;

    template <class Source>
    void load(Source& weights) {
        layer.load(weights);
        dense.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        // A network like this begins with zeros, whatever was there before.
        if (in.settling) return;
        Wide<Real> standing[Layer::parts];
        for (int n = 0; n < in.count; ++n) {
            if (n == 0 || in.moving) {
                layer.start(standing);
                for (int k = 1; k < inputs; ++k) layer.add(k, in.channels.row[k][n], standing);
            }
            Wide<Real> sum[Layer::parts];
            const Real u = in.channels.row[0][n];
            for (int v = 0; v < Layer::parts; ++v) sum[v] = standing[v];
            layer.add(0, u, sum);
            layer.step(sum, state);
            y[0][n] = dense(state.h) + (residual ? u : Real(0));
        }
    }
};

// State-space GRU: a GRU of (sound, knobs, states) and a dense layer that makes the next states, the first of which is the
// output. inputs: the sound and the knobs.
template <class Real, int inputs, int states, int size>
class StateSpaceGru {
    using Layer = Gru<Real, inputs + states, size>;
    Layer layer;
    Dense<Real, size> dense[states];

  public:
    struct State {
        typename Layer::State hidden;
        Real x[states];
    };

    template <class Source>
    void load(Source& weights) {
        layer.load(weights);
        for (auto& one : dense) one.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        if (in.settling) return;
        for (int n = 0; n < in.count; ++n) {
            Wide<Real> sum[Layer::parts];
            layer.start(sum);
            for (int k = 0; k < inputs; ++k) layer.add(k, in.channels.row[k][n], sum);
            for (int k = 0; k < states; ++k) layer.add(inputs + k, state.x[k], sum);
            layer.step(sum, state.hidden);
            for (int k = 0; k < states; ++k) state.x[k] = dense[k](state.hidden.h);
            y[0][n] = state.x[0];
        }
    }
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

// State Trajectory Network: x += step * perceptron(sound, x, knobs); the first state is the output. inputs: the sound and the
// knobs; hidden: widths of the layers between.
template <class Real, int inputs, int states, int... hidden>
class StateTrajectoryNetwork {
    Perceptron<Real, inputs + states, hidden..., states> perceptron;
    Real trained_step;

  public:
    // In double precision: a sum of many small steps.
    struct State {
        double x[states];
    };

    template <class Source>
    void load(Source& weights) {
        perceptron.load(weights);
        trained_step = Real(weights.take());
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        if (in.settling) return;
        for (int n = 0; n < in.count; ++n) {
            Real x[inputs + states], step[states];
            x[0] = in.channels.row[0][n];
            for (int k = 0; k < states; ++k) x[1 + k] = Real(state.x[k]);
            for (int k = 1; k < inputs; ++k) x[states + k] = in.channels.row[k][n];
            perceptron(x, step);
            for (int k = 0; k < states; ++k) state.x[k] += double(trained_step * in.pace * step[k]);
            y[0][n] = Real(state.x[0]);
        }
    }
};

}  // namespace circuitnn
