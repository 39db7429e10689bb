/*
 * Views and growable buffers. A buffer owns `data`, which holds one byte more than `capacity`, so that printf
 * may put its terminator there; `size` <= `capacity` <= `size_max` always. Growth doubles, so appends are
 * O(1) on average. The encodings (JSON, hex, base64) reserve before they write, so that a buffer at its
 * ceiling gets whole pieces or none.
 */
#include "broker/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_CAPACITY_MIN = 64 };

bool bytes_equal(struct bytes a, struct bytes b) {
        return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool bytes_equal_string(struct bytes a, const char *string) {
        return bytes_equal(a, bytes_of(string));
}

bool bytes_starts_with(struct bytes a, const char *prefix) {
        size_t size = strlen(prefix);

        return a.size >= size && (size == 0 || memcmp(a.data, prefix, size) == 0);
}

static char ascii_lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool bytes_equal_nocase(struct bytes a, const char *ascii) {
        if (a.size != strlen(ascii))
                return false;
        for (size_t i = 0; i < a.size; i++)
                if (ascii_lower(a.data[i]) != ascii_lower(ascii[i]))
                        return false;
        return true;
}

char *bytes_dup(struct bytes a) {
        char *copy = a.size >= PTRDIFF_MAX ? NULL : malloc(a.size + 1);

        if (copy == NULL)
                return NULL;
        if (a.size > 0)
                memcpy(copy, a.data, a.size);
        copy[a.size] = '\0';
        return copy;
}

void buffer_init(struct buffer *buffer, size_t size_max) {
        *buffer = (struct buffer){.size_max = size_max};
}

void buffer_deinit(struct buffer *buffer) {
        free(buffer->data);
        *buffer = (struct buffer){0};
}

void buffer_clear(struct buffer *buffer) {
        buffer->size = 0;
        buffer->failed = false;
}

static bool enlarge(struct buffer *buffer, size_t need) {
        size_t capacity =
                buffer->capacity < BUFFER_CAPACITY_MIN / 2 ? BUFFER_CAPACITY_MIN : buffer->capacity * 2;
        char *data;

        capacity = capacity < need ? need : capacity;
        capacity = capacity > buffer->size_max ? buffer->size_max : capacity;
        data = capacity >= PTRDIFF_MAX ? NULL : realloc(buffer->data, capacity + 1);
        if (data == NULL)
                return false;
        buffer->data = data;
        buffer->capacity = capacity;
        return true;
}

bool buffer_grow(struct buffer *buffer, size_t more) {
        if (buffer->failed)
                return false;
        if (more > buffer->size_max - buffer->size || !enlarge(buffer, buffer->size + more)) {
                buffer->failed = true;
                return false;
        }
        return true;
}

void buffer_append_u64(struct buffer *buffer, uint64_t value) {
        char digits[20];
        size_t at = sizeof(digits);

        do {
                digits[--at] = (char)('0' + value % 10);
                value /= 10;
        } while (value != 0);
        buffer_append(buffer, digits + at, sizeof(digits) - at);
}

void buffer_append_i64(struct buffer *buffer, int64_t value) {
        if (value < 0)
                buffer_append_char(buffer, '-');
        buffer_append_u64(buffer, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Prints behind size if it fits; the length that it has or would have, negative for an error of printf. */
static int print_behind(struct buffer *buffer, const char *fmt, va_list args)
        __attribute__((format(printf, 2, 0)));
static int print_behind(struct buffer *buffer, const char *fmt, va_list args) {
        size_t room = buffer->capacity - buffer->size;

        return buffer->data == NULL ? vsnprintf(NULL, 0, fmt, args)
                                    : vsnprintf(buffer->data + buffer->size, room + 1, fmt, args);
}

void buffer_printf(struct buffer *buffer, const char *fmt, ...) {
        va_list args, again;
        int length;

        if (buffer->failed)
                return;
        va_start(args, fmt);
        va_copy(again, args);
        length = print_behind(buffer, fmt, args);
        if (length < 0)
                buffer->failed = true;
        else if (buffer->data == NULL || (size_t)length > buffer->capacity - buffer->size)
                length = buffer_reserve(buffer, (size_t)length) && buffer->data != NULL
                                 ? print_behind(buffer, fmt, again)
                                 : 0;
        if (!buffer->failed)
                buffer->size += (size_t)length;
        va_end(again);
        va_end(args);
}

/* ---- encodings ---- */

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/*
 * The length of the well-formed UTF-8 sequence of two to four bytes at `at`, or 0. The bounds of the second
 * byte, which shut out overlong forms, surrogates and what lies above U+10FFFF, are those of table 3-7 of the
 * Unicode Standard.
 */
static size_t utf8_length(const unsigned char *at, size_t left) {
        unsigned char first = at[0], low = 0x80, high = 0xbf;
        size_t length;

        if (first < 0xc2 || first > 0xf4)
                return 0;
        length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (length > left)
                return 0;
        if (first == 0xe0)
                low = 0xa0;
        else if (first == 0xed)
                high = 0x9f;
        else if (first == 0xf0)
                low = 0x90;
        else if (first == 0xf4)
                high = 0x8f;
        if (at[1] < low || at[1] > high)
                return 0;
        for (size_t i = 2; i < length; i++)
                if ((at[i] & 0xc0) != 0x80)
                        return 0;
        return length;
}

/*
 * Whether none of eight bytes is a control, a quote, a backslash or above ASCII (Mycroft's test for a zero
 * byte, thrice).
 */
static bool all_plain(const unsigned char *at) {
        const uint64_t ones = UINT64_C(0x0101010101010101);
        uint64_t x, quotes, backslashes;

        memcpy(&x, at, sizeof(x));
        quotes = x ^ (ones * '"');
        backslashes = x ^ (ones * '\\');
        return ((x | (x - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & (ones * 0x80)) == 0;
}

/* How many bytes may be copied as they are. */
static size_t plain_run(const unsigned char *at, size_t left) {
        size_t i = 0, length;

        while (i < left) {
                if (left - i >= 8 && all_plain(at + i)) {
                        i += 8;
                } else if (at[i] < 0x80) {
                        if (at[i] < 0x20 || at[i] == '"' || at[i] == '\\')
                                break;
                        i++;
                } else {
                        length = utf8_length(at + i, left - i);
                        if (length == 0)
                                break;
                        i += length;
                }
        }
        return i;
}

static void append_escape(struct buffer *buffer, unsigned char c) {
        static const char letters[] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                       ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
        char text[6] = {'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};

        if (c >= 0x80) {
                buffer_append(buffer, "\xef\xbf\xbd", 3);
        } else if (letters[c] != 0) {
                text[1] = letters[c];
                buffer_append(buffer, text, 2);
        } else {
                buffer_append(buffer, text, 6);
        }
}

void buffer_append_json_escaped(struct buffer *buffer, struct bytes text) {
        const unsigned char *at = (const unsigned char *)text.data;

        for (size_t i = 0; i < text.size && !buffer->failed;) {
                size_t run = plain_run(at + i, text.size - i);

                buffer_append(buffer, at + i, run);
                i += run;
                if (i < text.size)
                        append_escape(buffer, at[i++]);
        }
}

void buffer_append_hex(struct buffer *buffer, const uint8_t *data, size_t size) {
        char *out;

        if (size > SIZE_MAX / 2) {
                buffer->failed = true;
                return;
        }
        if (size == 0 || !buffer_reserve(buffer, size * 2))
                return;
        out = buffer->data + buffer->size;
        for (size_t i = 0; i < size; i++) {
                *out++ = hex_digits[data[i] >> 4];
                *out++ = hex_digits[data[i] & 15];
        }
        buffer->size += size * 2;
}

/* Three bytes in, four out. */
static void encode_triple(char *out, const unsigned char *in) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

        out[0] = base64_digits[bits >> 18];
        out[1] = base64_digits[bits >> 12 & 63];
        out[2] = base64_digits[bits >> 6 & 63];
        out[3] = base64_digits[bits & 63];
}

void buffer_append_base64(struct buffer *buffer, const void *data, size_t size) {
        const unsigned char *in = data;
        unsigned char last[3] = {0};
        size_t encoded, whole = size / 3 * 3;
        char *out;

        if (size > SIZE_MAX / 4) {
                buffer->failed = true;
                return;
        }
        encoded = (size + 2) / 3 * 4;
        if (size == 0 || !buffer_reserve(buffer, encoded))
                return;
        out = buffer->data + buffer->size;
        for (size_t i = 0; i < whole; i += 3, out += 4)
                encode_triple(out, in + i);
        if (whole < size) {
                memcpy(last, in + whole, size - whole);
                encode_triple(out, last);
                memset(out + (size - whole) + 1, '=', 3 - (size - whole));
        }
        buffer->size += encoded;
}

/* Digit values plus one, so that the zero of every other byte says "none". */
static const unsigned char base64_values[256] = {
        ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
        ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
        ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
        ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
        ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
        ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
        ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
        ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64};

/* Four digits to 24 bits; false when one is no digit. */
static bool decode_four(const unsigned char *in, uint32_t *out_bits) {
        uint32_t a = base64_values[in[0]], b = base64_values[in[1]], c = base64_values[in[2]],
                 d = base64_values[in[3]];

        if (a == 0 || b == 0 || c == 0 || d == 0)
                return false;
        *out_bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        return true;
}

static bool decode_fours(char *out, const unsigned char *in, size_t size) {
        uint32_t bits;

        for (size_t i = 0; i < size; i += 4, out += 3) {
                if (!decode_four(in + i, &bits))
                        return false;
                out[0] = (char)(bits >> 16);
                out[1] = (char)(bits >> 8 & 0xff);
                out[2] = (char)(bits & 0xff);
        }
        return true;
}

/*
 * The last four characters, of which `pads` (1 or 2) are padding. The bits that padding leaves over must be
 * zero.
 */
static bool decode_last(char *out, const unsigned char *in, size_t pads) {
        unsigned char filled[4] = {in[0], in[1], pads == 2 ? 'A' : in[2], 'A'};
        uint32_t bits;

        if (!decode_four(filled, &bits) || (bits & (pads == 2 ? 0xffff : 0xff)) != 0)
                return false;
        out[0] = (char)(bits >> 16);
        if (pads == 1)
                out[1] = (char)(bits >> 8 & 0xff);
        return true;
}

int base64_digit(char c) {
        char standard = c;
        if (c == '-' || c == '_')
                standard = c == '-' ? '+' : '/';
        return base64_values[(unsigned char)standard] - 1;
}

bool buffer_append_base64_decoded(struct buffer *buffer, struct bytes text) {
        const unsigned char *in = (const unsigned char *)text.data;
        size_t pads, whole, decoded;
        char *out;

        if (buffer->failed || text.size % 4 != 0)
                return false;
        if (text.size == 0)
                return true;
        pads = in[text.size - 1] != '=' ? 0 : in[text.size - 2] != '=' ? 1 : 2;
        whole = pads == 0 ? text.size : text.size - 4;
        decoded = text.size / 4 * 3 - pads;
        if (!buffer_reserve(buffer, decoded))
                return false;
        out = buffer->data + buffer->size;
        if (!decode_fours(out, in, whole))
                return false;
        if (pads > 0 && !decode_last(out + whole / 4 * 3, in + whole, pads))
                return false;
        buffer->size += decoded;
        return true;
}
