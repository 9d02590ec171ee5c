// A processor with one input and one output as an effect between signals at digital full scale: with its calibration,
// trims in decibels, and a bypass that is as late as the processor. For plugins; as fit for real time as what is in it.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace circuitnn {

template <class Processor>
class Effect {
    using Model = typename Processor::Model;
    static_assert(Model::n_u == 1 && Model::n_y == 1, "one input and one output");

  public:
    // Its knobs are turned here.
    Processor processor;
    // What is wanted; read once in each call of process, and reached without a click.
    bool enabled = true;
    double input_trim = 0.0, output_trim = 0.0;

    explicit Effect(double sample_rate) : processor(sample_rate) { prepare(sample_rate); }

    // Sets the sample rate and comes to rest. Not for real time.
    bool prepare(double sample_rate) {
        fade = 1.0 / (0.01 * sample_rate);
        const bool found = processor.prepare(sample_rate);
        latency = processor.latency;
        settle();
        return found;
    }
    // Comes to rest, with everything as it is wanted.
    bool reset() {
        const bool found = processor.reset();
        settle();
        return found;
    }

    // in [count] -> out [count], which may be the same.
    void process(const float* in, float* out, int64_t count) {
        // Trims move in a straight line through the signal, the bypass in 10 ms.
        const double steps = count > 0 ? double(count) : 1.0, wanted = enabled ? 1.0 : 0.0;
        const double level_step = (decibels(input_trim) - level) / steps;
        const double gain_step = (decibels(output_trim) - gain) / steps;
        while (count > 0) {
            const int n = int(count < block ? count : block);
            double samples[block];
            for (int k = 0; k < n; ++k) {
                dry[latency + k] = double(in[k]);
                samples[k] = double(in[k]) * (level += level_step) * Model::input_level;
            }
            processor.process(samples, samples, n);
            for (int k = 0; k < n; ++k) {
                wet = wanted > wet ? fmin(wanted, wet + fade) : fmax(wanted, wet - fade);
                gain += gain_step;
                // A fade that has ended leaves nothing of the other, not even what is no number.
                const double played = samples[k] * gain * Model::output_gain;
                out[k] = float(wet >= 1.0 ? played : wet <= 0.0 ? dry[k] : wet * played + (1.0 - wet) * dry[k]);
            }
            memmove(dry, dry + n, sizeof(double) * size_t(latency));
            in += n;
            out += n;
            count -= n;
        }
    }

    // By how many samples the output is late; another sample rate may change it.
    int latency = 0;

  private:
    static constexpr int block = 256;
    double fade = 0.0, level = 1.0, gain = 1.0, wet = 1.0;
    // What came in, as late as what goes out: for the bypass.
    double dry[Processor::most_latency + block] = {};

    static double decibels(double trim) { return fabs(trim) < 200.0 ? pow(10.0, trim / 20.0) : 1.0; }
    void settle() {
        level = decibels(input_trim);
        gain = decibels(output_trim);
        wet = enabled ? 1.0 : 0.0;
        for (double& sample : dry) sample = 0.0;
    }
};

}  // namespace circuitnn
