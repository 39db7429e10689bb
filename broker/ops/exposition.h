#pragma once
/*
 * Metrics as text: Prometheus's format 0.0.4, and OpenMetrics 1.0 for those who ask for it. Pure.
 *
 * Both have the same samples with the same values; the second names counters without _total in # TYPE and #
 * HELP, tells units, and ends with # EOF. Amounts are exact decimal numbers. Bounds of buckets are written as
 * OpenMetrics wants them ("1.0") in both, so that a series is the same whichever is asked for.
 *
 * Sources: prometheus.io/docs/instrumenting/exposition_formats; OpenMetrics 1.0
 * (prometheus.io/docs/specs/om/open_metrics_spec), "ABNF", "Unit", "Counter", "Canonical numbers".
 */
#include "broker/ops/metric.h"
#include "workers/routing/catalog.h"

enum exposition_format { EXPOSITION_PROMETHEUS, EXPOSITION_OPENMETRICS };

/* What is shown. */
struct exposition_view {
        const char *version;
        const struct catalog *catalog;
        const struct process_metrics *process;
        const struct shard_metrics *total; /* of all shards, with its endpoints and partitions */
        const struct shard_metrics *shards;
        uint32_t shards_count;
        int64_t now_ns;
};

/* By the Accept header of HTTP (RFC 9110 section 12.5.1), NULL when there is none. */
enum exposition_format exposition_negotiate(const char *accept);
const char *exposition_content_type(enum exposition_format format);
void exposition_append(const struct exposition_view *view, enum exposition_format format,
                       struct buffer *out_text);
