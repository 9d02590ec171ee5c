// Networks that wait for their own last sample, as recurrent.py has them: LSTM and GRU, with a dense layer behind them.
#pragma once

#include "dense.hpp"

namespace circuitnn {

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

}  // namespace circuitnn
