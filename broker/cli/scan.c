#include "broker/cli/scan.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/cli/say.h"
#include "broker/files/source.h"
#include "workers/routing/route.h"

#include <stdio.h>
#include <stdlib.h>

enum { BAD_SHOWN_MAX = 10 };

/* What a dry run says of an endpoint. */
struct estimate {
        uint64_t jobs;
        int64_t expected_picousd, ceiling_picousd;
        bool unknown;
};

struct scan {
        const struct scan_options *options;
        struct estimate *estimates; /* per endpoint; the last one is "no provider" */
        uint64_t jobs, bad;
};

static void show_bad(struct scan *scan, const struct job_spec *job) {
        if (scan->bad++ < BAD_SHOWN_MAX)
                say(LOG_LEVEL_ERROR, "%s line %llu: %.*s%s%.*s", scan->options->input,
                    (unsigned long long)job->line, (int)job->failure_field.size,
                    job->failure_field.data ? job->failure_field.data : "",
                    job->failure_field.size ? ": " : "", (int)job->failure_message.size,
                    job->failure_message.data);
}

static void estimate(struct scan *scan, const struct job_spec *job) {
        const struct catalog *catalog = &scan->options->config->catalog;
        struct route_set set;
        route_match(catalog, &job->demand, &set);
        struct route_state states[ROUTE_CANDIDATES_MAX] = {0};
        for (uint32_t i = 0; i < set.count; i++)
                states[i].tokens_ratio = 1;
        struct route route;
        route_rank(catalog, &job->demand, &set, states,
                   &(struct route_moment){.now_unix_ms = clock_now_unix_ms()}, &route);
        struct estimate *sum = &scan->estimates[catalog->endpoints_count];
        if (route.usable > 0) {
                const struct candidate *best = &route.candidates[0];
                sum = &scan->estimates[best->endpoint];
                sum->unknown = sum->unknown || !best->cost_known;
                if (best->cost_known) {
                        sum->expected_picousd = money_add(sum->expected_picousd, best->cost_expected_picousd);
                        sum->ceiling_picousd = money_add(sum->ceiling_picousd, best->cost_ceiling_picousd);
                }
        }
        sum->jobs++;
}

static void print_row(const char *name, const struct estimate *sum) {
        struct buffer text;
        buffer_init(&text, 4096);
        buffer_printf(&text, "%-40s %12llu  ", name, (unsigned long long)sum->jobs);
        buffer_append_string(&text, sum->unknown ? "unknown" : "$");
        if (!sum->unknown) {
                money_append(&text, sum->expected_picousd);
                buffer_append_string(&text, "  at most $");
                money_append(&text, sum->ceiling_picousd);
        }
        printf("%.*s\n", (int)text.size, text.data);
        buffer_deinit(&text);
}

static void print_report(const struct scan *scan) {
        const struct catalog *catalog = &scan->options->config->catalog;
        struct estimate total = {0};
        printf("%-40s %12s  %s\n", "endpoint (cheapest for its jobs)", "jobs", "expected cost");
        for (uint32_t i = 0; i < catalog->endpoints_count; i++) {
                const struct estimate *sum = &scan->estimates[i];
                if (sum->jobs == 0)
                        continue;
                print_row(catalog->endpoints[i].name, sum);
                total.jobs += sum->jobs;
                total.expected_picousd = money_add(total.expected_picousd, sum->expected_picousd);
                total.ceiling_picousd = money_add(total.ceiling_picousd, sum->ceiling_picousd);
                total.unknown = total.unknown || sum->unknown;
        }
        if (scan->estimates[catalog->endpoints_count].jobs)
                printf("%-40s %12llu  would fail\n", "(no provider for them)",
                       (unsigned long long)scan->estimates[catalog->endpoints_count].jobs);
        if (scan->bad)
                printf("%-40s %12llu  would fail\n", "(lines that are no jobs)",
                       (unsigned long long)scan->bad);
        print_row("total", &total);
        printf("Nothing was called and nothing was written.\n");
}

static struct error *scan_lines(struct scan *scan, struct source *source, struct job_decoder *decoder) {
        struct source_line line;
        for (;;) {
                enum source_outcome outcome = source_next(source, &line);
                if (outcome == SOURCE_END)
                        return NULL;
                if (outcome == SOURCE_FAILED)
                        return source_error(source);
                if (outcome == SOURCE_LATER)
                        return error_new(ERROR_USAGE,
                                         "--strict and --dry-run read the whole input first: give a file");
                struct job_spec *job =
                        job_decode(decoder, line.text, line.line, line.sequence, line.too_long);
                if (!job)
                        return error_new(ERROR_MEMORY, "no memory for line %llu",
                                         (unsigned long long)line.line);
                if (job->failure != FAILURE_NONE)
                        show_bad(scan, job);
                else
                        estimate(scan, job);
                scan->jobs++;
                source_settled(source, line.sequence);
                job_spec_free(job);
        }
}

struct error *scan_input(const struct scan_options *options, uint64_t *out_jobs, uint64_t *out_bad) {
        struct scan scan = {.options = options};
        struct source_options source_options = {.path = options->input,
                                                .line_max = options->decoder.job_bytes_max};
        struct source *source = NULL;
        struct job_decoder *decoder = NULL;
        scan.estimates = calloc(options->config->catalog.endpoints_count + 1, sizeof(*scan.estimates));
        if (!scan.estimates)
                return error_new(ERROR_MEMORY, "no memory to read ahead");
        struct error *error = source_open(&source_options, &source);
        if (!error)
                error = job_decoder_new(&options->decoder, &decoder);
        if (!error)
                error = scan_lines(&scan, source, decoder);
        if (!error && options->report)
                print_report(&scan);
        if (scan.bad > BAD_SHOWN_MAX)
                say(LOG_LEVEL_ERROR, "and %llu more", (unsigned long long)(scan.bad - BAD_SHOWN_MAX));
        job_decoder_free(decoder);
        source_close(source);
        free(scan.estimates);
        if (error)
                return error;
        *out_jobs = scan.jobs;
        *out_bad = scan.bad;
        return NULL;
}
