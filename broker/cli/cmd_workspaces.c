#include "broker/cli/cmd_workspaces.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/cli/options.h"
#include "broker/loop/spend_book.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_JSON = 512, TEXT_MAX = 16 << 20 };

struct request {
        struct options options;
        bool json;
};

struct report {
        const struct catalog *catalog;
        struct spend_book book;
        struct ledger *ledgers; /* by subject */
        uint32_t subjects;
        int64_t now_unix_ms;
        struct buffer text;
};

static const struct argp_option known[] = {
        {"json", KEY_JSON, NULL, 0, "One JSON object instead of a table", 1}, {0}};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct request *request = state->input;
        (void)value;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &request->options;
                return 0;
        case KEY_JSON:
                request->json = true;
                return 0;
        case ARGP_KEY_ARG:
                argp_error(state, "\"%s\" is one word too many", value);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};
static const struct argp argp = {known,
                                 parse,
                                 "",
                                 "Says what each workspace, and each provider that has a budget, has spent "
                                 "in this day and month (UTC) and "
                                 "in all, as the state directory has it.\v"
                                 "spent: what calls have cost. reserved: the most that calls under way can "
                                 "cost; after a crash these are of "
                                 "unknown outcome, and the next run counts them as at risk. at risk: the "
                                 "most that calls of unknown outcome "
                                 "may have cost, until release_unknown. left: what may still be reserved.",
                                 children,
                                 NULL,
                                 NULL};

/* What the attempts hold that are open in the journal and not part of the rows. */
static struct error *add_hold(void *userdata, const struct begun *begun) {
        struct report *report = userdata;
        if (!begun->holds || begun->hold_counted)
                return NULL;
        for (uint32_t i = 0; i < report->subjects; i++) {
                enum spend_kind kind;
                struct ledger *ledger = &report->ledgers[i];
                struct bytes name = spend_subject_name(report->catalog, i, &kind);
                if (!bytes_equal(name, kind == SPEND_WORKSPACE ? begun->workspace : begun->provider))
                        continue;
                ledger->reserved_picousd = money_add(ledger->reserved_picousd, begun->hold_picousd);
                if (ledger->spend.days[0].number == begun->hold_day)
                        ledger->reserved_days[0] = money_add(ledger->reserved_days[0], begun->hold_picousd);
                if (ledger->spend.months[0].number == budget_month(begun->hold_day))
                        ledger->reserved_months[0] =
                                money_add(ledger->reserved_months[0], begun->hold_picousd);
        }
        return NULL;
}

static struct error *gather(struct report *report, struct store *store) {
        struct error *error = spend_book_read(&report->book, store);
        if (error)
                return error;
        for (uint32_t i = 0; i < report->subjects; i++) {
                enum spend_kind kind;
                struct bytes name = spend_subject_name(report->catalog, i, &kind);
                const struct budget_spend *spend = spend_book_find(&report->book, kind, name);
                budget_subject_ledger(report->catalog, i, &report->ledgers[i]);
                if (spend)
                        report->ledgers[i].spend = *spend;
                ledger_roll(&report->ledgers[i], report->now_unix_ms);
        }
        return store_each_unknown(store, add_hold, report);
}

static int64_t left_of(const struct budget_view *view) {
        int64_t used =
                money_add(money_add(view->settled_picousd, view->risk_picousd), view->reserved_picousd);
        return used < view->limit_picousd ? view->limit_picousd - used : 0;
}

static const char *const period_names[BUDGET_KINDS_COUNT] = {
        [BUDGET_DAILY] = "day", [BUDGET_MONTHLY] = "month", [BUDGET_LIFETIME] = "lifetime"};

/* ---- the table ---- */

static void append_money(struct buffer *text, int64_t picousd, bool there) {
        struct buffer cell;
        buffer_init(&cell, 64);
        if (there)
                money_append(&cell, picousd);
        else
                buffer_append_char(&cell, '-');
        buffer_printf(text, " %16.*s", (int)cell.size, cell.data);
        buffer_deinit(&cell);
}

static void append_row(struct report *report, uint32_t subject, enum budget_kind period) {
        enum spend_kind kind;
        struct budget_view view;
        struct buffer *text = &report->text;
        struct bytes name = spend_subject_name(report->catalog, subject, &kind);
        ledger_view(&report->ledgers[subject], period, &view);
        buffer_printf(text, "%-9s %-20.*s %-8s", kind == SPEND_WORKSPACE ? "workspace" : "provider",
                      (int)name.size, name.data, period_names[period]);
        append_money(text, view.limit_picousd, view.limit_picousd > 0);
        append_money(text, view.settled_picousd, true);
        append_money(text, view.reserved_picousd, true);
        append_money(text, view.risk_picousd, true);
        append_money(text, left_of(&view), view.limit_picousd > 0);
        buffer_append_char(text, '\n');
}

static void append_table(struct report *report) {
        buffer_printf(&report->text, "%-9s %-20s %-8s %16s %16s %16s %16s %16s\n", "", "USD", "period",
                      "budget", "spent", "reserved", "at risk", "left");
        for (uint32_t i = 0; i < report->subjects; i++)
                for (unsigned period = 0; period < BUDGET_KINDS_COUNT; period++)
                        if (budget_is_counted(report->catalog, i))
                                append_row(report, i, (enum budget_kind)period);
}

/* ---- JSON; names hold nothing that needs escaping ---- */

static void append_amount(struct buffer *text, const char *name, int64_t picousd) {
        buffer_printf(text, ",\"%s\":", name);
        money_append(text, picousd);
}

static void append_period(struct report *report, uint32_t subject, enum budget_kind period) {
        struct budget_view view;
        struct buffer *text = &report->text;
        ledger_view(&report->ledgers[subject], period, &view);
        buffer_printf(text, "%s{\"period\":\"%s\"", period == BUDGET_DAILY ? "" : ",", period_names[period]);
        if (view.limit_picousd > 0)
                append_amount(text, "budget_usd", view.limit_picousd);
        append_amount(text, "spent_usd", view.settled_picousd);
        append_amount(text, "reserved_usd", view.reserved_picousd);
        append_amount(text, "at_risk_usd", view.risk_picousd);
        if (view.limit_picousd > 0)
                append_amount(text, "left_usd", left_of(&view));
        buffer_append_char(text, '}');
}

static void append_json(struct report *report, uint32_t from, uint32_t until, const char *list) {
        const char *before = "";
        buffer_printf(&report->text, "\"%s\":[", list);
        for (uint32_t i = from; i < until; i++) {
                enum spend_kind kind;
                struct bytes name = spend_subject_name(report->catalog, i, &kind);
                if (!budget_is_counted(report->catalog, i))
                        continue;
                buffer_printf(&report->text, "%s{\"name\":\"%.*s\",\"periods\":[", before, (int)name.size,
                              name.data);
                for (unsigned period = 0; period < BUDGET_KINDS_COUNT; period++)
                        append_period(report, i, (enum budget_kind)period);
                buffer_append_string(&report->text, "]}");
                before = ",";
        }
        buffer_append_char(&report->text, ']');
}

static void append_all_json(struct report *report) {
        uint32_t workspaces = report->subjects ? report->catalog->workspaces_count : 0;
        buffer_append_string(&report->text, "{\"at\":\"");
        rfc3339_append(&report->text, report->now_unix_ms);
        buffer_append_string(&report->text, "\",");
        append_json(report, 0, workspaces, "workspaces");
        buffer_append_char(&report->text, ',');
        append_json(report, workspaces, report->subjects, "providers");
        buffer_append_string(&report->text, "}\n");
}

static struct error *print(struct report *report, bool json) {
        if (json)
                append_all_json(report);
        else if (report->subjects == 0)
                buffer_append_string(&report->text, "no workspaces and no budgets are configured\n");
        else
                append_table(report);
        if (report->text.failed)
                return error_new(ERROR_MEMORY, "no memory for the report");
        fwrite(report->text.data, 1, report->text.size, stdout);
        return NULL;
}

static struct error *make(struct report *report, const struct config *config, bool json) {
        struct store_options options = {.directory = config->settings.state, .read_only = true};
        struct store *store = NULL;
        report->ledgers = calloc(report->subjects + 1, sizeof(*report->ledgers));
        if (!report->ledgers)
                return error_new(ERROR_MEMORY, "no memory for the report");
        struct error *error = store_open(&options, &store);
        if (!error)
                error = gather(report, store);
        if (!error)
                error = print(report, json);
        store_close(store);
        return error;
}

int cmd_workspaces(int argc, char **argv) {
        struct request request = {0};
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, &request);
        struct config *config = NULL;
        struct error *error = options_load(&request.options, &config);
        if (error)
                return options_fail(error);
        struct report report = {.catalog = &config->catalog,
                                .subjects = budget_subjects(&config->catalog),
                                .now_unix_ms = clock_now_unix_ms()};
        buffer_init(&report.text, TEXT_MAX);
        error = make(&report, config, request.json);
        int code = error ? options_fail(error) : EXIT_WELL;
        buffer_deinit(&report.text);
        spend_book_deinit(&report.book);
        free(report.ledgers);
        config_free(config);
        return code;
}
