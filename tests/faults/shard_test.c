/*
 * One shard from its source to its output: how it ends, what it keeps, and what it waits for. Against the
 * simulator; whoever must act while it runs does so when the simulator has seen so many requests.
 */
#include "broker/base/time.h"
#include "tests/faults/world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HANG_ALWAYS "{\"script\":[{\"fault\":\"hang\",\"times\":0}]}"
#define KEY_REFUSED "{\"script\":[{\"fault\":\"401\",\"times\":0}]}"

static struct world world;

/* `more` stands in each line: members with a comma before them. */
static void append_jobs(struct buffer *text, int from, int count, const char *say, const char *more) {
        for (int i = from; i < from + count; i++)
                buffer_printf(text,
                              "{\"custom_id\":\"job-%d\",\"url\":\"/v1/chat/"
                              "completions\",\"body\":{\"model\":\"m\","
                              "\"messages\":[{\"role\":\"user\",\"content\":\"%s %d\"}]}%s}\n",
                              i, say, i, more);
}

static void write_jobs(int count, const char *say, const char *more) {
        struct buffer text;
        buffer_init(&text, 64 << 20);
        append_jobs(&text, 0, count, say, more);
        buffer_append(&text, "", 1);
        world_write(world.input, text.data);
        buffer_deinit(&text);
}

static void begin(int jobs) {
        world_clear(&world);
        free(world_ask(&world, "POST", "/sim/faults", "{}"));
        world.in_flight = 8;
        world.memory_max = 1u << 30;
        world.jobs_limit = UINT64_MAX;
        world.source = NULL;
        write_jobs(jobs, "ship", "");
}

static void expect(const struct world_end *end, enum shard_end wanted) {
        if (end->error)
                fail_msg("%s", end->error->message);
        assert_int_equal(end->end, wanted);
}

/* Runs what is left: each job has one answered line then, and together so many calls were answered. */
static void finish(size_t jobs) {
        size_t before = world_check_lines(world.output).answered;
        free(world_ask(&world, "POST", "/sim/reset", "{}"));
        free(world_ask(&world, "POST", "/sim/faults", "{}"));
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        assert_int_equal(world_check_lines(world.output).answered, jobs);
        assert_int_equal(world_count(&world, "requests"), jobs - before);
        world_verify(&world, jobs);
}

static void test_all(void **state) {
        (void)state;
        begin(300);
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        assert_int_equal(end.progress.stats.succeeded, 300);
        assert_int_equal(end.progress.bytes_read, end.progress.bytes_total);
        assert_int_equal(world_count(&world, "in_flight_max"), 8);
        end = world_run(&world, NULL, NULL); /* again: nothing to do */
        expect(&end, SHARD_FINISHED);
        assert_int_equal(end.progress.stats.jobs, 0);
        assert_int_equal(world_count(&world, "requests"), 300);
}

static void test_input_grows(void **state) {
        (void)state;
        begin(20);
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        write_jobs(30, "ship", "");
        finish(30);
}

static void test_limit(void **state) {
        (void)state;
        begin(20);
        world.jobs_limit = 5;
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        assert_int_equal(world_check_lines(world.output).whole, 5);
        assert_int_equal(world_count(&world, "requests"), 5);
        world.jobs_limit = UINT64_MAX;
        finish(20);
}

static void test_limit_passes_over_duplicates(void **state) {
        (void)state;
        struct buffer text;
        begin(0);
        buffer_init(&text, 1 << 20);
        for (int i = 0; i < 6; i++)
                append_jobs(&text, 0, 1, "ship", "");
        append_jobs(&text, 1, 4, "ship", "");
        buffer_append(&text, "", 1);
        world_write(world.input, text.data);
        buffer_deinit(&text);
        world.jobs_limit = 2;
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        assert_int_equal(world_check_lines(world.output).whole, 2);
        world.jobs_limit = UINT64_MAX;
        finish(5);
}

static void wait_for_requests(uint64_t count) {
        while (world_count(&world, "requests") < count)
                sched_yield();
}

static void drain(void *userdata, struct shard *shard) {
        (void)userdata;
        wait_for_requests(20);
        shard_drain(shard);
        shard_drain(shard); /* is not twice: that is shard_stop() */
}

static void test_drain(void **state) {
        (void)state;
        begin(2000);
        struct world_end end = world_run_with(&world, NULL, NULL, NULL, drain, NULL);
        expect(&end, SHARD_INTERRUPTED);
        /* What was under way has come to its end. */
        struct world_lines lines = world_check_lines(world.output);
        assert_true(lines.whole >= 20 && lines.whole < 2000);
        assert_int_equal(lines.answered, world_count(&world, "answered"));
        assert_int_equal(world_count(&world, "requests"), lines.answered);
        finish(2000);
}

static void drain_and_stop(void *userdata, struct shard *shard) {
        (void)userdata;
        wait_for_requests(8);
        shard_drain(shard);
        shard_stop(shard);
}

static void test_stop_does_not_wait_for_answers(void **state) {
        (void)state;
        begin(20);
        free(world_ask(&world, "POST", "/sim/faults", HANG_ALWAYS));
        struct world_end end = world_run_with(&world, NULL, NULL, NULL, drain_and_stop, NULL);
        expect(&end, SHARD_INTERRUPTED);
        assert_int_equal(world_check_lines(world.output).whole, 0);
        finish(20);
}

static int full(void *userdata, const char *operation) {
        (void)userdata;
        return strcmp(operation, "append") == 0 ? ENOSPC : 0;
}

static void stop_when_full(void *userdata, struct shard *shard) {
        struct shard_progress progress = {0};
        (void)userdata;
        while (progress.trouble != TROUBLE_FULL)
                shard_get_progress(shard, &progress);
        assert_true(strlen(progress.message) > 0);
        shard_stop(shard);
}

static void test_stop_while_the_disk_is_full(void **state) {
        (void)state;
        begin(20);
        struct world_end end = world_run_with(&world, full, NULL, NULL, stop_when_full, NULL);
        assert_int_equal(end.end, SHARD_FAILED);
        assert_int_equal(end.error->kind, ERROR_FULL);
        error_free(end.error);
        /* While it was full nothing more was begun than what was under way. */
        assert_true(world_count(&world, "requests") <= 16);
        finish(20);
}

static void test_stuck(void **state) {
        (void)state;
        begin(20);
        free(world_ask(&world, "POST", "/sim/faults", KEY_REFUSED));
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_STUCK);
        assert_non_null(strstr(end.progress.message, "default/*"));
        assert_int_equal(world_check_lines(world.output).whole, 0);
        finish(20);
}

static void test_memory_max_pauses_intake(void **state) {
        (void)state;
        begin(20);
        world.memory_max = 1; /* one job is too many already, so there is one at a time */
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        assert_int_equal(world_count(&world, "in_flight_max"), 1);
        assert_int_equal(world_check_lines(world.output).answered, 20);
}

/* ---- standard input ---- */

static void feed(void *userdata, struct shard *shard) {
        struct buffer text;
        const int *fd = userdata;
        (void)shard;
        for (int i = 0; i < 10; i++) {
                buffer_init(&text, 1 << 20);
                append_jobs(&text, i, 1, "ship", "");
                size_t half = text.size / 2;
                assert_int_equal(write(*fd, text.data, half), (ssize_t)half);
                wait_for_requests((uint64_t)i); /* all before it have been called */
                assert_int_equal(write(*fd, text.data + half, text.size - half), (ssize_t)(text.size - half));
                buffer_deinit(&text);
        }
        close(*fd);
}

static void test_standard_input(void **state) {
        (void)state;
        int fds[2], before = dup(STDIN_FILENO);
        begin(0);
        world.source = "-";
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
        struct world_end end = world_run_with(&world, NULL, NULL, NULL, feed, &fds[1]);
        expect(&end, SHARD_FINISHED);
        assert_int_equal(world_check_lines(world.output).answered, 10);
        if (before >= 0)
                dup2(before, STDIN_FILENO);
        close(before);
        close(fds[0]);
}

/* ---- failures of what is read ---- */

static _Atomic unsigned look_ups;

/* The first look-up is good; the next one fails as soon as calls are under way. */
static int fail_look_up(void *userdata, const char *operation) {
        (void)userdata;
        return strcmp(operation, "look_up") == 0 && atomic_fetch_add(&look_ups, 1) > 0 ? EIO : 0;
}

static void test_answers_survive_a_failed_look_up(void **state) {
        (void)state;
        begin(1000);
        world.memory_max = 64 << 10; /* so that not all are looked up before the first call */
        atomic_store(&look_ups, 0);
        struct world_end end = world_run(&world, fail_look_up, NULL);
        assert_int_equal(end.end, SHARD_FAILED);
        assert_non_null(strstr(end.error->message, world.state));
        error_free(end.error);
        /* Every call that was made is paid for, and its answer is there. */
        struct world_lines lines = world_check_lines(world.output);
        assert_true(lines.answered > 0);
        assert_int_equal(lines.answered, world_count(&world, "requests"));
        world.memory_max = 1u << 30;
        finish(1000);
}

/* ---- many of a kind ---- */

/* More look-ups wait than a turn has commands: each line is a conflict, which is looked up twice. */
static void test_nothing_but_conflicts(void **state) {
        enum { MANY = 24000 };
        (void)state;
        begin(0);
        write_jobs(MANY, "ship", ",\"deadline\":\"2001-01-01T00:00:00Z\"");
        world.in_flight = 12000;
        struct world_end end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        write_jobs(MANY, "sink", ",\"deadline\":\"2001-01-01T00:00:00Z\"");
        end = world_run(&world, NULL, NULL);
        expect(&end, SHARD_FINISHED);
        assert_int_equal(end.progress.stats.failures[FAILURE_IDEMPOTENCY_CONFLICT], MANY);
        world_verify(&world, 2 * MANY);
}

static int setup(void **state) {
        (void)state;
        world_open(&world, 5 * NS_PER_MS);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        world_close(&world);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all),
                cmocka_unit_test(test_input_grows),
                cmocka_unit_test(test_limit),
                cmocka_unit_test(test_limit_passes_over_duplicates),
                cmocka_unit_test(test_memory_max_pauses_intake), /* before any call that hangs */
                cmocka_unit_test(test_drain),
                cmocka_unit_test(test_stop_does_not_wait_for_answers),
                cmocka_unit_test(test_stop_while_the_disk_is_full),
                cmocka_unit_test(test_stuck),
                cmocka_unit_test(test_standard_input),
                cmocka_unit_test(test_answers_survive_a_failed_look_up),
                cmocka_unit_test(test_nothing_but_conflicts),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
