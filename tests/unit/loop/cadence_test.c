/* How far apart transactions are, by what commits take. */
#include "broker/base/time.h"
#include "broker/loop/cadence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define INTERVAL_NS (100 * NS_PER_MS)

/* After many commits that took one as long as the other, in turns. In milliseconds. */
static int64_t period_ms(int64_t a_ms, int64_t b_ms) {
        struct cadence cadence = {0};
        for (int i = 0; i < 200; i++) {
                cadence_committed(&cadence, a_ms * NS_PER_MS);
                cadence_committed(&cadence, b_ms * NS_PER_MS);
        }
        return (cadence_period_ns(&cadence, INTERVAL_NS, false) + NS_PER_MS / 2) / NS_PER_MS;
}

static void a_commit_ends_with_the_interval(void **state) {
        (void)state;
        assert_int_equal(period_ms(0, 0), 100);
        assert_int_equal(period_ms(20, 20), 80);
        assert_in_range(period_ms(10, 30), 57, 63); /* 20 on average, 10 off, twice */
}

static void slow_commits_are_no_more_frequent(void **state) {
        (void)state;
        assert_int_equal(period_ms(33, 33), 67);
        assert_int_equal(period_ms(50, 50), 83);
        assert_int_equal(period_ms(66, 66), 99);
        assert_int_equal(period_ms(67, 67), 100);
        assert_int_equal(period_ms(5000, 5000), 100);
}

static void never_less_than_half(void **state) {
        (void)state;
        for (int64_t a_ms = 0; a_ms <= 120; a_ms += 2)
                for (int64_t b_ms = 0; b_ms <= 120; b_ms += 2)
                        assert_in_range(period_ms(a_ms, b_ms), 50, 100);
        assert_in_range(period_ms(0, 32), 50, 53); /* 16 on average and 16 off, which is nearly half */
}

static void learns_and_forgets(void **state) {
        struct cadence cadence = {0};
        (void)state;
        assert_int_equal(cadence_period_ns(&cadence, INTERVAL_NS, false), INTERVAL_NS);
        cadence_committed(&cadence, 60 * NS_PER_S); /* a broker was away */
        assert_int_equal(cadence_period_ns(&cadence, INTERVAL_NS, false), INTERVAL_NS);
        for (int i = 0; i < 100; i++)
                cadence_committed(&cadence, 20 * NS_PER_MS);
        assert_in_range(cadence_period_ns(&cadence, INTERVAL_NS, false), 79 * NS_PER_MS, 80 * NS_PER_MS);
        assert_int_equal(cadence_period_ns(&cadence, INTERVAL_NS, true), INTERVAL_NS);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_commit_ends_with_the_interval),
                cmocka_unit_test(slow_commits_are_no_more_frequent),
                cmocka_unit_test(never_less_than_half),
                cmocka_unit_test(learns_and_forgets),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
