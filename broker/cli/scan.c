#include "broker/cli/scan.h"

#include "broker/cli/input.h"
#include "broker/cli/say.h"

enum { BAD_SHOWN_MAX = 10 };

struct scan {
        const struct scan_options *options;
        struct job_decoder *decoder;
        uint64_t jobs, bad;
};

static void show_bad(struct scan *scan, const struct job_spec *job) {
        if (scan->bad++ < BAD_SHOWN_MAX)
                input_say_bad(scan->options->input, job);
}

static struct error *visit(void *userdata, const struct source_line *line) {
        struct scan *scan = userdata;
        struct job_spec *job =
                job_decode(scan->decoder, line->text, line->line, line->sequence, line->too_long);
        if (!job)
                return error_new(ERROR_MEMORY, "no memory for line %llu", (unsigned long long)line->line);
        if (job->failure != FAILURE_NONE)
                show_bad(scan, job);
        if (scan->options->quote)
                quote_add(scan->options->quote, job);
        scan->jobs++;
        job_spec_free(job);
        return NULL;
}

struct error *scan_input(const struct scan_options *options, uint64_t *out_jobs, uint64_t *out_bad) {
        struct scan scan = {.options = options};
        struct input_lines lines = {.path = options->input,
                                    .things = "jobs",
                                    .line_max = options->decoder.job_bytes_max,
                                    .quiet = options->quiet};
        struct error *error = job_decoder_new(&options->decoder, &scan.decoder);
        if (!error)
                error = input_each(&lines, visit, &scan);
        if (scan.bad > BAD_SHOWN_MAX)
                say(LOG_LEVEL_ERROR, "and %llu more", (unsigned long long)(scan.bad - BAD_SHOWN_MAX));
        job_decoder_free(scan.decoder);
        if (error)
                return error;
        *out_jobs = scan.jobs;
        *out_bad = scan.bad;
        return NULL;
}
