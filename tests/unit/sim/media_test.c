/*
 * Pictures, sound and the gzip bomb are checked against the formats, not against the code that writes them.
 */
#include "broker/sim/bomb.h"
#include "broker/sim/png.h"
#include "broker/sim/wav.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint32_t big(const char *at) {
        const unsigned char *b = (const unsigned char *)at;

        return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void the_checksum_is_the_one_of_the_standard(void **state) {
        (void)state;
        assert_int_equal(sim_crc32(0, "123456789", 9), 0xcbf43926);
        assert_int_equal(sim_crc32(0, "IEND", 4), 0xae426082);
}

/* RFC 1950: zlib header, one stored block, Adler-32 of the pixels. */
static void check_pixels(const char *data, uint32_t bytes, uint32_t side) {
        uint32_t pixels = side * (1 + 3 * side), a = 1, b = 0;

        assert_int_equal(bytes, 2 + 5 + pixels + 4);
        assert_int_equal(((unsigned char)data[0] * 256 + (unsigned char)data[1]) % 31, 0);
        assert_int_equal(data[2], 1);
        assert_int_equal((unsigned char)data[3] | (unsigned char)data[4] << 8, pixels);
        assert_int_equal((unsigned char)data[5] | (unsigned char)data[6] << 8, ~pixels & 0xffff);
        for (uint32_t i = 0; i < pixels; i++) {
                a = (a + (unsigned char)data[7 + i]) % 65521;
                b = (b + a) % 65521;
        }
        assert_int_equal(big(data + 7 + pixels), b << 16 | a);
}

static void a_picture_is_a_valid_png(void **state) {
        struct buffer png;
        size_t at = 8, chunks = 0;

        (void)state;
        buffer_init(&png, 100000);
        sim_png_append(5, 32, &png);
        assert_memory_equal(png.data, "\x89PNG\r\n\x1a\n", 8);
        while (at < png.size) {
                uint32_t bytes = big(png.data + at);
                const char *type = png.data + at + 4;

                assert_true(at + 12 + bytes <= png.size);
                assert_int_equal(sim_crc32(0, type, bytes + 4), big(type + 4 + bytes));
                if (memcmp(type, "IDAT", 4) == 0)
                        check_pixels(type + 4, bytes, 32);
                at += 12 + bytes;
                chunks++;
        }
        assert_int_equal(chunks, 3);
        buffer_deinit(&png);
}

static void pictures_differ_by_seed_only(void **state) {
        struct buffer a, b, c;

        (void)state;
        buffer_init(&a, 100000);
        buffer_init(&b, 100000);
        buffer_init(&c, 100000);
        sim_png_append(5, 16, &a);
        sim_png_append(5, 16, &b);
        sim_png_append(6, 16, &c);
        assert_true(bytes_equal(buffer_view(&a), buffer_view(&b)));
        assert_false(bytes_equal(buffer_view(&a), buffer_view(&c)));
        buffer_deinit(&a);
        buffer_deinit(&b);
        buffer_deinit(&c);
}

static void what_is_written_as_wav_is_read_back(void **state) {
        struct buffer wav;
        int64_t duration_ms = 0;

        (void)state;
        buffer_init(&wav, 1000);
        sim_wav_append_header(16000, 24000, &wav);
        assert_int_equal(wav.size, 44);
        assert_true(sim_wav_duration_ms(buffer_view(&wav), 44 + 48000, &duration_ms));
        assert_int_equal(duration_ms, 1500);
        buffer_deinit(&wav);
}

static void strange_wavs(void **state) {
        static const char list_first[] =
                "RIFF\x00\x00\x00\x00WAVELIST\x03\x00\x00\x00"
                "abc\0"
                "fmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
                "data\xff\xff\xff\xff";
        int64_t duration_ms = -1;

        (void)state;
        /* A stream's header claims all there could be; an odd chunk is padded. */
        assert_true(sim_wav_duration_ms(BYTES(list_first), sizeof(list_first) - 1 + 32000, &duration_ms));
        assert_int_equal(duration_ms, 2000);
        for (size_t cut = 0; cut < sizeof(list_first) - 1; cut++)
                assert_false(sim_wav_duration_ms((struct bytes){list_first, cut}, 100, &duration_ms));
        assert_false(sim_wav_duration_ms(BYTES("RIFF\x00\x00\x00\x00WAVE"
                                               "data\x00\x00\x00\x00"),
                                         100, &duration_ms));
        assert_int_equal(duration_ms, 2000);
}

static unsigned bit_at(const struct buffer *stream, size_t bit) {
        return (unsigned char)stream->data[10 + bit / 8] >> bit % 8 & 1;
}

/*
 * Counts what the fixed-code block unpacks to: the three codes that are in it, told apart by their first
 * bits.
 */
static void the_bomb_unpacks_to_its_size(void **state) {
        static const uint64_t sizes[] = {0, 1, 2, 258, 259, 260, 100000};

        (void)state;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
                struct buffer stream;
                uint64_t unpacked = 0;
                size_t bit = 3;

                buffer_init(&stream, 100000);
                sim_bomb_append(sizes[i], &stream);
                assert_int_equal(bit_at(&stream, 0), 1);
                assert_int_equal(bit_at(&stream, 1) | bit_at(&stream, 2) << 1, 1);
                for (;;) {
                        unsigned code = 0;

                        for (int j = 0; j < 7; j++)
                                code = code << 1 | bit_at(&stream, bit + (size_t)j);
                        if (code == 0)
                                break;
                        code = code << 1 | bit_at(&stream, bit + 7);
                        assert_true(code == 0x30 + ' ' || code == 0xc5);
                        bit += code == 0xc5 ? 13 : 8;
                        unpacked += code == 0xc5 ? 258 : 1;
                }
                assert_int_equal(unpacked, sizes[i]);
                buffer_deinit(&stream);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_checksum_is_the_one_of_the_standard),
                cmocka_unit_test(a_picture_is_a_valid_png),
                cmocka_unit_test(pictures_differ_by_seed_only),
                cmocka_unit_test(what_is_written_as_wav_is_read_back),
                cmocka_unit_test(strange_wavs),
                cmocka_unit_test(the_bomb_unpacks_to_its_size),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
