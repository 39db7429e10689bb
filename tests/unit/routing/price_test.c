/*
 * Prices by time and by length of the input: edges of weekdays and of midnight, clocks that go forward and
 * back, which of several windows counts, rounding, and what tiers do to a ceiling. Times are milliseconds of
 * UTC, computed by hand from 2026-11-30, a Monday.
 */
#include "broker/base/money.h"
#include "broker/base/time.h"
#include "workers/routing/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define U     PRICE_UNKNOWN
#define MEDIA U, U, U, U

enum { ALL_DAYS = 0x7f, WORK_DAYS = 0x1f, SUNDAY = 1 << 6, MONDAY = 1 << 0 };

static const struct zone_change utc_changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", utc_changes, 1};
static const struct zone_change east_changes[] = {{INT64_MIN, 8 * 3600}};
static const struct zone east = {"+08:00", east_changes, 1};
static const struct zone_change west_changes[] = {{INT64_MIN, -(5 * 3600 + 30 * 60)}};
static const struct zone west = {"-05:30", west_changes, 1};
/* Clocks of Berlin in 2026: forward on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC. */
static const struct zone_change berlin_changes[] = {
        {INT64_MIN, 3600}, {1774746000, 7200}, {1792890000, 3600}};
static const struct zone berlin = {"Europe/Berlin", berlin_changes, 3};

static int64_t at(const char *text) {
        int64_t unix_ms = 0;
        assert_true(rfc3339_parse(bytes_of(text), &unix_ms));
        return unix_ms;
}

static struct endpoint endpoint_with(const struct price_window *windows, unsigned count) {
        return (struct endpoint){.name = "p/m",
                                 .model = "m",
                                 .price = {3, U, U, 10, U, U, U, 7, U, U, MEDIA},
                                 .windows = windows,
                                 .windows_count = (uint8_t)count,
                                 .kinds = ~0U};
}

static void windows_hold_at_their_edges(void **state) {
        (void)state;
        static const struct {
                const char *time;
                struct price_window window;
                bool holds;
        } cases[] = {
                /* Mon-Fri 16:30-00:30 UTC */
                {"2026-11-30T16:29:59.999Z", {&utc, 2, 990, 30, WORK_DAYS}, false},
                {"2026-11-30T16:30:00Z", {&utc, 2, 990, 30, WORK_DAYS}, true},
                {"2026-11-30T23:59:59.999Z", {&utc, 2, 990, 30, WORK_DAYS}, true},
                {"2026-12-01T00:00:00Z", {&utc, 2, 990, 30, WORK_DAYS}, true},
                {"2026-12-01T00:29:59.999Z", {&utc, 2, 990, 30, WORK_DAYS}, true},
                {"2026-12-01T00:30:00Z", {&utc, 2, 990, 30, WORK_DAYS}, false},
                /* what began on Friday ends on Saturday; Sunday's evening belongs to no day of it */
                {"2026-12-05T00:10:00Z", {&utc, 2, 990, 30, WORK_DAYS}, true},
                {"2026-12-05T16:40:00Z", {&utc, 2, 990, 30, WORK_DAYS}, false},
                {"2026-12-06T23:00:00Z", {&utc, 2, 990, 30, WORK_DAYS}, false},
                {"2026-12-07T00:10:00Z", {&utc, 2, 990, 30, WORK_DAYS}, false},
                /* Sunday over midnight into Monday, and not Monday into Tuesday */
                {"2026-12-07T00:10:00Z", {&utc, 2, 990, 30, SUNDAY}, true},
                {"2026-12-08T00:10:00Z", {&utc, 2, 990, 30, SUNDAY}, false},
                /* whole days, and whole days that begin in the morning */
                {"2026-11-30T00:00:00Z", {&utc, 2, 0, 1440, MONDAY}, true},
                {"2026-11-30T23:59:59.999Z", {&utc, 2, 0, 1440, MONDAY}, true},
                {"2026-12-01T00:00:00Z", {&utc, 2, 0, 1440, MONDAY}, false},
                {"2026-11-30T08:00:00Z", {&utc, 2, 480, 480, MONDAY}, true},
                {"2026-12-01T07:59:59Z", {&utc, 2, 480, 480, MONDAY}, true},
                {"2026-12-01T08:00:00Z", {&utc, 2, 480, 480, MONDAY}, false},
                /* by other clocks it is another day */
                {"2026-11-29T16:00:00Z", {&east, 2, 0, 1440, MONDAY}, true},
                {"2026-11-29T15:59:59Z", {&east, 2, 0, 1440, MONDAY}, false},
                {"2026-11-30T15:59:59Z", {&east, 2, 0, 1440, MONDAY}, true},
                {"2026-11-30T05:29:59Z", {&west, 2, 0, 1440, MONDAY}, false},
                {"2026-11-30T05:30:00Z", {&west, 2, 0, 1440, MONDAY}, true},
                {"2026-12-01T05:29:59Z", {&west, 2, 0, 1440, MONDAY}, true},
                /* before 1970 there were weeks as well: a Monday, and the day before */
                {"1970-01-05T00:00:00Z", {&utc, 2, 0, 1440, MONDAY}, true},
                {"1970-01-01T02:00:00Z", {&west, 2, 0, 1440, 1 << 2}, true},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct endpoint endpoint = endpoint_with(&cases[i].window, 1);
                if ((price_multiply_at(&endpoint, at(cases[i].time)) == 2) != cases[i].holds)
                        fail_msg("row %zu: %s", i, cases[i].time);
        }
}

/* 22:00-06:00 by the clocks of Berlin, and 02:00-03:00, which is missing once and there twice. */
static void clocks_go_forward_and_back(void **state) {
        (void)state;
        static const struct price_window night = {&berlin, 2, 22 * 60, 6 * 60, ALL_DAYS};
        static const struct price_window hour = {&berlin, 2, 2 * 60, 3 * 60, SUNDAY};
        static const struct {
                const char *time;
                const struct price_window *window;
                bool holds;
        } cases[] = {
                {"2026-03-28T20:59:59Z", &night, false}, /* 21:59 */
                {"2026-03-28T21:00:00Z", &night, true},
                {"2026-03-29T03:59:59Z", &night, true}, /* 05:59 in summer: the night has seven hours */
                {"2026-03-29T04:00:00Z", &night, false},
                {"2026-10-24T19:59:59Z", &night, false},
                {"2026-10-24T20:00:00Z", &night, true},
                {"2026-10-25T04:59:59Z", &night, true}, /* nine hours */
                {"2026-10-25T05:00:00Z", &night, false},
                {"2026-03-29T00:59:59Z", &hour, false}, /* 01:59, then it is 03:00 */
                {"2026-03-29T01:00:00Z", &hour, false},
                {"2026-10-24T23:59:59Z", &hour, false}, /* 01:59 */
                {"2026-10-25T00:00:00Z", &hour, true},  /* 02:00 */
                {"2026-10-25T00:59:59Z", &hour, true},
                {"2026-10-25T01:00:00Z", &hour, true}, /* 02:00 once more */
                {"2026-10-25T01:59:59Z", &hour, true},
                {"2026-10-25T02:00:00Z", &hour, false},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct endpoint endpoint = endpoint_with(cases[i].window, 1);
                if ((price_multiply_at(&endpoint, at(cases[i].time)) == 2) != cases[i].holds)
                        fail_msg("row %zu: %s", i, cases[i].time);
        }
}

/* The dearest moment of a stretch of time, both ends included. */
static void the_dearest_until_then(void **state) {
        (void)state;
        static const struct price_window afternoon[] = {{&utc, 500000, 0, 1440, ALL_DAYS},
                                                        {&utc, 2000000, 990, 30, WORK_DAYS}};
        static const struct price_window hour[] = {{&berlin, 3000000, 2 * 60, 3 * 60, SUNDAY}};
        static const struct price_window cheaper[] = {{&utc, 250000, 600, 601, ALL_DAYS}};
        static const struct {
                const char *from, *until;
                const struct price_window *windows;
                unsigned count;
                int64_t most;
        } cases[] = {
                {"2026-11-30T16:00:00Z", "2026-11-30T16:29:59.999Z", afternoon, 2, 500000},
                {"2026-11-30T16:00:00Z", "2026-11-30T16:30:00Z", afternoon, 2, 2000000},
                {"2026-11-30T16:29:59.999Z", "2026-11-30T16:30:00Z", afternoon, 2, 2000000},
                {"2026-11-30T16:30:00Z", "2026-11-30T16:30:00Z", afternoon, 2, 2000000},
                {"2026-12-01T00:29:59.999Z", "2026-12-01T12:00:00Z", afternoon, 2, 2000000},
                {"2026-12-01T00:30:00Z", "2026-12-01T12:00:00Z", afternoon, 2, 500000},
                {"2026-12-05T00:30:00Z", "2026-12-07T16:29:59Z", afternoon, 2, 500000}, /* a weekend */
                {"2026-12-05T00:30:00Z", "2026-12-07T16:30:00Z", afternoon, 2, 2000000},
                {"2026-12-01T09:59:59Z", "2026-12-01T10:00:30Z", cheaper, 1, 1000000},
                {"2026-12-01T10:00:00Z", "2026-12-01T10:00:59.999Z", cheaper, 1, 250000},
                {"2026-12-01T10:00:00Z", "2026-12-01T10:01:00Z", cheaper, 1, 1000000},
                /* an hour that is missing, and one that begins when clocks are set */
                {"2026-03-29T00:00:00Z", "2026-03-29T04:00:00Z", hour, 1, 1000000},
                {"2026-10-24T23:00:00Z", "2026-10-24T23:59:59Z", hour, 1, 1000000},
                {"2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z", hour, 1, 3000000},
                {"2026-10-25T01:59:00Z", "2026-10-25T03:00:00Z", hour, 1, 3000000},
                {"2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z", hour, 1, 1000000},
                /* weeks: not less */
                {"2026-10-25T02:00:00Z", "2026-12-25T02:00:00Z", hour, 1, 3000000},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct endpoint endpoint = endpoint_with(cases[i].windows, cases[i].count);
                int64_t most = price_multiply_most(&endpoint, at(cases[i].from), at(cases[i].until));
                if (most != cases[i].most)
                        fail_msg("row %zu: %lld", i, (long long)most);
        }
        struct endpoint without = endpoint_with(NULL, 0);
        assert_int_equal(price_multiply_most(&without, 0, INT64_MAX), PRICE_MULTIPLY_ONE);
}

/* By looking at every minute; where it gives up counting, it is no less. */
static void the_dearest_by_all_minutes(void **state) {
        (void)state;
        static const struct zone *const zones[] = {&utc, &east, &west, &berlin};
        uint64_t seed = 7;
        for (int i = 0; i < 3000; i++) {
                struct price_window windows[3];
                for (int w = 0; w < 3; w++) {
                        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                        windows[w] = (struct price_window){
                                zones[seed >> 60 & 3], (uint32_t)(seed >> 40 & 7) * 250000,
                                (uint16_t)((seed >> 20) % 1440), (uint16_t)(1 + (seed >> 30) % 1440),
                                (uint8_t)(seed >> 50 & ALL_DAYS)};
                }
                struct endpoint endpoint = endpoint_with(windows, 3);
                int64_t from = at(i % 2 ? "2026-03-28T20:00:30Z" : "2026-10-24T20:00:30Z"), most = 0;
                int64_t minutes = (int64_t)(seed >> 35) % 1500;
                for (int64_t minute = 0; minute <= minutes; minute++) {
                        int64_t then = price_multiply_at(&endpoint, from + minute * 60000);
                        most = then > most ? then : most;
                }
                int64_t said = price_multiply_most(&endpoint, from, from + minutes * 60000);
                if (minutes < 400 ? said != most : said < most)
                        fail_msg("row %d: %lld instead of %lld", i, (long long)said, (long long)most);
        }
}

static void the_last_window_counts(void **state) {
        (void)state;
        static const struct price_window windows[] = {{&utc, 500000, 0, 1440, ALL_DAYS},
                                                      {&utc, 2000000, 600, 720, ALL_DAYS},
                                                      {&utc, 0, 660, 720, SUNDAY}};
        struct endpoint endpoint = endpoint_with(windows, 3);
        assert_int_equal(price_multiply_at(&endpoint, at("2026-12-06T09:00:00Z")), 500000);
        assert_int_equal(price_multiply_at(&endpoint, at("2026-12-06T10:00:00Z")), 2000000);
        assert_int_equal(price_multiply_at(&endpoint, at("2026-12-06T11:00:00Z")), 0);
        assert_int_equal(price_multiply_at(&endpoint, at("2026-12-07T11:00:00Z")), 2000000);
        endpoint.windows_count = 0;
        assert_int_equal(price_multiply_at(&endpoint, at("2026-12-06T10:00:00Z")), PRICE_MULTIPLY_ONE);
}

static void scaled_prices_are_rounded_up(void **state) {
        (void)state;
        static const struct price price = {3, 0, U, 1, 1000001, INT64_MAX, 2, 7, U, 5, MEDIA};
        struct price half = price_scaled(&price, 500000);
        assert_int_equal(half.input, 2);
        assert_int_equal(half.cached_input, 0);
        assert_int_equal(half.cache_write, U);
        assert_int_equal(half.output, 1);
        assert_int_equal(half.audio_minute, 500001);
        assert_int_equal(half.image, 1);
        assert_int_equal(half.request, 4);
        assert_int_equal(half.search_unit, U);
        assert_int_equal(half.reasoning, 3);
        assert_int_equal(price_scaled(&price, 2000000).character, PICOUSD_MAX);
        assert_int_equal(price_scaled(&price, 1).audio_minute, 2);
        struct price same = price_scaled(&price, PRICE_MULTIPLY_ONE);
        assert_memory_equal(&same, &price, sizeof price);
        assert_int_equal(price_scaled(&price, 0).input, 0);
}

static void what_a_price_lacks_comes_from_the_other(void **state) {
        (void)state;
        static const struct price a = {1, U, 0, U, 5, U, U, U, U, 9, MEDIA},
                                  b = {2, 3, 4, U, 6, 7, U, 8, U, 1, MEDIA};
        static const struct price both = {1, 3, 0, U, 5, 7, U, 8, U, 9, MEDIA};
        struct price price = price_or(&a, &b);
        assert_memory_equal(&price, &both, sizeof both);
}

static void price_without_windows_is_the_endpoints_own(void **state) {
        (void)state;
        static const struct price_window night = {&utc, 500000, 0, 360, ALL_DAYS};
        struct endpoint endpoint = endpoint_with(&night, 1);
        struct price scratch;
        assert_ptr_equal(price_at(&endpoint, SERVICE_STANDARD, at("2026-12-06T06:00:00Z"), 1, &scratch),
                         &endpoint.price);
        assert_ptr_equal(price_at(&endpoint, SERVICE_STANDARD, at("2026-12-06T05:00:00Z"), 1, &scratch),
                         &scratch);
        assert_int_equal(scratch.input, 2);
        assert_int_equal(scratch.output, 5);
}

static const struct price_tier tiers[] = {
        {.above_input = 100, .price = {.input = 5000000, U, U, .output = 10000000, U, U, U, U, U, U, MEDIA}},
        {.above_input = 1000, .price = {.input = 1000000, U, U, .output = 30000000, U, U, U, U, U, U, MEDIA}},
};

static struct endpoint endpoint_with_tiers(void) {
        struct endpoint endpoint = endpoint_with(NULL, 0);
        endpoint.price = (struct price){.input = 3000000, U, U, .output = 10000000, U, U, U, U, U, U, MEDIA};
        endpoint.tiers = tiers;
        endpoint.tiers_count = 2;
        return endpoint;
}

static void input_finds_its_tier(void **state) {
        (void)state;
        struct endpoint endpoint = endpoint_with_tiers();
        struct price scratch;
        static const struct {
                int64_t input, price;
        } cases[] = {{-1, 3000000},  {0, 3000000},    {100, 3000000},  {101, 5000000},
                     {999, 5000000}, {1000, 5000000}, {1001, 1000000}, {INT64_MAX, 1000000}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
                assert_int_equal(price_at(&endpoint, SERVICE_STANDARD, 0, cases[i].input, &scratch)->input,
                                 cases[i].price);
}

/* The input is a bound: where a shorter one is dearer, that is the ceiling; expected is what it is. */
static void ceiling_is_the_dearest_tier_within_reach(void **state) {
        (void)state;
        struct endpoint endpoint = endpoint_with_tiers();
        struct demand demand;
        int64_t picousd = -1;
        demand_init(&demand, KIND_CHAT);
        demand.output_tokens_max = 10;
        static const struct {
                int64_t input, ceiling, expected;
        } cases[] = {
                {100, 400, 400},
                {101, 605, 605},
                {1001, 5105, 1301},
                {10, 130, 130},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                demand.input_tokens = cases[i].input;
                assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
                assert_int_equal(picousd, cases[i].ceiling);
                assert_true(cost_expected(&endpoint, &demand, 0, 10, &picousd));
                assert_int_equal(picousd, cases[i].expected);
        }
}

static void tiers_and_windows_go_together(void **state) {
        (void)state;
        static const struct price_window always = {&utc, 500000, 0, 1440, ALL_DAYS};
        struct endpoint endpoint = endpoint_with_tiers();
        struct demand demand;
        int64_t picousd = -1;
        endpoint.windows = &always;
        endpoint.windows_count = 1;
        demand_init(&demand, KIND_CHAT);
        demand.output_tokens_max = 10;
        demand.input_tokens = 101;
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        /* 252.5 and 50, each rounded up, and as the bill may have more parts */
        assert_int_equal(picousd, 306);
}

/* A price that one reachable tier does not have: nobody can say what it costs at most. */
static void unknown_stays_unknown(void **state) {
        (void)state;
        static const struct price_window always = {&utc, 0, 0, 1440, ALL_DAYS};
        struct endpoint endpoint = endpoint_with_tiers();
        struct demand demand;
        int64_t picousd = -1;
        endpoint.windows = &always;
        endpoint.windows_count = 1;
        endpoint.price.output = U;
        demand_init(&demand, KIND_CHAT);
        demand.output_tokens_max = 10;
        demand.input_tokens = 101;
        assert_false(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, -1);
}

static void reasoning_has_its_own_price(void **state) {
        (void)state;
        static const struct {
                int64_t price, reasoning, output, picousd;
        } cases[] = {
                {U, 5, 7, 70},                                                    /* as other output */
                {4000000, 5, 7, 40},                                              /* 5 x 4 and 2 x 10 */
                {4000000, -1, 7, 70},                                             /* not said: none */
                {4000000, 0, 7, 70},   {0, 7, 7, 0},         {4000000, 9, 7, 28}, /* never more than all */
                {40000000, 5, 7, 220}, {4000000, 5, -1, -1},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct price price = {0, U, U, 10000000, U, U, U, U, U, cases[i].price, MEDIA};
                struct usage usage;
                int64_t picousd = -1;
                usage_init(&usage);
                usage.output_tokens = cases[i].output;
                usage.reasoning_tokens = cases[i].reasoning;
                cost_of_usage(&price, KIND_CHAT, &usage, &picousd);
                if (picousd != cases[i].picousd)
                        fail_msg("row %zu: %lld", i, (long long)picousd);
        }
}

/* All output may be reasoning; where that is cheaper, all may be none. */
static void ceiling_knows_reasoning(void **state) {
        (void)state;
        struct endpoint endpoint = endpoint_with(NULL, 0);
        struct demand demand;
        int64_t picousd = -1;
        demand_init(&demand, KIND_CHAT);
        demand.output_tokens_max = 10;
        endpoint.price = (struct price){0, U, U, 10000000, U, U, U, U, U, 30000000, MEDIA};
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 300);
        assert_true(cost_expected(&endpoint, &demand, 0, 10, &picousd));
        assert_int_equal(picousd, 100);
        endpoint.price.reasoning = 2000000;
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 100);
        endpoint.price.output = U;
        assert_false(cost_ceiling(&endpoint, &demand, 0, &picousd));
}

static void input_of_usage_is_all_of_it(void **state) {
        (void)state;
        struct usage usage;
        usage_init(&usage);
        assert_int_equal(usage_input_tokens(&usage), -1);
        usage.cached_input_tokens = 5;
        assert_int_equal(usage_input_tokens(&usage), 5);
        usage.input_tokens = 1;
        usage.cache_write_tokens = 10;
        assert_int_equal(usage_input_tokens(&usage), 16);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(windows_hold_at_their_edges),
                cmocka_unit_test(clocks_go_forward_and_back),
                cmocka_unit_test(the_dearest_until_then),
                cmocka_unit_test(the_dearest_by_all_minutes),
                cmocka_unit_test(the_last_window_counts),
                cmocka_unit_test(scaled_prices_are_rounded_up),
                cmocka_unit_test(what_a_price_lacks_comes_from_the_other),
                cmocka_unit_test(price_without_windows_is_the_endpoints_own),
                cmocka_unit_test(input_finds_its_tier),
                cmocka_unit_test(ceiling_is_the_dearest_tier_within_reach),
                cmocka_unit_test(tiers_and_windows_go_together),
                cmocka_unit_test(unknown_stays_unknown),
                cmocka_unit_test(reasoning_has_its_own_price),
                cmocka_unit_test(ceiling_knows_reasoning),
                cmocka_unit_test(input_of_usage_is_all_of_it),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
