/*
 * The engine in a world of faults and crashes: one seed, one world (world.h). SIM_SEED=N runs one seed,
 * SIM_SEEDS=N so many, SIM_FIRST=N starts at another one. A failing seed is printed; the same seed always
 * does the same. SIM_PLANTS=0 leaves out the planted mistakes.
 */
#include "broker/base/check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEDS_DEFAULT = 2000, PLANT_SEEDS_MAX = 4000, AGAIN_EVERY = 10 };

static struct world world;
static struct buffer trace;

static uint64_t setting(const char *name, uint64_t otherwise) {
        const char *text = getenv(name);
        return text ? strtoull(text, NULL, 10) : otherwise;
}

/* A CHECK() of the engine failed: say which world it was. */
static void say_seed(void *userdata) {
        (void)userdata;
        fprintf(stderr, "SIM_SEED=%llu, turn %llu\n", (unsigned long long)world.seed,
                (unsigned long long)world.turns);
        if (!world.engine)
                return;
        buffer_init(&trace, 1 << 20);
        engine_trace(world.engine, &trace);
        fprintf(stderr, "%.*s", (int)trace.size, trace.data);
}

struct totals {
        uint64_t seeds, turns, calls, crashes, reloads, failed;
};

static uint64_t run_seed(uint64_t seed, struct totals *totals) {
        bool good = world_run(seed, PLANT_NONE, &world);
        totals->seeds++;
        totals->turns += world.turns;
        totals->calls += world.calls_total;
        totals->crashes += world.crashes;
        totals->reloads += world.reloads.total;
        if (!good) {
                totals->failed++;
                print_message("SIM_SEED=%llu: %s (turn %llu, %llu crashes)\n", (unsigned long long)seed,
                              world.violation, (unsigned long long)world.turns,
                              (unsigned long long)world.crashes);
        }
        uint64_t hash = world.hash;
        world_deinit(&world);
        return hash;
}

static void keeps_the_promises(void **state) {
        (void)state;
        uint64_t first = setting("SIM_SEED", setting("SIM_FIRST", 1));
        uint64_t count = getenv("SIM_SEED") ? 1 : setting("SIM_SEEDS", SEEDS_DEFAULT);
        struct totals totals = {0};
        for (uint64_t seed = first; seed < first + count && totals.failed < 10; seed++) {
                uint64_t hash = run_seed(seed, &totals);
                if (seed % AGAIN_EVERY == 0 && run_seed(seed, &totals) != hash) {
                        totals.failed++;
                        print_message("SIM_SEED=%llu: does not do the same twice\n",
                                      (unsigned long long)seed);
                }
        }
        print_message("%llu worlds, %llu turns, %llu calls, %llu crashes, %llu reloads\n",
                      (unsigned long long)totals.seeds, (unsigned long long)totals.turns,
                      (unsigned long long)totals.calls, (unsigned long long)totals.crashes,
                      (unsigned long long)totals.reloads);
        assert_int_equal(totals.failed, 0);
}

/* The judge is no use if it never finds anything. */
static void finds_planted_bugs(void **state) {
        (void)state;
        if (getenv("SIM_PLANTS") && strcmp(getenv("SIM_PLANTS"), "0") == 0)
                skip();
        if (getenv("SIM_SEED"))
                return;
        for (int plant = PLANT_NONE + 1; plant < PLANTS_COUNT; plant++) {
                bool found = false;
                uint64_t seed = 0;
                while (!found && seed++ < PLANT_SEEDS_MAX) {
                        found = !world_run(seed, (enum plant)plant, &world);
                        if (found)
                                print_message("plant %d, seed %llu: %s\n", plant, (unsigned long long)seed,
                                              world.violation);
                        world_deinit(&world);
                }
                if (!found)
                        fail_msg("planted bug %d was not found", plant);
        }
}

int main(void) {
        check_set_hook(say_seed, NULL);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keeps_the_promises),
                cmocka_unit_test(finds_planted_bugs),
        };
        return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
