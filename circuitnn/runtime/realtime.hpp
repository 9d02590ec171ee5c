// What all processors for real time share: knobs, and numbers that would take too long or never recover.
#pragma once

#include <math.h>
#include <stdint.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace circuitnn {

// A knob by name, where it stands at first (0 to 1), and whether it may move while the processor runs.
struct Knob {
    const char* name;
    double position;
    bool moves;
};

// While it lives, the processor rounds denormal numbers to 0, which it would otherwise compute slowly.
class FlushDenormals {
#if defined(__SSE__)
    unsigned before = _mm_getcsr();

  public:
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#elif defined(__aarch64__)
    uint64_t before;

  public:
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        asm volatile("msr fpcr, %0" : : "r"(before | (uint64_t(1) << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before)); }
#else
  public:
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
};

inline bool is_finite(double x) { return fabs(x) < 1e300; }

}  // namespace circuitnn
