#pragma once
/*
 * A metric is a line of schemas/metrics.def. Here the lines become structs of plain numbers, which their
 * owner fills as it likes, and tables over these structs, by which they are added up and shown. Pure: no
 * lock, no clock, no allocation.
 *
 * Units inside are those of the rest of the program: nanoseconds, bytes, picodollars. A gauge that is
 * METRIC_NOT_KNOWN is not shown. An array has a value per code (enum failure) or per state (in the order of
 * schemas/states.def, as enum job_state); its first value, for no failure and for a free slot, is not shown.
 */
#include "broker/base/bytes.h"
#include "workers/routing/kind.h"

#define METRIC_NOT_KNOWN INT64_MIN

enum {
        HISTOGRAM_BUCKETS = 0
#define BUCKET(ns) +1
#include "schemas/metrics.def"
#undef BUCKET
        ,
        METRIC_STATES = 0
#define STATE(name, text, meaning) +1
#include "schemas/states.def"
#undef STATE
        ,
        METRIC_TROUBLE_BYTES = 200,
};

extern const int64_t histogram_bounds_ns[HISTOGRAM_BUCKETS];

struct histogram {
        uint64_t counts[HISTOGRAM_BUCKETS + 1]; /* by the first bound that is not below; then the rest */
        int64_t sum_ns;
};

/* Cheap (a few comparisons): for the owner's own struct, on its own thread. */
void histogram_observe(struct histogram *histogram, int64_t ns);
uint64_t histogram_count(const struct histogram *histogram);

/* ---- the structs ---- */

/* The type of a field: METRIC_COUNTER(COUNT) is uint64_t, so that what the engine counts fits as it is. */
#define METRIC_COUNTER_COUNT                                uint64_t
#define METRIC_COUNTER_SECONDS                              int64_t
#define METRIC_COUNTER_USD                                  int64_t
#define METRIC_COUNTER(unit)                                METRIC_COUNTER_##unit
#define METRIC_GAUGE(unit)                                  int64_t
#define METRIC_HISTOGRAM(unit)                              struct histogram
#define METRIC_VALUES_NONE                                  /* one */
#define METRIC_VALUES_SHARD                                 /* one */
#define METRIC_VALUES_VERSION                               /* one */
#define METRIC_VALUES_PARTITION                             /* one */
#define METRIC_VALUES_ENDPOINT                              /* one */
#define METRIC_VALUES_SUBJECT                               /* one */
#define METRIC_VALUES_CODE                                  [FAILURES_COUNT]
#define METRIC_VALUES_STATE                                 [METRIC_STATES]
#define METRIC_FIELD(field, name, type, labels, unit, help) METRIC_##type(unit) field METRIC_VALUES_##labels;

struct partition_metrics {
#define PARTITION_METRIC METRIC_FIELD
#include "schemas/metrics.def"
#undef PARTITION_METRIC
        const char *topic; /* the configuration's: outlives the metrics */
        uint32_t partition;
};

struct endpoint_metrics {
#define ENDPOINT_METRIC METRIC_FIELD
#include "schemas/metrics.def"
#undef ENDPOINT_METRIC
};

struct spend_metrics {
#define SPEND_METRIC METRIC_FIELD
#include "schemas/metrics.def"
#undef SPEND_METRIC
};

enum metrics_phase {
        METRICS_STARTING,
        METRICS_RUNNING,
        METRICS_DRAINING, /* nothing new; what is under way is finished */
        METRICS_ENDED,    /* as it was asked to */
        METRICS_FAILED,   /* for good; `trouble` says why */
};

struct shard_metrics {
#define SHARD_METRIC METRIC_FIELD
#include "schemas/metrics.def"
#undef SHARD_METRIC
        enum metrics_phase phase;
        char trouble[METRIC_TROUBLE_BYTES]; /* why it cannot work at the moment; "" when it can */
        struct endpoint_metrics *endpoints; /* by index in the catalog */
        struct spend_metrics *spends;       /* by subject of the catalog (budget_subjects()) */
        struct partition_metrics *partitions;
        uint32_t endpoints_count, spends_count, partitions_count, partitions_max;
};

struct process_metrics {
#define PROCESS_METRIC METRIC_FIELD
#include "schemas/metrics.def"
#undef PROCESS_METRIC
};

/* ---- the tables ---- */

enum metric_type { METRIC_TYPE_COUNTER, METRIC_TYPE_GAUGE, METRIC_TYPE_HISTOGRAM };

enum metric_labels {
#define LABEL_SET(name, labels) METRIC_LABELS_##name,
#include "schemas/metrics.def"
#undef LABEL_SET
};

enum metric_unit {
#define UNIT(name, text) METRIC_UNIT_##name,
#include "schemas/metrics.def"
#undef UNIT
        METRIC_UNITS_COUNT,
};

extern const char *const metric_unit_texts[METRIC_UNITS_COUNT]; /* "seconds" */

struct metric {
        const char *name, *help;
        enum metric_type type;
        enum metric_labels labels;
        enum metric_unit unit;
        uint32_t offset; /* in its struct */
        uint32_t values; /* 1 but for arrays */
};

struct metric_table {
        const struct metric *metrics;
        size_t count;
};

extern const struct metric_table shard_table, partition_table, endpoint_table, spend_table, process_table;

/* `base` is the struct of the metric's table; `index` < metric->values. Not for histograms. */
int64_t metric_get(const struct metric *metric, const void *base, uint32_t index);
const struct histogram *metric_histogram(const struct metric *metric, const void *base);

/* Counters 0, gauges not known. */
void metric_clear(const struct metric_table *table, void *base);
/*
 * Adds what `more` counts to `sum`, both structs of the table; sums stay at INT64_MAX. A gauge that is not
 * known in one of them is what it is in the other.
 */
void metric_add(const struct metric_table *table, const void *more, void *sum);
/*
 * A counter of `now` that is below that of `before` began again at zero: what it had counted goes to `kept`.
 */
void metric_keep(const struct metric_table *table, const void *now, const void *before, void *kept);
