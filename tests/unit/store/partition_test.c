/* Partitions and unpublished answers: what a batch does, what is there after an opening, and how a partition
 * goes. */
#include "tests/unit/store/partitions.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

static void a_key_is_a_name_within_its_partition(void **state) {
        struct world *world = *state;
        assert_false(world_partition(world, 0));
        assert_false(world_partition(world, 7));
        world_settle(world, 0, 1, no_id);
        world_settle(world, 7, 2, no_id);
        world_settle(world, STORE_NO_PARTITION, 3, no_id);
        world_begin(world, 7, 3, 1);
        world_begin(world, 0, 4, 2);
        world_write(world);
        struct key128 keys[500];
        uint32_t partitions[500];
        struct store_record records[500];
        for (int round = 0; round < 2; round++) {
                for (size_t i = 0; i < 500; i++) {
                        keys[i] = key_of(i % 5);
                        partitions[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? 7 : i % 2 ? STORE_NO_PARTITION : 99;
                }
                assert_null(store_look_up_many(world->store, keys, partitions, 500, records));
                for (size_t i = 0; i < 500; i++) {
                        uint64_t n = i % 5;
                        bool settled = (partitions[i] == 0 && n == 1) || (partitions[i] == 7 && n == 2) ||
                                       (partitions[i] == STORE_NO_PARTITION && n == 3);
                        bool begun = (partitions[i] == 7 && n == 3) || (partitions[i] == 0 && n == 4);
                        enum store_found expected = settled          ? STORE_SETTLED
                                                    : begun && round ? STORE_UNKNOWN
                                                                     : STORE_NONE;
                        assert_int_equal(records[i].found, expected);
                        if (settled) {
                                assert_int_equal(records[i].settled.partition, partitions[i]);
                                assert_int_equal(records[i].settled.offset, n);
                        }
                        if (begun && round)
                                assert_int_equal(records[i].begun.partition, partitions[i]);
                }
                world_reopen(world, STORE_NO_PARTITION);
        }
        assert_int_equal(world_verify(world).settled, 3);
}

static void the_state_comes_with_the_rows(void **state) {
        struct world *world = *state;
        struct partition_state back = {0};
        bool found = true;
        assert_null(store_partition_open(world->store, 5, &found, &back));
        assert_false(found);
        world_settle(world, 5, 1, no_id);
        world_state(world, 5, 40);
        assert_null(store_write_lazy(world->store, world->batch));
        world_close(world);
        world_open(world);
        assert_null(store_partition_open(world->store, 5, &found, &back));
        assert_true(found);
        assert_int_equal(back.changelog_offset, 40);
        assert_int_equal(back.source_high, 80);
        assert_int_equal(back.updated_unix_ms, 5);
        assert_int_equal(world_found(world, 5, 1), STORE_SETTLED);
        expect_error(store_partition_open(world->store, STORE_PARTITIONS_MAX, &found, &back), ERROR_USAGE,
                     "not handled");
}

/* Rows that nobody finished are not believed, but what was bought is kept. */
static void without_a_state_the_rows_are_read_anew(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        struct begun_id id = world_begin(world, 5, 2, 1);
        world_begin(world, 5, 3, 1);
        world_write(world);
        world_settle(world, 5, 1, no_id);
        world_answer(world, 5, 2, id, BYTES("bought"));
        world_park(world, 5, 4, 100);
        world_write(world);
        world_reopen(world, 5);
        assert_int_equal(world_found(world, 5, 1), STORE_NONE);
        assert_int_equal(world_found(world, 5, 2), STORE_ANSWERED);
        assert_int_equal(world_found(world, 5, 3), STORE_UNKNOWN);
        assert_int_equal(world_found(world, 5, 4), STORE_NONE);
        assert_int_equal(store_count_parked(world->store, 5), 0);
        world_verify(world);
}

static void clearing_keeps_what_was_bought(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        struct begun_id settled = world_begin(world, 5, 1, 1), answered = world_begin(world, 5, 2, 1);
        world_begin(world, 5, 3, 1);
        world_write(world);
        world_settle(world, 5, 1, settled);
        world_answer(world, 5, 2, answered, BYTES("bought"));
        world_park(world, 5, 4, 100);
        world_state(world, 5, 9);
        expect_error(store_partition_clear(world->store, 5), ERROR_BUSY, "on their way");
        world_write(world);
        assert_null(store_partition_clear(world->store, 5));
        for (int round = 0; round < 2; round++) {
                assert_int_equal(world_found(world, 5, 1), STORE_NONE);
                assert_int_equal(world_found(world, 5, 2), STORE_ANSWERED);
                assert_int_equal(world_found(world, 5, 3), round ? STORE_UNKNOWN : STORE_NONE);
                assert_int_equal(world_found(world, 5, 4), STORE_NONE);
                world_verify(world);
                if (round == 0)
                        world_reopen(world, STORE_NO_PARTITION);
        }
        assert_false(world_partition(world, 5));
}

static struct error *count_partition(void *userdata, uint32_t partition,
                                     const struct partition_stats *stats) {
        (void)partition;
        (void)stats;
        ++*(size_t *)userdata;
        return NULL;
}

static size_t partitions_there(struct world *world) {
        size_t count = 0;
        assert_null(store_each_partition(world->store, count_partition, &count));
        return count;
}

static void a_dropped_partition_leaves_nothing(void **state) {
        struct world *world = *state;
        for (int opened = 0; opened < 2; opened++) {
                world_partition(world, 5);
                world_partition(world, 6);
                struct begun_id settled = world_begin(world, 5, 1, 1), answered = world_begin(world, 5, 2, 1);
                world_begin(world, 5, 3, 1);
                world_begin(world, 6, 3, 1);
                world_write(world);
                world_settle(world, 5, 1, settled);
                world_answer(world, 5, 2, answered, BYTES("bought"));
                world_park(world, 5, 4, 100);
                world_park(world, 6, 4, 100);
                world_state(world, 5, 9);
                world_state(world, 6, 9);
                world_write(world);
                world_reopen(world, opened ? 5 : STORE_NO_PARTITION);
                assert_null(store_partition_drop(world->store, 5));
                assert_null(store_partition_drop(world->store, 5));
                assert_int_equal(partitions_there(world), 1);
                for (int round = 0; round < 2; round++) {
                        for (uint64_t n = 1; n < 5; n++)
                                assert_int_equal(world_found(world, 5, n), STORE_NONE);
                        assert_int_equal(store_count_answers(world->store), 0);
                        assert_int_equal(world_verify(world).parked, 1);
                        assert_int_equal(world_found(world, 6, 3), STORE_UNKNOWN);
                        assert_int_equal(world_found(world, 6, 4), STORE_PARKED);
                        world_reopen(world, STORE_NO_PARTITION);
                }
                assert_null(store_partition_drop(world->store, 6));
                assert_int_equal(partitions_there(world), 0);
                assert_false(world_partition(world, 5));
                world_settle(world, 5, 9, no_id);
                world_write(world);
                assert_int_equal(world_found(world, 5, 9), STORE_SETTLED);
                assert_null(store_partition_drop(world->store, 5));
        }
}

/*
 * What a job with zdr was answered: that and what it cost is known, until the next attempt takes its place.
 */
static void an_answer_may_be_without_a_value(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        struct begun_id id = world_begin(world, 5, 2, 1), kept = world_begin(world, 5, 3, 1);
        world_write(world);
        world_answer(world, 5, 2, id, BYTES(""));
        world_answer(world, 5, 3, kept, BYTES("bought"));
        world_write(world);
        for (int round = 0; round < 2; round++) {
                struct store_record record = world_record(world, 5, 2);
                assert_int_equal(record.found, STORE_ANSWERED);
                assert_false(record.kept);
                assert_int_equal(record.settled.cost_picousd, 6);
                assert_true(world_record(world, 5, 3).kept);
                if (round == 0)
                        world_reopen(world, 5);
        }
        store_batch_answer_drop(world->batch, 5, key_of(2));
        world_begin(world, 5, 2, 2);
        world_write(world);
        world_reopen(world, 5);
        struct store_record record = world_record(world, 5, 2);
        assert_int_equal(record.found, STORE_UNKNOWN);
        assert_int_equal(record.begun.attempt, 2);
        world_verify(world);
}

enum { MANY = 200 };

static void many_partitions_take_little_memory(void **state) {
        struct world *world = *state;
        for (uint32_t p = 0; p < MANY; p++)
                world_partition(world, p);
        for (uint64_t round = 0; round < 20; round++) {
                for (uint32_t p = 0; p < MANY; p++) {
                        for (uint64_t i = 0; i < 50; i++)
                                world_settle(world, p, round * 50 + i, no_id);
                        world_state(world, p, round);
                }
                assert_null(store_write_lazy(world->store, world->batch));
        }
        struct store_stats stats;
        assert_null(store_stats(world->store, &stats));
        assert_int_equal(stats.partitions, MANY);
        assert_true(stats.memory_bytes < 96 << 20);
        world_reopen(world, STORE_NO_PARTITION);
        for (uint32_t p = 0; p < MANY; p++)
                assert_true(world_partition(world, p));
        assert_int_equal(world_verify(world).settled, MANY * 1000);
}

static void a_directory_belongs_to_one_cluster(void **state) {
        struct world *world = *state;
        for (int i = 0; i < 2; i++) {
                assert_null(store_bind(world->store, "abc/jobs/state"));
                expect_error(store_bind(world->store, "abc/jobs/other"), ERROR_USAGE,
                             "belongs to abc/jobs/state, and this is abc/jobs/other");
                world_reopen(world, STORE_NO_PARTITION);
        }
        world_verify(world);
}

/* ---- answers ---- */

static void assert_answer(struct world *world, uint64_t n, struct bytes value) {
        struct settled settled, expected = settled_of(5, n);
        struct buffer back;
        bool dead_letter, found;
        buffer_init(&back, SIZE_MAX / 2);
        buffer_append_string(&back, "of before");
        assert_null(store_get_answer(world->store, 5, key_of(n), &settled, &dead_letter, &back, &found));
        assert_true(found);
        assert_true(bytes_equal(buffer_view(&back), value));
        assert_int_equal(dead_letter, n & 1);
        assert_int_equal(settled.partition, 5);
        assert_int_equal(settled.offset, n);
        assert_memory_equal(settled.fingerprint, expected.fingerprint, 32);
        buffer_deinit(&back);
        struct store_record record = world_record(world, 5, n);
        assert_int_equal(record.found, STORE_ANSWERED);
        assert_int_equal(record.dead_letter, n & 1);
        assert_int_equal(record.settled.cost_picousd, expected.cost_picousd);
}

static struct error *sum_answers(void *userdata, struct key128 key, const struct settled *settled,
                                 bool dead_letter) {
        assert_true(key128_equal(key, key_of(settled->offset)));
        assert_int_equal(dead_letter, settled->offset & 1);
        *(uint64_t *)userdata += settled->offset;
        return NULL;
}

static void answers_stay_until_their_job_is_settled(void **state) {
        struct world *world = *state;
        struct bytes large = {malloc(5 << 20), 5 << 20};
        memset((void *)(uintptr_t)large.data, 'x', large.size);
        world_partition(world, 5);
        world_partition(world, 6);
        world_answer(world, 5, 1, no_id, large);
        world_answer(world, 5, 2, no_id, BYTES(""));
        world_answer(world, 5, 3, no_id, BYTES("three"));
        world_answer(world, 6, 3, no_id, BYTES("of another"));
        world_answer(world, 5, 4, no_id, BYTES("four"));
        assert_int_equal(world_found(world, 5, 1), STORE_NONE);
        world_state(world, 5, 1);
        world_write(world);
        for (int round = 0; round < 2; round++) {
                uint64_t sum = 0;
                assert_answer(world, 1, large);
                assert_answer(world, 2, BYTES(""));
                assert_answer(world, 3, BYTES("three"));
                assert_int_equal(store_count_answers(world->store), 5);
                assert_null(store_each_answer(world->store, 5, sum_answers, &sum));
                assert_int_equal(sum, 10);
                assert_int_equal(world_verify(world).answers, 5);
                world_reopen(world, 5);
        }
        world_partition(world, 6);
        world_settle(world, 5, 1, no_id);
        store_batch_answer_drop(world->batch, 5, key_of(4));
        world_write(world);
        for (int round = 0; round < 2; round++) {
                struct buffer back;
                struct settled settled;
                bool found = true, dead_letter;
                buffer_init(&back, 100);
                assert_null(
                        store_get_answer(world->store, 5, key_of(1), &settled, &dead_letter, &back, &found));
                assert_false(found);
                assert_int_equal(world_found(world, 5, 1), STORE_SETTLED);
                assert_int_equal(world_found(world, 5, 4), STORE_NONE);
                assert_int_equal(store_count_answers(world->store), 3);
                assert_int_equal(world_verify(world).answers, 3);
                world_reopen(world, 5);
        }
        free((void *)(uintptr_t)large.data);
}

static void an_answer_and_its_settling_in_one_batch(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        world_answer(world, 5, 1, no_id, BYTES("x"));
        world_settle(world, 5, 1, no_id);
        world_write(world);
        assert_int_equal(store_count_answers(world->store), 0);
        assert_int_equal(world_verify(world).answers, 0);
}

/* An answer ends its attempt; without the answer the attempt does not come back. */
static void an_answered_attempt_is_over(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        world_state(world, 5, 1);
        struct begun_id id[4];
        for (uint64_t n = 0; n < 4; n++)
                id[n] = world_begin(world, 5, n, 1);
        world_write(world);
        world_answer(world, 5, 0, id[0], BYTES("zero"));
        world_answer(world, 5, 1, id[1], BYTES("one"));
        world_write(world);
        store_batch_answer_drop(world->batch, 5, key_of(0));
        world_write(world);
        world_reopen(world, 5);
        assert_int_equal(world_found(world, 5, 0), STORE_NONE);
        assert_int_equal(world_found(world, 5, 1), STORE_ANSWERED);
        assert_int_equal(world_found(world, 5, 2), STORE_UNKNOWN);
        assert_false(world_record(world, 5, 1).attempted);
        /* The same for an attempt and an answer from before the opening. */
        store_batch_answer_drop(world->batch, 5, key_of(1));
        world_answer(world, 5, 2, no_id, BYTES("two"));
        world_write(world);
        assert_int_equal(world_found(world, 5, 2), STORE_ANSWERED);
        store_batch_answer_drop(world->batch, 5, key_of(2));
        world_write(world);
        world_reopen(world, 5);
        for (uint64_t n = 0; n < 3; n++)
                assert_int_equal(world_found(world, 5, n), STORE_NONE);
        assert_int_equal(world_found(world, 5, 3), STORE_UNKNOWN);
        assert_int_equal(world_verify(world).unknown, 1);
}

static void a_removed_row_brings_no_attempt_back(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        world_state(world, 5, 1);
        struct begun_id id = world_begin(world, 5, 1, 1);
        world_begin(world, 5, 2, 1);
        world_write(world);
        world_settle(world, 5, 1, id);
        world_write(world);
        store_batch_remove(world->batch, 5, key_of(1));
        world_write(world);
        assert_int_equal(world_found(world, 5, 1), STORE_NONE);
        world_reopen(world, 5);
        assert_int_equal(world_found(world, 5, 1), STORE_NONE);
        assert_int_equal(world_found(world, 5, 2), STORE_UNKNOWN);
}

/* ---- old rows ---- */

/* `run` makes no families but those that it always had, so that an older version opens its directory. */
static void a_directory_of_files_stays_one(void **state) {
        struct world *world = *state;
        world_close(world);
        remove_directory(world->directory);
        for (int worker = 0; worker < 2; worker++) {
                struct store_options options = {.directory = world->directory};
                struct store *store;
                for (int i = 0; i < 2; i++) {
                        options.read_only = i == 1;
                        assert_null(store_open(&options, &store));
                        struct store_batch *batch = store_batch_new(store);
                        struct settled settled = settled_of(STORE_NO_PARTITION, 1);
                        struct store_record record;
                        store_batch_settle(batch, key_of(1), &settled, no_id);
                        if (!options.read_only)
                                assert_null(store_write(store, batch));
                        assert_null(store_look_up(store, STORE_NO_PARTITION, key_of(1), &record));
                        assert_int_equal(record.found, STORE_SETTLED);
                        store_batch_free(batch);
                        store_close(store);
                }
                world_open(world);
                assert_int_equal(world_found(world, STORE_NO_PARTITION, 1), STORE_SETTLED);
                assert_int_equal(world_partition(world, 3), worker == 1);
                world_state(world, 3, 1);
                world_write(world);
                world_close(world);
        }
        world_open(world);
}

static void a_full_disk_may_pass(void **state) {
        struct world *world = *state;
        static const char *const operations[] = {"write", "written"};
        world_partition(world, 5);
        world_state(world, 5, 1);
        world_park(world, 5, 3, 50);
        world_answer(world, 5, 4, no_id, BYTES("four"));
        world_write(world);
        for (int i = 0; i < 2; i++) {
                struct begun_id id = world_begin(world, 5, 1, 1);
                world_write(world);
                world_answer(world, 5, 1, id, BYTES("one"));
                world_settle(world, 5, 4, no_id);
                world_park(world, 5, 3, 60 + i);
                world_park(world, 5, 5, 70);
                world->operation = operations[i];
                for (int tries = 0; tries < 3; tries++) {
                        world->code = ENOSPC;
                        world->countdown = 0;
                        expect_error(store_write(world->store, world->batch), ERROR_FULL, "No space");
                        assert_int_equal(store_batch_count(world->batch), 4);
                }
                world->code = 0;
                world_write(world);
                assert_int_equal(world_found(world, 5, 1), STORE_ANSWERED);
                assert_int_equal(world_record(world, 5, 3).due_unix_ms, 60 + i);
                assert_int_equal(store_count_answers(world->store), 1);
                struct store_stats stats = world_verify(world);
                assert_int_equal(stats.parked, 2);
                world_reopen(world, 5);
                assert_int_equal(store_count_parked(world->store, 5), 2);
                store_batch_answer_drop(world->batch, 5, key_of(1));
                world_write(world);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(a_key_is_a_name_within_its_partition),    TEST(the_state_comes_with_the_rows),
                TEST(without_a_state_the_rows_are_read_anew),  TEST(clearing_keeps_what_was_bought),
                TEST(a_dropped_partition_leaves_nothing),      TEST(many_partitions_take_little_memory),
                TEST(a_directory_belongs_to_one_cluster),      TEST(answers_stay_until_their_job_is_settled),
                TEST(an_answer_and_its_settling_in_one_batch), TEST(an_answered_attempt_is_over),
                TEST(an_answer_may_be_without_a_value),        TEST(a_removed_row_brings_no_attempt_back),
                TEST(a_directory_of_files_stays_one),          TEST(a_full_disk_may_pass),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
