#include "broker/cli/cmd_submit.h"

#include "broker/base/time.h"
#include "broker/cli/ctrl_c.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/meter.h"
#include "broker/cli/options.h"
#include "broker/cli/say.h"
#include "broker/cli/submission.h"
#include "broker/kafka/writer.h"

#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BATCH = 512, KEY_FORMAT, KEY_STRICT, KEY_DRY_RUN };
enum { BAD_SHOWN_MAX = 10, WAIT_MS = 200 };
#define ASK_NS     (15 * NS_PER_S)
#define LEAVE_NS   (10 * NS_PER_S) /* for what is under way when somebody stops it */
#define TROUBLE_NS (5 * NS_PER_S)  /* without an acknowledgement */

struct submit {
        struct options options;
        const char *input, *batch;
        bool msgpack, strict, dry_run;
        char batch_of_input[BATCH_BYTES_MAX + 1];
        struct config *config;
        struct kafka_options kafka;
        struct submission *submission;
        struct writer *writer; /* NULL: nothing is sent */
        uint32_t partitions;
        uint64_t jobs, bytes, bad;
        uint64_t acknowledged; /* since moved_ns */
        int64_t moved_ns;      /* 0: never asked */
        bool told;             /* that nothing gets on */
        struct source *source; /* while it is read */
        struct meter meter;
};

static const struct argp_option known[] = {
        {"batch", KEY_BATCH, "NAME", 0,
         "Batch of jobs that name none (default: the file's name; stdin for -)", 1},
        {"format", KEY_FORMAT, "json|msgpack", 0, "How the values are written (default: json)", 1},
        {"strict", KEY_STRICT, NULL, 0, "Send nothing if any line is no job", 1},
        {"dry-run", KEY_DRY_RUN, NULL, 0, "Read and check everything, send nothing", 1},
        {0},
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct submit *submit = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &submit->options;
                return 0;
        case KEY_BATCH:
                submit->batch = value;
                return 0;
        case KEY_FORMAT:
                submit->msgpack = strcmp(value, "msgpack") == 0;
                if (!submit->msgpack && strcmp(value, "json") != 0)
                        argp_error(state, "--format is json or msgpack, not \"%s\"", value);
                return 0;
        case KEY_STRICT:
                submit->strict = true;
                return 0;
        case KEY_DRY_RUN:
                submit->dry_run = true;
                return 0;
        case ARGP_KEY_ARG:
                if (submit->input)
                        argp_error(state, "one input at a time; \"%s\" is a second one", value);
                submit->input = value;
                return 0;
        case ARGP_KEY_END:
                if (!submit->input)
                        argp_error(state, "which jobs? give a JSONL file, or - for standard input");
                else if (submit->strict && strcmp(submit->input, "-") == 0)
                        argp_error(state, "--strict reads the input twice: give a file, not standard input");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        known,
        parse,
        "JOBS.jsonl",
        "Sends every job of a JSONL file to the jobs topic, for `batchferry worker` to do.\v"
        "The key of a record is the job's idempotency_key or, without one, its batch and custom_id; the "
        "partition "
        "is the one that the key names. So it is safe to send a file again, after an interruption or a "
        "doubt: the "
        "same key is one job, done once. A line that is no job is named and not sent.\n\n"
        "Which cluster and topic: kafka.bootstrap.servers and topics.jobs of the configuration. Fetch the "
        "results "
        "with `batchferry collect`.\n\n"
        "Exit codes: 0 all sent, 1 failed, 2 wrong usage or configuration, 3 all jobs sent, but some lines "
        "are no "
        "jobs, 130 interrupted.\n\n"
        "Examples:\n"
        "  batchferry submit jobs.jsonl --set kafka.bootstrap.servers=localhost:9092\n"
        "  make-jobs | batchferry submit - --batch corpus-7",
        children,
        NULL,
        NULL};

static void tell_bad(struct submit *submit, uint64_t line, const char *problem) {
        if (submit->bad++ >= BAD_SHOWN_MAX)
                return;
        meter_clear(&submit->meter);
        say(LOG_LEVEL_ERROR, "%s line %llu: %s", submit->input, (unsigned long long)line, problem);
}

static struct error *send_job(struct submit *submit, const struct submitted *job) {
        const struct kafka_header header = {BYTES("content-type"), submit->msgpack
                                                                           ? BYTES("application/msgpack")
                                                                           : BYTES("application/json")};
        struct producer_message message = {
                .topic = submit->config->settings.topic_jobs,
                .partition = (int32_t)client_partition_of(job->key, submit->partitions),
                .has_key = true,
                .has_value = true,
                .key = job->key,
                .value = job->value,
                .headers = &header,
                .headers_count = 1,
        };
        switch (writer_send(submit->writer, &message)) {
        case PRODUCER_SENT:
                return NULL;
        case PRODUCER_TOO_LARGE:
                return error_new(ERROR_USAGE,
                                 "a job of %zu bytes is larger than kafka.message.max.bytes allows: "
                                 "raise it above limits.job_bytes",
                                 job->value.size);
        case PRODUCER_BROKEN:
                break;
        }
        if (ctrl_c_came())
                return NULL;
        struct error *error = writer_error(submit->writer);
        return error ? error : error_new(ERROR_NETWORK, "the cluster takes no more records");
}

static struct error *take_line(struct submit *submit, const struct source_line *line) {
        struct submitted job;
        switch (submission_read(submit->submission, line, false, &job)) {
        case SUBMISSION_NO_MEMORY:
                return error_new(ERROR_MEMORY, "no memory for line %llu", (unsigned long long)line->line);
        case SUBMISSION_BAD:
                tell_bad(submit, line->line, job.problem);
                return NULL;
        case SUBMISSION_JOB:
                break;
        }
        submit->jobs++;
        submit->bytes += job.value.size;
        return submit->writer ? send_job(submit, &job) : NULL;
}

/* Nothing gets on for a while: said once, since it may be waited for for minutes. */
static void tell_trouble(struct submit *submit) {
        char last[KAFKA_COMPLAINT_MAX];
        int64_t now_ns = clock_now_ns();
        uint64_t acknowledged = writer_acknowledged(submit->writer);
        if (acknowledged != submit->acknowledged || acknowledged == submit->jobs || submit->moved_ns == 0) {
                submit->acknowledged = acknowledged;
                submit->moved_ns = now_ns;
                submit->told = false;
        }
        if (submit->told || now_ns - submit->moved_ns < TROUBLE_NS)
                return;
        kafka_options_complaint(last, sizeof(last));
        if (!last[0])
                return;
        submit->told = true;
        meter_clear(&submit->meter);
        say(LOG_LEVEL_WARNING, "the brokers take nothing at the moment; waiting for them (%s)", last);
}

static void show(struct submit *submit) {
        uint64_t bytes = source_bytes(submit->source);
        uint64_t done = submit->writer ? writer_acknowledged(submit->writer) : submit->jobs;
        if (submit->writer)
                tell_trouble(submit);
        meter_show(&submit->meter, done, bytes ? (double)source_offset(submit->source) / (double)bytes : -1);
}

/* The queue is full. */
static bool wait_for_room(void *userdata) {
        show(userdata);
        return !ctrl_c_came();
}

static struct error *take_lines(struct submit *submit, struct source *source) {
        struct error *error = NULL;
        submit->source = source;
        while (!error && !ctrl_c_came()) {
                struct source_line line;
                switch (source_next(source, &line)) {
                case SOURCE_LINE:
                        error = take_line(submit, &line);
                        source_settled(source, line.sequence);
                        break;
                case SOURCE_LATER: {
                        struct pollfd poll_fd = {.fd = source_fd(source), .events = POLLIN};
                        poll(&poll_fd, 1, WAIT_MS);
                        break;
                }
                case SOURCE_FAILED:
                        return source_error(source);
                case SOURCE_END:
                        return NULL;
                }
                show(submit);
        }
        return error;
}

static struct error *read_input(struct submit *submit) {
        struct source_options options = {.path = submit->input,
                                         .line_max = (size_t)submit->config->settings.job_bytes};
        struct source *source = NULL;
        struct error *error = source_open(&options, &source);
        submit->jobs = submit->bytes = submit->bad = 0;
        if (!error)
                error = take_lines(submit, source);
        source_close(source);
        return error;
}

/* Until all is acknowledged; once somebody stops it, not for ever. */
static struct error *finish(struct submit *submit) {
        int64_t leave_ns = 0;
        for (;;) {
                struct error *error = writer_flush(submit->writer, WAIT_MS * NS_PER_MS);
                if (!error || error->code != ETIMEDOUT)
                        return error;
                if (ctrl_c_came() && leave_ns == 0) {
                        leave_ns = clock_now_ns() + LEAVE_NS;
                        meter_clear(&submit->meter);
                        say(LOG_LEVEL_INFO,
                            "finishing what is under way, for %d s at the most; once more "
                            "stops at once",
                            (int)(LEAVE_NS / NS_PER_S));
                }
                error_free(error);
                if (leave_ns > 0 && clock_now_ns() > leave_ns)
                        return NULL; /* tell_end() says how far it came */
                tell_trouble(submit);
                meter_show(&submit->meter, writer_acknowledged(submit->writer),
                           (double)writer_acknowledged(submit->writer) / (double)submit->jobs);
        }
}

static int tell_end(struct submit *submit) {
        char sum[160], bad[80] = "";
        meter_clear(&submit->meter);
        if (submit->bad > BAD_SHOWN_MAX)
                say(LOG_LEVEL_ERROR, "and %llu more", (unsigned long long)(submit->bad - BAD_SHOWN_MAX));
        if (submit->bad)
                snprintf(bad, sizeof(bad), "; %llu lines are no jobs", (unsigned long long)submit->bad);
        if (!submit->writer) {
                printf("%llu jobs, %llu bytes, would be sent to %s%s. Nothing was sent.\n",
                       (unsigned long long)submit->jobs, (unsigned long long)submit->bytes,
                       submit->config->settings.topic_jobs, bad);
                return submit->bad ? EXIT_JOBS_FAILED : EXIT_WELL;
        }
        meter_sum(&submit->meter, writer_acknowledged(submit->writer), sum, sizeof(sum));
        if (ctrl_c_came()) {
                say(LOG_LEVEL_INFO,
                    "interrupted: %s are sent%s; send the file again to go on (the same jobs are done "
                    "once)",
                    sum, bad);
                return EXIT_INTERRUPTED;
        }
        say(LOG_LEVEL_INFO, "%s sent to %s, %u partitions%s", sum, submit->config->settings.topic_jobs,
            submit->partitions, bad);
        return submit->bad ? EXIT_JOBS_FAILED : EXIT_WELL;
}

static struct error *check_first(struct submit *submit) {
        struct error *error = read_input(submit);
        if (error || submit->bad == 0 || ctrl_c_came())
                return error;
        meter_clear(&submit->meter);
        unsigned long long bad = submit->bad, all = bad + submit->jobs;
        return error_new(ERROR_INPUT, "%llu of %llu lines are no jobs; nothing was sent (--strict)", bad,
                         all);
}

static struct error *open_writer(struct submit *submit) {
        const struct settings *settings = &submit->config->settings;
        struct error *error = kafka_options_init(&submit->kafka, submit->config, settings->job_bytes);
        if (error)
                return error;
        struct writer_options options = {.properties = kafka_options_properties(&submit->kafka),
                                         .client_id = "batchferry-submit",
                                         .wait = wait_for_room,
                                         .wait_userdata = submit};
        error = writer_open(&options, &submit->writer);
        if (!error)
                error = writer_partitions(submit->writer, settings->topic_jobs, ASK_NS, &submit->partitions);
        return error;
}

static struct error *submit_all(struct submit *submit) {
        struct submission_options options = {.batch = submit->batch,
                                             .job_bytes_max = (size_t)submit->config->settings.job_bytes,
                                             .msgpack = submit->msgpack};
        struct error *error = submission_new(&options, &submit->submission);
        if (!error && submit->strict)
                error = check_first(submit);
        if (error || (submit->strict && submit->dry_run))
                return error;
        if (!submit->dry_run)
                error = open_writer(submit);
        meter_init(&submit->meter, "jobs", submit->options.quiet);
        if (!error)
                error = read_input(submit);
        if (!error && submit->writer)
                error = finish(submit);
        if (error && submit->writer && writer_acknowledged(submit->writer) > 0)
                error = error_wrap(error, "stopped after %llu jobs; send the file again to go on",
                                   (unsigned long long)writer_acknowledged(submit->writer));
        return error;
}

int cmd_submit(int argc, char **argv) {
        struct submit *submit = calloc(1, sizeof(*submit));
        if (!submit)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, submit);
        submission_batch_of(submit->input, submit->batch_of_input, sizeof(submit->batch_of_input));
        if (!submit->batch)
                submit->batch = submit->batch_of_input;
        struct error *error = options_load(&submit->options, &submit->config);
        if (!error) {
                say_init(submit->config, submit->options.quiet, submit->options.verbose);
                ctrl_c_catch();
                meter_init(&submit->meter, "lines", submit->options.quiet);
                error = submit_all(submit);
                meter_clear(&submit->meter);
        }
        int code = error ? kafka_options_fail(error) : tell_end(submit);
        submission_free(submit->submission);
        writer_close(submit->writer);
        config_free(submit->config);
        free(submit);
        return code;
}
