/*
 * float32 to text without tables of big numbers. Nine significant digits always suffice (IEEE 754-2008,
 * 5.12.2) and lie within 0.5e-8 of the value, while half the distance to the next float32 is at least
 * 2.9e-8 of it: so the scaled value may be computed in a double, whose error of 3e-16 is lost in that
 * slack. From nine digits, trailing ones are rounded off as long as the result stays nearer to the value
 * than half that distance. What is so near reads back as the value both directly and by way of a double.
 */
#include "workers/providers/vectors.h"

#include "workers/providers/parse.h"
#include "workers/providers/walk.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <yyjson.h>

enum {
        FLOAT_BYTES = 4,
        FLOAT_TEXT_MAX = 24, /* sign, 9 digits, point, exponent, or up to 9 zeros */
        DIGITS = 9,
        POWER_MIN = -30,
        POWER_MAX = 53,
        FIXED_MIN = -5, /* decimal exponents that are written without an exponent */
        FIXED_MAX = 9,
};

static const double powers_of_ten[] = {
        1e-30, 1e-29, 1e-28, 1e-27, 1e-26, 1e-25, 1e-24, 1e-23, 1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17,
        1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9,  1e-8,  1e-7,  1e-6,  1e-5,  1e-4,  1e-3,
        1e-2,  1e-1,  1e0,   1e1,   1e2,   1e3,   1e4,   1e5,   1e6,   1e7,   1e8,   1e9,   1e10,  1e11,
        1e12,  1e13,  1e14,  1e15,  1e16,  1e17,  1e18,  1e19,  1e20,  1e21,  1e22,  1e23,  1e24,  1e25,
        1e26,  1e27,  1e28,  1e29,  1e30,  1e31,  1e32,  1e33,  1e34,  1e35,  1e36,  1e37,  1e38,  1e39,
        1e40,  1e41,  1e42,  1e43,  1e44,  1e45,  1e46,  1e47,  1e48,  1e49,  1e50,  1e51,  1e52,  1e53,
};
_Static_assert(sizeof(powers_of_ten) / sizeof(powers_of_ten[0]) == POWER_MAX - POWER_MIN + 1,
               "one per exponent");

/* value = d.dddddddd * 10^exponent; `digits` are all nine of them, the first one not zero. */
struct decimal {
        uint32_t digits;
        int exponent;
};

static uint32_t bits_of(float value) {
        uint32_t bits;

        memcpy(&bits, &value, sizeof(bits));
        return bits;
}

/*
 * Half the distance to the nearer neighbour, a little less: 2^(e-25), or half of that above a power of
 * two.
 */
static double half_gap(uint32_t bits) {
        int exponent = (int)(bits >> 23 & 0xff);
        bool power = (bits & 0x7fffff) == 0 && exponent > 1;
        uint64_t scaled = (uint64_t)(1023 - 127 - 24 + (exponent == 0 ? 1 : exponent) - power) << 52;
        double gap;

        memcpy(&gap, &scaled, sizeof(gap));
        return gap * (1 - 1e-6);
}

/* The power of ten that makes nine digits before the point; *out_scaled is the value times that. */
static int nine_digits(float value, double *out_scaled) {
        int exponent2, power;

        (void)frexpf(value, &exponent2);
        /* 1233 / 4096 is log10(2), near enough for these exponents; what is too much by one is put right */
        power = DIGITS - 1 - (((exponent2 - 1) * 1233) >> 12);
        *out_scaled = (double)value * powers_of_ten[power - POWER_MIN];
        if (*out_scaled >= 999999999.5) {
                power--;
                *out_scaled = (double)value * powers_of_ten[power - POWER_MIN];
        }
        return power;
}

/* value > 0, finite */
static struct decimal shortest(float value) {
        static const double tens[DIGITS] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
        static const double tenths[DIGITS] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8};
        double scaled;
        int power = nine_digits(value, &scaled), dropped = 0;
        double gap = half_gap(bits_of(value)) * powers_of_ten[power - POWER_MIN];
        uint32_t digits = (uint32_t)(scaled + 0.5), unit = 1;

        while (dropped + 1 < DIGITS) {
                uint32_t fewer = (uint32_t)(scaled * tenths[dropped + 1] + 0.5);

                if (fabs((double)fewer * tens[dropped + 1] - scaled) >= gap)
                        break;
                dropped++;
                unit *= 10;
                digits = fewer * unit;
        }
        if (digits == 1000000000) /* rounded up to one digit more */
                return (struct decimal){100000000, DIGITS - power};
        return (struct decimal){digits, DIGITS - 1 - power};
}

static char *put_text(char *out, const char *text, size_t size) {
        memcpy(out, text, size);
        return out + size;
}

static char *put_zeros(char *out, int count) {
        memset(out, '0', (size_t)count);
        return out + count;
}

/* "1.25e-12" */
static char *put_exponent(char *out, const char *digits, int count, int exponent) {
        *out++ = digits[0];
        if (count > 1) {
                *out++ = '.';
                out = put_text(out, digits + 1, (size_t)count - 1);
        }
        *out++ = 'e';
        if (exponent < 0)
                *out++ = '-';
        exponent = exponent < 0 ? -exponent : exponent;
        if (exponent >= 10)
                *out++ = (char)('0' + exponent / 10);
        *out++ = (char)('0' + exponent % 10);
        return out;
}

static char *put_fixed(char *out, const char *digits, int count, int exponent) {
        if (exponent < 0) {
                out = put_text(out, "0.", 2);
                out = put_zeros(out, -exponent - 1);
                return put_text(out, digits, (size_t)count);
        }
        if (count <= exponent + 1) {
                out = put_text(out, digits, (size_t)count);
                out = put_zeros(out, exponent + 1 - count);
                return put_text(out, ".0", 2);
        }
        out = put_text(out, digits, (size_t)exponent + 1);
        *out++ = '.';
        return put_text(out, digits + exponent + 1, (size_t)(count - exponent - 1));
}

/* At most FLOAT_TEXT_MAX bytes; gives the end. */
static char *put_float(char *out, float value) {
        char digits[DIGITS];
        int count = DIGITS;
        struct decimal decimal;

        if (!isfinite(value))
                return put_text(out, "null", 4);
        if (signbit(value))
                *out++ = '-';
        if (value == 0)
                return put_text(out, "0.0", 3);
        decimal = shortest(fabsf(value));
        /* at fixed places: with a moving one, clang 14 at -O2 lost the stores before they were copied */
        for (int i = DIGITS - 1; i >= 0; i--) {
                digits[i] = (char)('0' + decimal.digits % 10);
                decimal.digits /= 10;
        }
        while (count > 1 && digits[count - 1] == '0')
                count--;
        if (decimal.exponent >= FIXED_MIN && decimal.exponent < FIXED_MAX)
                return put_fixed(out, digits, count, decimal.exponent);
        return put_exponent(out, digits, count, decimal.exponent);
}

void vector_append_float(struct buffer *buffer, float value) {
        if (buffer_reserve(buffer, FLOAT_TEXT_MAX))
                buffer->size = (size_t)(put_float(buffer->data + buffer->size, value) - buffer->data);
}

static float float_at(const char *data) {
        const unsigned char *in = (const unsigned char *)data;
        uint32_t bits =
                (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
        float value;

        memcpy(&value, &bits, sizeof(value));
        return value;
}

static void append_list(struct buffer *buffer, struct bytes floats) {
        enum { AT_ONCE = 64 };

        buffer_append_char(buffer, '[');
        for (size_t i = 0; i < floats.size && buffer_reserve(buffer, AT_ONCE * (FLOAT_TEXT_MAX + 1));) {
                char *out = buffer->data + buffer->size;

                for (int k = 0; k < AT_ONCE && i < floats.size; k++, i += FLOAT_BYTES) {
                        if (i > 0)
                                *out++ = ',';
                        out = put_float(out, float_at(floats.data + i));
                }
                buffer->size = (size_t)(out - buffer->data);
        }
        buffer_append_char(buffer, ']');
}

/* JSON allows "\/" for "/", and some servers write it. */
static bool decode(struct buffer *out, struct bytes base64) {
        struct buffer plain;
        bool decoded;

        if (base64.size == 0 || memchr(base64.data, '\\', base64.size) == NULL)
                return buffer_append_base64_decoded(out, base64);
        buffer_init(&plain, base64.size);
        for (size_t i = 0; i < base64.size; i++) {
                bool escaped = base64.data[i] == '\\' && i + 1 < base64.size && base64.data[i + 1] == '/';

                if (!escaped)
                        buffer_append_char(&plain, base64.data[i]);
        }
        decoded = !plain.failed && buffer_append_base64_decoded(out, buffer_view(&plain));
        out->failed = out->failed || plain.failed;
        buffer_deinit(&plain);
        return decoded;
}

bool vector_append_floats(struct buffer *buffer, struct bytes base64) {
        struct buffer floats;
        bool whole;

        buffer_init(&floats, base64.size);
        whole = decode(&floats, base64) && floats.size % FLOAT_BYTES == 0;
        if (whole)
                append_list(buffer, buffer_view(&floats));
        buffer->failed = buffer->failed || floats.failed;
        buffer_deinit(&floats);
        return whole;
}

bool vector_is_base64(struct bytes base64) {
        struct buffer floats;
        bool whole;

        buffer_init(&floats, base64.size);
        whole = decode(&floats, base64) && floats.size % FLOAT_BYTES == 0;
        buffer_deinit(&floats);
        return whole;
}

/* false when it is no number that a float32 can come near to. */
static bool append_number(struct buffer *floats, yyjson_val *number) {
        double value = yyjson_get_num(number);
        uint32_t bits;

        if (!yyjson_is_num(number) || fabs(value) > (double)FLT_MAX)
                return false;
        bits = bits_of((float)value);
        for (int shift = 0; shift < 32; shift += 8)
                buffer_append_char(floats, (char)(bits >> shift & 0xff));
        return true;
}

static bool append_numbers(struct buffer *floats, yyjson_val *list) {
        yyjson_val *number;
        size_t i, count;

        if (!yyjson_is_arr(list))
                return false;
        yyjson_arr_foreach(list, i, count, number) {
                if (!append_number(floats, number))
                        return false;
        }
        return !floats->failed;
}

bool vector_append_base64(struct buffer *buffer, struct bytes list) {
        struct parse parse;
        struct buffer floats;
        bool numbers;

        if (!parse_begin(&parse, list))
                return false;
        buffer_init(&floats, list.size * FLOAT_BYTES);
        numbers = append_numbers(&floats, parse.root);
        parse_end(&parse);
        if (numbers) {
                buffer_append_char(buffer, '"');
                buffer_append_base64(buffer, floats.data, floats.size);
                buffer_append_char(buffer, '"');
        }
        buffer->failed = buffer->failed || floats.failed;
        buffer_deinit(&floats);
        return numbers;
}

/* ---- answers ---- */

/* A walk over the answer; what lies before `copied` is in the buffer. */
struct conversion {
        struct walk walk;
        struct buffer *buffer;
        const char *copied;
        bool as_base64;
};

static void convert(struct conversion *conversion, struct bytes value) {
        struct buffer *buffer = conversion->buffer;
        size_t size_before = buffer->size;
        bool is_string = value.data[0] == '"', converted = false;

        if (is_string == conversion->as_base64)
                return;
        buffer_append(buffer, conversion->copied, (size_t)(value.data - conversion->copied));
        if (is_string && value.size >= 2)
                converted = vector_append_floats(buffer, (struct bytes){value.data + 1, value.size - 2});
        else if (value.data[0] == '[')
                converted = vector_append_base64(buffer, value);
        if (converted)
                conversion->copied = value.data + value.size;
        else if (!buffer->failed)
                buffer->size = size_before;
}

static bool convert_item(struct conversion *conversion) {
        struct bytes key, value;

        if (!walk_open(&conversion->walk, '{'))
                return walk_value(&conversion->walk, &value);
        while (walk_member(&conversion->walk, &key)) {
                if (!walk_value(&conversion->walk, &value))
                        return false;
                if (bytes_equal_string(key, "embedding"))
                        convert(conversion, value);
        }
        return true;
}

static bool convert_data(struct conversion *conversion) {
        struct bytes value;

        if (!walk_open(&conversion->walk, '['))
                return walk_value(&conversion->walk, &value);
        while (walk_element(&conversion->walk))
                if (!convert_item(conversion))
                        return false;
        return true;
}

void vectors_append_answer(struct buffer *buffer, struct bytes answer, bool as_base64) {
        struct conversion conversion = {.buffer = buffer, .copied = answer.data, .as_base64 = as_base64};
        struct bytes key, value;
        bool more;

        if (answer.size == 0)
                return;
        walk_init(&conversion.walk, answer);
        more = walk_open(&conversion.walk, '{');
        while (more && walk_member(&conversion.walk, &key))
                more = bytes_equal_string(key, "data") ? convert_data(&conversion)
                                                       : walk_value(&conversion.walk, &value);
        buffer_append(buffer, conversion.copied, (size_t)(answer.data + answer.size - conversion.copied));
}
