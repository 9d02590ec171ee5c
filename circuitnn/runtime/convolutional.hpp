// Networks of dilated convolutions: wavenet.py, nam_wavenet.py and tcn.py in blocks, layer after layer.
#pragma once

#include "layers.hpp"

namespace circuitnn {

// Feed-forward WaveNet. Shape: channels, taps, dilations[]. inputs: the sound and the knobs.
template <class Real, int inputs, class Shape>
class WaveNet {
  public:
    using State = Memory<Real, Shape>;

    template <class Source>
    void load(Source& weights) {
        input.load(weights);
        for (Layer& one : layer) {
            one.convolution.load(weights);
            one.convolution.double_outputs(channels);
            one.residual.load(weights);
            one.output.load(weights);
        }
        offset = Real(weights.take());
    }

    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        const int count = in.count;
        Channels<Real, 2 * channels> both;
        input.apply(in.channels, count, {}, state.input(0));
        each_vector<Real>(1, count, [&](int, int t) { store(y[0] + t, all_lanes<Wide<Real>>(offset)); });
        for (int k = 0; k < layers; ++k) {
            const Real* x[taps];
            state.keep(k, count, in.settling);
            state.look(k, x);
            layer[k].convolution.apply(x, state.input(k).stride, count, {}, both);
            each_vector<Real>(channels, count, [&](int c, int t) CIRCUITNN_INLINE {
                Real* place = both.row[c] + t;
                store(place, gated(circuitnn::load(both.row[channels + c] + t), circuitnn::load(place)));
            });
            layer[k].output.apply(both, count, y, y);
            // The last layer's leads nowhere.
            if (k + 1 < layers) layer[k].residual.apply(both, count, state.input(k), state.input(k + 1));
            state.advance(k, count);
        }
    }

  private:
    static constexpr int channels = Shape::channels, taps = Shape::taps, layers = State::layers;
    struct Layer {
        Mix<Real, channels, 2 * channels, taps> convolution;
        Mix<Real, channels, channels> residual;
        Mix<Real, channels, 1, 1, false> output;
    };
    Mix<Real, inputs, channels> input;
    Layer layer[layers];
    Real offset;
};

// One stack of Neural Amp Modeler's WaveNet. inputs: channels of its input; condition: the sound and the knobs. Shape:
// channels, head (channels that leave for the next head), head_bias, taps, dilations[].
template <class Real, int inputs, int condition, class Shape>
class NamStack {
  public:
    using State = Memory<Real, Shape>;

    template <class Source>
    void load(Source& weights) {
        rechannel.load(weights);
        for (Layer& one : layer) {
            one.convolution.load(weights);
            one.convolution.double_outputs();
            one.mixer.load(weights);
            one.mixer.double_outputs();
            one.residual.load(weights);
        }
        head.load(weights);
    }

    // x [inputs] -> later [channels]; heads [channels], what came from the stack before, -> out [head].
    void play(const Block<Real, condition>& in, Rows<const Real> x, Rows<Real> later, Rows<Real> heads, Rows<Real> out,
              State& state) const {
        const int count = in.count;
        Channels<Real, channels> z;
        rechannel.apply(x, count, {}, state.input(0));
        for (int k = 0; k < layers; ++k) {
            const Real* seen[taps];
            state.keep(k, count, in.settling);
            state.look(k, seen);
            layer[k].convolution.apply(seen, state.input(k).stride, count, {}, z);
            layer[k].mixer.apply(in.channels, count, z, z);
            bend_rows<Real>(z, channels, count);
            each_vector<Real>(channels, count, [&](int c, int t) CIRCUITNN_INLINE {
                store<Real>(heads[c] + t, circuitnn::load(heads[c] + t) + circuitnn::load(z.row[c] + t));
            });
            layer[k].residual.apply(z, count, state.input(k), k + 1 < layers ? state.input(k + 1) : later);
            state.advance(k, count);
        }
        head.apply(heads, count, {}, out);
    }

  private:
    static constexpr int channels = Shape::channels, taps = Shape::taps, layers = State::layers;
    struct Layer {
        Mix<Real, channels, channels, taps> convolution;
        Mix<Real, condition, channels, 1, false> mixer;
        Mix<Real, channels, channels> residual;
    };
    Mix<Real, inputs, channels, 1, false> rechannel;
    Layer layer[layers];
    Mix<Real, channels, Shape::head, 1, Shape::head_bias> head;
};

// A stack and those behind it; the last one's head is the output.
template <class Real, int inputs, int condition, class... Shapes>
class NamStacks {
  public:
    struct State {};
    template <class Source>
    void load(Source&) {}
    void play(const Block<Real, condition>& in, Rows<const Real>, Rows<Real> heads, Rows<Real> y, State&) const {
        each_vector<Real>(1, in.count, [&](int, int t) { store(y[0] + t, circuitnn::load(heads[0] + t)); });
    }
};
template <class Real, int inputs, int condition, class Shape, class... Rest>
class NamStacks<Real, inputs, condition, Shape, Rest...> {
    using Stack = NamStack<Real, inputs, condition, Shape>;
    using Next = NamStacks<Real, Shape::channels, condition, Rest...>;
    Stack stack;
    Next next;

  public:
    struct State {
        typename Stack::State own;
        typename Next::State rest;
    };
    template <class Source>
    void load(Source& weights) {
        stack.load(weights);
        next.load(weights);
    }
    void play(const Block<Real, condition>& in, Rows<const Real> x, Rows<Real> heads, Rows<Real> y, State& state) const {
        Channels<Real, Shape::channels> later;
        Channels<Real, Shape::head> out;
        stack.play(in, x, later, heads, out, state.own);
        next.play(in, later, out, y, state.rest);
    }
};

// Neural Amp Modeler's WaveNet: stacks, of which each sees the sound and the knobs.
template <class Real, int inputs, class First, class... Rest>
class NamWaveNet {
    using Stacks = NamStacks<Real, 1, inputs, First, Rest...>;
    Stacks stacks;
    Real head_scale;

  public:
    using State = typename Stacks::State;

    template <class Source>
    void load(Source& weights) {
        stacks.load(weights);
        head_scale = Real(weights.take());
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        Channels<Real, First::channels> heads{};
        stacks.play(in, in.channels, heads, y, state);
        each_vector<Real>(1, in.count, [&](int, int t) { store<Real>(y[0] + t, circuitnn::load(y[0] + t) * head_scale); });
    }
};

// A block of the TCN: convolution with the normalisation in it, modulation by the knobs, PReLU, and the input beside it.
// embedding: channels that tell it of the knobs, 0 without any.
template <class Real, int inputs, int outputs, int taps, int embedding>
class TcnBlock {
    static constexpr bool modulated = embedding > 0;
    Mix<Real, inputs, outputs, taps> convolution;
    Mix<Real, (modulated ? embedding : 1), 2 * outputs> film;
    Real slope[outputs], residual[outputs];

  public:
    template <class Source>
    void load(Source& weights) {
        convolution.load(weights);
        if constexpr (modulated) film.load(weights);
        for (Real& number : slope) number = Real(weights.take());
        for (Real& number : residual) number = Real(weights.take());
    }
    // seen: as the taps see x; now: x itself.
    void play(const Real* const (&seen)[taps], Rows<const Real> now, int count, bool moving, Rows<const Real> embedded,
              Rows<Real> y) const {
        Channels<Real, 2 * outputs> modulation;
        if constexpr (modulated) film.apply(embedded, moving ? count : 1, {}, modulation);
        convolution.apply(seen, now.stride, count, {}, y);
        each_vector<Real>(outputs, count, [&](int c, int t) CIRCUITNN_INLINE {
            Wide<Real> x = circuitnn::load(y[c] + t);
            if constexpr (modulated) x = x * at(modulation.row[c], t, moving) + at(modulation.row[outputs + c], t, moving);
            const Wide<Real> zero{}, bent = select<Wide<Real>>(x < zero, x * slope[c], x);
            store<Real>(y[c] + t, bent + circuitnn::load(now[inputs == 1 ? 0 : c] + t) * residual[c]);
        });
    }

  private:
    static Wide<Real> at(const Real* row, int t, bool moving) {
        return moving ? circuitnn::load(row + t) : all_lanes<Wide<Real>>(row[0]);
    }
};

// Temporal convolutional network with FiLM. inputs: the sound and the knobs. First: taps and dilations[] of the first
// block, whose input has one channel; Later: channels, taps and dilations[] of the others. widths: of the layers that the
// knobs go through, if there are knobs.
template <class Real, int inputs, class First, class Later, int width_1, int width_2, int width_3>
class Tcn {
    static constexpr int channels = Later::channels, taps = First::taps, knobs = inputs - 1;
    static constexpr int embedding = knobs > 0 ? width_3 : 0;
    using Sound = Memory<Real, First>;
    using Past = Memory<Real, Later>;
    static constexpr int later = Past::layers;

  public:
    struct State {
        Sound sound;
        Past past;
    };

    template <class Source>
    void load(Source& weights) {
        if constexpr (knobs > 0) {
            embed_1.load(weights);
            embed_2.load(weights);
            embed_3.load(weights);
        }
        first.load(weights);
        for (auto& one : block) one.load(weights);
        output.load(weights);
    }

    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        const int count = in.count;
        Channels<Real, width_1> narrow;
        Channels<Real, width_2> wide;
        Channels<Real, width_3> embedded;
        if constexpr (knobs > 0) {
            const int points = in.moving ? count : 1;
            embed_1.apply(Rows<const Real>{in.channels.row[1], block_length}, points, {}, narrow);
            rectify<Real>(narrow, width_1, points);
            embed_2.apply(narrow, points, {}, wide);
            rectify<Real>(wide, width_2, points);
            embed_3.apply(wide, points, {}, embedded);
            rectify<Real>(embedded, width_3, points);
        }
        each_vector<Real>(1, count, [&](int, int t) { store(state.sound.input(0)[0] + t, circuitnn::load(in.channels.row[0] + t)); });
        state.sound.keep(0, count, in.settling);
        const Real* seen[taps];
        state.sound.look(0, seen);
        first.play(seen, state.sound.input(0), count, in.moving, embedded, state.past.input(0));
        state.sound.advance(0, count);
        Channels<Real, channels> last;
        for (int k = 0; k < later; ++k) {
            state.past.keep(k, count, in.settling);
            state.past.look(k, seen);
            const Rows<Real> next = k + 1 < later ? state.past.input(k + 1) : Rows<Real>(last);
            block[k].play(seen, state.past.input(k), count, in.moving, embedded, next);
            state.past.advance(k, count);
        }
        output.apply(last, count, {}, y);
        bend_whole<Real>(y, count);
    }

  private:
    Mix<Real, (knobs > 0 ? knobs : 1), width_1> embed_1;
    Mix<Real, width_1, width_2> embed_2;
    Mix<Real, width_2, width_3> embed_3;
    TcnBlock<Real, 1, channels, taps, embedding> first;
    TcnBlock<Real, channels, channels, taps, embedding> block[later];
    Mix<Real, channels, 1> output;
};

}  // namespace circuitnn
