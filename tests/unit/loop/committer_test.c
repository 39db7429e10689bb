/*
 * The order in which things become durable, what is told when, and what happens when the disk is full or
 * broken. Hooks of the store and of the outputs write down what is done, can hold it up, and let it fail.
 */
#include "broker/base/time.h"
#include "broker/loop/committer.h"
#include "broker/wire/job.h"
#include "workers/providers/dialect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 100, HISTORY_MAX = 4096, HANG_S = 120 };

struct fixture {
        char directory[64], state[80], results[80], errors[80];
        struct store *store;
        struct sink *sinks[SINKS_COUNT];
        struct committer *committer;
        int event_fd, pipe_fd; /* the pipe's reading end, when the results go to one */
        struct job_decoder *decoder;
        struct job_spec *jobs[MANY];
        struct outcome outcomes[MANY];

        pthread_mutex_t mutex;
        pthread_cond_t cond;
        /* under the mutex */
        char history[HISTORY_MAX]; /* "append sync write " */
        const char *failing;       /* this operation fails with `code` */
        int code;
        const char *held; /* this operation waits while it is set */
        bool holding;
};

static const struct workspace workspace = {.name = "somebody"};
static const struct catalog catalog = {.id = "0", .workspaces = &workspace, .workspaces_count = 1};

static int on_operation(void *userdata, const char *operation) {
        struct fixture *fixture = userdata;
        int code = 0;
        pthread_mutex_lock(&fixture->mutex);
        size_t size = strlen(fixture->history);
        snprintf(fixture->history + size, sizeof(fixture->history) - size, "%s ", operation);
        while (fixture->held && strcmp(fixture->held, operation) == 0) {
                fixture->holding = true;
                pthread_cond_broadcast(&fixture->cond);
                pthread_cond_wait(&fixture->cond, &fixture->mutex);
        }
        fixture->holding = false;
        if (fixture->failing && strcmp(fixture->failing, operation) == 0)
                code = fixture->code;
        pthread_mutex_unlock(&fixture->mutex);
        return code;
}

static void set_failing(struct fixture *fixture, const char *operation, int code) {
        pthread_mutex_lock(&fixture->mutex);
        fixture->failing = operation;
        fixture->code = code;
        pthread_mutex_unlock(&fixture->mutex);
}

static void hold(struct fixture *fixture, const char *operation) {
        pthread_mutex_lock(&fixture->mutex);
        fixture->held = operation;
        pthread_cond_broadcast(&fixture->cond);
        pthread_mutex_unlock(&fixture->mutex);
}

static void wait_until_held(struct fixture *fixture) {
        pthread_mutex_lock(&fixture->mutex);
        while (!fixture->holding)
                pthread_cond_wait(&fixture->cond, &fixture->mutex);
        pthread_mutex_unlock(&fixture->mutex);
}

static void expect_history(struct fixture *fixture, const char *wanted) {
        pthread_mutex_lock(&fixture->mutex);
        assert_string_equal(fixture->history, wanted);
        fixture->history[0] = '\0';
        pthread_mutex_unlock(&fixture->mutex);
}

/* ---- opening ---- */

static void make_jobs(struct fixture *fixture) {
        struct job_decoder_options options = {.batch = "jobs", .job_bytes_max = 1 << 20};
        assert_null(job_decoder_new(&options, &fixture->decoder));
        for (unsigned i = 0; i < MANY; i++) {
                char line[256];
                int size = snprintf(line, sizeof(line),
                                    "{\"custom_id\":\"job-%u\",\"url\":\"/v1/chat/completions\",\"body\":"
                                    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}}",
                                    i);
                fixture->jobs[i] =
                        job_decode(fixture->decoder, (struct bytes){line, (size_t)size}, i + 1, i, false);
                assert_non_null(fixture->jobs[i]);
                fixture->outcomes[i] = (struct outcome){.failure = FAILURE_DEADLINE_EXCEEDED};
                usage_init(&fixture->outcomes[i].usage);
        }
}

static void open_files(struct fixture *fixture, bool to_pipe, bool with_errors) {
        struct store_options options = {
                .directory = fixture->state, .fault = on_operation, .fault_userdata = fixture};
        if (to_pipe) {
                assert_int_equal(mkfifo(fixture->results, 0600), 0);
                fixture->pipe_fd = open(fixture->results, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
                assert_true(fixture->pipe_fd >= 0);
        }
        assert_null(store_open(&options, &fixture->store));
        assert_null(sink_open(fixture->results, &fixture->sinks[SINK_RESULTS]));
        if (with_errors)
                assert_null(sink_open(fixture->errors, &fixture->sinks[SINK_ERRORS]));
        for (size_t i = 0; i < SINKS_COUNT; i++)
                if (fixture->sinks[i])
                        sink_set_fault(fixture->sinks[i], on_operation, fixture);
}

static void open_committer(struct fixture *fixture, int64_t patience_ns) {
        struct committer_options options = {.store = fixture->store,
                                            .catalog = &catalog,
                                            .source_name = "jobs.jsonl",
                                            .spacing_busy_ns = 1000 * NS_PER_S,
                                            .patience_ns = patience_ns,
                                            .retry_ns = NS_PER_MS,
                                            .event_fd = fixture->event_fd};
        for (size_t i = 0; i < SINKS_COUNT; i++)
                options.sinks[i] = fixture->sinks[i];
        assert_null(committer_new(&options, &fixture->committer));
        pthread_mutex_lock(&fixture->mutex);
        fixture->history[0] = '\0';
        pthread_mutex_unlock(&fixture->mutex);
}

static struct fixture *open_fixture(bool to_pipe, bool with_errors, int64_t patience_ns) {
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        assert_non_null(fixture);
        snprintf(fixture->directory, sizeof(fixture->directory), "%s/committer_test.XXXXXX", place);
        assert_non_null(mkdtemp(fixture->directory));
        snprintf(fixture->state, sizeof(fixture->state), "%s/state", fixture->directory);
        snprintf(fixture->results, sizeof(fixture->results), "%s/results.jsonl", fixture->directory);
        snprintf(fixture->errors, sizeof(fixture->errors), "%s/errors.jsonl", fixture->directory);
        pthread_mutex_init(&fixture->mutex, NULL);
        pthread_cond_init(&fixture->cond, NULL);
        fixture->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        fixture->pipe_fd = -1;
        assert_true(fixture->event_fd >= 0);
        alarm(HANG_S);
        make_jobs(fixture);
        open_files(fixture, to_pipe, with_errors);
        open_committer(fixture, patience_ns);
        return fixture;
}

static void remove_directory(const char *path) {
        DIR *entries = opendir(path);
        struct dirent *entry;
        if (!entries)
                return;
        while ((entry = readdir(entries)))
                unlinkat(dirfd(entries), entry->d_name, 0);
        closedir(entries);
        rmdir(path);
}

static void close_fixture(struct fixture *fixture) {
        committer_free(fixture->committer);
        for (size_t i = 0; i < SINKS_COUNT; i++)
                sink_close(fixture->sinks[i]);
        store_close(fixture->store);
        for (unsigned i = 0; i < MANY; i++)
                job_spec_free(fixture->jobs[i]);
        job_decoder_free(fixture->decoder);
        close(fixture->event_fd);
        if (fixture->pipe_fd >= 0)
                close(fixture->pipe_fd);
        remove_directory(fixture->state);
        remove_directory(fixture->directory);
        pthread_cond_destroy(&fixture->cond);
        pthread_mutex_destroy(&fixture->mutex);
        free(fixture);
        alarm(0);
}

/* ---- what a shard does ---- */

/* The store says at once what the files say. */
static void submit(struct fixture *fixture, const struct intent *intents, size_t count) {
        committer_catch_up(fixture->committer);
        assert_true(committer_submit(fixture->committer, intents, count, NULL));
}

static struct intent opening(const struct fixture *fixture, unsigned job) {
        struct intent intent = {.kind = INTENT_OPEN, .handle = {job, 1}, .key = fixture->jobs[job]->key};
        intent.open = (struct begun){
                .key = intent.key, .partition = STORE_NO_PARTITION, .attempt = 1, .endpoint = "somebody"};
        memcpy(intent.open.fingerprint, fixture->jobs[job]->fingerprint, sizeof(intent.open.fingerprint));
        return intent;
}

static struct intent settling(const struct fixture *fixture, unsigned job, struct begun_id begun) {
        return (struct intent){.kind = INTENT_SETTLE,
                               .handle = {job, 2},
                               .begun = begun,
                               .key = fixture->jobs[job]->key,
                               .job = fixture->jobs[job],
                               .outcome = &fixture->outcomes[job]};
}

/* With an answer. */
static struct intent succeeding(struct fixture *fixture, unsigned job) {
        struct intent intent = settling(fixture, job, (struct begun_id){0});
        fixture->outcomes[job].failure = FAILURE_NONE;
        fixture->outcomes[job].has_answer = true;
        fixture->outcomes[job].status = 200;
        intent.reply.dialect = dialect_find(bytes_of("openai"));
        intent.reply.status = 200;
        buffer_init(&intent.reply.headers, 4096);
        buffer_init(&intent.reply.body, 4096);
        buffer_append_string(&intent.reply.headers, "x-request-id: req-7\r\n");
        buffer_append_string(&intent.reply.body, "{\"object\":\"chat.completion\",\"choices\":[]}");
        return intent;
}

static void wait_for_event(struct fixture *fixture) {
        uint64_t ignored;
        struct pollfd event = {.fd = fixture->event_fd, .events = POLLIN};
        assert_true(poll(&event, 1, -1) > 0 || errno == EINTR);
        if (read(fixture->event_fd, &ignored, sizeof(ignored)) < 0)
                assert_int_equal(errno, EAGAIN);
}

static void take(struct fixture *fixture, struct completion *out_completions, size_t count) {
        size_t taken = 0;
        for (;;) {
                size_t more = committer_take(fixture->committer, out_completions + taken, count - taken);
                for (size_t i = taken; i < taken + more; i++)
                        reply_deinit(&out_completions[i].reply);
                taken += more;
                if (taken == count)
                        break;
                wait_for_event(fixture);
        }
        while (!committer_idle(fixture->committer))
                wait_for_event(fixture);
}

static enum trouble wait_for_trouble(struct fixture *fixture, enum trouble wanted, char message[512]) {
        enum trouble trouble;
        message[0] = '\0';
        while ((trouble = committer_trouble(fixture->committer, message, 512)) != wanted)
                wait_for_event(fixture);
        return trouble;
}

static size_t count_lines(const char *path) {
        char text[65536];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        ssize_t size = read(fd, text, sizeof(text) - 1);
        assert_true(size >= 0);
        close(fd);
        size_t lines = 0;
        for (ssize_t i = 0; i < size; i++)
                lines += text[i] == '\n';
        return lines;
}

static enum store_found found(struct fixture *fixture, unsigned job) {
        struct store_record record;
        assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, fixture->jobs[job]->key, &record));
        return record.found;
}

/* ---- the order ---- */

static void test_file_first_then_store(void **state) {
        struct completion completion;
        (void)state;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        struct intent intent = settling(fixture, 0, (struct begun_id){0});
        submit(fixture, &intent, 1);
        take(fixture, &completion, 1);
        expect_history(fixture, "append sync write written ");
        assert_int_equal(completion.kind, INTENT_SETTLE);
        assert_int_equal(completion.handle.slot, 0);
        assert_int_equal(completion.handle.generation, 2);
        assert_int_equal(count_lines(fixture->results), 1);
        assert_int_equal(found(fixture, 0), STORE_SETTLED);
        close_fixture(fixture);
}

static void test_two_files(void **state) {
        struct completion completions[2];
        (void)state;
        struct fixture *fixture = open_fixture(false, true, NS_PER_S);
        struct intent intents[2] = {settling(fixture, 0, (struct begun_id){0}), succeeding(fixture, 1)};
        submit(fixture, intents, 2);
        take(fixture, completions, 2);
        expect_history(fixture, "append sync append sync write written ");
        assert_int_equal(count_lines(fixture->results), 1);
        assert_int_equal(count_lines(fixture->errors), 1);
        struct store_record record;
        assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, fixture->jobs[0]->key, &record));
        assert_int_equal(record.settled.sink, SINK_ERRORS);
        close_fixture(fixture);
}

static void test_attempts_need_no_file(void **state) {
        struct completion opened, settled;
        (void)state;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        struct intent intent = opening(fixture, 0);
        submit(fixture, &intent, 1);
        take(fixture, &opened, 1);
        expect_history(fixture, "write written ");
        assert_int_equal(opened.kind, INTENT_OPEN);
        assert_true(opened.begun.block > 0);
        intent = settling(fixture, 0, opened.begun);
        submit(fixture, &intent, 1);
        take(fixture, &settled, 1);
        assert_int_equal(found(fixture, 0), STORE_SETTLED);
        /* An END is told to nobody. */
        intent = opening(fixture, 1);
        submit(fixture, &intent, 1);
        take(fixture, &opened, 1);
        intent = (struct intent){.kind = INTENT_END, .begun = opened.begun};
        submit(fixture, &intent, 1);
        take(fixture, NULL, 0);
        close_fixture(fixture);
}

static void test_store_first_then_pipe(void **state) {
        struct completion completion;
        char text[4096];
        (void)state;
        struct fixture *fixture = open_fixture(true, false, NS_PER_S);
        struct intent intent = succeeding(fixture, 0);
        submit(fixture, &intent, 1);
        take(fixture, &completion, 1);
        expect_history(fixture, "write written append ");
        ssize_t size = read(fixture->pipe_fd, text, sizeof(text));
        assert_true(size > 0 && text[size - 1] == '\n');
        assert_non_null(memmem(text, (size_t)size, "req-7", 5));
        /* At the end the store forgets what the pipe has taken. */
        fixture->committer = committer_free(fixture->committer);
        expect_history(fixture, "write written ");
        struct buffer body;
        bool is_there = true;
        buffer_init(&body, 4096);
        assert_null(store_get_body(fixture->store, fixture->jobs[0]->key, &body, &is_there));
        assert_false(is_there);
        buffer_deinit(&body);
        close_fixture(fixture);
}

/* A pipe that nobody reads: the line stays in the store, for the next run. */
static void test_broken_pipe(void **state) {
        char message[512];
        (void)state;
        struct fixture *fixture = open_fixture(true, false, NS_PER_S);
        signal(SIGPIPE, SIG_IGN);
        close(fixture->pipe_fd);
        fixture->pipe_fd = -1;
        struct intent intent = succeeding(fixture, 0);
        submit(fixture, &intent, 1);
        wait_for_trouble(fixture, TROUBLE_PIPE, message);
        assert_non_null(strstr(message, "results.jsonl"));
        fixture->committer = committer_free(fixture->committer);
        expect_history(fixture, "write written append "); /* and no more */
        struct buffer body;
        bool is_there = false;
        buffer_init(&body, 4096);
        assert_null(store_get_body(fixture->store, fixture->jobs[0]->key, &body, &is_there));
        assert_true(is_there);
        buffer_deinit(&body);
        close_fixture(fixture);
}

static bool has_body(struct fixture *fixture, unsigned job) {
        struct buffer body;
        bool is_there = true;
        buffer_init(&body, 4096);
        assert_null(store_get_body(fixture->store, fixture->jobs[job]->key, &body, &is_there));
        buffer_deinit(&body);
        return is_there;
}

/* What cost something, of a job with zdr whose attempt is journaled. */
static struct intent succeeding_private(struct fixture *fixture, unsigned job, struct begun_id begun) {
        struct intent intent = succeeding(fixture, job);
        fixture->jobs[job]->demand.prefs.zdr = true;
        fixture->outcomes[job].attempts = 1;
        fixture->outcomes[job].cost_known = true;
        fixture->outcomes[job].cost_picousd = 77;
        intent.begun = begun;
        return intent;
}

static struct begun_id open_one(struct fixture *fixture, unsigned job) {
        struct completion opened;
        struct intent intent = opening(fixture, job);
        submit(fixture, &intent, 1);
        take(fixture, &opened, 1);
        expect_history(fixture, "write written ");
        return opened.begun;
}

/* Its cost first, then the pipe, then that it is settled; the line is in no row at any moment. */
static void test_zdr_leaves_no_body(void **state) {
        struct completion completion;
        char text[4096];
        (void)state;
        struct fixture *fixture = open_fixture(true, false, NS_PER_S);
        struct intent intent = succeeding_private(fixture, 0, open_one(fixture, 0));
        hold(fixture, "append");
        submit(fixture, &intent, 1);
        wait_until_held(fixture);
        assert_false(has_body(fixture, 0));
        assert_int_equal(found(fixture, 0), STORE_NONE);
        hold(fixture, NULL);
        take(fixture, &completion, 1);
        expect_history(fixture, "write written append get look_up write written ");
        assert_true(read(fixture->pipe_fd, text, sizeof(text)) > 0);
        assert_int_equal(found(fixture, 0), STORE_SETTLED);
        assert_false(has_body(fixture, 0));
        close_fixture(fixture);
}

static void reopen_store(struct fixture *fixture) {
        struct store_options options = {.directory = fixture->state};
        fixture->committer = committer_free(fixture->committer);
        fixture->store = store_close(fixture->store);
        assert_null(store_open(&options, &fixture->store));
}

/* The pipe has not taken it: unknown outcome, with the cost, and no mark passes it. */
static void test_zdr_and_a_broken_pipe(void **state) {
        struct source_state source = {.offset = 7, .lines = 2, .sequence = 1, .crc = 3};
        char message[512];
        bool is_there;
        (void)state;
        struct fixture *fixture = open_fixture(true, false, NS_PER_S);
        signal(SIGPIPE, SIG_IGN);
        struct begun_id begun = open_one(fixture, 0);
        close(fixture->pipe_fd);
        fixture->pipe_fd = -1;
        struct intent intent = succeeding_private(fixture, 0, begun);
        submit(fixture, &intent, 1);
        wait_for_trouble(fixture, TROUBLE_PIPE, message);
        assert_true(committer_submit(fixture->committer, NULL, 0, &source));
        reopen_store(fixture);
        struct store_record record;
        assert_null(store_look_up(fixture->store, STORE_NO_PARTITION, fixture->jobs[0]->key, &record));
        assert_int_equal(record.found, STORE_UNKNOWN);
        assert_int_equal(record.begun.exposure_picousd, 77);
        assert_memory_equal(record.begun.fingerprint, fixture->jobs[0]->fingerprint, 32);
        assert_null(store_get_source(fixture->store, "jobs.jsonl", &is_there, &source));
        assert_true(is_there);
        assert_int_equal(source.offset, 0);
        assert_int_equal(source.crc, 0);
        close_fixture(fixture);
}

/* The disk becomes full when the pipe has the line already: it does not get it twice. */
static void test_zdr_and_a_full_disk(void **state) {
        struct completion completion;
        char message[512], text[4096];
        (void)state;
        struct fixture *fixture = open_fixture(true, false, 1000 * NS_PER_S);
        struct intent intent = succeeding_private(fixture, 0, open_one(fixture, 0));
        hold(fixture, "append");
        submit(fixture, &intent, 1);
        wait_until_held(fixture);
        set_failing(fixture, "write", ENOSPC);
        hold(fixture, NULL);
        wait_for_trouble(fixture, TROUBLE_FULL, message);
        set_failing(fixture, NULL, 0);
        take(fixture, &completion, 1);
        ssize_t size = read(fixture->pipe_fd, text, sizeof(text));
        assert_true(size > 0);
        assert_ptr_equal(memchr(text, '\n', (size_t)size), text + size - 1);
        assert_int_equal(found(fixture, 0), STORE_SETTLED);
        close_fixture(fixture);
}

static void test_what_comes_up_meanwhile_is_one_batch(void **state) {
        struct completion completions[MANY];
        (void)state;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        hold(fixture, "sync");
        struct intent intent = settling(fixture, 0, (struct begun_id){0});
        submit(fixture, &intent, 1);
        wait_until_held(fixture);
        for (unsigned i = 1; i < MANY; i++) {
                intent = settling(fixture, i, (struct begun_id){0});
                submit(fixture, &intent, 1);
                assert_int_equal(committer_take(fixture->committer, completions, MANY), 0);
        }
        assert_false(committer_idle(fixture->committer));
        hold(fixture, NULL);
        take(fixture, completions, MANY);
        expect_history(fixture, "append sync write written append sync write written ");
        for (unsigned i = 0; i < MANY; i++)
                assert_int_equal(completions[i].handle.slot, i); /* in the order in which they came */
        assert_int_equal(count_lines(fixture->results), MANY);
        close_fixture(fixture);
}

/* A busy shard's batches wait for each other; when it is idle again they do not. */
static void test_pace(void **state) {
        struct completion completions[2];
        (void)state;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        struct intent intent = settling(fixture, 0, (struct begun_id){0});
        submit(fixture, &intent, 1);
        take(fixture, completions, 1);
        committer_pace(fixture->committer, true);
        intent = settling(fixture, 1, (struct begun_id){0});
        submit(fixture, &intent, 1);
        poll(NULL, 0, 50);
        assert_int_equal(committer_take(fixture->committer, completions, 1), 0);
        committer_pace(fixture->committer, false);
        take(fixture, completions, 1);
        close_fixture(fixture);
}

static void test_state_of_the_source(void **state) {
        struct source_state written = {.offset = 7, .lines = 2, .sequence = 1, .crc = 3}, read;
        bool is_there;
        (void)state;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        struct completion completion;
        struct intent intent = settling(fixture, 0, (struct begun_id){0});
        assert_true(committer_submit(fixture->committer, &intent, 1, &written));
        take(fixture, &completion, 1);
        assert_null(store_get_source(fixture->store, "jobs.jsonl", &is_there, &read));
        assert_true(is_there);
        assert_int_equal(read.offset, 7);
        assert_int_equal(read.outputs_bytes[SINK_RESULTS], sink_bytes(fixture->sinks[SINK_RESULTS]));
        /* Alone, too. */
        written.offset = 9;
        committer_catch_up(fixture->committer);
        assert_true(committer_submit(fixture->committer, NULL, 0, &written));
        take(fixture, NULL, 0);
        assert_null(store_get_source(fixture->store, "jobs.jsonl", &is_there, &read));
        assert_int_equal(read.offset, 9);
        close_fixture(fixture);
}

static bool is_place(struct fixture *fixture, uint64_t offset, uint64_t bytes) {
        struct source_state read;
        bool is_there;
        assert_null(store_get_source(fixture->store, "jobs.jsonl", &is_there, &read));
        return is_there && read.offset == offset && read.outputs_bytes[SINK_RESULTS] == bytes;
}

/* What a file says the store says later: a crash takes it from there, a look-up never misses it. */
static void test_store_may_be_behind_a_file(void **state) {
        struct source_state place = {.offset = 7};
        struct completion completion, opened[3];
        (void)state;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        struct intent opens[3] = {opening(fixture, 0), opening(fixture, 1), opening(fixture, 2)};
        submit(fixture, opens, 3); /* one block, which stays as long as any of them is open */
        take(fixture, opened, 3);
        expect_history(fixture, "write written ");
        for (unsigned i = 0; i < 2; i++, place.offset += 2) {
                struct intent intent = settling(fixture, i, opened[i].begun);
                assert_true(committer_submit(fixture->committer, &intent, 1, &place));
                take(fixture, &completion, 1);
                expect_history(fixture, i == 0 ? "append sync write written " : "append sync ");
        }
        uint64_t bytes = sink_bytes(fixture->sinks[SINK_RESULTS]) / 2;
        assert_true(is_place(fixture, 7, bytes)); /* both lines are of one length */
        assert_int_equal(store_count_late(fixture->store), 1);
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(found(fixture, i), STORE_SETTLED);
        reopen_store(fixture);
        assert_int_equal(found(fixture, 0), STORE_SETTLED);
        assert_int_equal(found(fixture, 1), STORE_UNKNOWN); /* until its line is adopted */
        open_committer(fixture, NS_PER_S);
        struct intent intent = settling(fixture, 2, (struct begun_id){0});
        submit(fixture, &intent, 1);
        take(fixture, &completion, 1);
        assert_int_equal(store_count_late(fixture->store), 0);
        reopen_store(fixture);
        assert_int_equal(found(fixture, 2), STORE_SETTLED);
        close_fixture(fixture);
}

/* Sums of money are written with the rows of the jobs that were paid, wherever the source stands. */
static void spends_end_being_behind(bool with_place) {
        struct budget_spend spend = {0};
        struct source_state place = {.offset = 7};
        struct completion completion;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        for (unsigned i = 0; i < 4; i++) {
                struct intent intent = settling(fixture, i, (struct begun_id){0});
                size_t late = with_place ? i == 1 : i + 1;
                if (i == 2)
                        assert_true(committer_spend(fixture->committer, 0, &spend));
                assert_true(committer_submit(fixture->committer, &intent, 1,
                                             with_place && i < 2 ? &place : NULL));
                take(fixture, &completion, 1);
                assert_int_equal(store_count_late(fixture->store), i < 2 ? late : 0);
        }
        reopen_store(fixture);
        for (unsigned i = 0; i < 4; i++)
                assert_int_equal(found(fixture, i), STORE_SETTLED);
        close_fixture(fixture);
}

static void test_spends_end_being_behind(void **state) {
        (void)state;
        spends_end_being_behind(true);
        spends_end_being_behind(false);
}

/* ---- trouble ---- */

static void test_full_disk_is_waited_for(void **state) {
        static const char *const operations[] = {"append", "write", "written"};
        (void)state;
        for (size_t i = 0; i < 3; i++) {
                struct completion completion;
                char message[512];
                struct fixture *fixture = open_fixture(false, false, 1000 * NS_PER_S);
                set_failing(fixture, operations[i], ENOSPC);
                struct intent intent = succeeding(fixture, 0);
                submit(fixture, &intent, 1);
                wait_for_trouble(fixture, TROUBLE_FULL, message);
                assert_true(strlen(message) > 0);
                assert_int_equal(committer_take(fixture->committer, &completion, 1), 0);
                set_failing(fixture, NULL, 0);
                take(fixture, &completion, 1);
                assert_int_equal(committer_trouble(fixture->committer, message, sizeof(message)),
                                 TROUBLE_NONE);
                assert_int_equal(count_lines(fixture->results), 1);
                assert_int_equal(found(fixture, 0), STORE_SETTLED);
                close_fixture(fixture);
        }
}

/* The results are written when the errors find no room: they must not be written again with these. */
static void test_full_disk_between_two_files(void **state) {
        struct completion completions[2];
        char message[512];
        (void)state;
        struct fixture *fixture = open_fixture(false, true, 1000 * NS_PER_S);
        struct intent intents[2] = {settling(fixture, 0, (struct begun_id){0}), succeeding(fixture, 1)};
        hold(fixture, "sync");
        submit(fixture, intents, 2);
        wait_until_held(fixture);
        set_failing(fixture, "append", ENOSPC);
        hold(fixture, NULL);
        wait_for_trouble(fixture, TROUBLE_FULL, message);
        assert_non_null(strstr(message, "errors.jsonl"));
        set_failing(fixture, NULL, 0);
        take(fixture, completions, 2);
        assert_int_equal(count_lines(fixture->results), 1);
        assert_int_equal(count_lines(fixture->errors), 1);
        close_fixture(fixture);
}

static void test_patience_ends(void **state) {
        struct completion completion;
        char message[512];
        (void)state;
        struct fixture *fixture = open_fixture(false, false, 20 * NS_PER_MS);
        set_failing(fixture, "append", ENOSPC);
        struct intent intent = succeeding(fixture, 0);
        submit(fixture, &intent, 1);
        wait_for_trouble(fixture, TROUBLE_FAILED, message);
        assert_non_null(strstr(message, "run again")); /* what to do */
        assert_int_equal(committer_take(fixture->committer, &completion, 1), 0);
        assert_int_equal(found(fixture, 0), STORE_NONE);
        close_fixture(fixture);
}

static void test_broken_disk_is_not_tried_again(void **state) {
        static const char *const operations[] = {"append", "sync", "write", "written"};
        static const char *const histories[] = {"append truncate ", "append sync ", "append sync write ",
                                                "append sync write written "};
        (void)state;
        for (size_t i = 0; i < 4; i++) {
                struct completion completion;
                char message[512];
                struct fixture *fixture = open_fixture(false, false, 1000 * NS_PER_S);
                set_failing(fixture, operations[i], EIO);
                struct intent intents[2] = {succeeding(fixture, 0), succeeding(fixture, 1)};
                submit(fixture, &intents[0], 1);
                wait_for_trouble(fixture, TROUBLE_FAILED, message);
                submit(fixture, &intents[1], 1); /* it is kept, and freed at the end */
                assert_int_equal(committer_take(fixture->committer, &completion, 1), 0);
                fixture->committer = committer_free(fixture->committer);
                expect_history(fixture, histories[i]);
                close_fixture(fixture);
        }
}

static void test_end_while_the_disk_is_full(void **state) {
        char message[512];
        (void)state;
        struct fixture *fixture = open_fixture(false, false, 1000 * NS_PER_S);
        set_failing(fixture, "append", ENOSPC);
        struct intent intents[2] = {succeeding(fixture, 0), opening(fixture, 1)};
        submit(fixture, intents, 2);
        wait_for_trouble(fixture, TROUBLE_FULL, message);
        fixture->committer = committer_free(fixture->committer); /* comes back */
        assert_int_equal(found(fixture, 0), STORE_NONE);
        close_fixture(fixture);
}

/* What was handed over is finished first. */
static void test_end_with_work_to_do(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(false, false, NS_PER_S);
        struct intent intents[MANY];
        for (unsigned i = 0; i < MANY; i++)
                intents[i] = settling(fixture, i, (struct begun_id){0});
        submit(fixture, intents, MANY);
        fixture->committer = committer_free(fixture->committer);
        assert_int_equal(count_lines(fixture->results), MANY);
        close_fixture(fixture);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_file_first_then_store),
                cmocka_unit_test(test_two_files),
                cmocka_unit_test(test_attempts_need_no_file),
                cmocka_unit_test(test_store_first_then_pipe),
                cmocka_unit_test(test_broken_pipe),
                cmocka_unit_test(test_zdr_leaves_no_body),
                cmocka_unit_test(test_zdr_and_a_broken_pipe),
                cmocka_unit_test(test_zdr_and_a_full_disk),
                cmocka_unit_test(test_what_comes_up_meanwhile_is_one_batch),
                cmocka_unit_test(test_pace),
                cmocka_unit_test(test_state_of_the_source),
                cmocka_unit_test(test_store_may_be_behind_a_file),
                cmocka_unit_test(test_spends_end_being_behind),
                cmocka_unit_test(test_full_disk_is_waited_for),
                cmocka_unit_test(test_full_disk_between_two_files),
                cmocka_unit_test(test_patience_ends),
                cmocka_unit_test(test_broken_disk_is_not_tried_again),
                cmocka_unit_test(test_end_while_the_disk_is_full),
                cmocka_unit_test(test_end_with_work_to_do),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
