#pragma once
/*
 * Whether what jobs will cost fits into the budgets that are in force: what workspaces and providers have
 * left, by the state topic of the workers or by the state directory of `run`, against the sums of those jobs
 * that would be paid from it.
 */
#include "broker/base/error.h"
#include "broker/ops/config.h"
#include "workers/routing/route.h"

struct quote_budgets;

/*
 * NULL, and no error, where nothing has a budget. Periods are those of that time. `workers`: they will do the
 * jobs, so the state topic is read.
 */
struct error *quote_budgets_new(const struct config *config, int64_t at_unix_ms, bool workers,
                                struct quote_budgets **out_budgets) MUST_USE;
struct quote_budgets *quote_budgets_free(struct quote_budgets *budgets);
/* What routing must know of them: no call is made that a budget cannot bound. */
void quote_budgets_view(const struct quote_budgets *budgets, uint32_t workspace, uint32_t endpoint,
                        struct route_state *state);
/* A job of that workspace goes there. */
void quote_budgets_add(struct quote_budgets *budgets, uint32_t workspace, const struct candidate *taken);
/* Appends nothing where there is none. */
void quote_budgets_print(const struct quote_budgets *budgets, struct buffer *out);
void quote_budgets_print_json(const struct quote_budgets *budgets, struct buffer *out);
