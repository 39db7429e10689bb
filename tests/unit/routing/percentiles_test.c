/* Sliding percentiles against an exact sort, in their error, their window and their bounds. */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "workers/routing/limits.h"
#include "workers/routing/percentiles.h"
#include "workers/routing/recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LOW = 20 * BUCKETS_PER_OCTAVE, SAMPLES = 4000 };
#define MINUTE_NS (60 * NS_PER_S)

static void assert_near(int64_t value, int64_t exact) {
        int64_t off = value > exact ? value - exact : exact - value;
        if ((double)off > 0.045 * (double)exact)
                fail_msg("%lld is more than 4.5 %% off %lld", (long long)value, (long long)exact);
}

static void a_bucket_is_at_most_4_5_percent_wide_each_way(void **state) {
        (void)state;
        for (int64_t value = 1 << 10; value < INT64_MAX / 3; value += value / 37 + 1)
                assert_near(bucket_value(bucket_of(value)), value);
        for (int64_t value = 2; value < 100000; value++)
                assert_true(bucket_of(value) >= bucket_of(value - 1));
        assert_int_equal(bucket_of(INT64_MIN), 0);
        assert_int_equal(bucket_of(0), 0);
        assert_int_equal(bucket_of(INT64_MAX), 63 * BUCKETS_PER_OCTAVE - 1);
}

static int by_value(const void *a, const void *b) {
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return (x > y) - (x < y);
}

/* Three shapes: even, with a long tail, with two humps. */
static int64_t sample(struct prng *prng, int shape) {
        int64_t value = (int64_t)(100 * NS_PER_MS + (int64_t)prng_below(prng, 900 * NS_PER_MS));
        if (shape == 1)
                value = value * value / (200 * NS_PER_MS);
        if (shape == 2 && prng_below(prng, 5) == 0)
                value *= 20;
        return value;
}

static void percentiles_are_those_of_an_exact_sort(void **state) {
        (void)state;
        static int64_t values[SAMPLES];
        static const int percents[PERCENTILES_COUNT] = {50, 75, 90, 99};
        struct prng prng;
        prng_init(&prng, 5);
        for (int shape = 0; shape < 3; shape++) {
                struct percentiles *percentiles = calloc(1, sizeof *percentiles);
                int64_t out[PERCENTILES_COUNT], reached[PERCENTILES_COUNT];
                for (int i = 0; i < SAMPLES; i++) {
                        values[i] = sample(&prng, shape);
                        percentiles_add(percentiles, LOW, values[i], MINUTE_NS + i * NS_PER_MS);
                }
                qsort(values, SAMPLES, sizeof *values, by_value);
                percentiles_read(percentiles, LOW, false, MINUTE_NS, out);
                percentiles_read(percentiles, LOW, true, MINUTE_NS, reached);
                for (int i = 0; i < PERCENTILES_COUNT; i++) {
                        assert_near(out[i], values[SAMPLES * percents[i] / 100 - 1]);
                        assert_near(reached[i], values[SAMPLES - SAMPLES * percents[i] / 100]);
                }
                free(percentiles);
        }
}

/* What is older than five minutes is gone; what is younger counts less the older it is. */
static void the_window_slides_and_decays(void **state) {
        (void)state;
        static const struct {
                int64_t later_ns;
                bool known, old_weighs_more;
        } rows[] = {{0, true, true}, {3 * MINUTE_NS, true, false}, {5 * MINUTE_NS, true, false}};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct percentiles *percentiles = calloc(1, sizeof *percentiles);
                int64_t out[PERCENTILES_COUNT], start_ns = 1000 * MINUTE_NS;
                for (int j = 0; j < 150; j++)
                        percentiles_add(percentiles, LOW, NS_PER_S, start_ns);
                for (int j = 0; j < 100; j++)
                        percentiles_add(percentiles, LOW, 10 * NS_PER_MS, start_ns + rows[i].later_ns);
                percentiles_read(percentiles, LOW, false, start_ns + rows[i].later_ns, out);
                assert_near(out[0], rows[i].old_weighs_more ? NS_PER_S : 10 * NS_PER_MS);
                assert_near(out[3], rows[i].later_ns < 5 * MINUTE_NS ? NS_PER_S : 10 * NS_PER_MS);
                percentiles_read(percentiles, LOW, false, start_ns + rows[i].later_ns + 5 * MINUTE_NS, out);
                for (int j = 0; j < PERCENTILES_COUNT; j++)
                        assert_int_equal(out[j], 0);
                free(percentiles);
        }
}

static void hostile_numbers_stay_inside(void **state) {
        (void)state;
        struct percentiles *percentiles = calloc(1, sizeof *percentiles);
        int64_t out[PERCENTILES_COUNT];
        static const int64_t values[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
        for (size_t i = 0; i < sizeof values / sizeof *values; i++)
                percentiles_add(percentiles, LOW, values[i], 0);
        percentiles_read(percentiles, LOW, false, 0, out);
        assert_int_equal(out[0], bucket_value(LOW));
        assert_int_equal(out[3], bucket_value(LOW + PERCENTILES_BUCKETS - 1));
        free(percentiles);
}

/* A million in one minute: counters are halved together, so that shares stay. */
static void many_in_a_minute_keep_their_shares(void **state) {
        (void)state;
        struct percentiles *percentiles = calloc(1, sizeof *percentiles);
        int64_t out[PERCENTILES_COUNT];
        for (int i = 0; i < 1000000; i++)
                percentiles_add(percentiles, LOW, i % 10 < 8 ? 100 * NS_PER_MS : NS_PER_S, 7);
        percentiles_read(percentiles, LOW, false, 7, out);
        assert_near(out[1], 100 * NS_PER_MS);
        assert_near(out[2], NS_PER_S);
        free(percentiles);
}

static void recent_tells_success_latency_and_throughput(void **state) {
        (void)state;
        struct recent *recent = calloc(1, sizeof *recent);
        struct recent_figures figures;
        recent_read(recent, 0, &figures);
        assert_int_equal(figures.success_permille, -1);
        assert_int_equal(figures.latency_p_ns[0], 0);
        assert_int_equal(figures.throughput_p_milli[0], 0);
        for (int i = 0; i < 100; i++) {
                recent_ended(recent, i % 10 != 0, MINUTE_NS);
                recent_answered(recent, 2 * NS_PER_S, i < 10 ? 20 : 100, MINUTE_NS);
        }
        recent_answered(recent, 0, 5, MINUTE_NS); /* no time: no answer */
        recent_read(recent, MINUTE_NS, &figures);
        assert_int_equal(figures.success_permille, 900);
        assert_near(figures.latency_p_ns[3], 2 * NS_PER_S);
        assert_near(figures.throughput_p_milli[0], 50000); /* half of the answers reach it */
        assert_near(figures.throughput_p_milli[3], 10000); /* 99 of 100 reach only that */
        for (int i = 0; i < 100; i++)
                recent_ended(recent, false, 5 * MINUTE_NS);
        recent_read(recent, 5 * MINUTE_NS, &figures);
        assert_int_equal(figures.success_permille, 90 * 1000 / 600); /* a fifth of the weight of the new */
        recent_read(recent, 10 * MINUTE_NS, &figures);
        assert_int_equal(figures.success_permille, -1);
        free(recent);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_bucket_is_at_most_4_5_percent_wide_each_way),
                cmocka_unit_test(percentiles_are_those_of_an_exact_sort),
                cmocka_unit_test(the_window_slides_and_decays),
                cmocka_unit_test(hostile_numbers_stay_inside),
                cmocka_unit_test(many_in_a_minute_keep_their_shares),
                cmocka_unit_test(recent_tells_success_latency_and_throughput),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
