/* What was spent of a partition: the last word of each name counts, it comes and goes with the partition. */
#include "tests/unit/store/partitions.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

struct found {
        uint32_t count[8];
        char last[8][8];
};

static struct error *see(void *userdata, uint32_t partition, struct bytes value) {
        struct found *found = userdata;
        assert_true(partition < 8 && value.size < 8);
        found->count[partition]++;
        memcpy(found->last[partition], value.data, value.size);
        return NULL;
}

static struct found find(struct world *world, uint32_t partition) {
        struct found found = {0};
        assert_null(store_each_share(world->store, partition, see, &found));
        return found;
}

static void the_last_word_of_a_name_counts(void **state) {
        struct world *world = *state;
        struct bytes name = {"\0w/a", 4};
        for (int round = 0; round < 2; round++) {
                world_partition(world, 5);
                world_partition(world, 6);
                if (round == 0) {
                        store_batch_share(world->batch, 5, name, BYTES("one"));
                        store_batch_share(world->batch, 5, name, BYTES("two"));
                        store_batch_share(world->batch, 6, name, BYTES("six"));
                        store_batch_share(world->batch, 6, BYTES("b"), BYTES("six"));
                        world_state(world, 5, 1); /* without one it would begin anew */
                        world_state(world, 6, 1);
                        world_write(world);
                }
                struct found found = find(world, 5);
                assert_int_equal(found.count[5], 1);
                assert_string_equal(found.last[5], "two");
                found = find(world, STORE_NO_PARTITION);
                assert_int_equal(found.count[5], 1);
                assert_int_equal(found.count[6], 2);
                world_reopen(world, STORE_NO_PARTITION);
        }
        assert_int_equal(world_verify(world).settled, 0);
}

/* Small loads and large ones; and a partition that is taken away leaves nothing of it. */
static void loads_bring_them(void **state) {
        struct world *world = *state;
        for (int large = 0; large < 2; large++) {
                struct store_load *load;
                struct partition_state at = {.changelog_offset = 9};
                world_partition(world, 5);
                assert_null(store_load_begin(world->store, 5, &load));
                for (uint64_t i = 0; i < (large ? 150000 : 2); i++)
                        assert_null(store_load_share(load, BYTES("a"), i % 2 ? BYTES("odd") : BYTES("even")));
                struct settled settled = settled_of(5, 1);
                assert_null(store_load_settled(load, key_of(1), &settled));
                assert_null(store_load_end(load, &at));
                struct found found = find(world, 5);
                assert_int_equal(found.count[5], 1);
                assert_string_equal(found.last[5], "odd");
                store_batch_share(world->batch, 6, BYTES("a"), BYTES("six"));
                world_write(world);
                if (large)
                        assert_null(store_partition_drop(world->store, 5));
                else
                        assert_null(store_partition_clear(world->store, 5));
                found = find(world, STORE_NO_PARTITION);
                assert_int_equal(found.count[5], 0);
                assert_int_equal(found.count[6], 1);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {TEST(the_last_word_of_a_name_counts), TEST(loads_bring_them)};
        return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
