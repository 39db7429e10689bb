#include "broker/sim/png.h"

#include "broker/base/check.h"
#include "broker/sim/hash.h"

#include <string.h>

#define STORED_BYTES_MAX 65535
#define ADLER_MODULUS    65521

uint32_t sim_crc32(uint32_t crc, const void *data, size_t size) {
        const unsigned char *bytes = data;

        crc = ~crc;
        for (size_t i = 0; i < size; i++) {
                crc ^= bytes[i];
                for (int bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (0xedb88320u & (0 - (crc & 1)));
        }
        return ~crc;
}

static uint32_t adler32(struct bytes bytes) {
        uint32_t a = 1, b = 0;

        for (size_t i = 0; i < bytes.size; i++) {
                a = (a + (unsigned char)bytes.data[i]) % ADLER_MODULUS;
                b = (b + a) % ADLER_MODULUS;
        }
        return b << 16 | a;
}

static void append_u32_big(uint32_t value, struct buffer *buffer) {
        for (int shift = 24; shift >= 0; shift -= 8)
                buffer_append_char(buffer, (char)(value >> shift & 0xff));
}

static void append_chunk(const char *type, struct bytes data, struct buffer *buffer) {
        uint32_t crc = sim_crc32(sim_crc32(0, type, 4), data.data, data.size);

        append_u32_big((uint32_t)data.size, buffer);
        buffer_append_string(buffer, type);
        buffer_append_bytes(buffer, data);
        append_u32_big(crc, buffer);
}

/* Each row starts with its filter, 0. */
static void append_pixels(uint64_t seed, uint32_t side, struct buffer *pixels) {
        for (uint32_t y = 0; y < side; y++) {
                buffer_append_char(pixels, 0);
                for (uint32_t x = 0; x < side; x++) {
                        uint64_t colour = sim_hash_mix(seed, (uint64_t)(y / 4) << 32 | x / 4);

                        buffer_append(pixels, &colour, 3);
                }
        }
}

void sim_png_append(uint64_t seed, uint32_t side_pixels, struct buffer *buffer) {
        struct buffer header, pixels, packed;
        uint16_t size;

        CHECK(side_pixels >= 1 && side_pixels <= 100);
        buffer_init(&header, 64);
        buffer_init(&pixels, STORED_BYTES_MAX);
        buffer_init(&packed, STORED_BYTES_MAX + 64);
        append_u32_big(side_pixels, &header);
        append_u32_big(side_pixels, &header);
        buffer_append(&header, "\x08\x02\x00\x00\x00",
                      5); /* 8 bits, RGB, deflate, no filter method, no interlace */
        append_pixels(seed, side_pixels, &pixels);
        size = (uint16_t)pixels.size;
        buffer_append(&packed, "\x78\x01\x01", 3); /* zlib; one last block, stored */
        buffer_append_char(&packed, (char)(size & 0xff));
        buffer_append_char(&packed, (char)(size >> 8));
        buffer_append_char(&packed, (char)(~size & 0xff));
        buffer_append_char(&packed, (char)(~size >> 8 & 0xff));
        buffer_append_bytes(&packed, buffer_view(&pixels));
        append_u32_big(adler32(buffer_view(&pixels)), &packed);
        buffer_append(buffer, "\x89PNG\r\n\x1a\n", 8);
        append_chunk("IHDR", buffer_view(&header), buffer);
        append_chunk("IDAT", buffer_view(&packed), buffer);
        append_chunk("IEND", (struct bytes){0}, buffer);
        buffer_deinit(&header);
        buffer_deinit(&pixels);
        buffer_deinit(&packed);
}
