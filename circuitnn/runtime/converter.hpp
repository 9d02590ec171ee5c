// Sample-rate conversion by the filter of oversampling.py: a Kaiser-windowed sinc of linear phase, flat to 0.45 of the
// base rate, at least 95 dB down from 0.55 on. Any number of samples at a time up to `most`.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace circuitnn {

// Half the filter's length, in samples at the base rate: the delay of one conversion.
constexpr int half_length = 32;

// a . b for a length that is a multiple of 8: sums side by side, as they stand in vector registers.
template <int length>
inline double dot(const double* a, const double* b) {
    static_assert(length % 8 == 0);
    double sum[8] = {};
    for (int k = 0; k < length; k += 8)
        for (int j = 0; j < 8; ++j) sum[j] += a[k + j] * b[k + j];
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

// The window at a place from -1 to 1.
inline double kaiser(double place) {
    const double beta = 10.06;
    // The modified Bessel function I_0 by its series.
    auto bessel = [](double x) {
        double sum = 1.0, term = 1.0;
        for (int k = 1; k < 60; ++k) sum += term *= 0.25 * x * x / (double(k) * k);
        return sum;
    };
    return bessel(beta * sqrt(1.0 - place * place)) / bessel(beta);
}

// The filter's impulse response [2 factor half_length + 1] at the high rate, with unit gain at DC.
template <int factor>
void low_pass(double* taps) {
    constexpr int half = factor * half_length;
    const double pi = 3.14159265358979323846;
    double total = 0.0;
    for (int n = -half; n <= half; ++n) {
        const double x = pi * n / factor;
        total += taps[half + n] = kaiser(double(n) / half) * (n == 0 ? 1.0 : sin(x) / x);
    }
    for (int k = 0; k <= 2 * half; ++k) taps[k] /= total;
}

// Conversion up and down of `ups` and `downs` channels, interleaved.
template <int factor, int ups, int downs, int most>
class Converter {
    // Lengths of the filters' memories, so that a product has a multiple of 8 terms.
    static constexpr int low = 2 * half_length + 7, high = 2 * half_length * factor + 7;
    double up_taps[factor][low + 1], down_taps[high + 1];

  public:
    // The last samples of every channel, oldest first, and room for new ones.
    struct State {
        double up[ups][low + most], down[downs][high + most * factor];
    };
    State state;

    Converter() {
        double taps[2 * half_length * factor + 1];
        low_pass<factor>(taps);
        for (int phase = 0; phase < factor; ++phase)
            for (int k = 0; k <= low; ++k) {
                const int tap = phase + factor * (low - k);
                up_taps[phase][k] = tap <= 2 * half_length * factor ? factor * taps[tap] : 0.0;
            }
        for (int k = 0; k <= high; ++k) down_taps[k] = high - k <= 2 * half_length * factor ? taps[high - k] : 0.0;
    }

    // As if the input had been 0 and the output y [downs] for ever.
    void rest(const double* y) {
        memset(&state, 0, sizeof state);
        for (int channel = 0; channel < downs; ++channel)
            for (double& sample : state.down[channel]) sample = y[channel];
    }

    // in [count, ups] -> out [count * factor, ups]
    void up(int count, const double* in, double* out) {
        for (int channel = 0; channel < ups; ++channel) {
            double* line = state.up[channel];
            for (int n = 0; n < count; ++n) line[low + n] = in[n * ups + channel];
            for (int n = 0; n < count; ++n)
                for (int phase = 0; phase < factor; ++phase)
                    out[(n * factor + phase) * ups + channel] = dot<low + 1>(up_taps[phase], line + n);
            memmove(line, line + count, sizeof(double) * low);
        }
    }

    // in [count * factor, downs] -> out [count, downs]
    void down(int count, const double* in, double* out) {
        for (int channel = 0; channel < downs; ++channel) {
            double* line = state.down[channel];
            for (int n = 0; n < count * factor; ++n) line[high + n] = in[n * downs + channel];
            for (int n = 0; n < count; ++n) out[n * downs + channel] = dot<high + 1>(down_taps, line + n * factor);
            memmove(line, line + count * factor, sizeof(double) * high);
        }
    }
};

// Nothing to do without oversampling.
template <int ups, int downs, int most>
class Converter<1, ups, downs, most> {
  public:
    struct State {};
    State state;

    void rest(const double*) {}
    void up(int count, const double* in, double* out) { memcpy(out, in, sizeof(double) * count * ups); }
    void down(int count, const double* in, double* out) { memcpy(out, in, sizeof(double) * count * downs); }
};

}  // namespace circuitnn
