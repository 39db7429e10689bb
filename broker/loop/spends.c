#include "broker/loop/spends.h"

#include "broker/loop/spend_book.h"

#include <stdlib.h>

bool spends_init(struct spends *spends, size_t subjects) {
        *spends = (struct spends){.rows = calloc(subjects, sizeof(*spends->rows)),
                                  .changed = calloc(subjects, sizeof(*spends->changed)),
                                  .is_changed = calloc(subjects, sizeof(*spends->is_changed))};
        return spends->rows && spends->changed && spends->is_changed;
}

void spends_deinit(struct spends *spends) {
        free(spends->rows);
        free(spends->changed);
        free(spends->is_changed);
        *spends = (struct spends){0};
}

void spends_put(struct spends *spends, uint32_t subject, const struct budget_spend *spend) {
        spends->rows[subject] = *spend;
        if (!spends->is_changed[subject])
                spends->changed[spends->count++] = subject;
        spends->is_changed[subject] = true;
}

void spends_merge(struct spends *into, struct spends *from) {
        for (uint32_t i = 0; i < from->count; i++) {
                uint32_t subject = from->changed[i];
                spends_put(into, subject, &from->rows[subject]);
                from->is_changed[subject] = false;
        }
        from->count = 0;
}

void spends_swap(struct spends *a, struct spends *b) {
        struct spends kept = *a;
        *a = *b;
        *b = kept;
}

void spends_stage(struct spends *spends, const struct catalog *catalog, struct store_batch *batch) {
        for (uint32_t i = 0; i < spends->count; i++) {
                enum spend_kind kind;
                uint32_t subject = spends->changed[i];
                struct bytes name = spend_subject_name(catalog, budget_of_lasting(catalog, subject), &kind);
                store_batch_spend(batch, kind, name, &spends->rows[subject]);
                spends->is_changed[subject] = false;
        }
        spends->count = 0;
}
