// Networks that wait for their own last sample: recurrent.py, state_space_gru.py and state_trajectory_network.py. What is
// computed at once is the rows of a layer; a vector register holds rows that stand below each other.
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

// A long short-term memory as torch.nn.LSTM: gates i, f, g, o.
template <class Real, int inputs, int size>
class Lstm {
  public:
    static constexpr int each = vectors<Real>(size), parts = 4 * each;
    static constexpr int memories = 2;
    struct State {
        alignas(64) Real h[padded<Real>(size)], c[padded<Real>(size)];
        bool back;
        Real* memory(int which) { return which == 0 ? h : c; }
    };

    // weight_ih, weight_hh, bias_ih, bias_hh.
    template <class Source>
    void load(Source& weights) {
        constexpr Real factor[] = {1, 1, 2, 1};
        input.load(weights, factor);
        recurrent.load(weights, factor);
        bias.load(weights, factor);
        bias.load(weights, factor);
    }
    // What does not depend on the state: the sum to begin with, and that of one or all inputs added.
    CIRCUITNN_INLINE void start(Wide<Real>* sum) const { bias.start(sum); }
    CIRCUITNN_INLINE void add(int k, Real x, Wide<Real>* sum) const { input.add_column(k, x, sum); }
    CIRCUITNN_INLINE void add(const Real* x, Wide<Real>* sum) const { input.add(x, sum); }
    CIRCUITNN_INLINE void step(Wide<Real>* sum, State& state) const {
        recurrent.add(state.h, sum, state.back);
        Wide<Real> c[each];
        for (int v = 0; v < each; ++v) {
            const Wide<Real> kept = gate(sum[each + v]) * circuitnn::load(state.c + v * width<Real>);
            c[v] = kept + gated(sum[v], sum[2 * each + v]);
            store(state.c + v * width<Real>, c[v]);
        }
        for (int v = 0; v < each; ++v)
            store(state.h + v * width<Real>, gated<Wide<Real>>(sum[3 * each + v], c[v] + c[v]));
        state.back = !state.back;
    }

  private:
    Columns<Real, inputs, size, 4> input;
    Columns<Real, size, size, 4> recurrent;
    Biases<Real, size, 4> bias;
};

// A gated recurrent unit as torch.nn.GRU: gates r, z, n.
template <class Real, int inputs, int size>
class Gru {
  public:
    static constexpr int each = vectors<Real>(size), parts = 3 * each;
    static constexpr int memories = 1;
    struct State {
        alignas(64) Real h[padded<Real>(size)];
        bool back;
        Real* memory(int) { return h; }
    };

    // weight_ih, weight_hh, bias_ih, bias_hh.
    template <class Source>
    void load(Source& weights) {
        constexpr Real factor[] = {1, 1, 2};
        input.load(weights, factor);
        recurrent.load(weights, factor);
        input_bias.load(weights, factor);
        recurrent_bias.load(weights, factor);
    }
    CIRCUITNN_INLINE void start(Wide<Real>* sum) const { input_bias.start(sum); }
    CIRCUITNN_INLINE void add(int k, Real x, Wide<Real>* sum) const { input.add_column(k, x, sum); }
    CIRCUITNN_INLINE void add(const Real* x, Wide<Real>* sum) const { input.add(x, sum); }
    // n = tanh(.. + r (..)), h = (1 - z) n + z h over one denominator.
    CIRCUITNN_INLINE void step(Wide<Real>* sum, State& state) const {
        Wide<Real> own[parts];
        recurrent_bias.start(own);
        for (int v = 0; v < 2 * each; ++v) own[v] += sum[v];
        recurrent.add(state.h, own, state.back);
        for (int v = 0; v < each; ++v) {
            const Wide<Real> r = gate(own[v]), z = bounded_growth(own[each + v]);
            const Wide<Real> n = bounded_growth<Wide<Real>>(sum[2 * each + v] + r * own[2 * each + v]);
            const Wide<Real> below = n + Real(2), kept = (z + Real(1)) * circuitnn::load(state.h + v * width<Real>);
            store<Real>(state.h + v * width<Real>, (n + kept * below) / (below * (z + Real(2))));
        }
        state.back = !state.back;
    }

  private:
    Columns<Real, inputs, size, 3> input;
    Columns<Real, size, size, 3> recurrent;
    Biases<Real, size, 3> input_bias, recurrent_bias;
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

// So many layers, each of which sees what the one below it remembers. Cell: Lstm or Gru.
template <class Real, template <class, int, int> class Cell, int size, int layers>
class Above {
    using Layer = Cell<Real, size, size>;
    using Next = Above<Real, Cell, size, layers - 1>;
    Layer layer;
    Next next;

  public:
    struct State {
        typename Layer::State own;
        typename Next::State next;
        Real* memory(int at, int which) { return at == 0 ? own.memory(which) : next.memory(at - 1, which); }
    };
    template <class Source>
    void load(Source& weights) {
        layer.load(weights);
        next.load(weights);
    }
    // From what the layer below remembers to what the last one does.
    CIRCUITNN_INLINE const Real* step(const Real* below, State& state) const {
        Wide<Real> sum[Layer::parts];
        layer.start(sum);
        layer.add(below, sum);
        layer.step(sum, state.own);
        return next.step(state.own.h, state.next);
    }
};
template <class Real, template <class, int, int> class Cell, int size>
class Above<Real, Cell, size, 0> {
  public:
    struct State {
        Real* memory(int, int) { return nullptr; }
    };
    template <class Source>
    void load(Source&) {}
    CIRCUITNN_INLINE const Real* step(const Real* below, State&) const { return below; }
};

// Recurrent layers and a dense one, to which the input is added with `residual`. Cell: Lstm or Gru. They begin with zeros,
// or with `own_start` with numbers of their own.
template <class Real, int inputs, template <class, int, int> class Cell, int size, int layers, bool residual,
          bool own_start>
class Recurrent {
    using Layer = Cell<Real, inputs, size>;
    using Upper = Above<Real, Cell, size, layers - 1>;
    Layer layer;
    Upper above;
    Dense<Real, size> dense;

  public:
    struct State {
        typename Layer::State first;
        typename Upper::State above;
        Real* memory(int at, int which) { return at == 0 ? first.memory(which) : above.memory(at - 1, which); }
    };

    template <class Source>
    void load(Source& weights) {
        layer.load(weights);
        above.load(weights);
        dense.load(weights);
        if (own_start)
            for (int which = 0; which < Layer::memories; ++which)
                for (int k = 0; k < layers; ++k)
                    for (int row = 0; row < size; ++row) start.memory(k, which)[row] = Real(weights.take());
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        // Where it begins does not depend on what came before.
        if (in.settling) {
            if (own_start) state = start;
            return;
        }
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
            layer.step(sum, state.first);
            y[0][n] = dense(above.step(state.first.h, state.above)) + (residual ? u : Real(0));
        }
    }

  private:
    State start{};
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

// Within +-limit. What is not a number stays that.
inline double held(double x, double limit) { return x > limit ? limit : x < -limit ? -limit : x; }

// The output of a network of states. v: the sound, the knobs and the states, padded with zeros.
template <class Real, int inputs, int states>
class FirstState {
    Real size;

  public:
    template <class Source>
    void load(Source& weights) {
        size = Real(weights.take());
    }
    CIRCUITNN_INLINE Real operator()(const Real* v) const { return v[inputs] * size; }
};
// A dense layer, and one hidden layer beside it.
template <class Real, int inputs, int states, int hidden>
class CurvedReadout {
    Dense<Real, inputs + states> linear;
    Perceptron<Real, inputs + states, hidden, 1> curve;

  public:
    template <class Source>
    void load(Source& weights) {
        linear.load(weights);
        curve.load(weights);
    }
    CIRCUITNN_INLINE Real operator()(const Real* v) const {
        Real y;
        curve(v, &y);
        return linear(v) + y;
    }
};

// State-space GRU: a GRU of (sound, knobs, states) and a dense layer that makes the next states, or with `linear` what is
// added to them beside a linear path; they are held within +-limit then. inputs: the sound and the knobs; Readout: the
// output's type.
template <class Real, int inputs, int states, int size, class Readout, bool linear>
class StateSpaceGru {
    using Layer = Gru<Real, inputs + states, size>;
    Layer layer;
    Dense<Real, size> dense[states];
    Perceptron<Real, inputs + states, states> straight;
    double limit;
    Readout readout;

  public:
    // In double precision: a sum of many small steps.
    struct State {
        typename Layer::State hidden;
        double x[states];
    };

    template <class Source>
    void load(Source& weights) {
        layer.load(weights);
        for (auto& one : dense) one.load(weights);
        if (linear) {
            straight.load(weights);
            limit = weights.take();
        }
        readout.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        if (in.settling) return;
        alignas(64) Real v[padded<Real>(inputs + states)] = {};
        for (int n = 0; n < in.count; ++n) {
            for (int k = 0; k < inputs; ++k) v[k] = in.channels.row[k][n];
            for (int k = 0; k < states; ++k) v[inputs + k] = Real(state.x[k]);
            Wide<Real> sum[Layer::parts];
            layer.start(sum);
            layer.add(v, sum);
            layer.step(sum, state.hidden);
            Real more[states];
            if (linear) straight(v, more);
            for (int k = 0; k < states; ++k) {
                const Real made = dense[k](state.hidden.h);
                state.x[k] = linear ? held(state.x[k] + double(more[k] + made), limit) : double(made);
                v[inputs + k] = Real(state.x[k]);
            }
            y[0][n] = readout(v);
        }
    }
};

// State Trajectory Network: x += step * perceptron(sound, knobs, x), and with `linear` a linear path beside it; x is held
// within +-limit. inputs: the sound and the knobs; Readout: the output's type; hidden: widths of the layers between.
template <class Real, int inputs, int states, class Readout, bool linear, int... hidden>
class StateTrajectoryNetwork {
    Perceptron<Real, inputs + states, hidden..., states> perceptron;
    Perceptron<Real, inputs + states, states> straight;
    Real trained_step;
    double limit;
    Readout readout;

  public:
    // In double precision: a sum of many small steps.
    struct State {
        double x[states];
    };

    template <class Source>
    void load(Source& weights) {
        perceptron.load(weights);
        if (linear) straight.load(weights);
        trained_step = Real(weights.take());
        limit = weights.take();
        readout.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        if (in.settling) return;
        alignas(64) Real v[padded<Real>(inputs + states)] = {};
        const Real pace = trained_step * in.pace;
        for (int n = 0; n < in.count; ++n) {
            Real step[states], more[states];
            for (int k = 0; k < inputs; ++k) v[k] = in.channels.row[k][n];
            for (int k = 0; k < states; ++k) v[inputs + k] = Real(state.x[k]);
            perceptron(v, step);
            if (linear) straight(v, more);
            for (int k = 0; k < states; ++k) {
                state.x[k] = held(state.x[k] + double(pace * (linear ? step[k] + more[k] : step[k])), limit);
                v[inputs + k] = Real(state.x[k]);
            }
            y[0][n] = readout(v);
        }
    }
};

}  // namespace circuitnn
