/* The generator against its reference output; what is made of it is as uniform or normal as it says. */
#include "broker/base/prng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* State 1, 2, 3, 4: the reference output of xoshiro256** 1.0 that rand_xoshiro tests with. */
static void next_is_xoshiro(void **state) {
        static const uint64_t expected[] = {
                UINT64_C(11520),
                UINT64_C(0),
                UINT64_C(1509978240),
                UINT64_C(1215971899390074240),
                UINT64_C(1216172134540287360),
                UINT64_C(607988272756665600),
                UINT64_C(16172922978634559625),
                UINT64_C(8476171486693032832),
                UINT64_C(10595114339597558777),
                UINT64_C(2904607092377533576),
        };
        struct prng prng = {{1, 2, 3, 4}};

        (void)state;
        for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
                assert_true(prng_next(&prng) == expected[i]);
}

/* splitmix64 from 1234567, the vector of Rosetta Code's "Pseudo-random numbers/Splitmix64". */
static void seed_is_splitmix(void **state) {
        static const uint64_t expected[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                            UINT64_C(9817491932198370423), UINT64_C(4593380528125082431)};
        struct prng prng;

        (void)state;
        prng_init(&prng, 1234567);
        for (size_t i = 0; i < 4; i++)
                assert_true(prng.s[i] == expected[i]);
}

static void same_seed_same_numbers(void **state) {
        struct prng a, b, c;
        int equal = 0;

        (void)state;
        prng_init(&a, 42);
        prng_init(&b, 42);
        prng_init(&c, 43);
        for (int i = 0; i < 1000; i++) {
                uint64_t x = prng_next(&a);

                assert_true(x == prng_next(&b));
                equal += x == prng_next(&c);
        }
        assert_int_equal(equal, 0);
}

static void below_stays_below_and_is_uniform(void **state) {
        struct prng prng;
        int counts[7] = {0};

        (void)state;
        prng_init(&prng, 5);
        for (int i = 0; i < 70000; i++)
                counts[prng_below(&prng, 7)]++;
        for (int i = 0; i < 7; i++)
                assert_in_range(counts[i], 9600, 10400); /* 4 deviations */
        for (int i = 0; i < 100; i++) {
                assert_true(prng_below(&prng, 1) == 0);
                assert_true(prng_below(&prng, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
                assert_true(prng_below(&prng, UINT64_MAX) < UINT64_MAX);
        }
}

/* With bound 3 * 2^62 a remainder without rejection would fall into the lower third twice as often. */
static void below_has_no_bias_for_large_bounds(void **state) {
        struct prng prng;
        int low = 0;

        (void)state;
        prng_init(&prng, 6);
        for (int i = 0; i < 30000; i++)
                low += prng_below(&prng, UINT64_C(3) << 62) < UINT64_C(1) << 62;
        assert_in_range(low, 9600, 10400);
}

static void unit_is_in_its_interval(void **state) {
        struct prng prng;
        double sum = 0;

        (void)state;
        prng_init(&prng, 7);
        for (int i = 0; i < 100000; i++) {
                double x = prng_unit(&prng);

                assert_true(x >= 0 && x < 1);
                sum += x;
        }
        assert_true(fabs(sum / 100000 - 0.5) < 0.004);
}

/* Mean, deviation, skew, and the parts beyond one and two deviations, each within 4 of its own deviations. */
static void normal_is_normal(void **state) {
        struct prng prng;
        double sum = 0, squares = 0, cubes = 0;
        int beyond_1 = 0, beyond_2 = 0, n = 200000;

        (void)state;
        prng_init(&prng, 8);
        for (int i = 0; i < n; i++) {
                double x = prng_normal(&prng);

                sum += x;
                squares += x * x;
                cubes += x * x * x;
                beyond_1 += fabs(x) > 1;
                beyond_2 += fabs(x) > 2;
        }
        assert_true(fabs(sum / n) < 0.009);
        assert_true(fabs(squares / n - 1) < 0.013);
        assert_true(fabs(cubes / n) < 0.035);
        assert_true(fabs(beyond_1 / (double)n - 0.317311) < 0.0042);
        assert_true(fabs(beyond_2 / (double)n - 0.045500) < 0.0019);
}

/* The polar method once more with the logarithm of the C library: equal but for rounding. */
static void normal_agrees_with_libm(void **state) {
        struct prng a, b;

        (void)state;
        prng_init(&a, 9);
        b = a;
        for (int i = 0; i < 10000; i++) {
                double u, v, s, expected;

                do {
                        u = 2 * prng_unit(&b) - 1;
                        v = 2 * prng_unit(&b) - 1;
                        s = u * u + v * v;
                } while (s >= 1 || s <= 0);
                expected = u * sqrt(-2 * log(s) / s);
                assert_true(fabs(prng_normal(&a) - expected) <= 1e-13 * (1 + fabs(expected)));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(next_is_xoshiro),
                cmocka_unit_test(seed_is_splitmix),
                cmocka_unit_test(same_seed_same_numbers),
                cmocka_unit_test(below_stays_below_and_is_uniform),
                cmocka_unit_test(below_has_no_bias_for_large_bounds),
                cmocka_unit_test(unit_is_in_its_interval),
                cmocka_unit_test(normal_is_normal),
                cmocka_unit_test(normal_agrees_with_libm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
