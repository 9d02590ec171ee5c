// A processor that belongs to one sample rate, played at any other: what comes in is read between its samples at the
// processor's rate, and what that says is read at the host's.
#pragma once

#include "converter.hpp"
#include "realtime.hpp"

namespace circuitnn {

// A signal between its samples, by the windowed sinc of converter.hpp. That is tabulated at `phases` places between two
// samples; straight lines between them are off by less than its stop band lets through. `widest`: by how much at most it
// is stretched, for a signal that is read at a lower rate.
template <int widest>
class Interpolator {
    static constexpr int phases = 512;
    // Row after row of 2 * reach.
    float taps[(phases + 1) * 2 * half_length * widest];

  public:
    // So many samples on either side of a place are read.
    int reach = half_length;

    // stretch: the signal's rate over that at which it is read. Below 1 nothing is lost.
    void prepare(double stretch) {
        const double pi = 3.14159265358979323846, wide = fmax(1.0, fmin(stretch, widest));
        // Sums run over multiples of 8 terms.
        reach = 4 * int(ceil(half_length * wide / 4.0));
        for (int phase = 0; phase <= phases; ++phase) {
            double total = 0.0;
            float* row = taps + phase * 2 * reach;
            for (int k = 0; k < 2 * reach; ++k) {
                const double x = (k + 1 - reach - double(phase) / phases) / wide, place = x / half_length;
                const double sinc = x == 0.0 ? 1.0 : sin(pi * x) / (pi * x);
                const double tap = fabs(place) < 1.0 ? kaiser(place) * sinc : 0.0;
                row[k] = float(tap);
                total += tap;
            }
            for (int k = 0; k < 2 * reach; ++k) row[k] = float(double(row[k]) / total);
        }
    }

    // The signal at `fraction` (0 to 1) of the way from samples[reach - 1] to the next.
    float at(const float* samples, double fraction) const {
        const int phase = int(fraction * phases);
        const float between = float(fraction * phases - phase);
        const float *below = taps + phase * 2 * reach, *above = below + 2 * reach;
        float sum[8] = {};
        for (int k = 0; k < 2 * reach; k += 8)
            for (int j = 0; j < 8; ++j)
                sum[j] += samples[k + j] * (below[k + j] + between * (above[k + j] - below[k + j]));
        return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
    }
};

// A time at one rate that goes on in steps of another, without error: whole samples and parts of one.
struct Place {
    int64_t whole = 0, part = 0, parts = 1;

    void set(int64_t numerator, int64_t denominator) {
        parts = denominator;
        whole = numerator / denominator;
        part = numerator % denominator;
    }
    void advance(int64_t numerator) {
        part += numerator;
        whole += part / parts;
        part %= parts;
    }
    double fraction() const { return double(part) / double(parts); }
};

// Processor: NetworkProcessor or ChainProcessor, whose functions these are. Where the host's rate is the model's, nothing
// is between them; else both are taken in whole Hz, and may be up to `widest` times apart.
template <class Processor>
class OwnRate : public Processor {
    // As in NetworkProcessor.
    static constexpr double highest = 1e6;
    static constexpr int widest = 9, chunk = 64, most = 2 * half_length * widest;
    // What is kept of the model's past, and room for that and a chunk at the higher of both rates.
    static constexpr int past = most + 2 * widest, room = past + (chunk + 1) * widest;

  public:
    // By how many samples the output is late, and may be at most.
    int latency = Processor::latency;
    static constexpr int most_latency = (2 * half_length + 4 + Processor::latency) * widest;

    // All that changes from sample to sample; plain data, to be copied.
    struct State {
        typename Processor::State processor;
        float heard[room], played[room];
        Place into, out_of;
    };

    explicit OwnRate(double host_rate) : Processor(Processor::Model::sample_rate) { prepare(host_rate); }

    // Sets the sample rate and comes to rest. False, and then silent, if it is too far from the model's. Not for real time.
    bool prepare(double host_rate) {
        const double own_rate = Processor::Model::sample_rate, ratio = own_rate / host_rate;
        possible = ratio * widest >= 1.0 && ratio <= widest;
        converts = host_rate != own_rate;
        latency = Processor::latency;
        if (possible && converts) {
            host = int64_t(host_rate + 0.5);
            own = int64_t(own_rate + 0.5);
            before.prepare(1.0 / ratio);
            after.prepare(ratio);
            // A place is read when all samples within its reach are there; one more may be on its way.
            latency = before.reach + int(ceil((after.reach + 1 + Processor::latency) / ratio));
        }
        return Processor::prepare(own_rate) && settle();
    }

    // Comes to rest, as after a long silence. False where `prepare` was.
    bool reset() { return Processor::reset() && settle(); }

    // in [count] -> out [count]; both may be the same. Any count; the state carries over.
    template <class Sample>
    void process(const Sample* in, Sample* out, int64_t count) {
        if (!possible)
            for (int64_t k = 0; k < count; ++k) out[k] = Sample(0);
        else if (!converts)
            Processor::process(in, out, count);
        else
            convert(in, out, count);
    }

    State save() const {
        // Made in its place: it is too large to be on the stack twice.
        State saved{Processor::save(), {}, {}, {}, {}};
        memcpy(saved.heard, heard, sizeof heard);
        memcpy(saved.played, played, sizeof played);
        saved.into = into;
        saved.out_of = out_of;
        return saved;
    }
    // Goes on from a saved state, also of another processor of this type at the same sample rate.
    void restore(const State& saved) {
        Processor::restore(saved.processor);
        memcpy(heard, saved.heard, sizeof heard);
        memcpy(played, saved.played, sizeof played);
        into = saved.into;
        out_of = saved.out_of;
    }

  private:
    bool possible = true, converts = false;
    int64_t host = 1, own = 1;
    Interpolator<widest> before, after;
    // The last samples at the host's rate and at the model's, oldest first, and room for new ones; the next places that
    // are read of them.
    float heard[room] = {}, played[room] = {};
    Place into, out_of;

    bool settle() {
        if (!possible || !converts) return possible;
        for (float& sample : heard) sample = 0.0f;
        // What it says in silence need not be zero.
        Processor::process(heard, played, past);
        into.set(before.reach * own, own);
        out_of.set((past + Processor::latency) * host + (before.reach - latency) * own, host);
        return true;
    }

    template <class Sample>
    void convert(const Sample* in, Sample* out, int64_t count) {
        const FlushDenormals flush;
        const int64_t known = 2 * before.reach;
        while (count > 0) {
            const int64_t n = count < chunk ? count : chunk;
            for (int64_t k = 0; k < n; ++k) {
                const double u = double(in[k]);
                heard[known + k] = is_finite(u) ? float(fmax(-highest, fmin(u, highest))) : 0.0f;
            }
            int64_t made = 0;
            for (; into.whole < before.reach + n; into.advance(host))
                played[past + made++] = before.at(heard + into.whole - before.reach + 1, into.fraction());
            Processor::process(played + past, played + past, made);
            for (int64_t k = 0; k < n; ++k, out_of.advance(own))
                out[k] = Sample(after.at(played + out_of.whole - after.reach + 1, out_of.fraction()));
            memmove(heard, heard + n, sizeof(float) * size_t(known));
            memmove(played, played + made, sizeof(float) * size_t(past));
            into.whole -= n;
            out_of.whole -= made;
            in += n;
            out += n;
            count -= n;
        }
    }
};

}  // namespace circuitnn
