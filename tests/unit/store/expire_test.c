/* How settled rows go that are old, those that come late too, and what is told of those that stay. */
#include "partitions.h"

enum { ROWS = 100, OLD = 50, MANY = 20000 };

/* As settled_of() says: the first OLD are older than that. */
#define BEFORE_UNIX_MS (1000 + OLD)

static void settle_rows(struct world *world) {
        for (uint64_t n = 0; n < ROWS; n++)
                world_settle(world, STORE_NO_PARTITION, n, no_id);
        world_write(world);
}

/* Some at a time and all in one go; not those of a partition. */
static void the_oldest_that_stays_is_told(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        world_settle(world, 5, 1, no_id);
        for (int i = 0; i < 2; i++) {
                struct key128 cursor = {0, 0};
                int64_t oldest_unix_ms = INT64_MAX;
                uint64_t count = 0, all = 0;
                int calls = 0;
                struct expiry expiry = {.before_unix_ms = BEFORE_UNIX_MS,
                                        .cursor = i ? &cursor : NULL,
                                        .rows_max = 7,
                                        .oldest_unix_ms = &oldest_unix_ms};
                settle_rows(world);
                do {
                        assert_null(store_expire(world->store, &expiry, &count));
                        all += count;
                        calls++;
                } while (cursor.hi || cursor.lo);
                assert_int_equal(all, OLD);
                assert_int_equal(calls, i ? 15 : 1);
                assert_int_equal(oldest_unix_ms, BEFORE_UNIX_MS);
                for (uint64_t n = 0; n < ROWS; n++)
                        assert_int_equal(world_found(world, STORE_NO_PARTITION, n),
                                         n < OLD ? STORE_NONE : STORE_SETTLED);
        }
        assert_int_equal(world_found(world, 5, 1), STORE_SETTLED);
}

/* It is lowered, and not raised. */
static void where_none_stays_nothing_is_told(void **state) {
        struct world *world = *state;
        int64_t oldest_unix_ms = 7;
        uint64_t count = 0;
        struct expiry expiry = {.before_unix_ms = BEFORE_UNIX_MS, .oldest_unix_ms = &oldest_unix_ms};
        settle_rows(world);
        assert_null(store_expire(world->store, &expiry, &count));
        assert_int_equal(oldest_unix_ms, 7);
        oldest_unix_ms = INT64_MAX;
        expiry.before_unix_ms = INT64_MAX;
        assert_null(store_expire(world->store, &expiry, &count));
        assert_int_equal(count, ROWS - OLD);
        assert_int_equal(oldest_unix_ms, INT64_MAX);
        assert_int_equal(world_verify(world).settled, 0);
}

static void rows_that_come_late_have_an_age(void **state) {
        struct world *world = *state;
        int64_t oldest_unix_ms = INT64_MAX;
        uint64_t count = 0;
        struct expiry expiry = {.before_unix_ms = BEFORE_UNIX_MS, .oldest_unix_ms = &oldest_unix_ms};
        for (uint64_t n = 0; n < ROWS; n++) {
                struct settled settled = settled_of(STORE_NO_PARTITION, n);
                store_batch_settle_late(world->batch, key_of(n), &settled, no_id);
        }
        world_write(world);
        assert_int_equal(store_count_late(world->store), ROWS);
        assert_null(store_expire(world->store, &expiry, &count));
        assert_int_equal(count, OLD);
        assert_int_equal(oldest_unix_ms, BEFORE_UNIX_MS);
        assert_int_equal(store_count_late(world->store), 0);
        for (int i = 0; i < 2; i++) {
                for (uint64_t n = 0; n < ROWS; n++)
                        assert_int_equal(world_found(world, STORE_NO_PARTITION, n),
                                         n < OLD ? STORE_NONE : STORE_SETTLED);
                world_reopen(world, STORE_NO_PARTITION);
        }
        assert_int_equal(world_verify(world).settled, ROWS - OLD);
}

/* Nothing is told then, and the next one does what is left. */
static void a_full_disk_may_pass(void **state) {
        struct world *world = *state;
        static const char *const operations[] = {"scan", "write"};
        settle_rows(world);
        for (int i = 0; i < 2; i++) {
                int64_t oldest_unix_ms = INT64_MAX;
                uint64_t count = 77;
                struct expiry expiry = {.before_unix_ms = BEFORE_UNIX_MS, .oldest_unix_ms = &oldest_unix_ms};
                world->operation = operations[i];
                world->code = ENOSPC;
                world->countdown = 0;
                expect_error(store_expire(world->store, &expiry, &count), ERROR_FULL, "");
                assert_int_equal(count, 77);
                assert_int_equal(oldest_unix_ms, INT64_MAX);
                assert_int_equal(world_found(world, STORE_NO_PARTITION, 0), STORE_SETTLED);
                if (i == 0)
                        continue;
                assert_null(store_expire(world->store, &expiry, &count));
                assert_int_equal(count, OLD);
                assert_int_equal(oldest_unix_ms, BEFORE_UNIX_MS);
        }
        assert_int_equal(world_verify(world).settled, ROWS - OLD);
}

/* They go as a file. Where that fails they are all there. */
static void many_go_at_once(void **state) {
        struct world *world = *state;
        static const char *const operations[] = {"file", "ingest"};
        for (int i = 0; i < 2; i++) {
                uint64_t count = 0;
                struct expiry expiry = {.before_unix_ms = 1000 + MANY - OLD};
                for (uint64_t n = 0; n < MANY; n++)
                        world_settle(world, STORE_NO_PARTITION, n, no_id);
                world_write(world);
                world->operation = operations[i];
                world->code = ENOSPC;
                world->countdown = 0;
                expect_error(store_expire(world->store, &expiry, &count), ERROR_FULL, "");
                for (uint64_t n = 0; n < MANY; n++)
                        assert_int_equal(world_found(world, STORE_NO_PARTITION, n), STORE_SETTLED);
                unsigned files = world->files;
                assert_null(store_expire(world->store, &expiry, &count));
                assert_int_equal(count, MANY - OLD);
                assert_int_equal(world->files, files + 1);
                world_reopen(world, STORE_NO_PARTITION);
                for (uint64_t n = 0; n < MANY; n++)
                        assert_int_equal(world_found(world, STORE_NO_PARTITION, n),
                                         n < MANY - OLD ? STORE_NONE : STORE_SETTLED);
        }
        assert_int_equal(world_verify(world).settled, OLD);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(the_oldest_that_stays_is_told, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(where_none_stays_nothing_is_told, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(rows_that_come_late_have_an_age, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(many_go_at_once, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(a_full_disk_may_pass, world_setup, world_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
