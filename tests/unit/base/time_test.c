/* Durations, RFC 3339 and HTTP dates: tables of what is taken and what is refused, and round trips. */
#include "broker/base/prng.h"
#include "broker/base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define S NS_PER_S

static void durations(void **state) {
        static const struct {
                const char *text;
                int64_t ns;
        } cases[] = {
                {"0", 0},
                {"0s", 0},
                {"100ms", 100 * NS_PER_MS},
                {"5s", 5 * S},
                {"1m30s", 90 * S},
                {"7d", 7 * 86400 * S},
                {"6m0s", 360 * S},
                {"7.66s", 7660 * NS_PER_MS},
                {"12ms", 12 * NS_PER_MS},
                {"250us", 250 * NS_PER_US},
                {"1h", 3600 * S},
                {"0.5d", 43200 * S},
                {"1.5h30m", 7200 * S},
                {"1.0000000019s", S + 1}, /* cut to nanoseconds */
                {"0.333333333333333333333333333333d", INT64_C(28799999999999)},
                {"0.999999999999999999999999us", 999},
                {"9223372036.854775807s", INT64_MAX},
                {"000000000000000000000000000001s", S},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                int64_t ns = -1;

                if (!duration_parse(bytes_of(cases[i].text), &ns) || ns != cases[i].ns)
                        fail_msg("%s gives %lld", cases[i].text, (long long)ns);
        }
}

static void bad_durations(void **state) {
        static const char *const cases[] = {"",
                                            "5",
                                            "00",
                                            "-1s",
                                            "+1s",
                                            "1x",
                                            "s",
                                            "1 s",
                                            " 1s",
                                            "1s ",
                                            "1.s",
                                            ".5s",
                                            "1..5s",
                                            "1e3s",
                                            "1S",
                                            "1ns",
                                            "1s5",
                                            "1m-5s",
                                            "106752d",
                                            "99999999999s",
                                            "1sm",
                                            "9223372036.854775808s",
                                            "9223372036854775808us",
                                            "99999999999999999999us",
                                            "1w",
                                            "1ms ",
                                            "106751d106751d"};
        char long_text[66];
        int64_t ns = 7;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                if (duration_parse(bytes_of(cases[i]), &ns))
                        fail_msg("'%s' was taken", cases[i]);
        memset(long_text, '0', sizeof(long_text));
        long_text[64] = 's';
        assert_false(duration_parse((struct bytes){long_text, 65}, &ns));
        assert_true(ns == 7); /* untouched */
        assert_true(duration_parse((struct bytes){long_text + 1, 64}, &ns));
}

static void assert_duration(int64_t ns, const char *expected) {
        struct buffer buffer;

        buffer_init(&buffer, 100);
        duration_append(&buffer, ns);
        buffer_append_char(&buffer, '\0');
        assert_string_equal(buffer.data, expected);
        buffer_deinit(&buffer);
}

static void durations_as_text(void **state) {
        (void)state;
        assert_duration(0, "0s");
        assert_duration(90 * S, "1m30s");
        assert_duration(7 * 86400 * S, "7d");
        assert_duration(3600 * S, "1h");
        assert_duration(1500 * NS_PER_MS, "1s500ms");
        assert_duration(1500, "1.5us");
        assert_duration(1, "0.001us");
        assert_duration(S + 20, "1s0.02us");
        assert_duration(-S, "-1s");
        assert_duration(INT64_MAX, "106751d23h47m16s854ms775.807us");
        assert_duration(INT64_MIN, "-106751d23h47m16s854ms775.808us");
}

static void durations_round_trip(void **state) {
        static const int64_t steps[] = {1, NS_PER_US, NS_PER_MS, S, 60 * S, 3600 * S};
        struct buffer buffer;
        struct prng prng;

        (void)state;
        prng_init(&prng, 31);
        buffer_init(&buffer, 100);
        for (int i = 0; i < 20000; i++) {
                int64_t ns = (int64_t)(prng_next(&prng) >> (1 + prng_below(&prng, 63))), back = -1;

                ns -= ns % steps[prng_below(&prng, 6)];
                buffer_clear(&buffer);
                duration_append(&buffer, ns);
                assert_true(duration_parse(buffer_view(&buffer), &back));
                assert_true(back == ns);
        }
        buffer_deinit(&buffer);
}

static void rfc3339(void **state) {
        static const struct {
                const char *text;
                int64_t unix_ms;
        } cases[] = {
                {"1970-01-01T00:00:00Z", 0},
                {"2026-11-23T01:00:00.000Z", INT64_C(1795395600000)},
                {"2026-11-23t01:00:00z", INT64_C(1795395600000)},
                {"2026-11-23 01:00:00Z", INT64_C(1795395600000)},
                {"2026-11-23T02:30:00+01:30", INT64_C(1795395600000)},
                {"2026-11-22T13:00:00-12:00", INT64_C(1795395600000)},
                {"2026-11-23T01:00:00-00:00", INT64_C(1795395600000)},
                {"2000-02-29T00:00:00Z", INT64_C(951782400000)},
                {"2000-02-29T00:00:00.1Z", INT64_C(951782400100)},
                {"2000-02-29T00:00:00.0019999999999999999999Z", INT64_C(951782400001)},
                {"2016-12-31T23:59:60Z", INT64_C(1483228799000)},
                {"2016-12-31T23:59:60.5Z", INT64_C(1483228799500)},
                {"1969-12-31T23:30:00-00:30", 0},
                {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                int64_t unix_ms = -1;

                if (!rfc3339_parse(bytes_of(cases[i].text), &unix_ms) || unix_ms != cases[i].unix_ms)
                        fail_msg("%s gives %lld", cases[i].text, (long long)unix_ms);
        }
}

static void bad_rfc3339(void **state) {
        static const char *const cases[] = {
                "",
                "2026",
                "2026-11-23",
                "2026-11-23T01:00:00",
                "2026-11-23T01:00Z",
                "2026-11-23T01:00:00.Z",
                "2026-11-23T01:00:00ZZ",
                " 2026-11-23T01:00:00Z",
                "2026-11-23T01:00:00Z ",
                "2026-00-23T01:00:00Z",
                "2026-13-23T01:00:00Z",
                "2026-11-00T01:00:00Z",
                "2026-11-31T01:00:00Z",
                "2026-02-29T01:00:00Z",
                "2100-02-29T00:00:00Z",
                "2026-11-23T24:00:00Z",
                "2026-11-23T01:60:00Z",
                "2026-11-23T01:00:61Z",
                "2026-11-23T01:00:00+24:00",
                "2026-11-23T01:00:00+01:60",
                "2026-11-23T01:00:00+0100",
                "2026-11-23T01:00:00+01",
                "2026/11/23T01:00:00Z",
                "26-11-23T01:00:00Z",
                "+2026-11-23T01:00:00Z",
                "1969-12-31T23:59:59.999Z",
                "1970-01-01T00:00:00+00:01",
                "9999-12-31T23:59:59-00:01",
                "2026-11-23T01:00:00,5Z",
                "2026-1-23T01:00:00Z",
                "0000-01-01T00:00:00Z",
                "2026-11-23T-1:00:00Z",
                "2026-11-23T01:00:00.0000000000000000000000000000000000000000000000Z",
        };
        int64_t unix_ms = 7;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                if (rfc3339_parse(bytes_of(cases[i]), &unix_ms))
                        fail_msg("'%s' was taken", cases[i]);
        assert_false(rfc3339_parse(BYTES("2026-11-23T01:00:00Z\0"), &unix_ms));
        assert_false(rfc3339_parse((struct bytes){NULL, 0}, &unix_ms));
        assert_true(unix_ms == 7); /* untouched */
}

static void assert_rfc3339(int64_t unix_ms, const char *expected) {
        struct buffer buffer;

        buffer_init(&buffer, 100);
        rfc3339_append(&buffer, unix_ms);
        buffer_append_char(&buffer, '\0');
        assert_string_equal(buffer.data, expected);
        buffer_deinit(&buffer);
}

static void rfc3339_as_text(void **state) {
        (void)state;
        assert_rfc3339(0, "1970-01-01T00:00:00.000Z");
        assert_rfc3339(INT64_C(1795395600007), "2026-11-23T01:00:00.007Z");
        assert_rfc3339(INT64_C(253402300799999), "9999-12-31T23:59:59.999Z");
        assert_rfc3339(-1, "1970-01-01T00:00:00.000Z");
        assert_rfc3339(INT64_MIN, "1970-01-01T00:00:00.000Z");
        assert_rfc3339(INT64_MAX, "9999-12-31T23:59:59.999Z");
}

/* Each day of 1970..2500 and then a sample to 9999, against the C library. */
static void calendar_agrees_with_libc(void **state) {
        struct buffer buffer;

        (void)state;
        buffer_init(&buffer, 100);
        for (int64_t day = 0; day < INT64_C(2932896); day += day < 193000 ? 1 : 97) {
                time_t seconds = (time_t)(day * 86400 + day % 86400);
                int64_t back = -1;
                char expected[64];
                struct tm tm;

                gmtime_r(&seconds, &tm);
                strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
                buffer_clear(&buffer);
                rfc3339_append(&buffer, (int64_t)seconds * 1000);
                assert_true(bytes_equal_string(buffer_view(&buffer), expected));
                assert_true(rfc3339_parse(buffer_view(&buffer), &back));
                assert_true(back == (int64_t)seconds * 1000);
        }
        buffer_deinit(&buffer);
}

/* The first three are the examples of RFC 9110 section 5.6.7. */
static void http_dates(void **state) {
        static const struct {
                const char *text;
                int64_t unix_ms;
        } cases[] = {
                {"Sun, 06 Nov 1994 08:49:37 GMT", INT64_C(784111777000)},
                {"Sunday, 06-Nov-94 08:49:37 GMT", INT64_C(784111777000)},
                {"Sun Nov  6 08:49:37 1994", INT64_C(784111777000)},
                {"Wed Nov 16 08:49:37 1994", INT64_C(784975777000)},
                {"Mon, 23 Nov 2026 01:00:00 GMT", INT64_C(1795395600000)},
                {"Monday, 23-Nov-26 01:00:00 GMT", INT64_C(1795395600000)},
                {"Thursday, 01-Jan-70 00:00:00 GMT", 0},
                {"Tuesday, 31-Dec-69 00:00:00 GMT", INT64_C(3155673600000)},
                {"Sat, 31 Dec 2016 23:59:60 GMT", INT64_C(1483228799000)},
                {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799000)},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                int64_t unix_ms = -1;

                if (!http_date_parse(bytes_of(cases[i].text), &unix_ms) || unix_ms != cases[i].unix_ms)
                        fail_msg("%s gives %lld", cases[i].text, (long long)unix_ms);
        }
}

static void bad_http_dates(void **state) {
        static const char *const cases[] = {
                "",
                "120",
                "Sun",
                "Sunday",
                "Sun,",
                "Sun, 06 Nov 1994 08:49:37",
                "Sun, 06 Nov 1994 08:49:37 UTC",
                "Sun, 06 Nov 1994 08:49:37 GMT ",
                "Sun, 6 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nov 94 08:49:37 GMT",
                "Sunday, 06-Nov-1994 08:49:37 GMT",
                "Sun, 06-Nov-94 08:49:37 GMT",
                "Sunday, 06 Nov 1994 08:49:37 GMT",
                "Xxx, 06 Nov 1994 08:49:37 GMT",
                "Sun, 06 Xxx 1994 08:49:37 GMT",
                "Sun, 31 Nov 1994 08:49:37 GMT",
                "Sun, 00 Nov 1994 08:49:37 GMT",
                "Sun, 06 Nov 1994 24:49:37 GMT",
                "Sun, 06 Nov 1994 08:60:37 GMT",
                "Sun, 06 Nov 1994 08:49:61 GMT",
                "Sun, 06 Nov 1969 08:49:37 GMT",
                "Sunday Nov  6 08:49:37 1994",
                "Sun Nov 6 08:49:37 1994",
                "Sun Nov  6 08:49:37 94",
                "Sun Nov   6 08:49:37 1994",
        };
        int64_t unix_ms = 7;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                if (http_date_parse(bytes_of(cases[i]), &unix_ms))
                        fail_msg("'%s' was taken", cases[i]);
        assert_true(unix_ms == 7); /* untouched */
}

/* Texts cut short and with a changed byte: taken or not, but never read beyond their end. */
static void damaged_texts_are_harmless(void **state) {
        static const char *const texts[] = {"2026-11-23T02:30:00.123+01:30", "Sun, 06 Nov 1994 08:49:37 GMT",
                                            "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
                                            "1h5m7.66s250us"};
        struct prng prng;

        (void)state;
        prng_init(&prng, 33);
        for (int i = 0; i < 20000; i++) {
                struct bytes text = bytes_of(texts[prng_below(&prng, 5)]);
                int64_t value = -1;
                char *copy;

                text.size = prng_below(&prng, 3) == 0 ? prng_below(&prng, text.size + 1) : text.size;
                copy = test_malloc(text.size + 1);
                memcpy(copy, text.data, text.size);
                if (text.size > 0)
                        copy[prng_below(&prng, text.size)] = (char)prng_below(&prng, 256);
                copy[text.size] = '7'; /* would be taken for one more digit */
                text.data = copy;
                if (rfc3339_parse(text, &value) || http_date_parse(text, &value) ||
                    duration_parse(text, &value))
                        assert_true(value >= 0);
                test_free(copy);
        }
}

static void clocks_go_forward(void **state) {
        int64_t before = clock_now_ns();

        (void)state;
        assert_true(clock_now_ns() >= before);
        assert_true(clock_now_unix_ms() > INT64_C(1577836800000)); /* 2020: milliseconds, not seconds */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(durations),
                cmocka_unit_test(bad_durations),
                cmocka_unit_test(durations_as_text),
                cmocka_unit_test(durations_round_trip),
                cmocka_unit_test(rfc3339),
                cmocka_unit_test(bad_rfc3339),
                cmocka_unit_test(rfc3339_as_text),
                cmocka_unit_test(calendar_agrees_with_libc),
                cmocka_unit_test(http_dates),
                cmocka_unit_test(bad_http_dates),
                cmocka_unit_test(damaged_texts_are_harmless),
                cmocka_unit_test(clocks_go_forward),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
