#include "broker/base/time.h"
#include "broker/sim/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum sim_verdict admit(struct sim_limits *limits, int64_t now_ns, int64_t tokens) {
        int64_t wait_ns;

        return sim_limits_admit(limits, now_ns, tokens, &wait_ns);
}

static void requests_never_exceed_the_limit_in_any_window(void **state) {
        struct sim_limits limits;
        int64_t admitted_ns[200], count = 0;

        (void)state;
        sim_limits_init(&limits, (struct sim_limits_config){.requests_max = 10});
        for (int64_t now_ns = 0; now_ns < 600 * NS_PER_S; now_ns += 3333 * NS_PER_MS)
                if (admit(&limits, now_ns, 0) == SIM_VERDICT_ADMITTED)
                        admitted_ns[count++] = now_ns;
        assert_true(count >= 90 && count <= 110);
        for (int64_t i = 10; i < count; i++)
                assert_true(admitted_ns[i] - admitted_ns[i - 10] >= 599 * NS_PER_S / 10);
        assert_true(limits.refused_requests > 0);
}

static void a_client_that_keeps_to_the_limit_is_never_refused(void **state) {
        struct sim_limits limits;

        (void)state;
        sim_limits_init(&limits, (struct sim_limits_config){.requests_max = 5});
        for (int64_t minute = 0; minute < 50; minute++)
                for (int i = 0; i < 5; i++)
                        assert_int_equal(admit(&limits, 12345 + minute * 60 * NS_PER_S, 0),
                                         SIM_VERDICT_ADMITTED);
}

static void the_wait_is_just_long_enough(void **state) {
        struct sim_limits limits;
        int64_t wait_ns = 0, now_ns = 1000 * NS_PER_S;

        (void)state;
        sim_limits_init(&limits, (struct sim_limits_config){.tokens_max = 100});
        assert_int_equal(admit(&limits, now_ns, 60), SIM_VERDICT_ADMITTED);
        assert_int_equal(admit(&limits, now_ns + 10 * NS_PER_S, 30), SIM_VERDICT_ADMITTED);
        assert_int_equal(sim_limits_admit(&limits, now_ns + 20 * NS_PER_S, 40, &wait_ns), SIM_VERDICT_TOKENS);
        assert_true(wait_ns > 39 * NS_PER_S && wait_ns <= 40 * NS_PER_S);
        assert_int_equal(admit(&limits, now_ns + 20 * NS_PER_S + wait_ns - 1, 40), SIM_VERDICT_TOKENS);
        assert_int_equal(admit(&limits, now_ns + 20 * NS_PER_S + wait_ns, 40), SIM_VERDICT_ADMITTED);
        /* Now 30 and 40 are in the window: for 90 both must leave. */
        now_ns += 61 * NS_PER_S;
        assert_int_equal(sim_limits_admit(&limits, now_ns, 90, &wait_ns), SIM_VERDICT_TOKENS);
        assert_int_equal(admit(&limits, now_ns + wait_ns - 1, 90), SIM_VERDICT_TOKENS);
        assert_int_equal(admit(&limits, now_ns + wait_ns, 90), SIM_VERDICT_ADMITTED);
        now_ns += wait_ns;
        assert_int_equal(admit(&limits, now_ns + 100 * NS_PER_S, 101), SIM_VERDICT_TOO_LARGE);
}

static void concurrency_counts_what_runs(void **state) {
        struct sim_limits limits;

        (void)state;
        sim_limits_init(&limits, (struct sim_limits_config){.concurrency_max = 2});
        assert_int_equal(admit(&limits, 1, 0), SIM_VERDICT_ADMITTED);
        assert_int_equal(admit(&limits, 1, 0), SIM_VERDICT_ADMITTED);
        assert_int_equal(admit(&limits, 1, 0), SIM_VERDICT_CONCURRENCY);
        sim_limits_finish(&limits);
        assert_int_equal(admit(&limits, 1, 0), SIM_VERDICT_ADMITTED);
        assert_int_equal(limits.refused_concurrency, 1);
}

static void headers_tell_the_truth(void **state) {
        struct sim_limits limits;

        (void)state;
        sim_limits_init(&limits, (struct sim_limits_config){.requests_max = 3});
        assert_int_equal(sim_limits_reset_ns(&limits, &limits.requests, 0), 0);
        (void)admit(&limits, 0, 0);
        assert_int_equal(sim_limits_remaining(&limits, &limits.requests, 0), 2);
        assert_int_equal(sim_limits_reset_ns(&limits, &limits.requests, 0), 60 * NS_PER_S);
        assert_int_equal(sim_limits_reset_ns(&limits, &limits.requests, 59 * NS_PER_S), NS_PER_S);
        assert_int_equal(sim_limits_remaining(&limits, &limits.requests, 60 * NS_PER_S), 3);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(requests_never_exceed_the_limit_in_any_window),
                cmocka_unit_test(a_client_that_keeps_to_the_limit_is_never_refused),
                cmocka_unit_test(the_wait_is_just_long_enough),
                cmocka_unit_test(concurrency_counts_what_runs),
                cmocka_unit_test(headers_tell_the_truth),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
