/*
 * The tables are made from the same lines as the structs, so that a field cannot be forgotten. Every value is
 * eight bytes wide and below 2^63, whatever its type is called; values are moved with memcpy().
 */
#include "broker/ops/metric.h"

#include <string.h>

const int64_t histogram_bounds_ns[HISTOGRAM_BUCKETS] = {
#define BUCKET(ns) INT64_C(ns),
#include "schemas/metrics.def"
#undef BUCKET
};

const char *const metric_unit_texts[METRIC_UNITS_COUNT] = {
#define UNIT(name, text) text,
#include "schemas/metrics.def"
#undef UNIT
};

/* ---- the tables ---- */

#define VALUES_NONE      1
#define VALUES_SHARD     1
#define VALUES_VERSION   1
#define VALUES_PARTITION 1
#define VALUES_ENDPOINT  1
#define VALUES_SUBJECT   1
#define VALUES_CODE      FAILURES_COUNT
#define VALUES_STATE     METRIC_STATES
#define ROW(struct_name, field, text, row_type, row_labels, row_unit, row_help)                              \
        {.name = (text),                                                                                     \
         .help = (row_help),                                                                                 \
         .type = METRIC_TYPE_##row_type,                                                                     \
         .labels = METRIC_LABELS_##row_labels,                                                               \
         .unit = METRIC_UNIT_##row_unit,                                                                     \
         .offset = offsetof(struct struct_name, field),                                                      \
         .values = VALUES_##row_labels},
#define TABLE(rows)                                                                                          \
        { rows, sizeof(rows) / sizeof(*(rows)) }

static const struct metric shard_rows[] = {
#define SHARD_METRIC(field, name, type, labels, unit, help)                                                  \
        ROW(shard_metrics, field, name, type, labels, unit, help)
#include "schemas/metrics.def"
#undef SHARD_METRIC
};

static const struct metric partition_rows[] = {
#define PARTITION_METRIC(field, name, type, labels, unit, help)                                              \
        ROW(partition_metrics, field, name, type, labels, unit, help)
#include "schemas/metrics.def"
#undef PARTITION_METRIC
};

static const struct metric endpoint_rows[] = {
#define ENDPOINT_METRIC(field, name, type, labels, unit, help)                                               \
        ROW(endpoint_metrics, field, name, type, labels, unit, help)
#include "schemas/metrics.def"
#undef ENDPOINT_METRIC
};

static const struct metric spend_rows[] = {
#define SPEND_METRIC(field, name, type, labels, unit, help)                                                  \
        ROW(spend_metrics, field, name, type, labels, unit, help)
#include "schemas/metrics.def"
#undef SPEND_METRIC
};

static const struct metric process_rows[] = {
#define PROCESS_METRIC(field, name, type, labels, unit, help)                                                \
        ROW(process_metrics, field, name, type, labels, unit, help)
#include "schemas/metrics.def"
#undef PROCESS_METRIC
};

const struct metric_table shard_table = TABLE(shard_rows);
const struct metric_table partition_table = TABLE(partition_rows);
const struct metric_table endpoint_table = TABLE(endpoint_rows);
const struct metric_table spend_table = TABLE(spend_rows);
const struct metric_table process_table = TABLE(process_rows);

/* ---- histograms ---- */

void histogram_observe(struct histogram *histogram, int64_t ns) {
        size_t low = 0, high = HISTOGRAM_BUCKETS;
        ns = ns < 0 ? 0 : ns;
        while (low < high) {
                size_t middle = (low + high) / 2;
                if (histogram_bounds_ns[middle] < ns)
                        low = middle + 1;
                else
                        high = middle;
        }
        histogram->counts[low]++;
        if (__builtin_add_overflow(histogram->sum_ns, ns, &histogram->sum_ns))
                histogram->sum_ns = INT64_MAX;
}

uint64_t histogram_count(const struct histogram *histogram) {
        uint64_t count = 0;
        for (size_t i = 0; i <= HISTOGRAM_BUCKETS; i++)
                count += histogram->counts[i];
        return count;
}

static void histogram_add(const struct histogram *more, struct histogram *sum) {
        for (size_t i = 0; i <= HISTOGRAM_BUCKETS; i++)
                sum->counts[i] += more->counts[i];
        if (__builtin_add_overflow(sum->sum_ns, more->sum_ns, &sum->sum_ns))
                sum->sum_ns = INT64_MAX;
}

/* ---- values ---- */

int64_t metric_get(const struct metric *metric, const void *base, uint32_t index) {
        int64_t value;
        memcpy(&value, (const char *)base + metric->offset + index * sizeof(value), sizeof(value));
        return value;
}

static void metric_set(const struct metric *metric, void *base, uint32_t index, int64_t value) {
        memcpy((char *)base + metric->offset + index * sizeof(value), &value, sizeof(value));
}

const struct histogram *metric_histogram(const struct metric *metric, const void *base) {
        return (const void *)((const char *)base + metric->offset);
}

static struct histogram *histogram_in(const struct metric *metric, void *base) {
        return (void *)((char *)base + metric->offset);
}

static int64_t add(int64_t a, int64_t b) {
        int64_t sum;
        if (a == METRIC_NOT_KNOWN || b == METRIC_NOT_KNOWN)
                return a == METRIC_NOT_KNOWN ? b : a;
        return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

void metric_clear(const struct metric_table *table, void *base) {
        for (size_t i = 0; i < table->count; i++) {
                const struct metric *metric = &table->metrics[i];
                if (metric->type == METRIC_TYPE_HISTOGRAM)
                        *histogram_in(metric, base) = (struct histogram){.sum_ns = 0};
                for (uint32_t value = 0; metric->type != METRIC_TYPE_HISTOGRAM && value < metric->values;
                     value++)
                        metric_set(metric, base, value,
                                   metric->type == METRIC_TYPE_COUNTER ? 0 : METRIC_NOT_KNOWN);
        }
}

void metric_add(const struct metric_table *table, const void *more, void *sum) {
        for (size_t i = 0; i < table->count; i++) {
                const struct metric *metric = &table->metrics[i];
                if (metric->type == METRIC_TYPE_HISTOGRAM) {
                        histogram_add(metric_histogram(metric, more), histogram_in(metric, sum));
                        continue;
                }
                for (uint32_t value = 0; value < metric->values; value++)
                        metric_set(metric, sum, value,
                                   add(metric_get(metric, more, value), metric_get(metric, sum, value)));
        }
}

void metric_keep(const struct metric_table *table, const void *now, const void *before, void *kept) {
        for (size_t i = 0; i < table->count; i++) {
                const struct metric *metric = &table->metrics[i];
                if (metric->type == METRIC_TYPE_HISTOGRAM &&
                    histogram_count(metric_histogram(metric, now)) <
                            histogram_count(metric_histogram(metric, before)))
                        histogram_add(metric_histogram(metric, before), histogram_in(metric, kept));
                if (metric->type != METRIC_TYPE_COUNTER)
                        continue;
                for (uint32_t value = 0; value < metric->values; value++)
                        if (metric_get(metric, now, value) < metric_get(metric, before, value))
                                metric_set(metric, kept, value,
                                           add(metric_get(metric, before, value),
                                               metric_get(metric, kept, value)));
        }
}
