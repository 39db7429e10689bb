/* Published results that stay for a time. */
#include "partitions.h"

enum { P = 5 };

static void keep(struct world *world, uint32_t partition, uint64_t n, int64_t at_unix_ms, const char *value) {
        store_batch_keep(world->batch, partition, key_of(n), at_unix_ms, bytes_of(value));
}

/* "" when there is none. */
static void assert_kept(struct world *world, uint32_t partition, uint64_t n, int64_t at_unix_ms,
                        const char *expected) {
        struct buffer value;
        bool found;
        buffer_init(&value, 1 << 20);
        assert_null(store_get_kept(world->store, partition, key_of(n), at_unix_ms, &value, &found));
        assert_int_equal(found, *expected != '\0');
        assert_int_equal(value.size, strlen(expected));
        if (found)
                assert_memory_equal(value.data, expected, value.size);
        buffer_deinit(&value);
}

static void are_found_by_when_they_were_settled(void **state) {
        struct world *world = *state;
        keep(world, P, 1, 1000, "one");
        keep(world, P + 1, 1, 1000, "another job");
        keep(world, P, 1, 5000, "settled anew");
        world_write(world);
        for (int round = 0; round < 2; round++) {
                assert_kept(world, P, 1, 1000, "one");
                assert_kept(world, P + 1, 1, 1000, "another job");
                assert_kept(world, P, 1, 5000, "settled anew");
                assert_kept(world, P, 1, 1001, "");
                assert_kept(world, P, 2, 1000, "");
                assert_int_equal(world_verify(world).kept, 3);
                world_reopen(world, STORE_NO_PARTITION);
        }
}

static void go_by_age(void **state) {
        struct world *world = *state;
        assert_null(store_drop_kept(world->store, 10000)); /* nothing there */
        for (uint64_t n = 0; n < 100; n++)
                keep(world, (uint32_t)n % 3, n, 1000 + (int64_t)n, "x");
        world_write(world);
        assert_null(store_drop_kept(world->store, 1000));
        assert_kept(world, 0, 0, 1000, "x");
        assert_null(store_drop_kept(world->store, 1040));
        for (int round = 0; round < 2; round++) {
                for (uint64_t n = 0; n < 100; n++)
                        assert_kept(world, (uint32_t)n % 3, n, 1000 + (int64_t)n, n < 40 ? "" : "x");
                world_reopen(world, STORE_NO_PARTITION);
        }
        keep(world, 0, 0, 1000, "back"); /* what is old need not be older than what went */
        world_write(world);
        assert_kept(world, 0, 0, 1000, "back");
        assert_null(store_drop_kept(world->store, INT64_MAX));
        assert_int_equal(world_verify(world).kept, 0);
}

static void of_any_size(void **state) {
        struct world *world = *state;
        enum { LARGE = 3 << 20 };
        char *large = malloc(LARGE + 1);
        memset(large, 'a', LARGE);
        large[LARGE] = '\0';
        struct buffer value;
        bool found;
        buffer_init(&value, LARGE);
        keep(world, P, 1, 0, large);
        store_batch_keep(world->batch, P, key_of(2), -1, (struct bytes){0}); /* a clock from before 1970 */
        world_write(world);
        world_reopen(world, STORE_NO_PARTITION);
        assert_null(store_get_kept(world->store, P, key_of(1), 0, &value, &found));
        assert_true(found);
        assert_memory_equal(value.data, large, LARGE);
        assert_null(store_get_kept(world->store, P, key_of(2), -1, &value, &found));
        assert_true(found);
        assert_int_equal(value.size, 0);
        buffer_deinit(&value);
        free(large);
}

static void a_failure_is_told(void **state) {
        struct world *world = *state;
        struct buffer value;
        bool found;
        buffer_init(&value, 1 << 20);
        keep(world, P, 1, 1000, "one");
        world_write(world);
        world->operation = "get";
        world->code = EIO;
        expect_error(store_get_kept(world->store, P, key_of(1), 1000, &value, &found), ERROR_IO, "get");
        world->operation = "scan";
        world->countdown = 0;
        expect_error(store_drop_kept(world->store, 2000), ERROR_IO, "scan");
        world->operation = "write";
        world->countdown = 0;
        expect_error(store_drop_kept(world->store, 2000), ERROR_IO, "write");
        world->code = 0;
        world_reopen(world, STORE_NO_PARTITION);
        assert_kept(world, P, 1, 1000, "one");
        buffer_deinit(&value);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)
        const struct CMUnitTest tests[] = {
                TEST(are_found_by_when_they_were_settled),
                TEST(go_by_age),
                TEST(of_any_size),
                TEST(a_failure_is_told),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
