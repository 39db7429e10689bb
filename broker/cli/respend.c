#include "broker/cli/respend.h"

#include "workers/routing/budget.h"

#include <stdlib.h>

struct respend {
        const struct catalog *catalog;
        struct ledger ledgers[]; /* by subject */
};

struct respend *respend_new(const struct catalog *catalog) {
        uint32_t subjects = budget_subjects(catalog);
        struct respend *respend = calloc(1, sizeof *respend + subjects * sizeof *respend->ledgers);
        if (!respend)
                return NULL;
        respend->catalog = catalog;
        for (uint32_t i = 0; i < subjects; i++)
                budget_subject_ledger(catalog, i, &respend->ledgers[i]);
        return respend;
}

struct respend *respend_free(struct respend *respend) {
        free(respend);
        return NULL;
}

/* Of the workspace, or of the endpoint's provider, as of that time; NULL: nothing is counted. */
static struct ledger *ledger_of(struct respend *respend, bool provider, uint32_t workspace, uint32_t endpoint,
                                int64_t now_unix_ms) {
        const struct catalog *catalog = respend->catalog;
        uint32_t subject = provider ? budget_provider_subject(catalog, endpoint)
                                    : budget_workspace_subject(catalog, workspace);
        if (subject == BUDGET_NO_SUBJECT)
                return NULL;
        ledger_roll(&respend->ledgers[subject], now_unix_ms);
        return &respend->ledgers[subject];
}

void respend_view(struct respend *respend, uint32_t workspace, const struct route_set *set,
                  int64_t now_unix_ms, struct route_state *states) {
        for (uint32_t place = 0; place < set->count; place++)
                for (int i = 0; i < 2; i++)
                        states[place].budgets[i] =
                                ledger_of(respend, i == 1, workspace, set->endpoints[place], now_unix_ms);
}

void respend_add(struct respend *respend, uint32_t workspace, uint32_t endpoint, int64_t now_unix_ms,
                 int64_t picousd) {
        for (int i = 0; i < 2; i++) {
                struct ledger *ledger = ledger_of(respend, i == 1, workspace, endpoint, now_unix_ms);
                if (ledger)
                        ledger_settle(ledger, 0, budget_day(now_unix_ms), picousd);
        }
}
