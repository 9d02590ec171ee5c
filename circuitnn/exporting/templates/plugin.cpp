// The @what@ as an LV2 plugin: the part of the interface that it needs, as lv2plug.in/ns/lv2core declares it.
#include <stdlib.h>

#include "@name@.hpp"
#include "effect.hpp"

namespace {

using Processor = @name@::Processor;
using Model = Processor::Model;

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

// Port numbers, as in plugin.ttl; the knobs come last.
enum Port { in_port, out_port, enabled_port, input_trim_port, output_trim_port, latency_port, first_knob };

class Plugin {
  public:
    float* ports[first_knob + Model::knobs] = {};
    void* memory = nullptr;

    explicit Plugin(double rate) : effect(rate) {}

    void activate() {
        look();
        effect.reset();
    }
    void run(uint32_t count) {
        look();
        effect.process(ports[in_port], ports[out_port], int64_t(count));
        if (ports[latency_port]) *ports[latency_port] = float(effect.latency);
    }

  private:
    circuitnn::Effect<Processor> effect;

    double value(int port, double otherwise) const { return ports[port] ? double(*ports[port]) : otherwise; }
    // Takes over what the control ports say.
    void look() {
        effect.enabled = value(enabled_port, 1.0) > 0.5;
        effect.input_trim = value(input_trim_port, 0.0);
        effect.output_trim = value(output_trim_port, 0.0);
        for (int k = 0; k < Model::knobs; ++k)
            effect.processor.turn(k, value(first_knob + k, Model::knob[k].position));
    }
};

// Constructs in memory that is there already.
struct Place {
    void* at;
};

}  // namespace

inline void* operator new(size_t, Place place) { return place.at; }

namespace {

void* instantiate(const Descriptor*, double rate, const char*, const Feature* const*) {
    // Vector registers want more than what malloc aligns for.
    void* memory = malloc(sizeof(Plugin) + alignof(Plugin));
    if (!memory) return nullptr;
    const uintptr_t place = (uintptr_t(memory) + alignof(Plugin) - 1) / alignof(Plugin) * alignof(Plugin);
    auto* plugin = new (Place{reinterpret_cast<void*>(place)}) Plugin(rate);
    plugin->memory = memory;
    return plugin;
}
void connect_port(void* plugin, uint32_t port, void* data) {
    if (port < uint32_t(first_knob + Model::knobs)) static_cast<Plugin*>(plugin)->ports[port] = static_cast<float*>(data);
}
void activate(void* plugin) { static_cast<Plugin*>(plugin)->activate(); }
void run(void* plugin, uint32_t count) { static_cast<Plugin*>(plugin)->run(count); }
void cleanup(void* plugin) { free(static_cast<Plugin*>(plugin)->memory); }

const Descriptor descriptor = {"@uri@", instantiate, connect_port, activate, run, nullptr, cleanup, nullptr};

}  // namespace

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

extern "C" EXPORTED const Descriptor* lv2_descriptor(uint32_t index);
extern "C" const Descriptor* lv2_descriptor(uint32_t index) { return index == 0 ? &descriptor : nullptr; }
