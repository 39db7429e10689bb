/*
 * What a call costs in workers/http, next to a floor: the textbook libcurl loop (one multi handle, socket
 * actions, a level-triggered epoll, an epoll_ctl() for each socket callback). Both send the same POST
 * requests to the same URL, in turns.
 *
 *   http-bench URL REQUESTS ROUNDS IN_FLIGHT... [--body BYTES] [--body-file FILE] [--only floor|ours]
 *              [--http2] [--ca FILE]
 *
 * The body is BYTES (1024) of "x", or what FILE holds: then the floor sends the bytes that `batchferry run`
 * would send for a job with that body. An answer other than 200 counts as failed.
 *
 * One line per in-flight level and client: CPU microseconds per request (this process, user and system),
 * requests/s, CPU microseconds of a first request with its new connection, and the growth of the resident
 * memory at that many in flight divided by it. Each measurement is a fresh child process; the cheapest round
 * counts.
 */
#include "broker/base/check.h"
#include "broker/base/time.h"
#include "workers/http/http.h"

#include <curl/curl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE_MAX = 256, EVENTS_MAX = 256, LEVELS_MAX = 16 };

struct bench {
        const char *url, *ca_file, *only;
        uint64_t requests;
        uint32_t rounds, in_flight;
        bool http2;
        char *body;
        size_t body_bytes;
};

struct figures {
        double cpu_us, per_second, connect_us, kb_per_call, failed;
};

static double cpu_us(void) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static double resident_kb(void) {
        long pages = 0, resident = 0;
        FILE *file = fopen("/proc/self/statm", "r");
        if (file != NULL && fscanf(file, "%ld %ld", &pages, &resident) != 2)
                resident = 0;
        if (file != NULL)
                fclose(file);
        return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1024;
}

struct meter {
        double cpu_first, cpu, resident, peak;
        int64_t start_ns;
};

static void meter_start(struct meter *meter) {
        meter->cpu = cpu_us();
        meter->start_ns = clock_now_ns();
}

static struct figures meter_stop(const struct meter *meter, const struct bench *bench, uint64_t failed) {
        double seconds = (double)(clock_now_ns() - meter->start_ns) / (double)NS_PER_S;
        return (struct figures){
                .cpu_us = (cpu_us() - meter->cpu) / (double)bench->requests,
                .per_second = (double)bench->requests / seconds,
                .connect_us = (meter->cpu - meter->cpu_first) / bench->in_flight,
                .kb_per_call = (meter->peak - meter->resident) / bench->in_flight,
                .failed = (double)failed,
        };
}

/* --- ours ----------------------------------------------------------------------------------------------- */

static void must(struct error *error) {
        if (error == NULL)
                return;
        fprintf(stderr, "http-bench: %s\n", error->message);
        exit(1);
}

static void ours_start(struct http *http, const struct bench *bench, uint32_t target, uint64_t tag) {
        must(http_start(http, &(struct http_call){.tag = tag,
                                                  .target = target,
                                                  .body = {bench->body, bench->body_bytes},
                                                  .timeout_ns = 300 * NS_PER_S,
                                                  .response_max = 1 << 20}));
}

static void ours_wait(struct http *http) {
        int64_t wake_ns = http_wake_ns(http), now_ns = clock_now_ns();
        int wait_ms = wake_ns == INT64_MAX ? -1
                      : wake_ns <= now_ns  ? 0
                                           : (int)((wake_ns - now_ns) / NS_PER_MS) + 1;
        struct pollfd descriptor = {.fd = http_fd(http), .events = POLLIN};
        poll(&descriptor, 1, wait_ms);
}

static struct figures ours_run(const struct bench *bench) {
        struct http *http;
        must(http_open(&(struct http_options){.calls_max = bench->in_flight,
                                              .connect_timeout_ns = 60 * NS_PER_S,
                                              .low_speed_ns = 120 * NS_PER_S,
                                              .ca_file = bench->ca_file,
                                              .http2 = bench->http2},
                       &http));
        static const char *const headers[] = {
                "Authorization: Bearer 0123456789012345678901234567890123456789"};
        uint32_t target;
        must(http_add_target(http, &(struct http_target){bench->url, headers, 1}, &target));
        static struct http_done done[DONE_MAX];
        uint64_t started = 0, ended = 0, failed = 0, warm = bench->in_flight;
        struct meter meter = {.resident = resident_kb(), .cpu_first = cpu_us()};
        while (ended < bench->requests + warm) {
                while (http_in_flight(http) < bench->in_flight && started < bench->requests + warm)
                        ours_start(http, bench, target, started++);
                ours_wait(http);
                size_t count = http_poll(http, done, DONE_MAX);
                for (size_t i = 0; i < count; i++) {
                        bool good = done[i].outcome == HTTP_ANSWERED && done[i].status == 200;
                        if (!good && failed++ == 0)
                                fprintf(stderr, "http-bench: status %d %s\n", done[i].status,
                                        done[i].message);
                        buffer_deinit(&done[i].headers);
                        buffer_deinit(&done[i].body);
                }
                bool warming = ended < warm;
                ended += count;
                if (warming && ended >= warm) {
                        meter.peak = resident_kb();
                        meter_start(&meter);
                }
        }
        struct figures figures = meter_stop(&meter, bench, failed);
        http_close(http);
        return figures;
}

/* --- floor ---------------------------------------------------------------------------------------------- */

struct floor_call {
        CURL *easy;
        struct buffer body;
};

struct floor_loop {
        int epoll_fd;
        int64_t wake_ns;
        CURLM *multi;
};

static size_t floor_write(char *data, size_t one, size_t size, void *userdata) {
        struct floor_call *call = userdata;
        buffer_append(&call->body, data, one * size);
        return size;
}

static int floor_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *known) {
        struct floor_loop *loop = userdata;
        (void)easy;
        if (what == CURL_POLL_REMOVE) {
                epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
                return 0;
        }
        struct epoll_event event = {.data.fd = fd};
        event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
        epoll_ctl(loop->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
        curl_multi_assign(loop->multi, fd, loop);
        return 0;
}

static int floor_timer(CURLM *multi, long timeout_ms, void *userdata) {
        struct floor_loop *loop = userdata;
        (void)multi;
        loop->wake_ns = timeout_ms < 0 ? INT64_MAX : clock_now_ns() + timeout_ms * NS_PER_MS;
        return 0;
}

static void floor_wait(struct floor_loop *loop) {
        struct epoll_event events[EVENTS_MAX];
        int64_t now_ns = clock_now_ns();
        int running, wait_ms = -1;
        if (loop->wake_ns != INT64_MAX)
                wait_ms = loop->wake_ns <= now_ns ? 0 : (int)((loop->wake_ns - now_ns) / NS_PER_MS) + 1;
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, wait_ms);
        for (int i = 0; i < count; i++) {
                int bits = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                           (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                           (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);
                curl_multi_socket_action(loop->multi, events[i].data.fd, bits, &running);
        }
        if (loop->wake_ns <= clock_now_ns())
                curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static void floor_prepare(struct floor_call *call, const struct bench *bench, struct curl_slist *headers) {
        CURL *easy = call->easy = curl_easy_init();
        buffer_init(&call->body, 1 << 20);
        curl_easy_setopt(easy, CURLOPT_URL, bench->url);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "batchferry/" BATCHFERRY_VERSION);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bench->body_bytes);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, bench->body);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, floor_write);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
        curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 300000L);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        if (bench->ca_file)
                curl_easy_setopt(easy, CURLOPT_CAINFO, bench->ca_file);
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                         bench->http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
}

static uint64_t floor_collect(struct floor_loop *loop, uint64_t *started, uint64_t total, uint64_t *failed) {
        uint64_t ended = 0;
        int left;
        CURLMsg *message;
        while ((message = curl_multi_info_read(loop->multi, &left)) != NULL) {
                char *private = NULL;
                CURL *easy = message->easy_handle;
                long status = 0;
                curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
                if ((message->data.result != CURLE_OK || status != 200) && (*failed)++ == 0)
                        fprintf(stderr, "http-bench: status %ld %s\n", status,
                                curl_easy_strerror(message->data.result));
                curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
                struct floor_call *call = (struct floor_call *)(void *)private;
                curl_multi_remove_handle(loop->multi, easy);
                buffer_deinit(&call->body);
                buffer_init(&call->body, 1 << 20);
                ended++;
                if ((*started)++ < total)
                        curl_multi_add_handle(loop->multi, easy);
        }
        return ended;
}

static struct figures floor_run(const struct bench *bench) {
        struct floor_loop loop = {.epoll_fd = epoll_create1(0), .wake_ns = INT64_MAX};
        curl_global_init(CURL_GLOBAL_DEFAULT);
        loop.multi = curl_multi_init();
        curl_multi_setopt(loop.multi, CURLMOPT_SOCKETFUNCTION, floor_socket);
        curl_multi_setopt(loop.multi, CURLMOPT_SOCKETDATA, &loop);
        curl_multi_setopt(loop.multi, CURLMOPT_TIMERFUNCTION, floor_timer);
        curl_multi_setopt(loop.multi, CURLMOPT_TIMERDATA, &loop);
        curl_multi_setopt(loop.multi, CURLMOPT_MAXCONNECTS, (long)bench->in_flight);
        struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
        headers = curl_slist_append(headers, "Expect:");
        headers =
                curl_slist_append(headers, "Authorization: Bearer 0123456789012345678901234567890123456789");
        struct floor_call *calls = calloc(bench->in_flight, sizeof *calls);
        CHECK(calls != NULL && headers != NULL);
        struct meter meter = {.resident = resident_kb(), .cpu_first = cpu_us()};
        uint64_t warm = bench->in_flight, total = bench->requests + warm, started = 0, ended = 0, failed = 0;
        for (uint32_t i = 0; i < bench->in_flight; i++, started++) {
                floor_prepare(&calls[i], bench, headers);
                curl_multi_add_handle(loop.multi, calls[i].easy);
        }
        while (ended < total) {
                floor_wait(&loop);
                bool warming = ended < warm;
                ended += floor_collect(&loop, &started, total, &failed);
                if (warming && ended >= warm) {
                        meter.peak = resident_kb();
                        meter_start(&meter);
                }
        }
        struct figures figures = meter_stop(&meter, bench, failed);
        for (uint32_t i = 0; i < bench->in_flight; i++)
                curl_easy_cleanup(calls[i].easy);
        curl_multi_cleanup(loop.multi);
        curl_slist_free_all(headers);
        free(calls);
        close(loop.epoll_fd);
        curl_global_cleanup();
        return figures;
}

/* --- main ----------------------------------------------------------------------------------------------- */

static struct figures in_child(const struct bench *bench, struct figures (*run)(const struct bench *)) {
        struct figures figures = {0};
        int pipes[2];
        CHECK(pipe(pipes) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
                figures = run(bench);
                CHECK(write(pipes[1], &figures, sizeof figures) == (ssize_t)sizeof figures);
                _exit(0);
        }
        close(pipes[1]);
        if (read(pipes[0], &figures, sizeof figures) != (ssize_t)sizeof figures)
                exit(1);
        close(pipes[0]);
        waitpid(child, NULL, 0);
        return figures;
}

static void report(const char *name, const struct bench *bench, const struct figures *best) {
        printf("%-6s in_flight=%-6u cpu_us=%-7.2f requests_per_s=%-8.0f connect_us=%-7.0f "
               "rss_kb_per_call=%-7.1f failed=%.0f\n",
               name, bench->in_flight, best->cpu_us, best->per_second, best->connect_us, best->kb_per_call,
               best->failed);
        fflush(stdout);
}

static bool wanted(const struct bench *bench, const char *name) {
        return bench->only == NULL || strcmp(bench->only, name) == 0;
}

/* The cheapest of the rounds: what disturbs a measurement only ever adds. */
static void better(struct figures *best, struct figures now) {
        if (best->per_second == 0 || now.cpu_us < best->cpu_us)
                *best = now;
}

static void measure(struct bench *bench) {
        struct figures floor = {0}, ours = {0};
        for (uint32_t i = 0; i < bench->rounds; i++) {
                if (wanted(bench, "floor"))
                        better(&floor, in_child(bench, floor_run));
                if (wanted(bench, "ours"))
                        better(&ours, in_child(bench, ours_run));
        }
        if (wanted(bench, "floor"))
                report("floor", bench, &floor);
        if (wanted(bench, "ours"))
                report("ours", bench, &ours);
        if (floor.cpu_us > 0 && ours.cpu_us > 0)
                printf("ratio  in_flight=%-6u %.2f\n", bench->in_flight, ours.cpu_us / floor.cpu_us);
}

static void raise_descriptors(void) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}

static void read_body(struct bench *bench, const char *path) {
        FILE *file = fopen(path, "r");
        struct buffer body;
        char chunk[4096];
        size_t size;
        buffer_init(&body, 1 << 30);
        while (file != NULL && (size = fread(chunk, 1, sizeof chunk, file)) > 0)
                buffer_append(&body, chunk, size);
        if (file == NULL || body.size == 0) {
                fprintf(stderr, "http-bench: cannot read %s\n", path);
                exit(1);
        }
        fclose(file);
        bench->body = body.data;
        bench->body_bytes = body.size;
}

static bool take_option(struct bench *bench, const char *name, const char *value) {
        if (strcmp(name, "--body") == 0)
                bench->body_bytes = strtoull(value, NULL, 10);
        else if (strcmp(name, "--body-file") == 0)
                read_body(bench, value);
        else if (strcmp(name, "--only") == 0)
                bench->only = value;
        else if (strcmp(name, "--ca") == 0)
                bench->ca_file = value;
        else
                return false;
        return true;
}

int main(int argc, char **argv) {
        struct bench bench = {.body_bytes = 1024, .rounds = 3};
        uint32_t levels[LEVELS_MAX], levels_count = 0;
        if (argc < 5) {
                fprintf(stderr, "usage: http-bench URL REQUESTS ROUNDS IN_FLIGHT... [--body BYTES] "
                                "[--body-file FILE] [--only floor|ours] [--http2] [--ca FILE]\n");
                return 2;
        }
        bench.url = argv[1];
        bench.requests = strtoull(argv[2], NULL, 10);
        bench.rounds = (uint32_t)strtoul(argv[3], NULL, 10);
        for (int i = 4; i < argc; i++) {
                if (strcmp(argv[i], "--http2") == 0)
                        bench.http2 = true;
                else if (i + 1 < argc && take_option(&bench, argv[i], argv[i + 1]))
                        i++;
                else if (levels_count < LEVELS_MAX)
                        levels[levels_count++] = (uint32_t)strtoul(argv[i], NULL, 10);
        }
        if (bench.body == NULL) {
                bench.body = malloc(bench.body_bytes + 1);
                CHECK(bench.body != NULL);
                memset(bench.body, 'x', bench.body_bytes + 1);
        }
        raise_descriptors();
        for (uint32_t i = 0; i < levels_count; i++) {
                bench.in_flight = levels[i];
                if (bench.in_flight > 0 && bench.requests > 0)
                        measure(&bench);
        }
        free(bench.body);
        return 0;
}
