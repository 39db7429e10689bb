/*
 * A limit over hours or a day in parts that move, each with what was taken of it: given away by one limiter,
 * kept as a list, added to another. Whatever moves, is lost, or comes back, the sum of all that was taken is
 * never above the limit in any window; and where parts move in good order, nearly all of it is used. A judge
 * remembers every take.
 */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "workers/routing/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_NS (3600 * NS_PER_S)

enum { WORKERS = 4, PARTS_MAX = 12, TAKES_MAX = 40000, NOBODY = -1, STEPS = 2000 };

struct part {
        int64_t amount;
        int owner; /* NOBODY */
        bool told; /* what was taken of it is in `taken`, each before `until` */
        int64_t taken[LIMITER_RING], until_ns[LIMITER_RING];
};

struct world {
        struct prng prng;
        struct limiter limiters[WORKERS];
        struct part parts[PARTS_MAX];
        uint32_t parts_count;
        int64_t limit, window_ns, now_ns, clock_ns; /* clock: what it shows at 0 */
        int64_t at_ns[TAKES_MAX], amounts[TAKES_MAX];
        size_t takes, moves, losses;
};

static uint32_t below(struct world *world, uint64_t bound) {
        return (uint32_t)prng_below(&world->prng, bound);
}

static void set_up(struct world *world, uint64_t seed, bool small) {
        memset(world, 0, sizeof(*world));
        prng_init(&world->prng, seed);
        world->window_ns = below(world, 2) ? HOUR_NS : 24 * HOUR_NS;
        world->parts_count = 1 + below(world, PARTS_MAX);
        world->limit = (small ? 1 : 400) + (int64_t)below(world, below(world, 2) ? 40 : 1000000);
        world->now_ns = (int64_t)below(world, 1000000);
        world->clock_ns = INT64_C(1790000000) * NS_PER_S + (int64_t)(prng_next(&world->prng) >> 20);
        for (uint32_t i = 0; i < world->parts_count; i++) {
                int64_t from = world->limit * i / world->parts_count;
                world->parts[i] = (struct part){.owner = NOBODY, .told = true};
                world->parts[i].amount = world->limit * (i + 1) / world->parts_count - from;
        }
        for (int i = 0; i < WORKERS; i++) {
                limiter_init(&world->limiters[i], world->limit, world->window_ns, world->now_ns);
                limiter_align(&world->limiters[i], world->clock_ns + world->now_ns, world->now_ns);
                limiter_share(&world->limiters[i], 0, 0, 0, world->now_ns);
        }
}

/* In good order: what was taken of it goes with it. */
static void give(struct world *world, struct part *part) {
        struct limiter *limiter = &world->limiters[part->owner];
        int64_t before = limiter->sum, limit = limiter->limit, given = 0;
        limiter_give(limiter, part->amount, world->now_ns, part->taken);
        for (uint32_t back = 0; back < LIMITER_RING; back++) {
                limiter_taken(limiter, back, &part->until_ns[back]);
                assert_true(part->taken[back] >= 0 &&
                            part->until_ns[back] <= world->now_ns + world->window_ns);
                given += part->taken[back];
        }
        assert_true(given + limiter->sum <= before); /* what slid out meanwhile is in neither */
        assert_true(given <= part->amount && limiter->sum <= limiter->limit);
        assert_int_equal(limiter->limit, limit - part->amount);
        part->owner = NOBODY;
        part->told = true;
}

/* The owner died with it, or was cut off: it goes on for a while without the part, if it lives. */
static void lose(struct world *world, struct part *part) {
        struct limiter *limiter = &world->limiters[part->owner];
        limiter_share(limiter, limiter->limit - part->amount, 0, 0, world->now_ns);
        part->owner = NOBODY;
        part->told = false;
        world->losses++;
}

static void come(struct world *world, struct part *part, int owner) {
        struct limiter *limiter = &world->limiters[owner];
        part->owner = owner;
        world->moves++;
        limiter_share(limiter, limiter->limit, part->told ? part->amount : 0, part->told ? 0 : part->amount,
                      world->now_ns);
        for (uint32_t back = 0; back < LIMITER_RING && part->told; back++)
                limiter_add(limiter, part->taken[back], part->until_ns[back], world->now_ns);
        assert_true(limiter->sum <= limiter->limit);
}

static void move_parts(struct world *world, bool orderly) {
        for (uint32_t i = 0; i < world->parts_count; i++) {
                struct part *part = &world->parts[i];
                if (below(world, 3) != 0)
                        continue;
                if (part->owner == NOBODY)
                        come(world, part, (int)below(world, WORKERS));
                else if (orderly || below(world, 8) != 0)
                        give(world, part);
                else
                        lose(world, part);
        }
}

static void try_take(struct world *world, int worker, int64_t amount) {
        struct limiter *limiter = &world->limiters[worker];
        if (limiter_when(limiter, amount, world->now_ns) > world->now_ns)
                return;
        assert_true(world->takes < TAKES_MAX);
        limiter_take(limiter, amount, world->now_ns);
        world->at_ns[world->takes] = world->now_ns;
        world->amounts[world->takes++] = amount;
}

/* The most in any window, both ends included. */
static int64_t worst(const struct world *world) {
        int64_t most = 0, sum = 0;
        for (size_t i = 0, first = 0; i < world->takes; i++) {
                sum += world->amounts[i];
                while (world->at_ns[i] - world->at_ns[first] > world->window_ns)
                        sum -= world->amounts[first++];
                most = sum > most ? sum : most;
        }
        return most;
}

static void the_sum_stays_under_the_limit(void **state) {
        static struct world world;
        size_t takes = 0, moves = 0, losses = 0, reached = 0;
        (void)state;
        for (uint64_t seed = 1; seed <= 600; seed++) {
                set_up(&world, seed, true);
                for (int i = 0; i < STEPS; i++) {
                        if (below(&world, 12) == 0)
                                move_parts(&world, false);
                        int64_t most = world.limit / (1 + below(&world, 40)) + 1;
                        try_take(&world, (int)below(&world, WORKERS),
                                 1 + (int64_t)below(&world, (uint64_t)most));
                        uint64_t step = below(&world, 30) == 0 ? 4 : 400;
                        world.now_ns += (int64_t)below(&world, (uint64_t)world.window_ns / step + 1);
                }
                int64_t most = worst(&world);
                assert_true(most <= world.limit);
                takes += world.takes;
                moves += world.moves;
                losses += world.losses;
                reached += most > world.limit * 9 / 10;
        }
        assert_true(takes > 10000 && moves > 100000 && losses > 10000 && reached > 100);
}

/* Parts that move all the time, in good order: in each window nearly all of the limit is used. */
static void what_moves_in_good_order_is_used(void **state) {
        enum { WINDOWS = 3 };
        static struct world world;
        (void)state;
        for (uint64_t seed = 1; seed <= 60; seed++) {
                int64_t used = 0;
                set_up(&world, seed, false);
                int64_t begin_ns = world.now_ns, step_ns = world.window_ns / 700, amount = world.limit / 400;
                while (world.now_ns < begin_ns + WINDOWS * world.window_ns) {
                        if (below(&world, 3) == 0)
                                move_parts(&world, true);
                        for (int worker = 0; worker < WORKERS; worker++)
                                for (int i = 0; i < 8; i++)
                                        try_take(&world, worker,
                                                 1 + (int64_t)below(&world, (uint64_t)amount));
                        for (int worker = 0; worker < WORKERS; worker++) /* to the last unit */
                                try_take(&world, worker, 1);
                        world.now_ns += step_ns;
                }
                for (size_t i = 0; i < world.takes; i++)
                        used += world.amounts[i];
                assert_true(worst(&world) <= world.limit);
                if (used < world.limit * WINDOWS * 95 / 100)
                        fail_msg("seed %llu: %lld of %lld in %u parts", (unsigned long long)seed,
                                 (long long)used, (long long)(world.limit * WINDOWS), world.parts_count);
        }
}

/* However often a part goes from one to the other, what was taken slides out when it did. */
static void moving_does_not_age(void **state) {
        static struct world world;
        (void)state;
        set_up(&world, 7, false);
        world.parts_count = 1;
        world.parts[0].amount = world.limit;
        come(&world, &world.parts[0], 0);
        try_take(&world, 0, world.limit);
        int64_t when_ns = limiter_when(&world.limiters[0], 1, world.now_ns), begin_ns = world.now_ns;
        assert_true(when_ns > begin_ns + world.window_ns);
        for (int i = 1; i < 1000; i++) {
                world.now_ns = begin_ns + world.window_ns / 1000 * i;
                give(&world, &world.parts[0]);
                come(&world, &world.parts[0], i % WORKERS);
                assert_int_equal(limiter_when(&world.limiters[i % WORKERS], 1, world.now_ns), when_ns);
        }
}

/* Whatever is given and whatever stays: together it is what there was, sub-window by sub-window. */
static void a_split_is_exact(void **state) {
        static struct world world;
        int64_t before[LIMITER_RING], given[LIMITER_RING], until_ns;
        (void)state;
        for (uint64_t seed = 1; seed <= 500; seed++) {
                set_up(&world, seed, true);
                struct limiter *limiter = &world.limiters[0];
                limiter_share(limiter, 0, world.limit, 0, world.now_ns);
                for (int i = 0; i < 300; i++) {
                        try_take(&world, 0, 1 + (int64_t)below(&world, (uint64_t)world.limit / 50 + 1));
                        world.now_ns += world.window_ns / 200;
                }
                if (below(&world, 4) == 0) /* more than there is */
                        limiter_charge(limiter, 2 * world.limit, world.now_ns);
                limiter_when(limiter, 1, world.now_ns);
                for (uint32_t back = 0; back < LIMITER_RING; back++)
                        before[back] = limiter_taken(limiter, back, &until_ns);
                int64_t part = (int64_t)below(&world, (uint64_t)world.limit + 1);
                limiter_give(limiter, part, world.now_ns, given);
                for (uint32_t back = 0; back < LIMITER_RING; back++) {
                        int64_t rest = limiter_taken(limiter, back, &until_ns);
                        assert_true(given[back] >= 0 && rest >= 0);
                        assert_int_equal(given[back] + rest, before[back]);
                }
                assert_int_equal(limiter->limit, world.limit - part);
        }
}

static void times_are_taken_as_they_must(void **state) {
        struct limiter limiter;
        int64_t until_ns, now_ns = 100 * HOUR_NS;
        (void)state;
        limiter_init(&limiter, 100, HOUR_NS, 0);
        int64_t width = limiter.width_ns;
        limiter_add(&limiter, 7, now_ns + 50 * HOUR_NS, now_ns); /* of a clock that was wrong: now */
        assert_int_equal(limiter_taken(&limiter, 0, &until_ns), 7);
        assert_true(until_ns > now_ns && until_ns <= now_ns + width);
        int64_t begin_ns = until_ns - width;
        limiter_add(&limiter, 5, begin_ns, now_ns);
        limiter_add(&limiter, 6, begin_ns - width + 1, now_ns);
        assert_int_equal(limiter_taken(&limiter, 1, &until_ns), 11);
        assert_int_equal(until_ns, begin_ns);
        limiter_add(&limiter, 9, begin_ns - (LIMITER_SLOTS - 1) * width, now_ns);
        assert_int_equal(limiter_taken(&limiter, LIMITER_SLOTS, &until_ns), 9);
        limiter_add(&limiter, 9, begin_ns - LIMITER_SLOTS * width, now_ns); /* long gone */
        limiter_add(&limiter, 9, INT64_MIN / 4, now_ns);
        limiter_add(&limiter, 0, now_ns, now_ns);
        assert_int_equal(limiter.sum, 27);
        limiter_add(&limiter, INT64_MAX, now_ns, now_ns); /* from outside: it saturates */
        limiter_add(&limiter, INT64_MAX, now_ns, now_ns);
        assert_true(limiter.sum > 0 && limiter_when(&limiter, 1, now_ns) > now_ns + HOUR_NS);
        limiter_init(&limiter, 0, HOUR_NS, 0);
        limiter_add(&limiter, 5, 0, 0);
        assert_int_equal(limiter.sum, 0);
}

/* All that are aligned by one clock have the same sub-windows, whenever they began. */
static void clocks_align(void **state) {
        struct limiter a, b;
        int64_t a_ns, b_ns;
        (void)state;
        limiter_init(&a, 100, HOUR_NS, 1000);
        limiter_align(&a, INT64_C(1790000000123456789), 1000);
        limiter_init(&b, 100, HOUR_NS, 5000 * NS_PER_S);
        limiter_align(&b, INT64_C(1790000000123456789) + 77 * NS_PER_S, 5000 * NS_PER_S);
        limiter_taken(&a, 0, &a_ns);
        limiter_taken(&b, 0, &b_ns);
        int64_t apart_ns = (b_ns - 5000 * NS_PER_S + 77 * NS_PER_S) - (a_ns - 1000);
        assert_int_equal(apart_ns % a.width_ns, 0);
        limiter_init(&a, 100, HOUR_NS, 0);
        limiter_align(&a, -5, 0); /* before 1970 */
        limiter_taken(&a, 0, &a_ns);
        assert_int_equal(a_ns, 5);
        limiter_init(&a, 100, 60 * NS_PER_S, 7); /* paced: as it was */
        limiter_align(&a, 12345, 7);
        assert_int_equal(a.slot_start_ns, 7);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_sum_stays_under_the_limit),
                cmocka_unit_test(what_moves_in_good_order_is_used),
                cmocka_unit_test(moving_does_not_age),
                cmocka_unit_test(a_split_is_exact),
                cmocka_unit_test(times_are_taken_as_they_must),
                cmocka_unit_test(clocks_align),
        };
        return cmocka_run_group_tests_name("limiter_move", tests, NULL, NULL);
}
