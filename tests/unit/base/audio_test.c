/* Small sound files, made here byte by byte, with the length that they must have; then broken ones. */
#include "broker/base/audio.h"
#include "broker/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

enum { FILE_MAX = 100000, READS_MAX = 200 };

struct file {
        uint8_t bytes[FILE_MAX];
        size_t size;
        int64_t said_size; /* of a file larger than what is here; 0: size */
        unsigned reads;
};

static size_t read_file(void *userdata, int64_t offset, void *out, size_t size) {
        struct file *file = userdata;
        assert_true(offset >= 0 && ++file->reads < READS_MAX);
        size_t left = (size_t)offset < file->size ? file->size - (size_t)offset : 0;
        memcpy(out, file->bytes + (left > 0 ? offset : 0), size < left ? size : left);
        return size < left ? size : left;
}

static int64_t length(struct file *file) {
        file->reads = 0;
        struct audio_source source = {read_file, file,
                                      file->said_size > 0 ? file->said_size : (int64_t)file->size};
        return audio_length_ms(&source);
}

static void add(struct file *file, const void *bytes, size_t size) {
        assert_true(file->size + size <= FILE_MAX);
        memcpy(file->bytes + file->size, bytes, size);
        file->size += size;
}

static void add_text(struct file *file, const char *text) {
        add(file, text, strlen(text));
}

static void add_zeros(struct file *file, size_t size) {
        assert_true(file->size + size <= FILE_MAX);
        memset(file->bytes + file->size, 0, size);
        file->size += size;
}

static void add_little(struct file *file, uint64_t value, int count) {
        for (int i = 0; i < count; i++) {
                uint8_t byte = (uint8_t)(value >> 8 * i);
                add(file, &byte, 1);
        }
}

static void add_big(struct file *file, uint64_t value, int count) {
        for (int i = count; i-- > 0;) {
                uint8_t byte = (uint8_t)(value >> 8 * i);
                add(file, &byte, 1);
        }
}

/* 16,000 bytes a second; `said` in the data chunk. */
static void wav(struct file *file, uint32_t said, size_t held, bool list) {
        add_text(file, "RIFF");
        add_little(file, 36 + held, 4);
        add_text(file, "WAVE");
        if (list) {
                add_text(file, "LIST");
                add_little(file, 5, 4); /* odd: a byte of padding follows */
                add_zeros(file, 6);
        }
        add_text(file, "fmt ");
        add_little(file, 16, 4);
        add_little(file, 1, 2);
        add_little(file, 1, 2);
        add_little(file, 8000, 4);
        add_little(file, 16000, 4);
        add_little(file, 2, 2);
        add_little(file, 16, 2);
        add_text(file, "data");
        add_little(file, said, 4);
        add_zeros(file, held);
}

static void wav_plain(struct file *file) {
        wav(file, 8000, 8000, false);
}

static void wav_listed(struct file *file) {
        wav(file, 16000, 16000, true);
}

static void wav_streamed(struct file *file) {
        wav(file, UINT32_MAX, 4000, false);
}

static void wav_unfinished(struct file *file) {
        wav(file, 0, 4000, false);
}

static void wav_of_an_hour(struct file *file) {
        wav(file, 16000 * 3600, 10, false);
        file->said_size = 44 + 16000 * 3600;
}

static void wav_without_rate(struct file *file) {
        wav(file, 8000, 8000, false);
        memset(file->bytes + 28, 0, 4);
}

static void id3(struct file *file, size_t size) {
        add_text(file, "ID3");
        add_zeros(file, 3);
        add_big(file, (size >> 7) << 8 | (size & 0x7f), 4);
        add_zeros(file, size);
}

static void flac(struct file *file) {
        add_text(file, "fLaC");
        add_big(file, 34, 4); /* type 0 */
        add_zeros(file, 10);
        add_big(file, UINT64_C(44100) << 44 | UINT64_C(1) << 41 | UINT64_C(15) << 36 | 44100 * 90, 8);
        add_zeros(file, 16);
}

static void flac_behind_id3(struct file *file) {
        id3(file, 300);
        flac(file);
}

static void flac_streamed(struct file *file) {
        flac(file);
        memset(file->bytes + 22, 0, 4);
        file->bytes[21] &= 0xf0;
}

enum { CBR_128 = 9, CBR_64 = 5 };

/* MPEG 1, layer III, 44.1 kHz: 417 bytes at 128 kbit/s, 208 at 64. */
static void mp3_frame(struct file *file, unsigned bit_rate, bool mono) {
        add_big(file, UINT64_C(0xfffb0000) | bit_rate << 12 | (mono ? 0xc0 : 0x40), 4);
        add_zeros(file, (bit_rate == CBR_128 ? 417 : 208) - 4);
}

static void mp3_constant(struct file *file) {
        for (int i = 0; i < 100; i++)
                mp3_frame(file, CBR_128, false);
}

static void mp3_constant_with_tags(struct file *file) {
        id3(file, 1000);
        mp3_constant(file);
        add_text(file, "TAG");
        add_zeros(file, 125);
}

static void mp3_xing(struct file *file, const char *name, bool mono, uint64_t flags) {
        id3(file, 20);
        size_t at = file->size;
        mp3_frame(file, CBR_128, mono);
        memcpy(file->bytes + at + 4 + (mono ? 17 : 32), name, 4);
        size_t size = file->size;
        file->size = at + 4 + (mono ? 17 : 32) + 4;
        add_big(file, flags, 4);
        add_big(file, 1000, 4);
        file->size = size;
        mp3_frame(file, CBR_64, mono);
        mp3_frame(file, CBR_128, mono);
}

static void mp3_variable(struct file *file) {
        mp3_xing(file, "Xing", false, 1);
}

static void mp3_info_mono(struct file *file) {
        mp3_xing(file, "Info", true, 3);
}

static void mp3_xing_without_frames(struct file *file) {
        mp3_xing(file, "Xing", false, 2);
}

static void mp3_vbri(struct file *file) {
        mp3_frame(file, CBR_128, false);
        mp3_frame(file, CBR_64, false);
        memcpy(file->bytes + 36, "VBRI", 4);
        size_t size = file->size;
        file->size = 36 + 14;
        add_big(file, 2000, 4);
        file->size = size;
}

static void ogg_page(struct file *file, uint64_t position, uint32_t serial, const void *packet, size_t size) {
        add_text(file, "OggS");
        add_zeros(file, 2);
        add_little(file, position, 8);
        add_little(file, serial, 4);
        add_zeros(file, 8);
        add_little(file, 1, 1);
        add_little(file, size, 1);
        add(file, packet, size);
}

static void opus(struct file *file, uint64_t position) {
        static const char head[] = "OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0";
        ogg_page(file, 0, 77, head, 19);
        ogg_page(file, 48000, 77, "sound", 5);
        ogg_page(file, position, 77, "sound", 5);
        ogg_page(file, 999, 78, "another stream", 14);
        ogg_page(file, UINT64_MAX, 77, "goes on", 7);
}

static void ogg_opus(struct file *file) {
        opus(file, 48000 * 3 + 312);
}

static void ogg_before_its_start(struct file *file) {
        opus(file, 100);
}

static void ogg_vorbis(struct file *file) {
        static const char head[] = "\x01vorbis\0\0\0\0\x01\x44\xac\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xb8\x01";
        ogg_page(file, 0, 5, head, 30);
        for (int i = 1; i <= 300; i++)
                ogg_page(file, (uint64_t)i * 44100, 5, head, 30);
}

static void ogg_other(struct file *file) {
        ogg_page(file, 0, 5, "Speex   and so on", 17);
}

static void box(struct file *file, const char *name, size_t size) {
        add_big(file, 8 + size, 4);
        add_text(file, name);
}

static void mvhd(struct file *file, int version, uint64_t duration) {
        size_t size = version == 1 ? 32 : 20;
        box(file, "moov", 8 + 16 + 8 + size);
        box(file, "free", 8);
        add_zeros(file, 8);
        box(file, "mvhd", size);
        add_big(file, (uint64_t)version << 24, 4);
        add_zeros(file, version == 1 ? 16 : 8);
        add_big(file, 600, 4);
        add_big(file, duration, version == 1 ? 8 : 4);
}

static void m4a(struct file *file) {
        box(file, "ftyp", 8);
        add_text(file, "M4A \0\0\0\0");
        add_zeros(file, 4);
        mvhd(file, 0, 600 * 61);
}

static void mp4_with_moov_last(struct file *file) {
        box(file, "ftyp", 4);
        add_text(file, "isom");
        add_big(file, 1, 4);
        add_text(file, "mdat");
        add_big(file, 16 + 5000, 8);
        add_zeros(file, 5000);
        mvhd(file, 1, 600 * 7200);
}

static void mp4_of_unknown_duration(struct file *file) {
        box(file, "ftyp", 4);
        add_text(file, "isom");
        mvhd(file, 0, UINT32_MAX);
}

static void mp4_of_a_century(struct file *file) {
        box(file, "ftyp", 4);
        add_text(file, "isom");
        mvhd(file, 1, UINT64_MAX / 2);
}

static void mp4_of_empty_boxes(struct file *file) {
        box(file, "ftyp", 4);
        add_text(file, "isom");
        for (int i = 0; i < 10000; i++)
                box(file, "free", 0);
        mvhd(file, 0, 600);
}

static void no_sound(struct file *file) {
        for (int i = 0; i < 1000; i++)
                add_text(file, "Not a sound.\xff\xfb");
}

static void nothing(struct file *file) {
        (void)file;
}

static const struct {
        const char *name;
        void (*make)(struct file *file);
        int64_t ms;
} rows[] = {
        {"wav", wav_plain, 500},
        {"wav with a list first", wav_listed, 1000},
        {"wav that was streamed", wav_streamed, 250},
        {"wav that was not finished", wav_unfinished, 250},
        {"wav of an hour", wav_of_an_hour, 3600000},
        {"wav without a rate", wav_without_rate, -1},
        {"flac", flac, 90000},
        {"flac behind ID3", flac_behind_id3, 90000},
        {"flac that was streamed", flac_streamed, -1},
        {"mp3", mp3_constant, 2606},
        {"mp3 with tags", mp3_constant_with_tags, 2606},
        {"mp3 with Xing", mp3_variable, 26122},
        {"mp3 with Info, mono", mp3_info_mono, 26122},
        {"mp3 with Xing that does not say", mp3_xing_without_frames, -1},
        {"mp3 with VBRI", mp3_vbri, 52244},
        {"opus", ogg_opus, 3000},
        {"opus that ends before it starts", ogg_before_its_start, -1},
        {"vorbis", ogg_vorbis, 300000},
        {"another codec in ogg", ogg_other, -1},
        {"m4a", m4a, 61000},
        {"mp4 with moov last", mp4_with_moov_last, 7200000},
        {"mp4 of unknown duration", mp4_of_unknown_duration, -1},
        {"mp4 of a century", mp4_of_a_century, -1},
        {"mp4 of empty boxes", mp4_of_empty_boxes, -1},
        {"no sound", no_sound, -1},
        {"nothing", nothing, -1},
};
enum { ROWS = sizeof rows / sizeof *rows };

static struct file file;

static void make(size_t row) {
        file.size = 0;
        file.said_size = 0;
        rows[row].make(&file);
}

static void lengths_are_in_the_headers(void **state) {
        (void)state;
        for (size_t i = 0; i < ROWS; i++) {
                make(i);
                int64_t ms = length(&file);
                if (ms != rows[i].ms)
                        fail_msg("%s: %lld ms instead of %lld", rows[i].name, (long long)ms,
                                 (long long)rows[i].ms);
        }
}

static void append_base64(const struct file *from, const char *alphabet, bool pad, struct buffer *out) {
        for (size_t at = 0; at < from->size; at += 3) {
                size_t left = from->size - at < 3 ? from->size - at : 3;
                uint32_t bits = 0;
                for (size_t i = 0; i < 3; i++)
                        bits = bits << 8 | (i < left ? from->bytes[at + i] : 0);
                for (size_t i = 0; i <= left; i++)
                        buffer_append_char(out, alphabet[bits >> (18 - 6 * i) & 63]);
                for (size_t i = left; i < 3 && pad; i++)
                        buffer_append_char(out, '=');
        }
}

static void base64_has_the_same_headers(void **state) {
        (void)state;
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        for (size_t i = 0; i < ROWS; i++)
                for (int round = 0; round < 4; round++) {
                        make(i);
                        if (file.said_size > 0)
                                continue; /* not all of it is here */
                        struct buffer text;
                        buffer_init(&text, 2 * FILE_MAX);
                        append_base64(&file, round & 1 ? LETTERS "+/" : LETTERS "-_", round & 2, &text);
                        assert_int_equal(audio_base64_ms(buffer_view(&text)), rows[i].ms);
                        buffer_deinit(&text);
                }
        assert_int_equal(audio_base64_ms((struct bytes){0}), -1);
        assert_int_equal(audio_base64_ms(BYTES("====")), -1);
        assert_int_equal(audio_base64_ms(BYTES("A")), -1);
}

/* Cut anywhere, also with less there than its size says: no answer is out of bounds. */
static void cut_files_are_harmless(void **state) {
        (void)state;
        for (size_t i = 0; i < ROWS; i++) {
                make(i);
                size_t whole = file.size;
                for (size_t size = 0; size < whole && size < 1500; size++) {
                        file.size = size;
                        file.said_size = size % 2 ? (int64_t)whole : 0;
                        assert_in_range(length(&file) + 1, 0, AUDIO_MS_MAX + 1);
                }
        }
}

static void changed_files_are_harmless(void **state) {
        (void)state;
        struct prng prng;
        prng_init(&prng, 11);
        for (size_t i = 0; i < ROWS; i++)
                for (int round = 0; round < 1000; round++) {
                        make(i);
                        for (int j = 0; j < 8 && file.size > 0; j++) {
                                size_t near = file.size < 120 ? file.size : 120;
                                file.bytes[prng_below(&prng, near)] = (uint8_t)prng_next(&prng);
                        }
                        assert_in_range(length(&file) + 1, 0, AUDIO_MS_MAX + 1);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lengths_are_in_the_headers),
                cmocka_unit_test(base64_has_the_same_headers),
                cmocka_unit_test(cut_files_are_harmless),
                cmocka_unit_test(changed_files_are_harmless),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
