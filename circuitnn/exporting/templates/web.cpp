// The @what@ as WebAssembly: functions that the page calls.
#include "@name@.hpp"
#include "effect.hpp"

namespace {

using Processor = @name@::Processor;
constexpr int most = 1024;  // samples in one call of process
float in[most], out[most];
circuitnn::Effect<Processor> effect(Processor::Model::sample_rate);

}  // namespace

#define EXPORTED(name) __attribute__((export_name(#name))) name

extern "C" {
float* EXPORTED(input)() { return in; }
float* EXPORTED(output)() { return out; }
int EXPORTED(latency)() { return effect.latency; }
int EXPORTED(prepare)(double rate) { return effect.prepare(rate); }
int EXPORTED(reset)() { return effect.reset(); }
int EXPORTED(moves)(int knob) { return Processor::Model::knob[knob].moves; }
void EXPORTED(turn)(int knob, double position) { effect.processor.turn(knob, position); }
void EXPORTED(settings)(int enabled, double input_trim, double output_trim) {
    effect.enabled = enabled;
    effect.input_trim = input_trim;
    effect.output_trim = output_trim;
}
void EXPORTED(process)(int count) { effect.process(in, out, count < most ? count : most); }
}
