// Plays a WAV file through the @what@: 16, 24 or 32 bit or float in, 32-bit float out, without delay between them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "@name@.hpp"

namespace exported = @name@;
using Model = exported::Processor::Model;

namespace {

// Samples [frames, channels] with digital full scale at 1.
struct Sound {
    uint32_t rate = 0;
    int channels = 0;
    int64_t frames = 0;
    double* samples = nullptr;
};

[[noreturn]] void fail(const char* what, const char* about) {
    fprintf(stderr, "error: %s: %s\n", about, what);
    exit(2);
}

uint32_t little(const unsigned char* bytes, int count) {
    uint32_t value = 0;
    for (int k = count - 1; k >= 0; --k) value = value << 8 | bytes[k];
    return value;
}

double sample_of(const unsigned char* bytes, int width, bool floating) {
    // The bytes in the upper part of a word, so that its sign is the sample's.
    const uint32_t word = little(bytes, width) << 8 * (4 - width);
    if (floating) {
        float value;
        memcpy(&value, &word, sizeof value);
        return double(value);
    }
    int32_t value;
    memcpy(&value, &word, sizeof value);
    return value / 2147483648.0;
}

Sound read_wav(const char* path) {
    FILE* file = fopen(path, "rb");
    if (!file) fail("cannot be read", path);
    unsigned char head[12], chunk[8], format[40] = {};
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
        fail("not a WAV file", path);
    Sound sound;
    int width = 0;
    bool floating = false;
    while (fread(chunk, 1, 8, file) == 8) {
        const uint32_t size = little(chunk + 4, 4);
        if (!memcmp(chunk, "fmt ", 4) && size >= 16) {
            const uint32_t kept = size < sizeof format ? size : uint32_t(sizeof format);
            if (fread(format, 1, kept, file) != kept) fail("ends in its header", path);
            fseek(file, long(size - kept + size % 2), SEEK_CUR);
            // An extensible format names the real one at byte 24.
            const uint32_t declared = little(format, 2), tag = declared == 0xfffe ? little(format + 24, 2) : declared;
            sound.channels = int(little(format + 2, 2));
            sound.rate = little(format + 4, 4);
            width = int(little(format + 14, 2)) / 8;
            floating = tag == 3;
            if ((tag != 1 && tag != 3) || width < 2 || width > 4 || (floating && width != 4) || sound.channels < 1)
                fail("expected 16, 24 or 32 bits, or 32-bit float", path);
        } else if (!memcmp(chunk, "data", 4) && width) {
            const int64_t count = int64_t(size) / width;
            auto* bytes = static_cast<unsigned char*>(malloc(size_t(size) + 1));
            sound.samples = static_cast<double*>(malloc(sizeof(double) * size_t(count + 1)));
            if (!bytes || !sound.samples) fail("too long for the memory", path);
            const int64_t present = int64_t(fread(bytes, size_t(width), size_t(count), file));
            for (int64_t k = 0; k < present; ++k) sound.samples[k] = sample_of(bytes + k * width, width, floating);
            sound.frames = present / sound.channels;
            free(bytes);
            break;
        } else {
            fseek(file, long(size + size % 2), SEEK_CUR);
        }
    }
    fclose(file);
    if (!sound.samples || sound.rate == 0) fail("holds no samples", path);
    return sound;
}

void put(FILE* file, uint32_t value, int bytes) {
    for (int k = 0; k < bytes; ++k) fputc(int(value >> 8 * k & 255), file);
}

void write_wav(const char* path, const Sound& sound) {
    FILE* file = fopen(path, "wb");
    if (!file) fail("cannot be written", path);
    const uint32_t frame = uint32_t(4 * sound.channels), size = uint32_t(sound.frames) * frame;
    fputs("RIFF", file);
    put(file, 36 + size, 4);
    fputs("WAVEfmt ", file);
    put(file, 16, 4);
    put(file, 3, 2);
    put(file, uint32_t(sound.channels), 2);
    put(file, sound.rate, 4);
    put(file, sound.rate * frame, 4);
    put(file, frame, 2);
    put(file, 32, 2);
    fputs("data", file);
    put(file, size, 4);
    for (int64_t k = 0; k < sound.frames * sound.channels; ++k) {
        const float value = float(sound.samples[k]);
        uint32_t word;
        memcpy(&word, &value, sizeof word);
        put(file, word, 4);
    }
    if (ferror(file) | fclose(file)) fail("cannot be written", path);
}

double number(const char* text, const char* option) {
    char* end;
    const double value = strtod(text, &end);
    if (end == text || *end) fail("expected a number", option);
    return value;
}

int usage(const char* program) {
    fprintf(stderr, "usage: %s IN.wav OUT.wav [--input-level %g] [--output-gain %g]", program, Model::input_level,
            Model::output_gain);
    for (int k = 0; k < Model::knobs; ++k) fprintf(stderr, " [--%s %g]", Model::knob[k].name, Model::knob[k].position);
    fprintf(stderr, "\nlevel: volt at digital full scale; gain: digital full scale per volt; knobs: 0 to 1\n");
    return 2;
}

// Too large for some stacks.
exported::Processor processor(Model::sample_rate);

}  // namespace

int main(int count, char** words) {
    if (count < 3 || count % 2 == 0) return usage(words[0]);
    double level = Model::input_level, gain = Model::output_gain;
    double positions[Model::knobs + 1];
    for (int k = 0; k < Model::knobs; ++k) positions[k] = Model::knob[k].position;
    for (int word = 3; word < count; word += 2) {
        const char* option = words[word];
        const double value = number(words[word + 1], option);
        int knob = 0;
        while (knob < Model::knobs && (strncmp(option, "--", 2) || strcmp(option + 2, Model::knob[knob].name))) ++knob;
        if (!strcmp(option, "--input-level"))
            level = value;
        else if (!strcmp(option, "--output-gain"))
            gain = value;
        else if (knob < Model::knobs)
            positions[knob] = value;
        else
            return usage(words[0]);
    }
    const Sound in = read_wav(words[1]);
    if (in.channels != Model::n_u) fail("has another number of channels than the @what@ has inputs", words[1]);

    processor.prepare(in.rate);
    for (int k = 0; k < Model::knobs; ++k) processor.turn(k, positions[k]);
    if (!processor.reset()) fail("no state of rest was found, or it has too far another sampling rate", words[1]);

    // What goes in is followed by silence, until all of it has come out.
    const int latency = processor.latency;
    Sound out{in.rate, Model::n_y, in.frames, nullptr};
    const size_t total = size_t(in.frames + latency);
    auto* volts = static_cast<double*>(calloc(total * Model::n_u + 1, sizeof(double)));
    auto* heard = static_cast<double*>(calloc(total * Model::n_y + 1, sizeof(double)));
    if (!volts || !heard) fail("too long for the memory", words[1]);
    for (int64_t k = 0; k < in.frames * in.channels; ++k) volts[k] = level * in.samples[k];
    processor.process(volts, heard, in.frames + latency);
    for (size_t k = 0; k < total * Model::n_y; ++k) heard[k] *= gain;
    out.samples = heard + latency * Model::n_y;
    write_wav(words[2], out);
    if (processor.failures())
        fprintf(stderr, "warning: %lld steps did not converge and kept the last solution\n",
                static_cast<long long>(processor.failures()));
    free(in.samples);
    free(volts);
    free(heard);
    return 0;
}
