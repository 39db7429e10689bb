#include "broker/cli/quote_budgets.h"

#include "broker/base/money.h"
#include "broker/cli/spending.h"
#include "broker/cli/table.h"
#include "broker/loop/spend_book.h"
#include "broker/store/store.h"

#include <stdlib.h>
#include <unistd.h>

struct planned {
        struct ledger ledger; /* as it stands before the jobs */
        uint64_t jobs;
        int64_t expected_picousd, ceiling_picousd;
};

/* Where it stands what budgets have left. */
enum quote_source { SOURCE_NOTHING, SOURCE_DIRECTORY, SOURCE_TOPIC };

static const struct {
        const char *word, *text;
} sources[] = {
        [SOURCE_NOTHING] = {"nothing_spent", "There is no state directory, so nothing was spent yet."},
        [SOURCE_DIRECTORY] = {"state_directory", "Left: by the state directory."},
        [SOURCE_TOPIC] = {"state_topic",
                          "Left: by the state topic, of all workers together; each partition of the jobs "
                          "topic has an even part of it, for its own jobs."},
};

struct quote_budgets {
        const struct catalog *catalog;
        struct spending spending;
        enum quote_source source;
        struct planned *subjects;
};

/* Whatever is used counts as settled. */
static void begin(struct quote_budgets *budgets, uint32_t subject) {
        const struct budget_view *views = budgets->spending.views[subject];
        struct ledger *ledger = &budgets->subjects[subject].ledger;
        int64_t day = budget_day(budgets->spending.now_unix_ms);
        budget_subject_ledger(budgets->catalog, subject, ledger);
        budget_spend_init(&ledger->spend);
        ledger->spend.days[0] = (struct budget_sum){day, spending_used(&views[BUDGET_DAILY])};
        ledger->spend.months[0] =
                (struct budget_sum){budget_month(day), spending_used(&views[BUDGET_MONTHLY])};
        ledger->spend.lifetime_picousd = spending_used(&views[BUDGET_LIFETIME]);
        ledger_roll(ledger, budgets->spending.now_unix_ms);
}

static struct error *read_topic(struct quote_budgets *budgets, const struct config *config) {
        budgets->source = SOURCE_TOPIC;
        return error_wrap(
                spending_read_topic(&budgets->spending, config),
                "what budgets have left is asked of the state topic (--local: of the state directory)");
}

/* Without a state nothing was spent yet; none is made. */
static struct error *read_state(struct quote_budgets *budgets, const struct config *config) {
        struct store_options options = {.directory = config->settings.state, .read_only = true};
        struct store *store = NULL;
        if (access(options.directory, F_OK) != 0)
                return NULL;
        budgets->source = SOURCE_DIRECTORY;
        struct error *error = store_open(&options, &store);
        if (!error)
                error = spending_read_store(&budgets->spending, store);
        store_close(store);
        return error;
}

struct error *quote_budgets_new(const struct config *config, int64_t at_unix_ms, bool workers,
                                struct quote_budgets **out_budgets) {
        const struct catalog *catalog = &config->catalog;
        *out_budgets = NULL;
        if (!budget_any(catalog))
                return NULL;
        struct quote_budgets *budgets = calloc(1, sizeof *budgets);
        if (!budgets)
                return error_new(ERROR_MEMORY, "no memory for a quote");
        budgets->catalog = catalog;
        struct error *error = spending_init(&budgets->spending, catalog, at_unix_ms);
        budgets->subjects = calloc(budget_subjects(catalog) + 1, sizeof *budgets->subjects);
        if (!error && !budgets->subjects)
                error = error_new(ERROR_MEMORY, "no memory for a quote");
        if (!error)
                error = workers ? read_topic(budgets, config) : read_state(budgets, config);
        for (uint32_t i = 0; !error && budgets->subjects && i < budgets->spending.subjects; i++)
                begin(budgets, i);
        if (error)
                budgets = quote_budgets_free(budgets);
        *out_budgets = budgets;
        return error;
}

struct quote_budgets *quote_budgets_free(struct quote_budgets *budgets) {
        if (!budgets)
                return NULL;
        spending_deinit(&budgets->spending);
        free(budgets->subjects);
        free(budgets);
        return NULL;
}

/* The workspace and the provider that pay; NULL: none has rules, or a budget. */
static struct planned *planned_at(const struct quote_budgets *budgets, bool provider, uint32_t workspace,
                                  uint32_t endpoint) {
        const struct catalog *catalog = budgets->catalog;
        uint32_t subject = provider ? budget_provider_subject(catalog, endpoint)
                                    : budget_workspace_subject(catalog, workspace);
        return subject == BUDGET_NO_SUBJECT ? NULL : &budgets->subjects[subject];
}

void quote_budgets_view(const struct quote_budgets *budgets, uint32_t workspace, uint32_t endpoint,
                        struct route_state *state) {
        for (int i = 0; i < 2 && budgets; i++) {
                const struct planned *planned = planned_at(budgets, i == 1, workspace, endpoint);
                state->budgets[i] = planned ? &planned->ledger : NULL;
        }
}

void quote_budgets_add(struct quote_budgets *budgets, uint32_t workspace, const struct candidate *taken) {
        for (int i = 0; i < 2 && budgets; i++) {
                struct planned *planned = planned_at(budgets, i == 1, workspace, taken->endpoint);
                if (!planned)
                        continue;
                planned->jobs++;
                planned->expected_picousd =
                        money_add(planned->expected_picousd, taken->cost_expected_picousd);
                planned->ceiling_picousd = money_add(planned->ceiling_picousd, taken->cost_ceiling_picousd);
        }
}

/* ---- what comes of it ---- */

enum fit { FIT_YES, FIT_AS_EXPECTED, FIT_NO };
static const char *const fit_words[] = {"yes", "as_expected", "no"};
static const char *const fit_texts[] = {"yes", "as expected, not at most", "no"};

static enum fit fit_of(const struct planned *planned, const struct budget_view *view) {
        if (planned->expected_picousd > spending_left(view))
                return FIT_NO;
        return planned->ceiling_picousd > spending_left(view) ? FIT_AS_EXPECTED : FIT_YES;
}

typedef void each_budget(const struct quote_budgets *budgets, uint32_t subject, enum budget_kind period,
                         struct table *table, struct buffer *out);

/* Budgets of those that have something to pay. */
static void each(const struct quote_budgets *budgets, each_budget *one, struct table *table,
                 struct buffer *out) {
        for (uint32_t i = 0; i < budgets->spending.subjects; i++)
                for (unsigned period = 0; period < BUDGET_KINDS_COUNT; period++)
                        if (budgets->subjects[i].jobs > 0 &&
                            budgets->spending.views[i][period].limit_picousd > 0)
                                one(budgets, i, (enum budget_kind)period, table, out);
}

static void add_row(const struct quote_budgets *budgets, uint32_t subject, enum budget_kind period,
                    struct table *table, struct buffer *out) {
        enum spend_kind kind;
        const struct budget_view *view = &budgets->spending.views[subject][period];
        const struct planned *planned = &budgets->subjects[subject];
        struct bytes name = spend_subject_name(budgets->catalog, subject, &kind);
        (void)out;
        table_cell(table, "%s", kind == SPEND_WORKSPACE ? "workspace" : "provider");
        table_bytes(table, name);
        table_cell(table, "%s", spending_period_names[period]);
        table_money(table, true, view->limit_picousd);
        table_money(table, true, spending_left(view));
        table_money(table, true, planned->expected_picousd);
        table_money(table, true, planned->ceiling_picousd);
        table_cell(table, "%s", fit_texts[fit_of(planned, view)]);
}

void quote_budgets_print(const struct quote_budgets *budgets, struct buffer *out) {
        static const char *const headers[] = {"budget", "of",       "period",  "USD",
                                              "left",   "expected", "at most", "fits"};
        static const bool right[] = {false, false, false, true, true, true, true, false};
        struct table table;
        if (!budgets)
                return;
        table_init(&table, headers, right, 8);
        each(budgets, add_row, &table, out);
        table_finish(&table, out);
        buffer_append_string(out, sources[budgets->source].text);
        buffer_append_string(out,
                             " What does not fit waits for the next period, goes elsewhere or fails.\n\n");
}

static void append_budget(const struct quote_budgets *budgets, uint32_t subject, enum budget_kind period,
                          struct table *table, struct buffer *out) {
        enum spend_kind kind;
        const struct budget_view *view = &budgets->spending.views[subject][period];
        const struct planned *planned = &budgets->subjects[subject];
        struct bytes name = spend_subject_name(budgets->catalog, subject, &kind);
        (void)table;
        json_comma(out);
        buffer_append_char(out, '{');
        json_string(out, kind == SPEND_WORKSPACE ? "workspace" : "provider", name);
        json_string(out, "period", bytes_of(spending_period_names[period]));
        json_count(out, "jobs", planned->jobs);
        json_money(out, "budget_usd", true, view->limit_picousd);
        json_money(out, "left_usd", true, spending_left(view));
        json_money(out, "expected_usd", true, planned->expected_picousd);
        json_money(out, "ceiling_usd", true, planned->ceiling_picousd);
        json_string(out, "fits", bytes_of(fit_words[fit_of(planned, view)]));
        buffer_append_char(out, '}');
}

void quote_budgets_print_json(const struct quote_budgets *budgets, struct buffer *out) {
        if (budgets)
                json_string(out, "budgets_by", bytes_of(sources[budgets->source].word));
        json_name(out, "budgets");
        buffer_append_char(out, '[');
        if (budgets)
                each(budgets, append_budget, NULL, out);
        buffer_append_char(out, ']');
}
