#pragma once
/*
 * What a process tells of itself, gathered from its shards. Each shard owns a struct shard_metrics, counts in
 * it or fills it as it likes without any lock, and publishes a copy now and then; whoever reads (the thread
 * of the listener) reads the copies. No thread ever waits for another one's work, only for a copy being made.
 *
 *   each shard, every 50 ms or so while it turns:  fill its struct ─► metrics_publish()
 *   listener:  /metrics ─► metrics_expose()   /healthz ─► metrics_healthy()   /readyz ─► metrics_ready()
 *
 * A shard publishes at least every METRICS_TURN_MAX_NS, also when it has nothing to do: one whose copy is
 * older than METRICS_STUCK_NS hangs. Memory is bounded by the sizes given at the start; what is left out is
 * told.
 */
#include "broker/base/time.h"
#include "broker/ops/exposition.h"
#include "broker/ops/metric.h"

/* A loop with nothing to do turns that often. Well below the next, so that a busy machine raises no alarm. */
#define METRICS_TURN_MAX_NS (5 * NS_PER_S)
/* A loop that has not turned for so long hangs: nothing in a turn may take a fraction of that. */
#define METRICS_STUCK_NS (30 * NS_PER_S)

enum {
        METRICS_SHARDS_MAX = 256,         /* of the setting `shards` */
        METRICS_PARTITIONS_MAX = 1 << 12, /* per shard; more make a page that nobody reads */
};

struct metrics;

struct metrics_options {
        const char *version;
        const struct catalog *catalog; /* outlives the metrics; provider and model are unique in it */
        uint32_t shards;               /* 1 to METRICS_SHARDS_MAX */
        uint32_t partitions_max;       /* that a shard can tell of; 1 to METRICS_PARTITIONS_MAX */
        int64_t now_ns;                /* clock_now_ns() */
};

/* NULL: no memory. Every shard counts as METRICS_STARTING. */
struct metrics *metrics_new(const struct metrics_options *options);
struct metrics *metrics_free(struct metrics *metrics); /* after its listener; NULL gives NULL */

/*
 * A shard's own struct, all zero but for spends, which are not known, with room for endpoints and partitions.
 * NULL: no memory.
 */
struct shard_metrics *shard_metrics_new(const struct metrics *metrics);
struct shard_metrics *shard_metrics_free(struct shard_metrics *shard); /* NULL gives NULL */
/*
 * Before the partitions are told anew: there are none. Then one call for each that the shard holds. Its
 * gauges are METRIC_NOT_KNOWN until they are set. NULL: no room (counted in partitions_left_out).
 */
void shard_metrics_clear_partitions(struct shard_metrics *shard);
struct partition_metrics *shard_metrics_partition(struct shard_metrics *shard, const char *topic,
                                                  uint32_t partition);
/* Says why the shard cannot work now; shown by /readyz. "" when it can. Cut to METRIC_TROUBLE_BYTES. */
void shard_metrics_trouble(struct shard_metrics *shard, const char *why);

/*
 * Copies the struct, which stays the caller's; any thread, one at a time per shard. `index` < shards. A
 * counter that has gone back began again (a new engine, a new producer): what it had counted is kept.
 */
void metrics_publish(struct metrics *metrics, uint32_t index, const struct shard_metrics *shard);

/* Any thread. */
void metrics_expose(struct metrics *metrics, enum exposition_format format, int64_t now_ns,
                    const struct process_metrics *process, struct buffer *out_text);
/*
 * No shard hangs or has failed. Appends "ok" or one line per reason. One that has ended, as it was asked to,
 * is well.
 */
bool metrics_healthy(struct metrics *metrics, int64_t now_ns, struct buffer *out_text);
/*
 * Every shard is running, has joined, is in no trouble, and has restored the partitions that it holds.
 * Appends "ready" or one line per reason.
 */
bool metrics_ready(struct metrics *metrics, int64_t now_ns, struct buffer *out_text);
