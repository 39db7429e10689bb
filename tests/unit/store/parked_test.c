/* Parked jobs: their order, what ends their being parked, and that scans do not walk over what has gone. */
#include "tests/unit/store/partitions.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

static int setup(void **state) {
        world_setup(state);
        struct world *world = *state;
        world_partition(world, 5);
        world_partition(world, 6);
        world_state(world, 5, 1);
        world_state(world, 6, 1);
        world_write(world);
        return 0;
}

struct taken {
        struct parked_cursor at[400];
        size_t count;
        size_t stop; /* with an error at that many; 0: never */
};

static struct error *take(void *userdata, const struct parked_job *job) {
        struct taken *taken = userdata;
        char value[32];
        snprintf(value, sizeof(value), "job %llu", (unsigned long long)~job->at.key.lo);
        assert_true(bytes_equal_string(job->value, value));
        taken->at[taken->count++] = job->at;
        return taken->count == taken->stop ? error_new(ERROR_IO, "stop") : NULL;
}

static struct taken taken_of(struct world *world, uint32_t partition, const struct parked_cursor *after,
                             int64_t until, size_t max) {
        struct taken taken = {0};
        assert_null(store_parked(world->store, partition, after, until, max, take, &taken));
        return taken;
}

static int64_t next_due(struct world *world, const struct parked_cursor *after) {
        int64_t due = -1;
        assert_null(store_parked_next(world->store, 5, after, &due));
        return due;
}

static void what_is_due_comes_in_order(void **state) {
        struct world *world = *state;
        for (uint64_t n = 0; n < 100; n++)
                world_park(world, 5, n, (int64_t)(n * 37 % 100) / 2 * 1000);
        world_park(world, 6, 7, 3000);
        world_park(world, 5, 300, INT64_MAX - 1);
        world_write(world);
        for (int round = 0; round < 2; round++) {
                assert_int_equal(store_count_parked(world->store, 5), 101);
                assert_int_equal(store_count_parked(world->store, 6), 1);
                assert_int_equal(next_due(world, NULL), 0);
                assert_int_equal(taken_of(world, 5, NULL, 999, 400).count, 2);
                assert_int_equal(taken_of(world, 5, NULL, 1000, 400).count, 4);
                assert_int_equal(taken_of(world, 5, NULL, INT64_MAX, 400).count, 101);
                assert_int_equal(taken_of(world, 5, NULL, -1, 400).count, 0);
                assert_int_equal(taken_of(world, 6, NULL, INT64_MAX, 400).count, 1);
                struct parked_cursor at = {0}, *after = NULL;
                size_t count = 0;
                for (;;) {
                        struct taken taken = taken_of(world, 5, after, 30000, 7);
                        for (size_t i = 0; i < taken.count; i++)
                                assert_true(taken.at[i].due_unix_ms >= (int64_t)((count + i) / 2 * 1000));
                        count += taken.count;
                        if (taken.count == 0)
                                break;
                        at = taken.at[taken.count - 1];
                        after = &at;
                }
                assert_int_equal(count, 62);
                assert_int_equal(next_due(world, after), 31000);
                struct store_record record = world_record(world, 5, 1);
                assert_int_equal(record.found, STORE_PARKED);
                assert_int_equal(record.due_unix_ms, 18000);
                assert_int_equal(record.parked_fingerprint[0], 1);
                assert_int_equal(world_verify(world).parked, 102);
                world_reopen(world, 5);
                world_partition(world, 6);
        }
        struct taken taken = {.stop = 3};
        expect_error(store_parked(world->store, 5, NULL, INT64_MAX, 400, take, &taken), ERROR_IO, "stop");
}

static void assert_parked(struct world *world, uint64_t n, int64_t due, size_t count) {
        for (int round = 0; round < 2; round++) {
                struct taken taken = taken_of(world, 5, NULL, INT64_MAX, 400);
                struct store_record record = world_record(world, 5, n);
                assert_int_equal(taken.count, count);
                assert_int_equal(store_count_parked(world->store, 5), count);
                assert_int_equal(record.found == STORE_PARKED, due >= 0);
                if (due >= 0)
                        assert_int_equal(record.due_unix_ms, due);
                for (size_t i = 0; i < count; i++)
                        assert_true(due < 0 || !key128_equal(taken.at[i].key, key_of(n)) ||
                                    taken.at[i].due_unix_ms == due);
                assert_int_equal(world_verify(world).parked, count);
                world_reopen(world, 5);
        }
}

static void a_job_is_parked_once(void **state) {
        struct world *world = *state;
        world_park(world, 5, 1, 100);
        world_park(world, 5, 2, 200);
        world_write(world);
        world_park(world, 5, 1, 300); /* anew */
        world_write(world);
        assert_parked(world, 1, 300, 2);
        world_park(world, 5, 1, 50);
        world_park(world, 5, 1, 60);
        world_park(world, 5, 1, 300); /* where it was */
        world_write(world);
        assert_parked(world, 1, 300, 2);
        store_batch_unpark(world->batch, 5, key_of(1));
        store_batch_unpark(world->batch, 5, key_of(1));
        store_batch_unpark(world->batch, 5, key_of(77));
        world_write(world);
        assert_parked(world, 1, -1, 1);
        store_batch_unpark(world->batch, 5, key_of(2));
        world_park(world, 5, 2, 10);
        world_write(world);
        assert_parked(world, 2, 10, 1);
        store_batch_remove(world->batch, 5, key_of(2));
        world_write(world);
        assert_parked(world, 2, -1, 0);
        assert_int_equal(world_found(world, 5, 2), STORE_NONE);
}

static void what_is_settled_is_not_parked(void **state) {
        struct world *world = *state;
        world_park(world, 5, 1, 100);
        world_park(world, 5, 2, 200);
        world_write(world);
        world_settle(world, 5, 1, no_id);
        world_write(world);
        assert_parked(world, 1, -1, 1);
        assert_int_equal(world_found(world, 5, 1), STORE_SETTLED);
        /* In one batch, in every order; and late. */
        world_park(world, 5, 3, 100);
        world_settle(world, 5, 3, no_id);
        world_settle(world, 5, 2, no_id);
        world_park(world, 5, 2, 300);
        world_settle(world, 5, 4, no_id);
        store_batch_unpark(world->batch, 5, key_of(4));
        world_write(world);
        world_park(world, 5, 1, 400);
        store_batch_unpark(world->batch, 5, key_of(2));
        world_write(world);
        for (uint64_t n = 1; n < 5; n++)
                assert_int_equal(world_found(world, 5, n), STORE_SETTLED);
        assert_parked(world, 1, -1, 0);
}

static void a_parked_job_may_have_an_answer_or_an_attempt(void **state) {
        struct world *world = *state;
        world_begin(world, 5, 2, 3);
        world_write(world);
        world_park(world, 5, 1, 100);
        world_park(world, 5, 2, 100);
        world_answer(world, 5, 1, no_id, BYTES("one"));
        world_write(world);
        world_reopen(world, 5);
        struct store_record record = world_record(world, 5, 1);
        assert_int_equal(record.found, STORE_PARKED);
        assert_true(record.answered && !record.attempted && record.dead_letter);
        assert_int_equal(record.settled.offset, 1);
        record = world_record(world, 5, 2);
        assert_int_equal(record.found, STORE_PARKED);
        assert_true(!record.answered && record.attempted);
        assert_int_equal(record.begun.attempt, 3);
        world_settle(world, 5, 1, no_id);
        world_write(world);
        record = world_record(world, 5, 1);
        assert_int_equal(record.found, STORE_SETTLED);
        assert_false(record.answered);
}

/* The bound moves up with what has gone and down with what comes, also behind a cursor. */
static void an_earlier_time_is_found_again(void **state) {
        struct world *world = *state;
        world_park(world, 5, 1, 1000);
        world_park(world, 5, 2, 2000);
        world_write(world);
        assert_int_equal(taken_of(world, 5, NULL, 500, 10).count, 0);
        assert_int_equal(next_due(world, NULL), 1000);
        store_batch_unpark(world->batch, 5, key_of(1));
        world_write(world);
        assert_int_equal(next_due(world, NULL), 2000);
        world_park(world, 5, 3, 700);
        world_write(world);
        assert_int_equal(next_due(world, NULL), 700);
        assert_int_equal(taken_of(world, 5, NULL, 700, 10).count, 1);
        store_batch_unpark(world->batch, 5, key_of(3));
        store_batch_unpark(world->batch, 5, key_of(2));
        world_write(world);
        assert_int_equal(next_due(world, NULL), INT64_MAX);
        assert_int_equal(taken_of(world, 5, NULL, INT64_MAX, 10).count, 0);
        world_park(world, 5, 4, INT64_MAX - 1);
        world_write(world);
        assert_int_equal(next_due(world, NULL), INT64_MAX - 1);
        assert_int_equal(taken_of(world, 5, NULL, INT64_MAX, 10).count, 1);
        world_park(world, 5, 5, 0);
        world_write(world);
        assert_int_equal(next_due(world, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(what_is_due_comes_in_order),     TEST(a_job_is_parked_once),
                TEST(what_is_settled_is_not_parked),  TEST(a_parked_job_may_have_an_answer_or_an_attempt),
                TEST(an_earlier_time_is_found_again),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
