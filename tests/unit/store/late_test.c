/* Settled rows that come late: what a look-up finds, what a crash takes, and how they get to the disk. */
#include "broker/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { FEW = 100, MANY = 10000, TOO_MANY = 70000, IN_A_BATCH = 500 };

struct fixture {
        char directory[64];
        struct store *store;
        struct store_batch *batch;
        const char *fails; /* an operation, once, for want of space */
        unsigned files, ingested;
};

static int hook(void *userdata, const char *operation) {
        struct fixture *fixture = userdata;
        fixture->files += strcmp(operation, "file") == 0;
        fixture->ingested += strcmp(operation, "ingest") == 0;
        if (!fixture->fails || strcmp(fixture->fails, operation) != 0)
                return 0;
        fixture->fails = NULL;
        return ENOSPC;
}

static void open_store(struct fixture *fixture) {
        struct store_options options = {
                .directory = fixture->directory, .fault = hook, .fault_userdata = fixture};
        assert_null(store_open(&options, &fixture->store));
        fixture->batch = store_batch_new(fixture->store);
}

static void close_store(struct fixture *fixture) {
        store_batch_free(fixture->batch);
        store_close(fixture->store);
}

/* As after a crash: nothing is written at closing. */
static void reopen(struct fixture *fixture) {
        close_store(fixture);
        open_store(fixture);
}

static int setup(void **state) {
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        strcpy(fixture->directory, "/tmp/late_test.XXXXXX");
        assert_non_null(mkdtemp(fixture->directory));
        open_store(fixture);
        *state = fixture;
        return 0;
}

static int teardown(void **state) {
        struct fixture *fixture = *state;
        close_store(fixture);
        DIR *entries = opendir(fixture->directory);
        struct dirent *entry;
        while ((entry = readdir(entries)))
                unlinkat(dirfd(entries), entry->d_name, 0);
        closedir(entries);
        rmdir(fixture->directory);
        free(fixture);
        return 0;
}

static struct key128 key_of(uint64_t n) {
        return (struct key128){n * UINT64_C(0x9e3779b97f4a7c15), ~n};
}

static void settle(struct fixture *fixture, uint64_t n, int64_t cost, struct begun_id id) {
        struct settled settled = {.partition = STORE_NO_PARTITION,
                                  .attempts = 1,
                                  .cost_known = true,
                                  .cost_picousd = cost,
                                  .fingerprint_known = true,
                                  .offset = n};
        store_batch_settle_late(fixture->batch, key_of(n), &settled, id);
}

static void settle_many(struct fixture *fixture, uint64_t count) {
        for (uint64_t n = 0; n < count; n++) {
                settle(fixture, n, (int64_t)n, (struct begun_id){0});
                if (n % IN_A_BATCH == IN_A_BATCH - 1 || n + 1 == count)
                        assert_null(store_write(fixture->store, fixture->batch));
        }
}

static struct error *place(struct fixture *fixture) {
        struct source_state source = {.offset = 1};
        store_batch_source(fixture->batch, "jobs", &source);
        return store_write(fixture->store, fixture->batch);
}

static uint64_t count_found(struct fixture *fixture, uint64_t count) {
        uint64_t found = 0;
        for (uint64_t n = 0; n < count; n++) {
                struct store_record record;
                assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, key_of(n), &record));
                if (record.found != STORE_SETTLED)
                        continue;
                found++;
                assert_int_equal(record.settled.partition, STORE_NO_PARTITION);
                assert_int_equal(record.settled.cost_picousd, n);
                assert_int_equal(record.settled.offset, n);
        }
        return found;
}

static void assert_verified(struct fixture *fixture, uint64_t settled) {
        struct store_stats stats;
        struct buffer findings;
        buffer_init(&findings, 1 << 16);
        assert_null(store_verify(fixture->store, &stats, &findings));
        if (findings.size > 0)
                fail_msg("%.*s", (int)findings.size, findings.data);
        assert_int_equal(stats.settled, settled);
        buffer_deinit(&findings);
}

static void are_found_and_go_with_a_crash(void **state) {
        struct fixture *fixture = *state;
        struct store_record record;
        settle_many(fixture, FEW);
        assert_int_equal(store_count_late(fixture->store), FEW);
        assert_int_equal(count_found(fixture, FEW + 1), FEW);
        /* of a file, not of a partition */
        assert_null(store_look_up(fixture->store, 0, key_of(1), &record));
        assert_int_equal(record.found, STORE_NONE);
        reopen(fixture);
        assert_int_equal(count_found(fixture, FEW), 0);
}

static void few_go_along_with_a_place(void **state) {
        struct fixture *fixture = *state;
        settle_many(fixture, FEW);
        settle(fixture, FEW, FEW, (struct begun_id){0}); /* of the same batch */
        assert_null(place(fixture));
        assert_int_equal(store_count_late(fixture->store), 0);
        assert_int_equal(fixture->files, 0);
        reopen(fixture);
        assert_int_equal(count_found(fixture, FEW + 1), FEW + 1);
        assert_verified(fixture, FEW + 1);
}

static void many_go_as_a_file(void **state) {
        struct fixture *fixture = *state;
        settle_many(fixture, MANY);
        assert_null(place(fixture));
        assert_int_equal(store_count_late(fixture->store), 0);
        assert_int_equal(fixture->ingested, 1);
        assert_int_equal(count_found(fixture, MANY), MANY);
        reopen(fixture);
        assert_int_equal(count_found(fixture, MANY), MANY);
        assert_verified(fixture, MANY);
}

static void more_than_there_is_room_for(void **state) {
        struct fixture *fixture = *state;
        settle_many(fixture, TOO_MANY);
        assert_int_equal(fixture->ingested, 1);
        size_t late = store_count_late(fixture->store);
        assert_true(late > 0 && late < TOO_MANY / 2);
        assert_int_equal(count_found(fixture, TOO_MANY), TOO_MANY);
        reopen(fixture);
        assert_int_equal(count_found(fixture, TOO_MANY), TOO_MANY - late);
}

static void a_batch_larger_than_all_room(void **state) {
        struct fixture *fixture = *state;
        for (uint64_t n = 0; n < TOO_MANY; n++)
                settle(fixture, n, (int64_t)n, (struct begun_id){0});
        assert_null(store_write(fixture->store, fixture->batch));
        reopen(fixture);
        assert_int_equal(count_found(fixture, TOO_MANY), TOO_MANY);
}

/* In memory, in a file, and over what is on the disk. */
static void the_last_row_of_a_key_counts(void **state) {
        struct fixture *fixture = *state;
        for (int round = 0; round < 2; round++) {
                settle(fixture, 7, 1, (struct begun_id){0});
                assert_null(store_write(fixture->store, fixture->batch));
                settle_many(fixture, round == 0 ? MANY : FEW);
                assert_int_equal(count_found(fixture, FEW), FEW);
                assert_null(place(fixture));
                reopen(fixture);
                assert_int_equal(count_found(fixture, MANY), MANY);
        }
        settle(fixture, 7, 1, (struct begun_id){0});
        assert_null(store_write(fixture->store, fixture->batch));
        struct store_record record;
        assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, key_of(7), &record));
        assert_int_equal(record.settled.cost_picousd, 1); /* not what the disk says */
        assert_verified(fixture, MANY);
}

/*
 * An attempt is over when its row is there, early or late; after a crash it is not, until the line is seen.
 */
static void attempts_are_over(void **state) {
        struct fixture *fixture = *state;
        struct begun begun = {.partition = STORE_NO_PARTITION, .attempt = 1};
        struct begun_id ids[2];
        for (uint64_t n = 0; n < 2; n++) {
                begun.key = key_of(n);
                ids[n] = store_batch_begin(fixture->batch, &begun);
        }
        assert_null(store_write(fixture->store, fixture->batch));
        settle(fixture, 0, 0, ids[0]);
        assert_null(store_write(fixture->store, fixture->batch));
        reopen(fixture);
        struct store_record record;
        assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, key_of(0), &record));
        assert_int_equal(record.found, STORE_UNKNOWN);
        settle(fixture, 0, 0, record.begun_id);
        assert_null(place(fixture));
        reopen(fixture);
        assert_int_equal(count_found(fixture, 1), 1);
        assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, key_of(1), &record));
        assert_int_equal(record.found, STORE_UNKNOWN);
        assert_verified(fixture, 1);
}

static void a_full_disk_may_pass(void **state) {
        static const char *const operations[] = {"file", "ingest", "write"};
        struct fixture *fixture = *state;
        settle_many(fixture, MANY);
        for (size_t i = 0; i < 3; i++) {
                fixture->fails = operations[i];
                struct error *error = place(fixture);
                assert_non_null(error);
                assert_int_equal(error->kind, ERROR_FULL);
                error_free(error);
                assert_int_equal(count_found(fixture, MANY), MANY);
        }
        assert_null(store_write(fixture->store, fixture->batch));
        reopen(fixture);
        assert_int_equal(count_found(fixture, MANY), MANY);
        assert_verified(fixture, MANY);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(are_found_and_go_with_a_crash, setup, teardown),
                cmocka_unit_test_setup_teardown(few_go_along_with_a_place, setup, teardown),
                cmocka_unit_test_setup_teardown(many_go_as_a_file, setup, teardown),
                cmocka_unit_test_setup_teardown(more_than_there_is_room_for, setup, teardown),
                cmocka_unit_test_setup_teardown(a_batch_larger_than_all_room, setup, teardown),
                cmocka_unit_test_setup_teardown(the_last_row_of_a_key_counts, setup, teardown),
                cmocka_unit_test_setup_teardown(attempts_are_over, setup, teardown),
                cmocka_unit_test_setup_teardown(a_full_disk_may_pass, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
