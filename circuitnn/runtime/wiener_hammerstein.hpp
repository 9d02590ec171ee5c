// Filters before and after a static curve: wiener_hammerstein.py.
#pragma once

#include "layers.hpp"

namespace circuitnn {

// A second-order section in transposed direct form II, in double precision, because what it remembers goes round.
struct Biquad {
    struct State {
        double first, second;
    };
    double b[3], a[2];

    // b0, b1, b2, a1, a2.
    template <class Source>
    void load(Source& weights) {
        for (double& number : b) number = weights.take();
        for (double& number : a) number = weights.take();
    }
    void play(double* x, int count, State& state) const {
        for (int n = 0; n < count; ++n) {
            const double y = b[0] * x[n] + state.first;
            state.first = b[1] * x[n] - a[0] * y + state.second;
            state.second = b[2] * x[n] - a[1] * y;
            x[n] = y;
        }
    }
};

// Sections, x + curve(x, knobs), sections. inputs: the sound and the knobs; hidden: width of the curve's two layers.
template <class Real, int inputs, int before, int hidden, int after>
class WienerHammerstein {
    static constexpr int sections = before + after;
    Biquad section[sections > 0 ? sections : 1];
    Mix<Real, inputs, hidden> first;
    Mix<Real, hidden, hidden> second;
    Mix<Real, hidden, 1> last;

  public:
    struct State {
        Biquad::State section[sections > 0 ? sections : 1];
    };

    template <class Source>
    void load(Source& weights) {
        for (int k = 0; k < sections; ++k) section[k].load(weights);
        first.load(weights);
        first.double_outputs();
        second.load(weights);
        second.double_outputs();
        last.load(weights);
    }
    void play(const Block<Real, inputs>& in, Rows<Real> y, State& state) const {
        if (in.settling) return;
        double x[block_length];
        Channels<Real, inputs> seen = in.channels;
        Channels<Real, hidden> one, two;
        Channels<Real, 1> bent;
        for (int n = 0; n < in.count; ++n) x[n] = double(in.channels.row[0][n]);
        for (int k = 0; k < before; ++k) section[k].play(x, in.count, state.section[k]);
        for (int n = 0; n < in.count; ++n) seen.row[0][n] = Real(x[n]);
        first.apply(seen, in.count, {}, one);
        bend_rows<Real>(one, hidden, in.count);
        second.apply(one, in.count, {}, two);
        bend_rows<Real>(two, hidden, in.count);
        last.apply(two, in.count, {}, bent);
        for (int n = 0; n < in.count; ++n) x[n] += double(bent.row[0][n]);
        for (int k = before; k < sections; ++k) section[k].play(x, in.count, state.section[k]);
        for (int n = 0; n < in.count; ++n) y[0][n] = Real(x[n]);
    }
};

}  // namespace circuitnn
