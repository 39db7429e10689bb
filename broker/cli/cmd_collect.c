#include "broker/cli/cmd_collect.h"

#include "broker/base/time.h"
#include "broker/cli/ctrl_c.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/letter.h"
#include "broker/cli/meter.h"
#include "broker/cli/options.h"
#include "broker/cli/outfile.h"
#include "broker/cli/record_text.h"
#include "broker/cli/say.h"
#include "broker/cli/submission.h"
#include "broker/cli/wanted.h"
#include "broker/kafka/reader.h"
#include "broker/wire/json_span.h"
#include "broker/wire/result.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BATCH = 512, KEY_FOLLOW, KEY_ERRORS, KEY_SINCE, KEY_LIMIT, KEY_WAIT, KEY_JOBS, KEY_TIMEOUT };
enum { LINE_BYTES_SPARE = 1 << 20 };
#define WAIT_NS (100 * NS_PER_MS)

struct collect {
        struct options options;
        const char *output, *errors, *batch, *jobs;
        bool follow, has_timeout;
        uint64_t limit, wait; /* 0: none */
        int64_t since_unix_ms, timeout_ns;

        struct config *config;
        struct kafka_options kafka;
        struct reader *results, *letters; /* letters: with --jobs */
        struct outfile *out, *failed_out; /* the second one may be NULL */
        struct wanted *wanted;
        struct job_decoder *decoder; /* for letters */
        struct buffer line, batch_json;
        uint64_t written, failed, foreign;
        int64_t caught_up_ns; /* when everything that was there at the start had been read; 0: not yet */
        bool ended, told_alone;
        struct meter meter;
};

static const struct argp_option known[] = {
        {"output", 'o', "FILE", 0, "Results, one line per job; - is standard output (required)", 1},
        {"errors", KEY_ERRORS, "FILE", 0, "Failed jobs go here instead of the output", 1},
        {"batch", KEY_BATCH, "NAME", 0,
         "Results of this batch only; with --jobs: the batch of lines that name none (default: that file's "
         "name)",
         1},
        {"since", KEY_SINCE, "TIME", 0, "Results from then on: 2026-11-23T01:00:00Z, or 2h for two hours ago",
         1},
        {"limit", KEY_LIMIT, "N", 0, "Stop after N results", 1},
        {"follow", KEY_FOLLOW, NULL, 0, "Do not stop at the end; write results as they come, until Ctrl-C",
         2},
        {"wait", KEY_WAIT, "N", 0, "Stop when N results have come, not before", 2},
        {"jobs", KEY_JOBS, "FILE", 0,
         "The results of the jobs in this file, one for each, waiting for those that have not come yet", 2},
        {"timeout", KEY_TIMEOUT, "TIME", 0,
         "With --wait or --jobs: write what there is when so much time has passed at the end of the topic; "
         "0s does "
         "not wait at all",
         2},
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

static void check_together(const struct collect *collect, struct argp_state *state) {
        if (!collect->output)
                argp_error(state, "where to? give -o RESULTS.jsonl (- is standard output)");
        else if (collect->errors && strcmp(collect->output, collect->errors) == 0)
                argp_error(state, "-o and --errors are the same file; without --errors all results go there");
        else if ((collect->follow ? 1 : 0) + (collect->wait ? 1 : 0) + (collect->jobs ? 1 : 0) > 1)
                argp_error(state,
                           "--follow, --wait and --jobs say three different things about when to stop: give "
                           "one");
        else if (collect->has_timeout && !collect->wait && !collect->jobs)
                argp_error(state, "--timeout is for --wait and --jobs");
        else if (collect->jobs && strcmp(collect->jobs, "-") == 0)
                argp_error(state, "--jobs reads its file twice: give a file, not standard input");
}

static error_t parse(int key, char *value, struct argp_state *state) {
        struct collect *collect = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &collect->options;
                return 0;
        case 'o':
                collect->output = value;
                return 0;
        case KEY_ERRORS:
                collect->errors = value;
                return 0;
        case KEY_BATCH:
                collect->batch = value;
                return 0;
        case KEY_FOLLOW:
                collect->follow = true;
                return 0;
        case KEY_JOBS:
                collect->jobs = value;
                return 0;
        case KEY_LIMIT:
                collect->limit = parse_count(state, "--limit", value);
                return 0;
        case KEY_WAIT:
                collect->wait = parse_count(state, "--wait", value);
                return 0;
        case KEY_SINCE:
                if (!record_time_parse(value, clock_now_unix_ms(), &collect->since_unix_ms))
                        argp_error(state,
                                   "--since takes a time such as 2026-11-23T01:00:00Z, or 2h, not \"%s\"",
                                   value);
                return 0;
        case KEY_TIMEOUT:
                collect->has_timeout = true;
                if (!duration_parse(bytes_of(value), &collect->timeout_ns))
                        argp_error(state, "--timeout takes a time such as 90s or 2h, not \"%s\"", value);
                return 0;
        case ARGP_KEY_ARG:
                argp_error(state, "\"%s\" is one word too many", value);
                return 0;
        case ARGP_KEY_END:
                check_together(collect, state);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        known,
        parse,
        "-o RESULTS.jsonl",
        "Reads results from the results topic, those of committed transactions only, and writes one line for "
        "each.\v"
        "Without more it stops at the end of the topic. A file gets its name when it is complete (until then "
        "it is "
        "FILE.part), but with --follow it is written as results come. Whatever encoding results were "
        "published in, "
        "lines are JSON.\n\n"
        "After `batchferry submit jobs.jsonl`, `--jobs jobs.jsonl` waits until every job of the file has a "
        "result or "
        "is a dead letter, of which a line with the error is written; Ctrl-C tells what is missing.\n\n"
        "Exit codes: 0 all well, 1 failed, 2 wrong usage or configuration, 3 done, but some jobs failed or "
        "are "
        "missing, 130 interrupted.\n\n"
        "Examples:\n"
        "  batchferry collect -o results.jsonl --batch corpus-7\n"
        "  batchferry collect -o results.jsonl --errors failed.jsonl --jobs jobs.jsonl\n"
        "  batchferry collect -o - --follow | jq .receipt.cost_usd",
        children,
        NULL,
        NULL};

/* ---- results ---- */

static bool is_of_batch(struct collect *collect, struct bytes line) {
        struct json_members members, inner;
        struct json_member member;
        if (!collect->batch || collect->jobs)
                return true;
        json_members_init(&members, line);
        while (json_members_next(&members, &member)) {
                if (!bytes_equal_string(span_of(line, member.key), "\"receipt\""))
                        continue;
                struct bytes receipt = span_of(line, member.value);
                json_members_init(&inner, receipt);
                while (json_members_next(&inner, &member))
                        if (bytes_equal_string(span_of(receipt, member.key), "\"batch\""))
                                return bytes_equal(span_of(receipt, member.value),
                                                   buffer_view(&collect->batch_json));
        }
        return false;
}

static struct error *write_line(struct collect *collect, bool failed) {
        struct outfile *file = failed && collect->failed_out ? collect->failed_out : collect->out;
        collect->written++;
        collect->failed += failed ? 1 : 0;
        collect->ended = (collect->limit && collect->written >= collect->limit) ||
                         (collect->wait && collect->written >= collect->wait);
        return outfile_line(file, buffer_view(&collect->line));
}

static struct error *take_result(struct collect *collect, const struct consumer_record *record) {
        struct result_head head;
        if (!record_json(record, &collect->line) || !result_read_head(buffer_view(&collect->line), &head)) {
                collect->foreign++;
                return NULL;
        }
        if (!is_of_batch(collect, buffer_view(&collect->line)))
                return NULL;
        if (collect->wanted && wanted_take(collect->wanted, head.key) != WANTED_NEW)
                return NULL;
        return write_line(collect, head.failure != FAILURE_NONE);
}

/* ---- dead letters ---- */

/* The job that the letter is of: by what it says itself if it can be read, else by the key of its record. */
static enum wanted_is take_letters_job(struct collect *collect, const struct consumer_record *record) {
        struct job_record job = {.key = record->key,
                                 .value = record->value,
                                 .has_key = record->has_key,
                                 .has_value = record->has_value};
        struct job_spec *spec = job_decode_record(collect->decoder, &job);
        enum wanted_is is = WANTED_NOT;
        if (spec && spec->failure == FAILURE_NONE)
                is = wanted_take(collect->wanted, spec->key);
        if (is == WANTED_NOT && record->has_key)
                is = wanted_take_record(collect->wanted, record->key);
        job_spec_free(spec);
        return is;
}

static void append_member(struct buffer *line, const char *name, struct bytes text) {
        buffer_printf(line, "\"%s\":\"", name);
        buffer_append_json_escaped(line, text);
        buffer_append_char(line, '"');
}

static struct error *take_letter(struct collect *collect, const struct consumer_record *record) {
        struct buffer *line = &collect->line;
        if (letter_is_mark(record) || take_letters_job(collect, record) != WANTED_NEW)
                return NULL;
        buffer_clear(line);
        buffer_append_char(line, '{');
        append_member(line, "custom_id", letter_header(record, LETTER_JOB_ID));
        buffer_append_string(line, ",\"response\":null,\"error\":{");
        append_member(line, "code", letter_header(record, LETTER_CODE));
        buffer_append_char(line, ',');
        append_member(line, "message", letter_header(record, LETTER_MESSAGE));
        buffer_printf(line, "},\"dead_letter\":\"%u-%llu\"}", record->partition,
                      (unsigned long long)record->offset);
        return line->failed ? error_new(ERROR_MEMORY, "no memory for a line") : write_line(collect, true);
}

/* ---- reading ---- */

/* One record, or none within the time. */
static struct error *step(struct collect *collect, struct reader *reader, int64_t wait_ns,
                          struct error *(*take)(struct collect *, const struct consumer_record *),
                          bool *out_record, bool *out_end) {
        struct consumer_record record;
        switch (reader_next(reader, wait_ns, &record)) {
        case READER_RECORD: {
                struct error *error = take(collect, &record);
                consumer_release(&record);
                *out_record = true;
                return error;
        }
        case READER_END:
                *out_end = true;
                return NULL;
        case READER_LATER:
                return NULL;
        case READER_FAILED:
                break;
        }
        return reader_error(reader);
}

static bool is_caught_up(const struct reader *reader) {
        uint64_t read, total;
        reader_progress(reader, &read, &total);
        return read >= total;
}

static void show(struct collect *collect) {
        uint64_t read, total;
        reader_progress(collect->results, &read, &total);
        double share = total > 0 && read < total ? (double)read / (double)total : -1;
        if (collect->wanted)
                share = 1 - (double)wanted_missing(collect->wanted) / (double)wanted_count(collect->wanted);
        else if (collect->wait)
                share = (double)collect->written / (double)collect->wait;
        meter_show(&collect->meter, collect->written, share);
}

/* Nobody answers: said once, since it may be waited for for long. */
static void tell_alone(struct collect *collect) {
        char last[KAFKA_COMPLAINT_MAX];
        bool alone = reader_unanswered(collect->results);
        if (alone && !collect->told_alone) {
                kafka_options_complaint(last, sizeof(last));
                meter_clear(&collect->meter);
                say(LOG_LEVEL_WARNING, "the brokers do not answer at the moment; waiting for them%s%s%s",
                    last[0] ? " (" : "", last, last[0] ? ")" : "");
        }
        collect->told_alone = alone;
}

/* Nothing came just now. */
static struct error *rest(struct collect *collect) {
        int64_t now_ns = clock_now_ns();
        tell_alone(collect);
        struct error *error = outfile_flush(collect->out);
        if (!error && collect->failed_out)
                error = outfile_flush(collect->failed_out);
        if (collect->caught_up_ns == 0 && is_caught_up(collect->results) &&
            (!collect->letters || is_caught_up(collect->letters)))
                collect->caught_up_ns = now_ns;
        if (collect->has_timeout && collect->caught_up_ns > 0 &&
            now_ns - collect->caught_up_ns >= collect->timeout_ns)
                collect->ended = true;
        return error;
}

static struct error *read_all(struct collect *collect) {
        struct error *error = NULL;
        while (!error && !collect->ended && !ctrl_c_came()) {
                bool came = false, end = false;
                error = step(collect, collect->results, WAIT_NS, take_result, &came, &end);
                if (!error && collect->letters && !collect->ended)
                        error = step(collect, collect->letters, 0, take_letter, &came, &end);
                if (!error && !came)
                        error = rest(collect);
                collect->ended =
                        collect->ended || end || (collect->wanted && !wanted_missing(collect->wanted));
                show(collect);
        }
        return error;
}

/* ---- beginning and end ---- */

static struct error *open_outputs(struct collect *collect) {
        struct error *error = outfile_open(collect->output, collect->follow, &collect->out);
        if (!error && collect->errors)
                error = outfile_open(collect->errors, collect->follow, &collect->failed_out);
        return error;
}

static struct error *open_wanted(struct collect *collect) {
        const struct settings *settings = &collect->config->settings;
        struct job_decoder_options decoder = {.job_bytes_max = (size_t)settings->job_bytes};
        char batch[BATCH_BYTES_MAX + 1];
        submission_batch_of(collect->jobs, batch, sizeof(batch));
        struct error *error = wanted_load(collect->jobs, collect->batch ? collect->batch : batch,
                                          (size_t)settings->job_bytes, &collect->wanted);
        if (!error && wanted_bad(collect->wanted) > 0)
                say(LOG_LEVEL_WARNING, "%llu lines of %s are no jobs, and are not waited for",
                    (unsigned long long)wanted_bad(collect->wanted), collect->jobs);
        if (!error && wanted_count(collect->wanted) == 0)
                error = error_new(ERROR_INPUT, "%s has no jobs", collect->jobs);
        return error ? error : job_decoder_new(&decoder, &collect->decoder);
}

static struct error *open_readers(struct collect *collect) {
        const struct settings *settings = &collect->config->settings;
        struct error *error = kafka_options_init(&collect->kafka, collect->config, 0);
        if (error)
                return error;
        struct reader_options options = {.properties = kafka_options_properties(&collect->kafka),
                                         .topic = settings->topic_results,
                                         .client_id = "batchferry-collect",
                                         .follow = collect->follow || collect->wait || collect->jobs,
                                         .since_unix_ms = collect->since_unix_ms};
        error = reader_open(&options, &collect->results);
        options.topic = settings->topic_dead_letters;
        if (!error && collect->jobs)
                error = reader_open(&options, &collect->letters);
        return error;
}

static struct error *collect_all(struct collect *collect) {
        buffer_init(&collect->line, (size_t)collect->config->settings.response_bytes * 2 + LINE_BYTES_SPARE);
        buffer_init(&collect->batch_json, LINE_BYTES_SPARE);
        buffer_append_char(&collect->batch_json, '"');
        buffer_append_json_escaped(&collect->batch_json, bytes_of(collect->batch));
        buffer_append_char(&collect->batch_json, '"');
        struct error *error = collect->jobs ? open_wanted(collect) : NULL;
        if (!error)
                error = open_readers(collect);
        if (!error)
                error = open_outputs(collect);
        if (error)
                return error;
        meter_init(&collect->meter, "results", collect->options.quiet);
        error = read_all(collect);
        meter_clear(&collect->meter);
        if (error || (ctrl_c_came() && !collect->ended && !collect->follow))
                return error;
        error = outfile_finish(collect->out);
        return error || !collect->failed_out ? error : outfile_finish(collect->failed_out);
}

static void tell_missing(struct collect *collect) {
        struct buffer names;
        uint64_t missing = collect->wanted ? wanted_missing(collect->wanted) : 0;
        if (missing == 0)
                return;
        buffer_init(&names, 8192);
        wanted_name_missing(collect->wanted, &names);
        say(LOG_LEVEL_WARNING, "%llu of %llu jobs have no result yet: %.*s", (unsigned long long)missing,
            (unsigned long long)wanted_count(collect->wanted), (int)names.size, names.data ? names.data : "");
        buffer_deinit(&names);
}

static int tell_end(struct collect *collect) {
        char sum[160], failed[64] = "";
        bool missing = collect->wanted && wanted_missing(collect->wanted) > 0;
        bool wanting = missing || (collect->wait && collect->written < collect->wait);
        meter_sum(&collect->meter, collect->written, sum, sizeof(sum));
        if (collect->failed)
                snprintf(failed, sizeof(failed), ", %llu of them failed",
                         (unsigned long long)collect->failed);
        if (collect->foreign)
                say(LOG_LEVEL_WARNING, "%llu records of %s are no results and were passed over",
                    (unsigned long long)collect->foreign, collect->config->settings.topic_results);
        tell_missing(collect);
        if (ctrl_c_came() && !collect->ended) {
                bool kept = collect->follow || strcmp(collect->output, "-") == 0;
                say(LOG_LEVEL_INFO, "interrupted after %s%s%s", sum, failed,
                    kept ? "" : "; nothing was written (--timeout 0s takes what there is)");
                return EXIT_INTERRUPTED;
        }
        say(LOG_LEVEL_INFO, "%s%s", sum, failed);
        return collect->failed || wanting ? EXIT_JOBS_FAILED : EXIT_WELL;
}

/* Whoever read from the pipe has seen enough. */
static bool is_pipes_end(const struct collect *collect, const struct error *error) {
        return error && error->code == EPIPE && strcmp(collect->output, "-") == 0;
}

static void collect_close(struct collect *collect) {
        reader_close(collect->results);
        reader_close(collect->letters);
        outfile_close(collect->out);
        outfile_close(collect->failed_out);
        wanted_free(collect->wanted);
        job_decoder_free(collect->decoder);
        buffer_deinit(&collect->line);
        buffer_deinit(&collect->batch_json);
        config_free(collect->config);
        free(collect);
}

int cmd_collect(int argc, char **argv) {
        struct collect *collect = calloc(1, sizeof(*collect));
        int code = EXIT_WELL;
        if (!collect)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, collect);
        struct error *error = options_load(&collect->options, &collect->config);
        if (!error) {
                say_init(collect->config, collect->options.quiet, collect->options.verbose);
                ctrl_c_catch();
                error = collect_all(collect);
        }
        if (is_pipes_end(collect, error))
                error_free(error);
        else
                code = error ? kafka_options_fail(error) : tell_end(collect);
        collect_close(collect);
        return code;
}
