/* When the keys of files are forgotten, when not, and how often all rows are read for it. */
#include "broker/base/time.h"
#include "broker/loop/forget.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROWS = 40, RETENTION_MS = 8000, PERIOD_MS = RETENTION_MS / 8 };

#define START_UNIX_MS INT64_C(1700000000000)

struct fixture {
        char directory[64];
        struct store *store;
        struct store_batch *batch;
        int64_t now_unix_ms;
        unsigned scans;
        const char *operation; /* fails the countdown-th time */
        int countdown, code;
        unsigned asked, enough_after; /* 0: never */
        uint64_t forgotten;
        bool blocked;
};

static int hook(void *userdata, const char *operation) {
        struct fixture *fixture = userdata;
        fixture->scans += strcmp(operation, "scan") == 0;
        if (!fixture->operation || strcmp(fixture->operation, operation) != 0)
                return 0;
        return fixture->countdown-- == 0 ? fixture->code : 0;
}

static void open_store(struct fixture *fixture) {
        struct store_options options = {
                .directory = fixture->directory, .fault = hook, .fault_userdata = fixture};
        assert_null(store_open(&options, &fixture->store));
        fixture->batch = store_batch_new(fixture->store);
}

static void close_store(struct fixture *fixture) {
        fixture->batch = store_batch_free(fixture->batch);
        fixture->store = store_close(fixture->store);
}

static int setup(void **state) {
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        strcpy(fixture->directory, "/tmp/forget_test.XXXXXX");
        assert_non_null(mkdtemp(fixture->directory));
        fixture->now_unix_ms = START_UNIX_MS;
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
        return (struct key128){n * UINT64_C(0x94d049bb133111eb), ~n};
}

static void put_source(struct fixture *fixture, const char *name, bool finished) {
        struct source_state source = {.finished = finished};
        store_batch_source(fixture->batch, name, &source);
        assert_null(store_write(fixture->store, fixture->batch));
}

static void begin_run(struct fixture *fixture, const char *name) {
        assert_null(forget_prepare(fixture->store, fixture->now_unix_ms, fixture->batch));
        put_source(fixture, name, false);
}

/* A job each millisecond. */
static void settle(struct fixture *fixture, uint64_t from, uint64_t count) {
        for (uint64_t n = from; n < from + count; n++) {
                struct settled settled = {.partition = STORE_NO_PARTITION,
                                          .settled_unix_ms = fixture->now_unix_ms++};
                store_batch_settle(fixture->batch, key_of(n), &settled, (struct begun_id){0});
        }
        assert_null(store_write(fixture->store, fixture->batch));
}

static bool is_enough(void *userdata) {
        struct fixture *fixture = userdata;
        return ++fixture->asked > fixture->enough_after && fixture->enough_after > 0;
}

static struct error *try_forget(struct fixture *fixture) {
        struct forgetting forgetting = {.store = fixture->store,
                                        .retention_ns = RETENTION_MS * NS_PER_MS,
                                        .now_unix_ms = fixture->now_unix_ms,
                                        .rows_at_a_time = 10,
                                        .enough = is_enough,
                                        .userdata = fixture};
        fixture->asked = fixture->scans = 0;
        return forget_old(&forgetting, &fixture->forgotten, &fixture->blocked);
}

static void assert_forgotten(struct fixture *fixture, uint64_t expected) {
        assert_null(try_forget(fixture));
        assert_int_equal(fixture->forgotten, expected);
}

static void assert_any(struct fixture *fixture, bool expected) {
        bool any;
        assert_null(forget_any(fixture->store, &any));
        assert_int_equal(any, expected);
}

static void run(struct fixture *fixture, const char *name, uint64_t from, uint64_t count) {
        begin_run(fixture, name);
        settle(fixture, from, count);
        put_source(fixture, name, true);
}

static uint64_t count_rows(struct fixture *fixture) {
        struct store_stats stats;
        struct buffer findings;
        buffer_init(&findings, 1 << 16);
        assert_null(store_verify(fixture->store, &stats, &findings));
        assert_int_equal(findings.size, 0);
        buffer_deinit(&findings);
        return stats.settled;
}

/* Rows are read when some may be old, and then not for an eighth of the retention. */
static void old_rows_go_once_in_a_while(void **state) {
        struct fixture *fixture = *state;
        run(fixture, "a", 0, ROWS);
        int64_t first_ms = fixture->now_unix_ms;
        assert_forgotten(fixture, 0);
        assert_int_equal(fixture->scans, 0);
        fixture->now_unix_ms = START_UNIX_MS + RETENTION_MS + PERIOD_MS; /* what is late by less may stay */
        assert_forgotten(fixture, 0);
        assert_int_equal(fixture->scans, 0);
        run(fixture, "b", ROWS, ROWS);
        assert_any(fixture, false);
        assert_forgotten(fixture, ROWS);
        assert_any(fixture, true);
        assert_false(fixture->blocked);
        assert_true(fixture->scans > 0);
        assert_int_equal(count_rows(fixture), ROWS);
        for (int i = 0; i < 2; i++) {
                assert_forgotten(fixture, 0);
                assert_int_equal(fixture->scans, 0);
                fixture->now_unix_ms = first_ms + 2 * RETENTION_MS + PERIOD_MS;
        }
        fixture->now_unix_ms += 2 * PERIOD_MS;
        assert_forgotten(fixture, ROWS);
        assert_int_equal(count_rows(fixture), 0);
}

/* Between two readings some rows get old and some are young. */
static void young_rows_stay(void **state) {
        struct fixture *fixture = *state;
        run(fixture, "a", 0, ROWS);
        fixture->now_unix_ms += RETENTION_MS;
        run(fixture, "b", ROWS, ROWS);
        fixture->now_unix_ms += 2 * PERIOD_MS;
        assert_forgotten(fixture, ROWS);
        for (uint64_t n = 0; n < 2 * ROWS; n++) {
                struct store_record record;
                assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, key_of(n), &record));
                assert_int_equal(record.found, n < ROWS ? STORE_NONE : STORE_SETTLED);
        }
}

static void an_input_that_is_not_finished_keeps_all(void **state) {
        struct fixture *fixture = *state;
        run(fixture, "a", 0, ROWS);
        begin_run(fixture, "b");
        fixture->now_unix_ms += 10 * RETENTION_MS;
        run(fixture, "c", ROWS, ROWS);
        assert_forgotten(fixture, 0);
        assert_true(fixture->blocked);
        assert_any(fixture, false);
        assert_int_equal(count_rows(fixture), 2 * ROWS);
        run(fixture, "b", 2 * ROWS, 1);
        assert_forgotten(fixture, ROWS);
        assert_false(fixture->blocked);
        assert_int_equal(count_rows(fixture), ROWS + 1);
}

/* Of a directory that has no note nothing is known: its rows are read once. */
static void a_directory_from_before(void **state) {
        struct fixture *fixture = *state;
        put_source(fixture, "a", true);
        settle(fixture, 0, ROWS);
        run(fixture, "b", ROWS, ROWS);
        assert_forgotten(fixture, 0);
        assert_true(fixture->scans > 1);
        assert_forgotten(fixture, 0);
        assert_int_equal(fixture->scans, 0);
        fixture->now_unix_ms = START_UNIX_MS + RETENTION_MS + PERIOD_MS + 1;
        assert_forgotten(fixture, 2 * ROWS);
}

/* What is left is for the next time, which is not put off. */
static void it_can_be_stopped(void **state) {
        struct fixture *fixture = *state;
        run(fixture, "a", 0, ROWS);
        fixture->now_unix_ms += 2 * RETENTION_MS;
        fixture->enough_after = 2;
        assert_forgotten(fixture, 20);
        fixture->enough_after = 0;
        assert_forgotten(fixture, ROWS - 20);
        assert_int_equal(count_rows(fixture), 0);
}

static void the_clock_is_set_back(void **state) {
        struct fixture *fixture = *state;
        run(fixture, "a", 0, ROWS);
        fixture->now_unix_ms -= 100 * RETENTION_MS;
        int64_t then_ms = fixture->now_unix_ms;
        run(fixture, "b", ROWS, ROWS);
        assert_forgotten(fixture, 0);
        fixture->now_unix_ms = then_ms + RETENTION_MS + 2 * PERIOD_MS;
        assert_forgotten(fixture, ROWS);
        assert_int_equal(count_rows(fixture), ROWS); /* of the future */
        fixture->now_unix_ms = START_UNIX_MS + RETENTION_MS + 2 * PERIOD_MS;
        assert_forgotten(fixture, ROWS);
}

/* Whatever fails, the next time does it all. */
static void failures_put_it_off(void **state) {
        struct fixture *fixture = *state;
        static const char *const operations[] = {"get", "scan", "write"};
        unsigned failed = 0;
        for (int i = 0; i < 3; i++) {
                for (int n = 0; n < 10; n++) {
                        run(fixture, "a", 0, ROWS);
                        fixture->now_unix_ms += 2 * RETENTION_MS;
                        fixture->operation = operations[i];
                        fixture->countdown = n;
                        fixture->code = ENOSPC;
                        struct error *error = try_forget(fixture);
                        uint64_t before = fixture->forgotten;
                        failed += error != NULL;
                        assert_true(error || before == ROWS);
                        bool done = !error;
                        error_free(error);
                        fixture->operation = NULL;
                        assert_null(try_forget(fixture));
                        assert_int_equal(count_rows(fixture), 0);
                        if (done)
                                break;
                        assert_true(n < 9);
                }
        }
        assert_true(failed > 8);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(old_rows_go_once_in_a_while, setup, teardown),
                cmocka_unit_test_setup_teardown(young_rows_stay, setup, teardown),
                cmocka_unit_test_setup_teardown(an_input_that_is_not_finished_keeps_all, setup, teardown),
                cmocka_unit_test_setup_teardown(a_directory_from_before, setup, teardown),
                cmocka_unit_test_setup_teardown(it_can_be_stopped, setup, teardown),
                cmocka_unit_test_setup_teardown(the_clock_is_set_back, setup, teardown),
                cmocka_unit_test_setup_teardown(failures_put_it_off, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
