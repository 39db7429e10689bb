/* The store on a real RocksDB: what a batch does, what is there after an opening, and what happens when a
 * step fails. */
#include "broker/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
        char directory[64];
        struct store *store;
        struct store_batch *batch;
        /* the hook: fails the operation of that name when `countdown` gets to 0 */
        const char *operation;
        int countdown, code;
        atomic_int asked;
};

static int hook(void *userdata, const char *operation) {
        struct fixture *fixture = userdata;
        fixture->asked++;
        if (fixture->operation && strcmp(fixture->operation, operation) != 0 &&
            strcmp(fixture->operation, "*") != 0)
                return 0;
        return fixture->code && fixture->countdown-- == 0 ? fixture->code : 0;
}

static void remove_directory(const char *path) {
        DIR *entries = opendir(path);
        struct dirent *entry;
        while (entries && (entry = readdir(entries))) {
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        unlinkat(dirfd(entries), entry->d_name, 0);
        }
        if (entries)
                closedir(entries);
        rmdir(path);
}

static struct error *try_open(struct fixture *fixture, bool read_only) {
        struct store_options options = {.directory = fixture->directory,
                                        .read_only = read_only,
                                        .fault = hook,
                                        .fault_userdata = fixture};
        struct error *error = store_open(&options, &fixture->store);
        if (!error)
                fixture->batch = store_batch_new(fixture->store);
        return error;
}

static void close_store(struct fixture *fixture) {
        fixture->batch = store_batch_free(fixture->batch);
        fixture->store = store_close(fixture->store);
}

static void reopen(struct fixture *fixture) {
        close_store(fixture);
        assert_null(try_open(fixture, false));
}

static int setup(void **state) {
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        strcpy(fixture->directory, "/tmp/store_test.XXXXXX");
        assert_non_null(mkdtemp(fixture->directory));
        assert_null(try_open(fixture, false));
        *state = fixture;
        return 0;
}

static int teardown(void **state) {
        struct fixture *fixture = *state;
        close_store(fixture);
        remove_directory(fixture->directory);
        free(fixture);
        return 0;
}

static struct key128 key_of(uint64_t n) {
        return (struct key128){n * UINT64_C(0x9e3779b97f4a7c15), ~n};
}

static struct begun begun_of(uint64_t n, uint32_t attempt) {
        struct begun begun = {.key = key_of(n),
                              .partition = STORE_NO_PARTITION,
                              .attempt = attempt,
                              .exposure_picousd = (int64_t)n * 7};
        begun.fingerprint[5] = (uint8_t)n;
        snprintf(begun.endpoint, sizeof(begun.endpoint), "provider-%u", (unsigned)n % 3);
        return begun;
}

static struct settled settled_of(uint64_t n) {
        struct settled settled = {.partition = STORE_NO_PARTITION,
                                  .failure = FAILURE_ATTEMPTS_EXHAUSTED,
                                  .status = 503,
                                  .attempts = 3,
                                  .cost_known = true,
                                  .cost_picousd = (int64_t)n,
                                  .settled_unix_ms = 1000 + (int64_t)n,
                                  .fingerprint_known = true,
                                  .sink = n & 1,
                                  .offset = n << 33,
                                  .size = (uint32_t)n};
        settled.fingerprint[31] = (uint8_t)n;
        return settled;
}

static struct begun_id begin(struct fixture *fixture, uint64_t n, uint32_t attempt) {
        struct begun begun = begun_of(n, attempt);
        return store_batch_begin(fixture->batch, &begun);
}

static void settle(struct fixture *fixture, uint64_t n, struct begun_id id) {
        struct settled settled = settled_of(n);
        store_batch_settle(fixture->batch, key_of(n), &settled, id);
}

static void write_batch(struct fixture *fixture) {
        assert_null(store_write(fixture->store, fixture->batch));
        assert_int_equal(store_batch_count(fixture->batch), 0);
}

static enum store_found look_up(struct fixture *fixture, uint64_t n, struct store_record *out_record) {
        assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, key_of(n), out_record));
        return out_record->found;
}

static void assert_found(struct fixture *fixture, uint64_t n, enum store_found found) {
        struct store_record record;
        assert_int_equal(look_up(fixture, n, &record), found);
}

static struct error *count_unknown(void *userdata, const struct begun *begun) {
        (void)begun;
        ++*(size_t *)userdata;
        return NULL;
}

static size_t unknown_count(struct fixture *fixture) {
        size_t count = 0;
        struct store_stats stats;
        assert_null(store_each_unknown(fixture->store, count_unknown, &count));
        assert_null(store_stats(fixture->store, &stats));
        assert_int_equal(stats.unknown, count);
        return count;
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

static void assert_error(struct error *error, enum error_class kind, const char *part) {
        assert_non_null(error);
        if (error->kind != kind || !strstr(error->message, part))
                fail_msg("class %d: %s", (int)error->kind, error->message);
        error_free(error);
}

static const struct begun_id no_id;

static void settled_rows_come_back(void **state) {
        struct fixture *fixture = *state;
        struct store_record record, many[300];
        struct key128 keys[300];
        settle(fixture, 1, no_id);
        settle(fixture, 250, no_id);
        write_batch(fixture);
        for (int i = 0; i < 2; i++) {
                struct settled expected = settled_of(250);
                assert_int_equal(look_up(fixture, 250, &record), STORE_SETTLED);
                assert_int_equal(record.settled.failure, expected.failure);
                assert_int_equal(record.settled.status, expected.status);
                assert_int_equal(record.settled.attempts, expected.attempts);
                assert_true(record.settled.cost_known && !record.settled.cost_is_estimate);
                assert_int_equal(record.settled.cost_picousd, expected.cost_picousd);
                assert_int_equal(record.settled.settled_unix_ms, expected.settled_unix_ms);
                assert_true(record.settled.fingerprint_known);
                assert_memory_equal(record.settled.fingerprint, expected.fingerprint, 32);
                assert_int_equal(record.settled.offset, expected.offset);
                assert_int_equal(record.settled.sink, expected.sink);
                assert_int_equal(record.settled.size, expected.size);
                reopen(fixture);
        }
        for (uint64_t i = 0; i < 300; i++)
                keys[i] = key_of(i);
        assert_null(store_look_up_many(fixture->store, keys, NULL, 300, many));
        for (uint64_t i = 0; i < 300; i++)
                assert_int_equal(many[i].found, i == 1 || i == 250 ? STORE_SETTLED : STORE_NONE);
        assert_verified(fixture, 2);
}

static void what_is_live_at_opening_is_unknown(void **state) {
        struct fixture *fixture = *state;
        struct store_record record;
        struct begun_id first = begin(fixture, 1, 1);
        begin(fixture, 2, 1);
        struct begun_id third = begin(fixture, 3, 2);
        write_batch(fixture);
        assert_found(fixture, 2, STORE_NONE);
        settle(fixture, 1, first);
        store_batch_end(fixture->batch, third);
        write_batch(fixture);
        for (int i = 0; i < 3; i++) {
                reopen(fixture);
                assert_int_equal(unknown_count(fixture), 1);
                assert_found(fixture, 1, STORE_SETTLED);
                assert_found(fixture, 3, STORE_NONE);
                assert_int_equal(look_up(fixture, 2, &record), STORE_UNKNOWN);
                struct begun expected = begun_of(2, 1);
                assert_true(key128_equal(record.begun.key, expected.key));
                assert_memory_equal(record.begun.fingerprint, expected.fingerprint, 32);
                assert_string_equal(record.begun.endpoint, expected.endpoint);
                assert_int_equal(record.begun.exposure_picousd, expected.exposure_picousd);
                assert_int_equal(record.begun.attempt, 1);
                assert_verified(fixture, 1);
        }
        settle(fixture, 2, record.begun_id);
        assert_found(fixture, 2, STORE_UNKNOWN);
        write_batch(fixture);
        assert_found(fixture, 2, STORE_SETTLED);
        assert_int_equal(unknown_count(fixture), 0);
        reopen(fixture);
        assert_int_equal(unknown_count(fixture), 0);
}

/* Each row: what happens to the unknown attempt of key 1, and what is known of it then and after another
 * opening. */
static void an_unknown_attempt_gives_way(void **state) {
        struct fixture *fixture = *state;
        enum { SETTLE_BY_ID, SETTLE_BY_KEY, END, BEGIN_AGAIN, BEGIN_AND_END } step;
        static const enum store_found now[] = {STORE_SETTLED, STORE_SETTLED, STORE_NONE, STORE_NONE,
                                               STORE_NONE};
        static const enum store_found later[] = {STORE_SETTLED, STORE_SETTLED, STORE_NONE, STORE_UNKNOWN,
                                                 STORE_NONE};
        for (step = SETTLE_BY_ID; step <= BEGIN_AND_END; step++) {
                uint64_t n = 100 + (uint64_t)step, other = 200 + (uint64_t)step;
                struct store_record record;
                begin(fixture, n, 1);
                begin(fixture, other, 1); /* keeps the block */
                write_batch(fixture);
                reopen(fixture);
                assert_int_equal(look_up(fixture, n, &record), STORE_UNKNOWN);
                if (step == SETTLE_BY_ID || step == SETTLE_BY_KEY)
                        settle(fixture, n, step == SETTLE_BY_ID ? record.begun_id : no_id);
                else if (step == END)
                        store_batch_end(fixture->batch, record.begun_id);
                else if (step == BEGIN_AGAIN)
                        begin(fixture, n, 2);
                else
                        store_batch_end(fixture->batch, begin(fixture, n, 2));
                write_batch(fixture);
                assert_found(fixture, n, now[step]);
                reopen(fixture);
                assert_int_equal(look_up(fixture, n, &record), later[step]);
                if (later[step] == STORE_UNKNOWN)
                        assert_int_equal(record.begun.attempt, 2);
                assert_found(fixture, other, STORE_UNKNOWN);
                settle(fixture, n, no_id);
                settle(fixture, other, no_id);
                write_batch(fixture);
                assert_int_equal(unknown_count(fixture), 0);
        }
}

/* Attempt 1 has no end row, because the process died before it; attempt 2 was ended, and its block is gone.
 */
static void of_several_attempts_the_last_counts(void **state) {
        struct fixture *fixture = *state;
        struct store_record record;
        begin(fixture, 1, 1);
        begin(fixture, 9, 1);
        write_batch(fixture);
        struct begun_id second = begin(fixture, 1, 2);
        write_batch(fixture);
        reopen(fixture);
        assert_int_equal(look_up(fixture, 1, &record), STORE_UNKNOWN);
        assert_int_equal(record.begun.attempt, 2);
        assert_int_equal(record.begun_id.block, second.block);
        assert_int_equal(unknown_count(fixture), 2);
        store_batch_end(fixture->batch, record.begun_id);
        write_batch(fixture);
        reopen(fixture);
        assert_found(fixture, 1, STORE_NONE);
        assert_found(fixture, 9, STORE_UNKNOWN);
}

static void a_second_end_changes_nothing(void **state) {
        struct fixture *fixture = *state;
        struct begun_id first = begin(fixture, 1, 1);
        begin(fixture, 2, 1);
        write_batch(fixture);
        for (int i = 0; i < 3; i++) {
                store_batch_end(fixture->batch, first);
                store_batch_end(fixture->batch, first);
                store_batch_end(fixture->batch, (struct begun_id){999, 0});
                store_batch_end(fixture->batch, (struct begun_id){first.block, 50});
                write_batch(fixture);
        }
        reopen(fixture);
        assert_found(fixture, 1, STORE_NONE);
        assert_found(fixture, 2, STORE_UNKNOWN);
        assert_verified(fixture, 0);
}

static struct error *expire(struct fixture *fixture, int64_t before_unix_ms, uint64_t *out_count) {
        struct expiry expiry = {.before_unix_ms = before_unix_ms};
        return store_expire(fixture->store, &expiry, out_count);
}

static void expired_rows_do_not_bring_attempts_back(void **state) {
        struct fixture *fixture = *state;
        uint64_t count = 0;
        struct begun_id first = begin(fixture, 1, 1);
        begin(fixture, 2, 1);
        write_batch(fixture);
        settle(fixture, 1, first);
        settle(fixture, 50, no_id);
        write_batch(fixture);
        assert_null(expire(fixture, 1050, &count));
        assert_int_equal(count, 1);
        reopen(fixture);
        assert_found(fixture, 1, STORE_NONE);
        assert_found(fixture, 50, STORE_SETTLED);
        assert_found(fixture, 2, STORE_UNKNOWN);
        /* The same when the attempt was found settled at an opening. */
        settle(fixture, 3, begin(fixture, 3, 1));
        begin(fixture, 4, 1);
        write_batch(fixture);
        reopen(fixture);
        assert_null(expire(fixture, 5000, &count));
        assert_int_equal(count, 2);
        reopen(fixture);
        assert_int_equal(unknown_count(fixture), 2);
}

static struct error *take_source(void *userdata, const char *name, const struct source_state *state) {
        struct source_state *out = userdata;
        assert_string_equal(name, "/a/b.jsonl");
        *out = *state;
        return NULL;
}

static void sources_come_back(void **state) {
        struct fixture *fixture = *state;
        struct source_state source = {.offset = UINT64_C(1) << 40,
                                      .lines = 77,
                                      .sequence = 70,
                                      .crc = 0xdeadbeef,
                                      .outputs = {"", "-"},
                                      .finished = true,
                                      .updated_unix_ms = -5};
        struct source_state back = {0}, each = {0};
        bool found = true;
        snprintf(source.outputs[0], sizeof(source.outputs[0]), "%s/out", fixture->directory);
        assert_null(store_get_source(fixture->store, "/a/b.jsonl", &found, &back));
        assert_false(found);
        store_batch_source(fixture->batch, "/a/b.jsonl", &source);
        write_batch(fixture);
        reopen(fixture);
        assert_null(store_get_source(fixture->store, "/a/b.jsonl", &found, &back));
        assert_true(found);
        assert_memory_equal(&back, &source, sizeof(source));
        assert_null(store_each_source(fixture->store, take_source, &each));
        assert_memory_equal(&each, &source, sizeof(source));
        assert_verified(fixture, 0);
        source.outputs_bytes[0] = 10; /* more than there are */
        store_batch_source(fixture->batch, "/a/b.jsonl", &source);
        write_batch(fixture);
        struct buffer findings;
        struct store_stats stats;
        buffer_init(&findings, 1 << 16);
        assert_null(store_verify(fixture->store, &stats, &findings));
        assert_int_equal(stats.sources, 1);
        assert_true(findings.size > 0);
        buffer_deinit(&findings);
}

static struct error *count_body(void *userdata, struct key128 key, struct bytes body) {
        size_t *counts = userdata;
        (void)key;
        counts[0]++;
        counts[1] += body.size;
        return counts[0] == counts[2] ? error_new(ERROR_IO, "enough") : NULL;
}

static void bodies_come_back(void **state) {
        struct fixture *fixture = *state;
        struct buffer body;
        bool found;
        char *large = malloc(100000);
        memset(large, 'x', 100000);
        store_batch_body(fixture->batch, key_of(1), (struct bytes){large, 100000});
        store_batch_body(fixture->batch, key_of(2), BYTES(""));
        store_batch_body(fixture->batch, key_of(3), BYTES("abc"));
        write_batch(fixture);
        reopen(fixture);
        buffer_init(&body, 1 << 20);
        assert_null(store_get_body(fixture->store, key_of(1), &body, &found));
        assert_true(found && body.size == 100000 && memcmp(body.data, large, body.size) == 0);
        buffer_clear(&body);
        assert_null(store_get_body(fixture->store, key_of(2), &body, &found));
        assert_true(found && body.size == 0);
        assert_null(store_get_body(fixture->store, key_of(4), &body, &found));
        assert_false(found);
        store_batch_body_drop(fixture->batch, key_of(2));
        write_batch(fixture);
        size_t counts[3] = {0};
        assert_null(store_each_body(fixture->store, count_body, counts));
        assert_int_equal(counts[0], 2);
        assert_int_equal(counts[1], 100003);
        counts[0] = 0;
        counts[2] = 1;
        assert_error(store_each_body(fixture->store, count_body, counts), ERROR_IO, "enough");
        assert_verified(fixture, 0);
        buffer_deinit(&body);
        free(large);
}

static void another_process_is_refused(void **state) {
        struct fixture *fixture = *state;
        pid_t child = fork();
        if (child == 0) {
                struct fixture other = {0};
                strcpy(other.directory, fixture->directory);
                struct error *error = try_open(&other, false);
                _exit(error && error->kind == ERROR_BUSY &&
                                      strstr(error->message, "in use by another process")
                              ? 0
                              : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        /* A reader is let in. */
        struct fixture reader = {0};
        strcpy(reader.directory, fixture->directory);
        settle(fixture, 1, no_id);
        begin(fixture, 2, 1);
        write_batch(fixture);
        assert_null(try_open(&reader, true));
        assert_found(&reader, 1, STORE_SETTLED);
        assert_found(&reader, 2, STORE_UNKNOWN);
        settle(&reader, 1, no_id);
        assert_error(store_write(reader.store, reader.batch), ERROR_IO, "reading only");
        close_store(&reader);
}

static void directories_that_cannot_be_used(void **state) {
        struct fixture *fixture = *state;
        struct fixture other = {0};
        char file[64];
        snprintf(other.directory, sizeof(other.directory), "%.40s/none", fixture->directory);
        assert_error(try_open(&other, true), ERROR_IO, "none");
        assert_null(mkdir(other.directory, 0700) == 0 ? NULL : "mkdir");
        assert_error(try_open(&other, true), ERROR_INPUT, "there is no state");
        rmdir(other.directory);
        snprintf(file, sizeof(file), "%.40s/file", fixture->directory);
        close(open(file, O_CREAT | O_WRONLY, 0600));
        strcpy(other.directory, file);
        assert_error(try_open(&other, false), ERROR_INPUT, "not a directory");
        strcpy(other.directory, "");
        assert_error(try_open(&other, false), ERROR_USAGE, "empty");
        /* Rows without a database in front of them: not a new one. */
        settle(fixture, 1, no_id);
        write_batch(fixture);
        close_store(fixture);
        snprintf(file, sizeof(file), "%.40s/CURRENT", fixture->directory);
        assert_int_equal(unlink(file), 0);
        assert_error(try_open(fixture, false), ERROR_CORRUPT, "move it away and run again");
}

static void a_full_disk_may_pass(void **state) {
        struct fixture *fixture = *state;
        static const char *const operations[] = {"write", "written"};
        for (uint64_t i = 0; i < 2; i++) {
                struct begun_id id = begin(fixture, 10 + i, 1);
                write_batch(fixture);
                settle(fixture, 10 + i, id);
                begin(fixture, 20 + i, 1);
                fixture->operation = operations[i];
                for (int tries = 0; tries < 3; tries++) {
                        fixture->code = ENOSPC;
                        fixture->countdown = 0;
                        assert_error(store_write(fixture->store, fixture->batch), ERROR_FULL, "No space");
                        assert_int_equal(store_batch_count(fixture->batch), 2);
                }
                fixture->code = 0;
                write_batch(fixture);
                assert_found(fixture, 10 + i, STORE_SETTLED);
                reopen(fixture);
                assert_found(fixture, 10 + i, STORE_SETTLED);
                assert_found(fixture, 20 + i, STORE_UNKNOWN);
                assert_verified(fixture, i + 1);
        }
}

static void another_failure_closes_it_for_writing(void **state) {
        struct fixture *fixture = *state;
        static const char *const operations[] = {"write", "written"};
        for (uint64_t i = 0; i < 2; i++) {
                struct begun_id id = begin(fixture, i, 1);
                write_batch(fixture);
                settle(fixture, i, id);
                fixture->operation = operations[i];
                fixture->code = EIO;
                fixture->countdown = 0;
                assert_error(store_write(fixture->store, fixture->batch), ERROR_IO, "Input/output error");
                fixture->code = 0;
                assert_error(store_write(fixture->store, fixture->batch), ERROR_IO, "closed for writing");
                uint64_t count;
                assert_error(expire(fixture, 0, &count), ERROR_IO, "closed for writing");
                reopen(fixture);
                assert_found(fixture, i, i == 0 ? STORE_UNKNOWN : STORE_SETTLED);
        }
}

struct reader {
        struct store *store;
        uint64_t settled; /* so far, in order: nobody may see them disappear */
        bool wrong;
};

enum { ATTEMPTS = 2000 };

/* All keys are of unknown outcome at first, and settled one after another: none of them is ever neither. */
static void *read_along(void *userdata) {
        struct reader *reader = userdata;
        struct store_record record;
        while (reader->settled < ATTEMPTS && !reader->wrong) {
                struct error *error =
                        store_look_up(reader->store, STORE_NO_PARTITION, key_of(reader->settled), &record);
                reader->wrong = error || record.found == STORE_NONE;
                error_free(error);
                reader->settled += !reader->wrong && record.found == STORE_SETTLED;
        }
        return NULL;
}

static void look_ups_run_along_with_writes(void **state) {
        struct fixture *fixture = *state;
        pthread_t thread;
        for (uint64_t n = 0; n < ATTEMPTS; n++)
                begin(fixture, n, 1);
        write_batch(fixture);
        reopen(fixture);
        struct reader reader = {.store = fixture->store};
        assert_int_equal(pthread_create(&thread, NULL, read_along, &reader), 0);
        for (uint64_t n = 0; n < ATTEMPTS; n++) {
                settle(fixture, n, no_id);
                if (n % 20 == 19)
                        write_batch(fixture);
        }
        pthread_join(thread, NULL);
        assert_false(reader.wrong);
        assert_int_equal(unknown_count(fixture), 0);
}

/* Every operation fails once: the error comes out, nothing leaks (the sanitizers look), and the next opening
 * is right. */
static void the_nth_operation_fails(void **state) {
        struct fixture *fixture = *state;
        fixture->operation = "*";
        bool passed = false;
        for (int n = 0; !passed; n++) {
                struct store_record record;
                struct store_stats stats;
                struct buffer findings;
                close_store(fixture);
                fixture->code = EIO;
                fixture->countdown = n;
                fixture->asked = 0;
                buffer_init(&findings, 1 << 16);
                struct error *error = try_open(fixture, false);
                if (!error) {
                        settle(fixture, 1, begin(fixture, 1, 1));
                        begin(fixture, 2, 1);
                        error = store_write(fixture->store, fixture->batch);
                }
                if (!error)
                        error = store_look_up(fixture->store, STORE_NO_PARTITION, key_of(1), &record);
                if (!error)
                        error = store_verify(fixture->store, &stats, &findings);
                passed = !error;
                buffer_deinit(&findings);
                error_free(error);
                fixture->code = 0;
                reopen(fixture);
                bool written = look_up(fixture, 1, &record) == STORE_SETTLED;
                assert_found(fixture, 2, written ? STORE_UNKNOWN : STORE_NONE);
                assert_true(written || !passed);
                assert_true(n < 100);
        }
        assert_true(fixture->asked > 8);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(settled_rows_come_back, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_live_at_opening_is_unknown, setup, teardown),
                cmocka_unit_test_setup_teardown(an_unknown_attempt_gives_way, setup, teardown),
                cmocka_unit_test_setup_teardown(of_several_attempts_the_last_counts, setup, teardown),
                cmocka_unit_test_setup_teardown(a_second_end_changes_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(expired_rows_do_not_bring_attempts_back, setup, teardown),
                cmocka_unit_test_setup_teardown(sources_come_back, setup, teardown),
                cmocka_unit_test_setup_teardown(bodies_come_back, setup, teardown),
                cmocka_unit_test_setup_teardown(another_process_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(directories_that_cannot_be_used, setup, teardown),
                cmocka_unit_test_setup_teardown(a_full_disk_may_pass, setup, teardown),
                cmocka_unit_test_setup_teardown(another_failure_closes_it_for_writing, setup, teardown),
                cmocka_unit_test_setup_teardown(look_ups_run_along_with_writes, setup, teardown),
                cmocka_unit_test_setup_teardown(the_nth_operation_fails, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
