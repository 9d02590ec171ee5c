// The dilated convolution of Miklanek and Schimmel, "Fast temporal convolutions for real-time audio signal processing",
// DAFx20in22, Algorithm 1, and the network of its section 3, written plainly with sizes fixed at compile time: one sample
// after another, one ring buffer of the shortest length, chosen columns copied together, one sum for each output. Activations
// are this program's, so that only the convolutions differ.
#pragma once

#include "layers.hpp"

namespace algorithm_1 {

template <int inputs, int outputs, int taps, int dilation>
struct Convolution {
    static constexpr int length = dilation * (taps - 1) + 1;
    float H[outputs][taps * inputs], b[outputs], B[length][inputs] = {};
    int w = 0;

    template <class Source>
    void load(Source& weights) {
        for (auto& kernel : H)
            for (int c = 0; c < inputs; ++c)
                for (int k = 0; k < taps; ++k) kernel[k * inputs + c] = float(weights.take());
        for (float& number : b) number = float(weights.take());
    }
    void forward(const float* x, float* y) {
        float columns[taps * inputs];
        for (int c = 0; c < inputs; ++c) B[w][c] = x[c];
        for (int k = 0; k < taps; ++k) {
            int r = w - dilation * (taps - 1 - k);
            if (r < 0) r += length;
            for (int c = 0; c < inputs; ++c) columns[k * inputs + c] = B[r][c];
        }
        for (int o = 0; o < outputs; ++o) {
            float sum = b[o];
#pragma omp simd reduction(+ : sum)
            for (int k = 0; k < taps * inputs; ++k) sum += columns[k] * H[o][k];
            y[o] = sum;
        }
        w = w < length - 1 ? w + 1 : 0;
    }
};

// The layers with these dilations.
template <int channels, int... dilations>
struct Layers {
    template <class Source>
    void load(Source&) {}
    float forward(float*) { return 0.0f; }
};
template <int channels, int dilation, int... later>
struct Layers<channels, dilation, later...> {
    Convolution<channels, 2 * channels, 3, dilation> convolution;
    Convolution<channels, channels, 1, 1> residual;
    float output[channels];
    Layers<channels, later...> next;

    template <class Source>
    void load(Source& weights) {
        convolution.load(weights);
        residual.load(weights);
        for (float& number : output) number = float(weights.take());
        next.load(weights);
    }
    float forward(float* x) {
        float both[2 * channels], z[channels], more[channels], y = 0.0f;
        convolution.forward(x, both);
#pragma omp simd
        for (int c = 0; c < channels; ++c)
            z[c] = circuitnn::hyperbolic_tangent(both[c]) * circuitnn::gate_of_half(0.5f * both[channels + c]);
#pragma omp simd reduction(+ : y)
        for (int c = 0; c < channels; ++c) y += output[c] * z[c];
        residual.forward(z, more);
        for (int c = 0; c < channels; ++c) x[c] += more[c];
        return y + next.forward(x);
    }
};

template <int channels, int... dilations>
struct Network {
    Convolution<1, channels, 1, 1> input;
    Layers<channels, dilations...> layers;
    float offset;

    template <class Source>
    explicit Network(Source& weights) {
        input.load(weights);
        layers.load(weights);
        offset = float(weights.take());
    }
    void process(const double* in, double* out, int64_t count) {
        for (int64_t n = 0; n < count; ++n) {
            const float u = float(in[n]);
            float x[channels];
            input.forward(&u, x);
            out[n] = double(offset + layers.forward(x));
        }
    }
};

}  // namespace algorithm_1
