/*
 * A limit in parts: limiters of several workers, among which the parts move at random, never admit more than
 * the whole limit in any window, in sum. Who gets a part says how: kept, fresh when nobody had it for a
 * window, else used. A judge remembers every take of all of them.
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

enum { WORKERS = 4, PARTS_MAX = 12, TAKES_MAX = 4000, NOBODY = -1 };

struct part {
        int64_t amount, left_ns;
        int owner; /* NOBODY */
        int was;   /* its owner when the limiters were told last */
};

struct world {
        struct prng prng;
        struct limiter limiters[WORKERS];
        struct part parts[PARTS_MAX];
        uint32_t parts_count;
        int64_t limit, window_ns, now_ns;
        int64_t at_ns[TAKES_MAX], amounts[TAKES_MAX];
        size_t takes, waits, moves;
};

static uint32_t below(struct world *world, uint64_t bound) {
        return (uint32_t)prng_below(&world->prng, bound);
}

static void set_up(struct world *world, uint64_t seed) {
        static const int64_t windows_ns[] = {120, 1000003, NS_PER_S, 60 * NS_PER_S};
        memset(world, 0, sizeof(*world));
        prng_init(&world->prng, seed);
        world->window_ns = windows_ns[below(world, 4)];
        world->parts_count = 1 + below(world, PARTS_MAX);
        world->limit = 1 + (int64_t)below(world, below(world, 2) ? 20 : 1000000);
        world->now_ns = (int64_t)below(world, 1000000);
        int64_t left = world->limit;
        for (uint32_t i = 0; i < world->parts_count; i++) {
                struct part *part = &world->parts[i];
                part->owner = NOBODY;
                part->left_ns = INT64_MIN;
                part->amount = i + 1 == world->parts_count ? left : (int64_t)below(world, (uint64_t)left + 1);
                left -= part->amount;
        }
        for (int i = 0; i < WORKERS; i++) {
                limiter_init(&world->limiters[i], world->limit, world->window_ns, world->now_ns);
                limiter_share(&world->limiters[i], 0, 0, 0, world->now_ns);
        }
}

/* Tells one worker what it has now, by what it had when it was told last (`was`). */
static void share(struct world *world, int worker) {
        int64_t kept = 0, fresh = 0, used = 0;
        for (uint32_t i = 0; i < world->parts_count; i++) {
                struct part *part = &world->parts[i];
                if (part->owner != worker)
                        continue;
                if (part->was == worker)
                        kept += part->amount;
                else if (part->left_ns == INT64_MIN || world->now_ns - part->left_ns > world->window_ns)
                        fresh += part->amount;
                else
                        used += part->amount;
        }
        limiter_share(&world->limiters[worker], kept, fresh, used, world->now_ns);
}

/* Some parts go; later, some of those that nobody has come to somebody. */
static void move_parts(struct world *world) {
        bool give = below(world, 2) == 0;
        for (uint32_t i = 0; i < world->parts_count; i++) {
                struct part *part = &world->parts[i];
                part->was = part->owner;
                if (below(world, 3) != 0)
                        continue;
                if (give && part->owner == NOBODY) {
                        part->owner = (int)below(world, WORKERS);
                        world->moves++;
                } else if (!give && part->owner != NOBODY) {
                        part->owner = NOBODY;
                        part->left_ns = world->now_ns;
                }
        }
        for (int i = 0; i < WORKERS; i++)
                share(world, i);
}

static void try_take(struct world *world, int worker) {
        struct limiter *limiter = &world->limiters[worker];
        int64_t amount = 1 + (int64_t)below(world, (uint64_t)world->limit / (1 + below(world, 8)) + 1);
        int64_t when_ns = limiter_when(limiter, amount, world->now_ns);
        assert_int_equal(when_ns == LIMITER_NEVER, amount > world->limit);
        if (when_ns > world->now_ns) {
                world->waits++;
                return;
        }
        assert_true(world->takes < TAKES_MAX);
        limiter_take(limiter, amount, world->now_ns);
        world->at_ns[world->takes] = world->now_ns;
        world->amounts[world->takes++] = amount;
}

static int64_t worst(const struct world *world) {
        int64_t most = 0;
        for (size_t i = 0; i < world->takes; i++) {
                int64_t sum = 0;
                for (size_t j = i; j < world->takes && world->at_ns[j] <= world->at_ns[i] + world->window_ns;
                     j++)
                        sum += world->amounts[j];
                most = sum > most ? sum : most;
        }
        return most;
}

static void the_sum_stays_under_the_limit(void **state) {
        static struct world world;
        size_t takes = 0, waits = 0, moves = 0, reached = 0;
        (void)state;
        for (uint64_t seed = 1; seed <= 400; seed++) {
                set_up(&world, seed);
                for (int i = 0; i < 1200; i++) {
                        if (below(&world, 12) == 0)
                                move_parts(&world);
                        try_take(&world, (int)below(&world, WORKERS));
                        uint64_t step = below(&world, 30) == 0 ? 2 : 100;
                        world.now_ns += (int64_t)below(&world, (uint64_t)world.window_ns / step + 1);
                }
                int64_t most = worst(&world);
                assert_true(most <= world.limit);
                takes += world.takes;
                waits += world.waits;
                moves += world.moves;
                reached += most > world.limit / 2;
        }
        assert_true(takes > 10000 && waits > 20000 && moves > 20000 && reached > 100);
}

/* A part that comes at once to another worker counts there as used up for a window, and not longer. */
static void a_used_part_is_used_for_a_window(void **state) {
        struct limiter limiter;
        (void)state;
        limiter_init(&limiter, 120, 60 * NS_PER_S, 0);
        limiter_share(&limiter, 0, 0, 60, 0);
        assert_true(limiter_when(&limiter, 1, 0) >= 60 * NS_PER_S);
        assert_true(limiter_when(&limiter, 1, 61 * NS_PER_S) <= 61 * NS_PER_S);
        limiter_init(&limiter, 120, 60 * NS_PER_S, 0);
        limiter_share(&limiter, 0, 60, 0, 0);
        assert_int_equal(limiter_when(&limiter, 1, 0), 0);
}

/* Half of the parts go: half of what was taken goes with them, and that is all that is free again. */
static void a_lost_part_takes_its_use_with_it(void **state) {
        struct limiter limiter;
        (void)state;
        limiter_init(&limiter, 100, NS_PER_S, 0);
        limiter_share(&limiter, 0, 100, 0, 0);
        limiter_take(&limiter, 80, 0);
        limiter_share(&limiter, 50, 0, 0, 0);
        assert_int_equal(limiter.sum, 40);
        assert_int_equal(limiter.limit, 50);
        assert_true(limiter_when(&limiter, 11, NS_PER_MS) > NS_PER_S / 2);
}

static void small_parts_wait(void **state) {
        struct limiter limiter;
        (void)state;
        limiter_init(&limiter, 100, NS_PER_S, 0);
        limiter_share(&limiter, 0, 10, 0, 0);
        int64_t when_ns = limiter_when(&limiter, 50, 0);
        assert_true(when_ns > 0 && when_ns != LIMITER_NEVER);
        assert_int_equal(limiter_when(&limiter, 101, 0), LIMITER_NEVER);
        assert_int_equal(limiter_when(&limiter, 10, 0), 0);
        limiter_share(&limiter, 0, 0, 0, 0); /* nothing */
        when_ns = limiter_when(&limiter, 1, 0);
        assert_true(when_ns > 0 && when_ns != LIMITER_NEVER);
        assert_int_equal(limiter_when(&limiter, 0, 0), 0);
        limiter_charge(&limiter, 5, 0); /* an answer that comes after the part has gone */
        limiter_share(&limiter, 0, 100, 0, 0);
        assert_true(limiter_when(&limiter, 50, 0) <= NS_PER_S); /* the flow owes a window, not more */
}

static void no_limit_is_not_divided(void **state) {
        struct limiter limiter;
        (void)state;
        limiter_init(&limiter, 0, NS_PER_S, 0);
        limiter_share(&limiter, 0, 0, 0, 0);
        assert_int_equal(limiter_when(&limiter, INT64_MAX / 8, 5), 5);
        limiter_take(&limiter, 100, 5);
}

/*
 * The topic has grown: the same partitions may be given other places in the limit, and more of it than
 * before.
 */
static void kept_parts_may_have_grown(void **state) {
        struct limiter limiter;
        (void)state;
        limiter_init(&limiter, 3, NS_PER_S, 0);
        limiter_share(&limiter, 0, 0, 0, 0);
        limiter_share(&limiter, 1, 0, 0, 0);
        assert_int_equal(limiter.limit, 1);
        assert_true(limiter_when(&limiter, 1, 0) >= NS_PER_S); /* what is new counts as used */
        assert_true(limiter_when(&limiter, 1, 2 * NS_PER_S) <= 2 * NS_PER_S);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_sum_stays_under_the_limit),
                cmocka_unit_test(a_used_part_is_used_for_a_window),
                cmocka_unit_test(a_lost_part_takes_its_use_with_it),
                cmocka_unit_test(small_parts_wait),
                cmocka_unit_test(no_limit_is_not_divided),
                cmocka_unit_test(kept_parts_may_have_grown),
        };
        return cmocka_run_group_tests_name("limiter_share", tests, NULL, NULL);
}
