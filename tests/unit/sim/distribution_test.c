#include "broker/base/prng.h"
#include "broker/sim/distribution.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_distribution parsed(const char *text, bool durations) {
        struct sim_distribution distribution = {0};

        if (!sim_distribution_parse(bytes_of(text), durations, &distribution))
                fail_msg("%s was refused", text);
        return distribution;
}

static void reads_what_it_should(void **state) {
        (void)state;
        assert_true(parsed("fixed:200ms", true).center == 200e6);
        assert_true(parsed("1m30s", true).center == 90e9);
        assert_true(parsed("normal:200ms,50ms", true).spread == 50e6);
        assert_true(parsed("lognormal:200ms,0.5", true).spread == 0.5);
        assert_true(parsed("64", false).center == 64);
        assert_int_equal(parsed("lognormal:64,1", false).shape, SIM_SHAPE_LOGNORMAL);
}

static void refuses_the_rest(void **state) {
        static const char *const wrong[] = {
                "",        "fixed:",      "fixed:x",          "200",
                "-5ms",    "normal:1ms",  "normal:1ms,2",     "lognormal:1ms,5ms",
                "gauss:1", "normal:,1ms", "lognormal:1ms,-1", "lognormal:1ms,nan"};

        (void)state;
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                struct sim_distribution untouched = {SIM_SHAPE_FIXED, 42, 0};

                if (sim_distribution_parse(bytes_of(wrong[i]), true, &untouched))
                        fail_msg("\"%s\" was accepted", wrong[i]);
                assert_true(untouched.center == 42);
        }
}

static int by_value(const void *a, const void *b) {
        const double *left = a, *right = b;

        return *left < *right ? -1 : *left > *right;
}

static void draws_have_the_mean_and_the_median(void **state) {
        enum { DRAWS = 20000 };
        static double draws[DRAWS];
        struct sim_distribution normal = parsed("normal:200ms,50ms", true),
                                skew = parsed("lognormal:100ms,1", true);
        struct prng prng;
        double sum = 0;

        (void)state;
        prng_init(&prng, 1);
        for (int i = 0; i < DRAWS; i++)
                sum += sim_distribution_draw(&normal, &prng) / DRAWS;
        assert_true(sum > 198e6 && sum < 202e6);
        sum = 0;
        for (int i = 0; i < DRAWS; i++) {
                draws[i] = sim_distribution_draw(&skew, &prng);
                sum += draws[i] / DRAWS;
        }
        qsort(draws, DRAWS, sizeof(*draws), by_value);
        assert_true(draws[DRAWS / 2] > 96e6 && draws[DRAWS / 2] < 104e6);
        assert_true(sum > 155e6 && sum < 175e6); /* median times exp(1/2) = 164.9 ms */
}

static void draws_are_never_negative(void **state) {
        struct sim_distribution wide = parsed("normal:1ms,1s", true);
        struct prng prng;

        (void)state;
        prng_init(&prng, 2);
        for (int i = 0; i < 1000; i++)
                assert_true(sim_distribution_draw(&wide, &prng) >= 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_what_it_should),
                cmocka_unit_test(refuses_the_rest),
                cmocka_unit_test(draws_have_the_mean_and_the_median),
                cmocka_unit_test(draws_are_never_negative),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
