#pragma once
/*
 * What a run says while it goes on and when it ends: a bar on a terminal, plain lines elsewhere; always on
 * standard error.
 */
#include "broker/loop/shard.h"

enum { RATE_SAMPLES = 16 };

struct progress {
        bool terminal, quiet, bar_shown;
        int64_t started_ns, said_ns;
        int64_t sample_ns[RATE_SAMPLES];
        uint64_t sample_jobs[RATE_SAMPLES];
        size_t samples;
        enum trouble trouble;
};

void progress_init(struct progress *progress, bool quiet);
/* Call it a few times a second. */
void progress_show(struct progress *progress, const struct shard_progress *now);
/* Removes the bar, so that other text can be written. */
void progress_clear(struct progress *progress);
/* Jobs, failures by code, cost, list price, tokens, time, and a table per provider. */
void progress_summary(struct progress *progress, const struct shard *shard, const struct catalog *catalog);
