/*
 * One pass over the results: who got what, who would have got it from a broker that only looks for the
 * cheapest, and why not. The second half needs the catalog under which the decisions were made.
 */
#include "broker/cli/cmd_share.h"

#include "broker/base/money.h"
#include "broker/cli/redecide.h"
#include "broker/cli/results.h"
#include "broker/cli/say.h"
#include "broker/cli/table.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROVIDERS_MAX = CATALOG_PROVIDERS_MAX, CAUSES_MAX = 64, NAME_BYTES = 128 };

struct traffic {
        char name[NAME_BYTES];
        uint64_t jobs, neutral_jobs;
        int64_t cost_picousd, neutral_cost_picousd;
        bool unknown, neutral_unknown;
};

struct cause {
        const char *text;
        uint64_t jobs;
        int64_t more_picousd; /* than the neutral choice would have cost; may be below 0 */
};

struct share {
        struct input input;
        struct config *config;
        struct results results;
        struct redecision neutral;
        struct traffic traffic[PROVIDERS_MAX];
        size_t traffic_count;
        struct cause causes[CAUSES_MAX];
        size_t causes_count;
        uint64_t sent, compared, equal;
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct share *share = state->input;
        (void)value;
        if (key != ARGP_KEY_INIT)
                return ARGP_ERR_UNKNOWN;
        state->child_inputs[0] = &share->input;
        return 0;
}

static const struct argp_child children[] = {{&input_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
        NULL,
        parse,
        "RESULTS.jsonl",
        "Says which provider got how much of the traffic, how much a neutral broker would have given it, and "
        "what made the difference.\v"
        "The neutral broker knows no rules and no wishes, and takes the cheapest endpoint that serves the "
        "job's first model and holds its context, as if all were fit and had room. A difference has one "
        "cause: "
        "the code that excluded the neutral choice (a rule such as data_policy:zdr, or the moment: "
        "capacity_exhausted, breaker_open, paused), \"deadline pressure\" when it was at its limit and the "
        "job "
        "could wait no longer, \"retry after failure\", a wish (\"order\", \"sort:latency\"), \"slow\", or "
        "\"same cost\". \"more\" is what was paid beyond what the neutral choice would have cost for the "
        "same "
        "usage. Decisions that were made under another catalog than the configuration's are counted, but not "
        "compared.\n\n"
        "Exit codes: 0 all well, 1 failed, 2 wrong usage or configuration.\n\n"
        "Examples:\n"
        "  batchferry share results.jsonl\n"
        "  batchferry share results.jsonl --json | jq .causes",
        children,
        NULL,
        NULL};

static struct traffic *traffic_of(struct share *share, struct bytes provider) {
        for (size_t i = 0; i < share->traffic_count; i++)
                if (bytes_equal_string(provider, share->traffic[i].name))
                        return &share->traffic[i];
        if (share->traffic_count == PROVIDERS_MAX)
                return &share->traffic[PROVIDERS_MAX - 1];
        struct traffic *traffic = &share->traffic[share->traffic_count++];
        if (share->traffic_count == PROVIDERS_MAX)
                provider = BYTES("others"); /* all that come after it too */
        snprintf(traffic->name, sizeof traffic->name, "%.*s", (int)provider.size, provider.data);
        return traffic;
}

/* Texts of causes are literals: the same cause has the same address, or at least the same bytes. */
static struct cause *cause_of(struct share *share, const char *text) {
        for (size_t i = 0; i < share->causes_count; i++)
                if (strcmp(share->causes[i].text, text) == 0)
                        return &share->causes[i];
        if (share->causes_count == CAUSES_MAX)
                return &share->causes[CAUSES_MAX - 1];
        share->causes[share->causes_count].text = text;
        return &share->causes[share->causes_count++];
}

static void compare(struct share *share) {
        struct receipt *receipt = &share->results.receipt;
        const struct catalog *catalog = &share->config->catalog;
        struct redecision *neutral = &share->neutral;
        struct difference difference;
        if (redecide_check(catalog, receipt, &difference) != REDECIDED_SAME)
                return;
        redecide_neutral(catalog, receipt, neutral);
        if (!neutral->taken)
                return;
        const struct endpoint *wanted = &catalog->endpoints[neutral->taken->endpoint];
        struct traffic *traffic = traffic_of(share, bytes_of(catalog->providers[wanted->provider].name));
        bool same = bytes_equal_string(receipt->chosen, wanted->name);
        bool cost_known = same ? receipt->cost_known : neutral->cost_known;
        int64_t cost = same ? receipt->cost_picousd : neutral->cost_picousd;
        share->compared++;
        share->equal += same;
        traffic->neutral_jobs++;
        traffic->neutral_unknown = traffic->neutral_unknown || !cost_known;
        if (cost_known)
                traffic->neutral_cost_picousd = money_add(traffic->neutral_cost_picousd, cost);
        if (same)
                return;
        struct cause *cause = cause_of(share, redecide_cause(catalog, receipt, neutral));
        cause->jobs++;
        if (cost_known && receipt->cost_known)
                cause->more_picousd += receipt->cost_picousd - cost;
}

/* What cannot be decided again was paid all the same. */
static struct error *visit(void *userdata, uint64_t line, bool readable) {
        struct share *share = userdata;
        const struct receipt *receipt = &share->results.receipt;
        (void)line, (void)readable;
        if (receipt->provider.size == 0 || receipt->attempts == 0)
                return NULL;
        struct traffic *traffic = traffic_of(share, receipt->provider);
        share->sent++;
        traffic->jobs++;
        traffic->unknown = traffic->unknown || !receipt->cost_known;
        if (receipt->cost_known)
                traffic->cost_picousd = money_add(traffic->cost_picousd, receipt->cost_picousd);
        if (receipt->has_inputs)
                compare(share);
        return NULL;
}

/* ---- what it prints ---- */

static int by_jobs(const void *a, const void *b) {
        const struct traffic *left = a, *right = b;
        if (left->jobs != right->jobs)
                return left->jobs > right->jobs ? -1 : 1;
        return strcmp(left->name, right->name);
}

static int by_count(const void *a, const void *b) {
        const struct cause *left = a, *right = b;
        if (left->jobs != right->jobs)
                return left->jobs > right->jobs ? -1 : 1;
        return strcmp(left->text, right->text);
}

/* Hundredths of a percent, so that no floating point stands in a report. */
static uint64_t part(uint64_t count, uint64_t whole) {
        return whole > 0 ? (uint64_t)((double)count / (double)whole * 10000 + 0.5) : 0;
}

static void add_share(struct table *table, uint64_t count, uint64_t whole) {
        uint64_t share = part(count, whole);
        table_cell(table, "%llu.%02llu %%", (unsigned long long)(share / 100),
                   (unsigned long long)(share % 100));
}

static void print_traffic(const struct share *share, struct buffer *out) {
        static const char *const headers[] = {"provider", "jobs",          "share",       "cost",
                                              "neutral",  "neutral share", "neutral cost"};
        static const bool right[] = {false, true, true, true, true, true, true};
        struct table table;
        table_init(&table, headers, right, 7);
        for (size_t i = 0; i < share->traffic_count; i++) {
                const struct traffic *traffic = &share->traffic[i];
                table_cell(&table, "%s", traffic->name);
                table_count(&table, traffic->jobs);
                add_share(&table, traffic->jobs, share->sent);
                table_sum(&table, !traffic->unknown, traffic->cost_picousd);
                table_count(&table, traffic->neutral_jobs);
                add_share(&table, traffic->neutral_jobs, share->compared);
                table_sum(&table, !traffic->neutral_unknown, traffic->neutral_cost_picousd);
        }
        table_finish(&table, out);
}

static void print_causes(const struct share *share, struct buffer *out) {
        static const char *const headers[] = {"cause", "jobs", "share", "more"};
        static const bool right[] = {false, true, true, true};
        struct table table;
        table_init(&table, headers, right, 4);
        for (size_t i = 0; i < share->causes_count; i++) {
                table_cell(&table, "%s", share->causes[i].text);
                table_count(&table, share->causes[i].jobs);
                add_share(&table, share->causes[i].jobs, share->compared);
                table_money(&table, true, share->causes[i].more_picousd);
        }
        table_finish(&table, out);
}

static void print_text(const struct share *share, struct buffer *out) {
        print_traffic(share, out);
        buffer_printf(out, "\n%llu of %llu compared jobs went where a neutral broker would have sent them\n",
                      (unsigned long long)share->equal, (unsigned long long)share->compared);
        if (share->causes_count > 0)
                print_causes(share, out);
        if (share->compared < share->sent)
                buffer_printf(
                        out, "%llu were decided under another catalog, or without a record: not compared\n%s",
                        (unsigned long long)(share->sent - share->compared),
                        share->compared > 0 ? "" : "give the configuration that was in force with -c FILE\n");
        if (share->results.strange > 0)
                buffer_printf(out, "%llu lines are no results\n", (unsigned long long)share->results.strange);
}

static void print_json(const struct share *share, struct buffer *out) {
        buffer_append_char(out, '{');
        json_count(out, "results", share->results.lines);
        json_count(out, "no_results", share->results.strange);
        json_count(out, "jobs", share->sent);
        json_count(out, "compared", share->compared);
        json_count(out, "as_neutral", share->equal);
        json_name(out, "providers");
        buffer_append_char(out, '[');
        for (size_t i = 0; i < share->traffic_count; i++) {
                const struct traffic *traffic = &share->traffic[i];
                json_comma(out);
                buffer_append_char(out, '{');
                json_string(out, "provider", bytes_of(traffic->name));
                json_count(out, "jobs", traffic->jobs);
                json_money(out, "cost_usd", !traffic->unknown, traffic->cost_picousd);
                json_count(out, "neutral_jobs", traffic->neutral_jobs);
                json_money(out, "neutral_cost_usd", !traffic->neutral_unknown, traffic->neutral_cost_picousd);
                buffer_append_char(out, '}');
        }
        buffer_append_char(out, ']');
        json_name(out, "causes");
        buffer_append_char(out, '[');
        for (size_t i = 0; i < share->causes_count; i++) {
                json_comma(out);
                buffer_append_char(out, '{');
                json_string(out, "cause", bytes_of(share->causes[i].text));
                json_count(out, "jobs", share->causes[i].jobs);
                json_money(out, "more_usd", true, share->causes[i].more_picousd);
                buffer_append_char(out, '}');
        }
        buffer_append_string(out, "]}\n");
}

static struct error *print_report(struct share *share) {
        struct buffer out;
        buffer_init(&out, (size_t)64 << 20);
        qsort(share->traffic, share->traffic_count, sizeof *share->traffic, by_jobs);
        qsort(share->causes, share->causes_count, sizeof *share->causes, by_count);
        if (share->input.json)
                print_json(share, &out);
        else
                print_text(share, &out);
        struct error *error = table_print(&out);
        buffer_deinit(&out);
        return error;
}

int cmd_share(int argc, char **argv) {
        struct share *share = calloc(1, sizeof *share);
        if (!share)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        share->input.missing = "which results? give what run or collect wrote, or - for standard input";
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, share);
        struct error *error = options_load(&share->input.options, &share->config);
        if (!error) {
                say_init(share->config, share->input.options.quiet, share->input.options.verbose);
                error = results_each(&share->results, &share->input, visit, share);
        }
        if (!error)
                error = print_report(share);
        int code = error ? options_fail(error) : EXIT_WELL;
        config_free(share->config);
        free(share);
        return code;
}
