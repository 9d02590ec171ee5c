// Processors in series as one, used as each of them is.
#pragma once

#include "realtime.hpp"

namespace circuitnn {

// One processor after the other. The functions are those of Processor in processor.hpp; `link` names, for each of them,
// the knob that is meant, -1 where it has none.
template <class... Processors>
class Series {
  public:
    static constexpr int latency = 0;
    struct State {};
    explicit Series(double) {}
    bool prepare(double) { return true; }
    bool reset() { return true; }
    void turn(const int*, double) {}
    void glide(double) {}
    template <class Sample>
    void process(Sample*, int64_t) {}
    State save() const { return {}; }
    void restore(const State&) {}
    int64_t failures() const { return 0; }
    int64_t breakdowns() const { return 0; }
};
template <class First, class... Later>
class Series<First, Later...> {
    First first;
    Series<Later...> later;

  public:
    static constexpr int latency = First::latency + Series<Later...>::latency;
    struct State {
        typename First::State first;
        typename Series<Later...>::State later;
    };
    explicit Series(double sample_rate) : first(sample_rate), later(sample_rate) {}
    bool prepare(double sample_rate) {
        const bool found = first.prepare(sample_rate);
        return later.prepare(sample_rate) && found;
    }
    bool reset() {
        const bool found = first.reset();
        return later.reset() && found;
    }
    void turn(const int* link, double position) {
        if (link[0] >= 0) first.turn(link[0], position);
        later.turn(link + 1, position);
    }
    void glide(double seconds) {
        first.glide(seconds);
        later.glide(seconds);
    }
    template <class Sample>
    void process(Sample* samples, int64_t count) {
        first.process(samples, samples, count);
        later.process(samples, count);
    }
    State save() const { return {first.save(), later.save()}; }
    void restore(const State& state) {
        first.restore(state.first);
        later.restore(state.later);
    }
    int64_t failures() const { return first.failures() + later.failures(); }
    int64_t breakdowns() const { return first.breakdowns() + later.breakdowns(); }
};

// Each part hands on what the next one takes: a circuit volt, a network digital full scale. A chain has
//     static constexpr int knobs; static constexpr Knob knob[];
//     static constexpr double sample_rate;
//     static constexpr double silence;             seconds that are played when it comes to rest
//     static constexpr int link[knobs][parts];     the knob of each part that one of its own turns, or -1
template <class Chain, class... Processors>
class ChainProcessor {
    using Parts = Series<Processors...>;
    static constexpr int slots = Chain::knobs > 0 ? Chain::knobs : 1, block = 256;

  public:
    using Model = Chain;
    static constexpr int knobs = Chain::knobs, latency = Parts::latency, most_latency = latency;
    // Plain data, to be copied.
    using State = typename Parts::State;

    explicit ChainProcessor(double sample_rate) : parts(sample_rate), rate(sample_rate) {
        for (int k = 0; k < knobs; ++k) turn(k, Chain::knob[k].position);
        reset();
    }

    bool prepare(double sample_rate) {
        rate = sample_rate;
        return parts.prepare(sample_rate) && settle();
    }
    bool reset() { return parts.reset() && settle(); }
    void turn(int knob, double position) {
        if (knob < 0 || knob >= knobs || !(position == position)) return;
        double held = position < 0.0 ? 0.0 : position > 1.0 ? 1.0 : position;
        __atomic_store(&wanted[knob], &held, __ATOMIC_RELAXED);
        parts.turn(Chain::link[knob], held);
    }
    double position(int knob) const {
        double position;
        __atomic_load(&wanted[knob], &position, __ATOMIC_RELAXED);
        return position;
    }
    void glide(double seconds) { parts.glide(seconds); }

    // Between its parts the sound is in double precision.
    template <class Sample>
    void process(const Sample* in, Sample* out, int64_t count) {
        while (count > 0) {
            const int n = int(count < block ? count : block);
            double samples[block];
            for (int k = 0; k < n; ++k) samples[k] = double(in[k]);
            parts.process(samples, n);
            for (int k = 0; k < n; ++k) out[k] = Sample(samples[k]);
            in += n;
            out += n;
            count -= n;
        }
    }

    State save() const { return parts.save(); }
    void restore(const State& state) { parts.restore(state); }
    int64_t failures() const { return parts.failures(); }
    int64_t breakdowns() const { return parts.breakdowns(); }

  private:
    // What a part says in silence need not be zero, for which the next one is at rest.
    bool settle() {
        double samples[block];
        for (int64_t left = int64_t(rate * Chain::silence + 0.5); left > 0; left -= block) {
            const int n = int(left < block ? left : block);
            for (int k = 0; k < n; ++k) samples[k] = 0.0;
            parts.process(samples, n);
        }
        return true;
    }

    Parts parts;
    double rate, wanted[slots] = {};
};

}  // namespace circuitnn
