// The circuit as an LV2 plugin: the part of the interface that it needs, as lv2plug.in/ns/lv2core declares it.
#include <stdlib.h>

#include "@name@.hpp"

namespace {

using Circuit = @name@::Circuit;
using Processor = @name@::Processor;

struct Feature;
struct Descriptor {
    const char* uri;
    void* (*instantiate)(const Descriptor*, double rate, const char* bundle, const Feature* const* features);
    void (*connect_port)(void* plugin, uint32_t port, void* data);
    void (*activate)(void* plugin);
    void (*run)(void* plugin, uint32_t count);
    void (*deactivate)(void* plugin);
    void (*cleanup)(void* plugin);
    const void* (*extension_data)(const char* uri);
};

// Constructs in memory that is there already.
struct Place {
    void* at;
};

// Port numbers, as in plugin.ttl; the knobs come last.
enum Port { in_port, out_port, enabled_port, input_trim_port, output_trim_port, latency_port, first_knob };

class Plugin {
  public:
    explicit Plugin(double rate) : processor(rate), fade(1.0 / (0.01 * rate)) {}

    const float* in = nullptr;
    float* out = nullptr;
    float* latency = nullptr;
    // Enabled, the trims in dB, and the positions of the knobs.
    const float* controls[first_knob + Circuit::knobs] = {};

    void activate() {
        turn();
        processor.reset();
        level = decibels(input_trim_port);
        gain = decibels(output_trim_port);
        wet = enabled() ? 1.0 : 0.0;
        for (double& sample : dry) sample = 0.0;
    }

    void run(uint32_t count) {
        turn();
        // Trims move in a straight line through the block.
        const double level_step = (decibels(input_trim_port) - level) / at_least_one(count);
        const double gain_step = (decibels(output_trim_port) - gain) / at_least_one(count);
        const double wanted = enabled() ? 1.0 : 0.0;
        const float* from = in;
        float* to = out;
        while (count > 0) {
            const uint32_t n = count < block ? count : block;
            double samples[block];
            for (uint32_t k = 0; k < n; ++k) {
                dry[delay + k] = double(from[k]);
                samples[k] = double(from[k]) * (level += level_step) * Circuit::input_level;
            }
            processor.process(samples, samples, n);
            for (uint32_t k = 0; k < n; ++k) {
                wet = wanted > wet ? fmin(wanted, wet + fade) : fmax(wanted, wet - fade);
                gain += gain_step;
                to[k] = float(wet * samples[k] * gain * Circuit::output_gain + (1.0 - wet) * dry[k]);
            }
            memmove(dry, dry + n, sizeof(double) * delay);
            from += n;
            to += n;
            count -= n;
        }
        if (latency) *latency = float(delay);
    }

  private:
    static constexpr uint32_t block = 256, delay = Processor::latency;
    Processor processor;
    const double fade;
    double level = 1.0, gain = 1.0, wet = 1.0;
    // What came in, as late as what goes out: for the bypass.
    double dry[delay + block] = {};

    static double at_least_one(uint32_t count) { return count > 0 ? count : 1.0; }
    bool enabled() const { return !controls[enabled_port] || *controls[enabled_port] > 0.5f; }
    double decibels(Port port) const {
        const double trim = controls[port] ? double(*controls[port]) : 0.0;
        return trim > -60.0 && trim < 60.0 ? pow(10.0, trim / 20.0) : 1.0;
    }
    void turn() {
        for (int k = 0; k < Circuit::knobs; ++k)
            if (const float* position = controls[first_knob + k]) processor.turn(k, double(*position));
    }
};

}  // namespace

inline void* operator new(size_t, Place place) { return place.at; }

namespace {

void* instantiate(const Descriptor*, double rate, const char*, const Feature* const*) {
    void* memory = malloc(sizeof(Plugin));
    return memory ? new (Place{memory}) Plugin(rate) : nullptr;
}

void connect_port(void* plugin, uint32_t port, void* data) {
    Plugin& self = *static_cast<Plugin*>(plugin);
    switch (port) {
        case in_port: self.in = static_cast<const float*>(data); break;
        case out_port: self.out = static_cast<float*>(data); break;
        case latency_port: self.latency = static_cast<float*>(data); break;
        default:
            if (port < uint32_t(first_knob + Circuit::knobs)) self.controls[port] = static_cast<const float*>(data);
    }
}

void activate(void* plugin) { static_cast<Plugin*>(plugin)->activate(); }
void run(void* plugin, uint32_t count) { static_cast<Plugin*>(plugin)->run(count); }
void cleanup(void* plugin) { free(plugin); }

const Descriptor descriptor = {"@uri@", instantiate, connect_port, activate, run, nullptr, cleanup, nullptr};

}  // namespace

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

extern "C" EXPORTED const Descriptor* lv2_descriptor(uint32_t index);
extern "C" const Descriptor* lv2_descriptor(uint32_t index) { return index == 0 ? &descriptor : nullptr; }
