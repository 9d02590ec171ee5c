// A network as an audio processor for real time, used as `Processor` in processor.hpp is for a circuit: blocks of samples,
// knobs that may be turned from any thread. `process` allocates nothing, takes no lock, throws nothing and ends.
#pragma once

#include "layers.hpp"
#include "realtime.hpp"

namespace circuitnn {

// Real: float or double. Signals are in digital full scale. An object holds all its memory, up to some megabytes: keep it
// on the heap, or static. A network has
//     template <class Real> using Layers = ...;      with State, load(weights) and play(block, y, state)
//     static constexpr int knobs; static constexpr Knob knob[];
//     static constexpr double sample_rate; static constexpr float or double weights[];
template <class Network, class Real = float>
class NetworkProcessor {
    using Layers = typename Network::template Layers<Real>;
    static constexpr int slots = Network::knobs > 0 ? Network::knobs : 1;
    // An input beyond it (120 dB above full scale) is held there: then nothing can overflow.
    static constexpr double highest = 1e6;

  public:
    using Model = Network;
    static constexpr int knobs = Network::knobs, latency = 0, most_latency = 0;

    // All that changes from sample to sample; plain data, to be copied.
    struct State {
        typename Layers::State layers;
        double position[slots];
    };

    explicit NetworkProcessor(double sample_rate_) {
        Weights weights(Network::weights);
        layers.load(weights);
        for (int k = 0; k < knobs; ++k) turn(k, Network::knob[k].position);
        prepare(sample_rate_);
    }

    // Comes to rest. A network belongs to the rate that it was trained at: at another most of them are another effect, but
    // for own_rate.hpp around them.
    bool prepare(double sample_rate_) {
        sample_rate = sample_rate_;
        block.pace = Real(Network::sample_rate / sample_rate);
        glide(travel);
        return reset();
    }

    // As after a long silence, with the knobs where they are wanted.
    bool reset() {
        memset(&state, 0, sizeof state);
        for (int k = 0; k < knobs; ++k) state.position[k] = position(k);
        settle();
        return true;
    }

    // A knob's position, 0 to 1; anything else is held there.
    void turn(int knob, double position) {
        if (knob < 0 || knob >= knobs || !(position == position)) return;
        double held = position < 0.0 ? 0.0 : position > 1.0 ? 1.0 : position;
        __atomic_store(&wanted[knob], &held, __ATOMIC_RELAXED);
    }
    double position(int knob) const {
        double position;
        __atomic_load(&wanted[knob], &position, __ATOMIC_RELAXED);
        return position;
    }

    // The time in seconds that a knob takes from stop to stop.
    void glide(double seconds) {
        travel = seconds;
        stride = seconds * sample_rate > 1.0 ? 1.0 / (seconds * sample_rate) : 1.0;
    }

    // in [count] -> out [count]; both may be the same. Any count; the state carries over. An input that is not a finite
    // number counts as 0; an output that is none puts the network to rest.
    template <class Sample>
    void process(const Sample* in, Sample* out, int64_t count) {
        const FlushDenormals flush;
        while (count > 0) {
            const int n = int(count < block_length ? count : block_length);
            alignas(64) Real y[block_length];
            fill(in, n);
            layers.play(block, {y, block_length}, state.layers);
            bool sound = true;
            for (int k = 0; k < n; ++k) sound &= is_finite(double(y[k]));
            if (!sound) {
                ++broken;
                reset();
            }
            for (int k = 0; k < n; ++k) out[k] = sound ? Sample(y[k]) : Sample(0);
            in += n;
            out += n;
            count -= n;
        }
    }

    State save() const { return state; }
    // Goes on from a saved state, also of another processor of this type.
    void restore(const State& saved) { state = saved; }

    // Steps without solution, of which a network has none, and times that the output was not finite, so far.
    int64_t failures() const { return 0; }
    int64_t breakdowns() const { return broken; }

  private:
    Layers layers;
    State state;
    // A block of samples, and of the knobs' positions on the way to where they are wanted.
    Block<Real, 1 + knobs> block{};
    double sample_rate = 0.0, travel = 0.05, stride = 1.0, wanted[slots] = {};
    int64_t broken = 0;

    void settle() {
        const double silence = 0.0;
        alignas(64) Real y[block_length];
        fill(&silence, 1);
        block.settling = true;
        layers.play(block, {y, block_length}, state.layers);
        block.settling = false;
    }

    template <class Sample>
    void fill(const Sample* in, int count) {
        block.count = count;
        block.moving = false;
        for (int n = 0; n < count; ++n) {
            const double u = double(in[n]);
            block.channels.row[0][n] = Real(!is_finite(u) ? 0.0 : u > highest ? highest : u < -highest ? -highest : u);
        }
        for (int k = 0; k < knobs; ++k) {
            const double to = position(k);
            double at = state.position[k];
            block.moving |= at != to;
            for (int n = 0; n < count; ++n) {
                at = to > at + stride ? at + stride : to < at - stride ? at - stride : to;
                block.channels.row[1 + k][n] = Real(at);
            }
            state.position[k] = at;
        }
    }
};

}  // namespace circuitnn
