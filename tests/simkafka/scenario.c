/* What the seed decides before anything runs, and the producers: lines come over a while, some to the wrong
 * partition. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PICK(world, ...)                                                                                     \
        (((const int64_t[]){                                                                                 \
                __VA_ARGS__})[prng_below(&(world)->prng, sizeof((const int64_t[]){__VA_ARGS__}) / 8)])

static void make_catalog(struct world *world) {
        struct price price = price_unknown;
        price.input = 100000000000;
        price.output = 300000000000;
        price.image = 10000000000 * INT64_C(1000000);
        world->providers[0] = (struct provider){.name = "p0",
                                                .dialect = "openai",
                                                .base_url = "http://localhost",
                                                .region = "eu",
                                                .data_policy_known = true,
                                                .retention_days = -1};
        world->days = chance(world, 15);
        world->claims = world->days || chance(world, 30);
        if (world->days)
                world->providers[0].limits.requests_per_day = PICK(world, 6, 20, 60);
        uint32_t count = (uint32_t)between(world, 1, 3);
        for (uint32_t i = 0; i < count; i++) {
                snprintf(world->names[i], sizeof(world->names[i]), "p0/m.%u", i);
                world->endpoints[i] = (struct endpoint){.name = world->names[i],
                                                        .model = "*",
                                                        .upstream = "m",
                                                        .price = price,
                                                        .quantization = "unknown",
                                                        .kinds = (1U << KINDS_COUNT) - 1};
                int64_t concurrency = PICK(world, 0, 0, 1, 3, 10);
                if (world->days && concurrency > 0 && concurrency < world->cluster.partitions)
                        concurrency = world->cluster.partitions; /* else some can do nothing */
                world->endpoints[i].limits.concurrency = concurrency;
        }
        world->catalog = (struct catalog){.providers = world->providers,
                                          .providers_count = 1,
                                          .endpoints = world->endpoints,
                                          .endpoints_count = count,
                                          .id = "0123456789abcdef"};
}

static void append_times(struct world *world, struct buffer *line) {
        int64_t early_ms = 0;
        if (chance(world, 8)) {
                early_ms = between(world, 1, 40000);
                buffer_append_string(line, ",\"not_before\":\"");
                rfc3339_append(line, world_time(world).now_unix_ms + early_ms);
                buffer_append_char(line, '"');
        }
        if (chance(world, 5)) {
                buffer_append_string(line, ",\"deadline\":\"");
                rfc3339_append(line, world_time(world).now_unix_ms + early_ms + between(world, 500, 60000));
                buffer_append_char(line, '"');
        }
}

/* `late`: its deadline has passed before it comes, so that it is refused without a call. */
static char *make_text(struct world *world, uint32_t number, uint32_t body, bool late) {
        struct buffer line;
        buffer_init(&line, 2048);
        buffer_printf(&line, "{\"custom_id\":\"c%u\",\"method\":\"POST\",", number);
        const char *most = world->money == MONEY_NONE ? "" : "\"max_tokens\":50,";
        if (chance(world, 12))
                buffer_printf(&line,
                              "\"url\":\"/v1/images/generations\",\"body\":{\"model\":\"m\","
                              "\"prompt\":\"v%u\"}",
                              body);
        else
                buffer_printf(&line,
                              "\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m\",%s"
                              "\"messages\":[{\"role\":\"user\",\"content\":\"v%u\"}]}",
                              most, body);
        money_say(world, number, &line);
        if (late)
                buffer_append_string(&line, ",\"deadline\":\"2001-01-01T00:00:00Z\"");
        else
                append_times(world, &line);
        rules_append(world, &line);
        buffer_append_string(&line, "}");
        buffer_append(&line, "", 1);
        return line.data;
}

static void learn_line(struct world *world, struct line *line) {
        struct job_spec *job = job_decode(world->decoder, bytes_of(line->text), 1, 0, false);
        memcpy(&line->print, job->fingerprint, sizeof(line->print));
        line->private = job->demand.prefs.zdr;
        if (!line->bad) {
                line->fact = judge_fact(world, job->key);
                line->alias = judge_fact(world, job->alias);
                struct fact *fact = &world->facts[line->fact];
                fact->home = (uint32_t)(fact->key.lo % world->cluster.partitions);
                world->facts[line->alias].home = fact->home;
        }
        job_spec_free(job);
}

/* Few keys, several bodies under each, and many of them refused without a call. */
static char *contested_text(struct world *world) {
        struct prng *prng = &world->contest_prng;
        uint32_t number = (uint32_t)prng_below(prng, 6);
        uint32_t body = number * 10 + (uint32_t)prng_below(prng, 3);
        bool late = prng_below(prng, 100) < 60;
        return make_text(world, number, body, late);
}

/*
 * In some worlds most records are in conflict with others, and processes are thrown out of the group every
 * now and then: partitions come back to those that had them, while jobs from before are on their way out.
 */
static void make_contested(struct world *world) {
        struct prng *prng = &world->contest_prng;
        prng_init(prng, world->seed ^ UINT64_C(0xc0117e57));
        world->contested = prng_below(prng, 100) < 15;
        if (!world->contested)
                return;
        world->calm = false;
        world->faults_left = 10 + (uint32_t)prng_below(prng, 20);
        world->faults_percent = prng_below(prng, 2) == 0 ? 60 : 0;
        world->transaction_faults_percent = 25;
        world->slow_disk_percent = prng_below(prng, 2) == 0 ? 60 : world->slow_disk_percent;
        world->interval_ns = (int64_t)(50 + prng_below(prng, 500)) * NS_PER_MS;
}

static void make_lines(struct world *world) {
        uint32_t made = 0;
        world->lines_count = (uint32_t)between(world, 15, chance(world, 20) ? LINES_MAX : 60);
        for (uint32_t i = 0; i < world->lines_count; i++) {
                struct line *line = &world->lines[i];
                uint32_t back = (uint32_t)between(world, 1, 20);
                bool again = i >= back && !world->lines[i - back].bad;
                if (chance(world, 5)) {
                        line->bad = true;
                        line->text = strdup("{\"custom_id\": \"bad");
                } else if (world->contested) {
                        line->text = contested_text(world);
                } else if (again && chance(world, 15)) {
                        line->text = strdup(world->lines[i - back].text);
                } else if (made > 0 && chance(world, 10)) {
                        line->text = make_text(world, made - 1, 1000 + i % 3, false);
                } else {
                        line->text = make_text(world, made, made, false);
                        made++;
                }
                learn_line(world, line);
        }
}

static void make_config(struct world *world) {
        struct engine_config *config = &world->config;
        config->jobs_max = (uint32_t)PICK(world, 6, 16, JOBS_MAX);
        config->in_flight_max = (uint32_t)PICK(world, 1, 3, 8, 32);
        config->open_ahead = (uint32_t)PICK(world, 0, 4, 16);
        config->attempts_max = (uint32_t)between(world, 2, 5);
        config->backoff_base_ns = between(world, 50, 300) * NS_PER_MS;
        config->backoff_cap_ns = between(world, 1, 8) * NS_PER_S;
        config->retry_share = 0.1;
        config->call_timeout_ns = between(world, 4, 20) * NS_PER_S;
        config->seed = world->seed;
        config->by_partition = true;
}

void scenario_make(struct world *world) {
        world->now_ns = 5000 * NS_PER_S;
        world->cluster.partitions = (uint32_t)between(world, 1, chance(world, 50) ? 3 : PARTITIONS_MAX);
        world->processes_count = (uint32_t)PICK(world, 1, 2, 2, 3, 3, PROCESSES_MAX);
        world->shards = chance(world, 40) ? 2 : 1;
        make_catalog(world);
        rules_make(world);
        money_make(world);
        struct job_decoder_options options = {.batch = "sim",
                                              .job_bytes_max = 4096,
                                              .workspaces = world->catalog.workspaces,
                                              .workspaces_count = world->catalog.workspaces_count};
        if (job_decoder_new(&options, &world->decoder))
                abort();
        make_config(world);
        world->faults_percent = (int)PICK(world, 0, 5, 25);
        world->crashes_percent = (int)PICK(world, 0, 30, 60, 100);
        world->transaction_faults_percent = (int)PICK(world, 0, 2, 10, 25);
        world->slow_percent = (int)PICK(world, 0, 5, 20);
        world->slow_disk_percent = (int)PICK(world, 0, 5, 30);
        world->faults_left = chance(world, 90) ? (uint32_t)between(world, 1, 14) : 0;
        world->calm = world->faults_left == 0;
        int64_t faults_ns = between(world, 5, 60) * NS_PER_S;
        world->faults_end_ns = world->now_ns + faults_ns;
        world->next_fault_ns = world->now_ns + between(world, 0, 3000) * NS_PER_MS;
        world->interval_ns = between(world, 5, 300) * NS_PER_MS;
        world->session_ns = between(world, 500, 4000) * NS_PER_MS;
        world->transaction_ns = between(world, 2, 10) * NS_PER_S;
        world->park_ns = between(world, 300, 6000) * NS_PER_MS;
        world->span_max = (uint32_t)PICK(world, 64, 64, 128);
        world->produce_ns = world->now_ns;
        make_contested(world);
        make_lines(world);
}

void scenario_produce(struct world *world) {
        if (world->produced == world->lines_count || world->produce_ns > world->now_ns)
                return;
        uint32_t count = (uint32_t)between(world, 1, chance(world, 20) ? 40 : 6);
        for (; count > 0 && world->produced < world->lines_count; count--) {
                uint32_t index = world->produced++;
                const struct line *line = &world->lines[index];
                bool astray = line->bad || chance(world, 15);
                uint32_t partition = astray ? (uint32_t)prng_below(&world->prng, world->cluster.partitions)
                                            : world->facts[line->fact].home;
                struct log *log = &world->cluster.jobs[partition];
                judge_produced(world, partition, log->end, index);
                struct entry entry = {.kind = ENTRY_JOB, .line = index};
                cluster_append(world, log, &entry);
        }
        world->produce_ns = in_ms(world, 0, 2500);
}
