#include "workers/http/audio_input.h"

#include "broker/base/audio.h"

#include <string.h>
#include <unistd.h>

static size_t read_memory(void *userdata, int64_t offset, void *out, size_t size) {
        const struct bytes *bytes = userdata;
        memcpy(out, bytes->data + offset, size);
        return size;
}

static size_t read_file(void *userdata, int64_t offset, void *out, size_t size) {
        ssize_t got = pread(*(const int *)userdata, out, size, offset);
        return got > 0 ? (size_t)got : 0;
}

int64_t audio_of_data_url_ms(struct bytes url) {
        static const char mark[] = ";base64";
        const char *comma = url.size > 0 ? memchr(url.data, ',', url.size) : NULL;
        size_t head = comma != NULL ? (size_t)(comma - url.data) : 0, mark_size = sizeof mark - 1;
        if (head < mark_size || !bytes_equal_nocase((struct bytes){comma - mark_size, mark_size}, mark))
                return -1;
        return audio_base64_ms((struct bytes){comma + 1, url.size - head - 1});
}

int64_t audio_of_fetched_ms(const struct fetched *fetched) {
        struct bytes content = buffer_view(&fetched->content);
        int fd = fetched->file_fd;
        struct audio_source source = {read_memory, &content, (int64_t)content.size};
        if (fd >= 0)
                source = (struct audio_source){read_file, &fd, fetched->file_bytes};
        return fetched->outcome == FETCH_OK ? audio_length_ms(&source) : -1;
}
