/* How settled rows go that are old, those that come late too, and what is told of those that stay. */
#include "partitions.h"

enum { P = 5, ROWS = 100, OLD = 50, MANY = 20000 };

/* As settled_of() says: the first OLD are older than that. */
#define BEFORE_UNIX_MS (1000 + OLD)

static void settle_rows(struct world *world, uint32_t partition) {
        if (partition != STORE_NO_PARTITION)
                world_partition(world, partition);
        for (uint64_t n = 0; n < ROWS; n++)
                world_settle(world, partition, n, no_id);
        world_write(world);
}

static struct error *pass(void *userdata, struct key128 key) {
        (void)userdata, (void)key;
        return NULL;
}

/* Of files and of a partition, some at a time and all in one go, when they are dropped and when not. */
static void the_oldest_that_stays_is_told(void **state) {
        struct world *world = *state;
        for (int i = 0; i < 8; i++) {
                uint32_t partition = i & 1 ? P : STORE_NO_PARTITION;
                struct key128 cursor = {0, 0};
                int64_t oldest_unix_ms = INT64_MAX;
                uint64_t count = 0, all = 0;
                struct expiry expiry = {.partition = partition,
                                        .before_unix_ms = BEFORE_UNIX_MS,
                                        .cursor = i & 2 ? &cursor : NULL,
                                        .rows_max = 7,
                                        .each = i & 4 ? pass : NULL,
                                        .oldest_unix_ms = &oldest_unix_ms};
                settle_rows(world, partition);
                do {
                        assert_null(store_expire(world->store, &expiry, &count));
                        all += count;
                } while (cursor.hi || cursor.lo);
                assert_int_equal(all, OLD);
                assert_int_equal(oldest_unix_ms, BEFORE_UNIX_MS);
                for (uint64_t n = 0; n < ROWS; n++)
                        assert_int_equal(world_found(world, partition, n),
                                         n < OLD && !expiry.each ? STORE_NONE : STORE_SETTLED);
        }
}

/* It is lowered, and not raised. */
static void where_none_stays_nothing_is_told(void **state) {
        struct world *world = *state;
        int64_t oldest_unix_ms = 7;
        uint64_t count = 0;
        struct expiry expiry = {.partition = STORE_NO_PARTITION,
                                .before_unix_ms = BEFORE_UNIX_MS,
                                .oldest_unix_ms = &oldest_unix_ms};
        settle_rows(world, STORE_NO_PARTITION);
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
        struct expiry expiry = {.partition = STORE_NO_PARTITION,
                                .before_unix_ms = BEFORE_UNIX_MS,
                                .oldest_unix_ms = &oldest_unix_ms};
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
        settle_rows(world, STORE_NO_PARTITION);
        for (int i = 0; i < 2; i++) {
                int64_t oldest_unix_ms = INT64_MAX;
                uint64_t count = 77;
                struct expiry expiry = {.partition = STORE_NO_PARTITION,
                                        .before_unix_ms = BEFORE_UNIX_MS,
                                        .oldest_unix_ms = &oldest_unix_ms};
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

/* They go as a file, of files and of a partition. Where that fails they are all there. */
static void many_go_at_once(void **state) {
        struct world *world = *state;
        static const char *const operations[] = {"file", "ingest"};
        for (int i = 0; i < 4; i++) {
                uint32_t partition = i & 1 ? P : STORE_NO_PARTITION;
                uint64_t count = 0;
                struct expiry expiry = {.partition = partition, .before_unix_ms = 1000 + MANY - OLD};
                if (partition == P)
                        world_partition(world, P);
                for (uint64_t n = 0; n < MANY; n++)
                        world_settle(world, partition, n, no_id);
                if (partition == P)
                        world_state(world, P, 1);
                world_write(world);
                world_reopen(world, partition);
                expiry.each = pass; /* what was gathered is brought in */
                assert_null(store_expire(world->store, &expiry, &count));
                expiry.each = NULL;
                world->operation = operations[i / 2];
                world->code = ENOSPC;
                world->countdown = 0;
                expect_error(store_expire(world->store, &expiry, &count), ERROR_FULL, "");
                for (uint64_t n = 0; n < MANY; n++)
                        assert_int_equal(world_found(world, partition, n), STORE_SETTLED);
                unsigned files = world->files;
                assert_null(store_expire(world->store, &expiry, &count));
                assert_int_equal(count, MANY - OLD);
                assert_int_equal(world->files, files + 1);
                world_reopen(world, partition);
                for (uint64_t n = 0; n < MANY; n++)
                        assert_int_equal(world_found(world, partition, n),
                                         n < MANY - OLD ? STORE_NONE : STORE_SETTLED);
        }
        assert_int_equal(world_verify(world).settled, 2 * OLD);
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
