/* From a CALL command to an answer, against the simulator: what is sent, and what is refused before. */
#include "broker/base/time.h"
#include "broker/loop/calls.h"
#include "broker/wire/job.h"
#include "tests/faults/world.h"
#include "tests/unit/http/script_server.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SLOTS = 4, ENDPOINTS = 3 };

#define CHAT                                                                                                 \
        "{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"one\",\"messages\":"    \
        "[{\"role\":\"user\",\"content\":\"ahoy\"}]}}"
#define CHAT_TWO                                                                                             \
        "{\"custom_id\":\"b\",\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"two\",\"messages\":"    \
        "[{\"role\":\"user\",\"content\":\"ahoy\"}]}}"
#define RERANK                                                                                               \
        "{\"custom_id\":\"c\",\"url\":\"/v1/rerank\",\"body\":{\"model\":\"one\",\"query\":\"q\","           \
        "\"documents\":[\"d\"]}}"
#define SPOKEN(url)                                                                                          \
        "{\"custom_id\":\"d\",\"url\":\"/v1/audio/transcriptions\",\"body\":{\"model\":\"one\","             \
        "\"file_url\":\"" url "\"}}"
/* A header of a WAV file and two samples. */
#define WAV "data:audio/wav;base64,UklGRigAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQQAAAAAAAAA"

/* Endpoint 0: an OpenAI one; 1: a classic Azure one for every model, which answers 404; 2: nobody listens. */
static struct world world;
static char urls[ENDPOINTS][64];
static struct provider providers[ENDPOINTS];
static struct endpoint endpoints[ENDPOINTS];
static struct catalog catalog;
static const struct dialect *dialects[ENDPOINTS];
static const char *const keys[ENDPOINTS] = {"key-of-openai", NULL, NULL};
static struct calls *calls;
static struct job_decoder *decoder;
static uint32_t generation;
static struct server *azure;

static struct job_spec *job_of(const char *line) {
        struct job_spec *job = job_decode(decoder, bytes_of(line), 1, 0, false);
        assert_non_null(job);
        assert_int_equal(job->failure, FAILURE_NONE);
        return job;
}

static void start(struct job_spec *job, uint32_t slot, uint32_t endpoint) {
        struct command command = {.kind = COMMAND_CALL,
                                  .handle = {slot, ++generation},
                                  .job = job,
                                  .endpoint = endpoint,
                                  .timeout_ns = 30 * NS_PER_S};
        calls_start(calls, &command);
}

/* As a shard waits. */
static void wait_for_call(struct called *out_called) {
        while (calls_poll(calls, out_called, 1) == 0) {
                struct pollfd fds[2] = {{.fd = calls_http_fd(calls), .events = POLLIN},
                                        {.fd = calls_fetch_fd(calls), .events = POLLIN}};
                int64_t wait_ns = calls_wake_ns(calls);
                if (wait_ns != INT64_MAX)
                        wait_ns -= clock_now_ns();
                poll(fds, 2, wait_ns <= 0 ? 0 : wait_ns > NS_PER_S ? 1000 : (int)(wait_ns / NS_PER_MS) + 1);
        }
}

static struct answer call(const char *line, uint32_t endpoint, struct reply *out_reply) {
        struct job_spec *job = job_of(line);
        struct called called;
        start(job, 1, endpoint);
        assert_int_equal(calls_in_flight(calls), 1);
        wait_for_call(&called);
        assert_int_equal(calls_in_flight(calls), 0);
        assert_int_equal(called.handle.slot, 1);
        assert_int_equal(called.handle.generation, generation);
        calls_take_reply(calls, 1, out_reply);
        assert_int_equal(calls_reply_bytes(calls), 0);
        job_spec_free(job);
        return called.answer;
}

static void test_json(void **state) {
        struct reply reply;
        (void)state;
        struct answer answer = call(CHAT, 0, &reply);
        assert_int_equal(answer.verdict, VERDICT_OK);
        assert_int_equal(answer.status, 200);
        assert_true(answer.latency_ns > 0);
        assert_int_equal(reply.status, 200);
        assert_ptr_equal(reply.dialect, dialects[0]);
        assert_true(reply_request_id(&reply).size > 0);
        assert_non_null(memmem(reply.body.data, reply.body.size, "\"choices\"", 9));
        reply_deinit(&reply);
}

static void test_multipart_from_a_data_url(void **state) {
        struct reply reply;
        (void)state;
        struct answer answer = call(SPOKEN(WAV), 0, &reply);
        if (answer.verdict != VERDICT_OK)
                fail_msg("%d %s", answer.verdict, answer.message);
        assert_non_null(memmem(reply.body.data, reply.body.size, "\"text\"", 6));
        reply_deinit(&reply);
}

static void test_what_is_refused_before_it_is_sent(void **state) {
        static const struct {
                const char *line;
                uint32_t endpoint;
                enum verdict verdict;
                enum failure failure;
        } cases[] = {
                {SPOKEN("file:///etc/passwd"), 0, VERDICT_INPUT, FAILURE_INPUT_UNAVAILABLE},
                {SPOKEN("http://127.0.0.1:1/a.wav"), 0, VERDICT_INPUT, FAILURE_INPUT_UNAVAILABLE},
                {SPOKEN("data:audio/wav;base64,%%%"), 0, VERDICT_INPUT, FAILURE_INPUT_UNAVAILABLE},
                {RERANK, 1, VERDICT_OTHER_MODEL, FAILURE_NO_PROVIDER}, /* no such path at Azure */
        };
        (void)state;
        free(world_ask(&world, "POST", "/sim/reset", "{}"));
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct reply reply;
                struct answer answer = call(cases[i].line, cases[i].endpoint, &reply);
                assert_int_equal(answer.verdict, cases[i].verdict);
                assert_int_equal(answer.failure, cases[i].failure);
                assert_true(strlen(answer.message) > 0);
                assert_null(reply.dialect);
        }
        assert_int_equal(world_count(&world, "requests"), 0);
}

static void test_nobody_listens(void **state) {
        struct reply reply;
        (void)state;
        struct answer answer = call(CHAT, 2, &reply);
        assert_int_equal(answer.verdict, VERDICT_NOT_SENT);
        assert_null(reply.dialect);
}

/* The URL of a classic Azure endpoint names the model, so one for every model has many URLs. */
static void test_each_model_has_its_deployment(void **state) {
        (void)state;
        for (int i = 0; i < 4; i++) {
                struct reply reply;
                call(i % 2 ? CHAT_TWO : CHAT, 1, &reply);
                assert_non_null(
                        strstr(azure->last_head, i % 2 ? "POST /openai/deployments/two/chat/completions"
                                                       : "POST /openai/deployments/one/chat/completions"));
                reply_deinit(&reply);
        }
}

/* The reply of a call is dropped when its slot is called again, and what is left when all is closed. */
static void test_replies_have_one_owner(void **state) {
        struct job_spec *job = job_of(CHAT);
        struct called called;
        (void)state;
        for (int i = 0; i < 3; i++) {
                start(job, 2, 0);
                wait_for_call(&called);
                assert_int_equal(called.answer.verdict, VERDICT_OK);
                assert_true(calls_reply_bytes(calls) > 0);
        }
        calls_drop(calls, 2);
        assert_int_equal(calls_reply_bytes(calls), 0);
        start(job, 2, 0);
        wait_for_call(&called);
        job_spec_free(job);
}

/* Last: closes with calls under way, one that was refused and not asked for, and a reply that nobody took. */
static void test_close_ends_calls(void **state) {
        struct job_spec *job = job_of(CHAT), *refused = job_of(SPOKEN("file:///etc/passwd"));
        (void)state;
        free(world_ask(&world, "POST", "/sim/faults", "{\"script\":[{\"fault\":\"hang\",\"times\":0}]}"));
        free(world_ask(&world, "POST", "/sim/reset", "{}"));
        start(job, 0, 0);
        start(job, 1, 0);
        start(refused, 3, 0);
        calls = calls_close(calls);
        assert_null(calls);
        job_spec_free(job);
        job_spec_free(refused);
}

static int setup(void **state) {
        static const char *const paths[ENDPOINTS] = {"/v1", "", "/v1"};
        (void)state;
        world_open(&world, 0);
        azure = server_start();
        const unsigned ports[ENDPOINTS] = {sim_server_port(world.sim), (unsigned)azure->port, 1};
        for (uint32_t i = 0; i < ENDPOINTS; i++) {
                snprintf(urls[i], sizeof(urls[i]), "http://127.0.0.1:%u%s", ports[i], paths[i]);
                providers[i] = world.config->catalog.providers[0];
                providers[i].base_url = urls[i];
                endpoints[i] = world.config->catalog.endpoints[0];
                endpoints[i].provider = i;
                dialects[i] = dialect_find(bytes_of(i == 1 ? "azure" : "openai"));
                assert_non_null(dialects[i]);
        }
        providers[1].dialect = "azure";
        catalog = (struct catalog){providers, ENDPOINTS, endpoints, ENDPOINTS, "0", NULL, 0};
        struct calls_options options = {
                .catalog = &catalog,
                .dialects = dialects,
                .keys = keys,
                .http = {.calls_max = SLOTS,
                         .connect_timeout_ns = 10 * NS_PER_S,
                         .low_speed_ns = 60 * NS_PER_S},
                .fetch = {.allow_http = true,
                          .bytes_max = 1 << 20,
                          .timeout_ns = 10 * NS_PER_S,
                          .connect_timeout_ns = 10 * NS_PER_S,
                          .fetches_max = 2},
                .slots = SLOTS,
                .response_max = 1 << 20,
        };
        assert_null(calls_open(&options, &calls));
        struct job_decoder_options decoding = {.batch = "jobs", .job_bytes_max = 1 << 20};
        assert_null(job_decoder_new(&decoding, &decoder));
        return 0;
}

static int teardown(void **state) {
        (void)state;
        calls_close(calls);
        job_decoder_free(decoder);
        server_stop(azure);
        world_close(&world);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_json),
                cmocka_unit_test(test_multipart_from_a_data_url),
                cmocka_unit_test(test_what_is_refused_before_it_is_sent),
                cmocka_unit_test(test_nobody_listens),
                cmocka_unit_test(test_each_model_has_its_deployment),
                cmocka_unit_test(test_replies_have_one_owner),
                cmocka_unit_test(test_close_ends_calls),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
