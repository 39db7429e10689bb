/*
 * The HTTP endpoint over real sockets: its pages, what it refuses, addresses that cannot be listened on, and
 * scraping while shards publish.
 */
#include "broker/ops/listener.h"
#include "tests/unit/ops/exposition_check.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ANSWER_BYTES ((size_t)1 << 20)
#define WAIT_MS      20000 /* for what happens at once */

static const struct provider providers[] = {{.name = "openai"}};
static const struct endpoint endpoints[] = {{.name = "openai/*", .model = "*"}};
static const struct catalog catalog = {
        .providers = providers, .providers_count = 1, .endpoints = endpoints, .endpoints_count = 1};

struct answer {
        char *text; /* all that came, terminated */
        const char *body;
        int status;
};

static struct metrics *new_metrics(uint32_t shards) {
        struct metrics_options options = {.version = "0.1.0",
                                          .catalog = &catalog,
                                          .shards = shards,
                                          .partitions_max = 8,
                                          .now_ns = clock_now_ns()};
        struct metrics *metrics = metrics_new(&options);
        assert_non_null(metrics);
        return metrics;
}

static struct listener *opened(struct metrics *metrics, const char *address, uint16_t port) {
        struct listener_options options = {.address = address, .port = port, .metrics = metrics};
        struct listener *listener = NULL;
        struct error *error = listener_open(&options, &listener);
        if (error != NULL)
                fail_msg("%s", error->message);
        return listener;
}

static int connected(uint16_t port) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
        return fd;
}

static void sent(int fd, const char *text) {
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Until the other side closes. */
static struct answer received(int fd) {
        struct answer answer = {.text = malloc(ANSWER_BYTES)};
        size_t size = 0;
        assert_non_null(answer.text);
        for (;;) {
                struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
                ssize_t count;
                if (poll(&poll_fd, 1, WAIT_MS) != 1)
                        fail_msg("no answer, or no end of it");
                count = recv(fd, answer.text + size, ANSWER_BYTES - 1 - size, 0);
                assert_true(count >= 0 || errno == ECONNRESET);
                if (count <= 0)
                        break;
                size += (size_t)count;
        }
        answer.text[size] = '\0';
        answer.body = strstr(answer.text, "\r\n\r\n");
        answer.body = answer.body == NULL ? "" : answer.body + 4;
        (void)sscanf(answer.text, "HTTP/1.1 %d ", &answer.status);
        return answer;
}

static struct answer asked(const struct listener *listener, const char *request) {
        int fd = connected(listener_port(listener));
        struct answer answer;
        sent(fd, request);
        answer = received(fd);
        close(fd);
        return answer;
}

static struct answer got(const struct listener *listener, const char *path) {
        char request[256];
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
        return asked(listener, request);
}

static void assert_answer(struct answer answer, int status, const char *body) {
        if (answer.status != status || strcmp(answer.body, body) != 0)
                fail_msg("%d \"%s\" is not %d \"%s\"", answer.status, answer.body, status, body);
        free(answer.text);
}

static void publish(struct metrics *metrics, enum metrics_phase phase, int64_t joined) {
        struct shard_metrics *shard = shard_metrics_new(metrics);
        assert_non_null(shard);
        shard->phase = phase;
        shard->joined = joined;
        shard->turn_ns = clock_now_ns();
        metrics_publish(metrics, 0, shard);
        shard_metrics_free(shard);
}

/* ---- pages ---- */

static void pages(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        struct answer answer;
        char url[64];
        (void)state;
        snprintf(url, sizeof(url), "http://127.0.0.1:%u", listener_port(listener));
        assert_string_equal(listener_url(listener), url);

        answer = got(listener, "/metrics");
        assert_int_equal(answer.status, 200);
        assert_non_null(
                strstr(answer.text, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        assert_non_null(strstr(answer.text, "\r\nCache-Control: no-store\r\n"));
        assert_true(check_exposition(answer.body, false, NULL, NULL) > 50);
        assert_non_null(strstr(answer.body, "\nprocess_cpu_seconds_total "));
        free(answer.text);

        answer = asked(listener,
                       "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                       "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n");
        assert_int_equal(answer.status, 200);
        assert_non_null(
                strstr(answer.text,
                       "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
        assert_true(check_exposition(answer.body, true, NULL, NULL) > 50);
        free(answer.text);

        assert_answer(got(listener, "/healthz"), 200, "ok\n");
        assert_answer(got(listener, "/readyz"), 503, "shard 0: it is starting\n");
        publish(metrics, METRICS_RUNNING, 1);
        assert_answer(got(listener, "/readyz"), 200, "ready\n");
        publish(metrics, METRICS_FAILED, 1);
        assert_answer(got(listener, "/healthz"), 503, "shard 0: it has failed\n");
        listener_close(listener);
        metrics_free(metrics);
}

static void refusals(void **state) {
        static const char hint[] = "there is nothing here; try /metrics, /healthz or /readyz\n";
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "localhost", 0);
        struct answer answer;
        (void)state;
        assert_answer(got(listener, "/"), 404, hint);
        assert_answer(got(listener, "/metrics/"), 404, hint);
        assert_answer(got(listener, "/../etc/passwd"), 404, hint);
        assert_answer(asked(listener, "DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                      405, "only GET and HEAD\n");
        answer = asked(listener, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        assert_non_null(strstr(answer.text, "\r\nAllow: GET, HEAD\r\n"));
        assert_answer(answer, 405, "only GET and HEAD\n");
        /* A body that never ends is not waited for. */
        assert_answer(asked(listener, "PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"),
                      405, "only GET and HEAD\n");
        assert_answer(asked(listener, "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                                      "5\r\nhello\r\n"),
                      200, "ok\n");
        listener_close(listener);
        metrics_free(metrics);
}

static void head(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        struct answer answer;
        (void)state;
        answer = asked(listener, "HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_non_null(strstr(answer.text, "\r\nContent-Length: 3\r\n"));
        assert_answer(answer, 200, "");
        listener_close(listener);
        metrics_free(metrics);
}

/* One connection, several requests, as scrapers do. */
static void connections_are_kept(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        int fd = connected(listener_port(listener));
        struct answer answer;
        unsigned answers = 0;
        (void)state;
        sent(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                 "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        answer = received(fd);
        for (const char *at = answer.text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at++)
                answers++;
        assert_int_equal(answers, 3);
        free(answer.text);
        close(fd);
        listener_close(listener);
        metrics_free(metrics);
}

static void nonsense(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        static char large[4 * LISTENER_REQUEST_BYTES];
        struct answer answer;
        int fd;
        (void)state;
        answer = asked(listener, "\x16\x03\x01\x02 hello\r\n\r\n"); /* TLS to a plain port */
        assert_true(answer.status != 200);
        free(answer.text);
        memset(large, 'a', sizeof(large) - 1);
        memcpy(large, "GET /metrics HTTP/1.1\r\nX: ", 26);
        fd = connected(listener_port(listener));
        (void)!send(fd, large, strlen(large), MSG_NOSIGNAL);
        answer = received(fd);
        assert_true(answer.status != 200);
        free(answer.text);
        close(fd);
        fd = connected(listener_port(listener)); /* goes away in the middle */
        sent(fd, "GET /metr");
        close(fd);
        assert_answer(got(listener, "/healthz"), 200, "ok\n"); /* and it still works */
        listener_close(listener);
        metrics_free(metrics);
}

/* Sends a request and waits for its answer's first bytes; the connection stays open. */
static void kept_busy(int fd) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        char text[1024];
        sent(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_int_equal(poll(&poll_fd, 1, WAIT_MS), 1);
        assert_true(recv(fd, text, sizeof(text), 0) > 0);
}

/* More connections than it takes: the next one waits until one of them goes. */
static void connections_are_bounded(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        int idle[LISTENER_CONNECTIONS_MAX], fd;
        struct pollfd poll_fd = {.events = POLLIN};
        (void)state;
        for (unsigned i = 0; i < LISTENER_CONNECTIONS_MAX; i++) {
                idle[i] = connected(listener_port(listener));
                kept_busy(idle[i]);
        }
        fd = connected(listener_port(listener));
        sent(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        for (unsigned i = 1; i < LISTENER_CONNECTIONS_MAX; i++)
                kept_busy(idle[i]); /* it has turned many times since */
        poll_fd.fd = fd;
        assert_int_equal(poll(&poll_fd, 1, 0), 0);
        close(idle[0]);
        assert_answer(received(fd), 200, "ok\n");
        close(fd);
        for (unsigned i = 1; i < LISTENER_CONNECTIONS_MAX; i++)
                close(idle[i]);
        listener_close(listener);
        metrics_free(metrics);
}

/* ---- opening and closing ---- */

static void assert_refused(const char *address, uint16_t port, enum error_class kind, const char *words) {
        struct listener_options options = {.address = address, .port = port};
        struct listener *listener = (struct listener *)&options;
        struct error *error = listener_open(&options, &listener);
        assert_non_null(error);
        assert_int_equal(error->kind, kind);
        if (strstr(error->message, words) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", error->message, words);
        assert_ptr_equal(listener, &options); /* untouched */
        error_free(error);
}

static void bad_addresses(void **state) {
        (void)state;
        assert_refused("no address", 0, ERROR_USAGE,
                       "\"no address\" is no IP address: set listen.address to");
        assert_refused("127.0.0.1:8484", 0, ERROR_USAGE, "is no IP address");
        assert_refused("300.1.1.1", 0, ERROR_USAGE, "is no IP address");
        assert_refused("example.com", 0, ERROR_USAGE, "is no IP address");
        assert_refused("192.0.2.1", 0, ERROR_USAGE,
                       "192.0.2.1 is no address of this machine: set listen.address");
}

static void port_in_use(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        uint16_t port = listener_port(listener);
        char words[128];
        (void)state;
        assert_true(port > 0);
        snprintf(words, sizeof(words), "port %u of 127.0.0.1 is in use: set listen.port to another one",
                 port);
        assert_refused("127.0.0.1", port, ERROR_BUSY, words);
        assert_answer(got(listener, "/healthz"), 200, "ok\n");
        listener_close(listener);
        listener = opened(metrics, "127.0.0.1", port); /* free at once */
        assert_int_equal(listener_port(listener), port);
        listener_close(listener);
        metrics_free(metrics);
}

static void ipv6(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener_options options = {.address = "::1", .metrics = metrics};
        struct listener *listener = NULL;
        struct error *error = listener_open(&options, &listener);
        (void)state;
        if (error != NULL) { /* a machine without it */
                assert_non_null(strstr(error->message, "::1"));
                error_free(error);
        } else {
                struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
                int fd = socket(AF_INET6, SOCK_STREAM, 0);
                struct answer answer;
                name.sin6_port = htons(listener_port(listener));
                assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
                assert_memory_equal(listener_url(listener), "http://[::1]:", 13);
                sent(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                answer = received(fd);
                assert_answer(answer, 200, "ok\n");
                close(fd);
        }
        listener_close(listener);
        metrics_free(metrics);
}

static unsigned count_files(void) {
        DIR *directory = opendir("/proc/self/fd");
        unsigned count = 0;
        assert_non_null(directory);
        while (readdir(directory) != NULL)
                count++;
        closedir(directory);
        return count;
}

static void nothing_is_left_open(void **state) {
        struct metrics *metrics = new_metrics(1);
        unsigned before = count_files();
        (void)state;
        for (unsigned i = 0; i < 3; i++) {
                struct listener *listener = opened(metrics, "127.0.0.1", 0);
                int fd = connected(listener_port(listener));
                assert_true(count_files() > before);
                assert_answer(got(listener, "/healthz"), 200, "ok\n");
                listener_close(listener); /* with a connection */
                close(fd);
        }
        assert_int_equal(count_files(), before);
        assert_null(listener_close(NULL));
        metrics_free(metrics);
}

/* Signals are for other threads: each one but the caller has SIGTERM blocked. */
static void signals_are_blocked(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        DIR *tasks = opendir("/proc/self/task");
        struct dirent *entry;
        unsigned others = 0;
        sigset_t mine;
        (void)state;
        assert_non_null(tasks);
        while ((entry = readdir(tasks)) != NULL) {
                char path[512], line[256];
                unsigned long long blocked = 0;
                FILE *file;
                if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
                        continue;
                snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
                file = fopen(path, "r");
                assert_non_null(file);
                while (fgets(line, sizeof(line), file) != NULL)
                        (void)sscanf(line, "SigBlk: %llx", &blocked);
                fclose(file);
                assert_true((blocked >> (SIGTERM - 1) & 1) == 1);
                others++;
        }
        closedir(tasks);
        assert_true(others > 0);
        assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
        assert_int_equal(sigismember(&mine, SIGTERM), 0); /* and the caller has not */
        listener_close(listener);
        metrics_free(metrics);
}

/* ---- while shards publish ---- */

enum { SHARDS = 3, SCRAPES = 60 };

struct publisher {
        struct metrics *metrics;
        uint32_t index;
        const atomic_bool *stop;
        atomic_uint published;
};

/* As a shard does: counts, moves partitions, begins again now and then. */
static void *publish_on(void *userdata) {
        struct publisher *publisher = userdata;
        struct shard_metrics *shard = shard_metrics_new(publisher->metrics);
        for (unsigned turn = 0; shard != NULL && !atomic_load(publisher->stop); turn++) {
                shard->phase = METRICS_RUNNING;
                shard->joined = 1;
                shard->turn_ns = clock_now_ns();
                shard->jobs = turn % 1000;
                shard->failures[FAILURE_INTERNAL] = turn;
                shard->endpoints[0].calls = turn;
                histogram_observe(&shard->commit, (int64_t)turn * NS_PER_US);
                shard_metrics_clear_partitions(shard);
                for (uint32_t i = 0; i < turn % 4; i++)
                        shard_metrics_partition(shard, "jobs", i)->assigned_ns = shard->turn_ns;
                metrics_publish(publisher->metrics, publisher->index, shard);
                atomic_fetch_add(&publisher->published, 1);
        }
        shard_metrics_free(shard);
        return NULL;
}

struct seen {
        double jobs, failed, calls, commits;
};

static void see(void *userdata, const struct check_sample *sample) {
        struct seen *seen = userdata;
        if (strcmp(sample->name, "batchferry_jobs_total") == 0)
                seen->jobs = sample->value;
        if (strcmp(sample->labels, "code=\"internal\"") == 0)
                seen->failed = sample->value;
        if (strcmp(sample->name, "batchferry_endpoint_calls_total") == 0)
                seen->calls = sample->value;
        if (strcmp(sample->name, "batchferry_commit_seconds_count") == 0)
                seen->commits = sample->value;
}

/* Every shard has published since `before`, by which it is set anew. */
static bool all_have_published(struct publisher *publishers, unsigned before[SHARDS]) {
        bool all = true;
        for (uint32_t i = 0; i < SHARDS; i++)
                all = all && atomic_load(&publishers[i].published) > before[i];
        for (uint32_t i = 0; all && i < SHARDS; i++)
                before[i] = atomic_load(&publishers[i].published);
        return all;
}

static void scraping_while_publishing(void **state) {
        struct metrics *metrics = new_metrics(SHARDS);
        struct listener *listener = opened(metrics, "127.0.0.1", 0);
        struct publisher publishers[SHARDS];
        pthread_t threads[SHARDS];
        unsigned published[SHARDS] = {0}, rounds = 0;
        atomic_bool stop = false;
        struct seen before = {0}, first = {0};
        int64_t deadline_ns = clock_now_ns() + 120 * NS_PER_S;
        (void)state;
        for (uint32_t i = 0; i < SHARDS; i++) {
                publishers[i] = (struct publisher){.metrics = metrics, .index = i, .stop = &stop};
                assert_int_equal(pthread_create(&threads[i], NULL, publish_on, &publishers[i]), 0);
        }
        for (unsigned i = 0; i < SCRAPES || rounds < 3; i++) {
                struct answer answer = got(listener, "/metrics");
                struct seen now = {0};
                assert_int_equal(answer.status, 200);
                check_exposition(answer.body, false, see, &now);
                assert_true(now.jobs >= before.jobs && now.failed >= before.failed);
                assert_true(now.calls >= before.calls && now.commits >= before.commits);
                before = now;
                if (i == 0)
                        first = now;
                free(answer.text);
                answer = got(listener, "/readyz");
                assert_true(answer.status == 200 || answer.status == 503);
                free(answer.text);
                assert_true(clock_now_ns() < deadline_ns);
                rounds += all_have_published(publishers, published);
        }
        atomic_store(&stop, true);
        for (uint32_t i = 0; i < SHARDS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(before.calls > first.calls && before.commits > first.commits);
        listener_close(listener);
        metrics_free(metrics);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pages),
                cmocka_unit_test(refusals),
                cmocka_unit_test(head),
                cmocka_unit_test(connections_are_kept),
                cmocka_unit_test(nonsense),
                cmocka_unit_test(connections_are_bounded),
                cmocka_unit_test(bad_addresses),
                cmocka_unit_test(port_in_use),
                cmocka_unit_test(ipv6),
                cmocka_unit_test(nothing_is_left_open),
                cmocka_unit_test(signals_are_blocked),
                cmocka_unit_test(scraping_while_publishing),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
