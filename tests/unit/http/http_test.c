/*
 * The client against a scripted server: what is reused, what is kept of an answer, and what each way of
 * failing is called. The most important ones are the traps: a request that was read by the server must never
 * be sent a second time unseen.
 */
#include "broker/base/time.h"
#include "tests/unit/http/script_server.h"
#include "workers/http/http.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

struct fixture {
        struct server *server;
        struct http *http;
        struct http_options options;
        struct http_done done[512];
        size_t done_count;
};

static void no_error(struct error *error) {
        if (error != NULL)
                print_error("%s\n", error->message);
        assert_null(error);
}

static int setup(void **state) {
        struct fixture *fixture = calloc(1, sizeof *fixture);
        fixture->server = server_start();
        fixture->options = (struct http_options){
                .calls_max = 400, .connect_timeout_ns = 20 * NS_PER_S, .low_speed_ns = 0};
        no_error(http_open(&fixture->options, &fixture->http));
        *state = fixture;
        alarm(120); /* a test that hangs ends */
        return 0;
}

static void forget(struct fixture *fixture) {
        for (size_t i = 0; i < fixture->done_count; i++) {
                buffer_deinit(&fixture->done[i].headers);
                buffer_deinit(&fixture->done[i].body);
        }
        fixture->done_count = 0;
}

static int teardown(void **state) {
        struct fixture *fixture = *state;
        forget(fixture);
        http_close(fixture->http);
        server_stop(fixture->server);
        free(fixture);
        return 0;
}

static void reopen(struct fixture *fixture) {
        fixture->http = http_close(fixture->http);
        no_error(http_open(&fixture->options, &fixture->http));
}

static uint32_t target_url(struct fixture *fixture, const char *url) {
        static const char *const headers[] = {"Authorization: Bearer k"};
        uint32_t target;
        no_error(http_add_target(fixture->http, &(struct http_target){url, headers, 1}, &target));
        return target;
}

static uint32_t target_path(struct fixture *fixture, const char *path) {
        char url[256];
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", fixture->server->port, path);
        return target_url(fixture, url);
}

static struct http_call call_to(uint32_t target, uint64_t tag) {
        return (struct http_call){.tag = tag,
                                  .target = target,
                                  .body = BYTES("{\"a\":1}"),
                                  .timeout_ns = 60 * NS_PER_S,
                                  .response_max = 16384};
}

static void turn(struct fixture *fixture) {
        int64_t wake_ns = http_wake_ns(fixture->http), left_ns = wake_ns - clock_now_ns();
        struct pollfd descriptor = {.fd = http_fd(fixture->http), .events = POLLIN};
        int wait_ms = wake_ns == INT64_MAX ? -1 : left_ns <= 0 ? 0 : (int)(left_ns / NS_PER_MS) + 1;
        poll(&descriptor, 1, wait_ms);
        fixture->done_count += http_poll(fixture->http, fixture->done + fixture->done_count,
                                         sizeof fixture->done / sizeof *fixture->done - fixture->done_count);
}

static void wait_done(struct fixture *fixture, size_t count) {
        while (fixture->done_count < count)
                turn(fixture);
        assert_int_equal(fixture->done_count, count);
}

/* One call, and what came of it; valid until the next. */
static struct http_done *one(struct fixture *fixture, const struct http_call *call) {
        forget(fixture);
        no_error(http_start(fixture->http, call));
        wait_done(fixture, 1);
        assert_int_equal(fixture->done[0].tag, call->tag);
        assert_int_equal(http_in_flight(fixture->http), 0);
        return &fixture->done[0];
}

static struct http_done *get(struct fixture *fixture, const char *path) {
        struct http_call call = call_to(target_path(fixture, path), 1);
        return one(fixture, &call);
}

static void assert_body(const struct http_done *done, const char *expected) {
        assert_int_equal(done->outcome, HTTP_ANSWERED);
        assert_int_equal(done->status, 200);
        assert_true(bytes_equal_string(buffer_view(&done->body), expected));
        assert_string_equal(done->message, "");
}

static void keeps_connections(void **state) {
        struct fixture *fixture = *state;
        uint32_t target = target_path(fixture, "/echo");
        for (uint64_t i = 0; i < 50; i++) {
                struct http_call call = call_to(target, i);
                assert_body(one(fixture, &call), "{\"a\":1}");
        }
        assert_int_equal(fixture->server->requests, 50);
        assert_int_equal(fixture->server->accepted, 1);
        assert_non_null(strstr(fixture->server->last_head, "Authorization: Bearer k\r\n"));
        assert_non_null(
                strstr(fixture->server->last_head, "User-Agent: batchferry/" BATCHFERRY_VERSION "\r\n"));
        assert_non_null(strstr(fixture->server->last_head, "Content-Type: application/json\r\n"));
        assert_null(strstr(fixture->server->last_head, "Expect"));
        assert_null(strstr(fixture->server->last_head, "Accept-Encoding"));
}

static void many_at_once(void **state) {
        struct fixture *fixture = *state;
        uint32_t target = target_path(fixture, "/hold");
        fixture->server->hold = 300; /* more than four lanes; nobody is answered before all are there */
        for (int round = 0; round < 2; round++) {
                for (uint64_t i = 0; i < 300; i++) {
                        struct http_call call = call_to(target, i);
                        no_error(http_start(fixture->http, &call));
                }
                assert_int_equal(http_in_flight(fixture->http), 300);
                wait_done(fixture, 300);
                for (size_t i = 0; i < 300; i++)
                        assert_body(&fixture->done[i], "{}");
                forget(fixture);
        }
        assert_int_equal(fixture->server->accepted, 300);
}

static void full_and_doubled(void **state) {
        struct fixture *fixture = *state;
        fixture->options.calls_max = 2;
        reopen(fixture);
        uint32_t target = target_path(fixture, "/never");
        struct http_call call = call_to(target, 1);
        no_error(http_start(fixture->http, &call));
        struct error *error = http_start(fixture->http, &call);
        assert_int_equal(error->kind, ERROR_BUSY); /* that tag is in flight */
        error_free(error);
        call.tag = 2;
        no_error(http_start(fixture->http, &call));
        call.tag = 3;
        error = http_start(fixture->http, &call);
        assert_int_equal(error->kind, ERROR_BUSY);
        error_free(error);
        assert_int_equal(http_in_flight(fixture->http), 2);
}

static void reports_are_bounded(void **state) {
        struct fixture *fixture = *state;
        uint32_t target = target_path(fixture, "/never");
        for (uint64_t i = 0; i < 5; i++) {
                struct http_call call = call_to(target, i);
                no_error(http_start(fixture->http, &call));
                http_cancel(fixture->http, i);
        }
        assert_int_equal(http_poll(fixture->http, fixture->done, 3), 3);
        fixture->done_count = 3;
        assert_true(http_wake_ns(fixture->http) <= clock_now_ns()); /* there is more */
        assert_int_equal(http_poll(fixture->http, fixture->done + 3, 3), 2);
        fixture->done_count = 5;
        assert_int_equal(http_in_flight(fixture->http), 0);
}

static void keeps_headers(void **state) {
        struct fixture *fixture = *state;
        struct http_done *done = get(fixture, "/headers");
        assert_body(done, "{}");
        struct bytes headers = buffer_view(&done->headers);
        assert_true(bytes_equal_string(
                headers, "X-Request-ID: late\r\nretry-AFTER: 7\r\nX-RateLimit-Remaining-Tokens: 5\r\n"
                         "anthropic-ratelimit-x: 1\r\nContent-Type: application/json\r\n"));
}

static void statuses(void **state) {
        struct fixture *fixture = *state;
        static const char *const paths[] = {"/200", "/204", "/302", "/400", "/429", "/500", "/529"};
        snprintf(fixture->server->location, sizeof fixture->server->location, "http://127.0.0.1:%d/ok",
                 fixture->server->port);
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
                struct http_done *done = get(fixture, paths[i]);
                assert_int_equal(done->outcome, HTTP_ANSWERED);
                assert_int_equal(done->status, atoi(paths[i] + 1));
                assert_int_equal(fixture->server->requests, i + 1); /* a redirect is not followed */
        }
}

/* The server reads a request on a kept connection and then goes away: libcurl alone would send it again. */
static void never_repeats(void **state, const char *path) {
        struct fixture *fixture = *state;
        uint32_t target = target_path(fixture, path);
        struct http_call call = call_to(target, 1);
        assert_body(one(fixture, &call), "{}");
        struct http_done *done = one(fixture, &call);
        assert_int_equal(done->outcome, HTTP_UNKNOWN);
        assert_int_equal(done->status, 0);
        assert_string_not_equal(done->message, "");
        assert_int_equal(fixture->server->requests, 2);
        assert_int_equal(fixture->server->accepted, 1);
        assert_body(one(fixture, &call), "{}"); /* and the next goes over a new connection */
        assert_int_equal(fixture->server->requests, 3);
        assert_int_equal(fixture->server->accepted, 2);
}

static void never_repeats_after_reset(void **state) {
        never_repeats(state, "/trap-rst");
}

static void never_repeats_after_end(void **state) {
        never_repeats(state, "/trap-fin");
}

/* With a second idle connection libcurl would repeat the request on that one, without opening a socket. */
static void never_repeats_on_an_idle_connection(void **state) {
        struct fixture *fixture = *state;
        uint32_t hold = target_path(fixture, "/hold"), trap = target_path(fixture, "/trap-fin");
        fixture->server->hold = 3;
        for (uint64_t i = 0; i < 3; i++) {
                struct http_call call = call_to(hold, i);
                no_error(http_start(fixture->http, &call));
        }
        wait_done(fixture, 3);
        struct http_call call = call_to(trap, 9);
        assert_int_equal(one(fixture, &call)->outcome, HTTP_UNKNOWN);
        assert_int_equal(fixture->server->requests, 4);
        assert_int_equal(fixture->server->accepted, 3);
}

/* A connection that the server ended while it was idle is seen as such before anything is sent. */
static void recognises_ended_connections(void **state) {
        struct fixture *fixture = *state;
        uint32_t target = target_path(fixture, "/leave");
        for (uint32_t i = 0; i < 5; i++) {
                struct http_call call = call_to(target, 1);
                assert_body(one(fixture, &call), "{}");
                while (fixture->server->ended < i + 1)
                        sched_yield();
        }
        assert_int_equal(fixture->server->requests, 5);
        assert_int_equal(fixture->server->accepted, 5);
}

static void cut_answers(void **state) {
        struct fixture *fixture = *state;
        struct http_done *done = get(fixture, "/half");
        assert_int_equal(done->outcome, HTTP_UNKNOWN);
        assert_int_equal(done->status, 200);
        done = get(fixture, "/rst");
        assert_int_equal(done->outcome, HTTP_UNKNOWN);
        assert_int_equal(done->status, 0);
        done = get(fixture, "/flood");
        assert_int_equal(done->outcome, HTTP_UNKNOWN);
        assert_string_equal(done->message, "the answer has too many headers");
        assert_int_equal(fixture->server->requests, 3);
        fixture->server->reset_on_accept = true;
        done = get(fixture, "/ok"); /* depends on who is first; an answer it is not */
        assert_true(done->outcome == HTTP_UNKNOWN || done->outcome == HTTP_NOT_SENT);
        assert_int_equal(fixture->server->requests, 3);
}

static void too_large(void **state) {
        struct fixture *fixture = *state;
        assert_int_equal(get(fixture, "/big")->outcome, HTTP_TOO_LARGE);
        assert_int_equal(fixture->done[0].status, 200);
        assert_int_equal(get(fixture, "/big-length")->outcome, HTTP_TOO_LARGE);
        struct http_call call = call_to(target_path(fixture, "/big"), 1);
        call.response_max = 65536; /* exactly what it has */
        assert_int_equal(one(fixture, &call)->outcome, HTTP_ANSWERED);
        assert_int_equal(fixture->done[0].body.size, 65536);
        call.response_max = 65535;
        assert_int_equal(one(fixture, &call)->outcome, HTTP_TOO_LARGE);
}

static void large_bodies(void **state) {
        struct fixture *fixture = *state;
        size_t size = 900 * 1024;
        char *data = malloc(size);
        for (size_t i = 0; i < size; i++)
                data[i] = (char)('a' + i * i % 26);
        struct http_call call = call_to(target_path(fixture, "/echo"), 1);
        call.body = (struct bytes){data, size};
        call.response_max = size;
        for (int i = 0; i < 3; i++) {
                struct http_done *done = one(fixture, &call);
                assert_int_equal(done->outcome, HTTP_ANSWERED);
                assert_true(bytes_equal(buffer_view(&done->body), call.body));
        }
        assert_int_equal(fixture->server->accepted, 1);
        free(data);
}

static void limits_in_time(void **state) {
        struct fixture *fixture = *state;
        struct http_call call = call_to(target_path(fixture, "/never"), 1);
        call.timeout_ns = 50 * NS_PER_MS;
        struct http_done *done = one(fixture, &call);
        assert_int_equal(done->outcome, HTTP_UNKNOWN);
        assert_non_null(strstr(done->message, "no answer within"));
        assert_true(done->latency_ns >= call.timeout_ns);
        fixture->options.low_speed_ns = 200 * NS_PER_MS;
        reopen(fixture);
        done = get(fixture, "/stall");
        assert_int_equal(done->outcome, HTTP_UNKNOWN);
        assert_int_equal(done->status, 200);
        assert_non_null(strstr(done->message, "less than 1 byte/s"));
        assert_true(done->latency_ns >= fixture->options.low_speed_ns);
        assert_int_equal(fixture->server->requests, 2);
}

static void cancels(void **state) {
        struct fixture *fixture = *state;
        struct http_call call = call_to(target_path(fixture, "/never"), 7);
        no_error(http_start(fixture->http, &call));
        http_cancel(fixture->http, 8); /* unknown */
        while (fixture->server->requests == 0)
                turn(fixture);
        http_cancel(fixture->http, 7);
        http_cancel(fixture->http, 7);
        wait_done(fixture, 1);
        assert_int_equal(fixture->done[0].outcome, HTTP_UNKNOWN);
        assert_string_equal(fixture->done[0].message, "cancelled");
        no_error(http_start(fixture->http, &call)); /* ends with the client, without a report */
}

static int refusing_port(void) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        close(fd);
        return ntohs(address.sin_port);
}

static void not_sent(void **state) {
        struct fixture *fixture = *state;
        char url[128];
        snprintf(url, sizeof url, "http://127.0.0.1:%d/", refusing_port());
        struct http_call call = call_to(target_url(fixture, url), 1);
        assert_int_equal(one(fixture, &call)->outcome, HTTP_NOT_SENT);
        assert_string_not_equal(fixture->done[0].message, "");
}

/* No descriptor is left for a socket: the call fails as not sent; the next one works when there is. */
static void out_of_descriptors(void **state) {
        struct fixture *fixture = *state;
        struct http_call call = call_to(target_path(fixture, "/ok"), 1);
        struct rlimit old, tight;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        int first_free = dup(0);
        close(first_free);
        tight = old;
        tight.rlim_cur = (rlim_t)first_free;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        enum http_outcome outcome = one(fixture, &call)->outcome;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(outcome, HTTP_NOT_SENT);
        assert_body(one(fixture, &call), "{}");
}

/* Many calls to a name that does not exist, most of them waiting behind the first: all fail. */
static void unknown_name(void **state) {
        struct fixture *fixture = *state;
        uint32_t target = target_url(fixture, "http://no-such-host.invalid/");
        for (uint64_t i = 0; i < 100; i++) {
                struct http_call call = call_to(target, i);
                no_error(http_start(fixture->http, &call));
        }
        http_cancel(fixture->http, 0);  /* one that others wait for */
        http_cancel(fixture->http, 50); /* one that waits */
        wait_done(fixture, 100);
        for (size_t i = 0; i < 100; i++) {
                assert_int_equal(fixture->done[i].outcome, HTTP_NOT_SENT);
                assert_string_not_equal(fixture->done[i].message, "");
        }
}

static void by_name(void **state) {
        struct fixture *fixture = *state;
        char url[64];
        snprintf(url, sizeof url, "http://localhost:%d/ok", fixture->server->port);
        uint32_t target = target_url(fixture, url);
        for (uint64_t i = 0; i < 100; i++) {
                struct http_call call = call_to(target, i);
                no_error(http_start(fixture->http, &call));
        }
        wait_done(fixture, 100);
        for (size_t i = 0; i < 100; i++)
                assert_body(&fixture->done[i], "{}");
}

static void refuses_targets(void **state) {
        struct fixture *fixture = *state;
        static const struct {
                const char *url, *header;
        } table[] = {
                {"http://127.0.0.1/", "X: a\r\nY: b"},
                {"http://127.0.0.1/", "X: a\nb"},
                {"http://127.0.0.1/", "X: a\tb"},
                {"http://127.0.0.1/", "X: a\x7f"},
                {"http://127.0.0.1/", "no colon"},
                {"http://127.0.0.1/", "X Y: a"},
                {"http://127.0.0.1/", ": a"},
                {"http://127.0.0.1/", "X:"},
                {"http://127.0.0.1/\r\nX: a", "X: a"},
                {"http://127.0.0.1/\n", "X: a"},
                {"ftp://127.0.0.1/", "X: a"},
                {"file:///etc/passwd", "X: a"},
                {"http://user:pw@127.0.0.1/", "X: a"},
                {"", "X: a"},
                {"127.0.0.1", "X: a"},
                {"http://127.0.0.1:99999/", "X: a"},
        };
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
                uint32_t target = 77;
                struct error *error = http_add_target(
                        fixture->http, &(struct http_target){table[i].url, &table[i].header, 1}, &target);
                if (error == NULL)
                        print_error("accepted: %s %s\n", table[i].url, table[i].header);
                assert_non_null(error);
                assert_int_equal(error->kind, ERROR_USAGE);
                assert_int_equal(target, 77);
                error_free(error);
        }
}

static void forms(void **state) {
        struct fixture *fixture = *state;
        int fd = memfd_create("audio", MFD_CLOEXEC);
        assert_int_equal(write(fd, "skipRIFFaudio", 13), 13);
        struct http_part parts[] = {
                {.name = BYTES("model"), .value = BYTES("whisper-1"), .file_fd = -1},
                {.name = BYTES("file"),
                 .filename = "a.wav",
                 .content_type = "audio/wav",
                 .file_fd = fd,
                 .file_bytes = 13},
                {.name = BYTES("more"), .value = BYTES("in memory"), .filename = "b.mp3", .file_fd = -1},
        };
        struct http_call call = call_to(target_path(fixture, "/echo"), 1);
        call.parts = parts;
        call.parts_count = 3;
        for (int i = 0; i < 2; i++) { /* the descriptor's own position does not matter */
                struct http_done *done = one(fixture, &call);
                assert_int_equal(done->outcome, HTTP_ANSWERED);
                buffer_append_char(&done->body, '\0');
                assert_non_null(strstr(done->body.data, "name=\"model\"\r\n\r\nwhisper-1\r\n"));
                assert_non_null(strstr(done->body.data, "name=\"file\"; filename=\"a.wav\"\r\n"
                                                        "Content-Type: audio/wav\r\n\r\nskipRIFFaudio\r\n"));
                assert_non_null(strstr(done->body.data, "filename=\"b.mp3\"\r\n"));
                assert_non_null(strstr(done->body.data, "\r\n\r\nin memory\r\n"));
                assert_non_null(
                        strstr(fixture->server->last_head, "Content-Type: multipart/form-data; boundary="));
                assert_null(strstr(fixture->server->last_head, "application/json"));
        }
        call.parts_count = 0;
        assert_body(one(fixture, &call), "{\"a\":1}"); /* the same handle, without a form again */
        assert_non_null(strstr(fixture->server->last_head, "Content-Type: application/json\r\n"));
        parts[1].file_bytes = 14; /* shorter than it was said to be: the request is never complete */
        call.parts_count = 3;
        assert_int_not_equal(one(fixture, &call)->outcome, HTTP_ANSWERED);
        close(fd);
}

/* Of one call alone: not of the next one on the same handle, whose connection is the same too. */
static void own_headers(void **state) {
        static const char *const headers[] = {"traceparent: 00-1-2-01", "bad: a\r\nInjected: yes",
                                              "tracestate: a=1", "bad: \x7f", "bad: a\tb"};
        struct fixture *fixture = *state;
        struct http_part part = {.name = BYTES("model"), .value = BYTES("whisper-1"), .file_fd = -1};
        struct http_call plain = call_to(target_path(fixture, "/echo"), 1), call = plain;
        const char *head = fixture->server->last_head;
        call.headers = headers;
        call.headers_count = 5;
        for (uint32_t i = 0; i < 4; i++) {
                call.parts = i % 2 ? &part : NULL;
                call.parts_count = i % 2;
                assert_int_equal(one(fixture, &call)->outcome, HTTP_ANSWERED);
                assert_non_null(strstr(head, "traceparent: 00-1-2-01\r\n"));
                assert_non_null(strstr(head, "tracestate: a=1\r\n"));
                assert_non_null(strstr(head, "Authorization: Bearer k\r\n"));
                assert_non_null(strstr(head, i % 2 ? "Content-Type: multipart/form-data; boundary="
                                                   : "Content-Type: application/json\r\n"));
                assert_null(strstr(head, "Injected"));
                assert_null(strstr(head, "bad:"));
                plain.parts = i < 2 ? call.parts : NULL;
                plain.parts_count = i < 2 ? call.parts_count : 0;
                assert_int_equal(one(fixture, &plain)->outcome, HTTP_ANSWERED);
                assert_null(strstr(head, "trace"));
                assert_non_null(strstr(head, "Authorization: Bearer k\r\n"));
        }
        assert_int_equal(fixture->server->accepted, 1);
        call.parts = NULL;
        call.parts_count = 0;
        call.headers = headers + 1; /* all of them bad */
        call.headers_count = 1;
        assert_body(one(fixture, &call), "{\"a\":1}");
        assert_null(strstr(head, "bad:"));
}

static void quick_and_slow_apart(void **state) {
        struct fixture *fixture = *state;
        uint32_t target = target_path(fixture, "/ok");
        for (uint64_t i = 0; i < 4; i++) {
                struct http_call call = call_to(target, i);
                call.slow = i % 2;
                assert_body(one(fixture, &call), "{}");
        }
        assert_int_equal(fixture->server->accepted, 2);
}

/* What an endpoint that turns slow leaves behind must not add up to twice the descriptors. */
static void idle_connections_make_room(void **state) {
        struct fixture *fixture = *state;
        struct server *server = fixture->server;
        fixture->options.calls_max = 200;
        server->hold = 200;
        reopen(fixture);
        uint32_t target = target_path(fixture, "/hold");
        for (int slow = 0; slow < 2; slow++) {
                for (uint64_t i = 0; i < 200; i++) {
                        struct http_call call = call_to(target, i);
                        call.slow = slow;
                        no_error(http_start(fixture->http, &call));
                }
                wait_done(fixture, 200);
                forget(fixture);
        }
        assert_int_equal(server->accepted, 400);
        while (server->accepted - server->ended > 200 + 128) /* it may not have seen all ends yet */
                sched_yield();
}

/* --- TLS ------------------------------------------------------------------------------------------------ */

struct tls {
        char directory[64], cert[96], key[96];
        pid_t child;
        int port, stdin_fds[2];
};

static pid_t run(const char *const *arguments, int input) {
        posix_spawn_file_actions_t actions;
        extern char **environ;
        pid_t child = -1;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, input, 0);
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
        char *argv[32] = {NULL};
        for (size_t i = 0; arguments[i] != NULL; i++)
                argv[i] = strdup(arguments[i]);
        if (posix_spawnp(&child, argv[0], &actions, NULL, argv, environ) != 0)
                child = -1;
        for (size_t i = 0; argv[i] != NULL; i++)
                free(argv[i]);
        posix_spawn_file_actions_destroy(&actions);
        return child;
}

static void tls_start(struct tls *tls) {
        snprintf(tls->directory, sizeof tls->directory, "/tmp/http_test.XXXXXX");
        assert_non_null(mkdtemp(tls->directory));
        snprintf(tls->cert, sizeof tls->cert, "%s/cert.pem", tls->directory);
        snprintf(tls->key, sizeof tls->key, "%s/key.pem", tls->directory);
        assert_int_equal(pipe2(tls->stdin_fds, O_CLOEXEC), 0);
        const char *make[] = {"openssl",
                              "req",
                              "-x509",
                              "-newkey",
                              "ec",
                              "-pkeyopt",
                              "ec_paramgen_curve:P-256",
                              "-nodes",
                              "-days",
                              "2",
                              "-subj",
                              "/CN=localhost",
                              "-addext",
                              "subjectAltName=DNS:localhost",
                              "-keyout",
                              tls->key,
                              "-out",
                              tls->cert,
                              NULL};
        pid_t child = run(make, tls->stdin_fds[0]);
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
                fail_msg("the openssl command does not work");
        tls->port = refusing_port();
        char port[16];
        snprintf(port, sizeof port, "127.0.0.1:%d", tls->port);
        const char *serve[] = {"openssl", "s_server", "-accept", port,     "-cert",
                               tls->cert, "-key",     tls->key,  "-quiet", NULL};
        tls->child = run(serve, tls->stdin_fds[0]);
        assert_true(tls->child > 0);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)tls->port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        for (;;) { /* until it listens */
                int fd = socket(AF_INET, SOCK_STREAM, 0);
                int result = connect(fd, (struct sockaddr *)&address, sizeof address);
                close(fd);
                if (result == 0)
                        return;
                assert_int_equal(waitpid(tls->child, &status, WNOHANG), 0);
                sched_yield();
        }
}

static void tls_stop(struct tls *tls) {
        kill(tls->child, SIGKILL);
        waitpid(tls->child, NULL, 0);
        close(tls->stdin_fds[0]);
        close(tls->stdin_fds[1]);
        unlink(tls->cert);
        unlink(tls->key);
        rmdir(tls->directory);
}

static void certificates(void **state) {
        struct fixture *fixture = *state;
        struct tls tls;
        char url[64], other[64];
        tls_start(&tls);
        snprintf(url, sizeof url, "https://localhost:%d/", tls.port);
        snprintf(other, sizeof other, "https://127.0.0.1:%d/", tls.port);
        struct http_call call = call_to(target_url(fixture, url), 1);
        assert_int_equal(one(fixture, &call)->outcome, HTTP_UNTRUSTED); /* not in the system's bundle */
        fixture->options.ca_file = tls.cert;
        reopen(fixture);
        call.target = target_url(fixture, other);
        assert_int_equal(one(fixture, &call)->outcome, HTTP_UNTRUSTED); /* another name */
        call.target = target_url(fixture, url);
        call.timeout_ns = 2 * NS_PER_S; /* s_server takes the request and does not answer */
        assert_int_equal(one(fixture, &call)->outcome, HTTP_UNKNOWN);
        fixture->options.ca_file = "/nonexistent";
        struct http *http = NULL;
        struct error *error = http_open(&fixture->options, &http);
        assert_int_equal(error->kind, ERROR_USAGE);
        error_free(error);
        tls_stop(&tls);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(keeps_connections),
                TEST(many_at_once),
                TEST(full_and_doubled),
                TEST(reports_are_bounded),
                TEST(keeps_headers),
                TEST(statuses),
                TEST(never_repeats_after_reset),
                TEST(never_repeats_after_end),
                TEST(never_repeats_on_an_idle_connection),
                TEST(recognises_ended_connections),
                TEST(cut_answers),
                TEST(too_large),
                TEST(large_bodies),
                TEST(limits_in_time),
                TEST(cancels),
                TEST(not_sent),
                TEST(out_of_descriptors),
                TEST(unknown_name),
                TEST(by_name),
                TEST(refuses_targets),
                TEST(forms),
                TEST(own_headers),
                TEST(quick_and_slow_apart),
                TEST(idle_connections_make_room),
                TEST(certificates),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
