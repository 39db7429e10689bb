/* Breaker, adaptive window, retry budget and calibration, each driven through virtual time. */
#include "broker/base/time.h"
#include "workers/routing/health.h"
#include "workers/routing/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define START_NS (1000 * NS_PER_S)

static struct health fresh(int64_t window_max) {
        struct health health;
        health_init(&health, window_max, 0.1, START_NS);
        return health;
}

static bool open_now(struct health *health, int64_t now_ns) {
        return health_when(health, now_ns) > now_ns;
}

static void fail_times(struct health *health, int times, int64_t now_ns) {
        for (int i = 0; i < times; i++) {
                health_started(health, now_ns);
                health_failed(health, now_ns);
        }
}

static void succeed_times(struct health *health, int times, int64_t now_ns) {
        for (int i = 0; i < times; i++) {
                health_started(health, now_ns);
                health_succeeded(health, NS_PER_MS, now_ns);
        }
}

static void ten_in_a_row_open_it(void **state) {
        (void)state;
        struct health health = fresh(10);
        assert_true(health_when(&health, START_NS) <= START_NS);
        fail_times(&health, 9, START_NS);
        succeed_times(&health, 1, START_NS);
        fail_times(&health, 9, START_NS);
        assert_false(open_now(&health, START_NS));
        fail_times(&health, 1, START_NS);
        assert_int_equal(health.state, BREAKER_OPEN);
        assert_int_equal(health_when(&health, START_NS), START_NS + 15 * NS_PER_S);
}

static void half_failing_opens_it_from_fifty_calls(void **state) {
        (void)state;
        struct health health = fresh(10);
        for (int i = 0; i < 24; i++) {
                succeed_times(&health, 1, START_NS);
                fail_times(&health, 1, START_NS);
        }
        succeed_times(&health, 1, START_NS);
        assert_false(open_now(&health, START_NS));
        fail_times(&health, 1, START_NS);
        assert_true(open_now(&health, START_NS));
}

static void fewer_than_half_do_not_open_it(void **state) {
        (void)state;
        struct health health = fresh(10);
        for (int i = 0; i < 1000; i++) {
                succeed_times(&health, 2, START_NS + i * NS_PER_MS);
                fail_times(&health, 1, START_NS + i * NS_PER_MS);
        }
        assert_false(open_now(&health, START_NS + NS_PER_S));
}

/* Failures of a minute ago are forgotten; those of the half window before are not. */
static void rate_is_over_thirty_seconds(void **state) {
        (void)state;
        static const struct {
                int64_t gap_ns;
                bool opens;
        } rows[] = {{NS_PER_S, true}, {16 * NS_PER_S, true}, {31 * NS_PER_S, false}, {600 * NS_PER_S, false}};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct health health = fresh(10);
                for (int j = 0; j < 5; j++) {
                        fail_times(&health, 9, START_NS);
                        succeed_times(&health, j < 4, START_NS);
                }
                assert_false(open_now(&health, START_NS));
                int64_t now_ns = START_NS + rows[i].gap_ns;
                succeed_times(&health, 1, now_ns);
                fail_times(&health, 1, now_ns);
                assert_int_equal(open_now(&health, now_ns), rows[i].opens);
        }
}

static int probes(struct health *health, int64_t now_ns) {
        int started = 0;
        for (; !open_now(health, now_ns) && started < 100; started++)
                health_started(health, now_ns);
        return started;
}

static void half_open_ramps_up_and_closes(void **state) {
        (void)state;
        struct health health = fresh(100);
        fail_times(&health, 10, START_NS);
        int64_t now_ns = START_NS + 15 * NS_PER_S;
        static const int allowed[] = {1, 2, 4};
        for (size_t i = 0; i < 3; i++) {
                assert_int_equal(probes(&health, now_ns), allowed[i]);
                assert_int_equal(health.state, BREAKER_HALF_OPEN);
                for (int j = 0; j < allowed[i]; j++)
                        health_succeeded(&health, NS_PER_MS, now_ns);
        }
        assert_int_equal(probes(&health, now_ns), 8);
        health_succeeded(&health, NS_PER_MS, now_ns);
        health_succeeded(&health, NS_PER_MS, now_ns);
        assert_int_equal(health.state, BREAKER_HALF_OPEN);
        health_succeeded(&health, NS_PER_MS, now_ns);
        assert_int_equal(health.state, BREAKER_CLOSED);
        assert_int_equal(probes(&health, now_ns), 100);
}

static void failed_probe_doubles_up_to_five_minutes(void **state) {
        (void)state;
        struct health health = fresh(10);
        fail_times(&health, 10, START_NS);
        int64_t now_ns = START_NS;
        static const int64_t seconds[] = {15, 30, 60, 120, 240, 300, 300};
        for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
                assert_int_equal(health_when(&health, now_ns), now_ns + seconds[i] * NS_PER_S);
                now_ns += seconds[i] * NS_PER_S;
                assert_false(open_now(&health, now_ns));
                fail_times(&health, 1, now_ns);
        }
}

static void close_with_probes(struct health *health, int64_t now_ns) {
        assert_false(open_now(health, now_ns));
        succeed_times(health, BREAKER_PROBES_TO_CLOSE, now_ns);
        assert_int_equal(health->state, BREAKER_CLOSED);
}

static void closed_for_long_starts_over(void **state) {
        (void)state;
        static const struct {
                int64_t closed_for_ns, then_open_ns;
        } rows[] = {{10 * NS_PER_S, 30 * NS_PER_S}, {300 * NS_PER_S, 15 * NS_PER_S}};
        for (size_t i = 0; i < 2; i++) {
                struct health health = fresh(10);
                fail_times(&health, 10, START_NS);
                int64_t now_ns = START_NS + 15 * NS_PER_S;
                assert_false(open_now(&health, now_ns));
                fail_times(&health, 1, now_ns);
                now_ns += 30 * NS_PER_S;
                close_with_probes(&health, now_ns);
                now_ns += rows[i].closed_for_ns;
                fail_times(&health, 10, now_ns);
                assert_int_equal(health_when(&health, now_ns), now_ns + rows[i].then_open_ns);
        }
}

static void probes_that_say_nothing_give_their_place_back(void **state) {
        (void)state;
        struct health health = fresh(10);
        fail_times(&health, 10, START_NS);
        int64_t now_ns = START_NS + 15 * NS_PER_S;
        assert_int_equal(probes(&health, now_ns), 1);
        int64_t look_ns = health_when(&health, now_ns);
        assert_true(look_ns > now_ns && look_ns <= now_ns + NS_PER_S);
        health_abandoned(&health);
        assert_int_equal(probes(&health, now_ns), 1);
        health_throttled(&health, true, now_ns);
        assert_int_equal(health.state, BREAKER_HALF_OPEN);
        assert_int_equal(probes(&health, now_ns), 1);
}

static void late_answers_do_not_count(void **state) {
        (void)state;
        struct health health = fresh(10);
        fail_times(&health, 10, START_NS);
        int64_t until_ns = health_when(&health, START_NS);
        health_failed(&health, START_NS + NS_PER_S);
        health_succeeded(&health, NS_PER_S, START_NS + NS_PER_S);
        assert_int_equal(health_when(&health, START_NS + NS_PER_S), until_ns);
        assert_false(open_now(&health, until_ns));
        health_failed(&health, until_ns);
        assert_int_equal(health.state, BREAKER_HALF_OPEN);
        assert_false(open_now(&health, until_ns));
}

static void throttling_never_opens_it(void **state) {
        (void)state;
        struct health health = fresh(10);
        for (int i = 0; i < 1000; i++) {
                health_started(&health, START_NS);
                health_throttled(&health, i % 2, START_NS);
        }
        assert_false(open_now(&health, START_NS));
}

static void pauses_only_grow(void **state) {
        (void)state;
        struct health health = fresh(10);
        health_pause(&health, START_NS + 60 * NS_PER_S);
        health_pause(&health, START_NS + 5 * NS_PER_S);
        assert_int_equal(health_when(&health, START_NS), START_NS + 60 * NS_PER_S);
        fail_times(&health, 10, START_NS + 59 * NS_PER_S);
        assert_int_equal(health_when(&health, START_NS + 59 * NS_PER_S), START_NS + 74 * NS_PER_S);
}

static void window_halves_once_per_round_trip(void **state) {
        (void)state;
        struct health health = fresh(64);
        assert_int_equal(health_window(&health), 64);
        health_throttled(&health, false, START_NS);
        assert_int_equal(health_window(&health), 64);
        health_throttled(&health, true, START_NS);
        health_throttled(&health, true, START_NS + 99 * NS_PER_MS);
        assert_int_equal(health_window(&health), 32);
        health_throttled(&health, true, START_NS + 100 * NS_PER_MS);
        assert_int_equal(health_window(&health), 16);
        health_succeeded(&health, 2 * NS_PER_S, START_NS + 200 * NS_PER_MS);
        health_throttled(&health, true, START_NS + 1900 * NS_PER_MS);
        assert_int_equal(health_window(&health), 16);
        health_throttled(&health, true, START_NS + 2100 * NS_PER_MS);
        assert_int_equal(health_window(&health), 8);
        for (int i = 1; i < 20; i++)
                health_throttled(&health, true, START_NS + i * 10 * NS_PER_S);
        assert_int_equal(health_window(&health), 1);
}

static void window_grows_one_per_window(void **state) {
        (void)state;
        struct health health = fresh(16);
        health_throttled(&health, true, START_NS);
        assert_int_equal(health_window(&health), 8);
        succeed_times(&health, 7, START_NS);
        assert_int_equal(health_window(&health), 8);
        succeed_times(&health, 3, START_NS);
        assert_int_equal(health_window(&health), 9);
        succeed_times(&health, 1000, START_NS);
        assert_int_equal(health_window(&health), 16);
        health = fresh(0);
        assert_true(health_window(&health) >= 100000);
}

static void retries_are_a_share_of_successes(void **state) {
        (void)state;
        struct health health = fresh(10);
        for (int i = 0; i < 10; i++)
                assert_true(health_take_retry(&health));
        assert_false(health_take_retry(&health));
        succeed_times(&health, 9, START_NS);
        assert_false(health_take_retry(&health));
        succeed_times(&health, 1, START_NS);
        assert_true(health_take_retry(&health));
        assert_false(health_take_retry(&health));
        succeed_times(&health, 100000, START_NS);
        int taken = 0;
        while (health_take_retry(&health))
                taken++;
        assert_int_equal(taken, 100);
}

static void observe(struct health *health, int64_t estimated, int64_t input, int64_t output,
                    int64_t latency_ns) {
        struct observed_tokens tokens = {
                .estimated = estimated, .input = input, .output = output, .output_max = -1};
        health_observe_tokens(health, &tokens, latency_ns);
}

static void calibration_rises_at_once_and_falls_slowly(void **state) {
        (void)state;
        struct health health = fresh(10);
        assert_true(health.tokens_ratio == 1);
        observe(&health, 100, 150, -1, NS_PER_S);
        assert_true(health.tokens_ratio == 1.5);
        observe(&health, 100, 50, -1, NS_PER_S);
        assert_float_equal(health.tokens_ratio, 1.49, 1e-6);
        observe(&health, 0, 50, -1, NS_PER_S);
        observe(&health, 100, -1, -1, NS_PER_S);
        observe(&health, 100, 0, -1, NS_PER_S);
        assert_float_equal(health.tokens_ratio, 1.49, 1e-6);
        observe(&health, 1, INT64_MAX, -1, NS_PER_S);
        assert_true(health.tokens_ratio == 4);
        for (int i = 0; i < 10000; i++)
                observe(&health, 1000, 1, -1, NS_PER_S);
        assert_float_equal(health.tokens_ratio, 0.25, 1e-6);
}

static void speed_is_smoothed(void **state) {
        (void)state;
        struct health health = fresh(10);
        assert_true(health.latency_ns == 0 && health.output_tokens == 0);
        health_succeeded(&health, 100, START_NS);
        health_succeeded(&health, 200, START_NS);
        assert_float_equal(health.latency_ns, 110, 1e-3);
        observe(&health, 10, 10, 100, 2 * NS_PER_S);
        assert_float_equal(health.output_tokens, 100, 1e-3);
        assert_float_equal(health.output_tokens_per_s, 50, 1e-3);
        observe(&health, 10, 10, 200, NS_PER_S);
        assert_float_equal(health.output_tokens, 110, 1e-3);
        assert_float_equal(health.output_tokens_per_s, 65, 1e-3);
        observe(&health, 10, 10, 200, 0);
        assert_float_equal(health.output_tokens_per_s, 65, 1e-3);
}

/* What is expected goes by the mean; what is reserved by the ratio, which stays above it. */
static void what_is_expected_is_the_mean(void **state) {
        (void)state;
        struct health health = fresh(10);
        assert_true(health.tokens_mean == 0);
        for (int i = 0; i < 200; i++)
                observe(&health, 100, i % 2 ? 50 : 150, -1, NS_PER_S);
        assert_in_range((int)(health.tokens_mean * 100), 90, 110);
        assert_in_range((int)(health.tokens_ratio * 100), 149, 150);
        observe(&health, 1, INT64_MAX, -1, NS_PER_S);
        assert_true(health.tokens_mean < 1.5); /* 4 is the most that one answer can say */
        for (int i = 0; i < 200; i++)
                observe(&health, 1000, 1, -1, NS_PER_S);
        assert_in_range((int)(health.tokens_mean * 100), 25, 26);
}

static void cached_share_is_learned_within_0_and_1(void **state) {
        (void)state;
        struct health health = fresh(10);
        for (int i = 0; i < 100; i++)
                health_observe_tokens(&health, &(struct observed_tokens){100, 100, 80, 5, -1}, NS_PER_S);
        assert_in_range((int)(health.cached_share * 1000), 795, 800);
        for (int i = 0; i < 100; i++)
                health_observe_tokens(&health, &(struct observed_tokens){100, 10, INT64_MAX, 5, -1},
                                      NS_PER_S);
        assert_true(health.cached_share <= 1);
        for (int i = 0; i < 100; i++)
                health_observe_tokens(&health, &(struct observed_tokens){100, 100, -1, 5, -1}, NS_PER_S);
        assert_true(health.cached_share >= 0 && health.cached_share < 0.01);
        struct health before = health;
        health_observe_tokens(&health, &(struct observed_tokens){100, -1, -1, 5, -1}, NS_PER_S);
        assert_true(health.cached_share == before.cached_share); /* nothing said, nothing learned */
}

/* Requests that allow 10 tokens and such that allow thousands have histories of their own. */
static void output_is_expected_by_what_was_allowed(void **state) {
        (void)state;
        static const struct {
                int64_t allowed, seen;
        } rows[] = {{-1, 500}, {10, 8}, {64, 60}, {65, 100}, {4000, 1500}, {100000, 3000}};
        struct health health = fresh(10);
        assert_true(health_output_tokens(&health, 10) == 0);
        for (int i = 0; i < 50; i++)
                for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
                        health_observe_tokens(&health,
                                              &(struct observed_tokens){.output = rows[j].seen,
                                                                        .output_max = rows[j].allowed},
                                              NS_PER_S);
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
                assert_int_equal((int64_t)(health_output_tokens(&health, rows[j].allowed) + 0.5),
                                 rows[j].seen);
        assert_int_equal((int64_t)(health_output_tokens(&health, INT64_MAX) + 0.5), 3000);
        assert_true(health_output_tokens(&health, 1000) == health.output_tokens); /* none like it yet */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ten_in_a_row_open_it),
                cmocka_unit_test(half_failing_opens_it_from_fifty_calls),
                cmocka_unit_test(fewer_than_half_do_not_open_it),
                cmocka_unit_test(rate_is_over_thirty_seconds),
                cmocka_unit_test(half_open_ramps_up_and_closes),
                cmocka_unit_test(failed_probe_doubles_up_to_five_minutes),
                cmocka_unit_test(closed_for_long_starts_over),
                cmocka_unit_test(probes_that_say_nothing_give_their_place_back),
                cmocka_unit_test(late_answers_do_not_count),
                cmocka_unit_test(throttling_never_opens_it),
                cmocka_unit_test(pauses_only_grow),
                cmocka_unit_test(window_halves_once_per_round_trip),
                cmocka_unit_test(window_grows_one_per_window),
                cmocka_unit_test(retries_are_a_share_of_successes),
                cmocka_unit_test(calibration_rises_at_once_and_falls_slowly),
                cmocka_unit_test(what_is_expected_is_the_mean),
                cmocka_unit_test(cached_share_is_learned_within_0_and_1),
                cmocka_unit_test(output_is_expected_by_what_was_allowed),
                cmocka_unit_test(speed_is_smoothed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
