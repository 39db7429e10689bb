/* Money as text and its saturating arithmetic, against exact values and against 128-bit integers. */
#include "broker/base/money.h"
#include "broker/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

__extension__ typedef unsigned __int128 uint128;

static void parses(void **state) {
        static const struct {
                const char *text;
                int64_t picousd;
        } cases[] = {
                {"0", 0},
                {"0.15", INT64_C(150000000000)},
                {"1e-7", 100000},
                {"1E-7", 100000},
                {"2.5E-3", INT64_C(2500000000)},
                {"12", INT64_C(12000000000000)},
                {"0.00000012", 120000},
                {"0.000000000001", 1},
                {"1e-12", 1},
                {"10e-13", 1},
                {"0.0000000000010000000", 1},
                {"1e+3", INT64_C(1000000000000000)},
                {"1.50e2", INT64_C(150000000000000)},
                {"000.10", INT64_C(100000000000)},
                {"0e99999999999999999999", 0},
                {"0.0e-99999999999999999999", 0},
                {"9223372.036854775807", INT64_MAX},
                {"9223372036854775807e-12", INT64_MAX},
                {"0.009223372036854775807e9", INT64_MAX},
                {"100000000000000000000e-14", INT64_C(1000000000000000000)},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                int64_t picousd = -1;

                if (!money_parse(bytes_of(cases[i].text), &picousd) || picousd != cases[i].picousd)
                        fail_msg("%s gives %lld", cases[i].text, (long long)picousd);
        }
}

static void refuses(void **state) {
        static const char *const cases[] = {
                "",
                ".",
                "-1",
                "+1",
                "-0",
                "1.",
                ".5",
                "1..2",
                "1.2.3",
                "e5",
                "1e",
                "1e+",
                "1e-",
                "1e1.5",
                " 1",
                "1 ",
                "1,5",
                "0x10",
                "inf",
                "nan",
                "1e-13",
                "0.0000000000001",
                "1.0000000000001",
                "9223372.036854775808",
                "9223373",
                "1e7",
                "1e19",
                "1e99999999999999999999",
                "1e-99999999999999999999",
                "99999999999999999999999999",
                "1$",
                "1e5x",
        };
        char long_text[130];
        int64_t picousd = 7;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                if (money_parse(bytes_of(cases[i]), &picousd))
                        fail_msg("'%s' was taken", cases[i]);
        memset(long_text, '0', sizeof(long_text));
        assert_false(money_parse((struct bytes){long_text, 129}, &picousd));
        assert_false(money_parse(BYTES("1\0"), &picousd));
        assert_false(money_parse((struct bytes){NULL, 0}, &picousd));
        assert_true(picousd == 7); /* untouched */
        assert_true(money_parse((struct bytes){long_text, 128}, &picousd));
        assert_true(picousd == 0);
}

static void assert_text(int64_t picousd, const char *expected) {
        struct buffer buffer;

        buffer_init(&buffer, 64);
        money_append(&buffer, picousd);
        buffer_append_char(&buffer, '\0');
        assert_false(buffer.failed);
        assert_string_equal(buffer.data, expected);
        buffer_deinit(&buffer);
}

static void appends_the_shortest(void **state) {
        (void)state;
        assert_text(0, "0");
        assert_text(120000, "0.00000012");
        assert_text(1, "0.000000000001");
        assert_text(PICOUSD_PER_USD, "1");
        assert_text(PICOUSD_PER_USD * 3 / 2, "1.5");
        assert_text(100 * PICOUSD_PER_USD, "100");
        assert_text(INT64_MAX, "9223372.036854775807");
        assert_text(-PICOUSD_PER_USD / 4, "-0.25");
        assert_text(INT64_MIN, "-9223372.036854775808");
}

static void round_trips(void **state) {
        struct buffer buffer;
        struct prng prng;

        (void)state;
        prng_init(&prng, 11);
        buffer_init(&buffer, 64);
        for (int i = 0; i < 20000; i++) {
                int64_t amount = (int64_t)(prng_next(&prng) >> (1 + prng_below(&prng, 63))), back = -1;

                for (uint64_t zeros = prng_below(&prng, 12); zeros > 0 && amount < INT64_MAX / 10; zeros--)
                        amount *= 10;
                buffer_clear(&buffer);
                money_append(&buffer, amount);
                assert_true(money_parse(buffer_view(&buffer), &back));
                assert_true(back == amount);
                /* The same number shifted by an exponent. */
                buffer_clear(&buffer);
                buffer_printf(&buffer, "%llde-12", (long long)amount);
                assert_true(money_parse(buffer_view(&buffer), &back));
                assert_true(back == amount);
        }
        buffer_deinit(&buffer);
}

static void saturates(void **state) {
        (void)state;
        assert_true(money_add(1, 2) == 3);
        assert_true(money_add(INT64_MAX - 1, 1) == INT64_MAX);
        assert_true(money_add(INT64_MAX, 1) == INT64_MAX);
        assert_true(money_add(INT64_MAX, INT64_MAX) == INT64_MAX);
        assert_true(money_multiply(0, INT64_MAX) == 0);
        assert_true(money_multiply(3, 4) == 12);
        assert_true(money_multiply(INT64_MAX, 2) == INT64_MAX);
        assert_true(money_multiply(INT64_C(1) << 32, INT64_C(1) << 32) == INT64_MAX);
}

static void per_million_rounds_up(void **state) {
        (void)state;
        /* 0.15 USD per million tokens, 1000 tokens: 0.00015 USD. */
        assert_true(money_per_million(INT64_C(150000000000), 1000) == INT64_C(150000000));
        assert_true(money_per_million(1, 1) == 1);
        assert_true(money_per_million(1, 1000000) == 1);
        assert_true(money_per_million(1, 1000001) == 2);
        assert_true(money_per_million(0, 5) == 0);
        assert_true(money_per_million(5, 0) == 0);
        assert_true(money_per_million(INT64_MAX, 1000000) == INT64_MAX);
        assert_true(money_per_million(INT64_MAX, 1000001) == INT64_MAX);
        assert_true(money_per_million(INT64_MAX, INT64_MAX) == INT64_MAX);
        assert_true(money_per_million(999999, INT64_MAX) == INT64_C(9223362813482738953));
}

static void per_million_is_exact(void **state) {
        struct prng prng;

        (void)state;
        prng_init(&prng, 12);
        for (int i = 0; i < 50000; i++) {
                int64_t price = (int64_t)(prng_next(&prng) >> (1 + prng_below(&prng, 63)));
                int64_t units = (int64_t)(prng_next(&prng) >> (1 + prng_below(&prng, 63)));
                uint128 exact = ((uint128)price * (uint128)units + 999999) / 1000000;

                assert_true(money_per_million(price, units) ==
                            (exact > INT64_MAX ? INT64_MAX : (int64_t)exact));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(parses),
                cmocka_unit_test(refuses),
                cmocka_unit_test(appends_the_shortest),
                cmocka_unit_test(round_trips),
                cmocka_unit_test(saturates),
                cmocka_unit_test(per_million_rounds_up),
                cmocka_unit_test(per_million_is_exact),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
