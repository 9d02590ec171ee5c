// Networks that go through a window of the input for each sample: window_mlp.py, conv_lstm.py and sequence_lstm.py. Rows of
// their wide layers are too many for the stack and belong to the object.
#pragma once

#include "recurrent.hpp"

namespace circuitnn {

// Dense layers with rectifiers before each: from `inputs` rows to the last of `sizes`.
template <class Real, int inputs, int size, int... sizes>
class Rectified {
    Mix<Real, inputs, size> mix;
    Channels<Real, size> made;
    Rectified<Real, size, sizes...> next;

  public:
    template <class Source>
    void load(Source& weights) {
        mix.load(weights);
        next.load(weights);
    }
    // Changes x.
    void play(Rows<Real> x, int count, Rows<Real> y) {
        rectify<Real>(x, inputs, count);
        mix.apply(x, count, {}, made);
        next.play(made, count, y);
    }
};
template <class Real, int inputs, int size>
class Rectified<Real, inputs, size> {
    Mix<Real, inputs, size> mix;

  public:
    template <class Source>
    void load(Source& weights) {
        mix.load(weights);
    }
    void play(Rows<Real> x, int count, Rows<Real> y) {
        rectify<Real>(x, inputs, count);
        mix.apply(x, count, {}, y);
    }
};

// Multilayer perceptron on a window. inputs: the sound and the knobs; Shape: channels, taps and dilations[] of the first
// layer; size, sizes: widths of the layers, the last of which is 1.
template <class Real, int inputs, class Shape, int size, int... sizes>
class WindowMlp {
    static constexpr int knobs = inputs - 1;
    Mix<Real, 1, size, Shape::taps> window;
    Mix<Real, (knobs > 0 ? knobs : 1), size, 1, false> knob;
    Channels<Real, size> made;
    Rectified<Real, size, sizes...> next;

  public:
    using State = Memory<Real, Shape>;

    template <class Source>
    void load(Source& weights) {
        window.load(weights);
        if constexpr (knobs > 0) knob.load(weights);
        next.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) {
        const Real* seen[Shape::taps];
        memcpy(state.input(0)[0], in.channels.row[0], sizeof in.channels.row[0]);
        state.keep(0, in.count, in.settling);
        state.look(0, seen);
        window.apply(seen, 0, in.count, {}, made);
        if constexpr (knobs > 0)
            knob.apply(Rows<const Real>{in.channels.row[1], block_length}, in.count, Rows<Real>(made), made);
        state.advance(0, in.count);
        next.play(made, in.count, y);
        bend_whole<Real>(y, in.count);
    }
};

// Two convolutions, and an LSTM that goes from zero through what they made some steps ago, for all samples of a block at
// once. inputs: the sound and the knobs. First, Second: channels, taps and dilations[] of the convolutions; Steps: of what
// the LSTM sees; size: of its state.
template <class Real, int inputs, class First, class Second, class Steps, int size>
class ConvLstm {
    static constexpr int channels = Steps::channels;
    Mix<Real, inputs, channels, First::taps> first;
    Mix<Real, channels, channels, Second::taps> second;
    Mix<Real, channels, 4 * size> input;
    Mix<Real, size, 4 * size> recurrent;
    Mix<Real, size, 1> output;
    Channels<Real, 4 * size> gates;
    Channels<Real, size> h, c;

  public:
    struct State {
        Memory<Real, First> first;
        Memory<Real, Second> second;
        Memory<Real, Steps> steps;
    };

    // weight_ih, bias_ih, weight_hh, bias_hh of the LSTM between the others.
    template <class Source>
    void load(Source& weights) {
        first.load(weights);
        second.load(weights);
        input.load(weights);
        recurrent.load(weights);
        output.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) {
        for (int k = 0; k < inputs; ++k) memcpy(state.first.input(0)[k], in.channels.row[k], sizeof in.channels.row[k]);
        convolve(first, in, state.first, state.second.input(0));
        convolve(second, in, state.second, state.steps.input(0));
        const Real* seen[Steps::taps];
        state.steps.keep(0, in.count, in.settling);
        state.steps.look(0, seen);
        memset(&h, 0, sizeof h);
        memset(&c, 0, sizeof c);
        for (const Real* one : seen) step(one, state.steps.input(0).stride, in.count);
        state.steps.advance(0, in.count);
        output.apply(h, in.count, {}, y);
        bend_whole<Real>(y, in.count);
    }

  private:
    template <class Layer, class Shape>
    static void convolve(const Layer& layer, const Block<Real, inputs>& in, Memory<Real, Shape>& past, Rows<Real> y) {
        const Real* seen[Shape::taps];
        past.keep(0, in.count, in.settling);
        past.look(0, seen);
        layer.apply(seen, past.input(0).stride, in.count, {}, y);
        past.advance(0, in.count);
        each_vector<Real>(channels, in.count, [&](int k, int t) CIRCUITNN_INLINE {
            const Wide<Real> x = circuitnn::load(y[k] + t), zero{};
            store<Real>(y[k] + t, select<Wide<Real>>(x < zero, bounded_growth(x), x));
        });
    }

    // One step of the LSTM, gates i, f, g, o, for each sample of the block.
    void step(const Real* x, int stride, int count) {
        const Real* const only[1] = {x};
        input.apply(only, stride, count, {}, gates);
        recurrent.apply(h, count, Rows<Real>(gates), gates);
        each_vector<Real>(size, count, [&](int k, int t) CIRCUITNN_INLINE {
            const auto sum = [&](int gate) CIRCUITNN_INLINE { return circuitnn::load(gates.row[gate * size + k] + t); };
            const Wide<Real> made = sum(2), kept = gate(sum(1)) * circuitnn::load(c.row[k] + t);
            const Wide<Real> cell = kept + gated<Wide<Real>>(sum(0), made + made);
            store(c.row[k] + t, cell);
            store(h.row[k] + t, gated<Wide<Real>>(sum(3), cell + cell));
        });
    }
};

// An LSTM that begins at zero for every block of `outputs` samples, `window` - `outputs` samples before it. The first
// sample of such a block costs as many steps, the others one each. inputs: the sound and the knobs.
template <class Real, int inputs, int size, int window, int outputs>
class SequenceLstm {
    static constexpr int reach = window - outputs + 1;
    using Layer = Lstm<Real, inputs, size>;
    Layer layer;
    Dense<Real, size> dense;

  public:
    // done: how many samples of its block are out.
    struct State {
        typename Layer::State hidden;
        Real past[reach][inputs];
        int at, done;
    };

    template <class Source>
    void load(Source& weights) {
        layer.load(weights);
        dense.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        if (in.settling) {
            for (auto& one : state.past)
                for (int k = 0; k < inputs; ++k) one[k] = in.channels.row[k][0];
            return;
        }
        for (int n = 0; n < in.count; ++n) {
            const int newest = state.at;
            for (int k = 0; k < inputs; ++k) state.past[newest][k] = in.channels.row[k][n];
            state.at = (newest + 1) % reach;
            if (state.done == 0) {
                state.hidden = {};
                for (int k = state.at; k != newest; k = (k + 1) % reach) step(state.past[k], state);
            }
            step(state.past[newest], state);
            state.done = (state.done + 1) % outputs;
            y[0][n] = hyperbolic_tangent<Real>(dense(state.hidden.h));
        }
    }

  private:
    void step(const Real (&x)[inputs], State& state) const {
        Wide<Real> sum[Layer::parts];
        layer.start(sum);
        for (int k = 0; k < inputs; ++k) layer.add(k, x[k], sum);
        layer.step(sum, state.hidden);
    }
};

}  // namespace circuitnn
