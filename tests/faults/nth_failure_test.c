/*
 * The N-th operation on the disk fails, for every N until a run passes without a failure: of the store and of
 * the output, once and for good from there on, with a full disk and with an error. Then the run is continued
 * without faults, and what promises 1, 2 and 6 say is checked. The same for a run that recovers, and for a
 * pipe as the output.
 *
 * FAULTS_STRIDE in the environment: tries only every so many-th N.
 */
#include "broker/base/time.h"
#include "tests/faults/world.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
        GOOD = 56,
        LINES = GOOD + 2, /* a line that is no job, and a conflict; the duplicate has none */
        OPERATIONS_MAX = 2000,
};

static struct world world;

/* Asked by the shard's thread and by the committer's. */
struct nth {
        const char *const *operations; /* counted; others pass */
        unsigned n;
        bool persistent;
        int code;
        _Atomic unsigned count;
        _Atomic bool fired, opened;
        bool while_running; /* the first time; set before `fired` */
        const char *first;  /* the same */
};

static int fail_nth(void *userdata, const char *operation) {
        struct nth *nth = userdata;
        bool ours = false;
        for (const char *const *name = nth->operations; *name && !ours; name++)
                ours = strcmp(*name, operation) == 0;
        if (!ours)
                return 0;
        unsigned at = atomic_fetch_add(&nth->count, 1) + 1;
        if (at == nth->n) {
                nth->first = operation;
                nth->while_running = atomic_load(&nth->opened);
                atomic_store(&nth->fired, true);
        }
        return at == nth->n || (nth->persistent && at > nth->n) ? nth->code : 0;
}

static void write_jobs(void) {
        struct buffer text;
        buffer_init(&text, 1 << 20);
        for (int i = 0; i < GOOD; i++)
                buffer_printf(&text,
                              "{\"custom_id\":\"job-%d\",\"url\":\"/v1/chat/"
                              "completions\",\"body\":{\"model\":\"m\","
                              "\"messages\":[{\"role\":\"user\",\"content\":\"ship %d\"}]}}\n",
                              i, i);
        buffer_append_string(&text, "{\"no job\n");
        buffer_append_string(&text,
                             "{\"custom_id\":\"job-5\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":"
                             "\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"ship 5\"}]}}\n");
        buffer_append_string(&text,
                             "{\"custom_id\":\"job-3\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":"
                             "\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"another\"}]}}\n");
        buffer_append(&text, "", 1);
        world_write(world.input, text.data);
        buffer_deinit(&text);
}

static void check_sentence(const struct error *error) {
        assert_non_null(error);
        assert_true(strlen(error->message) > 10);
        assert_null(strchr(error->message, '\n'));
        /* names what it is about */
        assert_true(strstr(error->message, world.state) || strstr(error->message, world.output) ||
                    strstr(error->message, world.errors));
}

/* What a full disk is waited for: what the committer writes. */
static bool ridden_out(const struct nth *nth) {
        return nth->code == ENOSPC && !nth->persistent && nth->while_running &&
               (strcmp(nth->first, "write") == 0 || strcmp(nth->first, "written") == 0 ||
                strcmp(nth->first, "append") == 0);
}

static void check_failed_run(const struct nth *nth, const struct world_end *end) {
        if (ridden_out(nth)) {
                assert_null(end->error);
                assert_int_equal(end->end, SHARD_FINISHED);
                assert_int_equal(end->progress.trouble, TROUBLE_NONE);
                return;
        }
        /* The last bodies of a pipe apart, nothing is written that nobody is told of. */
        assert_int_equal(end->end, SHARD_FAILED);
        check_sentence(end->error);
}

/* The run that ends it all. `answered`: what must not be bought again. */
static void finish_run(unsigned n, size_t answered) {
        assert_int_equal(world_count(&world, "answered_repeated"), 0);
        free(world_ask(&world, "POST", "/sim/reset", "{}"));
        struct world_end end = world_run(&world, NULL, NULL);
        if (end.error)
                fail_msg("after operation %u: %s", n, end.error->message);
        assert_int_equal(end.end, SHARD_FINISHED);
        struct world_lines results = world_check_lines(world.output);
        struct world_lines errors = world_check_lines(world.errors);
        assert_false(results.torn || errors.torn);
        assert_int_equal(results.whole, GOOD);
        assert_int_equal(results.answered, GOOD);
        assert_int_equal(errors.whole, LINES - GOOD);
        assert_int_equal(world_count(&world, "requests"), GOOD - answered);
        world_verify(&world, LINES);
}

/* One N. false: nothing failed any more. */
static bool fail_at(const char *const *operations, unsigned n, bool persistent, int code) {
        struct nth nth = {.operations = operations, .n = n, .persistent = persistent, .code = code};
        world_clear(&world);
        world.patience_ns = persistent ? 5 * NS_PER_MS : 100 * NS_PER_S;
        struct world_end end = world_run_with(&world, fail_nth, &nth, &nth.opened, NULL, NULL);
        if (atomic_load(&nth.fired))
                check_failed_run(&nth, &end);
        else
                assert_int_equal(end.end, SHARD_FINISHED);
        error_free(end.error);
        /* An answer that stands in the output is not bought again, and every other one once. */
        finish_run(n, world_check_lines(world.output).answered);
        return atomic_load(&nth.fired);
}

/* Leaves the half of a batch behind a few that are whole. */
static void break_output(void) {
        static const char *const operations[] = {"append", "truncate", NULL};
        struct nth nth = {.operations = operations, .n = 4, .persistent = true, .code = EIO};
        world_clear(&world);
        struct world_end end = world_run_with(&world, fail_nth, &nth, &nth.opened, NULL, NULL);
        assert_int_equal(end.end, SHARD_FAILED);
        check_sentence(end.error);
        error_free(end.error);
}

static const char *const all_operations[] = {"open",    "look_up", "get",  "scan",     "write",
                                             "written", "append",  "sync", "truncate", NULL};

static bool fail_recovery_at(const char *const *operations, unsigned n, bool persistent, int code) {
        struct nth nth = {.operations = operations, .n = n, .persistent = persistent, .code = code};
        break_output();
        size_t answered = world_check_lines(world.output).answered;
        free(world_ask(&world, "POST", "/sim/reset", "{}"));
        world.patience_ns = 5 * NS_PER_MS;
        struct world_end end = world_run_with(&world, fail_nth, &nth, &nth.opened, NULL, NULL);
        if (atomic_load(&nth.fired))
                check_failed_run(&nth, &end);
        error_free(end.error);
        size_t more = world_check_lines(world.output).answered;
        assert_true(more >= answered);
        assert_true(world_count(&world, "requests") <= GOOD - answered);
        finish_run(n, more);
        return atomic_load(&nth.fired);
}

/* ---- a pipe ---- */

/* Adds what has come out of the pipe: how often each job, by the number in its name. */
static void read_pipe(int fd, unsigned seen[GOOD]) {
        struct buffer text;
        char block[4096];
        ssize_t got;
        buffer_init(&text, 1 << 20);
        while ((got = read(fd, block, sizeof(block))) > 0)
                buffer_append(&text, block, (size_t)got);
        buffer_append(&text, "", 1);
        for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
                char *name = strstr(line, "\"custom_id\":\"job-");
                if (!name || !strstr(line, "\"status_code\":200"))
                        continue;
                unsigned long number = strtoul(name + strlen("\"custom_id\":\"job-"), NULL, 10);
                assert_true(number < GOOD);
                seen[number]++;
        }
        buffer_deinit(&text);
}

enum { PIPE_BYTES = 1 << 20 };

static uint64_t count_settled(void) {
        struct store *store;
        struct store_stats stats;
        struct buffer findings;
        struct store_options options = {.directory = world.state};
        assert_null(store_open(&options, &store));
        buffer_init(&findings, 1 << 20);
        assert_null(store_verify(store, &stats, &findings));
        assert_int_equal(findings.size, 0);
        buffer_deinit(&findings);
        store_close(store);
        return stats.settled;
}

/*
 * The store has a line before the pipe: what was settled comes out, now or in the next run, and is not called
 * again. What the pipe took and the store could not mark may come out twice.
 */
static bool fail_pipe_at(const char *const *operations, unsigned n, bool persistent, int code) {
        struct nth nth = {.operations = operations, .n = n, .persistent = persistent, .code = code};
        unsigned seen[GOOD] = {0};
        world_clear(&world);
        world.patience_ns = 5 * NS_PER_MS;
        assert_int_equal(mkfifo(world.output, 0600), 0);
        int fd = open(world.output, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        assert_true(fd >= 0);
        /* all lines, and nobody reads meanwhile */
        assert_true(fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
        struct world_end end = world_run_with(&world, fail_nth, &nth, &nth.opened, NULL, NULL);
        assert_true(atomic_load(&nth.fired) || end.end == SHARD_FINISHED);
        if (end.error)
                check_sentence(end.error);
        error_free(end.error);
        read_pipe(fd, seen);
        uint64_t settled = count_settled();
        free(world_ask(&world, "POST", "/sim/reset", "{}"));
        end = world_run(&world, NULL, NULL);
        assert_null(end.error);
        assert_int_equal(end.end, SHARD_FINISHED);
        read_pipe(fd, seen);
        for (unsigned i = 0; i < GOOD; i++)
                if (seen[i] < 1 || seen[i] > 2)
                        fail_msg("operation %u: job-%u came out %u times", n, i, seen[i]);
        assert_true(world_count(&world, "requests") <= LINES - settled);
        close(fd);
        world_verify(&world, LINES);
        return atomic_load(&nth.fired);
}

static unsigned stride(void) {
        const char *text = getenv("FAULTS_STRIDE");
        unsigned value = text ? (unsigned)strtoul(text, NULL, 10) : 1;
        return value ? value : 1;
}

typedef bool (*trial)(const char *const *operations, unsigned n, bool persistent, int code);

static void fail_each(trial try, const char *const *operations, bool persistent, int code) {
        unsigned n = 1;
        while (try(operations, n, persistent, code)) {
                n += stride();
                assert_true(n < OPERATIONS_MAX);
        }
        print_message("           passed after %u operations\n", n - 1);
        assert_true(n > 5);
}

static const char *const store_operations[] = {"open", "look_up", "get", "scan", "write", "written", NULL};
static const char *const output_operations[] = {"append", "sync", "truncate", NULL};

static void test_store_full_once(void **state) {
        (void)state;
        fail_each(fail_at, store_operations, false, ENOSPC);
}

static void test_store_full_for_good(void **state) {
        (void)state;
        fail_each(fail_at, store_operations, true, ENOSPC);
}

static void test_store_broken_once(void **state) {
        (void)state;
        fail_each(fail_at, store_operations, false, EIO);
}

static void test_store_broken_for_good(void **state) {
        (void)state;
        fail_each(fail_at, store_operations, true, EIO);
}

static void test_output_full_once(void **state) {
        (void)state;
        fail_each(fail_at, output_operations, false, ENOSPC);
}

static void test_output_full_for_good(void **state) {
        (void)state;
        fail_each(fail_at, output_operations, true, ENOSPC);
}

static void test_output_broken_once(void **state) {
        (void)state;
        fail_each(fail_at, output_operations, false, EIO);
}

static void test_output_broken_for_good(void **state) {
        (void)state;
        fail_each(fail_at, output_operations, true, EIO);
}

static void test_recovery_fails(void **state) {
        (void)state;
        fail_each(fail_recovery_at, all_operations, false, EIO);
        fail_each(fail_recovery_at, all_operations, true, ENOSPC);
}

static void test_pipe(void **state) {
        (void)state;
        fail_each(fail_pipe_at, all_operations, false, EIO);
        fail_each(fail_pipe_at, all_operations, false, ENOSPC);
        fail_each(fail_pipe_at, all_operations, true, EIO);
}

static int setup(void **state) {
        (void)state;
        world_open(&world, 0);
        world.with_errors = true;
        write_jobs();
        return 0;
}

static int teardown(void **state) {
        (void)state;
        world_close(&world);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_store_full_once),    cmocka_unit_test(test_store_full_for_good),
                cmocka_unit_test(test_store_broken_once),  cmocka_unit_test(test_store_broken_for_good),
                cmocka_unit_test(test_output_full_once),   cmocka_unit_test(test_output_full_for_good),
                cmocka_unit_test(test_output_broken_once), cmocka_unit_test(test_output_broken_for_good),
                cmocka_unit_test(test_recovery_fails),     cmocka_unit_test(test_pipe),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
