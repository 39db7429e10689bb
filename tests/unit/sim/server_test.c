/*
 * The server in a thread of this program, spoken to over raw sockets, so that what is on the wire is seen:
 * resets, cut bodies, headers. A receive timeout only keeps a broken server from hanging the test.
 */
#include "broker/base/time.h"
#include "broker/sim/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
        struct sim_server *server;
        pthread_t thread;
};

static struct fixture fixture;

static void *run(void *server) {
        return sim_server_run(server);
}

static void start(const struct sim_server_options *options) {
        struct sim_faults faults;

        sim_faults_init(&faults);
        assert_null(sim_server_open(options, &faults, &fixture.server));
        assert_int_equal(pthread_create(&fixture.thread, NULL, run, fixture.server), 0);
}

static void stop(void) {
        void *error;

        sim_server_stop(fixture.server);
        assert_int_equal(pthread_join(fixture.thread, &error), 0);
        assert_null(error);
        fixture.server = sim_server_close(fixture.server);
}

static int dial(void) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(sim_server_port(fixture.server))};
        struct timeval patience = {.tv_sec = 20};
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
        return fd;
}

static void say(int fd, const char *method, const char *path, const char *headers, const char *body) {
        char text[4096];
        int size =
                snprintf(text, sizeof(text),
                         "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
                         method, path, headers, strlen(body), body);

        assert_int_equal(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
}

/* Until the other side closes. Gives errno, 0 for an orderly end; the text is terminated. */
static int hear(int fd, char *out_text, size_t out_bytes) {
        size_t size = 0;
        ssize_t got;

        while ((got = recv(fd, out_text + size, out_bytes - 1 - size, 0)) > 0)
                size += (size_t)got;
        out_text[size] = '\0';
        (void)close(fd);
        return got < 0 ? errno : 0;
}

static char heard[65536];

static int ask(const char *method, const char *path, const char *headers, const char *body) {
        int fd = dial();

        say(fd, method, path, headers, body);
        return hear(fd, heard, sizeof(heard));
}

static void set_faults(const char *json) {
        assert_int_equal(ask("POST", "/sim/faults", "", json), 0);
        assert_non_null(strstr(heard, "200 OK"));
        assert_int_equal(ask("POST", "/sim/reset", "", ""), 0);
}

static bool stats_have(const char *part) {
        assert_int_equal(ask("GET", "/sim/stats", "", ""), 0);
        return strstr(heard, part) != NULL;
}

static void expect_stats(const char *part) {
        if (!stats_have(part))
                fail_msg("no %s in %s", part, heard);
}

/* For what happens on its own soon; the bound only keeps a broken server from hanging the test. */
static void wait_for_stats(const char *part) {
        for (int64_t end_ns = clock_now_ns() + 60 * NS_PER_S; !stats_have(part);)
                if (clock_now_ns() > end_ns)
                        fail_msg("never %s in %s", part, heard);
}

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}"

static int ask_chat(const char *headers) {
        return ask("POST", "/v1/chat/completions", headers, CHAT);
}

static struct sim_server_options defaults(void) {
        struct sim_server_options options;

        sim_server_options_init(&options);
        options.connections_max = 100;
        return options;
}

static void answers_and_counts(void **state) {
        struct sim_server_options options = defaults();

        (void)state;
        start(&options);
        assert_int_equal(ask_chat("x-batchferry-job: doc-1\r\n"), 0);
        assert_non_null(strstr(heard, "200 OK"));
        assert_non_null(strstr(heard, "x-request-id: req_"));
        assert_non_null(strstr(heard, "chat.completion"));
        assert_int_equal(ask_chat("x-batchferry-job: doc-1\r\n"), 0);
        assert_int_equal(ask_chat(""), 0);
        assert_int_equal(ask("GET", "/sim/calls", "", ""), 0);
        assert_non_null(strstr(heard, "{\"id\":\"doc-1\",\"seen\":2,\"count\":2,\"answered\":2}\n"));
        expect_stats("\"executed\":3,\"answered\":3,\"identities\":2,\"repeated\":1,\"answered_repeated\":1,"
                     "\"executions_max\":2");
        assert_int_equal(ask("POST", "/sim/reset", "", ""), 0);
        expect_stats("\"executed\":0,\"answered\":0,\"identities\":0");
        stop();
}

static void latency_suspends_and_a_stop_ends_what_waits(void **state) {
        struct sim_server_options options = defaults();
        int waiting[20];

        (void)state;
        options.latency = (struct sim_distribution){SIM_SHAPE_FIXED, (double)(20 * NS_PER_MS), 0};
        start(&options);
        assert_int_equal(ask_chat(""), 0);
        assert_non_null(strstr(heard, "200 OK"));
        assert_non_null(strstr(heard, "openai-processing-ms: "));
        assert_true(atoi(strstr(heard, "openai-processing-ms: ") + 22) >= 20);
        set_faults("{\"faults\":[\"hang:1\"]}");
        for (int i = 0; i < 20; i++) {
                waiting[i] = dial();
                say(waiting[i], "POST", "/v1/chat/completions", "", CHAT);
        }
        wait_for_stats("\"in_flight_max\":20");
        stop();
        for (int i = 0; i < 20; i++) {
                (void)hear(waiting[i], heard, sizeof(heard));
                assert_string_equal(heard, "");
        }
}

/* What arrives while it closes must not be suspended: the daemon would abort the program. */
static void a_request_that_comes_with_the_stop_is_dropped(void **state) {
        struct sim_server_options options = defaults();
        struct sim_faults faults;
        int fds[20];

        (void)state;
        sim_faults_init(&faults);
        assert_null(sim_faults_add_rate(&faults, bytes_of("hang:1")));
        assert_null(sim_server_open(&options, &faults, &fixture.server));
        for (int i = 0; i < 20; i++) {
                fds[i] = dial();
                say(fds[i], "POST", "/v1/chat/completions", "", CHAT);
        }
        fixture.server = sim_server_close(fixture.server);
        for (int i = 0; i < 20; i++)
                (void)close(fds[i]);
}

/* On a very busy machine the answer may come before the client leaves: then it tries again. */
static void a_client_that_left_is_not_answered(void **state) {
        struct sim_server_options options = defaults();
        int left = 0;

        (void)state;
        options.latency = (struct sim_distribution){SIM_SHAPE_FIXED, (double)(30 * NS_PER_MS), 0};
        start(&options);
        for (int i = 0; i < 50 && left == 0; i++) {
                int fd = dial();

                assert_int_equal(ask("POST", "/sim/reset", "", ""), 0);
                say(fd, "POST", "/v1/chat/completions", "", CHAT);
                wait_for_stats("\"in_flight_max\":1");
                (void)close(fd);
                wait_for_stats("\"in_flight\":0");
                left = stats_have("\"clients_gone\":1");
        }
        assert_int_equal(left, 1);
        expect_stats("\"executed\":1,\"answered\":0");
        stop();
}

static void a_client_that_left_ends_a_hanging_call(void **state) {
        struct sim_server_options options = defaults();
        int fd;

        (void)state;
        start(&options);
        set_faults("{\"faults\":[\"hang:1\"]}");
        fd = dial();
        say(fd, "POST", "/v1/chat/completions", "", CHAT);
        wait_for_stats("\"in_flight_max\":1");
        (void)close(fd);
        wait_for_stats("\"in_flight\":0");
        expect_stats("\"executed\":0,\"answered\":0");
        stop();
}

static void limits_refuse_with_headers(void **state) {
        struct sim_server_options options = defaults();

        (void)state;
        options.limits = (struct sim_limits_config){.requests_max = 2, .tokens_max = 1000};
        start(&options);
        assert_int_equal(ask_chat(""), 0);
        assert_non_null(strstr(heard, "x-ratelimit-limit-requests: 2\r\n"));
        assert_non_null(strstr(heard, "x-ratelimit-remaining-requests: 1\r\n"));
        assert_non_null(strstr(heard, "x-ratelimit-remaining-tokens: 998\r\n"));
        assert_int_equal(ask_chat(""), 0);
        assert_int_equal(ask_chat(""), 0);
        assert_non_null(strstr(heard, "HTTP/1.1 429 "));
        assert_non_null(strstr(heard, "Retry-After: "));
        assert_non_null(strstr(heard, "rate_limit_exceeded"));
        expect_stats("\"limit_violations\":{\"requests\":1,\"tokens\":0,\"concurrency\":0}");
        stop();
}

static void concurrency_is_given_back(void **state) {
        struct sim_server_options options = defaults();

        (void)state;
        options.limits = (struct sim_limits_config){.concurrency_max = 1};
        start(&options);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(ask_chat(""), 0);
                assert_non_null(strstr(heard, "200 OK"));
        }
        stop();
}

static void keys_are_checked(void **state) {
        struct sim_server_options options = defaults();

        (void)state;
        options.require_key = "sk-1";
        start(&options);
        assert_int_equal(ask_chat(""), 0);
        assert_non_null(strstr(heard, "401 Unauthorized"));
        assert_int_equal(ask_chat("Authorization: Bearer sk-2\r\n"), 0);
        assert_non_null(strstr(heard, "invalid_api_key"));
        assert_int_equal(ask_chat("api-key: sk-2\r\n"), 0);
        assert_non_null(strstr(heard, "invalid_api_key"));
        assert_int_equal(ask_chat("Authorization: Bearer sk-1\r\n"), 0);
        assert_non_null(strstr(heard, "200 OK"));
        assert_int_equal(ask("POST", "/openai/deployments/d/chat/completions?api-version=1",
                             "api-key: sk-1\r\n", CHAT),
                         0);
        assert_non_null(strstr(heard, "200 OK"));
        stop();
}

static void broken_transport_is_broken(void **state) {
        struct sim_server_options options = defaults();

        (void)state;
        options.slow_body_bytes_per_s = 100000;
        start(&options);
        set_faults("{\"faults\":[\"reset-before:1\"]}");
        assert_int_equal(ask_chat(""), ECONNRESET);
        assert_int_equal(ask_chat("x-batchferry-job: j\r\n"), ECONNRESET);
        expect_stats("\"faults\":{\"reset-before\":2},\"executed\":0");
        set_faults("{\"faults\":[\"reset-after:1\"]}");
        assert_int_equal(ask_chat(""), ECONNRESET);
        expect_stats("\"executed\":1,\"answered\":0");
        set_faults("{\"faults\":[\"half-body:1\"]}");
        assert_int_equal(ask_chat(""), 0);
        assert_true(atoi(strstr(heard, "Content-Length: ") + 16) / 2 ==
                    (int)strlen(strstr(heard, "\r\n\r\n") + 4));
        expect_stats("\"executed\":1,\"answered\":0");
        set_faults("{\"faults\":[\"truncated-json:1\"]}");
        assert_int_equal(ask_chat(""), 0);
        assert_int_equal(atoi(strstr(heard, "Content-Length: ") + 16), strlen(strstr(heard, "\r\n\r\n") + 4));
        assert_null(strstr(heard, "usage"));
        expect_stats("\"executed\":1,\"answered\":0");
        set_faults("{\"faults\":[\"slow-body:1\"]}");
        assert_int_equal(ask_chat(""), 0);
        assert_int_equal(atoi(strstr(heard, "Content-Length: ") + 16), strlen(strstr(heard, "\r\n\r\n") + 4));
        expect_stats("\"executed\":1,\"answered\":1");
        set_faults("{\"faults\":[\"huge-body:40000:1\"]}");
        assert_int_equal(ask_chat(""), 0);
        assert_int_equal(strlen(strstr(heard, "\r\n\r\n") + 4), 40000);
        stop();
}

static void a_script_fails_twice_and_then_answers(void **state) {
        struct sim_server_options options = defaults();

        (void)state;
        start(&options);
        set_faults("{\"script\":[{\"match\":\"hello\",\"fault\":\"503-slow-down\",\"times\":2}]}");
        assert_int_equal(ask_chat(""), 0);
        assert_non_null(strstr(heard, "HTTP/1.1 503 "));
        assert_int_equal(ask_chat(""), 0);
        assert_non_null(strstr(heard, "slow_down"));
        assert_int_equal(ask_chat(""), 0);
        assert_non_null(strstr(heard, "200 OK"));
        expect_stats("\"faults\":{\"503-slow-down\":2},\"executed\":1,\"answered\":1");
        stop();
}

static const char *form(const char *boundary, const char *audio, char *out_body, size_t out_bytes) {
        (void)snprintf(out_body, out_bytes,
                       "--%s\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n"
                       "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n"
                       "Content-Type: audio/wav\r\n\r\n%s\r\n--%s--\r\n",
                       boundary, boundary, audio, boundary);
        return out_body;
}

static void a_form_is_known_by_its_audio_not_its_boundary(void **state) {
        struct sim_server_options options = defaults();
        char body[1024], first[4096];

        (void)state;
        start(&options);
        assert_int_equal(ask("POST", "/v1/audio/transcriptions",
                             "Content-Type: multipart/form-data; boundary=aaa\r\n",
                             form("aaa", "sound", body, sizeof(body))),
                         0);
        assert_non_null(strstr(heard, "{\"text\":\""));
        assert_non_null(strstr(heard, "\"usage\":{\"type\":\"duration\",\"seconds\":"));
        (void)snprintf(first, sizeof(first), "%s", strstr(heard, "{\"text\":\""));
        assert_int_equal(ask("POST", "/v1/audio/transcriptions",
                             "Content-Type: multipart/form-data; boundary=bbb\r\n",
                             form("bbb", "sound", body, sizeof(body))),
                         0);
        assert_string_equal(strstr(heard, "{\"text\":\""), first);
        assert_int_equal(ask("POST", "/v1/audio/transcriptions",
                             "Content-Type: multipart/form-data; boundary=bbb\r\n",
                             form("bbb", "other", body, sizeof(body))),
                         0);
        assert_string_not_equal(strstr(heard, "{\"text\":\""), first);
        expect_stats("\"identities\":2,\"repeated\":1");
        assert_int_equal(ask("POST", "/v1/audio/transcriptions", "Content-Type: text/plain\r\n", "x"), 0);
        assert_non_null(strstr(heard, "400 Bad Request"));
        stop();
}

/* As many as OpenAI takes: a form with the pictures, or JSON that names them. */
static void image_edits_come_as_a_form_or_as_json(void **state) {
        static const char json[] = "Content-Type: application/json\r\n";
        static const char picture[] = "--aaa\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n"
                                      "--aaa\r\nContent-Disposition: form-data; name=\"image\"; "
                                      "filename=\"a.png\"\r\n\r\nx\r\n--aaa--\r\n";
        struct sim_server_options options = defaults();

        (void)state;
        start(&options);
        assert_int_equal(ask("POST", "/v1/images/edits",
                             "Content-Type: multipart/form-data; boundary=aaa\r\n", picture),
                         0);
        assert_non_null(strstr(heard, "200 OK"));
        assert_non_null(strstr(heard, "\"b64_json\":"));
        assert_int_equal(ask("POST", "/v1/images/edits", json,
                             "{\"model\":\"m\",\"prompt\":\"p\",\"images\":[{\"file_id\":\"f\"}]}"),
                         0);
        assert_non_null(strstr(heard, "200 OK"));
        assert_non_null(strstr(heard, "\"b64_json\":"));
        assert_int_equal(ask("POST", "/v1/images/edits", json, "{\"model\":\"m\",\"prompt\":\"p\"}"), 0);
        assert_non_null(strstr(heard, "400 Bad Request"));
        assert_int_equal(ask("POST", "/v1/images/edits", json, "{\"model\":\"m\",\"images\":[1]}"), 0);
        assert_non_null(strstr(heard, "400 Bad Request"));
        assert_int_equal(ask("POST", "/v1/images/edits", json, ""), 0);
        assert_non_null(strstr(heard, "400 Bad Request"));
        stop();
}

static void a_port_in_use_is_said(void **state) {
        struct sim_server_options options = defaults();
        struct sim_server *second;
        struct sim_faults faults;
        struct error *error;

        (void)state;
        start(&options);
        sim_faults_init(&faults);
        options.port = sim_server_port(fixture.server);
        error = sim_server_open(&options, &faults, &second);
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_BUSY);
        assert_non_null(strstr(error->message, "is in use"));
        error_free(error);
        stop();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(answers_and_counts),
                cmocka_unit_test(latency_suspends_and_a_stop_ends_what_waits),
                cmocka_unit_test(a_request_that_comes_with_the_stop_is_dropped),
                cmocka_unit_test(a_client_that_left_is_not_answered),
                cmocka_unit_test(a_client_that_left_ends_a_hanging_call),
                cmocka_unit_test(limits_refuse_with_headers),
                cmocka_unit_test(concurrency_is_given_back),
                cmocka_unit_test(keys_are_checked),
                cmocka_unit_test(broken_transport_is_broken),
                cmocka_unit_test(a_script_fails_twice_and_then_answers),
                cmocka_unit_test(a_form_is_known_by_its_audio_not_its_boundary),
                cmocka_unit_test(image_edits_come_as_a_form_or_as_json),
                cmocka_unit_test(a_port_in_use_is_said),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
