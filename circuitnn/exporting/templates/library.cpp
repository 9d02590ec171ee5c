// The @what@ as a library that Python calls. Memory is the caller's.
#include <stddef.h>

@included@
struct Place {
    void* at;
};
inline void* operator new(size_t, Place place) { return place.at; }

// Without a name outside: a process may load many of these.
namespace {
namespace @name@ {
@struct@
}
using Processor = @type@;
}  // namespace

extern "C" {
int64_t memory_size() { return sizeof(Processor); }
int64_t memory_alignment() { return alignof(Processor); }
// Comes to rest with the knobs where they are wanted. 0 if no state of rest was found.
int64_t begin(void* memory, double rate, const double* positions) {
    auto* processor = new (Place{memory}) Processor(rate);
    for (int k = 0; k < Processor::knobs; ++k) processor->turn(k, positions[k]);
    return processor->reset();
}
void turn(void* memory, int64_t knob, double position) { static_cast<Processor*>(memory)->turn(int(knob), position); }
void glide(void* memory, double seconds) { static_cast<Processor*>(memory)->glide(seconds); }
// By how many samples the output is late.
int64_t latency(void* memory) { return static_cast<Processor*>(memory)->latency; }
// In blocks of `block` samples. How many steps had no solution so far, or were not finite.
int64_t play(void* memory, const double* in, double* out, int64_t count, int64_t block) {
    auto* processor = static_cast<Processor*>(memory);
    constexpr int ins = Processor::Model::n_u, outs = Processor::Model::n_y;
    for (int64_t at = 0; at < count; at += block)
        processor->process(in + at * ins, out + at * outs, count - at < block ? count - at : block);
    return processor->failures() + processor->breakdowns();
}
}
