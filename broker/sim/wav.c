#include "broker/sim/wav.h"

#include <string.h>

#define CHUNK_HEADER_BYTES 8
#define FIRST_CHUNK        12 /* behind "RIFF", size, "WAVE" */

static uint32_t get_u32(const char *at) {
        const unsigned char *byte = (const unsigned char *)at;

        return (uint32_t)byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 | (uint32_t)byte[3] << 24;
}

bool sim_wav_duration_ms(struct bytes head, uint64_t file_bytes, int64_t *out_duration_ms) {
        uint64_t at = FIRST_CHUNK, bytes_per_second = 0, size;

        if (head.size < FIRST_CHUNK || memcmp(head.data, "RIFF", 4) != 0 ||
            memcmp(head.data + 8, "WAVE", 4) != 0)
                return false;
        for (; at + CHUNK_HEADER_BYTES <= head.size; at += CHUNK_HEADER_BYTES + size + size % 2) {
                const char *chunk = head.data + at;
                uint64_t left = file_bytes - at - CHUNK_HEADER_BYTES;

                size = get_u32(chunk + 4);
                if (memcmp(chunk, "fmt ", 4) == 0 && size >= 16 && at + CHUNK_HEADER_BYTES + 16 <= head.size)
                        bytes_per_second = get_u32(chunk + CHUNK_HEADER_BYTES + 8);
                if (memcmp(chunk, "data", 4) != 0)
                        continue;
                if (bytes_per_second == 0)
                        return false;
                size = size == 0 || size > left ? left : size;
                *out_duration_ms = (int64_t)(size * 1000 / bytes_per_second);
                return true;
        }
        return false;
}

static void append_u32(uint32_t value, struct buffer *buffer) {
        for (int i = 0; i < 4; i++, value >>= 8)
                buffer_append_char(buffer, (char)(value & 0xff));
}

void sim_wav_append_header(uint32_t rate_hz, uint32_t samples, struct buffer *buffer) {
        uint32_t data_bytes = samples * 2;

        buffer_append_string(buffer, "RIFF");
        append_u32(36 + data_bytes, buffer);
        buffer_append_string(buffer, "WAVEfmt ");
        append_u32(16, buffer);
        append_u32(1 | 1 << 16, buffer); /* PCM, one channel */
        append_u32(rate_hz, buffer);
        append_u32(rate_hz * 2, buffer);
        append_u32(2 | 16 << 16, buffer); /* 2 bytes a frame, 16 bits a sample */
        buffer_append_string(buffer, "data");
        append_u32(data_bytes, buffer);
}
