#pragma once
/*
 * What the workspaces and providers of a configuration have spent: summed up from a state directory, or from
 * the state topic, where each partition's owner says it for the whole cluster.
 */
#include "broker/ops/config.h"
#include "broker/store/store.h"

struct spending {
        const struct catalog *catalog;
        int64_t now_unix_ms;
        uint32_t subjects;
        struct budget_view (*views)[BUDGET_KINDS_COUNT]; /* by subject, for the periods of now */
};

struct error *spending_init(struct spending *spending, const struct catalog *catalog,
                            int64_t now_unix_ms) MUST_USE;
void spending_deinit(struct spending *spending);
struct error *spending_read_store(struct spending *spending, struct store *store) MUST_USE;
/* Reads the topic to its end. */
struct error *spending_read_topic(struct spending *spending, const struct config *config) MUST_USE;

/* Of a view: settled, at risk and reserved; and what of its limit may still be reserved. */
int64_t spending_used(const struct budget_view *view);
int64_t spending_left(const struct budget_view *view);
extern const char *const spending_period_names[BUDGET_KINDS_COUNT]; /* "day", ... */
