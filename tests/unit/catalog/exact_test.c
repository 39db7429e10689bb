/* Texts of numbers to integers, digit by digit. */
#include "broker/catalog/exact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void numbers(void **state) {
        static const struct {
                const char *text;
                unsigned places, times;
                enum exact outcome;
                int64_t value;
        } cases[] = {
                {"1e-07", 18, 1, EXACT_WHOLE, 100000000000},
                {"1.5e-07", 18, 1, EXACT_WHOLE, 150000000000},
                {"0.00000014", 18, 1, EXACT_WHOLE, 140000000000},
                {"2.4414e-07", 18, 1, EXACT_WHOLE, 244140000000},
                {"0.00000100000000000000015", 18, 1, EXACT_ROUNDED, 1000000000000},
                {"0.0000006000000000000001", 18, 1, EXACT_ROUNDED, 600000000000},
                {"1E+2", 0, 1, EXACT_WHOLE, 100},
                {"0", 18, 1, EXACT_WHOLE, 0},
                {"-0", 18, 1, EXACT_WHOLE, 0},
                {"-0.0", 0, 1, EXACT_WHOLE, 0},
                {"0.0000000", 2, 1, EXACT_WHOLE, 0},
                {"-1", 18, 1, EXACT_NEGATIVE, 0},
                {"-1e-400", 0, 1, EXACT_NEGATIVE, 0},
                {"256000.0", 0, 1, EXACT_WHOLE, 256000},
                {"1e6", 0, 1, EXACT_WHOLE, 1000000},
                {"0.5", 0, 1, EXACT_ROUNDED, 1},
                {"0.4999", 0, 1, EXACT_ROUNDED, 0},
                {"1.5", 0, 1, EXACT_ROUNDED, 2},
                {"0.05", 0, 1, EXACT_ROUNDED, 0},
                {"49.9", 0, 1, EXACT_ROUNDED, 50},
                {"1e-30", 18, 1, EXACT_ROUNDED, 0},
                {"9e-19", 18, 1, EXACT_ROUNDED, 1},
                /* a price of a second as one of a minute */
                {"7.167e-05", 12, 60, EXACT_WHOLE, 4300200000},
                {"0.0002833333333333333", 12, 60, EXACT_ROUNDED, 17000000000},
                {"3.333e-05", 12, 60, EXACT_WHOLE, 1999800000},
                {"99", 0, 1000, EXACT_WHOLE, 99000},
                {"9223372036854775807", 0, 1, EXACT_WHOLE, INT64_MAX},
                {"9223372036854775806.5", 0, 1, EXACT_ROUNDED, INT64_MAX},
                {"9223372036854775807.5", 0, 1, EXACT_TOO_LARGE, 0},
                {"9223372036854775808", 0, 1, EXACT_TOO_LARGE, 0},
                {"10", 18, 1, EXACT_TOO_LARGE, 0},
                {"1e999999999999", 0, 1, EXACT_TOO_LARGE, 0},
                {"0e999999999999", 18, 60, EXACT_WHOLE, 0},
                {"1e-999999999999", 18, 1, EXACT_ROUNDED, 0},
                {"", 0, 1, EXACT_NO_NUMBER, 0},
                {"-", 0, 1, EXACT_NO_NUMBER, 0},
                {".5", 0, 1, EXACT_NO_NUMBER, 0},
                {"5.", 0, 1, EXACT_NO_NUMBER, 0},
                {"1e", 0, 1, EXACT_NO_NUMBER, 0},
                {"1e+", 0, 1, EXACT_NO_NUMBER, 0},
                {"1.2.3", 0, 1, EXACT_NO_NUMBER, 0},
                {"+1", 0, 1, EXACT_NO_NUMBER, 0},
                {"0x10", 0, 1, EXACT_NO_NUMBER, 0},
                {"1 ", 0, 1, EXACT_NO_NUMBER, 0},
                {"NaN", 0, 1, EXACT_NO_NUMBER, 0},
                {"free", 0, 1, EXACT_NO_NUMBER, 0},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                int64_t value = 0;
                enum exact outcome =
                        exact_parse(bytes_of(cases[i].text), cases[i].places, cases[i].times, &value);
                if (outcome != cases[i].outcome || value != cases[i].value)
                        fail_msg("%s: %d, %lld", cases[i].text, (int)outcome, (long long)value);
        }
}

static void long_texts(void **state) {
        char text[EXACT_TEXT_MAX + 2];
        int64_t value = 0;
        (void)state;
        memset(text, '9', sizeof text);
        text[1] = '.';
        assert_int_equal(exact_parse((struct bytes){text, EXACT_TEXT_MAX}, 0, 1000, &value), EXACT_ROUNDED);
        assert_int_equal(value, 10000);
        assert_int_equal(exact_parse((struct bytes){text, EXACT_TEXT_MAX + 1}, 0, 1, &value),
                         EXACT_NO_NUMBER);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(long_texts)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
