/*
 * The N-th allocation is refused, for every N until none is: of what decodes, renders, reads configuration,
 * opens files and hands over. Whoever is refused says so, leaks nothing (under AddressSanitizer), and never
 * takes the lack of memory for a fault of the job or of the answer.
 *
 * The linker sends the calls of our own objects here (--wrap); those inside shared libraries are not refused.
 */
#include "broker/base/time.h"
#include "broker/loop/dead_letter.h"
#include "broker/wire/job.h"
#include "broker/wire/result.h"
#include "tests/faults/world.h"
#include "workers/providers/dialect.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the refusal ---- */

static _Thread_local unsigned refused_at; /* 0: none; threads that others start are not armed */
static _Thread_local unsigned asked;

static bool refuse(void) {
        return refused_at > 0 && ++asked == refused_at;
}

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c): the linker's names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

void *__wrap_malloc(size_t size) {
        return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
        return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
        return refuse() ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size) {
        return refuse() ? NULL : __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *text) {
        return refuse() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size) {
        return refuse() ? NULL : __real_strndup(text, size);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c) */

/* The trial sees true when something may be refused. */
static void refuse_each(void (*trial)(bool may_fail), unsigned least) {
        unsigned n = 1;
        trial(false);
        for (;; n++) {
                refused_at = n;
                asked = 0;
                trial(true);
                bool none = asked < n;
                refused_at = 0;
                if (none)
                        break;
                assert_true(n < 100000);
        }
        print_message("           passed after %u allocations\n", n - 1);
        assert_true(n > least);
}

/* Arms and disarms within a trial, which must not refuse cmocka anything. */
static unsigned disarm(void) {
        unsigned at = refused_at;
        refused_at = 0;
        return at;
}

static void refused_only(struct error *error, bool may_fail) {
        unsigned at = disarm();
        if (error && (!may_fail || error->kind != ERROR_MEMORY))
                fail_msg("class %d: %s", (int)error->kind, error->message);
        error_free(error);
        refused_at = at;
}

/* ---- jobs ---- */

static struct world world;

static const struct {
        const char *line;
        enum failure failure;
} lines[] = {
        {"{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\"messages\":"
         "[{\"role\":\"user\",\"content\":\"\\u00e9\"}],\"models\":[\"m\",\"n\"],\"provider\":{\"order\":["
         "\"p\"],"
         "\"ignore\":[\"q\"],\"max_price\":{\"prompt\":1}}},\"metadata\":{\"k\":\"v\"},\"priority\":3,"
         "\"idempotency_key\":\"key\",\"workspace\":\"w\",\"deadline\":\"2100-01-01T00:00:00Z\"}",
         FAILURE_NONE},
        {"{\"custom_id\":\"b\",\"url\":\"/v1/embeddings\",\"body\":{\"model\":\"m\",\"input\":[\"x\",\"y\"],"
         "\"encoding_format\":\"base64\"}}",
         FAILURE_NONE},
        {"{\"custom_id\":\"c\",\"url\":\"/v1/audio/transcriptions\",\"body\":{\"model\":\"m\",\"file_url\":"
         "\"data:audio/wav;base64,UklGRg==\",\"response_format\":\"json\",\"prompt\":\"\\\"quoted\\\"\"}}",
         FAILURE_NONE},
        {"{\"custom_id\":\"d\",\"url\":\"/v1/nothing\",\"body\":{}}", FAILURE_UNSUPPORTED_ENDPOINT},
        {"{\"custom_id\":\"e\"", FAILURE_INVALID_JOB},
};
enum { LINES = sizeof(lines) / sizeof(*lines) };

static void try_decode(bool may_fail) {
        struct job_decoder *decoder = NULL;
        struct job_decoder_options options = {
                .batch = "jobs", .job_bytes_max = 1 << 20, .prefs_default = &world.config->prefs};
        struct error *error = job_decoder_new(&options, &decoder);
        refused_only(error, may_fail);
        for (int i = 0; decoder && i < LINES; i++) {
                struct job_spec *job = job_decode(decoder, bytes_of(lines[i].line), 1, 0, false);
                unsigned at = disarm();
                assert_true(job || may_fail);
                if (job && job->failure != lines[i].failure)
                        fail_msg("line %d: failure %d, %.*s", i, (int)job->failure,
                                 (int)job->failure_message.size, job->failure_message.data);
                refused_at = at;
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

static void test_decode(void **state) {
        (void)state;
        refuse_each(try_decode, 5);
}

/* A record of a topic: what is kept of it, and its dead letter. Nothing is half there. */
static void try_record(bool may_fail) {
        const struct job_header headers[] = {{BYTES("a"), BYTES("1")}, {BYTES("b"), BYTES("")}};
        struct job_record record = {.key = BYTES("key"),
                                    .value = bytes_of(lines[0].line),
                                    .has_key = true,
                                    .has_value = true,
                                    .headers = headers,
                                    .headers_count = 2,
                                    .partition = 1,
                                    .offset = 7};
        struct job_decoder_options options = {.batch = "", .job_bytes_max = 1 << 20};
        struct job_decoder *decoder = NULL;
        refused_only(job_decoder_new(&options, &decoder), may_fail);
        struct job_spec *job = decoder ? job_decode_record(decoder, &record) : NULL;
        struct origin *origin = origin_new(&record, 1);
        struct buffer scratch;
        buffer_init(&scratch, 1 << 16);
        if (job && origin) {
                struct kafka_header out[DEAD_LETTER_HEADERS_MAX];
                struct outcome outcome = {.failure = FAILURE_NO_PROVIDER, .message = "nobody"};
                job->origin = origin;
                size_t count = dead_letter_headers(job, &outcome, "jobs", "group", &scratch, out);
                unsigned at = disarm();
                assert_int_equal(job->failure, FAILURE_NONE);
                assert_true(bytes_equal_string(origin->record.headers[0].value, "1"));
                assert_true(!scratch.failed || may_fail);
                assert_true(scratch.failed || count > 10);
                refused_at = at;
        }
        assert_true((job && origin) || may_fail);
        buffer_deinit(&scratch);
        origin_free(origin);
        job_spec_free(job);
        job_decoder_free(decoder);
}

static void test_record(void **state) {
        (void)state;
        refuse_each(try_record, 3);
}

/* ---- requests, answers and results ---- */

static struct job_spec *jobs[LINES];
static const char *const bodies[] = {
        ("{\"id\":\"x\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":"
         "{\"role\":\"assistant\",\"content\":\"ahoy\"},\"finish_reason\":\"stop\"}],\"usage\":"
         "{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}"),
        ("{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5,1]},"
         "{\"object\":\"embedding\",\"index\":1,\"embedding\":[1,2]}],\"usage\":{\"prompt_tokens\":1}}"),
        "{\"text\":\"ahoy\"}",
};
enum { BODIES = sizeof(bodies) / sizeof(*bodies) };
static char *rendered[BODIES]; /* as without a refusal */

static void try_answer(bool may_fail) {
        for (int i = 0; i < BODIES; i++) {
                struct response response = {.status = 200, .headers = BYTES(""), .body = bytes_of(bodies[i])};
                struct request request = {0};
                struct answer answer;
                struct buffer json;
                buffer_init(&request.body, 1 << 20);
                buffer_init(&json, 1 << 20);
                answer_init(&answer);
                bool said = world.dialect->request(jobs[i], BYTES("upstream"), &request, &answer);
                assert_true(said || may_fail);
                buffer_deinit(&request.body);
                answer_init(&answer);
                world.dialect->read(jobs[i], &response, &answer);
                assert_true(answer.verdict == VERDICT_OK || may_fail);
                world.dialect->render(jobs[i], &response, &json);
                unsigned at = disarm();
                buffer_append(&json, "", 1);
                assert_true(!json.failed || may_fail);
                if (!json.failed && !rendered[i])
                        rendered[i] = strdup(json.data);
                if (!json.failed && strcmp(json.data, rendered[i]) != 0)
                        fail_msg("%s\n%s", json.data, rendered[i]);
                refused_at = at;
                buffer_deinit(&json);
        }
}

static void test_answer(void **state) {
        (void)state;
        refuse_each(try_answer, 3);
}

static char *result;

static void try_result(bool may_fail) {
        struct outcome outcome = {.has_answer = true, .status = 200, .attempts = 1};
        struct result_source source = {.job = jobs[0],
                                       .outcome = &outcome,
                                       .catalog = &world.config->catalog,
                                       .request_id = BYTES("req"),
                                       .body_json = bytes_of(bodies[0])};
        struct buffer line;
        buffer_init(&line, 1 << 20);
        usage_init(&outcome.usage);
        result_append(&line, &source);
        unsigned at = disarm();
        assert_true(!line.failed || may_fail);
        if (line.failed)
                assert_int_equal(line.size, 0); /* nothing, not a part */
        buffer_append(&line, "", 1);
        if (!line.failed && !result)
                result = strdup(line.data);
        if (!line.failed)
                assert_string_equal(line.data, result);
        refused_at = at;
        struct result_head head;
        bool whole = result_read_head((struct bytes){result, strlen(result) - 1}, &head);
        assert_true(whole || may_fail);
        buffer_deinit(&line);
}

static void test_result(void **state) {
        (void)state;
        refuse_each(try_result, 1);
}

/* ---- configuration, engine ---- */

static void try_config(bool may_fail) {
        static const char text[] = "limits:\n  in_flight: 8\nproviders:\n  - name: p\n    kind: openai\n"
                                   "    base_url: http://127.0.0.1:1/v1\n    api_key: ${HOME}\n    models:\n"
                                   "      - {model: m, price: {input: 1, output: 2}}\n"
                                   "      - {model: n, upstream: o}\n";
        static const char *const sets[] = {"retry.attempts=3"};
        struct config_options options = {.sets = sets, .sets_count = 1, .dialect_names = dialect_names()};
        struct config *config = NULL;
        struct error *error = config_load_text(&options, "text.yaml", bytes_of(text), &config);
        refused_only(error, may_fail);
        struct buffer printed;
        buffer_init(&printed, 1 << 20);
        if (config)
                config_print(config, &printed);
        buffer_deinit(&printed);
        config_free(config);
}

static void test_config(void **state) {
        (void)state;
        refuse_each(try_config, 10);
}

static void try_engine(bool may_fail) {
        struct engine_config config = {
                .jobs_max = 8, .in_flight_max = 4, .attempts_max = 2, .retry_share = 1};
        struct engine *engine = engine_new(&world.config->catalog, &config, (struct engine_time){1, 1});
        assert_true(engine || may_fail);
        engine_free(engine);
}

static void test_engine(void **state) {
        (void)state;
        refuse_each(try_engine, 5);
}

/* ---- files, store, committer, calls ---- */

static void fill(struct store_batch *batch, const struct job_spec *job) {
        struct begun begun = {
                .key = job->key, .partition = STORE_NO_PARTITION, .attempt = 1, .endpoint = "somebody"};
        struct settled settled = {.partition = STORE_NO_PARTITION, .attempts = 1, .size = 1};
        struct begun_id id = store_batch_begin(batch, &begun);
        store_batch_end(batch, id);
        store_batch_settle(batch, job->alias, &settled, (struct begun_id){0});
        store_batch_body(batch, job->alias, BYTES("body"));
        store_batch_body_drop(batch, job->alias);
}

/* A run's files, a batch in the store, and what a shard is made of. */
static void try_run(bool may_fail) {
        struct run_files files = {0};
        struct run_files_options options = {.state = world.state,
                                            .input = world.input,
                                            .output = world.output,
                                            .errors = world.errors,
                                            .line_max = 1 << 20};
        unsigned at = disarm();
        world_clear(&world);
        refused_at = at;
        struct error *error = run_files_open(&options, &files);
        bool opened = !error;
        refused_only(error, may_fail);
        if (!opened)
                return;
        struct store_batch *batch = store_batch_new(files.store);
        if (batch) {
                fill(batch, jobs[0]);
                refused_only(store_write(files.store, batch), may_fail);
        }
        store_batch_free(batch);
        run_files_close(&files);
}

static void test_files_and_store(void **state) {
        (void)state;
        refuse_each(try_run, 10);
}

static void try_shard(bool may_fail) {
        struct shard *shard = NULL;
        struct run_files files = {0};
        struct run_files_options options = {
                .state = world.state, .input = world.input, .output = world.output, .line_max = 1 << 20};
        unsigned at = disarm();
        world_clear(&world);
        assert_null(run_files_open(&options, &files));
        const char *keys[1] = {"key"};
        struct shard_options shard_options = world_options(&world, &files, keys);
        refused_at = at;
        struct error *error = shard_new(&shard_options, &shard);
        refused_only(error, may_fail);
        at = disarm();
        shard_free(shard);
        world_close_intake(&world);
        run_files_close(&files);
        refused_at = at;
}

static void test_shard(void **state) {
        (void)state;
        refuse_each(try_shard, 20);
}

static struct committer *committer;

static void try_submit(bool may_fail) {
        struct completion completions[2];
        struct intent intents[2];
        for (int i = 0; i < 2; i++) {
                intents[i] = (struct intent){.kind = INTENT_OPEN, .handle = {(uint32_t)i, 1}};
                intents[i].open =
                        (struct begun){.key = jobs[i]->key, .partition = STORE_NO_PARTITION, .attempt = 1};
        }
        bool taken = committer_submit(committer, intents, 2, NULL);
        unsigned at = disarm();
        assert_true(taken || may_fail);
        if (!taken) { /* nothing was, so it can be tried again */
                assert_true(committer_idle(committer));
                assert_true(committer_submit(committer, intents, 2, NULL));
        }
        for (size_t count = 0; count < 2;)
                count += committer_take(committer, completions, 2 - count);
        while (!committer_idle(committer))
                ;
        refused_at = at;
}

static void test_submit(void **state) {
        struct run_files files = {0};
        struct run_files_options options = {
                .state = world.state, .input = world.input, .output = world.output, .line_max = 1 << 20};
        (void)state;
        world_clear(&world);
        assert_null(run_files_open(&options, &files));
        int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct committer_options committing = {.store = files.store,
                                               .sinks = {files.sinks[0], NULL},
                                               .catalog = &world.config->catalog,
                                               .source_name = "jobs",
                                               .patience_ns = NS_PER_S,
                                               .event_fd = event_fd};
        for (unsigned n = 1; n <= 3; n++) { /* the arrays are kept, so each time anew */
                assert_null(committer_new(&committing, &committer));
                refused_at = n;
                asked = 0;
                try_submit(true);
                assert_int_equal(asked >= n, n <= 2);
                refused_at = 0;
                committer_free(committer);
        }
        close(event_fd);
        run_files_close(&files);
}

static int setup(void **state) {
        struct job_decoder *decoder;
        struct job_decoder_options options = {.batch = "jobs", .job_bytes_max = 1 << 20};
        (void)state;
        world_open(&world, 0);
        world_write(world.input, "");
        assert_null(job_decoder_new(&options, &decoder));
        for (int i = 0; i < LINES; i++)
                assert_non_null(jobs[i] = job_decode(decoder, bytes_of(lines[i].line), 1, 0, false));
        job_decoder_free(decoder);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        for (int i = 0; i < LINES; i++)
                job_spec_free(jobs[i]);
        for (int i = 0; i < BODIES; i++)
                free(rendered[i]);
        free(result);
        world_close(&world);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_decode),          cmocka_unit_test(test_record),
                cmocka_unit_test(test_answer),          cmocka_unit_test(test_result),
                cmocka_unit_test(test_config),          cmocka_unit_test(test_engine),
                cmocka_unit_test(test_files_and_store), cmocka_unit_test(test_shard),
                cmocka_unit_test(test_submit),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
