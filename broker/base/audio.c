/*
 * A section per format. Numbers are put together byte by byte, so that neither alignment nor the order of
 * bytes of this machine matters; sums of what a file says are made in 128 bits.
 */
#include "broker/base/audio.h"

#include <stdbool.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

enum {
        PARTS_MAX = 64,      /* chunks or boxes that are walked over */
        SEARCH_BYTES = 4096, /* behind the tags, for the first MP3 frame */
        TAIL_BYTES = 65536,  /* the last page of an Ogg file begins within */
};

/* Exactly `size` bytes. */
static bool read_at(const struct audio_source *source, int64_t offset, uint8_t *out, size_t size) {
        return offset >= 0 && offset <= source->size && (int64_t)size <= source->size - offset &&
               source->read(source->userdata, offset, out, size) == size;
}

static uint64_t big(const uint8_t *bytes, int count) {
        uint64_t value = 0;
        for (int i = 0; i < count; i++)
                value = value << 8 | bytes[i];
        return value;
}

static uint64_t little(const uint8_t *bytes, int count) {
        uint64_t value = 0;
        for (int i = count; i-- > 0;)
                value = value << 8 | bytes[i];
        return value;
}

static bool is(const uint8_t *bytes, const char *text) {
        return memcmp(bytes, text, strlen(text)) == 0;
}

static int64_t length_of(uint64_t units, uint64_t units_per_s) {
        if (units == 0 || units_per_s == 0)
                return -1;
        wide ms = (wide)units * 1000 / units_per_s;
        return ms <= (wide)AUDIO_MS_MAX ? (int64_t)ms : -1;
}

/* ---- WAV ---- */

static int64_t wav_ms(const struct audio_source *source) {
        uint8_t head[8], format[16];
        uint64_t bytes_per_s = 0;
        int64_t at = 12;
        for (int i = 0; i < PARTS_MAX && read_at(source, at, head, sizeof head); i++) {
                int64_t size = (int64_t)little(head + 4, 4), left = source->size - at - 8;
                if (is(head, "fmt ") && read_at(source, at + 8, format, sizeof format))
                        bytes_per_s = little(format + 8, 4);
                if (is(head, "data")) /* what is streamed says 0 or 2^32 - 1 */
                        return length_of((uint64_t)(size == 0 || size > left ? left : size), bytes_per_s);
                at += 8 + size + size % 2;
        }
        return -1;
}

/* ---- FLAC ---- */

static int64_t flac_ms(const struct audio_source *source, int64_t at) {
        uint8_t info[4 + 18]; /* block header, then STREAMINFO up to the number of samples */
        if (!read_at(source, at + 4, info, sizeof info) || (info[0] & 0x7f) != 0)
                return -1;
        uint64_t bits = big(info + 4 + 10, 8); /* 20 rate, 3 channels, 5 depth, 36 samples */
        return length_of(bits & ((UINT64_C(1) << 36) - 1), bits >> 44);
}

/* ---- MP3 ---- */

struct frame {
        uint32_t rate, bit_rate, samples, bytes;
        bool mono, version_1;
};

/* Layer III; false: no frame begins here. */
static bool frame_read(const uint8_t *head, struct frame *out) {
        static const uint16_t v1[] = {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320};
        static const uint16_t v2[] = {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160};
        static const uint16_t rates[] = {44100, 48000, 32000};
        unsigned version = head[1] >> 3 & 3, layer = head[1] >> 1 & 3, rate = head[2] >> 2 & 3;
        unsigned bit_rate = head[2] >> 4;
        if (head[0] != 0xff || head[1] >> 5 != 7 || version == 1 || layer != 1 || rate == 3 ||
            bit_rate == 0 || bit_rate == 15)
                return false;
        out->version_1 = version == 3;
        out->rate = rates[rate] >> (version == 3 ? 0 : version == 2 ? 1 : 2);
        out->bit_rate = (uint32_t)(out->version_1 ? v1 : v2)[bit_rate] * 1000;
        out->samples = out->version_1 ? 1152 : 576;
        out->bytes = out->samples / 8 * out->bit_rate / out->rate + (head[2] >> 1 & 1);
        out->mono = head[3] >> 6 == 3;
        return true;
}

/* The number of frames that a Xing, Info or VBRI header in the first frame tells; 0: none. */
static uint64_t frames_told(const struct audio_source *source, int64_t at, const struct frame *frame) {
        uint8_t head[18];
        int64_t side = frame->version_1 ? (frame->mono ? 17 : 32) : (frame->mono ? 9 : 17);
        if (read_at(source, at + 4 + side, head, 12) && (is(head, "Xing") || is(head, "Info")))
                return head[7] & 1 ? big(head + 8, 4) : 0;
        if (read_at(source, at + 4 + 32, head, sizeof head) && is(head, "VBRI"))
                return big(head + 14, 4);
        return 0;
}

/* The first frame, which another like it follows: two bytes that look like one are common. */
static bool first_frame(const struct audio_source *source, int64_t from, int64_t *out_at,
                        struct frame *out_frame, struct frame *out_next) {
        uint8_t bytes[SEARCH_BYTES], head[4];
        int64_t left = source->size - from;
        size_t size = left < SEARCH_BYTES ? (size_t)(left > 0 ? left : 0) : SEARCH_BYTES;
        if (!read_at(source, from, bytes, size))
                return false;
        for (size_t i = 0; i + 4 <= size; i++)
                if (frame_read(bytes + i, out_frame) &&
                    read_at(source, from + (int64_t)i + out_frame->bytes, head, sizeof head) &&
                    frame_read(head, out_next) && out_next->rate == out_frame->rate) {
                        *out_at = from + (int64_t)i;
                        return true;
                }
        return false;
}

static int64_t mp3_ms(const struct audio_source *source, int64_t from) {
        struct frame frame, next;
        int64_t at;
        uint8_t tag[3];
        if (!first_frame(source, from, &at, &frame, &next))
                return -1;
        uint64_t frames = frames_told(source, at, &frame);
        if (frames > 0)
                return length_of(frames * frame.samples, frame.rate);
        if (next.bit_rate != frame.bit_rate)
                return -1; /* it varies, and nothing says how often */
        int64_t end = source->size;
        if (read_at(source, end - 128, tag, sizeof tag) && is(tag, "TAG"))
                end -= 128;
        return end > at ? length_of((uint64_t)(end - at) * 8, frame.bit_rate) : -1;
}

/* Behind an ID3v2 tag; 0 when there is none. */
static int64_t behind_tag(const struct audio_source *source) {
        uint8_t head[10];
        if (!read_at(source, 0, head, sizeof head) || !is(head, "ID3"))
                return 0;
        int64_t size = 0;
        for (int i = 6; i < 10; i++)
                size = size << 7 | (head[i] & 0x7f);
        return 10 + size + (head[5] & 0x10 ? 10 : 0);
}

/* ---- Ogg ---- */

enum { PAGE_HEAD = 27 };

/* Rate of the positions, and what to take off them. */
static bool ogg_first(const struct audio_source *source, uint8_t serial[4], uint64_t *out_rate,
                      uint64_t *out_skip) {
        uint8_t page[PAGE_HEAD], packet[16];
        if (!read_at(source, 0, page, sizeof page) ||
            !read_at(source, PAGE_HEAD + page[26], packet, sizeof packet))
                return false;
        memcpy(serial, page + 14, 4);
        bool opus = is(packet, "OpusHead"), vorbis = is(packet, "\x01vorbis");
        *out_rate = opus ? 48000 : little(packet + 12, 4);
        *out_skip = opus ? little(packet + 10, 2) : 0;
        return opus || vorbis;
}

static int64_t ogg_ms(const struct audio_source *source) {
        uint8_t bytes[TAIL_BYTES], serial[4];
        uint64_t rate, skip;
        if (!ogg_first(source, serial, &rate, &skip))
                return -1;
        size_t size = source->size < TAIL_BYTES ? (size_t)source->size : TAIL_BYTES;
        if (!read_at(source, source->size - (int64_t)size, bytes, size) || size < PAGE_HEAD)
                return -1;
        for (size_t i = size - PAGE_HEAD + 1; i-- > 0;) {
                uint64_t position = little(bytes + i + 6, 8); /* all ones: no packet ends on this page */
                if (is(bytes + i, "OggS") && bytes[i + 4] == 0 && position != UINT64_MAX &&
                    memcmp(bytes + i + 14, serial, sizeof serial) == 0)
                        return position > skip ? length_of(position - skip, rate) : -1;
        }
        return -1;
}

/* ---- MP4 ---- */

/* The content of the first box of that name between two places. */
static bool find_box(const struct audio_source *source, const char *name, int64_t *from, int64_t *to) {
        uint8_t head[16];
        int64_t at = *from;
        for (int i = 0; i < PARTS_MAX && at <= *to - 8 && read_at(source, at, head, 8); i++) {
                int64_t content = at + 8;
                uint64_t size = big(head, 4);
                if (size == 1 && read_at(source, at, head, 16)) {
                        size = big(head + 8, 8);
                        content += 8;
                }
                if (size == 0 || size > (uint64_t)(*to - at))
                        size = (uint64_t)(*to - at); /* to the end */
                if (is(head + 4, name)) {
                        *from = content;
                        *to = at + (int64_t)size;
                        return true;
                }
                at += (int64_t)size;
        }
        return false;
}

static int64_t mp4_ms(const struct audio_source *source) {
        uint8_t bytes[32];
        int64_t from = 0, to = source->size;
        if (!find_box(source, "moov", &from, &to) || !find_box(source, "mvhd", &from, &to) ||
            to - from < 20 || !read_at(source, from, bytes, 20))
                return -1;
        if (bytes[0] == 0)
                return big(bytes + 16, 4) == UINT32_MAX ? -1
                                                        : length_of(big(bytes + 16, 4), big(bytes + 12, 4));
        if (to - from < 32 || !read_at(source, from, bytes, 32))
                return -1;
        return length_of(big(bytes + 24, 8), big(bytes + 20, 4));
}

/* ---- which it is ---- */

int64_t audio_length_ms(const struct audio_source *source) {
        uint8_t head[12];
        if (!read_at(source, 0, head, sizeof head))
                return -1;
        if ((is(head, "RIFF") || is(head, "RF64")) && is(head + 8, "WAVE"))
                return wav_ms(source);
        if (is(head, "OggS"))
                return ogg_ms(source);
        if (is(head + 4, "ftyp"))
                return mp4_ms(source);
        int64_t from = behind_tag(source);
        if (read_at(source, from, head, 4) && is(head, "fLaC"))
                return flac_ms(source, from);
        return mp3_ms(source, from);
}

/* ---- base64 (RFC 4648) ---- */

/* Four characters are three bytes, so any place can be found. What is escaped or broken ends the reading. */
static size_t read_base64(void *userdata, int64_t offset, void *out, size_t size) {
        const struct bytes *text = userdata;
        size_t at = (size_t)offset / 3 * 4, place = (size_t)offset % 3;
        for (size_t i = 0; i < size; i++) {
                if (at + place + 1 >= text->size)
                        return i;
                int high = base64_digit(text->data[at + place]),
                    low = base64_digit(text->data[at + place + 1]);
                if (high < 0 || low < 0)
                        return i;
                ((uint8_t *)out)[i] = (uint8_t)(high << (2 + 2 * place) | low >> (4 - 2 * place));
                if (++place == 3) {
                        place = 0;
                        at += 4;
                }
        }
        return size;
}

int64_t audio_base64_ms(struct bytes text) {
        while (text.size > 0 && text.data[text.size - 1] == '=')
                text.size--;
        struct audio_source source = {read_base64, &text, (int64_t)(text.size / 4 * 3)};
        if (text.size % 4 > 1)
                source.size += (int64_t)(text.size % 4) - 1;
        return audio_length_ms(&source);
}
