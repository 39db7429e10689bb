#pragma once
/*
 * The latest spend of each subject (a workspace or a provider, workers/routing/budget.h) that has changed
 * since somebody looked: on its way from the engine to the store, where one row takes the place of the one
 * before.
 */
#include "broker/store/store.h"

struct spends {
        struct budget_spend *rows; /* by the subject's lasting number: budget_lasting() */
        uint32_t *changed;         /* subjects, so numbered */
        bool *is_changed;          /* the same */
        uint32_t count;
};

bool spends_init(struct spends *spends, size_t subjects); /* false when memory is refused */
void spends_deinit(struct spends *spends);
void spends_put(struct spends *spends, uint32_t subject, const struct budget_spend *spend);
/* What has changed goes from one to the other, over what was there. */
void spends_merge(struct spends *into, struct spends *from);
void spends_swap(struct spends *a, struct spends *b);
/* What has changed goes into the batch. */
void spends_stage(struct spends *spends, const struct catalog *catalog, struct store_batch *batch);
