#include "broker/cli/worker_metrics.h"

#define SPENDS_NS NS_PER_S /* between looks at all ledgers */

static void fill_engine(struct shard_metrics *to, const struct engine *engine) {
        const struct engine_stats *stats = engine_stats(engine);
        to->jobs = stats->jobs + stats->duplicates;
        to->duplicates = stats->duplicates;
        to->succeeded = stats->succeeded;
        for (int i = 0; i < FAILURES_COUNT; i++)
                to->failures[i] = stats->failures[i];
        to->calls = stats->calls;
        to->retries = stats->retries;
        to->in_flight = stats->in_flight;
        to->cost_picousd = stats->cost_picousd;
        to->cost_unknown = stats->cost_unknown;
        to->input_tokens = stats->input_tokens;
        to->cached_tokens = stats->cached_tokens;
        to->output_tokens = stats->output_tokens;
        for (int i = 0; i < METRIC_STATES; i++)
                to->inside[i] = engine_state_count(engine, (uint32_t)i);
}

static void fill_endpoints(struct shard_metrics *to, const struct engine *engine) {
        for (uint32_t i = 0; i < to->endpoints_count; i++) {
                const struct endpoint_stats *stats = engine_endpoint_stats(engine, i);
                struct endpoint_metrics *endpoint = &to->endpoints[i];
                endpoint->calls = stats->calls;
                endpoint->succeeded = stats->succeeded;
                endpoint->failed = stats->failed;
                endpoint->throttled = stats->throttled;
                endpoint->unknown = stats->unknown;
                endpoint->input_tokens = stats->input_tokens;
                endpoint->output_tokens = stats->output_tokens;
                endpoint->cost_picousd = stats->cost_picousd;
                endpoint->breaker_open = engine_endpoint_open(engine, i);
        }
}

/* In the order of the catalog that the metrics began with; one that came later is not shown. */
static void fill_spends(struct worker_metrics *metrics, const struct engine *engine) {
        const struct catalog *catalog = shard_catalog(member_shard(metrics->member));
        int64_t now_ns = clock_now_ns();
        if (!budget_any(catalog) || now_ns - metrics->spends_ns < SPENDS_NS)
                return;
        metrics->spends_ns = now_ns;
        for (uint32_t i = 0; i < metrics->shard->spends_count; i++) {
                struct spend_sums sums;
                struct spend_metrics *to = &metrics->shard->spends[i];
                uint32_t subject = budget_of_lasting(catalog, budget_lasting(metrics->catalog, i));
                if (!budget_is_counted(catalog, subject))
                        continue;
                engine_spend_sums(engine, subject, &sums);
                *to = (struct spend_metrics){.day_picousd = sums.day_picousd,
                                             .month_picousd = sums.month_picousd,
                                             .lifetime_picousd = sums.lifetime_picousd,
                                             .risk_picousd = sums.risk_picousd,
                                             .reserved_picousd = sums.reserved_picousd,
                                             .allowed_picousd = sums.allowed_picousd};
        }
}

static void fill_partitions(struct worker_metrics *metrics) {
        static _Thread_local struct partition_view views[METRICS_PARTITIONS_MAX];
        size_t count = record_intake_views(member_intake(metrics->member), views, METRICS_PARTITIONS_MAX);
        shard_metrics_clear_partitions(metrics->shard);
        for (size_t i = 0; i < count; i++) {
                const struct partition_view *view = &views[i];
                struct partition_metrics *to =
                        shard_metrics_partition(metrics->shard, metrics->topic, view->partition);
                if (!to)
                        continue;
                if (view->log_end > 0 && view->position > 0)
                        to->lag = view->log_end > view->mark ? (int64_t)(view->log_end - view->mark) : 0;
                to->committed = (int64_t)view->mark;
                to->position = (int64_t)view->position;
                to->window = view->open;
                to->parked = (int64_t)view->parked;
                to->paused = view->restoring || view->leaving;
                to->restored = !view->restoring;
                to->restore_ns = view->restore_ns;
                to->assigned_ns = view->assigned_ns;
        }
}

/* What stops the shard altogether comes first. */
static void tell_trouble(struct worker_metrics *metrics, const char *group, const char *publisher) {
        struct shard_progress progress;
        shard_get_progress(member_shard(metrics->member), &progress);
        const char *why = progress.trouble != TROUBLE_NONE ? progress.message : group[0] ? group : publisher;
        shard_metrics_trouble(metrics->shard, why);
}

static void fill_store(struct worker_metrics *metrics) {
        struct committer_stats stats;
        committer_get_stats(shard_committer(member_shard(metrics->member)), &stats);
        metrics->shard->journal_commit = stats.writes;
}

static void fill_kafka(struct worker_metrics *metrics) {
        struct publisher_stats publisher;
        struct record_stats records;
        struct shard_metrics *to = metrics->shard;
        member_publisher_stats(metrics->member, &publisher);
        record_intake_stats(member_intake(metrics->member), &records);
        to->dead_letters = publisher.dead_letters;
        to->rehomed = publisher.rehomed;
        to->republished = publisher.replayed;
        to->not_kept = records.not_kept;
        to->forgotten = records.forgotten;
        to->transactions_committed = publisher.committed;
        to->transactions_aborted = publisher.aborted;
        to->transactions_failed = publisher.fenced + publisher.replaced;
        to->producers_replaced = publisher.replaced;
        to->commit = publisher.commit;
        to->rebalances = records.rebalances;
        to->restores = records.restores;
        to->restore = records.restore;
        to->joined = records.joined;
        tell_trouble(metrics, records.message, publisher.message);
}

void worker_metrics_report(void *userdata) {
        struct worker_metrics *metrics = userdata;
        const struct engine *engine = shard_engine(member_shard(metrics->member));
        struct shard_metrics *to = metrics->shard;
        to->phase = atomic_load(&metrics->draining) ? METRICS_DRAINING : METRICS_RUNNING;
        to->turn_ns = clock_now_ns();
        to->payload_bytes = (int64_t)shard_payload_bytes(member_shard(metrics->member));
        fill_engine(to, engine);
        fill_endpoints(to, engine);
        fill_spends(metrics, engine);
        fill_kafka(metrics);
        fill_store(metrics);
        fill_partitions(metrics);
        metrics_publish(metrics->metrics, metrics->index, to);
}

void worker_metrics_end(struct worker_metrics *metrics, const char *why) {
        metrics->shard->phase = why ? METRICS_FAILED : METRICS_ENDED;
        shard_metrics_trouble(metrics->shard, why ? why : "");
        metrics_publish(metrics->metrics, metrics->index, metrics->shard);
}
