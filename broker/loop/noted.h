#pragma once
/* Attempts that were journaled anew (INTENT_NOTE): nobody but the committer knows their names. */
#include "broker/loop/committer.h"

struct noted {
        struct noted_attempt *items; /* by slot of the handle */
        size_t capacity;
};

void noted_deinit(struct noted *noted);
/* Ends what was noted for the intent's job, whose slot may have been another's before. */
void noted_end(struct noted *noted, struct store_batch *batch, const struct intent *intent);
struct error *noted_stage(struct noted *noted, struct store_batch *batch,
                          const struct intent *intent) MUST_USE;
