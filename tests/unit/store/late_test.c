/* Settled rows that come late: what a look-up finds, what a crash takes, and how they get to the disk. */
#include "partitions.h"

enum { FEW = 100, MANY = 10000, TOO_MANY = 70000, IN_A_BATCH = 500 };

/* As after a crash: nothing is written at closing. */
static void reopen(struct world *world) {
        world_reopen(world, STORE_NO_PARTITION);
}

static void settle(struct world *world, uint64_t n, int64_t cost, struct begun_id id) {
        struct settled settled = {.partition = STORE_NO_PARTITION,
                                  .attempts = 1,
                                  .cost_known = true,
                                  .cost_picousd = cost,
                                  .fingerprint_known = true,
                                  .offset = n};
        store_batch_settle_late(world->batch, key_of(n), &settled, id);
}

static void settle_many(struct world *world, uint64_t count) {
        for (uint64_t n = 0; n < count; n++) {
                settle(world, n, (int64_t)n, (struct begun_id){0});
                if (n % IN_A_BATCH == IN_A_BATCH - 1 || n + 1 == count)
                        assert_null(store_write(world->store, world->batch));
        }
}

static struct error *place(struct world *world) {
        struct source_state source = {.offset = 1};
        store_batch_source(world->batch, "jobs", &source);
        return store_write(world->store, world->batch);
}

static uint64_t count_found(struct world *world, uint64_t count) {
        uint64_t found = 0;
        for (uint64_t n = 0; n < count; n++) {
                struct store_record record;
                assert_null(store_look_up(world->store, STORE_NO_PARTITION, key_of(n), &record));
                if (record.found != STORE_SETTLED)
                        continue;
                found++;
                assert_int_equal(record.settled.partition, STORE_NO_PARTITION);
                assert_int_equal(record.settled.cost_picousd, n);
                assert_int_equal(record.settled.offset, n);
        }
        return found;
}

static void assert_verified(struct world *world, uint64_t settled) {
        assert_int_equal(world_verify(world).settled, settled);
}

static void are_found_and_go_with_a_crash(void **state) {
        struct world *world = *state;
        struct store_record record;
        settle_many(world, FEW);
        assert_int_equal(store_count_late(world->store), FEW);
        assert_int_equal(count_found(world, FEW + 1), FEW);
        /* of a file, not of a partition */
        assert_null(store_look_up(world->store, 0, key_of(1), &record));
        assert_int_equal(record.found, STORE_NONE);
        reopen(world);
        assert_int_equal(count_found(world, FEW), 0);
}

static void few_go_along_with_a_place(void **state) {
        struct world *world = *state;
        settle_many(world, FEW);
        settle(world, FEW, FEW, (struct begun_id){0}); /* of the same batch */
        assert_null(place(world));
        assert_int_equal(store_count_late(world->store), 0);
        assert_int_equal(world->files, 0);
        reopen(world);
        assert_int_equal(count_found(world, FEW + 1), FEW + 1);
        assert_verified(world, FEW + 1);
}

static void many_go_as_a_file(void **state) {
        struct world *world = *state;
        settle_many(world, MANY);
        assert_null(place(world));
        assert_int_equal(store_count_late(world->store), 0);
        assert_int_equal(world->files, 1);
        assert_int_equal(count_found(world, MANY), MANY);
        reopen(world);
        assert_int_equal(count_found(world, MANY), MANY);
        assert_verified(world, MANY);
}

static void more_than_there_is_room_for(void **state) {
        struct world *world = *state;
        settle_many(world, TOO_MANY);
        assert_int_equal(world->files, 1);
        size_t late = store_count_late(world->store);
        assert_true(late > 0 && late < TOO_MANY / 2);
        assert_int_equal(count_found(world, TOO_MANY), TOO_MANY);
        reopen(world);
        assert_int_equal(count_found(world, TOO_MANY), TOO_MANY - late);
}

static void a_batch_larger_than_all_room(void **state) {
        struct world *world = *state;
        for (uint64_t n = 0; n < TOO_MANY; n++)
                settle(world, n, (int64_t)n, (struct begun_id){0});
        assert_null(store_write(world->store, world->batch));
        reopen(world);
        assert_int_equal(count_found(world, TOO_MANY), TOO_MANY);
}

/* In memory, in a file, and over what is on the disk. */
static void the_last_row_of_a_key_counts(void **state) {
        struct world *world = *state;
        for (int round = 0; round < 2; round++) {
                settle(world, 7, 1, (struct begun_id){0});
                assert_null(store_write(world->store, world->batch));
                settle_many(world, round == 0 ? MANY : FEW);
                assert_int_equal(count_found(world, FEW), FEW);
                assert_null(place(world));
                reopen(world);
                assert_int_equal(count_found(world, MANY), MANY);
        }
        settle(world, 7, 1, (struct begun_id){0});
        assert_null(store_write(world->store, world->batch));
        struct store_record record;
        assert_null(store_look_up(world->store, STORE_NO_PARTITION, key_of(7), &record));
        assert_int_equal(record.settled.cost_picousd, 1); /* not what the disk says */
        assert_verified(world, MANY);
}

/*
 * An attempt is over when its row is there, early or late; after a crash it is not, until the line is seen.
 */
static void attempts_are_over(void **state) {
        struct world *world = *state;
        struct begun begun = {.partition = STORE_NO_PARTITION, .attempt = 1};
        struct begun_id ids[2];
        for (uint64_t n = 0; n < 2; n++) {
                begun.key = key_of(n);
                ids[n] = store_batch_begin(world->batch, &begun);
        }
        assert_null(store_write(world->store, world->batch));
        settle(world, 0, 0, ids[0]);
        assert_null(store_write(world->store, world->batch));
        reopen(world);
        struct store_record record;
        assert_null(store_look_up(world->store, STORE_NO_PARTITION, key_of(0), &record));
        assert_int_equal(record.found, STORE_UNKNOWN);
        settle(world, 0, 0, record.begun_id);
        assert_null(place(world));
        reopen(world);
        assert_int_equal(count_found(world, 1), 1);
        assert_null(store_look_up(world->store, STORE_NO_PARTITION, key_of(1), &record));
        assert_int_equal(record.found, STORE_UNKNOWN);
        assert_verified(world, 1);
}

static void a_full_disk_may_pass(void **state) {
        static const char *const operations[] = {"file", "ingest", "write"};
        struct world *world = *state;
        settle_many(world, MANY);
        for (size_t i = 0; i < 3; i++) {
                world->operation = operations[i];
                world->code = ENOSPC;
                world->countdown = 0;
                expect_error(place(world), ERROR_FULL, "");
                assert_int_equal(count_found(world, MANY), MANY);
        }
        assert_null(store_write(world->store, world->batch));
        reopen(world);
        assert_int_equal(count_found(world, MANY), MANY);
        assert_verified(world, MANY);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(are_found_and_go_with_a_crash, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(few_go_along_with_a_place, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(many_go_as_a_file, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(more_than_there_is_room_for, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(a_batch_larger_than_all_room, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(the_last_row_of_a_key_counts, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(attempts_are_over, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(a_full_disk_may_pass, world_setup, world_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
