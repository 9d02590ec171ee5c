// A circuit as an audio processor for real time: conversion to the high rate, the circuit, and back; knobs that may be
// turned from any thread. `process` allocates nothing, takes no lock, throws nothing and ends.
#pragma once

#include "converter.hpp"
#include "equations.hpp"
#include "realtime.hpp"

namespace circuitnn {

// oversampling: 1, 2, 4 or 8 (16 and 32 work too); Real: float or double, of the circuit's own arithmetic. Signals are in
// volt, interleaved if there are several. An object holds all its memory, some hundred kilobytes for a large circuit:
// keep it on the heap, or static.
template <class Circuit, int oversampling = 4, class Real = double>
class Processor {
    static_assert(oversampling >= 1 && (oversampling & (oversampling - 1)) == 0, "a power of two");
    // Samples between two points of numbers that move, as CONTROL_PERIOD in simulate.py.
    static constexpr int control_period = 32;
    static constexpr int n_x = at_least_one(Circuit::n_x), n_n = at_least_one(Circuit::Stages::ports);
    static constexpr int n_u = Circuit::n_u, n_y = Circuit::n_y;
    using Rates = Converter<oversampling, n_u, n_y, control_period>;
    using Controls = Knobs<Circuit, Equations<Circuit>>;

  public:
    using Model = Circuit;
    static constexpr int knobs = Circuit::knobs;
    // By how many samples the output is late.
    static constexpr int latency = oversampling > 1 ? 2 * half_length : 0, most_latency = latency;

    // All that changes from sample to sample; plain data, to be copied.
    struct State {
        double x[n_x], w[n_n];
        typename Controls::State controls;
        typename Rates::State rates;
    };

    explicit Processor(double sample_rate_) {
        for (int k = 0; k < knobs; ++k) controls.turn(k, Circuit::knob[k].position);
        prepare(sample_rate_);
    }

    // Sets the sample rate and comes to rest. False if no state of rest was found. Not for real time.
    bool prepare(double sample_rate_) {
        sample_rate = sample_rate_;
        glide(travel);
        return reset();
    }

    // Comes to rest with the knobs where they are wanted, also those that cannot move while the circuit runs.
    bool reset() {
        double positions[at_least_one(knobs)] = {};
        for (int k = 0; k < knobs; ++k) positions[k] = position(k);
        bool found = equations.prepare(positions, sample_rate * oversampling);
        found = equations.rest(positions, rest.x, rest.w, rest.y) && found;
        controls.start(positions);
        memcpy(x, rest.x, sizeof x);
        memcpy(w, rest.w, sizeof w);
        rates.rest(rest.y);
        return found;
    }

    // A knob's position, 0 to 1; anything else is held there. Where Circuit::knob[k].moves is false, it waits for the
    // next reset().
    void turn(int knob, double position) {
        if (knob < 0 || knob >= knobs || !(position == position)) return;
        controls.turn(knob, position < 0.0 ? 0.0 : position > 1.0 ? 1.0 : position);
    }
    double position(int knob) const { return controls.position(knob); }

    // The time in seconds that a knob takes at least from stop to stop.
    void glide(double seconds) {
        travel = seconds;
        const double periods = seconds * sample_rate / control_period;
        controls.stride = periods > 1.0 ? 1.0 / periods : 1.0;
    }

    // in [count, n_u] -> out [count, n_y], in volt; both may be the same. Any count; the state carries over. An input
    // that is not a finite number counts as 0; a state that is none becomes that of rest.
    template <class Sample>
    void process(const Sample* in, Sample* out, int64_t count) {
        const FlushDenormals flush;
        double low[control_period * (n_u > n_y ? n_u : n_y)];
        double u[control_period * oversampling * n_u], y[control_period * oversampling * n_y];
        while (count > 0) {
            const int n = int(count < control_period ? count : control_period);
            for (int k = 0; k < n * n_u; ++k) low[k] = is_finite(double(in[k])) ? double(in[k]) : 0.0;
            rates.up(n, low, u);
            controls.template run<Real>(n * oversampling, u, x, w, y, statistics, options());
            check(y, n * oversampling * n_y);
            rates.down(n, y, low);
            for (int k = 0; k < n * n_y; ++k) out[k] = Sample(low[k]);
            in += n * n_u;
            out += n * n_y;
            count -= n;
        }
    }

    State save() const {
        State state{};
        memcpy(state.x, x, sizeof x);
        memcpy(state.w, w, sizeof w);
        state.controls = controls.state;
        state.rates = rates.state;
        return state;
    }
    // Goes on from a saved state, also of another processor of this type at the same sample rate.
    void restore(const State& state) {
        memcpy(x, state.x, sizeof x);
        memcpy(w, state.w, sizeof w);
        controls.state = state.controls;
        rates.state = state.rates;
    }

    // Steps without solution (the last one was kept), and times that the state was not finite, so far.
    int64_t failures() const { return statistics.failures; }
    int64_t breakdowns() const { return broken; }

  private:
    struct Rest {
        double x[n_x], w[n_n], y[n_y];
    };
    Equations<Circuit> equations;
    Controls controls{equations, control_period * oversampling};
    Rates rates;
    Statistics statistics;
    Rest rest{};
    double sample_rate = 0.0, travel = 0.05, x[n_x] = {}, w[n_n] = {};
    int64_t broken = 0;

    // A sample that has no solution must not take for ever to say so.
    static Options options() {
        Options found;
        found.max_parts = 64;
        return found;
    }

    void check(double* y, int count) {
        bool sound = true;
        for (double number : x) sound &= is_finite(number);
        for (double number : w) sound &= is_finite(number);
        for (int k = 0; k < count; ++k) sound &= is_finite(y[k]);
        if (sound) return;
        ++broken;
        memcpy(x, rest.x, sizeof x);
        memcpy(w, rest.w, sizeof w);
        for (int k = 0; k < count; ++k) y[k] = rest.y[k % n_y];
    }
};

}  // namespace circuitnn
