#pragma once
/*
 * What a member of the worker tells: from its parts to the metrics. Owned by one member, on its thread, but
 * for what is atomic.
 */
#include "broker/loop/member.h"
#include "broker/ops/metrics.h"

#include <stdatomic.h>

struct worker_metrics {
        struct metrics *metrics;
        struct shard_metrics *shard;
        struct member *member;
        const struct catalog *catalog;
        const char *topic;
        uint32_t index;
        int64_t spends_ns;    /* when what was spent was looked at last */
        atomic_bool draining; /* set by the main thread */
};

/* A shard's `report`. */
void worker_metrics_report(void *userdata);
/* After the run. */
void worker_metrics_end(struct worker_metrics *metrics, const char *why);
