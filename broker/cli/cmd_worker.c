#include "broker/cli/cmd_worker.h"

#include "broker/base/minmax.h"
#include "broker/base/money.h"
#include "broker/base/part.h"
#include "broker/base/time.h"
#include "broker/cli/assemble.h"
#include "broker/cli/interrupts.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/options.h"
#include "broker/cli/reload.h"
#include "broker/cli/say.h"
#include "broker/cli/worker_cluster.h"
#include "broker/cli/worker_metrics.h"
#include "broker/loop/spend_book.h"
#include "broker/ops/listener.h"

#include <argp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        SHOW_MS = 200,
        CLOSE_S = 60, /* for leaving when all was done: clients bound theirs by less */
};
#define TELL_NS  (10 * NS_PER_S) /* between lines on what has been done */
#define LEAVE_NS (10 * NS_PER_S) /* to leave the group at the end */
/* Less of a budget for a partition is told: many a job could cost more. */
#define SMALL_SHARE_PICOUSD (PICOUSD_PER_USD / 100)

struct loop {
        struct worker *worker;
        struct member *member;
        struct worker_metrics metrics;
        pthread_t thread;
        enum shard_end end;
        struct error *error;
        char name[128];
        bool started;
};

struct worker {
        struct options options;
        struct config *config;
        struct assembly assembly;
        struct reloads reloads;
        struct cluster cluster;
        struct store *store;
        struct metrics *metrics;
        struct listener *listener;
        struct loop loops[METRICS_SHARDS_MAX];
        uint32_t shards;
        atomic_uint running;
        atomic_bool failed;
        bool drained, stopped;
        int64_t drain_by_ns, told_ns, reported_ns;
        uint64_t told_jobs;
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct worker *worker = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &worker->options;
                return 0;
        case ARGP_KEY_ARG:
                argp_error(state,
                           "worker takes its jobs from Kafka and no file; \"%s\" is for `batchferry run`",
                           value);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        NULL,
        parse,
        "",
        "Takes jobs from the jobs topic and publishes one result for each, exactly once, together with the "
        "offsets. Any number of workers share the work; Kafka's group spreads the partitions.\v"
        "Ctrl-C or SIGTERM finishes the calls under way (worker.drain) and hands the partitions over; a "
        "second "
        "one stops at once. Both keep everything. Numbers are at /metrics of listen.address:listen.port, "
        "/healthz and /readyz beside it.\n\n"
        "Exit codes: 0 ended as asked, 1 failed, 2 wrong usage or configuration, 130 stopped at once.\n\n"
        "Examples:\n"
        "  batchferry topics create --set kafka.bootstrap.servers=localhost:9092\n"
        "  batchferry worker -c batchferry.yaml\n"
        "  batchferry worker --base-url http://localhost:8080/v1 --set "
        "kafka.bootstrap.servers=localhost:9092",
        children,
        NULL,
        NULL};

static bool republishes(const struct settings *settings) {
        return strcmp(settings->on_duplicate, "republish") == 0;
}

static struct error *check(const struct config *config) {
        if (republishes(&config->settings) && config->settings.results_retention == 0)
                return error_new(ERROR_USAGE,
                                 "idempotency.on_duplicate: what is to be published again must be kept; set "
                                 "results.retention to how long, e.g. 1d");
        if (config->fetch_s3)
                return error_new(ERROR_USAGE,
                                 "fetch.allow: s3 cannot be fetched from in this version; remove it");
        return NULL;
}

static uint32_t count_shards(const struct config *config) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        uint32_t wanted = config->settings.shards ? (uint32_t)config->settings.shards : (uint32_t)cores;
        return wanted < 1 ? 1 : wanted < METRICS_SHARDS_MAX ? wanted : METRICS_SHARDS_MAX;
}

/* What a partition has of a budget may be too little for any job, though the budget is not. */
static void warn_of_share(const struct catalog *catalog, uint32_t subject, uint32_t partitions) {
        const struct budget_spec *budget = budget_of_subject(catalog, subject);
        const int64_t limits[] = {budget->daily, budget->monthly, budget->lifetime};
        enum spend_kind kind;
        struct bytes name = spend_subject_name(catalog, subject, &kind);
        int64_t least = PICOUSD_MAX;
        for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
                if (limits[i] > 0)
                        least = min64(least, limits[i]);
        if (least / partitions >= SMALL_SHARE_PICOUSD)
                return;
        struct buffer share;
        buffer_init(&share, 64);
        money_append(&share, part_of(least, 0, partitions));
        say(LOG_LEVEL_WARNING,
            "the budget of %s %.*s is divided over %u partitions: %.*s USD for the jobs of each, and a job "
            "that could cost more is never done",
            kind == SPEND_WORKSPACE ? "workspace" : "provider", (int)name.size, name.data, partitions,
            (int)share.size, share.data);
        buffer_deinit(&share);
}

static void warn_of_shares(const struct worker *worker, const struct catalog *catalog) {
        for (uint32_t i = 0; i < budget_subjects(catalog) && worker->cluster.partitions > 0; i++)
                if (budget_bounds(budget_of_subject(catalog, i)))
                        warn_of_share(catalog, i, worker->cluster.partitions);
}

/* ---- the loops ---- */

/* Of a shard. */
static uint32_t in_flight_of(const struct worker *worker) {
        return ((uint32_t)worker->config->settings.in_flight + worker->shards - 1) / worker->shards;
}

static struct error *open_loop(struct worker *worker, uint32_t index) {
        const struct settings *settings = &worker->config->settings;
        struct loop *loop = &worker->loops[index];
        uint32_t in_flight = in_flight_of(worker);
        loop->worker = worker;
        snprintf(loop->name, sizeof(loop->name), "%s-%u", worker->cluster.name, index);
        loop->metrics = (struct worker_metrics){.metrics = worker->metrics,
                                                .shard = shard_metrics_new(worker->metrics),
                                                .catalog = &worker->config->catalog,
                                                .topic = settings->topic_jobs,
                                                .index = index};
        if (!loop->metrics.shard)
                return error_new(ERROR_MEMORY, "no memory for metrics");
        struct member_options options = {
                .shard = {.catalog = &worker->config->catalog,
                          .engine = assemble_engine(&worker->assembly, in_flight, worker->shards),
                          .calls = assemble_calls(&worker->assembly, in_flight),
                          .committer = {.store = worker->store,
                                        .source_name = "",
                                        .spacing_ns = ASSEMBLE_COMMIT_SPACING_NS,
                                        .spacing_busy_ns = ASSEMBLE_COMMIT_SPACING_NS,
                                        .patience_ns = settings->disk_patience},
                          .memory_max = (size_t)settings->memory / worker->shards,
                          .report = worker_metrics_report,
                          .report_userdata = &loop->metrics},
                .decoder = assemble_decoder(&worker->assembly, ""),
                .properties = worker->cluster.properties,
                .topic_jobs = settings->topic_jobs,
                .topic_results = settings->topic_results,
                .topic_dead_letters = settings->topic_dead_letters,
                .topic_state = settings->topic_state,
                .topic_audit = settings->audit_topic ? settings->topic_audit : NULL,
                .audit_partitions = worker->cluster.audit_partitions,
                .group_id = worker->cluster.group_id,
                .name = loop->name,
                .jobs_bytes_max = worker->cluster.jobs_bytes_max,
                .results_bytes_max = worker->cluster.results_bytes_max,
                .dead_letters_bytes_max = worker->cluster.dead_letters_bytes_max,
                .state_bytes_max = worker->cluster.state_bytes_max,
                .interval_ns = settings->commit_interval,
                .park_after_ns = settings->park_after,
                .session_ns = worker->cluster.session_ns,
                .leave_ns = settings->leave,
                .retention_ns = settings->idempotency_retention,
                .keep_for_ns = settings->results_retention,
                .republish = republishes(settings),
                .msgpack = strcmp(settings->results_encoding, "msgpack") == 0,
        };
        options.shard.engine.seed += index;
        options.shard.engine.by_partition = true;
        struct error *error = member_open(&options, &loop->member);
        loop->metrics.member = loop->member;
        return error;
}

static void *run_loop(void *userdata) {
        struct loop *loop = userdata;
        loop->end = member_run(loop->member, &loop->error);
        if (loop->end == SHARD_FAILED)
                atomic_store(&loop->worker->failed, true);
        worker_metrics_end(&loop->metrics, loop->error ? loop->error->message : NULL);
        atomic_fetch_sub(&loop->worker->running, 1);
        return NULL;
}

static struct error *start_loops(struct worker *worker) {
        struct error *error = NULL;
        for (uint32_t i = 0; i < worker->shards && !error; i++)
                error = open_loop(worker, i);
        for (uint32_t i = 0; i < worker->shards && !error; i++) {
                struct loop *loop = &worker->loops[i];
                atomic_fetch_add(&worker->running, 1);
                int code = pthread_create(&loop->thread, NULL, run_loop, loop);
                loop->started = code == 0;
                if (code) {
                        atomic_fetch_sub(&worker->running, 1);
                        error = error_errno(code, "cannot start a shard");
                }
        }
        return error;
}

static void drain(struct worker *worker) {
        worker->drained = true;
        worker->drain_by_ns = clock_now_ns() + worker->config->settings.drain;
        for (uint32_t i = 0; i < worker->shards; i++) {
                atomic_store(&worker->loops[i].metrics.draining, true);
                if (worker->loops[i].member)
                        member_drain(worker->loops[i].member);
        }
}

static void stop(struct worker *worker) {
        worker->stopped = true;
        interrupts_limit(INTERRUPTS_STOP_S, EXIT_INTERRUPTED);
        for (uint32_t i = 0; i < worker->shards; i++)
                if (worker->loops[i].member)
                        member_stop(worker->loops[i].member);
}

/* ---- the main thread ---- */

static void tell(struct worker *worker, bool last) {
        struct shard_progress progress;
        uint64_t jobs = 0, succeeded = 0, failed = 0, duplicates = 0, in_flight = 0;
        int64_t now_ns = clock_now_ns();
        if (!last && now_ns - worker->told_ns < TELL_NS)
                return;
        for (uint32_t i = 0; i < worker->shards; i++) {
                shard_get_progress(member_shard(worker->loops[i].member), &progress);
                jobs += progress.stats.jobs;
                succeeded += progress.stats.succeeded;
                duplicates += progress.stats.duplicates;
                in_flight += progress.stats.in_flight;
                for (int f = 0; f < FAILURES_COUNT; f++)
                        failed += progress.stats.failures[f];
        }
        worker->told_ns = now_ns;
        if (jobs + duplicates == worker->told_jobs && !last)
                return;
        worker->told_jobs = jobs + duplicates;
        say(LOG_LEVEL_INFO, "%llu jobs done, %llu failed, %llu duplicates, %llu calls under way",
            (unsigned long long)succeeded, (unsigned long long)failed, (unsigned long long)duplicates,
            (unsigned long long)in_flight);
}

static void interrupted(struct worker *worker, uint64_t interrupts) {
        if (interrupts == 0)
                return;
        if (worker->drained || interrupts > 1) {
                stop(worker);
                return;
        }
        say(LOG_LEVEL_INFO, "finishing the calls under way; once more stops at once (nothing is lost either "
                            "way)");
        drain(worker);
}

/* A shard for which there is no memory keeps the one before. */
static void reload_loop(struct worker *worker, struct loop *loop) {
        struct shard_reload next = reloads_for_shard(&worker->reloads, in_flight_of(worker), worker->shards);
        struct job_decoder_options options = assemble_decoder(worker->reloads.assembly, "");
        struct error *error = job_decoder_new(&options, &next.decoder);
        if (error) {
                say(LOG_LEVEL_ERROR, "%s: %s keeps the configuration before", error->message, loop->name);
                error_free(error);
                return;
        }
        shard_reload(member_shard(loop->member), &next);
}

static void reload(struct worker *worker) {
        if (!interrupts_reload() || !reloads_load(&worker->reloads))
                return;
        warn_of_shares(worker, worker->reloads.assembly->catalog);
        for (uint32_t i = 0; i < worker->shards; i++)
                reload_loop(worker, &worker->loops[i]);
}

static void tell_taken(struct worker *worker) {
        bool taken = reloads_pending(&worker->reloads);
        for (uint32_t i = 0; i < worker->shards && taken; i++)
                taken = shard_reload_taken(member_shard(worker->loops[i].member));
        if (taken)
                reloads_taken(&worker->reloads);
}

static void report_suppressed(struct worker *worker) {
        int64_t now_ns = clock_now_ns();
        if (now_ns - worker->reported_ns < NS_PER_S)
                return;
        worker->reported_ns = now_ns;
        log_report_suppressed(false);
}

static void attend(struct worker *worker) {
        while (atomic_load(&worker->running) > 0) {
                interrupted(worker,
                            interrupts_wait(reloads_pending(&worker->reloads) ? SHOW_MS / 10 : SHOW_MS));
                if (atomic_load(&worker->failed) && !worker->drained)
                        drain(worker);
                if (worker->drained && !worker->stopped && clock_now_ns() > worker->drain_by_ns) {
                        say(LOG_LEVEL_WARNING,
                            "some calls have not ended in time (worker.drain); they are of unknown "
                            "outcome, and their jobs come again");
                        stop(worker);
                }
                reload(worker);
                tell_taken(worker);
                tell(worker, false);
                report_suppressed(worker);
        }
        log_report_suppressed(true);
}

static int end_loops(struct worker *worker) {
        int code = EXIT_WELL;
        for (uint32_t i = 0; i < worker->shards; i++) {
                struct loop *loop = &worker->loops[i];
                if (loop->started)
                        pthread_join(loop->thread, NULL);
                if (loop->error)
                        code = options_fail(error_wrap(loop->error, "stopped, nothing is lost"));
        }
        if (code == EXIT_WELL && worker->loops[0].member)
                tell(worker, true);
        return code;
}

static void close_worker(struct worker *worker) {
        listener_close(worker->listener);
        for (uint32_t i = 0; i < worker->shards; i++) {
                member_close(worker->loops[i].member, LEAVE_NS);
                shard_metrics_free(worker->loops[i].metrics.shard);
        }
        metrics_free(worker->metrics);
        store_close(worker->store);
        cluster_close(&worker->cluster);
}

static struct error *open_listener(struct worker *worker) {
        const struct settings *settings = &worker->config->settings;
        struct metrics_options metrics = {.version = BATCHFERRY_VERSION,
                                          .catalog = &worker->config->catalog,
                                          .shards = worker->shards,
                                          .partitions_max = METRICS_PARTITIONS_MAX,
                                          .now_ns = clock_now_ns()};
        worker->metrics = metrics_new(&metrics);
        if (!worker->metrics)
                return error_new(ERROR_MEMORY, "no memory for metrics");
        struct listener_options listener = {.address = settings->listen_address,
                                            .port = (uint16_t)settings->listen_port,
                                            .metrics = worker->metrics};
        struct error *error = listener_open(&listener, &worker->listener);
        if (!error)
                say(LOG_LEVEL_INFO, "metrics: %s/metrics", listener_url(worker->listener));
        return error;
}

static struct error *open_worker(struct worker *worker) {
        struct error *error = cluster_open(worker->config, &worker->cluster);
        if (error)
                return error;
        struct store_options store = {.directory = worker->config->settings.state, .worker = true};
        error = store_open(&store, &worker->store);
        if (!error)
                error = store_bind(worker->store, worker->cluster.identity);
        if (!error)
                error = cluster_name(&worker->cluster, worker->config->settings.state);
        if (!error)
                error = open_listener(worker);
        if (!error) {
                interrupts_attend();
                error = start_loops(worker);
        }
        return error;
}

static int work(struct worker *worker) {
        say_init(worker->config, worker->options.quiet, worker->options.verbose);
        struct error *error = interrupts_open(
                (struct interrupts_early){"batchferry: stopped before any job was taken\n", EXIT_WELL});
        if (error)
                return options_fail(error);
        assemble_descriptors(&worker->assembly);
        error = open_worker(worker);
        int code;
        if (error) {
                if (atomic_load(&worker->running) > 0)
                        stop(worker);
                end_loops(worker);
                code = kafka_options_fail(error);
        } else {
                say(LOG_LEVEL_INFO, "%u shard%s in group %s of %s", worker->shards,
                    worker->shards > 1 ? "s" : "", worker->cluster.group_id, worker->cluster.bootstrap);
                warn_of_shares(worker, &worker->config->catalog);
                attend(worker);
                code = end_loops(worker);
                if (code == EXIT_WELL && worker->stopped)
                        code = EXIT_INTERRUPTED;
                if (!worker->stopped)
                        interrupts_limit(CLOSE_S, code);
        }
        close_worker(worker);
        return code;
}

int cmd_worker(int argc, char **argv) {
        struct worker *worker = calloc(1, sizeof(*worker));
        if (!worker)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, worker);
        struct error *error = options_load(&worker->options, &worker->config);
        if (!error)
                error = check(worker->config);
        if (!error)
                error = assemble(worker->config, NULL, &worker->assembly);
        worker->reloads = (struct reloads){.options = &worker->options,
                                           .check = check,
                                           .config = worker->config,
                                           .assembly = &worker->assembly,
                                           .in_force = worker->config};
        worker->shards = error ? 0 : count_shards(worker->config);
        int code = error ? options_fail(error) : work(worker);
        reloads_deinit(&worker->reloads);
        config_free(worker->config);
        free(worker);
        return code;
}
