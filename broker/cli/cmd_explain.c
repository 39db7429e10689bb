/*
 * The decision for a job as routing would make it with endpoints that nobody has called yet: what depends on
 * their state (limits, health, speed) is not known here, and the output says so.
 */
#include "broker/cli/cmd_explain.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/cli/assemble.h"
#include "broker/cli/input.h"
#include "broker/cli/price_gap.h"
#include "broker/cli/redecide.h"
#include "broker/cli/rule_text.h"
#include "broker/cli/say.h"
#include "broker/cli/table.h"
#include "broker/wire/decision.h"
#include "broker/wire/job.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_AT = 512 };
enum { REPORT_BYTES_MAX = 1 << 20 };

struct explaining {
        struct input input;
        int64_t at_unix_ms;
        struct config *config;
        struct assembly assembly;
        struct job_decoder *decoder;
        struct buffer out;
        uint64_t jobs, bad, unroutable;
        /* of the job at hand */
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route route;
};

static const struct argp_option known[] = {
        {"at", KEY_AT, "TIME", 0, "At the prices of that time, RFC 3339 (default: now)", 1},
        {0},
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct explaining *explaining = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &explaining->input;
                return 0;
        case KEY_AT:
                if (!rfc3339_parse(bytes_of(value), &explaining->at_unix_ms))
                        argp_error(state, "--at takes a time such as 2026-11-23T06:00:00Z, not \"%s\"",
                                   value);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&input_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
        known,
        parse,
        "JOB.json",
        "Shows the routing decision for a job: the endpoints in the order in which they would be tried, what "
        "each is expected to cost and could cost at most, what excludes the others, and which rules are in "
        "force. For each line of a JSONL file. Calls nobody.\v"
        "All endpoints are taken to be fit, with room, and never called: a decision in a run also looks at "
        "limits, health and measured speed, and stands in the receipt of each result (`batchferry "
        "replay`).\n\n"
        "Exit codes: 0 all well, 1 failed, 2 wrong usage or configuration, 3 a line is no job, or nobody can "
        "take it.\n\n"
        "Examples:\n"
        "  batchferry explain job.json\n"
        "  head -1 jobs.jsonl | batchferry explain - --at 2026-11-23T02:00:00Z\n"
        "  batchferry explain jobs.jsonl --json | jq .chosen",
        children,
        NULL,
        NULL};

static const struct catalog *catalog_of(const struct explaining *explaining) {
        return &explaining->config->catalog;
}

static const char *candidate_name(const struct explaining *explaining, uint32_t at) {
        return catalog_of(explaining)->endpoints[explaining->route.candidates[at].endpoint].name;
}

static void decide(struct explaining *explaining, const struct job_spec *job) {
        const struct route_moment moment = {.now_unix_ms = explaining->at_unix_ms,
                                            .call_ms = explaining->config->settings.timeout_total / NS_PER_MS,
                                            .seed = job->key.lo};
        route_match(catalog_of(explaining), &job->demand, &explaining->set);
        redecide_fresh(&explaining->set, explaining->states);
        route_rank(catalog_of(explaining), &job->demand, &explaining->set, explaining->states, &moment,
                   &explaining->route);
}

/* Of two that differ in nothing that comes before the measure. */
static const char *reason_of_measure(const struct demand *demand, const struct candidate *first,
                                     const struct candidate *second) {
        bool by_price = demand->prefs.sort == SORT_PRICE;
        if (first->shares && second->shares)
                return "it was drawn, by the job's key, among those that `spread` lets share the jobs";
        if (!by_price && (first->measure_known != second->measure_known || first->measure != second->measure))
                return "it comes first by the `sort` that is in force";
        if (first->cost_known != second->cost_known)
                return "it is the only one of the first two whose price is known";
        if (!first->cost_known)
                return "nobody's price is known, and it comes first in the configuration";
        if (first->cost_expected_picousd < second->cost_expected_picousd)
                return by_price ? "it is expected to cost the least"
                                : "nothing that `sort` looks at tells it from the next one, and it is "
                                  "expected "
                                  "to cost less";
        if (first->model != second->model)
                return "it costs the same as the next one, and serves the model that the job names first";
        return "it costs the same as the next one, and the draw by the job's key put it first";
}

/* The first two decide: what put the first before the second. */
static void append_reason(const struct explaining *explaining, const struct demand *demand,
                          struct buffer *out) {
        const struct candidate *first = &explaining->route.candidates[0], *second = first + 1;
        const char *reason;
        if (explaining->route.usable == 1)
                reason = "it is the only one that may take the job";
        else if (first->group >> 8 != second->group >> 8)
                reason = "it serves the model that the job names first";
        else if (first->group != second->group)
                reason = "`order` puts it first";
        else if (first->penalties == second->penalties)
                reason = reason_of_measure(demand, first, second);
        else
                reason = NULL;
        if (reason)
                buffer_append_string(out, reason);
        else
                buffer_printf(out, "%s comes behind it: %s", candidate_name(explaining, 1),
                              redecide_penalty(second->penalties & ~first->penalties)->meaning);
}

static void append_why(const struct explaining *explaining, const struct job_spec *job, struct buffer *out) {
        const struct route *route = &explaining->route;
        if (route->usable > 0) {
                buffer_printf(out, "%s is chosen: ", candidate_name(explaining, 0));
                append_reason(explaining, &job->demand, out);
        } else if (route->count > 0)
                buffer_printf(out, "nobody can take it: it would end as %s",
                              failure_text(pick_refusal(route)));
        else
                buffer_printf(out, "no configured provider serves this model at this url: it would end as %s",
                              failure_text(FAILURE_NO_PROVIDER));
}

/* ---- text ---- */

/* What a rule excludes is not sorted. */
static bool is_scored(const struct candidate *candidate) {
        return !exclusion_is_hard(candidate->excluded_by);
}

/* Nobody was called, so speed is not known; quality and score count from above. */
static void add_sorted_by(struct table *table, enum sort_by sort, const struct candidate *candidate) {
        const char *name = sort == SORT_BALANCED ? "score" : decision_sort_text(sort);
        if (sort == SORT_PRICE || !is_scored(candidate))
                table_cell(table, "%s", sort == SORT_PRICE ? "cost" : "");
        else if (candidate->measure_known)
                table_cell(table, "%s %lld", name, (long long)-candidate->measure);
        else
                table_cell(table, "%s unknown", name);
}

/* Why not, or why later; where that is for a price that is not known, which one. */
static void append_meaning(const struct explaining *explaining, const struct job_spec *job,
                           const struct candidate *candidate, struct buffer *out) {
        const struct penalty_words *penalty = redecide_penalty(candidate->penalties);
        enum exclusion why = candidate->excluded_by;
        bool of_price = why == EXCLUSION_UNKNOWN_PRICE || why == EXCLUSION_MAX_PRICE ||
                        why == EXCLUSION_MAX_COST || (penalty && penalty->penalty == PENALTY_UNKNOWN_PRICE);
        buffer_append_string(out,
                             why == EXCLUSION_NONE && penalty ? penalty->meaning : exclusion_meaning(why));
        if (of_price && !candidate->cost_known)
                price_gap_append(out, &catalog_of(explaining)->endpoints[candidate->endpoint], &job->demand,
                                 explaining->at_unix_ms);
}

static void add_meaning(const struct explaining *explaining, const struct job_spec *job,
                        const struct candidate *candidate, struct table *table) {
        struct buffer text;
        buffer_init(&text, 4096);
        append_meaning(explaining, job, candidate, &text);
        bool later = candidate->excluded_by == EXCLUSION_NONE && candidate->penalties != 0;
        table_cell(table, "%s%.*s", later ? "comes later: " : "", (int)text.size, text.data);
        buffer_deinit(&text);
}

static void print_candidates(const struct explaining *explaining, const struct job_spec *job,
                             struct buffer *out) {
        static const char *const headers[] = {"",        "endpoint",  "model",       "expected",
                                              "at most", "sorted by", "excluded by", "meaning"};
        static const bool right[] = {true, false, false, true, true, false, false, false};
        const struct route *route = &explaining->route;
        struct table table;
        table_init(&table, headers, right, 8);
        for (uint32_t i = 0; i < route->count; i++) {
                const struct candidate *candidate = &route->candidates[i];
                if (i < route->usable)
                        table_cell(&table, "%u", i + 1);
                else
                        table_cell(&table, "-");
                table_cell(&table, "%s", candidate_name(explaining, i));
                table_bytes(&table, job->demand.models[candidate->model]);
                table_money(&table, candidate->cost_known, candidate->cost_expected_picousd);
                table_money(&table, candidate->ceiling_known, candidate->cost_ceiling_picousd);
                add_sorted_by(&table, job->demand.prefs.sort, candidate);
                table_cell(&table, "%s", exclusion_text(candidate->excluded_by));
                add_meaning(explaining, job, candidate, &table);
        }
        if (route->count > 0)
                table_finish(&table, out);
        else
                buffer_deinit(&table.text);
        if (route->truncated)
                buffer_printf(out, "more endpoints serve it; the %d closest are looked at\n",
                              ROUTE_CANDIDATES_MAX);
}

static void print_rule(void *userdata, const struct rule_text *rule) {
        struct buffer *out = userdata;
        buffer_printf(out, "    %s: %.*s (%s)\n", rule->name, (int)rule->value.size, rule->value.data,
                      rule->layer);
}

static const struct routing_prefs *workspace_prefs(const struct explaining *explaining,
                                                   const struct demand *demand) {
        const struct catalog *catalog = catalog_of(explaining);
        return demand->workspace < catalog->workspaces_count ? &catalog->workspaces[demand->workspace].prefs
                                                             : NULL;
}

static void print_job(struct explaining *explaining, const struct job_spec *job) {
        struct buffer *out = &explaining->out;
        const struct demand *demand = &job->demand;
        buffer_printf(out, "%.*s: %s, %lld tokens of input estimated", (int)job->custom_id.size,
                      job->custom_id.data, kind_facts[demand->kind].url, (long long)demand->input_tokens);
        if (demand->output_tokens_max >= 0)
                buffer_printf(out, ", at most %lld of output", (long long)demand->output_tokens_max);
        buffer_append_string(out, ", at ");
        rfc3339_append(out, explaining->at_unix_ms);
        buffer_printf(out, ", catalog %s, policy %016llx, seed %016llx\n", catalog_of(explaining)->id,
                      (unsigned long long)job->class_key.hi, (unsigned long long)job->key.lo);
        print_candidates(explaining, job, out);
        append_why(explaining, job, out);
        size_t start = out->size;
        buffer_append_string(out, "\nRules in force:\n");
        size_t rules = out->size;
        rule_texts(demand, &explaining->config->prefs, workspace_prefs(explaining, demand), print_rule, out);
        if (out->size == rules) {
                out->size = start;
                buffer_append_string(out, "\nRules in force: none\n");
        }
}

/* ---- JSON ---- */

static void append_candidate(struct explaining *explaining, const struct job_spec *job, uint32_t at) {
        const struct candidate *candidate = &explaining->route.candidates[at];
        struct buffer *out = &explaining->out, meaning;
        buffer_init(&meaning, 4096);
        append_meaning(explaining, job, candidate, &meaning);
        json_comma(out);
        buffer_append_char(out, '{');
        json_string(out, "endpoint", bytes_of(candidate_name(explaining, at)));
        json_string(out, "model", job->demand.models[candidate->model]);
        json_money(out, "cost_usd", candidate->cost_known, candidate->cost_expected_picousd);
        json_money(out, "ceiling_usd", candidate->ceiling_known, candidate->cost_ceiling_picousd);
        if (candidate->excluded_by != EXCLUSION_NONE)
                json_string(out, "excluded_by", bytes_of(exclusion_text(candidate->excluded_by)));
        if (is_scored(candidate) && candidate->measure_known)
                decision_append_measure(out, job->demand.prefs.sort, candidate->measure);
        if (is_scored(candidate))
                decision_append_penalties(out, candidate->penalties);
        if (meaning.size > 0)
                json_string(out, "meaning", buffer_view(&meaning));
        buffer_append_char(out, '}');
        buffer_deinit(&meaning);
}

static void append_rule(void *userdata, const struct rule_text *rule) {
        struct buffer *out = userdata;
        json_comma(out);
        buffer_append_char(out, '{');
        json_string(out, "rule", bytes_of(rule->name));
        json_string(out, "value", rule->value);
        json_string(out, "from", bytes_of(rule->layer));
        buffer_append_char(out, '}');
}

/* As in a receipt; numbers of 64 bits are text. */
static void append_hashes(const struct explaining *explaining, const struct job_spec *job,
                          struct buffer *out) {
        char text[24];
        struct buffer at;
        buffer_init(&at, 64);
        rfc3339_append(&at, explaining->at_unix_ms);
        json_string(out, "at", buffer_view(&at));
        buffer_deinit(&at);
        snprintf(text, sizeof text, "%016llx", (unsigned long long)job->class_key.hi);
        json_string(out, "policy", bytes_of(text));
        json_string(out, "catalog", bytes_of(catalog_of(explaining)->id));
        snprintf(text, sizeof text, "%016llx", (unsigned long long)job->key.lo);
        json_string(out, "seed", bytes_of(text));
}

static void append_job(struct explaining *explaining, const struct job_spec *job) {
        struct buffer *out = &explaining->out, why;
        const struct route *route = &explaining->route;
        buffer_init(&why, 4096);
        append_why(explaining, job, &why);
        buffer_append_char(out, '{');
        json_string(out, "custom_id", job->custom_id);
        append_hashes(explaining, job, out);
        json_string(out, "sort", bytes_of(decision_sort_text(job->demand.prefs.sort)));
        json_name(out, "chosen");
        if (route->usable > 0) {
                buffer_append_char(out, '"');
                buffer_append_json_escaped(out, bytes_of(candidate_name(explaining, 0)));
                buffer_append_char(out, '"');
        } else {
                buffer_append_string(out, "null");
        }
        json_string(out, "why", buffer_view(&why));
        json_name(out, "candidates");
        buffer_append_char(out, '[');
        for (uint32_t i = 0; i < route->count; i++)
                append_candidate(explaining, job, i);
        buffer_append_char(out, ']');
        json_name(out, "rules");
        buffer_append_char(out, '[');
        rule_texts(&job->demand, &explaining->config->prefs, workspace_prefs(explaining, &job->demand),
                   append_rule, out);
        buffer_append_string(out, "]}\n");
        buffer_deinit(&why);
}

/* ---- the whole ---- */

static struct error *explain_job(struct explaining *explaining, const struct job_spec *job) {
        if (job->failure != FAILURE_NONE) {
                input_say_bad(explaining->input.path, job);
                explaining->bad++;
                return NULL;
        }
        decide(explaining, job);
        explaining->unroutable += explaining->route.usable == 0;
        buffer_clear(&explaining->out);
        if (!explaining->input.json && explaining->jobs > 0)
                buffer_append_char(&explaining->out, '\n');
        if (explaining->input.json)
                append_job(explaining, job);
        else
                print_job(explaining, job);
        explaining->jobs++;
        return table_print(&explaining->out);
}

static struct error *visit(void *userdata, const struct source_line *line) {
        struct explaining *explaining = userdata;
        struct job_spec *job =
                job_decode(explaining->decoder, line->text, line->line, line->sequence, line->too_long);
        if (!job)
                return error_new(ERROR_MEMORY, "no memory for line %llu", (unsigned long long)line->line);
        struct error *error = explain_job(explaining, job);
        job_spec_free(job);
        return error;
}

static struct error *explain_input(struct explaining *explaining) {
        struct error *error = options_load(&explaining->input.options, &explaining->config);
        if (!error)
                error = assemble(explaining->config, NULL, &explaining->assembly);
        if (error)
                return error;
        say_init(explaining->config, explaining->input.options.quiet, explaining->input.options.verbose);
        struct job_decoder_options options = assemble_decoder(&explaining->assembly, explaining->input.path);
        struct input_lines lines = {.path = explaining->input.path,
                                    .things = "jobs",
                                    .line_max = options.job_bytes_max,
                                    .quiet = true};
        buffer_init(&explaining->out, REPORT_BYTES_MAX);
        error = job_decoder_new(&options, &explaining->decoder);
        if (!error)
                error = input_each(&lines, visit, explaining);
        if (!error && explaining->jobs > 0)
                say(LOG_LEVEL_INFO, "endpoints are taken to be fit, with room, and never called; a run also "
                                    "looks at limits, health and measured speed");
        return error;
}

int cmd_explain(int argc, char **argv) {
        struct explaining *explaining = calloc(1, sizeof *explaining);
        if (!explaining)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        explaining->input.missing = "which job? give a file with a job on each line, or - for standard input";
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, explaining);
        if (explaining->at_unix_ms == 0)
                explaining->at_unix_ms = clock_now_unix_ms();
        struct error *error = explain_input(explaining);
        int code = explaining->bad > 0 || explaining->unroutable > 0 ? EXIT_JOBS_FAILED : EXIT_WELL;
        if (error)
                code = options_fail(error);
        buffer_deinit(&explaining->out);
        job_decoder_free(explaining->decoder);
        config_free(explaining->config);
        free(explaining);
        return code;
}
