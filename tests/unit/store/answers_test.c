/* The rows of unpublished answers: how they come and go while RocksDB writes them out, and those that a
 * version before gave no numbers. */
#include "broker/base/prng.h"
#include "broker/store/record.h"
#include "tests/unit/store/partitions.h"

#include <rocksdb/c.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

enum { P = 5, FAMILIES_MAX = 16 };

static void assert_answer(struct world *world, uint32_t partition, uint64_t n, struct bytes value) {
        struct settled settled;
        struct buffer back;
        bool dead_letter, found;
        buffer_init(&back, SIZE_MAX / 2);
        assert_null(
                store_get_answer(world->store, partition, key_of(n), &settled, &dead_letter, &back, &found));
        assert_true(found);
        assert_true(bytes_equal(buffer_view(&back), value));
        assert_int_equal(dead_letter, n & 1);
        assert_true(settled.partition == partition && settled.offset == n);
        buffer_deinit(&back);
}

/* ---- rows of before ---- */

/* What a version before has left, written as that did, into a family of that name. */
static void write_old(const char *directory, uint64_t count) {
        char *message = NULL;
        size_t listed_count = 0;
        rocksdb_options_t *options = rocksdb_options_create();
        char **listed = rocksdb_list_column_families(options, directory, &listed_count, &message);
        const char *names[FAMILIES_MAX];
        const rocksdb_options_t *each[FAMILIES_MAX];
        rocksdb_column_family_handle_t *handles[FAMILIES_MAX];
        assert_true(!message && listed_count <= FAMILIES_MAX);
        for (size_t i = 0; i < listed_count; i++) {
                names[i] = listed[i];
                each[i] = options;
        }
        rocksdb_t *rocks = rocksdb_open_column_families(options, directory, (int)listed_count, names, each,
                                                        handles, &message);
        assert_null(message);
        rocksdb_column_family_handle_t *family =
                rocksdb_create_column_family(rocks, options, "answers", &message);
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        for (uint64_t n = 0; n < count; n++) {
                uint8_t key[ANSWER_KEY_BYTES], row[ANSWER_HEAD_BYTES + 3];
                struct settled settled = settled_of(P, n);
                answer_key_encode(P, key_of(n), key);
                answer_head_encode(&settled, n & 1, row);
                memcpy(row + ANSWER_HEAD_BYTES, "old", 3);
                rocksdb_writebatch_put_cf(rows, family, (const char *)key, sizeof(key), (const char *)row,
                                          sizeof(row));
        }
        rocksdb_writeoptions_t *write = rocksdb_writeoptions_create();
        rocksdb_write(rocks, write, rows, &message);
        assert_null(message);
        rocksdb_writeoptions_destroy(write);
        rocksdb_writebatch_destroy(rows);
        rocksdb_column_family_handle_destroy(family);
        for (size_t i = 0; i < listed_count; i++)
                rocksdb_column_family_handle_destroy(handles[i]);
        rocksdb_close(rocks);
        rocksdb_list_column_families_destroy(listed, listed_count);
        rocksdb_options_destroy(options);
}

static void open_with_old(struct world *world, uint64_t count) {
        world_partition(world, P);
        world_state(world, P, 1);
        world_write(world);
        world_close(world);
        write_old(world->directory, count);
        world_open(world);
        world_partition(world, P);
}

static void answers_without_numbers_are_read_and_go(void **state) {
        struct world *world = *state;
        open_with_old(world, 5);
        for (int round = 0; round < 2; round++) {
                assert_int_equal(store_count_answers(world->store), 5);
                for (uint64_t n = 0; n < 5; n++) {
                        assert_int_equal(world_found(world, P, n), STORE_ANSWERED);
                        assert_answer(world, P, n, BYTES("old"));
                }
                assert_int_equal(world_verify(world).answers, 5);
                world_reopen(world, P);
        }
        world_settle(world, P, 1, no_id);
        store_batch_answer_drop(world->batch, P, key_of(2));
        world_answer(world, P, 3, no_id, BYTES("anew"));
        world_answer(world, P, 9, no_id, BYTES("nine"));
        world_write(world);
        for (int round = 0; round < 2; round++) {
                assert_int_equal(world_found(world, P, 1), STORE_SETTLED);
                assert_int_equal(world_found(world, P, 2), STORE_NONE);
                assert_answer(world, P, 0, BYTES("old"));
                assert_answer(world, P, 3, BYTES("anew"));
                assert_answer(world, P, 4, BYTES("old"));
                assert_answer(world, P, 9, BYTES("nine"));
                assert_int_equal(store_count_answers(world->store), 4);
                assert_int_equal(world_verify(world).answers, 4);
                world_reopen(world, P);
        }
        assert_null(store_partition_drop(world->store, P));
        world_close(world);
        world_open(world);
        assert_int_equal(store_count_answers(world->store), 0);
        assert_int_equal(world_verify(world).answers, 0);
}

static void an_old_directory_is_read_without_being_changed(void **state) {
        struct world *world = *state;
        open_with_old(world, 3);
        world_close(world);
        struct store_options options = {.directory = world->directory, .read_only = true};
        assert_null(store_open(&options, &world->store));
        assert_int_equal(store_count_answers(world->store), 3);
        assert_int_equal(world_verify(world).answers, 3);
}

/* ---- two for one key ---- */

static void of_two_answers_for_a_key_the_later_counts(void **state) {
        struct world *world = *state;
        world_partition(world, P);
        world_state(world, P, 1);
        world_answer(world, P, 1, no_id, BYTES("first"));
        world_answer(world, P, 1, no_id, BYTES("second"));
        world_write(world);
        assert_answer(world, P, 1, BYTES("second"));
        world_reopen(world, P);
        assert_answer(world, P, 1, BYTES("second"));
        assert_int_equal(world_verify(world).answers, 1);
        world_answer(world, P, 1, no_id, BYTES("third"));
        world_write(world);
        assert_int_equal(world_verify(world).answers, 1);
        world_answer(world, P, 2, no_id, BYTES("gone at once"));
        store_batch_answer_drop(world->batch, P, key_of(2));
        world_answer(world, P, 2, no_id, BYTES("and here again"));
        world_write(world);
        world_reopen(world, P);
        assert_answer(world, P, 1, BYTES("third"));
        assert_answer(world, P, 2, BYTES("and here again"));
        assert_int_equal(world_verify(world).answers, 2);
}

/* ---- coming and going ---- */

enum { JOBS = 64, STEPS = 60, VALUE_BYTES = 32 << 10 };

struct model {
        struct world *world;
        struct prng random;
        uint32_t answers, written[JOBS]; /* which answer it has; 0: none */
        char value[VALUE_BYTES];
};

static struct bytes value_of(struct model *model, uint64_t n, uint32_t written) {
        memset(model->value, (int)n, sizeof(model->value));
        memcpy(model->value, &written, sizeof(written));
        return (struct bytes){model->value, sizeof(model->value)};
}

/* Long runs, in which some are left out: what stays behind. */
static void change_some(struct model *model) {
        uint64_t from = prng_below(&model->random, JOBS), count = prng_below(&model->random, JOBS);
        bool comes = prng_below(&model->random, 2);
        for (uint64_t i = 0; i < count; i++) {
                uint64_t n = (from + i) % JOBS;
                if (prng_below(&model->random, 8) == 0)
                        continue;
                model->written[n] = comes ? ++model->answers : 0;
                if (comes)
                        world_answer(model->world, P, n, no_id, value_of(model, n, model->written[n]));
                else
                        store_batch_answer_drop(model->world->batch, P, key_of(n));
        }
        world_write(model->world);
}

static void assert_model(struct model *model) {
        uint64_t count = 0;
        for (uint64_t n = 0; n < JOBS; n++) {
                enum store_found found = model->written[n] ? STORE_ANSWERED : STORE_NONE;
                assert_int_equal(world_found(model->world, P, n), found);
                if (found == STORE_ANSWERED)
                        assert_answer(model->world, P, n, value_of(model, n, model->written[n]));
                count += found == STORE_ANSWERED;
        }
        assert_int_equal(store_count_answers(model->world->store), count);
        assert_int_equal(world_verify(model->world).answers, count);
}

/* Some 30 MB go through write buffers of 8. */
static void answers_come_and_go_through_flushes_and_openings(void **state) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
                struct model model = {.world = *state};
                prng_init(&model.random, seed);
                world_partition(model.world, P);
                world_state(model.world, P, 1);
                for (int step = 0; step < STEPS; step++) {
                        change_some(&model);
                        if (step % 8 != 7)
                                continue;
                        assert_model(&model);
                        world_reopen(model.world, P);
                        assert_model(&model);
                }
                assert_null(store_partition_drop(model.world->store, P));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(answers_without_numbers_are_read_and_go),
                TEST(an_old_directory_is_read_without_being_changed),
                TEST(of_two_answers_for_a_key_the_later_counts),
                TEST(answers_come_and_go_through_flushes_and_openings),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
