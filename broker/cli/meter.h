#pragma once
/*
 * Shows that a command gets on, on standard error: a bar on a terminal, a plain line now and then elsewhere.
 * Counts one kind of thing. For what a run shows see progress.h.
 */
#include "broker/base/bytes.h"

struct meter {
        bool terminal, quiet, shown;
        const char *things; /* "jobs" */
        int64_t started_ns, said_ns;
};

void meter_init(struct meter *meter, const char *things, bool quiet);
/* Cheap: it looks at the clock, and writes a few times a second. `share` is 0 to 1, negative: not known. */
void meter_show(struct meter *meter, uint64_t count, double share);
/* Removes the bar, so that other text can be written. */
void meter_clear(struct meter *meter);
/* "12,000 jobs in 1.2s (10,000/s)" */
void meter_sum(const struct meter *meter, uint64_t count, char *out_text, size_t size);
