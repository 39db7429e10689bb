/*
 * The limiter against a brute-force judge that remembers every take and looks at every position of the
 * window, and its pacing, usability and liveness.
 */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "workers/routing/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { TAKES_MAX = 3000 };

static struct {
        int64_t at_ns[TAKES_MAX], amounts[TAKES_MAX];
        size_t count;
} judge;

static void judge_add(int64_t amount, int64_t at_ns) {
        assert_true(judge.count < TAKES_MAX);
        judge.at_ns[judge.count] = at_ns;
        judge.amounts[judge.count++] = amount;
}

/* The most in any [t, t + window_ns], both ends included: it is enough to start a window at each take. */
static int64_t judge_worst(int64_t window_ns) {
        int64_t worst = 0;
        for (size_t i = 0; i < judge.count; i++) {
                int64_t sum = 0;
                for (size_t j = i; j < judge.count && judge.at_ns[j] <= judge.at_ns[i] + window_ns; j++)
                        sum += judge.amounts[j];
                worst = sum > worst ? sum : worst;
        }
        return worst;
}

static int64_t judge_last_window(int64_t window_ns, int64_t now_ns) {
        int64_t sum = 0;
        for (size_t i = judge.count; i > 0 && judge.at_ns[i - 1] >= now_ns - window_ns; i--)
                sum += judge.amounts[i - 1];
        return sum;
}

static int64_t random_step_ns(struct prng *prng, int64_t window_ns) {
        switch (prng_below(prng, 8)) {
        case 0:
        case 1:
                return 0;
        case 2:
                return (int64_t)prng_below(prng, (uint64_t)window_ns * 2 + 1);
        case 3:
                return prng_below(prng, 20) == 0 ? window_ns * 100 : 1;
        default:
                return (int64_t)prng_below(prng, (uint64_t)window_ns / 200 + 2);
        }
}

static int64_t random_window_ns(struct prng *prng) {
        static const int64_t windows_ns[] = {
                1, 7, 119, 120, 121, 1000003, NS_PER_S, 59 * NS_PER_S + 7, 60 * NS_PER_S, 86400 * NS_PER_S};
        return windows_ns[prng_below(prng, sizeof windows_ns / sizeof *windows_ns)];
}

static int64_t random_limit(struct prng *prng) {
        return 1 + (int64_t)(prng_next(prng) >> (24 + prng_below(prng, 40)));
}

static int64_t random_amount(struct prng *prng, int64_t limit) {
        int64_t part = limit / (1 + (int64_t)prng_below(prng, 60));
        return part > 0 ? 1 + (int64_t)prng_below(prng, (uint64_t)part) : 1;
}

static void bound_holds_in_every_window(void **state) {
        (void)state;
        for (uint64_t seed = 1; seed <= 300; seed++) {
                struct prng prng;
                prng_init(&prng, seed);
                int64_t limit = random_limit(&prng), window_ns = random_window_ns(&prng);
                int64_t now_ns = (int64_t)prng_below(&prng, 1U << 30);
                struct limiter limiter;
                limiter_init(&limiter, limit, window_ns, now_ns);
                judge.count = 0;
                for (int i = 0; i < 1500; i++) {
                        int64_t amount = random_amount(&prng, limit);
                        int64_t when_ns = limiter_when(&limiter, amount, now_ns);
                        assert_true(when_ns != LIMITER_NEVER);
                        if (when_ns <= now_ns) {
                                limiter_take(&limiter, amount, now_ns);
                                judge_add(amount, now_ns);
                        }
                        bool jump = when_ns > now_ns && prng_below(&prng, 4) != 0;
                        now_ns = jump ? when_ns : now_ns + random_step_ns(&prng, window_ns);
                }
                assert_true(judge.count > 100);
                assert_true(judge_worst(window_ns) <= limit);
        }
}

/* What was charged may break the limit; a take never adds to a window that is full. */
static void takes_respect_what_was_charged(void **state) {
        (void)state;
        for (uint64_t seed = 1; seed <= 100; seed++) {
                struct prng prng;
                prng_init(&prng, seed);
                int64_t limit = 1 + (int64_t)prng_below(&prng, 100000), window_ns = random_window_ns(&prng);
                int64_t now_ns = 0;
                struct limiter limiter;
                limiter_init(&limiter, limit, window_ns, now_ns);
                judge.count = 0;
                for (int i = 0; i < 1500; i++) {
                        int64_t amount = random_amount(&prng, limit);
                        int64_t when_ns = limiter_when(&limiter, amount, now_ns);
                        if (when_ns <= now_ns) {
                                limiter_take(&limiter, amount, now_ns);
                                judge_add(amount, now_ns);
                                assert_true(judge_last_window(window_ns, now_ns) <= limit);
                        }
                        if (prng_below(&prng, 5) == 0) {
                                amount = random_amount(&prng, 2 * limit);
                                limiter_charge(&limiter, amount, now_ns);
                                judge_add(amount, now_ns);
                        }
                        now_ns = when_ns > now_ns ? when_ns : now_ns + random_step_ns(&prng, window_ns);
                }
        }
}

/*
 * A saturated limiter gives at least 97 % of its limit, and at the time it named either admits or names a
 * later one.
 */
static int64_t saturate(struct limiter *limiter, struct prng *prng, int64_t amount_max, int64_t until_ns) {
        int64_t now_ns = 0, sum = 0;
        while (now_ns < until_ns) {
                int64_t amount = 1 + (int64_t)prng_below(prng, (uint64_t)amount_max);
                int64_t when_ns = limiter_when(limiter, amount, now_ns);
                for (int looks = 0; when_ns > now_ns; looks++) {
                        assert_true(looks < 3);
                        now_ns = when_ns;
                        when_ns = limiter_when(limiter, amount, now_ns);
                }
                if (now_ns >= until_ns)
                        break;
                limiter_take(limiter, amount, now_ns);
                sum += amount;
        }
        return sum;
}

static void saturation_uses_the_limit(void **state) {
        (void)state;
        static const struct {
                int64_t limit, window_ns, amount_max;
        } rows[] = {
                {60, 60 * NS_PER_S, 1},          {500, 60 * NS_PER_S, 1},
                {10000, 60 * NS_PER_S, 1},       {2000000, 60 * NS_PER_S, 3000},
                {2000000, 60 * NS_PER_S, 30000}, {997, 59 * NS_PER_S + 7, 3},
                {100000, NS_PER_S, 100},         {INT64_C(1000000000000), 60 * NS_PER_S, 1000000000},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct limiter limiter;
                struct prng prng;
                prng_init(&prng, i);
                limiter_init(&limiter, rows[i].limit, rows[i].window_ns, 0);
                enum { WINDOWS = 8 };
                int64_t sum = saturate(&limiter, &prng, rows[i].amount_max, WINDOWS * rows[i].window_ns);
                assert_true(sum >= rows[i].limit / 100 * 97 * WINDOWS);
                assert_true(sum <= rows[i].limit * (WINDOWS + 1));
        }
}

static int64_t take_all(struct limiter *limiter, int64_t amount, int64_t now_ns) {
        int64_t sum = 0;
        for (; limiter_when(limiter, amount, now_ns) <= now_ns; sum += amount)
                limiter_take(limiter, amount, now_ns);
        return sum;
}

static void runs_a_second_ahead_of_an_even_flow(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 6000, 60 * NS_PER_S, 0);
        assert_int_equal(take_all(&limiter, 1, 0), 100);
        assert_int_equal(take_all(&limiter, 1, NS_PER_S / 2), 50);
        int64_t sum = 150;
        for (int64_t ms = 501; ms <= 10000; ms++) {
                sum += take_all(&limiter, 1, ms * NS_PER_MS);
                assert_true(sum <= 100 + 6 * ms / 60 + 1);
        }
        assert_in_range(sum, 1098, 1101);
        /* What was not used is not saved up. */
        assert_int_equal(take_all(&limiter, 1, 40 * NS_PER_S), 100);
}

static void slow_limits_give_one_at_a_time(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 6, 60 * NS_PER_S, 0);
        assert_int_equal(take_all(&limiter, 1, 0), 1);
        assert_int_equal(limiter_when(&limiter, 1, 0), 10 * NS_PER_S);
        assert_int_equal(take_all(&limiter, 1, 10 * NS_PER_S - 1), 0);
        assert_int_equal(take_all(&limiter, 1, 10 * NS_PER_S), 1);
}

static void large_amounts_pass_when_the_pacer_has_caught_up(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 6000, 60 * NS_PER_S, 0);
        assert_true(limiter_when(&limiter, 3000, 0) <= 0);
        limiter_take(&limiter, 3000, 0);
        assert_int_equal(limiter_when(&limiter, 3000, 0), 30 * NS_PER_S);
        assert_int_equal(limiter_when(&limiter, 50, 0), 29 * NS_PER_S + NS_PER_S / 2);
        limiter_take(&limiter, 3000, 30 * NS_PER_S);
        /* 60 s on, the first sub-window of 0.5 s still counts. */
        assert_int_equal(limiter_when(&limiter, 3000, 60 * NS_PER_S), 60 * NS_PER_S + NS_PER_S / 2);
        /* The whole limit at once: nothing else may be inside. */
        assert_int_equal(limiter_when(&limiter, 6000, 60 * NS_PER_S), 90 * NS_PER_S + NS_PER_S / 2);
        assert_int_equal(limiter_when(&limiter, 6001, 60 * NS_PER_S), LIMITER_NEVER);
}

static void charges_must_slide_out(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 6000, 60 * NS_PER_S, 0);
        limiter_take(&limiter, 10, 0);
        limiter_charge(&limiter, 9000, 2 * NS_PER_S);
        limiter_charge(&limiter, -5000, 2 * NS_PER_S);
        int64_t out_ns = 62 * NS_PER_S + NS_PER_S / 2;
        assert_int_equal(limiter_when(&limiter, 1, 3 * NS_PER_S), out_ns);
        assert_true(limiter_when(&limiter, 1, out_ns - 1) > out_ns - 1);
        assert_true(limiter_when(&limiter, 1, out_ns) <= out_ns);
}

/* The pacer forgets with the window: calls that each used more than was thought do not stop it for hours. */
static void many_charges_owe_one_window(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 6000, 60 * NS_PER_S, 0);
        for (int i = 0; i < 10; i++)
                limiter_charge(&limiter, 6000, 2 * NS_PER_S);
        int64_t out_ns = 62 * NS_PER_S + NS_PER_S / 2;
        assert_int_equal(limiter_when(&limiter, 1, 3 * NS_PER_S), out_ns);
        assert_true(limiter_when(&limiter, 1, out_ns) <= out_ns);
}

/* A provider may report any number. */
static void charges_saturate(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 6000, 60 * NS_PER_S, 0);
        for (int i = 0; i < 1000; i++)
                limiter_charge(&limiter, INT64_MAX, i * NS_PER_S / 10);
        int64_t last_ns = 100 * NS_PER_S;
        int64_t when_ns = limiter_when(&limiter, 6000, last_ns);
        assert_true(when_ns > last_ns && when_ns <= last_ns + 61 * NS_PER_S);
        assert_true(limiter_when(&limiter, 6000, when_ns) <= when_ns);
}

static void no_limit_admits_everything(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 0, 60 * NS_PER_S, 0);
        assert_true(limiter_when(&limiter, INT64_MAX, 5) <= 5);
        limiter_take(&limiter, INT64_MAX, 5);
        limiter_charge(&limiter, INT64_MAX, 5);
        assert_true(limiter_when(&limiter, INT64_MAX, 5) <= 5);
}

/* Nobody wants a day's quota spread over the day: it goes at once, and comes back as it was used. */
static void a_long_window_is_not_paced(void **state) {
        (void)state;
        struct limiter limiter;
        const int64_t day_ns = 86400 * NS_PER_S;
        limiter_init(&limiter, 100, day_ns, 0);
        assert_int_equal(take_all(&limiter, 1, 0), 100);
        int64_t again_ns = limiter_when(&limiter, 1, 0);
        assert_in_range(again_ns, day_ns + 1, LIMITER_RING * limiter.width_ns);
        assert_int_equal(take_all(&limiter, 1, again_ns - 1), 0);
        assert_int_equal(take_all(&limiter, 1, again_ns), 100);
        limiter_init(&limiter, 100, 60 * NS_PER_S, 0);
        assert_true(take_all(&limiter, 1, 0) < 5);
}

static void idle_hours_empty_it(void **state) {
        (void)state;
        struct limiter limiter;
        limiter_init(&limiter, 6000, 60 * NS_PER_S, 0);
        limiter_take(&limiter, 6000, 0);
        int64_t now_ns = 1000 * 3600 * NS_PER_S + 12345;
        assert_true(limiter_when(&limiter, 6000, now_ns) <= now_ns);
        limiter_take(&limiter, 6000, now_ns);
        assert_true(limiter_when(&limiter, 1, now_ns) > now_ns + 59 * NS_PER_S);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bound_holds_in_every_window),
                cmocka_unit_test(takes_respect_what_was_charged),
                cmocka_unit_test(saturation_uses_the_limit),
                cmocka_unit_test(runs_a_second_ahead_of_an_even_flow),
                cmocka_unit_test(slow_limits_give_one_at_a_time),
                cmocka_unit_test(large_amounts_pass_when_the_pacer_has_caught_up),
                cmocka_unit_test(charges_must_slide_out),
                cmocka_unit_test(many_charges_owe_one_window),
                cmocka_unit_test(charges_saturate),
                cmocka_unit_test(no_limit_admits_everything),
                cmocka_unit_test(a_long_window_is_not_paced),
                cmocka_unit_test(idle_hours_empty_it),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
