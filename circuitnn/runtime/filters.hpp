// Finite impulse responses over signals whose channels are interleaved: what rate converters and weighting filters are
// made of.
#pragma once

#include "numerics.hpp"

namespace circuitnn {

// `lanes` channels of `outputs` outputs: out[n, lane] = sum_k taps[k] in[n * stride + k, lane]. Each sample is read once
// for all outputs, so taps has (outputs - 1) * stride zeros before and behind the response.
template <int lanes, int outputs>
inline void weighted_sums(int64_t length, int64_t stride, const double* taps, int64_t channels, const double* in,
                          double* out, int64_t out_stride) {
    typedef double Lanes __attribute__((vector_size(lanes * sizeof(double))));
    Lanes sum[outputs] = {};
    const int64_t reach = length + (outputs - 1) * stride;
    for (int64_t k = 0; k < reach; ++k, in += channels) {
        Lanes sample;
        memcpy(&sample, in, sizeof sample);
        CIRCUITNN_UNROLL
        for (int n = 0; n < outputs; ++n) sum[n] += sample * taps[k - n * stride];
    }
    for (int n = 0; n < outputs; ++n) memcpy(out + n * out_stride, &sum[n], sizeof sum[n]);
}

// All channels of `outputs` outputs.
template <int outputs>
inline void weighted_sums(int64_t length, int64_t stride, const double* taps, int64_t channels, const double* in,
                          double* out, int64_t out_stride) {
    int64_t c = 0;
    for (; c + 8 <= channels; c += 8)
        weighted_sums<8, outputs>(length, stride, taps, channels, in + c, out + c, out_stride);
    for (; c + 2 <= channels; c += 2)
        weighted_sums<2, outputs>(length, stride, taps, channels, in + c, out + c, out_stride);
    for (; c < channels; ++c)
        weighted_sums<1, outputs>(length, stride, taps, channels, in + c, out + c, out_stride);
}

// One output of the only channel: the samples stand side by side, and so do the products.
inline double weighted_sum(int64_t count, const double* taps, const double* in) {
    constexpr int lanes = 16;
    double sum[lanes] = {}, rest = 0.0;
    int64_t k = 0;
    for (; k + lanes <= count; k += lanes)
        for (int lane = 0; lane < lanes; ++lane) sum[lane] += taps[k + lane] * in[k + lane];
    for (; k < count; ++k) rest += taps[k] * in[k];
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) sum[lane] += sum[lane + half];
    return sum[0] + rest;
}

// Outputs that are made at the same time.
constexpr int together = 8;

// out[n * phases + p, c] = sum_k taps[p, k] in[n * stride + k, c], for n < count: every `stride`-th sample filtered by
// each of `phases` responses. taps [phases, length], reversed in time, with (together - 1) * stride zeros before and
// behind each.
inline void filter(int64_t count, int64_t channels, int64_t stride, int64_t phases, int64_t length, const double* taps,
                   const double* in, double* out) {
    const int64_t margin = (together - 1) * stride, row = phases * channels;
    for (int64_t phase = 0; phase < phases; ++phase) {
        const double* own = taps + phase * (length + 2 * margin) + margin;
        double* made = out + phase * channels;
        int64_t n = 0;
        if (channels == 1)
            for (; n < count; ++n) made[n * row] = weighted_sum(length, own, in + n * stride);
        for (; n + together <= count; n += together)
            weighted_sums<together>(length, stride, own, channels, in + n * stride * channels, made + n * row, row);
        for (; n < count; ++n)
            weighted_sums<1>(length, stride, own, channels, in + n * stride * channels, made + n * row, row);
    }
}

}  // namespace circuitnn
