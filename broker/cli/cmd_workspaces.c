#include "broker/cli/cmd_workspaces.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/options.h"
#include "broker/cli/spending.h"
#include "broker/loop/spend_book.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_JSON = 512, KEY_LOCAL, TEXT_MAX = 16 << 20 };

struct request {
        struct options options;
        bool json, local;
};

struct report {
        struct spending spending;
        struct buffer text;
};

static const struct argp_option known[] = {
        {"json", KEY_JSON, NULL, 0, "One JSON object instead of a table", 1},
        {"local", KEY_LOCAL, NULL, 0,
         "Of the state directory, also where the configuration names a Kafka cluster", 1},
        {0}};

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
        case KEY_LOCAL:
                request->local = true;
                return 0;
        case ARGP_KEY_ARG:
                argp_error(state, "\"%s\" is one word too many", value);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};
static const struct argp argp = {
        known,
        parse,
        "",
        "Says what each workspace, and each provider that has a budget, has spent "
        "in this day and month (UTC) and in all: by `run`, as the state directory has "
        "it; with a Kafka cluster in the configuration by all workers together, as "
        "the state topic has it.\v"
        "spent: what calls have cost. reserved: the most that calls under way can "
        "cost, and of workers what they may spend without saying it again; after a "
        "crash these are of unknown outcome, and who goes on counts them as at risk. "
        "at risk: the most that calls of unknown outcome may have cost, until "
        "release_unknown. left: what may still be reserved.\n\n"
        "Workers say what was spent with the results that they publish: what the last "
        "second has brought may still stand as reserved.",
        children,
        NULL,
        NULL};

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
        struct budget_view view = report->spending.views[subject][period];
        struct buffer *text = &report->text;
        struct bytes name = spend_subject_name(report->spending.catalog, subject, &kind);
        buffer_printf(text, "%-9s %-20.*s %-8s", kind == SPEND_WORKSPACE ? "workspace" : "provider",
                      (int)name.size, name.data, spending_period_names[period]);
        append_money(text, view.limit_picousd, view.limit_picousd > 0);
        append_money(text, view.settled_picousd, true);
        append_money(text, view.reserved_picousd, true);
        append_money(text, view.risk_picousd, true);
        append_money(text, spending_left(&view), view.limit_picousd > 0);
        buffer_append_char(text, '\n');
}

static void append_table(struct report *report) {
        buffer_printf(&report->text, "%-9s %-20s %-8s %16s %16s %16s %16s %16s\n", "", "USD", "period",
                      "budget", "spent", "reserved", "at risk", "left");
        for (uint32_t i = 0; i < report->spending.subjects; i++)
                for (unsigned period = 0; period < BUDGET_KINDS_COUNT; period++)
                        if (budget_is_counted(report->spending.catalog, i))
                                append_row(report, i, (enum budget_kind)period);
}

/* ---- JSON; names hold nothing that needs escaping ---- */

static void append_amount(struct buffer *text, const char *name, int64_t picousd) {
        buffer_printf(text, ",\"%s\":", name);
        money_append(text, picousd);
}

static void append_period(struct report *report, uint32_t subject, enum budget_kind period) {
        struct budget_view view = report->spending.views[subject][period];
        struct buffer *text = &report->text;
        buffer_printf(text, "%s{\"period\":\"%s\"", period == BUDGET_DAILY ? "" : ",",
                      spending_period_names[period]);
        if (view.limit_picousd > 0)
                append_amount(text, "budget_usd", view.limit_picousd);
        append_amount(text, "spent_usd", view.settled_picousd);
        append_amount(text, "reserved_usd", view.reserved_picousd);
        append_amount(text, "at_risk_usd", view.risk_picousd);
        if (view.limit_picousd > 0)
                append_amount(text, "left_usd", spending_left(&view));
        buffer_append_char(text, '}');
}

static void append_json(struct report *report, uint32_t from, uint32_t until, const char *list) {
        const char *before = "";
        buffer_printf(&report->text, "\"%s\":[", list);
        for (uint32_t i = from; i < until; i++) {
                enum spend_kind kind;
                struct bytes name = spend_subject_name(report->spending.catalog, i, &kind);
                if (!budget_is_counted(report->spending.catalog, i))
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
        uint32_t workspaces = report->spending.subjects ? report->spending.catalog->workspaces_count : 0;
        buffer_append_string(&report->text, "{\"at\":\"");
        rfc3339_append(&report->text, report->spending.now_unix_ms);
        buffer_append_string(&report->text, "\",");
        append_json(report, 0, workspaces, "workspaces");
        buffer_append_char(&report->text, ',');
        append_json(report, workspaces, report->spending.subjects, "providers");
        buffer_append_string(&report->text, "}\n");
}

static struct error *print(struct report *report, bool json) {
        if (json)
                append_all_json(report);
        else if (report->spending.subjects == 0)
                buffer_append_string(&report->text, "no workspaces and no budgets are configured\n");
        else
                append_table(report);
        if (report->text.failed)
                return error_new(ERROR_MEMORY, "no memory for the report");
        fwrite(report->text.data, 1, report->text.size, stdout);
        return NULL;
}

static struct error *read_state(struct report *report, const struct config *config) {
        struct store_options options = {.directory = config->settings.state, .read_only = true};
        struct store *store = NULL;
        struct error *error = store_open(&options, &store);
        if (!error)
                error = spending_read_store(&report->spending, store);
        store_close(store);
        return error;
}

static struct error *make(struct report *report, const struct config *config, const struct request *request) {
        struct error *error = spending_init(&report->spending, &config->catalog, clock_now_unix_ms());
        if (!error && kafka_options_named(config) && !request->local)
                error = spending_read_topic(&report->spending, config);
        else if (!error)
                error = read_state(report, config);
        return error ? error : print(report, request->json);
}

int cmd_workspaces(int argc, char **argv) {
        struct request request = {0};
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, &request);
        struct config *config = NULL;
        struct error *error = options_load(&request.options, &config);
        if (error)
                return options_fail(error);
        struct report report = {0};
        buffer_init(&report.text, TEXT_MAX);
        error = make(&report, config, &request);
        int code = error ? kafka_options_fail(error) : EXIT_WELL;
        buffer_deinit(&report.text);
        spending_deinit(&report.spending);
        config_free(config);
        return code;
}
