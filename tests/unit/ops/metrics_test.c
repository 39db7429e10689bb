/*
 * The page against a golden text and against a strict reader; sums, histograms, counters that begin again,
 * partitions that move; health and readiness with the reason in words.
 */
#include "broker/base/money.h"
#include "broker/base/prng.h"
#include "broker/ops/log.h"
#include "broker/ops/metrics.h"
#include "broker/ops/process.h"
#include "tests/unit/ops/exposition_check.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define GOLDEN     TEST_SOURCE_DIR "/tests/unit/ops/data/metrics.txt"
#define GOLDEN_OM  TEST_SOURCE_DIR "/tests/unit/ops/data/metrics.openmetrics.txt"
#define NOW_NS     (1000 * NS_PER_S)
#define PAGE_BYTES ((size_t)16 << 20)

enum { SHARDS = 2, PARTITIONS = 4 };

static const struct provider providers[] = {{.name = "openai", .budget.daily = 5}, {.name = "a\\b\"c\nd"}};
static const struct endpoint endpoints[] = {
        {.name = "openai/gpt-4o-mini", .provider = 0, .model = "gpt-4o-mini"},
        {.name = "openai/*", .provider = 0, .model = "*"},
        {.name = "odd", .provider = 1, .model = "m\xc3\xbcnchen"},
        {.name = "broken", .provider = 1, .model = "not\xff utf8"},
};
static const struct workspace workspaces[] = {{.name = "default"}, {.name = "sh\"op"}};
static const struct catalog catalog = {.providers = providers,
                                       .providers_count = 2,
                                       .endpoints = endpoints,
                                       .endpoints_count = 4,
                                       .workspaces = workspaces,
                                       .workspaces_count = 2};
static const struct process_metrics process = {.build = 1,
                                               .cpu_ns = 1500000000,
                                               .start_unix_ns = INT64_C(1795395847250000000),
                                               .resident_bytes = 12345678,
                                               .open_fds = 42,
                                               .max_fds = METRIC_NOT_KNOWN,
                                               .log_suppressed = 3};

static struct metrics *new_metrics(uint32_t shards) {
        struct metrics_options options = {.version = "0.1.0",
                                          .catalog = &catalog,
                                          .shards = shards,
                                          .partitions_max = PARTITIONS,
                                          .now_ns = NOW_NS - 20 * NS_PER_S};
        struct metrics *metrics = metrics_new(&options);
        assert_non_null(metrics);
        return metrics;
}

static struct shard_metrics *new_shard(const struct metrics *metrics) {
        struct shard_metrics *shard = shard_metrics_new(metrics);
        assert_non_null(shard);
        shard->phase = METRICS_RUNNING;
        shard->joined = 1;
        shard->turn_ns = NOW_NS - NS_PER_S / 2;
        return shard;
}

static struct partition_metrics *add_partition(struct shard_metrics *shard, uint32_t number,
                                               int64_t assigned_ns) {
        struct partition_metrics *partition = shard_metrics_partition(shard, "batchferry.jobs", number);
        assert_non_null(partition);
        partition->restored = 1;
        partition->assigned_ns = assigned_ns;
        return partition;
}

/* The page, terminated; the caller frees it. */
static char *page_of(struct metrics *metrics, enum exposition_format format) {
        struct buffer text;
        buffer_init(&text, PAGE_BYTES);
        metrics_expose(metrics, format, NOW_NS, &process, &text);
        buffer_append_char(&text, '\0');
        assert_false(text.failed);
        check_exposition(text.data, format == EXPOSITION_OPENMETRICS, NULL, NULL);
        return text.data;
}

static void assert_has(const char *page, const char *line) {
        size_t size = strlen(line);
        for (const char *at = page; at != NULL; at = strchr(at, '\n') == NULL ? NULL : strchr(at, '\n') + 1)
                if (strncmp(at, line, size) == 0 && (at[size] == '\n' || at[size] == '\0'))
                        return;
        fail_msg("there is no line \"%s\" in\n%s", line, page);
}

/* ---- the page ---- */

static void fill(struct shard_metrics *shard, uint64_t times) {
        shard->jobs = 1000 * times;
        shard->duplicates = 20;
        shard->succeeded = 950;
        shard->failures[FAILURE_NONE] = 7; /* not shown: a job that succeeded has no code */
        shard->failures[FAILURE_INVALID_JOB] = 3;
        shard->failures[FAILURE_INTERNAL] = times;
        shard->inside[0] = 9; /* not shown: free slots */
        shard->inside[1] = 5;
        shard->in_flight = 64;
        shard->cost_picousd = 120000 * (int64_t)times;
        shard->payload_bytes = 1 << 20;
        shard->transactions_committed = 12;
        histogram_observe(&shard->commit, 5 * NS_PER_MS);
        histogram_observe(&shard->commit, 5 * NS_PER_MS + 1);
        histogram_observe(&shard->commit, 3600 * NS_PER_S);
        shard->endpoints[0].calls = 400;
        shard->endpoints[0].cost_picousd = 3 * PICOUSD_PER_USD;
        shard->endpoints[2].breaker_open = 1;
        for (uint32_t i = 1; i < 3; i++) /* of the first workspace and the last provider nothing is known */
                shard->spends[i] = (struct spend_metrics){.day_picousd = i,
                                                          .month_picousd = 2 * i,
                                                          .lifetime_picousd = i * PICOUSD_PER_USD,
                                                          .reserved_picousd = (int64_t)times};
}

static void golden_page(struct metrics *metrics, enum exposition_format format, const char *path) {
        char *page = page_of(metrics, format), *golden = calloc(1, PAGE_BYTES);
        FILE *file = fopen(path, "r");
        size_t line = 1, at = 0;
        assert_non_null(golden);
        assert_non_null(file);
        assert_true(fread(golden, 1, PAGE_BYTES - 1, file) > 0);
        fclose(file);
        for (; page[at] == golden[at] && page[at] != '\0'; at++)
                line += page[at] == '\n';
        if (page[at] != golden[at]) {
                file = getenv("METRICS_TEST_WRITE") == NULL ? NULL : fopen(path, "w");
                if (file != NULL)
                        (void)!fwrite(page, 1, strlen(page), file), fclose(file);
                fail_msg("%s, line %zu: \"%.100s\" is not \"%.100s\" (METRICS_TEST_WRITE=1 writes it anew)",
                         path, line, page + at, golden + at);
        }
        free(golden);
        free(page);
}

static void golden(void **state) {
        struct metrics *metrics = new_metrics(SHARDS);
        struct shard_metrics *first = new_shard(metrics), *second = new_shard(metrics);
        struct partition_metrics *partition;
        (void)state;
        fill(first, 1);
        fill(second, 2);
        second->cost_unknown = 1;
        second->turn_ns = NOW_NS + 1; /* a reader's clock may have been read a little earlier */
        partition = add_partition(second, 11, NOW_NS - 90 * NS_PER_S);
        partition->lag = 123456789012;
        partition->committed = 5;
        partition->position = 17;
        partition->window = 12;
        partition->parked = 1;
        partition->paused = 0;
        partition->restore_ns = 1234500000;
        add_partition(first, 2, NOW_NS - NS_PER_S)->restored = 0;
        metrics_publish(metrics, 0, first);
        metrics_publish(metrics, 1, second);
        golden_page(metrics, EXPOSITION_PROMETHEUS, GOLDEN);
        golden_page(metrics, EXPOSITION_OPENMETRICS, GOLDEN_OM);
        shard_metrics_free(first);
        shard_metrics_free(second);
        metrics_free(metrics);
}

static void labels_are_escaped(void **state) {
        struct metrics *metrics = new_metrics(1);
        char *page = page_of(metrics, EXPOSITION_PROMETHEUS);
        (void)state;
        assert_has(page, "batchferry_endpoint_calls_total{provider=\"openai\",model=\"*\"} 0");
        assert_has(
                page,
                "batchferry_endpoint_calls_total{provider=\"a\\\\b\\\"c\\nd\",model=\"m\xc3\xbcnchen\"} 0");
        assert_has(page,
                   "batchferry_endpoint_calls_total{provider=\"a\\\\b\\\"c\\nd\",model=\"not? utf8\"} 0");
        free(page);
        metrics_free(metrics);
}

static void values_are_exact(void **state) {
        static const struct {
                int64_t picousd;
                const char *line;
        } cases[] = {
                {0, "batchferry_cost_usd_total 0"},
                {1, "batchferry_cost_usd_total 0.000000000001"},
                {120000, "batchferry_cost_usd_total 0.00000012"},
                {PICOUSD_PER_USD, "batchferry_cost_usd_total 1"},
                {10 * PICOUSD_PER_USD + PICOUSD_PER_USD / 2, "batchferry_cost_usd_total 10.5"},
                {INT64_MAX, "batchferry_cost_usd_total 9223372.036854775807"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct metrics *metrics = new_metrics(1);
                struct shard_metrics *shard = new_shard(metrics);
                shard->cost_picousd = cases[i].picousd;
                metrics_publish(metrics, 0, shard);
                char *page = page_of(metrics, EXPOSITION_PROMETHEUS);
                assert_has(page, cases[i].line);
                free(page);
                shard_metrics_free(shard);
                metrics_free(metrics);
        }
}

/* What is added up stays at the largest number; what is below zero stays so. */
static void sums(void **state) {
        struct metrics *metrics = new_metrics(SHARDS);
        struct shard_metrics *shard = new_shard(metrics);
        (void)state;
        shard->cost_picousd = INT64_MAX;
        shard->in_flight = -3;
        shard->inside[2] = METRIC_NOT_KNOWN;
        metrics_publish(metrics, 0, shard);
        shard->in_flight = 1;
        metrics_publish(metrics, 1, shard);
        char *page = page_of(metrics, EXPOSITION_PROMETHEUS);
        assert_has(page, "batchferry_cost_usd_total 9223372.036854775807");
        assert_has(page, "batchferry_calls_in_flight -2");
        assert_has(page, "batchferry_jobs_inside{state=\"seeking\"} 0");
        assert_null(strstr(page, "state=\"waiting\"")); /* nobody knows how many */
        free(page);
        shard_metrics_free(shard);
        metrics_free(metrics);
}

/* Every line of the table: names and units as Prometheus wants them. */
static void the_table(void **state) {
        const struct metric_table *tables[] = {&process_table, &shard_table, &partition_table,
                                               &endpoint_table};
        (void)state;
        for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
                for (size_t i = 0; i < tables[t]->count; i++) {
                        const struct metric *metric = &tables[t]->metrics[i];
                        const char *unit = metric_unit_texts[metric->unit];
                        bool counter = metric->type == METRIC_TYPE_COUNTER;
                        char end[64];
                        snprintf(end, sizeof(end), "%s%s%s", unit[0] == '\0' ? "" : "_", unit,
                                 counter ? "_total" : "");
                        if (!check_ends(metric->name, end) || check_ends(metric->name, "_total") != counter)
                                fail_msg("%s does not end with %s", metric->name, end);
                        if (strncmp(metric->name, "batchferry_", 11) != 0 &&
                            strncmp(metric->name, "process_", 8) != 0)
                                fail_msg("%s is a name of another program", metric->name);
                        assert_true(metric->help[0] != '\0');
                        assert_true(metric->type != METRIC_TYPE_HISTOGRAM ||
                                    metric->labels == METRIC_LABELS_NONE);
                }
}

/* ---- histograms ---- */

static void histogram_bounds(void **state) {
        (void)state;
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
                struct histogram histogram = {.sum_ns = 0};
                assert_true(i == 0 || histogram_bounds_ns[i] > histogram_bounds_ns[i - 1]);
                histogram_observe(&histogram, histogram_bounds_ns[i]);
                assert_int_equal(histogram.counts[i], 1); /* a bound is in its bucket */
                histogram_observe(&histogram, histogram_bounds_ns[i] + 1);
                assert_int_equal(histogram.counts[i + 1], 1);
                assert_int_equal(histogram.sum_ns, 2 * histogram_bounds_ns[i] + 1);
                assert_int_equal(histogram_count(&histogram), 2);
        }
}

static void histogram_extremes(void **state) {
        struct histogram histogram = {.sum_ns = 0};
        (void)state;
        histogram_observe(&histogram, INT64_MIN); /* a clock that went back */
        histogram_observe(&histogram, 0);
        assert_int_equal(histogram.counts[0], 2);
        assert_int_equal(histogram.sum_ns, 0);
        histogram_observe(&histogram, INT64_MAX);
        histogram_observe(&histogram, INT64_MAX);
        assert_int_equal(histogram.counts[HISTOGRAM_BUCKETS], 2);
        assert_true(histogram.sum_ns == INT64_MAX);
}

/* Against counting one by one. */
static void histogram_against_simple(void **state) {
        struct histogram histogram = {.sum_ns = 0};
        uint64_t below[HISTOGRAM_BUCKETS] = {0}, sum = 0;
        struct prng prng;
        (void)state;
        prng_init(&prng, 7);
        for (unsigned i = 0; i < 20000; i++) {
                int64_t ns = (int64_t)(prng_next(&prng) >> (24 + prng_below(&prng, 40)));
                histogram_observe(&histogram, ns);
                sum += (uint64_t)ns;
                for (size_t b = 0; b < HISTOGRAM_BUCKETS; b++)
                        below[b] += ns <= histogram_bounds_ns[b];
        }
        assert_int_equal(histogram.sum_ns, sum);
        for (size_t b = 0, seen = 0; b < HISTOGRAM_BUCKETS; b++) {
                seen += histogram.counts[b];
                assert_int_equal(seen, below[b]);
        }
        assert_true(below[0] > 0 && histogram.counts[HISTOGRAM_BUCKETS] > 0); /* all of them were tried */
}

/* ---- copies ---- */

static void counters_never_fall(void **state) {
        struct metrics *metrics = new_metrics(SHARDS);
        struct shard_metrics *shard = new_shard(metrics);
        char *page;
        (void)state;
        shard->jobs = 100;
        shard->failures[FAILURE_INTERNAL] = 4;
        shard->in_flight = 50;
        shard->endpoints[1].cost_picousd = PICOUSD_PER_USD;
        histogram_observe(&shard->commit, NS_PER_MS);
        histogram_observe(&shard->commit, NS_PER_MS);
        metrics_publish(metrics, 1, shard);
        shard_metrics_free(shard);
        shard = new_shard(metrics); /* with a new engine */
        shard->jobs = 1;
        shard->in_flight = 2;
        histogram_observe(&shard->commit, NS_PER_S);
        metrics_publish(metrics, 1, shard);
        metrics_publish(metrics, 1, shard); /* what stays the same is not counted twice */
        page = page_of(metrics, EXPOSITION_PROMETHEUS);
        assert_has(page, "batchferry_jobs_total 101");
        assert_has(page, "batchferry_jobs_failed_total{code=\"internal\"} 4");
        assert_has(page, "batchferry_calls_in_flight 2");
        assert_has(page, "batchferry_endpoint_cost_usd_total{provider=\"openai\",model=\"*\"} 1");
        assert_has(page, "batchferry_commit_seconds_count 3");
        assert_has(page, "batchferry_commit_seconds_sum 1.002");
        free(page);
        shard->jobs = 0; /* and a third one */
        metrics_publish(metrics, 1, shard);
        page = page_of(metrics, EXPOSITION_PROMETHEUS);
        assert_has(page, "batchferry_jobs_total 101");
        free(page);
        shard_metrics_free(shard);
        metrics_free(metrics);
}

/* A partition in the copies of two shards is shown once, as it is where it was assigned last. */
static void partitions_move(void **state) {
        struct metrics *metrics = new_metrics(SHARDS);
        struct shard_metrics *first = new_shard(metrics), *second = new_shard(metrics);
        char *page;
        (void)state;
        add_partition(first, 3, NOW_NS - 9 * NS_PER_S)->lag = 10;
        add_partition(first, 3, NOW_NS - 9 * NS_PER_S)->lag = 10;
        add_partition(second, 3, NOW_NS - 5 * NS_PER_S)->lag = 20;
        shard_metrics_partition(second, "other.topic", 3)->lag = 30;
        metrics_publish(metrics, 0, first);
        metrics_publish(metrics, 1, second);
        page = page_of(metrics, EXPOSITION_PROMETHEUS); /* the reader refuses series that come twice */
        assert_has(page, "batchferry_partition_lag{topic=\"batchferry.jobs\",partition=\"3\"} 20");
        assert_has(page, "batchferry_partition_lag{topic=\"other.topic\",partition=\"3\"} 30");
        free(page);
        shard_metrics_clear_partitions(first);
        shard_metrics_clear_partitions(second);
        metrics_publish(metrics, 0, first);
        metrics_publish(metrics, 1, second);
        page = page_of(metrics, EXPOSITION_PROMETHEUS);
        assert_null(strstr(page, "batchferry_partition_lag{"));
        free(page);
        shard_metrics_free(first);
        shard_metrics_free(second);
        metrics_free(metrics);
}

static void partitions_without_room(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct shard_metrics *shard = new_shard(metrics);
        (void)state;
        for (uint32_t i = 0; i < PARTITIONS; i++)
                add_partition(shard, i, 0);
        assert_null(shard_metrics_partition(shard, "batchferry.jobs", 77));
        assert_null(shard_metrics_partition(shard, "batchferry.jobs", 78));
        metrics_publish(metrics, 0, shard);
        char *page = page_of(metrics, EXPOSITION_PROMETHEUS);
        assert_has(page, "batchferry_partitions_left_out{shard=\"0\"} 2");
        assert_has(page, "batchferry_partition_restored{topic=\"batchferry.jobs\",partition=\"3\"} 1");
        assert_null(strstr(page, "partition=\"77\""));
        assert_null(strstr(page, "batchferry_partition_lag{")); /* not known, so not told */
        free(page);
        shard_metrics_clear_partitions(shard);
        assert_int_equal(shard->partitions_left_out, 0);
        shard_metrics_free(shard);
        metrics_free(metrics);
}

/* A page that does not fit is no page; what is there says so. */
static void a_page_without_room(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct buffer text;
        (void)state;
        buffer_init(&text, 4096);
        metrics_expose(metrics, EXPOSITION_PROMETHEUS, NOW_NS, &process, &text);
        assert_true(text.failed);
        buffer_deinit(&text);
        metrics_free(metrics);
}

/* ---- health ---- */

static void assert_state(struct metrics *metrics, int64_t now_ns, bool healthy, const char *health,
                         bool ready, const char *readiness) {
        struct buffer text;
        buffer_init(&text, 4096);
        assert_int_equal(metrics_healthy(metrics, now_ns, &text), healthy);
        buffer_append_char(&text, '\0');
        assert_string_equal(text.data, health);
        buffer_clear(&text);
        assert_int_equal(metrics_ready(metrics, now_ns, &text), ready);
        buffer_append_char(&text, '\0');
        assert_string_equal(text.data, readiness);
        buffer_deinit(&text);
}

static void phases(void **state) {
        static const struct {
                enum metrics_phase phase;
                const char *readiness;
        } cases[] = {
                {METRICS_STARTING, "shard 0: it is starting\n"},
                {METRICS_DRAINING, "shard 0: it takes no more jobs and finishes what is under way\n"},
                {METRICS_ENDED, "shard 0: it has ended\n"},
        };
        struct metrics *metrics = new_metrics(1);
        struct shard_metrics *shard = new_shard(metrics);
        (void)state;
        assert_state(metrics, NOW_NS, true, "ok\n", false, "shard 0: it is starting\n");
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                shard->phase = cases[i].phase;
                metrics_publish(metrics, 0, shard);
                assert_state(metrics, NOW_NS, true, "ok\n", false, cases[i].readiness);
        }
        assert_state(metrics, NOW_NS + 999 * NS_PER_S, true, "ok\n", false, "shard 0: it has ended\n");
        shard->phase = METRICS_FAILED;
        metrics_publish(metrics, 0, shard);
        assert_state(metrics, NOW_NS, false, "shard 0: it has failed\n", false, "shard 0: it has failed\n");
        shard_metrics_trouble(shard, "the store is broken");
        metrics_publish(metrics, 0, shard);
        assert_state(metrics, NOW_NS, false, "shard 0: the store is broken\n", false,
                     "shard 0: the store is broken\n");
        shard_metrics_free(shard);
        metrics_free(metrics);
}

static void stuck(void **state) {
        static const char why[] = "shard 1: its loop has not turned for 30s\n";
        struct metrics *metrics = new_metrics(SHARDS);
        struct shard_metrics *shard = new_shard(metrics);
        (void)state;
        shard->turn_ns = NOW_NS;
        metrics_publish(metrics, 0, shard);
        metrics_publish(metrics, 1, shard);
        assert_state(metrics, NOW_NS + METRICS_STUCK_NS - 1, true, "ok\n", true, "ready\n");
        shard->turn_ns = NOW_NS + NS_PER_S;
        metrics_publish(metrics, 0, shard);
        assert_state(metrics, NOW_NS + METRICS_STUCK_NS, false, why, false, why);
        metrics_publish(metrics, 1, shard); /* it turns again */
        assert_state(metrics, NOW_NS + METRICS_STUCK_NS, true, "ok\n", true, "ready\n");
        shard_metrics_free(shard);
        metrics_free(metrics);
}

/* A loop that never began hangs as well. */
static void never_begun(void **state) {
        struct metrics *metrics = new_metrics(1);
        (void)state;
        assert_state(metrics, NOW_NS + 100 * NS_PER_S, false, "shard 0: its loop has not turned for 2m\n",
                     false, "shard 0: its loop has not turned for 2m\nshard 0: it is starting\n");
        metrics_free(metrics);
}

static void readiness(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct shard_metrics *shard = new_shard(metrics);
        (void)state;
        shard->joined = 0;
        log_secret(BYTES("sk-secret"));
        shard_metrics_trouble(shard, "the key sk-secret\nis refused");
        metrics_publish(metrics, 0, shard);
        assert_state(metrics, NOW_NS, true, "ok\n", false,
                     "shard 0: the key *** is refused\nshard 0: it has not joined the consumer group yet\n");
        log_forget();
        shard->joined = 1;
        shard_metrics_trouble(shard, "");
        metrics_publish(metrics, 0, shard);
        assert_state(metrics, NOW_NS, true, "ok\n", true,
                     "ready\n"); /* with no partition: there are more shards */
        add_partition(shard, 5, NOW_NS);
        add_partition(shard, 6, NOW_NS)->restored = 0;
        (void)shard_metrics_partition(shard, "batchferry.jobs", 7); /* not known */
        metrics_publish(metrics, 0, shard);
        assert_state(metrics, NOW_NS, true, "ok\n", false,
                     "shard 0: 2 of its 3 partitions not restored yet: 6 7\n");
        shard->partitions[1].restored = shard->partitions[2].restored = 1;
        metrics_publish(metrics, 0, shard);
        assert_state(metrics, NOW_NS, true, "ok\n", true, "ready\n");
        shard_metrics_free(shard);
        metrics_free(metrics);
}

static void long_trouble(void **state) {
        struct metrics *metrics = new_metrics(1);
        struct shard_metrics *shard = new_shard(metrics);
        char why[2 * METRIC_TROUBLE_BYTES];
        (void)state;
        memset(why, 'x', sizeof(why));
        why[sizeof(why) - 1] = '\0';
        shard_metrics_trouble(shard, why);
        assert_int_equal(strlen(shard->trouble), METRIC_TROUBLE_BYTES - 1);
        shard_metrics_free(shard);
        metrics_free(metrics);
}

/* ---- which format ---- */

static void negotiation(void **state) {
        static const struct {
                const char *accept;
                enum exposition_format format;
        } cases[] = {
                {NULL, EXPOSITION_PROMETHEUS},
                {"", EXPOSITION_PROMETHEUS},
                {"*/*", EXPOSITION_PROMETHEUS},
                {"text/html,application/xhtml+xml,*/*;q=0.8", EXPOSITION_PROMETHEUS},
                /* Prometheus 2.50 and 3 */
                {"application/openmetrics-text;version=1.0.0;q=0.5,application/"
                 "openmetrics-text;version=0.0.1;"
                 "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                 EXPOSITION_OPENMETRICS},
                {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
                 "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                 "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                 EXPOSITION_OPENMETRICS},
                {"application/openmetrics-text", EXPOSITION_OPENMETRICS},
                {" Application/OpenMetrics-Text ; Q=1 , text/plain", EXPOSITION_OPENMETRICS},
                {"text/plain;q=0.9,application/openmetrics-text;q=0.8", EXPOSITION_PROMETHEUS},
                {"application/openmetrics-text;q=0", EXPOSITION_PROMETHEUS},
                {"application/openmetrics-text;q=0.0001", EXPOSITION_PROMETHEUS}, /* no quality */
                {"application/openmetrics-text;version=0.0.1", EXPOSITION_PROMETHEUS},
                {"application/openmetrics-text;version=2.0.0,text/plain;q=0.1", EXPOSITION_PROMETHEUS},
                {";,;q=;q,,", EXPOSITION_PROMETHEUS},
                {"application/openmetrics-text;q=nan", EXPOSITION_PROMETHEUS},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                if (exposition_negotiate(cases[i].accept) != cases[i].format)
                        fail_msg("\"%s\" gives the other format", cases[i].accept);
}

/* ---- the process ---- */

static int64_t count_files(int64_t max) {
        int64_t count = 0;
        for (int fd = 0; fd < max && fd < 65536; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

static void this_process(void **state) {
        struct process_metrics before, now, with_file;
        int64_t unix_ns = (int64_t)time(NULL) * NS_PER_S;
        FILE *file;
        (void)state;
        process_read(&before);
        assert_int_equal(before.build, 1);
        assert_true(before.cpu_ns > 0);
        assert_true(before.resident_bytes > 100000 && before.resident_bytes < INT64_C(1) << 40);
        assert_true(before.start_unix_ns > unix_ns - 3600 * NS_PER_S);
        assert_true(before.start_unix_ns < unix_ns + 2 * NS_PER_S);
        assert_int_equal(before.open_fds, count_files(before.max_fds));
        file = tmpfile();
        assert_non_null(file);
        process_read(&with_file);
        assert_int_equal(with_file.open_fds, before.open_fds + 1);
        fclose(file);
        process_read(&now);
        assert_int_equal(now.open_fds, before.open_fds);
        assert_true(now.cpu_ns > before.cpu_ns);
        assert_true(now.start_unix_ns == before.start_unix_ns);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(golden),
                cmocka_unit_test(labels_are_escaped),
                cmocka_unit_test(values_are_exact),
                cmocka_unit_test(sums),
                cmocka_unit_test(the_table),
                cmocka_unit_test(histogram_bounds),
                cmocka_unit_test(histogram_extremes),
                cmocka_unit_test(histogram_against_simple),
                cmocka_unit_test(counters_never_fall),
                cmocka_unit_test(partitions_move),
                cmocka_unit_test(partitions_without_room),
                cmocka_unit_test(a_page_without_room),
                cmocka_unit_test(phases),
                cmocka_unit_test(stuck),
                cmocka_unit_test(never_begun),
                cmocka_unit_test(readiness),
                cmocka_unit_test(long_trouble),
                cmocka_unit_test(negotiation),
                cmocka_unit_test(this_process),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
