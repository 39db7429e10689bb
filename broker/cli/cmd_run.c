#include "broker/cli/cmd_run.h"

#include "broker/base/time.h"
#include "broker/cli/assemble.h"
#include "broker/cli/cmd_quote.h"
#include "broker/cli/interrupts.h"
#include "broker/cli/options.h"
#include "broker/cli/progress.h"
#include "broker/cli/reload.h"
#include "broker/cli/run_files.h"
#include "broker/cli/say.h"
#include "broker/loop/audit_log.h"
#include "broker/loop/forget.h"
#include "broker/loop/line_intake.h"
#include "broker/loop/quota_book.h"

#include <argp.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { KEY_ERRORS = 512, KEY_IN_FLIGHT, KEY_LIMIT, KEY_DRY_RUN, KEY_STRICT };
enum {
        SHOW_MS = 200, /* between looks at the progress */
};
struct run {
        struct options options;
        const char *input, *output, *errors;
        uint64_t in_flight, limit;
        bool dry_run, strict;
        struct config *config;
        struct run_files files;
        struct audit_log *audit; /* NULL: none is kept */
        struct line_intake intake;
        struct assembly assembly;
        struct reloads reloads;
        char in_flight_set[64]; /* one of options.sets */
        char batch[NAME_MAX + 1];
        struct shard *shard;
        enum shard_end end;
        struct error *error;
        _Atomic bool ended;
};

static const struct argp_option known[] = {
        {"output", 'o', "FILE", 0, "Results, one line per job; - is standard output (required)", 1},
        {"errors", KEY_ERRORS, "FILE", 0, "Failed jobs go here instead of the output", 1},
        {"in-flight", KEY_IN_FLIGHT, "N", 0, "Calls under way at a time (limits.in_flight, 4096)", 1},
        {"limit", KEY_LIMIT, "N", 0, "Run at most N jobs this time", 1},
        {"dry-run", KEY_DRY_RUN, NULL, 0,
         "Read everything, say what it will cost and how long it will take (as quote does), call nobody", 1},
        {"strict", KEY_STRICT, NULL, 0, "Stop before the first call if any line is no job", 1},
        {0},
};

static uint64_t parse_count(struct argp_state *state, const char *name, const char *text) {
        char *end;
        errno = 0;
        unsigned long long value = strtoull(text, &end, 10);
        if (errno || *end || end == text || *text == '-' || value == 0)
                argp_error(state, "%s takes a whole number from 1 on, not \"%s\"", name, text);
        return value;
}

static error_t parse(int key, char *value, struct argp_state *state) {
        struct run *run = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &run->options;
                return 0;
        case 'o':
                run->output = value;
                return 0;
        case KEY_ERRORS:
                run->errors = value;
                return 0;
        case KEY_IN_FLIGHT:
                run->in_flight = parse_count(state, "--in-flight", value);
                return 0;
        case KEY_LIMIT:
                run->limit = parse_count(state, "--limit", value);
                return 0;
        case KEY_DRY_RUN:
                run->dry_run = true;
                return 0;
        case KEY_STRICT:
                run->strict = true;
                return 0;
        case ARGP_KEY_ARG:
                if (run->input)
                        argp_error(state, "one input at a time; \"%s\" is a second one", value);
                run->input = value;
                return 0;
        case ARGP_KEY_END:
                if (!run->input)
                        argp_error(state, "which jobs? give a JSONL file, or - for standard input");
                if (!run->output && !run->dry_run)
                        argp_error(state, "where to? give -o RESULTS.jsonl (- is standard output)");
                if (run->output && run->errors && strcmp(run->output, run->errors) == 0)
                        argp_error(
                                state,
                                "-o and --errors are the same file; without --errors all results go there");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        known,
        parse,
        "JOBS.jsonl -o RESULTS.jsonl",
        "Runs every job of a JSONL file (OpenAI Batch lines, vLLM run-batch lines, and more) and writes one "
        "result line for each.\v"
        "Run the same command again after any interruption and it goes on where it was: no job is lost, "
        "repeated in the output, or paid "
        "for twice. Ctrl-C finishes the calls under way; a second one stops at once. Both keep "
        "everything.\n\n"
        "Exit codes: 0 all well, 1 failed, 2 wrong usage or configuration, 3 finished but some jobs failed, "
        "130 interrupted.\n\n"
        "Examples:\n"
        "  batchferry run jobs.jsonl -o results.jsonl --base-url https://api.openai.com/v1\n"
        "  batchferry run jobs.jsonl -o results.jsonl --errors failed.jsonl -c batchferry.yaml --in-flight "
        "512\n"
        "  batchferry run jobs.jsonl --dry-run",
        children,
        NULL,
        NULL};

static void name_batch(struct run *run) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s", strcmp(run->input, "-") == 0 ? "stdin" : run->input);
        snprintf(run->batch, sizeof(run->batch), "%s", basename(path));
}

/* Settings that are known, but that a run cannot honour: better refused than passed over. */
static struct error *check_supported(const struct config *config) {
        const struct settings *settings = &config->settings;
        if (strcmp(settings->results_encoding, "json") != 0)
                return error_new(ERROR_USAGE, "results.encoding: run writes json, not %s",
                                 settings->results_encoding);
        if (strcmp(settings->on_duplicate, "drop") != 0)
                return error_new(ERROR_USAGE,
                                 "idempotency.on_duplicate: run can only drop duplicates; set it to drop");
        if (settings->shards > 1)
                return error_new(ERROR_USAGE, "shards: run works with one in this version; set it to 0 or 1");
        if (config->fetch_s3)
                return error_new(ERROR_USAGE,
                                 "fetch.allow: s3 cannot be fetched from in this version; remove it");
        return NULL;
}

static struct error *prepare_config(struct run *run) {
        if (run->in_flight > 0 && run->options.sets_count < SETS_MAX) {
                snprintf(run->in_flight_set, sizeof(run->in_flight_set), "limits.in_flight=%llu",
                         (unsigned long long)run->in_flight);
                run->options.sets[run->options.sets_count++] = run->in_flight_set;
        }
        struct error *error = options_load(&run->options, &run->config);
        if (!error)
                error = check_supported(run->config);
        if (error)
                return error;
        run->reloads = (struct reloads){.options = &run->options,
                                        .check = check_supported,
                                        .config = run->config,
                                        .assembly = &run->assembly,
                                        .in_force = run->config};
        return assemble(run->config, NULL, &run->assembly);
}

static struct shard_options shard_options(struct run *run) {
        const struct settings *settings = &run->config->settings;
        uint32_t in_flight = (uint32_t)settings->in_flight;
        struct shard_options options = {
                .catalog = &run->config->catalog,
                .engine = assemble_engine(&run->assembly, in_flight, 1),
                .calls = assemble_calls(&run->assembly, in_flight),
                .committer = {.store = run->files.store,
                              .audit = run->audit,
                              .source_name = run->files.source_name,
                              .spacing_ns = ASSEMBLE_COMMIT_SPACING_NS,
                              .spacing_busy_ns = ASSEMBLE_COMMIT_SPACING_BUSY_NS,
                              .patience_ns = settings->disk_patience},
                .intake_ops = &line_intake_ops,
                .intake = &run->intake,
                .memory_max = (size_t)settings->memory,
                .audited = run->audit != NULL,
                .audit_ended = audit_log_ended,
                .audit_userdata = run->audit,
        };
        options.engine.quotas_kept = true;
        for (int i = 0; i < SINKS_COUNT; i++)
                options.committer.sinks[i] = run->files.sinks[i];
        return options;
}

static void *run_shard(void *userdata) {
        struct run *run = userdata;
        run->end = shard_run(run->shard, &run->error);
        atomic_store(&run->ended, true);
        return NULL;
}

static void on_interrupts(struct run *run, struct progress *progress, uint64_t before, uint64_t now) {
        progress_clear(progress);
        if (before == 0) {
                say(LOG_LEVEL_INFO, "finishing the calls under way; once more stops at once (nothing "
                                    "is lost either way)");
                shard_drain(run->shard);
        }
        if (now > 1) {
                interrupts_limit(INTERRUPTS_STOP_S, EXIT_INTERRUPTED);
                shard_stop(run->shard);
        }
}

/* Nothing moves, and will not for longer than a minute: said once. */
static void tell_budget(const struct run *run, struct progress *progress, const struct shard_progress *now,
                        bool *told) {
        int64_t wait_ns = now->stats.budget_until_ns - clock_now_ns();
        struct buffer until;
        if (*told || now->stats.in_flight > 0 || now->stats.waiting == 0 || wait_ns < 60 * NS_PER_S)
                return;
        *told = true;
        buffer_init(&until, 64);
        rfc3339_append(&until, clock_now_unix_ms() + wait_ns / NS_PER_MS);
        progress_clear(progress);
        say(LOG_LEVEL_INFO,
            "a budget is used up: %u jobs of %s wait, until %.*s at least (`batchferry workspaces` tells "
            "more; "
            "Ctrl-C keeps everything)",
            now->stats.waiting, run->input, (int)until.size, until.data);
        buffer_deinit(&until);
}

/* What was spent before counts for a budget that comes now. */
static const struct budget_spend **known_spends(struct run *run, const struct catalog *catalog) {
        uint32_t subjects = budget_subjects(catalog);
        const struct budget_spend **spends = calloc(subjects + 1, sizeof(*spends));
        for (uint32_t i = 0; spends && i < subjects; i++) {
                enum spend_kind kind;
                struct bytes name = spend_subject_name(catalog, i, &kind);
                spends[i] = spend_book_find(&run->files.book, kind, name);
        }
        return spends;
}

/* What limits had given that come now; what a reload is for is no reason to fail. */
static struct quota_uses known_quotas(struct run *run, const struct catalog *catalog) {
        struct quota_uses uses = {0};
        struct error *error = quota_uses_read(&uses, run->files.store, catalog);
        if (error)
                say(LOG_LEVEL_WARNING, "limits that are new begin empty: %s", error->message);
        error_free(error);
        return uses;
}

static void reload(struct run *run, struct progress *progress) {
        struct job_decoder *decoder;
        progress_clear(progress);
        if (!reloads_load(&run->reloads))
                return;
        struct job_decoder_options options = assemble_decoder(run->reloads.assembly, run->batch);
        struct error *error = job_decoder_new(&options, &decoder);
        if (error) {
                say(LOG_LEVEL_ERROR, "%s: the configuration before stays in force", error->message);
                error_free(error);
                run->reloads.in_force = run->reloads.config; /* there is nothing to wait for */
                return;
        }
        struct shard_reload next =
                reloads_for_shard(&run->reloads, (uint32_t)run->config->settings.in_flight, 1);
        next.decoder = decoder;
        next.spends = reloads_keep(&run->reloads, known_spends(run, next.catalog));
        struct quota_uses quotas = known_quotas(run, next.catalog);
        next.quotas = reloads_keep_quotas(&run->reloads, quotas.items);
        next.quotas_count = quotas.count;
        shard_reload(run->shard, &next);
}

static void tell_taken(struct run *run, struct progress *progress) {
        if (!reloads_pending(&run->reloads) || !shard_reload_taken(run->shard))
                return;
        progress_clear(progress);
        reloads_taken(&run->reloads);
}

/* Shows progress and takes signals until the shard has ended. */
static void attend(struct run *run, struct progress *progress) {
        uint64_t interrupts = 0, more;
        bool told = false;
        struct shard_progress now;
        while (!atomic_load(&run->ended)) {
                bool soon =
                        progress->started_ns + NS_PER_S > clock_now_ns() || reloads_pending(&run->reloads);
                int wait_ms = soon ? SHOW_MS / 10 : SHOW_MS;
                if ((more = interrupts_wait(wait_ms)) > 0) {
                        on_interrupts(run, progress, interrupts, interrupts + more);
                        interrupts += more;
                }
                if (interrupts_reload())
                        reload(run, progress);
                tell_taken(run, progress);
                shard_get_progress(run->shard, &now);
                progress_show(progress, &now);
                tell_budget(run, progress, &now, &told);
        }
}

static struct error *open_intake(struct run *run) {
        run->intake = (struct line_intake){.source = run->files.source,
                                           .jobs_limit = run->limit ? run->limit : UINT64_MAX,
                                           .state = run->files.state,
                                           .handed = run->files.state};
        run->intake.state.finished = false; /* the input may have grown */
        struct job_decoder_options options = assemble_decoder(&run->assembly, run->batch);
        return job_decoder_new(&options, &run->intake.decoder);
}

/* What was spent before counts. */
static void load_spend(struct run *run) {
        const struct catalog *catalog = &run->config->catalog;
        uint32_t subjects = budget_subjects(catalog);
        for (uint32_t i = 0; i < subjects; i++) {
                enum spend_kind kind;
                struct bytes name = spend_subject_name(catalog, i, &kind);
                const struct budget_spend *spend = spend_book_find(&run->files.book, kind, name);
                if (spend && budget_is_counted(catalog, i))
                        engine_spend_load(shard_engine(run->shard), 0, i, spend, false);
        }
}

static struct error *load_quotas(struct run *run) {
        struct quota_uses uses = {0};
        struct error *error = quota_uses_read(&uses, run->files.store, &run->config->catalog);
        if (!error)
                shard_quotas_load(run->shard, uses.items, uses.count);
        quota_uses_deinit(&uses);
        return error;
}

static struct error *open_audit(struct run *run) {
        struct audit_log_options options = {.path = run->config->settings.audit_file,
                                            .store = run->files.store};
        if (!options.path[0])
                return NULL;
        if (getrandom(&options.random, sizeof(options.random), 0) != (ssize_t)sizeof(options.random))
                return error_errno(errno, "cannot name the audit's chain");
        return audit_log_open(&options, &run->audit);
}

/* Kept elsewhere, it shows later that nothing was taken off the end. */
static void tell_audit(const struct run *run) {
        struct buffer head;
        if (!run->audit)
                return;
        const struct audit_chain *chain = audit_log_chain(run->audit);
        buffer_init(&head, 256);
        buffer_append_hex(&head, chain->head, sizeof(chain->head));
        say(LOG_LEVEL_INFO,
            "audit: %llu records in %s, head %.*s; keep it, `batchferry audit verify --head` "
            "asks for it",
            (unsigned long long)chain->next, audit_log_path(run->audit), (int)head.size, head.data);
        buffer_deinit(&head);
}

static struct error *run_jobs(struct run *run, struct progress *progress) {
        struct shard_options options = shard_options(run);
        struct error *error = open_intake(run);
        if (!error)
                error = shard_new(&options, &run->shard);
        if (!error)
                error = load_quotas(run);
        if (error)
                return error;
        load_spend(run);
        pthread_t thread;
        interrupts_attend();
        int code = pthread_create(&thread, NULL, run_shard, run);
        if (code)
                return error_errno(code, "cannot start");
        attend(run, progress);
        pthread_join(thread, NULL);
        return run->error;
}

static void tell_start(const struct run *run) {
        const struct run_files *files = &run->files;
        if (files->adopted > 0)
                say(LOG_LEVEL_INFO, "%llu results that the last run had written are taken over",
                    (unsigned long long)files->adopted);
        if (files->changed)
                say(LOG_LEVEL_INFO,
                    "%s has changed since the last run: every line is looked up, only new "
                    "jobs are run",
                    run->input);
        else if (files->state.sequence > 0 && !files->state.finished)
                say(LOG_LEVEL_INFO, "going on after %llu finished lines",
                    (unsigned long long)files->state.sequence);
}

static uint64_t count_failed(const struct engine_stats *stats) {
        uint64_t failed = 0;
        for (int i = 0; i < FAILURES_COUNT; i++)
                failed += stats->failures[i];
        return failed;
}

static int tell_end(struct run *run, struct progress *progress) {
        const struct engine_stats *stats = engine_stats(shard_engine(run->shard));
        if (run->end == SHARD_FINISHED && stats->jobs == 0) {
                progress_clear(progress);
                say(LOG_LEVEL_INFO,
                    "nothing to do: all %llu jobs of %s are done; results are in "
                    "%s",
                    (unsigned long long)run->files.state.sequence, run->input, run->output);
                return EXIT_WELL;
        }
        progress_summary(progress, run->shard, shard_catalog(run->shard));
        struct shard_progress now;
        shard_get_progress(run->shard, &now);
        switch (run->end) {
        case SHARD_FINISHED:
                return count_failed(stats) > 0 ? EXIT_JOBS_FAILED : EXIT_WELL;
        case SHARD_INTERRUPTED:
                say(LOG_LEVEL_INFO, "interrupted; run the same command again to go on");
                return EXIT_INTERRUPTED;
        case SHARD_STUCK:
                say(LOG_LEVEL_ERROR,
                    "no provider can be used: %s; everything is kept: mend it and run the same command again",
                    now.message);
                return EXIT_FAILED;
        case SHARD_FAILED:
                return EXIT_FAILED;
        }
        return EXIT_FAILED;
}

static int scan_first(struct run *run) {
        struct scan_options options = {.input = run->input,
                                       .decoder = assemble_decoder(&run->assembly, run->batch),
                                       .quiet = run->options.quiet};
        struct quote_options quote = {.config = run->config, .at_unix_ms = clock_now_unix_ms()};
        uint64_t jobs, bad;
        if (strcmp(run->input, "-") == 0 && run->strict && !run->dry_run)
                return options_fail(error_new(
                        ERROR_USAGE, "--strict reads the input twice: give a file, not standard input"));
        struct error *error = run->dry_run ? quote_input(&options, &quote, false, &jobs, &bad)
                                           : scan_input(&options, &jobs, &bad);
        if (error)
                return options_fail(error);
        if (run->strict && bad > 0) {
                say(LOG_LEVEL_ERROR, "%llu of %llu lines are no jobs; nothing was called (--strict)",
                    (unsigned long long)bad, (unsigned long long)jobs);
                return EXIT_FAILED;
        }
        return EXIT_WELL;
}

static bool is_interrupted(void *userdata) {
        (void)userdata;
        return interrupts_wait(0) > 0;
}

/* The jobs are done whatever becomes of this: what stays known for longer does no harm. */
static void forget(const struct run *run) {
        struct forgetting forgetting = {.store = run->files.store,
                                        .retention_ns = run->config->settings.idempotency_retention,
                                        .now_unix_ms = clock_now_unix_ms(),
                                        .enough = is_interrupted};
        uint64_t count;
        bool blocked;
        struct error *error = forget_old(&forgetting, &count, &blocked);
        if (count > 0)
                say(LOG_LEVEL_INFO,
                    "%llu keys are forgotten: their jobs were finished longer ago than idempotency.retention",
                    (unsigned long long)count);
        if (blocked)
                say(LOG_LEVEL_DEBUG, "keys older than idempotency.retention stay known: not all inputs of "
                                     "this state directory are finished (`batchferry state show`)");
        if (error)
                say(LOG_LEVEL_WARNING, "keys older than idempotency.retention stay known, in %s: %s",
                    run->config->settings.state, error->message);
        error_free(error);
}

static int run_with_config(struct run *run) {
        say_init(run->config, run->options.quiet, run->options.verbose);
        struct error *error = interrupts_open((struct interrupts_early){
                "\nbatchferry: interrupted; run the same command again to go on\n", EXIT_INTERRUPTED});
        if (error)
                return options_fail(error);
        if (run->strict || run->dry_run) {
                int code = scan_first(run);
                if (code != EXIT_WELL || run->dry_run)
                        return code;
        }
        assemble_descriptors(&run->assembly);
        struct run_files_options options = {.state = run->config->settings.state,
                                            .input = run->input,
                                            .output = run->output,
                                            .errors = run->errors,
                                            .line_max = (size_t)run->config->settings.job_bytes,
                                            .catalog = &run->config->catalog};
        error = run_files_open(&options, &run->files);
        if (error)
                return options_fail(error);
        error = open_audit(run);
        if (error) {
                run_files_close(&run->files);
                return options_fail(error);
        }
        tell_start(run);
        struct progress progress;
        progress_init(&progress, run->options.quiet);
        error = run_jobs(run, &progress);
        int code;
        bool well = !error;
        if (error) {
                progress_clear(&progress);
                code = options_fail(error_wrap(error, "stopped, nothing is lost"));
        } else {
                code = tell_end(run, &progress);
        }
        shard_free(run->shard);
        if (well && run->end == SHARD_FINISHED)
                forget(run);
        if (well)
                tell_audit(run);
        audit_log_close(run->audit);
        job_decoder_free(run->intake.decoder);
        run_files_close(&run->files);
        return code;
}

int cmd_run(int argc, char **argv) {
        struct run *run = calloc(1, sizeof(*run));
        if (!run)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, run);
        name_batch(run);
        struct error *error = prepare_config(run);
        int code = error ? options_fail(error) : run_with_config(run);
        reloads_deinit(&run->reloads);
        config_free(run->config);
        free(run);
        return code;
}
