/*
 * Every limit of schemas/quotas.def by itself and all together: never above in any window, nearly all of it
 * used when there is work, divided into parts whose sum is the whole. Time is made up.
 */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "broker/core/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MINUTE_NS (60 * NS_PER_S)
#define HOUR_NS   (60 * MINUTE_NS)
#define DAY_NS    (24 * HOUR_NS)

enum { WINDOWS = 10, TAKES_MAX = 200000 };

static const struct {
        const char *name;
        size_t member;
        enum unit unit;
        int64_t window_ns, scale;
} rows[QUOTAS_COUNT] = {
        {"requests_per_minute", offsetof(struct limits_spec, requests_per_minute), UNIT_CALLS, MINUTE_NS, 1},
        {"tokens_per_minute", offsetof(struct limits_spec, tokens_per_minute), UNIT_TOKENS, MINUTE_NS, 1},
        {"requests_per_day", offsetof(struct limits_spec, requests_per_day), UNIT_CALLS, DAY_NS, 1},
        {"tokens_per_day", offsetof(struct limits_spec, tokens_per_day), UNIT_TOKENS, DAY_NS, 1},
        {"audio_seconds_per_hour", offsetof(struct limits_spec, audio_seconds_per_hour), UNIT_AUDIO_MS,
         HOUR_NS, 1000},
        {"audio_seconds_per_day", offsetof(struct limits_spec, audio_seconds_per_day), UNIT_AUDIO_MS, DAY_NS,
         1000},
        {"images_per_minute", offsetof(struct limits_spec, images_per_minute), UNIT_IMAGES, MINUTE_NS, 1},
};

struct take {
        int64_t at_ns;
        struct amounts amounts;
};

static struct take *takes;
static size_t takes_count;

static void set_limit(struct limits_spec *limits, int row, int64_t limit) {
        *(int64_t *)(void *)((char *)limits + rows[row].member) = limit;
}

static struct gate *gate_new(const struct limits_spec *limits) {
        struct gate *gate = calloc(1, sizeof(*gate));
        struct limiter *limiters = calloc(gate_limiters(limits) + 1, sizeof(*limiters));
        assert_true(gate && limiters);
        assert_ptr_equal(gate_init(gate, limits, limiters, (struct gate_clock){0}),
                         limiters + gate_limiters(limits));
        return gate;
}

static void gate_free(struct gate *gate) {
        free(gate->limiters);
        free(gate);
}

/* Calls one after the other, as soon as the gate lets them; amounts of 1 to most. */
static void saturate(struct gate *gate, const struct amounts *most, int64_t until_ns) {
        struct prng prng;
        int64_t now_ns = 0;
        prng_init(&prng, 1);
        takes_count = 0;
        while (now_ns < until_ns) {
                struct amounts amounts;
                for (int unit = 0; unit < UNITS_COUNT; unit++)
                        amounts.of[unit] = most->of[unit] > 0
                                                   ? 1 + (int64_t)prng_below(&prng, (uint64_t)most->of[unit])
                                                   : 0;
                for (int64_t when_ns; (when_ns = gate_when(gate, &amounts, false, now_ns)) > now_ns;) {
                        assert_true(when_ns != LIMITER_NEVER);
                        now_ns = when_ns;
                }
                gate_take(gate, &amounts, now_ns);
                assert_true(takes_count < TAKES_MAX);
                takes[takes_count++] = (struct take){now_ns, amounts};
                gate->in_flight = 0;
        }
}

/* The most of a unit in any window, both ends included; out_all: in the first WINDOWS windows together. */
static int64_t worst(int row, int64_t *out_all) {
        int64_t most = 0, sum = 0;
        size_t first = 0;
        *out_all = 0;
        for (size_t i = 0; i < takes_count; i++) {
                int64_t amount = takes[i].amounts.of[rows[row].unit];
                sum += amount;
                if (takes[i].at_ns < WINDOWS * rows[row].window_ns)
                        *out_all += amount;
                while (takes[i].at_ns - takes[first].at_ns > rows[row].window_ns)
                        sum -= takes[first++].amounts.of[rows[row].unit];
                most = sum > most ? sum : most;
        }
        return most;
}

static void each_is_used_and_never_passed(void **state) {
        static const int64_t limits[] = {1, 7, 60, 1000, 12345};
        (void)state;
        for (int row = 0; row < QUOTAS_COUNT; row++) {
                for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
                        struct limits_spec spec = {0};
                        struct amounts most = {{1, 1, 1, 1}};
                        int64_t limit = limits[i] * rows[row].scale, all;
                        most.of[rows[row].unit] = rows[row].unit == UNIT_CALLS ? 1 : 1 + limit / 50;
                        set_limit(&spec, row, limits[i]);
                        assert_int_equal(gate_limiters(&spec), 1);
                        struct gate *gate = gate_new(&spec);
                        saturate(gate, &most, WINDOWS * rows[row].window_ns);
                        assert_true(worst(row, &all) <= limit);
                        if (all < limit * WINDOWS * 95 / 100)
                                fail_msg("%s: %lld of %lld used", rows[row].name, (long long)all,
                                         (long long)(limit * WINDOWS));
                        gate_free(gate);
                }
        }
}

/* Where several hold, each does, and one of them is used up. */
static void all_hold_together(void **state) {
        (void)state;
        struct limits_spec spec = {.requests_per_minute = 100,
                                   .tokens_per_minute = 20000,
                                   .requests_per_day = 20000,
                                   .tokens_per_day = 2000000,
                                   .audio_seconds_per_hour = 7200,
                                   .audio_seconds_per_day = 28800,
                                   .images_per_minute = 50};
        struct amounts most = {{1, 400, 10000, 2}};
        int64_t all, limit;
        struct gate *gate = gate_new(&spec);
        assert_int_equal(gate->limiters_count, QUOTAS_COUNT);
        saturate(gate, &most, 2 * DAY_NS);
        bool reached = false;
        for (int row = 0; row < QUOTAS_COUNT; row++) {
                limit = *(const int64_t *)(const void *)((const char *)&spec + rows[row].member) *
                        rows[row].scale;
                int64_t most_seen = worst(row, &all);
                assert_true(most_seen <= limit);
                reached = reached || most_seen >= limit * 95 / 100;
        }
        assert_true(reached);
        gate_free(gate);
}

static void no_limits_need_no_memory(void **state) {
        struct limits_spec spec = {.concurrency = 3};
        struct amounts amounts = {{1, INT64_MAX / 8, 5, 5}};
        (void)state;
        assert_int_equal(gate_limiters(&spec), 0);
        struct gate *gate = gate_new(&spec);
        assert_int_equal(gate_when(gate, &amounts, false, 7), 7);
        gate_take(gate, &amounts, 7);
        gate_charge(gate, &amounts, 7);
        assert_int_equal(gate_when(gate, &amounts, true, 7), 7);
        assert_int_equal(gate_room(gate, false), 2);
        amounts.of[UNIT_TOKENS] = 1;
        gate_open(gate, &amounts);
        gate_open(gate, &amounts);
        assert_int_equal(gate_room(gate, true), 0);
        assert_int_equal(gate_room(gate, false), 2);
        gate_unopen(gate, &amounts);
        assert_int_equal(gate_room(gate, true), 1);
        assert_int_equal(gate->opened_amounts.of[UNIT_TOKENS], 1);
        gate_free(gate);
}

static void blocks_only_move_later(void **state) {
        struct limits_spec specs[] = {{0}, {.requests_per_minute = 6000}};
        struct amounts amounts = {{1, 0, 0, 0}};
        (void)state;
        for (int i = 0; i < 2; i++) { /* without a limit of its own it still obeys the provider */
                struct gate *gate = gate_new(&specs[i]);
                gate_block(gate, 7 * NS_PER_S);
                gate_block(gate, 3 * NS_PER_S);
                assert_int_equal(gate_when(gate, &amounts, false, 0), 7 * NS_PER_S);
                assert_true(gate_when(gate, &amounts, false, 7 * NS_PER_S) <= 7 * NS_PER_S);
                gate_free(gate);
        }
}

/* What is too much for any window is never admitted; what is only guessed to be is made to fit. */
static void large_calls(void **state) {
        struct limits_spec spec = {.tokens_per_minute = 1000, .tokens_per_day = 800};
        struct amounts amounts = {{1, 801, 0, 0}};
        (void)state;
        struct gate *gate = gate_new(&spec);
        assert_int_equal(gate_when(gate, &amounts, false, 0), LIMITER_NEVER);
        assert_int_equal(gate_tokens(gate, 5000, 700), 800);
        assert_int_equal(gate_tokens(gate, 5000, 900), 1000);
        assert_int_equal(gate_tokens(gate, 5000, 4000), 5000);
        assert_int_equal(gate_tokens(gate, 300, 700), 300);
        /* with a part that is too small it waits, and is not refused for what was guessed */
        struct limit_part part = {.kind = PART_FRESH};
        gate_share(gate, &part, 1, 4, 0);
        assert_int_equal(gate_tokens(gate, 5000, 700), 800);
        assert_int_equal(gate_tokens(gate, 5000, 100), 200);
        gate_free(gate);
}

/* A part is fresh for the windows in which nobody had it; for longer ones it counts as used up. */
static void parts_are_fresh_by_window(void **state) {
        static const struct {
                enum part_kind kind;
                int64_t free_ns;
                bool minute, hour, day; /* there is something to take at once */
        } cases[] = {
                {PART_FRESH, 0, true, false, false},      {PART_FRESH, 30 * MINUTE_NS, true, false, false},
                {PART_FRESH, HOUR_NS, true, true, false}, {PART_FRESH, DAY_NS - 1, true, true, false},
                {PART_FRESH, DAY_NS, true, true, true},   {PART_FRESH, INT64_MAX, true, true, true},
                {PART_USED, 0, false, false, false},
        };
        static const struct limits_spec specs[] = {
                {.requests_per_minute = 600}, {.audio_seconds_per_hour = 600}, {.requests_per_day = 600}};
        struct amounts amounts = {{1, 0, 1000, 0}};
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                bool wanted[] = {cases[i].minute, cases[i].hour, cases[i].day};
                for (int j = 0; j < 3; j++) {
                        struct gate *gate = gate_new(&specs[j]);
                        struct limit_part part = {
                                .part = 1, .kind = cases[i].kind, .free_ns = cases[i].free_ns};
                        gate_share(gate, &part, 1, 2, 5);
                        assert_int_equal(gate_when(gate, &amounts, false, 5) <= 5, wanted[j]);
                        int64_t later_ns = DAY_NS + DAY_NS / 50 + 5;
                        assert_true(gate_when(gate, &amounts, false, later_ns) <= later_ns);
                        gate_free(gate);
                }
        }
}

/* Parts of each limit are whole numbers, and their sum is the limit, or the concurrency. */
static void parts_add_up(void **state) {
        static const int64_t limits[] = {1, 2, 7, 60, 999, 1000003};
        static const uint32_t wholes[] = {1, 2, 3, 7, 12, 64, 1000};
        (void)state;
        for (int row = 0; row < QUOTAS_COUNT; row++) {
                for (size_t i = 0; i < 6; i++) {
                        struct limits_spec spec = {.concurrency = limits[i]};
                        set_limit(&spec, row, limits[i]);
                        struct gate *gate = gate_new(&spec);
                        for (size_t j = 0; j < 7; j++) {
                                int64_t sum = 0, concurrency = 0;
                                struct limit_part part = {.kind = PART_FRESH, .free_ns = INT64_MAX};
                                for (; part.part < wholes[j]; part.part++) {
                                        gate_share(gate, &part, 1, wholes[j], 0);
                                        sum += gate->limiters[0].limit;
                                        concurrency += gate->concurrency;
                                }
                                assert_int_equal(sum, limits[i] * rows[row].scale);
                                assert_int_equal(concurrency, limits[i]);
                        }
                        gate_free(gate);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_is_used_and_never_passed),
                cmocka_unit_test(all_hold_together),
                cmocka_unit_test(no_limits_need_no_memory),
                cmocka_unit_test(blocks_only_move_later),
                cmocka_unit_test(large_calls),
                cmocka_unit_test(parts_are_fresh_by_window),
                cmocka_unit_test(parts_add_up),
        };
        takes = calloc(TAKES_MAX, sizeof(*takes));
        if (!takes)
                return 1;
        int failed = cmocka_run_group_tests_name("gate", tests, NULL, NULL);
        free(takes);
        return failed;
}
