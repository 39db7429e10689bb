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

/* RFC 4648, both alphabets; -1: not of them. */
static int value_of(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* Four characters are three bytes, so any place can be found. What is escaped or broken ends the reading. */
static size_t read_base64(void *userdata, int64_t offset, void *out, size_t size) {
        const struct bytes *text = userdata;
        for (size_t i = 0; i < size; i++) {
                size_t at = ((size_t)offset + i) / 3 * 4, place = ((size_t)offset + i) % 3;
                if (at + place + 1 >= text->size)
                        return i;
                int high = value_of(text->data[at + place]), low = value_of(text->data[at + place + 1]);
                if (high < 0 || low < 0)
                        return i;
                ((uint8_t *)out)[i] = (uint8_t)(high << (2 + 2 * place) | low >> (4 - 2 * place));
        }
        return size;
}

int64_t audio_of_data_url_ms(struct bytes url) {
        static const char mark[] = ";base64";
        const char *comma = url.size > 0 ? memchr(url.data, ',', url.size) : NULL;
        size_t head = comma != NULL ? (size_t)(comma - url.data) : 0, mark_size = sizeof mark - 1;
        if (head < mark_size || !bytes_equal_nocase((struct bytes){comma - mark_size, mark_size}, mark))
                return -1;
        struct bytes text = {comma + 1, url.size - head - 1};
        while (text.size > 0 && text.data[text.size - 1] == '=')
                text.size--;
        struct audio_source source = {read_base64, &text, (int64_t)(text.size / 4 * 3)};
        if (text.size % 4 > 1)
                source.size += (int64_t)(text.size % 4) - 1;
        return audio_length_ms(&source);
}

int64_t audio_of_fetched_ms(const struct fetched *fetched) {
        struct bytes content = buffer_view(&fetched->content);
        int fd = fetched->file_fd;
        struct audio_source source = {read_memory, &content, (int64_t)content.size};
        if (fd >= 0)
                source = (struct audio_source){read_file, &fd, fetched->file_bytes};
        return fetched->outcome == FETCH_OK ? audio_length_ms(&source) : -1;
}
