/*
 * The digits as an array, most significant first; multiplied there, then cut or filled up to the wanted
 * place.
 */
#include "broker/catalog/exact.h"

#include <string.h>

enum { DIGITS_MAX = EXACT_TEXT_MAX + 4, EXPONENT_MAX = 1000 };

struct digits {
        uint8_t items[DIGITS_MAX];
        size_t count;
        int exponent; /* of the last */
};

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* JSON's digits and fraction; moves *at behind them. */
static bool read_digits(struct bytes text, size_t *at, struct digits *digits) {
        size_t start = *at;
        bool point = false;
        for (; *at < text.size && (is_digit(text.data[*at]) || (text.data[*at] == '.' && !point)); (*at)++) {
                if (text.data[*at] == '.') {
                        point = true;
                        continue;
                }
                digits->items[digits->count++] = (uint8_t)(text.data[*at] - '0');
                digits->exponent -= point;
        }
        return *at > start && is_digit(text.data[start]) && is_digit(text.data[*at - 1]);
}

static bool read_exponent(struct bytes text, size_t at, struct digits *digits) {
        int exponent = 0;
        if (at == text.size)
                return true;
        if (text.data[at] != 'e' && text.data[at] != 'E')
                return false;
        at++;
        bool negative = at < text.size && text.data[at] == '-';
        if (at < text.size && (text.data[at] == '-' || text.data[at] == '+'))
                at++;
        if (at == text.size)
                return false;
        for (; at < text.size; at++) {
                if (!is_digit(text.data[at]))
                        return false;
                exponent = exponent * 10 + (text.data[at] - '0');
                exponent = exponent > EXPONENT_MAX ? EXPONENT_MAX : exponent;
        }
        digits->exponent += negative ? -exponent : exponent;
        return true;
}

static void multiply(struct digits *digits, unsigned times) {
        unsigned carry = 0;
        for (size_t i = digits->count; i-- > 0;) {
                unsigned product = digits->items[i] * times + carry;
                digits->items[i] = (uint8_t)(product % 10);
                carry = product / 10;
        }
        for (; carry > 0; carry /= 10) {
                memmove(digits->items + 1, digits->items, digits->count++);
                digits->items[0] = (uint8_t)(carry % 10);
        }
}

static bool append_digit(int64_t *value, unsigned digit) {
        return !__builtin_mul_overflow(*value, INT64_C(10), value) &&
               !__builtin_add_overflow(*value, (int64_t)digit, value);
}

/* Digits behind the wanted place are cut, the first of them decides. */
static enum exact whole_of(const struct digits *digits, int64_t *out_value) {
        int64_t value = 0;
        bool lost = false;
        int kept = (int)digits->count + (digits->exponent < 0 ? digits->exponent : 0);
        for (int i = 0; i < (int)digits->count; i++) {
                if (i < kept && !append_digit(&value, digits->items[i]))
                        return EXACT_TOO_LARGE;
                lost = lost || (i >= kept && digits->items[i] != 0);
        }
        for (int i = 0; i < digits->exponent && value != 0; i++)
                if (!append_digit(&value, 0))
                        return EXACT_TOO_LARGE;
        if (kept >= 0 && kept < (int)digits->count && digits->items[kept] >= 5 &&
            __builtin_add_overflow(value, INT64_C(1), &value))
                return EXACT_TOO_LARGE;
        *out_value = value;
        return lost ? EXACT_ROUNDED : EXACT_WHOLE;
}

static bool is_zero(const struct digits *digits) {
        for (size_t i = 0; i < digits->count; i++)
                if (digits->items[i] != 0)
                        return false;
        return true;
}

enum exact exact_parse(struct bytes text, unsigned places, unsigned times, int64_t *out_value) {
        struct digits digits = {.count = 0};
        size_t at = 0;
        bool negative = text.size > 0 && text.data[0] == '-';
        if (negative)
                at++;
        if (text.size > EXACT_TEXT_MAX || !read_digits(text, &at, &digits) ||
            !read_exponent(text, at, &digits))
                return EXACT_NO_NUMBER;
        if (negative && !is_zero(&digits))
                return EXACT_NEGATIVE;
        multiply(&digits, times);
        digits.exponent += (int)places;
        return whole_of(&digits, out_value);
}
