/* Any bytes as a sound file: a length that can be believed, or none; never a read outside of the file. */
#include "broker/base/audio.h"
#include "broker/base/check.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
        const uint8_t *data;
        size_t size;
};

static size_t read_file(void *userdata, int64_t offset, void *out, size_t size) {
        const struct file *file = userdata;
        CHECK(offset >= 0 && (size_t)offset <= file->size);
        size_t left = file->size - (size_t)offset, got = size < left ? size : left;
        memcpy(out, file->data + offset, got);
        return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct file file = {data, size};
        int64_t ms = audio_length_ms(&(struct audio_source){read_file, &file, (int64_t)size});
        CHECK(ms >= -1 && ms <= AUDIO_MS_MAX);
        return 0;
}
