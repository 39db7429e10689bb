#include "tests/faults/world.h"

#include "broker/base/time.h"
#include "broker/core/job_spec.h"
#include "broker/wire/result.h"
#include "workers/providers/dialect.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINES_MAX = 4096, HANG_S = 240 };

static void *run_sim(void *userdata) {
        assert_null(sim_server_run(userdata));
        return NULL;
}

static void open_sim(struct world *world, int64_t latency_ns) {
        struct sim_server_options options;
        struct sim_faults faults;
        sim_server_options_init(&options);
        sim_faults_init(&faults);
        options.connections_max = 256;
        options.latency = (struct sim_distribution){SIM_SHAPE_FIXED, (double)latency_ns, 0};
        options.settings.reply_tokens = (struct sim_distribution){SIM_SHAPE_FIXED, 8, 0};
        assert_null(sim_server_open(&options, &faults, &world->sim));
        assert_int_equal(pthread_create(&world->sim_thread, NULL, run_sim, world->sim), 0);
}

void world_open(struct world *world, int64_t latency_ns) {
        signal(SIGPIPE, SIG_IGN);
        *world = (struct world){.in_flight = 8,
                                .memory_max = 1u << 30,
                                .jobs_limit = UINT64_MAX,
                                .patience_ns = 100 * NS_PER_S};
        /* In memory where there is such a place: hundreds of stores are opened here. */
        const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(world->directory, sizeof(world->directory), "%s/faults_test.XXXXXX", place);
        assert_non_null(mkdtemp(world->directory));
        snprintf(world->input, sizeof(world->input), "%s/jobs.jsonl", world->directory);
        snprintf(world->output, sizeof(world->output), "%s/results.jsonl", world->directory);
        snprintf(world->errors, sizeof(world->errors), "%s/failed.jsonl", world->directory);
        snprintf(world->state, sizeof(world->state), "%s/state", world->directory);
        open_sim(world, latency_ns);
        char url[64];
        snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1", sim_server_port(world->sim));
        const char *sets[] = {"retry.backoff.base=1ms", "retry.backoff.cap=5ms"};
        struct config_options options = {
                .base_url = url, .sets = sets, .sets_count = 2, .dialect_names = dialect_names()};
        assert_null(config_load(&options, &world->config));
        world->dialect = dialect_find(bytes_of("openai"));
        assert_non_null(world->dialect);
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

void world_close(struct world *world) {
        sim_server_stop(world->sim);
        pthread_join(world->sim_thread, NULL);
        sim_server_close(world->sim);
        config_free(world->config);
        remove_directory(world->state);
        remove_directory(world->directory);
}

void world_clear(struct world *world) {
        remove_directory(world->state);
        unlink(world->output);
        unlink(world->errors);
        free(world_ask(world, "POST", "/sim/reset", "{}"));
}

void world_write(const char *path, const char *text) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fputs(text, file) < 0, 0);
        assert_int_equal(fclose(file), 0);
}

char *world_read(const char *path, size_t *out_size) {
        struct stat status;
        FILE *file = fopen(path, "r");
        if (!file || fstat(fileno(file), &status) < 0) {
                *out_size = 0;
                return calloc(1, 1);
        }
        char *text = malloc((size_t)status.st_size + 1);
        assert_non_null(text);
        *out_size = fread(text, 1, (size_t)status.st_size, file);
        text[*out_size] = '\0';
        fclose(file);
        return text;
}

static void open_intake(struct world *world, const struct run_files *files) {
        struct job_decoder_options options = {
                .batch = "jobs", .job_bytes_max = 1 << 20, .prefs_default = &world->config->prefs};
        world->intake = (struct line_intake){.source = files->source,
                                             .jobs_limit = world->jobs_limit,
                                             .state = files->state,
                                             .handed = files->state};
        world->intake.state.finished = false;
        assert_null(job_decoder_new(&options, &world->intake.decoder));
}

void world_close_intake(struct world *world) {
        world->intake.decoder = job_decoder_free(world->intake.decoder);
}

struct shard_options world_options(struct world *world, struct run_files *files, const char *const *keys) {
        open_intake(world, files);
        struct shard_options options = {
                .catalog = &world->config->catalog,
                .engine = {.jobs_max = 2 * world->in_flight + 512,
                           .in_flight_max = world->in_flight,
                           .open_ahead = 4,
                           .attempts_max = 5,
                           .backoff_base_ns = NS_PER_MS,
                           .backoff_cap_ns = 5 * NS_PER_MS,
                           .retry_share = 1,
                           .call_timeout_ns = 60 * NS_PER_S,
                           .seed = 1},
                .calls = {.dialects = &world->dialect,
                          .keys = keys,
                          .http = {.calls_max = world->in_flight,
                                   .connect_timeout_ns = 10 * NS_PER_S,
                                   .low_speed_ns = 60 * NS_PER_S},
                          .fetch = {.bytes_max = 1 << 20,
                                    .timeout_ns = 10 * NS_PER_S,
                                    .connect_timeout_ns = 10 * NS_PER_S,
                                    .fetches_max = 4},
                          .response_max = 1 << 20},
                .committer = {.store = files->store,
                              .source_name = files->source_name,
                              .spacing_ns = 2 * NS_PER_MS,
                              .spacing_busy_ns = 2 * NS_PER_MS,
                              .patience_ns = world->patience_ns,
                              .retry_ns = NS_PER_MS},
                .intake_ops = &line_intake_ops,
                .intake = &world->intake,
                .memory_max = world->memory_max,
        };
        for (int i = 0; i < SINKS_COUNT; i++)
                options.committer.sinks[i] = files->sinks[i];
        return options;
}

struct meddling {
        world_meddler meddler;
        void *userdata;
        struct shard *shard;
};

static void *meddle(void *userdata) {
        struct meddling *meddling = userdata;
        meddling->meddler(meddling->userdata, meddling->shard);
        return NULL;
}

struct world_end world_run_with(struct world *world, world_fault fault, void *userdata, _Atomic bool *opened,
                                world_meddler meddler, void *meddler_userdata) {
        struct world_end end = {.end = SHARD_FAILED};
        struct run_files files = {0};
        struct run_files_options options = {.state = world->state,
                                            .input = world->source ? world->source : world->input,
                                            .output = world->output,
                                            .errors = world->with_errors ? world->errors : NULL,
                                            .line_max = 1 << 20,
                                            .fault = fault,
                                            .fault_userdata = userdata};
        const char *keys[1] = {NULL};
        alarm(HANG_S);
        end.error = run_files_open(&options, &files);
        end.opened = !end.error;
        end.adopted = files.adopted;
        if (end.error)
                return end;
        if (opened)
                atomic_store(opened, true);
        struct shard *shard;
        struct shard_options shard_options = world_options(world, &files, keys);
        assert_null(shard_new(&shard_options, &shard));
        struct meddling meddling = {meddler, meddler_userdata, shard};
        pthread_t thread;
        if (meddler)
                assert_int_equal(pthread_create(&thread, NULL, meddle, &meddling), 0);
        end.end = shard_run(shard, &end.error);
        if (meddler)
                pthread_join(thread, NULL);
        shard_get_progress(shard, &end.progress);
        shard_free(shard);
        world_close_intake(world);
        run_files_close(&files);
        alarm(0);
        return end;
}

struct world_end world_run(struct world *world, world_fault fault, void *userdata) {
        return world_run_with(world, fault, userdata, NULL, NULL, NULL);
}

/* ---- looking at what came out ---- */

struct world_lines world_check_lines(const char *path) {
        struct world_lines lines = {0};
        struct key128 keys[LINES_MAX];
        size_t size;
        char *text = world_read(path, &size);
        for (char *at = text, *end; at < text + size; at = end + 1) {
                struct result_head head;
                end = memchr(at, '\n', (size_t)(text + size - at));
                if (!end) {
                        lines.torn = true;
                        break;
                }
                struct bytes line = {at, (size_t)(end - at)};
                if (!result_read_head(line, &head)) { /* where a batch was cut; nothing whole is behind it */
                        lines.torn = true;
                        break;
                }
                assert_true(lines.whole < LINES_MAX);
                for (size_t i = 0; i < lines.whole; i++)
                        assert_false(key128_equal(keys[i], head.key));
                keys[lines.whole++] = head.key;
                lines.answered += head.status == 200;
        }
        free(text);
        return lines;
}

void world_verify(const struct world *world, uint64_t settled) {
        struct store *store;
        struct store_stats stats;
        struct buffer findings;
        struct store_options options = {.directory = world->state};
        assert_null(store_open(&options, &store));
        buffer_init(&findings, 1 << 20);
        struct error *error = store_verify(store, &stats, &findings);
        if (error || findings.size > 0)
                fail_msg("%s %.*s", error ? error->message : "", (int)findings.size, findings.data);
        assert_int_equal(stats.settled, settled);
        assert_int_equal(stats.unknown, 0);
        assert_int_equal(stats.bodies, 0);
        buffer_deinit(&findings);
        store_close(store);
}

/* ---- the simulator ---- */

static int connect_to(const struct world *world) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(sim_server_port(world->sim))};
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
        return fd;
}

char *world_ask(const struct world *world, const char *method, const char *path, const char *body) {
        struct buffer text;
        char block[4096];
        ssize_t got;
        int fd = connect_to(world);
        buffer_init(&text, 1 << 20);
        buffer_printf(&text,
                      "%s %s HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                      method, path, strlen(body), body);
        assert_int_equal(send(fd, text.data, text.size, MSG_NOSIGNAL), (ssize_t)text.size);
        buffer_clear(&text);
        while ((got = recv(fd, block, sizeof(block), 0)) > 0)
                buffer_append(&text, block, (size_t)got);
        close(fd);
        buffer_append(&text, "", 1);
        char *start = text.size > 1 ? strstr(text.data, "\r\n\r\n") : NULL;
        assert_non_null(start);
        assert_int_equal(strncmp(text.data, "HTTP/1.1 200", 12), 0);
        char *answer = strdup(start + 4);
        buffer_deinit(&text);
        return answer;
}

uint64_t world_count(const struct world *world, const char *name) {
        char quoted[64];
        char *stats = world_ask(world, "GET", "/sim/stats", "");
        snprintf(quoted, sizeof(quoted), "\"%s\":", name);
        char *at = strstr(stats, quoted);
        assert_non_null(at);
        uint64_t count = strtoull(at + strlen(quoted), NULL, 10);
        free(stats);
        return count;
}
