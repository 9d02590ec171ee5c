// Networks whose memory is the circuit's state: state_trajectory_network.py and state_space_gru.py.
#pragma once

#include "recurrent.hpp"

namespace circuitnn {

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
