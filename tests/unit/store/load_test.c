/* Loading a partition: the last thing said of a key counts, whether the load is small or large, whether it is
 * the first or goes on from what is there, and wherever an earlier one broke off. */
#include "broker/base/prng.h"
#include "tests/unit/store/partitions.h"

#include <sys/wait.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

enum { KEYS = 3000, P = 5 };

/* What is said of the keys, and what must come of it. */
struct model {
        enum { NOTHING, SETTLED, PARKED } kind[KEYS];
        uint64_t offset[KEYS]; /* SETTLED */
        int64_t due[KEYS];
        size_t parked;
};

static void say_settled(struct store_load *load, struct model *model, uint64_t n, uint64_t offset) {
        struct settled settled = settled_of(P, n);
        settled.offset = offset;
        assert_null(store_load_settled(load, key_of(n), &settled));
        model->kind[n] = SETTLED;
        model->offset[n] = offset;
}

static void say_parked(struct store_load *load, struct model *model, uint64_t n, int64_t due) {
        uint8_t fingerprint[32] = {(uint8_t)n};
        char value[32];
        int size = snprintf(value, sizeof(value), "job %llu", (unsigned long long)n);
        assert_null(store_load_park(load, due, key_of(n), fingerprint, (struct bytes){value, (size_t)size}));
        model->kind[n] = PARKED;
        model->due[n] = due;
}

static void say(struct store_load *load, struct model *model, struct prng *dice, uint64_t step) {
        uint64_t n = prng_below(dice, KEYS), what = prng_below(dice, 10);
        if (what < 5) {
                say_settled(load, model, n, step);
        } else if (what < 8) {
                say_parked(load, model, n, (int64_t)prng_below(dice, 50));
        } else if (what == 8) {
                assert_null(store_load_remove(load, key_of(n)));
                model->kind[n] = NOTHING;
        } else {
                assert_null(store_load_unpark(load, key_of(n)));
                if (model->kind[n] == PARKED)
                        model->kind[n] = NOTHING;
        }
}

struct due {
        const struct model *model;
        size_t count;
        int64_t last;
};

static struct error *see_due(void *userdata, const struct parked_job *job) {
        struct due *due = userdata;
        uint64_t n = ~job->at.key.lo;
        assert_int_equal(due->model->kind[n], PARKED);
        assert_int_equal(due->model->due[n], job->at.due_unix_ms);
        assert_true(job->at.due_unix_ms >= due->last);
        due->last = job->at.due_unix_ms;
        due->count++;
        return NULL;
}

static void assert_model(struct world *world, const struct model *model) {
        size_t parked = 0, settled = 0;
        for (uint64_t n = 0; n < KEYS; n++) {
                struct store_record record = world_record(world, P, n);
                static const enum store_found found[] = {STORE_NONE, STORE_SETTLED, STORE_PARKED};
                assert_int_equal(record.found, found[model->kind[n]]);
                if (model->kind[n] == SETTLED)
                        assert_int_equal(record.settled.offset, model->offset[n]);
                if (model->kind[n] == PARKED)
                        assert_int_equal(record.due_unix_ms, model->due[n]);
                parked += model->kind[n] == PARKED;
                settled += model->kind[n] == SETTLED;
        }
        struct due due = {.model = model};
        assert_null(store_parked(world->store, P, NULL, INT64_MAX, KEYS, see_due, &due));
        assert_int_equal(due.count, parked);
        assert_int_equal(store_count_parked(world->store, P), parked);
        struct store_stats stats = world_verify(world);
        assert_int_equal(stats.parked, parked);
        assert_int_equal(stats.settled, settled);
}

static void load_some(struct world *world, struct model *model, struct prng *dice, uint64_t steps,
                      uint64_t offset) {
        struct store_load *load;
        struct partition_state state = {.changelog_offset = offset};
        assert_null(store_load_begin(world->store, P, &load));
        for (uint64_t i = 0; i < steps; i++)
                say(load, model, dice, i);
        assert_null(store_load_end(load, &state));
}

/* 300,000 are three files, 25,000 one; the others are a batch. */
static void the_last_thing_said_counts(void **state) {
        struct world *world = *state;
        static const uint64_t sizes[] = {300000, 100, 25000, 0, 5000, 140000, 1};
        struct model *model = calloc(1, sizeof(*model));
        struct prng dice;
        prng_init(&dice, 7);
        world_partition(world, P);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                struct partition_state back;
                bool found;
                load_some(world, model, &dice, sizes[i], i + 1);
                assert_model(world, model);
                world_close(world);
                world_open(world);
                assert_null(store_partition_open(world->store, P, &found, &back));
                assert_true(found);
                assert_int_equal(back.changelog_offset, i + 1);
                assert_model(world, model);
        }
        free(model);
}

static void what_is_settled_by_a_load_is_over(void **state) {
        struct world *world = *state;
        for (int large = 0; large < 2; large++) {
                struct model *model = calloc(1, sizeof(*model));
                struct partition_state done = {.changelog_offset = 1};
                struct store_load *load;
                world_partition(world, P);
                world_partition(world, P + 1);
                world_state(world, P, 1);
                world_state(world, P + 1, 1);
                world_begin(world, P, 1, 1);
                world_begin(world, P, 2, 1);
                world_write(world);
                world_answer(world, P, 3, no_id, BYTES("three"));
                world_answer(world, P, 4, no_id, BYTES("four"));
                world_answer(world, P + 1, 3, no_id, BYTES("of another"));
                world_write(world);
                world_reopen(world, P);
                assert_null(store_load_begin(world->store, P, &load));
                say_settled(load, model, 1, 11);
                say_settled(load, model, 3, 13);
                for (uint64_t i = 0; large && i < 21000; i++)
                        say_settled(load, model, 10, i);
                assert_null(store_load_end(load, &done));
                for (int round = 0; round < 2; round++) {
                        assert_int_equal(world_found(world, P, 1), STORE_SETTLED);
                        assert_int_equal(world_found(world, P, 2), STORE_UNKNOWN);
                        assert_int_equal(world_found(world, P, 3), STORE_SETTLED);
                        assert_int_equal(world_found(world, P, 4), STORE_ANSWERED);
                        struct store_stats stats = world_verify(world);
                        assert_int_equal(stats.unknown, 1);
                        assert_int_equal(stats.answers, 2);
                        world_reopen(world, P);
                }
                assert_null(store_partition_drop(world->store, P));
                assert_null(store_partition_drop(world->store, P + 1));
                free(model);
        }
}

/*
 * A row of the state topic that says that a job is forgotten: also its attempt, which its settled row ended.
 */
static void a_removed_row_brings_no_attempt_back(void **state) {
        struct world *world = *state;
        for (uint64_t large = 0; large < 2; large++) {
                struct model *model = calloc(1, sizeof(*model));
                struct partition_state done = {.changelog_offset = 1};
                struct store_load *load;
                world_partition(world, P);
                struct begun_id id = world_begin(world, P, 1, 1);
                world_begin(world, P, 2, 1);
                world_write(world);
                world_settle(world, P, 1, id);
                world_state(world, P, 1);
                world_write(world);
                assert_null(store_load_begin(world->store, P, &load));
                for (uint64_t i = 0; i < (large ? 21000 : 1); i++)
                        say_settled(load, model, 10, i);
                assert_null(store_load_remove(load, key_of(1)));
                assert_null(store_load_end(load, &done));
                world_reopen(world, P);
                assert_int_equal(world_found(world, P, 1), STORE_NONE);
                assert_int_equal(world_found(world, P, 2), STORE_UNKNOWN);
                assert_null(store_partition_drop(world->store, P));
                free(model);
        }
}

/* ---- broken off ---- */

enum { BEFORE = 4000, STEPS = 150000 };

struct death {
        int countdown;
        bool armed;
};

static int die(void *userdata, const char *operation) {
        struct death *death = userdata;
        if (death->armed && strcmp(operation, "look_up") != 0 && death->countdown-- == 0)
                _exit(3);
        return 0;
}

/* Loads the second part in another process, which dies at the n-th operation; false: it did not. */
static bool load_and_die(struct world *world, const struct model *before, const struct prng *dice, int n) {
        pid_t child = fork();
        if (child == 0) {
                struct death death = {.countdown = n};
                struct store_options options = {.directory = world->directory,
                                                .worker = true,
                                                .fault = die,
                                                .fault_userdata = &death};
                struct model *model = malloc(sizeof(*model));
                struct prng own = *dice;
                *model = *before;
                if (store_open(&options, &world->store))
                        _exit(1);
                world_partition(world, P);
                death.armed = true;
                load_some(world, model, &own, STEPS, 2);
                _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3));
        return WEXITSTATUS(status) == 3;
}

static void a_load_that_died_is_repeated(void **state) {
        struct world *world = *state;
        if (!CAN_FORK)
                skip();
        struct model *before = calloc(1, sizeof(*before)), *after = malloc(sizeof(*after));
        struct prng first, second;
        int died = 0, finished = 0;
        prng_init(&second, 2);
        for (int n = 0; n < 100; n++) {
                bool found;
                struct partition_state back;
                prng_init(&first, 1);
                memset(before, 0, sizeof(*before));
                world_partition(world, P);
                load_some(world, before, &first, BEFORE, 1);
                world_close(world);
                bool dead = load_and_die(world, before, &second, n);
                died += dead;
                world_open(world);
                assert_null(store_partition_open(world->store, P, &found, &back));
                assert_true(back.changelog_offset == 2 || (dead && back.changelog_offset == 1));
                finished += dead && back.changelog_offset == 2; /* after the last write */
                *after = *before;
                struct prng again = second;
                load_some(world, after, &again, STEPS, 2);
                assert_model(world, after);
                assert_null(store_partition_drop(world->store, P));
                if (!dead)
                        break;
        }
        assert_true(died > 8 && finished <= 1);
        free(before);
        free(after);
}

static void a_load_that_failed_is_repeated(void **state) {
        struct world *world = *state;
        static const char *const operations[] = {"file", "ingest", "write", "written", "look_up"};
        for (int i = 0; i < 5; i++) {
                struct model *model = calloc(1, sizeof(*model));
                struct partition_state done = {.changelog_offset = 1};
                struct store_load *load;
                struct prng dice;
                prng_init(&dice, 3);
                world_partition(world, P);
                load_some(world, model, &dice, 1000, 1);
                assert_null(store_load_begin(world->store, P, &load));
                for (uint64_t k = 0; k < 30000; k++)
                        say(load, model, &dice, k);
                world->operation = operations[i];
                world->code = ENOSPC;
                world->countdown = 0;
                expect_error(store_load_end(load, &done), ERROR_FULL, "No space");
                world->code = 0;
                prng_init(&dice, 3);
                memset(model, 0, sizeof(*model));
                load_some(world, model, &dice, 1000, 1);
                load_some(world, model, &dice, 30000, 1);
                assert_model(world, model);
                assert_null(store_load_begin(world->store, P, &load));
                say_settled(load, model, 1, 1);
                assert_null(store_load_abort(load));
                assert_null(store_load_abort(NULL));
                assert_null(store_partition_drop(world->store, P));
                free(model);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(the_last_thing_said_counts),           TEST(what_is_settled_by_a_load_is_over),
                TEST(a_removed_row_brings_no_attempt_back), TEST(a_load_that_died_is_repeated),
                TEST(a_load_that_failed_is_repeated),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
