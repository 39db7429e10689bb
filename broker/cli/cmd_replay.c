/*
 * One pass over the results. A decision that was made under the configuration's own catalog must come out the
 * same; with -c, what that configuration would have chosen is added up besides.
 */
#include "broker/cli/cmd_replay.h"

#include "broker/base/money.h"
#include "broker/cli/redecide.h"
#include "broker/cli/results.h"
#include "broker/cli/say.h"
#include "broker/cli/table.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_RULES = 512 };
enum { DIFFERENCES_SHOWN_MAX = 10, PROVIDERS_MAX = 2 * CATALOG_PROVIDERS_MAX, NAME_MAX_BYTES = 128 };

/* What went to a provider then, and would go there now. */
struct tally {
        char name[NAME_MAX_BYTES];
        uint64_t jobs_then, jobs_now;
        int64_t cost_then_picousd, cost_now_picousd;
        bool unknown_then, unknown_now;
};

struct replay {
        struct input input;
        bool what_if;
        enum redecide_rules rules;
        struct config *config;
        struct results results;
        struct redecision redecision;
        uint64_t unreadable, outcomes[REDECIDED_NO_RECORD + 1];
        /* with another configuration */
        struct tally tallies[PROVIDERS_MAX];
        size_t tallies_count;
        struct respend *respend;
        uint64_t compared, elsewhere, over_budget, nobody[FAILURES_COUNT];
};

static const struct argp_option known[] = {
        {"rules", KEY_RULES, "merged|recorded|config", 0,
         "With -c, whose rules hold: both, the stricter one where they differ (merged, the default), those "
         "that were in force then, or those of the configuration alone",
         1},
        {0},
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct replay *replay = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &replay->input;
                return 0;
        case KEY_RULES:
                if (strcmp(value, "merged") == 0)
                        replay->rules = RULES_MERGED;
                else if (strcmp(value, "recorded") == 0)
                        replay->rules = RULES_RECORDED;
                else if (strcmp(value, "config") == 0)
                        replay->rules = RULES_CONFIG;
                else
                        argp_error(state, "--rules takes merged, recorded or config, not \"%s\"", value);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&input_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
        known,
        parse,
        "RESULTS.jsonl",
        "Decides again every routing decision that results record, and proves that it comes out the same; or "
        "shows what another configuration would have chosen and paid. Calls nobody.\v"
        "Decisions that were made under the catalog of the configuration in force must come out the same: "
        "the "
        "same candidates in the same order with the same costs and codes, and the same choice. One that does "
        "not is named with its line, what was expected and what came out, and the command ends with 1. Those "
        "of other catalogs are counted apart; where all are, and no FILE is to be tried, it ends with 1 too, "
        "since nothing is proved.\n\n"
        "With -c FILE the table says, for each provider, the jobs and what they cost, and how many jobs "
        "would "
        "have gone there under FILE at which cost: what was used, at the price there. Endpoints that the "
        "record knows by name are in the state that they were in; others count as fit and with room. Budgets "
        "of FILE hold: nothing was spent before the first result, each job is paid before the next one is "
        "decided, and one that would have waited for the next day or month is paid from no budget. Jobs "
        "that failed are not compared.\n\n"
        "Exit codes: 0 all the same, 1 some came out different, nothing is proved, or the file cannot be "
        "read, 2 wrong usage or "
        "configuration.\n\n"
        "Examples:\n"
        "  batchferry replay results.jsonl\n"
        "  batchferry replay results.jsonl -c cheaper.yaml\n"
        "  batchferry replay results.jsonl -c no-zdr.yaml --rules config --json",
        children,
        NULL,
        NULL};

static struct tally *tally_of(struct replay *replay, struct bytes provider) {
        for (size_t i = 0; i < replay->tallies_count; i++)
                if (bytes_equal_string(provider, replay->tallies[i].name))
                        return &replay->tallies[i];
        if (replay->tallies_count == PROVIDERS_MAX)
                return &replay->tallies[PROVIDERS_MAX - 1];
        struct tally *tally = &replay->tallies[replay->tallies_count++];
        if (replay->tallies_count == PROVIDERS_MAX)
                provider = BYTES("others"); /* all that come after it too */
        snprintf(tally->name, sizeof tally->name, "%.*s", (int)provider.size, provider.data);
        return tally;
}

static void add_cost(int64_t *sum, bool *unknown, bool cost_known, int64_t picousd) {
        if (cost_known)
                *sum = money_add(*sum, picousd);
        else
                *unknown = true;
}

static void compare(struct replay *replay) {
        const struct receipt *receipt = &replay->results.receipt;
        struct redecision *now = &replay->redecision;
        const struct catalog *catalog = &replay->config->catalog;
        redecide_with(replay->config, replay->rules, receipt, replay->respend, now);
        replay->compared++;
        struct tally *then = tally_of(replay, receipt->provider);
        then->jobs_then++;
        add_cost(&then->cost_then_picousd, &then->unknown_then, receipt->cost_known, receipt->cost_picousd);
        if (!now->taken) {
                replay->nobody[now->failure]++;
                return;
        }
        const struct endpoint *endpoint = &catalog->endpoints[now->taken->endpoint];
        bool stays = bytes_equal_string(receipt->chosen, endpoint->name);
        replay->elsewhere += !stays;
        replay->over_budget += now->over_budget;
        struct tally *there = tally_of(replay, bytes_of(catalog->providers[endpoint->provider].name));
        there->jobs_now++;
        if (stays && bytes_equal_string(receipt->catalog, catalog->id))
                add_cost(&there->cost_now_picousd, &there->unknown_now, receipt->cost_known,
                         receipt->cost_picousd);
        else
                add_cost(&there->cost_now_picousd, &there->unknown_now, now->cost_known, now->cost_picousd);
}

static void tell_difference(struct replay *replay, uint64_t line, const struct difference *difference) {
        if (replay->outcomes[REDECIDED_DIFFERENT] <= DIFFERENCES_SHOWN_MAX)
                say(LOG_LEVEL_ERROR, "%s line %llu (%.*s): %s: expected %s, got %s", replay->input.path,
                    (unsigned long long)line, (int)replay->results.receipt.custom_id.size,
                    replay->results.receipt.custom_id.data, difference->what,
                    difference->expected[0] ? difference->expected : "nobody",
                    difference->got[0] ? difference->got : "nobody");
}

static struct error *visit(void *userdata, uint64_t line, bool readable) {
        struct replay *replay = userdata;
        struct receipt *receipt = &replay->results.receipt;
        struct difference difference;
        if (!readable) {
                replay->unreadable++;
                return NULL;
        }
        enum redecided outcome = redecide_check(&replay->config->catalog, receipt, &difference);
        replay->outcomes[outcome]++;
        if (outcome == REDECIDED_DIFFERENT)
                tell_difference(replay, line, &difference);
        if (replay->what_if && receipt->has_inputs && receipt->failure == FAILURE_NONE)
                compare(replay);
        return NULL;
}

/* ---- what it prints ---- */

static const struct {
        enum redecided outcome;
        const char *name, *text;
} shown[] = {
        {REDECIDED_SAME, "same", "came out the same"},
        {REDECIDED_DIFFERENT, "different", "came out DIFFERENT"},
        {REDECIDED_OTHER_CATALOG, "other_catalog", "were made under another catalog, and are not proved"},
        {REDECIDED_NO_RECORD, "no_record", "have no record of what they stood on"},
        {REDECIDED_NOTHING, "no_decision", "results had nothing to decide"},
};

static struct tally sum_up(const struct replay *replay) {
        struct tally total = {.name = "total"};
        for (size_t i = 0; i < replay->tallies_count; i++) {
                const struct tally *tally = &replay->tallies[i];
                total.jobs_then += tally->jobs_then;
                total.jobs_now += tally->jobs_now;
                total.cost_then_picousd = money_add(total.cost_then_picousd, tally->cost_then_picousd);
                total.cost_now_picousd = money_add(total.cost_now_picousd, tally->cost_now_picousd);
                total.unknown_then = total.unknown_then || tally->unknown_then;
                total.unknown_now = total.unknown_now || tally->unknown_now;
        }
        return total;
}

static void add_row(struct table *table, const struct tally *tally) {
        table_cell(table, "%s", tally->name);
        table_count(table, tally->jobs_then);
        table_sum(table, !tally->unknown_then, tally->cost_then_picousd);
        table_count(table, tally->jobs_now);
        table_sum(table, !tally->unknown_now, tally->cost_now_picousd);
        table_money(table, !tally->unknown_then && !tally->unknown_now,
                    tally->cost_then_picousd - tally->cost_now_picousd);
}

static void print_what_if(const struct replay *replay, struct buffer *out) {
        static const char *const headers[] = {"provider", "jobs",         "cost",
                                              "would be", "at a cost of", "saved"};
        static const bool right[] = {false, true, true, true, true, true};
        struct table table;
        struct tally total = sum_up(replay);
        table_init(&table, headers, right, 6);
        for (size_t i = 0; i < replay->tallies_count; i++)
                add_row(&table, &replay->tallies[i]);
        add_row(&table, &total);
        buffer_printf(out, "\nwith %s (catalog %s):\n", replay->input.options.config_path,
                      replay->config->catalog.id);
        table_finish(&table, out);
        buffer_printf(out, "%llu of %llu jobs would have gone elsewhere\n",
                      (unsigned long long)replay->elsewhere, (unsigned long long)replay->compared);
        if (replay->over_budget > 0)
                buffer_printf(out, "%llu jobs would have waited for the next period of a budget\n",
                              (unsigned long long)replay->over_budget);
        for (int i = 0; i < FAILURES_COUNT; i++)
                if (replay->nobody[i] > 0)
                        buffer_printf(out, "%llu jobs nobody could have taken: %s\n",
                                      (unsigned long long)replay->nobody[i], failure_text((enum failure)i));
}

static void print_text(const struct replay *replay, struct buffer *out) {
        buffer_printf(out, "%llu results, catalog %s\n", (unsigned long long)replay->results.lines,
                      replay->config->catalog.id);
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
                if (replay->outcomes[shown[i].outcome] > 0 || shown[i].outcome == REDECIDED_SAME)
                        buffer_printf(out, "%12llu %s\n",
                                      (unsigned long long)replay->outcomes[shown[i].outcome], shown[i].text);
        if (replay->unreadable > 0)
                buffer_printf(out, "%12llu have a record that cannot be read\n",
                              (unsigned long long)replay->unreadable);
        if (replay->results.strange > 0)
                buffer_printf(out, "%12llu lines are no results\n",
                              (unsigned long long)replay->results.strange);
        if (replay->what_if)
                print_what_if(replay, out);
}

static void append_tally(struct buffer *out, const struct tally *tally) {
        json_comma(out);
        buffer_append_char(out, '{');
        json_string(out, "provider", bytes_of(tally->name));
        json_count(out, "jobs", tally->jobs_then);
        json_money(out, "cost_usd", !tally->unknown_then, tally->cost_then_picousd);
        json_count(out, "would_be_jobs", tally->jobs_now);
        json_money(out, "would_be_cost_usd", !tally->unknown_now, tally->cost_now_picousd);
        json_money(out, "saved_usd", !tally->unknown_then && !tally->unknown_now,
                   tally->cost_then_picousd - tally->cost_now_picousd);
        buffer_append_char(out, '}');
}

static void append_what_if(const struct replay *replay, struct buffer *out) {
        struct tally total = sum_up(replay);
        json_name(out, "what_if");
        buffer_append_char(out, '{');
        json_string(out, "config", bytes_of(replay->input.options.config_path));
        json_count(out, "jobs", replay->compared);
        json_count(out, "elsewhere", replay->elsewhere);
        json_count(out, "over_budget", replay->over_budget);
        json_name(out, "nobody");
        buffer_append_char(out, '{');
        for (int i = 0; i < FAILURES_COUNT; i++)
                if (replay->nobody[i] > 0)
                        json_count(out, failure_text((enum failure)i), replay->nobody[i]);
        buffer_append_char(out, '}');
        json_name(out, "providers");
        buffer_append_char(out, '[');
        for (size_t i = 0; i < replay->tallies_count; i++)
                append_tally(out, &replay->tallies[i]);
        buffer_append_char(out, ']');
        json_name(out, "total");
        append_tally(out, &total);
        buffer_append_char(out, '}');
}

static void print_json(const struct replay *replay, struct buffer *out) {
        buffer_append_char(out, '{');
        json_count(out, "results", replay->results.lines);
        json_string(out, "catalog", bytes_of(replay->config->catalog.id));
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
                json_count(out, shown[i].name, replay->outcomes[shown[i].outcome]);
        json_count(out, "unreadable", replay->unreadable);
        json_count(out, "no_results", replay->results.strange);
        if (replay->what_if)
                append_what_if(replay, out);
        buffer_append_string(out, "}\n");
}

/* Whoever wants proof must not take silence for it. */
static bool proves_nothing(const struct replay *replay) {
        return !replay->what_if && replay->outcomes[REDECIDED_OTHER_CATALOG] > 0 &&
               replay->outcomes[REDECIDED_SAME] + replay->outcomes[REDECIDED_DIFFERENT] == 0;
}

static int print_report(const struct replay *replay) {
        struct buffer out;
        buffer_init(&out, (size_t)64 << 20);
        if (replay->input.json)
                print_json(replay, &out);
        else
                print_text(replay, &out);
        struct error *error = table_print(&out);
        buffer_deinit(&out);
        if (error)
                return options_fail(error);
        uint64_t different = replay->outcomes[REDECIDED_DIFFERENT];
        if (different > DIFFERENCES_SHOWN_MAX)
                say(LOG_LEVEL_ERROR, "and %llu more",
                    (unsigned long long)(different - DIFFERENCES_SHOWN_MAX));
        if (proves_nothing(replay))
                say(LOG_LEVEL_ERROR, "nothing is proved: no decision was made under the catalog of this "
                                     "configuration; give the one that was in force with -c FILE");
        return different > 0 || replay->unreadable > 0 || proves_nothing(replay) ? EXIT_FAILED : EXIT_WELL;
}

int cmd_replay(int argc, char **argv) {
        struct replay *replay = calloc(1, sizeof *replay);
        if (!replay)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        replay->input.missing = "which results? give what run or collect wrote, or - for standard input";
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, replay);
        replay->what_if = replay->input.options.config_path != NULL;
        struct error *error = options_load(&replay->input.options, &replay->config);
        if (!error && !(replay->respend = respend_new(&replay->config->catalog)))
                error = error_new(ERROR_MEMORY, "no memory");
        if (!error) {
                say_init(replay->config, replay->input.options.quiet, replay->input.options.verbose);
                error = results_each(&replay->results, &replay->input, visit, replay);
        }
        int code = error ? options_fail(error) : print_report(replay);
        respend_free(replay->respend);
        config_free(replay->config);
        free(replay);
        return code;
}
