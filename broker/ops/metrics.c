/*
 * A slot per shard holds the last copy, and what counters had counted before they began again; its lock is
 * held for a copy only. Reading adds the slots up in one place, `view`, under a lock among readers, so that
 * nothing is allocated after the start and a page costs the shards nothing but the copying.
 *
 * A partition that moves between two shards of the process can be in the copies of both for a moment. A page
 * with the same series twice is refused by those who read it: the later assignment is shown.
 */
#include "broker/ops/metrics.h"

#include "broker/base/check.h"
#include "broker/ops/log.h"
#include "workers/routing/budget.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PARTITIONS_NAMED_MAX = 8, REASONS_BYTES_MAX = 1 << 20 };

struct slot {
        pthread_mutex_t lock;
        struct shard_metrics *last;
        struct shard_metrics *kept; /* of counters that began again; its endpoints, but no partitions */
};

struct metrics {
        struct metrics_options options;
        struct slot *slots;
        pthread_mutex_t view_lock;
        struct shard_metrics *total;
        struct shard_metrics *shards; /* as published, without their arrays */
};

static void clear(struct shard_metrics *shard) {
        metric_clear(&shard_table, shard);
        for (uint32_t i = 0; i < shard->endpoints_count; i++)
                metric_clear(&endpoint_table, &shard->endpoints[i]);
        for (uint32_t i = 0; i < shard->spends_count; i++)
                metric_clear(&spend_table, &shard->spends[i]);
        shard->partitions_count = 0;
}

/* ---- making ---- */

static struct shard_metrics *shard_new(const struct catalog *catalog, uint32_t partitions) {
        struct shard_metrics *shard = calloc(1, sizeof(*shard));
        uint32_t endpoints = catalog->endpoints_count, spends = budget_subjects(catalog);
        if (shard == NULL)
                return NULL;
        shard->endpoints = calloc(endpoints > 0 ? endpoints : 1, sizeof(*shard->endpoints));
        shard->partitions = calloc(partitions > 0 ? partitions : 1, sizeof(*shard->partitions));
        shard->spends = calloc(spends > 0 ? spends : 1, sizeof(*shard->spends));
        shard->endpoints_count = endpoints;
        shard->spends_count = spends;
        shard->partitions_max = partitions;
        if (shard->endpoints == NULL || shard->partitions == NULL || shard->spends == NULL)
                return shard_metrics_free(shard);
        for (uint32_t i = 0; i < spends; i++)
                metric_clear(&spend_table, &shard->spends[i]);
        return shard;
}

static bool slot_init(struct slot *slot, const struct metrics_options *options) {
        CHECK(slot != NULL && pthread_mutex_init(&slot->lock, NULL) == 0);
        slot->last = shard_new(options->catalog, options->partitions_max);
        slot->kept = shard_new(options->catalog, 0);
        if (slot->last == NULL || slot->kept == NULL)
                return false;
        clear(slot->kept);
        slot->last->turn_ns = options->now_ns;
        return true;
}

static void slot_deinit(struct slot *slot) {
        CHECK(slot);
        shard_metrics_free(slot->last);
        shard_metrics_free(slot->kept);
        (void)pthread_mutex_destroy(&slot->lock);
}

struct metrics *metrics_new(const struct metrics_options *options) {
        struct metrics *metrics = calloc(1, sizeof(*metrics));
        uint32_t made = 0;
        CHECK(options->shards > 0 && options->shards <= METRICS_SHARDS_MAX);
        CHECK(options->partitions_max > 0 && options->partitions_max <= METRICS_PARTITIONS_MAX);
        if (metrics == NULL)
                return NULL;
        metrics->options = *options;
        metrics->options.shards = 0;
        CHECK(pthread_mutex_init(&metrics->view_lock, NULL) == 0);
        metrics->total = shard_new(options->catalog, options->shards * options->partitions_max);
        metrics->shards = calloc(options->shards, sizeof(*metrics->shards));
        metrics->slots = calloc(options->shards, sizeof(*metrics->slots));
        if (metrics->total == NULL || metrics->shards == NULL || metrics->slots == NULL)
                return metrics_free(metrics);
        while (made < options->shards) {
                metrics->options.shards = made + 1; /* metrics_free() takes a half-made one too */
                if (!slot_init(&metrics->slots[made++], options))
                        return metrics_free(metrics);
        }
        return metrics;
}

struct metrics *metrics_free(struct metrics *metrics) {
        if (metrics == NULL)
                return NULL;
        for (uint32_t i = 0; i < metrics->options.shards; i++)
                slot_deinit(&metrics->slots[i]);
        free(metrics->slots);
        free(metrics->shards);
        shard_metrics_free(metrics->total);
        (void)pthread_mutex_destroy(&metrics->view_lock);
        free(metrics);
        return NULL;
}

/* ---- a shard's own struct ---- */

struct shard_metrics *shard_metrics_new(const struct metrics *metrics) {
        return shard_new(metrics->options.catalog, metrics->options.partitions_max);
}

struct shard_metrics *shard_metrics_free(struct shard_metrics *shard) {
        if (shard == NULL)
                return NULL;
        free(shard->endpoints);
        free(shard->spends);
        free(shard->partitions);
        free(shard);
        return NULL;
}

void shard_metrics_clear_partitions(struct shard_metrics *shard) {
        shard->partitions_count = 0;
        shard->partitions_left_out = 0;
}

struct partition_metrics *shard_metrics_partition(struct shard_metrics *shard, const char *topic,
                                                  uint32_t partition) {
        struct partition_metrics *made;
        if (shard->partitions_count == shard->partitions_max) {
                shard->partitions_left_out++;
                return NULL;
        }
        made = &shard->partitions[shard->partitions_count++];
        metric_clear(&partition_table, made);
        made->topic = topic;
        made->partition = partition;
        return made;
}

void shard_metrics_trouble(struct shard_metrics *shard, const char *why) {
        size_t size = strnlen(why, sizeof(shard->trouble) - 1);
        memcpy(shard->trouble, why, size);
        shard->trouble[size] = '\0';
}

/* ---- publishing ---- */

/* All but the arrays, which stay those of `to`. */
static void copy_numbers(const struct shard_metrics *from, struct shard_metrics *to) {
        struct shard_metrics before = *to;
        *to = *from;
        to->endpoints = before.endpoints;
        to->spends = before.spends;
        to->partitions = before.partitions;
        to->endpoints_count = before.endpoints_count;
        to->spends_count = before.spends_count;
        to->partitions_count = before.partitions_count;
        to->partitions_max = before.partitions_max;
}

void metrics_publish(struct metrics *metrics, uint32_t index, const struct shard_metrics *shard) {
        CHECK(index < metrics->options.shards);
        struct slot *slot = &metrics->slots[index];
        struct shard_metrics *last = slot->last;
        CHECK(shard->endpoints_count == last->endpoints_count && shard->spends_count == last->spends_count);
        CHECK(shard->partitions_count <= last->partitions_max);
        (void)pthread_mutex_lock(&slot->lock);
        metric_keep(&shard_table, shard, last, slot->kept);
        for (uint32_t i = 0; i < last->endpoints_count; i++)
                metric_keep(&endpoint_table, &shard->endpoints[i], &last->endpoints[i],
                            &slot->kept->endpoints[i]);
        copy_numbers(shard, last);
        memcpy(last->endpoints, shard->endpoints, last->endpoints_count * sizeof(*last->endpoints));
        memcpy(last->spends, shard->spends, last->spends_count * sizeof(*last->spends));
        memcpy(last->partitions, shard->partitions, shard->partitions_count * sizeof(*last->partitions));
        last->partitions_count = shard->partitions_count;
        (void)pthread_mutex_unlock(&slot->lock);
}

/* ---- exposing ---- */

static void add_slot(const struct slot *slot, struct shard_metrics *total) {
        const struct shard_metrics *last = slot->last, *kept = slot->kept;
        metric_add(&shard_table, last, total);
        metric_add(&shard_table, kept, total);
        for (uint32_t i = 0; i < total->endpoints_count; i++) {
                metric_add(&endpoint_table, &last->endpoints[i], &total->endpoints[i]);
                metric_add(&endpoint_table, &kept->endpoints[i], &total->endpoints[i]);
        }
        for (uint32_t i = 0; i < total->spends_count; i++) /* gauges: nothing is kept of them */
                metric_add(&spend_table, &last->spends[i], &total->spends[i]);
        memcpy(&total->partitions[total->partitions_count], last->partitions,
               last->partitions_count * sizeof(*last->partitions));
        total->partitions_count += last->partitions_count;
}

/* By topic and number; the later assignment first. */
static int compare_partitions(const void *a, const void *b) {
        const struct partition_metrics *one = a, *other = b;
        int topics = strcmp(one->topic, other->topic);
        if (topics != 0)
                return topics;
        if (one->partition != other->partition)
                return one->partition < other->partition ? -1 : 1;
        return (one->assigned_ns < other->assigned_ns) - (one->assigned_ns > other->assigned_ns);
}

static void sort_partitions(struct shard_metrics *total) {
        struct partition_metrics *partitions = total->partitions;
        uint32_t kept = 0;
        if (total->partitions_count > 0)
                qsort(partitions, total->partitions_count, sizeof(*partitions), compare_partitions);
        for (uint32_t i = 0; i < total->partitions_count; i++) {
                bool again = kept > 0 && partitions[kept - 1].partition == partitions[i].partition &&
                             strcmp(partitions[kept - 1].topic, partitions[i].topic) == 0;
                if (!again)
                        partitions[kept++] = partitions[i];
        }
        total->partitions_count = kept;
}

static void gather(struct metrics *metrics) {
        struct shard_metrics *total = metrics->total;
        clear(total);
        for (uint32_t i = 0; i < metrics->options.shards; i++) {
                struct slot *slot = &metrics->slots[i];
                (void)pthread_mutex_lock(&slot->lock);
                add_slot(slot, total);
                copy_numbers(slot->last, &metrics->shards[i]);
                (void)pthread_mutex_unlock(&slot->lock);
        }
        sort_partitions(total);
}

void metrics_expose(struct metrics *metrics, enum exposition_format format, int64_t now_ns,
                    const struct process_metrics *process, struct buffer *out_text) {
        (void)pthread_mutex_lock(&metrics->view_lock);
        gather(metrics);
        struct exposition_view view = {.version = metrics->options.version,
                                       .catalog = metrics->options.catalog,
                                       .process = process,
                                       .total = metrics->total,
                                       .shards = metrics->shards,
                                       .shards_count = metrics->options.shards,
                                       .now_ns = now_ns};
        exposition_append(&view, format, out_text);
        (void)pthread_mutex_unlock(&metrics->view_lock);
}

/* ---- health ---- */

/* One line, whatever is in the text. */
static void append_reason(struct buffer *text, uint32_t index, const char *reason) {
        buffer_printf(text, "shard %" PRIu32 ": ", index);
        size_t start = text->size;
        buffer_append_string(text, reason);
        for (size_t i = start; i < text->size; i++)
                if ((unsigned char)text->data[i] < 0x20 || text->data[i] == 0x7f)
                        text->data[i] = ' ';
        buffer_append_char(text, '\n');
}

/* Appends why the shard is not well; nothing when it is. */
static void append_illness(struct buffer *text, uint32_t index, const struct shard_metrics *shard,
                           int64_t now_ns) {
        int64_t age_ns = now_ns - shard->turn_ns;
        if (shard->phase == METRICS_FAILED) {
                append_reason(text, index, shard->trouble[0] == '\0' ? "it has failed" : shard->trouble);
                return;
        }
        if (shard->phase == METRICS_ENDED || age_ns < METRICS_STUCK_NS)
                return;
        buffer_printf(text, "shard %" PRIu32 ": its loop has not turned for ", index);
        duration_append(text, age_ns / NS_PER_S * NS_PER_S);
        buffer_append_char(text, '\n');
}

static void append_restoring(struct buffer *text, uint32_t index, const struct shard_metrics *shard) {
        uint32_t restoring = 0;
        for (uint32_t i = 0; i < shard->partitions_count; i++)
                restoring += shard->partitions[i].restored != 1;
        if (restoring == 0)
                return;
        buffer_printf(text,
                      "shard %" PRIu32 ": %" PRIu32 " of its %" PRIu32 " partitions not restored yet:", index,
                      restoring, shard->partitions_count);
        for (uint32_t i = 0, named = 0; i < shard->partitions_count && named < PARTITIONS_NAMED_MAX; i++)
                if (shard->partitions[i].restored != 1) {
                        buffer_printf(text, " %" PRIu32, shard->partitions[i].partition);
                        named++;
                }
        buffer_append_string(text, restoring > PARTITIONS_NAMED_MAX ? " and others\n" : "\n");
}

static void append_unreadiness(struct buffer *text, uint32_t index, const struct shard_metrics *shard) {
        switch (shard->phase) {
        case METRICS_STARTING:
                append_reason(text, index, "it is starting");
                return;
        case METRICS_DRAINING:
                append_reason(text, index, "it takes no more jobs and finishes what is under way");
                return;
        case METRICS_ENDED:
                append_reason(text, index, "it has ended");
                return;
        case METRICS_FAILED: /* said already */
                return;
        case METRICS_RUNNING:
                break;
        }
        if (shard->trouble[0] != '\0')
                append_reason(text, index, shard->trouble);
        if (shard->joined != 1)
                append_reason(text, index, "it has not joined the consumer group yet");
        append_restoring(text, index, shard);
}

/* A shard's lock is never held while another one (the log's, for its secrets) is waited for. */
static bool append_state(struct metrics *metrics, int64_t now_ns, bool ready, struct buffer *out_text) {
        struct buffer reasons;
        buffer_init(&reasons, REASONS_BYTES_MAX);
        for (uint32_t i = 0; i < metrics->options.shards; i++) {
                struct slot *slot = &metrics->slots[i];
                (void)pthread_mutex_lock(&slot->lock);
                append_illness(&reasons, i, slot->last, now_ns);
                if (ready)
                        append_unreadiness(&reasons, i, slot->last);
                (void)pthread_mutex_unlock(&slot->lock);
        }
        bool well = reasons.size == 0 && !reasons.failed;
        log_redact(buffer_view(&reasons), out_text);
        buffer_deinit(&reasons);
        return well;
}

bool metrics_healthy(struct metrics *metrics, int64_t now_ns, struct buffer *out_text) {
        bool healthy = append_state(metrics, now_ns, false, out_text);
        if (healthy)
                buffer_append_string(out_text, "ok\n");
        return healthy;
}

bool metrics_ready(struct metrics *metrics, int64_t now_ns, struct buffer *out_text) {
        bool ready = append_state(metrics, now_ns, true, out_text);
        if (ready)
                buffer_append_string(out_text, "ready\n");
        return ready;
}
