#include "broker/cli/cmd_quote.h"

#include "broker/base/time.h"
#include "broker/cli/assemble.h"
#include "broker/cli/input.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/say.h"
#include "broker/cli/table.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LATENCY = 512, KEY_AT, KEY_LOCAL };

struct quoting {
        struct input input;
        int64_t latency_ns, at_unix_ms;
        bool local;
        struct config *config;
        struct assembly assembly;
};

static const struct argp_option known[] = {
        {"latency", KEY_LATENCY, "DURATION", 0,
         "How long a call takes (default: 1 s and a second for each 60 tokens of output)", 1},
        {"at", KEY_AT, "TIME", 0, "At the prices of that time, RFC 3339 (default: now)", 1},
        {"local", KEY_LOCAL, NULL, 0,
         "Budgets by the state directory, also where the configuration names a Kafka cluster", 1},
        {0},
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct quoting *quoting = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &quoting->input;
                return 0;
        case KEY_LATENCY:
                if (!duration_parse(bytes_of(value), &quoting->latency_ns) || quoting->latency_ns <= 0)
                        argp_error(state, "--latency takes a duration such as 800ms or 5s, not \"%s\"",
                                   value);
                return 0;
        case KEY_AT:
                if (!rfc3339_parse(bytes_of(value), &quoting->at_unix_ms))
                        argp_error(state, "--at takes a time such as 2026-11-23T06:00:00Z, not \"%s\"",
                                   value);
                return 0;
        case KEY_LOCAL:
                quoting->local = true;
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&input_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
        known,
        parse,
        "JOBS.jsonl",
        "Says what the jobs of a file will cost and how long they will take, by provider and model, before "
        "anything is sent. Calls nobody and writes nothing.\v"
        "Each job counts at the endpoint that is the best for it by the rules in force, when all are fit and "
        "have room. Cost: \"low\" is half of the estimated input (estimates are upper ones) and a quarter of "
        "the expected output; \"expected\" the estimated input and 256 tokens of output, or what the job "
        "allows "
        "if that is less; \"at most\" all output that it allows, for one call. Where no price is known the "
        "job "
        "is counted under \"unknown price\" and in no sum. Duration: the tightest of the provider's limits "
        "(requests, tokens, audio, images, concurrency) and limits.in_flight; providers work at the same "
        "time. "
        "Where there are budgets, what they have left is held against that: with a Kafka cluster in the "
        "configuration that of all workers together, by the state topic, else that of `run`, by the state "
        "directory. "
        "Audio that is only referred to is compared as a minute, and has no ceiling. `run --dry-run` says "
        "the same, of the state directory.\n\n"
        "Exit codes: 0 all well, 1 failed, 2 wrong usage or configuration.\n\n"
        "Examples:\n"
        "  batchferry quote jobs.jsonl\n"
        "  batchferry quote jobs.jsonl -c batchferry.yaml --latency 3s\n"
        "  batchferry quote jobs.jsonl --json | jq .total.expected_usd",
        children,
        NULL,
        NULL};

struct error *quote_input(const struct scan_options *scan, const struct quote_options *options, bool json,
                          uint64_t *out_jobs, uint64_t *out_bad) {
        struct scan_options scanned = *scan;
        struct buffer out;
        struct error *error = quote_new(options, &scanned.quote);
        buffer_init(&out, (size_t)64 << 20);
        if (!error)
                error = scan_input(&scanned, out_jobs, out_bad);
        if (!error && json)
                quote_print_json(scanned.quote, &out);
        else if (!error)
                quote_print(scanned.quote, &out);
        if (!error)
                error = table_print(&out);
        buffer_deinit(&out);
        quote_free(scanned.quote);
        return error;
}

static struct error *quote_command(struct quoting *quoting) {
        struct error *error = options_load(&quoting->input.options, &quoting->config);
        if (!error)
                error = assemble(quoting->config, NULL, &quoting->assembly);
        if (error)
                return error;
        say_init(quoting->config, quoting->input.options.quiet, quoting->input.options.verbose);
        uint64_t jobs, bad;
        struct scan_options scan = {.input = quoting->input.path,
                                    .decoder = assemble_decoder(&quoting->assembly, quoting->input.path),
                                    .quiet = quoting->input.options.quiet};
        struct quote_options options = {.config = quoting->config,
                                        .latency_ns = quoting->latency_ns,
                                        .at_unix_ms = quoting->at_unix_ms,
                                        .workers = kafka_options_named(quoting->config) && !quoting->local};
        return quote_input(&scan, &options, quoting->input.json, &jobs, &bad);
}

int cmd_quote(int argc, char **argv) {
        struct quoting *quoting = calloc(1, sizeof *quoting);
        if (!quoting)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        quoting->input.missing = "which jobs? give a JSONL file, or - for standard input";
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, quoting);
        if (quoting->at_unix_ms == 0)
                quoting->at_unix_ms = clock_now_unix_ms();
        struct error *error = quote_command(quoting);
        int code = error ? kafka_options_fail(error) : EXIT_WELL;
        config_free(quoting->config);
        free(quoting);
        return code;
}
