/*
 * At the beginning nothing is known. Most of an outcome is room, for candidates, a record and a message, of
 * which little is ever used: what is not used is not even written, because a job's slot has left the caches
 * when it is taken again.
 */
#include "broker/core/outcome.h"

#include <stddef.h>
#include <string.h>

void outcome_init(struct outcome *outcome, const struct catalog *catalog) {
        struct decision *decision = &outcome->decision;
        memset(outcome, 0, offsetof(struct outcome, decision));
        usage_init(&outcome->usage);
        decision->catalog = catalog;
        decision->count = decision->chosen_model = 0;
        decision->truncated = decision->chosen = false;
        decision->chosen_endpoint = 0;
        decision->seed = 0;
        decision->record_size = 0;
        outcome->message[0] = '\0';
}
