/*
 * Exact decimal arithmetic on picodollars. Text goes to integers and back digit by digit, never through
 * floating point. Amounts are never negative inside the program; sums and products saturate at PICOUSD_MAX,
 * which no budget reaches.
 */
#include "broker/base/money.h"

#include "broker/base/check.h"

enum {
        MONEY_TEXT_MAX = 128, /* longer is no price; bounds the work on input from outside */
        MONEY_PLACES = 12,
        MONEY_EXPONENT_MAX = 9999, /* beyond any text's digits, so cutting there changes no outcome */
        MILLION = 1000000,
};

/* The number being read: `significant` without its trailing zeros, times 10^exponent. */
struct decimal {
        int64_t significant;
        int exponent;
};

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/*
 * Multiplies by 10^power; false on overflow. `power` steps at most 18 times before a nonzero value overflows.
 */
static bool scale_up(int64_t *value, int power) {
        for (; power > 0 && *value != 0; power--)
                if (__builtin_mul_overflow(*value, INT64_C(10), value))
                        return false;
        return true;
}

/* Digits with at most one point, a digit on both sides of it. Advances *at. */
static bool read_digits(struct bytes text, size_t *at, struct decimal *out_decimal) {
        struct decimal decimal = {0};
        size_t i = *at, start = i;
        int zeros = 0, places = 0;
        bool point = false;

        for (; i < text.size && (is_digit(text.data[i]) || (text.data[i] == '.' && !point)); i++) {
                if (text.data[i] == '.') {
                        if (i == start)
                                return false;
                        point = true;
                        continue;
                }
                places += point;
                zeros++;
                if (text.data[i] == '0')
                        continue;
                if (!scale_up(&decimal.significant, zeros) ||
                    __builtin_add_overflow(decimal.significant, text.data[i] - '0', &decimal.significant))
                        return false;
                zeros = 0;
        }
        if (i == start || text.data[i - 1] == '.')
                return false;
        decimal.exponent = zeros - places;
        *at = i;
        *out_decimal = decimal;
        return true;
}

/* Nothing, or "e", a sign if wanted, and digits, to the end of the text. */
static bool read_exponent(struct bytes text, size_t at, int *out_exponent) {
        int exponent = 0;
        bool negative = false;

        if (at == text.size) {
                *out_exponent = 0;
                return true;
        }
        if (text.data[at] != 'e' && text.data[at] != 'E')
                return false;
        at++;
        if (at < text.size && (text.data[at] == '+' || text.data[at] == '-'))
                negative = text.data[at++] == '-';
        if (at == text.size)
                return false;
        for (; at < text.size; at++) {
                if (!is_digit(text.data[at]))
                        return false;
                exponent = exponent * 10 + (text.data[at] - '0');
                exponent = exponent > MONEY_EXPONENT_MAX ? MONEY_EXPONENT_MAX : exponent;
        }
        *out_exponent = negative ? -exponent : exponent;
        return true;
}

bool money_parse(struct bytes text, int64_t *out_picousd) {
        struct decimal decimal;
        size_t at = 0;
        int exponent;

        if (text.size > MONEY_TEXT_MAX || !read_digits(text, &at, &decimal) ||
            !read_exponent(text, at, &exponent))
                return false;
        exponent += decimal.exponent + MONEY_PLACES;
        if (decimal.significant != 0 && exponent < 0)
                return false; /* digits finer than a picodollar: refused rather than rounded */
        if (!scale_up(&decimal.significant, exponent))
                return false;
        *out_picousd = decimal.significant;
        return true;
}

void money_append(struct buffer *buffer, int64_t picousd) {
        uint64_t magnitude = picousd < 0 ? 0 - (uint64_t)picousd : (uint64_t)picousd;
        uint64_t fraction = magnitude % (uint64_t)PICOUSD_PER_USD;
        char places[MONEY_PLACES];
        size_t size = 0;

        if (picousd < 0)
                buffer_append_char(buffer, '-');
        buffer_append_u64(buffer, magnitude / (uint64_t)PICOUSD_PER_USD);
        if (fraction == 0)
                return;
        for (size_t i = MONEY_PLACES; i > 0; i--, fraction /= 10) {
                places[i - 1] = (char)('0' + fraction % 10);
                if (size == 0 && fraction % 10 != 0)
                        size = i;
        }
        buffer_append_char(buffer, '.');
        buffer_append(buffer, places, size);
}

int64_t money_per_million_rounded(int64_t picousd_per_million, int64_t units) {
        int64_t price, rest, total;

        CHECK(picousd_per_million >= 0 && units >= 0);
        /* Both split at a million, so that only the last product is divided, and it is below 1e12. */
        price = picousd_per_million / MILLION;
        rest = picousd_per_million % MILLION;
        total = money_multiply(price, units);
        total = money_add(total, money_multiply(rest, units / MILLION));
        return money_add(total, (rest * (units % MILLION) + MILLION - 1) / MILLION);
}
