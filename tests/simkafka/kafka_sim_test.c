/*
 * Workers on Kafka in a world of faults: one seed, one world (world.h). SIM_SEED=N runs one seed and prints
 * what happened in it, SIM_SEEDS=N so many, SIM_FIRST=N starts at another one, SIM_PLANT=N plants a mistake.
 * A failing seed is printed with the last that happened; the same seed always does the same.
 */
#include "broker/base/check.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SEEDS_DEFAULT = 2000, PLANT_SEEDS_MAX = 20000, AGAIN_EVERY = 20, NOTES_SHOWN = 40 };

static struct world world;
static struct buffer trace;

static const char *const plants[] = {
#define X(name, text) text,
        PLANTS(X)
#undef X
};

static uint64_t setting(const char *name, uint64_t otherwise) {
        const char *text = getenv(name);
        return text ? strtoull(text, NULL, 10) : otherwise;
}

static void print_engines(void) {
        for (uint32_t i = 0; i < world.processes_count; i++) {
                if (!world.processes[i].engine)
                        continue;
                buffer_init(&trace, 1 << 20);
                engine_trace(world.processes[i].engine, &trace);
                fprintf(stderr, "process %u:\n%.*s", i, (int)trace.size, trace.data);
                buffer_deinit(&trace);
        }
}

/* A CHECK() of the engine failed: say which world it was. */
static void say_seed(void *userdata) {
        (void)userdata;
        world_print(&world, NOTES_SHOWN);
        print_engines();
        fprintf(stderr, "SIM_SEED=%llu, turn %llu\n", (unsigned long long)world.seed,
                (unsigned long long)world.turns);
}

struct totals {
        uint64_t seeds, turns, failed;
        struct counts counts;
};

static void add_counts(struct counts *sum, const struct counts *more) {
        uint64_t values[sizeof(*sum) / sizeof(uint64_t)], others[sizeof(*sum) / sizeof(uint64_t)];
        memcpy(values, sum, sizeof(*sum));
        memcpy(others, more, sizeof(*more));
        for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
                values[i] += others[i];
        memcpy(sum, values, sizeof(*sum));
}

static uint64_t run_seed(uint64_t seed, enum plant plant, struct totals *totals) {
        bool good = world_run(seed, plant, &world);
        totals->seeds++;
        totals->turns += world.turns;
        add_counts(&totals->counts, &world.counts);
        if (!good || getenv("SIM_SEED"))
                world_print(&world, getenv("SIM_SEED") ? NOTES_MAX : NOTES_SHOWN);
        if (!good && getenv("SIM_SEED"))
                print_engines();
        if (!good) {
                totals->failed++;
                print_message("SIM_SEED=%llu: %s (turn %llu)\n", (unsigned long long)seed, world.violation,
                              (unsigned long long)world.turns);
        }
        uint64_t hash = world.hash;
        world_deinit(&world);
        return hash;
}

#define SHOW(name) print_message("%12llu %s\n", (unsigned long long)totals->counts.name, #name)

static void show(const struct totals *totals) {
        print_message("%llu worlds, %llu turns\n", (unsigned long long)totals->seeds,
                      (unsigned long long)totals->turns);
        SHOW(calls);
        SHOW(crashes);
        SHOW(stops);
        SHOW(moves);
        SHOW(commits);
        SHOW(aborts);
        SHOW(fenced);
        SHOW(gone);
        SHOW(parked);
        SHOW(rehomed);
        SHOW(repeated);
        SHOW(late_answers);
        SHOW(adopted);
        SHOW(again);
        SHOW(dropped);
        SHOW(cut_off);
        SHOW(given_up);
        SHOW(left);
        SHOW(usurped);
        SHOW(words);
        SHOW(broke);
        SHOW(reloads);
        SHOW(by_workspaces);
        SHOW(by_providers);
        SHOW(parts_told);
        SHOW(parts_used_up);
        SHOW(unkept);
        SHOW(not_parked);
}

/* Nothing that the world is there for may be missing from it. */
static void all_happened(const struct counts *counts) {
        uint64_t values[sizeof(*counts) / sizeof(uint64_t)];
        memcpy(values, counts, sizeof(*counts));
        for (size_t i = 0; i < sizeof(*counts) / sizeof(uint64_t); i++)
                assert_true(values[i] > 0);
}

static void keeps_the_promises(void **state) {
        (void)state;
        uint64_t first = setting("SIM_SEED", setting("SIM_FIRST", 1));
        uint64_t count = getenv("SIM_SEED") ? 1 : setting("SIM_SEEDS", SEEDS_DEFAULT);
        enum plant plant = (enum plant)setting("SIM_PLANT", PLANT_NONE);
        struct totals totals = {0};
        for (uint64_t seed = first; seed < first + count && totals.failed < 10; seed++) {
                uint64_t hash = run_seed(seed, plant, &totals);
                if (seed % AGAIN_EVERY == 0 && run_seed(seed, plant, &totals) != hash) {
                        totals.failed++;
                        print_message("SIM_SEED=%llu: does not do the same twice\n",
                                      (unsigned long long)seed);
                }
        }
        show(&totals);
        assert_int_equal(totals.failed, 0);
        if (count >= SEEDS_DEFAULT)
                all_happened(&totals.counts);
}

/* The judge is no use if it never finds anything. */
static void finds_planted_bugs(void **state) {
        (void)state;
        if (getenv("SIM_PLANTS") && strcmp(getenv("SIM_PLANTS"), "0") == 0)
                skip();
        if (getenv("SIM_SEED") || getenv("SIM_PLANT"))
                return;
        uint32_t missed = 0;
        for (int plant = PLANT_NONE + 1; plant < PLANTS_COUNT; plant++) {
                bool found = false;
                uint64_t seed = 0;
                while (!found && seed++ < PLANT_SEEDS_MAX) {
                        found = !world_run(seed, (enum plant)plant, &world);
                        if (found)
                                print_message("%s (%d), seed %llu: %s\n", plants[plant], plant,
                                              (unsigned long long)seed, world.violation);
                        world_deinit(&world);
                }
                missed += !found;
                if (!found)
                        print_message("NOT FOUND: %s (%d)\n", plants[plant], plant);
        }
        assert_int_equal(missed, 0);
}

int main(void) {
        check_set_hook(say_seed, NULL);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keeps_the_promises),
                cmocka_unit_test(finds_planted_bugs),
        };
        return cmocka_run_group_tests_name("kafka", tests, NULL, NULL);
}
